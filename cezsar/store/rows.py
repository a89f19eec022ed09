"""Reading a catalog, in plain SQL, of SQLite and PostgreSQL alike: importing SQLAlchemy takes as long as a query."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cezsar.choices import VideoOrder
from cezsar.errors import IndexDamaged
from cezsar.store import listing, names, soundness
from cezsar.store.listing import VideoFolder
from cezsar.store.outline import Outline, unpacked
from cezsar.store.statements import Connection, chunks, marks, pairs
from cezsar.store.words import ANYWHERE, Counts, Course, Failure, File, Found, Part, Place, Run, Video, Where, whole
from cezsar.types import Ids, Segment, Vectors

_PARTS = "SELECT segments.id, video_id, start_s, end_s, best_s FROM segments"
_CHUNK = 10_000  # vectors that are read at once
_FILE = "roots.path, videos.path, size, mtime_ns, inode, ctime_ns"  # as File has them
_VIDEOS = f"""
SELECT videos.id, {_FILE}, content_sha256, duration_s, hidden, stream, recorded_s
FROM videos JOIN roots ON roots.id = root_id
"""


# What a query asks; a test holds that indices answer it
HIDDEN = "SELECT segments.id FROM videos JOIN segments ON video_id = videos.id WHERE hidden = 1"
PLAIN = """
SELECT segments.id FROM segments INDEXED BY ix_segments_plain JOIN videos ON videos.id = video_id
WHERE plain = 1 AND hidden = 0
"""
DELETED = "SELECT segment_id, generation FROM deleted_segments WHERE generation > ?"
TAIL = """
SELECT segments.id, vector FROM segments JOIN videos ON videos.id = video_id
WHERE segments.id > ? AND hidden = 0 ORDER BY segments.id
"""
ALL = "SELECT id, vector FROM segments WHERE id > ? ORDER BY id"
STRETCHES = "SELECT video_id, min(id), max(id), count(*) FROM segments WHERE video_id IN ({}) GROUP BY video_id"
OF_VIDEO = "SELECT id FROM segments WHERE video_id = ?"
OUTLINES = """
SELECT video_id, shots, fingerprints, duration_s FROM outlines JOIN videos ON videos.id = video_id
WHERE video_id IN ({})
"""
SHOWN = """
SELECT segments.id, vector FROM segments JOIN videos ON videos.id = video_id
WHERE segments.id IN ({}) AND hidden = 0{} ORDER BY segments.id
"""
COUNTED = "SELECT video_id, count(*) FROM segments WHERE video_id IN ({}) GROUP BY video_id ORDER BY video_id"
COURSES = """
SELECT video_id, id, start_s, end_s, coalesce(plain, 0), vector FROM segments
WHERE video_id IN ({}) ORDER BY video_id, start_s
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
GROUP BY wanted.video_id, wanted.run, roots.path, videos.path
"""


class Nearest(Protocol):
    """The nearest segments in one state; each store has its own way."""

    def found(self, query: Vectors, k: int, *, where: Where, without: Ids, exact: bool) -> Found:
        """As Rows.nearest."""

    def size(self, where: Where) -> int:
        """As Rows.num_segments."""


class Rows:
    """One consistent state of a catalog, from Catalog.read(): all answers are of the same moment.

    nearest makes what looks for the nearest segments of this state; dimension is D of the vectors.
    """

    def __init__(self, connection: Connection, dimension: int, nearest: Callable[[Rows], Nearest]) -> None:
        self._connection, self._dimension, self._searched_by = connection, dimension, nearest

    @cached_property
    def _nearest(self) -> Nearest:
        return self._searched_by(self)

    def nearest(
        self, query: Vectors, k: int, *, where: Where = ANYWHERE, without: Ids | None = None, exact: bool = False
    ) -> Found:
        """The k visible segments nearest to query (D,) that where allows and that are not in without.

        Their scores are those of the catalog's vectors. A large index may miss a few; with exact every vector is
        compared, which takes seconds per million. The first call on a state opens the cache; a later call ignores a
        cache that was made meanwhile. Raises IndexDamaged.
        """
        without = np.empty(0, np.int64) if without is None else without
        return self._nearest.found(query, k, where=where, without=without, exact=exact)

    def num_segments(self, where: Where = ANYWHERE) -> int:
        """The number of visible segments of the videos that where.path names; plain ones too."""
        return self._nearest.size(where)

    def videos_at(self, paths: Sequence[bytes]) -> dict[bytes, Video]:
        """The videos of these whole paths, hidden ones too, by path; paths that no video has are left out."""
        found: dict[bytes, Video] = {}
        for number, root in self._connection.execute("SELECT id, path FROM roots ORDER BY id").fetchall():
            beginning = os.path.join(root, b"")
            below = {path[len(beginning) :]: path for path in paths if path.startswith(beginning)}
            for some in chunks(list(below)):
                query = f"{_VIDEOS} WHERE root_id = ? AND videos.path IN ({marks(some)})"
                for row in self._connection.execute(query, (number, *some)):
                    found[below[row[2]]] = _video(row)
        return found

    def any_under(self, path: bytes) -> bool:
        """Whether a video, hidden or not, is this whole path or lies under it."""
        return names.any_under(self._connection, path)

    def num_shown_under(self, path: bytes) -> int:
        """How many visible videos are this whole path or lie under it."""
        return names.num_shown_under(self._connection, path)

    def pages(self, *, but: Container[int] = ()) -> Iterator[list[Video]]:
        """All videos, hidden ones too, except those with an id in but: by id, some thousands at once."""
        others = (number for number in self._video_ids() if number not in but)
        while some := list(islice(others, _CHUNK)):
            query = f"{_VIDEOS} WHERE videos.id IN ({marks(some)}) ORDER BY videos.id"
            yield [_video(row) for row in self._connection.execute(query, some)]

    def _video_ids(self) -> Iterator[int]:
        after = 0
        query = f"SELECT id FROM videos WHERE id > ? ORDER BY id LIMIT {_CHUNK}"
        while ids := [number for (number,) in self._connection.execute(query, (after,))]:
            yield from ids
            after = ids[-1]

    def videos_under(self, path: str) -> list[int]:
        """The ids of the visible videos that a path, a name or a glob names, as paths.matches understands it."""
        return names.videos_under(self._connection, path)

    def videos_where(self, where: Where) -> list[int]:
        """The ids of the visible videos that a condition allows, whatever it says of segments."""
        conditions, values = list[str](), list[float | int]()
        for condition, value in (
            ("duration_s >= ?", where.min_length_s),
            ("duration_s <= ?", where.max_length_s),
            (f"{listing.WHEN} >= ?", where.since_s),
            (f"{listing.WHEN} < ?", where.until_s),
        ):
            if value is not None:
                conditions.append(f" AND {condition}")
                values.append(value)
        named = None if where.path is None else self.videos_under(where.path)
        if conditions or named is None:
            query = f"SELECT id FROM videos WHERE hidden = 0{''.join(conditions)}"
            found = {number for (number,) in self._connection.execute(query, values)}
            named = sorted(found if named is None else found.intersection(named))
        without = {number for path in where.not_paths for number in self.videos_under(path)}
        return [number for number in named if number not in without]

    def video_called(self, path: Path) -> int | None:
        """The id of the visible video that a person calls path, as paths.called compares it; None if not there."""
        return names.video_called(self._connection, path)

    def generation(self) -> int:
        """The number of changes that the catalog has seen."""
        (found,) = self._connection.execute("SELECT generation FROM index_info").fetchone()
        return int(found)

    def videos(self) -> list[Video]:
        """Every video, hidden ones too, in the order in which they were added."""
        return list(chain.from_iterable(self.pages()))

    def video(self, video_id: int) -> Video | None:
        """The visible video of this id, if there is one."""
        found = self.videos_shown(after=video_id - 1, limit=1)
        return found[0] if found and found[0].id == video_id else None

    def videos_shown(self, *, after: int, limit: int) -> list[Video]:
        """The first visible videos with an id above after, by id."""
        rows = self._connection.execute(
            f"{_VIDEOS} WHERE videos.id > ? AND hidden = 0 ORDER BY videos.id LIMIT ?",
            (after, limit),
        )
        return [_video(row) for row in rows]

    def listed(
        self, order: VideoOrder, *, folder: bytes | None = None, after: Video | None = None, limit: int
    ) -> list[Video]:
        """The first visible videos of a folder and below, or of all, that come after one in an order.

        Without a folder, "added" reads as many rows as it gives; anything else may read a row of each video.
        """
        return listing.videos(self._connection, _VIDEOS, _video, order=order, folder=folder, after=after, limit=limit)

    def folders(self, folder: bytes | None = None) -> list[VideoFolder]:
        """The folders right below a folder, or those that were indexed, that have visible videos, by path.

        Reads a row of each video below it.
        """
        return listing.roots(self._connection) if folder is None else listing.children(self._connection, folder)

    def face(self, video: Video) -> Part | None:
        """A segment to stand for a video: the first one after a third of it, or else of all, that shows something."""
        parts = f"{_PARTS} WHERE video_id = ?"
        for condition, values in (
            (" AND start_s >= ? AND coalesce(plain, 0) = 0", (video.duration_s / 3,)),
            (" AND coalesce(plain, 0) = 0", ()),
            ("", ()),
        ):
            row = self._connection.execute(
                f"{parts}{condition} ORDER BY start_s LIMIT 1", (video.id, *values)
            ).fetchone()
            if row is not None:
                return _part(row)
        return None

    def segment_span(self) -> tuple[int, int] | None:
        """The lowest and the highest id of all segments, hidden ones too; None if there are none."""
        lowest, highest = self._connection.execute(
            "SELECT (SELECT min(id) FROM segments), (SELECT max(id) FROM segments)"
        ).fetchone()
        return None if lowest is None else (int(lowest), int(highest))

    def failures(self) -> list[Failure]:
        """The files that could not be decoded, by path."""
        rows = self._connection.execute(
            "SELECT path, size, mtime_ns, decoder, reason, inode, ctime_ns FROM failures ORDER BY path"
        )
        return [Failure(*row) for row in rows]

    def roots(self) -> list[bytes]:
        """The folders to which the paths of videos, hidden ones too, are relative."""
        rows = self._connection.execute("SELECT path FROM roots WHERE id IN (SELECT root_id FROM videos)")
        return [path for (path,) in rows]

    def counts(self) -> Counts:
        """The figures of the catalog's contents."""
        shown = "SELECT count(*), coalesce(sum(duration_s), 0.0) FROM videos WHERE hidden = 0"
        num_videos, duration_s = self._connection.execute(shown).fetchone()
        segments_shown = "SELECT count(*) FROM segments JOIN videos ON videos.id = video_id WHERE hidden = 0"
        (num_segments,) = self._connection.execute(segments_shown).fetchone()
        (num_hidden,) = self._connection.execute("SELECT count(*) FROM videos WHERE hidden = 1").fetchone()
        return Counts(num_videos, num_segments, duration_s, num_hidden)

    def other_streams(self) -> Sequence[tuple[Path, int]]:
        """Visible videos of which another video stream than the first was taken: path and its number, by path."""
        query = "SELECT roots.path, videos.path, stream FROM videos JOIN roots ON roots.id = root_id"
        rows = self._connection.execute(f"{query} WHERE hidden = 0 AND stream > 0 ORDER BY 1, 2").fetchall()
        return [(Path(os.fsdecode(os.path.join(root, path))), int(stream)) for root, path, stream in rows]

    def num_videos(self) -> int:
        """How many videos there are, hidden ones too."""
        (found,) = self._connection.execute("SELECT count(*) FROM videos").fetchone()
        return int(found)

    def num_segments_after(self, segment_id: int) -> int:
        """How many segments, hidden ones too, have a higher id."""
        (found,) = self._connection.execute("SELECT count(*) FROM segments WHERE id > ?", (segment_id,)).fetchone()
        return int(found)

    def vectors(self, *, after: int = 0) -> Iterator[tuple[Ids, Vectors]]:
        """The ids above after and vectors of all segments, hidden ones too, by id, in bounded chunks."""
        return self._chunks(ALL, after)

    def vectors_of(self, ids: Ids) -> tuple[Ids, Vectors]:
        """The vectors of these segments, by ascending id: (N,) ids and (N, D); ones that are not there are left out."""
        rows: list[tuple[int, bytes]] = []
        for some in chunks(np.sort(ids).tolist()):
            rows += self._connection.execute(VECTORS_OF.format(marks(some)), some)
        return self._read(rows)

    def tail(self, *, after: int) -> tuple[Ids, Vectors]:
        """Visible segments with an id above after: (N,) ids and (N, D) vectors."""
        return self._read(self._connection.execute(TAIL, (after,)).fetchall())

    def tails(self, *, after: int = 0) -> Iterator[tuple[Ids, Vectors]]:
        """As tail, in bounded chunks."""
        return self._chunks(TAIL, after)

    def _chunks(self, query: str, after: int) -> Iterator[tuple[Ids, Vectors]]:
        while rows := self._connection.execute(f"{query} LIMIT {_CHUNK}", (after,)).fetchall():
            after = rows[-1][0]
            yield self._read(rows)

    def _read(self, rows: Sequence[tuple[int, bytes]]) -> tuple[Ids, Vectors]:
        """Rows of an id and a vector."""
        return _ids(rows), _matrix([vector for _, vector in rows], self._dimension)

    def shown(self, ids: Ids, where: Where) -> tuple[Ids, Vectors]:
        """The vectors of these segments, by id, as far as the segments are visible, and plain or not as where.plain
        says."""
        plain = "" if where.plain is None else " AND plain = 1" if where.plain else " AND coalesce(plain, 0) = 0"
        rows: list[tuple[int, bytes]] = []
        for some in chunks(np.sort(ids).tolist()):
            rows += self._connection.execute(SHOWN.format(marks(some), plain), some)
        return self._read(rows)

    def known(self, ids: Ids) -> Ids:
        """Those of these segments that exist, hidden ones too."""
        return np.array(list(self.runs(ids.tolist())), np.int64)

    def hidden(self) -> Ids:
        """The segments of hidden videos."""
        return _ids(self._connection.execute(HIDDEN).fetchall())

    def num_hidden(self, last: int) -> int:
        """The number of segments up to an id that belong to hidden videos."""
        count = f"SELECT count(*) FROM ({HIDDEN} AND segments.id <= ?) AS those"
        (found,) = self._connection.execute(count, (last,)).fetchone()
        return int(found)

    def deleted(self, *, since: int) -> tuple[Ids, Ids]:
        """The segments that were deleted after a generation, and the generations in which they were: (N,) and (N,)."""
        found = self._connection.execute(DELETED, (since,)).fetchall()
        if any(type(number) is not int for row in found for number in row):
            raise IndexDamaged("Some deletions in the catalog are impossible: `cezsar verify` says more.")
        return _ids(found), np.array([row[1] for row in found], np.int64)

    def plain(self) -> Ids:
        """The visible segments that show next to nothing, ascending."""
        return np.sort(_ids(self._connection.execute(PLAIN).fetchall()))

    def segment_ids(self, video_ids: Iterable[int]) -> Ids:
        """The ids of these videos' segments, ascending."""
        stretches: list[tuple[int, int, int]] = []
        others: list[tuple[int]] = []
        for some in chunks(sorted(video_ids)):
            for video, *stretch in self._connection.execute(STRETCHES.format(marks(some)), some):
                first, last, count = stretch
                if last - first + 1 == count:  # as all are that were written at once
                    stretches.append((first, last, count))
                else:
                    others += self._connection.execute(OF_VIDEO, (video,))
        first, _, counts = np.array(stretches, np.int64).reshape(-1, 3).T
        before = np.cumsum(counts) - counts
        return np.sort(np.concatenate([np.arange(counts.sum()) + np.repeat(first - before, counts), _ids(others)]))

    def segments(self, video_id: int) -> tuple[tuple[Segment, ...], Vectors]:
        """A video's segments in order, and their (N, D) vectors."""
        query = "SELECT start_s, end_s, vector FROM segments WHERE video_id = ? ORDER BY id"
        rows = self._connection.execute(query, (video_id,)).fetchall()
        return tuple(_segment(row[0], row[1]) for row in rows), _matrix([row[2] for row in rows], self._dimension)

    def courses(self, video_ids: Iterable[int]) -> Iterator[Course]:
        """These videos, whole, by id; ones without segments are left out. Memory holds the vectors of a few thousand
        segments, or of one video."""
        for some in chunks(sorted(set(video_ids))):
            counts = self._connection.execute(COUNTED.format(marks(some)), some).fetchall()
            for batch in _batches(counts):
                rows = self._connection.execute(COURSES.format(marks(batch)), batch).fetchall()
                for video, of_it in groupby(rows, lambda row: int(row[0])):
                    yield _course(video, list(of_it), self._dimension)

    def part(self, segment_id: int) -> Part | None:
        """The segment of this id, of a visible video, if there is one."""
        query = f"{_PARTS} JOIN videos ON videos.id = video_id WHERE segments.id = ? AND hidden = 0"
        row = self._connection.execute(query, (segment_id,)).fetchone()
        return None if row is None else _part(row)

    def parts(self, video_id: int, *, after: int, limit: int) -> list[Part]:
        """The first of a video's segments with an id above after, in order."""
        query = f"{_PARTS} WHERE video_id = ? AND segments.id > ? ORDER BY segments.id LIMIT ?"
        return [_part(row) for row in self._connection.execute(query, (video_id, after, limit))]

    def runs(self, ids: Sequence[int]) -> dict[int, Run]:
        """The runs that these segments belong to, by id; ids that are not there are left out."""
        found: dict[int, Run] = {}
        for some in chunks(ids):
            found |= {
                number: (video, run) for number, video, run in self._connection.execute(RUNS.format(marks(some)), some)
            }
        return found

    def segments_of_runs(self, wanted: Iterable[Run]) -> Ids:
        """The ids of all segments of these runs."""
        found: list[tuple[int]] = []
        for some in chunks(list(wanted)):
            found += self._connection.execute(OF_RUNS.format(pairs(some)), list(chain.from_iterable(some)))
        return _ids(found)

    def ranges(self, wanted: Iterable[Run]) -> dict[Run, Place]:
        """Where these runs are; ones that are not there are left out. Each run is read once."""
        found: dict[Run, Place] = {}
        paths: dict[tuple[bytes, bytes], Path] = {}
        for some in chunks(list(wanted)):
            rows = self._connection.execute(PLACES.format(pairs(some)), list(chain.from_iterable(some)))
            for video, run, root, name, start_s, end_s in rows:
                _check_times(start_s, end_s)
                if (path := paths.get((root, name))) is None:
                    path = paths[root, name] = Path(os.fsdecode(whole(root, name)))
                found[video, run] = Place(video, path, run, start_s, end_s)
        return found

    def outlines(self, video_ids: Iterable[int]) -> dict[int, Outline]:
        """The outlines of these videos, by id; videos that were indexed before there were any are left out."""
        found: dict[int, Outline] = {}
        for some in chunks(sorted(video_ids)):
            for video, *parts in self._connection.execute(OUTLINES.format(marks(some)), some):
                found[video] = unpacked(*parts)
        return found

    def contents(self, video_ids: Iterable[int]) -> dict[int, bytes]:
        """The hashes of these videos' files, by id."""
        found: dict[int, bytes] = {}
        for some in chunks(sorted(video_ids)):
            found |= dict(
                self._connection.execute(f"SELECT id, content_sha256 FROM videos WHERE id IN ({marks(some)})", some)
            )
        return found

    def calibrated(self) -> int | None:
        """The generation in which the index's own calibration was kept; None if there is none."""
        found = self._connection.execute("SELECT generation FROM calibrations WHERE id = 1").fetchone()
        return None if found is None else int(found[0])

    def calibration(self) -> bytes | None:
        """The index's own calibration, as Writer.keep_calibration got it; None if there is none."""
        found = self._connection.execute("SELECT document FROM calibrations WHERE id = 1").fetchone()
        if found is not None and not isinstance(found[0], bytes):
            raise IndexDamaged("The calibration in the catalog is none: `cezsar calibrate` makes a new one.")
        return None if found is None else found[0]

    def num_without_outline(self) -> int:
        """How many visible videos were indexed before there were outlines."""
        lacking = "SELECT count(*) FROM videos WHERE hidden = 0 AND id NOT IN (SELECT video_id FROM outlines)"
        (found,) = self._connection.execute(lacking).fetchone()
        return int(found)

    def places(self, ids: Sequence[int]) -> dict[int, Place]:
        """Where these segments are, by id; ids that are not there are left out."""
        belongs = self.runs(ids)
        where = self.ranges(set(belongs.values()))
        return {number: where[run] for number, run in belongs.items() if run in where}

    def inconsistencies(self) -> list[str]:
        """The faults that the database itself finds, and videos and segments that make no sense; empty if all is
        well."""
        return soundness.inconsistencies(self._connection)


