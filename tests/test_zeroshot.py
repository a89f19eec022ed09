"""The nearest class of every video."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_videos import COLOURS, write_video

from cezsar import indexer, store
from cezsar.encoders.toy import Toy
from cezsar.errors import IndexMismatch, SettingsError
from cezsar.query import Searcher, classify, classify_videos, from_names
from cezsar.query.prompts import Labels
from cezsar.settings import Settings, load
from cezsar.types import IndexReport, Prediction, Sampling, Segment, SegmentPredictions, Vectors, VideoPredictions, unit

Index = Callable[..., IndexReport]


@pytest.fixture(scope="module")
def colours(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searcher]:
    """The index of those, for tests that change nothing."""
    made = load(environ={}, index=tmp_path_factory.mktemp("colours"), model="toy")
    indexer.index([videos], made)
    with Searcher(made.index) as searcher:
        yield searcher


def labels_of(video: VideoPredictions) -> list[str]:
    return [prediction.label for prediction in video.predictions]


def scores_of(video: VideoPredictions) -> list[float]:
    return [prediction.score for prediction in video.predictions]


def test_every_colour_is_its_own_class(colours: Searcher, videos: Path) -> None:
    found = classify(colours, [videos], from_names(COLOURS), top_k=1, raw=True)
    assert found == [VideoPredictions(videos / f"{name}.mp4", (Prediction(name, 1.0),)) for name in sorted(COLOURS)]


def test_the_nearest_sentence_decides_and_not_all_sentences_together(colours: Searcher, videos: Path) -> None:
    labels = {"many": ("red", "black", "white", "cyan"), "near": ("red and blue", "red or blue"), "far": ("green",)}
    [red] = classify(colours, [videos / "red.mp4"], labels, raw=True)
    assert labels_of(red) == ["many", "near", "far"]
    assert scores_of(red) == pytest.approx([1.0, 0.5**0.5, 0.0])


def test_equal_scores_keep_the_order_of_the_labels(colours: Searcher, videos: Path) -> None:
    labels = {"z": ("blue",), "b": ("green", "red"), "y": ("white",), "a": ("red", "black"), "c": ("red",)}
    [red] = classify(colours, [videos / "red.mp4"], labels, raw=True)
    assert labels_of(red) == ["b", "a", "c", "z", "y"]
    assert scores_of(red) == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_many_equal_scores_keep_the_order_of_the_labels(colours: Searcher, videos: Path) -> None:
    labels = {f"{number * 37 % 100}": ("red",) if number % 2 else ("green",) for number in range(100)}
    [red] = classify(colours, [videos / "red.mp4"], labels, top_k=100)
    assert labels_of(red) == [*list(labels)[1::2], *list(labels)[0::2]]


@pytest.mark.parametrize(("top_k", "expected"), [(1, ["red"]), (2, ["red", "blue"]), (3, ["red", "blue", "green"])])
def test_top_k_best_labels_are_given(colours: Searcher, videos: Path, top_k: int, expected: list[str]) -> None:
    [found] = classify(colours, [videos / "red.mp4"], from_names(["blue", "red", "green"]), top_k=top_k)
    assert labels_of(found) == expected


def test_all_labels_are_given_where_there_are_fewer_than_top_k(colours: Searcher, videos: Path) -> None:
    [found] = classify(colours, [videos / "red.mp4"], from_names(["blue", "red"]), top_k=100)
    assert labels_of(found) == ["red", "blue"]


def test_one_label_is_enough(colours: Searcher, videos: Path) -> None:
    [found] = classify(colours, [videos / "red.mp4"], from_names(["green"]))
    assert found.predictions == (Prediction("green", 0.0),)


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one_is_refused(colours: Searcher, videos: Path, top_k: int) -> None:
    with pytest.raises(SettingsError, match=f"not {top_k}"):
        classify(colours, [videos], from_names(["red"]), top_k=top_k)


# Timelines


@pytest.fixture
def red_then_blue(tmp_path: Path, toy: Settings) -> Path:
    """A video of 3 s red and 1 s blue, indexed by the second."""
    path = write_video(tmp_path / "red-then-blue.mp4", [("red", 3.0), ("blue", 1.0)])
    indexer.index([path], replace(toy, window_s=1.0, stride_s=1.0))
    return path


def test_a_timeline_has_the_classes_of_each_segment(toy: Settings, red_then_blue: Path) -> None:
    with Searcher(toy.index) as searcher:
        [found] = classify(searcher, [red_then_blue], from_names(["blue", "red"]), top_k=1, timeline=True)
    assert found.segments == tuple(
        SegmentPredictions(Segment(start_s, start_s + 1.0), (Prediction(label, 1.0),))
        for start_s, label in [(0.0, "red"), (1.0, "red"), (2.0, "red"), (3.0, "blue")]
    )


def test_a_timeline_gives_top_k_classes_a_segment(toy: Settings, red_then_blue: Path) -> None:
    with Searcher(toy.index) as searcher:
        [found] = classify(searcher, [red_then_blue], from_names(["blue", "green", "red"]), top_k=2, timeline=True)
    first, *_, last = found.segments
    assert first.predictions == (Prediction("red", 1.0), Prediction("blue", 0.0))
    assert last.predictions == (Prediction("blue", 1.0), Prediction("green", 0.0))


@pytest.mark.parametrize("timeline", [True, False])
def test_a_video_is_the_mean_of_its_segments(toy: Settings, red_then_blue: Path, timeline: bool) -> None:
    with Searcher(toy.index) as searcher:
        [found] = classify(searcher, [red_then_blue], from_names(["blue", "red"]), timeline=timeline)
    assert labels_of(found) == ["red", "blue"]
    assert scores_of(found) == pytest.approx([3 / 10**0.5, 1 / 10**0.5])
    assert len(found.segments) == (4 if timeline else 0)


# Which videos


def test_videos_that_could_not_be_read_are_listed_with_their_reason_and_no_predictions(
    colours: Searcher, videos: Path
) -> None:
    errors = {videos / "damaged.mp4": "it is cut short", videos / "red.mp4": "it changed while it was being read"}
    found = classify(colours, [videos], from_names(["red"]), timeline=True, errors=errors)
    assert [video.path.stem for video in found] == sorted([*COLOURS, "damaged"])
    assert {video.path: video.error for video in found if video.error is not None} == errors
    assert [video.path.stem for video in found if not video.predictions] == ["damaged", "red"]
    assert [video.path.stem for video in found if not video.segments] == ["damaged", "red"]


def test_only_videos_under_the_given_paths_are_given_each_once_by_path(tmp_path: Path, index_toy: Index) -> None:
    for name in ("b/2.mp4", "b/1.mp4", "b/below/3.mp4", "bc/4.mp4", "b.mp4", "a/5.mp4", "c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        write_video(tmp_path / name, [("red", 0.5)])
    index = index_toy(tmp_path).index

    def under(*paths: str) -> list[str]:
        with Searcher(index) as searcher:
            found = classify(searcher, [tmp_path / path for path in paths], from_names(["red"]))
        return [str(video.path.relative_to(tmp_path)) for video in found]

    assert under("b") == ["b/1.mp4", "b/2.mp4", "b/below/3.mp4"]
    assert under("c.mp4", "b", "a", "b/1.mp4") == ["a/5.mp4", "b/1.mp4", "b/2.mp4", "b/below/3.mp4", "c.mp4"]
    assert under("b.mp4") == ["b.mp4"]
    assert under("d", "b/below/../2.mp4") == ["b/2.mp4"]
    assert under("d") == under() == []


def test_a_linked_folder_is_the_folder_that_it_leads_to(colours: Searcher, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(videos)
    found = classify(colours, [tmp_path / "link"], from_names(["red"]))
    assert [video.path for video in found] == [videos / f"{name}.mp4" for name in sorted(COLOURS)]


def test_hidden_videos_are_left_out(videos: Path, index_toy: Index) -> None:
    index = index_toy(videos).index
    indexer.remove(index, [videos / "red.mp4", videos / "blue.mp4"])
    with Searcher(index) as searcher:
        found = classify(searcher, [videos], from_names(["red"]))
    assert [video.path.stem for video in found] == sorted(set(COLOURS) - {"red", "blue"})


def test_an_index_of_other_weights_is_refused(videos: Path, index_toy: Index) -> None:
    index = index_toy(videos / "red.mp4").index
    with sqlite3.connect(index / store.FILE) as connection:
        connection.execute("UPDATE index_info SET weights_sha256 = ?", ("0" * 64,))
    connection.close()
    with Searcher(index) as searcher, pytest.raises(IndexMismatch, match="weights of 'toy'"):
        classify(searcher, [videos], from_names(["red"]))


# Against an obvious oracle

sentences = st.lists(st.sampled_from(list(COLOURS)), min_size=1, max_size=4).map(" ".join)


@given(
    labels=st.dictionaries(
        st.text("abc", min_size=1), st.lists(sentences, min_size=1, max_size=4).map(tuple), min_size=1, max_size=5
    ),
    top_k=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=25)
def test_classes_agree_with_a_slow_search_over_all_sentences(
    tmp_path_factory: pytest.TempPathFactory, labels: Labels, top_k: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = [unit(rng.standard_normal((rng.integers(1, 5), 8))) for _ in range(3)]
    directory = tmp_path_factory.mktemp("random")
    with store.create(directory, Toy.identity, Sampling()) as catalog, catalog.transaction() as writer:
        for number, vectors in enumerate(rows):
            parts = tuple(Segment(float(i), i + 1.0) for i in range(len(vectors)))
            embedding = store.Embedding(float(len(parts)), parts, tuple(range(len(parts))), vectors)
            writer.add_video(store.File(b"/videos", b"%d.mp4" % number, 1, 1), bytes(32), embedding)
    with Searcher(directory) as searcher:
        found = classify(searcher, [Path("/videos")], labels, top_k=top_k, timeline=True, raw=True)
    assert [video.path.name for video in found] == ["0.mp4", "1.mp4", "2.mp4"]
    for video, vectors in zip(found, rows, strict=True):
        assert_nearest(video.predictions, vectors.mean(axis=0), labels, top_k)
        assert [part.segment.start_s for part in video.segments] == list(range(len(vectors)))
        for part, vector in zip(video.segments, vectors, strict=True):
            assert_nearest(part.predictions, vector, labels, top_k)


def assert_nearest(predictions: tuple[Prediction, ...], vector: Vectors, labels: Labels, top_k: int) -> None:
    scores = {
        label: max(float(Toy().encode_texts([one])[0] @ vector / np.linalg.norm(vector)) for one in several)
        for label, several in labels.items()
    }
    best = sorted(scores.values(), reverse=True)[:top_k]
    assert [one.score for one in predictions] == pytest.approx(best, abs=1e-5)
    assert len({one.label for one in predictions}) == len(predictions)
    for one in predictions:
        assert one.score == pytest.approx(scores[one.label], abs=1e-5)


def test_labels_that_are_not_utf8_do_not_stop_a_real_text_encoder(toy: Settings, tmp_path: Path) -> None:
    """The shell hands over what is not UTF-8 as stray surrogates, which a tokenizer refuses."""
    write_video(tmp_path / "red.mp4", [("red", 0.5)])
    indexer.index([tmp_path], replace(toy, model="lite-objects"))
    with Searcher(toy.index) as searcher:
        [found] = classify(searcher, [tmp_path], from_names([os.fsdecode(b"caf\xe9"), "archery"]))
    assert sorted(labels_of(found)) == ["archery", "caf?"]


def test_videos_by_id_are_those_alone_in_their_order(colours: Searcher) -> None:
    with colours.read() as rows:
        ids = {Path(os.fsdecode(video.file.path)).stem: video.id for video in rows.videos()}
    found = classify_videos(colours, [ids["red"], 999, ids["blue"], ids["red"]], from_names(COLOURS), top_k=1)
    assert [(number, video and labels_of(video)) for number, video in found] == [
        (ids["red"], ["red"]),
        (999, None),
        (ids["blue"], ["blue"]),
    ]


def test_a_file_of_two_names_is_two_videos_by_id(tmp_path: Path, toy: Settings) -> None:
    (tmp_path / "real").mkdir()
    write_video(tmp_path / "real" / "red.mp4", [("red", 1.0)])
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "also").symlink_to(tmp_path / "real")
    indexer.index([tmp_path / "real", tmp_path / "linked"], toy)
    with Searcher(toy.index) as searcher:
        with searcher.read() as rows:
            ids = [video.id for video in rows.videos()]
        assert len(ids) == 2
        for number in ids:
            [(told, video)] = classify_videos(searcher, [number], from_names(["red"]))
            assert (told, video is not None and labels_of(video)) == (number, ["red"])
