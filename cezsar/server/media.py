"""Pictures and parts of the catalog's videos, made when they are first asked for, and kept, up to a size."""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from cezsar.catalog import Video, homes
from cezsar.errors import BadIndex, QueryError, VideoError, VideoLost
from cezsar.paths import is_under
from cezsar.types import Limits, Segment
from cezsar.video import Decoder

THREADS = 2  # that make pictures and parts at once, each with a process of its own; one more looks at types
LONGEST_PART_S = 120.0
_MOST_BYTES = 512 << 20
_WIDTH = 480  # of a still picture
_SHORT_SIDE = 720  # of what is encoded to be looked at in a browser
_PROBING = Limits(stall_s=60, time_s=60, memory_gb=4)
_MAKING = Limits(stall_s=180, time_s=180, memory_gb=4)
_OLD_S = 24 * 3600.0  # what was begun so long ago will not be ended


class Content(NamedTuple):
    """An open file, which can be read to its end whatever becomes of its name; tag names what it contains."""

    file: BinaryIO
    media_type: str
    tag: str


@dataclass(frozen=True, slots=True)
class Still:
    """The frame that is shown at a time, as a JPEG file."""

    time_s: float
    media_type = "image/jpeg"

    @property
    def name(self) -> str:
        """What tells it from other things made of the same video."""
        return f"{self.time_s:.3f}.jpg"

    def make(self, decoder: Decoder, source: Path, target: Path, identity: tuple[int, int]) -> None:
        """Have it made. Raises VideoError."""
        decoder.still(source, self.time_s, target, width=_WIDTH, identity=identity)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch as an MP4 file: to be looked at, or, at its full size, to be kept."""

    segment: Segment
    at_full_size: bool
    media_type = "video/mp4"

    @property
    def name(self) -> str:
        """What tells it from other things made of the same video."""
        size = "full" if self.at_full_size else "small"
        return f"{self.segment.start_s:.3f}-{self.segment.end_s:.3f}-{size}.mp4"

    def make(self, decoder: Decoder, source: Path, target: Path, identity: tuple[int, int]) -> None:
        """Have it made. Raises VideoError."""
        short_side = None if self.at_full_size else _SHORT_SIDE
        decoder.part(source, self.segment, target, short_side=short_side, identity=identity)


Wanted: TypeAlias = Still | Part


def part(video: Video, start_s: float | None, end_s: float | None, *, at_full_size: bool) -> Part:
    """A stretch of a video: by default from its start, and LONGEST_PART_S long. Raises QueryError where it is none."""
    begins_s = 0.0 if start_s is None else start_s
    ends_s = min(begins_s + LONGEST_PART_S if end_s is None else end_s, video.duration_s)
    if not 0 < ends_s - begins_s <= LONGEST_PART_S:
        raise QueryError(
            f"A part lasts up to {LONGEST_PART_S:g} s and begins before the video's end at {video.duration_s:g} s."
        )
    return Part(Segment(begins_s, ends_s), at_full_size)


class Media:
    """Use as a context manager; of several threads at once. directory is the index's folder."""

    def __init__(self, directory: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._directory, self._most_bytes = directory, most_bytes
        self._open = ExitStack()
        self._lock = threading.Lock()
        self._decoders: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        self._probers: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        self._every: list[Decoder] = []
        self._is_over = False
        self._type_of = lru_cache(10_000)(self._find_type)

    def __enter__(self) -> Media:
        self._folder = self._directory / homes.MEDIA
        try:
            self._folder.mkdir(exist_ok=True)
            drafts = tempfile.mkdtemp(prefix=".drafts-", dir=self._folder)
        except OSError:  # an index that cannot be written can be looked at all the same
            self._folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="cezsar-")))
            drafts = tempfile.mkdtemp(prefix=".drafts-", dir=self._folder)
        self._drafts = Path(drafts)
        self._open.callback(shutil.rmtree, self._drafts, ignore_errors=True)
        self._forget_drafts()
        self._num_bytes = sum(status.st_size for _, status in self._kept())
        for idle, limits in [(self._decoders, _MAKING)] * THREADS + [(self._probers, _PROBING)]:
            decoder = self._open.enter_context(Decoder(limits))
            self._every.append(decoder)
            idle.put(decoder)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def interrupt(self) -> None:
        """End what is being made, from any thread; nothing is made any more."""
        self._is_over = True
        for decoder in self._every:
            decoder.interrupt()

    def media_type(self, video: Video) -> str | None:
        """As video.media_type: what a browser plays of the file as it is. Raises VideoError."""
        with opened(video) as file:
            return self._type(file)

    def whole(self, video: Video) -> Content | None:
        """The file itself; None where not every browser should play it as it is. Raises VideoError."""
        with ExitStack() as unless_sent:
            file = unless_sent.enter_context(opened(video))
            kind = self._type(file)
            if kind is None:
                return None
            unless_sent.pop_all()
        status = os.fstat(file.fileno())
        tag = f"{status.st_dev:x}-{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
        return Content(file, kind, tag)

    def kept(self, video: Video, wanted: Wanted) -> Content | None:
        """What is wanted of a video; None where it has to be made. Raises VideoError."""
        with opened(video) as file:
            place = self._place(video, wanted, os.fstat(file.fileno()))
        try:
            found = place.open("rb")
        except OSError:
            return None
        with suppress(OSError):
            os.utime(place)  # it is the latest that was wanted
        return Content(found, wanted.media_type, place.stem)

    def make(self, video: Video, wanted: Wanted, is_there: Callable[[], bool]) -> None:
        """Make what is wanted, and keep it; is_there says whether it is still to be shown then.

        Raises VideoError, and BadIndex where nothing can be kept, or the server is stopping.
        """
        with opened(video) as file:
            source, status = Path(file.name), os.fstat(file.fileno())
        place = self._place(video, wanted, status)
        try:
            self._drafts.mkdir(parents=True, exist_ok=True)  # somebody may have tidied up
            with _one_of(self._decoders) as decoder, tempfile.TemporaryDirectory(dir=self._drafts) as room:
                draft = Path(room) / wanted.name
                if self._is_over:
                    raise BadIndex("The server is stopping.")
                try:
                    wanted.make(decoder, source, draft, _identity(status))
                except VideoError:
                    if self._is_over:
                        raise BadIndex("The server is stopping.") from None
                    if not os.path.exists(room):
                        raise BadIndex(f"What is made in {self._folder} was deleted: ask again.") from None
                    raise
                num_bytes = draft.stat().st_size
                draft.replace(place)
        except OSError as error:
            raise BadIndex(f"Nothing can be kept in {self._folder} ({error.strerror}).") from None
        if not is_there():
            with suppress(OSError):
                place.unlink()
            raise VideoLost("The video has been removed meanwhile.")
        self._count(place, num_bytes)

    def _place(self, video: Video, wanted: Wanted, status: os.stat_result) -> Path:
        """Where something made of a video is kept: another file has another name."""
        key = repr((video.content_sha256, status.st_ino, status.st_size, status.st_mtime_ns, wanted.name)).encode()
        return self._folder / f"{hashlib.sha256(key).hexdigest()[:32]}{os.path.splitext(wanted.name)[1]}"

    def _type(self, file: BinaryIO) -> str | None:
        status = os.fstat(file.fileno())
        return self._type_of(Path(file.name), _identity(status), status.st_size, status.st_mtime_ns)

    def _find_type(self, source: Path, identity: tuple[int, int], size: int, mtime_ns: int) -> str | None:
        with _one_of(self._probers) as decoder:
            return decoder.media_type(source, identity=identity)

    def _count(self, place: Path, num_bytes: int) -> None:
        """Add a file; where they are too many, delete those that have not been wanted for longest."""
        with self._lock:
            self._num_bytes += num_bytes
            if self._num_bytes <= self._most_bytes:
                return
            kept = sorted(self._kept(), key=lambda one: one[1].st_mtime_ns)
            self._num_bytes = sum(status.st_size for _, status in kept)
            for path, status in kept:
                if self._num_bytes <= self._most_bytes * 0.9 or path == place:
                    break
                with suppress(OSError):
                    path.unlink()
                self._num_bytes -= status.st_size

    def _kept(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        with suppress(OSError):
            for path in self._folder.iterdir():
                with suppress(OSError):
                    if not path.name.startswith("."):
                        found.append((path, path.stat()))
        return found

    def _forget_drafts(self) -> None:
        """Of servers that were killed."""
        for path in self._folder.glob(".*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _OLD_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _one_of(idle: queue.SimpleQueue[Decoder]) -> Iterator[Decoder]:
    """A decoder that nobody else has meanwhile."""
    decoder = idle.get()
    try:
        yield decoder
    finally:
        idle.put(decoder)


def opened(video: Video) -> BinaryIO:
    """The file of a video, open; its name is the path with all links resolved.

    Raises VideoLost where it has gone, or is a link that leads out of the folder that was indexed, at this moment or
    before; VideoError where it is no file any more.
    """
    named = video.file.absolute
    file: BinaryIO | None = None
    try:  # each of these calls may meet another file than the one before
        real = os.path.realpath(named)
        if not is_under(real, os.path.realpath(video.file.root)):
            raise VideoLost("The video's file is a link out of the folder that was indexed: it is not shown.")
        # a link or a FIFO that has just taken its place is neither followed nor waited for
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = open(os.fsdecode(real), "rb", opener=lambda path, _: os.open(path, flags))  # noqa: SIM115
        status = os.fstat(file.fileno())
        is_same = os.path.realpath(named) == real and os.path.samestat(os.lstat(real), status)
    except OSError as error:
        if file is not None:
            file.close()
        if isinstance(error, FileNotFoundError):
            raise VideoLost("The video's file has gone.") from None
        raise VideoLost(f"The video's file cannot be read ({error.strerror}).") from None
    if is_same and stat.S_ISREG(status.st_mode):
        return file
    file.close()
    if not is_same:
        raise VideoLost("The video's file was replaced just now: ask again.")
    raise VideoError("The video's file is no file any more.")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