def _video(row: Sequence[Any]) -> Video:
    number, *file, content_sha256, duration_s, hidden, stream, recorded_s = row
    return Video(number, File(*file), content_sha256, duration_s, bool(hidden), stream, recorded_s)


def _ids(rows: Sequence[tuple[Any, ...]]) -> Ids:
    """The first column."""
    return np.array([row[0] for row in rows], np.int64)


def _batches(counts: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    """Videos that have _CHUNK segments together, or a single one that has more."""
    batch, total = list[int](), 0
    for video, count in counts:
        if batch and total + count > _CHUNK:
            yield batch
            batch, total = [], 0
        batch.append(video)
        total += count
    if batch:
        yield batch


def _course(video_id: int, rows: list[tuple[Any, ...]], dimension: int) -> Course:
    for _, _, start_s, end_s, *_ in rows:
        _check_times(start_s, end_s)
    _, ids, starts_s, ends_s, plain, vectors = zip(*rows, strict=True)
    begin_s, end_s = np.array(starts_s, np.float64), np.array(ends_s, np.float64)
    shown = _matrix(list(vectors), dimension)
    return Course(video_id, np.array(ids, np.int64), begin_s, end_s, np.array(plain) == 1, shown)


def _segment(start_s: object, end_s: object) -> Segment:
    _check_times(start_s, end_s)
    return Segment(start_s, end_s)  # type: ignore[arg-type]


def _part(row: tuple[Any, ...]) -> Part:
    found = Part(*row)
    _check_times(found.start_s, found.end_s)
    if found.best_s is not None:
        _check_times(found.best_s, soundness.LONGEST_S)
    return found


def _check_times(start_s: object, end_s: object) -> None:
    """That a stretch is as it can be: SQLite would keep anything in any column."""
    if not (isinstance(start_s, float) and isinstance(end_s, float) and 0 <= start_s < end_s <= soundness.LONGEST_S):
        raise IndexDamaged("Some segments in the catalog have impossible times: `cezsar verify` says more.")


def _matrix(blobs: list[bytes], dimension: int) -> Vectors:
    if set(map(type, blobs)) - {bytes} or set(map(len, blobs)) - {4 * dimension}:
        raise IndexDamaged("Some vectors in the catalog do not have the index's dimension.")
    return np.frombuffer(b"".join(blobs), "<f4").astype(np.float32).reshape(len(blobs), dimension)
