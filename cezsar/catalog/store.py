"""Opening, making and upgrading the catalog's database."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cezsar.catalog.connection import (
    Snapshot,
    is_still,
    is_writable,
    open_file,
    prepare,
    revision,
    translated,
)
from cezsar.catalog.homes import FILE, home, previous
from cezsar.catalog.lock import WriterLock, was_interrupted
from cezsar.catalog.privacy import tighten
from cezsar.catalog.schema import REVISION
from cezsar.errors import BadIndex, IndexDamaged, IndexMissing, IndexOutdated, IndexReadOnly, SettingsError
from cezsar.files import PRIVATE_FOLDER, appearing
from cezsar.types import EncoderIdentity, Sampling

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.orm import Session

_INFO = "SELECT index_id, encoder, weights_sha256, streams, dimension, generation, fps, window_s, stride_s"


@dataclass(frozen=True, slots=True)
class Info:
    """What an index is: its own id, the encoder that made it, and its sampling."""

    index_id: str
    encoder: EncoderIdentity
    sampling: Sampling


class Catalog:
    """An open catalog. read() gives a consistent snapshot; write() one transaction, all or nothing.

    follows_interruption says that a writer before this one was killed, and none has settled that. Reading needs no
    SQLAlchemy, which takes longer to load than a query takes.
    """

    def __init__(self, directory: Path, lock: WriterLock | None = None) -> None:
        self._idle: list[sqlite3.Connection] = []
        self._lock = lock
        self.directory = directory
        self.follows_interruption = lock is not None and lock.was_interrupted
        with self.read() as snapshot:
            self.info = _info(snapshot.execute(f"{_INFO} FROM index_info LIMIT 2").fetchall(), directory)

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().close()
        if "_engine" in self.__dict__:
            self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    def settle(self) -> None:
        """The cache has been compared, or made anew: that a writer was killed is of no consequence any more."""
        if self._lock is not None:
            self._lock.settle()

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """A snapshot: everything that is asked of it has the same state."""
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

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction with a generation of its own; committed at the end, or else undone.

        Raises IndexReadOnly where the catalog was opened to read.
        """
        if self._lock is None:
            raise IndexReadOnly(f"The index in {self.directory} was opened to read, and cannot be written.")
        from sqlalchemy.orm import Session

        from cezsar.catalog.writing import next_generation

        with _raised(self.directory), Session(self._engine) as session, session.begin():
            next_generation(session)
            yield session

    def scrub(self) -> None:
        """Leave nothing of what was deleted in the catalog's files: it is written anew, and its log is emptied.

        Raises BadIndex where a reader is in the way for long, or there is no room.
        """
        with translated(self.directory), closing(sqlite3.connect(self.directory / FILE)) as connection:
            connection.isolation_level = None
            prepare(connection)
            connection.execute("VACUUM")
            is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise BadIndex(f"Somebody is reading the index in {self.directory}: its log still holds what was deleted.")

    @cached_property
    def _engine(self) -> Engine:
        engine = _engine(_url(self.directory / FILE), wal=True)
        return engine.execution_options(begin="BEGIN IMMEDIATE")


def _info(rows: Sequence[tuple[Any, ...]], directory: Path) -> Info:
    damaged = IndexDamaged(
        f"The catalog in {directory} does not say what made it; it was not made whole, or is damaged."
    )
    if len(rows) != 1:
        raise damaged
    index_id, encoder, weights_sha256, streams, dimension, generation, *times = rows[0]
    if not all(isinstance(text, str) for text in (index_id, encoder, weights_sha256, streams)) or not all(
        isinstance(number, int) and 0 <= number - least < 1 << 62 for number, least in ((dimension, 1), (generation, 0))
    ):
        raise damaged
    try:
        sampling = Sampling(*times)
    except (SettingsError, TypeError):
        raise damaged from None
    return Info(index_id, EncoderIdentity(encoder, weights_sha256, dimension, streams), sampling)


