"""The stamp that names the files of a cache: vectors.json, sealed, and replaced at once."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISREG
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from cezsar.digest import sha256
from cezsar.errors import BadIndex, CacheMissing, CacheUnusable
from cezsar.files import appearing
from cezsar.records import record

STAMP, NEXT = "vectors.json", "vectors-next.json"  # the second one of lists that are being made
VERSION = 2
FILES = r"vectors(-next)?\.json|vectors-\d+-[0-9a-f]{8}\.(faiss|crc32\.npy|ids\.npy|npy)"
"""The names of a cache's files, as a pattern."""
_DATA = re.compile(FILES.split("|", 1)[1])


@dataclass(frozen=True, slots=True)
class Written:
    """A file as it was written: its name, its bytes, and the sha256 of them.

    header_sha256 is of what comes before the codes and ids of inverted lists, which have checksums of their own.
    """

    name: str
    size: int
    sha256: str
    header_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A part of a cache, which is never written again: all segments with ids in (after, last].

    pieces are what it was merged of: above which id each begins, and as of which generation. count is how many segments
    there are. data holds vectors (.npy) or codes in inverted lists (.faiss), beside it their ids (.ids.npy) or the
    lists' checksums (.crc32.npy).
    """

    pieces: tuple[tuple[int, int], ...]
    last: int
    count: int
    data: Written
    beside: Written

    @property
    def after(self) -> int:
        """What the lowest id is above."""
        return self.pieces[0][0]


@dataclass(frozen=True, slots=True)
class Stamp:
    """The contents of a cache: every segment of index_id up to last_segment_id, in parts by ascending ids.

    lists is how many inverted lists there are, 1 for an exact search; trained is the file with their centres, which
    were learnt when there were trained_on vectors. probes of them are looked at, which found recall of the 10 nearest
    of a sample. In the stamp's own file seal is the sha256 of all of this.
    """

    index_id: str
    dimension: int
    parts: tuple[Sealed, ...]
    lists: int = 1
    probes: int = 1
    recall: float = 1.0
    trained: Written | None = None
    trained_on: int = 0
    version: int = VERSION

    @property
    def count(self) -> int:
        """The number of its vectors."""
        return sum(part.count for part in self.parts)

    @property
    def num_bytes(self) -> int:
        """The size of its files."""
        return sum(file.size for file in self.written)

    @property
    def last_segment_id(self) -> int:
        """The highest id that it could hold."""
        return self.parts[-1].last if self.parts else 0

    @property
    def generation(self) -> int:
        """The newest generation in it."""
        return max((generation for part in self.parts for _, generation in part.pieces), default=0)

    @property
    def written(self) -> tuple[Written, ...]:
        """Its files."""
        of_parts = [file for part in self.parts for file in (part.data, part.beside)]
        return (*([self.trained] if self.trained else []), *of_parts)


def read(path: Path) -> Stamp:
    """A stamp from its file. Raises CacheUnusable, CacheMissing."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        seal = told.pop("seal", None)
        if told.get("version") != VERSION and isinstance(told.get("index_id"), str):
            raise CacheUnusable("another version of CEZSAR made it")
        if seal != _seal(told):
            raise ValueError
        stamp = record(Stamp, told)
        if (
            stamp.lists < 1
            or (stamp.lists > 1) != (stamp.trained is not None)
            or not all(p.pieces for p in stamp.parts)
        ):
            raise ValueError
    except FileNotFoundError:
        raise CacheMissing("there is none yet") from None
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise CacheUnusable("its stamp cannot be read") from None
    return stamp


def write(path: Path, stamp: Stamp) -> None:
    """Replace the stamp, at once. Raises BadIndex."""
    told = json.loads(json.dumps(asdict(stamp)))
    with _complaining(path.parent), appearing(path, durable=True, private=True) as draft:
        draft.write_text(json.dumps({**told, "seal": _seal(told)}, indent=1), encoding="utf-8")


