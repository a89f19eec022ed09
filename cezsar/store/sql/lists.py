"""The lists (IVFFlat) in which pgvector looks for the nearest of many segments, and how many of them it must look at.

They hold half as many bits as the vectors (halfvec). An index of few segments has none, and every vector is compared.
HNSW is no choice: of vectors like these it finds two of three at best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import psycopg
from psycopg import errors
from psycopg.sql import SQL, Composed, Identifier, Literal

from cezsar.store.best import NUM_BEST, Best
from cezsar.store.sql import packing
from cezsar.types import Ids, Vectors, unit

LISTS_FROM = 50_000  # segments: from here on comparing every vector takes a few times as long as lists do
_QUERIES = 100  # that probes are chosen by: each is the middle of so many vectors
_MIDDLE_OF = 4  # then as many lists are needed as for sentences; for the middle of two, a third of them
_RECALL = 0.985  # of their ten nearest
_SPARE = 48  # candidates more than ten, as nearest asks for
_MOST_LISTS = 2_000  # k-means of so many takes 1 GB of the server's memory
_SAMPLE_PER_LIST = 50  # of pgvector
_LONGEST_TAIL = 1 / 8  # of what was counted last
_CHUNK = 10_000  # vectors that are read at once
_PATIENCE = "10min"  # for those who still read what was before
_MOST_OF_HALVES = 4_000  # dimensions that pgvector can index
_SEED = 0

TABLE = """
CREATE TABLE lists (
    id SMALLINT PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL,
    lists INTEGER NOT NULL, probes INTEGER NOT NULL, recall DOUBLE PRECISION NOT NULL, learnt_from BIGINT NOT NULL,
    count BIGINT NOT NULL, last_segment_id BIGINT NOT NULL, generation BIGINT NOT NULL
)
"""
_OURS = """
SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
WHERE indrelid = 'segments'::regclass AND amname = 'ivfflat'
"""
_READ = """
SELECT name, lists, probes, recall, learnt_from, count, last_segment_id, generation FROM lists
WHERE EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(quote_ident(name)) AND indisvalid)
"""
_VISIBLE = """
SELECT %(count)s
    + (SELECT count(*) FROM segments WHERE id > %(last_segment_id)s)
    - (SELECT count(*) FROM deleted_segments WHERE generation > %(generation)s AND segment_id <= %(last_segment_id)s)
    - (SELECT count(*) FROM videos JOIN segments ON video_id = videos.id WHERE hidden = 1)
"""
_KEEP = """
INSERT INTO lists (id, name, lists, probes, recall, learnt_from, count, last_segment_id, generation)
VALUES (1, %(name)s, %(lists)s, %(probes)s, %(recall)s, %(learnt_from)s, %(count)s, %(last_segment_id)s, %(generation)s)
ON CONFLICT (id) DO UPDATE SET (name, lists, probes, recall, learnt_from, count, last_segment_id, generation) =
    (excluded.name, excluded.lists, excluded.probes, excluded.recall, excluded.learnt_from, excluded.count,
    excluded.last_segment_id, excluded.generation)
"""
_COUNTED = "SELECT count(*), coalesce(max(id), 0), (SELECT generation FROM index_info) FROM segments"
_SAMPLE = SQL("SELECT vector_send(vector) FROM segments TABLESAMPLE SYSTEM ({percent}) REPEATABLE ({seed})")
_BUILD = SQL("""
CREATE INDEX CONCURRENTLY {name} ON segments
USING ivfflat ((vector::halfvec({dimension})) halfvec_ip_ops) WITH (lists = {lists})
""")
_NEAREST = SQL("""
SELECT id FROM segments ORDER BY (vector::halfvec({dimension})) <#> %s::halfvec({dimension}) LIMIT {most}
""")


@dataclass(frozen=True, slots=True)
class Lists:
    """The row about the lists: their index, how many there are, how many a search looks at, and its recall@10.

    learnt_from is the number of segments that there were when they were made. count is how many segments there were,
    hidden ones too, at a generation, whose last one is last_segment_id.
    """

    name: str
    lists: int
    probes: int
    recall: float
    learnt_from: int
    count: int
    last_segment_id: int
    generation: int


class Counted(Protocol):
    """How many segments there were at a generation, hidden ones too, and the last one's id."""

    @property
    def count(self) -> int: ...

    @property
    def last_segment_id(self) -> int: ...

    @property
    def generation(self) -> int: ...


