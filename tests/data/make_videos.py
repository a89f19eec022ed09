"""Small videos made with PyAV, so that the tests need no footage: python tests/data/make_videos.py DIR makes a few."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.frame import VideoFrame

from cezsar.encoders.toy import COLOURS


def write_video(
    path: Path,
    colours: Sequence[tuple[str, float]],
    *,
    fps: int = 10,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    format: str | None = None,  # noqa: A002
    options: dict[str, str] | None = None,
    times_s: Sequence[float] | None = None,
    sound: bool = False,
    rotation: int = 0,
) -> Path:
    """Write a video that shows each named colour for its number of seconds, in turn; returns path.

    size is (width, height). times_s, where given, are the frames' own times instead of a steady rate. rotation is what
    the file's display matrix asks of a player, in degrees counter-clockwise.
    """
    return write_pictures(
        path,
        (solid(name, size) for name, seconds in colours for _ in range(round(seconds * fps))),
        fps=fps,
        codec=codec,
        pix_fmt=pix_fmt,
        format=format,
        options=options,
        times_s=times_s,
        sound=sound,
        rotation=rotation,
    )


def write_pictures(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    fps: int = 10,
    codec: str = "ffv1",
    pix_fmt: str = "bgr0",
    format: str | None = None,  # noqa: A002
    options: dict[str, str] | None = None,
    times_s: Sequence[float] | None = None,
    sound: bool = False,
    sound_codec: str = "aac",
    sound_from_s: float = 0.0,
    rotation: int = 0,
    mirrored: bool = False,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Write (H, W, 3) uint8 pictures of one size as a video, without loss unless asked otherwise; returns path.

    times_s and rotation are as in write_video; mirrored asks players to mirror left to right after the rotation. sound
    is a tone from sound_from_s on, silent while the picture is black. pixel_aspect is a pixel's width over its height.
    """
    loud: list[bool] = []
    with open(path, "wb") as file, av.open(file, "w", format=format or _format(path)) as out:
        stream = out.add_stream(codec, rate=fps, options=options or {})
        stream.pix_fmt = pix_fmt
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if times_s is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        track = out.add_stream(sound_codec, rate=48_000, layout="mono") if sound else None
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            if times_s is None:
                frame.pts, frame.time_base = number, Fraction(1, fps)
            else:
                frame.pts, frame.time_base = round(times_s[number] * 1000), Fraction(1, 1000)
            out.mux(stream.encode(frame))
            loud.append(bool(picture.any()))
        out.mux(stream.encode(None))
        if track is not None:
            for start in range(round(sound_from_s * 48_000), round(len(loud) / fps * 48_000), 1024):
                at = np.arange(start, start + 1024)
                beep = np.sin(at * 0.05) * np.array(loud)[np.minimum(at * fps // 48_000, len(loud) - 1)]
                samples = av.AudioFrame.from_ndarray(beep.astype(np.float32)[None], format="fltp", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = 48_000, start, Fraction(1, 48_000)
                out.mux(track.encode(samples))
            out.mux(track.encode(None))
    return path


def rewrite(
    source: Path,
    target: Path,
    *,
    stamps_ms: Sequence[int] | None = None,
    lasts_ms: Sequence[int] | None = None,
    cover: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Copy a file's packets into a new file, which may be of another container; returns target.

    stamps_ms, where given, become the packets' PTS, in any order, each at least its own number; lasts_ms, with them,
    their durations. cover is the colour of a picture to attach.
    """
    in_order = stamps_ms is not None and all(a < b for a, b in pairwise(stamps_ms))
    with av.open(str(source)) as container, av.open(str(target), "w", format=_format(target), options=options) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in container.streams}
        if cover is not None:
            art = out.add_stream("mjpeg", rate=1, width=16, height=16, pix_fmt="yuvj420p")
            art.disposition = Disposition.attached_pic
            picture = VideoFrame.from_ndarray(solid(cover, (16, 16)), format="rgb24")
            picture.pts = 0
            out.mux([*art.encode(picture), *art.encode(None)])
        for number, packet in enumerate(packet for packet in container.demux() if packet.dts is not None):
            packet.stream = streams[packet.stream.index]
            if stamps_ms is not None:
                packet.pts, packet.time_base = stamps_ms[number], Fraction(1, 1000)
                packet.dts = packet.pts if in_order else number
                packet.duration = 0 if lasts_ms is None else lasts_ms[number]
            out.mux(packet)
    return target


def gather(
    target: Path,
    sources: Sequence[tuple[Path, Disposition | None]],
    *,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Put the first stream of each file into one file, in that order, with a disposition where one is given."""
    packets = []
    with av.open(str(target), "w", format=_format(target), options=options) as out, ExitStack() as stack:
        out.metadata.update(metadata or {})
        for source, disposition in sources:
            container = stack.enter_context(av.open(str(source)))
            stream = out.add_stream_from_template(container.streams[0])
            if disposition is not None:
                stream.disposition = disposition
            for packet in container.demux(container.streams[0]):
                if packet.pts is not None:
                    packet.dts = packet.pts if packet.dts is None else packet.dts
                    packet.stream = stream
                    packets.append((packet.dts * packet.time_base, len(packets), packet))
        for *_, packet in sorted(packets, key=lambda one: one[:2]):
            out.mux(packet)
    return target


def shifted(source: Path, target: Path, by_s: float, *, options: dict[str, str] | None = None) -> Path:
    """Copy a file's packets, each as much later, into a new file, which may be of another container; returns target."""
    with av.open(str(source)) as container, av.open(str(target), "w", format=_format(target), options=options) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in container.streams}
        for packet in container.demux():
            if packet.pts is None:
                continue
            shift = round(by_s / packet.time_base)
            packet.dts = packet.pts + shift if packet.dts is None else packet.dts + shift
            packet.pts, packet.stream = packet.pts + shift, streams[packet.stream.index]
            out.mux(packet)
    return target


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """Write a file that has sound and no picture."""
    with open(path, "wb") as file, av.open(file, "w", format=_format(path)) as out:
        track = out.add_stream("aac", rate=48_000, layout="mono")
        for start in range(0, round(seconds * 48_000), 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 48_000, start, Fraction(1, 48_000)
            out.mux(track.encode(samples))
        out.mux(track.encode(None))
    return path


def solid(name: str, size: tuple[int, int]) -> np.ndarray:
    """An (H, W, 3) uint8 picture of one colour; size is (width, height)."""
    return np.broadcast_to(np.array(COLOURS[name], np.uint8), (size[1], size[0], 3)).copy()


def _format(path: Path) -> str:
    known = {".mkv": "matroska", ".h264": "h264", ".m4v": "mp4", ".ts": "mpegts", ".mpg": "mpeg", ".m2v": "mpeg2video"}
    return known.get(path.suffix, path.suffix.removeprefix("."))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in COLOURS:
        write_video(folder / f"{name}.mp4", [(name, 3.0)])
    write_video(folder / "red-then-blue.mp4", [("red", 10.0), ("blue", 10.0)])
