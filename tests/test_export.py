"""A basket's download, asked by HTTP of a server of its own."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from make_videos import write_video
from serving import serving
from test_edit import PAL, read_edl, read_fcpxml, read_m3u

from cezsar import indexer
from cezsar.choices import EXPORTS
from cezsar.edit import Clip
from cezsar.errors import QueryError
from cezsar.query import Searcher
from cezsar.server import exports
from cezsar.server.api import Basket
from cezsar.server.media import Media
from cezsar.settings import load
from cezsar.video.timing import timing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("basket")
    (made / "videos").mkdir()
    for name in ("red", "green ä\n"):
        write_video(made / "videos" / f"{name}.mp4", [(name.split()[0], 8.0)], fps=25)
    settings = load(environ={}, index=made / "index", model="toy", window_s=4.0, stride_s=4.0)
    indexer.index([made / "videos"], settings)
    return made


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with serving(folder / "index", "--no-token") as address, httpx.Client(base_url=address, timeout=120) as made:
        yield made


@pytest.fixture
def ids(client: httpx.Client) -> dict[str, int]:
    found = client.get("/api/v1/videos").json()["videos"]
    return {Path(video["path"]).name: video["video_id"] for video in found}


def ask(client: httpx.Client, form: str, *hits: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/export", json={"format": form, "hits": hits, "title": "my basket"})


def segments(client: httpx.Client, video_id: int) -> list[int]:
    return [one["segment_id"] for one in client.get(f"/api/v1/videos/{video_id}/segments").json()["segments"]]


def test_a_basket_keeps_its_order_its_trims_and_its_notes(client: httpx.Client, ids: dict[str, int]) -> None:
    red, green = ids["red.mp4"], ids["green ä\n.mp4"]
    first, second = segments(client, red)
    answer = ask(
        client, "fcpxml",
        {"segment_id": second, "note": "the second"},
        {"video_id": green, "start_s": 1.0, "end_s": 2.0},
        {"segment_id": first, "start_s": 0.4},
        {"segment_id": second, "end_s": 99.0},
    )  # fmt: skip
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/xml"
    assert answer.headers["content-disposition"] == 'attachment; filename="hits.fcpxml"'
    assert answer.headers["cache-control"] == "no-store"
    told = [(name, start, lasts) for name, _, start, lasts in read_fcpxml(answer.text)]
    assert told == [("red.mp4", 100, 100), ("green ä\\x0a.mp4", 25, 25), ("red.mp4", 10, 90), ("red.mp4", 100, 100)]
    assert "<note>the second</note>" in answer.text
    assert '<event name="my basket">' in answer.text


def test_formats_of_several_files_come_as_an_archive(client: httpx.Client, folder: Path) -> None:
    path = os.path.realpath(folder / "videos" / "red.mp4")
    answer = ask(client, "edl", {"path": path, "start_s": 0.4, "end_s": 1.0})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["hits.edl", "hits-markers.edl"]
        assert read_edl(archive.read("hits.edl").decode(), PAL) == [("red.mp4", 10, 25)]
    with zipfile.ZipFile(
        io.BytesIO(ask(client, "m3u", {"path": path, "start_s": 0.4, "end_s": 1.0}).content)
    ) as archive:
        assert read_m3u(archive.read("hits.m3u8").decode()) == [(Path(path), 0.4, 1.0)]


def test_a_basket_of_10000_is_one_table_and_one_more_is_refused(client: httpx.Client, ids: dict[str, int]) -> None:
    (first, second) = segments(client, ids["red.mp4"])
    answer = ask(client, "csv", *[{"segment_id": first}, {"segment_id": second}] * 5_000)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["start_timecode"] for row in rows] == ["00:00:00:00", "00:00:04:00"] * 5_000
    refused = ask(client, "csv", *[{"segment_id": first}] * 10_001)
    assert (refused.status_code, refused.json()["detail"]) == (400, "10,001 hits are too many: at most 10,000.")


def test_a_contact_sheet_is_a_picture(client: httpx.Client, ids: dict[str, int]) -> None:
    first, second = segments(client, ids["red.mp4"])
    answer = ask(client, "sheet", {"segment_id": first}, {"segment_id": second})
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    refused = ask(client, "sheet", *[{"segment_id": first}] * 201)
    assert (refused.status_code, refused.json()["detail"]) == (400, "201 clips are too many: at most 200 as sheet.")


@pytest.mark.parametrize(
    ("hit", "status", "detail"),
    [
        ({"segment_id": 999_999}, 404, "There is no segment 999999 (hit 1)."),
        ({"video_id": 999_999, "start_s": 0, "end_s": 1}, 404, "There is no video 999999 (hit 1)."),
        ({"path": "/etc/passwd", "start_s": 0, "end_s": 1}, 404, "The index holds no video /etc/passwd (hit 1)."),
        ({"path": "a\0b", "start_s": 0, "end_s": 1}, 404, "The index holds no video a\\x00b (hit 1)."),
        ({}, 400, "Hit 1 needs one of segment_id, video_id and path."),
        ({"segment_id": 1, "video_id": 1}, 400, "Hit 1 needs one of segment_id, video_id and path."),
        ({"video_id": 1, "start_s": 3}, 400, "Hit 1 needs start_s and end_s."),
        ({"video_id": 1, "start_s": 3, "end_s": 2}, 400, "Hit 1 is no stretch of its video, which ends at 8 s."),
        ({"video_id": 1, "start_s": 8, "end_s": 9}, 400, "Hit 1 is no stretch of its video, which ends at 8 s."),
        ({"segment_id": -1}, 422, "hits.0.segment_id: Input should be greater than or equal to 1"),
    ],
)
def test_hits_that_are_none_are_one_line(client: httpx.Client, hit: dict[str, Any], status: int, detail: str) -> None:
    answer = ask(client, "csv", hit)
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)


def test_a_path_that_is_no_text_of_a_file_system_is_not_held(client: httpx.Client) -> None:
    body = b'{"format": "csv", "title": "\\ud800", "hits": [{"path": "\\ud800", "start_s": 0, "end_s": 1}]}'
    answer = client.post("/api/v1/export", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (404, 422)


def test_characters_that_no_xml_may_hold_are_left_out(client: httpx.Client, ids: dict[str, int]) -> None:
    hit = {"video_id": ids["red.mp4"], "start_s": 0, "end_s": 1, "note": "a\x00b\ufffec\uffff<d>"}
    answer = ask(client, "fcpxml", hit)
    assert "<note>a\\x00bc&lt;d&gt;</note>" in answer.text
    assert len(read_fcpxml(answer.text)) == 1


def test_a_video_that_has_gone_is_named_in_a_header(folder: Path, tmp_path: Path) -> None:
    for name in ("stays", "goes"):
        write_video(tmp_path / f"{name}.mp4", [("red", 2.0)], fps=25)
    indexer.index([tmp_path], load(environ={}, index=tmp_path / "index", model="toy"))
    with serving(tmp_path / "index", "--no-token") as address, httpx.Client(base_url=address) as client:
        (tmp_path / "goes.mp4").unlink()
        hits = [{"path": os.path.realpath(tmp_path / f"{n}.mp4"), "start_s": 0, "end_s": 1} for n in ("goes", "stays")]
        answer = ask(client, "json", *hits)
        assert [one["first_frame"] for one in answer.json()["clips"]] == [None, 0]
        assert json.loads(answer.headers["cezsar-notices"]) == [
            "goes.mp4: The video's file has gone; it has no time code"
        ]
        refused = ask(client, "fcpxml", hits[0])
        assert refused.status_code == 400
        assert refused.json()["detail"].startswith("None of the videos can be read")


def test_clips_come_as_an_archive_of_files(client: httpx.Client, ids: dict[str, int], tmp_path: Path) -> None:
    red, green = ids["red.mp4"], ids["green ä\n.mp4"]
    answer = ask(
        client, "clips", {"video_id": red, "start_s": 1.4, "end_s": 2.0}, {"video_id": green, "start_s": 2, "end_s": 3}
    )
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="hits-clips.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["001_red_1.4-2.0.mp4", "002_green ä_x0a_2.0-3.0.mp4"]
        archive.extractall(tmp_path)
    lengths = [timing(tmp_path / name).num_frames for name in sorted(os.listdir(tmp_path))]
    assert lengths == [15, 25]


@pytest.mark.parametrize(
    ("count", "end_s", "detail"),
    [
        (201, 1.0, "201 clips are too many: at most 200 are cut at once."),
        (2, 8.0, "Hit 1 lasts 8 s: a clip that is cut lasts up to 5 s."),
        (2, 1.0, "The clips take more than 0.0 GB: the first 0 fit."),
    ],
)
def test_what_cannot_be_cut_at_once_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, count: int, end_s: float, detail: str
) -> None:
    monkeypatch.setattr(exports, "LONGEST_PART_S", 5.0)
    monkeypatch.setattr(exports, "MOST_BYTES_CUT", 100)
    with Searcher(folder / "index") as searcher, searcher.read() as rows, Media(folder / "index") as media:
        video = rows.videos()[0]
        picks = [(video, Clip(video.file.full_path, 0.0, end_s))] * count
        with pytest.raises(QueryError, match=re.escape(detail)):
            exports.download("clips", picks, media, title="", is_wanted=lambda: True)


def test_a_clip_whose_video_has_gone_is_left_out(tmp_path: Path) -> None:
    for name in ("stays", "goes"):
        write_video(tmp_path / f"{name}.mp4", [("red", 2.0)], fps=25)
    indexer.index([tmp_path], load(environ={}, index=tmp_path / "index", model="toy"))
    with serving(tmp_path / "index", "--no-token") as address, httpx.Client(base_url=address) as client:
        (tmp_path / "goes.mp4").unlink()
        hits = [{"path": os.path.realpath(tmp_path / f"{n}.mp4"), "start_s": 0, "end_s": 1} for n in ("goes", "stays")]
        answer = ask(client, "clips", *hits)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.namelist() == ["002_stays_0.0-1.0.mp4"]
        assert json.loads(answer.headers["cezsar-notices"]) == ["goes.mp4: The video's file has gone; it is left out"]
        refused = ask(client, "clips", hits[0])
        assert (refused.status_code, refused.json()["detail"]) == (
            400, "None of the hits can be cut: goes.mp4: The video's file has gone; it is left out."
        )  # fmt: skip


def test_a_basket_is_looked_up_hit_by_hit(client: httpx.Client, ids: dict[str, int]) -> None:
    first, second = segments(client, ids["red.mp4"])
    hits = [{"segment_id": second, "end_s": 99}, {"segment_id": 999_999}, {"segment_id": first, "start_s": 1.5}, {}]
    found = client.post("/api/v1/basket", json={"hits": hits}).json()["hits"]
    assert [(one.get("video_id"), one.get("start_s"), one.get("end_s")) for one in found] == [
        (ids["red.mp4"], 4.0, 8.0), (None, None, None), (ids["red.mp4"], 1.5, 4.0), (None, None, None),
    ]  # fmt: skip
    assert Path(found[0]["path"]).name == "red.mp4"
    assert [one.get("error") for one in found] == [
        None, "There is no segment 999999 (hit 2).", None, "Hit 4 needs one of segment_id, video_id and path.",
    ]  # fmt: skip
    refused = client.post("/api/v1/basket", json={"hits": [{"segment_id": first}] * 10_001})
    assert (refused.status_code, refused.json()["detail"]) == (400, "10,001 hits are too many: at most 10,000.")


def test_a_basket_of_10000_with_notes_fits_in_a_request(client: httpx.Client, ids: dict[str, int]) -> None:
    (first, _) = segments(client, ids["red.mp4"])
    hit = {"segment_id": first, "start_s": 0.123456, "end_s": 2.345678, "note": "ä" * 60}
    answer = ask(client, "csv", *[hit] * 10_000)
    assert answer.status_code == 200
    assert answer.text.count("ä" * 60) == 10_000


def test_the_token_guards_it_too(folder: Path) -> None:
    with (
        serving(folder / "index", "--token", "a-long-token") as address,
        httpx.Client(base_url=address.partition("?")[0]) as client,
    ):
        assert ask(client, "csv", {"segment_id": 1}).status_code == 401
        client.headers["authorization"] = "Bearer a-long-token"
        assert ask(client, "csv", {"segment_id": 1}).status_code == 200


def test_the_description_has_the_formats_of_the_command() -> None:
    assert tuple(Basket.model_json_schema()["properties"]["format"]["enum"]) == EXPORTS
