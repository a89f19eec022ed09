"""The nearest segments of one state of an index in PostgreSQL: by every vector, by lists (IVFFlat), or by a cache.

Conditions are conditions of the statement. Lists and cache only choose candidates: scores are made of the full vectors
here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import psycopg
from psycopg.sql import SQL, Composable, Composed, Literal

from cezsar.errors import CacheUnusable
from cezsar.store import scores
from cezsar.store.sql import lists, packing, vectors
from cezsar.store.sql.milvus import MOST
from cezsar.store.sql.vectors import Cache, Collection
from cezsar.store.words import Found, Where, kept
from cezsar.types import Ids, Vectors

_SPARE = 8  # candidates more than are asked for: only scores that are nearly equal may be ranked otherwise here
_SPARE_OF_HALVES = 48  # and half as many bits rank a little otherwise than vectors do
_COST = 4  # what a vector costs in its row, if one costs 1 in a list
_FEW = 2_000  # segments that may be found: so many are compared one by one, whatever a cache holds
_LEAST_SHARE = 1 / 50  # and what is less of all: of a cache's candidates too few would be among them
_ALIKE = 1e-5  # distances that pgvector finds nearer to one another than this may be of equal scores

# In this form no join can spoil the order in which lists give their segments.
BY_LISTS = SQL("""
SELECT id, vector_send(vector) FROM (
    SELECT id, vector FROM segments WHERE (SELECT hidden = 0 FROM videos WHERE videos.id = video_id){conditions}
    ORDER BY (vector::halfvec({dimension})) <#> %(query)s::halfvec({dimension}) LIMIT %(most)s
) AS candidates
""")
BY_ALL = SQL("""
SELECT id, vector_send(vector), distance FROM (
    SELECT segments.id, vector, vector <#> %(query)s::vector AS distance
    FROM segments JOIN videos ON videos.id = video_id WHERE hidden = 0{conditions} ORDER BY distance LIMIT %(most)s
) AS candidates
""")
BY_IDS = SQL("""
SELECT segments.id, vector_send(vector) FROM segments JOIN videos ON videos.id = video_id
WHERE hidden = 0 AND segments.id = ANY(%(ids)s::bigint[]){conditions}
""")
_NEWER = SQL(" AND segments.id > %(after)s")
_OF_VIDEOS = SQL(" AND video_id = ANY(%(videos)s::bigint[])")
_PLAIN = SQL(" AND plain = 1")
_NOT_PLAIN = SQL(" AND plain IS DISTINCT FROM 1")
_WITHOUT = SQL(" AND segments.id NOT IN (SELECT unnest(%(without)s::bigint[]))")  # hashed, and in every PostgreSQL
_COUNT = SQL("""
SELECT count(*) FROM segments
WHERE NOT EXISTS (SELECT FROM videos WHERE videos.id = video_id AND hidden = 1){conditions}
""")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What conditions choose in one generation: ids of videos, and numbers of segments; for all its snapshots."""

    generation: int
    videos: dict[Hashable, Sequence[int]] = field(default_factory=dict)
    sizes: dict[Hashable, int] = field(default_factory=dict)


