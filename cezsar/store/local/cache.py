"""The cache that speeds up the nearest: vectors beside the catalog, in parts that are never written again. All of it
can be lost.

Up to APPROXIMATE_FROM vectors it holds them as they are and NumPy compares them, exactly: importing faiss takes longer.
A larger one holds codes in inverted lists; its candidates are ranked by the catalog's vectors. Newer segments become a
part of their own, and small parts are merged by size, so that the cost of adding grows with what is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cezsar.errors import CacheUnusable
from cezsar.store.local import exact, stamp
from cezsar.store.local.choice import Choice
from cezsar.store.local.exact import Exact
from cezsar.store.local.stamp import NEXT, STAMP, Sealed, Stamp
from cezsar.store.scores import highest
from cezsar.store.words import Info
from cezsar.types import Ids, Vectors

if TYPE_CHECKING:
    from cezsar.store.best import Best
    from cezsar.store.local.approximate import Lists
    from cezsar.store.rows import Rows

APPROXIMATE_FROM = (
    200_000  # vectors: from here on an exact search takes over a tenth of a second (benchmarks/search.py)
)
_SLICE = 1_000_000  # vectors a part while lists are made anew: so many codes are held in memory
_LARGEST = 2_000_000  # no merged part has more


class Cache:
    """An open, memory-mapped cache of unit vectors with the segments' own ids."""

    def __init__(self, stamp: Stamp, parts: list[Exact], lists: Lists | None) -> None:
        self.stamp, self._parts, self._lists = stamp, parts, lists

    @property
    def is_exact(self) -> bool:
        """Whether its candidates are exactly the nearest."""
        return self._lists is None

    def candidates(
        self, query: Vectors, most: int, choice: Choice, *, breadth: float = 1.0, cores: int | None = None
    ) -> tuple[Ids, NDArray[np.float32] | None, bool]:
        """The ids nearest to query (D,) of those that may be found: about most, fewer if there are no more.

        Beside them their scores, if it is exact; and whether it has no more to give with a larger breadth, which is
        how many times as many lists as usual are looked at. Raises CacheUnusable if what it reads is damaged.
        """
        if self._lists is not None:
            ids, is_all = self._lists.candidates(query, most, choice, breadth=breadth, cores=cores)
            return ids, None, is_all
        found = [part.candidates(query, most, choice) for part in self._parts]
        ids = np.concatenate([np.empty(0, np.int64), *(some for some, _ in found)])
        own = np.concatenate([np.empty(0, np.float32), *(some for _, some in found)])
        kept = highest(own, most)  # of one part there may be others as near as the last of another's
        return ids[kept], own[kept], True

    def ids(self) -> Ids:
        """All (N,) ids, ascending."""
        if self._lists is not None:
            return self._lists.ids()
        return np.concatenate([np.empty(0, np.int64), *(part.ids() for part in self._parts)])

    def agrees(self, ids: Ids, vectors: Vectors) -> NDArray[np.bool_]:
        """For each of these ids, all of which are in it, whether it holds this vector, or its codes: (N,)."""
        if self._lists is not None:
            return self._lists.agrees(ids, vectors)
        same = np.zeros(len(ids), bool)
        for one in self._parts:
            inside = (ids > one.part.after) & (ids <= one.part.last)
            same[inside] = one.agrees(ids[inside], vectors[inside])
        return same


def load(folder: Path, *, index_id: str, dimension: int) -> Cache:
    """Open the cache that the stamp names. Raises CacheUnusable with the reason.

    The checksums of whole files are compared, but not of inverted lists, which have their own, compared when they are
    read: then opening costs the same at any size.
    """
    for _ in range(3):  # a file may be replaced between reading the stamp and opening it
        told = stamp.read(folder / STAMP)
        if told.index_id != index_id:
            raise CacheUnusable("it belongs to another index")
        if told.dimension != dimension:
            raise CacheUnusable(f"it holds {told.dimension}-d vectors, the catalog {dimension}-d ones")
        try:
            if told.lists == 1:
                return Cache(told, [Exact(folder, part, dimension) for part in told.parts], None)
            from cezsar.store.local.approximate import Lists

            return Cache(told, [], Lists(folder, told))
        except FileNotFoundError:
            continue
        except (RuntimeError, OSError, ValueError, EOFError, MemoryError):  # whatever a damaged header makes faiss say
            raise CacheUnusable("its file cannot be read") from None
    raise CacheUnusable("its file is missing")


