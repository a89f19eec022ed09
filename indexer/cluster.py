"""The driver's end of embedding on Ray: decoding tasks feed encoder actors; the only door to Ray.

A file's frames go from a task to the actor that asked for them, a few batches ahead, and never through the driver: what
lies in Ray's object store is bounded by the number of files in work, however long they are.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import ray.data
import ray.exceptions
import ray.util

from cezsar import encoders
from cezsar.errors import CezsarError, RunnerError, VideoError, VideoLost
from cezsar.indexer.embedding import Embedded, Ending, Features, FrameRequest, frames
from cezsar.indexer.on_ray import THREADS, Job, check_address
from cezsar.paths import address
from cezsar.store import File
from cezsar.types import Limits
from cezsar.video import Decoder, FrameBatch

_SILENCE_S = 60.0  # without a result, after which a line says so
_MOST_BLOCKS = 10_000  # of files, which are the units of Ray Data's work
_AGAIN_S = 10.0  # between two tries to reach a Ray
_LONGEST_FOLDER = 40  # Ray's sockets are in it, whose whole names have at most 107 bytes
_AHEAD = 4  # batches of frames that wait for an encoder


def drive() -> None:
    """Do the job that stdin has, say everything on stdout, and end Ray when stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job, files = pickle.load(sys.stdin.buffer)  # noqa: S301  (of our own parent)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    talk = threading.Lock()

    def say(*message: object) -> None:
        with talk:
            pickle.dump(message, answers)
            answers.flush()

    try:
        _connect_in_time(job, lambda line: say("notice", line))
        for file, result in _results(job, files, lambda line: say("notice", line)):
            say("result", file, result)
    except CezsarError as error:
        say("error", error)
    except ray.exceptions.RayTaskError as error:  # all else that Ray raises is worth another try
        say("error", RunnerError(f"Work on Ray failed: {str(error).splitlines()[-1]}"))
    finally:
        ray.shutdown()


def _end_with_parent() -> None:
    """Wait until nobody wants anything any more; then end Ray, whatever the main thread is at."""
    sys.stdin.buffer.read()
    ray.shutdown()
    os._exit(0)


def _connect_in_time(job: Job, notice: Callable[[str], None]) -> None:
    """Try as long as the job has patience. Raises RunnerError."""
    end_s, told = time.monotonic() + job.patience_s, False
    while True:
        try:
            return _connect(job)
        except RunnerError as error:
            if time.monotonic() >= end_s:
                raise
            if not told:
                notice(f"{error} It is tried again for {job.patience_s:.0f} s.")
            told = True
        time.sleep(_AGAIN_S)


def _connect(job: Job) -> None:
    """Start a Ray of this machine's own, or join the one at the address. Raises RunnerError."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if job.address is None:
        here = str(Path.cwd())
        folder = here if len(here) <= _LONGEST_FOLDER else None
        ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=folder, **quiet)
        return
    check_address(job.address)
    try:
        ray.init(address=job.address, runtime_env={"env_vars": {THREADS: os.environ[THREADS]}}, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunnerError(f"The Ray at {job.address} cannot be worked on: {reason} {_advice(reason)}") from None


def _advice(reason: str) -> str:
    if "ersion mismatch" in reason:
        return f"(`pip install 'ray[data]=={ray.__version__}'` there, or its version here.)"
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "(Is the token in RAY_AUTH_TOKEN the cluster's, and is this machine one of its nodes?)"
    return "(A cluster with a token needs it here, too: RAY_AUTH_MODE=token, RAY_AUTH_TOKEN.)"


def _results(
    job: Job, files: Sequence[File], notice: Callable[[str], None]
) -> Iterator[tuple[File, Embedded | VideoError]]:
    """Each file's result as it comes. Raises EncoderError or IndexMismatch if a node lacks the encoder."""
    resources = ray.cluster_resources()
    num_cpus, num_gpus = int(resources.get("CPU", 1)), 0 if job.device == "cpu" else int(resources.get("GPU", 0))
    if job.device == "cuda" and not num_gpus:
        raise RunnerError("No node of this Ray has a GPU: --device cpu or auto works without one.")
    most = num_gpus or max(1, num_cpus // job.workers)
    at_once = max(job.workers, math.ceil(num_cpus / most))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # each result leaves at once
    rows = ray.data.from_items(
        [{"number": number, "file": pickle.dumps(file)} for number, file in enumerate(files)],
        override_num_blocks=min(len(files), _MOST_BLOCKS),
    ).map_batches(
        _Encode,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=most, max_concurrent_calls_per_actor=at_once, enable_true_multi_threading=True
        ),
        num_cpus=0,  # all are kept for decoding, so that decoding can go on however small the cluster gets
        num_gpus=1 if num_gpus else 0,
        fn_constructor_args=(job,),
        scheduling_strategy="SPREAD",
        max_restarts=-1,
        max_task_retries=-1,
    )
    silence = _Silence(notice)
    for batch in rows.iter_batches(batch_size=None, prefetch_batches=0):
        silence.end()
        for number, packed in zip(batch["number"], batch["result"], strict=True):
            result = pickle.loads(packed)  # noqa: S301  (of our own actors)
            if isinstance(result, CezsarError) and not isinstance(result, VideoError):
                raise result
            yield files[number], result


