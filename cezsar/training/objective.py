"""What a batch costs: segments against their sentences and their objects', with what is drawn as negatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cezsar.model import CezsarModel, pad
from cezsar.model.losses import batch_triplet, info_nce, triplet
from cezsar.training.examples import Examples
from cezsar.training.negatives import Band, draw
from cezsar.training.recipe import Recipe
from cezsar.types import Ids, Vectors


@dataclass(frozen=True, slots=True)
class Material:
    """Training and validation segments, with what each remembers (N, S) and each training sentence's objects (M, 2)."""

    training: Examples
    validation: Examples
    recalled: Vectors | None
    objects: Ids | None


class Objective:
    """The recipe's loss of a model on the training segments; wrapped is the model as Accelerate runs it."""

    def __init__(self, model: CezsarModel, wrapped: nn.Module, material: Material, recipe: Recipe) -> None:
        self._model, self._wrapped = model, wrapped
        self._material, self._recipe = material, recipe

    def draw(self, chosen: Ids, generator: np.random.Generator) -> tuple[Ids | None, int]:
        """Negatives for the chosen sentences, None where the batch has them, and how many bands were empty."""
        if self._recipe.negatives != "band":
            return None, 0
        training = self._material.training
        band = Band(self._recipe.band_low, self._recipe.band_high, self._recipe.num_negatives)
        drawn = draw(chosen, training.sentences, training.sources[training.owners], band=band, generator=generator)
        return drawn.indices, drawn.num_widened

    def __call__(self, rows: Ids, chosen: Ids, drawn: Ids | None, generator: np.random.Generator) -> Tensor:
        """The loss of segments `rows`, each with its sentence `chosen` and its `drawn` negatives."""
        training, device = self._material.training, self._model.device
        features, mask = pad([training.features[row] for row in rows], self._model.config.num_frames)
        if self._recipe.frame_dropout:
            shown = torch.from_numpy(generator.random(mask.shape) >= self._recipe.frame_dropout)
            shown[torch.arange(len(rows)), torch.from_numpy(generator.integers(mask.sum(dim=1).numpy()))] = True
            mask &= shown
        recalled = self._material.recalled
        words = None if self._material.objects is None else self._material.objects[chosen]
        sentences = [training.sentences[chosen]]
        if drawn is not None:
            sentences.append(training.sentences[drawn.reshape(-1)])
        if words is not None:
            assert self._model.objects is not None
            said = self._model.objects.sentences.cpu().numpy()
            sentences.append(said[words.reshape(-1)])
        anchors, texts = self._wrapped(
            features.to(device),
            mask.to(device),
            torch.from_numpy(np.concatenate(sentences)).to(device),
            None if recalled is None else torch.from_numpy(recalled[rows]).to(device),
        )
        anchors, texts = anchors.float(), texts.float()
        parts = list(texts.split([len(part) for part in sentences]))
        negatives = parts[1].reshape(len(rows), -1, parts[1].shape[1]) if drawn is not None else None
        sources = torch.from_numpy(training.sources[rows]).to(device)
        allowed = sources[:, None] != sources[None, :]
        loss = self._contrast(anchors, parts[0], allowed, negatives)
        if words is not None:
            for number in range(words.shape[1]):
                column = torch.from_numpy(words[:, number]).to(device)
                there = column >= 0
                if there.any():
                    positives = parts[-1].reshape(len(rows), -1, parts[-1].shape[1])[there, number]
                    others = allowed[there][:, there] & (column[there][:, None] != column[there][None, :])
                    further = None if negatives is None else negatives[there]
                    share = there.float().mean() / words.shape[1]
                    loss = loss + share * self._contrast(anchors[there], positives, others, further)
        return loss

    def _contrast(self, anchors: Tensor, positives: Tensor, allowed: Tensor, negatives: Tensor | None) -> Tensor:
        recipe, terms = self._recipe, []
        if recipe.loss in ("infonce", "both"):
            terms.append(info_nce(anchors, positives, allowed, scale=self._model.scale, negatives=negatives))
        if recipe.loss in ("triplet", "both"):
            terms.append(
                batch_triplet(
                    anchors, positives, allowed, margin=recipe.margin, semi_hard=recipe.negatives == "semi-hard"
                )
                if negatives is None
                else triplet(anchors, positives, negatives, margin=recipe.margin)
            )
        return torch.stack(terms).sum()
