"""The store: rows and vectors behind one door. An index is a folder: rows in SQLite, the truth, and vectors beside.

SQLAlchemy writes and Alembic migrates. Both take longer to load than a query takes: reading does without them, and the
writing code is imported when it is first needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cezsar.errors import SettingsError
from cezsar.store import outline
from cezsar.store.local import homes, opening, pictures
from cezsar.store.local.backup import backup, check
from cezsar.store.local.catalog import Catalog
from cezsar.store.local.homes import FILE
from cezsar.store.local.lock import LOCK, was_interrupted
from cezsar.store.local.opening import (
    check_creatable,
    create,
    current,
    exists,
    locked,
    needs_a_writer,
    open_place_to_write,
    open_previous,
)
from cezsar.store.local.rows import Rows
from cezsar.store.local.schema import REVISION
from cezsar.store.outline import Outline
from cezsar.store.words import Counts, Embedding, Failure, File, Found, Info, Part, Place, Run, Video, Where

__all__ = [
    "FILE", "LOCK", "REVISION", "Catalog", "Counts", "Embedding", "Failure", "File", "Found", "Info", "Outline", "Part",
    "Place", "Rows", "Run", "Video", "Where", "backup", "check", "check_creatable", "create", "current", "exists",
    "homes", "locked", "needs_a_writer", "open", "open_place_to_write", "open_previous", "open_to_write",
    "outline", "pictures", "upgrade", "was_interrupted",
]  # fmt: skip


_STORES = {"": opening.open_to_read}  # by the scheme of a location
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/")


def open(location: Path | str, *, cores: int | None = None) -> Catalog:  # noqa: A001
    """The index at a location, open to read. Today a location is a folder, which need not be writable.

    A search takes at most `cores` cores, or all. Raises SettingsError if a location's scheme (as postgresql:) is not
    known; IndexMissing, IndexOutdated, IndexDamaged.
    """
    found = None if Path(location).exists() else _SCHEME.match(str(location))
    if found and found[1] not in _STORES:
        raise SettingsError(f"There is no store for {found[1]}: locations; an index is a folder.")
    return _STORES[found[1] if found else ""](Path(location), cores=cores)


def upgrade(directory: Path) -> str:
    """Bring an older catalog to REVISION, in one transaction, and then its cache; the revision that it had before."""
    before = opening.upgrade(directory)
    if before < REVISION:
        with open_to_write(directory):
            pass
    return before


def open_to_write(directory: Path, *, notice: Callable[[str], None] = lambda _: None) -> Catalog:
    """The catalog, open for writing as the only one, with a cache that is sound and not far behind it.

    An older index that others can read is closed to them, and notice gets a line. Raises IndexMissing, IndexOutdated,
    IndexDamaged, IndexReadOnly, IndexLocked.
    """
    with ExitStack() as stack:
        catalog = stack.enter_context(opening.open_to_write(directory, notice=notice))
        catalog.tidy()
        stack.pop_all()  # it stays open
    return catalog
