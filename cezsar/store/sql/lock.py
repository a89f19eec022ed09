"""One writer at a time: an advisory lock of PostgreSQL's, which ends with the connection that holds it."""

from __future__ import annotations

import hashlib
import re
import time

from cezsar.errors import IndexLocked
from cezsar.location import Database
from cezsar.store.sql.connection import Session, schema_of

_PATIENCE_S = 2.0  # what another writer does to a single video is over by then
_LOOK_EVERY_S = 0.1
_NAME = re.compile(r"cezsar (\d+) since (\S+) on (\S+)")
_HOLDERS = """
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid = %s::bigint::oid AND objid = %s::bigint::oid
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def acquire(session: Session, location: Database) -> None:
    """Take the right to write to a location's catalog, until the session ends. Raises IndexLocked."""
    deadline = time.monotonic() + _PATIENCE_S
    while not _taken(session, location):
        if time.monotonic() > deadline:
            raise IndexLocked(f"{_holder(session, location)} is writing to the index in {location}: wait for it.")
        time.sleep(_LOOK_EVERY_S)


def end_former(session: Session, location: Database, *, pid: int, name: str) -> None:
    """End the connection of this name that holds the lock, if it still does: a server may take hours to see that it
    is dead. pid is of its process on the server."""
    query = f"SELECT pg_terminate_backend(pid) {_HOLDERS} AND pid = %s AND application_name = %s"
    session.execute(query, (*_halves(location), pid, name))


def release(session: Session, location: Database) -> None:
    """Give back the right to write to a location's catalog."""
    session.execute("SELECT pg_advisory_unlock(%s)", (_key(location),))


def _taken(session: Session, location: Database) -> bool:
    (taken,) = session.execute("SELECT pg_try_advisory_lock(%s)", (_key(location),)).fetchone() or (False,)
    return bool(taken)


def _holder(session: Session, location: Database) -> str:
    found = session.execute(f"SELECT application_name {_HOLDERS}", _halves(location)).fetchone()
    name = _NAME.match(str(found[0])) if found else None
    return f"Another cezsar (process {name[1]} on {name[3]}, since {name[2]})" if name else "Another cezsar"


def _key(location: Database) -> int:
    high, low = _halves(location)
    return (high << 32 | low) - (1 << 64 if high >> 31 else 0)


def _halves(location: Database) -> tuple[int, int]:
    """The lock's number, in two parts of 32 bits, as the server lists it."""
    digest = hashlib.sha256(f"cezsar writes to {schema_of(location)}".encode()).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")
