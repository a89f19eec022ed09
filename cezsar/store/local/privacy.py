"""An index is private to its owner: older ones are closed to others."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from cezsar import folders
from cezsar.folders import Folder
from cezsar.store.local import pictures
from cezsar.store.local.homes import OF_A_CATALOG

_OURS = re.compile(rf"current\.json|writer\.(lock|json)|purge\.json|{OF_A_CATALOG.pattern}", OF_A_CATALOG.flags)
_SPACE = re.compile(r"space-\d+")


def tighten(directory: Path) -> str | None:
    """Take others' rights to an index's files away, and to its folders; a line that says so, None if they had none.

    A folder that holds anything else keeps its mode. What belongs to another account stays as it is.
    """
    if os.name == "nt":
        return None
    others, num_closed = list[str](), 0
    with suppress(OSError), folders.opened(Path(os.path.realpath(directory))) as folder:
        for name, status in folder.entries().items():
            if stat.S_ISDIR(status.st_mode) and _SPACE.fullmatch(name):
                with folder.opened(name) as space:
                    if "catalog.sqlite" in space.entries():
                        num_closed += _close(space, [one for one in space.entries() if not _OURS.fullmatch(one)])
                        continue
            if stat.S_ISDIR(status.st_mode) and name == pictures.FOLDER:
                with suppress(OSError, pictures.NotOurs), pictures.opened(directory):
                    continue
            if not (stat.S_ISREG(status.st_mode) and _OURS.fullmatch(name)):
                others.append(name)
        num_closed += _close(folder, others)
    if not num_closed:
        return None
    kept = f"; {directory} keeps its mode, since it holds other files too, as {others[0]}" if others else ""
    return (
        f"The index in {directory} could be read by this machine's other accounts. Its files are yours alone now{kept}."
    )


def _close(folder: Folder, others: list[str]) -> int:
    """Make a folder's own files private, and itself if it has no others; how many were not."""
    num_closed = 0
    for name, status in folder.files().items():
        if _OURS.fullmatch(name) and status.st_mode & 0o077:
            with suppress(PermissionError):
                folder.make_file_private(name)
                num_closed += 1
    if not others and not folder.is_private():
        with suppress(PermissionError):
            folder.make_private()
            num_closed += 1
    return num_closed
