"""What an approximate search is measured by: the exact nearest of some queries."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cezsar.types import Ids, Vectors

NUM_BEST = 10


class Best:
    """The NUM_BEST nearest of each query (Q, D) among all vectors that were added, exactly."""

    def __init__(self, queries: Vectors) -> None:
        self.queries = queries
        self.ids = np.full((len(queries), NUM_BEST), -1, np.int64)
        self._scores = np.full((len(queries), NUM_BEST), -np.inf, np.float32)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Compare the next vectors."""
        scores = np.concatenate([self._scores, self.queries @ vectors.T], axis=1)
        candidates = np.concatenate([self.ids, np.broadcast_to(ids, (len(self.queries), len(ids)))], axis=1)
        best = np.argpartition(-scores, NUM_BEST - 1, axis=1)[:, :NUM_BEST]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self.ids = np.take_along_axis(candidates, best, axis=1)

    def recall(self, found: Iterable[Ids]) -> float:
        """The share of the nearest among the ids that were found, a query each."""
        return float(np.mean([np.isin(right, some).mean() for right, some in zip(self.ids, found, strict=True)]))
