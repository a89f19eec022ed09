"""A table as a value, which the terminal prints and the report shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column: numbers are on the right; a detail is left out if there is little room."""

    title: str
    is_number: bool = False
    is_detail: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, and rows of as many texts."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def brief(self) -> Table:
        """The same without details."""
        return self._of([number for number, column in enumerate(self.columns) if not column.is_detail])

    def without_empty(self, title: str) -> Table:
        """The same without the column of this title, if nothing is in it."""
        shown = [
            number
            for number, column in enumerate(self.columns)
            if column.title != title or any(row[number] for row in self.rows)
        ]
        return self._of(shown)

    def _of(self, shown: list[int]) -> Table:
        return Table(
            tuple(self.columns[number] for number in shown),
            tuple(tuple(row[number] for number in shown) for row in self.rows),
        )
