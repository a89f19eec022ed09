"""How a video is sampled, and the limits of decoding it: without NumPy, so that settings load at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cezsar.errors import SettingsError

_MOST_FRAMES = 10_000  # a segment, or a second: what is kept of so many still fits in memory
_LEAST_S = 0.001  # of a stride or a window


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a video becomes segments: fps in frames/s, window and stride in seconds.

    Raises SettingsError unless all three are positive and finite, a segment holds at most 10,000 frames, and segments
    last, and begin, at least a millisecond apart.
    """

    fps: float = 2.0
    window_s: float = 8.0
    stride_s: float = 4.0

    def __post_init__(self) -> None:
        for name, value in (("fps", self.fps), ("window", self.window_s), ("stride", self.stride_s)):
            if not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{name} must be a positive number, not {value:g}.")
        if self.fps * max(self.window_s, 1.0) > _MOST_FRAMES:
            raise SettingsError(
                f"fps {self.fps:g} and window {self.window_s:g} make segments of over {_MOST_FRAMES:,} frames."
            )
        for name, value in (("window", self.window_s), ("stride", self.stride_s)):
            if value < _LEAST_S:
                raise SettingsError(f"{name} must be {_LEAST_S:g} s or more, not {value:g}.")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of decoding one video: seconds until its next frames, seconds in all, and GB (2^30 bytes) of memory.

    Raises SettingsError unless all three are positive.
    """

    stall_s: float = 60.0
    time_s: float = 4 * 3600.0
    memory_gb: float = 4.0

    def __post_init__(self) -> None:
        for name, value in (("stall", self.stall_s), ("time", self.time_s), ("memory", self.memory_gb)):
            if not value > 0:
                raise SettingsError(f"The {name} limit must be positive, not {value:g}.")
