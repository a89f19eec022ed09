"""Cutting time into segments, the grid of sampled times, and runs of neighbours that look alike."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cezsar.errors import SettingsError
from cezsar.indexer.segments import grid_steps, plan, runs, typical
from cezsar.types import Segment, Vectors, unit

_SPANS = st.integers(1, 20_000).map(lambda ms: Fraction(ms, 1000))
_RATES = st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.5, 10.0, 24.0, 30.0])
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("duration_s", "window_s", "stride_s", "expected"),
    [
        (5, 2, 2, [(0, 2), (2, 4), (4, 5)]),
        (8, 8, 4, [(0, 8)]),
        (8.000001, 8, 4, [(0, 8), (4, 8.000001)]),
        (3, 8, 4, [(0, 3)]),
        (20, 8, 4, [(0, 8), (4, 12), (8, 16), (12, 20)]),
        (21, 8, 4, [(0, 8), (4, 12), (8, 16), (12, 20), (16, 21)]),
        (8, 1, 3, [(0, 1), (3, 4), (6, 7)]),
        (9, 1, 3, [(0, 1), (3, 4), (6, 7)]),
        (0.3, 0.1, 0.1, [(0, 0.1), (0.1, 0.2), (0.2, 0.3)]),
        (0, 8, 4, []),
    ],
)
def test_plan_cuts_a_duration(
    duration_s: float, window_s: float, stride_s: float, expected: list[tuple[float, float]]
) -> None:
    planned = plan(duration_s, window_s=window_s, stride_s=stride_s)
    assert [(segment.start_s, segment.end_s) for segment in planned] == [pytest.approx(pair) for pair in expected]


@pytest.mark.parametrize(("window_s", "stride_s"), [(0, 4), (8, 0), (-1, 4), (8, -1), (float("nan"), 4)])
@pytest.mark.parametrize("duration_s", [0.0, 10.0])
def test_plan_refuses_a_window_or_stride_that_is_not_positive(
    duration_s: float, window_s: float, stride_s: float
) -> None:
    with pytest.raises(SettingsError, match=f"must be positive, not {window_s:g} and {stride_s:g}"):
        plan(duration_s, window_s=window_s, stride_s=stride_s)


@_UNHURRIED
@given(_SPANS, _SPANS, _SPANS)
def test_plan_agrees_with_counting_in_fractions(duration: Fraction, window: Fraction, stride: Fraction) -> None:
    expected, start = [], Fraction(0)
    while start < duration:
        expected.append((float(start), float(min(start + window, duration))))
        if start + window >= duration:
            break
        start += stride
    planned = plan(float(duration), window_s=float(window), stride_s=float(stride))
    assert [(segment.start_s, segment.end_s) for segment in planned] == [pytest.approx(pair) for pair in expected]


@_UNHURRIED
@given(*[st.floats(0.01, 100.0)] * 3)
def test_segments_keep_their_promises(duration_s: float, window_s: float, stride_s: float) -> None:
    planned = plan(duration_s, window_s=window_s, stride_s=stride_s)
    assert [segment.start_s for segment in planned] == [k * stride_s for k in range(len(planned))]
    assert all(0 < segment.end_s - segment.start_s <= window_s + 1e-9 for segment in planned)
    assert all(segment.end_s < duration_s + 1e-9 for segment in planned)
    assert all(segment.start_s + window_s < duration_s for segment in planned[:-1])
    if stride_s <= window_s:
        assert planned[-1].end_s == pytest.approx(duration_s)
        assert all(after.start_s <= before.end_s + 1e-9 for before, after in pairwise(planned))


@pytest.mark.parametrize(
    ("start_s", "end_s", "fps", "expected"),
    [
        (0, 8, 2, range(0, 16)),
        (4, 12, 2, range(8, 24)),
        (4, 4.25, 2, range(8, 9)),
        (4.1, 4.6, 2, range(9, 10)),
        (4.1, 4.5, 2, range(8, 9)),
        (0, 0.1, 2, range(0, 1)),
        (0.1, 0.2, 10, range(1, 2)),
        (0.30000000000000004, 0.7, 10, range(3, 7)),
    ],
)
def test_grid_steps_are_the_times_in_a_segment(start_s: float, end_s: float, fps: float, expected: range) -> None:
    assert grid_steps(Segment(start_s, end_s), fps=fps) == expected


@_UNHURRIED
@given(_SPANS, _SPANS, _RATES)
def test_grid_steps_agree_with_looking_at_every_step(start: Fraction, length: Fraction, fps: float) -> None:
    end, rate = start + length, Fraction(fps)
    expected = [k for k in range(int(end * rate) + 2) if start <= k / rate < end]
    if not expected:
        expected = [max(k for k in range(int(end * rate) + 2) if k / rate < start)]
    assert list(grid_steps(Segment(float(start), float(end)), fps=fps)) == expected


def test_runs_are_stretches_of_near_identical_neighbours() -> None:
    assert runs(_at_degrees(0, 0, 90, 91, 0, 180, 180)) == (0, 0, 1, 1, 2, 3, 3)


def test_slow_drift_ends_a_run() -> None:
    # 11 degrees from the first still look the same, 12 do not
    assert runs(_at_degrees(*range(0, 40, 4))) == (0, 0, 0, 1, 1, 1, 2, 2, 2, 3)


def test_one_vector_is_one_run_and_none_is_none() -> None:
    assert runs(_at_degrees(45)) == (0,)
    assert runs(_at_degrees()) == ()


@_UNHURRIED
@given(st.lists(st.integers(0, 359), max_size=30))
def test_a_run_holds_what_looks_like_its_first_and_ends_where_it_no_longer_does(degrees: list[int]) -> None:
    numbers = runs(_at_degrees(*degrees))
    assert len(numbers) == len(degrees)
    assert sorted(set(numbers)) == list(range(len(set(numbers))))
    for i in range(1, len(degrees)):
        first = numbers.index(numbers[i - 1])
        apart = abs((degrees[i] - degrees[first] + 180) % 360 - 180)
        assert numbers[i] == numbers[i - 1] + (apart > 11)


def _at_degrees(*degrees: float) -> Vectors:
    """Unit vectors in a plane, (N, 2)."""
    turned = np.radians(np.array(degrees, np.float64))
    return unit(np.stack([np.cos(turned), np.sin(turned)], axis=1))


# the frame that stands for a segment


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ([[1, 0]], 0),
        ([[1, 0], [0, 1], [0, 1]], 1),  # the first of equals
        ([[0, 0], [4, 0], [8, 0]], 1),  # in the middle
        ([[9, 9], [1, 0], [0, 1], [1, 1]], 3),  # away from the one that is like no other
        ([[[0], [0]], [[0], [3]], [[0], [2]]], 2),  # of any shape
    ],
)
def test_the_typical_frame_is_the_nearest_to_the_mean(features: list[object], expected: int) -> None:
    assert typical(np.array(features, np.float32)) == expected


def test_typical_frames_of_bytes_do_not_wrap_around() -> None:
    assert typical(np.array([[250], [5], [255], [253]], np.uint8)) == 0
