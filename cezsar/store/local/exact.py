"""A part of a small cache: vectors as they are, in two .npy files, mapped into memory and compared by NumPy."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cezsar.errors import CacheUnusable
from cezsar.store.local.choice import Choice
from cezsar.store.local.stamp import Sealed, check, read_array, write_array
from cezsar.store.scores import highest, similarities
from cezsar.types import Ids, Vectors


class Exact:
    """An open part. Raises CacheUnusable if its files are not as they were written; OSError, ValueError."""

    def __init__(self, folder: Path, part: Sealed, dimension: int) -> None:
        self.part = part
        self._ids: Ids = read_array(folder, part.beside)
        self._vectors: Vectors = np.lib.format.open_memmap(check(folder, part.data), mode="r")
        shapes = (self._ids.shape, self._ids.dtype, self._vectors.shape, self._vectors.dtype)
        if shapes != ((part.count,), np.dtype("<i8"), (part.count, dimension), np.dtype("<f4")):
            raise CacheUnusable("its header is not what its stamp says")

    def candidates(self, query: Vectors, most: int, choice: Choice) -> tuple[Ids, NDArray[np.float32]]:
        """The ids nearest to query (D,) of those that may be found, at least most of them, and their scores."""
        ids, vectors = self._ids, self._vectors
        if choice.only is not None:
            inside = choice.only[(choice.only > self.part.after) & (choice.only <= self.part.last)]
            at = np.searchsorted(ids, inside)
            at = at[ids[at] == inside]  # the last id is the part's last
            ids, vectors = ids[at], vectors[at]
        scores = similarities(query, vectors)
        if len(choice.but):
            shown = np.flatnonzero(~np.isin(ids, choice.but))
            kept = shown[highest(scores[shown], most)]
        else:
            kept = highest(scores, most)
        return ids[kept], scores[kept]

    def ids(self) -> Ids:
        """All (N,) ids, ascending."""
        return self._ids

    def agrees(self, ids: Ids, vectors: Vectors) -> NDArray[np.bool_]:
        """For each of these ids, all of which are in it, whether it holds this vector: (N,)."""
        return np.asarray((self._vectors[np.searchsorted(self._ids, ids)] == vectors).all(axis=1))


def seal(folder: Path, chunks: Iterable[tuple[Ids, Vectors]], *, after: int, generation: int, dimension: int) -> Sealed:
    """Write a part of the segments with ids above after. Raises BadIndex."""
    parts = list(chunks)
    ids = np.concatenate([np.empty(0, np.int64), *(some for some, _ in parts)]).astype("<i8")
    vectors = np.concatenate([np.empty((0, dimension), np.float32), *(rows for _, rows in parts)]).astype("<f4")
    name = f"vectors-{generation}-{secrets.token_hex(4)}"
    return Sealed(
        ((after, generation),),
        int(ids.max(initial=after)),
        len(ids),
        write_array(folder, f"{name}.npy", vectors),
        write_array(folder, f"{name}.ids.npy", ids),
    )
