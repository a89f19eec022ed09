"""A twentieth of what `make torture` does, on each run of the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import rays
import torture
from killable import PLANTS, POINTS

pytestmark = pytest.mark.slow
_ADMINISTRATOR = pytest.mark.skipif(
    not rays.may_make_namespaces(), reason="only root may mount a disk or make a network"
)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> torture.Ground:
    return torture.Ground(tmp_path_factory.mktemp("torture") / "ground")


def test_nothing_is_lost_by_a_kill_at_each_point(ground: torture.Ground) -> None:
    outcome = torture.kills(ground, len(POINTS) + 1)
    assert outcome.lost == []
    assert outcome.survived == outcome.tried >= 13
    hits = dict(note.rsplit(" ", 1) for note in outcome.notes)
    assert set(hits) == {*POINTS, "random"}
    assert all(int(count) >= 1 for count in hits.values())


def test_bugs_put_in_on_purpose_are_noticed(ground: torture.Ground) -> None:
    outcome = torture.plants(ground)
    assert outcome.lost == []
    assert outcome.survived == len(PLANTS)


def test_a_damaged_cache_is_noticed_and_never_answers_wrongly(ground: torture.Ground) -> None:
    outcome = torture.corruptions(ground, 2)
    assert outcome.lost == []
    assert outcome.survived >= len(torture.DAMAGES)


@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
def test_no_damage_of_a_cache_changes_an_answer_silently(tmp_path: Path, is_large: bool) -> None:
    outcome = torture.blows(tmp_path, 60, is_large=is_large)
    assert outcome.lost == []
    assert outcome.tried >= 50
    assert int(outcome.notes[0].split()[0]) >= 20


@pytest.mark.skipif(sys.platform == "win32", reason="it has no limit of a file's size")
def test_a_full_disk_leaves_the_old_state_whole(ground: torture.Ground) -> None:
    assert torture.full_disk(ground, 4).lost == []


def test_two_writers_and_a_reader_get_along(ground: torture.Ground) -> None:
    assert torture.at_once(ground, 1).lost == []


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
def test_a_watched_folder_in_a_crowd_ends_as_if_nobody_had_been_there(tmp_path: Path) -> None:
    outcome = torture.watched(tmp_path, 1)
    assert outcome.lost == []
    assert "2 kills" in outcome.notes


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what a process takes")
def test_memory_and_open_files_stay_as_they_are(tmp_path: Path) -> None:
    assert torture.load_of(tmp_path, 1_000, is_timed=False).lost == []


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
def test_a_killed_server_of_a_database_loses_nothing_that_was_acknowledged() -> None:
    outcome = torture.server_killed(1, has_standby=False)
    assert outcome.lost == []
    assert outcome.notes[:2] == ["150 videos acknowledged", "10 kills"]


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
def test_a_standby_that_takes_over_has_everything_that_was_acknowledged() -> None:
    outcome = torture.server_killed(1, has_standby=True)
    assert outcome.lost == []
    assert outcome.notes[:2] == ["150 videos acknowledged", "1 kills"]


def test_two_writers_of_a_database_lose_nothing_and_write_nothing_twice(tmp_path: Path) -> None:
    outcome = torture.writers_of_database(tmp_path, 1)
    assert outcome.lost == []
    assert outcome.notes[0] == "40 segments seen as they came"


@_ADMINISTRATOR
def test_a_full_disk_of_a_server_ends_a_run_with_a_line_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    outcome = torture.server_full(tmp_path)
    assert outcome.lost == []
    assert int(outcome.notes[0].split()[0]) > 0


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
def test_a_reader_goes_on_across_a_failover_with_the_same_answers() -> None:
    outcome = torture.reader_through_failover()
    assert outcome.lost == []
    assert int(outcome.notes[0].split()[0]) > 0


@_ADMINISTRATOR
def test_a_link_to_a_server_that_is_down_for_10_s_costs_nothing() -> None:
    outcome = torture.link_down()
    assert outcome.lost == []
    assert outcome.notes == ["100 videos acknowledged"]
