"""Questions with an order: one thing after another in the same video, in either store."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cezsar import store
from cezsar.encoders.toy import Toy
from cezsar.errors import QueryError
from cezsar.location import Location, located
from cezsar.query import Filters, Searcher, Wanted
from cezsar.query.order import OVERLAP, Chain, best_chain, chains
from cezsar.store import Outline
from cezsar.types import Hit, HitPart, Sampling, Segment

_NUMBERS = itertools.count()
HALF = 0.5**0.5  # the score of a segment of two colours, for one of them


@pytest.fixture(params=["folder", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Where an index can be made, in either store."""
    if request.param == "folder":
        return tmp_path / "index"
    return located(f"{request.getfixturevalue('shared_database')}&schema=order_{next(_NUMBERS)}")


@pytest.fixture
def catalog(location: Location) -> Iterator[store.Catalog]:
    """An empty index of the toy encoder, open for writing."""
    with store.create(location, Toy.identity, Sampling(2.0, 8.0, 4.0)) as made:
        yield made


def add(
    catalog: store.Catalog,
    name: str,
    *sentences: str,
    content: bytes | None = None,
    outline: Outline | None = None,
    plain: tuple[bool, ...] | None = None,
) -> int:
    """A video with a segment of 8 s every 4 s, each of which shows the colours that its sentence names."""
    parts = tuple(Segment(4.0 * number, 4.0 * number + 8) for number in range(len(sentences)))
    runs = tuple(range(len(parts)))
    vectors = Toy().encode_texts(sentences)
    made = store.Embedding(parts[-1].end_s, parts, runs, vectors, None, 0, outline, plain)
    file = store.File(b"/videos", name.encode(), 1, 1)
    return catalog.write(lambda writer: writer.add_video(file, content or name.encode().ljust(32), made))


def found(location: Location, text: str | None, *then: str | Wanted, **options: object) -> list[Hit]:
    filters = options.pop("filters", Filters())
    with Searcher(location) as searcher:
        return searcher.search(text, then=then, filters=filters, **options)  # type: ignore[arg-type]


def names(hits: Sequence[Hit]) -> list[str]:
    return [hit.path.name for hit in hits]


# What is asked for


def test_a_hit_is_the_stretch_from_the_first_part_to_the_last(location: Location, catalog: store.Catalog) -> None:
    other = add(catalog, "backward.mp4", "blue", "blue", "red", "red")
    right = add(catalog, "forward.mp4", "green", "red", "green", "blue", "green")
    first, second = found(location, "red", "blue")
    assert first == Hit(
        1, 1.0, Path("/videos/forward.mp4"), 4.0, 20.0, 6, right,
        parts=(HitPart("red", 1.0, 4.0, 12.0, 6), HitPart("blue", 1.0, 12.0, 20.0, 8)),
    )  # fmt: skip
    assert (second.video_id, second.score, second.rank) == (other, 0.5, 2)
    assert found(location, "blue", "red")[0].path.name == "backward.mp4"


def test_three_parts_come_in_turn(location: Location, catalog: store.Catalog) -> None:
    add(catalog, "rgb.mp4", "red", "white", "green", "white", "blue")
    add(catalog, "gbr.mp4", "green", "white", "blue", "white", "red")
    hits = found(location, "red", "green", "blue")
    assert names(hits) == ["rgb.mp4", "gbr.mp4"]
    assert [part.start_s for part in hits[0].parts] == [0.0, 8.0, 16.0]
    assert [part.text for part in hits[0].parts] == ["red", "green", "blue"]
    assert names(found(location, "green", "blue", "red")) == ["gbr.mp4", "rgb.mp4"]


def test_parts_of_different_videos_are_no_hit(location: Location, catalog: store.Catalog) -> None:
    add(catalog, "red.mp4", "red")
    add(catalog, "blue.mp4", "blue")
    assert found(location, "red", "blue") == []


@pytest.mark.parametrize(("within_s", "score"), [(60, 1.0), (8.0, 1.0), (7.9, 0.5), (0.001, 0.5)])
def test_parts_lie_within_so_many_seconds(
    location: Location, catalog: store.Catalog, within_s: float, score: float
) -> None:
    add(catalog, "a.mp4", "red", "white", "white", "white", "blue")
    (hit,) = found(location, "red", "blue", within_s=within_s)
    assert hit.score == score


def test_neighbours_that_overlap_by_half_follow_one_another(location: Location, catalog: store.Catalog) -> None:
    add(catalog, "a.mp4", "red", "blue")
    (hit,) = found(location, "red", "blue")
    assert (hit.score, hit.start_s, hit.end_s) == (1.0, 0.0, 12.0)


