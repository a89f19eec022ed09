"""CMX 3600 edit decision lists, and lists of markers as DaVinci Resolve reads them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from cezsar.edit.clips import Clip, Cut, cuts
from cezsar.edit.timecode import base, timecode
from cezsar.paths import readable

_MOST_EVENTS = 999  # three digits count them
_LONGEST_TITLE = 70
_HOUR_S = 3600  # timelines begin at 01:00:00:00


def lists(clips: Sequence[Clip], *, title: str) -> tuple[dict[str, str], list[str]]:
    """The text of each file by its name, without suffix: events as `hits`, and markers as `hits-markers`.

    A list has one frame rate and 999 events: there are as many as that takes, in the clips' order. The lines say what
    could not be told.
    """
    groups: dict[str, list[Cut]] = {}
    lines: list[str] = []
    for cut in cuts(clips):
        if base(cut.rate) > 99:
            lines.append(f"{cut.clip.name} is left out: time code cannot count {float(cut.rate):g} frames a second")
        else:
            groups.setdefault(cut.kind, []).append(cut)
    if len(groups) > 1:
        lines.append(f"a list has one frame rate: there is one list for each of {', '.join(groups)}")
    files: dict[str, str] = {}
    for kind, found in groups.items():
        lots = [found[start : start + _MOST_EVENTS] for start in range(0, len(found), _MOST_EVENTS)]
        for number, lot in enumerate(lots, start=1):
            ending = (f"-{kind}" if len(groups) > 1 else "") + (f"-{number}" if len(lots) > 1 else "")
            files[f"hits{ending}"] = _events(lot, title)
            files[f"hits-markers{ending}"] = _markers(lot, title)
    return files, lines


def _events(found: Sequence[Cut], title: str) -> str:
    lines = _head(title, drop=found[0].drop)
    position = _HOUR_S * base(found[0].rate) if not found[0].drop else _dropped_hour(found[0].rate)
    for number, cut in enumerate(found, start=1):
        channels = "AA/V" if cut.timing.has_sound else "V"
        stop = position + cut.stop - cut.first
        codes = (cut.start_code, cut.stop_code, *(_code(frame, cut) for frame in (position, stop)))
        lines.append(f"{number:03d}  {'AX':<8} {channels:<5} C        {' '.join(codes)}")
        lines.append(f"* FROM CLIP NAME: {cut.clip.name}")
        lines.append(f"* SOURCE FILE: {readable(cut.clip.path)}")
        if cut.clip.remark:
            lines.append(f"* COMMENT: {cut.clip.remark}")
        position = stop
    return "\n".join(lines) + "\n"


def _markers(found: Sequence[Cut], title: str) -> str:
    """A marker where each event begins, as long as it; Resolve reads the line under an event as the marker's text."""
    lines = _head(title, drop=found[0].drop)
    position = _HOUR_S * base(found[0].rate) if not found[0].drop else _dropped_hour(found[0].rate)
    for number, cut in enumerate(found, start=1):
        codes = [_code(position, cut), _code(position + 1, cut)] * 2
        num_frames = cut.stop - cut.first
        lines.append(f"{number:03d}  {'001':<8} {'V':<5} C        {' '.join(codes)}")
        lines.append(f"{_plain(cut.clip.remark)} |C:ResolveColorBlue |M:{_plain(cut.clip.name)} |D:{num_frames}")
        lines.append("")
        position += num_frames
    return "\n".join(lines)


def _head(title: str, *, drop: bool) -> list[str]:
    line = readable(" ".join(title.split()))[:_LONGEST_TITLE]
    return [f"TITLE: {line}", f"FCM: {'DROP FRAME' if drop else 'NON-DROP FRAME'}", ""]


def _code(frame: int, cut: Cut) -> str:
    return timecode(frame, cut.rate, drop=cut.drop)


def _dropped_hour(rate: Fraction) -> int:
    """The frames before 01:00:00;00."""
    return 6 * (600 * base(rate) - 9 * (base(rate) // 15))


def _plain(text: str) -> str:
    return text.replace("|", "/")
