"""The parts that every store has: an index's place, and its catalog when it is open."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

from cezsar.store.rows import Rows
from cezsar.store.words import Info
from cezsar.types import EncoderIdentity, Location, Sampling

if TYPE_CHECKING:
    from cezsar.store.writer import Writer

T = TypeVar("T")


class Made(Protocol):
    """What rebuild() made: the number of vectors in it, and its size in bytes."""

    @property
    def count(self) -> int: ...

    @property
    def num_bytes(self) -> int: ...


class Catalog(Protocol):
    """An open catalog. Use as a context manager.

    read() gives a consistent state, and write() runs one transaction, all or nothing, with a generation of its own. The
    rest keeps what makes nearest fast (files of vectors, or lists in a database) in step with the rows.
    """

    info: Info

    def __enter__(self) -> Catalog: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    @property
    def place(self) -> Location:
        """Where this very catalog is: one of an index's."""

    @property
    def notice(self) -> str | None:
        """Why the last search was slower than it could be; None if it was not."""

    def read(self) -> AbstractContextManager[Rows]:
        """One consistent state: all answers are of the same moment."""

    def write(self, change: Callable[[Writer], T]) -> T:
        """Run change in a transaction of its own, and return its result after the commit.

        change is run again if the transaction was undone by no fault of its own, as when a server goes away: it changes
        nothing but the catalog. Raises IndexReadOnly if the catalog was opened to read.
        """

    def is_current(self) -> bool:
        """Whether this is still the catalog that its index uses."""

    def fold_if_due(self) -> bool:
        """Bring what makes nearest fast in step with the rows, if it is far behind; whether it was."""

    def rebuild(self) -> Made | None:
        """Make anew what makes nearest fast; None if there is nothing to make."""

    def drop_cache(self) -> None:
        """Delete what is kept of vectors outside the rows."""

    def scrub(self) -> None:
        """Leave no deleted data in the catalog's files."""

    def cache_state(self) -> str:
        """In a few words, what makes nearest fast, or why it does not."""

    def cache_check(self) -> tuple[bool, str]:
        """Whether that is sound, as far as can be told quickly, and cache_state(), or what is wrong."""

    def disagreements(self, rows: Rows) -> list[str]:
        """In words, where rows and vectors do not agree; every vector is looked at."""

    def num_bytes(self) -> int:
        """What the catalog takes on a disk."""

    def was_interrupted(self) -> bool:
        """Whether the last writer was killed, and left something that the next one has to look at."""

    def why_not_writable(self) -> str | None:
        """The command that would make this catalog writable; None if it is."""


class Home(Protocol):
    """An index's place, where its catalogs are: the one in use, and older ones.

    Whatever opens a catalog raises IndexMissing, IndexOutdated, IndexDamaged, and BadIndex if it is out of reach; to
    write, IndexReadOnly and IndexLocked, too.
    """

    @property
    def location(self) -> Location:
        """The location of the index."""

    def exists(self) -> bool:
        """Whether there is an index."""

    def check_creatable(self) -> None:
        """Raise IndexReadOnly or BadIndex if no index could be made here; makes nothing."""

    def create(self, encoder: EncoderIdentity, sampling: Sampling, *, notice: Callable[[str], None]) -> Catalog:
        """Make an empty catalog, open for writing; it appears whole or not at all. notice is as of open_to_write."""

    def backup(self, target: Path) -> None:
        """Write a consistent copy of the catalog in use to a file, while others read and write; whole or not at all."""

    def load(self, source: Path) -> None:
        """Make a catalog in this very place from such a copy, whole or not at all; ids and bits are the same.

        Raises BadIndex if there is one, IndexDamaged if the copy cannot be one.
        """

    def open(self, *, cores: int | None) -> Catalog:
        """The catalog in use, open to read."""

    def open_previous(self) -> Catalog:
        """The catalog that was in use before the last switch, open to read."""

    def open_to_write(self, *, notice: Callable[[str], None]) -> Catalog:
        """The catalog in use, open for writing as the only one, and tidy; notice gets lines for the user."""

    def open_place_to_write(self) -> Catalog:
        """The catalog in this very place, even if it is not in use, brought up to date and open for writing."""

    def needs_a_writer(self) -> bool:
        """Whether the last writer was killed, and its remains could be cleared up."""

    def revision(self) -> str:
        """The schema's revision of the catalog in use."""

    def upgrade(self) -> str:
        """Bring an older catalog to REVISION, in one transaction; the revision that it had before."""

    def others(self) -> list[Location]:
        """Where this index's catalogs are that are not in use, by number."""

    def fresh(self) -> Location:
        """A place for a new catalog, which is not there yet."""

    def switch(self, place: Location) -> None:
        """Use the catalog in place, one of this index's, from now on; only for the holder of the current one's lock."""

    def drop(self, place: Location, *, notice: Callable[[str], None]) -> int:
        """Delete a catalog of this index that is not in use; how many bytes that freed."""

    def files(self) -> Path:
        """The folder of what belongs to the index and is no data of it, such as pictures; it may not be there."""
