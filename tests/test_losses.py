"""The losses against slow ones, a pair at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cezsar.model.losses import batch_triplet, info_nce, triplet

Row = list[float]
Table = list[list[float]]
Allowed = list[list[bool]]

seeds = st.integers(0, 2**32 - 1)
videos = st.lists(st.integers(0, 4), min_size=1, max_size=7)


def random(seed: int, *shapes: Sequence[int]) -> list[Tensor]:
    """Vectors near enough to each other that some triplets cost something and some do not."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


def others(owners: Sequence[int]) -> Tensor:
    """Sentences of another video may be negatives."""
    return torch.tensor([[one != other for other in owners] for one in owners])


def test_the_triplet_loss_of_one_triplet() -> None:
    anchor, positive = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    negatives = torch.tensor([[[0.0, 5.5], [0.0, 6.0], [0.0, 4.0]]])
    assert triplet(anchor, positive, negatives, margin=1).item() == pytest.approx((0.5 + 0 + 2) / 3)


@given(
    seed=seeds,
    size=st.integers(1, 5),
    count=st.integers(1, 4),
    dimension=st.integers(1, 4),
    margin=st.floats(0, 2),
)
def test_the_triplet_loss_is_the_slow_one(seed: int, size: int, count: int, dimension: int, margin: float) -> None:
    given = random(seed, (size, dimension), (size, dimension), (size, count, dimension))
    found = triplet(given[0], given[1], given[2], margin=margin)
    assert found.item() == pytest.approx(slow_triplet(given[0].tolist(), given[1].tolist(), given[2].tolist(), margin))


def slow_triplet(anchors: Table, positives: Table, negatives: list[Table], margin: float) -> float:
    costs = []
    for anchor, positive, wrong in zip(anchors, positives, negatives, strict=True):
        near = math.dist(anchor, positive)
        costs += [max(0.0, near - math.dist(anchor, negative) + margin) for negative in wrong]
    return math.fsum(costs) / len(costs)


@pytest.mark.parametrize("semi_hard", [True, False])
@given(seed=seeds, owners=videos, dimension=st.integers(1, 4), margin=st.floats(0.01, 3))
def test_the_batch_triplet_loss_is_the_slow_one(
    semi_hard: bool, seed: int, owners: list[int], dimension: int, margin: float
) -> None:
    anchors, positives = random(seed, (len(owners), dimension), (len(owners), dimension))
    allowed = others(owners)
    found = batch_triplet(anchors, positives, allowed, margin=margin, semi_hard=semi_hard)
    expected = slow_batch_triplet(anchors.tolist(), positives.tolist(), allowed.tolist(), margin, semi_hard)
    assert found.item() == pytest.approx(expected)


def slow_batch_triplet(anchors: Table, positives: Table, allowed: Allowed, margin: float, semi_hard: bool) -> float:
    means = []
    for queries, answers in ((anchors, positives), (positives, anchors)):
        costs = []
        for i, query in enumerate(queries):
            near = math.dist(query, answers[i])
            for j, answer in enumerate(answers):
                far = math.dist(query, answer)
                if allowed[i][j] and far - near < margin and (far > near or not semi_hard):
                    costs.append(near - far + margin)
        means.append(math.fsum(costs) / len(costs) if costs else 0.0)
    return math.fsum(means) / 2


@pytest.mark.parametrize(("semi_hard", "expected"), [(True, 0.5), (False, (0.5 + 2) / 2)])
def test_semi_hard_leaves_out_what_is_nearer_than_the_positive(semi_hard: bool, expected: float) -> None:
    anchors = torch.tensor([[0.0], [50.0], [100.0], [150.0]])
    positives = torch.tensor([[2.0], [-2.5], [1.0], [-3.0]])  # at 2, 2.5, 1 and 3 from the first anchor
    allowed = torch.zeros(4, 4, dtype=torch.bool)
    allowed[0, 1:] = True
    both_ways = batch_triplet(anchors, positives, allowed, margin=1, semi_hard=semi_hard)
    assert 2 * both_ways.item() == pytest.approx(expected)  # the first sentence has no near segment but its own


@pytest.mark.parametrize("semi_hard", [True, False])
def test_a_batch_without_negatives_costs_nothing(semi_hard: bool) -> None:
    anchors, positives = random(0, (3, 4), (3, 4))
    anchors.requires_grad_()
    loss = batch_triplet(anchors, positives, others([1, 1, 1]), margin=1, semi_hard=semi_hard)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert anchors.grad is not None
    assert (anchors.grad == 0).all()
    assert info_nce(anchors, positives, others([1, 1, 1]), scale=torch.tensor(5.0)).item() == 0


@given(
    seed=seeds,
    owners=videos,
    count=st.integers(0, 4),
    dimension=st.integers(1, 4),
    scale=st.floats(0.1, 20),
)
def test_infonce_is_the_slow_one(seed: int, owners: list[int], count: int, dimension: int, scale: float) -> None:
    size = len(owners)
    anchors, positives, wrong = random(seed, (size, dimension), (size, dimension), (size, count, dimension))
    allowed = others(owners)
    inverse = torch.tensor(scale, dtype=torch.float64)
    found = info_nce(anchors, positives, allowed, scale=inverse, negatives=wrong if count else None)
    expected = slow_info_nce(anchors.tolist(), positives.tolist(), allowed.tolist(), scale, wrong.tolist())
    assert found.item() == pytest.approx(expected, abs=1e-12)


