"""From vectors to figures: class prototypes, corrections that need no labels, accuracies with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cezsar import metrics
from cezsar.types import Ids, Scores, Vectors, unit

_NEIGHBOURS = 10
_TEMPERATURE = 0.1
_REFINEMENTS = 10


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure in [0, 1] with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of N clips among C classes: accuracies, those of each class (None without clips), and the (C, C) confusions."""

    num_clips: int
    num_classes: int
    top_1: Interval
    top_5: Interval
    mean_class: Interval
    by_class: tuple[float | None, ...]
    confusions: tuple[tuple[int, ...], ...]


def class_scores(
    videos: Vectors, prototypes: Vectors, owners: Ids, *, kind: str, discounts: Scores | None = None
) -> Scores:
    """(N, D) videos, (P, D) sentences of classes owners (P,), in order -> (N, C) scores, to six decimals.

    A score is the similarity, less the class's discount (C,) if there are some. kind 'nearest' takes the nearest
    sentence of a class (1-nearest-neighbour, arXiv 2605.01165), 'mean' the unit mean of its sentences. Rounding makes
    equal what differs by the machine alone.
    """
    return _similarities(videos, _classes(prototypes, owners, kind), discounts)


def _classes(prototypes: Vectors, owners: Ids, kind: str) -> list[Vectors]:
    """The (P_c, D) prototypes of each class."""
    said = [prototypes[owners == label] for label in range(int(owners.max()) + 1)]
    return said if kind == "nearest" else [unit(rows.mean(axis=0, keepdims=True)) for rows in said]


def _similarities(videos: Vectors, classes: list[Vectors], discounts: Scores | None) -> Scores:
    rows = videos.astype(np.float64)
    found = np.stack([(rows @ said.T.astype(np.float64)).max(axis=1) for said in classes], axis=1)
    return np.asarray(np.round(found if discounts is None else found - discounts, 6), np.float64)


def corrected(
    scores: Scores,
    videos: Vectors,
    prototypes: Vectors,
    owners: Ids,
    *,
    kind: str,
    how: str,
    discounts: Scores | None = None,
) -> Scores:
    """(N, C) scores after a correction that sees the unlabelled test set as a whole (transductive), or 'none'.

    'csls': twice the similarity, less the mean similarity of a class to its 10 nearest videos and of a video to its
    10 nearest classes (Conneau et al., 2018). 'inverted-softmax': the share of a video in a class's softmax over the
    videos, temperature 0.1 (Smith et al., 2017), as a logarithm. 'refine': prototypes move half-way to the mean of the
    videos that are nearest to them, ten times.
    """
    if how == "csls":
        by_class = np.sort(scores, axis=0)[-_NEIGHBOURS:].mean(axis=0)
        by_video = np.sort(scores, axis=1)[:, -_NEIGHBOURS:].mean(axis=1)
        return np.asarray(np.round(2 * scores - by_class - by_video[:, None], 6), np.float64)
    if how == "inverted-softmax":
        heights = scores / _TEMPERATURE
        highest = heights.max(axis=0)
        heights = heights - highest
        return np.asarray(np.round(heights - np.log(np.exp(heights).sum(axis=0)), 6), np.float64)
    if how == "refine":
        classes = _classes(prototypes, owners, kind)
        for _ in range(_REFINEMENTS):
            nearest = _similarities(videos, classes, discounts).argmax(axis=1)
            classes = list(_classes(prototypes, owners, kind))
            for label in np.unique(nearest).tolist():
                mean = videos[nearest == label].mean(axis=0, keepdims=True)
                classes[label] = unit(classes[label] + unit(mean))
        return _similarities(videos, classes, discounts)
    return scores


def figures(scores: Scores, targets: Ids) -> Figures:
    """The figures of (N, C) scores with the right class of each (N,).

    Of equal scores the right class comes last. Intervals are of 1,000 bootstrap samples of clips.
    """
    ranked = metrics.ranks(scores, targets)
    num_classes = scores.shape[1]
    confusions = metrics.confusion_matrix(targets, metrics.predictions(scores, targets), num_classes)
    hits = np.bincount(targets[ranked == 1], minlength=num_classes)
    counts = np.bincount(targets, minlength=num_classes)
    clips = np.arange(len(ranked))
    top_1, top_5 = (_share(ranked, clips, k) for k in (1, 5))

    def mean_class(rows: Ids) -> float:
        return metrics.mean_class_accuracy(ranked[rows], targets[rows])

    return Figures(
        len(ranked),
        num_classes,
        top_1,
        top_5,
        Interval(mean_class(clips), *metrics.bootstrap(mean_class, clips)),
        tuple(float(hit / count) if count else None for hit, count in zip(hits, counts, strict=True)),
        tuple(tuple(row) for row in confusions.tolist()),
    )


@dataclass(frozen=True, slots=True)
class Direction:
    """Retrieval one way: recalls with 95% intervals, and the median and mean rank."""

    num_queries: int
    num_candidates: int
    recall_1: Interval
    recall_5: Interval
    recall_10: Interval
    median_rank: float
    mean_rank: float


def direction(ranked: Ids, groups: Ids, num_candidates: int) -> Direction:
    """The figures of (Q,) ranks; queries of one group (Q,), as the sentences of one video, are drawn together."""
    found = metrics.retrieval(ranked)
    first, five, ten = (_share(ranked, groups, k) for k in (1, 5, 10))
    return Direction(len(ranked), num_candidates, first, five, ten, found.median_rank, found.mean_rank)


def _share(ranked: Ids, groups: Ids, k: int) -> Interval:
    """The share of ranks up to k."""
    found = ranked <= k
    return Interval(float(found.mean()), *metrics.bootstrap(lambda rows: float(found[rows].mean()), groups))


def both_ways(videos: Vectors, sentences: Vectors, owners: Ids) -> tuple[Direction, Direction]:
    """(text to video, video to text) of (N, D) videos and (M, D) sentences, each of video owners (M,).

    From video to text, the best of a video's own sentences counts, ranked among all sentences of other videos.
    """
    scores = np.round(sentences.astype(np.float64) @ videos.T.astype(np.float64), 6)
    by_text = metrics.ranks(scores, owners)
    best = np.full(len(videos), -np.inf)
    np.maximum.at(best, owners, scores[np.arange(len(owners)), owners])
    own = owners[None, :] == np.arange(len(videos))[:, None]
    by_video = 1 + ((best[:, None] <= scores.T) & ~own).sum(axis=1)
    return (
        direction(by_text, owners, len(videos)),
        direction(by_video.astype(np.int64), np.arange(len(videos)), len(sentences)),
    )
