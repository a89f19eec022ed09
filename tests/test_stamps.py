"""Whose clock is believed: holds, jumps, resets and broken stamps, container by container."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from make_videos import COLOURS, rewrite, shifted, solid, write_pictures, write_video
from numpy.typing import NDArray

from cezsar.types import Segment
from cezsar.video.browser import still
from cezsar.video.cut import cut
from cezsar.video.frames import Video

_INDEXED = [".mp4", ".mov", ".mkv", ".webm", ".flv"]
_BROADCAST = [".ts", ".mpg", ".vob"]
_WRAP_S = 2**33 / 90_000  # where the clock of MPEG-TS and MPEG-PS begins again
_HOLD_S = [k / 10 for k in range(10)] + [720 + k / 10 for k in range(10)]


def _codec(suffix: str) -> str:
    return {".webm": "libvpx", ".mpg": "mpeg2video", ".vob": "mpeg2video"}.get(suffix, "libx264")


def _colour(pixels: NDArray[np.uint8]) -> str:
    mean = pixels.mean(axis=(0, 1))
    return min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())


def _times(path: Path) -> list[float]:
    """Each frame's time."""
    with Video(path) as video:
        return [round(time_s, 3) for _, time_s, _ in video.spans()]


def _grid(path: Path, *, fps: float) -> list[tuple[str, int]]:
    """The colours on the grid, each with how many of its times it has; read as an index reads it."""
    runs: list[tuple[str, int]] = []
    with Video(path) as video:
        for batch in video.sample(fps=fps, short_side=16, batch_size=4):
            for frame, repeat in zip(batch.frames_uint8, batch.repeats, strict=True):
                colour = _colour(frame.transpose(1, 2, 0))
                before = runs.pop()[1] if runs and runs[-1][0] == colour else 0
                runs.append((colour, before + int(repeat)))
        assert video.shortfall is None
    return runs


def _shown(path: Path, time_s: float) -> str:
    """The colour of the picture of a time."""
    target = path.with_suffix(".jpg")
    still(path, time_s, target, width=64)
    with av.open(str(target)) as container:
        return _colour(next(container.decode(video=0)).to_ndarray(format="rgb24"))


def _part(folder: Path, suffix: str, colour: str, start_s: float, *, seconds: float = 1.0, **options: Any) -> Path:
    """A recording of one colour, 25 frames a second, whose clock begins at a time."""
    source = write_video(
        folder / f"{colour}.mp4", [(colour, seconds)], fps=25, codec=_codec(suffix), options={"g": "1000"}, **options
    )
    return shifted(source, folder / f"{colour}{suffix}", start_s)


def _joined(folder: Path, suffix: str, jump_s: float) -> Path:
    """A second of red from 4000 s of the file's clock on, and a second of blue, by jump_s later than it should be."""
    red, blue = _part(folder, suffix, "red", 4000.0), _part(folder, suffix, "blue", 4001.0 + jump_s)
    path = folder / f"joined{suffix}"
    path.write_bytes(red.read_bytes() + blue.read_bytes())
    return path


