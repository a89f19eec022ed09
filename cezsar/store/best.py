"""What an approximate search is measured by: the exact nearest of some queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from cezsar.types import Ids, Scores, Vectors

NUM_BEST = 10


Nearest = Callable[[Vectors, Vectors, int], tuple[Scores, Ids]]


def by_numpy(queries: Vectors, vectors: Vectors, count: int) -> tuple[Scores, Ids]:
    """(Q, D) and (N, D) -> the scores and rows (Q, count) of the vectors that are nearest to each query."""
    scores = queries @ vectors.T
    rows = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return np.take_along_axis(scores, rows, axis=1), rows


class Best:
    """The NUM_BEST nearest of each query (Q, D) among all vectors that were added, exactly; nearest compares some."""

    def __init__(self, queries: Vectors, nearest: Nearest = by_numpy) -> None:
        self.queries, self._nearest = queries, nearest
        self.ids = np.full((len(queries), NUM_BEST), -1, np.int64)
        self._scores = np.full((len(queries), NUM_BEST), -np.inf, np.float32)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Compare the next vectors."""
        if not len(ids):
            return
        found, rows = self._nearest(self.queries, vectors, min(NUM_BEST, len(vectors)))
        scores = np.concatenate([self._scores, found], axis=1)
        candidates = np.concatenate([self.ids, ids[rows]], axis=1)
        best = np.argpartition(-scores, NUM_BEST - 1, axis=1)[:, :NUM_BEST]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self.ids = np.take_along_axis(candidates, best, axis=1)

    def recall(self, found: Iterable[Ids]) -> float:
        """The share of the nearest among the ids that were found, a query each."""
        return float(np.mean([np.isin(right, some).mean() for right, some in zip(self.ids, found, strict=True)]))
