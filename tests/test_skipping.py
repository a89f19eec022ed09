"""Leaving out what no wanted frame needs changes no frame, whatever depends on what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_videos import rewrite, write_pictures
from numpy.typing import NDArray

from cezsar.video import FrameBatch
from cezsar.video.frames import Video

_GRIDS = [0.5, 1.0, 2.0, 7.3, 60.0]
_SIZE = (48, 32)


@dataclass(frozen=True)
class _Read:
    frames: NDArray[np.uint8]
    times_s: list[float]
    repeats: list[int]
    duration_s: float | None
    shortfall: str | None

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, _Read)
        mine = (self.times_s, self.repeats, self.duration_s, self.shortfall)
        return mine == (other.times_s, other.repeats, other.duration_s, other.shortfall) and np.array_equal(
            self.frames, other.frames
        )


@contextmanager
def _open(path: Path, num_threads: int) -> Iterator[Video]:
    with Video(path) as video:
        video.stream.codec_context.thread_count = num_threads
        yield video


def _sampled(path: Path, fps: float, num_threads: int = 0) -> _Read:
    with _open(path, num_threads) as video:
        batches: list[FrameBatch] = list(video.sample(fps=fps, short_side=_SIZE[1], batch_size=7))
        return _Read(
            np.concatenate([batch.frames_uint8 for batch in batches]),
            [float(time_s) for batch in batches for time_s in batch.times_s],
            [int(repeat) for batch in batches for repeat in batch.repeats],
            video.duration_s,
            video.shortfall,
        )


def _reference(path: Path, fps: float) -> _Read:
    """What decoding every frame and looking at every time of the grid gives."""
    with Video(path) as video:
        spans = [(_pixels(frame), time_s) for frame, time_s, _ in video.spans()]
        duration_s, shortfall = video.duration_s, video.shortfall
    assert duration_s is not None
    chosen: list[int] = []
    while not chosen or len(chosen) / fps < duration_s - 1e-6:
        chosen.append(max((i for i, (_, time_s) in enumerate(spans) if time_s - 1e-6 <= len(chosen) / fps), default=0))
    distinct = sorted(set(chosen))
    return _Read(
        np.stack([spans[number][0] for number in distinct]),
        [spans[number][1] for number in distinct],
        [chosen.count(number) for number in distinct],
        duration_s,
        shortfall,
    )


def _pixels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    scaled = frame.reformat(_SIZE[0], _SIZE[1], "rgb24", interpolation=Interpolation.BICUBIC)
    return np.ascontiguousarray(scaled.to_ndarray().transpose(2, 0, 1))


def _pictures(count: int, scale: int) -> Iterator[NDArray[np.uint8]]:
    """A texture that moves, over one that stands still and changes its light: any wrong reference shows."""
    random = np.random.default_rng(0)
    moving, still = (random.integers(0, 256, (8, 12, 3)).repeat(4, 0).repeat(4, 1) for _ in range(2))
    for number in range(count):
        picture = still // 2 + number % 40
        picture[8:24] = np.roll(moving, (number, 2 * number), (0, 1))[8:24]
        yield picture.astype(np.uint8).repeat(scale, 0).repeat(scale, 1)


def _write(
    path: Path, count: int, *, codec: str = "libx264", options: str = "", times_s: list[float] | None = None
) -> Path:
    """Options are the encoder's own, as 'keyint=10:bframes=3'."""
    named = dict(option.split("=") for option in options.split(":") if option)
    if codec in ("libx264", "libx265"):
        quiet = ["log-level=none"] if codec == "libx265" else []
        named = {f"{codec.removeprefix('lib')}-params": ":".join([*options.split(":"), *quiet]).strip(":")}
    pictures = _pictures(count, scale=4 if codec == "libx265" else 1)  # it writes past its memory for tiny ones
    pix_fmt = {"prores_ks": "yuv422p10le"}.get(codec, "yuv420p")
    return write_pictures(path, pictures, codec=codec, pix_fmt=pix_fmt, fps=20, times_s=times_s, options=named)


def _num_decoded(path: Path, fps: float | None) -> int:
    with Video(path) as video:
        return sum(1 for _ in video.spans(fps=fps))


