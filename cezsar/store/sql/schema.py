"""An index in a schema of a PostgreSQL database, as any store's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg import errors

from cezsar.errors import BadIndex, IndexDamaged, IndexMissing, IndexOutdated, IndexReadOnly
from cezsar.location import Database
from cezsar.store.revision import REVISION
from cezsar.store.sql import lock, places, vectors
from cezsar.store.sql.catalog import Catalog
from cezsar.store.sql.connection import Session, connect, settle, translated
from cezsar.types import EncoderIdentity, Location, Sampling

_EXTENSIONS = "SELECT extname FROM pg_extension WHERE extname = 'vector'"
_MAY_MAKE = "SELECT NOT pg_is_in_recovery() AND has_database_privilege(current_database(), 'CREATE')"


@dataclass(frozen=True, slots=True)
class Schema:
    """An index's schema; further ones of its database hold its other catalogs."""

    location: Database

    def exists(self) -> bool:
        """As Home.exists."""
        with self._session() as session:
            return places.is_there(session, places.in_use(session, self.location))

    def check_creatable(self) -> None:
        """As Home.check_creatable."""
        with self._session() as session:
            (may_make,) = session.execute(_MAY_MAKE).fetchone() or (False,)
            if not may_make:
                raise IndexReadOnly(
                    f"No index can be made in {self.location}: this account may not CREATE in the database."
                )
            places.check_ours(session, self._own_place())
            if session.execute(_EXTENSIONS).fetchone() is None:
                session.autocommit = False
                try:
                    self._add_vectors(session)
                finally:
                    session.rollback()

    def create(self, encoder: EncoderIdentity, sampling: Sampling, *, notice: Callable[[str], None]) -> Catalog:
        """As Home.create."""
        from cezsar.store.sql.making import make

        with self._kept_session() as session:
            place = self._free_place(session)
            make(session, place, encoder, sampling)
            return self._writable(session, place, notice=notice)

    def backup(self, target: Path) -> None:
        """As Home.backup."""
        from cezsar.store.sql import exchange

        with self._session() as session:
            settle(session, self._served(session))
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            exchange.write(session, target)

    def load(self, source: Path) -> None:
        """As Home.load."""
        from cezsar.store.sql import exchange

        with self._session() as session:
            place = self._free_place(session)
            exchange.load(session, place, source, least_generation=places.last_generation(session, place))

    def open(self, *, cores: int | None) -> Catalog:
        """As Home.open; how many cores the server takes is its own affair."""
        with self._kept_session() as session:
            place = self._served(session)
            settle(session, place)
            return Catalog(place, session, index=self.location)

    def open_previous(self) -> Catalog:
        """As Home.open_previous."""
        with self._kept_session() as session:
            place = places.previous(session, self.location)
            if place is None:
                raise IndexMissing(f"The index in {self.location} has no older vectors to go back to.")
            self._check_revision(session, place)
            settle(session, place)
            return Catalog(place, session)

    def open_to_write(self, *, notice: Callable[[str], None]) -> Catalog:
        """As Home.open_to_write."""
        with self._kept_session() as session:
            while True:
                place = self._served(session)
                settle(session, place)
                self._check_writable(session, place)
                lock.acquire(session, place)
                if places.in_use(session, self.location) == place:
                    return self._writable(session, place, notice=notice)
                lock.release(session, place)  # another catalog has begun to serve meanwhile

    def open_place_to_write(self) -> Catalog:
        """As Home.open_place_to_write."""
        with self._kept_session() as session:
            place = self._own_place()
            settle(session, place)
            self._check_writable(session, place)
            lock.acquire(session, place)
            self._upgrade(session, place)
            return self._writable(session, place, notice=lambda _: None)

    def needs_a_writer(self) -> bool:
        """A killed writer leaves nothing: the database undoes what was not committed."""
        return False

    def revision(self) -> str:
        """As Home.revision."""
        with self._session() as session:
            return self._revision(session, self._there(session))

    def upgrade(self) -> str:
        """As Home.upgrade."""
        with self._session() as session:
            place = self._there(session)
            before = self._revision(session, place)
            if before != REVISION:
                settle(session, place)
                self._check_writable(session, place)
                lock.acquire(session, place)
                self._upgrade(session, place)
            return before

    def others(self) -> list[Location]:
        """As Home.others."""
        with self._session() as session:
            return list(places.others(session, self.location))

    def fresh(self) -> Location:
        """As Home.fresh."""
        with self._session() as session:
            return places.fresh(session, self.location)

    def switch(self, place: Location) -> None:
        """As Home.switch."""
        assert isinstance(place, Database)
        with self._session() as session:
            places.switch(session, place)

    def drop(self, place: Location, *, notice: Callable[[str], None]) -> int:
        """As Home.drop: the tables of a catalog alone; a schema that holds others stays, and notice gets a line."""
        from cezsar.store.sql.making import drop

        assert isinstance(place, Database)
        with self._session() as session:
            lock.acquire(session, place)  # nobody is at work there
            self._drop_cache(session, place)
            return drop(session, place, notice)

    def _drop_cache(self, session: Session, place: Database) -> None:
        if place.vectors is None:
            return
        cache = vectors.Cache(place.vectors)
        settle(session, place)
        try:
            vectors.drop(cache.milvus, session)
        finally:
            cache.milvus.close()

    def files(self) -> Path:
        """As Home.files: in the user's cache directory."""
        from platformdirs import user_cache_path

        name = hashlib.sha256(str(replace(self.location, vectors=None, space=None)).encode()).hexdigest()[:32]
        return user_cache_path("cezsar") / "databases" / name

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self._kept_session() as session:
            yield session
            session.close()

    @contextmanager
    def _kept_session(self) -> Iterator[Session]:
        """A session that stays open, unless an error ends it."""
        with translated(self.location):
            session = connect(self.location)
            try:
                yield session
            except BaseException:
                session.close()
                raise

    def _free_place(self, session: Session) -> Database:
        """The own place, in which there is no catalog yet, locked, and with pgvector. Raises BadIndex."""
        place = self._own_place()
        lock.acquire(session, place)
        places.check_ours(session, place)
        if places.is_there(session, place):
            raise BadIndex(f"Another command has just made an index in {self.location}: run this one again.")
        self._add_vectors(session)
        settle(session, place)
        return place

    def _own_place(self) -> Database:
        return self.location if self.location.space is not None else places.first(self.location)

    def _there(self, session: Session) -> Database:
        """The catalog in use. Raises IndexMissing."""
        place = places.in_use(session, self.location)
        if not places.is_there(session, place):
            places.check_ours(session, place)
            raise IndexMissing(f"No index in {self.location} yet: `cezsar index PATH...` makes one there.")
        return place

    def _served(self, session: Session) -> Database:
        """The catalog in use, of a revision that serves. Raises IndexMissing, IndexOutdated, IndexDamaged."""
        place = self._there(session)
        self._check_revision(session, place)
        return place

    def _revision(self, session: Session, place: Database) -> str:
        found = places.revision(session, place)
        if found is None:
            raise IndexDamaged(f"{place} is not a catalog of CEZSAR: it does not say its schema's revision.")
        return found

    def _check_revision(self, session: Session, place: Database) -> None:
        found = self._revision(session, place)
        if found < REVISION:
            raise IndexOutdated(
                f"The index in {self.location} has schema {found}, this CEZSAR needs {REVISION}: "
                f"`cezsar db upgrade --index {self.location}` brings it up to date and keeps everything."
            )
        if found > REVISION:
            raise self._newer(found)

    def _newer(self, found: str) -> IndexOutdated:
        return IndexOutdated(
            f"The index in {self.location} has schema {found}, newer than this CEZSAR's {REVISION}: "
            "`pip install --upgrade cezsar` updates the package."
        )

    def _upgrade(self, session: Session, place: Database) -> None:
        from cezsar.store.sql.making import migrate

        found = self._revision(session, place)
        if found > REVISION:
            raise self._newer(found)
        if found < REVISION:
            migrate(session)

    def _check_writable(self, session: Session, place: Database) -> None:
        if not places.is_writable(session):
            raise IndexReadOnly(
                f"The index in {place} cannot be written: this account may only read it, or the server is a standby."
            )

    def _writable(self, session: Session, place: Database, *, notice: Callable[[str], None]) -> Catalog:
        """A catalog that is written in a session, which holds its lock."""
        from cezsar.store.sql.writing import Writing

        return Catalog(place, connect(place), index=self.location, writing=Writing(session, place, notice=notice))

    def _add_vectors(self, session: Session) -> None:
        """Have pgvector in the database."""
        session.execute("SET search_path TO DEFAULT")  # it belongs to no index
        try:
            session.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except (errors.FeatureNotSupported, errors.UndefinedFile):
            raise BadIndex(
                f"The server of {self.location} has no pgvector: install the package postgresql-NN-pgvector there, "
                "and then `CREATE EXTENSION vector;` in the database, as a superuser."
            ) from None
        except errors.InsufficientPrivilege:
            raise BadIndex(
                f"The database {self.location} has no pgvector: `CREATE EXTENSION vector;` in it, as a superuser, adds "
                "it."
            ) from None
