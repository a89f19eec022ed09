"""Nearest vectors: a FAISS file that can be rebuilt from the catalog at any time; the only door to faiss.

The file is immutable and its name is new each time; the stamp (vectors.json), replaced atomically, says which file
counts, of which index, and at which generation of the catalog. Nobody writes to a file that a stamp names.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from cezsar.digest import sha256
from cezsar.errors import BadIndex, CacheMissing, CacheUnusable, IndexDamaged
from cezsar.types import Ids, Scores, Vectors

STAMP = "vectors.json"
_EQUAL = 1e-6  # scores nearer than this are the same: faiss and NumPy round differently
_MOST = 1.001  # no two unit vectors have a larger inner product
_faiss: Any = faiss  # its type stubs know the C++ signatures, not those of the Python wrappers


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a cache file holds: every segment of index_id up to last_segment_id, as of generation.

    size is in bytes; count is the number of vectors; sha256 is of the whole file, header_sha256 of what comes before
    the vectors and ids, which is checked at every opening. In the stamp's own file seal is the sha256 of all of this.
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


class Cache:
    """An open, memory-mapped cache: exact inner-product search over unit vectors with the segments' own ids."""

    def __init__(self, stamp: Stamp, index: Any) -> None:
        self.stamp = stamp
        self._index = index

    def search(
        self, query: Vectors, k: int, *, allowed: Ids | None = None, masked: Ids | None = None
    ) -> tuple[Ids, Scores]:
        """The k ids nearest to query (D,) and their scores, best first, equal scores by id; fewer where so.

        allowed, where given, are the only ids that may be found; masked ones are never found. Both apply before top-k.
        """
        bits = np.ones(self.stamp.last_segment_id + 1, bool)
        if allowed is not None:
            bits[:] = False
            bits[self._own(allowed)] = True
        if masked is not None:
            bits[self._own(masked)] = False
        selector = _faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
        parameters = _faiss.SearchParametersIVF(nprobe=1, sel=selector)
        row = np.ascontiguousarray(query[None], np.float32)
        k = max(1, min(k, self.stamp.count))
        (scores,), (ids,) = self._index.search(row, k + 1, params=parameters)
        # of equals at the end faiss keeps any, we the lowest ids
        if ids[k] >= 0 and scores[k - 1] - scores[k] < _EQUAL:
            least = float(scores[k - 1] - 2 * _EQUAL)
            _, scores, ids = self._index.range_search(row, least, params=parameters)
        there = ids >= 0
        ids, scores = _ranked(ids[there], scores[there])
        return ids[:k], scores[:k]

    def _own(self, ids: Ids) -> Ids:
        """Those of these ids that can be in it."""
        return ids[(ids >= 0) & (ids <= self.stamp.last_segment_id)]

    def rows(self) -> tuple[Ids, Vectors]:
        """All (N,) ids, ascending, and their (N, D) vectors."""
        lists, dimension = self._index.invlists, self.stamp.dimension
        count = lists.list_size(0)
        if count == 0:
            return np.empty(0, np.int64), np.empty((0, dimension), np.float32)
        ids = faiss.rev_swig_ptr(lists.get_ids(0), count)
        vectors = faiss.rev_swig_ptr(lists.get_codes(0), count * dimension * 4).view("<f4").reshape(count, dimension)
        order = np.argsort(ids)
        return ids[order], vectors[order]


