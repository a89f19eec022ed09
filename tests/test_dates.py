"""Dates as people write them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from cezsar.errors import SettingsError
from cezsar.query.dates import began, ended


def seconds(*numbers: int) -> float:
    return datetime(*numbers, tzinfo=timezone.utc).timestamp()  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2024Z", seconds(2024, 1, 1), seconds(2025, 1, 1)),
        ("2024-02Z", seconds(2024, 2, 1), seconds(2024, 3, 1)),
        ("2024-12Z", seconds(2024, 12, 1), seconds(2025, 1, 1)),
        ("2024-02-29Z", seconds(2024, 2, 29), seconds(2024, 3, 1)),
        ("2024-05-17 14:30+02:00", seconds(2024, 5, 17, 12, 30), seconds(2024, 5, 17, 12, 30)),
        ("2024-05-17T14:30:05Z", seconds(2024, 5, 17, 14, 30, 5), seconds(2024, 5, 17, 14, 30, 5)),
    ],
)
def test_a_date_begins_and_ends(text: str, begin: float, end: float) -> None:
    assert (began(text), ended(text)) == (begin, end)


def test_a_date_without_a_zone_is_of_this_machine() -> None:
    assert began("2024-05-17") == datetime(2024, 5, 17).timestamp()
    assert ended("2024-05-17") == datetime(2024, 5, 18).timestamp()


@pytest.mark.parametrize(
    "text", ["", "now", "24", "2024-13", "2023-02-29", "2024-05-17 25:00", "0000", "9999", "x" * 99]
)
def test_what_is_no_date_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError, match="is no date"):
        ended(text)
