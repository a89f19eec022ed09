"""The words that every room shares: frozen values, and the one normaliser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cezsar.location import Location as Location
from cezsar.sampling import Limits as Limits
from cezsar.sampling import Sampling as Sampling

Vectors: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of video, [start_s, end_s) in seconds from the start of the file."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What makes two encoders the same: vectors of one are comparable with vectors of the other.

    weights_sha256 covers all weights; dimension is D of the (N, D) vectors; streams is 'visual', 'object' or
    'visual_object' (METHOD: which of the paper's streams the vectors hold).
    """

    name: str
    weights_sha256: str
    dimension: int
    streams: str


@dataclass(frozen=True, slots=True)
class HitPart:
    """A part of a hit for a question with an order: its text (None for an example), its score, and when it is shown."""

    text: str | None
    score: float
    start_s: float
    end_s: float
    segment_id: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A scored segment and its video: score is the cosine similarity, in [-1, 1], to six decimals; path is absolute.

    start_s and end_s are those of the moment, which may begin and end with a shot rather than with the segment.
    copies are the other files that hold the same recording, best first. confidence, in [0, 1], says how likely a person
    would say that the moment shows the text; None if the encoder has no calibration, or if the search had an example.
    parts are those of a question with an order: the hit is the stretch from the first to the last, its score is their
    mean, segment_id is the first one's, and it has no confidence.
    """

    rank: int
    score: float
    path: Path
    start_s: float
    end_s: float
    segment_id: int
    video_id: int
    confidence: float | None = None
    copies: tuple[Path, ...] = ()
    parts: tuple[HitPart, ...] = ()


class Hits(list[Hit]):
    """Ranked hits. threshold is the least confidence that is believed, None if there is no calibration."""

    def __init__(self, hits: Iterable[Hit] = (), *, threshold: float | None = None) -> None:
        super().__init__(hits)
        self.threshold = threshold

    @property
    def nothing_like_it(self) -> bool:
        """Whether not even the best hit is believed; False if there is no calibration, or no hit."""
        best = max((hit.confidence for hit in self if hit.confidence is not None), default=None)
        return best is not None and self.threshold is not None and best < self.threshold


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class and its score: the cosine similarity to its nearest sentence, in [-1, 1].

    confidence, in [0, 1], says how likely a person would say that it fits; None if the encoder has no calibration.
    """

    label: str
    score: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentPredictions:
    """The predictions for one segment of a video, best first; fits is False if no label is believed."""

    segment: Segment
    predictions: tuple[Prediction, ...]
    fits: bool = True


@dataclass(frozen=True, slots=True)
class VideoPredictions:
    """The predictions for one video, best first; error is set, and predictions empty, if it could not be read.

    fits is False if no label is believed.
    """

    path: Path
    predictions: tuple[Prediction, ...] = ()
    segments: tuple[SegmentPredictions, ...] = ()
    error: str | None = None
    fits: bool = True


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be indexed, and why; was_known: an earlier run found so, and it has not changed."""

    path: Path
    reason: str
    was_known: bool = False


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What one indexing run did. segments counts the segments embedded in it; seconds is its wall time.

    left_out counts, by suffix, the files that were left out because their names are no video's, nor anything else that
    is known; num_texts those that have a video's name and are text.
    """

    index: Location
    model: str
    added: int = 0
    updated: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    segments: int = 0
    seconds: float = 0.0
    skipped: tuple[Skipped, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    num_texts: int = 0

    @property
    def num_readable(self) -> int:
        """Videos among the given paths that are in the index now."""
        return self.added + self.updated + self.moved + self.unchanged


@dataclass(frozen=True, slots=True)
class IndexStats:
    """What an index holds and what made it; cache says how its cache is, num_bytes what its files take.

    other_streams are the videos of which another video stream than the first was taken, with its number, from 0;
    plain_segments how many of the segments show next to nothing.
    """

    index: Location
    encoder: EncoderIdentity
    sampling: Sampling
    videos: int
    hidden_videos: int
    segments: int
    duration_s: float
    num_bytes: int
    schema: str
    cache: str
    roots: tuple[Path, ...]
    other_streams: tuple[tuple[Path, int], ...] = ()
    plain_segments: int = 0


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Scale rows to length 1: (N, D) of any float -> (N, D) float32. A row of zeros stays zero."""
    rows = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0), dtype=np.float32)
