"""Receipts: what a benchmark's figures depend on, read back and compared with another run's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cezsar.errors import BenchmarkError
from cezsar.query.benchmark.run import Request

TOLERANCE = 1e-4
_CIRCUMSTANCES = (
    "seconds",
    "device",
    "versions",
    "root",
    "index",
    "cezsar",
)  # may differ without the figures differing


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two receipts beyond the tolerance, and whether anything does at all."""

    differences: tuple[str, ...]
    is_identical: bool


def read_receipt(path: Path) -> tuple[dict[str, Any], Request]:
    """A receipt and the request that it answers. Raises BenchmarkError where it is none."""
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchmarkError(f"The receipt cannot be read: {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path} is not JSON: {error}.") from None
    asked = receipt.get("request") if isinstance(receipt, dict) else None
    names = {field.name for field in fields(Request)}
    if not isinstance(asked, dict) or set(asked) != names or not _has_places(receipt):
        raise BenchmarkError(f"{path} is not a receipt of `cezsar benchmark`.")
    try:
        return receipt, Request(**asked)
    except TypeError as error:
        raise BenchmarkError(f"{path} is not a receipt of `cezsar benchmark`: {error}.") from None


def _has_places(receipt: dict[str, Any]) -> bool:
    model = receipt.get("model")
    texts = (
        [receipt.get("root"), receipt.get("index"), *(model.get(key) for key in ("name", "streams"))]
        if isinstance(model, dict)
        else [None]
    )
    return all(isinstance(text, str) for text in texts)


def compare(before: dict[str, Any], now: dict[str, Any]) -> Comparison:
    """Figure by figure; time, device, versions and the root's place may differ."""
    old, new = (
        dict(_leaves({key: value for key, value in receipt.items() if key not in _CIRCUMSTANCES}))
        for receipt in (before, now)
    )
    differing = [name for name in [*old, *(set(new) - set(old))] if old.get(name) != new.get(name)]
    far = [name for name in differing if not _near(old.get(name), new.get(name))]
    return Comparison(tuple(f"{name}: {old.get(name)!r}, and now {new.get(name)!r}" for name in far), not differing)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        yield f"{name}.length", len(value)
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{number}]")
    else:
        yield name, value


def _near(one: Any, other: Any) -> bool:
    return isinstance(one, float) and isinstance(other, float) and abs(one - other) <= TOLERANCE
