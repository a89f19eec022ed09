"""Frames become segments' vectors as promised: against an oracle that decodes everything and keeps it all."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable, Generator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_videos import COLOURS, write_video
from numpy.typing import NDArray

from cezsar import indexer
from cezsar.digest import sha256
from cezsar.encoders.toy import Toy
from cezsar.errors import VideoError
from cezsar.indexer import embedding
from cezsar.store import Embedding, File
from cezsar.types import Limits, Sampling, Segment, Vectors
from cezsar.video import Pool
from cezsar.video.frames import Video

_RED, _BLUE = np.eye(8, dtype=np.float32)[[list(COLOURS).index(name) for name in ("red", "blue")]]
_MIXED: list[tuple[str, float]] = [(random.Random(n).choice(list(COLOURS)), 0.1) for n in range(33)]


def _oracle(path: Path, *, fps: Fraction, window_s: Fraction, stride_s: Fraction) -> tuple[float, list[Segment], Any]:
    """Duration, segments and (N, 8) float64 unit vectors, in exact arithmetic, from all frames at once."""
    frames: list[tuple[Fraction, Any]] = []
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        for frame in container.decode(video=0):
            time_s, lasts_s = frame.pts * frame.time_base, frame.duration * frame.time_base
            frames.append((time_s, Toy().encode_frames(frame.to_ndarray(format="rgb24").transpose(2, 0, 1)[None])[0]))
    start_s = frames[0][0]
    duration_s = frames[-1][0] - start_s + (lasts_s or 1 / rate)

    def shown(step: int) -> Any:
        return [feature for time_s, feature in frames if time_s - start_s <= step / fps][-1]

    segments, vectors = [], []
    for k in range(10**6):
        begin_s, end_s = k * stride_s, min(k * stride_s + window_s, duration_s)
        steps = [step for step in range(int(end_s * fps) + 2) if begin_s <= step / fps < end_s]
        before = [step for step in range(int(end_s * fps) + 2) if step / fps < begin_s]
        mean = np.mean([shown(step) for step in steps or before[-1:]], axis=0, dtype=np.float64)
        segments.append(Segment(float(begin_s), float(end_s)))
        vectors.append(mean / np.linalg.norm(mean))
        if begin_s + window_s >= duration_s or begin_s + stride_s >= duration_s:
            break
    return float(duration_s), segments, np.array(vectors)


def _check(path: Path, fps: Fraction, window_s: Fraction, stride_s: Fraction) -> None:
    result = indexer.embed(path, Toy(), Sampling(float(fps), float(window_s), float(stride_s)), batch_size=3)
    duration_s, segments, vectors = _oracle(path, fps=fps, window_s=window_s, stride_s=stride_s)
    assert [s.start_s for s in result.segments] == pytest.approx([s.start_s for s in segments], abs=1e-6)
    assert [s.end_s for s in result.segments] == pytest.approx([s.end_s for s in segments], abs=1e-6)
    assert result.duration_s == pytest.approx(duration_s, abs=1e-6)
    assert result.vectors.dtype == np.float32
    np.testing.assert_allclose(result.vectors, vectors, atol=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedding")


@pytest.fixture(scope="module")
def mixed(folder: Path) -> Path:
    """3.3 s at 10 frames/s, a colour drawn for each frame: a segment's vector tells which frames are in it."""
    return write_video(folder / "mixed.mp4", _MIXED)


