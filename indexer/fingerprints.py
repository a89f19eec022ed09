"""A tiny fingerprint of each second of a video, by which copies are known, however they are encoded and trimmed.

It is of the picture's average over the second, not of one moment: so a copy that is cut off at any time has
fingerprints that lie between the original's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cezsar.store.outline import FINGERPRINT_BYTES

_CELLS = 8  # a side
_FINEST = 1 / 64  # of a standard deviation of the picture's brightness
_FAINT = 2.0  # levels of brightness: a picture that differs less from its mean is mostly noise
_MOST_EMPTY = 0.5  # of a second that need not have been seen
# The picture's eight slowest waves, down and across, without its mean brightness
_WAVES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2))


class Seconds:
    """Takes average pictures of any stretches, in order, and gives the fingerprint of each second."""

    def __init__(self) -> None:
        self._until_s = 0.0
        self._sum, self._seen_s = np.zeros((_CELLS, _CELLS)), 0.0  # of the second that goes on
        self._found: list[NDArray[np.int8]] = []

    def add(self, until_s: float, cells: NDArray[np.float32]) -> None:
        """The mean brightness of a picture's (8, 8) cells from the end of the stretch before up to a time."""
        while self._until_s < until_s:
            second_ends_s = len(self._found) + 1.0
            seen_s = min(until_s, second_ends_s) - self._until_s
            self._sum += cells * seen_s
            self._seen_s += seen_s
            self._until_s = min(until_s, second_ends_s)
            if self._until_s == second_ends_s:
                self._end()

    def fingerprints(self) -> NDArray[np.int8]:
        """(N, 8), also of the last second if half of it was seen."""
        if self._seen_s > _MOST_EMPTY:
            self._end()
        return np.array(self._found, np.int8).reshape(-1, FINGERPRINT_BYTES)

    def _end(self) -> None:
        self._found.append(fingerprint(self._sum / self._seen_s))
        self._sum, self._seen_s = np.zeros_like(self._sum), 0.0


def fingerprint(cells: NDArray[np.floating]) -> NDArray[np.int8]:
    """(8, 8) of mean brightness -> (8,): the picture's slowest waves, whatever its brightness and contrast."""
    around = cells - cells.mean()
    waves = _COSINES @ (around / (around.std() + _FAINT)) @ _COSINES.T / 32
    steps = np.rint(np.array([waves[wave] for wave in _WAVES]) / _FINEST)
    return np.asarray(np.clip(steps, -127, 127), np.int8)


_COSINES = np.cos(np.pi * np.outer(np.arange(_CELLS), 2 * np.arange(_CELLS) + 1) / (2 * _CELLS))
