"""A consistent copy of the catalog in one file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from cezsar.errors import BadIndex, IndexDamaged
from cezsar.files import appearing
from cezsar.store.local import schema
from cezsar.store.local.connection import connect, open_file, translated
from cezsar.store.local.homes import home
from cezsar.store.local.opening import current


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
