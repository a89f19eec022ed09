"""Decoding in a process of its own: if a video crashes FFmpeg, only that video is lost."""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cezsar.errors import VideoError, VideoLost
from cezsar.types import Limits, Segment
from cezsar.video.between import CELLS
from cezsar.video.browser import BROWSERS, NO_PICTURE, media_type, sprite, still
from cezsar.video.cut import CANNOT, PLAYERS, cut_into, made
from cezsar.video.frames import FrameBatch, Video
from cezsar.video.opening import only, open_regular
from cezsar.video.timing import Timing, timing

# the child takes over the parent's import path, so that no file of the current folder is imported in its place
_START = "import sys; sys.path[:] = sys.argv[2:]; from cezsar.video.decoder import serve; serve(int(sys.argv[1]))"
_LONGEST_LINE = 1 << 16
_BEAT_S = 0.2  # between two signs of life in work that gives no frames
_VIDEOS_EACH = 200  # then a new process: what FFmpeg leaks must not add up


class Decoder:
    """Decodes videos, one after another, in a process of its own. Use as a context manager.

    The process starts with the first video, or ahead of it by start(), and anew after a video that crashed it, hung, or
    took more than the limits.
    command replaces the usual command of the process.
    """

    def __init__(self, limits: Limits, *, command: Sequence[str] | None = None) -> None:
        self._limits = limits
        self._command = command or [sys.executable, "-c", _START, f"{round(limits.memory_gb * 2**30)}", *sys.path]
        self._process: subprocess.Popen[bytes] | None = None
        self._num_videos = 0
        self._is_interrupted = False
        self.duration_s = 0.0
        self.shortfall: str | None = None
        self.stream_number = 0
        self.recorded_s: float | None = None

    def __enter__(self) -> Decoder:
        self._is_interrupted = False
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def sample(self, path: Path, *, fps: float, short_side: int, batch_size: int) -> Generator[FrameBatch, None, None]:
        """As Video.sample; then duration_s, shortfall, stream_number and recorded_s are the video's.

        Raises VideoError, also if the decoder crashed, gave nothing for limits.stall_s, or took limits.time_s in all;
        time between two requests for frames does not count.
        """
        asked = {"do": "sample", "fps": fps, "short_side": short_side, "batch_size": batch_size}
        told = yield from self._work(path, asked)
        self.duration_s, self.shortfall = told["duration_s"], told["shortfall"]
        self.stream_number, self.recorded_s = told["stream_number"], told["recorded_s"]

    def media_type(self, path: Path, *, identity: tuple[int, int] | None = None) -> str | None:
        """As the function media_type; identity as for only(). Raises VideoError, as sample does."""
        told: str | None = self._result(path, {"do": "media_type", "identity": identity})
        return told

    def timing(self, path: Path, *, identity: tuple[int, int] | None = None) -> Timing:
        """As the function timing; identity as for only(). Raises VideoError, as sample does."""
        return Timing.of(self._result(path, {"do": "timing", "identity": identity}))

    def part(
        self,
        path: Path,
        segment: Segment,
        target: Path,
        *,
        short_side: int | None = None,
        identity: tuple[int, int] | None = None,
    ) -> None:
        """As cut, for browsers: formats that they do not play are encoded anew, and smaller if short_side is exceeded.

        identity as for only(). Raises VideoError, as sample does.
        """
        asked = {"short_side": short_side, "is_for_browsers": True, "identity": identity}
        self._cut(path, segment, target, asked)

    def still(
        self, path: Path, time_s: float, target: Path, *, width: int, identity: tuple[int, int] | None = None
    ) -> None:
        """As the function still, but target appears whole or not at all; identity as for only().

        Raises VideoError, as sample does.
        """
        with made(target, NO_PICTURE) as draft:
            asked = {"do": "still", "time_s": time_s, "target": _named(draft), "width": width, "identity": identity}
            self._result(path, asked)

    def sprite(
        self,
        path: Path,
        times_s: Sequence[float],
        target: Path,
        *,
        width: int,
        identity: tuple[int, int] | None = None,
    ) -> None:
        """As the function sprite, but target appears whole or not at all; identity as for only().

        Raises VideoError, as sample does.
        """
        with made(target, NO_PICTURE) as draft:
            asked = {"times_s": list(times_s), "target": _named(draft), "width": width, "identity": identity}
            self._result(path, {"do": "sprite", **asked})

    def cut(self, path: Path, segment: Segment, target: Path, *, identity: tuple[int, int] | None = None) -> bool:
        """As the function cut; identity as for only(). Raises VideoError, as sample does; every frame and packet counts
        as one there."""
        return self._cut(path, segment, target, {"short_side": None, "is_for_browsers": False, "identity": identity})

    def _cut(self, path: Path, segment: Segment, target: Path, asked: dict[str, Any]) -> bool:
        """The draft is this process's own, so that nothing is left of it where the decoder ends."""
        with made(target, CANNOT) as draft:
            stretch = {"start_s": segment.start_s, "end_s": segment.end_s}
            return bool(self._result(path, {"do": "cut", **stretch, "target": _named(draft), **asked}))

    def _result(self, path: Path, asked: dict[str, Any]) -> Any:
        work = self._work(path, asked)
        try:
            next(work)
        except StopIteration as over:
            return over.value
        raise AssertionError("frames, which nobody asked for")

    def _work(self, path: Path, asked: dict[str, Any]) -> Generator[FrameBatch, None, Any]:
        """What the child is asked to do with a video: the frames that it gives, and in the end what it says."""
        open_regular(path).close()  # what is wrong with so little needs no process
        process = self._started()
        left_s, is_over = self._limits.time_s, False
        try:
            if self._is_interrupted:
                raise VideoLost("nobody waits for it any more")
            self._ask(process, {"path": _named(path), **asked})
            while True:
                began = time.monotonic()
                kind, *answer = self._answer(process, min(self._limits.stall_s, left_s))
                left_s -= time.monotonic() - began
                if kind == "frames":
                    yield answer[0]
                    continue
                if kind == "alive":
                    continue
                is_over = True
                if kind == "error":
                    raise (VideoLost if answer[1] else VideoError)(answer[0])
                return answer[0]
        finally:
            if not is_over:
                self._stop()

    def start(self) -> None:
        """Have the process made ready for the first video, if there is none; does not wait for it."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the parent's: it ends this one in its own time
            )

    def interrupt(self) -> None:
        """Stop its work, from any thread; until it is entered again it does nothing more."""
        self._is_interrupted = True
        if (process := self._process) is not None:
            process.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._num_videos >= _VIDEOS_EACH or (self._process is not None and self._process.poll() is not None):
            self._stop()
        self.start()
        assert self._process is not None
        self._num_videos += 1
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            with suppress(BrokenPipeError):  # what it was still to hear, it will not
                self._process.communicate()
            self._process = None
            self._num_videos = 0

    @staticmethod
    def _ask(process: subprocess.Popen[bytes], asked: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # it is gone, and its answer will say so
            process.stdin.write(json.dumps(asked).encode() + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]

    def _answer(self, process: subprocess.Popen[bytes], patience_s: float) -> tuple[Any, ...]:
        """The next message. Raises VideoError if none comes."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(max(patience_s, 0.0), give_up)
        timer.daemon = True
        timer.start()
        try:
            message = _received(process.stdout)  # type: ignore[arg-type]
        finally:
            timer.cancel()
        if message is not None:
            return message
        if late.is_set():
            total = patience_s < self._limits.stall_s
            limit = f"it took over {self._limits.time_s:g} s in all" if total else f"no frame for {patience_s:g} s"
            raise VideoError(f"decoding was given up: {limit}")
        raise VideoError(f"it crashed the decoder ({_death(process.wait())})")