def test_the_same_twice_is_asked_for_in_two_places(location: Location, catalog: store.Catalog) -> None:
    add(catalog, "once.mp4", "red", "white", "white")
    add(catalog, "twice.mp4", "red", "white", "red")
    hits = found(location, "red", "red")
    assert [(hit.path.name, hit.score) for hit in hits] == [("twice.mp4", 1.0), ("once.mp4", 0.5)]


def test_not_turns_away_from_every_part_and_words_of_a_part_from_theirs(
    location: Location, catalog: store.Catalog
) -> None:
    add(catalog, "green too.mp4", "red green", "white", "blue green")
    add(catalog, "green first.mp4", "red green", "white", "blue")
    add(catalog, "none.mp4", "red", "white", "blue")
    assert names(found(location, "red", "blue", without=["green"])) == ["none.mp4", "green first.mp4", "green too.mp4"]
    best = found(location, "red green", Wanted("blue", ("green",)))
    assert names(best)[0] == "green first.mp4"


def test_an_example_may_come_first(location: Location, catalog: store.Catalog) -> None:
    add(catalog, "a.mp4", "red", "white", "blue")
    (hit,) = found(location, None, "blue", like=Toy().encode_texts(["red"]))
    assert [(part.text, part.score) for part in hit.parts] == [(None, 1.0), ("blue", 1.0)]


def test_filters_choose_before_the_ranking_is_cut(location: Location, catalog: store.Catalog) -> None:
    for number in range(12):
        add(catalog, f"right {number:02d}.mp4", "red", "white", "blue")
    add(catalog, "other.mp4", "red green", "white", "blue")
    assert names(found(location, "red", "blue", filters=Filters(top_k=2))) == ["right 00.mp4", "right 01.mp4"]
    assert names(found(location, "red", "blue", filters=Filters(top_k=2, path="other.mp4"))) == ["other.mp4"]
    assert len(found(location, "red", "blue", filters=Filters(top_k=50, min_score=0.9))) == 12
    assert found(location, "red", "blue", filters=Filters(top_k=50, path="nothing")) == []


def test_further_hits_of_a_video_share_no_time(location: Location, catalog: store.Catalog) -> None:
    add(catalog, "a.mp4", "red", "white", "blue", "white", "red", "white", "blue green")
    assert [(hit.start_s, hit.end_s) for hit in found(location, "red", "blue")] == [(0.0, 16.0)]
    both = found(location, "red", "blue", filters=Filters(per_video=2))
    assert [(hit.rank, hit.start_s, hit.end_s) for hit in both] == [(1, 0.0, 16.0), (2, 16.0, 32.0)]
    assert both[1].score == pytest.approx((1 + HALF) / 2, abs=1e-6)
    assert found(location, "red", "blue", filters=Filters(per_video=0))[:2] == both


def test_plain_segments_are_no_part(location: Location, catalog: store.Catalog) -> None:
    add(catalog, "dark.mp4", "black", "white", "red", plain=(True, False, False))
    (hit,) = found(location, "black", "red")
    assert hit.parts[0].start_s == 4.0


def test_hidden_videos_are_no_hit(location: Location, catalog: store.Catalog) -> None:
    number = add(catalog, "a.mp4", "red", "white", "blue")
    catalog.write(lambda writer: writer.hide_videos([number]))
    assert found(location, "red", "blue") == []


def test_copies_are_one_hit(location: Location, catalog: store.Catalog) -> None:
    shots = Outline(np.array([0.0, 16.0]), np.zeros((1, 16), np.uint8), np.ones((16, 8), np.int8))
    for name in ("one.mp4", "two.mp4"):
        add(catalog, name, "red", "white", "blue", content=b"the same".ljust(32), outline=shots)
    (hit,) = found(location, "red", "blue")
    assert (hit.path.name, hit.copies) == ("one.mp4", (Path("/videos/two.mp4"),))
    assert names(found(location, "red", "blue", filters=Filters(all_copies=True))) == ["one.mp4", "two.mp4"]


def test_parts_begin_and_end_with_shots(location: Location, catalog: store.Catalog) -> None:
    codes = store.outline.coded(Toy().encode_texts(["red", "blue"]))
    shots = Outline(np.array([0.0, 6.5, 12.0]), codes, np.ones((12, 8), np.int8))
    add(catalog, "cut.mp4", "red", "blue", outline=shots)
    (hit,) = found(location, "red", "blue")
    assert [(part.start_s, part.end_s) for part in hit.parts] == [(0.0, 6.5), (6.5, 12.0)]


@pytest.mark.parametrize("within_s", [0.0, -1.0, 86_400 * 365.0, float("nan"), float("inf")])
def test_a_time_that_makes_no_sense_is_an_error(location: Location, catalog: store.Catalog, within_s: float) -> None:
    with pytest.raises(QueryError, match="over 0 and at most 86,400 s, a day"):
        found(location, "red", "blue", within_s=within_s)


