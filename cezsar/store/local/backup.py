"""A consistent copy of the catalog in one file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from cezsar.errors import BadIndex, IndexDamaged
from cezsar.files import PRIVATE_FOLDER, appearing
from cezsar.store.local import schema
from cezsar.store.local.connection import connect, open_file, translated
from cezsar.store.local.homes import FILE, home
from cezsar.store.local.opening import current, locked, upgrade


def backup(directory: Path, target: Path) -> None:
    """Write a consistent copy of the catalog to target, while others read and write; whole or not at all.

    Raises IndexMissing, BadIndex if target cannot be written, IndexDamaged if the copy is not sound.
    """
    current(directory)
    try:
        with appearing(target, durable=True, private=True) as draft:
            with (
                translated(target.parent),
                closing(connect(home(directory))) as source,
                closing(sqlite3.connect(draft)) as copy,
            ):
                source.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, complete in itself
            check(draft)
    except OSError as error:
        raise BadIndex(f"The backup {target} cannot be written: {error.strerror}.") from None


def load(source: Path, place: Path) -> None:
    """Make a catalog in a folder that has none from what backup() wrote, brought to REVISION.

    Raises BadIndex if it cannot be written, IndexLocked.
    """
    try:
        place.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise BadIndex(f"The index folder {place} cannot be made: {error.strerror}.") from None
    with locked(place):
        if os.path.lexists(place / FILE):
            raise BadIndex(f"Another command has just made an index in {place}: run this one again.")
        try:
            for left_over in ("-wal", "-shm"):  # of a catalog that was deleted: SQLite would take them for this one's
                (place / f"{FILE}{left_over}").unlink(missing_ok=True)
            with appearing(place / FILE, durable=True, private=True) as draft:
                shutil.copyfile(source, draft)
        except OSError as error:
            raise BadIndex(f"The index in {place} cannot be written: {error.strerror}.") from None
    upgrade(place)


def check(file: Path) -> str:
    """The schema revision of a catalog in a file of any name. Raises IndexDamaged if it is none, or not sound."""
    try:
        with closing(open_file(file)) as connection:
            revision = schema.revision(connection, os.fspath(file))
            (told,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            (count,) = connection.execute("SELECT count(*) FROM index_info").fetchone()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if str(error) == "interrupted":
            raise KeyboardInterrupt from None
        raise IndexDamaged(f"{file} is not a sound catalog of CEZSAR: {error}.") from None
    if revision is None or told != "ok" or count != 1:
        raise IndexDamaged(f"{file} is not a sound catalog of CEZSAR: {told}.")
    return revision
