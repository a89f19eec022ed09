"""A collection of Milvus as a cache of the vectors, as FAISS is beside SQLite: the rows in PostgreSQL are the truth.

The table collections says up to which segment, and which generation, the collection in use holds the catalog. It is
written last: what a killed writer has added beyond that is added again, and its half-made collection is deleted.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg

from cezsar.errors import CacheMissing, CacheUnusable
from cezsar.store.best import NUM_BEST, Best
from cezsar.store.sql import lists
from cezsar.store.sql.milvus import Milvus
from cezsar.types import Ids, Vectors

if TYPE_CHECKING:
    from cezsar.store.rows import Rows

_SPARE = 48  # candidates more than ten, as nearest asks for
_MOST_LISTS = 4_096
_LONGEST_TAIL = 10_000  # segments, which a search compares one by one in the database
_SAME = 1e-6

TABLE = """
CREATE TABLE collections (
    name TEXT PRIMARY KEY, lists INTEGER, probes INTEGER, recall DOUBLE PRECISION, learnt_from BIGINT,
    count BIGINT, last_segment_id BIGINT, generation BIGINT, folded TIMESTAMPTZ
)
"""
_READ = """
SELECT name, lists, probes, recall, learnt_from, count, last_segment_id, generation,
    folded < clock_timestamp() - interval '1 minute'
FROM collections WHERE folded IS NOT NULL
"""
_USE = """
UPDATE collections SET lists = %(lists)s, probes = %(probes)s, recall = %(recall)s, learnt_from = %(learnt_from)s,
    count = %(count)s, last_segment_id = %(last_segment_id)s, generation = %(generation)s, folded = clock_timestamp()
WHERE name = %(name)s
"""
_LOST = """
SELECT count(*) FROM unnest(%s::bigint[]) AS asked (id)
WHERE NOT EXISTS (SELECT FROM segments WHERE segments.id = asked.id)
    AND NOT EXISTS (SELECT FROM deleted_segments WHERE segment_id = asked.id)
