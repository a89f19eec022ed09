"""SQLite itself: connections to read with, and its errors and the system's as ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from cezsar.errors import BadIndex, IndexDamaged, IndexReadOnly
from cezsar.store.local import schema
from cezsar.store.local.homes import FILE

BUSY_MS = 30_000
_LOOK_EVERY = 1_000_000  # steps of SQLite's machine, some 20 ms of work


def connect(directory: Path) -> sqlite3.Connection:
    """A connection that can only read."""
    return open_file(directory / FILE, immutable=is_still(directory))


def is_still(directory: Path) -> bool:
    """Whether a catalog must be opened as immutable: nobody changes it now, and SQLite could not keep its own files
    beside it. Such a connection never sees a later state."""
    log, shared = directory / f"{FILE}-wal", directory / f"{FILE}-shm"
    is_logged = log.exists() and (log.stat().st_size > 0 or shared.exists())
    return not is_logged and not is_writable(directory)


def open_file(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection that can only read a database of any name."""
    uri = f"file:{quote(os.fspath(path))}?mode=ro" + ("&immutable=1" if immutable else "")
    # we say BEGIN ourselves: the module would not before a SELECT
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    prepare(connection)
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Set up a connection to a catalog, which may be a stranger's."""
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.set_progress_handler(lambda: 0, _LOOK_EVERY)  # while it is called, Python sees Ctrl-C


def revision(directory: Path) -> str:
    """The schema revision of the catalog in this very folder. Raises IndexDamaged."""
    with translated(directory), closing(connect(directory)) as connection:
        found = schema.revision(connection, os.fspath(directory / FILE))
    if found is None:
        raise IndexDamaged(f"{directory / FILE} is not a catalog of CEZSAR.")
    return found


def is_writable(directory: Path) -> bool:
    """Whether files can be made in a folder."""
    return os.access(directory, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


@contextmanager
def translated(directory: Path) -> Iterator[None]:
    """The database's and the system's errors as ours."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        if reason == "interrupted":  # Ctrl-C, in the midst of a statement
            raise KeyboardInterrupt from None
        if "readonly" in reason or isinstance(error, PermissionError):
            raise IndexReadOnly(f"The index folder {directory} cannot be written ({reason}).") from None
        if "no such table" in reason or "no such column" in reason:
            raise IndexDamaged(f"{directory / FILE} is not a catalog of CEZSAR ({reason}).") from None
        raise BadIndex(f"The index in {directory} cannot be used: {reason}.") from None
    except sqlite3.IntegrityError:
        raise BadIndex(f"Another command changed the index in {directory} just now: run this one again.") from None
    except sqlite3.DatabaseError as error:
        raise IndexDamaged(f"The catalog in {directory} is damaged: {error}.") from None
    except UnicodeDecodeError as error:  # in a name or text, or in what SQLite says of one
        raise IndexDamaged(f"The catalog in {directory} is damaged: {error}.") from None
