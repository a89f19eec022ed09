"""The draw of negatives, against bands that are counted one sentence at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cezsar.training.negatives import Band, Drawn, Pool, draw
from cezsar.types import Ids, Vectors, unit

WIDE = Band(0.0, 2.5, 10)
CLEAR = 1e-5  # float32 may see a distance this near to an edge on its other side


def made(seed: int, count: int, num_videos: int, dimension: int = 3) -> tuple[Vectors, Ids]:
    """Sentences, and the video of each; there are at least two videos."""
    generator = np.random.default_rng(seed)
    owners = generator.integers(num_videos, size=count)
    owners[:2] = 0, 1
    return unit(generator.normal(size=(count, dimension))), generator.permutation(owners)


def circle(*degrees: float) -> Vectors:
    """Sentences at these angles."""
    return unit(np.array([[math.cos(math.radians(angle)), math.sin(math.radians(angle))] for angle in degrees]))


def drawn(
    positives: Sequence[int], sentences: Vectors, owners: Sequence[int] | Ids, band: Band, seed: int = 0
) -> Drawn:
    rows, videos = np.array(positives, np.int64), np.array(owners, np.int64)
    return draw(rows, videos[rows], Pool(sentences, videos), band=band, generator=np.random.default_rng(seed))


def foreign(positive: int, sentences: Vectors, owners: Ids) -> dict[int, float]:
    """The distance to each sentence of another video."""
    rows = sentences.astype(float).tolist()
    return {
        other: 1 - math.fsum(a * b for a, b in zip(rows[positive], rows[other], strict=True))
        for other in range(len(rows))
        if owners[other] != owners[positive]
    }


def inside(distances: dict[int, float], band: Band) -> list[int]:
    return [other for other, distance in distances.items() if band.low < distance < band.high]


def outside(distances: dict[int, float], band: Band) -> dict[int, float]:
    """How far each one is from the band."""
    return {other: max(band.low - d, d - band.high) for other, d in distances.items()}


def is_clear(distances: dict[int, float], band: Band) -> bool:
    """Whether float32 sees the same order, and no sentence that says the same."""
    edges = [abs(distance - edge) for distance in distances.values() for edge in (band.low, band.high)]
    ordered = sorted(outside(distances, band).values())
    gaps = [after - before for before, after in pairwise(ordered)]
    return min([*edges, *gaps]) > CLEAR and min(distances.values()) > 2 * CLEAR


def check(row: list[int], distances: dict[int, float], band: Band) -> bool:
    """Hold one positive's negatives against the rules; return whether its band was empty."""
    assert len(row) == band.count
    candidates = inside(distances, band)
    if not candidates:
        away = outside(distances, band)
        nearest = sorted(away, key=lambda other: away[other])[: band.count]
        assert row == [nearest[turn % len(nearest)] for turn in range(band.count)]
        return True
    assert set(row) <= set(candidates)
    counts = Counter(row)
    times = [counts[candidate] for candidate in candidates]
    assert max(times) - min(times) <= 1
    if len(candidates) >= band.count:
        assert len(set(row)) == band.count
    else:
        assert set(row) == set(candidates)
        assert all(row[turn] == row[turn % len(candidates)] for turn in range(band.count))
    return False


@given(
    seed=st.integers(0, 2**32 - 1),
    num_videos=st.integers(2, 6),
    count=st.integers(2, 24),
    dimension=st.integers(2, 4),
    edges=st.sampled_from([(0.0, 0.8), (0.0, 0.02), (0.3, 0.5), (0.9, 0.95), (1.9, 1.99), (-1.0, 3.0)]),
    asked=st.integers(1, 12),
)
def test_negatives_are_those_of_the_slow_oracle(
    seed: int, num_videos: int, count: int, dimension: int, edges: tuple[float, float], asked: int
) -> None:
    sentences, owners = made(seed, count, num_videos, dimension)
    positives = np.random.default_rng(seed + 1).integers(count, size=9).tolist()
    distances = [foreign(positive, sentences, owners) for positive in positives]
    band = Band(*edges, asked)
    assume(all(is_clear(row, band) for row in distances))
    found = drawn(positives, sentences, owners, band, seed)
    assert found.indices.dtype == np.int64
    empty = [check(row, given, band) for row, given in zip(found.indices.tolist(), distances, strict=True)]
    assert found.num_widened == sum(empty)


