"""How a video counts its frames: their rate and whether it is steady, the first one's time, and its time code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from cezsar.video.frames import Video

_STEADY = (  # the rates that cameras and programmes have; a container may say them to five digits only
    *(Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 120)),
    *(Fraction(rate) for rate in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120)),
)
_ALIKE = 2e-4  # two rates that differ by this part are one; 24 and 23.976 differ by a thousandth
_LOOK = 600  # packets at the beginning that say whether the rate is steady, if the container has no list of all
_DEFAULT = Fraction(25)


@dataclass(frozen=True, slots=True)
class Timing:
    """Frame n is shown from first_s + n / rate on, in seconds of the file, to within tick_s, if the rate is steady.

    rate is a fraction of frames per second; of a variable rate it is the mean. num_frames is None if it is not known.
    timecode is what the file calls its first frame, such as "01:00:00;00", if it says so. width and height are in
    pixels as they are stored.
    """

    rate: Fraction
    is_steady: bool
    first_s: float
    tick_s: float
    num_frames: int | None
    timecode: str | None
    width: int
    height: int
    has_sound: bool

    @classmethod
    def of(cls, told: dict[str, Any]) -> Timing:
        """What fields() gave."""
        return cls(**{**told, "rate": Fraction(told["rate"])})

    def fields(self) -> dict[str, Any]:
        """As JSON can say it."""
        return {**asdict(self), "rate": str(self.rate)}

    def frames(self, start_s: float, end_s: float) -> tuple[int, int]:
        """The frames [first, stop) that are shown in [start_s, end_s), at least one."""
        first = max(0, math.floor((start_s - self.first_s + self.tick_s) * self.rate))
        stop = math.ceil((end_s - self.first_s - self.tick_s) * self.rate)
        if self.num_frames is not None:
            first, stop = min(first, self.num_frames - 1), min(stop, self.num_frames)
        return first, max(stop, first + 1)


def timing(source: Path) -> Timing:
    """The timing of the picture that is taken of a file. Raises VideoError."""
    with Video(source) as video:
        stream, container = video.stream, video.container
        unit_s = stream.time_base or Fraction(1, 1000)
        rate = _rate(stream.average_rate, stream.guessed_rate)
        stamps = [entry.timestamp for entry in stream.index_entries] if _lists_all(video) else []
        shown = sorted(packet.pts for packet in islice(video.packets(), _LOOK) if packet.pts is not None)
        first_s = max(0.0, float(shown[0] * unit_s) - video.origin_s) if shown else 0.0
        said = [container.metadata, *(one.metadata for one in container.streams)]
        num_frames = len(stamps) or stream.frames or None
        return Timing(
            rate=rate,
            is_steady=_is_steady(stamps or shown, unit_s, rate),
            first_s=first_s,
            tick_s=min(float(unit_s) / 2, 0.5e-3) + 1e-6,  # stamps that are rarer than that are exact
            num_frames=num_frames,
            timecode=next((one["timecode"] for one in said if one.get("timecode")), None),
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            has_sound=video.sound is not None,
        )


def _lists_all(video: Video) -> bool:
    """Whether the container's index has every frame: MP4's has, Matroska's has key frames alone."""
    num_frames = video.stream.frames
    return num_frames > 0 and len(video.stream.index_entries) == num_frames


def _rate(*said: Fraction | None) -> Fraction:
    rate = next((one for one in said if one), _DEFAULT)
    return next((one for one in _STEADY if abs(rate / one - 1) < _ALIKE), rate.limit_denominator(1001))


def _is_steady(stamps: Sequence[int], unit_s: Fraction, rate: Fraction) -> bool:
    """Whether the n-th stamp lies less than half a frame off n / rate: then a time names its frame."""
    return all(abs((stamp - stamps[0]) * unit_s * rate - number) < 0.5 for number, stamp in enumerate(stamps))
