"""Keeping a cache in step with its catalog: opening it, and making it anew or longer if that is due."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cezsar.errors import CacheUnusable
from cezsar.store.local import stamp
from cezsar.store.local.cache import APPROXIMATE_FROM, Cache, build, extend, load
from cezsar.store.local.lock import was_interrupted
from cezsar.store.local.stamp import Stamp
from cezsar.store.words import Info
from cezsar.types import Ids

if TYPE_CHECKING:
    from cezsar.store.rows import Rows

_LONGEST_TAIL = 2_000  # segments: a query reads each from the catalog in about 5 microseconds (benchmarks/tail.py)


def opened(folder: Path, rows: Rows, info: Info) -> Cache:
    """The cache for a state that was asked nothing yet: opened first, it is never newer than what is asked then.

    Raises CacheUnusable with the reason; one that is newer than the catalog belongs to a later state of it, which was
    lost.
    """
    cache = load(folder, index_id=info.index_id, dimension=info.encoder.dimension)
    if was_interrupted(folder) and (wrong := stamp.damage(folder, cache.stamp)):
        raise CacheUnusable(wrong)
    if cache.stamp.generation > rows.generation():
        raise CacheUnusable("it is newer than the catalog")
    return cache


def fold_if_due(folder: Path, rows: Rows, info: Info) -> bool:
    """Bring the cache in step if it is unusable, or an eighth of it, or very much, came or went since.

    New segments are added; the cache is made anew if too much of it was deleted, and if there are so many vectors that
    inverted lists are due, or twice as many as these were learnt from.
    """
    _forget_lost(folder, rows)
    try:
        before = opened(folder, rows, info).stamp
        behind = rows.num_segments_after(before.last_segment_id)
        num_gone = len(gone(rows, before))
        count = before.count + behind - num_gone
        if num_gone > before.count / 8:
            build(folder, rows, info)
        elif behind <= min(before.count / 8, _LONGEST_TAIL):
            return False
        elif count >= (2 * before.trained_on if before.trained_on else APPROXIMATE_FROM):
            build(folder, rows, info, resume=True)
        else:
            extend(folder, rows, before)
    except CacheUnusable:
        build(folder, rows, info, resume=True)
    return True


def _forget_lost(folder: Path, rows: Rows) -> None:
    """Delete lists that were being made for a later state of the catalog, which was lost: the ids come again."""
    with suppress(CacheUnusable):
        if stamp.read(folder / stamp.NEXT).generation > rows.generation():
            (folder / stamp.NEXT).unlink()


def gone(rows: Rows, told: Stamp) -> Ids:
    """The segments of a cache that were deleted since."""
    pieces = np.array([piece for part in told.parts for piece in part.pieces], np.int64).reshape(-1, 2)
    if not len(pieces):
        return pieces[:, 0]
    ids, generations = rows.deleted(since=int(pieces[:, 1].min()))
    inside = (ids > pieces[0, 0]) & (ids <= told.last_segment_id)
    ids, generations = ids[inside], generations[inside]
    return np.asarray(ids[generations > pieces[np.searchsorted(pieces[:, 0], ids) - 1, 1]])


def state(folder: Path, rows: Rows, info: Info) -> str:
    """The cache in a few words: how much of the catalog it holds, or why it is not used."""
    try:
        told = opened(folder, rows, info).stamp
    except CacheUnusable as error:
        return f"not used: {error}; `cezsar rebuild` makes it anew"
    how = "exact"
    if told.lists > 1:
        how = f"8-bit codes, {told.probes} of {told.lists:,} lists looked at, recall@10 {told.recall:.3f}"
    behind = rows.num_segments_after(told.last_segment_id)
    return f"{told.count:,} vectors, {how}; {behind:,} newer ones read from the catalog"


def differences(rows: Rows, cache: Cache | None) -> list[str]:
    """Vectors that are not unit, and vectors that the cache lacks, has too many, or has otherwise."""
    num_bad = num_missing = num_other = 0
    known = [np.empty(0, np.int64)]
    cached_ids = cache.ids() if cache else np.empty(0, np.int64)
    last = cache.stamp.last_segment_id if cache else 0
    for ids, vectors in rows.vectors():
        num_bad += int((~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3)).sum())
        ids, vectors = ids[ids <= last], vectors[ids <= last]
        at = np.searchsorted(cached_ids, ids)
        there = at < len(cached_ids)
        there[there] = cached_ids[at[there]] == ids[there]
        num_missing += int((~there).sum())
        if cache and there.any():
            num_other += int((~cache.agrees(ids[there], vectors[there])).sum())
        known.append(ids)
    unknown = np.setdiff1d(cached_ids, np.concatenate(known))
    if cache:
        unknown = np.setdiff1d(unknown, gone(rows, cache.stamp))
    found = (
        (num_bad, "vectors in the catalog are not of length 1"),
        (num_missing, "segments are missing from the cache; `cezsar rebuild` makes it anew"),
        (num_other, "vectors differ between the catalog and the cache; `cezsar rebuild` makes it anew"),
        (len(unknown), "vectors in the cache have no segment; `cezsar rebuild` makes it anew"),
    )
    return [f"{count} {what}" for count, what in found if count]
