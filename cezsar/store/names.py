"""Which videos a path, a name or a glob names: looked up in the database's indices, as far as its text allows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cezsar.paths import called, is_under, matches, named, shown, spellings
from cezsar.store.statements import Connection, chunks, marks
from cezsar.store.words import whole

_WILD = re.compile(r"[*?\[]")
OF_NAME = "SELECT video_id FROM names WHERE name = ?"
OF_BEGINNING = "SELECT DISTINCT video_id FROM names WHERE name >= ? AND name < ?"
OF_ROOT = "SELECT id FROM videos WHERE root_id = ?"
OF_FOLDER = """
SELECT id FROM videos WHERE root_id = ? AND (path = ? OR (path > ? AND path < ?))
AND substr(path, 1, 1000) BETWEEN substr(?, 1, 1000) AND substr(?, 1, 1000)
"""  # the second line is for PostgreSQL, whose index has the beginnings of the paths
HOLDING = "SELECT DISTINCT video_id FROM names WHERE instr(name, ?) > 0"
_PATHS = """
SELECT videos.id, roots.path, videos.path FROM videos JOIN roots ON roots.id = root_id
WHERE videos.id IN ({}) AND hidden = 0
"""
HIDDEN = "SELECT id FROM videos WHERE hidden = 1"


def videos_under(connection: Connection, glob: str) -> list[int]:
    """The visible videos that paths.matches says a name or a glob names, by id."""
    if (asked := named(glob)) is None:
        return []
    sure, likely = set[int](), set[int]()
    roots = [(number, shown(path)) for number, path in connection.execute("SELECT id, path FROM roots")]
    for number, root in roots:
        for path in asked.wholes:
            if is_under(os.fsencode(root), os.fsencode(path)):
                sure |= _ids(connection, OF_ROOT, number)
            elif is_under(os.fsencode(path), os.fsencode(root)):
                likely |= _below(connection, number, path[len(os.path.join(root, "")) :], sure)
    if asked.name:
        (likely if os.sep in asked.name else sure).update(_of_name(connection, asked.name.rsplit(os.sep, 1)[-1]))
    if _WILD.search(glob):
        likely |= _matching(connection, asked.text, roots)
    unsure = sorted(likely - sure)
    return sorted({*sure, *_that_match(connection, unsure, glob)} - _ids(connection, HIDDEN))


def video_called(connection: Connection, path: Path) -> int | None:
    """The visible video that a person calls path, as paths.called compares it."""
    likely: set[int] = set()
    for name in {os.path.basename(one) for one in spellings(path)}:
        likely |= _of_name(connection, shown(name))
    found = {whole(root, below): number for number, root, below in _paths(connection, sorted(likely))}
    return next((found[one] for one in called(path, found)), None)


def any_under(connection: Connection, path: bytes) -> bool:
    """Whether a video, hidden or not, is this whole path or lies under it."""
    return any(connection.execute(f"{query} LIMIT 1", values).fetchone() for query, values in _under(connection, path))


def num_shown_under(connection: Connection, path: bytes) -> int:
    """How many visible videos are this whole path or lie under it."""
    count = "SELECT count(*) FROM ({} AND hidden = 0) AS those"
    return sum(connection.execute(count.format(query), some).fetchone()[0] for query, some in _under(connection, path))


def _under(connection: Connection, path: bytes) -> Iterator[tuple[str, tuple[object, ...]]]:
    """What to ask, a root each, for the ids of videos that are this whole path or lie under it."""
    for number, root in connection.execute("SELECT id, path FROM roots").fetchall():
        if is_under(root, path):
            yield OF_ROOT, (number,)
        elif is_under(path, root):
            yield OF_FOLDER, (number, *_range(path[len(os.path.join(root, b"")) :]))


def _range(path: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """A path below a root, between what all that lies under it is, and between what it is itself too."""
    folder = os.fsencode(os.sep)
    end = path + bytes([folder[0] + 1])
    return path, path + folder, end, path, end


def _below(connection: Connection, root: int, path: str, sure: set[int]) -> set[int]:
    """Videos that may be, or be in, what is below a root; those that surely are come to sure."""
    raw = os.fsencode(path)
    if not raw.isascii():  # a name may be stored decomposed
        return _of_name(connection, path.rsplit(os.sep, 1)[-1])
    sure |= _ids(connection, OF_FOLDER, root, *_range(raw))
    return set()


def _matching(connection: Connection, text: str, roots: Iterable[tuple[int, str]]) -> set[int]:
    """Videos that a pattern may match: on its whole path, the path below its root, or a name on that."""
    found: set[int] = set()
    if not text.startswith(os.sep):
        found |= _beginning(connection, text)
    beginning, literal = _WILD.split(text, maxsplit=1)[0], _longest(text)
    for number, root in roots:
        below = os.path.join(root, "")
        if below.startswith(beginning):
            if beginning or literal is None or literal in below:
                found |= _ids(connection, OF_ROOT, number)
        elif beginning.startswith(below):
            found |= _beginning(connection, text[len(below) :])
    return found


def _beginning(connection: Connection, text: str) -> set[int]:
    """Videos with a name that a pattern's first one may match."""
    beginning = re.split(r"[*?\[/]", text, maxsplit=1)[0]
    if beginning and text[len(beginning) :].startswith(os.sep):
        return _of_name(connection, beginning)
    if beginning:
        raw = os.fsencode(beginning)
        return _ids(connection, OF_BEGINNING, raw, _after(raw))
    if literal := _longest(text):
        return _ids(connection, HOLDING, os.fsencode(literal))
    return _ids(connection, "SELECT id FROM videos")


def _after(raw: bytes) -> bytes:
    """What comes after everything that begins with these bytes, which are not all 255."""
    kept = raw.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])


def _longest(text: str) -> str | None:
    """The longest stretch of a pattern that is no pattern; None if that could not be told."""
    if "[" in text:
        return None
    return max(re.split(r"[*?/]", text), key=len) or None


def _that_match(connection: Connection, ids: list[int], glob: str) -> list[int]:
    rows = _paths(connection, ids)
    return [number for number, root, below in rows if matches(whole(root, below), root, glob)]


def _of_name(connection: Connection, name: str) -> set[int]:
    return _ids(connection, OF_NAME, os.fsencode(name))


def _ids(connection: Connection, query: str, *values: object) -> set[int]:
    return {number for (number,) in connection.execute(query, values)}


def _paths(connection: Connection, ids: list[int]) -> Iterator[tuple[int, bytes, bytes]]:
    """The visible ones of these videos: id, root, and path below it."""
    for some in chunks(ids):
        yield from connection.execute(_PATHS.format(marks(some)), some)
