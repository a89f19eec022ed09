"""Frames of a video at chosen times, whatever the file's clock, shape and health."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_videos import COLOURS, rewrite, solid, write_pictures, write_sound, write_video
from numpy.typing import NDArray

from cezsar.errors import VideoError
from cezsar.video import FrameBatch
from cezsar.video.frames import Video

_TWO = [("red", 1.0), ("blue", 1.0)]


@dataclass(frozen=True)
class _Read:
    """A video read to its end."""

    batches: list[FrameBatch]
    duration_s: float | None
    shortfall: str | None

    @property
    def frames(self) -> NDArray[np.uint8]:
        return np.concatenate([batch.frames_uint8 for batch in self.batches])

    @property
    def times_s(self) -> list[float]:
        return [float(time_s) for batch in self.batches for time_s in batch.times_s]

    @property
    def repeats(self) -> list[int]:
        return [int(repeat) for batch in self.batches for repeat in batch.repeats]

    @property
    def grid(self) -> list[str]:
        """The colour at each time of the grid."""
        return [colour for frame, n in zip(self.frames, self.repeats, strict=True) for colour in [_colour(frame)] * n]


def _read(path: Path, *, fps: float = 10.0, short_side: int = 16, batch_size: int = 8) -> _Read:
    with Video(path) as video:
        batches = list(video.sample(fps=fps, short_side=short_side, batch_size=batch_size))
        return _Read(batches, video.duration_s, video.shortfall)


def _colour(pixels: NDArray[np.uint8]) -> str:
    """The name of a picture's colour, (3, H, W)."""
    mean = pixels.mean(axis=(1, 2))
    name = min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())
    assert np.abs(mean - COLOURS[name]).max() < 8, f"no colour of ours: {mean}"
    return name


