"""Every benchmark in one run, as a table here and in docs/performance.md: python benchmarks/run.py [--data FOLDER]."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import cold
import indexing
import memory
import page
import paths
import postgres
import ray_overhead
import rescan
import sampling
import search
import server
from measuring import Row, ratios
from rich.console import Console
from rich.table import Table

_DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
_BETWEEN = re.compile(r"(<!-- the table: make bench -->\n).*?(<!-- end -->\n)", re.DOTALL)
_HEADS = ("job", "yardstick, in the same run", "ratio (spread)", "target", "verdict")


def main() -> None:
    """Run, print, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="a folder with ucf101/")
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the video that is sampled")
    parser.add_argument("--every", type=int, default=1, help="index every so many-th of the real clips")
    asked = parser.parse_args()
    videos = asked.data / "ucf101"
    parts: list[Callable[[], list[Row]]] = [
        cold.rows, server.rows, lambda: search.rows(asked.segments), paths.rows, lambda: _sampling(asked.seconds),
        rescan.rows, memory.rows, lambda: postgres.rows(min(asked.segments, 200_000)),
        ray_overhead.rows,
    ]  # fmt: skip
    if videos.is_dir():
        parts += [lambda: indexing.rows(videos, asked.every), lambda: page.rows(videos)]
    else:
        print(f"no real videos in {videos}: their rows are left out", file=sys.stderr)
    found: list[Row] = []
    for part in parts:
        found += part()
        print(f"{len(found)} rows", file=sys.stderr)
    table = Table(*_HEADS)
    for row in found:
        table.add_row(*row.cells())
    Console().print(table)
    text = _DOCUMENT.read_text(encoding="utf-8")
    _DOCUMENT.write_text(_BETWEEN.sub(lambda match: match[1] + _document(found) + match[2], text), encoding="utf-8")


def _sampling(seconds: float) -> list[Row]:
    found = []
    for name, ours, theirs in sampling.rows(seconds):
        target = 3.0 if "15" in name else 1.5
        job = f"2 frames/s of {seconds:g} s of 1080p, {name}"
        found.append(Row(job, "decode and convert all, then pick", ratios(theirs, ours), target))
    return found


def _document(found: list[Row]) -> str:
    lines = [
        f"{date.today()}, {os.cpu_count()} cores ({platform.machine()}), no GPU, Python {platform.python_version()}:",
        "",
        f"| {' | '.join(_HEADS)} | in figures |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(row.cells())} | {row.note} |" for row in found),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
