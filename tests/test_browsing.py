"""Looking through an index without a query: lists, folders and overviews, in every store, and sprites."""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import databases
import httpx
import numpy as np
import pytest
from make_videos import write_video
from PIL import Image
from serving import serving

from cezsar import indexer, store
from cezsar.choices import VideoOrder
from cezsar.encoders.toy import Toy
from cezsar.errors import VideoError
from cezsar.location import Location, located
from cezsar.query.overview import distinct
from cezsar.server.overviews import Overviews
from cezsar.settings import load
from cezsar.store import Embedding, File, VideoFolder
from cezsar.types import EncoderIdentity, Limits, Sampling, Segment, Vectors, unit
from cezsar.video import Decoder
from cezsar.video.browser import sprite

IDENTITY = EncoderIdentity("toy", "0" * 64, 4, "visual")
EAST, NORTH, UP, BACK = np.eye(4, dtype=np.float32)
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(postgres: str) -> Iterator[str]:
    with databases.database(postgres) as location:
        yield location


@pytest.fixture(params=["folder", "postgresql"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[store.Catalog]:
    """An empty index in either store, open for writing."""
    location: Location = tmp_path / "index"
    if request.param == "postgresql":
        location = located(f"{request.getfixturevalue('server')}&schema=browsing_{next(_NUMBERS)}")
    with store.create(location, IDENTITY, Sampling(2.0, 8.0, 4.0)) as made:
        yield made


def add(
    catalog: store.Catalog,
    name: str | bytes,
    *rows: Vectors,
    root: bytes = b"/videos",
    changed_s: int = 1_000,
    recorded_s: float | None = None,
    plain: tuple[bool, ...] | None = None,
) -> int:
    """A video of 8 s segments every 4 s, one for each vector."""
    vectors = np.stack(rows or (EAST,))
    segments = tuple(Segment(4.0 * number, 4.0 * number + 8) for number in range(len(vectors)))
    made = Embedding(
        segments[-1].end_s, segments, tuple(range(len(vectors))), vectors, None, 0, None, plain, recorded_s
    )
    path = name if isinstance(name, bytes) else name.encode()
    file = File(root, path, 10, changed_s * 10**9)
    return catalog.write(lambda writer: writer.add_video(file, (root + path).ljust(32, b"\0")[:32], made))


def hide(catalog: store.Catalog, number: int) -> None:
    catalog.write(lambda writer: writer.hide_videos([number]))


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("added", ["e", "d", "c", "a", "b"]),
        ("recorded", ["b", "d", "a", "e", "c"]),
        ("name", ["a", "b", "c", "d", "e"]),
    ],
)
def test_videos_come_in_every_order_in_pages(catalog: store.Catalog, order: VideoOrder, names: list[str]) -> None:
    changed = {"b": 50, "a": 30, "c": 10, "gone": 70, "d": 40, "e": 20}
    roots = {"d": b"/videos/more", "e": b"/z"}
    ids = {name: add(catalog, name, root=roots.get(name, b"/videos"), changed_s=changed[name]) for name in changed}
    hide(catalog, ids["gone"])
    with catalog.read() as rows:
        found: list[store.Video] = []
        while page := rows.listed(order, after=found[-1] if found else None, limit=2):
            found += page
    assert [video.file.path.decode() for video in found] == names


def test_a_file_that_says_when_it_was_recorded_comes_by_that(catalog: store.Catalog) -> None:
    old = add(catalog, "old.mp4", changed_s=30, recorded_s=10.5)
    middle = add(catalog, "middle.mp4", changed_s=20)
    new = add(catalog, "new.mp4", changed_s=10, recorded_s=20.25)
    with catalog.read() as rows:
        first = rows.listed("recorded", folder=b"/", limit=1)
        assert [video.id for video in first + rows.listed("recorded", after=first[0], limit=9)] == [new, middle, old]


def test_videos_that_were_changed_at_once_are_each_given_once(catalog: store.Catalog) -> None:
    ids = [add(catalog, f"{number}.mp4") for number in range(5)]
    with catalog.read() as rows:
        first = rows.listed("recorded", limit=2)
        rest = rows.listed("recorded", after=first[-1], limit=5)
    assert [video.id for video in first + rest] == ids[::-1]


def test_a_folder_gives_what_is_in_it_and_below(catalog: store.Catalog) -> None:
    for name in ("a/1.mp4", "a/b/2.mp4", "a.mp4", "ab/3.mp4", "a0/4.mp4", b"caf\xe9/5.mp4"):
        add(catalog, name)
    add(catalog, "6.mp4", root=b"/videos/a/c")
    add(catalog, "7.mp4", root=b"/other")

    def below(folder: bytes) -> list[bytes]:
        with catalog.read() as rows:
            return [video.file.path for video in rows.listed("name", folder=folder, limit=10)]

    assert below(b"/videos/a") == [b"a/1.mp4", b"a/b/2.mp4", b"6.mp4"]
    assert below(b"/videos/a/c") == [b"6.mp4"]
    assert below(b"/videos/caf\xe9") == [b"caf\xe9/5.mp4"]
    assert below(b"/") == [
        b"7.mp4",
        *sorted([b"a/1.mp4", b"a/b/2.mp4", b"a.mp4", b"ab/3.mp4", b"a0/4.mp4", b"caf\xe9/5.mp4"]),
        b"6.mp4",
    ]
    assert below(b"/nothing") == below(b"videos/a") == []


