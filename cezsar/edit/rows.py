"""Clips as rows, in seconds and in time code: CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from cezsar.edit.clips import Clip, Cut
from cezsar.paths import path_fields

_COLUMNS = (
    "number", "path", "start_s", "end_s", "start_timecode", "end_timecode", "frame_rate", "first_frame", "end_frame",
    "note", "path_bytes",
)  # fmt: skip


def as_csv(clips: Sequence[Clip]) -> str:
    """A line for each clip; ends are exclusive, and what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in _rows(clips):
        writer.writerow(["" if row.get(column) is None else row[column] for column in _COLUMNS])
    return out.getvalue()


def as_json(clips: Sequence[Clip], *, title: str) -> str:
    """{"title", "clips"}; what is not known is null."""
    return json.dumps({"title": title, "clips": _rows(clips)}, indent=1) + "\n"


def _rows(clips: Sequence[Clip]) -> list[dict[str, Any]]:
    return [_row(number, clip) for number, clip in enumerate(clips, start=1)]


def _row(number: int, clip: Clip) -> dict[str, Any]:
    cut = Cut.of(clip)
    counted = cut is not None and cut.timing.is_steady
    return {
        "number": number,
        **path_fields(clip.path),
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "start_timecode": cut.start_code if cut is not None and counted else None,
        "end_timecode": cut.stop_code if cut is not None and counted else None,
        "frame_rate": str(cut.rate) if cut is not None and counted else None,
        "first_frame": cut.first if cut is not None and counted else None,
        "end_frame": cut.stop if cut is not None and counted else None,
        "note": clip.note,
    }
