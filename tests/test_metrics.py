"""Figures of merit."""

from __future__ import annotations

import pytest

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
