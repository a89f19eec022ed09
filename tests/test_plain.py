"""What shows next to nothing is noticed while indexing, and does not win; what is merely dark, foggy or flat does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from make_videos import COLOURS, write_video
from numpy.typing import NDArray

from cezsar import indexer, maintenance, store
from cezsar.encoders.toy import COLOURS as NAMES
from cezsar.encoders.toy import Toy
from cezsar.indexer import segments
from cezsar.indexer.plain import Plain
from cezsar.query import Filters, Searcher
from cezsar.settings import Settings
from cezsar.store.local import opening
from cezsar.types import EncoderIdentity, Sampling, Segment

HEIGHT, WIDTH = 260, 346
Picture = NDArray[np.uint8]


def scene(seed: int = 0) -> Picture:
    """Something like a photograph: shapes of all sizes, in light and shade."""
    draw = np.random.default_rng(seed)
    picture = np.full((HEIGHT, WIDTH, 3), 120.0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for _ in range(60):
        down, across, size = draw.uniform((0, 0, 8), (HEIGHT, WIDTH, 70))
        picture[np.hypot(rows - down, columns - across) < size] = draw.uniform(10, 245, 3)
    return picture.astype(np.uint8)


def stripes(*bands: tuple[int, tuple[str, ...]]) -> Picture:
    """Bands of so many rows, each of upright bars of these colours."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    top = 0
    for height, names in bands:
        edges = np.linspace(0, WIDTH, len(names) + 1).astype(int)
        for name, left, right in zip(names, edges, edges[1:], strict=False):
            picture[top : top + height, left:right] = COLOURS[name]
        top += height
    return picture


