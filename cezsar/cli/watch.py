"""cezsar watch"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cezsar.cli.console import (
    counted,
    device_option,
    index_option,
    json_option,
    notice,
    path_arguments,
    print_json,
    short,
)
from cezsar.paths import readable

if TYPE_CHECKING:
    from cezsar.types import IndexReport


@click.command(name="watch")
@path_arguments
@index_option
@click.option("--model", metavar="NAME|HUB_ID|DIR", help="Encoder of a new index.  [default: lite]")
@click.option("--exclude", metavar="GLOB", multiple=True, help="Leave these files or folders alone. Repeatable.")
@click.option(
    "--settle", "settle_s", metavar="S", type=click.FloatRange(min=0), default=5.0, show_default=True,
    help="Take a file when its size and time have stayed the same for S seconds.",
)  # fmt: skip
@device_option
@click.option("--workers", type=click.IntRange(min=1), help="Videos decoded at once.  [default: 2]")
@json_option
def command(paths: tuple[Path, ...], exclude: tuple[str, ...], settle_s: float, as_json: bool, **chosen: Any) -> None:
    """Index PATH, and go on indexing what comes, changes and goes, until Ctrl-C.

    The rules are those of `cezsar index`, which is run whenever something has changed: a line for each change, or with
    --json a document for each run. A file that is still growing waits until it has stopped. A folder that vanishes is
    waited for. If a run fails, since another process writes or the disk is full, it is repeated.
    """
    import signal
    import threading

    from cezsar import indexer
    from cezsar.settings import load

    settings, ended = load(**chosen), threading.Event()

    def end(*_: object) -> None:
        ended.set()  # for Python loses an exception that is raised while an object is deleted
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    notice(f"watching {', '.join(short(path) for path in paths)}; Ctrl-C ends it")
    for report in indexer.watch(
        paths, settings, exclude=exclude, settle_s=settle_s, progress=_Lines(shown=not as_json), ended=ended
    ):
        if as_json:
            from cezsar.documents import index_document

            print_json(index_document(report), indent=None)
        else:
            for line in _told(report):
                click.echo(line)
    raise KeyboardInterrupt


class _Lines:
    """A line on stdout for each video that is indexed, one on stderr for each that is not."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown

    def comparing(self, path: Path, num_bytes: int) -> None: ...

    def start(self, num_videos: int, num_bytes: int) -> None: ...

    def done(self, path: Path, num_bytes: int) -> None:
        if self._shown:
            click.echo(f"indexed {readable(short(path))}")

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None:
        notice(f"skipped {short(path)}: {reason}")

    def notice(self, line: str) -> None:
        notice(line)


def _told(report: IndexReport) -> list[str]:
    """What a run did beside indexing files."""
    told = [(report.moved, "moved"), (report.removed, "gone, hidden")]
    return [f"{counted(number, 'video')} {what}" for number, what in told if number]
