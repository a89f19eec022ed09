"""Every input of the zoo ends as it is written down beside it, in one run, and spoils nothing beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import zoo

from cezsar import indexer, maintenance, store
from cezsar.settings import Settings, load
from cezsar.types import IndexReport

SPECIMENS = list(zoo.specimens())


@dataclass(frozen=True)
class Visit:
    """What one run over the whole zoo made of it: segments of each video, reason of each skipped file."""

    folder: Path
    settings: Settings
    report: IndexReport
    segments: dict[bytes, int]
    reasons: dict[bytes, str]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    folder = tmp_path_factory.mktemp("zoo")
    zoo.make(folder)
    settings = load(environ={}, index=tmp_path_factory.mktemp("index") / "i", model="toy")
    report = indexer.index([folder], settings)
    with store.open(settings.index) as catalog, catalog.read() as rows:
        videos = rows.videos()
        segments = {video.file.absolute: len(rows.segment_ids([video.id])) for video in videos}
    reasons = {os.fsencode(skip.path): skip.reason for skip in report.skipped}
    return Visit(folder, settings, report, segments, reasons)


@pytest.mark.parametrize("number", range(len(SPECIMENS)), ids=[ascii(one.name)[1:40] for one in SPECIMENS])
def test_a_specimen_ends_as_it_is_written_down(number: int, visit: Visit) -> None:
    specimen = SPECIMENS[number]
    path = os.path.join(os.fsencode(visit.folder), b"%03d" % number, os.fsencode(specimen.name))
    found = visit.segments.get(path), visit.reasons.get(path)
    if isinstance(specimen.expected, str):
        assert found[0] is None
        assert (found[1] or "").startswith(specimen.expected)
    else:
        assert found == (specimen.expected, None)


def test_there_are_many_and_no_two_alike() -> None:
    assert len({one.name for one in SPECIMENS}) == len(SPECIMENS) >= 60


def test_nothing_else_came_in(visit: Visit) -> None:
    counted = [one.expected for one in SPECIMENS]
    assert visit.report.added == sum(isinstance(expected, int) for expected in counted)
    assert len(visit.report.skipped) == sum(isinstance(expected, str) for expected in counted)


def test_the_index_is_sound_and_a_second_run_decodes_nothing(visit: Visit) -> None:
    with store.open(visit.settings.index) as catalog:
        assert maintenance.verify(catalog).ok
    again = indexer.index([visit.folder], visit.settings)
    assert (again.added, again.updated, again.segments) == (0, 0, 0)
    assert again.unchanged == visit.report.added
    assert len(again.skipped) == len(visit.report.skipped)