def test_a_band_is_in_cosine_distance() -> None:
    sentences = circle(0, 30, 60, 90, 120, 180)  # distances 0, 0.13, 0.5, 1, 1.5, 2
    found = drawn([0] * 20, sentences, range(6), Band(0.4, 1.1, 2))
    assert {frozenset(row) for row in found.indices.tolist()} == {frozenset([2, 3])}
    assert found.num_widened == 0


def test_a_band_is_open_at_both_ends() -> None:
    sentences = unit(np.array([[1, 0], [0, 1], [-1, 0], [1, 1]]))  # distances 0, 1, 2, 0.29
    assert drawn([0], sentences, range(4), Band(0.0, 1.0, 3)).indices.tolist() == [[3, 3, 3]]
    assert drawn([0], sentences, range(4), Band(1.0, 2.0, 1)).num_widened == 1


def test_a_sentence_that_says_the_same_is_no_negative() -> None:
    random = unit(np.random.default_rng(5).normal(size=(4, 384)))
    sentences = np.concatenate([random[:1], random[:1], random[1:]])  # 0 and 1 are one sentence of two videos
    found = drawn([0, 1] * 50, sentences, range(5), Band(0.0, 1.9, 2))
    assert set(found.indices.ravel().tolist()) == {2, 3, 4}
    widened = drawn([0], sentences, range(5), Band(0.0, 1e-4, 4))
    assert widened.num_widened == 1
    assert widened.indices[0, -1] == 1


def test_the_same_video_has_no_negatives() -> None:
    sentences, owners = made(0, 40, 3)
    found = drawn(range(40), sentences, owners, Band(0.0, 2.5, 8))
    assert (owners[found.indices] != owners[:, None]).all()


def test_an_empty_band_widens_to_the_nearest_on_either_side() -> None:
    sentences = circle(0, 10, 50, 80, 120, 170)  # distances 0, 0.015, 0.357, 0.826, 1.5, 1.98
    found = drawn([0], sentences, range(6), Band(0.6, 0.7, 4))
    assert found.indices.tolist() == [[3, 2, 1, 4]]
    assert found.num_widened == 1


def test_an_empty_band_repeats_what_there_is_in_turn() -> None:
    sentences = circle(0, 50, 80, 1)
    found = drawn([0, 3], sentences, [0, 1, 1, 0], Band(0.6, 0.65, 5))
    assert found.indices.tolist() == [[2, 1, 2, 1, 2]] * 2
    assert found.num_widened == 2


def test_the_seed_decides_the_draw() -> None:
    sentences, owners = made(3, 60, 9)
    first, again, other = (drawn(range(60), sentences, owners, WIDE, seed).indices for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=1).mean() > 0.9


def test_one_positive_draws_anew_each_time() -> None:
    sentences, owners = made(3, 60, 9)
    found = drawn([5] * 600, sentences, owners, WIDE).indices
    assert len({tuple(row) for row in found.tolist()}) == 600


@pytest.mark.parametrize("positives", [[0], [0, 1, 2]])
def test_one_video_alone_has_no_negatives(positives: list[int]) -> None:
    with pytest.raises(ValueError, match="two videos"):
        drawn(positives, made(0, 3, 2)[0], [4, 4, 4], Band())


def test_one_video_alone_has_no_negatives_in_a_later_block() -> None:
    sentences, owners = made(0, 3, 2)
    with pytest.raises(ValueError, match="two videos"):
        drawn([0] * 600, sentences, np.zeros_like(owners), Band())


@pytest.mark.parametrize("num_positives", [511, 512, 513, 1100])
def test_many_positives_are_each_served(num_positives: int) -> None:
    sentences, owners = made(11, 37, 5)
    band = Band(0.05, 0.2, 4)
    positives = np.random.default_rng(12).integers(37, size=num_positives).tolist()
    distances = [foreign(positive, sentences, owners) for positive in range(37)]
    assert all(is_clear(row, band) for row in distances)
    found = drawn(positives, sentences, owners, band)
    assert found.indices.shape == (num_positives, 4)
    empty = [
        check(row, distances[positive], band) for positive, row in zip(positives, found.indices.tolist(), strict=True)
    ]
    assert found.num_widened == sum(empty)
    assert 0 < sum(empty[:511]) < 511  # some of each kind


