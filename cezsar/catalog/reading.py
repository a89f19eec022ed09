"""What can be asked of the catalog, each of a snapshot that Catalog.read() gives: plain SQL on SQLite."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from cezsar.catalog.connection import Snapshot, chunks
from cezsar.catalog.outline import Outline, unpacked
from cezsar.errors import IndexDamaged
from cezsar.paths import below
from cezsar.types import Ids, Segment, Vectors

_PARTS = "SELECT segments.id, video_id, start_s, end_s, best_s FROM segments"
_CHUNK = 10_000  # vectors that are read at once
_LONGEST_S = 1e12  # no video is longer
_INODE_BITS = (1 << 63) - 1
_FILE = "roots.path, videos.path, size, mtime_ns, inode, ctime_ns"  # as File has them


# What a query asks; a test holds that indices answer it
HIDDEN = "SELECT segments.id FROM videos JOIN segments ON video_id = videos.id WHERE hidden = 1"
PLAIN = """
SELECT segments.id FROM segments INDEXED BY ix_segments_plain JOIN videos ON videos.id = video_id
WHERE plain = 1 AND hidden = 0
"""
DELETED = "SELECT segment_id FROM deleted_segments WHERE generation > ?"
TAIL = """
SELECT segments.id, vector FROM segments JOIN videos ON videos.id = video_id
WHERE segments.id > ? AND hidden = 0 ORDER BY segments.id
"""
OF_VIDEOS = "SELECT id FROM segments WHERE video_id IN ({})"
OUTLINES = """
SELECT video_id, shots, fingerprints, duration_s FROM outlines JOIN videos ON videos.id = video_id
WHERE video_id IN ({})
"""
VECTORS_OF = "SELECT id, vector FROM segments WHERE id IN ({}) ORDER BY id"
RUNS = "SELECT id, video_id, run FROM segments WHERE id IN ({})"
OF_RUNS = """
WITH wanted (video_id, run) AS (VALUES {})
SELECT segments.id FROM wanted CROSS JOIN segments INDEXED BY ix_segments_run
    ON segments.video_id = wanted.video_id AND segments.run = wanted.run
"""
PLACES = """
WITH wanted (video_id, run) AS (VALUES {})
SELECT wanted.video_id, wanted.run, roots.path, videos.path, min(start_s), max(end_s)
FROM wanted CROSS JOIN segments INDEXED BY ix_segments_run
    ON segments.video_id = wanted.video_id AND segments.run = wanted.run
CROSS JOIN videos ON videos.id = wanted.video_id JOIN roots ON roots.id = root_id
GROUP BY wanted.video_id, wanted.run
"""

Run: TypeAlias = tuple[int, int]  # a video's id, and the number of a stretch of near-identical neighbours in it


class File(NamedTuple):
    """A file as the catalog knows it: root and path below it as bytes, size in bytes, times in nanoseconds.

    inode and ctime_ns are None where they were not kept. inode is the system's number less its highest bit, which
    SQLite's integers have no room for.
    """

    root: bytes
    path: bytes
    size: int
    mtime_ns: int
    inode: int | None = None
    ctime_ns: int | None = None

    @classmethod
    def of(cls, root: bytes, path: bytes, status: os.stat_result) -> File:
        """A file below root as the system describes it."""
        return cls(root, path, status.st_size, status.st_mtime_ns, status.st_ino & _INODE_BITS, status.st_ctime_ns)

    @property
    def absolute(self) -> bytes:
        """The whole path."""
        return _joined(self.root, self.path)

    @property
    def full_path(self) -> Path:
        """The whole path as a Path; bytes that are no text stay as they are."""
        return Path(os.fsdecode(self.absolute))


@dataclass(frozen=True, slots=True)
class Failure:
    """A file, whole path and the rest as in File, that a decoder could make nothing of, and why."""

    path: bytes
    size: int
    mtime_ns: int
    decoder: str
    reason: str
    inode: int | None = None
    ctime_ns: int | None = None

    @classmethod
    def of(cls, file: File, decoder: str, reason: str) -> Failure:
        """This file's, as it was when it was read."""
        return cls(file.absolute, file.size, file.mtime_ns, decoder, reason, file.inode, file.ctime_ns)


