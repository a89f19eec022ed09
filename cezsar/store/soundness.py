"""What can be wrong with a catalog's rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from cezsar.errors import IndexDamaged
from cezsar.store.outline import unpacked
from cezsar.store.statements import Connection

LONGEST_S = 1e12  # no video is longer
_TIMES = f"start_s < 0 OR end_s > {LONGEST_S} OR best_s NOT BETWEEN 0 AND {LONGEST_S}"
_SENSELESS = {
    "videos have no segments": "videos WHERE id NOT IN (SELECT video_id FROM segments)",
    "segments end before they start": "segments WHERE start_s >= end_s",
    "segments have impossible times": f"segments WHERE {_TIMES}",
    "segments have impossible ids": "segments WHERE id < 1",
    "segments are neither plain nor not": "segments WHERE plain NOT IN (0, 1)",
}
# SQLite would keep anything in any column
_OF_SQLITE = {
    "segments have impossible times": f"segments WHERE typeof(start_s) != 'real' OR typeof(end_s) != 'real' OR {_TIMES}"
    " OR typeof(best_s) NOT IN ('real', 'null')",
    "videos have impossible paths": "videos WHERE typeof(path) != 'blob'",
    "videos have impossible times": "videos WHERE typeof(recorded_s) NOT IN ('real', 'null')",
    "deletions have no generation": "deleted_segments WHERE typeof(generation) != 'integer'",
}
_OUTLINES = """
SELECT video_id, shots, fingerprints, duration_s FROM outlines JOIN videos ON videos.id = video_id
WHERE video_id > ? ORDER BY video_id LIMIT 1000
"""


def inconsistencies(connection: Connection) -> list[str]:
    """The faults that the database itself finds, and videos and segments that make no sense; empty if all is well."""
    problems, checks = list[str](), _SENSELESS
    if isinstance(connection, sqlite3.Connection):
        problems, checks = _faults(connection), _SENSELESS | _OF_SQLITE
    for what, rows in checks.items():
        (count,) = connection.execute(f"SELECT count(*) FROM {rows}").fetchone()
        if count:
            problems.append(f"{count} {what}")
    if wrong := sum(not _is_outline(row) for row in _outlines(connection)):
        problems.append(f"{wrong} videos have impossible outlines")
    return problems


def _faults(connection: sqlite3.Connection) -> list[str]:
    told = [f"the catalog: {line}" for (line,) in connection.execute("PRAGMA integrity_check(20)") if line != "ok"]
    lost = connection.execute("PRAGMA foreign_key_check")
    return told + [f"the catalog: a row of {row[0]} refers to nothing" for row in lost]


def _outlines(connection: Connection) -> Iterator[tuple[object, ...]]:
    after = 0
    while rows := connection.execute(_OUTLINES, (after,)).fetchall():
        after = rows[-1][0]
        yield from (row[1:] for row in rows)


def _is_outline(row: tuple[object, ...]) -> bool:
    try:
        unpacked(*row)
    except IndexDamaged:
        return False
    return True
