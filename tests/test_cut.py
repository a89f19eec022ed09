"""Cutting a stretch out of a video, with its sound, whole or not at all."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.resampler import AudioResampler
from make_videos import COLOURS, rewrite, solid, write_pictures, write_sound, write_video
from numpy.typing import NDArray

from cezsar.errors import VideoError
from cezsar.types import Segment
from cezsar.video.cut import cut

_FOUR = [("red", 3.0), ("green", 3.0), ("blue", 3.0), ("white", 3.0)]
_KEYS = {"g": "10"}  # a key frame every second
_FEW_KEYS = {"g": "1000", "sc_threshold": "0"}  # one, at the start


@dataclass(frozen=True)
class _Shown:
    """What a file shows, read with no help from the code that wrote it."""

    colours: list[str]
    times_s: list[float]
    duration_s: float
    size: tuple[int, int]


def _shown(path: Path) -> _Shown:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert not any(frame.rotation for frame in frames)
    times_s = [float(frame.pts * frame.time_base) for frame in frames]
    lasts_s = float(frames[-1].duration * frames[-1].time_base)
    colours = [_colour(frame.to_ndarray(format="rgb24")) for frame in frames]
    return _Shown(colours, times_s, times_s[-1] + lasts_s, (frames[0].width, frames[0].height))


def _colour(pixels: NDArray[np.uint8]) -> str:
    mean = pixels.mean(axis=(0, 1))
    return min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())


def _quarters(path: Path) -> list[list[str]]:
    """The colours in the four corners of the first picture."""
    with av.open(str(path)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="rgb24")
    corners = (slice(0, 8), slice(-8, None))
    return [[_colour(pixels[row, column]) for column in corners] for row in corners]


# the picture


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", _KEYS | {"bf": "0"}),
        ("a.mp4", _KEYS | {"bf": "3"}),
        ("a.mkv", _KEYS | {"bf": "0"}),
        ("a.mkv", _KEYS | {"bf": "3"}),
        ("a.webm", _KEYS),
    ],
)
@pytest.mark.parametrize(("start_s", "colour"), [(0.0, "red"), (3.0, "green"), (6.0, "blue")])
def test_a_cut_at_a_key_frame_copies(
    tmp_path: Path, name: str, options: dict[str, str], start_s: float, colour: str
) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    source = write_video(tmp_path / name, _FOUR, codec=codec, options=options)
    assert cut(source, Segment(start_s, start_s + 3), tmp_path / "out.mp4")
    shown = _shown(tmp_path / "out.mp4")
    assert shown.colours[:30] == [colour] * 30
    assert shown.times_s[:30] == pytest.approx([k / 10 for k in range(30)], abs=0.002)
    assert shown.duration_s == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.webm", "a.h264"])
def test_a_cut_between_key_frames_is_encoded_from_its_start(tmp_path: Path, name: str) -> None:
    codec = {"avi": "mpeg4", "webm": "libvpx-vp9"}.get(name[2:], "libx264")
    source = write_video(
        tmp_path / name, _FOUR, codec=codec, options=_FEW_KEYS if codec == "libx264" else {"g": "1000"}
    )
    assert not cut(source, Segment(4.7, 7.5), tmp_path / "out.mp4")
    shown = _shown(tmp_path / "out.mp4")
    assert shown.colours == ["green"] * 13 + ["blue"] * 15
    assert shown.times_s == pytest.approx([k / 10 for k in range(28)], abs=0.002)
    assert shown.duration_s == pytest.approx(2.8, abs=0.002)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.webm"])
@pytest.mark.parametrize(
    "stretch", [Segment(0.0, 2.0), Segment(3.0, 5.5), Segment(6.0, 6.3), Segment(8.9, 10.9), Segment(11.5, 12.0)]
)
def test_every_cut_lasts_as_long_as_asked_to_a_frame(tmp_path: Path, name: str, stretch: Segment) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    source = write_video(tmp_path / name, _FOUR, codec=codec, options=_KEYS)
    early_s = stretch.start_s % 1 if cut(source, stretch, tmp_path / "out.mp4") else 0.0
    assert early_s <= 0.5
    shown = _shown(tmp_path / "out.mp4")
    assert shown.times_s[0] == pytest.approx(0.0, abs=0.002)
    assert shown.duration_s == pytest.approx(stretch.end_s - stretch.start_s + early_s, abs=0.101)
    assert len(shown.colours) == pytest.approx(shown.duration_s * 10, abs=1.001)


@pytest.mark.parametrize(("start_s", "copied", "num_frames"), [(6.3, True, 31), (6.5, True, 31), (6.6, False, 25)])
def test_a_copy_begins_at_most_half_a_second_early(
    tmp_path: Path, start_s: float, copied: bool, num_frames: int
) -> None:
    source = write_video(tmp_path / "a.mp4", _FOUR, options=_KEYS | {"bf": "0"})
    assert cut(source, Segment(start_s, 9.1), tmp_path / "out.mp4") is copied
    assert _shown(tmp_path / "out.mp4").colours == ["blue"] * (num_frames - 1) + ["white"]


def test_a_cut_past_the_end_stops_there(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", _FOUR, options=_FEW_KEYS)
    assert not cut(source, Segment(11.0, 20.0), tmp_path / "out.mp4")
    shown = _shown(tmp_path / "out.mp4")
    assert shown.colours == ["white"] * 10
    assert shown.duration_s == pytest.approx(1.0, abs=0.002)


def test_a_cut_within_one_long_frame_shows_it_from_the_start(tmp_path: Path) -> None:
    slides = write_pictures(
        tmp_path / "a.mov", [solid(name, (64, 48)) for name in COLOURS], codec="png", pix_fmt="rgb24"
    )
    source = rewrite(slides, tmp_path / "slides.mov", stamps_ms=range(0, 80_000, 10_000), lasts_ms=[10_000] * 8)
    assert not cut(source, Segment(24.0, 33.0), tmp_path / "out.mp4")
    shown = _shown(tmp_path / "out.mp4")
    assert shown.colours == ["red", "green"]
    assert shown.times_s == pytest.approx([0.0, 6.0], abs=0.002)


def test_the_time_is_the_file_s_own(tmp_path: Path) -> None:
    times_s = [5 + k / 10 for k in range(120)]
    source = write_video(tmp_path / "five.mkv", _FOUR, options=_FEW_KEYS, times_s=times_s)
    assert not cut(source, Segment(2.5, 3.5), tmp_path / "out.mp4")
    assert _shown(tmp_path / "out.mp4").colours == ["red"] * 5 + ["green"] * 5


@pytest.mark.parametrize(
    ("size", "pixel_aspect", "expected"),
    [
        ((64, 48), None, (64, 48)),
        ((63, 47), None, (62, 46)),
        ((1, 1), None, (2, 2)),
        ((40, 40), Fraction(2), (80, 40)),
        ((40, 40), Fraction(1, 2), (40, 80)),
    ],
)
def test_what_is_encoded_has_even_sides_and_square_pixels(
    tmp_path: Path, size: tuple[int, int], pixel_aspect: Fraction | None, expected: tuple[int, int]
) -> None:
    pictures = [solid(name, size) for name in ("red", "blue") for _ in range(10)]
    options: dict[str, Any] = {"codec": "png", "pix_fmt": "rgb24"}
    source = write_pictures(tmp_path / "a.mov", pictures, pixel_aspect=pixel_aspect, **options)
    assert not cut(source, Segment(0.5, 1.5), tmp_path / "out.mp4")
    shown = _shown(tmp_path / "out.mp4")
    assert shown.size == expected
    assert shown.colours == ["red"] * 5 + ["blue"] * 5


@pytest.mark.parametrize(("size", "pix_fmt"), [((63, 47), "yuv444p"), ((64, 48), "yuv420p10le")])
def test_a_copy_keeps_the_picture_s_shape(tmp_path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    options = {"g": "10", "bf": "0"}
    source = write_video(tmp_path / "a.mp4", _FOUR, size=size, pix_fmt=pix_fmt, options=options)
    assert cut(source, Segment(6.0, 7.0), tmp_path / "out.mp4")
    shown = _shown(tmp_path / "out.mp4")
    assert shown.size == size
    assert shown.colours == ["blue"] * 10


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (90, [["green", "white"], ["red", "blue"]]),
        (180, [["white", "blue"], ["green", "red"]]),
        (270, [["blue", "red"], ["white", "green"]]),
    ],
)
@pytest.mark.parametrize("start_s", [0.0, 0.7])
def test_a_turned_video_is_cut_upright(
    tmp_path: Path, rotation: int, expected: list[list[str]], start_s: float
) -> None:
    picture = np.vstack(
        [np.hstack([solid(name, (24, 16)) for name in row]) for row in (("red", "green"), ("blue", "white"))]
    )
    options: dict[str, Any] = {"codec": "libx264", "pix_fmt": "yuv444p", "rotation": rotation}
    source = write_pictures(tmp_path / "a.mp4", [picture] * 20, **options)
    assert not cut(source, Segment(start_s, start_s + 1), tmp_path / "out.mp4")
    assert _shown(tmp_path / "out.mp4").size == ((32, 48) if rotation % 180 else (48, 32))
    assert _quarters(tmp_path / "out.mp4") == expected


# the sound


@pytest.mark.parametrize("sound_codec", ["aac", "flac", "pcm_s16le"])
@pytest.mark.parametrize(("options", "copied"), [(_KEYS | {"bf": "0"}, True), (_FEW_KEYS, False)])
def test_sound_stays_with_its_picture(tmp_path: Path, sound_codec: str, options: dict[str, str], copied: bool) -> None:
    source = _sounding_video(tmp_path / "a.mkv", ("black", "red"), options=options, sound_codec=sound_codec)
    assert cut(source, Segment(2.0, 4.0), tmp_path / "out.mp4") is copied
    assert _shown(tmp_path / "out.mp4").colours == ["black"] * 10 + ["red"] * 10
    assert _loud(tmp_path / "out.mp4") == ("aac", pytest.approx(1.0, abs=0.05), pytest.approx(2.0, abs=0.05))


@pytest.mark.parametrize("sound_codec", ["aac", "flac", "pcm_s16le"])
@pytest.mark.parametrize(("options", "copied"), [(_KEYS | {"bf": "0"}, True), (_FEW_KEYS, False)])
def test_sound_that_begins_late_does_in_the_cut(
    tmp_path: Path, sound_codec: str, options: dict[str, str], copied: bool
) -> None:
    source = _sounding_video(
        tmp_path / "a.mkv", ("red", "blue"), options=options, sound_codec=sound_codec, sound_from_s=2.5
    )
    assert cut(source, Segment(2.0, 4.0), tmp_path / "out.mp4") is copied
    assert _loud(tmp_path / "out.mp4") == ("aac", pytest.approx(0.5, abs=0.05), pytest.approx(2.0, abs=0.05))


def _sounding_video(path: Path, names: tuple[str, str], **options: Any) -> Path:
    """Three seconds of each colour, of which black is silent."""
    pictures = [solid(name, (64, 48)) for name in names for _ in range(30)]
    return write_pictures(path, pictures, codec="libx264", pix_fmt="yuv420p", sound=True, **options)


def _loud(path: Path) -> tuple[str, float, float]:
    """The codec of the sound, and when its loud part begins and ends."""
    loud_s = []
    with av.open(str(path)) as container:
        mono = AudioResampler(format="flt", layout="mono", rate=48_000)
        for frame in container.decode(audio=0):
            start_s = float(frame.pts * frame.time_base)
            for part in mono.resample(frame):
                loud_s += [start_s + n / 48_000 for n in np.flatnonzero(np.abs(part.to_ndarray()[0]) > 0.2)]
        return container.streams.audio[0].codec_context.name, min(loud_s), max(loud_s)


def test_no_sound_makes_none(tmp_path: Path) -> None:
    cut(write_video(tmp_path / "a.mp4", _FOUR, options=_FEW_KEYS), Segment(1.0, 2.0), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


# the target


def _no_video(path: Path) -> None:
    path.write_text("This is not a video.\n")


def _cut_off(path: Path) -> None:
    content = write_video(path, _FOUR).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _sound_alone(path: Path) -> None:
    write_sound(path, 5.0)


def _nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize("make", [_no_video, _cut_off, _sound_alone, _nothing])
@pytest.mark.parametrize("before", [None, b"an older cut"])
def test_a_source_that_cannot_be_read_leaves_the_target_as_it_was(
    tmp_path: Path, make: Callable[[Path], None], before: bytes | None
) -> None:
    source, folder = tmp_path / "source.mp4", tmp_path / "cuts"
    folder.mkdir()
    make(source)
    if before is not None:
        (folder / "out.mp4").write_bytes(before)
    with pytest.raises(VideoError) as caught:
        cut(source, Segment(1.0, 2.0), folder / "out.mp4")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert [path.read_bytes() for path in folder.iterdir()] == ([] if before is None else [before])


@pytest.mark.parametrize("options", [_KEYS, _FEW_KEYS])
@pytest.mark.parametrize("stretch", [Segment(12.0, 14.0), Segment(100.0, 101.0), Segment(3.0, 3.0)])
def test_a_stretch_without_frames_leaves_nothing(tmp_path: Path, options: dict[str, str], stretch: Segment) -> None:
    source, folder = write_video(tmp_path / "a.mp4", _FOUR, options=options), tmp_path / "cuts"
    folder.mkdir()
    with pytest.raises(VideoError, match="there are no frames in that stretch"):
        cut(source, stretch, folder / "out.mp4")
    assert list(folder.iterdir()) == []


def test_a_cut_replaces_an_older_one_and_leaves_no_draft(tmp_path: Path) -> None:
    source, folder = write_video(tmp_path / "a.mp4", _FOUR), tmp_path / "cuts"
    folder.mkdir()
    (folder / "out.mp4").write_bytes(b"an older cut")
    cut(source, Segment(4.0, 5.0), folder / "out.mp4")
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]
    assert set(_shown(folder / "out.mp4").colours) == {"green"}


def test_cuts_in_two_threads_keep_their_own_contents(tmp_path: Path) -> None:
    folder = tmp_path / "cuts"
    folder.mkdir()
    sources = {name: write_video(tmp_path / f"{name}.mp4", [(name, 2.0)]) for name in ("red", "blue")}
    both = threading.Barrier(2)

    def cut_often(name: str) -> None:
        for number in range(5):
            both.wait(60)
            cut(sources[name], Segment(0.5, 1.5), folder / f"{name}{number}.mp4")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(cut_often, sources))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}{number}.mp4" for name in sources for number in range(5)
    )
    for path in folder.iterdir():
        assert set(_shown(path).colours) == {path.stem[:-1]}


def test_a_cut_may_take_the_place_of_its_source(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", _FOUR, options=_FEW_KEYS)
    cut(source, Segment(7.0, 8.0), source)
    assert _shown(source).colours == ["blue"] * 10
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nowhere/out.mp4", "no such file or directory"),
        ("a.mp4/out.mp4", "not a directory"),
        ("folder", "is a directory"),
    ],
)
def test_a_target_that_cannot_be_says_why(tmp_path: Path, target: str, reason: str) -> None:
    source = write_video(tmp_path / "a.mp4", _FOUR)
    (tmp_path / "folder").mkdir()
    with pytest.raises(VideoError) as caught:
        cut(source, Segment(1.0, 2.0), tmp_path / target)
    assert str(caught.value) == f"it cannot be cut ({reason})"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.mp4", "folder"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everyone can reach, which tmp_path is not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_refuses_to_be_written_gets_nothing(
    open_folder: Path, unprivileged: Callable[[], AbstractContextManager[None]], mode: int
) -> None:
    source, folder = write_video(open_folder / "a.mp4", _FOUR), open_folder / "cuts"
    folder.mkdir()
    folder.chmod(mode)
    with unprivileged(), pytest.raises(VideoError) as caught:
        cut(source, Segment(1.0, 2.0), folder / "out.mp4")
    folder.chmod(0o755)
    assert str(caught.value) == "it cannot be cut (permission denied)"
    assert list(folder.iterdir()) == []


def test_two_threads_that_cut_into_one_folder_get_each_their_own(tmp_path: Path) -> None:
    sources = [write_video(tmp_path / f"{name}.mp4", [(name, 2.0)], options=_FEW_KEYS) for name in ("red", "blue")]
    folder = tmp_path / "cuts"
    folder.mkdir()
    with ThreadPoolExecutor(4) as pool:
        cuts = [
            pool.submit(cut, source, Segment(0.5, 1.5), folder / f"{number}-{source.name}")
            for number in range(6)
            for source in sources
        ]
    assert not any(one.result() for one in cuts)  # encoded
    assert len(list(folder.iterdir())) == 12
    for path in folder.iterdir():
        assert set(_shown(path).colours) == {path.stem[2:]}
