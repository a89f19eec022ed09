"""Figures of merit."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cezsar import metrics


@pytest.mark.parametrize(
    ("relevant", "k", "expected"),
    [
        ([True, True, False, False], 2, 1.0),
        ([True, False, True, False], 4, 0.5),
        ([False, True], 1, 0.0),
        ([True], 10, 0.1),
        ([], 3, 0.0),
    ],
)
def test_precision_counts_relevant_ones_among_the_first_k(relevant: list[bool], k: int, expected: float) -> None:
    assert metrics.precision_at_k(relevant, k) == pytest.approx(expected)


def test_accuracy_is_the_share_of_right_predictions() -> None:
    assert metrics.accuracy(["a", "b", "b", "c"], ["a", "b", "c", "c"]) == 0.75


def test_accuracy_refuses_lists_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        metrics.accuracy(["a"], ["a", "b"])


rankings = st.integers(1, 6).flatmap(
    lambda count: st.tuples(
        st.lists(
            st.lists(
                st.sampled_from([0.25, 0.5, 1.0, -1.0, math.nan, math.inf, -math.inf]) | st.floats(width=32),
                min_size=count,
                max_size=count,
            ),
            min_size=1,
            max_size=5,
        ),
        st.lists(st.integers(0, count - 1), min_size=5, max_size=5),
    )
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(ranking=rankings)
def test_ranks_are_those_of_the_slow_oracle(dtype: type, ranking: tuple[list[list[float]], list[int]]) -> None:
    scores, targets = ranking[0], ranking[1][: len(ranking[0])]
    expected = []
    for row, target in zip(scores, targets, strict=True):
        rank = 1
        for other, score in enumerate(row):
            if other != target and not score < row[target]:
                rank += 1
        expected.append(rank)
    found = metrics.ranks(np.array(scores, dtype), np.array(targets, np.int64))
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_ranks_count_from_the_highest_score() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5], [0.1, 0.9, 0.5]])
    assert metrics.ranks(scores, np.array([0, 1, 2])).tolist() == [3, 1, 2]


def test_a_tie_counts_against_us() -> None:
    scores = np.array([[0.5, 0.5, 0.2], [0.5, 0.5, 0.5], [0.5, 0.5, 0.9]])
    assert metrics.ranks(scores, np.array([0, 1, 0])).tolist() == [2, 3, 3]


def test_what_is_not_a_number_comes_last() -> None:
    nan = np.nan
    scores = np.array([[nan, 0.1, -np.inf], [nan, nan, nan], [0.3, nan, 0.1]])
    assert metrics.ranks(scores, np.array([0, 1, 0])).tolist() == [3, 3, 2]


@given(ranked=st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_retrieval_is_that_of_the_slow_oracle(ranked: list[int]) -> None:
    found = metrics.retrieval(np.array(ranked, np.int64))
    recalls = [sum(1 for rank in ranked if rank <= k) / len(ranked) for k in (1, 5, 10)]
    assert [found.recall_1, found.recall_5, found.recall_10] == pytest.approx(recalls)
    assert found.mean_recall == pytest.approx(math.fsum(recalls) / 3)
    assert found.median_rank == statistics.median(ranked)
    assert found.mean_rank == pytest.approx(statistics.mean(ranked))


def test_retrieval_of_known_ranks() -> None:
    found = metrics.retrieval(np.array([1, 5, 6, 10, 11, 100]))
    assert [found.recall_1, found.recall_5, found.recall_10] == pytest.approx([1 / 6, 2 / 6, 4 / 6])
    assert found.mean_recall == pytest.approx(7 / 18)
    assert found.mean_rank == pytest.approx(133 / 6)


@pytest.mark.parametrize(("ranked", "median"), [([10, 1, 3, 2], 2.5), ([9, 1], 5.0), ([7, 1, 2], 2.0)])
def test_the_median_of_an_even_count_is_between_the_two_middle_ones(ranked: list[int], median: float) -> None:
    assert metrics.retrieval(np.array(ranked)).median_rank == median
