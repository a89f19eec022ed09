"""cezsar.server: the API over a toy index, asked by HTTP."""

from __future__ import annotations

import asyncio
import gc
import html
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import av
import httpx
import pytest
from click.testing import CliRunner, Result
from make_videos import write_video
from PIL import Image
from serving import serving
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cezsar import indexer, store
from cezsar.cli import cli
from cezsar.documents import query_document
from cezsar.encoders.toy import Toy
from cezsar.errors import BadIndex, CezsarError, IndexMissing, QueryError, VideoError, VideoLost
from cezsar.query import Filters, Searcher
from cezsar.server import Access, create_app, tokens
from cezsar.server.engine import Engine, _Together
from cezsar.server.guard import Guard
from cezsar.server.media import Media, Part, Still, Wanted, opened, part
from cezsar.server.queues import Busy, Queue
from cezsar.settings import load
from cezsar.store.local import opening
from cezsar.types import Limits, Segment
from cezsar.video import Decoder

HOSTILE = '<img src=x onerror=alert(1)> "it\'s" \n\x1b[31m.mp4'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos: one that browsers play, one that they do not, one of a hostile name, one with a long sound."""
    made = tmp_path_factory.mktemp("served")
    (made / "videos").mkdir()
    write_video(made / "videos" / "red.mp4", [("red", 4.0), ("green", 4.0)], sound=True)
    write_video(made / "videos" / "blue.avi", [("blue", 8.0)], codec="mpeg4")
    write_video(made / "videos" / "green.mkv", [("green", 4.0)])
    write_video(made / "videos" / HOSTILE, [("yellow", 4.0)], format="mp4")
    settings = load(environ={}, index=made / "index", model="toy", window_s=4.0, stride_s=4.0)
    indexer.index([made / "videos"], settings)
    return made


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serving(folder / "index", "--no-token") as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as made:
        yield made


@pytest.fixture
def ids(client: httpx.Client) -> dict[str, int]:
    """Videos by name."""
    found = client.get("/api/v1/videos").json()["videos"]
    return {Path(video["path"]).name: video["video_id"] for video in found}


def problem(answer: httpx.Response, status: int) -> str:
    """The one line of an error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert "\n" not in said["detail"]
    return str(said["detail"])


def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    patience = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.005)


def test_a_search_answers_what_the_library_answers(folder: Path, client: httpx.Client) -> None:
    with Searcher(folder / "index") as searcher:
        hits = searcher.search("green", without=["red"], filters=Filters(top_k=3, per_video=0))
    asked = {"text": "green", "not": "red", "k": "3", "per_video": "0"}
    answer = client.get("/api/v1/search", params=asked).json()
    assert (answer["query"], answer["model"]) == ("green", "toy")
    assert [tuple(hit.values()) for hit in answer["hits"]] == [
        (hit.rank, hit.score, str(hit.path), hit.start_s, hit.end_s, hit.segment_id, hit.video_id, None) for hit in hits
    ]


def test_filters_and_like_are_obeyed(client: httpx.Client, ids: dict[str, int]) -> None:
    (hit,) = client.get("/api/v1/search", params={"text": "blue", "path": "*.avi", "k": 5}).json()["hits"]
    alike = client.get("/api/v1/search", params={"like": hit["segment_id"], "k": 1}).json()
    assert alike["query"] is None
    assert alike["hits"][0]["video_id"] == ids["blue.avi"]
    assert client.get("/api/v1/search", params={"text": "blue", "min_score": 1}).json()["hits"][0]["score"] == 1.0


def test_a_negation_in_words_is_understood_unless_words_are_literal(client: httpx.Client) -> None:
    asked = {"text": "red without green", "min_score": 0}
    plain = client.get("/api/v1/search", params=asked).json()
    assert plain["understood"] == [{"query": "red without green", "text": "red", "not": ["green"]}]
    assert plain["hits"] == client.get("/api/v1/search", params={**asked, "text": "red", "not": "green"}).json()["hits"]
    assert "understood" not in client.get("/api/v1/search", params={**asked, "literal": True}).json()


def test_right_and_wrong_answers_move_the_question(client: httpx.Client, ids: dict[str, int]) -> None:
    segments = client.get(f"/api/v1/videos/{ids['green.mkv']}/segments").json()["segments"]
    asked = {"text": "red green", "more": segments[0]["segment_id"], "k": 1}
    (hit,) = client.get("/api/v1/search", params=asked).json()["hits"]
    assert (hit["video_id"], hit["confidence"]) == (ids["green.mkv"], None)
    problem(client.get("/api/v1/search", params={"text": "red", "less": [1, 999_999]}), 404)
    problem(client.get("/api/v1/search", params={"text": "red", "more": list(range(1, 102))}), 422)


def test_filters_choose_videos(client: httpx.Client, ids: dict[str, int]) -> None:
    def found(**asked: object) -> set[int]:
        answer = client.get("/api/v1/search", params={"text": "red", **asked}).json()  # type: ignore[dict-item]
        return {hit["video_id"] for hit in answer["hits"]}

    assert found(not_path=["*.avi", "red*"]) == set(ids.values()) - {ids["blue.avi"], ids["red.mp4"]}
    assert found(min_length=6) == {ids["red.mp4"], ids["blue.avi"]}
    assert found(max_length=6, since="2020", until="2199") == set(ids.values()) - {ids["red.mp4"], ids["blue.avi"]}
    assert found(until="2020-02-29") == set()
    assert "no date" in problem(client.get("/api/v1/search", params={"text": "red", "since": "now"}), 400)
    problem(client.get("/api/v1/search", params={"text": "red", "min_length": "-1"}), 422)


def test_a_picture_that_is_sent_is_an_example(client: httpx.Client, ids: dict[str, int]) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "blue").save(picture, "png")
    example = client.post("/api/v1/examples", content=picture.getvalue()).json()["example"]
    answer = client.get("/api/v1/search", params={"example": example, "k": 1}).json()
    assert (answer["query"], answer["hits"][0]["video_id"], answer["hits"][0]["score"]) == (None, ids["blue.avi"], 1.0)
    assert "no picture" in problem(client.post("/api/v1/examples", content=b"nothing"), 422)
    problem(client.post("/api/v1/examples", content=b""), 422)
    assert "10,485,760" in problem(client.post("/api/v1/examples", content=bytes((10 << 20) + 1)), 413)
    for wrong in ("AAAA", "no base64!", "A" * 22):
        assert "send its picture again" in problem(client.get("/api/v1/search", params={"example": wrong}), 400)


def test_what_comes_then_is_answered_with_its_parts(folder: Path, client: httpx.Client) -> None:
    with Searcher(folder / "index") as searcher:
        hits = searcher.search("red", then=["green"], within_s=5.0, filters=Filters(per_video=0))
    answer = client.get("/api/v1/search", params={"text": "red", "then": "green", "within": "5", "per_video": "0"})
    assert answer.json()["hits"] == query_document("red", "toy", hits)["hits"]
    assert [(part["query"], part["start_s"]) for part in answer.json()["hits"][0]["parts"]] == [
        ("red", 0),
        ("green", 4),
    ]


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"then": "red"}, 400, "nothing to come first"),
        ({"text": "red", "then": " "}, 422, "then"),
        ({"text": "red", "then": ["red"] * 8}, 422, "then: "),
        ({"text": "red", "then": "blue", "within": "0"}, 422, "within: "),
        ({"text": "red", "then": "blue", "within": "31536000"}, 422, "within: "),
        ({"text": "red", "then": "blue", "within": "nan"}, 422, "within: "),
        ({}, 400, "There is nothing to look for"),
        ({"text": ""}, 400, "The query is empty"),
        ({"text": " \t"}, 400, "The query is empty"),
        ({"text": "x" * 1_001}, 422, "text: "),
        ({"text": "x" * 20_000}, 414, "The address is too long"),
        ({"text": "red", "k": "0"}, 422, "k: "),
        ({"text": "red", "k": "1000000"}, 422, "k: "),
        ({"text": "red", "k": "many"}, 422, "k: "),
        ({"text": "red", "min_score": "nan"}, 422, "min_score: "),
        ({"text": "red", "per_video": "-1"}, 422, "per_video: "),
        ({"text": "red", "not": "red"}, 400, "wanted and not wanted"),
        ({"like": "999999"}, 404, "There is no segment 999999"),
        ({"like": str(1 << 70)}, 422, "like: "),
    ],
)
def test_a_bad_question_is_told_why(client: httpx.Client, asked: dict[str, str], status: int, words: str) -> None:
    assert words in problem(client.get("/api/v1/search", params=asked), status)


