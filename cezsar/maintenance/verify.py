"""Proof that rows and vectors agree."""

from __future__ import annotations

from dataclasses import dataclass

from cezsar import store
from cezsar.errors import CacheMissing, CacheUnusable, IndexDamaged


@dataclass(frozen=True, slots=True)
class Verification:
    """videos and segments count what the catalog holds, hidden ones too; problems is empty if all agree."""

    videos: int
    segments: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(index: store.Catalog) -> Verification:
    """Compare the catalog with itself and with the cache, if there is one: ids, vectors and checksum, exactly."""
    problems = []
    cache = None
    with index.read() as rows:
        try:
            cache = index.open_cache(rows)
        except CacheMissing:
            pass  # the catalog serves alone, as it does until a first run is over
        except CacheUnusable as error:
            problems.append(f"the cache cannot be used: {error}; `cezsar rebuild` makes it anew")
        num_videos, num_segments = len(rows.videos()), rows.num_segments_after(0)
        problems += rows.inconsistencies()
        try:
            problems += index.differences(rows, cache)
        except IndexDamaged as error:
            problems.append(str(error))
    if cache is not None and (wrong := index.cache_damage()):
        problems.append(f"{wrong}; `cezsar rebuild` makes it anew")
    return Verification(num_videos, num_segments, tuple(problems))
