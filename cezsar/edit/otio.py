"""OpenTimelineIO's own format, made by its library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cezsar.edit.clips import Clip, Cut, cuts
from cezsar.edit.timecode import base
from cezsar.errors import QueryError
from cezsar.paths import path_fields, readable

if TYPE_CHECKING:
    from opentimelineio.opentime import TimeRange


def timeline(clips: Sequence[Clip], *, title: str) -> str:
    """One track with all clips in a row, each counted in frames of its own rate; of a variable rate, in milliseconds.

    Raises QueryError if OpenTimelineIO is not installed.
    """
    try:
        import opentimelineio
    except ModuleNotFoundError:
        raise QueryError("A timeline of OTIO needs OpenTimelineIO: pip install 'cezsar[edit]' brings it.") from None
    schema, opentime = opentimelineio.schema, opentimelineio.opentime
    found = cuts(clips)
    track = schema.Track(name="V1", kind=schema.TrackKind.Video)
    for cut in found:
        note: dict[str, Any] = {"cezsar": {"note": cut.clip.remark, **path_fields(cut.clip.path)}}
        reference = schema.ExternalReference(target_url=cut.clip.path.as_uri(), available_range=_available(cut))
        track.append(
            schema.Clip(name=cut.clip.name, media_reference=reference, source_range=_range(cut), metadata=note)
        )
    made = schema.Timeline(name=readable(" ".join(title.split())), tracks=[track])
    if found:
        rate = found[0].rate
        made.global_start_time = opentime.RationalTime(3600 * base(rate), float(rate))
    return str(opentimelineio.adapters.write_to_string(made, "otio_json"))


def _range(cut: Cut) -> TimeRange:
    from opentimelineio.opentime import RationalTime, TimeRange

    if cut.timing.is_steady:
        rate = float(cut.rate)
        return TimeRange(RationalTime(cut.origin + cut.first, rate), RationalTime(cut.stop - cut.first, rate))
    start, stop = (round(1000 * (float(cut.origin / cut.rate) + at)) for at in (cut.clip.start_s, cut.clip.end_s))
    return TimeRange(RationalTime(start, 1000), RationalTime(max(1, stop - start), 1000))


def _available(cut: Cut) -> TimeRange | None:
    from opentimelineio.opentime import RationalTime, TimeRange

    if cut.timing.num_frames is None or not cut.timing.is_steady:
        return None
    rate = float(cut.rate)
    return TimeRange(RationalTime(cut.origin, rate), RationalTime(cut.timing.num_frames, rate))
