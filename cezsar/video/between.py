"""Changes between two sampled frames, seen in the frames that were decoded on the way, at little cost."""

from __future__ import annotations

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

CELLS = 8  # a side, of the average picture
_POINTS = 32  # a side, that two frames are compared by
_SIDE = 96  # pixels that the short side is thinned to, about


class Between:
    """Sees every decoded frame, in order, and sums up the frames since the last call of taken()."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._points: NDArray[np.int16] | None = None  # of the latest frame
        self._cells = np.zeros((CELLS, CELLS), np.float32)
        self._time_s: float | None = None
        self._jumps: list[float] = []
        self._times_s: list[float] = []
        self._sum = np.zeros((CELLS, CELLS), np.float32)
        self._lasted_s = 0.0

    def see(self, frame: VideoFrame, time_s: float) -> None:
        """The next frame and its time."""
        picture = _brightness(frame, self._reformatter)
        if picture is None:
            return
        points, cells = _picked(picture), _cells(picture)
        if self._points is not None:
            self._jumps.append(float(np.abs(points - self._points).mean()))
            self._times_s.append(time_s)
        if self._time_s is not None:
            lasts_s = time_s - self._time_s
            self._sum += (self._cells + cells) * (lasts_s / 2)
            self._lasted_s += lasts_s
        self._points, self._cells, self._time_s = points, cells, time_s

    def taken(self) -> tuple[float, float, NDArray[np.float32]]:
        """The time of the greatest change, by how many levels of brightness it exceeds the median of the others, and
        the mean brightness of 8 x 8 cells over time; two zeros and the picture as it is for the first frame.

        A change belongs to the first frame after it that was decoded. An encoder begins anew at a cut, and from there
        frames are decoded: so this is the cut's own time, unless no frame was decoded between two sampled ones.
        """
        average = self._sum / np.float32(self._lasted_s) if self._lasted_s > 0 else self._cells
        jump_s = jump = 0.0
        if self._jumps:
            jumps = np.array(self._jumps)
            place = int(jumps.argmax())
            others = np.delete(jumps, place)
            jump_s, jump = self._times_s[place], float(jumps[place] - (np.median(others) if len(others) else 0.0))
        self._jumps, self._times_s = [], []
        self._sum, self._lasted_s = np.zeros_like(self._sum), 0.0
        return jump_s, jump, average


def _brightness(frame: VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8] | None:
    """A frame's brightness, thinned out: (H, W); None if it cannot be had."""
    step = max(1, min(frame.width, frame.height) // _SIDE)
    kind = frame.format
    if kind.is_planar and not kind.is_rgb and kind.components[0].bits == 8:  # brightness lies there as it is
        plane = frame.planes[0]
        lines = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * plane.height]
        return np.asarray(lines.reshape(plane.height, plane.line_size)[::step, : plane.width : step])
    try:
        width, height = max(1, frame.width // step), max(1, frame.height // step)
        small = reformatter.reformat(frame, width, height, "gray", interpolation=Interpolation.POINT)
        return np.asarray(small.to_ndarray(), np.uint8)
    except (av.error.FFmpegError, ValueError, MemoryError):
        return None


def _picked(picture: NDArray[np.uint8]) -> NDArray[np.int16]:
    """(32, 32) of its points."""
    down, across = (np.arange(_POINTS) * length // _POINTS for length in picture.shape)
    return np.asarray(picture[down[:, None], across], np.int16)


def _cells(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Its means over (8, 8) cells; a picture of fewer pixels has some more than once."""
    height, width = picture.shape
    if height < CELLS or width < CELLS:
        picture = picture.repeat(-(-CELLS // height), axis=0).repeat(-(-CELLS // width), axis=1)
        height, width = picture.shape
    down, across = np.arange(CELLS) * height // CELLS, np.arange(CELLS) * width // CELLS
    sums = np.add.reduceat(np.add.reduceat(picture, down, axis=0, dtype=np.uint32), across, axis=1)
    areas = np.outer(np.diff(down, append=height), np.diff(across, append=width))
    return np.asarray(sums / areas, np.float32)
