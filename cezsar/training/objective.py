"""The loss of a batch: segments against their sentences and their objects', with negatives that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cezsar.model import CezsarModel, pad
from cezsar.model.joint import unit_rows
from cezsar.model.losses import batch_triplet, info_nce, triplet
from cezsar.training.devices import Devices
from cezsar.training.examples import Examples
from cezsar.training.negatives import Band, Pool, draw
from cezsar.training.recipe import Recipe
from cezsar.types import Ids, Vectors, unit


@dataclass(frozen=True, slots=True)
class Material:
    """Training and validation segments, and the recalled sentence embedding (N, S) of each.

    objects, (M, W, 2), are each training sentence's in W windows of its segment; -1 if there is none.
    """

    training: Examples
    validation: Examples
    recalled: Vectors | None
    objects: Ids | None


@dataclass(frozen=True, slots=True)
class Batch:
    """B segments, a sentence of each, the objects (B, 2) that go with it, and negatives by their numbers in the pool.

    negatives are (B, 1, K), the sentence's, which serve its objects too, or (B, 3, K), the sentence's and the objects'.
    """

    rows: Ids
    chosen: Ids
    words: Ids | None
    negatives: Ids | None


class Objective:
    """The recipe's loss of a model on the training segments; wrapped is the model as Accelerate runs it.

    Each of the devices embeds its share of a batch; the loss is of the whole batch, and the same on all of them.
    """

    def __init__(
        self, model: CezsarModel, wrapped: nn.Module, material: Material, recipe: Recipe, devices: Devices
    ) -> None:
        self._model, self._wrapped, self._devices = model, wrapped, devices
        self._material, self._recipe = material, recipe
        self._said = None if model.objects is None else model.objects.sentences.cpu().numpy()
        self._pool, self._numbers = self._pooled()

    def _pooled(self) -> tuple[Pool, Ids]:
        """What negatives are drawn from, and the number in it of each object, -1 for one that it lacks."""
        training, objects = self._material.training, self._material.objects
        videos = training.sources[training.owners]
        if objects is None or self._said is None or self._recipe.object_negatives != "own":
            return Pool(training.sentences, videos), np.empty(0, np.int64)
        sentences = np.nonzero(objects >= 0)[0]
        known, numbers, times = np.unique(objects[objects >= 0], return_inverse=True, return_counts=True)
        spoken = np.zeros((len(training.source_names), len(known)), bool)
        spoken[videos[sentences], numbers] = True
        counts = np.concatenate([np.full(len(videos), objects.shape[1]), times])
        found = np.full(len(self._said), -1)
        found[known] = len(videos) + np.arange(len(known))
        return Pool(np.concatenate([training.sentences, unit(self._said[known])]), videos, spoken, counts), found

    def batches(self, parts: Sequence[tuple[Ids, Ids]], generator: np.random.Generator) -> tuple[list[Batch], int]:
        """Batches of (segments, a sentence of each), with their draws, and how many bands were empty."""
        chosen = np.concatenate([sentences for _, sentences in parts])
        words = self._words(chosen, generator)
        negatives, num_widened = self._draw(chosen, words, generator)
        ends = np.cumsum([len(rows) for rows, _ in parts])[:-1]
        batches = [
            Batch(rows, sentences, said, drawn)
            for (rows, sentences), said, drawn in zip(parts, _split(words, ends), _split(negatives, ends), strict=True)
        ]
        return batches, num_widened

    def _words(self, chosen: Ids, generator: np.random.Generator) -> Ids | None:
        """(N, 2): the objects that one window of each sentence's segment chose."""
        objects = self._material.objects
        if objects is None:
            return None
        num_windows = objects.shape[1]
        windows = generator.integers(num_windows, size=len(chosen)) if num_windows > 1 else 0
        return np.asarray(objects[chosen, windows])

    def _draw(self, chosen: Ids, words: Ids | None, generator: np.random.Generator) -> tuple[Ids | None, int]:
        """(N, 1 or 3, K) negatives, None if the batch has them, and how many bands were empty."""
        recipe = self._recipe
        if recipe.negatives != "band":
            return None, 0
        band = Band(recipe.band_low, recipe.band_high, recipe.num_negatives)
        positives, videos = chosen[:, None], self._pool.videos[chosen][:, None]
        if words is not None and recipe.object_negatives == "own":
            positives = np.concatenate([positives, np.where(words >= 0, self._numbers[words], -1)], axis=1)
            videos = np.repeat(videos, positives.shape[1], axis=1)
        there = positives >= 0
        drawn = draw(positives[there], videos[there], self._pool, band=band, generator=generator)
        negatives = np.zeros((*positives.shape, band.count), np.int64)
        negatives[there] = drawn.indices
        return negatives, drawn.num_widened

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Tensor:
        """The loss of a batch."""
        training, device, recipe = self._material.training, self._model.device, self._recipe
        own = self._devices.own(len(batch.rows))
        rows = batch.rows[own]
        features, mask = pad([training.features[row] for row in rows], self._model.config.num_frames)
        if recipe.frame_dropout:
            shown = torch.from_numpy(generator.random(mask.shape) >= recipe.frame_dropout)
            shown[torch.arange(len(rows)), torch.from_numpy(generator.integers(mask.sum(dim=1).numpy()))] = True
            mask &= shown
        recalled = self._material.recalled
        sentences = [training.sentences[batch.chosen[own]]]
        if batch.negatives is not None:
            sentences.append(self._pool.sentences[batch.negatives[own].reshape(-1)])
        if batch.words is not None:
            assert self._said is not None
            sentences.append(self._said[batch.words[own].reshape(-1)])
        dtype = self._model.dtype
        anchors, texts = self._wrapped(
            features.to(device, dtype),
            mask.to(device),
            torch.from_numpy(np.concatenate(sentences)).to(device, dtype),
            None if recalled is None else torch.from_numpy(recalled[rows]).to(device, dtype),
            streams=recipe.train_streams,
            scaled=recipe.distances == "unit",
        )
        rows, words = batch.rows, batch.words
        own_parts = (anchors, *texts.split([len(part) for part in sentences]))
        parts = self._devices.whole(
            [part.to(dtype).reshape(len(own), -1, part.shape[-1]) for part in own_parts], len(rows)
        )
        anchors, positives = parts[0][:, 0], parts[1][:, 0]
        drawn: list[Tensor | None] = [None]
        if batch.negatives is not None:
            drawn = [*parts[2].reshape(*batch.negatives.shape, parts[2].shape[2]).unbind(dim=1)]
        sources = torch.from_numpy(training.sources[rows]).to(device)
        allowed = sources[:, None] != sources[None, :]
        loss = self._contrast(anchors, positives, allowed, drawn[0])
        if words is not None:
            for number in range(words.shape[1]):
                column = torch.from_numpy(words[:, number]).to(device)
                there = column >= 0
                if there.any():
                    positives = parts[-1][there, number]
                    others = allowed[there][:, there] & (column[there][:, None] != column[there][None, :])
                    negatives = drawn[0 if len(drawn) == 1 else 1 + number]
                    further = None if negatives is None else negatives[there]
                    share = recipe.object_weight * there.float().mean() / words.shape[1]
                    loss = loss + share * self._contrast(anchors[there], positives, others, further)
        return loss

    def _contrast(self, anchors: Tensor, positives: Tensor, allowed: Tensor, negatives: Tensor | None) -> Tensor:
        recipe, terms = self._recipe, []
        if recipe.loss in ("infonce", "both"):
            further = None if negatives is None else self._unit(negatives)
            scale = self._model.scale
            terms.append(info_nce(self._unit(anchors), self._unit(positives), allowed, scale=scale, negatives=further))
        if recipe.loss in ("triplet", "both"):
            terms.append(
                batch_triplet(
                    anchors, positives, allowed, margin=recipe.margin, semi_hard=recipe.negatives == "semi-hard"
                )
                if negatives is None
                else triplet(anchors, positives, negatives, margin=recipe.margin)
            )
        return torch.stack(terms).sum()

    def _unit(self, rows: Tensor) -> Tensor:
        return rows if self._recipe.distances == "unit" else unit_rows(rows)


def _split(rows: Ids | None, ends: Ids) -> Sequence[Ids | None]:
    """The rows of each batch, which end there."""
    return [None] * (len(ends) + 1) if rows is None else np.split(rows, ends)
