"""Dates as people write them: a year, a month, a day, or a time of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from cezsar.errors import SettingsError

_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2})(?:[T ](?P<time>\d{1,2}:\d{2}(?::\d{2})?))?)?)?"
    r"(?P<zone>Z|[+-]\d{2}:\d{2})?"
)


def began(text: str) -> float:
    """When a date begins, in seconds since 1970; a date without a zone is one of this machine's.

    Raises SettingsError if it is no date, as '2024', '2024-05', '2024-05-17' or '2024-05-17 14:30+02:00' are.
    """
    return _range(text)[0]


def ended(text: str) -> float:
    """When a date is over: the last day of a year or month, and the day itself, belong to it. As began otherwise."""
    return _range(text)[1]


def _range(text: str) -> tuple[float, float]:
    wrong = SettingsError(f"{text[:40]!r} is no date: 2024, 2024-05, 2024-05-17 and 2024-05-17 14:30 are.")
    match = _DATE.fullmatch(text.strip())
    if match is None:
        raise wrong
    year, month, day = (int(match[name] or 1) for name in ("year", "month", "day"))
    hour, minute, second = ([int(number) for number in (match["time"] or "0:00").split(":")] + [0])[:3]
    zone = "" if match["zone"] is None else match["zone"].replace("Z", "+00:00")
    try:
        first = datetime.fromisoformat(f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{zone}")
        if match["time"]:
            after = first
        elif match["day"]:
            after = first + timedelta(days=1)
        elif match["month"]:
            after = first.replace(year=year + month // 12, month=month % 12 + 1)
        else:
            after = first.replace(year=year + 1)
        return first.timestamp(), after.timestamp()
    except (ValueError, OverflowError, OSError):
        raise wrong from None