class Video(NamedTuple):
    """A video in the catalog; stream is the number of the one that was taken, None if not noted.

    It counts the file's video streams alone, from 0 (FFmpeg's v:N).
    """

    id: int
    file: File
    content_sha256: bytes
    duration_s: float
    hidden: bool
    stream: int | None = None


class Part(NamedTuple):
    """A segment as a row: its id, its video, its stretch in seconds, and when the frame that stands for it is shown.

    best_s is None for a segment of before frames were chosen.
    """

    id: int
    video_id: int
    start_s: float
    end_s: float
    best_s: float | None


class Place(NamedTuple):
    """Where a segment is: its video, and the range of its run of near-identical neighbours, in seconds."""

    video_id: int
    path: Path
    run: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Counts:
    """What an index holds: visible videos and segments, their seconds, and hidden videos."""

    videos: int
    segments: int
    duration_s: float
    hidden_videos: int


@dataclass(frozen=True, slots=True)
class Embedding:
    """A video as segments and vectors: vectors is (len(segments), D) unit float32, runs numbers similar neighbours.

    best_s says when each segment's best frame is shown, the one to stand for it; None where nobody chose. stream is the
    number of the stream that was decoded, among the file's video streams from 0; None where nobody noted it. outline is
    None where nobody looked for shots. plain says which segments show next to nothing; None where nobody looked.
    """

    duration_s: float
    segments: tuple[Segment, ...]
    runs: tuple[int, ...]
    vectors: Vectors
    best_s: tuple[float, ...] | None = None
    stream: int | None = None
    outline: Outline | None = None
    plain: tuple[bool, ...] | None = None


def generation(snapshot: Snapshot) -> int:
    """How many changes the catalog has seen."""
    (found,) = snapshot.execute("SELECT generation FROM index_info").fetchone()
    return int(found)


def videos(snapshot: Snapshot) -> list[Video]:
    """Every video, hidden ones too, in the order in which they came."""
    rows = snapshot.execute(
        f"SELECT videos.id, {_FILE}, content_sha256, duration_s, hidden, stream"
        " FROM videos JOIN roots ON roots.id = root_id ORDER BY videos.id"
    )
    return [_video(row) for row in rows]


def video(snapshot: Snapshot, video_id: int) -> Video | None:
    """The visible video of this id, if there is one."""
    found = videos_shown(snapshot, after=video_id - 1, limit=1)
    return found[0] if found and found[0].id == video_id else None


def videos_shown(snapshot: Snapshot, *, after: int, limit: int) -> list[Video]:
    """The first visible videos with an id above after, by id."""
    rows = snapshot.execute(
        f"SELECT videos.id, {_FILE}, content_sha256, duration_s, hidden, stream"
        " FROM videos JOIN roots ON roots.id = root_id WHERE videos.id > ? AND hidden = 0 ORDER BY videos.id LIMIT ?",
        (after, limit),
    )
    return [_video(row) for row in rows]


def _video(row: Sequence[Any]) -> Video:
    number, *file, content_sha256, duration_s, hidden, stream = row
    return Video(number, File(*file), content_sha256, duration_s, bool(hidden), stream)


def failures(snapshot: Snapshot) -> list[Failure]:
    """The files that could not be decoded, by path."""
    rows = snapshot.execute("SELECT path, size, mtime_ns, decoder, reason, inode, ctime_ns FROM failures ORDER BY path")
    return [Failure(*row) for row in rows]


def roots(snapshot: Snapshot) -> list[bytes]:
    """The folders that videos, hidden ones too, are kept relative to."""
    rows = snapshot.execute("SELECT path FROM roots WHERE id IN (SELECT root_id FROM videos)")
    return [path for (path,) in rows]