def test_folders_are_counted_with_all_below_them(catalog: store.Catalog) -> None:
    with catalog.read() as rows:
        assert rows.folders() == rows.folders(b"/videos") == []
    one = add(catalog, "a/1.mp4")
    two = add(catalog, "a/b/2.mp4")
    three = add(catalog, "c/3.mp4")
    add(catalog, "4.mp4")
    hide(catalog, add(catalog, "hidden/5.mp4"))
    six = add(catalog, "6.mp4", root=b"/videos/a/d")
    other = add(catalog, "x/y/7.mp4", root=b"/other")
    with catalog.read() as rows:
        assert rows.folders() == [VideoFolder(b"/other", 1, other), VideoFolder(b"/videos", 5, six)]
        assert rows.folders(b"/videos") == [VideoFolder(b"/videos/a", 3, six), VideoFolder(b"/videos/c", 1, three)]
        assert rows.folders(b"/videos/a") == [VideoFolder(b"/videos/a/b", 1, two), VideoFolder(b"/videos/a/d", 1, six)]
        assert rows.folders(b"/") == rows.folders()
        assert rows.folders(b"/videos/c") == []
    assert one < two


def test_a_video_s_face_shows_something_and_is_not_its_beginning(catalog: store.Catalog) -> None:
    late = add(catalog, "late.mp4", EAST, NORTH, UP, BACK, plain=(False, False, True, False))
    early = add(catalog, "early.mp4", EAST, NORTH, UP, plain=(False, True, True))
    plain = add(catalog, "plain.mp4", EAST, NORTH, plain=(True, True))
    with catalog.read() as rows:
        faces = [rows.face(video) for video in rows.listed("name", limit=3)]
    assert [(face.video_id, face.start_s) for face in faces if face] == [(early, 0.0), (late, 12.0), (plain, 0.0)]


def test_examples_differ_most_and_are_one_of_a_video(catalog: store.Catalog) -> None:
    with catalog.read() as rows:
        assert rows.segment_span() is None
        assert distinct(rows, 3) == []
    near = unit(np.array([1.0, 0.05, 0.0, 0.0]))
    usual = add(catalog, "usual.mp4", EAST, near)
    add(catalog, "again.mp4", near)
    north = add(catalog, "north.mp4", NORTH, NORTH)
    up = add(catalog, "up.mp4", UP)
    add(catalog, "plain.mp4", BACK, plain=(True,))
    hide(catalog, add(catalog, "hidden.mp4", -EAST))
    with catalog.read() as rows:
        assert [part.video_id for part in distinct(rows, 9)] == [usual, up, north]
        assert [part.video_id for part in distinct(rows, 1)] == [usual]


# The overview


class _Searched:
    """What an overview asks of a searcher."""

    def __init__(self, catalog: store.Catalog) -> None:
        self.info, self.read = catalog.info, catalog.read


