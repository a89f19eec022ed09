"""An open catalog: consistent states to read, transactions to write."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cezsar.errors import BadIndex, CacheMissing, CacheUnusable, IndexDamaged, IndexReadOnly
from cezsar.store import identity
from cezsar.store.local import homes, keeping, stamp
from cezsar.store.local.cache import Cache, build
from cezsar.store.local.connection import is_still, is_writable, open_file, prepare, translated
from cezsar.store.local.homes import FILE
from cezsar.store.local.lock import WriterLock, was_interrupted
from cezsar.store.local.nearest import Nearest, States
from cezsar.store.local.stamp import Stamp
from cezsar.store.rows import Rows

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from cezsar.store.writer import Writer

_T = TypeVar("_T")


class Catalog:
    """An open catalog. read() gives a consistent state; write() one transaction, all or nothing.

    directory is the folder of this very catalog, and index that of its index, if this is the catalog in use. cores is
    the most threads of one search, None for all. Reading needs no SQLAlchemy, which takes longer to load than
    a query takes.
    """

    def __init__(
        self, directory: Path, lock: WriterLock | None = None, *, index: Path | None = None, cores: int | None = None
    ) -> None:
        self._idle: list[sqlite3.Connection] = []
        self._lock = lock
        self.directory, self._index = directory, index or directory
        self._state = homes.state(self._index)
        with self._snapshot() as connection:
            self.info = identity.info(connection, directory)
        self._states = States(directory, self.info, cores=cores)

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().close()
        if "_engine" in self.__dict__:
            self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    @property
    def place(self) -> Path:
        """As Catalog.place."""
        return self.directory

    def is_current(self) -> bool:
        """Whether this is still the catalog that its index uses. Raises IndexDamaged."""
        return homes.state(self._index) == self._state

    def num_bytes(self) -> int:
        """What the files in the catalog's folder take."""
        num_bytes = 0
        for file in self.directory.iterdir():
            with suppress(FileNotFoundError):  # a writer's, which has ended
                num_bytes += file.stat().st_size if file.is_file() else 0
        return num_bytes

    def was_interrupted(self) -> bool:
        """Whether the last writer was killed, and no writer has settled that since."""
        return was_interrupted(self.directory)

    def why_not_writable(self) -> str | None:
        """The command that would make the catalog's folder writable; None if it is."""
        return None if is_writable(self.directory) else f"chmod u+w {self.directory}"

    @property
    def notice(self) -> str | None:
        """Why the last search did not use the cache; None if it did. The answers are the same, only slower."""
        return self._states.notice

    def open_cache(self, rows: Rows) -> Cache:
        """The cache of a state that has given no answer yet. Raises CacheUnusable with the reason."""
        return keeping.opened(self.directory, rows, self.info)

    def cache_state(self) -> str:
        """The cache in a few words: how much of the catalog it holds, or why it is not used."""
        with self.read() as rows:
            return keeping.state(self.directory, rows, self.info)

    def cache_damage(self) -> str | None:
        """The damage that the checksums of the cache's whole files show; None if they are right. Raises
        CacheUnusable."""
        with self.read() as rows:
            return stamp.damage(self.directory, self.open_cache(rows).stamp)

    def disagreements(self, rows: Rows) -> list[str]:
        """Compare the rows, of a state that has given no answer yet, with the cache, if there is one: ids, vectors and
        checksum, exactly; what is wrong, in words."""
        problems, cache = list[str](), None
        try:
            cache = self.open_cache(rows)
        except CacheMissing:
            pass  # the catalog serves alone, as it does until a first run is over
        except CacheUnusable as error:
            problems.append(f"the cache cannot be used: {error}; `cezsar rebuild` makes it anew")
        try:
            problems += self.differences(rows, cache)
        except IndexDamaged as error:
            problems.append(str(error))
        if cache is not None and (wrong := stamp.damage(self.directory, cache.stamp)):
            problems.append(f"{wrong}; `cezsar rebuild` makes it anew")
        return problems

    def cache_check(self) -> tuple[bool, str]:
        """Whether the cache is sound, by the checksums of its whole files, and its state or damage in a few words."""
        try:
            wrong = self.cache_damage()
        except BadIndex:
            return False, self.cache_state()
        return wrong is None, wrong or f"{self.cache_state()}; the whole checksum is right"

    def differences(self, rows: Rows, cache: Cache | None) -> list[str]:
        """Vectors that are not of length 1, and vectors that the cache lacks, has too many, or has otherwise; in
        words."""
        return keeping.differences(rows, cache)

    def rebuild(self) -> Stamp:
        """Write the cache anew, from the catalog, which is not changed; only for the writer. Raises BadIndex."""
        with self.read() as rows:
            made = build(self.directory, rows, self.info)
        self._settle()
        return made

    def fold_if_due(self) -> bool:
        """Bring the cache in step with the catalog, if it is far behind or unusable; whether it was. Only for the
        writer. Raises BadIndex."""
        with self.read() as rows:
            return keeping.fold_if_due(self.directory, rows, self.info)

    def drop_cache(self) -> None:
        """Delete the cache: the catalog serves without it. Raises BadIndex."""
        stamp.drop(self.directory)

    def tidy(self) -> None:
        """Make sure that the cache is sound and not far behind, before anything new is written.

        A cache of a later state, which was lost, is deleted first. After a killed writer the whole cache is compared.
        """
        if self._lock is not None and self._lock.was_interrupted:
            with suppress(CacheUnusable):  # it is made anew
                if self.cache_damage():
                    self.rebuild()
            self._settle()
        self.fold_if_due()

    def _settle(self) -> None:
        """That a writer was killed is of no consequence any more."""
        if self._lock is not None:
            self._lock.settle()

    @contextmanager
    def read(self) -> Iterator[Rows]:
        """One consistent state: all answers are of the same moment."""
        with self._snapshot() as connection:
            yield Rows(connection, self.info.encoder.dimension, lambda rows: Nearest(rows, self._states))

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        with translated(self.directory):
            is_kept = True
            try:
                connection = self._idle.pop()
            except IndexError:
                is_kept = not is_still(self.directory)
                connection = open_file(self.directory / FILE, immutable=not is_kept)
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("ROLLBACK")
            except BaseException:
                connection.close()
                raise
            if is_kept:
                self._idle.append(connection)
            else:
                connection.close()

    def write(self, change: Callable[[Writer], _T]) -> _T:
        """Run change in a transaction of its own, and return its result. Errors as transaction()'s."""
        with self.transaction() as writer:
            return change(writer)

    @contextmanager
    def transaction(self) -> Iterator[Writer]:
        """One transaction with a generation of its own; committed at the end, or else undone.

        Raises IndexReadOnly if the catalog was opened to read.
        """
        if self._lock is None:
            raise IndexReadOnly(f"The index in {self.directory} was opened to read, and cannot be written.")
        from sqlalchemy.orm import Session

        from cezsar.store.writer import Writer

        with raised(self.directory), Session(self._engine) as session, session.begin():
            yield Writer(session)

    def scrub(self) -> None:
        """Leave no deleted data in the catalog's files: write it anew, and empty its log.

        Raises BadIndex if a reader is in the way for long, or there is no room.
        """
        with translated(self.directory), closing(sqlite3.connect(self.directory / FILE)) as connection:
            connection.isolation_level = None
            prepare(connection)
            connection.execute("VACUUM")
            is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise BadIndex(f"Somebody is reading the index in {self.directory}: its log still holds the deleted rows.")

    @cached_property
    def _engine(self) -> Engine:
        engine = _engine(url(self.directory / FILE), wal=True)
        return engine.execution_options(begin="BEGIN IMMEDIATE")


def url(path: Path) -> URL:
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path))


def _engine(url: URL, *, wal: bool = False) -> Engine:
    from sqlalchemy import create_engine, event

    engine = create_engine(url)

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: pysqlite would not before a SELECT
        prepare(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


@contextmanager
def raised(directory: Path) -> Iterator[None]:
    """SQLAlchemy's errors as SQLite's own, and these as ours."""
    from sqlalchemy.exc import DBAPIError

    with translated(directory):
        try:
            yield
        except DBAPIError as error:
            raise error.orig or error from None
