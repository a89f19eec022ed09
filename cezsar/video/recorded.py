"""When a video was recorded, as its file says."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime

from av.container import InputContainer

# Apple's has the camera's zone; the other ones of QuickTime and Matroska are in UTC, AVI's is the camera's own time
_TAGS = ("com.apple.quicktime.creationdate", "creation_time", "date_recorded", "date")
_TIME = re.compile(r"(\d{4})[-:/](\d\d)[-:/](\d\d)[T ]+(\d\d):(\d\d):(\d\d)(\.\d+)? ?(Z|[+-]\d\d:?\d\d)?")
_IN_WORDS = "%a %b %d %H:%M:%S %Y"  # as AVI's IDIT has it
_DAY_S = 86_400


def recorded_s(container: InputContainer) -> float | None:
    """When a video was recorded, in seconds since 1970; None if its file does not say.

    A time without a zone is this machine's. A clock that was never set says nothing: the day on which 1904 or 1970 (the
    zeros of such clocks) began, or a time that is still to come. A date without a time may be anything's.
    """
    for tags in (container.metadata, *(stream.metadata for stream in container.streams.video)):
        found = _of(tags)
        if found is not None:
            return found
    return None


def _of(tags: Mapping[str, str]) -> float | None:
    known = {name.lower(): value for name, value in tags.items()}
    for name in _TAGS:
        found = _seconds(known.get(name, ""))
        if found is not None and _DAY_S < found <= time.time() + _DAY_S:
            return found
    return None


def _seconds(text: str) -> float | None:
    try:
        if found := _TIME.match(text.strip()):
            *parts, fraction, zone = found.groups()
            when = datetime(*map(int, parts))  # type: ignore[arg-type]
            whole = when.astimezone() if zone is None else when.replace(tzinfo=datetime.strptime(zone, "%z").tzinfo)
            return whole.timestamp() + float(fraction or 0)
        return datetime.strptime(" ".join(text.split()), _IN_WORDS).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        return None
