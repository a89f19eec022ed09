"""An index's older vectors: going back to them, and letting them go."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cezsar import catalog
from cezsar.catalog import homes
from cezsar.errors import BadIndex

_OF_AN_INDEX = ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm", "vectors.json")


def switch(directory: Path, place: Path) -> None:
    """Let another catalog of an index serve, at once; for who holds the lock of the one that serves."""
    try:
        homes.switch(directory, place)
    except OSError as error:
        raise BadIndex(f"The index in {directory} cannot be switched: {error.strerror}.") from None


def roll_back(directory: Path) -> catalog.Info:
    """Let the catalog before the last switch serve again; what it is. Raises IndexMissing where there is none."""
    with catalog.open_to_write(directory):
        with catalog.open_previous(directory) as store:
            place, info = store.directory, store.info
        switch(directory, place)
    return info


def drop_older(directory: Path) -> int:
    """Delete every catalog of an index but the one that serves; returns how many bytes that freed."""
    with catalog.open_to_write(directory):
        freed = 0
        for place in homes.others(directory):
            with catalog.locked(place):  # nobody is at work there
                files = [place / name for name in _OF_AN_INDEX] + sorted(place.glob("vectors-*.faiss"))
                files = [file for file in files if file.is_file()]
            freed += sum(file.stat().st_size for file in files)
            try:
                for file in files:
                    os.unlink(file)
                if place != directory:
                    shutil.rmtree(place)
            except OSError as error:
                raise BadIndex(f"{place} cannot be deleted: {error.strerror}.") from None
    return freed
