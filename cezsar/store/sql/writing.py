"""Transactions that outlive their connection: what a server lost is done again, and nothing is done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import psycopg
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.pool import StaticPool

from cezsar.errors import BadIndex, IndexLocked
from cezsar.location import Database
from cezsar.store.sql import lock
from cezsar.store.sql.connection import Session, connect, is_conflict, is_lost, translated
from cezsar.store.writer import Writer

PATIENCE_S = 60.0  # that a server may be away
_LOOK_EVERY_S = 0.5
_TRIES = 5  # at one transaction

_T = TypeVar("_T")
_STATE = "SELECT generation, xmin::text FROM index_info"  # xmin is the transaction that wrote the row


class Writing:
    """The right to write to a catalog, in a session that holds its lock; notice gets a line when the server is away.

    Use as a context manager.
    """

    def __init__(self, session: Session, location: Database, *, notice: Callable[[str], None]) -> None:
        self._location, self._notice = location, notice
        self._mark: tuple[int, str] | None = None  # what the catalog's state becomes with the commit
        self._take(session)

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()
        self._session.close()

    def run(self, change: Callable[[Writer], _T]) -> _T:
        """Run change in a transaction, and return its result after the commit.

        If the server goes away meanwhile, wait for it for PATIENCE_S, take the lock again, and look whether the
        transaction was committed; if not, change is run again. Raises IndexLocked and BadIndex.
        """
        for _ in range(_TRIES):
            if found := self._tried(change):
                return found[0]
        raise BadIndex(f"The index in {self._location} could not be written in {_TRIES} tries: run this command again.")

    def _tried(self, change: Callable[[Writer], _T]) -> tuple[_T] | None:
        """The result, if the transaction was committed; None if another try may go well."""
        result: tuple[_T] | None = None
        try:
            with self.transaction(mark=True) as writer:
                result = (change(writer),)
        except Failed as failed:
            if is_conflict(failed.error):
                return None
            if not is_lost(failed.error):
                with translated(self._location):
                    raise failed.error from None
            return result if self._was_committed(str(failed.error)) else None
        return result

    @contextmanager
    def transaction(self, *, mark: bool = False) -> Iterator[Writer]:
        """One transaction with a generation of its own; committed at the end, or else undone."""
        self._mark = None
        try:
            with OrmSession(self._engine) as session, session.begin():
                writer = Writer(session)
                if mark:
                    generation, transaction = session.execute(text(_STATE)).one()
                    self._mark = generation, transaction
                yield writer
        except DBAPIError as error:
            if not isinstance(error.orig, psycopg.Error):
                raise
            raise Failed(error.orig) from None
        if self._mark is not None:
            self._generation = self._mark[0]

    def _take(self, session: Session) -> tuple[int, str]:
        """Write in this session from now on; the catalog's state."""
        generation, transaction = session.execute(_STATE).fetchone() or (0, "")
        self._generation = int(generation)
        self._name, self._pid = session.info.get_parameters()["application_name"], session.info.backend_pid
        session.autocommit = False
        self._session = session
        self._engine: Engine = create_engine(
            "postgresql+psycopg://", creator=lambda: session, poolclass=StaticPool, use_native_hstore=False
        )
        return self._generation, str(transaction)

    def tell(self, line: str) -> None:
        """Give the user a line."""
        self._notice(line)

    def wait_for_server(self, reason: str) -> None:
        """Wait until the server is back, after a reason to think that it went away; take the lock again."""
        self._mark = None
        self._was_committed(reason)

    def _was_committed(self, reason: str) -> bool:
        """Wait for the server, and say whether it had committed the transaction before it went away."""
        before, mark = self._generation, self._mark
        self._notice(
            f"the server of the index in {self._location} went away; waiting for it, {PATIENCE_S:.0f} s at most "
            f"({' '.join(reason.split())})"
        )
        state = self._take(self._session_again())
        self._notice(f"the server of the index in {self._location} is back")
        if state == mark:
            return True
        if self._generation == before:
            return False
        if self._generation < before:
            raise BadIndex(
                f"The server that took over the index in {self._location} lacks its last changes: run this command "
                "again. A standby that is synchronous lacks nothing."
            )
        raise BadIndex(
            f"Another command changed the index in {self._location} while its server was away: run this one again."
        )

    def _session_again(self) -> Session:
        """A new session that holds the lock, when the server is back."""
        self._engine.dispose()
        with suppress(psycopg.Error):
            self._session.close()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                session = connect(self._location)
            except BadIndex:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_EVERY_S)
                continue
            try:
                with translated(self._location):
                    lock.end_former(session, self._location, pid=self._pid, name=self._name)
                    lock.acquire(session, self._location)
                    session.execute("SELECT 1 FROM index_info").fetchone()
            except IndexLocked:
                session.close()
                raise
            except BadIndex:  # it is starting, or has gone again
                session.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_EVERY_S)
                continue
            return session


class Failed(Exception):
    """A transaction was undone by an error of the database's."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__()
        self.error = error
