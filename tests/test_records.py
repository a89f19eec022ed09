"""cezsar.records: JSON becomes a dataclass, or the refusal names the field."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cezsar.errors import SettingsError
from cezsar.records import Malformed, excerpt, record, value
from cezsar.types import Sampling


@dataclass(frozen=True, slots=True)
class Stamp:
    """Fields as those of a cache's stamp."""

    file: str
    count: int
    recall: float = 1.0
    is_whole: bool = True
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Nested:
    """Every kind of field."""

    stamp: Stamp
    names: tuple[str, ...]
    pair: tuple[str, int]
    counts: list[int]
    sizes: dict[str, float]
    either: tuple[str, ...] | dict[str, int]
    anything: Any
    maybe: Stamp | None = None
    number: int | None = None
    own: int = field(default=7, init=False)


STAMP = {"file": "a.faiss", "count": 3}
WHOLE: dict[str, Any] = {
    "stamp": STAMP, "names": ["a", "b"], "pair": ["a", 1], "counts": [1, 2], "sizes": {"a": 1, "b": 0.5},
    "either": {"a": 1}, "anything": [{}], "maybe": STAMP, "number": None,
}  # fmt: skip


def test_a_document_becomes_its_dataclass() -> None:
    stamp = Stamp("a.faiss", 3)
    assert record(Stamp, STAMP) == stamp
    assert record(Stamp, {**STAMP, "recall": 1, "is_whole": False}) == Stamp("a.faiss", 3, 1.0, False)
    found = record(Nested, WHOLE)
    assert found == Nested(stamp, ("a", "b"), ("a", 1), [1, 2], {"a": 1.0, "b": 0.5}, {"a": 1}, [{}], stamp, None)
    assert [type(one) for one in found.sizes.values()] == [float, float]
    assert record(Nested, {**WHOLE, "either": ["a"], "number": 3}).either == ("a",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"stamp": 3}, "stamp cannot be 3"),
        ({"stamp": {"file": "a"}}, "stamp.count is missing"),
        ({"stamp": {**STAMP, "more": 1}}, "stamp.more is not known"),
        ({"stamp": {**STAMP, "count": True}}, "stamp.count cannot be True"),
        ({"stamp": {**STAMP, "count": 1.0}}, "stamp.count cannot be 1.0"),
        ({"stamp": {**STAMP, "recall": "1"}}, "stamp.recall cannot be '1'"),
        ({"stamp": {**STAMP, "recall": False}}, "stamp.recall cannot be False"),
        ({"stamp": {**STAMP, "recall": 10**400}}, "stamp.recall cannot be 10000"),
        ({"stamp": {**STAMP, "is_whole": 1}}, "stamp.is_whole cannot be 1"),
        ({"names": "ab"}, "names cannot be 'ab'"),
        ({"names": ["a", None]}, "names[1] cannot be None"),
        ({"pair": ["a"]}, "pair cannot be ['a']"),
        ({"pair": ["a", "b"]}, "pair[1] cannot be 'b'"),
        ({"counts": {}}, "counts cannot be {}"),
        ({"sizes": {"a": "1"}}, "sizes.a cannot be '1'"),
        ({"sizes": []}, "sizes cannot be []"),
        ({"either": 3}, "either cannot be 3"),
        ({"maybe": {"count": 1}}, "maybe.file is missing"),
        ({"number": "1"}, "number cannot be '1'"),
        ({"own": 7}, "own is not known"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(Malformed) as caught:
        record(Nested, {**WHOLE, **change})
    assert str(caught.value).startswith(told)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("document", [None, 3, "{}", [], [["file", "a"]]])
def test_what_is_no_object_is_no_record(document: object) -> None:
    with pytest.raises(Malformed, match="it cannot be"):
        record(Stamp, document)


def test_an_excerpt_may_have_other_fields_everywhere() -> None:
    document = {**WHOLE, "stamp": {**STAMP, "more": 1}, "other": 2}
    assert excerpt(Nested, document) == record(Nested, WHOLE)
    with pytest.raises(Malformed, match="count is missing"):
        excerpt(Stamp, {"file": "a", "more": 1})


def test_ranges_are_the_dataclasses_own() -> None:
    assert record(Sampling, {"fps": 1, "window_s": 8, "stride_s": 4.0}) == Sampling(1.0, 8.0, 4.0)
    with pytest.raises(SettingsError, match="fps must be a positive number"):
        record(Sampling, {"fps": 0})


def test_a_single_value_is_checked_alike() -> None:
    assert value(float, 3, "fps") == 3.0
    with pytest.raises(Malformed, match="fps cannot be None"):
        value(float, None, "fps")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(WHOLE, _JSON)))
def test_any_document_is_a_record_or_malformed(change: dict[str, Any]) -> None:
    try:
        found = record(Nested, {**WHOLE, **change})
    except Malformed:
        return
    again = {name: one for name, one in asdict(found).items() if name != "own"}
    text = json.dumps(again)  # what was read can be written, and is read again
    assert json.dumps({**json.loads(text)}) == text
    assert repr(record(Nested, json.loads(text))) == repr(found)
