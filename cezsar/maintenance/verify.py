"""Proof that rows and vectors agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cezsar import catalog, vectors
from cezsar.errors import CacheMissing, CacheUnusable, IndexDamaged
from cezsar.maintenance.rebuild import open_cache


@dataclass(frozen=True, slots=True)
class Verification:
    """videos and segments count what the catalog holds, hidden ones too; problems is empty where all agree."""

    videos: int
    segments: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(index: catalog.Catalog) -> Verification:
    """Compare the catalog with itself and with the FAISS cache, if there is one: ids, vectors and checksum, exactly."""
    info, problems = index.info, []
    cache = None
    with index.read() as session:
        try:
            cache = open_cache(index, session)
        except CacheMissing:
            pass  # the catalog serves alone, as it does until a first run is over
        except CacheUnusable as error:
            problems.append(f"the FAISS cache cannot be used: {error}; `cezsar rebuild` makes it anew")
        num_videos, num_segments = len(catalog.videos(session)), catalog.num_segments_after(session, 0)
        problems += catalog.inconsistencies(session)
        try:
            problems += _differences(session, cache, dimension=info.encoder.dimension)
        except IndexDamaged as error:
            problems.append(str(error))
    if cache is not None and (wrong := vectors.damage(index.directory, cache.stamp)):
        problems.append(f"{wrong}; `cezsar rebuild` makes it anew")
    return Verification(num_videos, num_segments, tuple(problems))


def _differences(session: catalog.Snapshot, cache: vectors.Cache | None, *, dimension: int) -> list[str]:
    """Vectors that are not unit, and what the cache has too much, too little or otherwise."""
    num_bad = num_missing = num_other = 0
    known = [np.empty(0, np.int64)]
    cached_ids = cache.ids() if cache else np.empty(0, np.int64)
    last = cache.stamp.last_segment_id if cache else 0
    for ids, rows in catalog.vectors(session, dimension=dimension):
        num_bad += int((~(np.abs(np.linalg.norm(rows, axis=1) - 1) < 1e-3)).sum())
        ids, rows = ids[ids <= last], rows[ids <= last]
        at = np.searchsorted(cached_ids, ids)
        there = at < len(cached_ids)
        there[there] = cached_ids[at[there]] == ids[there]
        num_missing += int((~there).sum())
        if cache and there.any():
            num_other += int((~cache.agrees(ids[there], rows[there])).sum())
        known.append(ids)
    unknown = np.setdiff1d(cached_ids, np.concatenate(known))
    if cache:
        unknown = np.setdiff1d(unknown, catalog.deleted(session, since=cache.stamp.generation))
    found = (
        (num_bad, "vectors in the catalog are not of length 1"),
        (num_missing, "segments are missing from the FAISS cache; `cezsar rebuild` makes it anew"),
        (num_other, "vectors differ between the catalog and the FAISS cache; `cezsar rebuild` makes it anew"),
        (len(unknown), "vectors in the FAISS cache have no segment; `cezsar rebuild` makes it anew"),
    )
    return [f"{count} {what}" for count, what in found if count]
