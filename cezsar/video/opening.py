"""Opening one video file, and no other file, as a container."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO

import av
import av.error
from av.container import InputContainer

from cezsar.errors import VideoError, VideoLost
from cezsar.paths import address

# A video file may name others (a playlist names addresses): nothing beyond the file itself is opened.
_OPTIONS = {"protocol_whitelist": "none"}
_only: ContextVar[Sequence[int] | None] = ContextVar("_only", default=None)


@contextmanager
def only(identity: Sequence[int] | None) -> Iterator[None]:
    """Inside this context only this file, by its device and inode, is opened, even if its name leads elsewhere by
    then."""
    token = _only.set(identity)
    try:
        yield
    finally:
        _only.reset(token)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file; never wait on a FIFO or a device. Raises VideoError."""
    if address(path):
        raise VideoLost("it is at an address, and only `cezsar index` fetches videos")
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise VideoError("not a regular file")
        if status.st_size == 0:
            raise VideoError("the file is empty")
        file = path.open("rb", buffering=0)
        now, wanted = os.fstat(file.fileno()), _only.get()
        if wanted is not None and [now.st_dev, now.st_ino] != list(wanted):
            file.close()
            raise VideoLost("it is another file by now")
        return file
    except FileNotFoundError:
        raise VideoLost("there is no such file") from None
    except OSError as error:
        raise VideoLost(reason(error)) from None


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """An open container. Raises VideoError if FFmpeg makes nothing of the file."""
    with open_regular(path) as file:
        try:
            container = av.open(file, mode="r", options=_OPTIONS, metadata_errors="replace")
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise VideoError(f"not a readable video ({reason(error)})") from None
        with container:
            yield container


def reason(error: BaseException) -> str:
    """The system's text of an error, without the file's name."""
    text = getattr(error, "strerror", None) or str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:1].lower() + text[1:]