class Nearest:
    """The nearest segments in one snapshot, whose connection has the index's schema first on its search_path.

    allowed gives the ids of the visible videos that a condition allows; chosen keeps them. cache is of all segments up
    to one.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        dimension: int,
        *,
        allowed: Callable[[Where], Sequence[int]],
        chosen: Chosen,
        cache: Cache | None = None,
    ) -> None:
        self._connection, self._dimension, self._allowed, self._cache = connection, dimension, allowed, cache
        self._chosen = chosen

    def found(self, query: Vectors, k: int, *, where: Where, without: Ids, exact: bool) -> Found:
        """As Rows.nearest."""
        conditions, values = self._conditions(where)
        if len(without):
            conditions.append(_WITHOUT)
            values["without"] = np.unique(without).tolist()
        values["query"] = packing.text(query)
        if self._cache is not None and not exact and (collection := self._collection) is not None:
            try:
                found = self._with_cache(self._cache, collection, query, k, where, conditions, values)
            except CacheUnusable as error:
                self._cache.lose(error)
                self._cache = None  # of this snapshot
            else:
                if found is not None:
                    return found
        known = None if exact else self._lists
        if known is None or self._is_narrow(where, known):
            return self._by_all(query, k, conditions, values)
        share = self._size(where) / max(self._size(Where()), 1) if where.names_videos else 1.0
        breadth = max(1.0, (k / 10) ** 0.3) / max(min(share, 1.0), 1 / known.count)
        with self._connection.pipeline():  # two statements, one way there and back
            lists.look_at(self._connection, min(int(np.ceil(known.probes * breadth)), known.lists))
            return self._by_lists(query, k, conditions, values)

    def size(self, where: Where) -> int:
        """The number of visible segments of the videos that where allows."""
        return self._size(replace(where, plain=None))

    @cached_property
    def _collection(self) -> Collection | None:
        return vectors.read(self._connection)

    @cached_property
    def _lists(self) -> lists.Lists | None:
        return lists.read(self._connection)

    def _is_narrow(self, where: Where, known: lists.Lists) -> bool:
        """Whether comparing all that may be found costs less than the lists, of which the more are needed the fewer
        may be found."""
        if not where.names_videos and not where.plain:
            return False
        share = (known.probes / known.lists / _COST) ** 0.5
        return self._size(where) <= known.count * float(share)

    def _size(self, where: Where) -> int:
        asked = where.meaning(), where.plain
        if (size := self._chosen.sizes.get(asked)) is None:
            size = kept(self._chosen.sizes, asked, self._counted(where))
        return size

    def _counted(self, where: Where) -> int:
        if where == Where():
            counted = self._lists or (None if self._cache is None else self._collection)
            if counted is not None:
                return lists.num_visible(self._connection, counted)
        conditions, values = self._conditions(where)
        query = _COUNT.format(conditions=SQL("").join(conditions))
        row = self._connection.execute(query, values, prepare=False).fetchone()
        return int(row[0]) if row else 0

    def _conditions(self, where: Where) -> tuple[list[Composable], dict[str, object]]:
        conditions, values = list[Composable](), dict[str, object]()
        if where.names_videos:
            asked = where.meaning()
            if (videos := self._chosen.videos.get(asked)) is None:
                videos = kept(self._chosen.videos, asked, self._allowed(where))
            conditions.append(_OF_VIDEOS)
            values["videos"] = videos
        if where.plain is not None:
            conditions.append(_PLAIN if where.plain else _NOT_PLAIN)
        return conditions, values

    def _with_cache(
        self,
        cache: Cache,
        known: Collection,
        query: Vectors,
        k: int,
        where: Where,
        conditions: Sequence[Composable],
        values: dict[str, object],
    ) -> Found | None:
        """By the cache's candidates and what is newer; None if too few of them may be found. Raises CacheUnusable."""
        share = 1.0
        if where.names_videos or where.plain:
            size = self._size(where)
            share = size / max(self._size(Where()), 1)
            if size <= _FEW or share < _LEAST_SHARE:
                return None
        most = int(np.ceil(k / min(share, 1.0))) + k // 8 + _SPARE_OF_HALVES
        probes = int(np.ceil(known.probes * max(1.0, (most / (10 + _SPARE_OF_HALVES)) ** 0.3)))
        while True:
            if most > MOST:
                return None
            ids = cache.candidates(known, query, most, probes=probes)
            rows = self._shown(ids[ids <= known.last_segment_id], conditions, values)
            if len(rows) >= k or (len(ids) < most and probes >= known.lists):
                break
            most, probes = 4 * most, 4 * probes
        newer = {**values, "after": known.last_segment_id}
        return self._ranked(query, rows + self._all_rows(k, [*conditions, _NEWER], newer), k)

    def _shown(self, ids: Ids, conditions: Sequence[Composable], values: dict[str, object]) -> list[tuple[Any, ...]]:
        """The rows of a cache's candidates that may be found. Raises CacheUnusable if the catalog never had one."""
        statement = BY_IDS.format(conditions=SQL("").join(conditions))
        rows = self._rows(statement, {**values, "ids": ids.tolist()}, 0)
        lost = np.setdiff1d(ids, np.array([row[0] for row in rows], np.int64))
        if len(lost) and vectors.num_lost(self._connection, lost):
            raise CacheUnusable("it holds segments that the catalog does not")
        return rows

    def _by_lists(self, query: Vectors, k: int, conditions: Sequence[Composable], values: dict[str, object]) -> Found:
        statement = BY_LISTS.format(conditions=SQL("").join(conditions), dimension=Literal(self._dimension))
        rows = self._rows(statement, values, k + k // 8 + _SPARE_OF_HALVES)
        return self._ranked(query, rows, k)

    def _by_all(self, query: Vectors, k: int, conditions: Sequence[Composable], values: dict[str, object]) -> Found:
        return self._ranked(query, self._all_rows(k, conditions, values), k)

    def _all_rows(self, k: int, conditions: Sequence[Composable], values: dict[str, object]) -> list[tuple[Any, ...]]:
        """The k nearest by every vector, and those that may be equal to the last."""
        statement, most = BY_ALL.format(conditions=SQL("").join(conditions)), k + _SPARE
        while True:
            rows = self._rows(statement, values, most)
            if len(rows) < most or rows[-1][2] - rows[k - 1][2] > _ALIKE:
                return rows
            most *= 4  # equal scores are ranked by id: all of them are needed

    def _rows(self, statement: Composed, values: dict[str, object], most: int) -> list[tuple[Any, ...]]:
        # prepared, a statement would soon be planned without a look at its values
        cursor = self._connection.execute(statement, {**values, "most": most}, prepare=False, binary=True)
        return list(cursor.fetchall())

    def _ranked(self, query: Vectors, rows: list[tuple[Any, ...]], k: int) -> Found:
        rows.sort(key=lambda row: int(row[0]))
        ids = np.array([row[0] for row in rows], np.int64)
        return scores.found(query, ids, packing.read([row[1] for row in rows], self._dimension), k)
