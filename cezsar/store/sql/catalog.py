"""An open catalog in a PostgreSQL database: consistent states to read, transactions to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import psycopg
from psycopg import errors, sql

from cezsar.errors import BadIndex, CacheUnusable, IndexDamaged, IndexReadOnly, ServerLost
from cezsar.location import Database
from cezsar.store import identity
from cezsar.store.rows import Rows
from cezsar.store.sql import lists, places, vectors
from cezsar.store.sql.connection import Session, Snapshot, connect, is_lost, schema_of, translated
from cezsar.store.sql.nearest import Chosen, Nearest

if TYPE_CHECKING:
    from cezsar.store.sql.writing import Writing
    from cezsar.store.writer import Writer

_T = TypeVar("_T")
# and the first statement fixes the state, which the generation names
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT generation FROM index_info"
_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = %s AND relkind = 'r'
"""
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1"
_LOCK_PATIENCE_S = 30
_LEAST_RECALL = 0.95  # of lists, below which they are said to be bad


@dataclass(frozen=True, slots=True)
class Made:
    """What rebuild() made."""

    count: int
    num_bytes: int


def _size(session: Session, name: str) -> int:
    (found,) = session.execute("SELECT pg_relation_size(to_regclass(quote_ident(%s)))", (name,)).fetchone() or (0,)
    return int(found or 0)


@contextmanager
def _told() -> Iterator[None]:
    """What a cache's error is to somebody who asked for nothing but the cache."""
    try:
        yield
    except CacheUnusable as error:
        raise CacheUnusable(f"{error}. When it is back, run this command again.") from None


