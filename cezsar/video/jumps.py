"""When, between two sampled frames, the picture changed most: seen in what was decoded on the way, at little cost."""

from __future__ import annotations

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

_SIDE = 32  # points a side that a frame is compared by


class Jumps:
    """Sees every decoded frame, in order, and says when the picture changed most."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._points: NDArray[np.int16] | None = None  # of the latest frame
        self._jumps: list[float] = []
        self._times_s: list[float] = []

    def see(self, frame: VideoFrame, time_s: float) -> None:
        """The next frame and its time."""
        points = _points(frame, self._reformatter)
        if self._points is not None and points is not None:
            self._jumps.append(float(np.abs(points - self._points).mean()))
            self._times_s.append(time_s)
        self._points = points

    def most(self) -> tuple[float, float]:
        """The time of the greatest change since this was last asked, and by how many levels of brightness it exceeds
        the median of the others; zeros if there was none.

        A change belongs to the first frame after it that was decoded. An encoder begins anew at a cut, and from there
        frames are decoded: so this is the cut's own time, but where none were from one sampled frame to the next.
        """
        if not self._jumps:
            return 0.0, 0.0
        jumps = np.array(self._jumps)
        place = int(jumps.argmax())
        jump_s, others = self._times_s[place], np.delete(jumps, place)
        self._jumps, self._times_s = [], []
        return jump_s, float(jumps[place] - (np.median(others) if len(others) else 0.0))


def _points(frame: VideoFrame, reformatter: VideoReformatter) -> NDArray[np.int16] | None:
    """The brightness of (32, 32) points of a frame; None if it cannot be had."""
    kind = frame.format
    if kind.is_planar and not kind.is_rgb and kind.components[0].bits == 8:  # brightness lies there as it is
        plane = frame.planes[0]
        lines = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * plane.height]
        across, down = (np.arange(_SIDE) * length // _SIDE for length in (plane.width, plane.height))
        return np.asarray(lines.reshape(plane.height, plane.line_size)[down[:, None], across], np.int16)
    try:
        small = reformatter.reformat(frame, _SIDE, _SIDE, "gray", interpolation=Interpolation.POINT)
        return np.asarray(small.to_ndarray(), np.int16)
    except (av.error.FFmpegError, ValueError, MemoryError):
        return None