def _quarters(pixels: NDArray[np.uint8]) -> list[list[str]]:
    """The colours near the four corners of a picture, row by row."""
    _, height, width = pixels.shape
    rows = slice(0, height * 2 // 5), slice(height * 3 // 5 + 1, height)
    columns = slice(0, width * 2 // 5), slice(width * 3 // 5 + 1, width)
    return [[_colour(pixels[:, row, column]) for column in columns] for row in rows]


def _four(size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture without any symmetry: red and green above blue and white."""
    picture = solid("red", size)
    height, width = picture.shape[:2]
    picture[: height // 2, width // 2 :] = COLOURS["green"]
    picture[height // 2 :, : width // 2] = COLOURS["blue"]
    picture[height // 2 :, width // 2 :] = COLOURS["white"]
    return picture


def _greys(count: int) -> list[NDArray[np.uint8]]:
    """Pictures that say their own number."""
    return [np.full((16, 16, 3), 10 * number, np.uint8) for number in range(count)]


def _timed(folder: Path, stamps_ms: list[int], lasts_ms: list[int] | None = None, *, suffix: str = ".mov") -> Path:
    """A video whose pictures say their own number and have these time stamps (and durations, in .mov)."""
    codec = {"codec": "png", "pix_fmt": "rgb24"} if suffix == ".mov" else {}
    source = write_pictures(folder / f"steady{suffix}", _greys(len(stamps_ms)), **codec)
    options = {"video_track_timescale": "1000"} if suffix == ".mov" else {}
    return rewrite(source, folder / f"timed{suffix}", stamps_ms=stamps_ms, lasts_ms=lasts_ms, options=options)


def _numbers(read: _Read) -> list[int]:
    """Which of the pictures of _timed were given."""
    return [round(frame.mean() / 10) for frame in read.frames]


# the grid


def test_each_time_takes_the_latest_frame_at_or_before_it(tmp_path: Path) -> None:
    path = _timed(tmp_path, [0, 300, 350, 500, 1700], [300, 50, 150, 1200, 300])
    read = _read(path, fps=2)
    assert (read.times_s, read.repeats) == ([0.0, 0.5], [1, 3])  # 1.7 s begins after 1.5 s and ends at 2.0 s
    assert _numbers(read) == [0, 3]
    assert read.duration_s == 2.0


def test_a_frame_between_two_grid_times_is_left_out_and_a_long_one_is_given_once(tmp_path: Path) -> None:
    read = _read(_timed(tmp_path, [0, 100, 200, 5000], [100, 100, 4800, 10]), fps=1)
    assert (_numbers(read), read.times_s, read.repeats) == ([0, 2, 3], [0.0, 0.2, 5.0], [1, 4, 1])


def test_times_before_the_first_frame_take_the_first(tmp_path: Path) -> None:
    times_s = [2 + k / 10 for k in range(20)]
    read = _read(write_video(tmp_path / "late.mkv", _TWO, times_s=times_s, sound=True), fps=2)
    assert read.times_s == [2.0, 2.5, 3.0, 3.5]
    assert read.repeats == [5, 1, 1, 1]
    assert read.grid == ["red"] * 6 + ["blue"] * 2
    assert read.duration_s == 4.0


def test_of_frames_with_one_time_the_last_is_taken(tmp_path: Path) -> None:
    read = _read(_timed(tmp_path, [0, 100, 100, 100, 200, 300], suffix=".mkv"), fps=10)
    assert (_numbers(read), read.repeats) == ([0, 3, 4, 5], [1, 1, 1, 1])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lasts_ms=st.lists(st.integers(1, 1500), min_size=1, max_size=12),
    start_ms=st.integers(0, 5000),
    fps=st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.5, 10.0, 30.0]),
    batch_size=st.integers(1, 5),
)
def test_the_grid_agrees_with_looking_at_every_time(
    tmp_path_factory: pytest.TempPathFactory, lasts_ms: list[int], start_ms: int, fps: float, batch_size: int
) -> None:
    times_ms = list(accumulate(lasts_ms, initial=0))
    path = _timed(tmp_path_factory.getbasetemp(), [start_ms + ms for ms in times_ms[:-1]], lasts_ms)

    expected, duration_ms = [], times_ms.pop()
    while (grid_ms := len(expected) * 1000 / Fraction(fps)) < duration_ms:
        expected.append(max(number for number, ms in enumerate(times_ms) if ms <= grid_ms))

    read = _read(path, fps=fps, batch_size=batch_size)
    numbers = _numbers(read)
    assert np.repeat(numbers, read.repeats).tolist() == expected
    assert all(a < b for a, b in pairwise(numbers)), "each distinct frame once"
    assert read.times_s == pytest.approx([times_ms[number] / 1000 for number in numbers])
    assert read.duration_s == pytest.approx(duration_ms / 1000)
    assert all(1 <= len(batch.repeats) <= batch_size for batch in read.batches)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10, 1000])
def test_batches_are_full_but_the_last_and_their_size_changes_nothing(tmp_path: Path, batch_size: int) -> None:
    path = _timed(tmp_path, list(range(0, 1000, 100)), [100] * 10)
    read, whole = _read(path, batch_size=batch_size), _read(path, batch_size=10)
    sizes = [len(batch.frames_uint8) for batch in read.batches]
    assert sizes == [batch_size] * (10 // batch_size) + [10 % batch_size] * (10 % batch_size > 0)
    np.testing.assert_array_equal(read.frames, whole.frames)
    assert (read.times_s, read.repeats) == (whole.times_s, whole.repeats)
    assert {
        (batch.frames_uint8.dtype.name, batch.times_s.dtype.name, batch.repeats.dtype.name) for batch in read.batches
    } == {("uint8", "float64", "int64")}


# clocks


def test_frames_without_time_stamps_follow_one_another(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", _TWO)
    with av.open(str(path)) as container:
        assert all(frame.pts is None for frame in container.decode(video=0))
    read = _read(path, fps=5)
    assert read.times_s == pytest.approx([k / 5 for k in range(10)])
    assert read.grid == ["red"] * 5 + ["blue"] * 5
    assert read.duration_s == 2.0


@pytest.mark.parametrize("stamps_ms", [[0, 100, 200, 150, 120, 300, 400, 500], [0, 100, 200, 100, 200, 100, 200, 300]])
def test_time_never_goes_back(tmp_path: Path, stamps_ms: list[int]) -> None:
    path = _timed(tmp_path, stamps_ms, suffix=".mkv")
    with av.open(str(path)) as container:
        assert [frame.pts for frame in container.decode(video=0)] == stamps_ms
    read = _read(path)
    assert _numbers(read) == list(range(8))
    assert read.times_s == pytest.approx([k / 10 for k in range(8)])  # one frame after the other
    assert read.duration_s == pytest.approx(0.8)


def test_a_silence_that_the_container_claims_too_is_one(tmp_path: Path) -> None:
    read = _read(_timed(tmp_path, [0, 100, 200, 1_000_000, 1_000_100, 1_000_200], suffix=".mkv"))
    assert read.times_s == pytest.approx([0.0, 0.1, 0.2, 1000.0, 1000.1, 1000.2])
    assert read.duration_s == pytest.approx(1000.3)
    assert read.shortfall is None


def test_a_frame_that_says_it_lasts_long_does(tmp_path: Path) -> None:
    read = _read(_timed(tmp_path, [0, 100, 700_100], [100, 700_000, 100]), fps=0.01)
    assert (read.times_s, read.repeats) == ([0.0, 0.1], [1, 7])
    assert read.duration_s == pytest.approx(700.2)


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".ts"])
def test_time_begins_with_the_file(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"five{suffix}", _TWO, times_s=[5 + k / 10 for k in range(20)])
    with av.open(str(path)) as container:
        assert container.start_time / av.time_base == pytest.approx(5.0, abs=0.3)
    read = _read(path, fps=2)
    assert read.times_s == pytest.approx([0.0, 0.5, 1.0, 1.5])
    assert read.grid == ["red"] * 2 + ["blue"] * 2
    assert read.duration_s == 2.0
    assert read.shortfall is None


@pytest.mark.parametrize("suffix", [".ts", ".h264"])
def test_joined_recordings_follow_one_another_in_the_shape_of_the_first(tmp_path: Path, suffix: str) -> None:
    parts = [
        write_video(tmp_path / f"red{suffix}", [("red", 2.0)], size=(64, 48)),
        write_video(tmp_path / f"blue{suffix}", [("blue", 2.0)], size=(32, 32)),
    ]
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    read = _read(path, fps=2)
    assert read.grid == ["red"] * 4 + ["blue"] * 4
    assert read.frames.shape == (8, 3, 16, 21)
    assert read.duration_s == pytest.approx(4.0)


def test_the_duration_is_the_last_frame_time_plus_its_duration(tmp_path: Path) -> None:
    assert _read(_timed(tmp_path, [0, 100, 200], [100, 100, 770])).duration_s == 0.97
    assert _read(_timed(tmp_path, [0, 100, 200], [100, 100, 10])).duration_s == 0.21


@pytest.mark.parametrize(
    ("suffix", "fps"),
    [(suffix, fps) for suffix in (".mp4", ".ts") for fps in (10, 24, 25, 30, 60)] + [(".mkv", 25), (".mkv", 30)],
)
def test_eight_seconds_are_exactly_eight(tmp_path: Path, suffix: str, fps: int) -> None:
    read = _read(write_video(tmp_path / f"eight{suffix}", [("red", 8.0)], fps=fps, size=(16, 16)), fps=2)
    assert read.duration_s == 8.0
    assert sum(read.repeats) == 16


def test_the_duration_is_not_known_before_the_last_frame(tmp_path: Path) -> None:
    with Video(write_video(tmp_path / "two.mp4", _TWO)) as video:
        batches = video.sample(fps=10, short_side=16, batch_size=4)
        next(batches)
        assert (video.duration_s, video.shortfall) == (None, None)
        assert sum(len(batch.repeats) for batch in batches) == 16
        assert video.duration_s == 2.0


# kinds of file


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mp4", "libx265", "yuv420p"),
        ("a.mkv", "ffv1", "bgr0"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.mov", "png", "rgb24"),
        ("a.flv", "libx264", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
        ("10 bits.mp4", "libx264", "yuv420p10le"),
        ("4:2:2.mp4", "libx264", "yuv422p10le"),
        ("4:4:4.mp4", "libx264", "yuv444p"),
        ("full range.mp4", "libx264", "yuvj420p"),
    ],
)
def test_every_kind_of_file_shows_its_colours_in_time(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    read = _read(write_video(tmp_path / name, _TWO, codec=codec, pix_fmt=pix_fmt, options=options), fps=2)
    assert read.grid == ["red", "red", "blue", "blue"]
    assert read.times_s == pytest.approx([0.0, 0.5, 1.0, 1.5])
    assert read.duration_s == 2.0
    assert read.shortfall is None


@pytest.mark.parametrize("name", ["one.mp4", "one.mkv", "one.gif"])
def test_one_frame_is_a_video(tmp_path: Path, name: str) -> None:
    codec = {"codec": "gif", "pix_fmt": "rgb8"} if name.endswith("gif") else {}
    read = _read(write_video(tmp_path / name, [("red", 0.1)], **codec), fps=30)
    assert (read.times_s, read.repeats, read.duration_s) == ([0.0], [3], 0.1)
    assert read.grid == ["red"] * 3


def test_cover_art_is_no_frame_of_the_video(tmp_path: Path) -> None:
    path = rewrite(write_video(tmp_path / "plain.mp4", _TWO), tmp_path / "cover.mp4", cover="green")
    assert _read(path, fps=2).grid == ["red", "red", "blue", "blue"]


# shapes


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (0, [["red", "green"], ["blue", "white"]]),
        (90, [["green", "white"], ["red", "blue"]]),  # a quarter counter-clockwise
        (180, [["white", "blue"], ["green", "red"]]),
        (270, [["blue", "red"], ["white", "green"]]),
        (-90, [["blue", "red"], ["white", "green"]]),
    ],
)
def test_frames_are_turned_as_the_file_asks(tmp_path: Path, rotation: int, expected: list[list[str]]) -> None:
    frames = _read(_turned(tmp_path, rotation)).frames
    assert frames.shape == ((1, 3, 24, 16) if rotation % 180 else (1, 3, 16, 24))
    assert _quarters(frames[0]) == expected


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (0, [["green", "red"], ["white", "blue"]]),
        (90, [["white", "green"], ["blue", "red"]]),
        (180, [["blue", "white"], ["red", "green"]]),
        (270, [["red", "blue"], ["green", "white"]]),
    ],
)
def test_frames_are_mirrored_as_the_file_asks(tmp_path: Path, rotation: int, expected: list[list[str]]) -> None:
    assert _quarters(_read(_turned(tmp_path, rotation, mirrored=True)).frames[0]) == expected


def _turned(folder: Path, rotation: int, *, mirrored: bool = False) -> Path:
    return write_pictures(
        folder / "turned.mp4",
        [_four((48, 32))],
        codec="libx264",
        pix_fmt="yuv444p",
        rotation=rotation,
        mirrored=mirrored,
    )


@pytest.mark.parametrize(
    ("size", "pixel_aspect", "rotation", "expected"),
    [
        ((40, 40), Fraction(2), 0, (16, 32)),
        ((40, 40), Fraction(1, 2), 0, (32, 16)),
        ((40, 40), Fraction(2), 90, (32, 16)),
        ((64, 32), Fraction(1, 2), 0, (16, 16)),
        ((72, 58), Fraction(16, 11), 0, (16, 29)),
    ],
)
def test_pixels_become_square(
    tmp_path: Path, size: tuple[int, int], pixel_aspect: Fraction, rotation: int, expected: tuple[int, int]
) -> None:
    path = tmp_path / "wide pixels.mp4"
    options: dict[str, Any] = {"codec": "libx264", "pix_fmt": "yuv420p", "rotation": rotation}
    read = _read(write_pictures(path, [solid("red", size)], pixel_aspect=pixel_aspect, **options))
    assert read.frames.shape == (1, 3, *expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 48), (16, 21)),
        ((63, 47), (16, 21)),
        ((47, 63), (21, 16)),
        ((1, 1), (16, 16)),
        ((1, 3), (48, 16)),
        ((160, 10), (16, 256)),
        ((16_000, 16), (16, 256)),  # a strip is squeezed
        ((16, 16_000), (256, 16)),
    ],
)
def test_the_short_side_is_as_asked(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    read = _read(write_pictures(tmp_path / "shape.mov", [solid("red", size)] * 2, codec="png", pix_fmt="rgb24"))
    assert read.frames.shape == (2, 3, *expected)
    assert read.grid == ["red", "red"]


def test_8k_frames_are_read(tmp_path: Path) -> None:
    big = solid("red", (7680, 4320))
    read = _read(write_pictures(tmp_path / "8k.mkv", [big] * 2, codec="mjpeg", pix_fmt="yuvj420p"))
    assert read.frames.shape == (2, 3, 16, 28)
    assert read.grid == ["red", "red"]


def test_odd_sides_keep_the_whole_picture(tmp_path: Path) -> None:
    path = write_pictures(tmp_path / "odd.mkv", [_four((63, 47))])
    assert _quarters(_read(path).frames[0]) == [["red", "green"], ["blue", "white"]]


# from the middle


@pytest.mark.parametrize("from_s", [0.05, 2.55, 3.0, 5.9, 100.0])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.h264"])
def test_reading_from_a_time_gives_the_end_of_the_whole_from_a_key_frame(
    tmp_path: Path, name: str, from_s: float
) -> None:
    path = write_video(tmp_path / name, [("red", 3.0), ("blue", 3.0)], options={"g": "10"})
    with Video(path) as video:
        whole = [time_s for _, time_s, _ in video.spans()]
    with Video(path) as video:
        spans = list(video.spans(from_s=from_s))
    times_s = [time_s for _, time_s, _ in spans]
    assert times_s == pytest.approx(whole[-len(times_s) :])
    assert times_s[0] <= from_s
    assert spans[0][0].key_frame
    assert video.duration_s == 6.0


# damage


@pytest.mark.parametrize("name", ["whole.mkv", "whole.mp4", "whole.ts"])
def test_a_whole_file_has_no_shortfall(tmp_path: Path, name: str) -> None:
    assert _read(_faststart(tmp_path, name)).shortfall is None


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("name", ["whole.mkv", "whole.mp4"])
def test_a_truncated_file_says_how_much_of_it_could_be_read(tmp_path: Path, name: str, share: float) -> None:
    read = _read(_truncated(_faststart(tmp_path, name), share))
    said = re.fullmatch(r"only (\d\.\d) of the 8\.0 s that it claims could be read", read.shortfall or "")
    assert said is not None
    assert read.duration_s is not None
    assert float(said[1]) == pytest.approx(read.duration_s, abs=0.06)
    assert 8 * share - 1.5 < read.duration_s < 8 * share + 0.5


def test_a_last_half_second_is_not_missed(tmp_path: Path) -> None:
    read = _read(_truncated(_faststart(tmp_path, "whole.mp4"), 0.95))
    assert read.duration_s is not None
    assert 7.0 < read.duration_s < 8.0
    assert read.shortfall is None


def _faststart(folder: Path, name: str) -> Path:
    """Eight seconds of which all take about as many bytes, with the index of an MP4 file in front."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 24, 32, 3), np.uint8)
    source = write_pictures(folder / f"source-{name}", noise, codec="libx264", pix_fmt="yuv420p", options={"g": "1"})
    return rewrite(source, folder / name, options={"movflags": "faststart"} if name.endswith("mp4") else {})


def _truncated(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_a_damaged_frame_costs_itself_alone(tmp_path: Path) -> None:
    path = write_pictures(tmp_path / "damaged.mov", _greys(6), codec="png", pix_fmt="rgb24")
    head, *pictures = path.read_bytes().split(b"\x89PNG")
    pictures[2] = b"\0" * len(pictures[2])
    path.write_bytes(b"\x89PNG".join([head, *pictures]))
    read = _read(path)
    assert (_numbers(read), read.repeats) == ([0, 1, 3, 4, 5], [1, 2, 1, 1, 1])
    assert read.times_s == pytest.approx([0.0, 0.1, 0.3, 0.4, 0.5])


def _empty(path: Path) -> None:
    path.touch()


def _text(path: Path) -> None:
    path.write_text("This is not a video.\n" * 100)


def _without_index(path: Path) -> None:
    content = write_video(path, _TWO).read_bytes()
    path.write_bytes(content[: content.rindex(b"moov") - 4])


def _sound_alone(path: Path) -> None:
    write_sound(path)


def _cover_alone(path: Path) -> None:
    rewrite(write_sound(path.with_name("sound.mp4")), path, cover="red")


def _no_frames(path: Path) -> None:
    with av.open(str(path), "w", format="avi") as out:
        out.add_stream("mpeg4", rate=25, width=16, height=16, pix_fmt="yuv420p")
        out.start_encoding()


def _all_frames_damaged(path: Path) -> None:
    write_pictures(path, _greys(3), codec="png", pix_fmt="rgb24", format="mov")
    path.write_bytes(path.read_bytes().replace(b"\x89PNG", b"----"))


def _unknown_codec(path: Path) -> None:
    write_pictures(path, _greys(3), format="matroska")
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_FAKE"))


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def _nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_empty, "the file is empty"),
        (_text, "not a readable video (invalid data found when processing input)"),
        (_without_index, "not a readable video (invalid data found when processing input)"),
        (_sound_alone, "no video stream"),
        (_cover_alone, "only cover art, no video stream"),
        (_no_frames, "no frame could be decoded"),
        (_all_frames_damaged, "no frame could be decoded"),
        (_unknown_codec, "its video codec is not known"),
        (_fifo, "not a regular file"),
        (_folder, "not a regular file"),
        (_dangling_link, "there is no such file"),
        (_nothing, "there is no such file"),
    ],
)
def test_bad_files_give_one_clear_reason(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    path = tmp_path / "bad.mp4"
    make(path)
    with _watched(), pytest.raises(VideoError) as caught:
        _read(path)
    assert str(caught.value) == reason


@contextmanager
def _watched() -> Iterator[None]:
    """Fail, and do not hang, where something waits for ever."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail("it waits for what never comes")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    path = write_video(tmp_path / "secret.mp4", _TWO)
    path.chmod(0)
    with unprivileged(), pytest.raises(VideoError) as caught:
        _read(path)
    assert str(caught.value) == "permission denied"


_HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
_MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{}\n"
_CONCAT = "ffconcat version 1.0\nfile '{}'\n"


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8"])
@pytest.mark.parametrize("text", [_HLS, _MASTER, _CONCAT])
@pytest.mark.parametrize("remote", [False, True])
def test_a_playlist_opens_nothing_else(tmp_path: Path, name: str, text: str, remote: bool) -> None:
    write_video(tmp_path / "video.ts", _TWO)
    path = tmp_path / name
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        path.write_text(text.format(f"http://127.0.0.1:{server.getsockname()[1]}/video.ts" if remote else "video.ts"))
        with _watched(), pytest.raises(VideoError, match="not a readable video"):
            _read(path)
        with pytest.raises(BlockingIOError):  # nobody has called
            server.accept()


class _Failing(io.FileIO):
    """A file on a drive that fails after a number of reads."""

    reads_left = 0

    def readinto(self, buffer: Any, /) -> int | None:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError(errno.EIO, "Input/output error")
        return super().readinto(buffer)

    def read(self, size: int | None = -1, /) -> bytes | None:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("num_reads", [0, 1, 3, 6])
def test_a_failing_drive_is_a_reason_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_reads: int
) -> None:
    path = write_video(tmp_path / "a.ts", [("red", 3.0)], size=(640, 480), codec="mpeg2video", options={"b": "4M"})

    def failing(path: Path) -> _Failing:
        file = _Failing(path, "rb")
        file.reads_left = num_reads
        return file

    monkeypatch.setattr("cezsar.video.opening.open_regular", failing)
    with pytest.raises(VideoError, match="input/output error"), Video(path) as video:
        list(video.sample(fps=2.0, short_side=16, batch_size=8))


def test_no_frame_may_claim_to_last_for_days(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 0.3)], times_s=[0.0, 0.1, 40_000.0])
    with Video(path) as video:
        steps = sum(int(batch.repeats.sum()) for batch in video.sample(fps=2.0, short_side=16, batch_size=8))
    assert steps <= 2 * 12 * 3600 + 2