def test_a_hundred_kilobytes_in_the_address_are_refused_in_so_many_words(address: str, client: httpx.Client) -> None:
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(b"GET /api/v1/search?text=" + b"x" * 70_000)
        time.sleep(0.2)  # so that it is met half way
        raw.sendall(b"x" * 30_000 + f" HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = raw.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 414 ")
    assert b"The address is too long" in answer
    assert client.get("/api/v1/health").status_code == 200


def test_bytes_that_are_not_utf8_are_refused(client: httpx.Client) -> None:
    assert "not UTF-8" in problem(client.get("/api/v1/search?text=%ff%fe"), 400)


@pytest.mark.parametrize(
    "place", ["videos/99", "videos/99/segments", "videos/99/stream", "segments/99", "segments/99/thumbnail"]
)
def test_unknown_ids_are_not_found(client: httpx.Client, place: str) -> None:
    assert "There is no" in problem(client.get(f"/api/v1/{place}"), 404)
    assert problem(client.get(f"/api/v1/{place.replace('99', '0')}"), 422)
    assert problem(client.get(f"/api/v1/{place.replace('99', 'x')}"), 422)


def test_videos_and_segments_come_in_pages(client: httpx.Client, ids: dict[str, int]) -> None:
    assert len(ids) == 4
    first = client.get("/api/v1/videos", params={"limit": 3}).json()["videos"]
    rest = client.get("/api/v1/videos", params={"after": first[-1]["video_id"]}).json()["videos"]
    assert [video["video_id"] for video in first + rest] == sorted(ids.values())
    place = f"/api/v1/videos/{ids['red.mp4']}/segments"
    parts = client.get(place).json()["segments"]
    assert [(part["start_s"], part["end_s"]) for part in parts] == [(0.0, 4.0), (4.0, 8.0)]
    assert client.get(place, params={"after": parts[0]["segment_id"]}).json()["segments"] == parts[1:]


def test_classes_of_videos(client: httpx.Client, ids: dict[str, int]) -> None:
    asked = {"labels": ["red", "blue"], "video_ids": [ids["blue.avi"]], "k": 1, "timeline": True}
    (video,) = client.post("/api/v1/classify", json=asked).json()["videos"]
    assert video["video_id"] == ids["blue.avi"]
    assert [one["label"] for one in video["predictions"]] == ["blue"]
    assert [part["predictions"][0]["label"] for part in video["segments"]] == ["blue", "blue"]
    sentences = {"sky": ["blue"], "blood": ["red", "a red thing"]}
    answer = client.post("/api/v1/classify", json={**asked, "labels": sentences}).json()
    assert answer["videos"][0]["predictions"][0]["label"] == "sky"
    assert answer["words"] == {
        "sky": ["blue", "a person is blue"],
        "blood": ["red", "a person is red", "a red thing"],
    }
    answer = client.post("/api/v1/classify", json={**asked, "labels": sentences, "raw": True}).json()
    best = answer["videos"][0]["predictions"][0]
    assert (best["label"], best["score"]) == ("sky", 1.0)
    assert answer["words"] == {"sky": ["blue"], "blood": ["red", "a red thing"]}
    told = client.post("/api/v1/classify", json={**asked, "k": 6})
    assert "at most 5" in problem(told, 400)
    many = {f"label {number}": ["red"] * 100 for number in range(21)}
    assert "Too many sentences" in problem(client.post("/api/v1/classify", json={**asked, "labels": many}), 400)


def test_an_answer_is_bounded(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cezsar.server.api._MOST_PREDICTIONS", 3)
    with Engine(own / "index", device="cpu") as engine, Media(own / "index") as media:
        app = create_app(engine, media, Access("127.0.0.1", None))
        with TestClient(app, base_url="http://localhost") as client:
            asked = {"labels": ["red", "blue"], "video_ids": [1]}
            assert client.post("/api/v1/classify", json=asked).status_code == 200
            told = client.post("/api/v1/classify", json={**asked, "timeline": True})
            assert "answer would be too large" in problem(told, 400)


def test_the_index_and_a_segment_are_told(folder: Path, client: httpx.Client, ids: dict[str, int]) -> None:
    command = [sys.executable, "-m", "cezsar", "stats", "--json", "--index", str(folder / "index")]
    told = client.get("/api/v1/stats").json()
    assert told == {
        **json.loads(subprocess.run(command, capture_output=True, check=True).stdout),
        "bytes": told["bytes"],
    }
    assert (told["index"], told["videos"]) == (str(folder / "index"), 4)
    (first, _) = client.get(f"/api/v1/videos/{ids['blue.avi']}/segments").json()["segments"]
    assert client.get(f"/api/v1/segments/{first['segment_id']}").json() == {
        "video_id": ids["blue.avi"],
        "path": str(folder / "videos" / "blue.avi"),
        "duration_s": 8.0,
        "segment_id": first["segment_id"],
        "start_s": 0.0,
        "end_s": 4.0,
    }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"[]", 422),
        (b'{"labels": [], "video_ids": [1]}', 422),
        (b'{"labels": [" "], "video_ids": [1]}', 422),
        (b'{"labels": ["a"], "video_ids": [99]}', 404),
        (b'{"labels": ["a"], "video_ids": [1], "k": 0}', 422),
        (b"\xff\xfe", 422),
        (b"[" * 200_000, 400),
        (b" " * (2 << 20), 413),
    ],
)
def test_a_bad_body_is_told_why(client: httpx.Client, body: bytes, status: int) -> None:
    problem(client.post("/api/v1/classify", content=body, headers={"content-type": "application/json"}), status)


def test_a_body_without_a_length_is_bounded_too(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * (1 << 16)

    answer = client.post("/api/v1/classify", content=endless(), headers={"content-type": "application/json"})
    problem(answer, 413)


def test_a_file_that_browsers_play_is_sent_as_it_is(folder: Path, client: httpx.Client, ids: dict[str, int]) -> None:
    data = (folder / "videos" / "red.mp4").read_bytes()
    place = f"/api/v1/videos/{ids['red.mp4']}"
    assert client.get(place).json()["media_type"] == "video/mp4"
    whole = client.get(f"{place}/stream")
    assert (whole.status_code, whole.headers["content-type"], whole.content) == (200, "video/mp4", data)
    some = client.get(f"{place}/stream", headers={"range": "bytes=10-19"})
    assert (some.status_code, some.content) == (206, data[10:20])
    assert some.headers["content-range"] == f"bytes 10-19/{len(data)}"
    assert client.get(f"{place}/stream", headers={"range": "bytes=-5"}).content == data[-5:]
    assert client.head(f"{place}/stream").headers["content-length"] == str(len(data))


@pytest.mark.parametrize(
    "asked", ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,", "bytes=5-1", "bytes=0-1,9-5"]
)
def test_a_broken_range_is_told(client: httpx.Client, ids: dict[str, int], asked: str) -> None:
    answer = client.get(f"/api/v1/videos/{ids['red.mp4']}/stream", headers={"range": asked})
    assert "Range" in problem(answer, 400)


def test_a_range_past_the_end_is_told(client: httpx.Client, ids: dict[str, int]) -> None:
    for asked in ("bytes=99999999-", "bytes=-0"):
        answer = client.get(f"/api/v1/videos/{ids['red.mp4']}/stream", headers={"range": asked})
        assert "nothing in that range" in problem(answer, 416)
        assert answer.headers["content-range"].startswith("bytes */")


def test_of_several_ranges_or_other_units_the_whole_file_is_sent_and_of_one_range_a_range(
    folder: Path, client: httpx.Client, ids: dict[str, int]
) -> None:
    place = f"/api/v1/videos/{ids['red.mp4']}/stream"
    data = (folder / "videos" / "red.mp4").read_bytes()
    for asked in ("bytes=0-1,99999999-", "bytes=0-1,  4-5", "lines=1-2"):
        answer = client.get(place, headers={"range": asked})
        assert (answer.status_code, answer.content) == (200, data)
    for asked in ("bytes=0-", f"bytes=0-{len(data) - 1}", "bytes=-999999999", "Bytes=0-"):
        answer = client.get(place, headers={"range": asked})
        assert (answer.status_code, answer.content) == (206, data)
        assert answer.headers["content-range"] == f"bytes 0-{len(data) - 1}/{len(data)}"


def test_what_a_browser_has_is_asked_for_and_not_sent_again(client: httpx.Client, ids: dict[str, int]) -> None:
    hit = client.get("/api/v1/search", params={"text": "red", "k": 1}).json()["hits"][0]
    for place in (
        f"/api/v1/videos/{ids['red.mp4']}/stream",
        f"/api/v1/videos/{ids['blue.avi']}/stream?start_s=0&end_s=1",
        f"/api/v1/segments/{hit['segment_id']}/thumbnail",
    ):
        first = client.get(place)
        assert "no-cache" in first.headers["cache-control"]
        again = client.get(place, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert client.get(place, headers={"if-none-match": '"other"'}).content == first.content
        some = {"range": "bytes=0-9", "if-range": first.headers["etag"]}
        assert client.get(place, headers=some).content == first.content[:10]
        assert client.get(place, headers={**some, "if-range": '"other"'}).content == first.content
        head = client.head(place)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(first.content)))


