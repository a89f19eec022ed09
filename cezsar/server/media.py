"""Pictures and parts of the catalog's videos, made when they are first requested, and kept, up to a size."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from cezsar.errors import BadIndex, QueryError, VideoError, VideoLost
from cezsar.folders import Folder
from cezsar.paths import address, is_under
from cezsar.store import Video, pictures
from cezsar.types import Limits, Segment
from cezsar.video import Decoder, Pool, Timing

NUM_FRAMES = 12  # of a sprite
THREADS = 2  # that make pictures and parts at once, each with a process of its own; one more looks at types
LONGEST_PART_S = 120.0
_MOST_BYTES = 512 << 20
_WIDTH = 480  # of a still picture
_SPRITE_WIDTH = 240  # of each of them
_SHORT_SIDE = 720  # of what is encoded to be looked at in a browser
_PROBING = Limits(stall_s=60, time_s=60, memory_gb=4)
_MAKING = Limits(stall_s=180, time_s=180, memory_gb=4)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Content(NamedTuple):
    """An open file, which can be read to its end even if its name goes; tag identifies its content."""

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
    """A stretch as an MP4 file: to watch, or, at its full size, to keep."""

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


@dataclass(frozen=True, slots=True)
class Sprite:
    """NUM_FRAMES frames of a stretch at equal steps, side by side, as a JPEG file."""

    segment: Segment
    media_type = "image/jpeg"

    @property
    def name(self) -> str:
        """What tells it from other things made of the same video."""
        return f"{self.segment.start_s:.3f}-{self.segment.end_s:.3f}-sprite.jpg"

    def make(self, decoder: Decoder, source: Path, target: Path, identity: tuple[int, int]) -> None:
        """Have it made. Raises VideoError."""
        start_s, step_s = self.segment.start_s, (self.segment.end_s - self.segment.start_s) / NUM_FRAMES
        times_s = [start_s + (number + 0.5) * step_s for number in range(NUM_FRAMES)]
        decoder.sprite(source, times_s, target, width=_SPRITE_WIDTH, identity=identity)


Wanted: TypeAlias = Still | Part | Sprite

try:
    from fcntl import LOCK_EX, flock
except ImportError:  # Windows
    flock = None  # type: ignore[assignment]
_COUNTING = threading.Lock()


def part(video: Video, start_s: float | None, end_s: float | None, *, at_full_size: bool) -> Part:
    """A stretch of a video: by default from its start, and LONGEST_PART_S long. Raises QueryError if it is none."""
    begins_s = 0.0 if start_s is None else start_s
    ends_s = min(begins_s + LONGEST_PART_S if end_s is None else end_s, video.duration_s)
    if not 0 < ends_s - begins_s <= LONGEST_PART_S:
        raise QueryError(
            f"A part lasts up to {LONGEST_PART_S:g} s and begins before the video's end at {video.duration_s:g} s."
        )
    return Part(Segment(begins_s, ends_s), at_full_size)


def stretch(video: Video, start_s: float, end_s: float) -> Sprite:
    """The sprite of a stretch of a video. Raises QueryError if it is none."""
    ends_s = min(end_s, video.duration_s)
    if ends_s <= start_s:
        raise QueryError(
            f"A stretch ends after its beginning, which is before the video's end at {video.duration_s:g} s."
        )
    return Sprite(Segment(start_s, ends_s))


class Media:
    """The kept pictures and parts of an index, whose folder is directory. Use as a context manager, from several
    threads."""

    def __init__(self, directory: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._directory, self._most_bytes = directory, most_bytes
        self._open = ExitStack()
        self._making, self._probing = Pool(_MAKING, workers=THREADS), Pool(_PROBING)
        self._is_over = False
        self._type_of = lru_cache(10_000)(self._find_type)
        self._timing_of = lru_cache(10_000)(self._find_timing)

    def __enter__(self) -> Media:
        try:
            self._rooms = self._prepared()
        except pictures.NotOurs:  # searches go on; who wants a picture is told, until somebody has moved it away
            self._rooms = ".drafts-00000000"
        except OSError:  # an index that cannot be written can be looked at all the same
            self._directory = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="cezsar-")))
            self._rooms = self._prepared()
        self._open.callback(self._tidy)
        for pool in (self._making, self._probing):
            self._open.enter_context(pool)
        with suppress(OSError):  # who wants a picture is told
            self._making.start()  # who opens the page wants some at once
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def interrupt(self) -> None:
        """Stop all work, from any thread; nothing is made any more."""
        self._is_over = True
        for pool in (self._making, self._probing):
            pool.interrupt()

    def media_type(self, video: Video) -> str | None:
        """As video.media_type: the type by which browsers play the file as it is. Raises VideoError."""
        with opened(video) as file:
            return self._type(file)

    def timing(self, video: Video) -> Timing:
        """How a video counts its frames. Raises VideoError."""
        with opened(video) as file:
            status = os.fstat(file.fileno())
            return self._timing_of(Path(file.name), _identity(status), status.st_size, status.st_mtime_ns)

    def whole(self, video: Video) -> Content | None:
        """The file itself; None if not every browser should play it as it is. Raises VideoError."""
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
        """The kept picture or part of a video; None if it has to be made. Raises VideoError."""
        with opened(video) as file:
            name = _name(video, wanted, os.fstat(file.fileno()))
        try:
            with pictures.opened(self._directory) as folder:
                found = folder.read(name)
                with suppress(OSError):
                    folder.touch(name)  # it is the latest that was wanted
        except OSError:
            return None
        return Content(found, wanted.media_type, name.partition(".")[0])

    def make(self, video: Video, wanted: Wanted, is_there: Callable[[], bool]) -> None:
        """Make a picture or part, and keep it; is_there says whether the video may still be shown then.

        Raises VideoError, and BadIndex if nothing can be kept, or the server is stopping.
        """
        with opened(video) as file:
            source, status = Path(file.name), os.fstat(file.fileno())
        name = _name(video, wanted, status)
        try:
            with (
                pictures.opened(self._directory, make=True) as folder,
                self._making.decoder() as decoder,
                pictures.room(folder, self._rooms) as room,
            ):
                if self._is_over:
                    raise BadIndex("The server is stopping.")
                try:
                    wanted.make(decoder, source, room.path / wanted.name, _identity(status))
                except VideoError as error:
                    if self._is_over:
                        raise BadIndex("The server is stopping.") from None
                    if not os.path.exists(room.path):
                        raise BadIndex(f"A file in {folder.path} was deleted meanwhile: ask again.") from None
                    if any(os.strerror(code).lower() in str(error).lower() for code in _FULL):  # all that comes of it
                        raise self._no_room(folder.path) from None
                    raise
                made = room.files().get(wanted.name)
                if made is None:
                    raise BadIndex(f"A file in {folder.path} was deleted meanwhile: ask again.")
                with _alone(folder):
                    self._make_room(folder, made.st_size)
                    folder.take(room, wanted.name, name)
                if not is_there():
                    with suppress(OSError):
                        folder.unlink(name)
                    raise VideoLost("The video has been removed meanwhile.")
        except OSError as error:
            if error.errno in _FULL:
                raise self._no_room(self._directory / pictures.FOLDER) from None
            raise BadIndex(f"Nothing can be kept in {self._directory / pictures.FOLDER} ({error.strerror}).") from None

    def cut(self, video: Video, stretch: Segment, target: Path) -> None:
        """Cut a stretch of a video to a file at its full size, which is not kept here.

        Raises VideoError, and BadIndex if the server is stopping.
        """
        with opened(video) as file:
            source, status = Path(file.name), os.fstat(file.fileno())
        with self._making.decoder() as decoder:
            if self._is_over:
                raise BadIndex("The server is stopping.")
            try:
                decoder.cut(source, stretch, target, identity=_identity(status))
            except VideoError:
                if self._is_over:
                    raise BadIndex("The server is stopping.") from None
                raise

    def picture(self, video: Video, wanted: Still) -> bytes:
        """A picture of a video, made if it has not been kept. Raises VideoError, BadIndex."""
        kept = self.kept(video, wanted)
        if kept is None:
            self.make(video, wanted, lambda: True)
            kept = self.kept(video, wanted)
        if kept is None:
            raise VideoLost("its picture was deleted before it could be taken")
        with kept.file as file:
            return file.read()

    @staticmethod
    def _no_room(folder: Path) -> BadIndex:
        return BadIndex(f"The disk of {folder} is full: no picture or part can be made there until there is room.")

    def _type(self, file: BinaryIO) -> str | None:
        status = os.fstat(file.fileno())
        return self._type_of(Path(file.name), _identity(status), status.st_size, status.st_mtime_ns)

    def _find_type(self, source: Path, identity: tuple[int, int], size: int, mtime_ns: int) -> str | None:
        with self._probing.decoder() as decoder:
            return decoder.media_type(source, identity=identity)

    def _find_timing(self, source: Path, identity: tuple[int, int], size: int, mtime_ns: int) -> Timing:
        with self._probing.decoder() as decoder:
            return decoder.timing(source, identity=identity)

    def _make_room(self, folder: Folder, num_bytes: int) -> None:
        """Delete those that have not been wanted for longest, so that a file of this size does not make it too many.

        Raises QueryError if it alone does. What is there is counted anew: another server may keep files here too.
        """
        if num_bytes > self._most_bytes:
            raise QueryError(
                f"That takes {num_bytes / 1e6:,.0f} MB, and at most {self._most_bytes / 1e6:,.0f} MB of pictures and "
                "parts are kept: ask for a shorter part."
            )
        kept = pictures.kept(folder)
        left = sum(status.st_size for status in kept.values())
        if left + num_bytes <= self._most_bytes:
            return
        for name, status in sorted(kept.items(), key=lambda one: one[1].st_mtime_ns):
            if left + num_bytes <= self._most_bytes * 0.9:
                break
            with suppress(FileNotFoundError):
                folder.unlink(name)
            left -= status.st_size

    def _prepared(self) -> str:
        """Make the folder ready; the name of this server's own drafts' folder in it. Raises NotOurs, OSError."""
        with pictures.opened(self._directory, make=True) as folder:
            pictures.forget_drafts(folder)
            return pictures.new_rooms(folder)

    def _tidy(self) -> None:
        with suppress(OSError, pictures.NotOurs), pictures.opened(self._directory) as folder:
            pictures.forget_rooms(folder, self._rooms)


def _name(video: Video, wanted: Wanted, status: os.stat_result) -> str:
    """What something made of a video is kept as: another file has another name."""
    key = repr((video.content_sha256, status.st_ino, status.st_size, status.st_mtime_ns, wanted.name)).encode()
    return hashlib.sha256(key).hexdigest()[:32] + os.path.splitext(wanted.name)[1]


@contextmanager
def _alone(folder: Folder) -> Iterator[None]:
    """Nobody else, thread or server, counts and keeps meanwhile, where the file system can lock a folder."""
    with _COUNTING:
        if flock is not None and folder.descriptor is not None:
            with suppress(OSError):
                flock(folder.descriptor, LOCK_EX)  # until the folder is closed
        yield


def opened(video: Video) -> BinaryIO:
    """The file of a video, open; its name is the path with all links resolved.

    Raises VideoLost if it has gone, or is a link that leads out of the folder that was indexed, at this moment or
    before; VideoError if it is no file any more.
    """
    named = video.file.absolute
    if address(named):
        raise VideoLost("The video is at an address, and only `cezsar index` fetches videos.")
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
    raise VideoError("The video's path is not a file any more.")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
