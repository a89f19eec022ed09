"""Receipts of a benchmark: everything that its figures depend on, read back and compared with another run's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cezsar.choices import SENTENCES
from cezsar.errors import BenchmarkError, SettingsError
from cezsar.query.benchmark.run import FORMAT, Request, without_places
from cezsar.query.prompts import Labels
from cezsar.records import Malformed, excerpt, record
from cezsar.types import Sampling

TOLERANCE = 1e-4
# what may differ without the figures differing; of names, their contents are compared
_CIRCUMSTANCES = ("seconds", "device", "machine", "versions", "root", "index", "cezsar", "format")
_NAMES = (("request", "sentences"), ("sentences", "source"), ("model", "name"), ("model", "is_folder"))
# what came with each format
_ADDED = {
    2: (("request", "split"), ("model", "files"), ("clips", "files"), ("clips", "per_class"), ("sentences", "texts")),
    3: (("request", "raw"),),
}
_WITH_CONTENTS = 2  # the format from which a receipt can be checked by anyone


@dataclass(frozen=True, slots=True)
class _Head:
    """What every receipt has."""

    request: dict[str, Any]
    format: int = 1

    def __post_init__(self) -> None:
        if self.format < 1:
            raise Malformed(f"format cannot be {self.format}")


@dataclass(frozen=True, slots=True)
class _FirstModel:
    name: str
    streams: str


@dataclass(frozen=True, slots=True)
class _First:
    """What a receipt of format 1 is run again by."""

    root: str
    model: _FirstModel
    index: str


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    streams: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class _Clips:
    files: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Sentences:
    """texts are captions, or the sentences of each class; no list of them is empty."""

    source: str
    texts: tuple[str, ...] | dict[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        if not all(self.texts.values() if isinstance(self.texts, dict) else [self.texts]):
            raise Malformed("sentences.texts has a list without any")


@dataclass(frozen=True, slots=True)
class _Whole:
    """What a later receipt is run again by."""

    root: str
    model: _Model
    clips: _Clips
    sentences: _Sentences


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of two receipts beyond the tolerance, and whether there is any difference at all."""

    differences: tuple[str, ...]
    is_identical: bool


def read_receipt(path: Path) -> tuple[dict[str, Any], Request]:
    """A receipt and the request that it answers. Raises BenchmarkError if it is none."""
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchmarkError(f"The receipt cannot be read: {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path} is not JSON: {error}.") from None
    try:
        head = excerpt(_Head, receipt)
        if head.format > FORMAT:
            raise BenchmarkError(f"{path} was made by a newer CEZSAR ({receipt.get('cezsar')!r}): update this one.")
        return receipt, _request(receipt, head)
    except (Malformed, SettingsError) as error:
        said = str(error).removesuffix(".")
        raise BenchmarkError(f"{path} is not a receipt of `cezsar benchmark`: {said}.") from None


def _request(receipt: dict[str, Any], head: _Head) -> Request:
    """The request of a receipt, in which everything is there that is needed to run it again."""
    if head.format < _WITH_CONTENTS:
        excerpt(_First, receipt)
    else:
        excerpt(_Whole, receipt)
        record(Sampling, receipt.get("sampling"))
    names = {field.name for field in fields(Request)} - {
        name for part, name in _added(head.format) if part == "request"
    }
    if set(head.request) != names:
        raise Malformed(f"its request does not have the fields of format {head.format}")
    return record(Request, {"raw": True, **head.request})


def format_of(receipt: Mapping[str, Any]) -> int:
    """1 of a receipt that holds places of its maker, 2 of one that anyone can check, 3 of one that names its labels'
    method; before, labels were raw.
    """
    return int(receipt.get("format", 1))


def has_contents(receipt: Mapping[str, Any]) -> bool:
    """Whether a receipt has a hash of each clip, and its sentences."""
    return format_of(receipt) >= _WITH_CONTENTS


def _added(number: int) -> list[tuple[str, str]]:
    """What receipts of this format lack."""
    return [name for later, names in _ADDED.items() if later > number for name in names]


def labels_of(receipt: Mapping[str, Any]) -> Labels | None:
    """A receipt's own sentences, if they came from a file; None if there are none, or CEZSAR has them."""
    said = receipt["sentences"] if has_contents(receipt) else {}
    if said.get("source") in (None, *SENTENCES) or not isinstance(said["texts"], dict):
        return None
    return {label: tuple(texts) for label, texts in said["texts"].items()}


def compare(before: dict[str, Any], now: dict[str, Any]) -> Comparison:
    """Figure by figure; time, machine, versions, and names of files and folders may differ."""
    old, new = _comparable(before), _comparable(now)
    if format_of(before) < format_of(now):
        new = _without(new, _added(format_of(before)))
        new.pop("labels", None)
    if not has_contents(before):
        if isinstance(old.get("clips"), dict) and isinstance(before.get("root"), str):
            old = {**old, "clips": without_places(old["clips"], before["root"])}
        new.pop("std_ddof", None)
    first, second = dict(_leaves(old)), dict(_leaves(new))
    differing = [name for name in [*first, *(set(second) - set(first))] if first.get(name) != second.get(name)]
    far = [name for name in differing if not _near(first.get(name), second.get(name))]
    lines = tuple(f"{name}: {first.get(name)!r}, and now {second.get(name)!r}" for name in far)
    return Comparison(lines, not differing)


def _comparable(receipt: dict[str, Any]) -> dict[str, Any]:
    return _without({key: value for key, value in receipt.items() if key not in _CIRCUMSTANCES}, _NAMES)


def _without(receipt: dict[str, Any], names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The receipt less (part, name)."""
    found = dict(receipt)
    for part, name in names:
        if isinstance(found.get(part), dict):
            found[part] = {key: value for key, value in found[part].items() if key != name}
    return found


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
