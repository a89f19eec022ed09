"""Opening, making and upgrading the catalog's database."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, select, text, update
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from cezsar.catalog.lock import WriterLock
from cezsar.catalog.tables import REVISION, InfoRow
from cezsar.errors import BadIndex, IndexDamaged, IndexMissing, IndexOutdated, IndexReadOnly
from cezsar.types import EncoderIdentity, Sampling

FILE = "catalog.sqlite"
_BUSY_MS = 30_000


@dataclass(frozen=True, slots=True)
class Info:
    """What an index is: its own id, the encoder that made it, and its sampling."""

    index_id: str
    encoder: EncoderIdentity
    sampling: Sampling


class Catalog:
    """An open catalog. read() gives a consistent snapshot; write() one transaction, all or nothing.

    follows_interruption says that the writer before this one was killed.
    """

    def __init__(self, engine: Engine, directory: Path, lock: WriterLock | None = None) -> None:
        self._engine = engine
        self._lock = lock
        self.directory = directory
        self.follows_interruption = lock is not None and lock.was_interrupted
        with self.read() as session:
            row = session.scalars(select(InfoRow)).one_or_none()
        if row is None:
            engine.dispose()
            raise IndexDamaged(f"The catalog in {directory} says nothing of its encoder; it was not made whole.")
        self.info = Info(
            index_id=row.index_id,
            encoder=EncoderIdentity(row.encoder, row.weights_sha256, row.dimension, row.streams),
            sampling=Sampling(row.fps, row.window_s, row.stride_s),
        )

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session in which every query sees the same state."""
        with _translated(self.directory), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction with a generation of its own; committed at the end, or else undone."""
        engine = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        with _translated(self.directory), Session(engine) as session, session.begin():
            session.execute(update(InfoRow).values(generation=InfoRow.generation + 1))
            yield session


def exists(directory: Path) -> bool:
    """Whether there is a catalog in this folder. Raises IndexDamaged where the folder may not be looked into."""
    try:
        (directory / FILE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise IndexDamaged(f"The index in {directory} cannot be opened: {error.strerror}.") from None
    return True


def create(directory: Path, encoder: EncoderIdentity, sampling: Sampling) -> Catalog:
    """Make an empty catalog, open for writing; it appears whole or not at all. Raises IndexReadOnly, IndexLocked."""
    from cezsar.migrations import upgrade as migrate

    draft = directory / f"{FILE}.{os.getpid()}.new"
    with _translated(directory):
        directory.mkdir(parents=True, exist_ok=True)
        _check_writable(directory)
        lock = WriterLock(directory)
        try:
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
            _place(draft, directory / FILE)
            return Catalog(_engine(_url(directory / FILE), wal=True), directory, lock)
        except BaseException:
            lock.release()
            raise
        finally:
            draft.unlink(missing_ok=True)


def open_to_read(directory: Path) -> Catalog:
    """Open without the power to change anything; a folder that cannot be written is no hindrance.

    Raises IndexMissing, IndexOutdated, IndexDamaged.
    """
    _check_revision(directory)
    return Catalog(_engine(_reading_url(directory)), directory)


def open_to_write(directory: Path) -> Catalog:
    """Open for writing, as the only one.

    Raises IndexMissing, IndexOutdated, IndexDamaged, IndexReadOnly, IndexLocked.
    """
    _check_revision(directory)
    lock = locked(directory)
    try:
        return Catalog(_engine(_url(directory / FILE), wal=True), directory, lock)
    except BaseException:
        lock.release()
        raise


def locked(directory: Path) -> WriterLock:
    """The right to write to an index, without opening it. Raises IndexReadOnly, IndexLocked."""
    _check_writable(directory)
    with _translated(directory):
        return WriterLock(directory)


def check_creatable(directory: Path) -> None:
    """Raise IndexReadOnly where no index could be made in this folder; makes nothing."""
    above = next((path for path in (directory, *directory.parents) if path.exists()), directory)
    if not above.is_dir() or not _is_writable(above):
        raise IndexReadOnly(f"The index folder {directory} cannot be made: {above} cannot be written.")


def current(directory: Path) -> str:
    """The schema revision of the catalog in this folder. Raises IndexMissing, IndexDamaged."""
    if not exists(directory):
        raise IndexMissing(f"No index in {directory} yet: `cezsar index PATH...` makes one there.")
    engine = _engine(_reading_url(directory))
    try:
        with _translated(directory), engine.connect() as connection:
            revision = connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar_one_or_none()
    finally:
        engine.dispose()
    if revision is None:
        raise IndexDamaged(f"{directory / FILE} is not a catalog of CEZSAR.")
    return str(revision)


def upgrade(directory: Path) -> str:
    """Bring an older catalog to REVISION, in one transaction, and return the revision that it had before."""
    from cezsar.migrations import upgrade as migrate

    before = current(directory)
    if before > REVISION:
        raise _newer(directory, before)
    if before < REVISION:
        with locked(directory), _translated(directory):
            migrate(_url(directory / FILE))
    return before


def _place(draft: Path, target: Path) -> None:
    """Give a finished catalog its name, unless another one has it by now."""
    taken = BadIndex(f"Another command has just made an index in {target.parent}: run this one again.")
    for left_over in ("-wal", "-shm"):  # of a catalog that was deleted: SQLite would take them for this one's
        if not target.exists():
            target.with_name(target.name + left_over).unlink(missing_ok=True)
    try:
        os.link(draft, target)
    except FileExistsError:
        raise taken from None
    except OSError:  # a file system without hard links
        if target.exists():
            raise taken from None
        os.replace(draft, target)


def _check_writable(directory: Path) -> None:
    if not _is_writable(directory):
        raise IndexReadOnly(f"The index folder {directory} cannot be written.")


def _is_writable(directory: Path) -> bool:
    return os.access(directory, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _check_revision(directory: Path) -> None:
    revision = current(directory)
    if revision < REVISION:
        raise IndexOutdated(
            f"The index in {directory} has schema {revision}, this CEZSAR needs {REVISION}: "
            f"`cezsar db upgrade --index {directory}` brings it up to date and keeps everything."
        )
    if revision > REVISION:
        raise _newer(directory, revision)


def _newer(directory: Path, revision: str) -> IndexOutdated:
    return IndexOutdated(
        f"The index in {directory} has schema {revision}, newer than this CEZSAR's {REVISION}: "
        "`pip install --upgrade cezsar` updates the package."
    )


def _url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _reading_url(directory: Path) -> URL:
    """Read-only; where SQLite could not keep its own files beside the catalog, as one that nobody changes."""
    query = {"mode": "ro", "uri": "true"}
    log, shared = directory / f"{FILE}-wal", directory / f"{FILE}-shm"
    is_logged = log.exists() and (log.stat().st_size > 0 or shared.exists())
    if not is_logged and not _is_writable(directory):
        query["immutable"] = "1"
    return URL.create("sqlite", database="file:" + quote(str(directory / FILE)), query=query)


def _engine(url: URL, *, wal: bool = False) -> Engine:
    engine = create_engine(url)

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: pysqlite would not before a SELECT
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA foreign_keys = ON")
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


@contextmanager
def _translated(directory: Path) -> Iterator[None]:
    """The database's and the system's errors as ours."""
    try:
        yield
    except (OperationalError, OSError) as error:
        reason = str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error)
        if "readonly" in reason or isinstance(error, PermissionError):
            raise IndexReadOnly(f"The index folder {directory} cannot be written ({reason}).") from None
        if "no such table" in reason or "no such column" in reason:
            raise IndexDamaged(f"{directory / FILE} is not a catalog of CEZSAR ({reason}).") from None
        raise BadIndex(f"The index in {directory} cannot be used: {reason}.") from None
    except IntegrityError:
        raise BadIndex(f"Another command changed the index in {directory} just now: run this one again.") from None
    except DatabaseError as error:
        raise IndexDamaged(f"The catalog in {directory} is damaged: {error.orig}.") from None
