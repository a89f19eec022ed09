"""Copies: the same recording in other files is one hit, and another take of the scene is not."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from make_videos import write_pictures, write_video
from numpy.typing import NDArray

from cezsar import indexer, store
from cezsar.documents import query_document
from cezsar.indexer.fingerprints import Seconds, fingerprint
from cezsar.query import Filters, Searcher
from cezsar.settings import Settings, load
from cezsar.types import Hit, IndexReport


def moving(
    seed: int, *, start: int = 0, stop: int = 80, size: tuple[int, int] = (96, 64)
) -> Iterator[NDArray[np.uint8]]:
    """Frames start to stop, 10 a second, of a take: the same room, in which something goes its own way."""
    room = np.random.default_rng(99).integers(60, 200, (8, 12, 3)).repeat(8, axis=0).repeat(8, axis=1)
    phase, speed = np.random.default_rng(seed).uniform((0, 0.2), (6, 0.4), (2, 2)).T
    way = 20 + 18 * np.sin(phase + speed * np.arange(200)[:, None] / 4) * (1.0, 2.0)
    for number in range(start, stop):
        picture = room.copy()
        down, across = np.clip(way[number] + (0, 16), (0, 0), (40, 72)).astype(int)
        picture[down : down + 24, across : across + 24] = (250, 240, 20)
        yield picture[:: 64 // size[1], :: 96 // size[0]].astype(np.uint8)


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A take, its half-size re-encode, a trimmed piece of it, a file with the same content, and two other takes."""
    folder = tmp_path_factory.mktemp("takes")
    lossy = {"codec": "libx264", "pix_fmt": "yuv420p"}
    write_pictures(folder / "one.mkv", moving(1), **lossy)  # type: ignore[arg-type]
    write_pictures(folder / "half.mp4", moving(1, size=(48, 32)), options={"crf": "30"}, **lossy)  # type: ignore[arg-type]
    write_pictures(folder / "trimmed.mp4", moving(1, start=13, stop=64), **lossy)  # type: ignore[arg-type]
    write_pictures(folder / "two.mkv", moving(2), **lossy)  # type: ignore[arg-type]
    write_pictures(folder / "three.mkv", moving(3), **lossy)  # type: ignore[arg-type]
    shutil.copyfile(folder / "one.mkv", folder / "same.mkv")
    return folder


@pytest.fixture(scope="module")
def taken(takes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their index."""
    settings = load(environ={}, index=tmp_path_factory.mktemp("taken") / "index", model="toy")
    indexer.index([takes], settings)
    return settings.index


def folded(hits: list[Hit]) -> list[set[str]]:
    return [{hit.path.name, *(copy.name for copy in hit.copies)} for hit in hits]


ORIGINAL = {"one.mkv", "half.mp4", "trimmed.mp4", "same.mkv"}


def test_copies_are_one_hit_and_other_takes_are_hits_of_their_own(taken: Path) -> None:
    with Searcher(taken) as searcher:
        groups = folded(searcher.search("white"))
    assert sorted(map(sorted, groups)) == [sorted(ORIGINAL), ["three.mkv"], ["two.mkv"]]


def test_all_copies_folds_nothing(taken: Path) -> None:
    with Searcher(taken) as searcher:
        hits = searcher.search("white", filters=Filters(all_copies=True))
    assert len(hits) == 6
    assert all(hit.copies == () for hit in hits)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_there_are_as_many_hits_as_asked_for_after_folding(taken: Path, top_k: int) -> None:
    with Searcher(taken) as searcher:
        every = searcher.search("white")
        assert searcher.search("white", filters=Filters(top_k=top_k)) == every[:top_k]


def test_only_files_that_the_path_names_are_copies(taken: Path) -> None:
    with Searcher(taken) as searcher:
        (hit,) = searcher.search("white", filters=Filters(path="*.mp4"))
    assert folded([hit]) == [{"half.mp4", "trimmed.mp4"}]


def test_two_moments_of_one_video_are_no_copies(
    index_toy: Callable[..., IndexReport], toy: Settings, tmp_path: Path
) -> None:
    index_toy(write_video(tmp_path / "a.mp4", [("red", 6.0), ("blue", 9.0), ("red", 6.0)]))
    with Searcher(toy.index) as searcher:
        hits = searcher.search("red", filters=Filters(per_video=0))
    assert len(hits) > 1
    assert all(hit.copies == () for hit in hits)


def test_flat_pictures_are_copies_of_the_same_content_alone(
    index_toy: Callable[..., IndexReport], toy: Settings, tmp_path: Path
) -> None:
    first = write_video(tmp_path / "a.mp4", [("red", 6.0)])
    write_video(tmp_path / "b.mp4", [("red", 5.0)])
    shutil.copyfile(first, tmp_path / "c.mp4")
    index_toy(tmp_path)
    with Searcher(toy.index) as searcher:
        assert folded(searcher.search("red")) == [{"a.mp4", "c.mp4"}, {"b.mp4"}]


def test_without_fingerprints_nothing_is_folded(taken: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(taken, tmp_path / "index"))
    with closing(sqlite3.connect(index / store.FILE)) as database, database:
        database.execute("DELETE FROM outlines")
    with Searcher(index) as searcher:
        assert len(searcher.search("white")) == 6


def test_the_documents_name_copies(taken: Path) -> None:
    with Searcher(taken) as searcher:
        hits = searcher.search("white")
    document = query_document("white", "toy", hits)
    named = [entry.get("copies") for entry in document["hits"]]
    assert named == [[str(path) for path in hit.copies] or None for hit in hits]
    assert sum(name is not None for name in named) == 1


def test_a_fingerprint_is_of_the_picture_whatever_its_brightness_and_contrast() -> None:
    cells = np.random.default_rng(0).uniform(50, 200, (8, 8)).astype(np.float32)
    own = fingerprint(cells)
    assert np.abs(own.astype(int) - fingerprint(0.7 * cells + 20)).max() <= 3
    assert np.abs(own.astype(int) - fingerprint(cells[::-1])).max() > 10
    assert fingerprint(np.full((8, 8), 60.0, np.float32)).tolist() == [0] * 8


@pytest.mark.parametrize("parts", [[10.0], [0.0, 0.4, 1.3, 2.0, 6.9, 10.0], [0.5 * n for n in range(21)]])
def test_seconds_are_averages_however_they_come(parts: list[float]) -> None:
    cells = np.random.default_rng(0).uniform(50, 200, (8, 8)).astype(np.float32)
    seconds = Seconds()
    for until_s in parts:
        seconds.add(until_s, cells)
    np.testing.assert_array_equal(seconds.fingerprints(), np.tile(fingerprint(cells), (10, 1)))