def slow_info_nce(anchors: Table, positives: Table, allowed: Allowed, scale: float, negatives: list[Table]) -> float:
    costs = []
    for i, (anchor, positive) in enumerate(zip(anchors, positives, strict=True)):
        right = scale * dot(anchor, positive)
        by_video = [right] + [scale * dot(anchor, wrong) for wrong in negatives[i]]
        by_sentence = [right]
        for j in range(len(anchors)):
            if allowed[i][j]:
                by_video.append(scale * dot(anchor, positives[j]))
                by_sentence.append(scale * dot(positive, anchors[j]))
        costs += [log_sum_exp(by_video) - right, log_sum_exp(by_sentence) - right]
    return math.fsum(costs) / len(costs)


def dot(one: Row, other: Row) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def log_sum_exp(values: Row) -> float:
    top = max(values)
    return top + math.log(math.fsum(math.exp(value - top) for value in values))


def test_infonce_at_the_highest_scale_is_finite() -> None:
    anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    wrong = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    loss = info_nce(anchors, wrong, others([0, 1]), scale=torch.tensor(100.0), negatives=anchors.detach()[:, None])
    loss.backward()  # type: ignore[no-untyped-call]
    # by video two answers at a score of 100 and the right one at 0, by sentence one
    assert loss.item() == pytest.approx((100 + math.log(2) + 100) / 2)
    assert anchors.grad is not None
    assert anchors.grad.isfinite().all()


@pytest.mark.parametrize("loss", ["infonce", "infonce with negatives", "batch triplet", "semi-hard"])
def test_another_sentence_of_the_same_video_cannot_matter(loss: str) -> None:
    anchors, positives, negatives = random(1, (3, 4), (3, 4), (3, 2, 4))
    anchors[1:, 0] = 0
    mirrored = positives.clone()
    mirrored[1, 0] *= -1  # the second sentence is as far as before from every anchor but the first

    def value(sentences: Tensor, owners: list[int]) -> float:
        if loss.startswith("infonce"):
            more = negatives if loss.endswith("negatives") else None
            return info_nce(anchors, sentences, others(owners), scale=torch.tensor(3.0), negatives=more).item()
        return batch_triplet(anchors, sentences, others(owners), margin=5, semi_hard=loss == "semi-hard").item()

    assert value(positives, [7, 7, 8]) == pytest.approx(value(mirrored, [7, 7, 8]), rel=1e-12)
    assert value(positives, [7, 9, 8]) != pytest.approx(value(mirrored, [7, 9, 8]), rel=1e-4)


def test_the_gradient_is_finite_where_anchor_and_positive_are_equal() -> None:
    (rows,) = random(2, (3, 4))
    for loss in ("triplet", "batch", "semi-hard"):
        anchors, positives = rows.clone().requires_grad_(), rows.clone().requires_grad_()
        if loss == "triplet":
            cost = triplet(anchors, positives, rows.flip(0)[:, None].repeat(1, 2, 1) + 0.1, margin=9)
        else:
            cost = batch_triplet(anchors, positives, others([0, 1, 2]), margin=9, semi_hard=loss == "semi-hard")
        cost.backward()  # type: ignore[no-untyped-call]
        assert cost.item() > 0
        for tensor in (anchors, positives):
            assert tensor.grad is not None
            assert tensor.grad.isfinite().all()
        assert anchors.grad is not None
        assert anchors.grad.abs().sum() > 0


def test_the_gradient_is_finite_where_anchor_and_negative_are_equal() -> None:
    anchors, positives = random(3, (2, 4), (2, 4))
    anchors.requires_grad_()
    triplet(anchors, positives, anchors.detach()[:, None].clone(), margin=1).backward()  # type: ignore[no-untyped-call]
    assert anchors.grad is not None
    assert anchors.grad.isfinite().all()


@pytest.mark.parametrize("loss", ["infonce", "triplet", "batch triplet"])
def test_a_step_against_the_gradient_lowers_the_loss(loss: str) -> None:
    anchors, positives, negatives = random(4, (4, 3), (4, 3), (4, 2, 3))
    anchors.requires_grad_()

    def cost() -> Tensor:
        if loss == "infonce":
            return info_nce(anchors, positives, others([0, 0, 1, 2]), scale=torch.tensor(2.0), negatives=negatives)
        if loss == "triplet":
            return triplet(anchors, positives, negatives, margin=1)
        return batch_triplet(anchors, positives, others([0, 0, 1, 2]), margin=1, semi_hard=False)

    before = cost()
    before.backward()  # type: ignore[no-untyped-call]
    assert anchors.grad is not None
    anchors.data -= 1e-3 * anchors.grad
    assert cost().item() < before.item()
