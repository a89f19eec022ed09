"""The catalog: videos, segments and vectors in one SQLite database; the truth, and the only door to SQLAlchemy.

SQLAlchemy writes and Alembic migrates. Both take longer to load than a query takes: reading does without them, and what
writes is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cezsar.catalog import homes, outline, pictures
from cezsar.catalog.backup import backup, check
from cezsar.catalog.connection import Snapshot
from cezsar.catalog.homes import FILE
from cezsar.catalog.lock import was_interrupted
from cezsar.catalog.outline import Outline
from cezsar.catalog.reading import (
    Counts,
    Embedding,
    Failure,
    File,
    Part,
    Place,
    Run,
    Video,
    contents,
    counts,
    deleted,
    failures,
    generation,
    inconsistencies,
    masked,
    num_segments_after,
    num_without_outline,
    other_streams,
    outlines,
    part,
    parts,
    places,
    plain,
    ranges,
    roots,
    runs,
    segment_ids,
    segments,
    segments_of_runs,
    tail,
    vectors,
    vectors_of,
    video,
    videos,
    videos_shown,
)
from cezsar.catalog.schema import REVISION
from cezsar.catalog.store import (
    Catalog,
    Info,
    check_creatable,
    create,
    current,
    exists,
    locked,
    needs_a_writer,
    open_place_to_write,
    open_previous,
    open_to_read,
    open_to_write,
    upgrade,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from cezsar.catalog.writing import (
        add_video,
        forget_failures,
        hide_videos,
        note_failure,
        note_files,
        place_video,
        purge_videos,
        replace_video,
    )

__all__ = [
    "FILE",
    "REVISION",
    "Catalog",
    "Counts",
    "Embedding",
    "Failure",
    "File",
    "Info",
    "Outline",
    "Part",
    "Place",
    "Run",
    "Session",
    "Snapshot",
    "Video",
    "add_video",
    "backup",
    "check",
    "check_creatable",
    "contents",
    "counts",
    "create",
    "current",
    "deleted",
    "exists",
    "failures",
    "forget_failures",
    "generation",
    "hide_videos",
    "homes",
    "inconsistencies",
    "locked",
    "masked",
    "needs_a_writer",
    "note_failure",
    "note_files",
    "num_segments_after",
    "num_without_outline",
    "open_place_to_write",
    "open_previous",
    "open_to_read",
    "open_to_write",
    "other_streams",
    "outline",
    "outlines",
    "part",
    "parts",
    "pictures",
    "place_video",
    "places",
    "plain",
    "purge_videos",
    "ranges",
    "replace_video",
    "roots",
    "runs",
    "segment_ids",
    "segments",
    "segments_of_runs",
    "tail",
    "upgrade",
    "vectors",
    "vectors_of",
    "video",
    "videos",
    "videos_shown",
    "was_interrupted",
]


def __getattr__(name: str) -> Any:
    if name == "Session":
        from sqlalchemy.orm import Session

        return Session
    if name in __all__:
        from cezsar.catalog import writing

        return getattr(writing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
