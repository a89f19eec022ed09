"""The direction that a question looks along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cezsar.errors import QueryError
from cezsar.query.question import LESS, MORE, Question, Wanted, asked
from cezsar.types import Vectors, unit

EAST, NORTH, UP = np.eye(3, dtype=np.float32)


def encode(texts: Sequence[str]) -> Vectors:
    return np.stack([{"east": EAST, "north": NORTH, "up": UP}[text] for text in texts])


def test_words_keep_their_weight_beside_right_and_wrong_answers() -> None:
    (direction,) = asked("east", more=[NORTH], less=[UP]).directions(encode)
    np.testing.assert_allclose(direction, unit(np.array([[1.0, MORE, -LESS]]))[0], atol=1e-6)
    (twice,) = asked("east", more=[NORTH, NORTH], less=[UP, UP, UP]).directions(encode)
    np.testing.assert_allclose(twice, direction, atol=1e-6)


def test_without_feedback_the_direction_is_that_of_the_words() -> None:
    (direction,) = asked("east", without=["north"]).directions(encode)
    np.testing.assert_allclose(direction, unit(np.array([[1.0, -0.5, 0.0]]))[0], atol=1e-6)


def test_what_is_not_wanted_goes_for_every_part() -> None:
    question = asked("east", without=["up"], then=[Wanted("north", ("east",))], within_s=5.0)
    assert question == Question(Wanted("east", ("up",)), (), (Wanted("north", ("east", "up")),), 5.0)
    first, second = question.directions(encode)
    np.testing.assert_allclose(first, unit(np.array([[1.0, 0.0, -0.5]]))[0], atol=1e-6)
    np.testing.assert_allclose(second, unit(np.array([[-0.25, 1.0, -0.25]]))[0], atol=1e-6)


@pytest.mark.parametrize("judged", [{"more": [UP]}, {"less": [UP]}])
def test_feedback_on_an_order_is_an_error(judged: dict[str, list[Vectors]]) -> None:
    with pytest.raises(QueryError, match="order"):
        asked("east", then=["north"], **judged)  # type: ignore[arg-type]
