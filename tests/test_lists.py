"""The nearest in PostgreSQL against comparing every vector, with lists and without; and how lists are made and kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import errors
from psycopg.sql import SQL, Identifier, Literal

from cezsar import maintenance, store
from cezsar.errors import IndexDamaged
from cezsar.location import located
from cezsar.store import Embedding, File, Found, Where, scores
from cezsar.store.sql import lists, nearest, packing
from cezsar.store.sql.nearest import Chosen, Nearest
from cezsar.types import EncoderIdentity, Sampling, Segment, Vectors, unit

_D = 16
_NONE = np.empty(0, np.int64)
_TABLES = """
CREATE EXTENSION vector;
CREATE SCHEMA cezsar;
SET search_path = cezsar, public;
CREATE TABLE index_info (generation BIGINT);
INSERT INTO index_info VALUES (0);
CREATE TABLE videos (id BIGINT PRIMARY KEY, hidden SMALLINT NOT NULL);
CREATE TABLE segments (
    id BIGINT PRIMARY KEY, video_id BIGINT NOT NULL, start_s DOUBLE PRECISION, vector vector(16), plain SMALLINT
);
CREATE UNIQUE INDEX ix_segments_place ON segments (video_id, start_s);
CREATE INDEX ix_segments_plain ON segments (id) WHERE plain = 1;
CREATE INDEX ix_videos_hidden ON videos (id) WHERE hidden = 1;
CREATE TABLE deleted_segments (segment_id BIGINT PRIMARY KEY, generation BIGINT NOT NULL);
"""


@dataclass
class Index:
    """Tables as the store makes them, and what they should hold: by segment id its vector, video, and plain or not."""

    location: str
    connection: psycopg.Connection[Any]
    segments: dict[int, tuple[Vectors, int, bool]] = field(default_factory=dict)
    folders: dict[int, str] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)

    def add(self, vectors_of_it: Vectors, *, folder: str = "a", plain: Sequence[bool] = ()) -> int:
        """A video of these (N, D) vectors; its id."""
        video, first = max(self.folders, default=0) + 1, max(self.segments, default=0) + 1
        plain = plain or (False,) * len(vectors_of_it)
        rows = [(first + i, video, float(i), packing.text(row), int(plain[i])) for i, row in enumerate(vectors_of_it)]
        with self.connection.transaction(), self.connection.cursor() as cursor:
            cursor.execute("UPDATE index_info SET generation = generation + 1")
            cursor.execute("INSERT INTO videos VALUES (%s, 0)", (video,))
            with cursor.copy("COPY segments FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        self.folders[video] = folder
        self.segments |= {row[0]: (vectors_of_it[i], video, plain[i]) for i, row in enumerate(rows)}
        return video

    def hide(self, video: int) -> None:
        self.connection.execute("UPDATE videos SET hidden = 1 WHERE id = %s", (video,))
        self.hidden.add(video)

    def purge(self, video: int) -> None:
        with self.connection.transaction():
            self.connection.execute("UPDATE index_info SET generation = generation + 1")
            self.connection.execute(
                "INSERT INTO deleted_segments SELECT id, generation FROM segments, index_info WHERE video_id = %s",
                (video,),
            )
            self.connection.execute("DELETE FROM segments WHERE video_id = %s", (video,))
            self.connection.execute("DELETE FROM videos WHERE id = %s", (video,))
        self.segments = {number: one for number, one in self.segments.items() if one[1] != video}
        self.hidden.discard(video)
        del self.folders[video]

    @contextmanager
    def read(self, location: str | None = None) -> Iterator[Nearest]:
        """A snapshot."""
        with psycopg.connect(location or self.location, autocommit=True) as connection:
            connection.execute("SET search_path = cezsar, public")
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield Nearest(connection, _D, allowed=lambda where: self.under(where.path or ""), chosen=Chosen(0))

    def under(self, path: str) -> list[int]:
        return [video for video, folder in self.folders.items() if folder == path and video not in self.hidden]

    def right(self, query: Vectors, k: int, where: Where = Where(), without: Sequence[int] = ()) -> Found:  # noqa: B008
        """By comparing every vector here."""
        ids = np.array([number for number in sorted(self.segments) if self._may_be_found(number, where, without)])
        rows = np.array([self.segments[number][0] for number in ids.tolist()], np.float32).reshape(-1, _D)
        return scores.found(query, ids.astype(np.int64), rows, k)

    def _may_be_found(self, number: int, where: Where, without: Sequence[int]) -> bool:
        _, video, plain = self.segments[number]
        is_named = where.path in (None, self.folders[video]) and where.plain in (None, plain)
        return is_named and video not in self.hidden and number not in without


@pytest.fixture
def index(database: str) -> Iterator[Index]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_TABLES)  # type: ignore[call-overload]
        connection.execute(lists.TABLE)  # type: ignore[call-overload]
        yield Index(database, connection)


def same(one: Found, other: Found) -> bool:
    return (one.ids.tolist(), one.scores.tolist(), one.vectors.tobytes()) == (
        other.ids.tolist(), other.scores.tolist(), other.vectors.tobytes(),
    )  # fmt: skip


def some(seed: int, count: int) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(count, _D)).astype(np.float32))


def test_nearest_are_ranked_to_six_decimals_and_equal_ones_by_id(index: Index) -> None:
    axes = np.eye(_D, dtype=np.float32)
    index.add(np.concatenate([axes[:2], np.repeat(axes[2:3], 40, axis=0)]))
    query = unit((0.6 * axes[2] + 0.8 * axes[1])[None])[0]
    with index.read() as rows:
        found = rows.found(query, 4, where=Where(), without=np.array([4], np.int64), exact=False)
        assert (found.ids.tolist(), found.scores.tolist()) == ([2, 3, 5, 6], [0.8, 0.6, 0.6, 0.6])
        assert found.vectors.tobytes() == axes[[1, 2, 2, 2]].tobytes()
        assert rows.found(query, 4, where=Where(), without=_NONE, exact=True).ids.tolist() == [2, 3, 4, 5]
        assert rows.size(Where()) == 42


def test_index_without_segments_finds_nothing(index: Index) -> None:
    with index.read() as rows:
        found = rows.found(some(0, 1)[0], 3, where=Where(), without=_NONE, exact=False)
        assert (found.ids.shape, found.scores.shape, found.vectors.shape) == ((0,), (0,), (0, _D))
        assert rows.size(Where()) == 0


def test_vector_that_is_not_of_length_1_is_damage(index: Index) -> None:
    index.add(2 * some(0, 3))
    query = index.segments[1][0] / 2
    with index.read() as rows, pytest.raises(IndexDamaged, match="not of length 1: `cezsar verify`"):
        rows.found(query, 3, where=Where(), without=_NONE, exact=False)


@pytest.mark.parametrize("seed", [1, 7])
@pytest.mark.parametrize("lists_from", [1_000_000, pytest.param(300, marks=pytest.mark.slow)])
def test_the_nearest_are_those_of_comparing_every_vector(
    index: Index, monkeypatch: pytest.MonkeyPatch, lists_from: int, seed: int
) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", lists_from)
    random, shares = np.random.default_rng(seed), list[float]()
    conditions = [Where(), Where(plain=False), Where(plain=True), Where(path="a"), Where(path="b", plain=False)]
    for turn in range(12):
        for number in range(int(random.integers(2, 8))):
            count = int(random.integers(1, 30))
            plain = tuple(bool(one) for one in random.random(count) < 0.1)
            index.add(some(seed + 100 * turn + number, count), folder=str(random.choice([*"abcd"])), plain=plain)
        if random.random() < 0.3:
            index.purge(int(random.choice(list(index.folders))))
        if random.random() < 0.4:
            index.hide(int(random.choice(list(index.folders))))
        if turn % 3:
            lists.fold_if_due(index.connection, _D)
        with index.read() as rows:
            for where in conditions:
                query, k = some(seed + turn, 1)[0], int(random.integers(1, 60))
                every = index.right(query, 10_000, where).ids
                without = random.choice(every, size=min(len(every), 20), replace=False)
                right = index.right(query, k, where, without.tolist())
                found = rows.found(query, k, where=where, without=without, exact=False)
                assert {*found.ids.tolist()} <= {*every.tolist()} - {*without.tolist()}
                assert len(found.ids) == len(right.ids)
                shares.append(float(np.isin(right.ids, found.ids).mean()) if len(right.ids) else 1.0)
                assert same(rows.found(query, k, where=where, without=without, exact=True), right)
                assert rows.size(where) == len(index.right(query, 10_000, Where(where.path)).ids)
    assert ("lists looked at" in lists.state(index.connection)) == (lists_from == 300)
    assert np.mean(shares) >= (1.0 if lists_from > 300 else 0.95)  # pgvector learns its lists by chance


@pytest.mark.slow
def test_filter_costs_no_hits_and_is_answered_without_lists_if_few_may_be_found(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 1_000)
    random = np.random.default_rng(3)
    spots = some(5, 40)
    for number in range(100):  # each video is in one place, a folder's videos all over
        rows = unit((spots[number % 40] + 0.3 * random.normal(size=(100, _D))).astype(np.float32))
        index.add(rows, folder={0: "rare", 1: "some", 2: "some"}.get(number % 30, "most"))
    index.hide(100)
    assert lists.fold_if_due(index.connection, _D)
    index.connection.execute("VACUUM ANALYZE")
    shares = []
    with index.read() as found_in:
        for seed in range(20):
            query = some(1_000 + seed, 1)[0]
            for path in ("rare", "some", "none"):
                where = Where(path=path)
                found = found_in.found(query, 10, where=where, without=_NONE, exact=False)
                assert same(found, index.right(query, 10, where)), path
            hit = found_in.found(query, 10, where=Where(path="most"), without=_NONE, exact=False)
            shares.append(np.isin(index.right(query, 10, Where(path="most")).ids, hit.ids).mean())
            beyond = index.right(query, 500).ids
            assert len(found_in.found(query, 50, where=Where(), without=beyond, exact=False).ids) == 50
    assert np.mean(shares) >= 0.95


def plan(index: Index, statement: SQL, **values: object) -> str:
    query = statement.format(conditions=SQL(""), dimension=Literal(_D))
    lists.look_at(index.connection, 3)
    rows = index.connection.execute(SQL("EXPLAIN ") + query, values, prepare=False).fetchall()
    return "\n".join(row[0] for row in rows)


def test_planner_goes_by_the_lists_where_they_are_meant_and_only_there(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 1_000)
    for number in range(50):
        index.add(some(number, 100))
    lists.fold_if_due(index.connection, _D)
    known = lists.read(index.connection)
    assert known is not None
    assert (known.lists, known.learnt_from, known.count, known.last_segment_id) == (71, 5_000, 5_000, 5_000)
    assert (known.generation, known.recall >= 0.985, 1 <= known.probes <= 71) == (50, True, True)
    query = packing.text(some(0, 1)[0])
    with index.connection.transaction():
        assert f"Index Scan using {known.name} on segments" in plan(index, nearest.BY_LISTS, query=query, most=58)
        assert "lists" not in plan(index, nearest.BY_ALL, query=query, most=58)


def test_lists_are_made_from_so_many_on_and_anew_when_these_have_doubled(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 400)
    index.add(some(0, 399))
    assert not lists.fold_if_due(index.connection, _D)
    assert lists.state(index.connection) == "399 vectors in PostgreSQL, exact"
    index.add(some(1, 1))
    assert lists.fold_if_due(index.connection, _D)
    first = lists.read(index.connection)
    assert first is not None
    assert (first.lists, first.learnt_from) == (20, 400)
    assert not lists.fold_if_due(index.connection, _D)
    index.add(some(2, 51))
    assert lists.fold_if_due(index.connection, _D)  # probes only
    second = lists.read(index.connection)
    assert second is not None
    assert (second.name, second.learnt_from, second.count) == (first.name, 400, 451)
    index.add(some(3, 349))
    with index.read() as before:  # who reads meanwhile has the state of before
        assert before.size(Where()) == 800
    assert lists.fold_if_due(index.connection, _D)
    third = lists.read(index.connection)
    assert third is not None
    assert (third.name != first.name, third.lists, third.learnt_from) == (True, 28, 800)
    assert lists.state(index.connection) == (
        f"800 vectors in PostgreSQL, halves; {third.probes} of 28 lists looked at, recall@10 {third.recall:.3f}"
    )
    names = index.connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'ix_segments_lists%'").fetchall()
    assert names == [(third.name,)]


def test_rebuild_makes_lists_anew_or_removes_those_of_few(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 400)
    index.add(some(0, 500))
    first, second = (lists.rebuild(index.connection, _D) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.name != second.name
    assert lists.recall(index.connection, _D) == pytest.approx(second.recall, abs=1e-4)
    monkeypatch.setattr(lists, "LISTS_FROM", 501)
    assert lists.rebuild(index.connection, _D) is None
    assert lists.recall(index.connection, _D) is None
    assert lists.state(index.connection) == "500 vectors in PostgreSQL, exact"


def test_lists_of_a_killed_writer_are_not_used_and_removed_by_the_next(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 400)
    index.add(some(0, 500))
    with psycopg.connect(index.location) as reader, psycopg.connect(index.location, autocommit=True) as writer:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1 FROM cezsar.segments")  # the build waits for its end
        writer.execute("SET search_path = cezsar, public; SET lock_timeout = '200ms'")
        build = SQL("CREATE INDEX CONCURRENTLY {} ON segments USING ivfflat ({} halfvec_ip_ops)")
        with pytest.raises(errors.LockNotAvailable):
            writer.execute(build.format(Identifier("ix_segments_lists_9"), SQL("(vector::halfvec(16))")))
    known = "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname LIKE '%lists%'"
    assert ("ix_segments_lists_9", False) in index.connection.execute(known).fetchall()
    query = some(9, 1)[0]
    with index.read() as rows:
        assert same(rows.found(query, 10, where=Where(), without=_NONE, exact=False), index.right(query, 10))
    assert lists.fold_if_due(index.connection, _D)
    made = lists.read(index.connection)
    assert made is not None
    assert ("ix_segments_lists_9", False) not in index.connection.execute(known).fetchall()
    assert (made.name, True) in index.connection.execute(known).fetchall()


def test_lists_stay_as_they_are_if_somebody_reads_for_very_long(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 400)
    monkeypatch.setattr(lists, "_PATIENCE", "200ms")
    index.add(some(0, 500))
    first = lists.rebuild(index.connection, _D)
    with index.read() as rows:
        rows.size(Where())
        assert lists.rebuild(index.connection, _D) == first
    assert lists.read(index.connection) == first
    assert lists.rebuild(index.connection, _D) != first


def test_account_that_may_only_select_searches_with_lists(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 400)
    index.add(some(0, 500))
    lists.rebuild(index.connection, _D)
    index.connection.execute(
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA cezsar TO reader;"
        "GRANT SELECT ON ALL TABLES IN SCHEMA cezsar TO reader"
    )
    query = index.segments[7][0]
    try:
        with index.read(index.location.replace("postgres@", "reader@")) as rows:
            found = rows.found(query, 10, where=Where(), without=_NONE, exact=False)
            assert (found.ids[0], found.scores[0], len(found.ids)) == (7, 1.0, 10)
            assert rows.size(Where()) == 500
    finally:
        index.connection.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_dimension_beyond_what_pgvector_indexes_stays_exact() -> None:
    assert [lists.has_lists(dimension) for dimension in (384, 4_000, 4_001)] == [True, True, False]


def test_catalog_makes_lists_and_searches_by_them(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 400)
    rows, location = some(3, 600), located(database)
    shows = Embedding(600.0, tuple(Segment(float(i), i + 1.0) for i in range(600)), tuple(range(600)), rows)
    file = File(b"/videos", b"1.mp4", 1, 1)
    with store.create(location, EncoderIdentity("toy", "0" * 64, _D, "visual"), Sampling()) as catalog:
        assert not catalog.fold_if_due()
        assert catalog.rebuild() is None
        assert catalog.cache_state() == "0 vectors in PostgreSQL, exact"
        catalog.write(lambda writer: writer.add_video(file, bytes(32), shows))
        assert catalog.fold_if_due()
        made = catalog.rebuild()
        assert made is not None
        assert (made.count, made.num_bytes > 600 * 2 * _D) == (600, True)
    with store.open(location) as catalog:
        assert re.fullmatch(
            r"600 vectors in PostgreSQL, halves; \d+ of 24 lists looked at, recall@10 (0.9\d\d|1.000)",
            catalog.cache_state(),
        )
        assert maintenance.verify(catalog).problems == ()
        with catalog.read() as state:
            assert state.nearest(rows[7], 1).ids.tolist() == [8]
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE cezsar.lists SET probes = 1")
    with store.open(location) as catalog:
        (problem,) = maintenance.verify(catalog).problems
        assert re.fullmatch(
            r"the lists find 0\.\d{3} of the ten nearest, less than 0\.95; `cezsar rebuild` makes them anew", problem
        )
