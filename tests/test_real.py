"""The main job on real videos, with the embedded encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cezsar import indexer, metrics, query, store
from cezsar.settings import Settings, load
from cezsar.types import IndexReport

pytestmark = [pytest.mark.real, pytest.mark.slow]

_NAMES = {
    "ApplyEyeMakeup": "apply eye makeup",
    "Archery": "archery",
    "BabyCrawling": "baby crawling",
    "BandMarching": "band marching",
    "BasketballDunk": "basketball dunk",
    "Biking": "biking",
    "Billiards": "billiards",
    "Bowling": "bowling",
    "BoxingPunchingBag": "boxing punching bag",
    "BrushingTeeth": "brushing teeth",
    "PlayingGuitar": "playing guitar",
}


@pytest.fixture(scope="module")
def ucf(real_data: Path) -> Path:
    return real_data / "ucf101"


@pytest.fixture(scope="module")
def indexed(ucf: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, IndexReport]:
    # a frame in two seconds shows a class too, and costs half
    settings = load(environ={}, index=tmp_path_factory.mktemp("real") / "index", fps=0.5)
    return settings, indexer.index([ucf], settings)


def test_every_ucf_clip_is_read(indexed: tuple[Settings, IndexReport]) -> None:
    _, report = indexed
    assert (report.model, report.added, report.skipped) == ("lite", 117, ())


def test_second_index_embeds_nothing(
    ucf: Path, indexed: tuple[Settings, IndexReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = indexed
    monkeypatch.setattr("cezsar.encoders.load", None)  # not even the encoder is loaded
    report = indexer.index([ucf], settings)
    assert (report.added, report.unchanged, report.segments) == (0, 117, 0)


def test_bare_class_names_find_at_least_half_of_the_classes(ucf: Path, indexed: tuple[Settings, IndexReport]) -> None:
    with query.Searcher(indexed[0].index) as searcher:
        videos = query.classify(searcher, [ucf], query.from_names(_NAMES.values()), top_k=1)
    predicted = [video.predictions[0].label for video in videos]
    assert metrics.accuracy(predicted, [_NAMES[video.path.parent.name] for video in videos]) >= 0.5


def test_guitar_clips_come_first(indexed: tuple[Settings, IndexReport]) -> None:
    hits = query.search("person playing guitar", indexed[0].index)
    assert [hit.path.parent.name for hit in hits] == ["PlayingGuitar"] * 10


def test_web_clips_in_mp4_and_avi_are_read_whole(real_data: Path, toy: Settings) -> None:
    report = indexer.index([real_data / "clips"], toy)
    assert (report.added, report.skipped) == (12, ())


def test_sparse_slide_shows_have_the_duration_that_their_captions_give(real_data: Path, toy: Settings) -> None:
    lines = (real_data / "msrvtt_sparse" / "captions.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    captions = [json.loads(line) for line in lines]
    folder = real_data / "msrvtt_sparse"
    indexer.index([folder / caption["video"] for caption in captions], toy)
    with store.open(toy.index) as catalog, catalog.read() as rows:
        ends_s = {video.file.full_path.name: rows.segments(video.id)[0][-1].end_s for video in rows.videos()}
    for caption in captions:
        assert ends_s[caption["video"]] == pytest.approx(caption["end_s"], abs=0.05)
