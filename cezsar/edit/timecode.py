"""Time code as SMPTE ST 12-1 counts it: hours, minutes, seconds and frames, with or without dropped numbers."""

from __future__ import annotations

import re
from fractions import Fraction

_CODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.,])(\d\d)")
_HOUR_S = 3600


def base(rate: Fraction) -> int:
    """The frames that one second of time code counts: 30 at 29.97 frames per second."""
    return max(1, round(rate))


def can_drop(rate: Fraction) -> bool:
    """Whether numbers can be dropped, so that the time code keeps step with a clock: at 29.97, 59.94 and 119.88."""
    return rate.denominator == 1001 and base(rate) % 30 == 0


def timecode(frame: int, rate: Fraction, *, drop: bool) -> str:
    """The time code of a frame, counted from 0 at midnight: timecode(1800, 29.97, drop=True) is "00:01:00;02".

    drop leaves out the first two numbers (four at 59.94) of each minute, but not of each tenth.
    """
    second = base(rate)
    frame %= 24 * _HOUR_S * second if not drop else 24 * 6 * _tenth(second)
    if drop:
        tenths, rest = divmod(frame, _tenth(second))
        skipped = second // 15
        minutes = max(0, rest - skipped) // (60 * second - skipped)
        frame += skipped * (9 * tenths + minutes)
    seconds, frames = divmod(frame, second)
    mark = ";" if drop else ":"
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{mark}{frames:02d}"


def frame_of(code: str, rate: Fraction) -> int | None:
    """The frame that has this time code; None if it is none at this rate."""
    match = _CODE.fullmatch(code.strip())
    if match is None:
        return None
    hours, minutes, seconds, frames = (int(match[part]) for part in (1, 2, 3, 5))
    second = base(rate)
    if hours > 23 or minutes > 59 or seconds > 59 or frames >= second:
        return None
    frame = (hours * _HOUR_S + minutes * 60 + seconds) * second + frames
    if not is_dropped(code) or not can_drop(rate):
        return frame
    if minutes % 10 and seconds == 0 and frames < second // 15:
        return None  # this number is dropped
    total = hours * 60 + minutes
    return frame - second // 15 * (total - total // 10)


def is_dropped(code: str) -> bool:
    """Whether a time code is written as one with dropped numbers: 01:00:00;00."""
    return ";" in code


def _tenth(second: int) -> int:
    """The frames of ten minutes with dropped numbers."""
    return 600 * second - 9 * (second // 15)
