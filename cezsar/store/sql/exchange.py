"""A catalog's rows from and to the file that every store's backup is: a catalog of SQLite, with the same ids and bits.

Rows go through PostgreSQL's COPY, since a statement for each would take ten times as long.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, Column, Table

from cezsar import migrations
from cezsar.errors import BadIndex, IndexDamaged
from cezsar.files import appearing
from cezsar.location import Database
from cezsar.store.local.backup import check
from cezsar.store.local.connection import open_file, translated
from cezsar.store.revision import REVISION
from cezsar.store.sql import making
from cezsar.store.sql.connection import Session
from cezsar.store.sql.packing import Packed
from cezsar.store.tables import Base

_TABLES = Base.metadata.sorted_tables  # what a row refers to comes first
_NUMBERED = ("roots", "videos", "segments")
_NEVER_AGAIN = ("videos", "segments")  # their ids; the others of SQLite begin after the highest one that is there
_CHUNK = 10_000  # rows that are in memory
_TYPES = """
SELECT attname, pg_type.oid, typname FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""
# SQLite's name of the type of a value that PostgreSQL could keep, and how many bytes an integer has
_KINDS = {"float8": "real", "bytea": "blob", "vector": "blob", "varchar": "text"}
_INTEGERS = {"int2": 2, "int4": 4, "int8": 8}
_FLOOR = "UPDATE index_info SET generation = greatest(generation, %s)"


def write(session: Session, target: Path) -> None:
    """Write all rows of a session's state to a file, whole or not at all.

    Raises BadIndex if it cannot be written, psycopg.Error.
    """
    try:
        with appearing(target, durable=True, private=True) as draft:
            with translated(target.parent):
                migrations.upgrade(_url(draft))
                with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
                    copy.execute(
                        "PRAGMA synchronous = OFF"
                    )  # the whole file will be on the disk before it has its name
                    copy.execute("PRAGMA journal_mode = OFF")
                    copy.execute("BEGIN")
                    for table in _TABLES:
                        _write(session, copy, table)
                    copy.execute("DELETE FROM sqlite_sequence")
                    ends = [(name, _end(session, name)) for name in _NEVER_AGAIN]
                    copy.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", ends)
                    copy.execute("COMMIT")
                    copy.execute("PRAGMA journal_mode = DELETE")
            check(draft)
    except OSError as error:
        raise BadIndex(f"The backup {target} cannot be written: {error.strerror}.") from None


def load(session: Session, place: Database, source: Path, *, least_generation: int = 0) -> None:
    """Make a catalog in a place from a backup of any revision, all or nothing; its generation is no lower than given.

    Raises IndexDamaged if a value in the backup is impossible; psycopg.Error.
    """
    with _current(source) as file, closing(open_file(file)) as rows, translated(source):
        (dimension,) = rows.execute("SELECT dimension FROM index_info").fetchone()
        if rows.execute("SELECT 1 FROM segments WHERE length(vector) != ? LIMIT 1", (4 * dimension,)).fetchone():
            raise _unsound(source, "some vectors do not have the index's dimension")
        with making.made(session, place, dimension):
            try:
                for table in _TABLES:
                    _load(session, rows, table, source)
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                raise _unsound(source, str(error.diag.message_primary or error)) from None
            for name in _NUMBERED:
                _continue(session, rows, name)
            session.execute(_FLOOR, (least_generation,))


def _write(session: Session, copy: sqlite3.Connection, table: Table) -> None:
    names = [column.name for column in table.columns]
    marks = ", ".join("?" * len(names))
    insert = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"
    with session.cursor(name=f"backup_{table.name}", binary=True) as cursor:
        cursor.execute(sql.SQL("SELECT {} FROM {}").format(_names(names), sql.Identifier(table.name)))
        while rows := cursor.fetchmany(_CHUNK):
            copy.executemany(insert, rows)


def _load(session: Session, rows: sqlite3.Connection, table: Table, source: Path) -> None:
    types = {str(name): (int(oid), str(kind)) for name, oid, kind in session.execute(_TYPES, (table.name,)).fetchall()}
    names = [column.name for column in table.columns]
    for column in table.columns:
        wrong = f"SELECT 1 FROM {table.name} WHERE {_is_wrong(column, types[column.name][1])} LIMIT 1"
        if rows.execute(wrong).fetchone():
            raise _unsound(source, f"{table.name} has an impossible {column.name}")
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(table.name), _names(names))
    vector = names.index("vector") if "vector" in names else None
    with session.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([types[name][0] for name in names])
        for row in rows.execute(f"SELECT {', '.join(names)} FROM {table.name}"):
            copy.write_row(row if vector is None else (*row[:vector], Packed(row[vector]), *row[vector + 1 :]))


def _is_wrong(column: Column[object], kind: str) -> str:
    """SQL that tells whether a column's value is none that PostgreSQL could keep: SQLite keeps anything in any."""
    asked = f"typeof({column.name})"
    wrong = f"{asked} != '{_KINDS.get(kind, 'integer')}'" + f" AND {asked} != 'null'" * bool(column.nullable)
    if kind not in _INTEGERS:
        return wrong
    most = 1 << 8 * _INTEGERS[kind] - 1
    return f"({wrong}) OR {column.name} NOT BETWEEN {-most} AND {most - 1}"


def _names(names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _end(session: Session, name: str) -> int:
    """The highest id that a table has ever given, or a higher one."""
    (sequence,) = session.execute("SELECT pg_get_serial_sequence(%s, 'id')", (name,)).fetchone() or ("",)
    end = sql.SQL("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {}")
    (found,) = session.execute(end.format(sql.SQL(sequence))).fetchone() or (0,)
    return int(found)


def _continue(session: Session, rows: sqlite3.Connection, name: str) -> None:
    """Let a table's ids go on after those that it has ever given."""
    (last,) = rows.execute(f"SELECT coalesce(max(id), 0) FROM {name}").fetchone()
    for (seq,) in rows.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (name,)):
        last = max(last, seq)
    setting = "SELECT setval(pg_get_serial_sequence(%s, 'id'), greatest(%s, 1), %s)"
    session.execute(setting, (name, last, last > 0))


@contextmanager
def _current(source: Path) -> Iterator[Path]:
    """A backup of the newest revision: the very one, or a copy that was upgraded."""
    if check(source) == REVISION:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="cezsar-") as folder:
        copy = Path(folder) / "catalog.sqlite"
        shutil.copyfile(source, copy)
        migrations.upgrade(_url(copy))
        yield copy


def _unsound(source: Path, reason: str) -> IndexDamaged:
    return IndexDamaged(f"{source} is not a sound catalog of CEZSAR: {reason}.")


def _url(file: Path) -> URL:
    return URL.create("sqlite", database=str(file))
