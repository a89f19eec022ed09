"""The store: rows and vectors behind one door, in a folder (SQLite, and vectors beside it) or a PostgreSQL database.

SQLAlchemy writes and Alembic migrates. Both take longer to load than a query takes: reading does without them, and the
writing code is imported when it is first needed. So is the code for a database.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from cezsar.errors import LocationError
from cezsar.location import Database, located
from cezsar.store import outline
from cezsar.store.listing import VideoFolder
from cezsar.store.local import pictures
from cezsar.store.local.backup import check
from cezsar.store.local.folder import Folder
from cezsar.store.local.homes import FILE
from cezsar.store.local.lock import LOCK
from cezsar.store.local.opening import locked
from cezsar.store.outline import Outline
from cezsar.store.protocols import Catalog, Home
from cezsar.store.revision import REVISION
from cezsar.store.rows import Rows
from cezsar.store.words import (
    Counts,
    Course,
    Embedding,
    Failure,
    File,
    Found,
    Info,
    Part,
    Place,
    Run,
    Video,
    Where,
)
from cezsar.types import EncoderIdentity, Location, Sampling

__all__ = [
    "FILE", "LOCK", "REVISION", "Catalog", "Counts", "Course", "Embedding", "Failure", "File", "Found",
    "Home", "Info", "Outline", "Part", "Place", "Rows", "Run", "Video", "VideoFolder", "Where", "check", "create",
    "current", "exists", "home", "locked", "open", "open_to_write", "outline", "pictures", "upgrade",
]  # fmt: skip


def home(location: Location | str) -> Home:
    """The index at a location, whichever store holds it. Raises LocationError if that store is not installed."""
    found = located(location)
    if not isinstance(found, Database):
        return Folder(found)
    try:
        from cezsar.store.sql.schema import Schema
    except ImportError as error:
        if (error.name or "psycopg").partition(".")[0] != "psycopg":
            raise
        raise LocationError("An index in PostgreSQL needs psycopg: `pip install 'cezsar[postgres]'` adds it.") from None
    if found.vectors is not None and find_spec("pymilvus") is None:
        raise LocationError("A cache in Milvus needs pymilvus: `pip install 'cezsar[milvus]'` adds it.")
    return Schema(found)


def exists(location: Location) -> bool:
    """Whether there is an index. Raises BadIndex if that cannot be told."""
    return home(location).exists()


def open(location: Location | str, *, cores: int | None = None) -> Catalog:  # noqa: A001
    """The index at a location, open to read; a folder need not be writable, nor an account of a database.

    A search takes at most `cores` cores, or all. Raises LocationError if a location's scheme is not known;
    IndexMissing, IndexOutdated, IndexDamaged.
    """
    return home(location).open(cores=cores)


def create(
    location: Location,
    encoder: EncoderIdentity,
    sampling: Sampling,
    *,
    notice: Callable[[str], None] = lambda _: None,
) -> Catalog:
    """Make an empty catalog, open for writing; it appears whole or not at all.

    notice gets a line when the server of a database goes away, and when it is back. Raises IndexReadOnly, IndexLocked.
    """
    return home(location).create(encoder, sampling, notice=notice)


def current(location: Location) -> str:
    """The schema revision of an index's catalog. Raises IndexMissing, IndexDamaged."""
    return home(location).revision()


def upgrade(location: Location) -> str:
    """Bring an older catalog to REVISION, in one transaction, and then its cache; the revision that it had before."""
    return home(location).upgrade()


def open_to_write(location: Location, *, notice: Callable[[str], None] = lambda _: None) -> Catalog:
    """The catalog, open for writing as the only one, with a cache that is sound and not far behind it.

    notice gets lines for the user: if others could read the index until now, or if a database's server goes away.
    Raises IndexMissing, IndexOutdated, IndexDamaged, IndexReadOnly, IndexLocked.
    """
    return home(location).open_to_write(notice=notice)
