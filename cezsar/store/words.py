"""The words of an index: the types of its rows, the same for every store."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from cezsar.errors import IndexDamaged
from cezsar.paths import below, named
from cezsar.store.outline import Outline
from cezsar.types import EncoderIdentity, Ids, Sampling, Scores, Segment, Vectors

_Chosen = TypeVar("_Chosen")
_CONDITIONS = 8  # of which what they choose is kept
_INODE_BITS = (1 << 63) - 1

Run: TypeAlias = tuple[int, int]  # a video's id, and the number of a stretch of near-identical neighbours in it


def whole(root: object, path: object) -> bytes:
    """The path below the root. Raises IndexDamaged if they are none: SQLite would keep anything in any column."""
    if not (isinstance(root, bytes) and isinstance(path, bytes)):
        raise IndexDamaged("Some paths in the catalog are not paths: `cezsar verify` says more.")
    return below(root, path)


class File(NamedTuple):
    """A file as the catalog knows it: root and path below it as bytes, size in bytes, times in nanoseconds.

    inode and ctime_ns are None if they were not kept. inode is the system's number less its highest bit, which
    SQLite's integers have no room for.
    """

    root: bytes
    path: bytes
    size: int
    mtime_ns: int
    inode: int | None = None
    ctime_ns: int | None = None

    @classmethod
    def of(cls, root: bytes, path: bytes, status: os.stat_result) -> File:
        """A file below root as the system describes it."""
        return cls(root, path, status.st_size, status.st_mtime_ns, status.st_ino & _INODE_BITS, status.st_ctime_ns)

    @property
    def absolute(self) -> bytes:
        """The whole path."""
        return whole(self.root, self.path)

    @property
    def full_path(self) -> Path:
        """The whole path as a Path; bytes that are no text stay as they are."""
        return Path(os.fsdecode(self.absolute))


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be decoded, and why: its whole path, and the rest as in File."""

    path: bytes
    size: int
    mtime_ns: int
    decoder: str
    reason: str
    inode: int | None = None
    ctime_ns: int | None = None

    @classmethod
    def of(cls, file: File, decoder: str, reason: str) -> Failure:
        """The failure of this file, as the file was when it was read."""
        return cls(file.absolute, file.size, file.mtime_ns, decoder, reason, file.inode, file.ctime_ns)


class Video(NamedTuple):
    """A video in the catalog; stream is the number of the one that was taken, None if not noted.

    It counts the file's video streams alone, from 0 (FFmpeg's v:N). recorded_s is as Embedding has it.
    """

    id: int
    file: File
    content_sha256: bytes
    duration_s: float
    hidden: bool
    stream: int | None = None
    recorded_s: float | None = None

    @property
    def when_s(self) -> float:
        """When it was recorded or, if its file does not say, last changed, in seconds since 1970."""
        return self.file.mtime_ns / 1e9 if self.recorded_s is None else self.recorded_s


class Part(NamedTuple):
    """A segment as a row: its id, its video, its stretch in seconds, and when the frame that stands for it is shown.

    best_s is None for a segment of before frames were chosen.
    """

    id: int
    video_id: int
    start_s: float
    end_s: float
    best_s: float | None


class Course(NamedTuple):
    """A video's segments, by when they begin: ids (S,), their ranges in seconds (S,) and (S,), which show next to
    nothing (S,), and the vectors (S, D)."""

    video_id: int
    ids: Ids
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    plain: NDArray[np.bool_]
    vectors: Vectors


class Place(NamedTuple):
    """Where a segment is: its video, and the range of its run of near-identical neighbours, in seconds."""

    video_id: int
    path: Path
    run: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Counts:
    """The figures of an index: visible videos and segments, their seconds, and hidden videos."""

    videos: int
    segments: int
    duration_s: float
    hidden_videos: int


@dataclass(frozen=True, slots=True)
class Embedding:
    """A video as segments and vectors: vectors is (len(segments), D) unit float32, runs numbers similar neighbours.

    best_s says when each segment's best frame is shown, the one to stand for it; None if none was chosen. stream is the
    number of the decoded stream, among the file's video streams from 0; None if it was not noted. outline is None if
    shots were not looked for. plain says which segments show next to nothing; None if that was not looked at.
    recorded_s is when the file says that it was recorded, in seconds since 1970; None if it does not.
    """

    duration_s: float
    segments: tuple[Segment, ...]
    runs: tuple[int, ...]
    vectors: Vectors
    best_s: tuple[float, ...] | None = None
    stream: int | None = None
    outline: Outline | None = None
    plain: tuple[bool, ...] | None = None
    recorded_s: float | None = None


@dataclass(frozen=True, slots=True)
class Info:
    """The identity of an index: its own id, the encoder that made it, and its sampling."""

    index_id: str
    encoder: EncoderIdentity
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on segments: their video is one that path names or matches, none that one of not_paths does, is at
    least and at most so long, and it was recorded at since_s or later and before until_s; they are plain, or not.

    Times are in seconds since 1970. A plain segment shows next to nothing. None sets no condition.
    """

    path: str | None = None
    plain: bool | None = None
    not_paths: tuple[str, ...] = ()
    min_length_s: float | None = None
    max_length_s: float | None = None
    since_s: float | None = None
    until_s: float | None = None

    @property
    def names_videos(self) -> bool:
        """Whether there is a condition on videos."""
        return replace(self, plain=None) != ANYWHERE

    def meaning(self) -> Hashable:
        """The condition on videos as it is meant now: a relative path is one in the current folder."""
        path = None if self.path is None else named(self.path)
        return path, tuple(map(named, self.not_paths)), replace(self, plain=None)


ANYWHERE = Where()


def kept(known: dict[Hashable, _Chosen], asked: Hashable, found: _Chosen) -> _Chosen:
    """What was found for a condition, kept with that of a few others; all of those go when they are too many."""
    if len(known) >= _CONDITIONS:
        known.clear()
    known[asked] = found
    return found


class Found(NamedTuple):
    """The nearest segments: ids (N,), scores (N,) to six decimals, best first, and the catalog's vectors (N, D)."""

    ids: Ids
    scores: Scores
    vectors: Vectors
