"""Opening, making and upgrading the catalog's database."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, select, text, update
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from cezsar.catalog.homes import FILE, home, previous, sync
from cezsar.catalog.lock import WriterLock, was_interrupted
from cezsar.catalog.tables import REVISION, InfoRow
from cezsar.errors import BadIndex, IndexDamaged, IndexMissing, IndexOutdated, IndexReadOnly, SettingsError
from cezsar.types import EncoderIdentity, Sampling

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
        try:
            with self.read() as session:
                self.info = _info(session.scalars(select(InfoRow).limit(2)).all(), directory)
        except BaseException:
            engine.dispose()
            raise

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


def _info(rows: Sequence[InfoRow], directory: Path) -> Info:
    damaged = IndexDamaged(
        f"The catalog in {directory} does not say what made it; it was not made whole, or is damaged."
    )
    if len(rows) != 1:
        raise damaged
    row = rows[0]
    texts = (row.index_id, row.encoder, row.weights_sha256, row.streams)
    if not all(isinstance(text, str) for text in texts) or not all(
        isinstance(number, int) and 0 <= number - least < 1 << 62
        for number, least in ((row.dimension, 1), (row.generation, 0))
    ):
        raise damaged
    try:
        sampling = Sampling(row.fps, row.window_s, row.stride_s)
    except (SettingsError, TypeError):
        raise damaged from None
    return Info(row.index_id, EncoderIdentity(row.encoder, row.weights_sha256, row.dimension, row.streams), sampling)


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
    return _opened_to_read(_served(directory))


def open_previous(directory: Path) -> Catalog:
    """Open the catalog that served before the last switch, to read. Raises IndexMissing where there is none."""
    place = previous(directory)
    if place is None:
        raise IndexMissing(f"The index in {directory} has no older vectors to go back to.")
    return _opened_to_read(place)


def _opened_to_read(place: Path) -> Catalog:
    _check_revision(place)
    return Catalog(_engine(_reading_url(place)), place)


def open_to_write(directory: Path) -> Catalog:
    """Open for writing, as the only one.

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
        return Catalog(_engine(_url(place / FILE), wal=True), place, lock)
    except BaseException:
        lock.release()
        raise


def locked(directory: Path) -> WriterLock:
    """The right to write to an index, without opening it. Raises IndexReadOnly, IndexLocked."""
    _check_writable(directory)
    with _translated(directory):
        return WriterLock(directory)


def needs_a_writer(directory: Path) -> bool:
    """Whether the last writer was killed, and what it left behind could be cleared up."""
    place = home(directory)
    return was_interrupted(place) and _is_writable(place)


def check_creatable(directory: Path) -> None:
    """Raise IndexReadOnly where no index could be made in this folder; makes nothing."""
    above = next((path for path in (directory, *directory.parents) if path.exists()), directory)
    if not above.is_dir() or not _is_writable(above):
        raise IndexReadOnly(f"The index folder {directory} cannot be made: {above} cannot be written.")


def current(directory: Path) -> str:
    """The schema revision of an index's catalog. Raises IndexMissing, IndexDamaged."""
    return _revision(_served(directory))


def _served(directory: Path) -> Path:
    """The folder of the catalog that serves an index. Raises IndexMissing, IndexDamaged."""
    if not exists(directory):
        raise IndexMissing(f"No index in {directory} yet: `cezsar index PATH...` makes one there.")
    return home(directory)


def _revision(directory: Path) -> str:
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
        place = home(directory)
        with locked(place), _translated(place):
            migrate(_url(place / FILE))
    return before


def backup(directory: Path, target: Path) -> None:
    """Write a consistent copy of the catalog to target, while others read and write; whole or not at all.

    Raises IndexMissing, BadIndex where target cannot be written, IndexDamaged where the copy is not sound.
    """
    current(directory)
    draft = target.with_name(f"{target.name}.{os.getpid()}.new")
    engine = _engine(_reading_url(home(directory)))
    try:
        with _translated(target.parent), engine.connect() as connection, closing(sqlite3.connect(draft)) as copy:
            connection.connection.dbapi_connection.backup(copy)  # type: ignore[union-attr]
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, complete in itself
        check(draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
        sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        raise BadIndex(f"The backup {target} cannot be written: {getattr(error, 'strerror', None) or error}.") from None
    finally:
        engine.dispose()
        draft.unlink(missing_ok=True)


def check(file: Path) -> str:
    """The schema revision of a catalog in a file of any name. Raises IndexDamaged where it is none, or not sound."""
    url = URL.create("sqlite", database="file:" + quote(str(file)), query={"mode": "ro", "uri": "true"})
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            revision = connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar_one()
            told = connection.execute(text("PRAGMA integrity_check(1)")).scalar_one()
            count = connection.execute(text("SELECT count(*) FROM index_info")).scalar_one()
    except DatabaseError as error:
        raise IndexDamaged(f"{file} is not a sound catalog of CEZSAR: {error.orig}.") from None
    except UnicodeDecodeError as error:
        raise IndexDamaged(f"{file} is not a sound catalog of CEZSAR: {error}.") from None
    finally:
        engine.dispose()
    if told != "ok" or count != 1:
        raise IndexDamaged(f"{file} is not a sound catalog of CEZSAR: {told}.")
    return str(revision)


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
    """That the catalog in this very folder has a schema that serves."""
    revision = _revision(directory)
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
    except UnicodeDecodeError as error:  # in a name or text, or in what SQLite says of one
        raise IndexDamaged(f"The catalog in {directory} is damaged: {error}.") from None
