"""PostgreSQL itself: connections to an index's schema, and its errors as ours."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, TypeAlias

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cezsar.errors import BadIndex, CezsarError, IndexDamaged, IndexReadOnly, LocationError, ServerLost
from cezsar.location import Database
from cezsar.store.sql import packing

Session: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

_OLDEST = 14
# what libpq would else wait for: minutes, and if a link is down hours
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_EXTENSION = """
SELECT nspname, pg_type.oid FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
JOIN pg_type ON typnamespace = extnamespace AND typname = 'vector' WHERE extname = 'vector'
"""
# what a server says when it goes, or is not there yet (57P01 to 57P03, and class 08)
_GONE = re.compile(r"57P0[1-4]|08...")
_FOR_SQLITE = re.compile(r"CROSS (?=JOIN)|INDEXED BY \w+|instr\((\w+), \?\)|[?%]")


def schema_of(location: Database) -> str:
    """The name of the schema of a location's catalog."""
    return location.schema if location.space in (None, 1) else f"{location.schema}_{location.space}"


def connect(location: Database) -> Session:
    """A connection, each statement a transaction of its own, to the schema of a location's catalog.

    The schema need not be there. Raises LocationError, BadIndex.
    """
    given = _parameters(location)
    defaults = {name: value for name, value in _PATIENCE.items() if name not in given}
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    name = f"cezsar {os.getpid()} since {since} on {socket.gethostname()}"[:63]
    with translated(location):
        # a prepared statement would be unknown to the server that takes over
        said = make_conninfo(location.uri, client_encoding="UTF8", application_name=name, **defaults)
        try:
            connection = psycopg.connect(said, autocommit=True, prepare_threshold=None)
        except psycopg.OperationalError as error:
            reason = _reason(error, location)
            raise ServerLost(f"The index in {location} is out of reach: {reason}.") from None
        try:
            if connection.info.server_version < _OLDEST * 10_000:
                version = connection.info.server_version // 10_000
                raise BadIndex(f"{location} is PostgreSQL {version}; an index needs {_OLDEST} or newer.")
            settle(connection, location)
        except BaseException:
            connection.close()
            raise
    return connection


def settle(connection: Session, location: Database) -> None:
    """Look for tables in a location's schema, and know vectors if pgvector is there."""
    found = connection.execute(_EXTENSION).fetchone()
    path = sql.SQL(", ").join(sql.Identifier(name) for name in (schema_of(location), *(found or ())[:1]))
    connection.execute(sql.SQL("SET search_path TO {}").format(path))
    if found is not None:
        packing.register(connection, found[1])


def _parameters(location: Database) -> dict[str, Any]:
    try:
        return conninfo_to_dict(location.uri)
    except psycopg.ProgrammingError as error:  # whose text may hold the password
        unknown = re.search(r'invalid URI query parameter: "([^"]*)"', str(error))
    if unknown is None:
        raise LocationError(f"{location} is no URL of PostgreSQL: postgresql://USER@HOST:PORT/DATABASE.")
    raise LocationError(
        f"{location}: {unknown[1]} is no parameter of a PostgreSQL URL, and not schema or vectors, which are CEZSAR's."
    )


class Snapshot:
    """A connection in a transaction that only reads: everything that is asked of it has the same state."""

    def __init__(self, session: Session, generation: int) -> None:
        self.session, self.generation = session, generation

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[tuple[Any, ...]]:
        """As Connection.execute: the rows have been read before the next statement."""
        return self.session.cursor(binary=True).execute(translation(statement).encode(), values)


@lru_cache(maxsize=256)
def translation(statement: str) -> str:
    """A statement for PostgreSQL: %s for each ?, and nothing that tells SQLite how to go about it."""
    return _FOR_SQLITE.sub(_translated, statement)


def _translated(found: re.Match[str]) -> str:
    if found[1]:
        return f"position(%s IN {found[1]})"
    return {"?": "%s", "%": "%%"}.get(found[0], "")


def is_lost(error: BaseException) -> bool:
    """Whether a connection was lost, or the server that it led to, so that another try may go well."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is None or _GONE.fullmatch(error.sqlstate) is not None


def is_conflict(error: BaseException) -> bool:
    """Whether a transaction was undone because of another one, so that another try may go well."""
    return isinstance(error, (errors.SerializationFailure, errors.DeadlockDetected))


def _reason(error: psycopg.Error, location: Database) -> str:
    """What the database says, in one line without a full stop."""
    told = error.diag.message_primary or " ".join(str(error).split())
    told = told.removeprefix("connection is bad: ").removeprefix("connection failed: ")
    told = told.removesuffix(" Is the server running locally and accepting connections on that socket?")
    told = told.removesuffix(" Is the server running on that host and accepting TCP/IP connections?")
    return told.rstrip(".").replace(location.uri, str(location))


@contextmanager
def translated(location: Database) -> Iterator[None]:
    """The database's errors as ours."""
    try:
        yield
    except psycopg.Error as error:
        raise ours(error, location) from None
    except UnicodeDecodeError as error:  # in a name or text
        raise IndexDamaged(f"The catalog in {location} is damaged: {error}.") from None


def ours(error: psycopg.Error, location: Database) -> CezsarError:
    """An error of the database's as one of ours, in one line."""
    reason = _reason(error, location)
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return IndexReadOnly(f"The index in {location} cannot be written ({reason}).")
    if isinstance(error, errors.InsufficientPrivilege):
        return BadIndex(f"The account in {location} may not do that: {reason}.")
    if isinstance(error, (errors.UndefinedTable, errors.UndefinedColumn, errors.DatatypeMismatch)):
        return IndexDamaged(f"{location} is not a catalog of CEZSAR ({reason}).")
    if isinstance(error, (errors.UndefinedObject, errors.UndefinedFunction)):
        return IndexDamaged(f"{location} has no pgvector any more, or is not a catalog of CEZSAR ({reason}).")
    if isinstance(error, psycopg.IntegrityError):
        return BadIndex(f"Another command changed the index in {location} just now: run this one again.")
    if isinstance(error, (psycopg.DataError, errors.DataCorrupted, errors.IndexCorrupted)):
        return IndexDamaged(f"The catalog in {location} is damaged: {reason}.")
    if is_lost(error):
        return ServerLost(f"The server of the index in {location} went away: {reason}. Run this command again.")
    return BadIndex(f"The index in {location} cannot be used: {reason}.")
