"""Figures of merit for rankings and classifications; pure NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    A tie is never in our favour: among equal scores the right one comes last. If its score is not a number, it comes
    last, too.
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


def mean_class_accuracy(ranked: Ids, labels: Ids) -> float:
    """Mean over the classes that occur in labels (Q,) of the share of rank 1 in ranked (Q,), in [0, 1]."""
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=ranked == 1)
    return float(np.mean(hits[counts > 0] / counts[counts > 0]))


def predictions(scores: NDArray[np.floating], targets: Ids) -> Ids:
    """(Q, N) scores -> (Q,) the best candidate of each; of equal ones the first wrong one, as in ranks."""
    best = scores == scores.max(axis=1, keepdims=True)
    right = best.copy()
    right[np.arange(len(scores)), targets] = False
    return np.asarray(np.where(right.any(axis=1), right.argmax(axis=1), best.argmax(axis=1)), np.int64)


def confusion_matrix(targets: Ids, predicted: Ids, num_classes: int) -> Ids:
    """(C, C) counts: row i, column j is how many of class i were taken for class j."""
    cells = np.bincount(targets * num_classes + predicted, minlength=num_classes**2)
    return np.asarray(cells.reshape(num_classes, num_classes), np.int64)


def bootstrap(
    statistic: Callable[[Ids], float], groups: Ids, *, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The 95% percentile interval of a statistic (Efron, 1979) of N samples; those of one group are drawn together.

    groups is (N,), any integers. statistic takes the numbers of the samples that were drawn, with repetition.
    """
    generator, order = np.random.default_rng(seed), np.argsort(groups, kind="stable")
    _, firsts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    found = []
    for _ in range(rounds):
        drawn = generator.integers(len(firsts), size=len(firsts))
        sizes = counts[drawn]
        within = np.arange(sizes.sum()) - np.repeat(sizes.cumsum() - sizes, sizes)
        found.append(statistic(np.asarray(order[np.repeat(firsts[drawn], sizes) + within], np.int64)))
    return float(np.percentile(found, 2.5)), float(np.percentile(found, 97.5))


@dataclass(frozen=True, slots=True)
class Reliability:
    """A bar of a reliability diagram: the mean confidence of `count` answers, and the share of them that is right."""

    confidence: float
    right: float
    count: int


def reliability(confidence: NDArray[np.floating], is_right: NDArray[np.bool_], bins: int = 10) -> list[Reliability]:
    """(N,) confidences in [0, 1] and whether each answer was right -> one entry for each bin of equal width that has
    some, in order.
    """
    numbers = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    found = [numbers == number for number in np.unique(numbers)]
    return [Reliability(float(confidence[own].mean()), float(is_right[own].mean()), int(own.sum())) for own in found]


def expected_calibration_error(confidence: NDArray[np.floating], is_right: NDArray[np.bool_], bins: int = 10) -> float:
    """The mean distance of confidence and share of right answers, over bins of equal width, in [0, 1]
    (Naeini et al., 2015).
    """
    bars = reliability(confidence, is_right, bins)
    return sum(bar.count * abs(bar.confidence - bar.right) for bar in bars) / len(confidence)


def auroc(scores: NDArray[np.floating], is_positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve, in [0, 1]: how often a positive one scores above a negative one, ties half.

    Not a number if there are none of either.
    """
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranked = (counts.cumsum() - (counts - 1) / 2)[inverse]
    positive = int(is_positive.sum())
    negative = len(scores) - positive
    if not positive or not negative:
        return float("nan")
    return float((ranked[is_positive].sum() - positive * (positive + 1) / 2) / (positive * negative))
