"""The shared parts of the commands: common options, and printing."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from unicodedata import category

import click

from cezsar.choices import DEVICES
from cezsar.location import Database, located
from cezsar.paths import readable, spelled

if TYPE_CHECKING:
    from cezsar.tables import Table


_PULSE_S = 30.0
NOT_CALIBRATED = "{} has no calibration here: `cezsar calibrate PAIRS` makes one for this index."


class PathType(click.Path):
    """A path of any bytes that the system allows; an empty one, as of an unset variable, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if os.fspath(value) == "":
            self.fail("the path is empty.", param, ctx)
        return super().convert(value, param, ctx)


class LocationType(PathType):
    """A folder, or a database's URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = located(value) if os.fspath(value) else None
        if isinstance(found, Database) and found.has_password:
            notice(
                "a password in --index is seen by everybody who lists this machine's processes: "
                "PGPASSWORD or a line in ~/.pgpass keeps it"
            )
        return found if isinstance(found, Database) else super().convert(value, param, ctx)


_F = TypeVar("_F", bound=Callable[..., Any])


def index_option(function: _F) -> _F:
    """--index DIR|URL, for every command that needs the index."""
    return click.option(
        "--index",
        metavar="DIR|URL",
        type=LocationType(file_okay=False, path_type=Path),
        help="The index's folder, or its database, as postgresql://USER@HOST/DATABASE.  "
        "[environment: CEZSAR_INDEX; default: the user data directory]",
    )(function)


def json_option(function: _F) -> _F:
    """--json, one document on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


def device_option(function: _F) -> _F:
    """--device auto|cpu|cuda."""
    return click.option("--device", type=click.Choice(DEVICES), help="Where the encoder runs.  [default: auto]")(
        function
    )


def path_arguments(function: _F) -> _F:
    """PATH..., any bytes that the system allows."""
    return click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PathType(path_type=Path))(function)


def print_json(document: object, *, indent: int | None = 1) -> None:
    """One JSON document on stdout; what could steer a terminal, or what stdout cannot say, as \\uXXXX."""
    is_unicode = sys.stdout is not None and (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(document, indent=indent, ensure_ascii=not is_unicode, allow_nan=False)
    if is_terminal():
        text = "".join(c if c in "\n\u200d" or category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in text)
    click.echo(text)


def print_table(table: Table) -> None:
    """A table on stdout; folded on a terminal, not in a pipe."""
    import rich.table
    from rich import box
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100_000)
    shown = rich.table.Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in table.columns:
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        shown.add_column(column.title, justify=justify, overflow="fold", no_wrap=column.is_number)
    for row in table.rows:
        shown.add_row(*(Text(readable(cell)) for cell in row))
    console.print(shown)


def notice(line: str) -> None:
    """A line on stderr; work goes on if nobody reads it."""
    with suppress(BrokenPipeError):
        click.echo(f"cezsar: {readable(line)}", err=True)


@contextmanager
def working(task: str) -> Iterator[Callable[[str], None]]:
    """Print the current task on stderr: at once on a terminal, otherwise every 30 s.

    Call the function that it yields to name the next task.
    """
    from rich.console import Console
    from rich.text import Text

    console, told = Console(stderr=True, highlight=False), [task]

    def say(line: str) -> None:
        told[0] = line
        status.update(Text(readable(line)))

    with console.status(Text(task)) as status, pulse(lambda: told[0], shown=not console.is_terminal):
        yield say


@contextmanager
def pulse(status: Callable[[], str], *, shown: bool) -> Iterator[None]:
    """Print status() as a line on stderr every 30 s, if shown: a log has no progress bar."""
    if not shown:
        yield
        return
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(_PULSE_S):
            notice(status())

    teller = threading.Thread(target=tell, name="pulse", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def short(path: Path) -> str:
    """A path as a person would type it: relative to the current folder if it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return spelled(path)


def clock(seconds: float) -> str:
    """Seconds as m:ss.s, or h:mm:ss.s from an hour on."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36_000, tenths // 600 % 60, tenths % 600
    text = f"{minutes:02d}:{rest // 10:02d}.{rest % 10}" if hours else f"{minutes}:{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{text}" if hours else text


def counted(count: int, noun: str) -> str:
    """'1 video', '2 videos', '1,000 videos'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def write_bytes(data: bytes) -> None:
    """Bytes on stdout, as they are."""
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)


def is_terminal() -> bool:
    """Whether stdout is a terminal that a person reads."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
