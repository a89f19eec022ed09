"""What it takes to sample 2 frames/s of a 1080p video, against decoding all of it: python benchmarks/sampling.py.

The yardstick decodes every frame, converts each to RGB at the size that the encoder wants, and then picks.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from cezsar.video.frames import Video

_FPS = 2.0
_SHORT_SIDE = 260
_LONG_SIDE = 462  # of 16:9
_RATE = 30
_GOPS = {"GOP 250": 250, "GOP 15": 15}  # frames from key frame to key frame
_PART = 750  # frames that are encoded, a multiple of both
_ROUNDS = 3


def rows(seconds: float) -> list[tuple[str, list[float], list[float]]]:
    """For each kind of video of so many seconds: its name, our seconds and the yardstick's in each round.

    The two take turns. Raises RuntimeError where they do not give frames of the same times.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, gop in _GOPS.items():
            path = _made(Path(folder) / f"{gop}.mp4", seconds, gop)
            ours, yardstick = [], []
            for _ in range(_ROUNDS):
                took_s, times_s = _timed_sample(path)
                ours.append(took_s)
                took_s, expected_s = _timed_yardstick(path)
                yardstick.append(took_s)
                if len(times_s) != len(expected_s) or np.abs(np.subtract(times_s, expected_s)).max() > 0.1:
                    raise RuntimeError(f"{name}: not the frames of the same times")
            found.append((name, ours, yardstick))
    return found


def _timed_sample(path: Path) -> tuple[float, list[float]]:
    """The seconds that Video.sample takes, and the times of its frames."""
    began = time.perf_counter()
    times_s: list[float] = []
    with Video(path) as video:
        for batch in video.sample(fps=_FPS, short_side=_SHORT_SIDE, batch_size=32):
            times_s.extend(batch.times_s.tolist())
    return time.perf_counter() - began, times_s


def _timed_yardstick(path: Path) -> tuple[float, list[float]]:
    """The seconds that decoding and converting everything takes, and the times of the frames picked."""
    began = time.perf_counter()
    picked: list[tuple[float, NDArray[np.uint8]]] = []
    reformatter = VideoReformatter()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            scaled = reformatter.reformat(frame, _LONG_SIDE, _SHORT_SIDE, "rgb24", interpolation=Interpolation.BICUBIC)
            pixels = np.asarray(scaled.to_ndarray(), np.uint8)
            if frame.time is not None and frame.time >= len(picked) / _FPS - 1e-6:
                picked.append((frame.time, pixels))
    return time.perf_counter() - began, [time_s for time_s, _ in picked]


def _made(path: Path, seconds: float, gop: int) -> Path:
    """A video that shows the same part of it again and again, as encoding takes long."""
    frames = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes=3:b-adapt=0"
    options = {"preset": "veryfast", "x264-params": frames}
    num_frames = min(_PART, round(seconds * _RATE))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=_RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        packets = [packet for frame in _moving(num_frames) for packet in stream.encode(frame)]
        packets += stream.encode(None)
        base = packets[0].time_base
        stamps = [(packet.pts or 0, packet.dts or 0) for packet in packets]
        for first in range(0, round(seconds * _RATE), num_frames):
            shift = round(first / _RATE / base)
            for packet, (pts, dts) in zip(packets, stamps, strict=True):
                packet.pts, packet.dts, packet.time_base = pts + shift, dts + shift, base
                out.mux(packet)
    return path


def _moving(num_frames: int) -> Iterator[VideoFrame]:
    """Textures that move: two layers of blurred noise, scrolled at speeds of their own."""
    random = np.random.default_rng(0)
    far, near = (_blurred(random.integers(0, 256, (1080, 1920)).astype(np.float64), times) for times in (24, 8))
    planes = np.empty((1620, 1920), np.uint8)
    for number in range(num_frames):
        planes[:1080] = np.roll(far, (2 * number, 3 * number), (0, 1))
        planes[300:780] = np.roll(near[300:780], -7 * number, 1)
        planes[1080:] = round(128 + 40 * math.sin(number / 45))
        yield VideoFrame.from_ndarray(planes, format="yuv420p")


def _blurred(picture: NDArray[np.float64], times: int) -> NDArray[np.uint8]:
    for _ in range(times):
        for axis in (0, 1):
            picture = (np.roll(picture, 1, axis) + 2 * picture + np.roll(picture, -1, axis)) / 4
    scaled: NDArray[np.float64] = 128 + 40 * (picture - picture.mean()) / picture.std()
    return np.clip(scaled, 0, 255).astype(np.uint8)


def main() -> None:
    """Print how many times faster ours is, for each kind of video."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of each video")
    seconds = parser.parse_args().seconds
    print(f"1080p, {_RATE} frames/s, H.264, {seconds:g} s; {_FPS:g} frames/s wanted; medians of {_ROUNDS} (least-most)")
    for name, ours, yardstick in rows(seconds):
        ratios = [other / own for own, other in zip(ours, yardstick, strict=True)]
        print(f"{name}: ours {_spread(ours)} s, all frames {_spread(yardstick)} s, {_spread(ratios)} times faster")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main()