def test_a_band_is_drawn_from_evenly() -> None:
    sentences = circle(0, *range(10, 50, 2), 100, 140)  # 20 in the band
    found = drawn([0] * 4000, sentences, range(23), Band(0.0, 0.8, 5)).indices
    for places, expected in ((found, 1000), (found[:, :1], 200), (found[:, 4:], 200)):
        counts = np.bincount(places.ravel(), minlength=23)
        assert counts[[0, 21, 22]].tolist() == [0, 0, 0]
        chi_square = ((counts[1:21] - expected) ** 2 / expected).sum()
        assert chi_square < 43.8  # p = 0.001 with 19 degrees of freedom; less is likelier where draws are distinct


def test_the_papers_band_is_the_default() -> None:
    assert Band() == Band(low=0.0, high=0.8, count=10)


# object sentences in the pool


def test_an_object_sentence_is_a_negative_of_the_videos_that_do_not_have_it() -> None:
    sentences = circle(0, 20, 25, 30, 35)  # two captions, of video 0 and 1, and three object sentences
    spoken = np.array([[True, False, False], [False, True, False]])  # of 25 degrees; of 30; nobody's
    pool = Pool(sentences, np.array([0, 1]), spoken)
    assert pool.foreign(np.array([0, 1])).tolist() == [
        [False, True, False, True, True],
        [True, False, True, False, True],
    ]
    positives, videos = np.array([0, 2, 1, 3]), np.array([0, 0, 1, 1])
    found = draw(positives, videos, pool, band=Band(0.0, 0.8, 3), generator=np.random.default_rng(0)).indices
    assert [set(row) for row in found.tolist()] == [{1, 3, 4}, {1, 3, 4}, {0, 2, 4}, {0, 2, 4}]


@given(
    seed=st.integers(0, 2**32 - 1), num_videos=st.integers(2, 5), num_objects=st.integers(1, 6), asked=st.integers(1, 8)
)
def test_negatives_of_captions_and_objects_are_those_of_the_slow_oracle(
    seed: int, num_videos: int, num_objects: int, asked: int
) -> None:
    generator = np.random.default_rng(seed)
    captions, owners = made(seed, 12, num_videos)
    sentences = np.concatenate([captions, unit(generator.normal(size=(num_objects, 3)))])
    spoken = generator.random((num_videos, num_objects)) < 0.4
    counts = generator.integers(1, 9, size=len(sentences))
    has = [{n for n, owner in enumerate(owners) if owner == v} | {12 + o for o in range(num_objects) if spoken[v, o]}
           for v in range(num_videos)]  # fmt: skip
    band = Band(0.1, 0.8, asked)
    videos = generator.integers(num_videos, size=9)
    assume(all(has[video] for video in videos))
    positives = np.array([generator.choice(sorted(has[video])) for video in videos])
    distances = []
    for positive, video in zip(positives.tolist(), videos.tolist(), strict=True):
        others = foreign(positive, sentences, np.arange(len(sentences)))
        distances.append({other: distance for other, distance in others.items() if other not in has[video]})
    assume(all(row and is_clear(row, band) for row in distances))
    found = draw(
        positives, videos, Pool(sentences, owners, spoken, counts), band=band, generator=np.random.default_rng(seed)
    )
    empty = [check(row, given, band) for row, given in zip(found.indices.tolist(), distances, strict=True)]
    assert found.num_widened == sum(empty)


def test_a_sentence_is_drawn_as_often_as_it_is_a_positive() -> None:
    sentences, counts = circle(0, 10, 20, 30, 40), np.array([1, 1, 2, 3, 4])
    pool = Pool(sentences, np.arange(5), None, counts)
    rows = np.zeros(10_000, np.int64)
    found = draw(rows, rows, pool, band=Band(0.0, 0.8, 1), generator=np.random.default_rng(0)).indices
    times = np.bincount(found[:, 0], minlength=5)
    assert times[0] == 0
    expected = np.array([1000, 2000, 3000, 4000])
    assert ((times[1:] - expected) ** 2 / expected).sum() < 16.3  # p = 0.001 with 3 degrees of freedom
