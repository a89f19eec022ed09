"""A whole video along a question, and how it counts its frames, asked by HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest
from make_videos import write_video
from serving import serving

from cezsar import indexer
from cezsar.query import Searcher, asked
from cezsar.settings import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of three colours, of 20 s each, in 60 segments of 1 s; and one of a variable rate."""
    made = tmp_path_factory.mktemp("timeline")
    (made / "videos").mkdir()
    write_video(made / "videos" / "long.mp4", [("red", 20.0), ("green", 20.0), ("blue", 20.0)], fps=25)
    times_s = [0.0, 0.1, 0.2, 0.9, 1.0, 1.8]
    write_video(made / "videos" / "odd.mp4", [("red", 0.6)], times_s=times_s)
    settings = load(environ={}, index=made / "index", model="toy", window_s=1.0, stride_s=1.0)
    indexer.index([made / "videos"], settings)
    return made


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with serving(folder / "index", "--no-token") as address, httpx.Client(base_url=address, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def ids(client: httpx.Client) -> dict[str, int]:
    found = client.get("/api/v1/videos").json()["videos"]
    return {Path(video["path"]).name: video["video_id"] for video in found}


def scores(client: httpx.Client, video: int, **asked: object) -> dict[str, Any]:
    answer = client.get(f"/api/v1/videos/{video}/scores", params=asked)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_each_segment_has_the_score_that_a_search_gives_it(
    client: httpx.Client, folder: Path, ids: dict[str, int]
) -> None:
    told = scores(client, ids["long.mp4"], text="green")
    assert (told["parts"], told["num_segments"], len(told["segments"])) == (["green"], 60, 60)
    assert told["duration_s"] == pytest.approx(60.0)
    with Searcher(folder / "index") as searcher, searcher.read() as rows:
        direction = asked("green").directions(searcher.encode)[0]
        parts, vectors = rows.segments(ids["long.mp4"])
    assert [one["start_s"] for one in told["segments"]] == [part.start_s for part in parts]
    assert [one["scores"] for one in told["segments"]] == [
        [pytest.approx(row @ direction, abs=2e-6)] for row in vectors
    ]
    assert {round(one["start_s"]) for one in told["segments"] if one["scores"][0] > 0.9} == set(range(20, 40))
    assert told["cuts_s"] == [pytest.approx(20.0, abs=0.2), pytest.approx(40.0, abs=0.2)]


def test_the_rest_of_the_question_counts_too(client: httpx.Client, ids: dict[str, int]) -> None:
    video = ids["long.mp4"]
    plain = scores(client, video, text="green")["segments"]
    first = plain[0]["segment_id"]
    moved = scores(client, video, text="green", more=first)["segments"]
    assert moved[0]["scores"][0] > plain[0]["scores"][0] + 0.2
    assert moved[25]["scores"][0] < plain[25]["scores"][0]
    told = scores(client, video, text="red", then="blue")
    assert told["parts"] == ["red", "blue"]
    assert [[round(score) for score in told["segments"][place]["scores"]] for place in (0, 59)] == [[1, 0], [0, 1]]
    assert scores(client, video, like=first)["parts"] == [None]


def test_of_a_long_video_neighbours_are_one_with_their_best_score(client: httpx.Client, ids: dict[str, int]) -> None:
    whole = scores(client, ids["long.mp4"], text="green")["segments"]
    told = scores(client, ids["long.mp4"], text="green", limit=7)
    assert (told["num_segments"], len(told["segments"])) == (60, 7)
    assert (told["segments"][0]["start_s"], told["segments"][-1]["end_s"]) == (0.0, whole[-1]["end_s"])
    for number, one in enumerate(told["segments"]):
        of_it = whole[9 * number : 9 * number + 9]
        best = max(of_it, key=lambda segment: segment["scores"][0])
        assert (one["segment_id"], one["scores"]) == (best["segment_id"], best["scores"])
    assert len(scores(client, ids["long.mp4"], text="green", limit=1)["cuts_s"]) == 1


def test_a_stretch_is_looked_at_closely(client: httpx.Client, ids: dict[str, int]) -> None:
    told = scores(client, ids["long.mp4"], text="green", start_s=18.5, end_s=22, limit=10)
    assert [round(one["start_s"]) for one in told["segments"]] == [18, 19, 20, 21]
    assert (told["num_segments"], told["cuts_s"]) == (4, [pytest.approx(20.0, abs=0.2)])
    beyond = scores(client, ids["long.mp4"], text="green", start_s=100)
    assert (beyond["segments"], beyond["cuts_s"], beyond["num_segments"]) == ([], [], 0)


@pytest.mark.parametrize(
    ("video", "asked", "status"),
    [
        (999, {"text": "red"}, 404),
        (1, {}, 400),
        (1, {"text": "red", "more": 999}, 404),
        (1, {"text": "red", "example": "AAAA"}, 400),
        (1, {"text": "red", "limit": 2001}, 422),
        (1, {"text": "red", "start_s": -1}, 422),
    ],
)
def test_what_cannot_be_scored_is_one_line(
    client: httpx.Client, video: int, asked: dict[str, Any], status: int
) -> None:
    answer = client.get(f"/api/v1/videos/{video}/scores", params=asked)
    assert answer.status_code == status
    assert "\n" not in answer.json()["detail"]


def test_timing_names_frames_as_the_lists_do(client: httpx.Client, ids: dict[str, int]) -> None:
    told = client.get(f"/api/v1/videos/{ids['long.mp4']}/timing").json()
    assert (Fraction(told["frame_rate"]), told["is_steady"], told["frames"]) == (25, True, 1500)
    assert (told["first_s"], told["timecode"]) == (0.0, None)
    odd = client.get(f"/api/v1/videos/{ids['odd.mp4']}/timing").json()
    assert (odd["is_steady"], odd["frames"]) == (False, 6)
    assert client.get("/api/v1/videos/999/timing").status_code == 404
