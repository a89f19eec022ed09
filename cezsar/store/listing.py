"""The visible videos, and the folders that they are in, to be looked through without a query."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cezsar.choices import VideoOrder
from cezsar.paths import below, is_under
from cezsar.store.statements import Connection
from cezsar.store.words import Video

_SEPARATOR = os.fsencode(os.sep)
# Video.when_s; the same double in both databases
WHEN = "coalesce(recorded_s, CAST(mtime_ns AS DOUBLE PRECISION) / 1e9)"
CHILDREN = """
SELECT substr(rest, 1, instr(rest, ?)) AS name, count(*), max(id) FROM (
    SELECT id, substr(path, ?) AS rest FROM videos WHERE root_id = ? AND hidden = 0{}
) AS those GROUP BY 1 ORDER BY 1
"""
_RANGE = """ AND videos.path > ? AND videos.path < ?
AND substr(videos.path, 1, 1000) BETWEEN substr(?, 1, 1000) AND substr(?, 1, 1000)"""  # as names.OF_FOLDER has it


class VideoFolder(NamedTuple):
    """A folder, by its whole path: how many visible videos are in it and below, and the id of the latest of them."""

    path: bytes
    num_videos: int
    latest_id: int


def roots(connection: Connection) -> list[VideoFolder]:
    """The folders that were indexed and have visible videos, by path; a folder in another one is not told again."""
    query = """
    SELECT roots.path, count(*), max(videos.id) FROM videos JOIN roots ON roots.id = root_id
    WHERE hidden = 0 GROUP BY roots.path ORDER BY roots.path
    """
    found = [VideoFolder(*row) for row in connection.execute(query)]
    tops = [
        one.path for one in found if not any(one.path != top.path and is_under(one.path, top.path) for top in found)
    ]
    return [_together(top, [one for one in found if is_under(one.path, top)]) for top in tops]


def children(connection: Connection, folder: bytes) -> list[VideoFolder]:
    """The folders right below a folder that have visible videos, by path. Reads a row of each video below it."""
    found: dict[bytes, list[VideoFolder]] = {}
    for root_id, root, inside in _roots_of(connection, folder):
        if inside is None:  # the whole root lies below
            beginning = os.path.join(folder, b"")
            name = root[len(beginning) :].split(_SEPARATOR, 1)[0]
            count, latest = connection.execute(
                "SELECT count(*), max(id) FROM videos WHERE root_id = ? AND hidden = 0", (root_id,)
            ).fetchone()
            rows = [(name, count, latest)] if count else []
        else:
            condition, values = _inside(inside)
            statement = CHILDREN.format(condition)
            rows = [
                (name[:-1], count, latest)
                for name, count, latest in connection.execute(
                    statement, (_SEPARATOR, len(inside) + 1, root_id, *values)
                )
                if name  # the others are videos right in the folder
            ]
        for name, count, latest in rows:
            path = below(folder, name)
            found.setdefault(path, []).append(VideoFolder(path, count, latest))
    return [_together(path, parts) for path, parts in sorted(found.items())]


def videos(
    connection: Connection,
    select: str,
    read: Callable[[Any], Video],
    *,
    order: VideoOrder,
    folder: bytes | None,
    after: Video | None,
    limit: int,
) -> list[Video]:
    """The first visible videos in an order, of a folder and below, that come after one; read makes them of select's
    rows."""
    if order == "name":
        return _by_name(connection, select, read, folder, after, limit)
    condition, values = "", list[object]()
    if folder is not None:
        places = [_at(root_id, inside or b"") for root_id, _, inside in _roots_of(connection, folder)]
        if not places:
            return []
        condition = f" AND ({' OR '.join(place for place, _ in places)})"
        values += [value for _, some in places for value in some]
    keys = ["videos.id"] if order == "added" else [WHEN, "videos.id"]
    if after is not None:  # the database compares what it has made of a row with what it has made of another
        condition += f" AND ({', '.join(keys)}) < (SELECT {', '.join(keys)} FROM videos WHERE id = ?)"
        values.append(after.id)
    ways = ", ".join(f"{key} DESC" for key in keys)
    rows = connection.execute(f"{select} WHERE hidden = 0{condition} ORDER BY {ways} LIMIT ?", (*values, limit))
    return [read(row) for row in rows]


def _by_name(
    connection: Connection,
    select: str,
    read: Callable[[Any], Video],
    folder: bytes | None,
    after: Video | None,
    limit: int,
) -> list[Video]:
    """By root, and below it by path."""
    found: list[Video] = []
    for root_id, root, inside in _roots_of(connection, folder):
        if len(found) == limit or (after is not None and root < after.file.root):
            continue
        condition, values = _at(root_id, inside or b"")
        if after is not None and root == after.file.root:
            condition, values = f"{condition} AND videos.path > ?", (*values, after.file.path)
        statement = f"{select} WHERE hidden = 0 AND {condition} ORDER BY videos.path LIMIT ?"
        found += [read(row) for row in connection.execute(statement, (*values, limit - len(found)))]
    return found


def _at(root_id: int, beginning: bytes) -> tuple[str, tuple[object, ...]]:
    """The condition that a video is below a root, and its path begins so, and its values."""
    condition, values = _inside(beginning)
    return f"(root_id = ?{condition})", (root_id, *values)


def _together(path: bytes, parts: list[VideoFolder]) -> VideoFolder:
    return VideoFolder(path, sum(one.num_videos for one in parts), max(one.latest_id for one in parts))


def _roots_of(connection: Connection, folder: bytes | None) -> Iterator[tuple[int, bytes, bytes | None]]:
    """The roots that have something of a folder: id, path, and what their videos' paths there begin with; None where
    the whole root lies below the folder."""
    for number, root in connection.execute("SELECT id, path FROM roots ORDER BY path").fetchall():
        if folder is None or (folder != root and is_under(root, folder)):
            yield number, root, None
        elif is_under(folder, root):
            rest = folder[len(os.path.join(root, b"")) :]
            yield number, root, os.path.join(rest, b"") if rest else b""


def _inside(beginning: bytes) -> tuple[str, tuple[bytes, ...]]:
    """The condition that a path begins so, and its values."""
    if not beginning:
        return "", ()
    end = beginning[:-1] + bytes([beginning[-1] + 1])
    return _RANGE, (beginning, end, beginning, end)
