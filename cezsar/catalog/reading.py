"""What can be asked of the catalog, each inside a Catalog.read() or write()."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import and_, func, or_, select, text
from sqlalchemy.orm import Session

from cezsar.catalog.tables import DeletedSegmentRow, FailureRow, InfoRow, RootRow, SegmentRow, VideoRow, chunks
from cezsar.errors import IndexDamaged
from cezsar.types import Ids, Segment, Vectors

_FOREIGN_KEYS = text("PRAGMA foreign_key_check")
_CHUNK = 10_000  # vectors that are read at once
_LONGEST_S = 1e12  # no video is longer


@dataclass(frozen=True, slots=True)
class File:
    """A file as the catalog knows it: root and path below it as bytes, size in bytes, mtime in nanoseconds."""

    root: bytes
    path: bytes
    size: int
    mtime_ns: int

    @property
    def absolute(self) -> bytes:
        """The whole path."""
        return _joined(self.root, self.path)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file, whole path, size in bytes and mtime in nanoseconds, that a decoder could make nothing of, and why."""

    path: bytes
    size: int
    mtime_ns: int
    decoder: str
    reason: str


@dataclass(frozen=True, slots=True)
class Video:
    """A video in the catalog."""

    id: int
    file: File
    content_sha256: bytes
    duration_s: float
    hidden: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a segment is: its video, its run of near-identical neighbours and that run's whole range."""

    segment_id: int
    video_id: int
    path: Path
    segment: Segment
    run: int
    run_segment: Segment


@dataclass(frozen=True, slots=True)
class Counts:
    """What an index holds: visible videos and segments, their seconds, and hidden videos."""

    videos: int
    segments: int
    duration_s: float
    hidden_videos: int


def generation(session: Session) -> int:
    """How many changes the catalog has seen."""
    return session.scalars(select(InfoRow.generation)).one()


def videos(session: Session) -> list[Video]:
    """Every video, hidden ones too, in the order in which they came."""
    rows = session.execute(
        select(
            VideoRow.id,
            RootRow.path,
            VideoRow.path,
            VideoRow.size,
            VideoRow.mtime_ns,
            VideoRow.content_sha256,
            VideoRow.duration_s,
            VideoRow.hidden,
        )
        .join(RootRow)
        .order_by(VideoRow.id)
    )
    return [Video(row[0], File(*row[1:5]), *row[5:]) for row in rows]


def failures(session: Session) -> list[Failure]:
    """The files that could not be decoded, by path."""
    columns = (FailureRow.path, FailureRow.size, FailureRow.mtime_ns, FailureRow.decoder, FailureRow.reason)
    return [Failure(*row) for row in session.execute(select(*columns).order_by(FailureRow.path))]


def roots(session: Session) -> list[bytes]:
    """The folders that videos, hidden ones too, are kept relative to."""
    return list(session.scalars(select(RootRow.path).where(RootRow.id.in_(select(VideoRow.root_id)))))


def counts(session: Session) -> Counts:
    """What there is to search."""
    shown = select(func.count(), func.coalesce(func.sum(VideoRow.duration_s), 0.0)).where(~VideoRow.hidden)
    num_videos, duration_s = session.execute(shown).one()
    num_segments = session.scalars(select(func.count()).select_from(SegmentRow).join(VideoRow).where(~VideoRow.hidden))
    num_hidden = session.scalars(select(func.count()).select_from(VideoRow).where(VideoRow.hidden))
    return Counts(num_videos, num_segments.one(), duration_s, num_hidden.one())


def last_segment_id(session: Session) -> int:
    """The highest id given to a segment that is still there; 0 when there is none."""
    return session.scalars(select(func.coalesce(func.max(SegmentRow.id), 0))).one()


def num_segments_after(session: Session, segment_id: int) -> int:
    """How many segments, hidden ones too, have a higher id."""
    return session.scalars(select(func.count()).select_from(SegmentRow).where(SegmentRow.id > segment_id)).one()


def vectors(session: Session, *, dimension: int) -> Iterator[tuple[Ids, Vectors]]:
    """All segments' ids and vectors, hidden ones too, by id, in bounded chunks."""
    last = 0
    while True:
        query = select(SegmentRow.id, SegmentRow.vector).where(SegmentRow.id > last).order_by(SegmentRow.id)
        rows = session.execute(query.limit(_CHUNK)).all()
        if not rows:
            return
        last = rows[-1][0]
        yield np.array([row[0] for row in rows], np.int64), _matrix([row[1] for row in rows], dimension)


def tail(
    session: Session, *, after: int, dimension: int, video_ids: frozenset[int] | None = None
) -> tuple[Ids, Vectors]:
    """Visible segments with an id above after, of the given videos or of all: (N,) ids and (N, D) vectors."""
    query = (
        select(SegmentRow.id, SegmentRow.video_id, SegmentRow.vector)
        .join(VideoRow)
        .where(SegmentRow.id > after, ~VideoRow.hidden)
        .order_by(SegmentRow.id)
    )
    rows = [row for row in session.execute(query) if video_ids is None or row[1] in video_ids]
    return np.array([row[0] for row in rows], np.int64), _matrix([row[2] for row in rows], dimension)


def hidden(session: Session) -> Ids:
    """The segments of hidden videos."""
    return np.array(session.scalars(select(SegmentRow.id).join(VideoRow).where(VideoRow.hidden)).all(), np.int64)


