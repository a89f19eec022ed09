"""Opening, making and upgrading the catalog's database."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from cezsar.errors import BadIndex, IndexDamaged, IndexMissing, IndexOutdated, IndexReadOnly
from cezsar.files import PRIVATE_FOLDER, appearing
from cezsar.store.local.catalog import Catalog, raised, url
from cezsar.store.local.connection import is_writable, revision, translated
from cezsar.store.local.homes import FILE, home, previous
from cezsar.store.local.lock import WriterLock, was_interrupted
from cezsar.store.local.privacy import tighten
from cezsar.store.revision import REVISION
from cezsar.types import EncoderIdentity, Sampling


def exists(directory: Path) -> bool:
    """Whether there is a catalog in this folder. Raises IndexDamaged if the folder may not be looked into."""
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

    from cezsar.migrations import upgrade as migrate
    from cezsar.store.tables import InfoRow

    with raised(directory):
        directory.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        _check_writable(directory)
        lock = WriterLock(directory)
        try:
            tighten(directory)
            _check_free(directory / FILE)
            with appearing(directory / FILE, durable=True, private=True) as draft:
                migrate(url(draft))
                engine = create_engine(url(draft))
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


def open_to_read(directory: Path, *, cores: int | None = None) -> Catalog:
    """Open without the power to change anything; a folder that cannot be written is no hindrance.

    A search takes at most `cores` cores, or all. Raises IndexMissing, IndexOutdated, IndexDamaged.
    """
    return _opened_to_read(_served(directory), index=directory, cores=cores)


def open_previous(directory: Path) -> Catalog:
    """Open, to read, the catalog that was in use before the last switch. Raises IndexMissing if there is none."""
    place = previous(directory)
    if place is None:
        raise IndexMissing(f"The index in {directory} has no older vectors to go back to.")
    return _opened_to_read(place)


def _opened_to_read(place: Path, *, index: Path | None = None, cores: int | None = None) -> Catalog:
    _check_revision(place)
    return Catalog(place, index=index, cores=cores)


def open_to_write(directory: Path, *, notice: Callable[[str], None] = lambda _: None) -> Catalog:
    """Open for writing, as the only writer; an older index that others can read is closed to them, and notice gets a
    line.

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
    """Open the catalog in this very folder, even if it is not in use, brought up to date. Errors as open_to_write's."""
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
    """Whether the last writer was killed, and its remains could be cleared up."""
    place = home(directory)
    return was_interrupted(place) and is_writable(place)


def check_creatable(directory: Path) -> None:
    """Raise IndexReadOnly if no index could be made in this folder; makes nothing."""
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
        with raised(place):
            migrate(url(place / FILE))


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
