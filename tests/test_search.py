"""Answering questions from an index."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import caches
import numpy as np
import pytest
from caches import beside_of, data_of, resealed, strike, told
from hypothesis import given, settings
from hypothesis import strategies as st
from make_videos import COLOURS, write_video

from cezsar import indexer, store
from cezsar.encoders.toy import Toy
from cezsar.errors import IndexMismatch, IndexMissing, QueryError, SettingsError
from cezsar.query import Filters, Searcher, search
from cezsar.settings import Settings, load
from cezsar.store.local import cache, opening, stamp
from cezsar.store.rows import Rows
from cezsar.store.writer import Writer
from cezsar.types import Hit, IndexReport, Sampling, Segment, Vectors, unit

Index = Callable[..., IndexReport]
ALL = Filters(top_k=1_000, per_video=0)
HALF = 0.5**0.5  # the score of a segment of two colours, for one of them


# A folder of real videos


@pytest.fixture(scope="module")
def colours(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of those, for tests that change nothing."""
    made = load(environ={}, index=tmp_path_factory.mktemp("colours") / "index", model="toy")
    return indexer.index([videos], made).index


@pytest.fixture
def by_second(toy: Settings, tmp_path: Path) -> Callable[..., Path]:
    """Make a video of the given stretches and index it by the second: by_second(("red", 2), ("blue", 2))."""

    def run(*stretches: tuple[str, float]) -> Path:
        path = write_video(tmp_path / "video.mp4", stretches)
        indexer.index([path], replace(toy, window_s=1.0, stride_s=1.0))
        return path

    return run


