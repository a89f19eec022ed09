"""The losses of training: the paper's triplet margin, symmetric InfoNCE with a learned temperature, and their sum."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def triplet(anchors: Tensor, positives: Tensor, negatives: Tensor, *, margin: float) -> Tensor:
    """Triplet margin loss over Euclidean distances (arXiv 2605.01165: margin 1, anchor = video).

    anchors and positives are (B, D), negatives (B, K, D): mean over B and K of max(0, |a - p| - |a - n| + margin).
    """
    near = _distance(anchors, positives).unsqueeze(1)
    far = _distance(anchors.unsqueeze(1), negatives)
    return functional.relu(near - far + margin).mean()


def batch_triplet(anchors: Tensor, positives: Tensor, allowed: Tensor, *, margin: float, semi_hard: bool) -> Tensor:
    """Triplet margin loss against the other positives of the batch, in both directions.

    anchors and positives are (B, D); allowed (B, B), symmetric, says who may be a negative of whom. With semi_hard
    only those count that are farther than the positive, and by less than the margin (Schroff et al., 2015). The mean
    is over the triplets that still cost something; 0 if there is none.
    """
    distances = torch.cdist(anchors, positives, compute_mode="donot_use_mm_for_euclid_dist")
    terms = []
    for rows in (distances, distances.T):
        gaps = rows - rows.diagonal().unsqueeze(1)  # how much farther than the positive
        costs = functional.relu(margin - gaps)
        counts = allowed & (costs > 0) & (gaps > 0 if semi_hard else torch.ones_like(allowed))
        terms.append((costs * counts).sum() / counts.sum().clamp(min=1))
    return (terms[0] + terms[1]) / 2


def info_nce(
    anchors: Tensor, positives: Tensor, allowed: Tensor, *, scale: Tensor, negatives: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al., 2018; both ways as in CLIP, Radford et al., 2021).

    anchors and positives are (B, D) unit vectors; allowed (B, B), symmetric, says who may be a negative of whom: the
    same video's other sentences may not. scale is the inverse temperature. negatives, (B, K, D), are further wrong
    sentences of each anchor.
    """
    scores = scale * anchors @ positives.T
    pairs = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(~(allowed | pairs), float("-inf"))
    targets = torch.arange(len(scores), device=scores.device)
    by_sentence = functional.cross_entropy(scores.T, targets)
    if negatives is not None:
        further = scale * torch.einsum("bd,bkd->bk", anchors, negatives)
        scores = torch.cat([scores, further], dim=1)
    return (functional.cross_entropy(scores, targets) + by_sentence) / 2


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Euclidean, over the last axis; its gradient is finite at 0."""
    return (one - other).square().sum(dim=-1).clamp(min=1e-12).sqrt()