def counts(snapshot: Snapshot) -> Counts:
    """What there is to search."""
    shown = "SELECT count(*), coalesce(sum(duration_s), 0.0) FROM videos WHERE hidden = 0"
    num_videos, duration_s = snapshot.execute(shown).fetchone()
    segments_shown = "SELECT count(*) FROM segments JOIN videos ON videos.id = video_id WHERE hidden = 0"
    (num_segments,) = snapshot.execute(segments_shown).fetchone()
    (num_hidden,) = snapshot.execute("SELECT count(*) FROM videos WHERE hidden = 1").fetchone()
    return Counts(num_videos, num_segments, duration_s, num_hidden)


def other_streams(snapshot: Snapshot) -> Sequence[tuple[Path, int]]:
    """Visible videos of which another video stream than the first was taken: their paths and its number, by path."""
    query = "SELECT roots.path, videos.path, stream FROM videos JOIN roots ON roots.id = root_id"
    rows = snapshot.execute(f"{query} WHERE hidden = 0 AND stream > 0 ORDER BY 1, 2").fetchall()
    return [(Path(os.fsdecode(os.path.join(root, path))), int(stream)) for root, path, stream in rows]


def num_segments_after(snapshot: Snapshot, segment_id: int) -> int:
    """How many segments, hidden ones too, have a higher id."""
    (found,) = snapshot.execute("SELECT count(*) FROM segments WHERE id > ?", (segment_id,)).fetchone()
    return int(found)


def vectors(snapshot: Snapshot, *, dimension: int, after: int = 0) -> Iterator[tuple[Ids, Vectors]]:
    """The ids above after and vectors of all segments, hidden ones too, by id, in bounded chunks."""
    while True:
        query = f"SELECT id, vector FROM segments WHERE id > ? ORDER BY id LIMIT {_CHUNK}"
        rows = snapshot.execute(query, (after,)).fetchall()
        if not rows:
            return
        after = rows[-1][0]
        yield _ids(rows), _matrix([row[1] for row in rows], dimension)


def vectors_of(snapshot: Snapshot, ids: Ids, *, dimension: int) -> tuple[Ids, Vectors]:
    """The vectors of these segments, by ascending id: (N,) ids and (N, D); those that are not there are left out."""
    rows: list[tuple[int, bytes]] = []
    for some in chunks(np.sort(ids).tolist()):
        rows += snapshot.execute(VECTORS_OF.format(_marks(some)), some)
    return _ids(rows), _matrix([row[1] for row in rows], dimension)


def tail(snapshot: Snapshot, *, after: int, dimension: int) -> tuple[Ids, Vectors]:
    """Visible segments with an id above after: (N,) ids and (N, D) vectors."""
    rows = snapshot.execute(TAIL, (after,)).fetchall()
    return _ids(rows), _matrix([row[1] for row in rows], dimension)


def hidden(snapshot: Snapshot) -> Ids:
    """The segments of hidden videos."""
    return _ids(snapshot.execute(HIDDEN).fetchall())


def deleted(snapshot: Snapshot, *, since: int) -> Ids:
    """The segments that were deleted after a generation."""
    return _ids(snapshot.execute(DELETED, (since,)).fetchall())


def plain(snapshot: Snapshot) -> Ids:
    """The visible segments that show next to nothing, ascending."""
    return np.sort(_ids(snapshot.execute(PLAIN).fetchall()))


def masked(snapshot: Snapshot, *, since: int) -> Ids:
    """Segments that a cache of generation since holds and that must not be found: of hidden videos, or deleted."""
    return np.concatenate([hidden(snapshot), deleted(snapshot, since=since)])


def segment_ids(snapshot: Snapshot, video_ids: Iterable[int]) -> Ids:
    """The ids of these videos' segments, ascending."""
    found: list[tuple[int]] = []
    for some in chunks(sorted(video_ids)):
        found += snapshot.execute(OF_VIDEOS.format(_marks(some)), some)
    return np.sort(_ids(found))


