"""Figures of merit for rankings and classifications; pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cezsar.types import Ids


def precision_at_k(relevant: Sequence[bool], k: int) -> float:
    """The share of relevant ones among the first k of a ranking, in [0, 1]; ranks beyond its end are not relevant."""
    return float(np.sum(np.asarray(relevant[:k], bool)) / k)


def accuracy(predicted: Sequence[str], true: Sequence[str]) -> float:
    """Top-1 accuracy in [0, 1]: the share of predictions that are right."""
    return float(np.mean([one == other for one, other in zip(predicted, true, strict=True)]))


def ranks(scores: NDArray[np.floating], targets: Ids) -> Ids:
    """(Q, N) scores of N candidates for Q queries, (Q,) the right one of each -> (Q,) ranks from 1.

    A tie is never in our favour: of equal scores the right one comes last. So does one that is not a number.
    """
    right = np.take_along_axis(scores, np.asarray(targets, np.int64)[:, None], axis=1)
    return np.asarray(scores.shape[1] - (scores < right).sum(axis=1), np.int64)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """recall_1, recall_5 and recall_10 in [0, 1]: the share of ranks up to 1, 5, 10; and the median and mean rank."""

    recall_1: float
    recall_5: float
    recall_10: float
    median_rank: float
    mean_rank: float

    @property
    def mean_recall(self) -> float:
        """The mean of the three recalls, in [0, 1]."""
        return (self.recall_1 + self.recall_5 + self.recall_10) / 3


def retrieval(ranked: Ids) -> Retrieval:
    """The figures of a set of ranks, (Q,) from 1."""
    recall_1, recall_5, recall_10 = (float(np.mean(ranked <= k)) for k in (1, 5, 10))
    return Retrieval(recall_1, recall_5, recall_10, float(np.median(ranked)), float(np.mean(ranked)))
