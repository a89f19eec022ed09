"""Which frames show next to nothing: black and other plain ones, bars and test cards of stripes, heavy blur."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIDE = 32  # cells a side that a picture is averaged over: noise goes, and what a person could name stays
_STRIPES = 6  # patterns of whole rows and columns: bars and ramps need one, SMPTE's test cards three to six
_LEAST = 1.0  # level that a cell differs by on average from what stripes can say; real footage by 4 and more
_CORNER, _FEW_CORNERS = 60, 0.0005  # levels, and a share of the points: letters have more corners than a test card
_EDGE, _FEW_EDGES = 40, 0.0005  # the same of sharp edges, which a blurred picture has none of
_STILL = 8.0  # levels that a cell changes by between two frames, at most: rectangles that move are a cartoon


class Plain:
    """Sees a video's frames in order, and says which show next to nothing."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def are_plain(self, frames_uint8: NDArray[Any]) -> list[bool]:
        """For the next (N, 3, H, W) uint8 RGB frames."""
        found = []
        for frame in frames_uint8:
            brightness = frame[1]  # green is most of it
            cells = _cells(brightness)
            is_still = self._last is None or float(np.abs(cells - self._last).max()) < _STILL
            self._last = cells
            found.append(_detail(cells) < _LEAST and _is_without_letters(brightness, is_still=is_still))
        return found


def _detail(cells: NDArray[np.float32]) -> float:
    """What there is in a picture besides plain areas and stripes, in levels of brightness: less its six strongest
    patterns of whole rows and columns, what remains of its cells.
    """
    patterns = np.linalg.svd(cells - cells.mean(), compute_uv=False)
    return float(np.sqrt(np.square(patterns[_STRIPES:]).sum()) / _SIDE)


def _is_without_letters(brightness: NDArray[Any], *, is_still: bool) -> bool:
    """Whether there are few corners, and no sharp edges that move."""
    across = np.diff(brightness.astype(np.int16), axis=1)
    corners = np.abs(np.diff(across, axis=0)) > _CORNER
    if corners.mean() >= _FEW_CORNERS:
        return False
    down = np.diff(brightness.astype(np.int16), axis=0)
    return is_still or (np.abs(across) > _EDGE).mean() + (np.abs(down) > _EDGE).mean() < _FEW_EDGES


def _cells(picture: NDArray[Any]) -> NDArray[np.float32]:
    """(32, 32) of its means, or of its points if there are fewer."""
    down, across = (np.arange(_SIDE) * length // _SIDE for length in picture.shape)
    if min(picture.shape) < _SIDE:
        return np.asarray(picture[down[:, None], across], np.float32)
    sums = np.add.reduceat(np.add.reduceat(picture, down, axis=0, dtype=np.uint32), across, axis=1)
    areas = np.outer(np.diff(down, append=picture.shape[0]), np.diff(across, append=picture.shape[1]))
    return np.asarray(sums / areas, np.float32)