def _named(path: Path) -> str:
    """A path of any bytes as JSON can say it."""
    return base64.b64encode(os.fsencode(path)).decode()


def _path(name: str) -> Path:
    return Path(os.fsdecode(base64.b64decode(name)))


def _death(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _received(pipe: IO[bytes]) -> tuple[Any, ...] | None:
    """The next message of the child: its kind and what it says; None if the pipe ends."""
    line = pipe.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        return None
    said = json.loads(line)
    if "alive" in said:
        return ("alive",)
    if "shape" not in said:
        return ("error", said["error"], said["is_lost"]) if "error" in said else ("done", said["done"])
    num_frames = said["shape"][0]
    times_s, jumps_s, jumps = np.empty((3, num_frames))
    frames_uint8, repeats = np.empty(said["shape"], np.uint8), np.empty(num_frames, np.int64)
    averages = np.empty((num_frames, CELLS, CELLS), np.float32)
    batch = FrameBatch(frames_uint8, times_s, repeats, jumps_s, jumps, averages)
    for part in _arrays(batch):
        room = memoryview(part).cast("B")  # type: ignore[arg-type]
        if pipe.readinto(room) != len(room):  # type: ignore[attr-defined]
            return None
    return "frames", batch


def _arrays(batch: FrameBatch) -> tuple[NDArray[Any], ...]:
    """In the order in which they are sent."""
    return batch.frames_uint8, batch.times_s, batch.repeats, batch.jumps_s, batch.jumps, batch.averages


# The child's end


def serve(memory_bytes: int) -> None:
    """Answer requests on stdin, one JSON line each, until it ends; nothing else may be written to stdout."""
    _limit_memory(memory_bytes)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        asked = json.loads(requests.get())
        try:
            _send(answers, {"done": _done(answers, _path(asked.pop("path")), asked)})
        except VideoError as error:
            _send(answers, {"error": str(error), "is_lost": isinstance(error, VideoLost)})
        except MemoryError:
            _send(answers, {"error": "decoding it takes more memory than there is", "is_lost": False})
            return  # what was half made is not worth going on with
        except BrokenPipeError:
            return


def _done(answers: IO[bytes], path: Path, asked: dict[str, Any]) -> Any:
    """Do what was asked; what is to be said in the end."""
    what = asked.pop("do")
    with only(asked.pop("identity", None)):
        if what == "media_type":
            return media_type(path)
        if what == "timing":
            return timing(path).fields()
        if what == "cut":
            return cut_into(
                _path(asked["target"]),
                path,
                Segment(asked["start_s"], asked["end_s"]),
                copied=BROWSERS if asked["is_for_browsers"] else PLAYERS,
                short_side=asked["short_side"],
                progress=_beating(answers),
            )
        if what == "still":
            return still(path, asked["time_s"], _path(asked["target"]), width=asked["width"])
        if what == "sprite":
            return sprite(path, asked["times_s"], _path(asked["target"]), width=asked["width"])
    with Video(path) as video:
        for batch in video.sample(**asked):
            _send(answers, {"shape": batch.frames_uint8.shape}, batch)
        told = {"duration_s": video.duration_s, "shortfall": video.shortfall}
        return {**told, "stream_number": video.stream_number, "recorded_s": video.recorded_s}


def _beating(answers: IO[bytes]) -> Callable[[], None]:
    """To be called as work goes on: tells the parent of it now and then."""
    last_s = time.monotonic()

    def beat() -> None:
        nonlocal last_s
        if (now_s := time.monotonic()) - last_s >= _BEAT_S:
            last_s = now_s
            _send(answers, {"alive": True})

    return beat


def _listen(requests: queue.SimpleQueue[bytes]) -> None:
    """Take requests; when the parent has gone, so does this process, whatever FFmpeg is at."""
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)


def _send(answers: IO[bytes], said: dict[str, Any], batch: FrameBatch | None = None) -> None:
    answers.write(json.dumps(said).encode() + b"\n")
    if batch is not None:
        for part in _arrays(batch):
            answers.write(np.ascontiguousarray(part).data)
    answers.flush()


def _limit_memory(memory_bytes: int) -> None:
    """Where the system can limit a process's memory, it does."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes if most < 0 else min(memory_bytes, most), most))