def test_a_segment_is_the_mean_of_its_frames(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [("red", 2.0), ("blue", 2.0)])
    result = indexer.embed(video, Toy(), Sampling(fps=2.0, window_s=2.0, stride_s=1.0))
    assert result.duration_s == 4.0
    assert result.segments == (Segment(0.0, 2.0), Segment(1.0, 3.0), Segment(2.0, 4.0))
    assert result.runs == (0, 1, 2)
    np.testing.assert_allclose(result.vectors, [_RED, (_RED + _BLUE) / np.sqrt(2), _BLUE], atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_best_frame_of_a_segment_is_like_most_of_it(tmp_path: Path, batch_size: int) -> None:
    video = write_video(tmp_path / "a.mp4", [("black", 1.0), ("red", 4.0), ("blue", 2.5)])
    result = indexer.embed(video, Toy(), Sampling(fps=2.0, window_s=4.0, stride_s=3.0), batch_size=batch_size)
    assert result.segments == (Segment(0.0, 4.0), Segment(3.0, 7.0), Segment(6.0, 7.5))
    assert result.best_s is not None
    first, second, third = result.best_s
    assert 1.0 <= first < 4.0
    assert 3.0 <= second < 7.0
    assert third == 6.0


def test_segments_that_look_alike_are_one_run(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [("red", 3.0), ("blue", 2.0), ("red", 1.0)])
    result = indexer.embed(video, Toy(), Sampling(fps=2.0, window_s=1.0, stride_s=1.0))
    assert result.runs == (0, 0, 0, 1, 1, 2)


@pytest.mark.parametrize(
    ("fps", "window_s", "stride_s"),
    [
        ("2", "8", "4"),
        ("2", "2", "1"),
        ("1", "1", "1"),
        ("10", "0.5", "0.3"),
        ("5", "1", "2"),
        ("5", "0.2", "1.5"),
        ("2", "0.1", "0.1"),
        ("0.4", "0.3", "0.7"),
        ("25", "1", "0.5"),
        ("3", "1/3", "1/3"),
        ("0.01", "1", "1"),
        ("7", "1.1", "0.9"),
    ],
)
def test_vectors_are_those_of_a_slow_oracle(mixed: Path, fps: str, window_s: str, stride_s: str) -> None:
    _check(mixed, Fraction(fps), Fraction(window_s), Fraction(stride_s))


@settings(max_examples=25, deadline=None)
@given(
    fps=st.fractions(Fraction(1, 5), 30, max_denominator=6),
    window=st.integers(1, 50),
    stride=st.integers(1, 50),
)
def test_vectors_are_those_of_a_slow_oracle_whatever_the_sampling(
    mixed: Path, fps: Fraction, window: int, stride: int
) -> None:
    _check(mixed, fps, Fraction(window, 10), Fraction(stride, 10))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    "times_s",
    [
        [0.0],
        [0.0, 0.04, 0.9, 1.0, 1.001, 2.5, 2.6, 4.0],
        [0.0, 0.1, 60.0],
        [0.0, 0.5, 1.0, 1.5, 2.0],
        [5.0, 5.7, 6.1],
    ],
    ids=["one frame", "variable rate", "long still frame", "on the grid", "starts late"],
)
@pytest.mark.parametrize(("window_s", "stride_s"), [("2", "1"), ("0.2", "0.3"), ("1", "5")])
def test_odd_clocks_are_sampled_as_they_are(
    tmp_path: Path, suffix: str, times_s: Sequence[float], window_s: str, stride_s: str
) -> None:
    colours = [(name, 0.1) for name in COLOURS][-len(times_s) :]
    video = write_video(tmp_path / f"a{suffix}", colours, times_s=times_s)
    _check(video, Fraction(2), Fraction(window_s), Fraction(stride_s))


class _Counting(Toy):
    """Toy, and how much it was given: frames in all, and segments at each call."""

    def __init__(self) -> None:
        self.num_frames = 0
        self.nums_segments: list[int] = []

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        self.nums_segments.append(len(segments))
        return super().encode_segments(segments)

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        self.num_frames += len(frames_uint8)
        return super().encode_frames(frames_uint8)


def test_a_frame_is_encoded_once_however_many_segments_share_it(mixed: Path) -> None:
    encoder = _Counting()
    result = indexer.embed(mixed, encoder, Sampling(fps=5.0, window_s=2.0, stride_s=0.2))
    assert len(result.segments) == 8
    assert encoder.num_frames == 17  # 0, 0.2 ... 3.2 s


