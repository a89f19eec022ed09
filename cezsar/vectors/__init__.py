"""Nearest vectors: a FAISS file that can be rebuilt from the catalog at any time; the only door to faiss.

The file is immutable and its name is new each time; the stamp (vectors.json), replaced atomically, says which file
counts, of which index, and at which generation of the catalog. Nobody writes to a file that a stamp names.

Up to APPROXIMATE_FROM vectors it holds them as they are and NumPy searches it, exactly: importing faiss takes longer.
A larger one holds codes in inverted lists (cezsar.vectors.approximate); what is found there is ranked by the catalog's
vectors. Nothing is read of either before a checksum of it was compared: of a small one at its opening, of a large one's
lists when they are first looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from stat import S_ISREG
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cezsar.digest import sha256
from cezsar.errors import BadIndex, CacheMissing, CacheUnusable, IndexDamaged
from cezsar.files import private
from cezsar.types import Ids, Scores, Vectors

STAMP = "vectors.json"
_FILE = re.compile(r"vectors-\d+-[0-9a-f]{8}\.faiss")
APPROXIMATE_FROM = (
    200_000  # vectors: from here on an exact search takes over a tenth of a second (benchmarks/search.py)
)
_EQUAL = 1e-6  # scores nearer than this are the same: BLAS rounds differently from one shape to another
_MOST = 1.001  # no two unit vectors have a larger inner product
_ROWS = 4096  # compared at once

Chunks: TypeAlias = Callable[[], Iterable[tuple[Ids, Vectors]]]
Fetch: TypeAlias = Callable[[Ids], tuple[Ids, Vectors]]  # the catalog's vectors of these ids


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a cache file holds: every segment of index_id up to last_segment_id, as of generation.

    size is in bytes; count is the number of vectors; sha256 is of the whole file, header_sha256 of what comes before
    the vectors and ids. lists is how many inverted lists there are, 1 for an exact search; probes of them are looked
    at, which found recall of the 10 nearest of a sample. lists_crc32 holds, in hex, four bytes a list, little-endian:
    the CRC-32 of its codes and then its ids; it is empty for an exact search. In the stamp's own file seal is the
    sha256 of all of this.
    """

    file: str
    size: int
    sha256: str
    header_sha256: str
    index_id: str
    generation: int
    last_segment_id: int
    count: int
    dimension: int
    lists: int
    probes: int
    recall: float
    lists_crc32: str = ""


class Cache(Protocol):
    """An open, memory-mapped cache of unit vectors with the segments' own ids."""

    @property
    def stamp(self) -> Stamp:
        """What it holds."""

    def search(
        self, query: Vectors, k: int, fetch: Fetch, *, allowed: Ids | None = None, masked: Ids | None = None
    ) -> tuple[Ids, Scores]:
        """The k ids nearest to query (D,) and their exact scores, best first, equal scores by id; fewer where so.

        allowed, where given, are the only ids that may be found; masked ones are never found. Both apply before top-k.
        An approximate cache ranks by the vectors that fetch gives, and may miss some of the nearest. Raises
        CacheUnusable where what it has to read is damaged.
        """

    def ids(self) -> Ids:
        """All (N,) ids, ascending."""

    def agrees(self, ids: Ids, vectors: Vectors) -> NDArray[np.bool_]:
        """For each of these ids, all of which are in it, whether it holds this vector: (N,)."""


class Exact:
    """Vectors as they are, searched by NumPy: a FAISS IVF file of one list, whose vectors and then ids come last."""

    def __init__(self, stamp: Stamp, path: Path) -> None:
        self.stamp = stamp
        start = stamp.size - stamp.count * (4 * stamp.dimension + 8)
        mapped = np.memmap(path, np.uint8, "r", start, (stamp.size - start,)) if stamp.count else np.empty(0, np.uint8)
        middle = 4 * stamp.count * stamp.dimension
        self._vectors = mapped[:middle].view("<f4").reshape(stamp.count, stamp.dimension)
        self._ids = np.array(mapped[middle:]).view("<i8")

    def search(
        self, query: Vectors, k: int, fetch: Fetch, *, allowed: Ids | None = None, masked: Ids | None = None
    ) -> tuple[Ids, Scores]:
        """As Cache.search."""
        wanted = allowed_bits(self.stamp, allowed, masked)
        if wanted is None:
            return nearest(query, self._ids, self._vectors, k)
        shown = wanted.take(self._ids, mode="clip")
        return nearest(query, self._ids[shown], self._vectors[shown], k)

    def ids(self) -> Ids:
        """As Cache.ids."""
        return np.sort(self._ids)

    def agrees(self, ids: Ids, vectors: Vectors) -> NDArray[np.bool_]:
        """As Cache.agrees."""
        order = np.argsort(self._ids)
        held = self._vectors[order[np.searchsorted(self._ids, ids, sorter=order)]]
        return np.asarray((held == vectors).all(axis=1))