"""
_STILL = "SELECT count(*) FROM segments WHERE id = ANY(%s::bigint[])"


@dataclass(frozen=True, slots=True)
class Collection(lists.Lists):
    """The row about the collection in use, as lists.Lists has it.

    is_settled says whether every copy of it has had the time to see what was added last.
    """

    is_settled: bool = False


class Cache:
    """The cache that a location names, for all snapshots of a catalog; notice says why it is not used."""

    def __init__(self, location: str) -> None:
        self.milvus = Milvus(location)
        self.notice: str | None = None

    def candidates(self, known: Collection, query: Vectors, most: int, *, probes: int) -> Ids:
        """The ids of at most so many near ones; newer ones than known among them. Raises CacheUnusable."""
        (found,) = self.milvus.search(
            known.name, query[None], most, probes=min(probes, known.lists), is_settled=known.is_settled
        )
        self.notice = None
        return found

    def lose(self, error: CacheUnusable) -> None:
        """Note why a search went on without the cache."""
        self.notice = f"The cache is not used: {error}. `cezsar rebuild` makes it anew."


def read(connection: psycopg.Connection[Any]) -> Collection | None:
    """The row about the collection in use; None if there is none."""
    row = connection.execute(_READ).fetchone()
    return None if row is None else Collection(*row)


def num_lost(connection: psycopg.Connection[Any], ids: Ids) -> int:
    """How many of these segments the catalog has never had."""
    (found,) = connection.execute(_LOST, (ids.tolist(),)).fetchone() or (0,)
    return int(found)


def fold_if_due(cache: Cache, connection: psycopg.Connection[Any], rows: Rows, dimension: int) -> bool:
    """Bring the collection in step if an eighth of it, or very much, came or went since; whether it was.

    It is made anew if it has gone, or if there are twice as many segments as its lists were learnt from. Only for the
    writer; connection commits by itself. Raises CacheUnusable.
    """
    known = read(connection)
    if known is None and rows.num_segments_after(0) < lists.LISTS_FROM:
        return False
    _forget_others(cache.milvus, connection)
    if known is None or not cache.milvus.has(known.name):
        return rebuild(cache, connection, rows, dimension) is not None
    behind, gone = rows.num_segments_after(known.last_segment_id), _gone(rows, known)
    if behind + len(gone) <= min(known.count / 8, _LONGEST_TAIL):
        return False
    if known.count + behind - len(gone) >= 2 * known.learnt_from:
        return rebuild(cache, connection, rows, dimension) is not None
    last, num_added = _fill(cache.milvus, known.name, rows, after=known.last_segment_id)
    cache.milvus.remove(known.name, gone)
    cache.milvus.keep(known.name)
    count = known.count + num_added - len(gone)
    made = _measured(cache.milvus, connection, dimension, known, count, last, rows.generation())
    connection.execute(_USE, asdict(made))
    return True


def rebuild(cache: Cache, connection: psycopg.Connection[Any], rows: Rows, dimension: int) -> Collection | None:
    """Make a collection anew and use it, or none if there are few segments; as fold_if_due."""
    milvus = cache.milvus
    _forget_others(milvus, connection)
    if rows.num_segments_after(0) < lists.LISTS_FROM:
        drop(milvus, connection)
        return None
    name = f"{milvus.name}_{uuid.uuid4().hex[:12]}"
    connection.execute("INSERT INTO collections (name) VALUES (%s)", (name,))
    milvus.make(name, dimension)
    last, count = _fill(milvus, name, rows, after=0)
    milvus.keep(name)
    num_lists = max(1, min(round(count**0.5), _MOST_LISTS))
    milvus.arrange(name, num_lists)
    made = Collection(name, num_lists, num_lists, 1.0, count, count, last, rows.generation())
    made = _measured(milvus, connection, dimension, made, count, last, rows.generation())
    with connection.transaction():
        connection.execute("UPDATE collections SET folded = NULL")
        connection.execute(_USE, asdict(made))
    _forget_others(milvus, connection)
    return made


def drop(milvus: Milvus, connection: psycopg.Connection[Any]) -> None:
    """Delete the catalog's collections. Raises CacheUnusable."""
    connection.execute("UPDATE collections SET folded = NULL")
    _forget_others(milvus, connection)


def state(cache: Cache, connection: psycopg.Connection[Any], rows: Rows) -> tuple[bool, str]:
    """Whether the collection can be used, and in a few words what it holds, or why not."""
    try:
        known = _used(cache, connection)
    except CacheMissing as error:
        return True, f"{rows.num_segments_after(0):,} vectors in PostgreSQL; {error}"
    except CacheUnusable as error:
        return False, f"not used: {error}; `cezsar rebuild` makes it anew"
    how = f"8-bit codes, {known.probes} of {known.lists:,} lists looked at, recall@10 {known.recall:.3f}"
    behind = rows.num_segments_after(known.last_segment_id)
    return True, f"{known.count:,} vectors in Milvus, {how}; {behind:,} newer ones read from PostgreSQL"


def differences(cache: Cache, connection: psycopg.Connection[Any], rows: Rows, dimension: int) -> list[str]:
    """In words, where the collection does not agree with the rows; every id and vector is compared."""
    try:
        known = _used(cache, connection)
        return _differences(cache.milvus, known, connection, rows, dimension)
    except CacheMissing:
        return []
    except CacheUnusable as error:
        return [f"the cache cannot be used: {error}; `cezsar rebuild` makes it anew"]


def recall(cache: Cache, connection: psycopg.Connection[Any], dimension: int) -> float | None:
    """The recall@10 that searches reach now, measured; None if there is no collection that can be used."""
    try:
        known = _used(cache, connection)
        with connection.transaction():
            best = lists.exact(connection, dimension, known.count)
        return _recall(cache.milvus, known, best, known.probes)
    except CacheUnusable:
        return None