def test_a_frame_that_stands_for_long_is_encoded_once(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [("red", 0.1), ("blue", 0.2)], times_s=[0.0, 1.0, 60.0])
    encoder = _Counting()
    result = indexer.embed(video, encoder, Sampling(fps=10.0, window_s=1.0, stride_s=1.0))
    assert encoder.num_frames == 3
    assert result.runs[:3] == (0, 1, 1)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_vectors_do_not_depend_on_the_batch_size(mixed: Path, batch_size: int) -> None:
    sampling = Sampling(fps=10.0, window_s=0.7, stride_s=0.4)
    _same(
        indexer.embed(mixed, Toy(), sampling, batch_size=batch_size),
        indexer.embed(mixed, Toy(), sampling, batch_size=8),
    )


@pytest.mark.parametrize(("window_s", "stride_s"), [(8.0, 4.0), (4.0, 4.0), (3.0, 30.0)])
def test_no_more_frames_are_kept_than_one_window_needs(folder: Path, window_s: float, stride_s: float) -> None:
    path = folder / "long.mp4"
    if not path.exists():
        write_video(path, [("red", 30.0), ("blue", 90.0)], fps=2, size=(16, 16))
    features = embedding.Features(Toy(), Sampling(fps=2.0, window_s=window_s, stride_s=stride_s))
    most = 0
    with Video(path) as video:
        for batch in video.sample(fps=2.0, short_side=16, batch_size=1):
            features.add(batch)
            most = max(most, len(features._kept))
        result = features.finish(video.duration_s or 0.0)
    assert result.duration_s == 120.0
    assert 1 <= most <= 2 * window_s + 1


def test_no_more_than_a_few_dozen_segments_wait_for_their_vectors(mixed: Path) -> None:
    encoder = _Counting()
    result = indexer.embed(mixed, encoder, Sampling(fps=10.0, window_s=0.2, stride_s=0.02))
    assert len(result.segments) == 156
    assert result.outline is not None
    assert sum(encoder.nums_segments) == 156 + len(result.outline.codes)
    assert max(encoder.nums_segments) <= 64


def test_a_file_that_is_no_video_is_named_by_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("no video at all")
    with pytest.raises(VideoError, match="not a readable video"):
        indexer.embed(path, Toy(), Sampling())


def test_a_pool_embeds_several_files_with_one_process(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_text("no video at all")
    with Pool() as pool:
        [decoder] = pool._decoders
        processes = set()
        for _ in range(2):
            _same(indexer.embed(mixed, Toy(), Sampling(), pool=pool), indexer.embed(mixed, Toy(), Sampling()))
            with pytest.raises(VideoError, match="not a readable video"):
                indexer.embed(tmp_path / "no.mp4", Toy(), Sampling(), pool=pool)
            processes.add(decoder._process)
        assert len(processes) == 1


def test_an_encoder_that_fails_leaves_the_pool_ready(mixed: Path) -> None:
    with Pool() as pool:
        with pytest.raises(RuntimeError, match="out of memory"):
            indexer.embed(mixed, _Failing(), Sampling(), pool=pool)
        assert pool._decoders[0]._process is None  # nobody takes the rest of its frames
        _same(indexer.embed(mixed, Toy(), Sampling(), pool=pool), indexer.embed(mixed, Toy(), Sampling()))


# Several files at once


def _file(path: Path) -> File:
    status = path.stat()
    return File.of(os.fsencode(path.parent), os.fsencode(path.name), status)


def _same(one: Embedding, other: Embedding) -> None:
    assert (one.duration_s, one.segments, one.runs) == (other.duration_s, other.segments, other.runs)
    np.testing.assert_array_equal(one.vectors, other.vectors)


def _decoding() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 1), (2, 8), (5, 3)])
def test_every_file_gets_its_own_result_in_order(tmp_path: Path, workers: int, batch_size: int) -> None:
    paths = [write_video(tmp_path / f"{name}.mp4", [(name, 1.0), ("black", 1.0)]) for name in list(COLOURS)[1:]]
    paths[2].write_text("no video at all")
    sampling = Sampling(fps=5.0, window_s=1.0, stride_s=0.5)
    results = list(
        embedding.embed_all(map(_file, paths), Toy(), sampling, workers=workers, batch_size=batch_size, limits=Limits())
    )
    assert len(results) == len(paths) == 7
    for number, (path, result) in enumerate(zip(paths, results, strict=True)):
        if number == 2:
            assert isinstance(result, VideoError)
        else:
            assert isinstance(result, embedding.Embedded)
            assert (result.content_sha256, result.shortfall) == (sha256(path), None)
            _same(result.embedding, indexer.embed(path, Toy(), sampling))


