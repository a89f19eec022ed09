"""A pool of decoders: videos in order, several at once, and what a file does to its decoder costs that file alone."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from make_videos import write_video

from cezsar.errors import VideoError
from cezsar.types import Limits, Segment
from cezsar.video import Decoder, FrameBatch, Pool, Reading

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A second of red, of green, of something deadly, of blue."""
    folder = tmp_path_factory.mktemp("pool")
    shown = {"red": "red", "green": "green", "deadly": "white", "blue": "blue"}
    return [write_video(folder / f"{name}.mp4", [(colour, 1.0)]) for name, colour in shown.items()]


def _read(path: Path, decoder: Decoder) -> Generator[FrameBatch, None, tuple[str, float]]:
    yield from decoder.sample(path, fps=10.0, short_side=16, batch_size=2)
    return path.stem, decoder.duration_s


def _colour(batches: Iterable[FrameBatch]) -> str | None:
    """The one colour of some frames; None where there are none."""
    frames = [batch.frames_uint8.mean(axis=(0, 2, 3)) for batch in batches]
    if not frames:
        return None
    return min(COLOURS, key=lambda name: float(np.abs(np.mean(frames, axis=0) - COLOURS[name]).sum()))


def _result(reading: Reading[tuple[str, float]]) -> tuple[str, float] | str:
    try:
        return reading.result()
    except VideoError as error:
        return str(error)


def _decoding() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_process_that_was_started_ahead_reads_the_first_video(films: list[Path]) -> None:
    with Pool(workers=2) as pool:
        pool.start()
        ahead = {decoder._process for decoder in pool._decoders}
        assert None not in ahead
        assert [_colour(reading) for reading in pool.each([films[0], films[1]], _read)] == ["red", "green"]
        assert {decoder._process for decoder in pool._decoders} == ahead


@pytest.mark.parametrize("workers", [1, 3])
def test_videos_come_in_order_and_a_deadly_one_costs_itself_alone(
    films: list[Path], workers: int, deadly: None
) -> None:
    with Pool(workers=workers) as pool:
        for _ in range(2):  # a pool can be used again
            found = [(_colour(reading), _result(reading)) for reading in pool.each(films, _read)]
            assert found == [
                ("red", ("red", 1.0)),
                ("green", ("green", 1.0)),
                (None, "it crashed the decoder (SIGSEGV)"),
                ("blue", ("blue", 1.0)),
            ]


def test_no_videos_start_no_process() -> None:
    with Pool(workers=2) as pool:
        assert list(pool.each([], _read)) == []
        assert [decoder._process for decoder in pool._decoders] == [None, None]


def test_frames_that_nobody_takes_hold_no_later_video_up(films: list[Path]) -> None:
    with Pool() as pool, closing(pool.each([films[0], films[1], films[3]], _read)) as readings:
        first = next(readings)
        next(iter(first))
        assert [_colour(reading) for reading in readings] == ["green", "blue"]


def test_closing_early_ends_the_threads(films: list[Path]) -> None:
    with Pool(workers=2) as pool:
        readings = pool.each(films * 3, _read)
        next(iter(next(readings)))
        assert _decoding()
        readings.close()
        assert _decoding() == []


def test_what_reading_raises_is_raised_where_its_result_is_asked_for(films: list[Path]) -> None:
    def fail(path: Path, decoder: Decoder) -> Generator[FrameBatch, None, None]:
        yield from decoder.sample(path, fps=1.0, short_side=16, batch_size=1)
        raise RuntimeError("the disk is full")

    with Pool() as pool, closing(pool.each(films[:1], fail)) as readings:
        reading = next(readings)
        assert _colour(reading) == "red"
        with pytest.raises(RuntimeError, match="the disk is full"):
            reading.result()


def test_a_decoder_has_one_user_at_a_time() -> None:
    everybody = threading.Barrier(2)

    def use(pool: Pool) -> Decoder:
        with pool.decoder() as decoder:
            everybody.wait(60)
            return decoder

    with Pool(workers=2) as pool, ThreadPoolExecutor(2) as threads:
        one, other = (done.result() for done in [threads.submit(use, pool) for _ in range(2)])
        assert one is not other


@pytest.mark.parametrize(("verb", "made"), [("still", "red.jpg"), ("cut", "red.mp4"), ("part", "red.mp4")])
def test_a_deadly_video_gives_nothing_and_the_next_one_does(
    films: list[Path], tmp_path: Path, verb: str, made: str, deadly: None
) -> None:
    def make(decoder: Decoder, path: Path) -> None:
        if verb == "still":
            decoder.still(path, 0.5, tmp_path / f"{path.stem}.jpg", width=64)
        else:
            getattr(decoder, verb)(path, Segment(0.0, 0.5), tmp_path / f"{path.stem}.mp4")

    with Pool() as pool, pool.decoder() as decoder:
        with pytest.raises(VideoError, match=r"it crashed the decoder \(SIGSEGV\)"):
            make(decoder, films[2])
        make(decoder, films[0])
    assert [path.name for path in tmp_path.iterdir()] == [made]


def test_the_limits_are_those_of_every_decoder(films: list[Path]) -> None:
    with Pool(Limits(time_s=0.001), workers=2) as pool:
        found = [_result(reading) for reading in pool.each(films[:2], _read) if _colour(reading) is None]
    assert found == ["decoding was given up: it took over 0.001 s in all"] * 2