@pytest.mark.parametrize("name", ["blue.avi", "green.mkv"])
def test_what_browsers_do_not_play_is_made_to_be_played(
    tmp_path: Path, client: httpx.Client, ids: dict[str, int], name: str
) -> None:
    place = f"/api/v1/videos/{ids[name]}"
    assert client.get(place).json()["media_type"] is None
    for asked in ({}, {"start_s": "1", "end_s": "3"}):
        answer = client.get(f"{place}/stream", params=asked)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
        (tmp_path / "part.mp4").write_bytes(answer.content)
        with Media(tmp_path):
            from cezsar.video.browser import media_type

            assert media_type(tmp_path / "part.mp4") == "video/mp4"


@pytest.mark.parametrize(
    "asked",
    [
        {"start_s": "3", "end_s": "3"},
        {"start_s": "100"},
        {"start_s": "5", "end_s": "1"},
        {"start_s": "0", "end_s": "0"},
        {"end_s": "0"},
    ],
)
def test_a_part_that_is_none_is_told(client: httpx.Client, ids: dict[str, int], asked: dict[str, str]) -> None:
    problem(client.get(f"/api/v1/videos/{ids['red.mp4']}/stream", params=asked), 400)


def test_an_export_is_named_after_its_video(client: httpx.Client, ids: dict[str, int]) -> None:
    asked = {"start_s": "0", "end_s": "2", "download": "true"}
    answer = client.get(f"/api/v1/videos/{ids['red.mp4']}/stream", params=asked)
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''red-0-2.mp4"
    answer = client.get(f"/api/v1/videos/{ids[HOSTILE]}/stream", params=asked)
    assert answer.status_code == 200
    assert "\n" not in answer.headers["content-disposition"]


def test_a_thumbnail_is_a_picture_that_is_kept(folder: Path, client: httpx.Client) -> None:
    hit = client.get("/api/v1/search", params={"text": "yellow", "k": 1}).json()["hits"][0]
    before = set((folder / "index" / "media").iterdir())
    first = client.get(f"/api/v1/segments/{hit['segment_id']}/thumbnail")
    assert first.headers["content-type"] == "image/jpeg"
    assert first.content[:3] == b"\xff\xd8\xff"
    (picture,) = set((folder / "index" / "media").iterdir()) - before
    picture.unlink()
    assert client.get(f"/api/v1/segments/{hit['segment_id']}/thumbnail").content == first.content
    assert picture.exists()


def test_a_thumbnail_shows_what_most_of_the_segment_does_and_without_a_chosen_frame_its_middle(own: Path) -> None:
    write_video(own / "videos" / "mixed.mp4", [("red", 3.0), ("green", 2.0), ("red", 3.0)])
    indexer.index([own / "videos"], load(environ={}, index=own / "index"))
    with (
        closing(sqlite3.connect(own / "index" / store.FILE)) as database,
        serving(own / "index", "--no-token") as address,
    ):
        (number,) = database.execute("SELECT max(id) FROM segments").fetchone()
        for change, colour in ((None, 0), ("best_s = NULL", 1), ("best_s = 6.0", 0), ("best_s = 3.5", 1)):
            if change:
                with database:
                    database.execute(f"UPDATE segments SET {change} WHERE id = {number}")
            answer = ask(address, f"/api/v1/segments/{number}/thumbnail")
            with av.open(BytesIO(answer.content)) as picture:
                mean = next(picture.decode(video=0)).to_ndarray(format="rgb24").mean(axis=(0, 1))
            assert mean.argmax() == colour


def test_whether_a_file_is_played_as_it_is_does_not_wait_for_parts_being_made(own: Path) -> None:
    with Engine(own / "index", device="cpu") as engine, Media(own / "index") as media:
        app = create_app(engine, media, Access("127.0.0.1", None))
        gate, began = threading.Event(), threading.Semaphore(0)

        def slow(*_: object) -> Path:
            began.release()
            assert gate.wait(30)
            raise VideoLost("it took too long")

        with TestClient(app, base_url="http://localhost") as client, ThreadPoolExecutor(2) as pool:
            number = client.get("/api/v1/videos").json()["videos"][0]["video_id"]
            asked = {"start_s": 0}
            media.make = slow  # type: ignore[method-assign]
            making = [
                pool.submit(client.get, f"/api/v1/videos/{number}/stream", params={**asked, "end_s": end_s})
                for end_s in (1, 2)
            ]
            for _ in making:
                assert began.acquire(timeout=30)
            assert client.get(f"/api/v1/videos/{number}").json()["media_type"] == "video/mp4"
            gate.set()
            for one in making:
                assert "too long" in problem(one.result(), 404)


def test_names_are_text_and_nothing_else(client: httpx.Client, ids: dict[str, int]) -> None:
    hit = client.get("/api/v1/search", params={"text": "yellow", "k": 1}).json()["hits"][0]
    assert Path(hit["path"]).name == HOSTILE
    assert hit["video_id"] == ids[HOSTILE]


def test_headers_keep_others_out(client: httpx.Client) -> None:
    for place in ("/", "/page.js", "/api/v1/health", "/api/v1/search", "/nothing"):
        headers = client.get(place).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "10.0.0.1", "["])
def test_another_name_for_this_server_is_refused(client: httpx.Client, host: str) -> None:
    problem(client.get("/api/v1/health", headers={"host": host}), 421)


