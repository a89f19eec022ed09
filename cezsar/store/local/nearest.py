"""The nearest segments of one state of an index: the cache's, less those that must not be found, and the newer ones."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cezsar.errors import CacheUnusable
from cezsar.store import scores
from cezsar.store.local import keeping, stamp
from cezsar.store.local.cache import Cache
from cezsar.store.local.choice import Choice
from cezsar.store.words import Found, Info, Where, kept
from cezsar.types import Ids, Vectors

if TYPE_CHECKING:
    from cezsar.store.rows import Rows

_FEW = 2_000  # segments that may be found: so many are read from the catalog and compared one by one
_SPARE = 8  # candidates more than are asked for: some may be hidden
_SPARE_OF_CODES = 48  # and codes rank a little otherwise than vectors do
_LOOKS = 3  # without a mask, each at four times as many candidates
_SAME_SCORE = 2e-6  # scores nearer than this are of one vector, rounded
_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class State:
    """The facts of an index before a search: its cache, the segments that are newer, and how many segments are visible.

    files and generation tell one state from another. chosen are the segments of the conditions asked for last.
    """

    files: tuple[tuple[object, ...], ...]
    generation: int
    cache: Cache | None
    tail: tuple[Ids, Vectors]
    size: int
    chosen: dict[Hashable, Ids] = field(default_factory=dict)


class States:
    """The last state of an index that was searched, for all threads; notice says why its cache is not used."""

    def __init__(self, folder: Path, info: Info, *, cores: int | None) -> None:
        self._folder, self._info, self.cores = folder, info, cores
        self._last: State | None = None
        self.notice: str | None = None

    def of(self, rows: Rows) -> State:
        """The state of rows that have given no answer yet; otherwise the cache may be newer, and is not used."""
        files, last = stamp.on_disk(self._folder), self._last
        cache: Cache | None = None
        if last is None or last.files != files:
            try:
                cache = keeping.opened(self._folder, rows, self._info)
                self.notice = None
            except CacheUnusable as error:
                self.notice = _not_used(error)
        else:
            cache = last.cache
        generation = rows.generation()
        if last is None or (last.files, last.generation) != (files, generation):
            if cache is None:
                size = rows.num_segments_after(0) - rows.num_hidden(1 << 62)
                last = State(files, generation, None, (_NONE, _none(self._info)), size)
            else:
                tail = rows.tail(after=cache.stamp.last_segment_id)
                num_gone = len(keeping.gone(rows, cache.stamp)) + rows.num_hidden(cache.stamp.last_segment_id)
                last = State(files, generation, cache, tail, cache.stamp.count - num_gone + len(tail[0]))
            self._last = last  # other threads may hold rows of other states: theirs are no concern of this one
        return last

    def without_cache(self, state: State, error: CacheUnusable) -> State:
        """The same state without its cache, after a part of the cache was found damaged."""
        self.notice = _not_used(error)
        self._last = replace(state, cache=None, tail=(_NONE, _none(self._info)))
        return self._last


class Nearest:
    """The nearest segments in one state; searches in one direction share the rows that were read."""

    def __init__(self, rows: Rows, states: States) -> None:
        self._rows, self._states = rows, states
        self._state = states.of(rows)
        self._compared: tuple[bytes, Ids, NDArray[np.float32]] | None = None

    def found(self, query: Vectors, k: int, *, where: Where, without: Ids, exact: bool) -> Found:
        """As Rows.nearest."""
        only, but = self._only(where), np.unique(without)
        if only is not None:
            only = np.setdiff1d(only, but, assume_unique=True) if len(but) else only
            if len(only) <= _FEW:
                return scores.found(query, *self._rows.vectors_of(only), k)
        cache = self._state.cache
        if cache is not None and (cache.is_exact or not exact):
            try:
                return self._with_cache(cache, query, k, where, Choice(only, but))
            except CacheUnusable as error:  # what was read of it, now, is damaged
                self._state = self._states.without_cache(self._state, error)
        return self._by_the_catalog(query, k, where, Choice(only, but))

    def size(self, where: Where) -> int:
        """The number of visible segments of the videos that where allows."""
        return len(self._of(where)) if where.names_videos else self._state.size

    def _only(self, where: Where) -> Ids | None:
        """The ids, ascending, that alone may be found; None if that is no condition, or a light one."""
        if where.names_videos:
            ids = self._of(where)
            if where.plain is None:
                return ids
            plain = np.isin(ids, self._rows.plain())
            return ids[plain if where.plain else ~plain]
        return self._rows.plain() if where.plain else None

    def _of(self, where: Where) -> Ids:
        known, asked = self._state.chosen, where.meaning()
        if (ids := known.get(asked)) is None:
            ids = kept(known, asked, self._rows.segment_ids(self._rows.videos_where(where)))
        return ids

    def _with_cache(self, cache: Cache, query: Vectors, k: int, where: Where, choice: Choice) -> Found:
        spare = _SPARE if cache.is_exact else k // 8 + _SPARE_OF_CODES
        most, breadth, num_looks = k + spare, max(1.0, (k / 10) ** 0.3), 0
        while True:
            ids, own, is_all = cache.candidates(query, most, choice, breadth=breadth, cores=self._states.cores)
            found = self._shown(cache, query, ids, own, where)
            if len(found.ids) >= k or (is_all and len(ids) < most):
                break
            most, breadth, num_looks = most * 4, breadth * 4, num_looks + 1
            if num_looks == _LOOKS and choice.only is None:  # much of what is near is hidden: leave out all of that
                most, choice = k + spare, Choice(None, np.union1d(choice.but, self._masked(cache, where)))
        ids, vectors = self._state.tail
        shown = self._allowed(ids, where, choice)
        fresh = scores.found(query, ids[shown], vectors[shown], k)
        return _best(found, fresh, k)

    def _shown(self, cache: Cache, query: Vectors, ids: Ids, own: NDArray[np.float32] | None, where: Where) -> Found:
        """The visible ones of a cache's candidates, ranked by the catalog's vectors.

        Raises CacheUnusable if the catalog does not know one, or has another vector than an exact cache.
        """
        known, vectors = self._rows.shown(ids, where)
        if len(known) < len(ids) and len(lost := np.setdiff1d(ids, known)):
            lost = np.setdiff1d(lost, self._rows.known(lost))  # the others are hidden, or plain
            if len(lost) and len(np.setdiff1d(lost, keeping.gone(self._rows, cache.stamp))):
                raise CacheUnusable("it holds segments that the catalog does not")
        found = scores.similarities(query, vectors)
        if own is not None:
            order = np.argsort(ids)
            held = own[order][np.searchsorted(ids, known, sorter=order)]
            if not (np.abs(held - found) <= _SAME_SCORE).all():
                raise CacheUnusable("it holds other vectors than the catalog")
        return scores.found(query, known, vectors, len(known))

    def _allowed(self, ids: Ids, where: Where, choice: Choice) -> NDArray[np.bool_]:
        """For each of these visible ids whether it may be found: (N,)."""
        shown = choice.mask(ids)
        return shown & ~np.isin(ids, self._rows.plain()) if where.plain is False else shown

    def _masked(self, cache: Cache, where: Where) -> Ids:
        """What a cache holds and must not be found."""
        plain = self._rows.plain() if where.plain is False else _NONE
        return np.concatenate([self._rows.hidden(), keeping.gone(self._rows, cache.stamp), plain])

    def _by_the_catalog(self, query: Vectors, k: int, where: Where, choice: Choice) -> Found:
        """By every vector, read once, a part at a time: if there is no cache, or none that is exact."""
        if self._compared is None or self._compared[0] != query.tobytes():
            parts = [(_NONE, np.empty(0, np.float32))]
            parts += [(ids, scores.similarities(query, rows)) for ids, rows in self._rows.tails()]
            ids = np.concatenate([some for some, _ in parts])
            self._compared = query.tobytes(), ids, np.concatenate([found for _, found in parts])
        _, ids, found = self._compared
        shown = self._allowed(ids, where, choice)
        best, _ = scores.best(ids[shown], found[shown], k)
        return scores.found(query, *self._rows.vectors_of(best), k)


def _best(one: Found, other: Found, k: int) -> Found:
    """The best k of two answers, without an id in common."""
    ids, ranked = scores.merged(one[:2], other[:2], k)
    both, vectors = np.concatenate([one.ids, other.ids]), np.concatenate([one.vectors, other.vectors])
    order = np.argsort(both)
    return Found(ids, ranked, vectors[order[np.searchsorted(both, ids, sorter=order)]])


def _none(info: Info) -> Vectors:
    return np.empty((0, info.encoder.dimension), np.float32)


def _not_used(error: CacheUnusable) -> str:
    return f"The cache is not used: {error}. `cezsar rebuild` makes it anew."
