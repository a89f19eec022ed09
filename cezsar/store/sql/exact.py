"""The nearest segments of one state, by every vector."""

from __future__ import annotations

import numpy as np

from cezsar.store import scores
from cezsar.store.rows import Rows
from cezsar.store.words import Found, Where
from cezsar.types import Ids, Vectors


class Exact:
    """The nearest segments in one state, by every vector that may be found."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def found(self, query: Vectors, k: int, *, where: Where, without: Ids, exact: bool) -> Found:
        """As Rows.nearest."""
        parts = [(np.empty(0, np.int64), np.empty(0, np.float32))]
        parts += [(ids, scores.similarities(query, rows)) for ids, rows in self._rows.tails()]
        ids = np.concatenate([some for some, _ in parts])
        found = np.concatenate([some for _, some in parts])
        shown = ~np.isin(ids, without)
        if where.path is not None:
            shown &= np.isin(ids, self._rows.segment_ids(self._rows.videos_under(where.path)))
        if where.plain is not None:
            shown &= np.isin(ids, self._rows.plain()) == where.plain
        best, _ = scores.best(ids[shown], found[shown], k)
        known, vectors = self._rows.vectors_of(best)
        ranked, ranked_scores = scores.nearest(query, known, vectors, k)
        return Found(ranked, ranked_scores, vectors[np.searchsorted(known, ranked)])

    def size(self, where: Where) -> int:
        """As Rows.num_segments."""
        if where.path is None:
            return self._rows.counts().segments
        return len(self._rows.segment_ids(self._rows.videos_under(where.path)))