def exists(directory: Path) -> bool:
    """Whether there is a catalog in this folder. Raises IndexDamaged where the folder may not be looked into."""
    try:
        (home(directory) / FILE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise IndexDamaged(f"The index in {directory} cannot be opened: {error.strerror}.") from None
    return True


def create(directory: Path, encoder: EncoderIdentity, sampling: Sampling) -> Catalog:
    """Make an empty catalog, open for writing; it appears whole or not at all. Raises IndexReadOnly, IndexLocked."""
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    from cezsar.catalog.tables import InfoRow
    from cezsar.migrations import upgrade as migrate

    with _raised(directory):
        directory.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        _check_writable(directory)
        lock = WriterLock(directory)
        try:
            tighten(directory)
            _check_free(directory / FILE)
            with appearing(directory / FILE, durable=True, private=True) as draft:
                migrate(_url(draft))
                engine = create_engine(_url(draft))
                with Session(engine) as session, session.begin():
                    session.add(
                        InfoRow(
                            id=1,
                            index_id=uuid.uuid4().hex,
                            encoder=encoder.name,
                            weights_sha256=encoder.weights_sha256,
                            dimension=encoder.dimension,
                            streams=encoder.streams,
                            fps=sampling.fps,
                            window_s=sampling.window_s,
                            stride_s=sampling.stride_s,
                            generation=0,
                        )
                    )
                engine.dispose()
            lock.settle()  # no cache is this catalog's yet
            return Catalog(directory, lock)
        except BaseException:
            lock.release()
            raise


def open_to_read(directory: Path) -> Catalog:
    """Open without the power to change anything; a folder that cannot be written is no hindrance.

    Raises IndexMissing, IndexOutdated, IndexDamaged.
    """
    return _opened_to_read(_served(directory))


def open_previous(directory: Path) -> Catalog:
    """Open the catalog that served before the last switch, to read. Raises IndexMissing where there is none."""
    place = previous(directory)
    if place is None:
        raise IndexMissing(f"The index in {directory} has no older vectors to go back to.")
    return _opened_to_read(place)


def _opened_to_read(place: Path) -> Catalog:
    _check_revision(place)
    return Catalog(place)


def open_to_write(directory: Path, *, notice: Callable[[str], None] = lambda _: None) -> Catalog:
    """Open for writing, as the only one; an index that others can read, of before indexes were private, is closed to
    them, and notice is told.

    Raises IndexMissing, IndexOutdated, IndexDamaged, IndexReadOnly, IndexLocked.
    """
    while True:
        place = _served(directory)
        _check_revision(place)
        lock = locked(place)
        if home(directory) == place:
            break
        lock.release()  # another catalog has begun to serve meanwhile
    try:
        if not lock.is_private and (line := tighten(directory)):
            notice(line)
        return Catalog(place, lock)
    except BaseException:
        lock.release()
        raise


def open_place_to_write(place: Path) -> Catalog:
    """Open the catalog in this very folder, whether it serves or not, brought up to date. Errors as open_to_write's."""
    if revision(place) > REVISION:
        raise _newer(place, revision(place))
    lock = locked(place)
    try:
        _upgrade(place)
        return Catalog(place, lock)
    except BaseException:
        lock.release()
        raise


def locked(directory: Path) -> WriterLock:
    """The right to write to an index, without opening it. Raises IndexReadOnly, IndexLocked."""
    _check_writable(directory)
    with translated(directory):
        return WriterLock(directory)


def needs_a_writer(directory: Path) -> bool:
    """Whether the last writer was killed, and what it left behind could be cleared up."""
    place = home(directory)
    return was_interrupted(place) and is_writable(place)


def check_creatable(directory: Path) -> None:
    """Raise IndexReadOnly where no index could be made in this folder; makes nothing."""
    above = next((path for path in (directory, *directory.parents) if path.exists()), directory)
    if not above.is_dir() or not is_writable(above):
        raise IndexReadOnly(f"The index folder {directory} cannot be made: {above} cannot be written.")


def current(directory: Path) -> str:
    """The schema revision of an index's catalog. Raises IndexMissing, IndexDamaged."""
    return revision(_served(directory))


def _served(directory: Path) -> Path:
    """The folder of the catalog that serves an index. Raises IndexMissing, IndexDamaged."""
    if not exists(directory):
        raise IndexMissing(f"No index in {directory} yet: `cezsar index PATH...` makes one there.")
    return home(directory)


def upgrade(directory: Path) -> str:
    """Bring an older catalog to REVISION, in one transaction, and return the revision that it had before."""
    before = current(directory)
    if before > REVISION:
        raise _newer(directory, before)
    if before < REVISION:
        place = home(directory)
        with locked(place):
            _upgrade(place)
    return before


def _upgrade(place: Path) -> None:
    from cezsar.migrations import upgrade as migrate

    if revision(place) < REVISION:
        with _raised(place):
            migrate(_url(place / FILE))


def _check_free(target: Path) -> None:
    """That no other catalog has the name by now, nor left anything that SQLite would take for the new one's."""
    if os.path.lexists(target):
        raise BadIndex(f"Another command has just made an index in {target.parent}: run this one again.")
    for left_over in ("-wal", "-shm"):
        target.with_name(target.name + left_over).unlink(missing_ok=True)


def _check_writable(directory: Path) -> None:
    if not is_writable(directory):
        raise IndexReadOnly(f"The index folder {directory} cannot be written.")


def _check_revision(directory: Path) -> None:
    """That the catalog in this very folder has a schema that serves."""
    found = revision(directory)
    if found < REVISION:
        raise IndexOutdated(
            f"The index in {directory} has schema {found}, this CEZSAR needs {REVISION}: "
            f"`cezsar db upgrade --index {directory}` brings it up to date and keeps everything."
        )
    if found > REVISION:
        raise _newer(directory, found)


def _newer(directory: Path, found: str) -> IndexOutdated:
    return IndexOutdated(
        f"The index in {directory} has schema {found}, newer than this CEZSAR's {REVISION}: "
        "`pip install --upgrade cezsar` updates the package."
    )


def _url(path: Path) -> URL:
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
def _raised(directory: Path) -> Iterator[None]:
    """SQLAlchemy's errors as SQLite's own, and these as ours."""
    from sqlalchemy.exc import DBAPIError

    with translated(directory):
        try:
            yield
        except DBAPIError as error:
            raise error.orig or error from None
