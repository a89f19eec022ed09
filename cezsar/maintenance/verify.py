"""Proof that rows and vectors agree."""

from __future__ import annotations

from dataclasses import dataclass

from cezsar import store


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
    with index.read() as rows:
        problems = index.disagreements(rows)
        problems = rows.inconsistencies() + problems
        num_videos, num_segments = rows.num_videos(), rows.num_segments_after(0)
    return Verification(num_videos, num_segments, tuple(problems))
