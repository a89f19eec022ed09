"""FCPXML 1.9, which Final Cut Pro and DaVinci Resolve read: times are exact fractions of a second."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

from cezsar.edit.clips import Clip, Cut, cuts
from cezsar.paths import readable

_MILLISECOND = Fraction(1, 1000)


def project(clips: Sequence[Clip], *, title: str) -> tuple[str, list[str]]:
    """One project with all clips in a row, and a line if their frame rates differ.

    The timeline has the rate of most clips. A clip of another rate begins with its first frame, and lasts to the
    timeline's next frame after its last one.
    """
    found = cuts(clips)
    (rate, width, height), _ = Counter((cut.rate, cut.timing.width, cut.timing.height) for cut in found).most_common()[
        0
    ]
    root = ElementTree.Element("fcpxml", version="1.9")
    resources = ElementTree.SubElement(root, "resources")
    formats: dict[tuple[Fraction, int, int], str] = {}
    _format(resources, formats, (rate, width, height))
    assets = _assets(resources, formats, found)
    name = _said(readable(" ".join(title.split())))
    library = ElementTree.SubElement(root, "library")
    event = ElementTree.SubElement(library, "event", name=name)
    made = ElementTree.SubElement(event, "project", name=name)
    drops = Counter(cut.drop for cut in found if cut.rate == rate)
    sequence = ElementTree.SubElement(
        made,
        "sequence",
        format=formats[rate, width, height],
        tcStart="0s",
        tcFormat=_counting(drop=drops.most_common()[0][0]),
    )
    spine = ElementTree.SubElement(sequence, "spine")
    position = Fraction(0)
    for cut in found:
        start, duration = _stretch(cut)
        lasts = math.ceil(duration * rate) / rate
        element = ElementTree.SubElement(
            spine,
            "asset-clip",
            ref=assets[cut.clip.path],
            name=_said(cut.clip.name),
            offset=_time(position),
            start=_time(start),
            duration=_time(lasts),
            tcFormat=_counting(drop=cut.drop),
        )
        if cut.clip.remark:
            ElementTree.SubElement(element, "note").text = _said(cut.clip.remark)
        position += lasts
    sequence.set("duration", _time(position))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    others = sum(cut.rate != rate for cut in found)
    lines = [f"{others} of {len(found)} clips have another frame rate than the timeline, {float(rate):.5g}"]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{text}\n', lines if others else []


def _assets(
    resources: ElementTree.Element, formats: dict[tuple[Fraction, int, int], str], found: Sequence[Cut]
) -> dict[Path, str]:
    """An asset a video; its id by its path."""
    ids: dict[Path, str] = {}
    for cut in found:
        timing = cut.timing
        if cut.clip.path in ids:
            continue
        own = _format(resources, formats, (timing.rate, timing.width, timing.height))
        ids[cut.clip.path] = f"a{len(ids) + 1}"
        last = max(one.stop for one in found if one.clip.path == cut.clip.path)
        asset = ElementTree.SubElement(
            resources,
            "asset",
            id=ids[cut.clip.path],
            name=_said(cut.clip.name),
            start=_time(cut.origin / cut.rate),
            duration=_time(max(timing.num_frames or 0, last) / cut.rate),
            hasVideo="1",
            format=own,
        )
        if timing.has_sound:
            asset.attrib.update(hasAudio="1", audioSources="1", audioChannels="2")
        ElementTree.SubElement(asset, "media-rep", kind="original-media", src=cut.clip.path.as_uri())
    return ids


def _format(
    resources: ElementTree.Element, formats: dict[tuple[Fraction, int, int], str], own: tuple[Fraction, int, int]
) -> str:
    if own not in formats:
        formats[own] = f"f{len(formats) + 1}"
        rate, width, height = own
        ElementTree.SubElement(
            resources,
            "format",
            id=formats[own],
            frameDuration=_time(1 / rate),
            width=str(width),
            height=str(height),
        )
    return formats[own]


def _stretch(cut: Cut) -> tuple[Fraction, Fraction]:
    """Where a clip starts in its file's own time code, and how long it is, in seconds."""
    if cut.timing.is_steady:
        return (cut.origin + cut.first) / cut.rate, (cut.stop - cut.first) / cut.rate
    start = round(cut.clip.start_s / _MILLISECOND) * _MILLISECOND
    stop = round(cut.clip.end_s / _MILLISECOND) * _MILLISECOND
    return cut.origin / cut.rate + start, max(stop - start, _MILLISECOND)


def _time(seconds: Fraction) -> str:
    return f"{seconds.numerator}/{seconds.denominator}s" if seconds.denominator > 1 else f"{seconds.numerator}s"


def _counting(*, drop: bool) -> str:
    return "DF" if drop else "NDF"


def _said(text: str) -> str:
    """Without the two characters that no XML may hold and that are no control characters."""
    return text.replace("\ufffe", "").replace("\uffff", "")