def deleted(session: Session, *, since: int) -> Ids:
    """The segments that were deleted after a generation."""
    query = select(DeletedSegmentRow.segment_id).where(DeletedSegmentRow.generation > since)
    return np.array(session.scalars(query).all(), np.int64)


def masked(session: Session, *, since: int) -> Ids:
    """Segments that a cache of generation since holds and that must not be found: of hidden videos, or deleted."""
    return np.concatenate([hidden(session), deleted(session, since=since)])


def segment_ids(session: Session, video_ids: Iterable[int]) -> Ids:
    """The ids of these videos' segments, ascending."""
    found: list[int] = []
    for some in chunks(sorted(video_ids)):
        found += session.scalars(select(SegmentRow.id).where(SegmentRow.video_id.in_(some)))
    return np.sort(np.array(found, np.int64))


def segments(session: Session, video_id: int, *, dimension: int) -> tuple[tuple[Segment, ...], Vectors]:
    """A video's segments in order, and their (N, D) vectors."""
    rows = session.execute(
        select(SegmentRow.start_s, SegmentRow.end_s, SegmentRow.vector)
        .where(SegmentRow.video_id == video_id)
        .order_by(SegmentRow.id)
    ).all()
    return tuple(_segment(row[0], row[1]) for row in rows), _matrix([row[2] for row in rows], dimension)


def places(session: Session, ids: Sequence[int]) -> dict[int, Place]:
    """Where these segments are; ids that are not there are left out."""
    found: dict[int, Place] = {}
    for some in chunks(ids):
        of_videos = select(SegmentRow.video_id).where(SegmentRow.id.in_(some))
        whole = (
            select(
                SegmentRow.video_id,
                SegmentRow.run,
                func.min(SegmentRow.start_s).label("start_s"),
                func.max(SegmentRow.end_s).label("end_s"),
            )
            .where(SegmentRow.video_id.in_(of_videos))
            .group_by(SegmentRow.video_id, SegmentRow.run)
            .subquery()
        )
        rows = session.execute(
            select(
                SegmentRow.id,
                SegmentRow.video_id,
                RootRow.path,
                VideoRow.path,
                SegmentRow.start_s,
                SegmentRow.end_s,
                SegmentRow.run,
                whole.c.start_s,
                whole.c.end_s,
            )
            .join(VideoRow, VideoRow.id == SegmentRow.video_id)
            .join(RootRow, RootRow.id == VideoRow.root_id)
            .join(whole, and_(whole.c.video_id == SegmentRow.video_id, whole.c.run == SegmentRow.run))
            .where(SegmentRow.id.in_(some))
        )
        for row in rows:
            path = Path(os.fsdecode(_joined(row[2], row[3])))
            found[row[0]] = Place(row[0], row[1], path, _segment(row[4], row[5]), row[6], _segment(row[7], row[8]))
    return found


def inconsistencies(session: Session) -> list[str]:
    """What the database itself finds wrong, and videos and segments that make no sense; empty where all is well."""
    problems = [f"the catalog: {row}" for row in session.scalars(text("PRAGMA integrity_check(20)")) if row != "ok"]
    problems += [f"the catalog: a row of {row[0]} refers to nothing" for row in session.execute(_FOREIGN_KEYS)]
    empty = select(func.count()).select_from(VideoRow).where(~VideoRow.id.in_(select(SegmentRow.video_id)))
    backward = select(func.count()).select_from(SegmentRow).where(SegmentRow.start_s >= SegmentRow.end_s)
    no_time = or_(
        func.typeof(SegmentRow.start_s) != "real", func.typeof(SegmentRow.end_s) != "real",
        SegmentRow.start_s < 0, SegmentRow.end_s > _LONGEST_S,
    )  # fmt: skip
    timeless = select(func.count()).select_from(SegmentRow).where(no_time)
    numberless = select(func.count()).select_from(SegmentRow).where(SegmentRow.id < 1)
    nameless = select(func.count()).select_from(VideoRow).where(func.typeof(VideoRow.path) != "blob")
    for query, what in (
        (empty, "videos have no segments"),
        (backward, "segments end before they start"),
        (timeless, "segments have times that cannot be"),
        (numberless, "segments have ids that cannot be"),
        (nameless, "videos have paths that cannot be"),
    ):
        if count := session.scalars(query).one():
            problems.append(f"{count} {what}")
    return problems


def _joined(root: object, path: object) -> bytes:
    if not (isinstance(root, bytes) and isinstance(path, bytes)):
        raise IndexDamaged("Some paths in the catalog are none: `cezsar verify` says more.")
    return os.path.join(root, path)


def _segment(start_s: object, end_s: object) -> Segment:
    """A stretch, as it can be: SQLite would keep anything in any column."""
    if isinstance(start_s, float) and isinstance(end_s, float) and 0 <= start_s < end_s <= _LONGEST_S:
        return Segment(start_s, end_s)
    raise IndexDamaged("Some segments in the catalog have times that cannot be: `cezsar verify` says more.")


def _matrix(blobs: list[bytes], dimension: int) -> Vectors:
    if any(not isinstance(blob, bytes) or len(blob) != 4 * dimension for blob in blobs):
        raise IndexDamaged("Some vectors in the catalog do not have the index's dimension.")
    return np.frombuffer(b"".join(blobs), "<f4").astype(np.float32).reshape(len(blobs), dimension)
