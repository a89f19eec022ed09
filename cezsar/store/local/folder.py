"""An index in a folder, as any store's."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from cezsar import folders
from cezsar.errors import BadIndex
from cezsar.store.local import homes, opening
from cezsar.store.local.backup import backup, load
from cezsar.store.local.catalog import Catalog
from cezsar.store.local.lock import LOCK
from cezsar.store.revision import REVISION
from cezsar.types import EncoderIdentity, Location, Sampling


@dataclass(frozen=True, slots=True)
class Folder:
    """An index's folder: the catalog in it, or in a sub-folder, is in use."""

    directory: Path

    @property
    def location(self) -> Path:
        """As Home.location."""
        return self.directory

    def exists(self) -> bool:
        """As Home.exists."""
        return opening.exists(self.directory)

    def check_creatable(self) -> None:
        """As Home.check_creatable."""
        opening.check_creatable(self.directory)

    def create(self, encoder: EncoderIdentity, sampling: Sampling, *, notice: Callable[[str], None]) -> Catalog:
        """As Home.create; there is nothing to tell."""
        return opening.create(self.directory, encoder, sampling)

    def backup(self, target: Path) -> None:
        """As Home.backup."""
        backup(self.directory, target)

    def load(self, source: Path) -> None:
        """As Home.load."""
        load(source, self.directory)

    def open(self, *, cores: int | None) -> Catalog:
        """As Home.open."""
        return opening.open_to_read(self.directory, cores=cores)

    def open_previous(self) -> Catalog:
        """As Home.open_previous."""
        return opening.open_previous(self.directory)

    def open_to_write(self, *, notice: Callable[[str], None]) -> Catalog:
        """As Home.open_to_write."""
        with ExitStack() as stack:
            catalog = stack.enter_context(opening.open_to_write(self.directory, notice=notice))
            catalog.tidy()
            stack.pop_all()  # it stays open
        return catalog

    def open_place_to_write(self) -> Catalog:
        """As Home.open_place_to_write."""
        return opening.open_place_to_write(self.directory)

    def needs_a_writer(self) -> bool:
        """As Home.needs_a_writer."""
        return opening.needs_a_writer(self.directory)

    def revision(self) -> str:
        """As Home.revision."""
        return opening.current(self.directory)

    def upgrade(self) -> str:
        """As Home.upgrade; the cache comes after."""
        before = opening.upgrade(self.directory)
        if before < REVISION:
            with self.open_to_write(notice=lambda _: None):
                pass
        return before

    def others(self) -> list[Location]:
        """As Home.others."""
        return list(homes.others(self.directory))

    def fresh(self) -> Location:
        """As Home.fresh."""
        return homes.fresh(self.directory)

    def switch(self, place: Location) -> None:
        """As Home.switch."""
        assert isinstance(place, Path)
        try:
            homes.switch(self.directory, place)
        except OSError as error:
            raise BadIndex(f"The index in {self.directory} cannot be switched: {error.strerror}.") from None

    def drop(self, place: Location, *, notice: Callable[[str], None]) -> int:
        """As Home.drop: only files of an index, by their names, and no link is followed.

        A folder that holds anything else stays with it, and notice gets a line.
        """
        assert isinstance(place, Path)
        freed = 0
        try:
            with opening.locked(place), folders.opened(place) as folder:  # nobody is at work there
                for name, status in folder.files().items():
                    if homes.OF_A_CATALOG.fullmatch(name):
                        folder.unlink(name)
                        freed += status.st_size
            if place != self.directory:
                _drop_folder(place, notice)
        except OSError as error:
            raise BadIndex(f"{place} cannot be deleted: {error.strerror}.") from None
        return freed

    def files(self) -> Path:
        """As Home.files."""
        return self.directory


def _drop_folder(place: Path, notice: Callable[[str], None]) -> None:
    """Delete a folder whose catalog has gone, if its lock was all that was left in it."""
    with folders.opened(place) as folder:
        if others := sorted(set(folder.entries()) - {LOCK}):
            notice(f"{place} stays: {others[0]} in it is not CEZSAR's.")
            return
        with suppress(FileNotFoundError):
            folder.unlink(LOCK)
    os.rmdir(place)