def nearest(query: Vectors, ids: Ids, vectors: Vectors, k: int) -> tuple[Ids, Scores]:
    """The k of these (N,) ids whose (N, D) vectors are nearest to query (D,), best first, and their scores.

    Raises IndexDamaged where a vector cannot be of length 1.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        scores = np.asarray(vectors @ query, np.float32)
    _check_scores(scores)
    if k < len(scores):
        kept = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k] - 2 * _EQUAL)
        ids, scores = ids[kept], scores[kept]
    ranked_ids, ranked = _ranked(ids, scores)
    return ranked_ids[:k], ranked[:k]


def merged(one: tuple[Ids, Scores], other: tuple[Ids, Scores], k: int) -> tuple[Ids, Scores]:
    """The best k of two answers."""
    ids, scores = _ranked(np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]]))
    return ids[:k], scores[:k]


def build(
    directory: Path, chunks: Iterable[tuple[Ids, Vectors]], *, index_id: str, generation: int, dimension: int
) -> Stamp:
    """Write a cache of these vectors and make it the one that counts; readers see the old one or the new one."""
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, 1, faiss.METRIC_INNER_PRODUCT)
    index.quantizer.add(np.zeros((1, dimension), np.float32))  # one list: an exact search, by the segments' own ids
    index.is_trained = True
    last = 0
    for ids, vectors in chunks:
        index.add_with_ids(np.ascontiguousarray(vectors, np.float32), ids)
        last = int(ids.max(initial=last))
    draft = directory / f"vectors.{os.getpid()}.new"
    try:
        with draft.open("wb") as file:  # faiss's own writer would not say that the disk is full
            faiss.write_index(index, _faiss.PyCallbackIOWriter(file.write, 1 << 20))
            file.flush()
            os.fsync(file.fileno())
        digest = sha256(draft).hex()
        stamp = Stamp(
            file=f"vectors-{generation}-{digest[:8]}.faiss",
            size=draft.stat().st_size,
            sha256=digest,
            header_sha256=_header_sha256(draft, index.ntotal, dimension),
            index_id=index_id,
            generation=generation,
            last_segment_id=last,
            count=index.ntotal,
            dimension=dimension,
        )
        os.replace(draft, directory / stamp.file)
        with draft.open("w", encoding="utf-8") as text:
            json.dump({**asdict(stamp), "seal": _seal(stamp)}, text, indent=1)
            text.flush()
            os.fsync(text.fileno())
        os.replace(draft, directory / STAMP)
    except (OSError, RuntimeError) as error:  # faiss says RuntimeError where a write fails
        reason = getattr(error, "strerror", None) or "a write failed"
        raise BadIndex(f"The FAISS cache in {directory} cannot be written: {reason}.") from None
    finally:
        draft.unlink(missing_ok=True)
    for old in directory.glob("vectors-*.faiss"):
        if old.name != stamp.file:
            old.unlink(missing_ok=True)
    return stamp


def load(directory: Path, *, index_id: str, dimension: int) -> Cache:
    """Open the cache that counts; costs the same at any size. Raises CacheUnusable with the reason."""
    for _ in range(3):  # the file may be replaced between reading its stamp and opening it
        stamp = _read_stamp(directory)
        if stamp.index_id != index_id:
            raise CacheUnusable("it belongs to another index")
        if stamp.dimension != dimension:
            raise CacheUnusable(f"it holds {stamp.dimension}-d vectors, the catalog {dimension}-d ones")
        try:
            if (directory / stamp.file).stat().st_size != stamp.size:
                raise CacheUnusable("its size is not what its stamp says")
            if _header_sha256(directory / stamp.file, stamp.count, dimension) != stamp.header_sha256:
                raise CacheUnusable("its header is not what its stamp says")
            index = faiss.read_index(str(directory / stamp.file), faiss.IO_FLAG_MMAP)
        except FileNotFoundError:
            continue
        except (RuntimeError, OSError, ValueError, MemoryError):  # whatever a damaged header makes faiss say
            raise CacheUnusable("its file cannot be read") from None
        shape = (index.ntotal, index.d)
        if not (isinstance(index, faiss.IndexIVFFlat) and index.is_trained and shape == (stamp.count, dimension)):
            raise CacheUnusable("its header is not what its stamp says")
        return Cache(stamp, index)
    raise CacheUnusable("its file is missing")


def damage(directory: Path, stamp: Stamp) -> str | None:
    """What the checksum of the whole file says: None where it is as it was written."""
    try:
        return None if sha256(directory / stamp.file).hex() == stamp.sha256 else "the FAISS cache's checksum is wrong"
    except OSError as error:
        return f"the FAISS cache cannot be read: {error.strerror}"


def _header_sha256(path: Path, count: int, dimension: int) -> str:
    """The fingerprint of what a file has besides count float32 vectors and their int64 ids, which come last."""
    with path.open("rb") as file:
        header = file.read(max(0, path.stat().st_size - count * (4 * dimension + 8)))
    return hashlib.sha256(header).hexdigest()


def _read_stamp(directory: Path) -> Stamp:
    try:
        fields = json.loads((directory / STAMP).read_text(encoding="utf-8"))
        seal = fields.pop("seal", None)
        stamp = Stamp(**fields)
        types = {"str": str, "int": int}
        if any(type(fields[field.name]) is not types[str(field.type)] for field in dataclass_fields(Stamp)):
            raise ValueError
        if seal != _seal(stamp) or Path(stamp.file).name != stamp.file:
            raise ValueError
    except FileNotFoundError:
        raise CacheMissing("there is none yet") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        raise CacheUnusable("its stamp cannot be read") from None
    return stamp


def _seal(stamp: Stamp) -> str:
    return hashlib.sha256(json.dumps(asdict(stamp), sort_keys=True).encode()).hexdigest()


def _ranked(ids: Ids, scores: NDArray[np.floating]) -> tuple[Ids, Scores]:
    """Best first, to six decimals; equal scores by id, so that an answer repeats wherever its vectors were read."""
    _check_scores(scores)
    rounded = np.asarray(np.round(scores.astype(np.float64), 6), np.float64)
    order = np.lexsort((ids, -rounded))
    return ids[order], rounded[order]


def _check_scores(scores: NDArray[np.floating]) -> None:
    if not (np.abs(scores) <= _MOST).all():
        raise IndexDamaged("Some vectors in the index are not of length 1: `cezsar verify` says more.")