def has_lists(dimension: int) -> bool:
    """Whether pgvector can put vectors of this dimension into lists."""
    return dimension <= _MOST_OF_HALVES


def read(connection: psycopg.Connection[Any]) -> Lists | None:
    """The row about the lists; None if there are none that could be used."""
    row = connection.execute(_READ).fetchone()
    return None if row is None else Lists(*row)


def num_visible(connection: psycopg.Connection[Any], known: Counted) -> int:
    """The number of visible segments, of which only those are counted that came or went since they were counted."""
    values = {"count": known.count, "last_segment_id": known.last_segment_id, "generation": known.generation}
    row = connection.execute(_VISIBLE, values).fetchone()
    return int(row[0]) if row else 0


def look_at(connection: psycopg.Connection[Any], probes: int) -> None:
    """Let searches of this transaction look at so many lists first, and at more until they have all they ask for."""
    connection.execute(
        "SELECT set_config('ivfflat.probes', %s, true), set_config('ivfflat.iterative_scan', 'relaxed_order', true)",
        (str(probes),),
    )


def state(connection: psycopg.Connection[Any]) -> str:
    """The lists in a few words, or that there are none."""
    known = read(connection)
    if known is None:
        row = connection.execute("SELECT count(*) FROM segments").fetchone()
        return f"{row[0] if row else 0:,} vectors in PostgreSQL, exact"
    how = f"{known.probes} of {known.lists:,} lists looked at, recall@10 {known.recall:.3f}"
    return f"{num_visible(connection, known):,} vectors in PostgreSQL, halves; {how}"


def fold_if_due(connection: psycopg.Connection[Any], dimension: int) -> bool:
    """Make lists if there are segments enough, and anew if there are twice as many as they were learnt from; choose
    probes anew if an eighth came or went. Whether anything was done.

    Only for the writer; connection is in no transaction, and commits by itself. What a killed writer has left is
    removed first. Readers see the old lists until the new ones are ready; if one of them reads for very long, the lists
    stay as they are.
    """
    _forget_others(connection)
    known = read(connection)
    count, *_ = counted(connection)
    if not has_lists(dimension) or (known is None and count < LISTS_FROM):
        return False
    if known is None or count >= 2 * known.learnt_from:
        rebuild(connection, dimension)
    elif abs(count - known.count) > known.count * _LONGEST_TAIL:
        _keep(connection, _measured(connection, dimension, known))
    else:
        return False
    return True


def rebuild(connection: psycopg.Connection[Any], dimension: int) -> Lists | None:
    """Make the lists anew, or none if there are few segments; as fold_if_due."""
    _forget_others(connection)
    known = read(connection)
    count, last_segment_id, generation = counted(connection)
    if not has_lists(dimension) or count < LISTS_FROM:
        connection.execute("DELETE FROM lists")
        _forget_others(connection)
        return None
    num_lists = max(1, min(round(count**0.5), _MOST_LISTS))
    name = f"ix_segments_lists_{generation}" if known is None else _other_than(known.name, generation)
    if not _build(connection, name, dimension, num_lists):
        return known
    # searches may look at the new lists from now on, and the probes of the old ones were too few
    probes = min(2 * known.probes, num_lists) if known else num_lists
    made = Lists(name, num_lists, probes, 1.0, count, count, last_segment_id, generation)
    if known is not None:
        _keep(connection, made)
        _forget_others(connection)
    made = _measured(connection, dimension, made)
    _keep(connection, made)
    connection.execute("ANALYZE segments, videos")
    return made


def recall(connection: psycopg.Connection[Any], dimension: int) -> float | None:
    """The recall@10 that searches reach now, measured; None if every vector is compared."""
    known = read(connection)
    if known is None:
        return None
    with connection.transaction():
        return _recall(connection, dimension, exact(connection, dimension, known.count), known.probes)


def _other_than(name: str, generation: int) -> str:
    return other if (other := f"ix_segments_lists_{generation}") != name else f"{name}_"


def counted(connection: psycopg.Connection[Any]) -> tuple[int, int, int]:
    """The number of segments, hidden ones too, the last one's id, and the generation."""
    row = connection.execute(_COUNTED).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def _keep(connection: psycopg.Connection[Any], known: Lists) -> None:
    connection.execute(_KEEP, asdict(known))


