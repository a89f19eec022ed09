"""Which stretches of different files are copies: the same recording, encoded anew, made smaller, or trimmed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cezsar.store import Outline
from cezsar.types import Segment

ALIKE = 0.7  # cosine similarity of two segments' vectors, below which nobody looks whether they are copies
# How far two stretches' fingerprints may lie apart, in units of what those of a stretch change by from one second to
# the next: two takes of one scene differ by about as much as a take changes
_NEAR = 0.28
_UNCERTAIN = 0.64  # steps of a fingerprint, which encoding anew changes it by in a picture that stands still
_BLANK = 2.0  # steps: a picture whose fingerprint is smaller has nothing that could be known again
_LEAST = 2  # seconds to compare
_BETWEEN = np.arange(0, 1, 0.1)  # where a copy's seconds may begin in the original's
_COMMON = 0.5  # of the shorter stretch, at least, has to be common to both


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a video, with the video's outline and the hash of its file's content."""

    video_id: int
    segment: Segment
    outline: Outline
    content_sha256: bytes


def are_copies(one: Stretch, other: Stretch) -> bool:
    """Whether two stretches of different files show the same recording: by their files' content, or by fingerprints.

    The shorter one is laid along the other at every tenth of a second, its seconds between the other's.
    """
    if one.video_id == other.video_id:
        return False
    if one.content_sha256 == other.content_sha256:
        return _overlap(one.segment, other.segment, offset_s=0.0)
    short, long = sorted((one, other), key=lambda stretch: stretch.segment.end_s - stretch.segment.start_s)
    first, seconds = _seconds(short.segment, short.outline)
    if len(seconds) < _LEAST or np.abs(seconds).mean() < _BLANK:
        return False
    start_s, there = _around(long, len(seconds))
    if len(there) < len(seconds):
        return False
    following = np.append(there[1:], there[-1:], axis=0)
    # (tenths, places, seconds, 8): what the longer one's seconds would be, had they begun a few tenths later
    shifted = there + (following - there) * _BETWEEN[:, None, None].astype(np.float32)
    laid = sliding_window_view(shifted, len(seconds), axis=1).swapaxes(2, 3)
    apart = np.abs(laid - seconds).mean(axis=(2, 3))
    changes = np.abs(np.diff(seconds, axis=0)).mean() + np.abs(np.diff(laid, axis=2)).mean(axis=(2, 3))
    ratios = apart / (changes / 2 + _UNCERTAIN)
    ratios[1:, -1] = np.inf  # after the last second there is none to lie before
    tenths, place = np.unravel_index(int(ratios.argmin()), ratios.shape)
    offset_s = start_s + float(place) + float(_BETWEEN[tenths]) - first
    return bool(ratios[tenths, place] <= _NEAR) and _overlap(short.segment, long.segment, offset_s=offset_s)


def _seconds(segment: Segment, outline: Outline) -> tuple[int, NDArray[np.float32]]:
    """The first whole second in a segment, and the fingerprints (N, 8) from it on."""
    first = math.ceil(segment.start_s - 1e-3)
    stop = max(math.floor(segment.end_s + 1e-3), first)
    return first, outline.fingerprints[first:stop].astype(np.float32)


def _around(stretch: Stretch, num_seconds: int) -> tuple[int, NDArray[np.float32]]:
    """A second, and the fingerprints (N, 8) from it on, of a stretch and as many seconds before and after it."""
    first = max(0, math.floor(stretch.segment.start_s) - num_seconds)
    stop = math.ceil(stretch.segment.end_s) + num_seconds
    return first, stretch.outline.fingerprints[first:stop].astype(np.float32)


def _overlap(one: Segment, other: Segment, *, offset_s: float) -> bool:
    """Whether enough of the shorter one lies in the other, if one is moved by so much."""
    common_s = min(one.end_s + offset_s, other.end_s) - max(one.start_s + offset_s, other.start_s)
    return common_s >= _COMMON * min(one.end_s - one.start_s, other.end_s - other.start_s)
