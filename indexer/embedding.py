"""The stages of one video: decode it, encode its frames once, pool them into segments; several are decoded at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cezsar.digest import sha256
from cezsar.encoders import Encoder, OfColours, sound
from cezsar.errors import VideoError, VideoLost
from cezsar.indexer import addresses, segments
from cezsar.indexer.fingerprints import Seconds
from cezsar.indexer.plain import Plain
from cezsar.indexer.scan import untouched
from cezsar.indexer.shots import Shot, Shots, fewest
from cezsar.store import Embedding, File, Outline, outline
from cezsar.types import Limits, Sampling, Segment, Vectors
from cezsar.video import Decoder, FrameBatch, Pool

_SEGMENTS_AT_ONCE = 32  # encoded together
_FRAMES_AT_ONCE = 512  # of theirs


@dataclass(frozen=True, slots=True)
class Embedded:
    """A file's result: its content's fingerprint, its segments and vectors, and what is missing of it, if anything."""

    content_sha256: bytes
    embedding: Embedding
    shortfall: str | None


def embed(
    path: Path, encoder: Encoder, sampling: Sampling, *, batch_size: int = 8, pool: Pool | None = None
) -> Embedding:
    """A video's segments and vectors, for whoever needs them without an index.

    It is decoded by the pool, which spares a process a video; without one, in a process of its own within the default
    limits. Raises VideoError.
    """
    features = Features(encoder, sampling)
    with nullcontext(pool) if pool else Pool() as own, own.decoder() as decoder:
        asked = decoder.sample(path, fps=sampling.fps, short_side=encoder.short_side, batch_size=batch_size)
        with closing(asked) as batches:
            for batch in batches:
                features.add(batch)
        return features.finish(decoder.duration_s, stream=decoder.stream_number, recorded_s=decoder.recorded_s)


def embed_all(
    files: Iterable[File], encoder: Encoder, sampling: Sampling, *, workers: int, batch_size: int, limits: Limits
) -> Generator[Embedded | VideoError, None, None]:
    """Each file's result, in order; workers videos are decoded at once, a few batches ahead of the encoder."""
    request = FrameRequest(sampling.fps, encoder.short_side, batch_size)

    def read(file: File, decoder: Decoder) -> Generator[FrameBatch, None, Ending]:
        return (yield from frames(file, decoder, request))

    with Pool(limits, workers=workers) as pool, closing(pool.each(files, read)) as readings:
        for reading in readings:
            features = Features(encoder, sampling)
            for batch in reading:
                features.add(batch)
            try:
                ending = reading.result()
            except VideoError as error:
                yield error
                continue
            yield features.embedded(ending)


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """What frames of a video are wanted: so many a second, of this short side in pixels, so many at once."""

    fps: float
    short_side: int
    batch_size: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What reading a whole file told besides its frames."""

    duration_s: float
    content_sha256: bytes
    shortfall: str | None
    stream: int
    recorded_s: float | None


def frames(file: File, decoder: Decoder, request: FrameRequest) -> Generator[FrameBatch, None, Ending]:
    """A file's frames, and in the end what reading it told.

    Raises VideoError; VideoLost if the file is not the one that was scanned.
    """
    fps, short_side, batch_size = request.fps, request.short_side, request.batch_size
    with addresses.here(file) as here:
        yield from decoder.sample(here.full_path, fps=fps, short_side=short_side, batch_size=batch_size)
        return Ending(decoder.duration_s, _content(here), decoder.shortfall, decoder.stream_number, decoder.recorded_s)


class Features:
    """Frames in, segments out: keeps what the encoder made of the frames that some segment still needs."""

    def __init__(self, encoder: Encoder, sampling: Sampling) -> None:
        self._encoder = encoder
        self._sampling = sampling
        # (one past its last grid step, what the encoder kept, whether it shows next to nothing), in order
        self._kept: deque[tuple[int, Any, bool]] = deque()
        self._num_steps = 0
        self._waiting: list[NDArray[Any]] = []
        self._vectors: list[NDArray[np.float32]] = []
        self._best_s: list[float] = []
        self._plain = None if isinstance(encoder, OfColours) else Plain()
        self._nums_shown: list[int] = []  # of each segment, the frames that show something
        self._nums_frames: list[int] = []
        self._next = 0  # the first segment that has not been cut yet
        self._shots, self._seconds = Shots(), Seconds()
        self._ended: list[Shot] = []
        self._num_coded = 0  # of those, from the first on
        self._shot_vectors: list[Vectors] = []

    def add(self, batch: FrameBatch) -> None:
        """Encode the next frames and every segment that they complete."""
        features = self._encoder.encode_frames(batch.frames_uint8)
        for time_s, cells in zip(batch.times_s, batch.averages, strict=True):
            self._seconds.add(float(time_s), cells)
        plain = self._plain.are_plain(batch.frames_uint8) if self._plain else [False] * len(features)
        for feature, repeats, jump_s, jump, is_plain in zip(
            features, batch.repeats, batch.jumps_s, batch.jumps, plain, strict=True
        ):
            self._ended += self._shots.add(feature, repeats=int(repeats), jump=float(jump), jump_s=float(jump_s))
            self._num_steps += int(repeats)
            self._kept.append((self._num_steps, feature, is_plain))
            while (steps := self._steps(self._segment(self._next))).stop <= self._num_steps:
                self._cut(steps)
            self._forget()
        if len(self._ended) - self._num_coded >= _SEGMENTS_AT_ONCE:
            self._encode_shots()

    def finish(self, duration_s: float, *, stream: int | None = None, recorded_s: float | None = None) -> Embedding:
        """The video is over: its segments, their runs and vectors; stream and recorded_s are as Embedding has them."""
        plan = segments.plan(duration_s, window_s=self._sampling.window_s, stride_s=self._sampling.stride_s)
        while self._next < len(plan):
            self._cut(self._steps(plan[self._next]))
        self._encode_waiting()
        vectors = np.concatenate(self._vectors)[: len(plan)]
        best_s = tuple(self._best_s[: len(plan)])
        plain = segments.plain(self._nums_shown[: len(plan)], self._nums_frames[: len(plan)])
        outlined = self._outline(duration_s)
        runs = segments.runs(vectors)
        return Embedding(duration_s, tuple(plan), runs, vectors, best_s, stream, outlined, plain, recorded_s)

    def embedded(self, ending: Ending) -> Embedded:
        """The file's result, once all of its frames were added."""
        embedding = self.finish(ending.duration_s, stream=ending.stream, recorded_s=ending.recorded_s)
        return Embedded(ending.content_sha256, embedding, ending.shortfall)

    def _outline(self, duration_s: float) -> Outline:
        """The shots, and of too many the most distinct."""
        self._ended += self._shots.finish()
        self._encode_shots()
        starts_s, vectors = fewest(self._ended, np.concatenate(self._shot_vectors), outline.most_shots(duration_s))
        edges_s = np.append(starts_s, duration_s)
        return Outline(edges_s, outline.coded(vectors), self._seconds.fingerprints())

    def _encode_shots(self) -> None:
        """The vectors of the shots that have ended; their features are of no use any more."""
        ended = self._ended[self._num_coded :]
        if ended:
            self._shot_vectors.append(self._encoded([shot.features for shot in ended]))
            self._ended[self._num_coded :] = [replace(shot, features=shot.features[:0]) for shot in ended]
            self._num_coded = len(self._ended)

    def _segment(self, number: int) -> Segment:
        start_s = number * self._sampling.stride_s
        return Segment(start_s, start_s + self._sampling.window_s)

    def _steps(self, segment: Segment) -> range:
        return segments.grid_steps(segment, fps=self._sampling.fps)

    def _cut(self, steps: range) -> None:
        """Take the next segment's features."""
        first = min(steps.start, self._num_steps - 1)
        stop = max(first + 1, min(steps.stop, self._num_steps))
        rows, reached, num_shown = [], first, 0
        for end, feature, is_plain in self._kept:
            if end > reached:
                rows += [feature] * (min(end, stop) - reached)
                num_shown += 0 if is_plain else min(end, stop) - reached
                reached = min(end, stop)
            if reached == stop:
                break
        features = np.stack(rows)
        self._best_s.append((first + segments.typical(features)) / self._sampling.fps)
        self._nums_shown.append(num_shown)
        self._nums_frames.append(len(rows))
        self._waiting.append(features)
        self._next += 1
        if len(self._waiting) >= _SEGMENTS_AT_ONCE or sum(map(len, self._waiting)) >= _FRAMES_AT_ONCE:
            self._encode_waiting()

    def _forget(self) -> None:
        """Drop what no later segment needs; the latest frame stays, for a last segment too short to have its own."""
        needed = min(self._steps(self._segment(self._next)).start, self._num_steps - 1)
        while self._kept[0][0] <= needed:
            self._kept.popleft()

    def _encode_waiting(self) -> None:
        if self._waiting:
            self._vectors.append(self._encoded(self._waiting))
            self._waiting = []

    def _encoded(self, segments_features: list[NDArray[Any]]) -> Vectors:
        vectors = self._encoder.encode_segments(segments_features)
        return sound(vectors, len(segments_features), self._encoder.identity)


def _content(file: File) -> bytes:
    """The fingerprint of a file that was just decoded. Raises VideoLost if it is not the one that was scanned."""
    try:
        content = sha256(file.absolute)
        status = os.stat(file.absolute)
    except OSError as error:
        raise VideoLost(f"it could not be read to its end ({error.strerror})") from None
    if not untouched(File.of(file.root, file.path, status), file):
        raise VideoLost("it changed while it was being read")
    return content
