"""The only parts that a catalog may have: a file with any other is a stranger's, and is not queried."""

from __future__ import annotations

import re
import sqlite3
from itertools import groupby

from cezsar.errors import IndexDamaged
from cezsar.store.revision import REVISION

# columns and their types, as of REVISION
_TABLES = {
    "alembic_version": "version_num VARCHAR(32)",
    "index_info": "id INTEGER, index_id VARCHAR(32), encoder VARCHAR, weights_sha256 VARCHAR(64), dimension INTEGER, "
    "streams VARCHAR, fps FLOAT, window_s FLOAT, stride_s FLOAT, generation INTEGER",
    "roots": "id INTEGER, path BLOB",
    "videos": "id INTEGER, root_id INTEGER, path BLOB, size BIGINT, mtime_ns BIGINT, content_sha256 BLOB, "
    "duration_s FLOAT, hidden BOOLEAN, inode BIGINT, ctime_ns BIGINT, stream INTEGER, recorded_s FLOAT",
    "names": "video_id INTEGER, name BLOB",
    "sqlite_sequence": "name, seq",
    "segments": "id INTEGER, video_id INTEGER, start_s FLOAT, end_s FLOAT, run INTEGER, vector BLOB, best_s FLOAT, "
    "plain BOOLEAN",
    "outlines": "video_id INTEGER, shots BLOB, fingerprints BLOB",
    "calibrations": "id INTEGER, generation INTEGER, document BLOB",
    "deleted_segments": "segment_id INTEGER, generation INTEGER",
    "failures": "path BLOB, size BIGINT, mtime_ns BIGINT, decoder VARCHAR, reason VARCHAR, inode BIGINT, "
    "ctime_ns BIGINT",
}
_INDICES = {
    "ix_deleted_segments_generation": "CREATE INDEX ix_deleted_segments_generation ON deleted_segments (generation)",
    "ix_names_name": "CREATE INDEX ix_names_name ON names (name, video_id)",
    "ix_segments_place": "CREATE UNIQUE INDEX ix_segments_place ON segments (video_id, start_s)",
    "ix_segments_plain": "CREATE INDEX ix_segments_plain ON segments (id) WHERE plain = 1",
    "ix_segments_run": "CREATE INDEX ix_segments_run ON segments (video_id, run, start_s, end_s)",
    "ix_videos_hidden": "CREATE INDEX ix_videos_hidden ON videos (id) WHERE hidden = 1",
}
_FORMER_INDICES = {"ix_segments_video_id": "CREATE INDEX ix_segments_video_id ON segments (video_id)"}
_OWN_INDEX = re.compile(r"sqlite_autoindex_(alembic_version|roots|videos|names|failures)_1|sqlite_stat\d")
_CHECKS = re.compile(r"\b(CHECK|COLLATE|DEFAULT|GENERATED|VIRTUAL)\b|\bAS\s*\(", re.IGNORECASE)
_COLUMNS = """
SELECT own.name, columns.name, columns.type, columns.hidden
FROM sqlite_master AS own, pragma_table_xinfo(own.name) AS columns WHERE own.type = 'table' ORDER BY own.name
"""


def revision(connection: sqlite3.Connection, name: str) -> str | None:
    """The schema revision of a catalog, all of which is of our making; None if it names none.

    The list of what the database is made of is read first, and no statement touches a thing that is not ours. A
    revision newer than REVISION may be made otherwise. Raises IndexDamaged, which says of the file called name what
    is not ours; sqlite3.Error.
    """
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    for kind, part, sql in rows:  # what could do something when it is asked
        if kind not in ("table", "index"):
            raise _not_ours(name, f"a {kind} {part!r}")
        if str(part).lower().startswith("pragma_") or _CHECKS.search(sql or ""):
            raise _not_ours(name, f"the {kind} {part!r}")
    if not any(kind == "table" and part == "alembic_version" for kind, part, _ in rows):
        raise IndexDamaged(f"{name} is not a sound catalog of CEZSAR: it does not say its schema's revision.")
    columns = {
        table: {f"{column} {kind}".strip(): hidden for _, column, kind, hidden in of_it}
        for table, of_it in groupby(connection.execute(_COLUMNS).fetchall(), lambda row: str(row[0]))
    }
    if columns["alembic_version"] != {_TABLES["alembic_version"]: 0}:
        raise _not_ours(name, "the table 'alembic_version'")
    (found,) = connection.execute("SELECT max(version_num) FROM alembic_version").fetchone()
    if found is None or str(found) > REVISION:
        return None if found is None else str(found)
    known = _INDICES if found == REVISION else _INDICES | _FORMER_INDICES
    for kind, part, sql in rows:
        is_own = _OWN_INDEX.fullmatch(part) if sql is None else " ".join(sql.split()) == known.get(part)
        if kind == "index" and not is_own:
            raise _not_ours(name, f"the index {part!r}")
    for table, of_it in columns.items():
        if table not in _TABLES:
            raise _not_ours(name, f"the table {table!r}")
        if extra := [column for column, hidden in of_it.items() if hidden or column not in _columns(table)]:
            raise _not_ours(name, f"the column {extra[0].split()[0]!r} of {table}")
        if found == REVISION and (lacking := _columns(table) - set(of_it)):
            raise IndexDamaged(f"{name} is not a sound catalog of CEZSAR: {table} lacks {min(lacking).split()[0]!r}.")
    if found == REVISION and (lacking := set(_TABLES) - set(columns) | set(_INDICES) - {row[1] for row in rows}):
        raise IndexDamaged(f"{name} is not a sound catalog of CEZSAR: it lacks {min(lacking)!r}.")
    return str(found)


def _columns(table: str) -> set[str]:
    return set(_TABLES[table].split(", "))


def _not_ours(name: str, what: str) -> IndexDamaged:
    return IndexDamaged(f"{name} is not a sound catalog of CEZSAR: {what} in it is not CEZSAR's.")