def _write_avi(path: Path, shown: dict[int, str], *, fps: int) -> Path:
    """An AVI file, which fills what lies between two frames with empty ones; shown is the colour from a frame on."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=fps, width=64, height=48, pix_fmt="yuv420p")
        for number, colour in shown.items():
            frame = VideoFrame.from_ndarray(solid(colour, (64, 48)), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


# a container that says when each frame is shown is believed


@pytest.mark.parametrize("suffix", _INDEXED)
def test_a_picture_may_be_held_for_twelve_minutes(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"a{suffix}", [("red", 1), ("blue", 1)], codec=_codec(suffix), times_s=_HOLD_S)
    assert _times(path) == _HOLD_S
    assert _grid(path, fps=2) == [("red", 1440), ("blue", 2)]
    assert [_shown(path, time_s) for time_s in (0.5, 500, 719.9, 720.5)] == ["red", "red", "red", "blue"]


def test_a_picture_may_be_held_in_avi(tmp_path: Path) -> None:
    shown = {number: "red" if number < 10 else "blue" for number in [*range(10), *range(7200, 7210)]}
    path = _write_avi(tmp_path / "a.avi", shown, fps=10)
    assert _grid(path, fps=2) == [("red", 1440), ("blue", 2)]


def test_a_live_recording_that_claims_no_duration_may_hold_a_picture(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "a.webm", [("red", 1), ("blue", 1)], codec="libvpx", times_s=_HOLD_S, options={"g": "5"}
    )
    path = rewrite(source, tmp_path / "live.webm", options={"live": "1"})
    with av.open(str(path)) as container:
        assert container.duration is None
    assert _times(path) == _HOLD_S
    assert _grid(path, fps=2) == [("red", 1440), ("blue", 2)]


def test_a_fragmented_file_may_hold_a_picture(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [("red", 1), ("blue", 1)], times_s=_HOLD_S, options={"g": "5"})
    path = rewrite(
        source, tmp_path / "fragments.mp4", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    )
    assert _grid(path, fps=2) == [("red", 1440), ("blue", 2)]


@pytest.mark.parametrize("suffix", _INDEXED)
def test_a_frame_every_quarter_of_an_hour(tmp_path: Path, suffix: str) -> None:
    codec, times_s = _codec(suffix), [900.0 * k for k in range(11)]
    options = {"bf": "0"} if suffix == ".flv" else {}  # it cannot say how far apart these would be
    path = write_video(
        tmp_path / f"a{suffix}", [("red", 0.4), ("blue", 0.7)], codec=codec, times_s=times_s, options=options
    )
    assert _times(path) == times_s
    assert _grid(path, fps=0.01)[0] == ("red", 36)
    assert [_shown(path, time_s) for time_s in (0, 3599, 3601, 8999)] == ["red", "red", "blue", "blue"]


def test_a_frame_every_quarter_of_an_hour_in_avi(tmp_path: Path) -> None:
    path = _write_avi(tmp_path / "a.avi", {900 * k: "red" if k < 4 else "blue" for k in range(11)}, fps=1)
    assert _times(path) == [900.0 * k for k in range(11)]


@pytest.mark.parametrize("jump_s", [25.0, 240.0])
@pytest.mark.parametrize("suffix", _INDEXED)
def test_a_jump_ahead_is_a_hold(tmp_path: Path, suffix: str, jump_s: float) -> None:
    times_s = [k / 10 for k in range(10)] + [1 + jump_s + k / 10 for k in range(10)]
    path = write_video(tmp_path / f"a{suffix}", [("red", 1), ("blue", 1)], codec=_codec(suffix), times_s=times_s)
    assert _times(path) == [round(time_s, 3) for time_s in times_s]
    assert _grid(path, fps=2) == [("red", 2 + 2 * int(jump_s)), ("blue", 2)]


# a clock that starts anew


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".flv"])
@pytest.mark.parametrize("start_s", [0.0, 3600.0])
def test_after_a_reset_frames_keep_their_own_distances(tmp_path: Path, suffix: str, start_s: float) -> None:
    """Two recordings in one file, of which the second begins at 0 again, or an hour before the first."""
    uneven_s = [0.0, 0.1, 0.2, 0.7, 0.8, 2.0, 2.1, 2.2]
    options = {"bf": "0"} if _codec(suffix) == "libx264" else {}
    parts = []
    for colour, begin_s in (("red", start_s), ("blue", 0.0)):
        source = write_video(
            tmp_path / f"{colour}.mkv", [(colour, 0.8)], codec=_codec(suffix), times_s=uneven_s, options=options
        )
        parts.append(shifted(source, tmp_path / f"{colour}{suffix}", begin_s).read_bytes())
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(parts[0] + (parts[1][13:] if suffix == ".flv" else parts[1]))  # without a second header
    times_s = _times(path)
    assert times_s[:8] == uneven_s
    assert 2.2 < times_s[8] <= 2.7
    assert [time_s - times_s[8] for time_s in times_s[8:]] == pytest.approx(uneven_s, abs=2e-3)
    assert _grid(path, fps=2)[0][0] == "red"
    assert [_shown(path, time_s) for time_s in (0.1, 2.2, 2.8, 4.5)] == ["red", "red", "blue", "blue"]


@pytest.mark.parametrize("suffix", _BROADCAST)
@pytest.mark.parametrize("jump_s", [25.0, 240.0, -3600.0, 718.0, -_WRAP_S])
def test_joined_broadcasts_follow_one_another(tmp_path: Path, suffix: str, jump_s: float) -> None:
    """FFmpeg's command line gives 0, 0.04 ... 1.96 for all of these."""
    path = _joined(tmp_path, suffix, jump_s % _WRAP_S if jump_s == -_WRAP_S else jump_s)
    assert _times(path) == [round(k / 25, 3) for k in range(50)]
    assert _grid(path, fps=10) == [("red", 10), ("blue", 10)]
    assert [_shown(path, time_s) for time_s in (0.0, 0.9, 1.1, 1.9, 300)] == ["red", "red", "blue", "blue", "blue"]


@pytest.mark.parametrize("suffix", _BROADCAST)
@pytest.mark.parametrize("bf", ["0", "2"])
def test_a_broadcast_clock_may_wrap(tmp_path: Path, suffix: str, bf: str) -> None:
    source = write_video(
        tmp_path / "a.mp4", [("red", 1), ("blue", 1)], fps=25, codec=_codec(suffix), options={"bf": bf}
    )
    path = shifted(source, tmp_path / f"a{suffix}", _WRAP_S - 0.5)
    assert _times(path) == [round(k / 25, 3) for k in range(50)]
    assert _grid(path, fps=10) == [("red", 10), ("blue", 10)]


@pytest.mark.parametrize("suffix", _BROADCAST)
def test_a_silence_in_one_broadcast_is_none(tmp_path: Path, suffix: str) -> None:
    """No new key frame, and over ten seconds: FFmpeg's command line lets one frame follow the other."""
    source = write_video(
        tmp_path / "a.mkv", [("red", 0.4), ("blue", 0.4)], fps=25, codec=_codec(suffix), options={"bf": "0"}
    )
    stamps_ms = [40 * k + (720_000 if k >= 10 else 0) for k in range(20)]
    path = rewrite(source, tmp_path / f"a{suffix}", stamps_ms=stamps_ms)
    assert _times(path) == [round(k / 25, 3) for k in range(20)]