def test_pages_of_other_sites_are_refused(client: httpx.Client) -> None:
    headers = {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    problem(client.get("/api/v1/videos", headers=headers), 403)


def test_nothing_is_served_by_path(client: httpx.Client) -> None:
    for place in (
        "/../setup.cfg",
        "/..%2f..%2fetc%2fpasswd",
        "/page/index.html",
        "/api/v1/videos/..%2f1/stream",
        "//etc/passwd",
    ):
        assert client.get(place).status_code in (404, 422)
    problem(client.get("/docs"), 404)
    problem(client.post("/api/v1/search"), 405)


def test_health_metrics_and_the_description(client: httpx.Client) -> None:
    assert client.get("/api/v1/health").json()["status"] == "ok"
    metrics = client.get("/api/v1/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'cezsar_requests_total{route="/api/v1/health",status="200"}' in metrics.text
    for place in ("/", "/page.js", "/api/v1/health"):
        head = client.head(place)
        assert (head.status_code, head.content) == (200, b"")
    described = client.get("/api/v1/openapi.json").json()
    assert set(described["paths"]) >= {"/api/v1/search", "/api/v1/classify", "/api/v1/videos/{video_id}/stream"}


def test_every_field_of_every_answer_is_described(client: httpx.Client, ids: dict[str, int]) -> None:
    described = client.get("/api/v1/openapi.json").json()

    def names(answer: object, schema: dict[str, Any]) -> Iterator[tuple[str, set[str], set[str], set[str]]]:
        """Of each object: whose it is, and the fields it has, may have and must have."""
        if isinstance(answer, list):
            for one in answer:
                yield from names(one, schema["items"])
        elif isinstance(answer, dict) and "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            known = described["components"]["schemas"][name]
            yield name, set(answer), set(known["properties"]), set(known["required"])
            for field, inner in answer.items():
                yield from names(inner, known["properties"].get(field, {}))

    video, wanted = ids["red.mp4"], {"labels": ["red", "blue"], "video_ids": list(ids.values()), "timeline": True}
    segment = client.get(f"/api/v1/videos/{video}/segments").json()["segments"][0]["segment_id"]
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "blue").save(picture, "png")
    answers = {
        ("get", "/api/v1/search"): client.get("/api/v1/search", params={"text": "red"}),
        ("post", "/api/v1/classify"): client.post("/api/v1/classify", json=wanted),
        ("get", "/api/v1/videos"): client.get("/api/v1/videos"),
        ("get", "/api/v1/videos/{video_id}"): client.get(f"/api/v1/videos/{video}"),
        ("get", "/api/v1/videos/{video_id}/segments"): client.get(f"/api/v1/videos/{video}/segments"),
        ("get", "/api/v1/videos/{video_id}/scores"): client.get(
            f"/api/v1/videos/{video}/scores", params={"text": "red"}
        ),
        ("get", "/api/v1/videos/{video_id}/timing"): client.get(f"/api/v1/videos/{video}/timing"),
        ("post", "/api/v1/basket"): client.post("/api/v1/basket", json={"hits": [{"segment_id": segment}]}),
        ("get", "/api/v1/segments/{segment_id}"): client.get(f"/api/v1/segments/{segment}"),
        ("get", "/api/v1/stats"): client.get("/api/v1/stats"),
        ("get", "/api/v1/overview"): client.get("/api/v1/overview"),
        ("get", "/api/v1/browse"): client.get("/api/v1/browse"),
        ("get", "/api/v1/health"): client.get("/api/v1/health"),
        ("post", "/api/v1/examples"): client.post("/api/v1/examples", content=picture.getvalue()),
    }
    schemas = {
        (method, path): operation["responses"]["200"]["content"]["application/json"]["schema"]
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if "application/json" in operation["responses"]["200"].get("content", {})
    }
    assert set(answers) == set(schemas)
    seen = [one for place, answer in answers.items() for one in names(answer.json(), schemas[place])]
    assert {name for name, *_ in seen} == {
        "QueryAnswer", "HitAnswer", "ClassifyIndexedAnswer", "IndexedVideoPredictionsAnswer", "PredictionAnswer",
        "SegmentPredictionsAnswer", "VideosAnswer", "VideoAnswer", "PlayableVideoAnswer", "SegmentsAnswer",
        "SegmentAnswer", "SegmentOfVideoAnswer", "StatsAnswer", "PathFields", "HealthAnswer", "ExampleAnswer",
        "ScoresAnswer", "ScoredSegmentAnswer", "TimingAnswer", "BasketAnswer",
        "OverviewAnswer", "BrowseAnswer", "FaceAnswer", "FolderAnswer",
    }  # fmt: skip
    assert all(required <= found <= possible for _, found, possible, required in seen)


def test_requests_made_from_the_description_find_no_fault_inside(tmp_path: Path, address: str) -> None:
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
        "response_schema_conformance"
    )
    command = [
        shutil.which("st", path=os.path.dirname(sys.executable)) or "st", "run", f"{address}api/v1/openapi.json",
        "--checks", checks, "--max-examples", "10", "--seed", "1",
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout[-4_000:]


def test_a_client_that_goes_away_costs_nothing(address: str, client: httpx.Client, ids: dict[str, int]) -> None:
    with client.stream("GET", f"/api/v1/videos/{ids['red.mp4']}/stream") as answer:
        next(answer.iter_raw(10))
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(f"GET /api/v1/videos/{ids['blue.avi']}/stream HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert client.get("/api/v1/health").status_code == 200


def test_many_at_once_are_answered_alike(client: httpx.Client, address: str) -> None:
    colours = ["red", "green", "blue", "yellow"] * 16
    alone = {colour: client.get("/api/v1/search", params={"text": colour}).json() for colour in set(colours)}
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda colour: client.get("/api/v1/search", params={"text": colour}).json(), colours)
        assert all(answer == alone[colour] for colour, answer in zip(colours, answers, strict=True))


# Changes while it runs


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with an index of one red video."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "red.mp4", [("red", 2.0)])
    indexer.index([tmp_path / "videos"], load(environ={}, index=tmp_path / "index", model="toy"))
    return tmp_path


def ask(address: str, place: str, **options: Any) -> httpx.Response:
    return httpx.get(address.split("?")[0] + place.lstrip("/"), timeout=60, **options)


def test_what_is_indexed_or_removed_is_seen_without_a_restart(own: Path) -> None:
    settings = load(environ={}, index=own / "index")
    with serving(own / "index", "--no-token") as address:
        assert ask(address, "/api/v1/search?text=blue").json()["hits"][0]["score"] < 0.9
        write_video(own / "videos" / "blue.mp4", [("blue", 2.0)])
        indexer.index([own / "videos"], settings)
        hit = ask(address, "/api/v1/search?text=blue").json()["hits"][0]
        assert (Path(hit["path"]).name, hit["score"]) == ("blue.mp4", 1.0)
        indexer.remove(own / "index", [own / "videos" / "blue.mp4"])
        assert [Path(hit["path"]).name for hit in ask(address, "/api/v1/search?text=blue").json()["hits"]] == [
            "red.mp4"
        ]
        problem(ask(address, f"/api/v1/videos/{hit['video_id']}/stream"), 404)
        problem(ask(address, f"/api/v1/segments/{hit['segment_id']}/thumbnail"), 404)
        problem(ask(address, f"/api/v1/search?like={hit['segment_id']}"), 404)


def test_an_index_that_goes_and_comes_back_is_served_again(own: Path) -> None:
    with serving(own / "index", "--no-token") as address:
        (own / "index").rename(own / "elsewhere")
        assert "cezsar index" in problem(ask(address, "/api/v1/search?text=red"), 503)
        problem(ask(address, "/api/v1/health"), 503)
        (own / "elsewhere").rename(own / "index")
        assert ask(address, "/api/v1/search?text=red").status_code == 200


def test_another_index_in_its_place_is_searched(own: Path) -> None:
    (own / "others").mkdir()
    write_video(own / "others" / "blue.mp4", [("blue", 2.0)])
    indexer.index([own / "others"], load(environ={}, index=own / "other", model="toy"))
    with serving(own / "index", "--no-token") as address:
        assert "red.mp4" in ask(address, "/api/v1/search?text=red").text
        shutil.rmtree(own / "index")
        (own / "other").rename(own / "index")
        assert "blue.mp4" in ask(address, "/api/v1/search?text=red").text


def test_a_locked_index_is_searched(own: Path) -> None:
    with (
        serving(own / "index", "--no-token") as address,
        opening.open_to_write(own / "index") as catalog,
        catalog.transaction(),
    ):
        assert ask(address, "/api/v1/search?text=red").status_code == 200


def test_a_newer_schema_is_told(own: Path) -> None:
    with closing(sqlite3.connect(own / "index" / store.FILE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    command = [sys.executable, "-m", "cezsar", "serve", "--no-token", "--index", str(own / "index"), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "newer than this CEZSAR" in ended.stderr


def test_a_file_that_became_a_link_out_of_its_folder_is_refused(own: Path) -> None:
    secret = own / "secret.mp4"
    shutil.copy(own / "videos" / "red.mp4", secret)
    with serving(own / "index", "--no-token") as address:
        hit = ask(address, "/api/v1/search?text=red").json()["hits"][0]
        (own / "videos" / "red.mp4").unlink()
        (own / "videos" / "red.mp4").symlink_to(secret)
        for place in (
            f"videos/{hit['video_id']}",
            f"videos/{hit['video_id']}/stream",
            f"videos/{hit['video_id']}/stream?start_s=0&end_s=1",
            f"segments/{hit['segment_id']}/thumbnail",
        ):
            assert "a link out of the folder" in problem(ask(address, f"/api/v1/{place}"), 404)


# Who may ask


def test_a_token_is_asked_for(own: Path) -> None:
    with serving(own / "index", "--token", "correct horse") as entrance:
        address = entrance.split("?")[0]
        assert ask(address, "/api/v1/health").status_code == 200
        cookie = f"cezsar_token_{address.rstrip('/').split(':')[-1]}"
        for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": f"{cookie}=wrong"}, {"cookie": "ö=;;="}):
            told = ask(address, "/api/v1/videos", headers=[(k, v.encode()) for k, v in headers.items()])
            assert "token" in problem(told, 401)
            assert "red" not in told.text
        problem(ask(address, "/"), 401)
        problem(ask(address, "/?token=wrong"), 401)
        given = {"authorization": "Bearer correct horse"}
        assert ask(address, "/api/v1/videos", headers=given).status_code == 200
        with httpx.Client(base_url=address) as browser:
            first = browser.get(entrance.replace("?", "?text=a+b&"))
            assert (first.status_code, first.headers["location"]) == (303, "/?text=a+b")
            given = first.headers["set-cookie"].lower()
            assert given.startswith(f"{cookie}=")
            assert "httponly" in given
            assert "samesite=strict" in given
            assert browser.get("/").status_code == 200
            assert browser.get("/api/v1/videos").status_code == 200
        beside = {"cookie": f'prefs={{"a": 1}}; tok@x=1; {cookie}="correct horse"'}
        assert ask(address, "/api/v1/videos", headers=beside).status_code == 200


def test_a_person_is_asked_for_the_token(own: Path) -> None:
    with serving(own / "index", "--token", "correct horse") as entrance:
        address = entrance.split("?")[0]
        person = {"accept": "text/html,*/*"}
        first = ask(address, '/?text="><script>&not=a%26b', headers=person)
        assert (first.status_code, "<script>" in first.text) == (401, False)
        assert "text=%22%3E%3Cscript%3E&amp;not=a%26b&amp;again=1" in first.text
        page = ask(address, '/?text="><script>&not=a%26b&again=1', headers=person)
        assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert "asks for its token" in page.text
        assert "<script>" not in page.text
        assert '<input type="hidden" name="text" value="&quot;&gt;&lt;script&gt;">' in page.text
        assert '<input type="hidden" name="not" value="a&amp;b">' in page.text
        wrong = ask(address, "/?token=wrong&again=1", headers=person)
        assert "That is not the token." in wrong.text
        assert "wrong" not in wrong.text
        assert ask(address, "/style.css").status_code == 200
        problem(ask(address, "/page.js"), 401)


DETOURS = {  # what is asked for, and where it may lead; a browser reads \ as /, and leaves tabs and newlines out
    "/%5Cevil.example/": "/%5Cevil.example/",
    "/%5C%5Cevil.example": "/%5C%5Cevil.example",
    "/\\evil.example/": "/%5Cevil.example/",
    "//evil.example/": "/evil.example/",
    "///evil.example": "/evil.example",
    "/%2F%2Fevil.example/": "/evil.example/",
    "/%2F%5Cevil.example/": "/%5Cevil.example/",
    "/%09/evil.example": "/%09/evil.example",
    "/%0A/evil.example": "/%0A/evil.example",
    "/.//evil.example": "/.//evil.example",
    "/%0d%0aSet-Cookie:%20a=b": "/%0D%0ASet-Cookie%3A%20a%3Db",
    "/javascript:alert(1)": "/javascript%3Aalert%281%29",
    "http://evil.example/": "/http%3A//evil.example/",
    "/%3Fa%23b": "/%3Fa%23b",
    "/%255Cevil.example": "/%255Cevil.example",
    "/caf%C3%A9": "/caf%C3%A9",
    "/%FF": "/%EF%BF%BD",
    '/"><script>': "/%22%3E%3Cscript%3E",
    "/%22%3E%3Cmeta%20http-equiv=x>": "/%22%3E%3Cmeta%20http-equiv%3Dx%3E",
    "/;url=//evil.example": "/%3Burl%3D//evil.example",
    "/?text=%5C%0D%0A&to=//evil.example": "/?text=%5C%0D%0A&to=%2F%2Fevil.example",
    "/?a\"b=<i>&c='": "/?a%22b=%3Ci%3E&c=%27",
}


@pytest.mark.parametrize(("asked", "target"), DETOURS.items())
def test_who_comes_in_is_led_to_this_server_and_nowhere_else(asked: str, target: str) -> None:
    """By the scope that a server makes of the request."""
    place, _, query = asked.partition("?")
    for path in {unquote(place), place}:
        for is_person in (True, False):
            scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "server": ("127.0.0.1", 8765)}
            scope["headers"] = [(b"host", b"localhost:8765"), (b"accept", b"text/html" if is_person else b"*/*")]
            scope["query_string"] = f"{query}&token=correct+horse".lstrip("&").encode()
            answer = answered(Guard(_nowhere, access=Access("127.0.0.1", "correct horse")), scope)
            if path == unquote(place):
                assert led_to(answer) == target
            assert re.match(r"/(?![/\\])[!-~]*\Z", led_to(answer))


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nobody may come so far")


def answered(app: ASGIApp, scope: dict[str, Any]) -> httpx.Response:
    """What an application answers to a scope, without a server."""
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return httpx.Response(told[0]["status"], headers=told[0]["headers"], content=told[1]["body"])


def led_to(answer: httpx.Response) -> str:
    """Where a redirection, or a page that leads on, leads to."""
    if answer.status_code == 303:
        return answer.headers["location"]
    (found,) = re.findall(r'<meta http-equiv="refresh" content="0; url=([^"]*)">', answer.text)
    assert "<" not in found
    return html.unescape(found)


def test_real_requests_are_led_to_this_server_and_nowhere_else(own: Path) -> None:
    with serving(own / "index", "--token", "correct horse") as entrance:
        address = httpx.URL(entrance.split("?")[0])
        cookie = f"cezsar_token_{address.port}=correct horse"
        for asked, target in DETOURS.items():
            query = ("&" if "?" in asked else "?") + "token=correct%20horse"
            again = query.replace("token=correct%20horse", "again=1")
            for more, headers in (
                (query, {"Accept": "text/html"}),
                (query, {"Accept": "*/*"}),
                (again, {"Accept": "text/html", "Cookie": cookie}),
                ("", {"Accept": "text/html"}),
            ):
                head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                with socket.create_connection((address.host, address.port)) as raw:
                    raw.sendall(f"GET {asked}{more} HTTP/1.1\r\nHost: localhost\r\n{head}".encode())
                    raw.sendall(b"Connection: close\r\n\r\n")
                    answer = raw.makefile("rb").read().decode()
                told, _, body = answer.partition("\r\n\r\n")
                lines = told.lower().split("\r\n")
                set_cookies = [line for line in lines if line.startswith("set-cookie:")]
                assert len(set_cookies) == ("token=" in more)
                status = int(told.split()[1])
                locations = [line.split(": ", 1)[1] for line in told.split("\r\n") if line.startswith("location:")]
                found = led_to(httpx.Response(status, headers={"location": "".join(locations)}, text=body))
                assert found.replace("?again=1", "").replace("&again=1", "") == target


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "::1", "127.8.9.1", "0.0.0.0", "192.168.1.5", "example.org"]
)
def test_every_host_needs_a_token(host: str) -> None:
    made = Access.of(host, None, no_token=False)
    assert made.token is not None
    assert len(made.token) >= 32
    assert made.token not in repr(made)
    assert made.token != Access.of(host, None, no_token=False).token
    assert Access.of(host, None, no_token=True).token is None
    assert Access.of(host, "given one", no_token=False).token == "given one"


def test_other_accounts_of_the_machine_see_nothing_without_the_token_that_was_made(own: Path) -> None:
    with serving(own / "index") as entrance:
        address, _, token = entrance.partition("?token=")
        assert len(token) >= 32
        for place in ("", "page.js", "api", "api/v1/search?text=red", "api/v1/videos/1/stream", "api/v1/metrics"):
            problem(ask(address, place), 401)
            assert ask(address, place, headers={"authorization": f"Bearer {token}"}).status_code == 200
        for place in ("api/v1/health", "style.css", "icon.svg"):
            assert ask(address, place).status_code == 200


def test_a_token_of_any_printable_characters_lets_in(own: Path) -> None:
    token = "".join(map(chr, range(33, 127))) + " " + "".join(map(chr, range(33, 127)))
    (own / "token").write_text(token + "\n")
    (own / "token").chmod(0o600)
    with serving(own / "index", "--token-file", str(own / "token")) as entrance:
        address = entrance.split("?")[0]
        assert ask(address, "/api/v1/videos", headers={"authorization": f"Bearer {token}"}).status_code == 200
        with httpx.Client(base_url=address) as browser:
            assert browser.get(entrance).status_code == 303
            assert browser.get("/api/v1/videos").status_code == 200
        problem(ask(address, "/api/v1/videos", headers={"authorization": f"Bearer {token}x"}), 401)


@pytest.mark.parametrize(
    ("content", "mode"),
    [("correct horse\n", 0o600), ("correct horse\r\n", 0o400), ("correct horse", 0o700)],
)
def test_a_token_is_read_from_a_file(tmp_path: Path, content: str, mode: int) -> None:
    (tmp_path / "token").write_bytes(content.encode())
    (tmp_path / "token").chmod(mode)
    (tmp_path / "link").symlink_to(tmp_path / "token")
    assert tokens.read(tmp_path / "token") == tokens.read(tmp_path / "link") == "correct horse"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o601, 0o610, 0o666])
