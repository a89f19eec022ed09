"""A second look at 20,000 and 200,000 unchanged files, against walking them: python benchmarks/rescan.py."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measuring import Row, ratios, turns

from cezsar import indexer, store
from cezsar.encoders.toy import Toy
from cezsar.settings import load
from cezsar.store.local import opening
from cezsar.types import Sampling, Segment

_FEW, _MANY, _EACH = 20_000, 200_000, 100
_ROUNDS = 7
_PEAK = """
import sys
from pathlib import Path
from cezsar import indexer
from cezsar.settings import load
indexer.index([Path(sys.argv[1])], load(environ={}, index=Path(sys.argv[2])))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def rows() -> list[Row]:
    """A second index run against a walk, in one process; and what ten times as many files add to its memory."""
    found, peaks = [], []
    for num_files in (_FEW, _MANY):
        with tempfile.TemporaryDirectory() as name:
            videos, index = Path(name) / "videos", Path(name) / "index"
            _fill(videos, index, num_files)
            settings = load(environ={}, index=index)
            ours, theirs = turns(lambda: _unchanged(videos, settings, num_files), lambda: _walk(videos), _ROUNDS)  # noqa: B023
            job = f"second index, {num_files:,} unchanged"
            found.append(Row(job, "os.scandir + stat", ratios(ours, theirs), 4, at_most=True))
            peaks.append(
                int(
                    subprocess.run([sys.executable, "-c", _PEAK, videos, index], check=True, capture_output=True).stdout
                )
            )
    note = f"{peaks[1] / 1e3:.0f} MB against {peaks[0] / 1e3:.0f} MB, all that the process held"
    job, yardstick = f"memory of a second index, {_MANY:,} unchanged", f"{_FEW:,} unchanged"
    return [*found, Row(job, yardstick, (peaks[1] / peaks[0],), 1.25, at_most=True, note=note)]


def _unchanged(videos: Path, settings: object, num_files: int) -> None:
    report = indexer.index([videos], settings)  # type: ignore[arg-type]
    assert report.unchanged == num_files


def _walk(folder: Path) -> int:
    """Every file's size and time."""
    found, folders = 0, [os.fspath(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    status = os.stat(entry.path)
                    found += status.st_size > 0 and status.st_mtime_ns > 0
    return found


def _fill(videos: Path, index: Path, num_files: int) -> None:
    """Files that are no videos, and a catalog that says that they were and have been indexed."""
    vector = Toy().encode_texts(["red"])
    with store.create(index, Toy.identity, Sampling()) as catalog, catalog.transaction() as writer:
        for number in range(num_files):
            folder = videos / f"{number // _EACH:04}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{number:06}.mp4"
            path.write_bytes(b"%d" % number)
            status = path.stat()
            root = os.fsencode(os.path.realpath(videos))
            file = store.File.of(root, os.fsencode(path.relative_to(videos)), status)
            embedding = store.Embedding(8.0, (Segment(0.0, 8.0),), (0,), np.asarray(vector))
            writer.add_video(file, b"\0" * 32, embedding)
    with opening.open_to_write(index) as catalog:
        catalog.rebuild()


if __name__ == "__main__":
    for row in rows():
        print(*row.cells(), sep=" | ")
