"""SQL that every store's database answers: what runs it, and how many values it takes at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

_MANY = 10_000  # values a statement takes at once; SQLite allows 32,766, and PostgreSQL 65,535

_T = TypeVar("_T")


class Cursor(Protocol):
    """The rows of an answer."""

    def fetchone(self) -> Any:
        """The next one, None if there is none."""

    def fetchall(self) -> list[Any]:
        """All others."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection in a transaction: everything that is asked of it has the same state.

    A statement has a ? for each value. Where SQLite needs to be told how to go about it (CROSS JOIN, INDEXED BY), a
    statement says so, and another database is not told.
    """

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Cursor:
        """Run a statement with values."""


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Runs of values, each short enough for one statement."""
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]


def marks(values: Sequence[object]) -> str:
    """The places of so many values in a statement."""
    return ",".join("?" * len(values))


def pairs(values: Sequence[object]) -> str:
    """The places of so many pairs in a statement."""
    return ",".join(["(?,?)"] * len(values))
