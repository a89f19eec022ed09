"""A copy of the catalog in one file, and an index from such a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from cezsar import store
from cezsar.errors import BadIndex, IndexOutdated
from cezsar.files import PRIVATE_FOLDER, appearing
from cezsar.location import Database
from cezsar.types import Location


def back_up(location: Location, target: Path, *, replace: bool = False) -> int:
    """Write the catalog, vectors included, to one file, while others read and write; returns its size in bytes.

    Raises BadIndex if target is there already, unless replace, or cannot be written.
    """
    if target.exists() and not replace:
        raise BadIndex(f"{target} is there already: --force replaces it.")
    store.backup(_folder(location), target)
    return target.stat().st_size


def restore(
    source: Path, location: Location, *, replace: bool = False, notice: Callable[[str], None] = lambda _: None
) -> None:
    """Make an index from a file that back_up wrote. An index that is there is kept beside it, as after a re-embedding.

    Raises BadIndex if there is an index already, unless replace; IndexDamaged if source is no sound catalog.
    """
    directory = _folder(location)
    revision = store.check(source)
    if revision > store.REVISION:
        raise IndexOutdated(f"{source} has schema {revision}, newer than this CEZSAR's {store.REVISION}.")
    if not store.exists(directory):
        try:
            directory.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        except OSError as error:
            raise BadIndex(f"The index folder {directory} cannot be made: {error.strerror}.") from None
        with store.locked(directory):
            _copy(source, directory)
    elif replace:
        with store.open_to_write(directory, notice=notice):
            place = _folder(store.home(directory).fresh())
            _copy(source, place)
            store.upgrade(place)
            store.home(directory).switch(place)
    else:
        raise BadIndex(
            f"There is an index in {directory} already: --force puts the backup in its place, and keeps the old one."
        )
    store.upgrade(directory)
    with store.open_to_write(directory, notice=notice) as catalog:
        catalog.fold_if_due()


def _folder(location: Location) -> Path:
    if isinstance(location, Database):
        raise BadIndex(f"{location} is a database, which its own tools copy: pg_dump and pg_restore.")
    return location


def _copy(source: Path, place: Path) -> None:
    try:
        place.mkdir(PRIVATE_FOLDER, exist_ok=True)
        for left_over in ("-wal", "-shm"):  # of a catalog that was deleted: SQLite would take them for this one's
            (place / f"{store.FILE}{left_over}").unlink(missing_ok=True)
        with appearing(place / store.FILE, durable=True, private=True) as draft:
            shutil.copyfile(source, draft)
    except OSError as error:
        raise BadIndex(f"The index in {place} cannot be written: {error.strerror}.") from None