def test_a_token_file_of_which_others_know_is_refused_with_what_mends_it(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "my token"
    file.write_text("correct horse\n")
    file.chmod(mode)
    with pytest.raises(CezsarError, match="Other accounts can read or change") as told:
        tokens.read(file)
    (mending,) = re.findall("`(.*)`", str(told.value))
    subprocess.run(["sh", "-c", mending], check=True)
    assert tokens.read(file) == "correct horse"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_token_file_of_another_account_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct horse\n")
    (tmp_path / "token").chmod(0o600)
    os.chown(tmp_path / "token", 65534, 65534)
    with pytest.raises(CezsarError, match="belongs to another account"):
        tokens.read(tmp_path / "token")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"short\n",
        b"x" * 201,
        b"x" * 100_000,
        b"two\nlines of it\n",
        b"correct horse\n\n",
        b" correct horse\n",
        b"correct horse \n",
        b"caf\xc3\xa9 au lait\n",
        b"\xff\xfec\0o\0r\0r\0e\0c\0t\0",
        b"correct\0horse\n",
        b"correct\thorse\n",
    ],
)
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(CezsarError, match="holds no token: 8 to 200 printable ASCII characters"):
        tokens.read(tmp_path / "token")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "fifo", Path("/dev/zero"), Path("/dev/null")):
            with pytest.raises(CezsarError, match="takes a file, which"):
                tokens.read(path)
        for path, reason in (
            (tmp_path / "socket", "No such device or address"),
            (tmp_path / "folder", "Is a directory"),
            (tmp_path / "none", "No such file"),
            (tmp_path / "none" / "none", "No such file"),
        ):
            with pytest.raises(CezsarError, match=f"cannot be read .{reason}"):
                tokens.read(path)


