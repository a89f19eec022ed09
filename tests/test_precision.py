"""Half precision and batches: on a CPU, where both can be tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cezsar.encoders.precision import Batches, candidates, lowered, sent


def _linear(weight: float = 1.0) -> torch.nn.Linear:
    layer = torch.nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3) * weight)
    return layer.requires_grad_(False)


def _tower(model: Any) -> torch.Tensor:
    rows: torch.Tensor = model(torch.tensor([[1.0, 2.0, 3.0]], dtype=model.weight.dtype))
    return rows


def test_a_cpu_stays_in_float32() -> None:
    model = _linear()
    assert candidates(torch.device("cpu")) == ()
    assert lowered(model, [_tower], candidates(torch.device("cpu"))) is model


def test_a_model_that_half_precision_hardly_changes_goes_on_in_it() -> None:
    model = _linear()
    half = lowered(model, [_tower], [torch.bfloat16, torch.float16])
    assert half.weight.dtype == torch.bfloat16
    assert model.weight.dtype == torch.float32


def test_what_overflows_in_one_type_goes_on_in_the_next() -> None:
    half = lowered(_linear(1e5), [_tower], [torch.float16, torch.bfloat16])  # float16 ends at 65,504
    assert half.weight.dtype == torch.bfloat16


def test_a_model_that_half_precision_changes_stays_in_float32() -> None:
    def near_zero(model: Any) -> torch.Tensor:  # 0.001 is lost beside 1 in bfloat16
        return model(torch.tensor([[1.0, 1.001, 1.0]], dtype=model.weight.dtype)) - 1.0

    model = _linear()
    assert lowered(model, [_tower, near_zero], [torch.bfloat16]) is model


def test_a_type_that_an_operation_lacks_is_passed_over() -> None:
    def picky(model: Any) -> torch.Tensor:
        if model.weight.dtype != torch.float32:
            raise RuntimeError("not implemented for 'Half'")
        return _tower(model)

    model = _linear()
    assert lowered(model, [picky], [torch.float16]) is model


def test_parts_are_halved_until_they_fit_and_stay_so() -> None:
    sizes = []

    def encode(part: Any) -> np.ndarray:
        sizes.append(len(part))
        if len(part) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.array(part) * 10

    batches = Batches(16)
    assert np.concatenate(batches.run(range(10), encode)).tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert sizes == [10, 5, 3, 3, 3, 1]
    assert batches.size == 3
    assert batches.run([], encode) == []


def test_one_item_that_does_not_fit_is_an_error() -> None:
    def encode(_: Any) -> np.ndarray:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Batches(4).run([1, 2], encode)


def test_an_array_is_sent_as_it_is() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)[:, ::2]
    assert sent(array, torch.device("cpu")).tolist() == array.tolist()
