"""When exactly: shots are found, kept small, and give hits their beginning and end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from make_videos import COLOURS, write_pictures, write_video
from numpy.typing import NDArray

from cezsar import indexer, maintenance, store
from cezsar.encoders.toy import Toy
from cezsar.errors import BadIndex, IndexDamaged
from cezsar.indexer import reembed
from cezsar.indexer.shots import Shot, Shots, fewest
from cezsar.query import Searcher, classify
from cezsar.query.moments import refined
from cezsar.settings import Settings
from cezsar.store import Outline, outline
from cezsar.store.local import opening
from cezsar.types import IndexReport, Limits, Sampling, Segment
from cezsar.video import Decoder
from cezsar.video.frames import Video

CUT = [("red", 3.3), ("blue", 5.4), ("green", 4.5)]
VECTORS = Toy().encode_texts(list(COLOURS))
RED, GREEN, BLUE = (VECTORS[list(COLOURS).index(name)] for name in ("red", "green", "blue"))


def of(*shots: tuple[float, NDArray[np.float32]], end_s: float) -> Outline:
    """An outline of shots that begin then and show that."""
    codes = outline.coded(np.stack([vector for _, vector in shots]))
    return Outline(np.array([start_s for start_s, _ in shots] + [end_s]), codes, np.empty((0, 8), np.uint8))


def noise(number: int) -> NDArray[np.uint8]:
    """A picture of coloured spots."""
    spots = np.random.default_rng(number).integers(0, 8, (12, 16))
    return np.array(list(COLOURS.values()), np.uint8)[spots].repeat(4, axis=0).repeat(4, axis=1)


def pan() -> Iterator[NDArray[np.uint8]]:
    """12 s of one shot: a camera that goes along a wall of spots, 32 pixels a second."""
    wall = np.concatenate([noise(number) for number in range(8)], axis=1)
    for number in range(120):
        yield wall[:, 3 * number : 3 * number + 64]


# Finding shots


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
@pytest.mark.parametrize("fps", [1.0, 2.0, 3.7])
def test_the_time_of_a_cut_is_the_frames_own(codec: str, fps: float, tmp_path: Path) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    video = write_video(tmp_path / "a.mkv", CUT, codec=codec, pix_fmt=pix_fmt)
    made = indexer.embed(video, Toy(), Sampling(fps, 8.0, 4.0))
    assert made.outline is not None
    assert made.outline.edges_s.tolist() == pytest.approx([0.0, 3.3, 8.7, 13.2])


def test_a_decoder_tells_of_jumps_what_the_video_itself_tells(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", CUT)
    with Video(path) as video, Decoder(Limits()) as decoder:
        (here,) = video.sample(fps=1.0, short_side=16, batch_size=64)
        (there,) = decoder.sample(path, fps=1.0, short_side=16, batch_size=64)
    assert here.jumps_s[[4, 9]].tolist() == pytest.approx([3.3, 8.7])
    np.testing.assert_array_equal(here.jumps_s, there.jumps_s)
    np.testing.assert_array_equal(here.jumps, there.jumps)


def test_a_long_shot_is_one_however_the_camera_goes(tmp_path: Path) -> None:
    video = write_pictures(tmp_path / "a.mkv", pan())
    made = indexer.embed(video, Toy(), Sampling(1.0, 4.0, 2.0))
    assert made.outline is not None
    assert made.outline.edges_s.tolist() == [0.0, 12.0]


def test_a_flash_is_no_cut(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [("red", 4.0), ("white", 0.3), ("red", 4.0)])
    made = indexer.embed(video, Toy(), Sampling(2.0, 4.0, 2.0))
    assert made.outline is not None
    assert made.outline.edges_s.tolist() == pytest.approx([0.0, 8.3])


def test_a_slide_that_is_held_is_a_shot(tmp_path: Path) -> None:
    slides = [(name, 0.1) for name in ("red", "green", "blue")]
    video = write_video(tmp_path / "a.mkv", slides, times_s=[0.0, 5.0, 10.0])
    made = indexer.embed(video, Toy(), Sampling(1.0, 4.0, 2.0))
    assert made.outline is not None
    assert made.outline.edges_s[:-1].tolist() == [0.0, 5.0, 10.0]


@pytest.mark.parametrize("shape", [(4,), (3, 4), (3, 2, 2)])
def test_whatever_an_encoder_keeps_of_a_frame_tells_shots_apart(shape: tuple[int, ...]) -> None:
    shots, found = Shots(), list[Shot]()
    for number in range(10):
        feature = np.zeros(shape, np.uint8)
        feature[..., 0 if number < 6 else 1] = 200
        found += shots.add(feature, repeats=1, jump=60.0 if number == 6 else 1.0, jump_s=number - 0.25)
    found += shots.finish()
    assert [(shot.start_s, shot.num_frames) for shot in found] == [(0.0, 6), (5.75, 4)]
    assert found[1].features.shape == (4, *shape)


def test_of_a_shot_of_hours_a_few_frames_are_kept() -> None:
    shots = Shots()
    for number in range(10_000):
        assert shots.add(np.ones(4, np.float32), repeats=2, jump=0.0, jump_s=float(number)) == []
    (shot,) = shots.finish()
    assert shot.num_frames == 20_000
    assert 16 <= len(shot.features) <= 32


def test_of_too_many_shots_the_strongest_cuts_stay() -> None:
    shots = [Shot(float(n), strength, np.empty(0), 1 + n) for n, strength in enumerate((0.0, 3.0, 2.0, 4.0))]
    starts_s, vectors = fewest(shots, np.stack([RED, BLUE, GREEN, RED]), 3)
    assert starts_s.tolist() == [0.0, 1.0, 3.0]
    np.testing.assert_allclose(vectors, [RED, (2 * BLUE + 3 * GREEN) / 13**0.5, RED], atol=1e-6)


@pytest.mark.parametrize("duration_s", [1.0, 59.0, 60.0, 61.0, 3_600.0])
def test_an_outline_takes_at_most_a_kilobyte_a_minute(duration_s: float) -> None:
    most = outline.most_shots(duration_s)
    shots = Outline(
        np.linspace(0, duration_s, most + 1), np.zeros((most, 16), np.uint8), np.zeros((int(duration_s), 8), np.uint8)
    )
    assert most > 10
    assert sum(map(len, outline.packed(shots))) <= 1_000 * -(-duration_s // 60)


# Keeping them


def test_an_outline_comes_back_as_it_was_packed() -> None:
    kept = Outline(np.array([0.0, 1.28, 7.5]), outline.coded(VECTORS[:2]), np.arange(24, dtype=np.uint8).reshape(3, 8))
    found = outline.unpacked(*outline.packed(kept), 7.5)
    np.testing.assert_array_equal(found.edges_s, kept.edges_s)
    np.testing.assert_array_equal(found.codes, kept.codes)
    np.testing.assert_array_equal(found.fingerprints, kept.fingerprints)


@pytest.mark.parametrize(
    ("shots", "fingerprints", "duration_s"),
    [
        (b"", b"", 1.0),
        (bytes(23), b"", 1.0),
        (bytes(24), bytes(7), 1.0),
        (bytes(48), b"", 1.0),  # two that begin at 0
        (np.array([np.nan]).tobytes() + bytes(16), b"", 1.0),
        (bytes(24), b"", 0.0),
        ("text", b"", 1.0),
        (bytes(24), None, 1.0),
        (bytes(24), b"", None),
    ],
)
def test_what_cannot_be_an_outline_is_damage(shots: object, fingerprints: object, duration_s: object) -> None:
    with pytest.raises(IndexDamaged, match="outlines"):
        outline.unpacked(shots, fingerprints, duration_s)


def test_verify_names_damaged_outlines(index_toy: Callable[..., IndexReport], toy: Settings, tmp_path: Path) -> None:
    index_toy(write_video(tmp_path / "a.mp4", CUT))
    with closing(sqlite3.connect(toy.index / store.FILE)) as database, database:
        database.execute("UPDATE outlines SET shots = x'00'")
    with opening.open_to_write(toy.index) as catalog:
        assert "1 videos have impossible outlines" in maintenance.verify(catalog).problems
    with Searcher(toy.index) as searcher, pytest.raises(IndexDamaged, match="outlines"):
        searcher.search("red")


def test_codes_rank_as_the_vectors_do() -> None:
    rows = np.random.default_rng(3).standard_normal((200, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = outline.similarities(outline.coded(rows), rows[0])
    assert likeness.argmax() == 0
    assert np.abs(likeness[1:] - rows[1:] @ rows[0]).max() < 0.35
    assert outline.likeness(outline.coded(rows), outline.coded(rows)[0])[0] == 1.0


def test_replaced_and_purged_videos_leave_no_outline(
    index_toy: Callable[..., IndexReport], toy: Settings, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "a.mp4", CUT)
    index_toy(video)
    write_video(video, [("green", 2.0), ("red", 2.5)])
    index_toy(video)
    with store.open(toy.index) as catalog, catalog.read() as rows:
        ((found,),) = (rows.outlines([1]).values(),)
        assert found.edges_s.tolist() == pytest.approx([0.0, 2.0, 4.5])
    with opening.open_to_write(toy.index) as catalog:
        with catalog.transaction() as writer:
            writer.purge_videos([1])
        with catalog.read() as rows:
            assert rows.outlines([1]) == {}


# Hits


@pytest.mark.parametrize(
    ("stretch", "direction", "right"),
    [
        ((4.0, 12.0), BLUE, (6.3, 13.8)),  # both edges are near
        ((8.0, 16.0), BLUE, (6.3, 13.8)),
        ((8.0, 16.0), GREEN, (13.8, 16.0)),  # the last edge is too far out
        ((0.0, 8.0), RED, (0.0, 6.3)),
        ((20.0, 28.0), GREEN, (20.0, 28.0)),  # no edge is near
    ],
)
def test_a_hit_has_the_edges_of_its_shot(
    stretch: tuple[float, float], direction: NDArray[np.float32], right: tuple[float, float]
) -> None:
    shots = of((0.0, RED), (6.3, BLUE), (13.8, GREEN), end_s=40.0)
    assert refined(Segment(*stretch), shots, direction, reach_s=4.0) == Segment(*right)


def test_shots_of_the_same_thing_are_one_moment() -> None:
    near = (RED + 0.3 * GREEN) / np.linalg.norm(RED + 0.3 * GREEN)
    shots = of((0.0, BLUE), (2.5, RED), (4.0, near), (6.5, BLUE), end_s=12.0)
    assert refined(Segment(0.0, 8.0), shots, RED, reach_s=4.0) == Segment(2.5, 6.5)


def test_a_video_of_one_shot_keeps_the_grids_edges() -> None:
    assert refined(Segment(4.0, 12.0), of((0.0, RED), end_s=13.0), RED, reach_s=4.0) == Segment(4.0, 12.0)


def test_a_search_gives_moments_and_the_segments_stay_the_grids(
    index_toy: Callable[..., IndexReport], toy: Settings, tmp_path: Path
) -> None:
    index_toy(write_video(tmp_path / "a.mp4", CUT))
    with Searcher(toy.index) as searcher:
        (hit,) = searcher.search("blue")
        assert (hit.start_s, hit.end_s) == pytest.approx((3.3, 8.7))
        with searcher.read() as rows:
            part = rows.part(hit.segment_id)
            assert part is not None
            assert (part.start_s, part.end_s) == (4.0, 12.0)
        (alike,) = searcher.search(like=[BLUE])
        assert (alike.start_s, alike.end_s) == (hit.start_s, hit.end_s)


def test_a_timeline_follows_the_edges(index_toy: Callable[..., IndexReport], toy: Settings, tmp_path: Path) -> None:
    index_toy(write_video(tmp_path / "a.mp4", [("red", 6.3), ("blue", 7.5), ("green", 6.0)]))
    labels = {name: (name,) for name in ("red", "blue", "green")}
    with Searcher(toy.index) as searcher:
        (told,) = classify(searcher, [tmp_path], labels, timeline=True)
    assert [part.predictions[0].label for part in told.segments] == ["red", "blue", "blue", "green"]
    times_s = [(part.segment.start_s, part.segment.end_s) for part in told.segments]
    one_frame_s = 0.1  # which the decoder may have skipped
    np.testing.assert_allclose(times_s, [(0.0, 6.3), (6.3, 12.0), (8.0, 13.8), (13.8, 19.8)], atol=one_frame_s + 1e-6)


def test_an_index_without_outlines_works_on_the_grid_and_reembed_fills_them_in(
    index_toy: Callable[..., IndexReport], toy: Settings, tmp_path: Path
) -> None:
    index_toy(write_video(tmp_path / "a.mp4", CUT))
    with pytest.raises(BadIndex, match="already"):
        reembed(toy)
    with closing(sqlite3.connect(toy.index / store.FILE)) as database, database:
        database.execute("DELETE FROM outlines")
    with Searcher(toy.index) as searcher:
        (hit,) = searcher.search("blue")
        assert (hit.start_s, hit.end_s) == (4.0, 12.0)
    reembed(toy)
    with Searcher(toy.index) as searcher:
        (hit,) = searcher.search("blue")
        assert (hit.start_s, hit.end_s) == pytest.approx((3.3, 8.7))