def test_a_token_comes_from_one_place_and_options_win_over_the_environment(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own / "token").write_text("battery staple\n")
    (own / "token").chmod(0o600)
    index, file = ("--index", str(own / "index")), ("--token-file", str(own / "token"))
    for options, contradict in (
        (("--token", "correct horse", *file), "--token and --token-file"),
        ((*file, "--no-token"), "--token-file and --no-token"),
        (("--token", "correct horse", "--no-token"), "--token and --no-token"),
    ):
        ended = run(*index, *options)
        assert (ended.exit_code, f"{contradict} contradict each other." in ended.stderr) == (2, True)
    monkeypatch.setenv("CEZSAR_TOKEN", "of the environment")
    ended = run(*index, "--no-token")
    assert (ended.exit_code, "--no-token and CEZSAR_TOKEN contradict" in ended.stderr) == (2, True)
    for options, token in (
        ((), "of the environment"),
        (file, "battery staple"),
        (("--token", "a & b = c"), "a & b = c"),
    ):
        with serving(own / "index", *options) as entrance:
            assert httpx.URL(entrance).params["token"] == token
    monkeypatch.setenv("CEZSAR_TOKEN", "short")
    ended = run(*index)
    assert (ended.exit_code, "The token in CEZSAR_TOKEN is not a token" in ended.stderr) == (2, True)
    (own / "token").chmod(0o644)
    ended = run(*index, *file)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr == f"cezsar: Other accounts can read or change {own / 'token'}: `chmod 600 {own / 'token'}`.\n"


def test_a_token_on_the_command_line_is_said_to_be_seen_there(own: Path) -> None:
    told = run("--index", str(own / "none"), "--token", "correct horse").stderr
    assert "process list" in told
    assert "--token-file" in told
    assert "process list" not in run("--index", str(own / "none")).stderr
    said = " ".join(run("--help").stdout.split())
    assert "other accounts of this machine can see it in the process list" in said


