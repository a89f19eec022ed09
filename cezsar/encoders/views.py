"""Which frames of a segment, and squares of a frame, a network looks at. A short side is `side` pixels, or more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cezsar.types import Vectors, unit

_SIDE = 260  # what EfficientNet-Lite2 was made for


def middle(frames: NDArray[Any], side: int) -> NDArray[Any]:
    """(N, 3, H, W) -> (N, 3, side, side), a view."""
    top, left = (round((length - side) / 2) for length in frames.shape[-2:])
    return frames[..., top : top + side, left : left + side]


def ends(frames: NDArray[Any], side: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """(N, 3, H, W) -> the left and right squares of wide frames, the upper and lower ones of tall ones; views."""
    height, width = frames.shape[-2:]
    if width >= height:
        rows = middle(frames[..., :side], side), middle(frames[..., width - side :], side)
    else:
        rows = middle(frames[..., :side, :], side), middle(frames[..., height - side :, :], side)
    return rows


def spread(frames: NDArray[Any], count: int) -> NDArray[Any]:
    """(T, ...) -> (count, ...): frames evenly spread from the first to the last, some twice if there are fewer."""
    chosen: NDArray[Any] = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
    return chosen


def averaged(segments: Sequence[NDArray[Any]], dimension: int) -> Vectors:
    """Segments of (T, dimension) -> (len(segments), dimension): the unit means of their frames."""
    means = [frames.mean(axis=0) for frames in segments]
    return unit(np.array(means, np.float32).reshape(len(segments), dimension))


def probe(side: int) -> NDArray[np.uint8]:
    """(2, 3, side, side) uint8: coarse noise, the same each time."""
    cells = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    places = np.arange(side) * 8 // side
    return np.ascontiguousarray(cells[:, :, places][..., places])


def paired(
    large: Callable[[NDArray[Any]], NDArray[np.float32]],
    small: Callable[[NDArray[Any]], NDArray[np.float32]],
    frames: NDArray[Any],
) -> NDArray[np.float32]:
    """(N, 3, H, W) -> (N, 2 F): the mean of one network over both ends, then another over the middle."""
    left, right = ends(frames, _SIDE)
    seen = large(left)
    if frames.shape[-2] != frames.shape[-1]:  # or both ends are the same
        seen = np.asarray((seen + large(right)) / 2, np.float32)
    return np.concatenate([seen, small(middle(frames, _SIDE))], axis=1)
