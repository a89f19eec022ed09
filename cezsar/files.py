"""Writing files whole, under their names, or not at all; and clearing up drafts that were never finished."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600  # what tells of somebody's videos is nobody else's business
DRAFT = re.compile(r"\..+\.[0-9a-f]{16}\.cezsar-draft(-journal)?", re.DOTALL)  # and what SQLite keeps beside one
_LONGEST = 255 - len("..0123456789abcdef.cezsar-draft")  # bytes of a name that fits beside that


@contextmanager
def appearing(target: Path, *, durable: bool = False, private: bool = False) -> Iterator[Path]:
    """An empty draft beside target, to write to; it takes target's name at the end, and is deleted on any error.

    No two drafts share a name, not even those of threads. With durable its content is on the disk before it has the
    name, and the name is on the disk at the end; with private nobody else may read it. Raises OSError.
    """
    draft = draft_of(target)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE if private else 0o666))
    try:
        yield draft
        if durable:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(draft, target)
        if durable:
            sync(target.parent)
    finally:
        with suppress(OSError):
            draft.unlink()


def write(target: Path, data: bytes, *, durable: bool = False, private: bool = False) -> None:
    """Make a file with this content, in the place of an older one, as appearing() does. Raises OSError."""
    with appearing(target, durable=durable, private=private) as draft:
        draft.write_bytes(data)


def draft_of(target: Path) -> Path:
    """A free name beside target, which marks a draft of CEZSAR's."""
    name = os.fsdecode(os.fsencode(target.name)[:_LONGEST])
    return target.with_name(f".{name}.{secrets.token_hex(8)}.cezsar-draft")


def private(path: str, flags: int) -> int:
    """An opener for open(): nobody else may read a file that it makes. Raises OSError."""
    return os.open(path, flags, PRIVATE_FILE)


def forget_drafts(folder: Path) -> None:
    """Delete the drafts that appearing() left in a folder when its process was killed; nothing else, and through no
    link.

    Only for callers who know that nobody is writing there.
    """
    with suppress(OSError), os.scandir(folder) as listing:
        if folder.is_symlink():
            return
        for entry in listing:
            if DRAFT.fullmatch(entry.name) and stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                os.unlink(entry.path)


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, if the system can say so. Raises OSError."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
