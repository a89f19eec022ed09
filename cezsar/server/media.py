"""Pictures and parts of the catalog's videos, made when they are first asked for, and kept, up to a size."""

from __future__ import annotations

import hashlib
import os
import queue
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from cezsar.catalog import Video, homes
from cezsar.errors import QueryError, VideoError, VideoLost
from cezsar.paths import is_under
from cezsar.types import Limits, Segment
from cezsar.video import Decoder

THREADS = 2  # that make pictures and parts at once, each with a process of its own; one more looks at types
LONGEST_PART_S = 120.0
_MOST_BYTES = 512 << 20
_WIDTH = 480  # of a still picture
_LIMITS = Limits(stall_s=60, time_s=60, memory_gb=4)


class Media:
    """Use as a context manager; of several threads at once. directory is the index's folder."""

    def __init__(self, directory: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._directory, self._most_bytes = directory, most_bytes
        self._open = ExitStack()
        self._lock = threading.Lock()
        self._decoders: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        self._probers: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        self._type_of = lru_cache(10_000)(self._find_type)

    def __enter__(self) -> Media:
        self._folder = self._directory / homes.MEDIA
        try:
            self._folder.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError:  # an index that cannot be written can be looked at all the same
            self._folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="cezsar-")))
        self._num_bytes = sum(status.st_size for _, status in self._kept())
        for idle in [self._decoders] * THREADS + [self._probers]:
            idle.put(self._open.enter_context(Decoder(_LIMITS)))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def media_type(self, video: Video) -> str | None:
        """As video.media_type: what a browser plays of the file as it is. Raises VideoError."""
        source, status = opened(video)
        return self._type_of(source, status.st_size, status.st_mtime_ns)

    def still(self, video: Video, time_s: float) -> Path:
        """A JPEG file of the frame at a time. Raises VideoError."""

        def make(decoder: Decoder, source: Path, target: Path) -> None:
            decoder.still(source, time_s, target, width=_WIDTH)

        return self._made(video, f"{time_s:.3f}.jpg", make)

    def part(self, video: Video, segment: Segment) -> Path:
        """An MP4 file of a stretch. Raises VideoError, QueryError where it is too long or none of the video's."""
        length_s = segment.end_s - segment.start_s
        if not (0 < length_s <= LONGEST_PART_S and segment.start_s < video.duration_s):
            raise QueryError(
                f"A part lasts up to {LONGEST_PART_S:g} s and begins before the video's end at {video.duration_s:g} s."
            )

        def make(decoder: Decoder, source: Path, target: Path) -> None:
            decoder.part(source, segment, target)

        return self._made(video, f"{segment.start_s:.3f}-{segment.end_s:.3f}.mp4", make)

    def _made(self, video: Video, what: str, make: Callable[[Decoder, Path, Path], None]) -> Path:
        """The file of what is wanted, made where it is not there yet."""
        source, status = opened(video)
        key = repr((video.content_sha256, status.st_ino, status.st_size, status.st_mtime_ns, what)).encode()
        target = self._folder / f"{hashlib.sha256(key).hexdigest()[:32]}{os.path.splitext(what)[1]}"
        try:
            os.utime(target)  # it is the latest that was wanted
            return target
        except FileNotFoundError:
            pass
        except OSError:
            return target
        with _one_of(self._decoders) as decoder:
            self._folder.mkdir(exist_ok=True)  # somebody may have tidied up
            make(decoder, source, target)
        if opened(video)[0] != source:
            target.unlink(missing_ok=True)
            raise VideoLost("it changed while it was being read")
        self._count(target)
        return target

    def _find_type(self, source: Path, size: int, mtime_ns: int) -> str | None:
        with _one_of(self._probers) as decoder:
            return decoder.media_type(source)

    def _count(self, target: Path) -> None:
        """Add a file; where they are too many, delete those that have not been wanted for longest."""
        with self._lock:
            self._num_bytes += target.stat().st_size
            if self._num_bytes <= self._most_bytes:
                return
            kept = sorted(self._kept(), key=lambda one: one[1].st_mtime_ns)
            self._num_bytes = sum(status.st_size for _, status in kept)
            for path, status in kept:
                if self._num_bytes <= self._most_bytes * 0.9 or path == target:
                    break
                with suppress(OSError):
                    path.unlink()
                self._num_bytes -= status.st_size

    def _kept(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for path in self._folder.iterdir():
            with suppress(OSError):
                found.append((path, path.stat()))
        return found


@contextmanager
def _one_of(idle: queue.SimpleQueue[Decoder]) -> Iterator[Decoder]:
    """A decoder that nobody else has meanwhile."""
    decoder = idle.get()
    try:
        yield decoder
    finally:
        idle.put(decoder)


def opened(video: Video) -> tuple[Path, os.stat_result]:
    """The file of a video, links resolved, and its status.

    Raises VideoLost where it has gone or is a link that leads out of the folder that was indexed.
    """
    named, root = video.file.absolute, os.path.realpath(video.file.root)
    real = os.path.realpath(named)
    try:
        status = os.stat(real)
    except FileNotFoundError:
        raise VideoLost("The video's file has gone.") from None
    except OSError as error:
        raise VideoLost(f"The video's file cannot be read ({error.strerror}).") from None
    if not is_under(real, root):
        raise VideoLost("The video's file is a link out of the folder that was indexed: it is not shown.")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("The video's file is no file any more.")
    return Path(os.fsdecode(real)), status
