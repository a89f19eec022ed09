"""cezsar index"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cezsar.choices import RUNNERS
from cezsar.cli.console import (
    counted,
    device_option,
    index_option,
    json_option,
    notice,
    path_arguments,
    print_json,
    pulse,
    short,
)
from cezsar.errors import CezsarError
from cezsar.paths import readable

if TYPE_CHECKING:
    from cezsar.settings import Settings
    from cezsar.types import IndexReport

_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(name="index")
@path_arguments
@index_option
@click.option("--model", metavar="NAME|HUB_ID|DIR", help="Encoder of a new index.  [default: lite]")
@click.option(
    "--fps", type=_POSITIVE, help="Frames per second to look at, for a new index.  [default: the encoder's, or 2]"
)
@click.option("--window", "window_s", type=_POSITIVE, help="Seconds per segment, for a new index.  [default: 8]")
@click.option(
    "--stride", "stride_s", type=_POSITIVE, help="Seconds between segments' starts, for a new index.  [default: 4]"
)
@click.option(
    "--prune/--no-prune",
    default=None,
    help="Hide videos whose files have gone from PATH.  [default: hide, unless PATH is missing, empty or has lost over "
    "half of its videos]",
)
@click.option("--exclude", metavar="GLOB", multiple=True, help="Leave these files or folders alone. Repeatable.")
@device_option
@click.option("--workers", type=click.IntRange(min=1), help="Videos decoded at once.  [default: 2]")
@click.option("--batch-size", type=click.IntRange(min=1), help="Frames encoded at once.  [default: 8]")
@click.option("--retry", is_flag=True, help="Try videos again that could not be decoded, even if unchanged.")
@click.option(
    "--check-content", is_flag=True,
    help="Compare the content of every video, not only its size, times and inode: this reads all of them.",
)  # fmt: skip
@click.option(
    "--stall-limit", "stall_limit_s", metavar="S", type=_POSITIVE,
    help="Give up on a video that gives no frame for S seconds.  [default: 60]",
)  # fmt: skip
@click.option(
    "--time-limit", "time_limit_s", metavar="S", type=_POSITIVE,
    help="Give up on a video that takes S seconds to decode in all.  [default: 14400]",
)  # fmt: skip
@click.option(
    "--memory-limit", "memory_limit_gb", metavar="GB", type=_POSITIVE,
    help="Give up on a video that takes so much memory to decode.  [default: 4]",
)  # fmt: skip
@click.option(
    "--runner", type=click.Choice(RUNNERS),
    help="Where the work is done: in threads here, or on a Ray cluster (docs/cluster.md).  [default: threads]",
)  # fmt: skip
@click.option(
    "--ray-address", metavar="HOST:PORT",
    help="The Ray cluster of --runner ray.  [default: a Ray of this machine's own, for this run]",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress bar and no summary; skipped files are still named.")
@json_option
def command(
    paths: tuple[Path, ...],
    prune: bool | None,
    exclude: tuple[str, ...],
    retry: bool,
    check_content: bool,
    quiet: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Look at every video under PATH once, and remember what it shows.

    PATH is a file, or a folder, which is searched recursively; hidden files, waste bins and a NAS's own folders are
    left out. It may also be an address: s3://BUCKET/FOLDER, http://HOST/FOLDER. Only new and changed videos are
    embedded: run it again when there are new ones. Moved and renamed files are recognised by their content. An existing
    index keeps its model, fps, window and stride. Ctrl-C keeps what is done so far. Each video is decoded in a process
    of its own: one that crashes, hangs or takes too much is named and left out, and tried again when it has changed.
    """
    from cezsar.settings import load

    settings = load(**chosen)
    if chosen["ray_address"] and settings.runner != "ray":
        raise click.UsageError("--ray-address needs --runner ray.")
    report = run_index(
        paths, settings, prune=prune, exclude=exclude, retry=retry, check_content=check_content, quiet=quiet
    )
    if report.left_out and not quiet:
        notice(_left_out(report.left_out))
    if as_json:
        from cezsar.documents import index_document

        print_json(index_document(report))
    elif not quiet and (report.num_readable or report.removed or report.skipped):
        click.echo(readable(_summary(report)))
    if report.num_readable == 0 and not report.removed:
        raise CezsarError(_nothing_read(paths, report))