def build(folder: Path, rows: Rows, info: Info, *, resume: bool = False) -> Stamp:
    """Write a cache of the whole catalog, and let the stamp name it; readers see the old one or the new one.

    Large ones are made part by part, with lists that are learnt anew; with resume what an earlier run had finished is
    kept. Raises BadIndex.
    """
    count, dimension, generation = rows.num_segments_after(0), info.encoder.dimension, rows.generation()
    if count < APPROXIMATE_FROM:
        part = exact.seal(folder, rows.vectors(), after=0, generation=generation, dimension=dimension)
        return _serve(folder, Stamp(info.index_id, dimension, (part,)))
    from cezsar.store.local import approximate

    begun = _begun(folder, info, count) if resume else None
    if begun is None:
        begun = approximate.train(folder, rows.vectors(), generation=generation, dimension=dimension, count=count)
        begun = replace(begun, index_id=info.index_id)
        stamp.write(folder / NEXT, begun)
    trained = approximate.load_trained(folder, begun)
    best = approximate.best(trained)
    chunks = _heard(rows.vectors(), best, after=begun.last_segment_id)
    while (first := next(chunks, None)) is not None:
        some = _slice(chain([first], chunks))
        part = approximate.seal(folder, begun, trained, some, after=begun.last_segment_id, generation=generation)
        begun = replace(begun, parts=(*begun.parts, part))
        stamp.write(folder / NEXT, begun)
    probes, recall = approximate.probes(folder, begun, trained, best)
    return _serve(folder, replace(begun, probes=probes, recall=recall))


def extend(folder: Path, rows: Rows, before: Stamp) -> Stamp:
    """Write the segments after a cache as a part of their own, or merged with the last parts, if these are small.

    Raises BadIndex; CacheUnusable if such a part is damaged.
    """
    onto = _small(before.parts, rows.num_segments_after(before.last_segment_id))
    generation = rows.generation()
    if before.lists == 1:
        after = onto[0].after if onto else before.last_segment_id
        chunks = rows.vectors(after=after)  # these parts too: comparing their checksums would take as long
        part = exact.seal(folder, chunks, after=after, generation=generation, dimension=before.dimension)
    else:
        from cezsar.store.local import approximate

        after = before.last_segment_id
        try:
            trained = approximate.load_trained(folder, before)
            part = approximate.seal(
                folder, before, trained, rows.vectors(after=after), after=after, generation=generation, onto=onto
            )
        except OSError as error:
            raise CacheUnusable(f"its file cannot be read: {error.strerror}") from None
    return _serve(folder, replace(before, parts=(*before.parts[: len(before.parts) - len(onto)], part)), is_new=False)


def _small(parts: tuple[Sealed, ...], count: int) -> tuple[Sealed, ...]:
    """The last parts, as long as what comes after each is at least half as large: then every vector is written a few
    times in all, and there are few parts."""
    kept = len(parts)
    while kept and 2 * count >= parts[kept - 1].count and count + parts[kept - 1].count <= _LARGEST:
        kept -= 1
        count += parts[kept].count
    return parts[kept:]


def _begun(folder: Path, info: Info, count: int) -> Stamp | None:
    """What an earlier run has made of lists that are still good enough; None if there is nothing of the kind."""
    try:
        begun = stamp.read(folder / NEXT)
        is_fit = begun.lists > 1 and (begun.index_id, begun.dimension) == (info.index_id, info.encoder.dimension)
        if not is_fit or count >= 2 * begun.trained_on or stamp.damage(folder, begun):
            return None
    except CacheUnusable:
        return None
    return begun


def _heard(chunks: Iterable[tuple[Ids, Vectors]], best: Best, *, after: int) -> Iterator[tuple[Ids, Vectors]]:
    """The chunks of ids above after, once best has heard of all."""
    for ids, vectors in chunks:
        best.add(ids, vectors)
        if len(new := np.flatnonzero(ids > after)):
            yield ids[new], vectors[new]


def _slice(chunks: Iterable[tuple[Ids, Vectors]]) -> Iterator[tuple[Ids, Vectors]]:
    """The first chunks, as many as make a part."""
    count = 0
    for ids, vectors in chunks:
        yield ids, vectors
        count += len(ids)
        if count >= _SLICE:
            return


def _serve(folder: Path, told: Stamp, *, is_new: bool = True) -> Stamp:
    """Let a cache count, and delete what it has replaced; lists that are being made stay, unless these are they."""
    stamp.write(folder / STAMP, told)
    if is_new:
        (folder / NEXT).unlink(missing_ok=True)
    try:
        stamp.forget_others(folder, told, stamp.read(folder / NEXT))
    except CacheUnusable:
        stamp.forget_others(folder, told)
    return told
