"""Which stretches of a video become segments, and which neighbours look alike; pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cezsar.errors import SettingsError
from cezsar.types import Segment, Vectors

_SHOWN = 0.25  # of a segment's frames, at least, have to show something
_SAME = 0.98  # cosine similarity from which two neighbours show the same thing


def plan(duration_s: float, *, window_s: float, stride_s: float) -> list[Segment]:
    """Cut [0, duration_s) into segments of at most window_s seconds, one every stride_s seconds.

    Stops at the first that reaches the end, which may be shorter: plan(5, window_s=2, stride_s=2) -> [0, 2) [2, 4)
    [4, 5). Empty when duration_s is 0. Raises SettingsError if window_s or stride_s is not positive.
    """
    if not (window_s > 0 and stride_s > 0):
        raise SettingsError(f"window and stride must be positive, not {window_s:g} and {stride_s:g}.")
    if duration_s <= 0:
        return []
    # whole numbers of strides: the least k with k * stride_s + window_s >= duration_s
    last = max(0, math.ceil(round((duration_s - window_s) / stride_s, 9)))
    starts = [k * stride_s for k in range(last + 1) if k * stride_s < duration_s]
    return [Segment(start_s, min(start_s + window_s, duration_s)) for start_s in starts]


def grid_steps(segment: Segment, *, fps: float) -> range:
    """The times of the grid 0, 1/fps, 2/fps ... that lie in a segment, as step numbers.

    A segment too short to hold one has the step before it.
    """
    first, stop = (math.ceil(round(seconds * fps, 6)) for seconds in (segment.start_s, segment.end_s))
    return range(first, stop) if first < stop else range(max(first - 1, 0), max(first, 1))


def typical(features: NDArray[Any]) -> int:
    """Which frame is most like all of them together: their features (T, ...) -> the number of the frame nearest to
    their mean, the first of equals.
    """
    rows = features.reshape(len(features), -1).astype(np.float32)
    return int(np.square(rows - rows.mean(axis=0)).sum(axis=1).argmin())


def plain(nums_shown: Sequence[int], nums_frames: Sequence[int]) -> tuple[bool, ...]:
    """Which segments show next to nothing: under a quarter of their frames show something.

    nums_shown are the frames of each segment that show something, nums_frames all of its frames. If that would be every
    segment of a video, the first of those that show most is not plain, if it shows anything.
    """
    found = [shown < _SHOWN * frames for shown, frames in zip(nums_shown, nums_frames, strict=True)]
    if all(found) and any(nums_shown):
        found[max(range(len(found)), key=nums_shown.__getitem__)] = False
    return tuple(found)


def runs(vectors: Vectors) -> tuple[int, ...]:
    """Number the stretches of near-identical neighbours: (N, D) unit vectors in order -> N numbers from 0 up.

    A stretch goes on while its vectors are near-identical to its first one, so that slow change ends it too.
    """
    numbers: list[int] = []
    first = 0
    for i, vector in enumerate(vectors):
        if i == 0:
            numbers.append(0)
        elif float(vector @ vectors[first]) >= _SAME:
            numbers.append(numbers[-1])
        else:
            first = i
            numbers.append(numbers[-1] + 1)
    return tuple(numbers)
