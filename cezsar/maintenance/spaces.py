"""An index's older spaces: returning to them, and deleting them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cezsar import folders, store
from cezsar.errors import BadIndex
from cezsar.store import homes


def switch(directory: Path, place: Path) -> None:
    """Switch an index to another of its catalogs, at once; only for the holder of the current one's lock."""
    try:
        homes.switch(directory, place)
    except OSError as error:
        raise BadIndex(f"The index in {directory} cannot be switched: {error.strerror}.") from None


def roll_back(directory: Path, *, notice: Callable[[str], None] = lambda _: None) -> store.Info:
    """Return to the catalog before the last switch; returns its Info. Raises IndexMissing if there is none."""
    with store.open_to_write(directory, notice=notice):
        with store.open_previous(directory) as catalog:
            place, info = catalog.directory, catalog.info
        switch(directory, place)
    with store.open_to_write(directory) as catalog:
        catalog.fold_if_due()  # its cache may have been dropped, or made before much else
    return info


def drop_older(directory: Path, *, notice: Callable[[str], None] = lambda _: None) -> int:
    """Delete every catalog of an index but the one in use; returns the number of freed bytes.

    Only files of an index, by their names, and no link is followed: a folder that holds anything else stays with it,
    and notice gets a line.
    """
    with store.open_to_write(directory, notice=notice):
        return sum(_dropped(place, directory, notice) for place in homes.others(directory))


def _dropped(place: Path, directory: Path, notice: Callable[[str], None]) -> int:
    """Delete a catalog, in the index's folder or one of its own; returns how many bytes that freed."""
    freed = 0
    try:
        with store.locked(place), folders.opened(place) as folder:  # nobody is at work there
            for name, status in folder.files().items():
                if homes.OF_A_CATALOG.fullmatch(name):
                    folder.unlink(name)
                    freed += status.st_size
        if place != directory:
            _drop_folder(place, notice)
    except OSError as error:
        raise BadIndex(f"{place} cannot be deleted: {error.strerror}.") from None
    return freed


def _drop_folder(place: Path, notice: Callable[[str], None]) -> None:
    """Delete a folder whose catalog has gone, if its lock was all that was left in it."""
    with folders.opened(place) as folder:
        if others := sorted(set(folder.entries()) - {store.LOCK}):
            notice(f"{place} stays: {others[0]} in it is not CEZSAR's.")
            return
        with suppress(FileNotFoundError):
            folder.unlink(store.LOCK)
    place.rmdir()