def write_file(folder: Path, name: str, write_to: Callable[[BinaryIO], object], *, lists_bytes: int = 0) -> Written:
    """Let write_to fill a file of a cache; it has its name when it is whole, and on the disk.

    lists_bytes is how many bytes its codes and ids take, which come last. Raises BadIndex.
    """
    with _complaining(folder), appearing(folder / name, durable=True, private=True) as draft:
        with draft.open("wb") as file:
            write_to(file)
        header = _header_sha256(draft, lists_bytes) if lists_bytes else ""
        return Written(name, draft.stat().st_size, sha256(draft).hex(), header)


def write_array(folder: Path, name: str, array: NDArray[Any]) -> Written:
    """Write a file of a cache that holds one array. Raises BadIndex."""

    def write_to(file: BinaryIO) -> None:
        # no file of the system's: NumPy's own way to write one would not say that the disk is full
        np.lib.format.write_array(cast(BinaryIO, SimpleNamespace(write=file.write)), array, allow_pickle=False)

    return write_file(folder, name, write_to)


def read_array(folder: Path, file: Written) -> NDArray[Any]:
    """What write_array wrote, as it was written. Raises CacheUnusable; FileNotFoundError, OSError, ValueError."""
    with check(folder, file).open("rb") as opened:
        return np.asarray(np.lib.format.read_array(opened, allow_pickle=False))


def check(folder: Path, file: Written, *, lists_bytes: int = 0) -> Path:
    """The path of a file that is as it was written: all of it, or, if lists have checksums of their own, its size
    and header. Raises CacheUnusable; FileNotFoundError, OSError."""
    path = folder / file.name
    if path.stat().st_size != file.size:
        raise CacheUnusable("its size is not what its stamp says")
    if lists_bytes and _header_sha256(path, lists_bytes) != file.header_sha256:
        raise CacheUnusable("its header is not what its stamp says")
    if not lists_bytes and sha256(path).hex() != file.sha256:
        raise CacheUnusable("its checksum is not what its stamp says")
    return path


def damage(folder: Path, stamp: Stamp) -> str | None:
    """What the checksums of all whole files say: None if they are as they were written."""
    try:
        right = all(sha256(folder / file.name).hex() == file.sha256 for file in stamp.written)
        return None if right else "the cache's checksum is wrong"
    except OSError as error:
        return f"the cache cannot be read: {error.strerror}"


def files(folder: Path) -> list[Path]:
    """The files of caches in a folder, those that no stamp names too: by our own pattern, and no links."""
    found = []
    for path in folder.iterdir():
        if _DATA.fullmatch(path.name):
            with suppress(FileNotFoundError):  # another has just taken its place
                found += [path] if S_ISREG(path.lstat().st_mode) else []
    return sorted(found)


def forget_others(folder: Path, *stamps: Stamp) -> None:
    """Delete the files that none of these stamps names."""
    named = {file.name for stamp in stamps for file in stamp.written}
    with _complaining(folder):
        for path in files(folder):
            if path.name not in named:
                path.unlink(missing_ok=True)


def drop(folder: Path) -> None:
    """Delete the cache in a folder; the catalog serves without it. Raises BadIndex."""
    try:
        for path in (folder / STAMP, folder / NEXT, *files(folder)):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise BadIndex(f"The cache in {folder} cannot be deleted: {error.strerror}.") from None


def on_disk(folder: Path) -> tuple[tuple[object, ...], ...]:
    """A value that differs between two states of a cache's files, without reading them: each is replaced, never written
    again."""
    found = []
    for path in sorted([folder / STAMP, *files(folder)]):
        with suppress(OSError):
            status = path.stat()
            found.append((path.name, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


@contextmanager
def _complaining(folder: Path) -> Iterator[None]:
    """Errors of writing as ours."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # faiss says RuntimeError where a write fails
        reason = getattr(error, "strerror", None) or "a write failed"
        raise BadIndex(f"The cache in {folder} cannot be written: {reason}.") from None


def _seal(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _header_sha256(path: Path, num_bytes: int) -> str:
    """The fingerprint of what a file has besides its codes and ids, which come last and take so many bytes."""
    with path.open("rb") as file:
        header = file.read(max(0, os.fstat(file.fileno()).st_size - num_bytes))
    return hashlib.sha256(header).hexdigest()
