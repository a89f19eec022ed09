"""Where one shot ends and the next begins, found in the sampled frames as they come."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cezsar.types import Vectors, unit

_SIDE = 3  # sampled frames that are compared on either side of a cut
_USUAL = 0.1  # cosine distance between two frames of a shot, as far as nothing else is known
_ABRUPT = 12.0  # levels of brightness that a picture changes by at a hard cut, at the least
# How many times as far as the frames of either side among themselves the two sides lie from one another: at a hard
# cut, and where one picture goes over into the next
_CUT, _CHANGE = 1.5, 2.2
_MOST_FRAMES = 32  # of a shot, evenly spread, that say what it shows


@dataclass(frozen=True, slots=True)
class Shot:
    """A shot: its start in seconds, the strength of the cut before it, and features of its frames (T, ...).

    num_frames are all of its sampled frames.
    """

    start_s: float
    strength: float
    features: NDArray[Any]
    num_frames: int


def fewest(shots: Sequence[Shot], vectors: Vectors, most: int) -> tuple[NDArray[np.float64], Vectors]:
    """When at most so many shots begin, and their (S, D) vectors: between the strongest cuts, shots become one."""
    strengths = np.array([shot.strength for shot in shots])
    strengths[0] = np.inf
    chosen = np.sort(np.argsort(-strengths, kind="stable")[:most])
    weights = np.array([shot.num_frames for shot in shots], np.float64)
    means = np.add.reduceat(vectors * weights[:, None], chosen)
    return np.array([shots[number].start_s for number in chosen]), unit(means)


class Shots:
    """Tells a video's shots apart; holds a few frames' features of each shot at a time, however long it is."""

    def __init__(self) -> None:
        self._seen: deque[_Frame] = deque()  # the latest, decided or not
        self._num_undecided = 0
        self._open: _Open | None = None

    def add(self, feature: NDArray[Any], *, repeats: int, jump: float, jump_s: float) -> list[Shot]:
        """Take the next sampled frame, and return the shots that have ended.

        It stands for repeats grid times. Between it and the one before, the picture changed most at jump_s, by jump
        levels of brightness on average.
        """
        row = np.asarray(feature, np.float32).ravel()
        row = row / max(float(np.linalg.norm(row)), 1e-12)
        ended = []
        for number in range(min(repeats, _SIDE)):  # of more nothing more is learnt
            is_new = number == 0
            self._seen.append(_Frame(row, feature, jump_s, jump if is_new else 0.0, repeats if is_new else 0))
            self._num_undecided += 1
            if self._num_undecided == _SIDE:
                ended += self._decide()
        return ended

    def finish(self) -> list[Shot]:
        """The video is over: the shots that had not ended."""
        ended = []
        while self._num_undecided:
            ended += self._decide()
        return ended + ([self._open.closed()] if self._open else [])

    def _decide(self) -> list[Shot]:
        """Whether the first undecided frame begins a shot."""
        place = len(self._seen) - self._num_undecided
        frame, ended = self._seen[place], list[Shot]()
        before, after = list(self._seen)[max(0, place - _SIDE) : place], list(self._seen)[place : place + _SIDE]
        strength = _strength(before, after) if before else 0.0
        if self._open is None:
            self._open = _Open(0.0, 0.0)
        elif strength >= (_CUT if frame.jump >= _ABRUPT else _CHANGE) and frame.jump_s > self._open.start_s:
            ended.append(self._open.closed())
            self._open = _Open(frame.jump_s, strength)
        self._open.add(frame.feature, frame.repeats)
        self._num_undecided -= 1
        while len(self._seen) - self._num_undecided > _SIDE:
            self._seen.popleft()
        return ended


@dataclass(frozen=True, slots=True)
class _Frame:
    """A sampled frame: its feature as a unit vector and as it was kept, and what Shots.add is told of it."""

    row: NDArray[np.float32]
    feature: NDArray[Any]
    jump_s: float
    jump: float
    repeats: int


def _strength(before: list[_Frame], after: list[_Frame]) -> float:
    """How much farther the frames on either side are from one another than among themselves.

    The nearest two count, so that a flash, after which all is as before, is no cut.
    """
    one, other = np.stack([frame.row for frame in before]), np.stack([frame.row for frame in after])
    within = [1 - float(a @ b) for side in (one, other) for a, b in pairwise(side)]
    return float((1 - one @ other.T).min()) / ((sum(within) + _USUAL) / (len(within) + 1) + _USUAL / 4)


class _Open:
    """A shot that goes on: of many frames every second, fourth, ... is kept."""

    def __init__(self, start_s: float, strength: float) -> None:
        self.start_s = start_s
        self._strength = strength
        self._kept: list[NDArray[Any]] = []
        self._every, self._num_frames = 1, 0

    def add(self, feature: NDArray[Any], repeats: int) -> None:
        for _ in range(repeats):
            if self._num_frames % self._every == 0:
                self._kept.append(feature)
                if len(self._kept) == 2 * _MOST_FRAMES:
                    self._kept, self._every = self._kept[::2], 2 * self._every
            self._num_frames += 1

    def closed(self) -> Shot:
        step = math.ceil(len(self._kept) / _MOST_FRAMES)
        return Shot(self.start_s, self._strength, np.stack(self._kept[::step]), self._num_frames)