def segments(snapshot: Snapshot, video_id: int, *, dimension: int) -> tuple[tuple[Segment, ...], Vectors]:
    """A video's segments in order, and their (N, D) vectors."""
    query = "SELECT start_s, end_s, vector FROM segments WHERE video_id = ? ORDER BY id"
    rows = snapshot.execute(query, (video_id,)).fetchall()
    return tuple(_segment(row[0], row[1]) for row in rows), _matrix([row[2] for row in rows], dimension)


def part(snapshot: Snapshot, segment_id: int) -> Part | None:
    """The segment of this id, of a visible video, if there is one."""
    query = f"{_PARTS} JOIN videos ON videos.id = video_id WHERE segments.id = ? AND hidden = 0"
    row = snapshot.execute(query, (segment_id,)).fetchone()
    return None if row is None else _part(row)


def parts(snapshot: Snapshot, video_id: int, *, after: int, limit: int) -> list[Part]:
    """The first of a video's segments with an id above after, in order."""
    query = f"{_PARTS} WHERE video_id = ? AND segments.id > ? ORDER BY segments.id LIMIT ?"
    return [_part(row) for row in snapshot.execute(query, (video_id, after, limit))]


def runs(snapshot: Snapshot, ids: Sequence[int]) -> dict[int, Run]:
    """The runs that these segments belong to, by id; ids that are not there are left out."""
    found: dict[int, Run] = {}
    for some in chunks(ids):
        found |= {number: (video, run) for number, video, run in snapshot.execute(RUNS.format(_marks(some)), some)}
    return found


def segments_of_runs(snapshot: Snapshot, wanted: Iterable[Run]) -> Ids:
    """The ids of all segments of these runs."""
    found: list[tuple[int]] = []
    for some in chunks(list(wanted)):
        found += snapshot.execute(OF_RUNS.format(_pairs(some)), list(chain.from_iterable(some)))
    return _ids(found)


def ranges(snapshot: Snapshot, wanted: Iterable[Run]) -> dict[Run, Place]:
    """Where these runs are; ones that are not there are left out. Each run is read once."""
    found: dict[Run, Place] = {}
    paths: dict[tuple[bytes, bytes], Path] = {}
    for some in chunks(list(wanted)):
        rows = snapshot.execute(PLACES.format(_pairs(some)), list(chain.from_iterable(some)))
        for video, run, root, name, start_s, end_s in rows:
            _check_times(start_s, end_s)
            if (path := paths.get((root, name))) is None:
                path = paths[root, name] = Path(os.fsdecode(_joined(root, name)))
            found[video, run] = Place(video, path, run, start_s, end_s)
    return found


def outlines(snapshot: Snapshot, video_ids: Iterable[int]) -> dict[int, Outline]:
    """The outlines of these videos, by id; videos that were indexed before there were any are left out."""
    found: dict[int, Outline] = {}
    for some in chunks(sorted(video_ids)):
        for video, *parts in snapshot.execute(OUTLINES.format(_marks(some)), some):
            found[video] = unpacked(*parts)
    return found


def contents(snapshot: Snapshot, video_ids: Iterable[int]) -> dict[int, bytes]:
    """The hashes of these videos' files, by id."""
    found: dict[int, bytes] = {}
    for some in chunks(sorted(video_ids)):
        found |= dict(snapshot.execute(f"SELECT id, content_sha256 FROM videos WHERE id IN ({_marks(some)})", some))
    return found


def num_without_outline(snapshot: Snapshot) -> int:
    """How many visible videos were indexed before there were outlines."""
    lacking = "SELECT count(*) FROM videos WHERE hidden = 0 AND id NOT IN (SELECT video_id FROM outlines)"
    (found,) = snapshot.execute(lacking).fetchone()
    return int(found)