class _Silence:
    """Says a line if nothing comes for a minute, and then twice as long each time."""

    def __init__(self, notice: Callable[[str], None]) -> None:
        self._notice, self._began = notice, time.monotonic()
        self._next_s, self._known = _SILENCE_S, _alive()
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        self._began, self._next_s = time.monotonic(), _SILENCE_S

    def _watch(self) -> None:
        while True:
            time.sleep(1.0)
            if (silence_s := time.monotonic() - self._began) >= self._next_s:
                self._next_s *= 2
                self._notice(f"no result for {silence_s:.0f} s: {_state(self._known)}")


def _state(known: set[str]) -> str:
    """What a cluster that gives no results has, of the nodes that are known."""
    try:
        alive = _alive()
        total, free = ray.cluster_resources().get("CPU", 0), ray.available_resources().get("CPU", 0)
    except (ray.exceptions.RayError, RuntimeError, ConnectionError):
        return "Ray does not answer"
    lost = len(known - alive)
    waits = ", and waits for room" if lost and not free else ""
    nodes = f"{len(alive)} of {len(known | alive)} nodes"
    return f"Ray has {nodes}, with {total:g} processors, {total - free:g} of them at work{waits}"


def _alive() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


class _Encode:
    """An encoder on a node, which asks for the frames of several files at once."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._encoding = threading.Lock()  # no encoder is asked by two threads at once
        self._error: CezsarError | None = None
        try:
            self._encoder = encoders.load_recorded(job.identity, device=job.device)
        except CezsarError as error:
            self._error = type(error)(f"{_node()}: {error}")

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
        for number, packed in zip(batch["number"].tolist(), batch["file"], strict=True):
            result = self._error or self._embedded(pickle.loads(packed))  # noqa: S301  (of our own driver)
            yield {"number": [number], "result": [pickle.dumps(result)]}

    def _embedded(self, file: File) -> Embedded | VideoError | CezsarError:
        job = self._job
        request = FrameRequest(job.sampling.fps, self._encoder.short_side, job.batch_size)
        features = Features(self._encoder, job.sampling)
        try:
            for reference in _decoding.remote(file, request, job.limits):
                item = ray.get(reference)
                if isinstance(item, CezsarError):
                    return item
                with self._encoding:
                    if isinstance(item, Ending):
                        return features.embedded(item)
                    features.add(item)
        except CezsarError as error:
            return error
        raise AssertionError("a video without an end")


def _decode(
    file: File, request: FrameRequest, limits: Limits
) -> Generator[FrameBatch | Ending | CezsarError, None, None]:
    """The frames of a file, and then what reading it told, or why it cannot be read."""
    try:
        yield (yield from frames(_here(file), _decoder(limits), request))
    except VideoLost as error:
        yield VideoLost(f"it cannot be read on {_node()}: {error}")
    except VideoError as error:
        yield error
    except CezsarError as error:
        yield type(error)(f"{_node()}: {error}")


_decoding = ray.remote(num_cpus=1, max_retries=-1, num_returns="streaming", _generator_backpressure_num_objects=_AHEAD)(
    _decode
)


@lru_cache(maxsize=1)
def _decoder(limits: Limits) -> Decoder:
    """The decoder of this worker process; it ends with it."""
    return Decoder(limits)


def _here(file: File) -> File:
    """The file as this node has it: a copy, or a network's, has its own inode. Raises VideoLost if it is another."""
    if address(file.absolute):
        return file
    try:
        here = File.of(file.root, file.path, os.stat(file.absolute))
    except OSError as error:
        raise VideoLost((error.strerror or "unreadable").lower()) from None
    if (here.size, here.mtime_ns) != (file.size, file.mtime_ns):
        raise VideoLost("its size or time is another there")
    return here


def _node() -> str:
    return f"node {ray.util.get_node_ip_address()}"
