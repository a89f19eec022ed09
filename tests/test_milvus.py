"""Milvus as a cache beside PostgreSQL: the answers of every vector, whatever becomes of the cache.

The server is the standalone Milvus 2.3.5 that PyPI's package carries.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from cezsar import maintenance, store
from cezsar.errors import CacheUnusable
from cezsar.location import located
from cezsar.store import Embedding, File, Where
from cezsar.store.sql import lists
from cezsar.store.sql.milvus import Milvus
from cezsar.types import EncoderIdentity, Sampling, Segment, Vectors, unit

_D = 16
_TOY = EncoderIdentity("toy", "0" * 64, _D, "visual")


def some(seed: int, count: int) -> Vectors:
    """Unit vectors (count, 16) around forty middles."""
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(size=(40, _D))
    return unit((middles[rng.integers(40, size=count)] + rng.normal(size=(count, _D)) / 2).astype(np.float32))


def add(catalog: store.Catalog, name: str, vectors: Vectors, *, num_plain: int = 0) -> int:
    times = tuple(Segment(4.0 * number, 4.0 * number + 8) for number in range(len(vectors)))
    plain = tuple(number < num_plain for number in range(len(vectors)))
    shows = Embedding(times[-1].end_s, times, tuple(range(len(times))), vectors, plain=plain)
    file = File(b"/videos", name.encode(), 1, 1)
    return catalog.write(lambda writer: writer.add_video(file, name.encode().ljust(32, b"\0"), shows))


def found(catalog: store.Catalog, query: Vectors, k: int = 10, **more: object) -> list[tuple[int, float]]:
    with catalog.read() as rows:
        answer = rows.nearest(query, k, **more)  # type: ignore[arg-type]
    return list(zip(answer.ids.tolist(), answer.scores.tolist(), strict=True))


def agreement(catalog: store.Catalog, **more: object) -> float:
    """The share of the ten nearest of every vector that a search finds; what it finds has the same scores."""
    shares = []
    for query in some(7, 20):
        right, ours = dict(found(catalog, query, exact=True, **more)), dict(found(catalog, query, **more))
        assert len(right) == len(ours) == 10
        assert all(right[number] == score for number, score in ours.items() if number in right)
        shares.append(len(right.keys() & ours.keys()) / 10)
    return float(np.mean(shares))


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LISTS_FROM", 400)


@pytest.fixture
def location(database: str, milvus: str) -> str:
    return f"{database}&vectors=milvus://{milvus}/test"


@pytest.fixture
def catalog(location: str) -> Iterator[store.Catalog]:
    """Three videos of 2,000, 900 and 100 segments, with ids by and by, in the cache."""
    with store.create(located(location), _TOY, Sampling()) as made:
        assert not made.fold_if_due()
        assert made.cache_state() == "0 vectors in PostgreSQL; no collection in Milvus yet, 400 segments make one"
        vectors = some(1, 3_000)
        add(made, "a/1.mp4", vectors[:2_000], num_plain=30)
        add(made, "b/2.mp4", vectors[2_000:2_900])
        add(made, "c/3.mp4", vectors[2_900:])
        assert made.fold_if_due()
        assert not made.fold_if_due()
        yield made
        made.drop_cache()


@pytest.mark.slow
def test_answers_are_those_of_every_vector(catalog: store.Catalog, location: str) -> None:
    vectors = some(1, 3_000)
    assert found(catalog, vectors[7], 1) == [(8, 1.0)]
    assert re.fullmatch(
        r"3,000 vectors in Milvus, 8-bit codes, \d+ of 55 lists looked at, recall@10 (0.9\d\d|1.000); "
        "0 newer ones read from PostgreSQL",
        catalog.cache_state(),
    )
    assert agreement(catalog) >= 0.95
    assert agreement(catalog, where=Where(path="/videos/a")) >= 0.95
    assert agreement(catalog, where=Where(path="/videos/a", plain=False)) >= 0.95
    assert agreement(catalog, where=Where(path="/videos/c")) == 1.0  # one by one
    assert agreement(catalog, without=np.array([8, 9, 10])) >= 0.95
    newer = some(2, 50)
    add(catalog, "d/4.mp4", newer)
    assert not catalog.fold_if_due()
    assert found(catalog, newer[9], 1) == [(3_010, 1.0)]
    catalog.write(lambda writer: writer.hide_videos([2]))
    catalog.write(lambda writer: writer.purge_videos([3]))
    assert found(catalog, vectors[2_005], 1) != [(2_006, 1.0)]
    assert found(catalog, vectors[2_905], 1) != [(2_906, 1.0)]
    assert agreement(catalog) >= 0.95
    assert maintenance.verify(catalog).problems == ()
    add(catalog, "e/5.mp4", some(3, 600))
    assert catalog.fold_if_due()
    assert catalog.cache_state().startswith("3,550 vectors in Milvus")
    assert maintenance.verify(catalog).problems == ()
    with store.open(location) as reader:
        assert agreement(reader) >= 0.95
        assert reader.notice is None


@pytest.mark.slow
def test_lost_and_damaged_collection_costs_time_and_no_answer(catalog: store.Catalog, location: str) -> None:
    place = located(location)
    vectors, milvus = some(1, 3_000), Milvus(location.partition("vectors=")[2])
    with psycopg.connect(place.uri, autocommit=True) as connection:  # type: ignore[union-attr]
        ((name,),) = connection.execute("SELECT name FROM cezsar.collections").fetchall()
        milvus.remove(name, np.array([8]))
        assert maintenance.verify(catalog).problems == (
            "1 segments are missing from the cache; `cezsar rebuild` makes it anew",
        )
        milvus.add(name, np.array([8]), vectors[9:10])
        assert maintenance.verify(catalog).problems == (
            "1 vectors differ between the catalog and the cache; `cezsar rebuild` makes it anew",
        )
        connection.execute("UPDATE cezsar.collections SET last_segment_id = 5000")
        milvus.add(name, np.array([4_000]), vectors[9:10])
        assert maintenance.verify(catalog).problems[1:] == (
            "1 vectors in the cache have no segment; `cezsar rebuild` makes it anew",
        )
        assert found(catalog, vectors[9], 2) == found(catalog, vectors[9], 2, exact=True)
        assert catalog.notice == (
            "The cache is not used: it holds segments that the catalog does not. `cezsar rebuild` makes it anew."
        )
        milvus.drop(name)
        assert found(catalog, vectors[7], 1) == [(8, 1.0)]
        assert agreement(catalog) == 1.0
        assert catalog.notice is not None
        assert f"milvus at {milvus.place}" in catalog.notice.lower()
        assert maintenance.verify(catalog).problems[0].startswith("the cache cannot be used: Milvus at ")
        connection.execute("INSERT INTO cezsar.collections (name) VALUES ('test_of_a_killed_writer')")
        milvus.make("test_of_a_killed_writer", _D)
        assert catalog.fold_if_due()
        assert not milvus.has("test_of_a_killed_writer")
        assert maintenance.verify(catalog).problems == ()
        assert found(catalog, vectors[7], 1) == [(8, 1.0)]
        assert catalog.notice is None
        catalog.drop_cache()
        assert connection.execute("SELECT count(*) FROM cezsar.collections").fetchall() == [(0,)]
    milvus.close()


def test_milvus_out_of_reach_is_said_and_the_catalog_serves(database: str) -> None:
    location, told = f"{database}&vectors=milvus://127.0.0.1:1/test", list[str]()
    vectors = some(1, 500)
    with store.create(located(location), _TOY, Sampling(), notice=told.append) as made:
        add(made, "a/1.mp4", vectors)
        assert not made.fold_if_due()
        assert found(made, vectors[7], 1) == [(8, 1.0)]
        with pytest.raises(
            CacheUnusable, match=r"Milvus at 127\.0\.0\.1:1: .*\. When it is back, run this command again\."
        ):
            made.rebuild()
    (line,) = told
    assert line.startswith("the cache stays as it is: Milvus at 127.0.0.1:1: ")
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO cezsar.collections VALUES ('test_1', 22, 5, 1.0, 500, 500, 500, 1, clock_timestamp())"
        )
    with store.open(location) as reader:
        assert found(reader, vectors[7], 1) == [(8, 1.0)]
        assert reader.notice is not None
        assert re.fullmatch(
            r"The cache is not used: Milvus at 127\.0\.0\.1:1: .*\. `cezsar rebuild` makes it anew\.", reader.notice
        )
        assert reader.cache_state().startswith("not used: Milvus at 127.0.0.1:1: ")


def test_without_pymilvus_a_line_says_what_adds_it(database: str) -> None:
    code = "import sys; sys.modules['pymilvus'] = None; from cezsar.cli import main; main()"
    command = [sys.executable, "-c", code, "stats", "--index", f"{database}&vectors=milvus://db/films"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", "cezsar: A cache in Milvus needs pymilvus: `pip install 'cezsar[milvus]'` adds it.\n",
    )  # fmt: skip