def _used(cache: Cache, connection: psycopg.Connection[Any]) -> Collection:
    """The row about the collection in use, which is there. Raises CacheMissing, CacheUnusable."""
    known = read(connection)
    if known is None:
        raise CacheMissing(f"no collection in Milvus yet, {lists.LISTS_FROM:,} segments make one")
    if not cache.milvus.has(known.name):
        raise CacheUnusable(f"Milvus at {cache.milvus.place} has no collection {known.name}")
    return known


def _differences(
    milvus: Milvus, known: Collection, connection: psycopg.Connection[Any], rows: Rows, dimension: int
) -> list[str]:
    num_missing = num_other = num_unknown = after = 0
    for ids, vectors in rows.vectors():
        upto = min(int(ids[-1]), known.last_segment_id)
        ids, vectors = ids[ids <= upto], vectors[ids <= upto]
        missing, other, unknown = _compared(milvus, known, connection, ids, vectors, after=after, last=upto)
        num_missing, num_other, num_unknown = num_missing + missing, num_other + other, num_unknown + unknown
        after = upto
    if after < known.last_segment_id:
        held, _ = milvus.held(known.name, after=after, last=known.last_segment_id, dimension=dimension)
        num_unknown += num_lost(connection, held)
    found = (
        (num_missing, "segments are missing from the cache"),
        (num_other, "vectors differ between the catalog and the cache"),
        (num_unknown, "vectors in the cache have no segment"),
    )
    return [f"{count} {what}; `cezsar rebuild` makes it anew" for count, what in found if count]


def _compared(
    milvus: Milvus,
    known: Collection,
    connection: psycopg.Connection[Any],
    ids: Ids,
    vectors: Vectors,
    *,
    after: int,
    last: int,
) -> tuple[int, int, int]:
    """How many of these segments a stretch of the collection lacks, has otherwise, and has too many."""
    held, kept = milvus.held(known.name, after=after, last=last, dimension=vectors.shape[1])
    both, here, there = np.intersect1d(ids, held, assume_unique=True, return_indices=True)
    other = int((~(np.abs(vectors[here] - kept[there]) <= _SAME).all(axis=1)).sum())
    unknown = np.setdiff1d(held, both, assume_unique=True)
    missing = np.setdiff1d(ids, both, assume_unique=True)  # some may have been deleted meanwhile
    (num_missing,) = connection.execute(_STILL, (missing.tolist(),)).fetchone() or (0,)
    return int(num_missing), other, num_lost(connection, unknown) if len(unknown) else 0


def _forget_others(milvus: Milvus, connection: psycopg.Connection[Any]) -> None:
    """Delete collections that are not in use: of a writer that was killed while it made them, or of before."""
    for (name,) in connection.execute("SELECT name FROM collections WHERE folded IS NULL").fetchall():
        milvus.drop(name)
        connection.execute("DELETE FROM collections WHERE name = %s", (name,))


def _fill(milvus: Milvus, name: str, rows: Rows, *, after: int) -> tuple[int, int]:
    """Add the segments above an id; the last one's id, and how many they were."""
    last, count = after, 0
    for ids, vectors in rows.vectors(after=after):
        milvus.add(name, ids, vectors)
        last, count = int(ids[-1]), count + len(ids)
    return last, count


def _gone(rows: Rows, known: Collection) -> Ids:
    """The segments of the collection that were deleted since."""
    ids, _ = rows.deleted(since=known.generation)
    return ids[ids <= known.last_segment_id]


def _measured(
    milvus: Milvus,
    connection: psycopg.Connection[Any],
    dimension: int,
    known: Collection,
    count: int,
    last: int,
    generation: int,
) -> Collection:
    """The row with as many probes as find nearly all of the nearest, and what the collection holds now."""
    with connection.transaction():
        best = lists.exact(connection, dimension, count)
    probes, found = lists.least_probes(lambda probes: _recall(milvus, known, best, probes), known.lists)
    return Collection(
        known.name, known.lists, probes, round(found, 4), known.learnt_from, count, last, generation, is_settled=False
    )


def _recall(milvus: Milvus, known: Collection, best: Best, probes: int) -> float:
    return best.recall(milvus.search(known.name, best.queries, NUM_BEST + _SPARE, probes=probes))
