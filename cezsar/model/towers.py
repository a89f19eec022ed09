"""The parts of the model: video tower, memory, text tower, object stream. All are batch-first, and masked."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from cezsar.model.config import CezsarConfig
from cezsar.model.fields import ALONG


class VideoTower(nn.Module):
    """Frame features -> the joint space (arXiv 2605.01165, the visual stream).

    The transformer path is the paper's: ReLU, Linear(F -> d_model), dropout, one transformer layer, dropout, ReLU,
    Linear(d_model -> D), mean over the frames that are there. The memory path is ours: the Memory's recall of the
    segment, through one Linear(S -> D). They are added, and a LayerNorm ends both, in training and inference alike.
    There is no notion of position: frames in another order, or padding, do not change the result.
    """

    def __init__(self, config: CezsarConfig) -> None:
        super().__init__()
        self.frames = FramePath(config) if config.d_model else None
        self.memory = Memory(config) if config.num_memories else None
        self.recall = nn.Linear(config.sentence_dim, config.joint_dim, bias=False) if config.num_memories else None
        self.dropout = nn.Dropout(config.text_dropout)
        self.norm = nn.LayerNorm(config.joint_dim)

    def forward(self, features: Tensor, mask: Tensor, recalled: Tensor | None = None) -> Tensor:
        """(B, T, F) features, (B, T) true where there is a frame -> (B, D).

        recalled, (B, S), stands in for the memory's own answer: a training segment must not recall itself.
        """
        out = features.new_zeros(1)
        if self.frames is not None:
            out = out + self.frames(features, mask)
        if self.memory is not None and self.recall is not None:
            recalled = self.memory(features, mask) if recalled is None else recalled
            out = out + self.recall(self.dropout(recalled))
        return self.norm(out)  # type: ignore[no-any-return]


class FramePath(nn.Module):
    """The paper's tower up to its mean over time."""

    def __init__(self, config: CezsarConfig) -> None:
        super().__init__()
        self.input = nn.Linear(config.feature_dim, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.layer = nn.TransformerEncoderLayer(
            config.d_model, config.num_heads, config.feedforward_dim, config.dropout, batch_first=True
        )
        self.output = nn.Linear(config.d_model, config.joint_dim)

    def drop_in_layer(self, share: float) -> None:
        """Set the dropout inside the transformer layer, which else is the path's."""
        self.layer.self_attn.dropout = share
        for part in self.layer.children():
            if isinstance(part, nn.Dropout):
                part.p = share

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, T, F), (B, T) -> (B, D)."""
        hidden = self.dropout(self.input(functional.relu(features)))
        hidden = self.layer(hidden, src_key_padding_mask=~mask)
        return masked_mean(self.output(functional.relu(self.dropout(hidden))), mask)


class Memory(nn.Module):
    """Kernel ridge regression from a segment's mean feature to the mean embedding of its sentences.

    The segments that it was fitted on are remembered: recalled = sum_i k(x, key_i) value_i, k being the mean over the
    feature's blocks (one a backbone's network) of exp(-|x_b - key_ib|^2 / d), with x_b the standardised mean feature of
    the block on its d main axes. It has no trained weights:
    cezsar.training.start.fit_memory fits it in closed form.
    """

    mean: Tensor
    scale: Tensor
    axes: Tensor
    keys: Tensor
    values: Tensor

    def __init__(self, config: CezsarConfig) -> None:
        super().__init__()
        self.num_blocks = config.memory_blocks
        self.register_buffer("mean", torch.zeros(config.feature_dim))
        self.register_buffer("scale", torch.ones(config.feature_dim))
        self.register_buffer("axes", torch.zeros(config.feature_dim, config.memory_dim))
        self.register_buffer("keys", torch.zeros(config.num_memories, config.memory_blocks * config.memory_dim))
        self.register_buffer("values", torch.zeros(config.num_memories, config.sentence_dim))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, T, F), (B, T) -> (B, S)."""
        return self.kernel(self.project(masked_mean(features, mask)), self.keys) @ self.values

    def project(self, means: Tensor) -> Tensor:
        """(N, F) mean features -> (N, blocks x d) on the main axes of each block."""
        rows = ((means - self.mean) * self.scale).chunk(self.num_blocks, dim=1)
        return torch.cat([row @ axes for row, axes in zip(rows, self.axes.chunk(self.num_blocks), strict=True)], dim=1)

    def kernel(self, one: Tensor, other: Tensor) -> Tensor:
        """(N, blocks x d), (M, blocks x d) -> (N, M), in (0, 1]."""
        pairs = zip(one.chunk(self.num_blocks, dim=1), other.chunk(self.num_blocks, dim=1), strict=True)
        return torch.stack([(-torch.cdist(a, b).square() / a.shape[1]).exp() for a, b in pairs]).mean(dim=0)