def blurred(picture: Picture, width: int) -> Picture:
    """Averaged over width pixels down and across, three times."""
    found = picture.astype(np.float64)
    for _ in range(3):
        for axis in (0, 1):
            pad = [(width // 2, width - width // 2 - 1) if side == axis else (0, 0) for side in range(3)]
            sums = np.cumsum(np.pad(found, pad, mode="edge"), axis=axis)
            sums = np.insert(sums, 0, 0, axis=axis)
            high, low = (
                np.take(sums, range(width, sums.shape[axis]), axis),
                np.take(sums, range(found.shape[axis]), axis),
            )
            found = (high - low) / width
    return found.astype(np.uint8)


def letters() -> Picture:
    """A white slide with a line of text: strokes and gaps as letters have them."""
    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    strokes = np.random.default_rng(4).random((5, 60)) < 0.5
    picture[100:115, 40:220] = np.where(strokes.repeat(3, axis=0).repeat(3, axis=1)[..., None], 20, 255)
    return picture


def cartoon(number: int) -> Picture:
    """A red figure that goes over a flat meadow below a flat sky."""
    picture = stripes((180, ("cyan",)), (80, ("green",)))
    picture[120:200, 40 + 20 * number : 80 + 20 * number] = COLOURS["red"]
    return picture


def noise(picture: Picture, levels: float) -> Picture:
    drawn = np.random.default_rng(7).normal(0, levels, picture.shape)
    return np.clip(picture + drawn, 0, 255).astype(np.uint8)


SMPTE = stripes(
    (170, ("white", "yellow", "cyan", "green", "magenta", "red", "blue")),
    (20, ("blue", "black", "magenta", "black", "cyan", "black", "white")),
    (70, ("blue", "white", "magenta", "black", "black")),
)
BLACK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
RAMP = np.broadcast_to(np.linspace(0, 255, WIDTH)[None, :, None], (HEIGHT, WIDTH, 3)).astype(np.uint8)


def are_plain(*pictures: Picture) -> list[bool]:
    return Plain().are_plain(np.stack(pictures).transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    "picture",
    [
        BLACK,
        BLACK + 255,
        noise(BLACK + 8, 4.0),
        stripes((260, ("white", "yellow", "cyan", "green", "magenta", "red", "blue"))),
        SMPTE,
        RAMP,
        RAMP.transpose(1, 0, 2)[:HEIGHT],
        blurred(scene(), 150),
    ],
    ids=["black", "white", "sensor noise", "bars", "smpte", "ramp", "ramp down", "blur"],
)
def test_next_to_nothing_is_noticed(picture: Picture) -> None:
    assert are_plain(picture, picture) == [True, True]


@pytest.mark.parametrize(
    "picture",
    [
        scene(),
        noise((scene(1) * 0.12).astype(np.uint8), 2.0),
        (scene(2) * 0.12 + 190).astype(np.uint8),
        blurred(scene(3), 9),
        letters(),
        255 - letters(),
    ],
    ids=["scene", "night", "fog or snow", "soft", "slide", "dark slide"],
)
def test_what_is_dark_foggy_soft_or_written_shows_something(picture: Picture) -> None:
    assert are_plain(picture, picture) == [False, False]


def test_flat_colours_that_move_are_a_cartoon() -> None:
    assert are_plain(*(cartoon(number) for number in range(6)))[1:] == [False] * 5


def test_a_fade_is_plain_where_it_is_black() -> None:
    faded = [(scene() * share).astype(np.uint8) for share in (1.0, 0.5, 0.2, 0.0, 0.0)]
    assert are_plain(*faded) == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("shown", "frames", "right"),
    [
        ((8, 1, 0), (8, 8, 4), (False, True, True)),
        ((2, 0), (8, 8), (False, True)),
        ((1, 0), (8, 8), (False, True)),  # a video's only picture
        ((0, 0), (8, 8), (True, True)),
    ],
)
def test_a_segment_is_plain_by_its_frames(
    shown: tuple[int, ...], frames: tuple[int, ...], right: tuple[bool, ...]
) -> None:
    assert segments.plain(shown, frames) == right


class _Seeing(Toy):
    """As the toy encoder, but a plain picture says nothing to it."""

    identity = EncoderIdentity("seeing", "0" * 64, len(NAMES), "visual")
    short_side = HEIGHT
    knows_colours = property()  # type: ignore[assignment]  # there is none


def test_an_encoder_of_colours_takes_no_picture_for_plain(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [("black", 8.0)])
    assert indexer.embed(video, Toy(), Sampling(1.0, 4.0, 4.0)).plain == (False, False)
    assert indexer.embed(video, _Seeing(), Sampling(1.0, 4.0, 4.0)).plain == (True, True)


# Searching


@pytest.fixture
def filled(toy: Settings) -> Path:
    """An index of four videos of two segments: blank.mp4 is plain, mixed.mp4 in its second half."""
    with store.create(toy.index, Toy.identity, Sampling()) as catalog, catalog.transaction() as writer:
        for name, colours, plain in (
            ("blank.mp4", ("red", "red"), (True, True)),
            ("mixed.mp4", ("red blue", "red"), (False, True)),
            ("sure.mp4", ("red green", "green"), (False, False)),
            ("old.mp4", ("red cyan yellow", "cyan"), None),
        ):
            parts = (Segment(0.0, 8.0), Segment(8.0, 16.0))
            rows = Toy().encode_texts(colours)
            embedding = store.Embedding(16.0, parts, (0, 1), rows, plain=plain)
            writer.add_video(store.File(b"/videos", name.encode(), 1, 1), bytes(32), embedding)
    return toy.index


def found(index: Path, text: str | None = "red", **filters: object) -> list[tuple[str, float]]:
    with Searcher(index) as searcher:
        like = [] if text else [Toy().encode_texts(["red"])[0]]
        hits = searcher.search(text, like=like, filters=Filters(**filters))  # type: ignore[arg-type]
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    return [(hit.path.name, hit.start_s) for hit in hits]


@pytest.mark.parametrize("is_cached", [False, True])
def test_what_shows_next_to_nothing_comes_last(filled: Path, is_cached: bool) -> None:
    if is_cached:
        with opening.open_to_write(filled) as catalog:
            catalog.rebuild()
    informed = [("mixed.mp4", 0.0), ("sure.mp4", 0.0), ("old.mp4", 0.0)]
    assert found(filled) == [*informed, ("blank.mp4", 0.0)]
    assert found(filled, top_k=3) == informed
    assert found(filled, path="blank.mp4") == [("blank.mp4", 0.0)]
    assert found(filled, path="mixed.mp4", per_video=0) == [("mixed.mp4", 0.0), ("mixed.mp4", 8.0)]


def test_an_example_finds_what_shows_next_to_nothing(filled: Path) -> None:
    assert found(filled, None)[:2] == [("blank.mp4", 0.0), ("mixed.mp4", 8.0)]


def test_stats_count_what_shows_next_to_nothing(filled: Path) -> None:
    with store.open(filled) as catalog:
        assert maintenance.stats(catalog, filled).plain_segments == 3
        with catalog.read() as rows:
            assert rows.plain().tolist() == [1, 2, 4]


def test_a_hidden_video_counts_for_nothing(filled: Path) -> None:
    with closing(sqlite3.connect(filled / store.FILE)) as database, database:
        database.execute("UPDATE videos SET hidden = 1 WHERE id = 1")
    with store.open(filled) as catalog, catalog.read() as rows:
        assert rows.plain().tolist() == [4]