def test_an_overview_is_made_once_a_state_and_of_fast_changes_not_each(
    catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    monkeypatch.setattr("cezsar.server.overviews.time.monotonic", lambda: now_s[0])

    def takes_a_second(rows: store.Rows, most: int) -> list[store.Part]:
        now_s[0] += 1.0
        return []

    monkeypatch.setattr("cezsar.server.overviews.distinct", takes_a_second)
    overviews, searched = Overviews(), _Searched(catalog)

    def num_videos() -> int:
        return len(overviews.of(searched)["videos"])  # type: ignore[arg-type]

    assert num_videos() == 0
    add(catalog, "a.mp4")
    assert num_videos() == 0  # it took a second, so it is good for ten
    now_s[0] += 9.0
    assert num_videos() == 0
    now_s[0] += 1.5
    assert num_videos() == 1
    made_s = now_s[0]
    now_s[0] += 100.0
    assert num_videos() == 1
    assert now_s[0] == made_s + 100.0  # nothing has changed


# Sprites


def _colours(picture: bytes, num_frames: int) -> list[str]:
    with Image.open(BytesIO(picture)) as image:
        step = image.width // num_frames
        centres = [image.getpixel((step * number + step // 2, image.height // 2)) for number in range(num_frames)]
    names = {(0, 0, 0): "black", (1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}
    return [names[tuple(int(value > 110) for value in centre)] for centre in centres]  # type: ignore[union-attr]


def test_a_sprite_has_the_frames_of_its_times_side_by_side(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 2.0), ("blue", 2.0), ("white", 20.0)], size=(64, 48))
    sprite(path, [0.0, 1.9, 2.1, 3.0, 5.0, 20.0, 23.9, 99.0], tmp_path / "a.jpg", width=32)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.size == (8 * 32, 24)
    assert _colours((tmp_path / "a.jpg").read_bytes(), 8) == ["red"] * 2 + ["blue"] * 2 + ["white"] * 4


def test_a_small_video_s_sprite_is_no_larger(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [("red", 1.0)], size=(64, 48))
    sprite(path, [0.5, 0.6], tmp_path / "a.jpg", width=240)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.size == (2 * 64, 48)


def test_a_file_that_is_no_video_gives_no_sprite(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video" * 1_000)
    with Decoder(Limits()) as decoder, pytest.raises(VideoError):
        decoder.sprite(tmp_path / "a.mp4", [0.5], tmp_path / "a.jpg", width=240)
    assert [one.name for one in tmp_path.iterdir()] == ["a.mp4"]


# The API


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five videos in two folders, one of whose names is not UTF-8."""
    folder = tmp_path_factory.mktemp("browsed")
    for name, colour in (("one/red", "red"), ("one/green", "green"), ("two/blue", "blue"), ("two/in/white", "white")):
        path = folder / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, [(colour, 4.0), ("black", 4.0)], format="mp4")
    odd = folder / "videos" / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    write_video(odd / "yellow.mp4", [("yellow", 4.0)], format="mp4")
    indexer.index(
        [folder / "videos"], load(environ={}, index=folder / "index", model="toy", window_s=4.0, stride_s=4.0)
    )
    return folder


@pytest.fixture(scope="module")
def get(served: Path) -> Iterator[Callable[..., httpx.Response]]:
    with serving(served / "index", "--no-token") as address, httpx.Client(base_url=address, timeout=60) as client:
        yield lambda place, **asked: client.get(f"/api/v1/{place}", params=asked)


def _names(videos: list[dict[str, Any]]) -> list[str]:
    return [Path(video["path"]).stem for video in videos]


def test_an_overview_shows_latest_videos_folders_and_examples(served: Path, get: Callable[..., httpx.Response]) -> None:
    told = get("overview").json()
    ids = [video["video_id"] for video in told["videos"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 5
    assert [(Path(one["path"]).name, one["videos"]) for one in told["folders"]] == [
        ("caf\\xe9", 1),
        ("one", 2),
        ("two", 2),
    ]
    assert sorted(_names(told["examples"])) == ["blue", "green", "red", "white", "yellow"]
    for one in told["folders"] + told["videos"] + told["examples"]:
        picture = get(f"segments/{one['segment_id']}/thumbnail")
        assert picture.headers["content-type"] == "image/jpeg"


def test_browsing_goes_through_folders_in_pages(served: Path, get: Callable[..., httpx.Response]) -> None:
    first = get("browse", order="name", limit=3).json()
    assert _names(first["videos"]) == ["yellow", "green", "red"]
    assert first["videos"][1]["when_s"] == pytest.approx((served / "videos/one/green.mp4").stat().st_mtime)
    rest = get("browse", order="name", after=first["videos"][-1]["video_id"]).json()
    assert (_names(rest["videos"]), rest["folders"]) == (["blue", "white"], [])
    two = get("browse", folder=str(served / "videos" / "two"), order="name").json()
    assert (_names(two["videos"]), [one["path"] for one in two["folders"]]) == (
        ["blue", "white"],
        [str(served / "videos" / "two" / "in")],
    )
    odd = first["folders"][0]
    assert odd["path_bytes"] == base64.b64encode(os.fsencode(served / "videos") + b"/caf\xe9").decode()
    assert _names(get("browse", folder_bytes=odd["path_bytes"]).json()["videos"]) == ["yellow"]
    assert get("browse", folder_bytes="abc").json()["detail"] == "folder_bytes is no base64."
    assert get("browse", after=99).status_code == 404
    assert get("browse", folder="/elsewhere").json() == {"folders": [], "videos": []}


def test_a_sprite_is_of_a_segment_or_of_another_stretch(get: Callable[..., httpx.Response]) -> None:
    (white,) = [one for one in get("overview").json()["videos"] if Path(one["path"]).stem == "white"]
    first = get(f"videos/{white['video_id']}/segments").json()["segments"][0]
    answer = get(f"segments/{first['segment_id']}/sprite")
    assert answer.headers["content-type"] == "image/jpeg"
    assert _colours(answer.content, 12) == ["white"] * 12
    whole = get(f"segments/{first['segment_id']}/sprite", start_s=0, end_s=100)
    assert _colours(whole.content, 12) == ["white"] * 6 + ["black"] * 6
    assert "before the video's end at 8 s" in get(f"segments/{first['segment_id']}/sprite", start_s=9).json()["detail"]
    assert get("segments/99/sprite").status_code == 404


def test_an_empty_index_has_an_empty_overview(tmp_path: Path) -> None:
    store.create(tmp_path / "index", Toy.identity, Sampling(2.0, 8.0, 4.0)).__exit__(None, None, None)
    with serving(tmp_path / "index", "--no-token") as address:
        assert httpx.get(f"{address}api/v1/overview").json() == {"videos": [], "folders": [], "examples": []}
        assert httpx.get(f"{address}api/v1/browse").json() == {"folders": [], "videos": []}
