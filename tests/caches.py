"""Caches of whatever one says, and what may happen to the files of a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cezsar.store import Info
from cezsar.store.local import cache, stamp
from cezsar.store.local.stamp import STAMP, Stamp, Written
from cezsar.types import Ids, Vectors

Blow = Callable[[bytes], bytes]


class Said:
    """What a cache is made from, as a state of a catalog gives it: (N,) ids, ascending, and (N, D) vectors."""

    def __init__(self, ids: Ids, vectors: Vectors, *, generation: int, num_at_once: int = 10_000) -> None:
        self._ids, self._vectors, self._generation = ids, vectors, generation
        self._num_at_once = num_at_once

    def generation(self) -> int:
        """As Rows has it; so are the others."""
        return self._generation

    def num_segments_after(self, segment_id: int) -> int:
        return int((self._ids > segment_id).sum())

    def vectors(self, *, after: int = 0) -> Iterator[tuple[Ids, Vectors]]:
        first = int(np.searchsorted(self._ids, after, side="right"))
        for start in range(first, len(self._ids), self._num_at_once):
            some = slice(start, start + self._num_at_once)
            yield self._ids[some], self._vectors[some]


def build(folder: Path, info: Info, ids: Ids, vectors: Vectors, *, generation: int) -> Stamp:
    """Write a cache of just these, for an index."""
    rows: Any = Said(ids, vectors, generation=generation)
    return cache.build(folder, rows, info)


def told(folder: Path) -> Stamp:
    """What the stamp of a cache says."""
    return stamp.read(folder / STAMP)


def data_of(folder: Path) -> Path:
    """The vectors or codes of a cache's last part."""
    return folder / told(folder).parts[-1].data.name


def beside_of(folder: Path) -> Path:
    """The ids, or the lists' checksums, of a cache's last part."""
    return folder / told(folder).parts[-1].beside.name


def trained_of(folder: Path) -> Path:
    """The centres of a large cache's lists."""
    written = told(folder).trained
    assert written is not None
    return folder / written.name


def strike(file: Path, blow: Blow) -> None:
    """Change a file, under a new inode: the old one may be mapped."""
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(blow(content))


def flipped(at: int) -> Blow:
    """One bit is another one; at counts from the end where negative."""

    def blow(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[at] ^= 1
        return bytes(changed)

    return blow


def resealed(folder: Path, **changes: Any) -> None:
    """Let the stamp fit the files as they are now, with other fields too, by one who knows how."""

    def fitting(written: Written) -> Written:
        content = (folder / written.name).read_bytes() if (folder / written.name).is_file() else None
        if content is None:
            return written
        return replace(written, size=len(content), sha256=hashlib.sha256(content).hexdigest())

    found = told(folder)
    parts = tuple(replace(one, data=fitting(one.data), beside=fitting(one.beside)) for one in found.parts)
    trained = found.trained and fitting(found.trained)
    stamp.write(folder / STAMP, replace(found, **{"parts": parts, "trained": trained, **changes}))
