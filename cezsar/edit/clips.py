"""Clips: stretches of videos, in the order in which they go into the edit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from cezsar.edit.timecode import can_drop, frame_of, is_dropped, timecode
from cezsar.errors import VideoError
from cezsar.paths import readable
from cezsar.video import Timing

_NOT_IN_NAMES = re.compile(r"[^\w.()+ -]+")


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch [start_s, end_s) of a video, and what somebody says of it; timing is None until the video was read."""

    path: Path
    start_s: float
    end_s: float
    note: str = ""
    timing: Timing | None = None

    @property
    def name(self) -> str:
        """The file's name as one line of text."""
        return readable(self.path.name)

    @property
    def remark(self) -> str:
        """The note as one line of text."""
        return readable(" ".join(self.note.split()))

    def file_name(self, number: int) -> str:
        """What a file that holds the clip is called: its number, the video's name, and the times."""
        stem = _NOT_IN_NAMES.sub("_", readable(self.path.stem)).encode()[:120].decode(errors="ignore")
        return f"{number:03d}_{stem}_{self.start_s:.1f}-{self.end_s:.1f}.mp4"


@dataclass(frozen=True, slots=True)
class Cut:
    """A clip counted in frames: [first, stop) of its video, whose first frame has the number origin in time code."""

    clip: Clip
    timing: Timing
    first: int
    stop: int
    origin: int
    drop: bool

    @classmethod
    def of(cls, clip: Clip) -> Cut | None:
        """None if the timing is not known. Time code without a word of the file's keeps step with a clock."""
        timing = clip.timing
        if timing is None:
            return None
        first, stop = timing.frames(clip.start_s, clip.end_s)
        origin = None if timing.timecode is None else frame_of(timing.timecode, timing.rate)
        drop = can_drop(timing.rate) and (origin is None or is_dropped(timing.timecode or ""))
        return cls(clip, timing, first, stop, origin or 0, drop)

    @property
    def rate(self) -> Fraction:
        """Frames per second."""
        return self.timing.rate

    @property
    def start_code(self) -> str:
        """The time code of the first frame."""
        return timecode(self.origin + self.first, self.rate, drop=self.drop)

    @property
    def stop_code(self) -> str:
        """The time code of the frame after the last."""
        return timecode(self.origin + self.stop, self.rate, drop=self.drop)

    @property
    def kind(self) -> str:
        """The rate in words, as in file names: 25, 23.976, 29.97df."""
        told = f"{float(self.rate):.3f}".rstrip("0").rstrip(".")
        return told + ("df" if self.drop else "")


def timed(clips: Iterable[Clip], timing_of: Callable[[Path], Timing]) -> tuple[list[Clip], list[str]]:
    """The clips with their timings, each video read once; and a line for each video that is not steady, or unread."""
    known: dict[Path, Timing | None] = {}
    lines: list[str] = []
    found: list[Clip] = []
    for clip in clips:
        if clip.path not in known:
            try:
                known[clip.path] = one = timing_of(clip.path)
            except VideoError as error:
                known[clip.path] = None
                lines.append(f"{clip.name}: {str(error).rstrip('.')}; it has no time code")
            else:
                if not one.is_steady:
                    lines.append(f"{clip.name} has a variable frame rate: its times are seconds, not frames")
        found.append(replace(clip, timing=known[clip.path]))
    return found, lines


def cuts(clips: Sequence[Clip]) -> list[Cut]:
    """The clips whose timing is known, counted in frames."""
    return [cut for clip in clips if (cut := Cut.of(clip)) is not None]