_CLOSED = "keyint=12:min-keyint=12:bframes=3:b-adapt=0"
_SHORT = "keyint=10:min-keyint=10:bframes=3:b-adapt=0"
_KINDS = {  # name of the file, codec, options
    "default": ("a.mp4", "libx264", ""),
    "fixed B-frames": ("a.mp4", "libx264", "bframes=3:b-adapt=0"),
    "no B-frames": ("a.mp4", "libx264", "bframes=0:keyint=12"),
    "key frames alone": ("a.mp4", "libx264", "keyint=1"),
    "short GOP": ("a.mp4", "libx264", _SHORT),
    "GOP 12": ("a.mp4", "libx264", _CLOSED),
    "GOP 12 in TS": ("a.ts", "libx264", _CLOSED),
    "GOP 12 in MKV": ("a.mkv", "libx264", _CLOSED),
    "GOP 12 in FLV": ("a.flv", "libx264", _CLOSED),
    "long GOP": ("a.mkv", "libx264", "keyint=250:bframes=8:b-adapt=0:ref=6:scenecut=0"),
    "flat B-frames": ("a.mp4", "libx264", "keyint=30:bframes=4:b-adapt=0:b-pyramid=none"),
    "strict pyramid": ("a.mp4", "libx264", "keyint=30:bframes=7:b-adapt=0:b-pyramid=strict"),
    "open GOP": ("a.mp4", "libx264", f"{_SHORT}:open-gop=1"),
    "open GOP in TS": ("a.ts", "libx264", f"{_SHORT}:open-gop=1"),
    "intra refresh": ("a.mkv", "libx264", "keyint=20:intra-refresh=1:bframes=2:b-adapt=0"),
    "interlaced": ("a.mp4", "libx264", "interlaced=1:bframes=3:b-adapt=0:keyint=20"),
    "many slices": ("a.ts", "libx264", f"{_SHORT}:slices=2:aud=1"),
    "HEVC": ("a.mp4", "libx265", "b-adapt=0:bframes=4"),
    "HEVC in TS": ("a.ts", "libx265", f"{_SHORT}:open-gop=0"),
    "HEVC, closed": ("a.mkv", "libx265", f"{_SHORT}:open-gop=0"),
    "HEVC, open": ("a.mp4", "libx265", f"{_CLOSED}:open-gop=1"),
    "HEVC, RADL": ("a.mp4", "libx265", f"{_CLOSED}:open-gop=0:radl=2"),
    "HEVC, layers": ("a.mp4", "libx265", "temporal-layers=3:b-adapt=0:bframes=7"),
    "MPEG-2": ("a.ts", "mpeg2video", "bf=2:g=12"),
    "MPEG-2 in MKV": ("a.mkv", "mpeg2video", "bf=2:g=12"),
    "MPEG-4": ("a.mp4", "mpeg4", "bf=2:g=12"),
    "VP9": ("a.webm", "libvpx-vp9", "g=12:deadline=realtime:cpu-used=8"),
    "AVI": ("a.avi", "libx264", _CLOSED),
    "AVI without B-frames": ("a.avi", "libx264", "bframes=0:keyint=12"),
    "no times": ("a.h264", "libx264", _CLOSED),
    "ProRes": ("a.mov", "prores_ks", ""),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Seven seconds of each kind; what is not asked for is not made."""
    folder = tmp_path_factory.mktemp("kinds")

    class Made(dict[str, Path]):
        def __missing__(self, kind: str) -> Path:
            name, codec, options = _KINDS[kind]
            inside = folder / str(len(self))
            inside.mkdir()
            self[kind] = _write(inside / name, 140, codec=codec, options=options)
            return self[kind]

    return Made()


@pytest.mark.parametrize("fps", _GRIDS)
@pytest.mark.parametrize("kind", list(_KINDS))
def test_the_frames_are_those_of_decoding_all(made: dict[str, Path], kind: str, fps: float) -> None:
    assert _sampled(made[kind], fps) == _reference(made[kind], fps)


@pytest.mark.parametrize("num_threads", [1, 2, 8])
@pytest.mark.parametrize("kind", ["fixed B-frames", "short GOP", "HEVC, closed", "MPEG-2"])
def test_the_number_of_threads_changes_nothing(made: dict[str, Path], kind: str, num_threads: int) -> None:
    assert _sampled(made[kind], 2.0, num_threads) == _reference(made[kind], 2.0)


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("fixed B-frames", 0.8),
        ("short GOP", 0.6),
        ("key frames alone", 0.6),
        ("GOP 12 in TS", 0.8),
        ("open GOP", 0.8),
        ("HEVC", 0.9),
        ("HEVC, closed", 0.6),
        ("MPEG-2 in MKV", 0.7),
        ("ProRes", 0.3),
    ],
)
def test_much_is_not_decoded(made: dict[str, Path], kind: str, most: float) -> None:
    """Some at the beginning and the end is, though nothing needs it."""
    assert _num_decoded(made[kind], 2.0) <= most * _num_decoded(made[kind], None)


@pytest.mark.parametrize("kind", ["VP9", "MPEG-4", "AVI", "no times"])
def test_where_too_little_is_known_all_is_decoded(made: dict[str, Path], kind: str) -> None:
    assert _num_decoded(made[kind], 0.5) == _num_decoded(made[kind], None)


def test_a_short_gop_between_two_times_is_left_out_whole(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.mp4", 400, options="keyint=5:min-keyint=5")
    assert _num_decoded(path, 0.5) < 100
    assert _sampled(path, 0.5) == _reference(path, 0.5)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_structure_gives_the_same_frames(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from([".mp4", ".mkv", ".ts"]))
    gop = data.draw(st.sampled_from([1, 2, 5, 12, 40, 250]))
    pyramid = data.draw(st.sampled_from(["none", "strict", "normal"]))
    options = (
        f"keyint={gop}:min-keyint={data.draw(st.integers(1, max(1, gop // 2)))}:open-gop={data.draw(st.integers(0, 1))}"
        f":bframes={data.draw(st.integers(0, 8))}:b-adapt={data.draw(st.integers(0, 2))}:b-pyramid={pyramid}"
        f":ref={data.draw(st.integers(1, 6))}"
    )
    times_s = None
    count = data.draw(st.integers(1, 160))
    if data.draw(st.booleans()):
        lasts_ms = data.draw(st.lists(st.integers(10, 400), min_size=count, max_size=count))
        times_s = [ms / 1000 for ms in accumulate(lasts_ms)]
    fps = data.draw(st.sampled_from(_GRIDS))
    path = _write(tmp_path_factory.mktemp("any") / f"a{suffix}", count, options=options, times_s=times_s)
    assert _sampled(path, fps, data.draw(st.sampled_from([1, 3]))) == _reference(path, fps)


@pytest.mark.parametrize("fps", _GRIDS)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_times_may_be_uneven(tmp_path: Path, codec: str, fps: float) -> None:
    times_s = list(accumulate(0.02 + 0.3 * (number % 7 == 0) + 2 * (number % 50 == 49) for number in range(140)))
    path = _write(tmp_path / "a.mkv", 140, codec=codec, times_s=times_s)
    assert _sampled(path, fps) == _reference(path, fps)


def _shifted(source: Path, target: Path, shift: int, **options: str) -> Path:
    """A copy of which all stamps are shifted, by a number of units of the source."""
    with av.open(str(source)) as container, av.open(str(target), "w", options=options) as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                out.mux(packet)
    return target


@pytest.mark.parametrize("fps", _GRIDS)
@pytest.mark.parametrize("shift_s", [-1.23, -0.7, 0.31, 5.0])
def test_a_file_may_begin_early_or_late(made: dict[str, Path], tmp_path: Path, shift_s: float, fps: float) -> None:
    source = made["GOP 12"]
    with av.open(str(source)) as container:
        shift = round(shift_s / float(container.streams.video[0].time_base or 1))
    path = _shifted(source, tmp_path / "a.mp4", shift, avoid_negative_ts="disabled")
    if shift_s < 0:
        with av.open(str(path)) as container:
            assert any(packet.is_discard for packet in container.demux(video=0))
    assert _sampled(path, fps) == _reference(path, fps)


@pytest.mark.parametrize("fps", [1.0, 7.3])
@pytest.mark.parametrize("cut", [0.1, 0.45, 0.8])
def test_a_recording_may_begin_anywhere(made: dict[str, Path], tmp_path: Path, cut: float, fps: float) -> None:
    for kind in ("GOP 12 in TS", "open GOP in TS", "HEVC in TS", "MPEG-2"):
        content = made[kind].read_bytes()
        path = tmp_path / "cut.ts"
        path.write_bytes(content[round(cut * len(content)) // 188 * 188 :])
        assert _sampled(path, fps) == _reference(path, fps), kind


@pytest.mark.parametrize("share", [0.3, 0.61, 0.95])
@pytest.mark.parametrize("kind", ["GOP 12 in TS", "GOP 12 in MKV", "GOP 12", "HEVC, closed"])
def test_a_truncated_file_gives_the_same(made: dict[str, Path], tmp_path: Path, kind: str, share: float) -> None:
    source = made[kind]
    if source.suffix == ".mp4":
        source = rewrite(source, tmp_path / "fast.mp4", options={"movflags": "faststart"})
    path = tmp_path / f"short{source.suffix}"
    path.write_bytes(source.read_bytes()[: int(source.stat().st_size * share)])
    for fps in _GRIDS:
        assert _sampled(path, fps) == _reference(path, fps)


@pytest.mark.parametrize("kind", ["GOP 12 in TS", "HEVC in TS"])
def test_two_recordings_in_one_file_give_the_same(made: dict[str, Path], tmp_path: Path, kind: str) -> None:
    path = tmp_path / "joined.ts"
    path.write_bytes(2 * made[kind].read_bytes())
    for fps in _GRIDS:
        assert _sampled(path, fps) == _reference(path, fps)


def _restamped(source: Path, target: Path, stamps: dict[int, int | None]) -> Path:
    """A copy in which the packets of some numbers have another PTS, in frames; None takes two packets' for one."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        before = 0
        for number, packet in enumerate(p for p in container.demux(video=0) if p.pts is not None):
            stamp = stamps.get(number, round(packet.pts * packet.time_base * 20))
            before = before if stamp is None else stamp
            packet.pts, packet.dts, packet.time_base = 1000 * before, number, Fraction(1, 20_000)
            packet.stream = stream
            out.mux(packet)
    return target


@pytest.mark.parametrize("fps", [1.0, 2.0, 7.3])
@pytest.mark.parametrize(
    "stamps", [{70: None}, {70: 40}, {70: 20_000}, {number: 20_000 + number for number in range(70, 140)}]
)
def test_stamps_that_are_odd_from_somewhere_on_give_the_same(
    made: dict[str, Path], tmp_path: Path, stamps: dict[int, int | None], fps: float
) -> None:
    path = _restamped(made["no B-frames"], tmp_path / "odd.mkv", stamps)
    assert _sampled(path, fps) == _reference(path, fps)
    assert _num_decoded(path, fps) < 140


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(["GOP 12 in MKV", "long GOP", "GOP 12 in TS", "HEVC, closed"]),
    at=st.floats(0.15, 0.85),
    size=st.integers(1, 300),
    fps=st.sampled_from([1.0, 2.0, 7.3]),
)
def test_damage_costs_little(
    made: dict[str, Path], tmp_path: Path, kind: str, at: float, size: int, fps: float
) -> None:
    """An earlier frame may stand in for one that cannot be decoded, in either reading, and a damaged one may look
    otherwise."""
    content = bytearray(made[kind].read_bytes())
    begin = int(at * len(content))
    content[begin : begin + size] = bytes(255 - byte for byte in content[begin : begin + size])
    path = tmp_path / f"damaged{made[kind].suffix}"
    path.write_bytes(content)
    read, whole = _sampled(path, fps), _reference(path, fps)
    assert (read.duration_s, read.shortfall) == (whole.duration_s, whole.shortfall)
    times_s, expected_s = (np.repeat(one.times_s, one.repeats) for one in (read, whole))
    assert len(times_s) == len(expected_s)
    assert (times_s <= np.arange(len(times_s)) / fps + 1e-6).all()
    assert np.abs(expected_s - times_s).max() < 1 / fps + 0.2


@pytest.mark.parametrize("kind", ["long GOP", "GOP 12 in TS", "HEVC, closed", "MPEG-2"])
def test_little_waits_in_memory(made: dict[str, Path], monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("cezsar.video.skipping._MOST_PACKETS", 60)
    assert _sampled(made[kind], 0.05) == _reference(made[kind], 0.05)
    assert _num_decoded(made[kind], 0.05) < 140
    monkeypatch.setattr("cezsar.video.skipping._MOST_BYTES", 20)
    assert _sampled(made[kind], 2.0) == _reference(made[kind], 2.0)
