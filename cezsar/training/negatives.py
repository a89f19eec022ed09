"""Automatic negative sampling: sentences of other videos that are unrelated, yet near enough to teach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cezsar.types import Ids, Vectors

_ROWS_AT_ONCE = 512
_SAME = 1e-5  # cosine distance, and what float32 makes of 0


@dataclass(frozen=True, slots=True)
class Band:
    """Cosine distances (low, high), open at both ends, and how many negatives a positive gets (paper: 0, 0.8, 10)."""

    low: float = 0.0
    high: float = 0.8
    count: int = 10


@dataclass(frozen=True, slots=True)
class Pool:
    """P sentences to draw from: M captions, and after them object sentences, each there once.

    sentences (P, S) are unit vectors, videos (M,) the video of each caption. spoken (V, P - M) says which videos have
    an object sentence as a positive; counts (P,) is how often each sentence is one, None if all are alike.
    """

    sentences: Vectors
    videos: Ids
    spoken: NDArray[np.bool_] | None = None
    counts: Ids | None = None

    def foreign(self, videos: Ids) -> NDArray[np.bool_]:
        """(N, P): which sentences each of N videos does not have."""
        captions = videos[:, None] != self.videos[None, :]
        return captions if self.spoken is None else np.concatenate([captions, ~self.spoken[videos]], axis=1)


@dataclass(frozen=True, slots=True)
class Drawn:
    """(N, count) indices into the pool; num_widened counts the positives whose band was empty."""

    indices: Ids
    num_widened: int


def draw(positives: Ids, videos: Ids, pool: Pool, *, band: Band, generator: np.random.Generator) -> Drawn:
    """Negatives for each positive, at random from the band (arXiv 2605.01165, automatic negative sampling).

    positives (N,) are indices into the pool, videos (N,) the video that each is a positive of. A negative is a sentence
    that this video does not have, and whose cosine distance to the positive lies in the band; of two, the likelier is
    the one that is a positive more often. Draws are without repetition
    while the band holds enough, and repeat it in turn if it holds fewer. An empty band widens, at once, to the
    nearest sentences outside it: as many as are asked for, by their distance to the band; such positives are counted.
    A sentence that says the same as the positive (a distance under 1e-5) is in no band, and the last to widen to.
    Raises ValueError if a positive has no sentence of another video at all.
    """
    chosen = np.empty((len(positives), band.count), np.int64)
    num_widened = 0
    for start in range(0, len(positives), _ROWS_AT_ONCE):
        rows = positives[start : start + _ROWS_AT_ONCE]
        distances = 1.0 - pool.sentences[rows] @ pool.sentences.T
        foreign = pool.foreign(videos[start : start + _ROWS_AT_ONCE])
        if not foreign.any(axis=1).all():
            raise ValueError("negatives need the sentences of at least two videos")
        same = distances < _SAME
        inside = foreign & ~same & (distances > band.low) & (distances < band.high)
        empty = ~inside.any(axis=1)
        # one number a candidate, the smallest are taken: a random one inside the band, the distance to it outside
        outside = np.where(same, np.finfo(np.float32).max, np.maximum(band.low - distances, distances - band.high))
        inner = generator.random(distances.shape, np.float32)
        if pool.counts is not None:  # the first of so many clocks each to ring (Efraimidis and Spirakis, 2006)
            inner = -np.log1p(-inner) / pool.counts.astype(np.float32)
        keys = np.where(empty[:, None], outside, inner)
        available = np.where(empty[:, None], foreign, inside)
        keys = np.where(available, keys, np.inf)
        chosen[start : start + len(rows)] = _smallest(keys, available.sum(axis=1), band.count)
        num_widened += int(empty.sum())
    return Drawn(chosen, num_widened)


def _smallest(keys: NDArray[np.floating], available: Ids, count: int) -> Ids:
    """The columns of each row's count smallest keys, in order; if fewer are available, they repeat in turn."""
    width = min(count, keys.shape[1])
    nearest = np.argpartition(keys, width - 1, axis=1)[:, :width]
    order = np.argsort(np.take_along_axis(keys, nearest, axis=1), axis=1, kind="stable")
    ranked = np.take_along_axis(nearest, order, axis=1)
    turns = np.arange(count) % np.minimum(available, width)[:, None]
    return np.asarray(np.take_along_axis(ranked, turns, axis=1), np.int64)