def allowed_bits(stamp: Stamp, allowed: Ids | None, masked: Ids | None) -> NDArray[np.bool_] | None:
    """For each id up to the last whether it may be found; None where all may."""
    own = [None if ids is None else ids[(ids >= 0) & (ids <= stamp.last_segment_id)] for ids in (allowed, masked)]
    if own[0] is None and (own[1] is None or len(own[1]) == 0):
        return None
    bits = np.full(stamp.last_segment_id + 1, own[0] is None)
    if own[0] is not None:
        bits[own[0]] = True
    if own[1] is not None:
        bits[own[1]] = False
    return bits


def nearest(query: Vectors, ids: Ids, vectors: Vectors, k: int) -> tuple[Ids, Scores]:
    """The k of these (N,) ids whose (N, D) vectors are nearest to query (D,), best first, and their scores.

    Raises IndexDamaged where a vector cannot be of length 1.
    """
    return best(ids, similarities(query, vectors), k)


def similarities(query: Vectors, vectors: Vectors) -> NDArray[np.float32]:
    """The inner products (N,) of query (D,) and vectors (N, D), as they are compared: not rounded yet.

    Raises IndexDamaged where a vector cannot be of length 1.
    """
    scores = np.empty(len(vectors), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(vectors), _ROWS):
            part = np.require(vectors[start : start + _ROWS], np.float32, "A")  # mapped ones lie at odd addresses
            # memory is the limit, and BLAS would wake threads, whose spinning then holds up all others for 25 ms
            np.einsum("nd,d->n", part, query, out=scores[start : start + _ROWS])
    _check_scores(scores)
    return scores


def best(ids: Ids, scores: NDArray[np.float32], k: int) -> tuple[Ids, Scores]:
    """The k of these (N,) ids with the highest of these (N,) scores, best first, and those."""
    if k < len(scores):
        kept = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k] - 2 * _EQUAL)
        ids, scores = ids[kept], scores[kept]
    ranked_ids, ranked = _ranked(ids, scores)
    return ranked_ids[:k], ranked[:k]


def merged(one: tuple[Ids, Scores], other: tuple[Ids, Scores], k: int) -> tuple[Ids, Scores]:
    """The best k of two answers."""
    ids, scores = _ranked(np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]]))
    return ids[:k], scores[:k]


def build(directory: Path, chunks: Chunks, *, index_id: str, generation: int, dimension: int, count: int) -> Stamp:
    """Write a cache of count vectors and make it the one that counts; readers see the old one or the new one.

    Each call of chunks gives all of them, in parts: ids and vectors.
    """
    import faiss

    from cezsar.vectors import approximate

    python: Any = faiss  # its type stubs know the C++ signatures, not those of the Python wrappers
    made = approximate.build(chunks, dimension, count) if count >= APPROXIMATE_FROM else _exact(chunks(), dimension)
    index, last = made.index, made.last_segment_id
    draft = directory / f"vectors.{os.getpid()}.new"
    try:
        with open(draft, "wb", opener=private) as file:  # faiss's own writer would not say that the disk is full
            faiss.write_index(index, python.PyCallbackIOWriter(file.write, 1 << 20))
            file.flush()
            os.fsync(file.fileno())
        digest = sha256(draft).hex()
        stamp = Stamp(
            file=f"vectors-{generation}-{digest[:8]}.faiss",
            size=draft.stat().st_size,
            sha256=digest,
            header_sha256=_header_sha256(draft, index.ntotal * (index.code_size + 8)),
            index_id=index_id,
            generation=generation,
            last_segment_id=last,
            count=index.ntotal,
            dimension=dimension,
            lists=index.nlist,
            probes=made.probes,
            recall=made.recall,
            lists_crc32=made.lists_crc32,
        )
        os.replace(draft, directory / stamp.file)
        with open(draft, "w", encoding="utf-8", opener=private) as text:
            json.dump({**_fields(stamp), "seal": _seal(stamp)}, text, indent=1)
            text.flush()
            os.fsync(text.fileno())
        os.replace(draft, directory / STAMP)
    except (OSError, RuntimeError) as error:  # faiss says RuntimeError where a write fails
        reason = getattr(error, "strerror", None) or "a write failed"
        raise BadIndex(f"The FAISS cache in {directory} cannot be written: {reason}.") from None
    finally:
        draft.unlink(missing_ok=True)
    for old in files(directory):
        if old.name != stamp.file:
            old.unlink(missing_ok=True)
    return stamp


def files(directory: Path) -> list[Path]:
    """The cache files in a folder, those that no stamp names too: by our own pattern, and no links."""
    found = []
    for path in directory.iterdir():
        if _FILE.fullmatch(path.name):
            with suppress(FileNotFoundError):  # another has just taken its place
                found += [path] if S_ISREG(path.lstat().st_mode) else []
    return sorted(found)


def drop(directory: Path) -> None:
    """Delete the cache in a folder; the catalog serves without it. Raises BadIndex."""
    try:
        for path in (directory / STAMP, *files(directory)):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise BadIndex(f"The FAISS cache in {directory} cannot be deleted: {error.strerror}.") from None