def test_a_silence_of_five_seconds_is_one_in_a_broadcast_too(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", [("red", 0.4), ("blue", 0.4)], fps=25, options={"bf": "0"})
    path = rewrite(source, tmp_path / "a.ts", stamps_ms=[40 * k + (5_000 if k >= 10 else 0) for k in range(20)])
    assert _times(path) == [round(k / 25 + (5 if k >= 10 else 0), 3) for k in range(20)]


def test_stamps_that_are_reordered_over_a_jump_give_no_still(tmp_path: Path) -> None:
    """A recording with B-frames that holds a picture: in a transport stream one frame follows the other."""
    source = write_video(tmp_path / "a.mp4", [("red", 1), ("blue", 1)], times_s=_HOLD_S)
    path = rewrite(source, tmp_path / "a.ts")
    with Video(path) as video:
        assert len(list(video.spans())) == 20
        assert video.duration_s == pytest.approx(2.0, abs=0.15)


# a stamp that is broken


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".flv"])
def test_a_stamp_far_beyond_what_the_container_claims_is_broken(tmp_path: Path, suffix: str) -> None:
    times_s = [k / 10 for k in range(10)] + [1000 + k / 10 for k in range(10)]
    path = write_video(
        tmp_path / f"a{suffix}", [("red", 1), ("blue", 1)], times_s=times_s, options={"bf": "0", "g": "10"}
    )
    _claim_two_seconds(path)
    with av.open(str(path)) as container:
        assert container.duration == 2_000_000
    assert _grid(path, fps=10) == [("red", 10), ("blue", 10)]


def _claim_two_seconds(path: Path) -> None:
    """Let a file say that it lasts 2 s, whatever its stamps say."""
    content = path.read_bytes()
    if path.suffix == ".mkv":
        at = content.index(b"\x44\x89\x88") + 3
        content = content[:at] + np.array(2000, ">f8").tobytes() + content[at + 8 :]
        content = content.replace(b"00:16:41.0", b"00:00:02.0")
    elif path.suffix == ".flv":
        at = content.index(b"duration\0") + 9
        content = content[:at] + np.array(2.0, ">f8").tobytes() + content[at + 8 :]
    else:
        for box in (b"mvhd", b"tkhd", b"mdhd"):
            at = content.index(box) + (20 if box == b"mvhd" else 24 if box == b"tkhd" else 20)
            scale = 1000 if box != b"mdhd" else int.from_bytes(content[at - 4 : at], "big")
            content = content[:at] + (2 * scale).to_bytes(4, "big") + content[at + 4 :]
    path.write_bytes(content)


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_a_stamp_that_stands_alone_is_broken(tmp_path: Path, codec: str) -> None:
    pixels = {"pix_fmt": "bgr0"} if codec == "ffv1" else {"options": {"bf": "0"}}
    source = write_video(tmp_path / "a.mkv", [("red", 1), ("blue", 1)], codec=codec, **pixels)
    path = rewrite(source, tmp_path / "odd.mkv", stamps_ms=[100 * k if k != 7 else 600_000 for k in range(20)])
    assert _times(path) == [k / 10 for k in range(20)]
    assert _grid(path, fps=10) == [("red", 10), ("blue", 10)]


# cutting a file whose clock jumps


@pytest.mark.parametrize("jump_s", [240.0, -3600.0])
@pytest.mark.parametrize("suffix", _BROADCAST)
def test_a_cut_of_joined_broadcasts_has_the_right_picture_and_sound(tmp_path: Path, suffix: str, jump_s: float) -> None:
    """Two seconds of sound and red, two of silence and black, joined: FFmpeg's command line shows four seconds."""
    parts = []
    for number, (colour, start_s) in enumerate((("red", 4000.0), ("black", 4002.0 + jump_s))):
        source = write_pictures(
            tmp_path / f"{number}.mp4", [solid(colour, (64, 48))] * 50, fps=25, codec=_codec(suffix),
            pix_fmt="yuv420p", options={"g": "25"}, sound=True, sound_codec="mp2",
        )  # fmt: skip
        parts.append(shifted(source, tmp_path / f"{number}{suffix}", start_s).read_bytes())
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(b"".join(parts))
    cut(path, Segment(1.3, 3.3), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        pictures = [_colour(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert abs(pictures.count("red") - 18) <= 1
    assert abs(pictures.count("black") - 32) <= 1
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = [(frame.time, np.abs(frame.to_ndarray()).max()) for frame in container.decode(audio=0)]
    assert frames[0][0] == pytest.approx(0.0, abs=0.05)
    assert max(time_s for time_s, level in frames if level > 0.2) == pytest.approx(0.7, abs=0.08)
    assert frames[-1][0] == pytest.approx(2.0, abs=0.08)