def run_index(
    paths: tuple[Path, ...],
    settings: Settings,
    *,
    prune: bool | None = None,
    exclude: tuple[str, ...] = (),
    retry: bool = False,
    check_content: bool = False,
    quiet: bool = False,
) -> IndexReport:
    """Index with progress on stderr, and one line per skipped file."""
    from cezsar import indexer

    with ExitStack() as stack:
        bar = stack.enter_context(Bar(shown=not quiet))
        return indexer.index(
            paths,
            settings,
            prune=prune,
            exclude=exclude,
            retry=retry,
            check_content=check_content,
            progress=bar,
        )


class Bar:
    """Progress on stderr: videos done, megabytes a second, time left; every 30 s a line if it is no terminal."""

    def __init__(self, *, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.fields[num_done]}/{task.fields[num_videos]} videos"),
            BarColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not (shown and console.is_terminal),
            transient=True,
        )
        self._has_pulse = shown and not console.is_terminal
        self._open = ExitStack()
        self._task: Any = None
        self._doing = "looking at the files"
        self._num_done = self._bytes_done = self._num_videos = self._num_bytes = 0

    def __enter__(self) -> Bar:
        self._open.enter_context(self._progress)
        self._open.enter_context(pulse(self._status, shown=self._has_pulse))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _status(self) -> str:
        if self._task is None:
            return self._doing + (f", {self._bytes_done / 1e6:,.0f} MB" if self._bytes_done else "")
        videos = f"{self._num_done:,} of {counted(self._num_videos, 'video')}"
        return f"{videos}, {self._bytes_done / 1e6:,.0f} of {self._num_bytes / 1e6:,.0f} MB"

    def comparing(self, path: Path, num_bytes: int) -> None:
        self._num_done, self._bytes_done = self._num_done + 1, self._bytes_done + num_bytes
        self._doing = f"comparing contents: {counted(self._num_done, 'video')}"

    def start(self, num_videos: int, num_bytes: int) -> None:
        self._num_done, self._bytes_done, self._num_videos, self._num_bytes = 0, 0, num_videos, num_bytes
        self._task = self._progress.add_task("", total=num_bytes, num_done=0, num_videos=num_videos)

    def done(self, path: Path, num_bytes: int) -> None:
        self._num_done, self._bytes_done = self._num_done + 1, self._bytes_done + num_bytes
        self._progress.update(self._task, advance=num_bytes, num_done=self._num_done)

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None:
        if self._task is not None:
            self.done(path, num_bytes)
        notice(f"skipped {short(path)}: {reason}")

    def notice(self, line: str) -> None:
        notice(line)


def _left_out(suffixes: Mapping[str, int]) -> str:
    """How many files have no video's suffix, with the five suffixes that are there most often."""
    most = sorted(suffixes.items(), key=lambda one: (-one[1], one[0]))
    told = ", ".join(f"{suffix} {count:,}" for suffix, count in most[:5]) + (", ..." if len(most) > 5 else "")
    count = counted(sum(suffixes.values()), "file")
    return f"left out {count} without a video's suffix ({told}); a file is taken if PATH is its own name"


def _summary(report: IndexReport) -> str:
    kinds = ("added", "updated", "moved", "unchanged", "removed")
    told = [f"{getattr(report, kind):,} {kind}" for kind in kinds if getattr(report, kind)]
    told += [f"{len(report.skipped):,} skipped"] if report.skipped else []
    return (
        f"{', '.join(told) or 'nothing to do'}; {counted(report.segments, 'new segment')} "
        f"in {report.seconds:.1f} s; index {report.index} ({report.model})"
    )


def _nothing_read(paths: tuple[Path, ...], report: IndexReport) -> str:
    where = ", ".join(short(path) for path in paths)
    if report.skipped:
        return f"Nothing in {where} could be read: {counted(len(report.skipped), 'file')} skipped."
    return f"There are no videos to index in {where}."