# A catalog written by hand: each sentence is a segment of a second that shows the colours it names


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the toy encoder with nothing in it."""
    directory = tmp_path_factory.mktemp("empty") / "index"
    with store.create(directory, Toy.identity, Sampling()):
        return directory


@pytest.fixture
def catalog(empty: Path, tmp_path: Path) -> Iterator[store.Catalog]:
    """An index of the toy encoder to fill by hand."""
    shutil.copytree(empty, tmp_path / "index")
    with opening.open_to_write(tmp_path / "index") as opened:
        yield opened


@pytest.fixture(params=["cache", "no cache", "half a cache"])
def cached(request: pytest.FixtureRequest) -> str:
    """What of the index is in the cache when the question comes."""
    return str(request.param)


def add(catalog: store.Catalog, path: str | bytes, *sentences: str, runs: tuple[int, ...] | None = None) -> int:
    with catalog.transaction() as writer:
        return writer.add_video(file_at(path), bytes(32), embedding(*sentences, runs=runs))


def file_at(path: str | bytes) -> store.File:
    return store.File(b"/videos", os.fsencode(path), 1, 1)


def embedding(*sentences: str, runs: tuple[int, ...] | None = None) -> store.Embedding:
    return embedded(Toy().encode_texts(sentences), runs or tuple(range(len(sentences))))


def embedded(rows: Vectors, runs: tuple[int, ...]) -> store.Embedding:
    parts = tuple(Segment(float(i), i + 1.0) for i in range(len(rows)))
    return store.Embedding(float(len(parts)), parts, runs, rows)


def fill(catalog: store.Catalog, cached: str, *shown: tuple[str, tuple[str, ...]]) -> None:
    """Add videos (path, sentences), and build the cache at the end, never, or half-way."""
    half = len(shown) // 2
    for some, then in ((shown[:half], "half a cache"), (shown[half:], "cache")):
        with catalog.transaction() as writer:
            for path, sentences in some:
                writer.add_video(file_at(path), bytes(32), embedding(*sentences))
        if cached == then:
            catalog.rebuild()


def names(hits: list[Hit]) -> list[str]:
    return [hit.path.name for hit in hits]


def drop_cache(directory: Path) -> None:
    for file in directory.glob("vectors*"):
        file.unlink()


# Rankings


def test_red_finds_the_red_video_first_with_score_one(colours: Path, videos: Path) -> None:
    hits = search("something red", colours)
    assert hits[0] == Hit(1, 1.0, videos / "red.mp4", 0.0, 1.0, hits[0].segment_id, hits[0].video_id)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [hit.score for hit in hits[1:]] == [0.0] * 7
    assert sorted(names(hits)) == [f"{name}.mp4" for name in sorted(COLOURS)]


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_finds_its_video(colours: Path, colour: str) -> None:
    assert names(search(colour, colours, filters=Filters(top_k=1))) == [f"{colour}.mp4"]


def test_a_score_is_the_cosine_similarity(catalog: store.Catalog, cached: str) -> None:
    fill(catalog, cached, ("1", ("red",)), ("2", ("red blue",)), ("3", ("red blue green",)), ("4", ("black",)))
    hits = search("red blue", catalog.directory)
    assert names(hits) == ["2", "3", "1", "4"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, (2 / 3) ** 0.5, HALF, 0.0])


def test_equal_scores_come_in_the_order_of_segment_ids(catalog: store.Catalog, cached: str) -> None:
    both = [(f"{number}", ("red blue",)) for number in range(80)]
    fill(catalog, cached, *both[:60], ("best", ("red",)), *both[60:], ("also best", ("red",)))
    hits = search("red", catalog.directory, filters=Filters(top_k=12))
    assert names(hits) == ["best", "also best", *map(str, range(10))]
    assert [hit.segment_id for hit in hits[2:]] == list(range(1, 11))
    assert search("red", catalog.directory, filters=Filters(top_k=12)) == hits


@pytest.mark.parametrize("top_k", [1, 2, 5, 6, 7, 10**15])
def test_top_k_hits_are_given_where_there_are_as_many(catalog: store.Catalog, cached: str, top_k: int) -> None:
    fill(catalog, cached, *((f"{number}", ("red",)) for number in range(6)))
    assert names(search("red", catalog.directory, filters=Filters(top_k=top_k))) == list("012345")[:top_k]


def test_an_empty_index_has_no_hits(catalog: store.Catalog, cached: str) -> None:
    fill(catalog, cached)
    assert search("red", catalog.directory, filters=ALL) == []


@pytest.mark.parametrize(
    ("min_score", "expected"),
    [
        (None, ["1", "2", "3", "4"]),
        (-1.0, ["1", "2", "3", "4"]),
        (0.0, ["1", "2", "3", "4"]),
        (0.01, ["1", "2", "3"]),
        (0.6, ["1", "2"]),
        (1.0, ["1"]),
        (1.01, []),
        (float("-inf"), ["1", "2", "3", "4"]),
        (float("inf"), []),
    ],
)
def test_min_score_is_the_lowest_score_that_is_given(
    catalog: store.Catalog, cached: str, min_score: float | None, expected: list[str]
) -> None:
    fill(catalog, cached, ("4", ("blue",)), ("3", ("red blue green",)), ("2", ("red blue",)), ("1", ("red",)))
    assert names(search("red", catalog.directory, filters=Filters(min_score=min_score))) == expected


# Hits a video


@pytest.mark.parametrize(
    ("per_video", "expected"),
    [
        (1, ["a", "b", "c"]),
        (2, ["a", "a", "b", "c", "b", "c"]),
        (3, ["a", "a", "b", "c", "a", "b", "c"]),
        (0, ["a", "a", "b", "c", "a", "a", "b", "c"]),
    ],
)
def test_per_video_is_the_most_hits_a_video_gives(
    catalog: store.Catalog, cached: str, per_video: int, expected: list[str]
) -> None:
    shown = ("a", ("red", "blue", "red", "red blue")), ("b", ("red", "green")), ("c", ("green", "red"))
    fill(catalog, cached, *shown)
    hits = search("red", catalog.directory, filters=Filters(per_video=per_video))
    assert names(hits) == expected


@pytest.mark.parametrize(("per_video", "num_of_long"), [(1, 1), (3, 3)])
def test_a_long_video_full_of_good_segments_does_not_starve_the_others(
    catalog: store.Catalog, cached: str, per_video: int, num_of_long: int
) -> None:
    others = [(f"{number}", ("red blue",)) for number in range(6)]
    fill(catalog, cached, *others[:2], ("long", ("red",) * 600), *others[2:])
    hits = search("red", catalog.directory, filters=Filters(top_k=num_of_long + 6, per_video=per_video))
    assert names(hits) == ["long"] * num_of_long + list("012345")


def test_a_long_stretch_of_one_video_does_not_starve_the_others(catalog: store.Catalog, cached: str) -> None:
    fill(catalog, cached, ("early", ("red blue",)))
    add(catalog, "long", *("red",) * 600, runs=(0,) * 600)
    fill(catalog, cached, ("late", ("red blue",)))
    hits = search("red", catalog.directory, filters=Filters(per_video=0))
    assert [(hit.path.name, hit.start_s, hit.end_s) for hit in hits] == [
        ("long", 0.0, 600.0),
        ("early", 0.0, 1.0),
        ("late", 0.0, 1.0),
    ]


# Near-identical neighbours


def test_neighbours_that_look_alike_are_one_hit_with_their_whole_range(
    by_second: Callable[..., Path], toy: Settings
) -> None:
    path = by_second(("red", 3.0), ("blue", 2.0), ("red", 2.0))
    hits = search("red", toy.index, filters=ALL)
    assert [(hit.path, hit.start_s, hit.end_s) for hit in hits] == [
        (path, 0.0, 3.0),
        (path, 5.0, 7.0),
        (path, 3.0, 5.0),
    ]
    assert [hit.score for hit in hits] == [1.0, 1.0, 0.0]


def test_a_stretch_has_its_best_segments_score(catalog: store.Catalog, cached: str) -> None:
    fill(catalog, cached, ("other", ("red blue",)))
    add(catalog, "video", "blue", "red blue", "red", "red blue", "red blue", runs=(0, 1, 1, 1, 2))
    fill(catalog, cached, ("later", ("red blue",)))
    [best, *_] = hits = search("red", catalog.directory, filters=ALL)
    assert best == Hit(1, 1.0, Path("/videos/video"), 1.0, 4.0, 4, 2)
    assert [(hit.path.name, hit.start_s, hit.end_s, hit.score) for hit in hits[1:]] == [
        ("other", 0.0, 1.0, pytest.approx(HALF)),
        ("video", 4.0, 5.0, pytest.approx(HALF)),
        ("later", 0.0, 1.0, pytest.approx(HALF)),
        ("video", 0.0, 1.0, 0.0),
    ]


def test_stretches_of_different_videos_are_different_hits(catalog: store.Catalog, cached: str) -> None:
    fill(catalog, cached, *((name, ("red",)) for name in "abcd"))
    assert names(search("red", catalog.directory, filters=ALL)) == ["a", "b", "c", "d"]


def looks(index: Path, monkeypatch: pytest.MonkeyPatch, chosen: Filters) -> tuple[list[Hit], int, int]:
    """The hits for red, how often the nearest were asked for, and how many rows the catalog gave of where they are."""
    num_looks = num_rows = 0
    seek, ranges = Rows.nearest, Rows.ranges

    def nearest(*arguments: Any, **named: Any) -> Any:
        nonlocal num_looks
        found = seek(*arguments, **named)
        num_looks += len(found.ids) > 0 or not named["where"].plain  # that nothing is plain is known at once
        return found

    def counted(rows: Rows, wanted: Any) -> Any:
        nonlocal num_rows
        found = ranges(rows, wanted)
        num_rows += len(found)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Rows, "nearest", nearest)
        patch.setattr(Rows, "ranges", counted)
        hits = search("red", index, filters=chosen)
    return hits, num_looks, num_rows


@pytest.mark.parametrize("per_video", [0, 1, 3])
def test_ten_hours_of_one_picture_cost_two_looks_and_one_range(
    catalog: store.Catalog, cached: str, monkeypatch: pytest.MonkeyPatch, per_video: int
) -> None:
    fill(catalog, cached, ("early", ("red blue",)))
    add(catalog, "still", *("red",) * 9_000, runs=(0,) * 9_000)
    fill(catalog, cached, *((name, ("red blue green",)) for name in ("a", "b", "c")))

    hits, num_looks, num_rows = looks(catalog.directory, monkeypatch, Filters(top_k=3, per_video=per_video))

    assert [(hit.path.name, hit.start_s, hit.end_s, hit.segment_id) for hit in hits] == [
        ("still", 0.0, 9_000.0, 2),
        ("early", 0.0, 1.0, 1),
        ("a", 0.0, 1.0, 9_002),
    ]
    assert (num_looks, num_rows) == (2, 3)


def test_many_videos_of_one_picture_each_cost_no_more_looks_than_hits(
    catalog: store.Catalog, cached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shades = [" ".join(["red"] * (12 - number) + ["blue"] * number) for number in range(12)]
    for number, shade in enumerate(shades):
        add(catalog, f"{number}", *(shade,) * 500, runs=(0,) * 500)
    if cached != "no cache":
        catalog.rebuild()

    hits, num_looks, num_rows = looks(catalog.directory, monkeypatch, Filters(top_k=10, per_video=0))

    assert names(hits) == [str(number) for number in range(10)]
    assert num_looks <= 6
    assert num_rows == 10


def test_a_long_video_of_many_different_moments_costs_two_looks(
    catalog: store.Catalog, cached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(catalog, cached, ("long", ("red",) * 5_000), ("a", ("red blue",)), ("b", ("red blue",)))

    hits, num_looks, num_rows = looks(catalog.directory, monkeypatch, Filters(top_k=5, per_video=2))

    assert names(hits) == ["long", "long", "a", "b"]
    assert (num_looks, num_rows) == (2, 4)


def test_the_catalog_is_read_once_however_often_one_looks(
    catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(catalog, "still", *("red",) * 2_000, runs=(0,) * 2_000)
    add(catalog, "other", "blue")
    reads, read = [], Rows.tails
    monkeypatch.setattr(Rows, "tails", lambda *given, **named: reads.append(1) or read(*given, **named))

    assert names(search("red", catalog.directory)) == ["still", "other"]
    assert len(reads) == 1


# Filters on paths

TREE = ("red.mp4", "trip/day 1/red.mp4", "trip/Blue.MP4", "trip.mp4", "a[1].mp4", b"caf\xe9/blue.mp4", b"caf\xe9.mp4")


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*", TREE),
        ("/videos/*", TREE),
        ("/videos/trip/*", TREE[1:3]),
        ("/videos/red.mp4", TREE[:1]),
        ("trip/*", TREE[1:3]),
        ("trip/day 1/red.mp4", TREE[1:2]),
        ("red.mp4", TREE[:2]),
        ("*.MP4", TREE[2:3]),
        ("[Bb]lue.*", (TREE[2], TREE[5])),
        ("trip", TREE[1:3]),
        ("day ?", TREE[1:2]),
        ("a[[]1].mp4", TREE[4:5]),
        (os.fsdecode(b"caf\xe9"), TREE[5:6]),
        (os.fsdecode(b"caf\xe9*"), TREE[5:]),
        (os.fsdecode(b"/videos/caf\xe9.mp4"), TREE[6:]),
        ("caf?.mp4", TREE[6:]),
        ("café*", ()),
        ("Trip", ()),
        ("videos", ()),
        ("mp4", ()),
        ("", ()),
    ],
)
def test_a_glob_names_whole_paths_paths_below_the_root_files_and_folders(
    catalog: store.Catalog, glob: str, expected: tuple[str | bytes, ...]
) -> None:
    fill(catalog, "half a cache", *((os.fsdecode(path), ("red",)) for path in TREE))
    hits = search("red", catalog.directory, filters=Filters(path=glob))
    assert [os.fsencode(hit.path) for hit in hits] == [b"/videos/" + os.fsencode(path) for path in expected]


def test_path_filters_apply_before_top_k(catalog: store.Catalog, cached: str) -> None:
    bad, good = [(f"bad/{i}", ("red",)) for i in range(60)], [(f"good/{i}", ("blue",)) for i in range(5)]
    fill(catalog, cached, *good[:2], *bad[:40], *good[2:], *bad[40:])
    hits = search("red", catalog.directory, filters=Filters(top_k=5, path="good/*"))
    assert names(hits) == list("01234")


def test_videos_with_names_that_are_not_utf8_are_found(tmp_path: Path, index_toy: Index) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    path = write_video(folder / os.fsdecode(b"\xff\n.mp4"), [("red", 0.5)])
    index = index_toy(folder).index
    assert [hit.path for hit in search("red", index)] == [path]
    assert [hit.path for hit in search("red", index, filters=Filters(path=path.name))] == [path]
    with Searcher(index) as searcher:
        assert np.array_equal(searcher.like(path), Toy().encode_texts(["red"])[0])


# Hidden, deleted and changed videos


@pytest.mark.parametrize("take_out", [Writer.hide_videos, Writer.purge_videos])
@pytest.mark.parametrize("when", ["no cache", "cached before", "cached after"])
def test_hidden_and_deleted_videos_never_appear(
    catalog: store.Catalog, take_out: Callable[[Writer, list[int]], None], when: str
) -> None:
    with catalog.transaction() as writer:
        ids = [writer.add_video(file_at(f"{number}"), bytes(32), embedding("red", "red blue")) for number in range(40)]
    if when == "cached before":
        catalog.rebuild()
    with catalog.transaction() as writer:
        take_out(writer, [*ids[:25], ids[39]])
    if when == "cached after":
        catalog.rebuild()
    with Searcher(catalog.directory) as searcher:
        assert names(searcher.search("red", filters=Filters(top_k=3))) == ["25", "26", "27"]
        assert names(searcher.search("red", filters=Filters(top_k=100))) == [str(number) for number in range(25, 39)]
        assert searcher.search("red", filters=Filters(path="39")) == []
        assert searcher.like(Path("/videos/39")) is None
        assert (searcher.notice is not None) == (when == "no cache")


def test_a_hidden_video_that_comes_back_is_found_again(catalog: store.Catalog, cached: str) -> None:
    video_id = add(catalog, "back", "red")
    with catalog.transaction() as writer:
        writer.hide_videos([video_id])
    fill(catalog, cached, ("other", ("blue",)), ("third", ("green",)))
    assert names(search("red", catalog.directory)) == ["other", "third"]
    with catalog.transaction() as writer:
        writer.place_video(video_id, file_at("elsewhere"))
    assert names(search("red", catalog.directory)) == ["elsewhere", "other", "third"]


def test_a_changed_video_shows_only_its_new_vectors(catalog: store.Catalog, cached: str) -> None:
    video_id = add(catalog, "changed", "red", "green", "red")
    fill(catalog, cached, ("a", ("black",)), ("b", ("black",)))
    with catalog.transaction() as writer:
        writer.replace_video(video_id, file_at("changed"), bytes(32), embedding("blue", "blue green"))
    for _ in range(2):
        assert search("red", catalog.directory, filters=Filters(min_score=0.1)) == []
        hits = search("blue", catalog.directory, filters=Filters(min_score=0.1, per_video=0))
        assert [(hit.start_s, hit.score) for hit in hits] == [(0.0, 1.0), (1.0, pytest.approx(HALF))]
        catalog.rebuild()


def test_a_file_that_was_written_anew_is_found_by_what_it_shows_now(tmp_path: Path, index_toy: Index) -> None:
    (tmp_path / "videos").mkdir()
    path = write_video(tmp_path / "videos" / "video.mp4", [("red", 1.0)])
    index = index_toy(path.parent).index
    write_video(path, [("blue", 2.0)])
    assert index_toy(path.parent).updated == 1
    assert search("red", index, filters=Filters(min_score=0.5)) == []
    [hit] = search("blue", index)
    assert (hit.path, hit.score, hit.end_s) == (path, 1.0, 2.0)


def test_an_open_searcher_sees_what_is_committed_meanwhile(catalog: store.Catalog, cached: str) -> None:
    fill(catalog, cached, ("a", ("red",)), ("b", ("red",)))
    with Searcher(catalog.directory) as searcher:
        assert names(searcher.search("red")) == ["a", "b"]
        added = add(catalog, "c", "red")
        assert names(searcher.search("red")) == ["a", "b", "c"]
        catalog.rebuild()
        assert names(searcher.search("red")) == ["a", "b", "c"]
        with catalog.transaction() as writer:
            writer.purge_videos([added])
        assert names(searcher.search("red")) == ["a", "b"]


# The cache only makes it faster


def restamp(directory: Path, **changes: object) -> None:
    """Other fields under the old seal."""
    known = json.loads((directory / stamp.STAMP).read_text())
    (directory / stamp.STAMP).write_text(json.dumps(known | changes))


def restamp_part(directory: Path, **changes: object) -> None:
    """The same of its part."""
    known = json.loads((directory / stamp.STAMP).read_text())
    restamp(directory, parts=[known["parts"][0] | changes])


def without_stamp(directory: Path) -> None:
    (directory / stamp.STAMP).unlink()


def stamp_that_is_not_json(directory: Path) -> None:
    (directory / stamp.STAMP).write_bytes((directory / stamp.STAMP).read_bytes()[:20])


def stamp_that_is_not_text(directory: Path) -> None:
    (directory / stamp.STAMP).write_bytes(b"\xff\xfe\x00")


def stamp_of_another_form(directory: Path) -> None:
    (directory / stamp.STAMP).write_text('{"file": "vectors.faiss"}')


def stamp_that_is_a_list(directory: Path) -> None:
    (directory / stamp.STAMP).write_text("[1, 2]")


def stamp_with_text_for_a_number(directory: Path) -> None:
    restamp_part(directory, pieces=[[0, "2"]])


def stamp_of_a_file_elsewhere(directory: Path) -> None:
    shutil.copy(data_of(directory), directory.parent / "vectors.npy")
    known = json.loads((directory / stamp.STAMP).read_text())
    restamp_part(directory, data=known["parts"][0]["data"] | {"name": "../vectors.npy"})


def stamp_of_another_dimension(directory: Path) -> None:
    restamp(directory, dimension=4)


def stamp_of_more_vectors(directory: Path) -> None:
    restamp_part(directory, count=100)


def sealed_stamp_of_more_vectors(directory: Path) -> None:
    resealed(directory, parts=(replace(told(directory).parts[0], count=100),))


def stamp_of_another_version(directory: Path) -> None:
    resealed(directory, version=3)


def without_file(directory: Path) -> None:
    data_of(directory).unlink()


def without_ids(directory: Path) -> None:
    beside_of(directory).unlink()


def truncated(directory: Path) -> None:
    os.truncate(data_of(directory), data_of(directory).stat().st_size // 2)


def truncated_ids(directory: Path) -> None:
    os.truncate(beside_of(directory), beside_of(directory).stat().st_size // 2)


def emptied(directory: Path) -> None:
    strike(data_of(directory), lambda _: b"")


def emptied_ids(directory: Path) -> None:
    strike(beside_of(directory), lambda _: b"")


def truncated_with_a_stamp_that_fits(directory: Path) -> None:
    truncated(directory)
    resealed(directory)


def truncated_ids_with_a_stamp_that_fits(directory: Path) -> None:
    truncated_ids(directory)
    resealed(directory)


def emptied_with_a_stamp_that_fits(directory: Path) -> None:
    emptied(directory)
    resealed(directory)


def emptied_ids_with_a_stamp_that_fits(directory: Path) -> None:
    emptied_ids(directory)
    resealed(directory)


def lengthened(directory: Path) -> None:
    strike(data_of(directory), lambda content: content + b"\x00")


def lengthened_ids(directory: Path) -> None:
    strike(beside_of(directory), lambda content: content + b"\x00")


def noise_of_the_same_size(directory: Path) -> None:
    strike(data_of(directory), lambda content: b"\xa5" * len(content))


def noise_for_ids(directory: Path) -> None:
    strike(beside_of(directory), lambda content: b"\xa5" * len(content))


def noise_with_a_stamp_that_fits(directory: Path) -> None:
    noise_of_the_same_size(directory)
    resealed(directory)


def impossible_shape(directory: Path) -> None:
    def blow(content: bytes) -> bytes:
        assert content.count(b"(15, 8), }" + b" " * 20) == 1
        return content.replace(b"(15, 8), }" + b" " * 20, b"(15%s, 8), }" % (b"0" * 15) + b" " * 5)

    strike(data_of(directory), blow)
    resealed(directory)


def array_of(wrong: np.ndarray[Any, Any], *, is_ids: bool) -> Callable[[Path], None]:
    """Another array than there should be, and a stamp that fits."""

    def run(directory: Path) -> None:
        file = (beside_of if is_ids else data_of)(directory)
        file.unlink()
        np.save(file, wrong)
        resealed(directory)

    return run


def foreign(directory: Path) -> None:
    other = directory.parent / "other"
    with store.create(other, Toy.identity, Sampling()) as catalog:
        add(catalog, "other", *("white",) * 10)
        catalog.rebuild()
    drop_cache(directory)
    for file in other.glob("vectors*"):
        shutil.copy(file, directory)


@pytest.mark.parametrize(
    "damage",
    [
        without_stamp,
        stamp_that_is_not_json,
        stamp_that_is_not_text,
        stamp_of_another_form,
        stamp_that_is_a_list,
        stamp_with_text_for_a_number,
        stamp_of_a_file_elsewhere,
        stamp_of_another_dimension,
        stamp_of_more_vectors,
        sealed_stamp_of_more_vectors,
        stamp_of_another_version,
        without_file,
        without_ids,
        truncated,
        truncated_ids,
        emptied,
        emptied_ids,
        truncated_with_a_stamp_that_fits,
        truncated_ids_with_a_stamp_that_fits,
        emptied_with_a_stamp_that_fits,
        emptied_ids_with_a_stamp_that_fits,
        lengthened,
        lengthened_ids,
        noise_of_the_same_size,
        noise_for_ids,
        noise_with_a_stamp_that_fits,
        impossible_shape,
        pytest.param(array_of(np.eye(15, 8), is_ids=False), id="vectors of doubles"),
        pytest.param(array_of(np.eye(8, dtype=np.float32), is_ids=False), id="fewer vectors"),
        pytest.param(array_of(np.array([{}] * 15, object), is_ids=False), id="vectors that are pickled objects"),
        pytest.param(array_of(np.array([{}] * 15, object), is_ids=True), id="ids that are pickled objects"),
        pytest.param(array_of(np.arange(15, dtype=np.float64), is_ids=True), id="ids with fractions"),
        pytest.param(array_of(np.arange(101, 116), is_ids=True), id="ids that nobody has"),
        foreign,
    ],
)
def test_answers_are_the_same_whatever_became_of_the_cache(
    catalog: store.Catalog, damage: Callable[[Path], None]
) -> None:
    for number, sentence in enumerate(("red", "blue", "red blue", "green red", "red")):
        add(catalog, f"{number}", sentence, "yellow", sentence)
    catalog.rebuild()
    add(catalog, "newer", "red", "blue green red")
    with Searcher(catalog.directory) as searcher:
        hits = searcher.search("red", filters=ALL)
        assert searcher.notice is None
        damage(catalog.directory)
        assert searcher.search("red", filters=ALL) == hits
        assert "cezsar rebuild" in str(searcher.notice)
        catalog.rebuild()
        assert searcher.search("red", filters=ALL) == hits
        assert searcher.notice is None


@pytest.mark.parametrize("file_of", [data_of, beside_of])
def test_a_zero_in_the_caches_header_changes_no_answer(file_of: Callable[[Path], Path], catalog: store.Catalog) -> None:
    fill(catalog, "cache", ("a", ("red",)), ("b", ("red blue",)), ("c", ("blue",)))
    file = file_of(catalog.directory)
    content = file.read_bytes()
    header = range(128)  # of a .npy file
    changed = []
    with Searcher(catalog.directory) as searcher:
        hits = searcher.search("red")
        for place in (place for place in header if content[place]):
            strike(file, lambda _, at=place: content[:at] + b"\x00" + content[at + 1 :])  # type: ignore[misc]
            try:
                same = searcher.search("red") == hits
            except (RuntimeError, ValueError):  # NumPy's own
                same = False
            changed += [] if same and searcher.notice else [place]
    assert changed == []


def test_hits_are_scored_with_the_catalogs_own_vectors(catalog: store.Catalog) -> None:
    """A cache that fits its stamp and holds something else, as no accident makes one."""
    fill(catalog, "no cache", ("a", ("red",)), ("b", ("blue",)), ("c", ("green",)))
    wrong = Toy().encode_texts(["blue", "red", "green"])
    caches.build(catalog.directory, catalog.info, np.array([1, 2, 3]), wrong, generation=1)
    with Searcher(catalog.directory) as searcher:
        assert names(searcher.search("red", filters=Filters(top_k=1))) == ["a"]
        assert searcher.notice == (
            "The cache is not used: it holds other vectors than the catalog. `cezsar rebuild` makes it anew."
        )
        assert names(searcher.search("blue", filters=Filters(top_k=1))) == ["b"]


def test_a_cache_newer_than_a_catalog_restored_from_a_backup_changes_no_answer(
    videos: Path, tmp_path: Path, index_toy: Index
) -> None:
    """The cache holds ids that the restored catalog gives to other segments."""
    index = index_toy(videos / "red.mp4").index
    shutil.copy(index / store.FILE, tmp_path / "backup")
    index_toy(videos / "green.mp4")
    shutil.copy(tmp_path / "backup", index / store.FILE)
    assert [(hit.path.stem, hit.score) for hit in search("green", index)] == [("red", 0.0)]
    for file in index.glob(f"{store.FILE}-*"):
        file.unlink()
    index_toy(videos / "blue.mp4")
    assert [(hit.path.stem, hit.score) for hit in search("green", index)] == [("red", 0.0), ("blue", 0.0)]
    assert [(hit.path.stem, hit.score) for hit in search("blue", index)] == [("blue", 1.0), ("red", 0.0)]


def test_taking_a_video_out_of_a_catalog_restored_from_a_backup_leaves_no_trace_of_what_was_lost(
    videos: Path, tmp_path: Path, index_toy: Index
) -> None:
    index = index_toy(videos / "red.mp4", videos / "white.mp4").index
    shutil.copy(index / store.FILE, tmp_path / "backup")
    index_toy(videos / "green.mp4")
    shutil.copy(tmp_path / "backup", index / store.FILE)
    indexer.remove(index, [videos / "red.mp4"])
    assert [(hit.path.stem, hit.score) for hit in search("green", index)] == [("white", 0.0)]


# What to look for


def test_what_is_not_wanted_weighs_half_of_what_is(colours: Path) -> None:
    with Searcher(colours) as searcher:
        hits = searcher.search("red", without=["blue"])
    assert (hits[0].path.name, hits[-1].path.name) == ("red.mp4", "blue.mp4")
    assert [hit.score for hit in hits] == pytest.approx([1 / 1.25**0.5, *[0.0] * 6, -0.5 / 1.25**0.5])


def test_several_things_that_are_not_wanted_share_the_half(colours: Path) -> None:
    with Searcher(colours) as searcher:
        hits = searcher.search("red", without=["blue", "green"])
    assert hits[0].path.name == "red.mp4"
    assert sorted(names(hits[-2:])) == ["blue.mp4", "green.mp4"]
    assert [hit.score for hit in hits] == pytest.approx(
        [1 / 1.125**0.5, *[0.0] * 5, *[-0.25 / 1.125**0.5] * 2], abs=1e-6
    )


def test_what_is_wanted_and_not_wanted_at_once_is_refused(colours: Path) -> None:
    with Searcher(colours) as searcher, pytest.raises(QueryError, match="wanted and not wanted"):
        searcher.search("red", without=["red"])


def test_like_gives_what_a_whole_video_shows(by_second: Callable[..., Path], toy: Settings) -> None:
    path = by_second(("red", 3.0), ("blue", 1.0))
    with Searcher(toy.index) as searcher:
        found = searcher.like(path)
    assert found is not None
    assert found.dtype == np.float32
    assert found == pytest.approx(unit(3 * Toy().encode_texts(["red"]) + Toy().encode_texts(["blue"]))[0])


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.0, 2.0, "red"),
        (2.0, 4.0, "blue"),
        (1.5, 2.0, "red"),
        (1.5, 2.5, "red blue"),
        (0.5, 0.6, "red"),
        (3.5, 60.0, "blue"),
        (0.0, 4.0, "red blue"),
    ],
)
def test_like_gives_what_the_segments_that_touch_a_range_show(
    by_second: Callable[..., Path], toy: Settings, start_s: float, end_s: float, expected: str
) -> None:
    path = by_second(("red", 2.0), ("blue", 2.0))
    with Searcher(toy.index) as searcher:
        assert searcher.like(path, Segment(start_s, end_s)) == pytest.approx(Toy().encode_texts([expected])[0])


def test_like_just_one_segment_gives_that_one_and_none_that_overlaps_it(toy: Settings, tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", [("red", 2.0), ("blue", 2.0)])
    indexer.index([path], replace(toy, window_s=2.0, stride_s=1.0))
    with Searcher(toy.index) as searcher:
        with searcher.read() as rows:
            segments = rows.parts(1, after=0, limit=9)
        assert [(part.start_s, part.end_s) for part in segments] == [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)]
        for part in segments:
            alone = searcher.vectors_of([part.id])[0]
            assert np.array_equal(searcher.like(path, Segment(part.start_s, part.end_s)), alone)
        around = searcher.like(path, Segment(2.0, 3.9))
        assert not np.allclose(around, searcher.vectors_of([segments[2].id])[0], atol=1e-3)


@pytest.mark.parametrize(("start_s", "end_s"), [(4.0, 5.0), (60.0, 70.0)])
def test_a_range_beyond_the_end_is_refused(
    by_second: Callable[..., Path], toy: Settings, start_s: float, end_s: float
) -> None:
    path = by_second(("red", 4.0))
    with Searcher(toy.index) as searcher, pytest.raises(QueryError, match="it ends at 4 s"):
        searcher.like(path, Segment(start_s, end_s))


@pytest.mark.parametrize("name", ["unknown.mp4", ".", "red.mp4/", "~nobody-has-this-name/red.mp4", "~red.mp4"])
def test_a_video_that_is_not_in_the_index_has_no_likeness(colours: Path, name: str) -> None:
    with Searcher(colours) as searcher:
        assert searcher.like(Path(name)) is None
        assert searcher.like(Path(name), Segment(0.0, 1.0)) is None


def test_like_takes_a_relative_path(colours: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(videos.parent)
    with Searcher(colours) as searcher:
        assert np.array_equal(searcher.like(Path(videos.name, "red.mp4")), searcher.like(videos / "red.mp4"))


def test_a_likeness_alone_is_searched_for(colours: Path, videos: Path) -> None:
    with Searcher(colours) as searcher:
        red = searcher.like(videos / "red.mp4")
        assert red is not None
        assert searcher.search(like=[red]) == searcher.search("red")


def test_text_and_likeness_weigh_alike(colours: Path, videos: Path) -> None:
    with Searcher(colours) as searcher:
        red, blue = searcher.like(videos / "red.mp4"), searcher.like(videos / "blue.mp4")
        assert red is not None
        assert blue is not None
        one = searcher.search("green", like=[red])
        two = searcher.search("green", like=[red, blue])
        away = searcher.search(without=["blue"], like=[red])
        all_three = searcher.search("green", without=["blue"], like=[red])
    assert sorted(names(one[:2])) == ["green.mp4", "red.mp4"]
    assert [hit.score for hit in one] == pytest.approx([HALF, HALF, *[0.0] * 6])
    assert sorted(names(two[:3])) == ["blue.mp4", "green.mp4", "red.mp4"]
    assert [hit.score for hit in two] == pytest.approx([3**-0.5] * 3 + [0.0] * 5)
    assert [away[0].score, away[-1].score] == pytest.approx([1 / 1.25**0.5, -0.5 / 1.25**0.5])
    assert [hit.score for hit in all_three] == pytest.approx([3**-0.5] * 2 + [0.0] * 5 + [-(3**-0.5)])


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u3000", "\u200b", "\ufeff \u00ad\u200d", "\u2800\ufe0f"])
def test_a_blank_text_is_refused(colours: Path, videos: Path, blank: str) -> None:
    with Searcher(colours) as searcher:
        red = searcher.like(videos / "red.mp4")
        assert red is not None
        for ask in (
            lambda: searcher.search(blank),
            lambda: searcher.search("red", without=["blue", blank]),
            lambda: searcher.search(blank, like=[red]),
        ):
            with pytest.raises(QueryError, match="empty"):
                ask()


def test_full_width_letters_and_invisible_ones_ask_for_the_same(colours: Path) -> None:
    with Searcher(colours) as searcher:
        for text in ("\uff52\uff45\uff44", "r\u200be\u00add", "\ufeffred"):
            assert searcher.search(text, without=["blue"]) == searcher.search("red", without=["blue"])
            assert searcher.search("green", without=[text]) == searcher.search("green", without=["red"])


def test_a_text_of_more_than_ten_thousand_characters_is_refused(colours: Path) -> None:
    with Searcher(colours) as searcher:
        assert len(searcher.search("red " * 2_500)) == 8
        with pytest.raises(QueryError, match=r"A text of 10,001 characters is too long: at most 10,000\."):
            searcher.search("red " * 2_500 + "x")
        with pytest.raises(QueryError, match="too long"):
            searcher.search("red", without=["x" * 10_001])


def test_where_a_long_text_was_cut_is_said(colours: Path, toy: Settings, videos: Path) -> None:
    indexer.index([videos / "red.mp4"], replace(toy, model="lite"))
    words = [f"{number % 10}" for number in range(300)]  # a token each
    with Searcher(toy.index) as searcher:
        assert searcher.unread("a person plays the violin") is None
        assert searcher.unread(" ".join(words[:254])) is None  # beside the two that begin and end it
        assert searcher.unread(" ".join(words)) == (
            'The text is longer than lite reads: the part after "... 8 9 0 1 2 3" was not read.'
        )
    with Searcher(colours) as searcher:
        assert searcher.unread("red " * 2_000) is None


@pytest.mark.parametrize("without", [[], ["blue"]])
def test_nothing_to_look_for_is_refused(colours: Path, without: list[str]) -> None:
    with Searcher(colours) as searcher, pytest.raises(QueryError, match="nothing to look for"):
        searcher.search(without=without)


def test_stray_surrogates_do_not_hide_the_rest_of_a_text(colours: Path) -> None:
    with Searcher(colours) as searcher:
        assert searcher.search("red \udcff \ud800") == searcher.search("red")
        assert len(searcher.search("\udcff", without=["blue \udc80"])) == 8


def test_text_that_is_not_utf8_does_not_stop_a_real_text_encoder(toy: Settings, tmp_path: Path) -> None:
    path = write_video(tmp_path / "red.mp4", [("red", 0.5)])
    indexer.index([path], replace(toy, model="lite-objects"))
    with Searcher(toy.index) as searcher:
        assert names(searcher.search(os.fsdecode(b"caf\xe9"), without=["\ud800 blue"])) == ["red.mp4"]


@pytest.mark.parametrize("values", [{"top_k": 0}, {"top_k": -1}, {"per_video": -1}, {"min_score": float("nan")}])
def test_filters_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        Filters(**values)  # type: ignore[arg-type]


# Which indexes


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(IndexMissing, match="No index"):
            search("red", directory)
    assert list(tmp_path.iterdir()) == []


def test_an_index_made_by_other_weights_of_that_name_is_refused(colours: Path, tmp_path: Path) -> None:
    shutil.copytree(colours, tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "copy" / store.FILE)) as connection, connection:
        connection.execute("UPDATE index_info SET weights_sha256 = ?", ("0" * 64,))
    with pytest.raises(IndexMismatch, match="weights of 'toy'"):
        search("red", tmp_path / "copy")


# Readers never write


@pytest.fixture(params=["as it was written", "after a question"])
def read_only(request: pytest.FixtureRequest, colours: Path) -> Iterator[Path]:
    """A copy of the colours' index in a folder that nobody may write to and everybody may read."""
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "index"
        shutil.copytree(colours, directory, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
        if request.param == "after a question":  # SQLite has left files of its own then
            search("red", directory)
        Path(parent).chmod(0o755)
        for file in directory.iterdir():
            file.chmod(0o444)
        directory.chmod(0o555)
        yield directory
        directory.chmod(0o755)


def test_a_read_only_index_answers_and_is_left_as_it_was(
    read_only: Path, colours: Path, videos: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    hits = search("red", colours)
    before = {file.name: file.read_bytes() for file in read_only.iterdir()}
    with unprivileged():
        with pytest.raises(PermissionError):
            (read_only / "new").touch()
        with Searcher(read_only) as searcher:
            assert searcher.search("red") == hits
            assert searcher.notice is None
            assert searcher.like(videos / "red.mp4") is not None
    assert {file.name: file.read_bytes() for file in read_only.iterdir()} == before


def test_questions_change_no_row(colours: Path, tmp_path: Path) -> None:
    directory = tmp_path / "copy"
    shutil.copytree(colours, directory)

    def content() -> tuple[dict[str, bytes], list[str]]:
        with closing(sqlite3.connect(f"file:{directory / store.FILE}?mode=ro", uri=True)) as connection:
            rows = list(connection.iterdump())
        return {file.name: file.read_bytes() for file in directory.glob("vectors*")}, rows

    before = content()
    assert len(before[0]) == 3
    with Searcher(directory) as searcher:
        searcher.search("red", without=["blue"])
        searcher.search("red", filters=Filters(path="nothing"))
    assert content() == before


@pytest.mark.parametrize("how", ["hidden", "purged"])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_much_that_must_not_be_found_in_one_part_hides_nothing_that_is_farther(
    catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch, where: int, how: str
) -> None:
    monkeypatch.setattr(cache, "_small", lambda *_: ())
    for number in range(3):
        if number == where:
            near = add(catalog, "near", *("red",) * 100)
            add(catalog, "far", "red blue")
        add(catalog, f"others {number}", *("green",) * 400)
        catalog.fold_if_due()
    with catalog.transaction() as writer:
        (Writer.purge_videos if how == "purged" else Writer.hide_videos)(writer, [near])
    assert [part.count for part in told(catalog.directory).parts] == [501 if n == where else 400 for n in range(3)]
    with Searcher(catalog.directory) as searcher:
        assert names(searcher.search("red", filters=Filters(top_k=2))) == ["far", "others 0"]
        assert searcher.notice is None
        with searcher.read() as rows:
            found = rows.nearest(Toy().encode_texts(["red"])[0], 20)
    assert found.scores[0] == pytest.approx(HALF)
    assert found.scores[1:].tolist() == [0.0] * 19


# Against an obvious oracle, over catalogs with a random past


@dataclass(frozen=True)
class Change:
    what: str
    which: int
    num_segments: int


changes = st.lists(
    st.builds(
        Change,
        st.sampled_from(["add", "add", "add", "replace", "hide", "show", "purge", "cache", "fold", "part", "part"]),
        st.integers(0, 9),
        st.integers(1, 15),
    ),
    max_size=16,
)
filters = st.builds(
    Filters,
    top_k=st.integers(1, 12),
    min_score=st.sampled_from([None, None, -0.2718, 0.0, 0.3141]),
    per_video=st.integers(0, 3),
    path=st.sampled_from([None, None, "*/a/*", "*[02468].mp4", "nowhere"]),
)


def live_through(
    catalog: store.Catalog,
    past: list[Change],
    draw: Callable[[int], Vectors],
    runs_seed: int,
    *,
    longer: int = 1,
    num_cuts: int = 2,
) -> None:
    """Make a catalog have this past; draw gives the vectors of so many segments, longer times as many as it says.

    Two neighbours are of one run, but for one in num_cuts of them.
    """
    rng = np.random.default_rng(runs_seed)
    ids: list[int] = []

    def file(number: int) -> store.File:
        return file_at(f"{'ab'[number % 2]}/{number}.mp4")

    def made(num_segments: int) -> store.Embedding:
        num_segments *= longer
        cuts = rng.integers(0, num_cuts, num_segments) == 0
        return embedded(draw(num_segments), tuple(np.cumsum(cuts).tolist()))

    for number, change in enumerate(past):
        if change.what == "cache":
            catalog.rebuild()
            continue
        if change.what == "fold":
            catalog.fold_if_due()
            continue
        if change.what == "part":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(cache, "_small", lambda *_: ())
                catalog.fold_if_due()
            continue
        with catalog.transaction() as writer:
            if change.what == "add":
                ids.append(writer.add_video(file(number), bytes(32), made(change.num_segments)))
                continue
            chosen = ids[change.which : change.which + 1]
            if change.what == "purge":
                writer.purge_videos(chosen)
                del ids[change.which : change.which + 1]
            elif change.what == "hide":
                writer.hide_videos(chosen)
            elif chosen and change.what == "show":
                writer.place_video(chosen[0], file(number))
            elif chosen:
                writer.replace_video(chosen[0], file(number), bytes(32), made(change.num_segments))


def slow_answer(directory: Path, direction: Vectors, chosen: Filters) -> list[Hit]:
    """Every visible row, scored one by one; each stretch once, ranked, and so many of each video."""
    with closing(sqlite3.connect(directory / store.FILE)) as connection:
        rows = connection.execute(
            "SELECT segments.id, video_id, run, start_s, end_s, vector, roots.path || '/' || videos.path FROM segments"
            " JOIN videos ON videos.id = video_id JOIN roots ON roots.id = root_id WHERE NOT hidden"
        ).fetchall()
    found: list[Hit] = []
    owners: list[int] = []
    seen = set()
    scored = sorted((-round(float(np.frombuffer(row[5], "<f4") @ direction), 6), row[0], row) for row in rows)
    for negative, segment_id, (_, video_id, run, _, _, _, path) in scored:
        if chosen.path is not None and not fnmatch.fnmatchcase(path, chosen.path):
            continue
        if chosen.min_score is not None and -negative < chosen.min_score:
            continue
        if (video_id, run) in seen or (chosen.per_video and owners.count(video_id) >= chosen.per_video):
            continue
        stretch = [row for row in rows if (row[1], row[2]) == (video_id, run)]
        seen.add((video_id, run))
        owners.append(video_id)
        start_s, end_s = min(row[3] for row in stretch), max(row[4] for row in stretch)
        found.append(Hit(len(found) + 1, -negative, Path(path), start_s, end_s, segment_id, video_id))
    return found[: chosen.top_k]


@given(past=changes, chosen=filters, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_answers_agree_with_a_slow_search_over_all_visible_vectors(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, past: list[Change], chosen: Filters, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    directory = tmp_path_factory.mktemp("random") / "index"
    shutil.copytree(empty, directory)
    direction = unit(rng.standard_normal((1, 8)))[0]
    with opening.open_to_write(directory) as catalog, Searcher(directory) as searcher:
        live_through(catalog, past, lambda n: unit(rng.standard_normal((n, 8))), seed)
        expected = slow_answer(directory, direction, chosen)
        unlimited = slow_answer(directory, direction, replace(chosen, top_k=10_000, per_video=0))
        for _ in range(2):
            hits = searcher.search(like=[direction], filters=chosen)
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-5)
            assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
            possible = {(hit.path, hit.start_s): hit for hit in unlimited}
            assert len({(hit.path, hit.start_s) for hit in hits}) == len(hits)
            for hit in hits:
                other = possible[hit.path, hit.start_s]
                assert (hit.score, hit.end_s) == (pytest.approx(other.score, abs=1e-5), other.end_s)
                if chosen.per_video:
                    assert sum(other.path == hit.path for other in hits) <= chosen.per_video
            drop_cache(directory)


@given(past=changes, chosen=filters, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_equal_scores_rank_alike_with_a_cache_without_one_and_with_a_new_one(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, past: list[Change], chosen: Filters, seed: int
) -> None:
    """A segment of one colour scores exactly as much as the direction holds of it, so that most scores are tied."""
    rng, colours = np.random.default_rng(seed), np.eye(8, dtype=np.float32)
    directory = tmp_path_factory.mktemp("ties") / "index"
    shutil.copytree(empty, directory)
    direction = unit(np.array([[3, 2, 1, 0, 0, 0, 0, 0]]))[0]
    with opening.open_to_write(directory) as catalog, Searcher(directory) as searcher:
        live_through(catalog, past, lambda n: colours[rng.choice(3, n, p=[0.1, 0.8, 0.1])], seed)
        expected = slow_answer(directory, direction, chosen)
        assert searcher.search(like=[direction], filters=chosen) == expected
        drop_cache(directory)
        assert searcher.search(like=[direction], filters=chosen) == expected
        catalog.rebuild()
        assert searcher.search(like=[direction], filters=chosen) == expected


@given(past=changes, chosen=filters, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_long_runs_answer_as_a_slow_search_does_with_every_kind_of_cache(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, past: list[Change], chosen: Filters, seed: int
) -> None:
    """Runs of twenty segments, so that one look is not enough; few scores, so that most are tied."""
    rng, colours = np.random.default_rng(seed), np.eye(8, dtype=np.float32)
    directory = tmp_path_factory.mktemp("runs") / "index"
    shutil.copytree(empty, directory)
    direction = unit(np.array([[3, 2, 1, 0, 0, 0, 0, 0]]))[0]
    with opening.open_to_write(directory) as catalog, Searcher(directory) as searcher:
        live_through(catalog, past, lambda n: colours[rng.choice(3, n, p=[0.3, 0.6, 0.1])], seed, longer=8, num_cuts=20)
        expected = slow_answer(directory, direction, chosen)
        assert searcher.search(like=[direction], filters=chosen) == expected
        drop_cache(directory)
        assert searcher.search(like=[direction], filters=chosen) == expected
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache, "APPROXIMATE_FROM", 40)
            if catalog_size(directory) >= 40:  # or it is an exact one again
                catalog.rebuild()
                assert searcher.search(like=[direction], filters=chosen, exact=True) == expected
        catalog.rebuild()
        assert searcher.search(like=[direction], filters=chosen) == expected


def catalog_size(directory: Path) -> int:
    """How many segments there are, hidden ones too."""
    with closing(sqlite3.connect(directory / store.FILE)) as connection:
        return int(connection.execute("SELECT count(*) FROM segments").fetchone()[0])
