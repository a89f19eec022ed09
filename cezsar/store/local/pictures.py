"""The folder of an index where a server keeps pictures and parts of its videos: nothing else in it is ever touched.

It is a folder itself, no link, with a CACHEDIR.TAG (https://bford.info/cachedir/) of ours; our files in it have names
of our pattern.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cezsar import folders
from cezsar.errors import BadIndex
from cezsar.files import DRAFT, PRIVATE_FOLDER
from cezsar.folders import Folder

FOLDER = "media"
TAG = "CACHEDIR.TAG"
_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
_OWNER = b"# Pictures and parts of videos that CEZSAR can make anew."
_KEPT = re.compile(r"[0-9a-f]{32}\.(jpg|mp4)")
_ROOMS = re.compile(r"\.drafts-[0-9a-z_]{8}")
_ROOM = re.compile(r"tmp[0-9a-z_]{8}")
_MADE = re.compile(r"\d+\.\d{3}(-\d+\.\d{3}-(full|small|sprite))?\.(jpg|mp4)|\.\d+\.cezsar-draft")
_OLD_S = 24 * 3600.0  # what was begun so long ago will not be ended


class NotOurs(BadIndex):
    """The folder's name belongs to something else, or to somebody else: it is left as it is."""


@contextmanager
def opened(directory: Path, *, make: bool = False) -> Iterator[Folder]:
    """An index's pictures, with make made if there are none, and private.

    An older folder without a tag gets one if all names in it are of our pattern. Raises FileNotFoundError if there are
    none, NotOurs, and OSError.
    """
    place = directory / FOLDER
    if make:
        os.makedirs(directory, PRIVATE_FOLDER, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(place, PRIVATE_FOLDER)
    try:
        opening = folders.opened(place)
        folder = opening.__enter__()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _not_ours(place, error) from None
    try:
        if not _is_tagged(folder):
            if not _is_of_our_pattern(folder):
                raise NotOurs(
                    f"{place} holds files that are not CEZSAR's, and no {TAG} of its own: nothing in it is touched, "
                    "and no picture is kept there. Move it away to have pictures."
                )
            with suppress(FileExistsError):  # another server has just made it
                folder.write(TAG, b"\n".join((_SIGNATURE, _OWNER, b"")))
        if not folder.is_private():
            folder.make_private()
        yield folder
    finally:
        opening.__exit__(None, None, None)


def kept(folder: Folder) -> dict[str, os.stat_result]:
    """The pictures and parts that are there. Raises OSError."""
    return {name: status for name, status in folder.files().items() if _KEPT.fullmatch(name)}


def new_rooms(folder: Folder) -> str:
    """Make a folder in it for room(), and return its name. Raises OSError."""
    name = f".drafts-{secrets.token_hex(4)}"
    folder.mkdir(name)
    return name


@contextmanager
def room(folder: Folder, name: str) -> Iterator[Folder]:
    """A new folder in the one of that name, made again if somebody has tidied up; at the end it goes."""
    with suppress(FileExistsError):
        folder.mkdir(name)
    with folder.opened(name) as above:
        own = f"tmp{secrets.token_hex(4)}"
        above.mkdir(own)
        try:
            with above.opened(own) as made:
                yield made
        finally:
            with suppress(OSError), above.opened(own) as made:
                _empty_room(made)
            with suppress(OSError):
                above.rmdir(own)


def forget_drafts(folder: Folder) -> None:
    """Delete the drafts of killed servers that are a day old. Raises OSError."""
    for name, status in folder.entries().items():
        if stat.S_ISDIR(status.st_mode) and _ROOMS.fullmatch(name) and time.time() - status.st_mtime > _OLD_S:
            forget_rooms(folder, name)


def forget(directory: Path) -> None:
    """Delete all pictures and parts of an index, and the folder if nothing else is left in it.

    Raises NotOurs, and BadIndex if they cannot be deleted.
    """
    try:
        with opened(directory) as folder:
            for name in kept(folder):
                folder.unlink(name)
            for name, status in folder.entries().items():
                if stat.S_ISDIR(status.st_mode) and _ROOMS.fullmatch(name):
                    forget_rooms(folder, name)
                elif stat.S_ISREG(status.st_mode) and DRAFT.fullmatch(name):
                    folder.unlink(name)
            if set(folder.entries()) == {TAG}:
                folder.unlink(TAG)
        with suppress(OSError):
            os.rmdir(directory / FOLDER)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadIndex(f"The pictures in {directory / FOLDER} cannot be deleted ({error.strerror}).") from None


def _not_ours(place: Path, error: OSError) -> Exception:
    try:
        kind = os.lstat(place).st_mode
    except OSError:
        return error
    if stat.S_ISLNK(kind):
        what = "is a link, which CEZSAR does not follow"
    elif not stat.S_ISDIR(kind):
        what = "is no folder"
    else:
        return error
    return NotOurs(f"{place} {what}: nothing there is touched, and no picture is kept. Move it away to have pictures.")


def _is_tagged(folder: Folder) -> bool:
    try:
        with folder.read(TAG) as file:
            told = file.read(4096)
    except OSError:
        return False
    return told.startswith(_SIGNATURE) and b"CEZSAR" in told


def _is_of_our_pattern(folder: Folder) -> bool:
    """Whether everything in an untagged folder is what a server makes there."""
    for name, status in folder.entries().items():
        if stat.S_ISREG(status.st_mode) and (_KEPT.fullmatch(name) or DRAFT.fullmatch(name)):
            continue
        if not (stat.S_ISDIR(status.st_mode) and _ROOMS.fullmatch(name)):
            return False
        with folder.opened(name) as made:
            for inner, inner_status in made.entries().items():
                if not (stat.S_ISDIR(inner_status.st_mode) and _ROOM.fullmatch(inner)):
                    return False
                with made.opened(inner) as last:
                    if set(last.entries()) - set(_made(last)):
                        return False
    return True


def _made(folder: Folder) -> list[str]:
    return [name for name in folder.files() if _MADE.fullmatch(name) or DRAFT.fullmatch(name)]


def _empty_room(folder: Folder) -> None:
    for name in _made(folder):
        folder.unlink(name)


def _empty_rooms(folder: Folder) -> None:
    for name, status in folder.entries().items():
        if stat.S_ISDIR(status.st_mode) and _ROOM.fullmatch(name):
            with folder.opened(name) as made:
                _empty_room(made)
            with suppress(OSError):  # something of somebody else is in it
                folder.rmdir(name)


def forget_rooms(folder: Folder, name: str) -> None:
    """Delete such a folder and the drafts in it; other people's files stay. Raises OSError."""
    with folder.opened(name) as made:
        _empty_rooms(made)
    with suppress(OSError):
        folder.rmdir(name)