def test_the_page_is_opened_without_the_token_in_the_process_list(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = own / "browser"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > {own}/asked.new && mv {own}/asked.new {own}/asked\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    with serving(own / "index", "--open") as entrance:
        token = entrance.split("token=")[1]
        until((own / "asked").exists)
        opened = (own / "asked").read_text()
        assert token not in opened
        page = Path(unquote(opened.removeprefix("file://")))
        assert (page.stat().st_mode & 0o777, page.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert led_to(httpx.Response(200, text=page.read_text())) == entrance
    assert not page.parent.exists()
    (own / "asked").unlink()
    with serving(own / "index", "--open", "--no-token") as address:
        until((own / "asked").exists)
        assert (own / "asked").read_text() == address


_README = Path(__file__).parents[1] / "README.md"


def test_the_readmes_commands_work_as_they_are_pasted(own: Path) -> None:
    """Only that the server takes a port that is free, and its lines of curl reach it there."""
    start, ask_it = re.findall(
        r"```sh\n(.*?)```", _README.read_text().split("**serve.**")[1].split("**train.**")[0], re.DOTALL
    )
    python = f'exec {shlex.quote(sys.executable)} -m cezsar "$@"'
    settings = {**os.environ, "HOME": str(own), "CEZSAR_INDEX": str(own / "index")}
    command = ["bash", "-c", f"cezsar() {{ {python} --port 0; }}\n{start}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=settings) as server:
        assert server.stdout is not None
        address = httpx.URL(server.stdout.readline().split()[-1])
        lines = ask_it.strip().splitlines()
        assert [line.split()[0] for line in lines] == ["curl", "curl"]
        elsewhere = f'curl() {{ command curl -sS --connect-to 127.0.0.1:8765:127.0.0.1:{address.port} "$@"; }}'
        answers = [
            subprocess.run(["bash", "-c", f"{elsewhere}\n{line}"], capture_output=True, check=True, env=settings)
            for line in lines
        ]
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    assert [Path(hit["path"]).name for hit in json.loads(answers[0].stdout)["hits"]] == ["red.mp4"]
    assert [Path(video["path"]).name for video in json.loads(answers[1].stdout)["videos"]] == ["red.mp4"]


@pytest.mark.parametrize(
    ("host", "called", "known"),
    [
        ("127.0.0.1", "localhost:8765", True),
        ("127.0.0.1", "[::1]:8765", True),
        ("127.0.0.1", "192.168.1.5", False),
        ("127.0.0.1", "localhost:x", False),
        ("127.0.0.1", "evil.example\\@localhost", False),
        ("127.0.0.1", "evil.example/@localhost", False),
        ("0.0.0.0", "192.168.1.5:8765", True),
        ("0.0.0.0", "rebound.example", False),
        ("videos.example", "videos.example:8765", True),
        ("videos.example", "rebound.example", False),
    ],
)
def test_names_that_a_server_goes_by(host: str, called: str, known: bool) -> None:
    assert Access(host, None).knows(called) is known


def test_an_origin_that_is_named_may_ask(own: Path) -> None:
    with serving(own / "index", "--cors", "https://friend.example", "--no-token") as address:
        for origin, allowed in (("https://friend.example", "https://friend.example"), ("https://evil.example", None)):
            headers = ask(address, "/api/v1/videos", headers={"origin": origin}).headers
            assert headers.get("access-control-allow-origin") == allowed


# Starting and stopping


def run(*options: str) -> Result:
    """cezsar serve, where it serves nothing."""
    return CliRunner().invoke(cli, ["serve", *options])


def test_no_index_is_told(tmp_path: Path) -> None:
    ended = run("--index", str(tmp_path / "none"), "--port", "0")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert "cezsar index" in ended.stderr


def test_a_port_in_use_is_told(own: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        ended = run("--index", str(own / "index"), "--port", port)
    assert ended.exit_code == 1
    assert f"cannot listen on port {port} of 127.0.0.1" in ended.stderr


def test_wrong_options_are_told(own: Path) -> None:
    index = ("--index", str(own / "index"))
    told = run(*index, "--host", "x" * 70 + ".example")
    assert (told.exit_code, told.stderr.count("\n")) == (1, 1)
    assert run(*index, "--cors", "http://localhost:3000/").exit_code == 2
    assert run(*index, "--host", "no.such.host.invalid").exit_code == 1
    assert run(*index, "--token", "short").exit_code == 2
    assert run(*index, "--token", "long enough", "--no-token").exit_code == 2
    assert run(*index, "--port", "70000").exit_code == 2


def test_stopping_finishes_what_is_in_flight(own: Path) -> None:
    write_video(own / "videos" / "long.avi", [("blue", 20.0)], codec="mpeg4", size=(320, 240))
    indexer.index([own / "videos"], load(environ={}, index=own / "index"))
    command = [sys.executable, "-m", "cezsar", "serve", "--no-token", "--index", str(own / "index"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        hit = ask(address, "/api/v1/search?text=blue").json()["hits"][0]
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(ask(address, f"/api/v1/videos/{hit['video_id']}/stream?start_s=0&end_s=20"))
        )
        asking.start()
        until(lambda: "progress 2.0" in ask(address, "/api/v1/metrics").text)
        process.send_signal(signal.SIGTERM)
        asking.join(60)
        assert process.wait(60) == 0
    assert answers[0].status_code == 200
    assert len(answers[0].content) == int(answers[0].headers["content-length"])


def test_a_second_signal_waits_no_longer_and_says_so_to_who_asked(own: Path) -> None:
    write_video(own / "videos" / "long.avi", [("blue", 40.0)], codec="mpeg4", size=(1280, 720))
    indexer.index([own / "videos"], load(environ={}, index=own / "index"))
    command = [sys.executable, "-m", "cezsar", "serve", "--no-token", "--index", str(own / "index"), "--port", "0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        ThreadPoolExecutor(5) as pool,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[-1]
        number = ask(address, "/api/v1/search?text=blue").json()["hits"][0]["video_id"]
        places = [f"/api/v1/videos/{number}/stream?start_s={start_s}&end_s=40&download=true" for start_s in range(5)]
        asked = [pool.submit(ask, address, place) for place in places]
        until(lambda: "progress 6.0" in ask(address, "/api/v1/metrics").text)
        process.send_signal(signal.SIGINT)
        until(lambda: not is_listening(address))
        process.send_signal(signal.SIGINT)
        for one in asked:
            assert "stopping" in problem(one.result(60), 503)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    assert [path.name for path in (own / "index" / "media").iterdir()] == ["CACHEDIR.TAG"]


def is_listening(address: str) -> bool:
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


# The rooms behind


def test_texts_that_wait_together_are_encoded_together() -> None:
    class Slow(Toy):
        calls: list[int] = []  # noqa: RUF012
        gate = threading.Event()

        def encode_texts(self, texts: Any) -> Any:
            self.calls.append(len(texts))
            assert self.gate.wait(10)
            if "bad" in texts:
                raise ValueError("bad")
            return super().encode_texts(texts)

    together = _Together(Slow())
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(together.encode_texts, ["red"])
        until(lambda: bool(Slow.calls))
        rest = [pool.submit(together.encode_texts, texts) for texts in (["blue"], ["green", "red"], ["bad"])]
        until(lambda: len(together._asked) == 3)
        Slow.gate.set()
        toy = Toy()
        assert (first.result() == toy.encode_texts(["red"])).all()
        assert (rest[0].result() == toy.encode_texts(["blue"])).all()
        assert (rest[1].result() == toy.encode_texts(["green", "red"])).all()
        with pytest.raises(ValueError, match="bad"):
            rest[2].result()
    assert Slow.calls[:2] == [1, 4]


def test_what_would_wait_too_long_is_sent_away(own: Path) -> None:
    with Engine(own / "index", device="cpu") as engine, Media(own / "index") as media:
        gate, began = threading.Event(), threading.Semaphore(0)
        slow = type("Slow", (), {"using": lambda _: _held(engine, began, gate)})()
        app = create_app(slow, media, Access("127.0.0.1", None), most_waiting=2)
        with TestClient(app, base_url="http://localhost") as client, ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(client.get, "/api/v1/videos") for _ in range(2)]
            for _ in waiting:
                assert began.acquire(timeout=30)
            refused = client.get("/api/v1/videos")
            assert "ask again" in problem(refused, 429)
            assert refused.headers["retry-after"] == "1"
            gate.set()
            assert [one.result().status_code for one in waiting] == [200, 200]
            assert client.get("/api/v1/videos").status_code == 200


@contextmanager
def _held(engine: Engine, began: threading.Semaphore, gate: threading.Event) -> Iterator[Searcher]:
    """What the engine would give, but not before the gate is open."""
    began.release()
    assert gate.wait(30)
    with engine.using() as searcher:
        yield searcher


def test_an_engine_without_an_index_says_so(tmp_path: Path) -> None:
    with pytest.raises(IndexMissing), Engine(tmp_path / "none", device="cpu"):
        pass


def video_of(own: Path, number: int) -> store.Video:
    with store.open(own / "index") as catalog, catalog.read() as rows:
        return rows.videos()[number]


def red(own: Path) -> store.Video:
    return video_of(own, 0)


def made(media: Media, video: store.Video, wanted: Wanted) -> bytes:
    media.make(video, wanted, lambda: True)
    kept = media.kept(video, wanted)
    assert kept is not None
    with kept.file as file:
        return file.read()


def test_media_stay_below_their_size(own: Path) -> None:
    video, folder = red(own), own / "index" / "media"
    with Media(own / "index", most_bytes=4_000) as media:
        for number in range(20):
            assert made(media, video, Still(0.1 * number)).startswith(b"\xff\xd8")
        assert media.kept(video, Still(0.0)) is None
        assert 0 < sum(path.stat().st_size for path in folder.glob("*.jpg")) <= 4_000
    assert not list(folder.glob(".*"))


def test_what_is_open_is_read_to_its_end_though_it_is_deleted(own: Path) -> None:
    video = red(own)
    with Media(own / "index") as media:
        whole = made(media, video, Still(0.0))
        kept = media.kept(video, Still(0.0))
        assert kept is not None
        shutil.rmtree(own / "index" / "media")
        with kept.file as file:
            assert file.read() == whole
        assert media.kept(video, Still(0.0)) is None
        assert made(media, video, Still(0.0)) == whole


def test_nothing_is_kept_of_a_video_that_is_purged_meanwhile(own: Path) -> None:
    with Media(own / "index") as media:
        with pytest.raises(VideoLost, match="removed meanwhile"):
            media.make(red(own), Still(0.0), lambda: False)
        assert media.kept(red(own), Still(0.0)) is None
        assert [path.name for path in (own / "index" / "media").glob("[!.]*")] == ["CACHEDIR.TAG"]


def test_what_is_being_made_can_be_interrupted_and_leaves_nothing(own: Path) -> None:
    write_video(own / "videos" / "long.avi", [("blue", 40.0)], codec="mpeg4", size=(640, 480))
    indexer.index([own / "videos"], load(environ={}, index=own / "index"))
    video = video_of(own, 1)
    folder = own / "index" / "media"
    with Media(own / "index") as media, ThreadPoolExecutor(1) as pool:
        making = pool.submit(media.make, video, part(video, 0, 40, at_full_size=True), lambda: True)
        until(lambda: bool(list(folder.glob(".drafts-*/*/.*"))))
        media.interrupt()
        with pytest.raises(BadIndex, match="stopping"):
            making.result(60)
        assert not list(folder.glob(".drafts-*/*"))
    assert [path.name for path in folder.iterdir()] == ["CACHEDIR.TAG"]


@pytest.mark.parametrize("wanted", [Still(0.0), Part(Segment(0.0, 1.0), at_full_size=False)])
def test_a_video_that_crashes_the_decoder_has_no_picture_and_others_have(
    own: Path, wanted: Wanted, deadly: None
) -> None:
    video = red(own)
    shutil.copy(own / "videos" / "red.mp4", own / "videos" / "deadly.mp4")
    crashing = video._replace(file=video.file._replace(path=b"deadly.mp4"))
    with Media(own / "index") as media:
        for _ in range(3):  # there are two decoders
            with pytest.raises(VideoError, match=r"it crashed the decoder \(SIGSEGV\)"):
                made(media, crashing, wanted)
        assert made(media, video, wanted)


def test_who_deletes_what_is_being_made_is_told_to_ask_again(own: Path) -> None:
    folder = own / "index" / "media"
    with Media(own / "index") as media:
        wanted = Still(0.0)
        gone = type(
            "Gone", (), {"name": wanted.name, "make": lambda _, *rest: (shutil.rmtree(folder), wanted.make(*rest))}
        )
        with pytest.raises(BadIndex, match="ask again"):
            media.make(red(own), gone(), lambda: True)
        assert made(media, red(own), wanted).startswith(b"\xff\xd8")


def test_drafts_of_killed_servers_go(own: Path) -> None:
    folder = own / "index" / "media"
    (folder / ".drafts-00000old" / "tmp0_abcdef").mkdir(parents=True)
    (folder / ".drafts-00000old" / "tmp0_abcdef" / "1.500.jpg").write_text("half")
    (folder / ".drafts-00000new").mkdir()
    os.utime(folder / ".drafts-00000old", (0, 0))
    with Media(own / "index"):
        assert not (folder / ".drafts-00000old").exists()
        assert (folder / ".drafts-00000new").exists()


def test_a_link_that_comes_and_goes_shows_nothing_of_what_lies_outside(own: Path) -> None:
    video, name, secret = red(own), own / "videos" / "red.mp4", own / "secret.mp4"
    write_video(secret, [("blue", 2.0)])
    aside, inside = own / "videos" / "aside", name.read_bytes()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            name.rename(aside)
            name.symlink_to(secret)
            time.sleep(0.001)
            aside.replace(name)
            time.sleep(0.001)

    def look() -> str:
        try:
            with opened(video) as file:
                assert file.read() == inside
        except VideoLost:
            return "refused"
        return "shown"

    swapping = threading.Thread(target=swap)
    swapping.start()
    outcomes: Counter[str] = Counter()
    try:
        while min(outcomes["shown"], outcomes["refused"]) < 20:
            outcomes[look()] += 1
            assert outcomes.total() < 100_000
    finally:
        stop.set()
        swapping.join()
    own_file, other = name.stat(), secret.stat()
    with Decoder(Limits(stall_s=60, time_s=60, memory_gb=4)) as decoder:
        decoder.still(name, 0.0, own / "a.jpg", width=100, identity=(own_file.st_dev, own_file.st_ino))
        for ask_for in (
            lambda: decoder.still(name, 0.0, own / "b.jpg", width=100, identity=(other.st_dev, other.st_ino)),
            lambda: decoder.part(name, Segment(0, 1), own / "b.mp4", identity=(other.st_dev, other.st_ino)),
            lambda: decoder.media_type(name, identity=(other.st_dev, other.st_ino)),
        ):
            with pytest.raises(VideoLost, match="another file"):
                ask_for()


def test_what_is_encoded_to_be_looked_at_is_made_smaller_and_what_is_kept_is_not(own: Path) -> None:
    write_video(own / "videos" / "wide.avi", [("blue", 1.0)], codec="mpeg4", size=(1920, 1080))
    indexer.index([own / "videos"], load(environ={}, index=own / "index"))
    video = video_of(own, 1)
    with Media(own / "index") as media:
        for at_full_size, size in ((False, (1280, 720)), (True, (1920, 1080))):
            data = made(media, video, part(video, 0, 1, at_full_size=at_full_size))
            with av.open(BytesIO(data)) as file:
                assert (file.streams.video[0].width, file.streams.video[0].height) == size


def test_an_index_that_can_keep_no_pictures_is_looked_at_all_the_same(
    own: Path, unprivileged: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (own / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own / "tmp"))
    for path in (*own.rglob("*"), own, *own.parents[:3]):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (own / "index").chmod(0o555)
    (own / "tmp").chmod(0o777)
    with ExitStack() as stack:
        with unprivileged():
            media = stack.enter_context(Media(own / "index"))
        assert made(media, red(own), Still(0.0)).startswith(b"\xff\xd8")
    assert not (own / "index" / "media").exists()


def test_a_file_that_is_larger_than_all_may_be_is_not_kept(own: Path) -> None:
    with Media(own / "index", most_bytes=10) as media:
        with pytest.raises(QueryError, match="shorter part"):
            media.make(red(own), Still(0.0), lambda: True)
        assert [path.name for path in (own / "index" / "media").glob("[!.]*")] == ["CACHEDIR.TAG"]


def test_what_another_server_keeps_counts_too(own: Path) -> None:
    folder = own / "index" / "media"
    with Media(own / "index", most_bytes=4_000) as one, Media(own / "index", most_bytes=4_000) as other:
        for number in range(10):
            made(one, red(own), Still(0.1 * number))
            made(other, red(own), Still(0.1 * number + 0.05))
            assert sum(path.stat().st_size for path in folder.glob("*.jpg")) <= 4_000


def test_a_disk_that_is_full_is_said(own: Path) -> None:
    with Engine(own / "index", device="cpu") as engine, Media(own / "index") as media:
        with TestClient(create_app(engine, media, Access("127.0.0.1", None)), base_url="http://localhost") as client:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
            for decoder in media._making._decoders:  # their processes have to have the limit too
                decoder._stop()
            try:
                told = [
                    problem(client.get(place), 503)
                    for place in ("/api/v1/segments/1/thumbnail", "/api/v1/videos/1/stream?start_s=0&end_s=1")
                ]
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert all("disk" in one and "full" in one for one in told)


# Somebody's own files


def home(folder: Path) -> dict[str, tuple[int, int, int]]:
    """A home folder with old files, one of them large; what it is made of."""
    (folder / ".ssh").mkdir(parents=True)
    (folder / ".config" / "app").mkdir(parents=True)
    for name in (".ssh/id_ed25519", ".config/app/settings", ".bashrc", "thesis.odt", f"{'a' * 32}.jpg"):
        (folder / name).write_text("mine")
    with (folder / "film.mp4").open("wb") as file:
        file.truncate(600 << 20)
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (0, 0))
    return state(folder)


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Size, time and mode of all below a folder, and its own."""
    return {
        str(path): (status.st_size if path.is_file() else 0, status.st_mtime_ns, status.st_mode)
        for path in [folder, *folder.rglob("*")]
        if (status := path.lstat())
    }


@pytest.mark.parametrize("kind", ["link", "file", "others"])
def test_a_server_touches_nothing_that_is_not_its_own(own: Path, tmp_path: Path, kind: str) -> None:
    place = own / "index" / "media"
    if kind == "link":
        before = home(tmp_path / "home")
        place.symlink_to(tmp_path / "home")
    elif kind == "file":
        place.write_text("mine")
        before = state(place)
    else:
        before = home(place)
    with serving(own / "index", "--no-token") as address:
        hit = ask(address, "/api/v1/search?text=red").json()["hits"][0]
        told = problem(ask(address, f"/api/v1/segments/{hit['segment_id']}/thumbnail"), 503)
        assert str(place) in told
        assert "Move it away" in told
        assert ask(address, f"/api/v1/videos/{hit['video_id']}/stream").status_code == 200
    assert state(tmp_path / "home" if kind == "link" else place) == before


def test_a_link_that_takes_the_pictures_place_while_one_is_made_leads_nowhere(own: Path, tmp_path: Path) -> None:
    before = home(tmp_path / "home")
    place, wanted = own / "index" / "media", Still(0.0)

    class Swapping:
        name, media_type = wanted.name, wanted.media_type

        def make(self, *asked: Any) -> None:
            wanted.make(*asked)
            place.rename(own / "moved")
            place.symlink_to(tmp_path / "home")

    with Media(own / "index", most_bytes=100_000) as media:
        media.make(red(own), Swapping(), lambda: True)  # type: ignore[arg-type]
        with pytest.raises(BadIndex, match="is a link"):
            media.kept(red(own), wanted)
        with pytest.raises(BadIndex, match="is a link"):
            media.make(red(own), wanted, lambda: True)
    assert state(tmp_path / "home") == before
    assert len(list((own / "moved").glob("*.jpg"))) == 1


def test_pictures_of_before_there_was_a_tag_are_taken_over(own: Path) -> None:
    place = own / "index" / "media"
    place.mkdir()
    (place / f"{'0' * 32}.mp4").write_bytes(b"old")
    with Media(own / "index"):
        told = (place / "CACHEDIR.TAG").read_bytes()
    assert told.startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    assert b"CEZSAR" in told
    (place / "notes.txt").write_text("mine")
    with Media(own / "index", most_bytes=2_000) as media:
        for number in range(5):
            made(media, red(own), Still(0.1 * number))
    assert (place / "notes.txt").read_text() == "mine"
    assert not (place / f"{'0' * 32}.mp4").exists()


class Client:
    """What a queue asks of a request."""

    def __init__(self, *, has_gone: bool = False) -> None:
        self._has_gone = has_gone

    async def is_disconnected(self) -> bool:
        return self._has_gone


def test_what_several_ask_for_at_once_is_done_once() -> None:
    done: list[int] = []
    gate = threading.Event()

    def work() -> int:
        assert gate.wait(30)
        done.append(1)
        return 5

    async def asked() -> None:
        queue = Queue(2, 10, "test")
        askers = [asyncio.create_task(queue.once("key", work, Client())) for _ in range(5)]  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        gate.set()
        assert await asyncio.gather(*askers) == [5] * 5
        assert await queue.once("key", work, Client()) == 5  # type: ignore[arg-type]
        queue.close()

    asyncio.run(asked())
    assert done == [1, 1]


def test_what_has_begun_is_waited_for_by_those_who_ask_after_its_first_asker_has_gone() -> None:
    done: list[int] = []
    gate, began = threading.Event(), threading.Event()

    def work() -> int:
        began.set()
        assert gate.wait(30)
        done.append(1)
        return 5

    async def asked() -> None:
        queue = Queue(2, 10, "test")
        gone = asyncio.create_task(queue.once("key", work, Client(has_gone=True)))  # type: ignore[arg-type]
        with pytest.raises(ClientDisconnect):
            await gone
        assert began.is_set()
        later = asyncio.create_task(queue.once("key", work, Client()))  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        gate.set()
        assert await later == 5
        queue.close()

    asyncio.run(asked())
    assert done == [1]


def test_what_goes_wrong_is_told_to_all_who_wait_and_to_nobody_else() -> None:
    def work() -> int:
        raise VideoLost("it has gone")

    async def asked() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        queue = Queue(1, 3, "test")
        askers = [queue.once("key", work, Client()) for _ in range(3)]  # type: ignore[arg-type]
        outcomes = await asyncio.gather(*askers, return_exceptions=True)
        assert [str(one) for one in outcomes] == ["it has gone"] * 3
        waiting = [asyncio.create_task(queue.run(lambda: time.sleep(0.2))) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(Busy):
            await queue.once("key", work, Client())  # type: ignore[arg-type]
        await asyncio.gather(*waiting)
        queue.close()
        del askers, outcomes
        gc.collect()
        assert told == []

    asyncio.run(asked())


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    done: list[str] = []
    gate = threading.Event()

    async def asked() -> None:
        queue = Queue(1, 10, "test")
        first = asyncio.create_task(queue.run(lambda: gate.wait(30)))
        gone = [
            asyncio.create_task(queue.once("key", lambda: done.append("left"), Client(has_gone=True)))  # type: ignore[arg-type]
            for _ in range(2)
        ]
        waits = asyncio.create_task(queue.once("other", lambda: done.append("wanted"), Client()))  # type: ignore[arg-type]
        for one in gone:
            with pytest.raises(ClientDisconnect):
                await one
        gate.set()
        await asyncio.gather(first, waits)
        queue.close()

    asyncio.run(asked())
    assert done == ["wanted"]
