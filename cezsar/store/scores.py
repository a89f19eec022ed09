"""How near vectors are, and which are nearest: in NumPy, to six decimals, the same wherever they were read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cezsar.errors import IndexDamaged
from cezsar.store.words import Found
from cezsar.types import Ids, Scores, Vectors

_EQUAL = 1e-6  # scores nearer than this are the same: BLAS rounds differently from one shape to another
_MOST = 1.001  # no two unit vectors have a larger inner product
_ROWS = 4096  # compared at once


def similarities(query: Vectors, vectors: Vectors) -> NDArray[np.float32]:
    """The inner products (N,) of query (D,) and vectors (N, D), as they are compared: not rounded yet.

    Raises IndexDamaged if a vector cannot be of length 1.
    """
    scores = np.empty(len(vectors), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(vectors), _ROWS):
            part = np.require(vectors[start : start + _ROWS], np.float32, "A")
            # memory is the limit, and BLAS would wake threads, whose spinning then holds up all others for 25 ms
            np.einsum("nd,d->n", part, query, out=scores[start : start + _ROWS])
    _check(scores)
    return scores


def nearest(query: Vectors, ids: Ids, vectors: Vectors, k: int) -> tuple[Ids, Scores]:
    """The k of these (N,) ids whose (N, D) vectors are nearest to query (D,), best first, and their scores.

    Raises IndexDamaged if a vector cannot be of length 1.
    """
    return best(ids, similarities(query, vectors), k)


def found(query: Vectors, ids: Ids, vectors: Vectors, k: int) -> Found:
    """As nearest, of ids that are ascending, with the vectors of those.

    Raises IndexDamaged if a vector cannot be of length 1.
    """
    best_ids, best_scores = nearest(query, ids, vectors, k)
    return Found(best_ids, best_scores, vectors[np.searchsorted(ids, best_ids)])


def best(ids: Ids, scores: NDArray[np.float32], k: int) -> tuple[Ids, Scores]:
    """The k of these (N,) ids with the highest of these (N,) scores, best first, and those."""
    kept = highest(scores, k)
    ranked_ids, ranked = _ranked(ids[kept], scores[kept])
    return ranked_ids[:k], ranked[:k]


def highest(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Where the k highest of these (N,) scores are, and those that may be equal to the last: ascending."""
    if k >= len(scores):
        return np.arange(len(scores))
    return np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k] - 2 * _EQUAL)


def merged(one: tuple[Ids, Scores], other: tuple[Ids, Scores], k: int) -> tuple[Ids, Scores]:
    """The best k of two answers."""
    ids, scores = _ranked(np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]]))
    return ids[:k], scores[:k]


def _ranked(ids: Ids, scores: NDArray[np.floating]) -> tuple[Ids, Scores]:
    """Best first, to six decimals; equal scores by id, so that an answer repeats wherever its vectors were read."""
    _check(scores)
    rounded = np.asarray(np.round(scores.astype(np.float64), 6), np.float64)
    order = np.lexsort((ids, -rounded))
    return ids[order], rounded[order]


def _check(scores: NDArray[np.floating]) -> None:
    if not (np.abs(scores) <= _MOST).all():
        raise IndexDamaged("Some vectors in the index are not of length 1: `cezsar verify` says more.")