def _forget_others(connection: psycopg.Connection[Any]) -> None:
    """Remove lists that are not in use: of a writer that was killed while it made them, or of before.

    They stay for a while longer if somebody reads for very long.
    """
    known = read(connection)
    for name, _ in connection.execute(_OURS).fetchall():
        if known is None or name != known.name:
            _patiently(connection, SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(Identifier(name)))


def _build(connection: psycopg.Connection[Any], name: str, dimension: int, num_lists: int) -> bool:
    """Make an index; whether it is there."""
    sampled = max(num_lists * _SAMPLE_PER_LIST, 10_000)
    memory = sampled * (4 * num_lists + 2 * dimension + 64) + 16 * num_lists * (num_lists + dimension)
    connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", (f"{64 + memory // 800_000}MB",))
    values = {"name": Identifier(name), "dimension": Literal(dimension), "lists": Literal(num_lists)}
    is_made = _patiently(connection, _BUILD.format(**values))
    connection.execute("RESET maintenance_work_mem")
    return is_made


def _patiently(connection: psycopg.Connection[Any], statement: Composed) -> bool:
    """Execute what waits for all who read now; whether that could be waited for."""
    connection.execute("SELECT set_config('lock_timeout', %s, false)", (_PATIENCE,))
    try:
        connection.execute(statement)
    except errors.LockNotAvailable:
        return False
    finally:
        if not connection.broken:
            connection.execute("RESET lock_timeout")
    return True


def _measured(connection: psycopg.Connection[Any], dimension: int, known: Lists) -> Lists:
    """The lists with as many probes as find _RECALL of the nearest, the recall that these reach, and new counts."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        count, last_segment_id, generation = counted(connection)
        best = exact(connection, dimension, count)
        probes, found = least_probes(lambda probes: _recall(connection, dimension, best, probes), known.lists)
    return replace(
        known,
        probes=probes,
        recall=round(found, 4),
        count=count,
        last_segment_id=last_segment_id,
        generation=generation,
    )


def least_probes(recall: Callable[[int], float], most: int) -> tuple[int, float]:
    """How many of most lists have to be looked at to find _RECALL of the nearest, and the recall that this reaches."""
    chosen = 1
    while (found := recall(min(chosen, most))) < _RECALL and chosen < most:
        chosen += 1 + chosen // 4
    return min(chosen, most), found


def _recall(connection: psycopg.Connection[Any], dimension: int, best: Best, probes: int) -> float:
    connection.execute(
        "SELECT set_config('ivfflat.probes', %s, true), set_config('ivfflat.iterative_scan', 'off', true)",
        (str(probes),),
    )
    statement = _NEAREST.format(dimension=Literal(dimension), most=Literal(NUM_BEST + _SPARE))
    found = [
        np.array([row[0] for row in connection.execute(statement, (packing.text(query),), prepare=False)], np.int64)
        for query in best.queries
    ]
    return best.recall(found)


def exact(connection: psycopg.Connection[Any], dimension: int, count: int) -> Best:
    """Queries, and the nearest of each among all segments.

    A sentence lies beside the vectors of videos, not among them: a search for vectors among their own neighbours would
    be too easy.
    """
    percent = min(100.0, 100 * 20 * _MIDDLE_OF * _QUERIES / max(count, 1))
    sample = _SAMPLE.format(percent=Literal(percent), seed=Literal(_SEED))
    some = packing.read([row[0] for row in connection.execute(sample, binary=True)], dimension)
    chosen = np.random.default_rng(_SEED).integers(len(some), size=(_MIDDLE_OF, _QUERIES))
    best = Best(unit(some[chosen].sum(axis=0)))
    for ids, rows in _all(connection, dimension):
        best.add(ids, rows)
    return best


def _all(connection: psycopg.Connection[Any], dimension: int) -> Iterator[tuple[Ids, Vectors]]:
    """The ids and vectors of all segments, in any order, in bounded chunks."""
    with connection.cursor(name="segments", binary=True) as cursor:
        cursor.execute("SELECT id, vector_send(vector) FROM segments")
        while rows := cursor.fetchmany(_CHUNK):
            yield np.array([row[0] for row in rows], np.int64), packing.read([row[1] for row in rows], dimension)
