"""A server that goes away: what was acknowledged is there, nothing is there twice, and work goes on when it is back."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import databases
import psycopg
import pytest
from make_videos import write_video
from test_store import EAST, IDENTITY, NORTH, SAMPLING, add, embedding, file, search

from cezsar import indexer, maintenance, store
from cezsar.errors import BadIndex, IndexLocked, IndexReadOnly, ServerLost
from cezsar.location import Database, located
from cezsar.settings import load
from cezsar.store.sql import lock, writing
from cezsar.store.sql.catalog import Catalog
from cezsar.store.sql.connection import connect
from cezsar.store.writer import Writer


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The data directory of a server that these tests end and start."""
    with tempfile.TemporaryDirectory(prefix="pg") as name, databases.server(Path(name)):
        yield Path(name)


@pytest.fixture
def location(folder: Path) -> Iterator[Database]:
    """Where an index can be made."""
    with databases.database(str(folder)) as url:
        found = located(url)
        assert isinstance(found, Database)
        yield found


@pytest.fixture
def notices() -> list[str]:
    """The lines that the writer was told."""
    return []


@pytest.fixture
def catalog(location: Database, notices: list[str]) -> Iterator[Catalog]:
    """An index of one video, open for writing."""
    with store.create(location, IDENTITY, SAMPLING) as made:
        add(made, "first.mp4", EAST)
    with store.open_to_write(location, notice=notices.append) as opened:
        yield opened  # type: ignore[misc]


def session_of(catalog: Catalog) -> psycopg.Connection[Any]:
    assert catalog._writing is not None
    return catalog._writing._session


def end_session(location: Database, catalog: Catalog) -> None:
    """End the writer's connection, as a network does."""
    with connect(location) as session:
        session.execute("SELECT pg_terminate_backend(%s, 10000)", (session_of(catalog).info.backend_pid,))


def names(location: Database) -> list[str]:
    with store.open(location) as reader, reader.read() as rows:
        return [video.file.path.decode() for video in rows.videos()]


def test_a_lost_connection_is_made_again_and_the_transaction_too(
    location: Database, catalog: Catalog, notices: list[str]
) -> None:
    end_session(location, catalog)
    assert add(catalog, "second.mp4", NORTH) > 1
    assert names(location) == ["first.mp4", "second.mp4"]
    assert notices[0].startswith(f"the server of the index in {location} went away; waiting for it, 60 s at most (")
    assert notices[1:] == [f"the server of the index in {location} is back"]
    assert add(catalog, "third.mp4", NORTH) > 2
    assert len(notices) == 2
    with pytest.raises(IndexLocked):
        store.open_to_write(location)
    assert maintenance.verify(catalog).problems == ()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_is_lost_at_the_commit_commits_once(location: Database, catalog: Catalog, when: str) -> None:
    session, num_runs = session_of(catalog), 0
    commit = session.commit

    def lost() -> None:
        if when == "after":
            commit()
        session.pgconn.finish()
        raise psycopg.OperationalError("the connection is lost")

    def change(writer: Writer) -> int:
        nonlocal num_runs
        num_runs += 1
        return writer.add_video(file("second.mp4"), b"2" * 32, embedding(EAST, NORTH))

    session.commit = lost  # type: ignore[method-assign]
    number = catalog.write(change)
    assert num_runs == (1 if when == "after" else 2)
    with store.open(location) as reader, reader.read() as rows:
        assert [video.id for video in rows.videos()][1:] == [number]
        assert rows.generation() == 2
        assert len(rows.parts(number, after=0, limit=9)) == 2


def test_whoever_has_taken_the_right_to_write_meanwhile_keeps_it(location: Database, catalog: Catalog) -> None:
    with connect(location) as other:
        key = lock._key(catalog.place)
        taker = threading.Thread(target=lambda: other.execute("SELECT pg_advisory_lock(%s)", (key,)))
        taker.start()
        time.sleep(0.2)
        end_session(location, catalog)
        taker.join()
        with pytest.raises(IndexLocked, match=r"Another cezsar \(process \d+ on \S+, since \S+\) is writing"):
            add(catalog, "second.mp4", NORTH)
    assert names(location) == ["first.mp4"]


def test_what_another_has_changed_meanwhile_ends_the_run(location: Database, catalog: Catalog) -> None:
    end_session(location, catalog)
    with store.open_to_write(location) as other:
        add(other, "theirs.mp4", NORTH)
    with pytest.raises(BadIndex, match=r"Another command changed the index .* while its server was away: run this one"):
        add(catalog, "second.mp4", NORTH)
    assert names(location) == ["first.mp4", "theirs.mp4"]


