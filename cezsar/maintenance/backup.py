"""A copy of the catalog in one file, and an index from such a copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cezsar import store
from cezsar.errors import BadIndex, IndexOutdated
from cezsar.types import Location


def back_up(location: Location, target: Path, *, replace: bool = False) -> int:
    """Write the catalog, vectors included, to one file, while others read and write; returns its size in bytes.

    Raises BadIndex if target is there already, unless replace, or cannot be written.
    """
    if target.exists() and not replace:
        raise BadIndex(f"{target} is there already: --force replaces it.")
    store.home(location).backup(target)
    return target.stat().st_size


def restore(
    source: Path, location: Location, *, replace: bool = False, notice: Callable[[str], None] = lambda _: None
) -> None:
    """Make an index from a file that back_up wrote. An index that is there is kept beside it, as after a re-embedding.

    Raises BadIndex if there is an index already, unless replace; IndexDamaged if source is no sound catalog.
    """
    revision = store.check(source)
    if revision > store.REVISION:
        raise IndexOutdated(f"{source} has schema {revision}, newer than this CEZSAR's {store.REVISION}.")
    home = store.home(location)
    if not home.exists():
        home.load(source)
    elif replace:
        with store.open_to_write(location, notice=notice):
            place = home.fresh()
            store.home(place).load(source)
            home.switch(place)
    else:
        raise BadIndex(
            f"There is an index in {location} already: --force puts the backup in its place, and keeps the old one."
        )
    with store.open_to_write(location, notice=notice) as catalog:
        catalog.fold_if_due()
