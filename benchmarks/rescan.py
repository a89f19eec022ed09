"""A second look at 20,000 unchanged files, against walking them: python benchmarks/rescan.py."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from measuring import Row, ratios, turns

from cezsar import catalog, indexer, maintenance
from cezsar.encoders.toy import Toy
from cezsar.settings import load
from cezsar.types import Sampling, Segment

_NUM_FILES, _EACH = 20_000, 100
_ROUNDS = 7


def rows() -> list[Row]:
    """A second index run against a walk, in one process."""
    with tempfile.TemporaryDirectory() as name:
        videos, index = Path(name) / "videos", Path(name) / "index"
        _fill(videos, index)
        settings = load(environ={}, index=index)
        ours, theirs = turns(lambda: _unchanged(videos, settings), lambda: _walk(videos), _ROUNDS)
        return [
            Row(f"second index, {_NUM_FILES:,} unchanged", "os.scandir + stat", ratios(ours, theirs), 4, at_most=True)
        ]


def _unchanged(videos: Path, settings: object) -> None:
    report = indexer.index([videos], settings)  # type: ignore[arg-type]
    assert report.unchanged == _NUM_FILES


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


def _fill(videos: Path, index: Path) -> None:
    """Files that are no videos, and a catalog that says that they were and have been indexed."""
    vector = Toy().encode_texts(["red"])
    with catalog.create(index, Toy.identity, Sampling()) as store, store.write() as session:
        for number in range(_NUM_FILES):
            folder = videos / f"{number // _EACH:04}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{number:06}.mp4"
            path.write_bytes(b"%d" % number)
            status = path.stat()
            root = os.fsencode(os.path.realpath(videos))
            file = catalog.File(root, os.fsencode(path.relative_to(videos)), status.st_size, status.st_mtime_ns)
            embedding = catalog.Embedding(8.0, (Segment(0.0, 8.0),), (0,), np.asarray(vector))
            catalog.add_video(session, file, b"\0" * 32, embedding)
    with catalog.open_to_write(index) as store:
        maintenance.rebuild(store)


if __name__ == "__main__":
    for row in rows():
        print(*row.cells(), sep=" | ")