def load(directory: Path, *, index_id: str, dimension: int) -> Cache:
    """Open the cache that counts. Raises CacheUnusable with the reason.

    The checksum of the whole file is compared, unless its lists have their own, which are compared when they are read:
    then opening costs the same at any size.
    """
    for _ in range(3):  # the file may be replaced between reading its stamp and opening it
        stamp = _read_stamp(directory)
        if stamp.index_id != index_id:
            raise CacheUnusable("it belongs to another index")
        if stamp.dimension != dimension:
            raise CacheUnusable(f"it holds {stamp.dimension}-d vectors, the catalog {dimension}-d ones")
        path = directory / stamp.file
        try:
            if path.stat().st_size != stamp.size:
                raise CacheUnusable("its size is not what its stamp says")
            code_size = 4 * dimension if stamp.lists == 1 else dimension
            if _header_sha256(path, stamp.count * (code_size + 8)) != stamp.header_sha256:
                raise CacheUnusable("its header is not what its stamp says")
            if not stamp.lists_crc32 and sha256(path).hex() != stamp.sha256:
                raise CacheUnusable("its checksum is not what its stamp says")
            if stamp.lists == 1:
                return Exact(stamp, path)
            from cezsar.vectors.approximate import Approximate

            return Approximate(stamp, path)
        except FileNotFoundError:
            continue
        except (RuntimeError, OSError, ValueError, MemoryError):  # whatever a damaged header makes faiss say
            raise CacheUnusable("its file cannot be read") from None
    raise CacheUnusable("its file is missing")


def on_disk(directory: Path) -> tuple[tuple[object, ...], ...]:
    """What tells one state of a cache's files from another, unread: each is replaced, never written again."""
    found = []
    for path in sorted([directory / STAMP, *files(directory)]):
        with suppress(OSError):
            status = path.stat()
            found.append((path.name, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def damage(directory: Path, stamp: Stamp) -> str | None:
    """What the checksum of the whole file says: None where it is as it was written."""
    try:
        return None if sha256(directory / stamp.file).hex() == stamp.sha256 else "the FAISS cache's checksum is wrong"
    except OSError as error:
        return f"the FAISS cache cannot be read: {error.strerror}"


@dataclass(frozen=True, slots=True)
class Built:
    """A FAISS index in memory, its highest id, and what Stamp says of its search."""

    index: Any
    last_segment_id: int
    probes: int = 1
    recall: float = 1.0
    lists_crc32: str = ""


def _exact(chunks: Iterable[tuple[Ids, Vectors]], dimension: int) -> Built:
    import faiss

    python: Any = faiss
    index = python.IndexIVFFlat(python.IndexFlatIP(dimension), dimension, 1, faiss.METRIC_INNER_PRODUCT)
    index.quantizer.add(np.zeros((1, dimension), np.float32))  # one list: an exact search, by the segments' own ids
    index.is_trained = True
    last = 0
    for ids, vectors in chunks:
        index.add_with_ids(np.ascontiguousarray(vectors, np.float32), ids)
        last = int(ids.max(initial=last))
    return Built(index, last)


def _header_sha256(path: Path, num_bytes: int) -> str:
    """The fingerprint of what a file has besides its vectors and ids, which come last and take so many bytes."""
    with path.open("rb") as file:
        header = file.read(max(0, path.stat().st_size - num_bytes))
    return hashlib.sha256(header).hexdigest()


def _read_stamp(directory: Path) -> Stamp:
    try:
        fields = json.loads((directory / STAMP).read_text(encoding="utf-8"))
        seal = fields.pop("seal", None)
        stamp = Stamp(**fields)
        types = {"str": str, "int": int, "float": float}
        if any(type(getattr(stamp, field.name)) is not types[str(field.type)] for field in dataclass_fields(Stamp)):
            raise ValueError
        if seal != _seal(stamp) or Path(stamp.file).name != stamp.file or stamp.lists < 1:
            raise ValueError
    except FileNotFoundError:
        raise CacheMissing("there is none yet") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        raise CacheUnusable("its stamp cannot be read") from None
    return stamp


def _fields(stamp: Stamp) -> dict[str, Any]:
    """As they are written, and sealed: what is empty is left out, as in a stamp from before there was such a field."""
    return {name: value for name, value in asdict(stamp).items() if value != ""}


def _seal(stamp: Stamp) -> str:
    return hashlib.sha256(json.dumps(_fields(stamp), sort_keys=True).encode()).hexdigest()


def _ranked(ids: Ids, scores: NDArray[np.floating]) -> tuple[Ids, Scores]:
    """Best first, to six decimals; equal scores by id, so that an answer repeats wherever its vectors were read."""
    _check_scores(scores)
    rounded = np.asarray(np.round(scores.astype(np.float64), 6), np.float64)
    order = np.lexsort((ids, -rounded))
    return ids[order], rounded[order]


def _check_scores(scores: NDArray[np.floating]) -> None:
    if not (np.abs(scores) <= _MOST).all():
        raise IndexDamaged("Some vectors in the index are not of length 1: `cezsar verify` says more.")
