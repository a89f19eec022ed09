"""The frame-feature cache: a video is decoded, and its frames encoded, once for every training run to come."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from cezsar.digest import sha256
from cezsar.encoders.frozen import Frames
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.errors import TrainingError, VideoError
from cezsar.files import appearing
from cezsar.types import Limits, Vectors
from cezsar.video import Decoder, FrameBatch, Pool, Reading

_KNOWN = "known.jsonl"


@dataclass(frozen=True, slots=True)
class VideoFeatures:
    """(T, F) float32 features of the frames at 0, 1/fps, 2/fps ... seconds, the video's duration, and its content."""

    frames: Vectors
    fps: float
    duration_s: float
    content_sha256: str = ""  # in hex

    def between(self, start_s: float, end_s: float) -> Vectors:
        """The features of [start_s, end_s); at least one frame, the one shown at start_s."""
        first = min(int(start_s * self.fps + 1e-6), len(self.frames) - 1)
        stop = int(np.ceil(end_s * self.fps - 1e-6))
        return self.frames[first : max(stop, first + 1)]


@dataclass(frozen=True, slots=True)
class _Read:
    """Where a video's features belong, and those that are there; if none are, it was decoded, and has a duration."""

    path: Path
    found: VideoFeatures | None
    duration_s: float


class FeatureCache:
    """A folder with one safetensors file per video, by its content; one sub-folder per backbone and sampling.

    A file is written whole or not at all, so that extraction goes on where it was killed. workers videos are decoded at
    once, each in a process of its own, within the limits, None for the defaults.
    """

    def __init__(
        self, folder: Path, backbone: Frames, *, fps: float, limits: Limits | None = None, workers: int = 1
    ) -> None:
        self._backbone, self._fps = backbone, fps
        self._pool = Pool(limits, workers=workers)
        label = re.sub(r"[^\w.-]+", "-", backbone.name).strip("-")[-40:]
        self._folder = folder / f"{label}-{backbone.fingerprint[:12]}-{fps:g}fps"
        self._known_file = folder / _KNOWN
        self._known = self._read_known()

    def extract(
        self, videos: Sequence[Path], *, batch_size: int = 8, done: Callable[[Path, bool], None] = lambda *_: None
    ) -> tuple[dict[Path, VideoFeatures], dict[Path, str]]:
        """The features of these videos, and the reasons why others have none; done(video, was new) is called after
        each.

        Raises TrainingError if the cache cannot be written.
        """
        features, reasons = {}, {}

        def read(video: Path, decoder: Decoder) -> Generator[FrameBatch, None, _Read]:
            path = self._path(video)
            if (found := self._load(path)) is None:
                short_side = self._backbone.short_side
                yield from decoder.sample(video, fps=self._fps, short_side=short_side, batch_size=batch_size)
            return _Read(path, found, decoder.duration_s)

        with self._pool as pool, closing(pool.each(videos, read)) as readings:
            for video, reading in zip(videos, readings, strict=True):
                is_new = False
                try:
                    features[video], is_new = self._features(reading)
                except VideoError as error:
                    reasons[video] = str(error)
                done(video, is_new)
        return features, reasons

    def _features(self, reading: Reading[_Read]) -> tuple[VideoFeatures, bool]:
        """A video's features, made of its frames and saved where none were found; and whether they are new."""
        rows = [
            np.repeat(self._backbone.features(batch.frames_uint8).astype(np.float16), batch.repeats, axis=0)
            for batch in reading
        ]
        read = reading.result()
        found = read.found
        if found is None:
            found = VideoFeatures(np.concatenate(rows).astype(np.float32), self._fps, read.duration_s)
            self._save(read.path, found)
        return replace(found, content_sha256=read.path.stem), read.found is None

    def _path(self, video: Path) -> Path:
        """Where a video's features belong: by its content, which is read once as long as the file stays what it is."""
        try:
            status = video.stat()
            if not stat.S_ISREG(status.st_mode):
                raise VideoError("it is a directory" if stat.S_ISDIR(status.st_mode) else "it is not a regular file")
            # a copy that replaces it may have its size and time; inode and change time it cannot have
            facts = (status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
            key = " ".join(map(str, (os.fsencode(os.path.abspath(video)), *facts)))
            if key not in self._known:
                self._known[key] = sha256(video).hex()
                self._remember(key)
        except OSError as error:
            raise VideoError(f"it cannot be read ({error.strerror})") from None
        return self._folder / f"{self._known[key]}.safetensors"

    def _load(self, path: Path) -> VideoFeatures | None:
        """What is there; None if nothing is, or if it is damaged and must be made again."""
        try:
            with safe_open(path, framework="numpy") as file:
                duration_s = float(file.metadata()["duration_s"])
                frames = file.get_tensor("features")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        return VideoFeatures(frames.astype(np.float32), self._fps, duration_s)

    def _save(self, path: Path, found: VideoFeatures) -> None:
        metadata = {"duration_s": repr(found.duration_s), "fps": repr(self._fps), "backbone": self._backbone.name}
        _write(path, {"features": found.frames.astype(np.float16)}, metadata)

    def _remember(self, key: str) -> None:
        line = json.dumps({"file": key, "sha256": self._known[key]})
        try:
            self._known_file.parent.mkdir(parents=True, exist_ok=True)
            with self._known_file.open("a", encoding="utf-8") as file:
                file.write("\n" + line)  # a line of its own, even where a kill cut the last one off
        except OSError as error:
            raise _unwritable(self._known_file, error) from None

    def _read_known(self) -> dict[str, str]:
        """What was fingerprinted before; a line that was cut off by a kill is left out."""
        try:
            lines = self._known_file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        return dict(found for found in map(_known_row, lines) if found is not None)


def embed_sentences(folder: Path, encoder: SentenceEncoder, sentences: Iterable[str]) -> Vectors:
    """(N, S) unit embeddings of the sentences, each distinct one encoded once and kept in the cache's folder."""
    asked = list(sentences)
    distinct = sorted(set(asked), key=lambda sentence: (len(sentence), sentence))  # alike lengths share a batch
    digest = hashlib.sha256(json.dumps([encoder.fingerprint, *distinct]).encode()).hexdigest()
    path = folder / "sentences" / f"{digest}.safetensors"
    try:
        rows = load_file(path)["embeddings"]
    except (OSError, SafetensorError, KeyError):
        rows = encoder.encode(distinct)
        _write(path, {"embeddings": rows}, {"encoder": encoder.name})
    numbers = {sentence: number for number, sentence in enumerate(distinct)}
    return np.asarray(rows[[numbers[sentence] for sentence in asked]], np.float32).reshape(-1, encoder.dimension)


def _write(path: Path, tensors: dict[str, Vectors], metadata: dict[str, str]) -> None:
    """A file that is there whole or not at all. Raises TrainingError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with appearing(path) as draft:
            save_file(tensors, draft, metadata)
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from None


def _known_row(line: str) -> tuple[str, str] | None:
    """(file, sha256) of a line; None of one that is not whole."""
    try:
        row = json.loads(line)
        return str(row["file"]), str(row["sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def _unwritable(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"The feature cache cannot be written: {path.parent}: {getattr(error, 'strerror', None) or error}"
    )
