"""An index's older spaces: returning to them, and deleting them."""

from __future__ import annotations

from collections.abc import Callable

from cezsar import store
from cezsar.types import Location


def switch(location: Location, place: Location) -> None:
    """Switch an index to another of its catalogs, at once; only for the holder of the current one's lock."""
    store.home(location).switch(place)


def roll_back(location: Location, *, notice: Callable[[str], None] = lambda _: None) -> store.Info:
    """Return to the catalog before the last switch; returns its Info. Raises IndexMissing if there is none."""
    with store.open_to_write(location, notice=notice):
        with store.home(location).open_previous() as catalog:
            place, info = catalog.place, catalog.info
        switch(location, place)
    with store.open_to_write(location) as catalog:
        catalog.fold_if_due()  # its cache may have been dropped, or made before much else
    return info


def drop_older(location: Location, *, notice: Callable[[str], None] = lambda _: None) -> int:
    """Delete every catalog of an index but the one in use; returns the number of freed bytes.

    notice gets a line for what has to stay, as a folder that holds other people's files.
    """
    home = store.home(location)
    with store.open_to_write(location, notice=notice):
        return sum(home.drop(place, notice=notice) for place in home.others())
