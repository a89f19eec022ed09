"""Hostile and odd inputs, each with what an index makes of it: python tests/zoo.py DIR makes them all."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

sys.path.append(str(Path(__file__).parent / "data"))

from make_videos import rewrite, solid, write_pictures, write_sound, write_video

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Specimen:
    """One input: make(path) puts it there. expected is the number of segments at 2 frames/s, 8 s every 4 s; or how the
    reason begins with which it is named and left out; or None where nobody would take it for a video."""

    name: str | bytes
    expected: int | str | None
    make: Make


os.environ.setdefault("SVT_LOG", "0")  # or its encoder talks
UNREADABLE = "not a readable video"
NO_FRAME = "no frame could be decoded"


def specimens() -> Iterator[Specimen]:
    """The whole zoo."""
    yield from _damaged()
    yield from _empty()
    yield from _sizes_and_times()
    yield from _codecs()
    yield from _no_videos()
    yield from _names()


# Damage


def _damaged() -> Iterator[Specimen]:
    for tenth in range(1, 10):
        # in Matroska what comes before the cut is whole: 20 s of key frames
        expected = {1: UNREADABLE, 2: NO_FRAME, 3: NO_FRAME, 4: 1, 5: 1, 6: 2, 7: 3}.get(tenth, 4)
        yield Specimen(f"cut-{tenth}0.mkv", expected, _cut(_long, tenth))
        expected = {8: "no video stream", 9: NO_FRAME}.get(tenth, UNREADABLE)  # its index comes last
        yield Specimen(f"cut-{tenth}0.mp4", expected, _cut(_long, tenth))
    for name, expected in (
        ("ftyp", 4),
        ("moov", UNREADABLE),
        ("trak", "no video stream"),
        ("mdhd", 6),  # without its clock FFmpeg takes another one
        ("stsd", "its video codec is not known"),
        ("stts", NO_FRAME),
        ("stsz", NO_FRAME),
        ("stco", NO_FRAME),
    ):
        yield Specimen(f"bit-in-{name}.mp4", expected, _changed(_long, name.encode(), _flip_first))
    for seed in range(6):
        yield Specimen(f"bits-in-payload-{seed}.mkv", 4, _payload(seed))
    yield Specimen("middle-zeroed.mp4", 4, _middle_zeroed)


def _long(path: Path) -> Path:
    """Twenty seconds of red."""
    return write_video(path, [("red", 20.0)], fps=2, options={"g": "1", "threads": "1"})


def _short(path: Path) -> Path:
    """Two seconds of green."""
    return write_video(path, [("green", 2.0)], options={"threads": "1"})


def _cut(write: Make, tenth: int) -> Make:
    def make(path: Path) -> None:
        write(path)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * tenth // 10])

    return make


def _changed(write: Make, mark: bytes, change: Callable[[bytearray, int], None]) -> Make:
    """A file with what follows a mark in its header changed."""

    def make(path: Path) -> None:
        write(path)
        data = bytearray(path.read_bytes())
        change(data, data.index(mark))
        path.write_bytes(data)

    return make


def _flip_first(data: bytearray, at: int) -> None:
    data[at] ^= 1


def _put(offset: int, form: str, value: int) -> Callable[[bytearray, int], None]:
    def change(data: bytearray, at: int) -> None:
        struct.pack_into(form, data, at + offset, value)

    return change


def _payload(seed: int) -> Make:
    def make(path: Path) -> None:
        _long(path)
        data, draw = bytearray(path.read_bytes()), random.Random(seed)
        for _ in range(8):  # between the first cluster and the index at the end
            at = draw.randrange(len(data) // 2, len(data) * 8 // 10)
            data[at] ^= 1 << draw.randrange(8)
        path.write_bytes(data)

    return make


def _middle_zeroed(path: Path) -> None:
    _long(path)
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + 4
    length = (data.index(b"moov") - middle) // 3
    data[middle + length : middle + 2 * length] = bytes(length)
    path.write_bytes(data)


# Nothing in it


def _empty() -> Iterator[Specimen]:
    yield Specimen("empty.mp4", "the file is empty", lambda path: path.write_bytes(b""))
    yield Specimen("zeros.mp4", UNREADABLE, lambda path: path.write_bytes(bytes(4096)))
    yield Specimen("one-byte.mkv", UNREADABLE, lambda path: path.write_bytes(b"\x1a"))
    yield Specimen("encrypted.mp4", UNREADABLE, lambda path: path.write_bytes(random.Random(0).randbytes(20_000)))
    yield Specimen("text.avi", UNREADABLE, lambda path: path.write_text("no video at all\n" * 100))
    yield Specimen("page.mp4", UNREADABLE, lambda path: path.write_text("<html><script>alert(1)</script></html>" * 50))
    yield Specimen("playlist.mp4", UNREADABLE, lambda path: path.write_text("#EXTM3U\nhttp://127.0.0.1/a.ts\n"))
    yield Specimen("concat.mp4", UNREADABLE, lambda path: path.write_text("ffconcat version 1.0\nfile /etc/passwd\n"))
    yield Specimen("archive.mp4", UNREADABLE, lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)))
    yield Specimen("sound-only.mp4", "no video stream", lambda path: write_sound(path))
    yield Specimen("subtitles-only.mkv", "no video stream", _subtitles)
    yield Specimen("cover-only.mp4", "only cover art, no video stream", _cover_only)
    yield Specimen("no-frames.mkv", UNREADABLE, _no_frames)
    yield Specimen("one-frame.mp4", 1, lambda path: _frames(path, 1))
    yield Specimen("two-frames.mp4", 1, lambda path: _frames(path, 2))


def _frames(path: Path, count: int) -> None:
    write_pictures(path, [solid("blue", (64, 48))] * count, codec="libx264", pix_fmt="yuv420p")


def _no_frames(path: Path) -> None:
    """A header, and nothing after it."""
    _short(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])


def _subtitles(path: Path) -> None:
    text = path.with_suffix(".srt")
    text.write_text("1\n00:00:00,000 --> 00:00:02,000\nnobody is to be seen\n")
    with av.open(str(text)) as source, av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream_from_template(source.streams[0])
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    text.unlink()


def _cover_only(path: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        sound = Path(work) / "sound.mp4"
        write_sound(sound)
        rewrite(sound, path, cover="red")


# Sizes and times


def _sizes_and_times() -> Iterator[Specimen]:
    yield Specimen("1x1.mkv", 1, lambda path: _ffv1(path, [solid("red", (1, 1))] * 20))
    yield Specimen("2x2000.mkv", 1, lambda path: _ffv1(path, [solid("red", (2, 2000))] * 20))
    claim = _changed(_short, b"avc1", _put(28, ">I", 16384 << 16 | 16384))
    yield Specimen("16384x16384-claimed.mp4", 1, claim)  # the stream itself knows better
    yield Specimen("resolution-changes.h264", 1, _resolution_changes)
    yield Specimen("resolution-changes.ts", 1, _resolution_changes)
    yield Specimen("stamps-backwards.mkv", 1, _stamped(lambda number: 2000 - 80 * number))
    yield Specimen("stamps-twice.mkv", 1, _stamped(lambda number: number // 2 * 200 + number))
    yield Specimen("stamps-all-one.mkv", 1, _stamped(lambda number: 500))
    yield Specimen(
        "stamps-jump-a-day.mkv", 1, _stamped(lambda number: 100 * number + (86_400_000 if number > 9 else 0))
    )
    yield Specimen("no-stamps.h264", 1, lambda path: write_video(path, [("green", 2.0)]))
    yield Specimen("10-hours-claimed.mp4", 1, _changed(_short, b"mvhd", _put(20, ">I", 36_000_000)))
    yield Specimen("zero-duration-claimed.mp4", 1, _changed(_short, b"mvhd", _put(20, ">I", 0)))
    yield Specimen("1000-frames-a-second.mp4", 1, lambda path: write_video(path, [("red", 1.0)], fps=1000))
    yield Specimen("a-frame-a-minute.mkv", 30, _stamped(lambda number: 60_000 * number, count=3, lasts_ms=0))
    yield Specimen("starts-at-an-hour.ts", 1, _late)
    for degrees in (90, 180, 270):
        name = f"rotated-{degrees}.mp4"
        yield Specimen(name, 1, lambda path, turn=degrees: write_video(path, [("red", 2.0)], rotation=turn))
    yield Specimen(
        "interlaced.mp4", 1, lambda path: write_video(path, [("red", 2.0)], options={"x264-params": "tff=1"})
    )
    yield Specimen("with-cover.mp4", 1, _with_cover)


def _ffv1(path: Path, pictures: list[np.ndarray]) -> None:
    write_pictures(path, pictures)


def _stamped(stamp: Callable[[int], int], *, count: int = 20, lasts_ms: int | None = None) -> Make:
    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            plain = write_video(Path(work) / "a.mkv", [("green", count / 10)], options={"g": "1", "bf": "0"})
            lasts = None if lasts_ms is None else [lasts_ms] * count
            rewrite(plain, path, stamps_ms=[max(stamp(number), number) for number in range(count)], lasts_ms=lasts)

    return make


def _resolution_changes(path: Path) -> None:
    """Two streams of different sizes, one after the other."""
    with tempfile.TemporaryDirectory() as work:
        parts = [Path(work) / f"{number}{path.suffix}" for number in range(2)]
        for part, size in zip(parts, ((64, 48), (128, 96)), strict=True):
            write_video(part, [("green", 1.0)], size=size)
        path.write_bytes(b"".join(part.read_bytes() for part in parts))


def _late(path: Path) -> None:
    times = [3600 + number / 10 for number in range(20)]
    write_video(path, [("green", 2.0)], times_s=times)


def _with_cover(path: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        rewrite(_short(Path(work) / "a.mp4"), path, cover="red")


# Codecs and containers


def _codecs() -> Iterator[Specimen]:
    for name, codec, pix_fmt in (
        ("h265.mp4", "libx265", "yuv420p"),
        ("h265-10-bit.mp4", "libx265", "yuv420p10le"),
        ("h264-10-bit.mp4", "libx264", "yuv420p10le"),
        ("h264-444.mp4", "libx264", "yuv444p"),
        ("vp8.webm", "libvpx", "yuv420p"),
        ("vp9.webm", "libvpx-vp9", "yuv420p"),
        ("vp9-alpha.webm", "libvpx-vp9", "yuva420p"),
        ("av1.mp4", "libsvtav1", "yuv420p"),
        ("mpeg1.mpg", "mpeg1video", "yuv420p"),
        ("mpeg2.ts", "mpeg2video", "yuv420p"),
        ("mpeg4.avi", "mpeg4", "yuv420p"),
        ("mjpeg.avi", "mjpeg", "yuvj420p"),
        ("wmv.wmv", "wmv2", "yuv420p"),
        ("prores-alpha.mov", "prores_ks", "yuva444p10le"),
        ("animation.mov", "qtrle", "argb"),
        ("moving.gif", "gif", "rgb8"),
    ):
        yield Specimen(name, 1, lambda path, codec=codec, pix_fmt=pix_fmt: _coded(path, codec, pix_fmt))
    yield Specimen("hdr.mp4", 1, _hdr)
    yield Specimen("raw.h264", 1, lambda path: write_video(path, [("red", 2.0)]))
    yield Specimen("moving.webp", None, lambda path: _coded(path, "libwebp_anim", "yuv420p"))  # a picture, by its name
    yield Specimen("webp-called.mp4", NO_FRAME, lambda path: _coded(path, "libwebp_anim", "yuv420p"))
    yield Specimen("matroska-called.mp4", 1, _renamed(".mkv"))
    yield Specimen("mp4-called.avi", 1, _renamed(".mp4"))
    yield Specimen("picture-called.mp4", 1, _renamed(".png"))


def _coded(path: Path, codec: str, pix_fmt: str) -> None:
    forms = {".wmv": "asf", ".mpg": "mpeg", ".ts": "mpegts", ".mp4": "webp" if codec == "libwebp_anim" else "mp4"}
    form = forms.get(path.suffix, path.suffix[1:])
    fps = 25 if codec.startswith("mpeg") else 10
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    with open(path, "wb") as file, av.open(file, "w", format=form) as out:
        stream = out.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for number in range(2 * fps):
            frame = VideoFrame.from_ndarray(solid(("red", "green")[number % 2], (64, 48)), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _hdr(path: Path) -> None:
    params = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=none"
    write_video(path, [("red", 2.0)], codec="libx265", pix_fmt="yuv420p10le", options={"x265-params": params})


def _renamed(suffix: str) -> Make:
    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            other = Path(work) / f"a{suffix}"
            if suffix == ".png":
                write_pictures(other, [solid("red", (64, 48))], codec="png", pix_fmt="rgb24", format="image2pipe")
            else:
                _short(other)
            shutil.copyfile(other, path)

    return make


# What is no file


def _no_videos() -> Iterator[Specimen]:
    yield Specimen("fifo.mp4", "not a regular file", os.mkfifo)
    yield Specimen("socket.mp4", "not a regular file", _socket)
    yield Specimen("device.mp4", "not a regular file", lambda path: path.symlink_to("/dev/zero"))
    yield Specimen("null.mp4", "not a regular file", lambda path: path.symlink_to("/dev/null"))
    yield Specimen("loop.mp4", "too many levels of symbolic links", lambda path: path.symlink_to(path.name))
    yield Specimen("leads-nowhere.mp4", "no such file or directory", lambda path: path.symlink_to("gone.mp4"))
    yield Specimen("loop-of-folders", None, lambda path: path.symlink_to(path.parent))
    yield Specimen("folder.mp4", None, lambda path: path.mkdir())
    yield Specimen(".hidden.mp4", None, _short)
    yield Specimen("video.txt", None, lambda path: _renamed(".mp4")(path))


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


# Names


def _names() -> Iterator[Specimen]:
    for name in (
        "new\nline.mp4",
        "tab\tand\rreturn.mp4",
        "quote'and\"quote.mp4",
        "<b>page<script>alert(1)<.mp4",
        "\x1b[31mred\x1b]0;title\x07.mp4",
        "-k.mp4",
        "--prune.mp4",
        "*?[a].mp4",
        "$(touch hacked);`id`.mp4",
        "a%20b%00.mp4",
        "concat:a.mp4|b.mp4",
        "'; DROP TABLE videos; --.mp4",
        "\N{RIGHT-TO-LEFT OVERRIDE}4pm.mp4",
        "e\N{COMBINING ACUTE ACCENT}.mp4",
        "\N{VIDEO CAMERA}.mp4",
        " .mp4",
        "UPPER.MP4",
        "x" * 251 + ".mp4",
    ):
        yield Specimen(name, 1, lambda path: _plain(path))
    yield Specimen(b"not \xff\xfe UTF-8.mp4", 1, lambda path: _plain(path))


def _plain(path: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        shutil.copyfile(_short(Path(work) / "a.mp4"), path)


def make(folder: Path) -> dict[Path, Specimen]:
    """Every specimen in a folder of its own below folder; where each is."""
    made = {}
    for number, specimen in enumerate(specimens()):
        path = folder / f"{number:03}" / os.fsdecode(specimen.name)
        path.parent.mkdir(parents=True)
        specimen.make(path)
        made[path] = specimen
    return made


if __name__ == "__main__":
    sys.stdout.write(f"{len(make(Path(sys.argv[1])))} specimens\n")