def test_a_server_that_took_over_without_the_last_changes_ends_the_run(location: Database, catalog: Catalog) -> None:
    add(catalog, "lost.mp4", NORTH)
    with connect(location) as session:  # as a standby has it that was behind
        session.execute("UPDATE index_info SET generation = generation - 1")
    end_session(location, catalog)
    with pytest.raises(BadIndex, match=r"The server that took over the index in .* lacks its last changes: run this"):
        add(catalog, "second.mp4", NORTH)


def test_a_server_that_stays_away_ends_the_run_in_one_line(
    folder: Path, location: Database, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PATIENCE_S", 1.0)
    databases.stop(folder)
    try:
        with pytest.raises(BadIndex, match=r"The index in .* is out of reach: ") as error:
            add(catalog, "second.mp4", NORTH)
        assert "\n" not in str(error.value)
    finally:
        databases.start(folder)
    assert names(location) == ["first.mp4"]


def test_a_crashing_server_loses_nothing_that_was_acknowledged(
    folder: Path, location: Database, catalog: Catalog
) -> None:
    acknowledged, failures = ["first.mp4"], list[BaseException]()

    def write() -> None:
        try:
            for number in range(60):
                add(catalog, f"{number}.mp4", *[EAST, NORTH] * 20)
                acknowledged.append(f"{number}.mp4")
        except BadIndex as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(3):
        time.sleep(0.3)
        databases.stop(folder)
        databases.start(folder)
    writer.join()
    assert failures == []
    assert names(location) == acknowledged
    assert len(acknowledged) == 61
    with store.open(location) as reader:
        assert maintenance.verify(reader) == maintenance.Verification(61, 1 + 60 * 40, ())
        with reader.read() as rows:
            assert rows.generation() == 61


def test_a_reader_goes_on_when_the_server_is_back(folder: Path, location: Database, catalog: Catalog) -> None:
    with store.open(location) as reader:
        assert search(reader, EAST) == [(1, 1.0)]
        databases.stop(folder)
        with pytest.raises(BadIndex, match="out of reach"):
            search(reader, EAST)
        databases.start(folder)
        assert search(reader, EAST) == [(1, 1.0)]
        assert reader.is_current()


def test_a_server_that_goes_away_in_mid_query_ends_it_in_one_line(location: Database, catalog: Catalog) -> None:
    def lose(reader: Catalog) -> None:
        with reader._snapshot() as snapshot, connect(location) as session:
            session.execute("SELECT pg_terminate_backend(%s, 10000)", (snapshot.session.info.backend_pid,))
            snapshot.execute("SELECT 1")

    with store.open(location) as reader:
        with pytest.raises(ServerLost, match=r"The server of the index in .* went away: .*\. Run this command again\."):
            lose(reader)  # type: ignore[arg-type]
        assert search(reader, EAST) == [(1, 1.0)]


def test_a_standby_can_be_searched_and_not_written(folder: Path, location: Database, catalog: Catalog) -> None:
    catalog.__exit__()
    with psycopg.connect(location.uri, autocommit=True) as session:
        session.execute("CREATE ROLE follower LOGIN SUPERUSER")
        session.execute("ALTER ROLE follower SET default_transaction_read_only = on")
    follower = Database(location.uri.replace("postgres@", "follower@"))
    assert names(follower) == ["first.mp4"]
    with store.open_to_write(follower) as opened, pytest.raises(IndexReadOnly, match="read-only transaction"):
        add(opened, "second.mp4", NORTH)
    with psycopg.connect(location.uri, autocommit=True) as session:
        session.execute("DROP ROLE follower")


def test_an_indexing_run_outlasts_a_crash_of_the_server(folder: Path, location: Database, tmp_path: Path) -> None:
    for name in ("red", "green", "blue", "white"):
        write_video(tmp_path / f"{name}.mp4", [(name, 1.0)])
    told = Crashing(lambda: (databases.stop(folder), databases.start(folder)))
    report = indexer.index([tmp_path], load(environ={}, index=location, model="toy"), progress=told)
    assert (report.added, report.skipped) == (4, ())
    assert sorted(names(location)) == ["blue.mp4", "green.mp4", "red.mp4", "white.mp4"]
    assert [line.rpartition(f"{location} ")[2] for line in told.lines if str(location) in line][-1] == "is back"


class Crashing:
    """A listener to an indexing run that has something happen after the first video."""

    def __init__(self, happen: Callable[[], object]) -> None:
        self._happen, self.lines = happen, list[str]()
        self._num_done = 0

    def comparing(self, path: Path, num_bytes: int) -> None: ...

    def start(self, num_videos: int, num_bytes: int) -> None: ...

    def done(self, path: Path, num_bytes: int) -> None:
        self._num_done += 1
        if self._num_done == 1:
            self._happen()

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None: ...

    def notice(self, line: str) -> None:
        self.lines.append(line)