def test_no_files_give_no_results() -> None:
    assert list(embedding.embed_all([], Toy(), Sampling(), workers=2, batch_size=8, limits=Limits())) == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "there is no such file"),
        (lambda path: path.write_bytes(path.read_bytes() + b"more"), "it changed while it was being read"),
        (lambda path: os.utime(path, ns=(1, 1)), "it changed while it was being read"),
    ],
    ids=["deleted", "appended to", "touched"],
)
def test_a_file_that_is_no_longer_what_was_scanned_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 1.0)])
    file = _file(path)
    spoil(path)
    (result,) = embedding.embed_all([file], Toy(), Sampling(), workers=1, batch_size=8, limits=Limits())
    assert isinstance(result, VideoError)
    assert str(result) == reason


class _Meddling(Toy):
    """Toy, and something happens to the file when its first frame arrives: it is still being decoded then."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self._meddle: Callable[[], object] | None = meddle

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        if self._meddle:
            self._meddle()
            self._meddle = None
        return super().encode_frames(frames_uint8)


@pytest.mark.parametrize(
    ("meddle", "reason"),
    [
        (lambda path: path.unlink(), "it could not be read to its end (No such file or directory)"),
        (lambda path: path.write_bytes(path.read_bytes() + b"more"), "it changed while it was being read"),
        (lambda path: os.replace(shutil.copyfile(path, f"{path}.new"), path), "it changed while it was being read"),
    ],
    ids=["deleted", "appended to", "replaced"],
)
def test_a_file_that_changes_while_it_is_decoded_is_refused(
    tmp_path: Path, meddle: Callable[[Path], object], reason: str
) -> None:
    path = write_video(tmp_path / "a.mp4", _MIXED)
    encoder = _Meddling(lambda: meddle(path))
    (result,) = embedding.embed_all(
        [_file(path)], encoder, Sampling(fps=10.0), workers=1, batch_size=1, limits=Limits()
    )
    assert isinstance(result, VideoError)
    assert str(result) == reason


def test_a_file_that_ends_early_says_what_is_missing(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", _MIXED * 3, options={"g": "1"})
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (result,) = embedding.embed_all([_file(path)], Toy(), Sampling(), workers=1, batch_size=8, limits=Limits())
    assert isinstance(result, embedding.Embedded)
    assert 1.0 < result.embedding.duration_s < 9.0
    assert result.shortfall == f"only {result.embedding.duration_s:.1f} of the 9.9 s that it claims could be read"


def test_stopping_early_stops_the_decoding(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{n}.mp4", _MIXED) for n in range(6)]
    results = embedding.embed_all(
        map(_file, paths), Toy(), Sampling(fps=10.0), workers=3, batch_size=1, limits=Limits()
    )
    assert isinstance(next(results), embedding.Embedded)
    assert _decoding()
    assert isinstance(results, Generator)
    results.close()
    assert _decoding() == []


class _Failing(Toy):
    """Toy, until it meets a frame."""

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        raise RuntimeError("out of memory")


def test_a_failing_encoder_stops_the_decoding_and_is_not_a_skipped_video(mixed: Path) -> None:
    results = embedding.embed_all(
        [_file(mixed)] * 4, _Failing(), Sampling(fps=10.0), workers=2, batch_size=1, limits=Limits()
    )
    with pytest.raises(RuntimeError, match="out of memory"):
        next(results)
    assert _decoding() == []