class Catalog:
    """An open catalog, as protocols.Catalog. place is where it is, index whose it is, if it is the one in use.

    It takes the session as its first one; writing is the right to write, None if it was opened to read.
    """

    def __init__(
        self, place: Database, session: Session, *, index: Database | None = None, writing: Writing | None = None
    ) -> None:
        self.place, self._index, self._writing = place, index or place, writing
        self._cache = None if place.vectors is None else vectors.Cache(place.vectors)
        self._idle = [session]
        self._chosen = Chosen(0)
        with self._snapshot() as snapshot:
            self.info = identity.info(snapshot, place)

    @property
    def notice(self) -> str | None:
        """Why the last search did not use the cache; None if it did, or if there is none."""
        return None if self._cache is None else self._cache.notice

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().close()
        if self._writing is not None:
            self._writing.__exit__()
        if self._cache is not None:
            self._cache.milvus.close()

    @contextmanager
    def read(self) -> Iterator[Rows]:
        """One consistent state: all answers are of the same moment."""
        with self._snapshot() as snapshot:
            dimension, session, cache = self.info.encoder.dimension, snapshot.session, self._cache
            chosen = self._chosen  # another thread may have put that of another generation there
            if chosen.generation != snapshot.generation:
                chosen = self._chosen = Chosen(snapshot.generation)
            yield Rows(
                snapshot,
                dimension,
                lambda rows: Nearest(session, dimension, allowed=rows.videos_where, chosen=chosen, cache=cache),
            )

    @contextmanager
    def _snapshot(self) -> Iterator[Snapshot]:
        with translated(self.place):
            session, generation = self._begun()
            try:
                yield Snapshot(session, generation)
                session.execute("ROLLBACK")
            except BaseException:
                session.close()
                raise
            self._idle.append(session)

    def _begun(self) -> tuple[Session, int]:
        """A session in a transaction, and its generation; one that was idle may have lost its server since."""
        while True:
            try:
                session, was_idle = self._idle.pop(), True
            except IndexError:
                session, was_idle = connect(self.place), False
            try:
                begun = session.execute(_BEGIN)
                begun.nextset()
                (generation,) = begun.fetchone() or (0,)
            except psycopg.Error as error:
                session.close()
                if not (was_idle and is_lost(error)):
                    raise
            else:
                return session, int(generation)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """A session whose statements are transactions of their own."""
        with translated(self.place):
            session = connect(self.place)
            try:
                yield session
            finally:
                session.close()

    def write(self, change: Callable[[Writer], _T]) -> _T:
        """As protocols.Catalog.write. Raises IndexReadOnly if the catalog was opened to read."""
        return self._right().run(change)

    @contextmanager
    def transaction(self) -> Iterator[Writer]:
        """One transaction with a generation of its own, which is not run again: committed at the end, or undone."""
        from cezsar.store.sql.writing import Failed

        try:
            with self._right().transaction() as writer:
                yield writer
        except Failed as failed:
            with translated(self.place):
                raise failed.error from None

    def _right(self) -> Writing:
        if self._writing is None:
            raise IndexReadOnly(f"The index in {self.place} was opened to read, and cannot be written.")
        return self._writing

    def is_current(self) -> bool:
        """Whether this is still the catalog that its index uses."""
        try:
            with self._snapshot() as snapshot:
                in_use = places.in_use(snapshot.session, self._index)
                return in_use == self.place and identity.info(snapshot, self.place).index_id == self.info.index_id
        except IndexDamaged:  # its tables have gone
            return False

    def fold_if_due(self) -> bool:
        """Make lists, choose anew how many are looked at, or bring the cache in step, if that is due; whether it was.

        Only for the writer. A cache that is out of reach is left as it is: searches go on without it.
        """
        try:
            with self._session() as session:
                if self._cache is not None:
                    with self.read() as rows:
                        return vectors.fold_if_due(self._cache, session, rows, self.info.encoder.dimension)
                return lists.fold_if_due(session, self.info.encoder.dimension)
        except ServerLost as error:  # the next look will do
            self._right().wait_for_server(str(error))
            return False
        except CacheUnusable as error:
            self._right().tell(f"the cache stays as it is: {error}")
            return False

    def rebuild(self) -> Made | None:
        """Make the lists anew, or the cache if there is to be one, if segments are enough; only for the writer.

        Raises CacheUnusable if the cache is out of reach.
        """
        with self._session() as session:
            if self._cache is not None:
                with self.read() as rows, _told():
                    kept = vectors.rebuild(self._cache, session, rows, self.info.encoder.dimension)
                # Milvus does not say what it takes: this much are its codes
                return None if kept is None else Made(kept.count, kept.count * self.info.encoder.dimension)
            made = lists.rebuild(session, self.info.encoder.dimension)
            return None if made is None else Made(made.count, _size(session, made.name))

    def drop_cache(self) -> None:
        """Delete the cache, if there is one: nothing else is kept of vectors but what the database makes of them.

        Raises CacheUnusable if it is out of reach.
        """
        if self._cache is not None:
            with self._session() as session, _told():
                vectors.drop(self._cache.milvus, session)

    def scrub(self) -> None:
        """Leave no deleted data in the catalog's tables: have them written anew.

        The server's log and its backups are its administrator's. Raises BadIndex if a reader is in the way for long,
        or there is no room.
        """
        with self._session() as session:
            session.execute(f"SET lock_timeout = '{_LOCK_PATIENCE_S}s'")
            for (name,) in session.execute(_TABLES, (schema_of(self.place),)).fetchall():
                with self._alone():
                    session.execute(sql.SQL("VACUUM (FULL, ANALYZE) {}").format(sql.Identifier(name)))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            yield
        except errors.LockNotAvailable:
            raise BadIndex(
                f"Somebody is reading the index in {self.place}: its tables still hold the deleted rows."
            ) from None

    def cache_state(self) -> str:
        """As protocols.Catalog.cache_state."""
        return self.cache_check()[1]

    def cache_check(self) -> tuple[bool, str]:
        """As protocols.Catalog.cache_check; `cezsar verify` measures the recall of the lists."""
        with self._session() as session:
            if self._cache is None:
                return True, lists.state(session)
            with self.read() as rows:
                return vectors.state(self._cache, session, rows)

    def disagreements(self, rows: Rows) -> list[str]:
        """Vectors that are not of length 1, a cache that has others, and lists that find less than when they were
        made, in words."""
        num_bad, dimension = 0, self.info.encoder.dimension
        for _, some in rows.vectors():
            num_bad += int((~(np.abs(np.linalg.norm(some, axis=1) - 1) < 1e-3)).sum())
        problems = [f"{num_bad} vectors in the catalog are not of length 1"] if num_bad else []
        with self._session() as session:
            if self._cache is None:
                found = lists.recall(session, dimension)
            else:
                problems += vectors.differences(self._cache, session, rows, dimension)
                found = vectors.recall(self._cache, session, dimension)
        if found is not None and found < _LEAST_RECALL:
            problems.append(
                f"the lists find {found:.3f} of the ten nearest, less than {_LEAST_RECALL}; `cezsar rebuild` makes "
                "them anew"
            )
        return problems

    def num_bytes(self) -> int:
        """What the catalog's tables take, with their indices."""
        with self._session() as session:
            (found,) = session.execute(_SIZE, (schema_of(self.place),)).fetchone() or (0,)
        return int(found)

    def was_interrupted(self) -> bool:
        """Whether a writer was killed makes no difference: the database undoes what was not committed."""
        return False

    def why_not_writable(self) -> str | None:
        """What would make this catalog writable; None if it is."""
        with self._session() as session:
            return None if places.is_writable(session) else f"GRANT ALL ON ALL TABLES IN SCHEMA {schema_of(self.place)}"