class TextTower(nn.Module):
    """Sentence embeddings -> the joint space: dropout, Linear(S -> D), LayerNorm (arXiv 2605.01165)."""

    def __init__(self, config: CezsarConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.text_dropout)
        self.linear = nn.Linear(config.sentence_dim, config.joint_dim)
        self.norm = nn.LayerNorm(config.joint_dim)

    def forward(self, sentences: Tensor) -> Tensor:
        """(N, S) -> (N, D)."""
        return self.norm(self.linear(self.dropout(sentences)))  # type: ignore[no-any-return]


class ObjectStream(nn.Module):
    """A segment as a mix of the backbone's objects, in words (arXiv 2605.01165, the object stream).

    The backbone's classifier head is kept here with the embeddings of its objects' sentences: as it is linear, the
    average of a segment's logits is the head of its average feature.
    """

    weight: Tensor
    bias: Tensor
    sentences: Tensor

    def __init__(self, config: CezsarConfig) -> None:
        super().__init__()
        self.top, self.temperature = config.top_objects, config.object_temperature
        self.register_buffer("weight", torch.zeros(config.num_objects, config.feature_dim))
        self.register_buffer("bias", torch.zeros(config.num_objects))
        self.register_buffer("sentences", torch.zeros(config.num_objects, config.sentence_dim))

    def posterior(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, T, F), (B, T) -> (B, K): softmax of the mean logits over the likeliest objects, 0 for the others."""
        logits = functional.linear(masked_mean(features, mask), self.weight, self.bias)
        likeliest, objects = logits.topk(min(self.top, logits.shape[1]), dim=1)
        weights = functional.softmax(likeliest / self.temperature, dim=1)
        return torch.zeros_like(logits).scatter(1, objects, weights)

    def forward(self, features: Tensor, mask: Tensor, text_tower: TextTower) -> Tensor:
        """(B, T, F), (B, T) -> (B, D): the objects' sentences, less what all objects share, by their posterior."""
        said = text_tower(self.sentences)
        mixed: Tensor = self.posterior(features, mask) @ (said - said.mean(dim=0))
        return mixed


class QueryBank(nn.Module):
    """Sentences of no segment in particular: a segment near to many of them is a hub, which every query finds.

    Query-bank normalisation (Bogolin et al., 2022) by an inverted softmax (Smith et al., 2017), of which `share` is
    taken: a segment's score with any sentence is lowered by share x temperature x log mean exp(its scores with the bank
    / temperature). The amount lies along the diagonal of the space, which LayerNorm leaves free, so that searches still
    compare cosines of unit vectors: sentences have ALONG there, segments less of it the nearer they are to the bank.
    """

    sentences: Tensor

    def __init__(self, config: CezsarConfig) -> None:
        super().__init__()
        self.temperature, self.share = config.querybank_temperature, config.querybank_share
        self.register_buffer("sentences", torch.zeros(config.querybank_size, config.sentence_dim))

    def lower(self, segments: Tensor, said: Tensor) -> Tensor:
        """(B, D) unit vectors and the bank's own (querybank_size, D) -> (B, D)."""
        scores = segments @ said.T / self.temperature
        heights = self.share * self.temperature * (scores.logsumexp(dim=1, keepdim=True) - math.log(len(said)))
        return segments - heights / ALONG / math.sqrt(segments.shape[1])

    @staticmethod
    def lift(sentences: Tensor) -> Tensor:
        """(N, D) unit vectors -> (N, D)."""
        return sentences + ALONG / math.sqrt(sentences.shape[1])


def masked_mean(rows: Tensor, mask: Tensor) -> Tensor:
    """(B, T, N), (B, T) -> (B, N): the mean over the frames that are there, of which there is at least one."""
    weights = mask.unsqueeze(-1).to(rows.dtype)
    return (rows * weights).sum(dim=1) / weights.sum(dim=1)
