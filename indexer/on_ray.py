"""Embedding on Ray, driven by a process of its own: Ray ends the driver that loses it, and that may not be this one."""

from __future__ import annotations

import importlib.util
import os
import pickle
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from cezsar.encoders import Encoder
from cezsar.errors import RunnerError, VideoError
from cezsar.indexer.embedding import Embedded
from cezsar.settings import Settings
from cezsar.store import File
from cezsar.types import EncoderIdentity, Limits, Sampling

# the driver takes over this process's import path, as decoders do
_START = "import sys; sys.path[:] = sys.argv[1:]; from cezsar.indexer.cluster import drive; drive()"
THREADS = "OMP_NUM_THREADS"
"""Of sums in parallel, on which the last bit of a vector depends: set as here, or empty, or else Ray sets it to 1."""
_STARTS = 3  # of the driver, one after another, that gave no result
_PATIENCE_S = 600.0  # with a Ray that was lost
_ANSWER_S = 10.0
_END_S = 30.0  # for a driver to end its Ray


@dataclass(frozen=True, slots=True)
class Job:
    """What the driver is to do; address is None for a Ray of this machine's own.

    workers videos are decoded at once for each encoder; a Ray that cannot be reached is tried again for patience_s.
    """

    address: str | None
    identity: EncoderIdentity
    device: str
    sampling: Sampling
    limits: Limits
    batch_size: int
    workers: int
    patience_s: float = 0.0


class OnRay:
    """Decodes and encodes on a Ray cluster, or on a Ray of this machine's own, which ends with the run."""

    def __init__(self, settings: Settings, *, notice: Callable[[str], None]) -> None:
        self._settings, self._notice = settings, notice

    def embed(
        self, files: Sequence[File], encoder: Encoder, sampling: Sampling
    ) -> Generator[tuple[File, Embedded | VideoError] | None, None, None]:
        """As Runner.embed. A driver that dies is started again for the files that have no result yet.

        Raises RunnerError if Ray cannot be used; EncoderError or IndexMismatch if a node lacks the encoder.
        """
        if importlib.util.find_spec("ray") is None:
            raise RunnerError("--runner ray needs Ray: pip install 'cezsar[ray]'")
        settings = self._settings
        if settings.ray_address:
            check_address(settings.ray_address)
        job = Job(
            settings.ray_address, encoder.identity, settings.device, sampling,
            settings.limits, settings.batch_size, settings.workers,
        )  # fmt: skip
        left = dict.fromkeys(files)
        num_fruitless = 0
        while left:
            before = len(left)
            with _driver(job, list(left)) as driver:
                for kind, *said in driver.messages():
                    if kind == "result":
                        file, result = said
                        left.pop(file, None)
                        yield file, result
                    elif kind == "notice":
                        self._notice(said[0])
                    elif kind == "waiting":
                        yield None
                    else:
                        raise said[0]
                if not left:
                    return
                status, last_line = driver.death()
            num_fruitless = 0 if len(left) < before else num_fruitless + 1
            if num_fruitless == _STARTS:
                raise RunnerError(f"Ray ended {_STARTS} times without a result ({status}): {last_line}")
            self._notice(f"Ray ended ({status}) with {len(left):,} videos left: it is tried again.")
            job = replace(job, patience_s=_PATIENCE_S)


def check_address(address: str) -> None:
    """Raise RunnerError if nothing listens at a Ray's address, for which Ray itself waits for ever."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise RunnerError(f"A Ray's address is HOST:PORT, as 10.0.0.1:6379, not {address!r}.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunnerError(
            f"There is no Ray at {address} ({reason.lower()}): `ray start --head` on its first node starts one."
        ) from None


class _Driver:
    """A running driver: hears its messages, and says why it died."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self._process, self._log = process, log

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """What it says, until it ends."""
        answers = self._process.stdout
        assert answers is not None
        with suppress(EOFError, pickle.UnpicklingError):  # the latter for a message that broke off
            while True:
                if not select.select([answers], [], [], 0)[0]:
                    yield ("waiting",)
                yield pickle.load(answers)  # noqa: S301  (of our own process)

    def death(self) -> tuple[str, str]:
        """How it ended, and the last line of its log."""
        code = self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return f"exit status {code}" if code >= 0 else f"signal {-code}", lines[-1] if lines else "it said nothing"


@contextmanager
def _driver(job: Job, files: Sequence[File]) -> Iterator[_Driver]:
    """A driver at work, in an empty folder; it ends its Ray when its input does, and here at the latest."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        Path(folder, "log").open("w+b") as log,
    ):
        process = subprocess.Popen(
            [sys.executable, "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,  # Ray's workers import from their current folder first
            env=_environment(job),
            start_new_session=True,  # Ctrl-C is the parent's: it ends this one in its own time
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it is gone, and its end says why
                pickle.dump((job, list(files)), process.stdin)
                process.stdin.flush()
            yield _Driver(process, log)
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            drain = threading.Thread(target=_drain, args=(process.stdout,), daemon=True)  # or it waits to be heard
            drain.start()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            drain.join()
            process.stdout.close()


def _drain(pipe: IO[bytes]) -> None:
    while pipe.read(1 << 20):
        pass


def _environment(job: Job) -> dict[str, str]:
    """The environment of a driver: it reports nothing to anybody, and its own Ray lets nobody in."""
    own = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "1",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        THREADS: os.environ.get(THREADS, ""),
    }
    if job.address is None:
        own |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS",)} | own
