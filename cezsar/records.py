"""JSON from outside, read into dataclasses by their annotations."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_SHORT = reprlib.Repr()  # which says little of what is long or deep
_SHORT.maxstring = 120


class Malformed(ValueError):
    """A document does not fit its dataclass; the text names the field."""


def record(kind: type[T], document: object) -> T:
    """The dataclass `kind` of a JSON object, which has its fields, maybe without those that have defaults, and no more.

    Fields are str, int, float, bool, None, Any, dict[str, X], list[X], tuple[X, ...], tuple[X, Y], dataclasses, and
    unions of these. An int is taken for a float; true and false are no numbers. Ranges are left to __post_init__, whose
    errors pass. Raises Malformed.
    """
    return _record(kind, document, "", is_excerpt=False)


def excerpt(kind: type[T], document: object) -> T:
    """As record, of an object that may have other fields too, as may the objects in it."""
    return _record(kind, document, "", is_excerpt=True)


def value(kind: Any, found: object, name: str) -> Any:
    """The value under a name, if it is of this kind, as for a field of record. Raises Malformed."""
    return _value(kind, found, name, is_excerpt=False)


def _record(kind: type[T], document: object, name: str, *, is_excerpt: bool) -> T:
    if not isinstance(document, Mapping):
        raise _wrong(name or "it", document)
    kinds, needed = _fields(kind)
    within = f"{name}." if name else ""
    if lacking := [key for key in needed if key not in document]:
        raise Malformed(f"{within}{lacking[0]} is missing")
    if not is_excerpt and (others := [key for key in document if key not in kinds]):
        raise Malformed(f"{within}{others[0]} is not known")
    found = {key: document[key] for key in kinds if key in document}
    return kind(**{key: _value(kinds[key], one, within + key, is_excerpt=is_excerpt) for key, one in found.items()})


def _fields(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """The kinds of a dataclass's fields, by name, and those without a default."""
    hints = get_type_hints(kind)
    own = [field for field in fields(kind) if field.init]
    needed = [field.name for field in own if field.default is MISSING and field.default_factory is MISSING]
    return {field.name: hints[field.name] for field in own}, needed


def _value(kind: Any, found: object, name: str, *, is_excerpt: bool) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return found
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind, found, name, is_excerpt=is_excerpt)
    if origin in (Union, UnionType):
        if found is None and NoneType in parts:
            return None
        return _one_of([one for one in parts if one is not NoneType], found, name, is_excerpt=is_excerpt)
    if origin in (list, tuple) and isinstance(found, (list, tuple)):
        kinds = _kinds(origin, parts, found, name)
        values = zip(kinds, found, strict=True)
        return origin(_value(one, item, f"{name}[{i}]", is_excerpt=is_excerpt) for i, (one, item) in enumerate(values))
    if origin is dict and isinstance(found, Mapping):
        return {key: _value(parts[1], item, f"{name}.{key}", is_excerpt=is_excerpt) for key, item in found.items()}
    if kind is float and type(found) is int and abs(found) < 1 << 53:
        return float(found)
    if type(found) is kind:
        return found
    raise _wrong(name, found)


def _kinds(origin: type, parts: Sequence[Any], found: Sequence[object], name: str) -> Sequence[Any]:
    """The kind of each item of a list or tuple."""
    if origin is list or (len(parts) == 2 and parts[1] is Ellipsis):
        return [parts[0]] * len(found)
    if len(parts) != len(found):
        raise _wrong(name, found)
    return parts


def _one_of(kinds: Sequence[Any], found: object, name: str, *, is_excerpt: bool) -> Any:
    """By the first kind that fits; the last one's error says why none does."""
    first, *others = kinds
    if not others:
        return _value(first, found, name, is_excerpt=is_excerpt)
    try:
        return _value(first, found, name, is_excerpt=is_excerpt)
    except Malformed:
        return _one_of(others, found, name, is_excerpt=is_excerpt)


def _wrong(name: str, found: object) -> Malformed:
    return Malformed(f"{name} cannot be {_SHORT.repr(found)}")
