"""Half precision and batches: on a CPU, where both can be tried."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from cezsar.encoders.precision import Batches, candidates, compiled, lowered, sent


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


def _doubled(layer: torch.nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    return layer(rows) * 2


@pytest.mark.slow
def test_a_network_is_compiled_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, rows = _linear(), torch.tensor([[1.0, 2.0, 3.0]])
    monkeypatch.delenv("CEZSAR_COMPILE", raising=False)
    assert compiled(_doubled, layer, rows) is _doubled
    monkeypatch.setenv("CEZSAR_COMPILE", "1")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # no C++ compiler is needed
    fast = compiled(_doubled, layer, rows)
    assert fast is not _doubled
    assert fast(layer, rows).tolist() == [[2.0, 4.0, 6.0]]


def test_what_cannot_be_compiled_runs_as_it_is_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> Callable[..., torch.Tensor]:
        def fast(*_: object) -> torch.Tensor:
            raise RuntimeError("No working C++ compiler found\nand more")

        return fast

    monkeypatch.setenv("CEZSAR_COMPILE", "1")
    monkeypatch.setattr(torch, "compile", broken)
    assert compiled(_doubled, _linear(), torch.ones(1, 3)) is _doubled
    assert caplog.messages == ["CEZSAR_COMPILE: the network runs as it is, not compiled: No working C++ compiler found"]


def test_what_compiling_changes_runs_as_it_is_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CEZSAR_COMPILE", "1")
    monkeypatch.setattr(torch, "compile", lambda _: lambda layer, rows: -_doubled(layer, rows))
    assert compiled(_doubled, _linear(), torch.ones(1, 3)) is _doubled
    assert caplog.messages == ["CEZSAR_COMPILE: the network runs as it is, not compiled: its vectors change"]