def places(snapshot: Snapshot, ids: Sequence[int]) -> dict[int, Place]:
    """Where these segments are, by id; ids that are not there are left out."""
    belongs = runs(snapshot, ids)
    where = ranges(snapshot, set(belongs.values()))
    return {number: where[run] for number, run in belongs.items() if run in where}


def inconsistencies(snapshot: Snapshot) -> list[str]:
    """What the database itself finds wrong, and videos and segments that make no sense; empty where all is well."""
    problems = [f"the catalog: {told}" for (told,) in snapshot.execute("PRAGMA integrity_check(20)") if told != "ok"]
    problems += [
        f"the catalog: a row of {row[0]} refers to nothing" for row in snapshot.execute("PRAGMA foreign_key_check")
    ]
    for rows, what in (
        ("videos WHERE id NOT IN (SELECT video_id FROM segments)", "videos have no segments"),
        ("segments WHERE start_s >= end_s", "segments end before they start"),
        (
            "segments WHERE typeof(start_s) != 'real' OR typeof(end_s) != 'real' OR start_s < 0"
            f" OR end_s > {_LONGEST_S} OR typeof(best_s) NOT IN ('real', 'null')"
            f" OR best_s NOT BETWEEN 0 AND {_LONGEST_S}",
            "segments have times that cannot be",
        ),
        ("segments WHERE id < 1", "segments have ids that cannot be"),
        ("videos WHERE typeof(path) != 'blob'", "videos have paths that cannot be"),
        ("segments WHERE plain NOT IN (0, 1)", "segments are neither plain nor not"),
    ):
        (count,) = snapshot.execute(f"SELECT count(*) FROM {rows}").fetchone()
        if count:
            problems.append(f"{count} {what}")
    kept = snapshot.execute("SELECT shots, fingerprints, duration_s FROM outlines JOIN videos ON videos.id = video_id")
    if wrong := sum(not _is_outline(row) for row in kept):
        problems.append(f"{wrong} videos have outlines that cannot be")
    return problems


def _is_outline(row: tuple[Any, ...]) -> bool:
    try:
        unpacked(*row)
    except IndexDamaged:
        return False
    return True


def _marks(values: Sequence[int]) -> str:
    """The places of so many values in a statement."""
    return ",".join("?" * len(values))


def _pairs(values: Sequence[Run]) -> str:
    """The places of so many pairs in a statement."""
    return ",".join(["(?,?)"] * len(values))


def _ids(rows: Sequence[tuple[Any, ...]]) -> Ids:
    """The first column."""
    return np.array([row[0] for row in rows], np.int64)


def _joined(root: object, path: object) -> bytes:
    if not (isinstance(root, bytes) and isinstance(path, bytes)):
        raise IndexDamaged("Some paths in the catalog are none: `cezsar verify` says more.")
    return below(root, path)


def _segment(start_s: object, end_s: object) -> Segment:
    _check_times(start_s, end_s)
    return Segment(start_s, end_s)  # type: ignore[arg-type]


def _part(row: tuple[Any, ...]) -> Part:
    found = Part(*row)
    _check_times(found.start_s, found.end_s)
    if found.best_s is not None:
        _check_times(found.best_s, _LONGEST_S)
    return found


def _check_times(start_s: object, end_s: object) -> None:
    """That a stretch is as it can be: SQLite would keep anything in any column."""
    if not (isinstance(start_s, float) and isinstance(end_s, float) and 0 <= start_s < end_s <= _LONGEST_S):
        raise IndexDamaged("Some segments in the catalog have times that cannot be: `cezsar verify` says more.")


def _matrix(blobs: list[bytes], dimension: int) -> Vectors:
    if set(map(type, blobs)) - {bytes} or set(map(len, blobs)) - {4 * dimension}:
        raise IndexDamaged("Some vectors in the catalog do not have the index's dimension.")
    return np.frombuffer(b"".join(blobs), "<f4").astype(np.float32).reshape(len(blobs), dimension)
