"""Which of an index's catalogs is in use: the one in its folder, or in a sub-folder that a pointer names.

The pointer is replaced atomically, so that a switch from one catalog to another happens at once or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from cezsar.errors import IndexDamaged
from cezsar.files import DRAFT, appearing
from cezsar.store.local.stamp import FILES

FILE = "catalog.sqlite"
POINTER = "current.json"
OF_A_CATALOG = re.compile(
    rf"catalog\.sqlite(-wal|-shm|-journal)?|calibration\.json|{FILES}|{DRAFT.pattern}", DRAFT.flags
)
"""The names of a catalog's own files, with its cache's, but of no lock."""
_NAME = re.compile(r"space-([1-9]\d{0,8})")


def home(directory: Path) -> Path:
    """The folder of the catalog that an index uses. Raises IndexDamaged if the pointer leads nowhere."""
    return directory / _read(directory)["current"]


def state(directory: Path) -> tuple[object, ...]:
    """A value that differs when another catalog takes the place of the one in use. Raises IndexDamaged."""
    place = home(directory)
    try:
        status = (place / FILE).stat()
    except OSError:
        return (place,)
    return place, status.st_dev, status.st_ino


def previous(directory: Path) -> Path | None:
    """The folder of the catalog that was in use before the last switch; None if there is none any more."""
    name = _read(directory)["previous"]
    return directory / name if name and (directory / name / FILE).is_file() else None


def others(directory: Path) -> list[Path]:
    """The folders, and no links, of this index's catalogs that are not in use, by number."""
    numbered = sorted((int(found[1]), path) for path in directory.iterdir() if (found := _NAME.fullmatch(path.name)))
    places = [directory, *(path for _, path in numbered if not path.is_symlink())]
    return [place for place in places if (place / FILE).is_file() and place != home(directory)]


def fresh(directory: Path) -> Path:
    """A folder for a new catalog, which is not there yet."""
    taken = [int(found[1]) for path in directory.iterdir() if (found := _NAME.fullmatch(path.name))]
    return directory / f"space-{max(taken, default=1) + 1}"


def switch(directory: Path, place: Path) -> None:
    """Use the catalog in place, directory or a sub-folder of it, from now on. Raises OSError."""
    said = _sealed({"current": os.path.relpath(place, directory), "previous": _read(directory)["current"]})
    with appearing(directory / POINTER, durable=True, private=True) as draft:
        draft.write_text(json.dumps(said), encoding="utf-8")


def _read(directory: Path) -> dict[str, str]:
    try:
        said = json.loads((directory / POINTER).read_text(encoding="utf-8"))
        current, before = said["current"], said["previous"]
        names = {"current": current, "previous": before}
        is_sound = all(name == "." or _NAME.fullmatch(name) for name in names.values())
        is_sound = is_sound and said in (_sealed(names), names)  # there was no seal at first
    except (FileNotFoundError, NotADirectoryError):
        return {"current": ".", "previous": ""}
    except OSError as error:
        raise IndexDamaged(f"The index in {directory} cannot be opened: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        is_sound = False
    if not is_sound or not (directory / current / FILE).is_file():
        raise IndexDamaged(f"{directory / POINTER} does not name a catalog in {directory}.")
    return {"current": current, "previous": before}


def _sealed(names: dict[str, str]) -> dict[str, str]:
    """With a checksum: one changed bit makes another catalog's name, older vectors that would answer in silence."""
    return {**names, "sha256": hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()}