@pytest.mark.parametrize("then", [(" ",), ("blue", ""), ("blue" * 9_999,), ("blue",) * 8])
def test_parts_that_cannot_be_asked_for_are_an_error(
    location: Location, catalog: store.Catalog, then: tuple[str, ...]
) -> None:
    with pytest.raises(QueryError, match=r"empty|too long|2 to 8 parts"):
        found(location, "red", *then)


def test_then_without_anything_before_it_is_an_error(location: Location, catalog: store.Catalog) -> None:
    with pytest.raises(QueryError, match="nothing to come first"):
        found(location, None, "blue")


# Against a slow oracle


def slow(scored: NDArray[np.int64], parts: Sequence[Segment], within_s: float) -> int | None:
    """The best total over all ways to choose a segment for each part."""
    totals = [
        sum(int(scored[part, place]) for part, place in enumerate(places))
        for places in itertools.product(range(len(parts)), repeat=len(scored))
        if all(follows(parts[a], parts[b], within_s) for a, b in itertools.pairwise(places))
    ]
    return max(totals, default=None)


def follows(one: Segment, other: Segment, within_s: float) -> bool:
    shared_s = one.end_s - other.start_s
    return (
        one.start_s < other.start_s and shared_s <= OVERLAP * (one.end_s - one.start_s) + 1e-6 and -shared_s <= within_s
    )


@st.composite
def courses(draw: st.DrawFn) -> tuple[NDArray[np.int64], list[Segment], int]:
    """Scores of 2 or 3 parts, segments of a window each or shorter at the end, and within_s."""
    num_parts, count = draw(st.integers(2, 3)), draw(st.integers(1, 7))
    window, stride = draw(st.sampled_from([(8, 4), (8, 2), (8, 8), (4, 8), (8, 5)]))
    last = draw(st.integers(stride * (count - 1) + 1, stride * (count - 1) + window))
    parts = [Segment(float(stride * i), float(min(stride * i + window, last))) for i in range(count)]
    flat = draw(st.lists(st.integers(-3, 3), min_size=num_parts * count, max_size=num_parts * count))
    return np.array(flat, np.int64).reshape(num_parts, count), parts, draw(st.sampled_from([1, 4, 9, 60]))


@given(courses())
@settings(max_examples=200)
def test_the_best_chain_is_the_best_of_all_chains(course: tuple[NDArray[np.int64], list[Segment], int]) -> None:
    scored, parts, within_s = course
    starts_s, ends_s = (np.array([getattr(one, name) for one in parts]) for name in ("start_s", "end_s"))
    best = best_chain(scored, starts_s, ends_s, within_s=within_s)
    assert (best and best.total) == slow(scored, parts, within_s)
    if best:
        assert sum(int(scored[part, place]) for part, place in enumerate(best.places)) == best.total
        assert all(follows(parts[a], parts[b], within_s) for a, b in itertools.pairwise(best.places))
    several = list(chains(scored, starts_s, ends_s, within_s=within_s))
    assert several[:1] == ([best] if best else [])
    stretches = sorted((starts_s[one.places[0]], ends_s[one.places[-1]]) for one in several)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(stretches))


def test_of_equal_chains_the_earliest_is_taken() -> None:
    times_s = np.arange(6) * 4.0
    scored = np.ones((2, 6), np.int64)
    assert best_chain(scored, times_s, times_s + 8, within_s=60.0) == Chain(2, (0, 1))
    assert best_chain(scored, times_s, times_s + 4, within_s=60.0) == Chain(2, (0, 1))


@pytest.mark.parametrize("top_k", [1, 3, 40])
def test_an_index_gives_what_all_its_chains_give(
    location: Location, catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch, top_k: int
) -> None:
    monkeypatch.setattr("cezsar.query.order._FIRST_LOOK", 4)  # so that several looks are needed
    draw = np.random.default_rng(5)
    colours = ["red", "blue", "red green", "blue white", "green", "white red blue"]
    videos = {}
    for number in range(40):
        shown = [colours[i] for i in draw.integers(0, len(colours), draw.integers(1, 6))]
        videos[add(catalog, f"{number}.mp4", *shown)] = shown
    rows = Toy().encode_texts(["red", "blue"])
    expected = []
    for video, shown in videos.items():
        parts = [Segment(4.0 * i, 4.0 * i + 8) for i in range(len(shown))]
        scored = np.round(rows.astype(float) @ Toy().encode_texts(shown).T * 1e6).astype(np.int64)
        if (total := slow(scored, parts, 60.0)) is not None:
            expected.append((-total, video))
    hits = found(location, "red", "blue", filters=Filters(top_k=top_k))
    given = [(-round(sum(part.score for part in hit.parts) * 1e6), hit.video_id) for hit in hits]
    assert given == sorted(expected)[:top_k]
    assert [replace(hit, rank=1) for hit in hits[:1]] == found(location, "red", "blue", filters=Filters(top_k=1))
