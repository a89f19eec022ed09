"""A folder itself, worked on through its descriptor: even if something takes its name meanwhile, nothing else is
touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cezsar.files import DRAFT, PRIVATE_FILE, PRIVATE_FOLDER, draft_of

_BY_DESCRIPTOR = os.unlink in os.supports_dir_fd and os.scandir in os.supports_fd  # not on Windows
_ITSELF = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Folder:
    """An open folder. Names are those of entries in it; no link is followed, neither to it nor in it."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path, self._descriptor = path, descriptor

    def entries(self) -> dict[str, os.stat_result]:
        """The entries in it, links as links. Raises OSError."""
        with os.scandir(self.path if self._descriptor is None else self._descriptor) as listing:
            names = sorted(entry.name for entry in listing)
        found = {}
        for name in names:
            with suppress(FileNotFoundError):  # it has gone meanwhile
                found[name] = os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)
        return found

    def files(self) -> dict[str, os.stat_result]:
        """The regular files in it. Raises OSError."""
        return {name: status for name, status in self.entries().items() if stat.S_ISREG(status.st_mode)}

    def read(self, name: str) -> BinaryIO:
        """A regular file of it, open. Raises OSError."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = open(os.open(self._at(name), flags, dir_fd=self._descriptor), "rb")  # noqa: SIM115
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
        raise FileNotFoundError(f"{name} is not a file")

    def write(self, name: str, data: bytes) -> None:
        """Make a file that is not there yet, and that nobody else may read. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(self._at(name), flags, PRIVATE_FILE, dir_fd=self._descriptor), "wb") as file:
            file.write(data)

    def touch(self, name: str) -> None:
        """Give a file the time of now. Raises OSError."""
        if self._descriptor is None:
            os.utime(self._at(name))
        else:
            os.utime(name, dir_fd=self._descriptor, follow_symlinks=False)

    def take(self, other: Folder, name: str, new_name: str) -> None:
        """Move a file here from another folder, private, in the place of one of that name. Raises OSError."""
        if os.name != "nt":
            os.chmod(name, PRIVATE_FILE, dir_fd=other._descriptor)
        os.replace(other._at(name), self._at(new_name), src_dir_fd=other._descriptor, dst_dir_fd=self._descriptor)

    def unlink(self, name: str) -> None:
        """Delete a file of it, or a link. Raises OSError."""
        os.unlink(self._at(name), dir_fd=self._descriptor)

    def mkdir(self, name: str) -> None:
        """Make a folder in it that is nobody else's. Raises OSError."""
        os.mkdir(self._at(name), PRIVATE_FOLDER, dir_fd=self._descriptor)

    def rmdir(self, name: str) -> None:
        """Delete an empty folder in it. Raises OSError."""
        os.rmdir(self._at(name), dir_fd=self._descriptor)

    @contextmanager
    def opened(self, name: str) -> Iterator[Folder]:
        """A folder in it. Raises OSError if it is a link, or no folder."""
        with _opened(self.path / name, self._at(name), self._descriptor) as folder:
            yield folder

    def is_private(self) -> bool:
        """Whether nobody else has a right to it. Raises OSError."""
        return os.name == "nt" or not os.stat(self._own).st_mode & 0o077

    def make_private(self) -> None:
        """Take everybody else's right to it away. Raises OSError."""
        if os.name != "nt":
            os.chmod(self._own, PRIVATE_FOLDER)

    def make_file_private(self, name: str) -> None:
        """Take everybody else's right to a regular file of it away. Raises OSError."""
        if os.name != "nt":
            with self.read(name) as file:
                os.fchmod(file.fileno(), PRIVATE_FILE)

    @property
    def _own(self) -> int | Path:
        return self.path if self._descriptor is None else self._descriptor

    def _at(self, name: str) -> str:
        return name if self._descriptor is not None else os.path.join(self.path, name)

    @property
    def descriptor(self) -> int | None:
        """For the system's own calls; None if it has none for folders."""
        return self._descriptor


@contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """A folder itself. Raises OSError if it is a link, or no folder."""
    with _opened(path, os.fspath(path), None) as folder:
        yield folder


@contextmanager
def filling(target: Path) -> Iterator[Path]:
    """An empty draft of a folder, beside target; at the end its files take their names in target, in their order.

    So the last name says that the others are there; other files in target stay. The draft is deleted on any error; the
    draft of a killed process is deleted by the next call. Nobody else may fill target meanwhile. Raises OSError.
    """
    draft = draft_of(target)
    _forget_drafts(target.parent, draft.name.rsplit(".", 2)[0])
    draft.mkdir()
    try:
        yield draft
        target.mkdir(exist_ok=True)
        for name in sorted(os.listdir(draft)):
            os.replace(draft / name, target / name)
    finally:
        _forget(draft)


def _forget_drafts(parent: Path, name: str) -> None:
    """Delete drafts of a folder, whose names begin so, and the files in them; nothing else, and through no link."""
    if not parent.is_symlink():
        for path in parent.iterdir():
            if path.name.rsplit(".", 2)[0] == name and DRAFT.fullmatch(path.name):
                _forget(path)


def _forget(draft: Path) -> None:
    with suppress(OSError), opened(draft) as folder:
        for name in folder.files():
            folder.unlink(name)
    with suppress(OSError):
        draft.rmdir()


@contextmanager
def _opened(path: Path, name: str, within: int | None) -> Iterator[Folder]:
    if not _BY_DESCRIPTOR:
        if not stat.S_ISDIR(os.lstat(name).st_mode):
            raise NotADirectoryError(f"{path} is not a folder")
        yield Folder(path, None)
        return
    descriptor = os.open(name, _ITSELF, dir_fd=within)
    try:
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)
