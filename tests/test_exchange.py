"""Backups between the stores: folder -> file -> PostgreSQL -> file -> folder has the same rows, bit for bit."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner
from make_catalogs import CATALOGS

from cezsar import maintenance, store
from cezsar.cli import cli
from cezsar.errors import BadIndex, IndexDamaged
from cezsar.location import Database, located
from cezsar.store import Embedding, Failure, File, Outline, Where
from cezsar.store.sql import lists
from cezsar.types import EncoderIdentity, Sampling, Segment, unit

_D = 16
_IDENTITY = EncoderIdentity("toy", "0" * 64, _D, "visual")
_TABLES = (
    "index_info", "roots", "videos", "names", "segments", "outlines", "deleted_segments", "failures", "calibrations",
    "sqlite_sequence",
)  # fmt: skip
_NUMBERS = itertools.count()


@pytest.fixture
def place(shared_database: str) -> Database:
    """Where an index can be made in PostgreSQL."""
    location = located(f"{shared_database}&schema=test_{next(_NUMBERS)}")
    assert isinstance(location, Database)
    return location


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index with something in every table, of which the highest ids were deleted."""
    random = np.random.default_rng(0)
    with store.create(tmp_path / "index", _IDENTITY, Sampling()) as catalog:
        for number in range(40):
            count = int(random.integers(1, 30))
            rows = unit(random.normal(size=(count, _D)).astype(np.float32))
            parts = tuple(Segment(i * 0.1, i * 0.1 + 1 / 3) for i in range(count))
            outline = Outline(np.array([0.0, 3.5]), np.full((1, 16), number, np.uint8), np.ones((2, 8), np.int8))
            shows = Embedding(
                count / 3, parts, tuple(i // 2 for i in range(count)), rows, tuple(i * 0.1 for i in range(count)),
                None if number % 3 else 1, outline if number % 2 else None, tuple(i % 5 == 0 for i in range(count)),
            )  # fmt: skip
            file = File(b"/vid\xff\xe9os", f"caf\u00e9/{number}.mp4".encode() + b"\xfe", 1 << 40, -1, (1 << 63) - 1, 7)
            catalog.write(lambda writer, file=file, shows=shows: writer.add_video(file, bytes(range(32)), shows))
        catalog.write(lambda writer: writer.hide_videos([3, 4]))
        catalog.write(lambda writer: writer.purge_videos([5, 40]))
        failure = Failure(b"/videos/br\xffken.mp4", 7, 1 << 60, "PyAV", "no \u20ac stream", None, None)
        catalog.write(lambda writer: writer.note_failure(failure))
    return tmp_path / "index"


def rows(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of a backup."""
    with closing(sqlite3.connect(file)) as database:
        return {table: sorted(database.execute(f"SELECT * FROM {table}"), key=repr) for table in _TABLES}


def rankings(location: Path | Database) -> list[tuple[list[int], list[float], bytes]]:
    """The answers to ten queries under several conditions."""
    answers = []
    with store.open(location) as catalog, catalog.read() as state:
        for query in unit(np.random.default_rng(1).normal(size=(10, _D))):
            for where in (Where(), Where(plain=False), Where(plain=True), Where(path="7.mp4*")):
                found = state.nearest(query, 12, where=where)
                answers.append((found.ids.tolist(), found.scores.tolist(), found.vectors.tobytes()))
    return answers


def nothing_is_in(place: Database) -> bool:
    with psycopg.connect(place.uri) as connection:
        found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname LIKE %s", (f"{place.schema}%",))
        return found.fetchone() is None


def test_there_and_back_again_is_the_same_row_for_row_and_bit_for_bit(
    folder: Path, place: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 100)
    maintenance.back_up(folder, tmp_path / "one")
    maintenance.restore(tmp_path / "one", place)
    with store.open(place) as catalog:
        assert "lists looked at" in catalog.cache_state()
        assert maintenance.verify(catalog).problems == ()
    maintenance.back_up(place, tmp_path / "two")
    assert (tmp_path / "two").stat().st_mode & 0o777 == 0o600
    maintenance.restore(tmp_path / "two", tmp_path / "again")
    maintenance.back_up(tmp_path / "again", tmp_path / "three")
    first = rows(tmp_path / "one")
    assert [len(first[table]) > 0 for table in _TABLES] == [table != "calibrations" for table in _TABLES]
    assert first == rows(tmp_path / "two") == rows(tmp_path / "three")
    assert rankings(folder) == rankings(tmp_path / "again")
    monkeypatch.setattr(lists, "LISTS_FROM", 100_000)
    with store.open_to_write(place) as catalog:
        catalog.rebuild()
    assert rankings(folder) == rankings(place)


@pytest.mark.parametrize("kind", ["folder", "postgresql"])
def test_ids_go_on_where_the_first_index_was(folder: Path, place: Database, tmp_path: Path, kind: str) -> None:
    maintenance.back_up(folder, tmp_path / "one")
    last = dict(rows(tmp_path / "one")["sqlite_sequence"])  # type: ignore[arg-type]
    maintenance.restore(tmp_path / "one", place)
    maintenance.back_up(place, tmp_path / "two")
    location = place if kind == "postgresql" else tmp_path / "again"
    if kind == "folder":
        maintenance.restore(tmp_path / "two", tmp_path / "again")
    vector = unit(np.ones((1, _D)))
    shows = Embedding(1.0, (Segment(0.0, 1.0),), (0,), vector)
    with store.open_to_write(location) as catalog:
        new = catalog.write(lambda writer: writer.add_video(File(b"/other", b"1.mp4", 1, 1), bytes(32), shows))
        assert new == last["videos"] + 1 == 41
        with catalog.read() as state:
            assert state.nearest(vector[0], 1).ids.tolist() == [last["segments"] + 1]


@pytest.mark.parametrize("revision", [file.stem for file in sorted(CATALOGS.glob("*.sqlite"))])
def test_backup_of_any_revision_becomes_an_index_in_postgresql(place: Database, tmp_path: Path, revision: str) -> None:
    maintenance.restore(CATALOGS / f"{revision}.sqlite", place)
    maintenance.restore(CATALOGS / f"{revision}.sqlite", tmp_path / "index")
    maintenance.back_up(place, tmp_path / "one")
    maintenance.back_up(tmp_path / "index", tmp_path / "two")
    assert rows(tmp_path / "one") == rows(tmp_path / "two")
    assert [row[0] for row in rows(tmp_path / "one")["segments"]] == [1, 2, 4, 5, 6]


def test_index_without_videos_goes_there_and_back(place: Database, tmp_path: Path) -> None:
    store.create(place, _IDENTITY, Sampling(1.0, 4.0, 2.0)).__exit__(None, None, None)
    maintenance.back_up(place, tmp_path / "one")
    maintenance.restore(tmp_path / "one", tmp_path / "index")
    with store.open(tmp_path / "index") as catalog, store.open(place) as first:
        assert catalog.info == first.info
        assert catalog.info.sampling == Sampling(1.0, 4.0, 2.0)


def test_index_that_is_there_is_kept_beside_the_restored_one(folder: Path, place: Database, tmp_path: Path) -> None:
    maintenance.back_up(folder, tmp_path / "one")
    maintenance.restore(tmp_path / "one", place)
    with store.open_to_write(place) as catalog:
        catalog.write(lambda writer: writer.purge_videos([1]))
        generation = rows(tmp_path / "one")["index_info"][0][-1]
    with pytest.raises(BadIndex, match=r"There is an index in .* already: --force"):
        maintenance.restore(tmp_path / "one", place)
    with store.open(place) as reader:
        maintenance.restore(tmp_path / "one", place, replace=True)
        assert not reader.is_current()
    with store.open(place) as catalog, catalog.read() as state:
        assert state.video(1) is not None
        # not that of the former index, or of a state that this one was in
        assert state.generation() == generation + 2  # type: ignore[operator]
    maintenance.roll_back(place)
    with store.open(place) as catalog, catalog.read() as state:
        assert state.video(1) is None
    assert maintenance.drop_older(place) > 0


_DAMAGES = {
    "UPDATE segments SET start_s = 'early' WHERE id = 1": "segments has an impossible start_s",
    "UPDATE segments SET run = 3000000000 WHERE id = 1": "segments has an impossible run",
    "UPDATE segments SET vector = x'00' WHERE id = 1": "some vectors do not have the index's dimension",
    "UPDATE segments SET vector = CAST(zeroblob(60) || x'0000c07f' AS BLOB) WHERE id = 1": "NaN not allowed in vector",
    "UPDATE segments SET video_id = 999 WHERE id = 1": "violates foreign key constraint",
    "UPDATE failures SET reason = 'a' || char(0)": "invalid byte sequence",
}


@pytest.mark.parametrize("change", _DAMAGES)
def test_backup_that_cannot_be_an_index_is_refused_and_leaves_nothing(
    folder: Path, place: Database, tmp_path: Path, change: str
) -> None:
    maintenance.back_up(folder, tmp_path / "one")
    with closing(sqlite3.connect(tmp_path / "one")) as database, database:
        database.execute(change)
    with pytest.raises(
        IndexDamaged, match=f"{tmp_path / 'one'} is not a sound catalog of CEZSAR: .*{_DAMAGES[change]}"
    ):
        maintenance.restore(tmp_path / "one", place)
    assert nothing_is_in(place)


def test_server_that_goes_away_in_the_middle_leaves_what_was_there(
    folder: Path, place: Database, tmp_path: Path
) -> None:
    maintenance.back_up(folder, tmp_path / "one")
    maintenance.restore(tmp_path / "one", place)
    before = rankings(place)
    with psycopg.connect(place.uri) as blocker, psycopg.connect(place.uri, autocommit=True) as administrator:
        blocker.execute(f"LOCK TABLE {place.schema}.spaces IN SHARE MODE")  # type: ignore[call-overload]
        is_over = threading.Event()

        def kill() -> None:
            waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while not is_over.wait(0.05) and not administrator.execute(waiting).fetchall():
                pass

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(BadIndex, match="went away"):
            maintenance.restore(tmp_path / "one", place, replace=True)
        is_over.set()
        killer.join()
    assert rankings(place) == before
    assert store.home(place).others() == []
    with psycopg.connect(place.uri) as connection:
        names = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", (f"{place.schema}%",))
        assert names.fetchall() == [(place.schema,)]


def test_backup_that_cannot_be_written_leaves_what_was_there(folder: Path, place: Database, tmp_path: Path) -> None:
    maintenance.back_up(folder, tmp_path / "one")
    maintenance.restore(tmp_path / "one", place)
    with pytest.raises(BadIndex, match="cannot be written: No such file or directory"):
        maintenance.back_up(place, tmp_path / "none" / "two")
    (tmp_path / "three").write_bytes(b"mine")
    with pytest.raises(BadIndex, match="is there already: --force"):
        maintenance.back_up(place, tmp_path / "three")
    assert (tmp_path / "three").read_bytes() == b"mine"


def test_commands_move_an_index_there_and_back(folder: Path, place: Database, tmp_path: Path) -> None:
    def run(*words: object) -> str:
        result = CliRunner().invoke(cli, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.output

    at = f"{place.uri}&schema={place.schema}"
    assert run("backup", tmp_path / "one", "--index", folder).startswith(f"backed up to {tmp_path / 'one'}, ")
    assert run("restore", tmp_path / "one", "--index", at) == f"restored to {place}\n"
    assert run("backup", tmp_path / "two", "--index", at).startswith(f"backed up to {tmp_path / 'two'}, ")
    shutil.rmtree(folder)
    assert run("restore", tmp_path / "two", "--index", folder) == f"restored to {folder}\n"
    assert rows(tmp_path / "one") == rows(tmp_path / "two")
