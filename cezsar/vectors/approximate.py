"""Large caches: 8-bit codes in inverted lists (FAISS IVF-SQ8), of which a query looks at a few; ranked exactly then."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from cezsar.errors import CacheUnusable
from cezsar.types import Ids, Scores, Vectors, unit
from cezsar.vectors import Built, Chunks, Fetch, Stamp, allowed_bits, nearest

_PYTHON: Any = faiss  # its type stubs know the C++ signatures, not those of the Python wrappers
_SPARE = 48  # candidates more than are asked for: codes rank a little otherwise than vectors do
_FEW = 20_000  # allowed ids; so many are compared one by one, exactly
_SAMPLE_PER_LIST, _ROUNDS = 32, 5  # vectors that a list's centre is learnt from, and how often they are assigned
_ALL_CORES = 1  # of FAISS: the lists of one query are shared out among them
_QUERIES = 256  # that probes are chosen by
_K, _RECALL = 10, 0.999  # their nearest, and the share of them that must be found; sentences find a little less
_SEED = 0


class Approximate:
    """Codes in lists, memory-mapped."""

    def __init__(self, stamp: Stamp, path: Path) -> None:
        self.stamp = stamp
        self._index = _PYTHON.read_index(str(path), faiss.IO_FLAG_MMAP)
        self._index.parallel_mode = _ALL_CORES
        _PYTHON.downcast_InvertedLists(self._index.invlists).prefetch_nthread = 0  # or each search starts 32 threads
        shape = (self._index.ntotal, self._index.d, getattr(self._index, "nlist", 0))
        if shape != (stamp.count, stamp.dimension, stamp.lists) or not self._index.is_trained:
            raise CacheUnusable("its header is not what its stamp says")
        self._crc32 = np.frombuffer(bytes.fromhex(stamp.lists_crc32), "<u4")
        self._is_checked = np.full(stamp.lists, not stamp.lists_crc32)  # then the whole file was, at its opening
        if stamp.lists_crc32 and len(self._crc32) != stamp.lists:
            raise CacheUnusable("its stamp does not fit its lists")

    def search(
        self, query: Vectors, k: int, fetch: Fetch, *, allowed: Ids | None = None, masked: Ids | None = None
    ) -> tuple[Ids, Scores]:
        """As Cache.search. Few allowed ids are compared exactly; for many hits, and by filters, more lists are read."""
        wanted = allowed_bits(self.stamp, allowed, masked)
        share = 1.0
        if wanted is not None:
            num_wanted = int(wanted.sum())
            if num_wanted <= _FEW:
                return nearest(query, *fetch(np.flatnonzero(wanted)), k)
            share = num_wanted / self.stamp.count
        most = min(k + k // 8 + _SPARE, self.stamp.count)
        # as many lists more as hits lie farther apart: ten times the hits, twice the lists
        probes = self.stamp.probes * max(1.0, (k / _K) ** 0.3) / share
        while True:
            ids = _candidates(self._index, query[None], most, int(probes), wanted, self._check)[0]
            ids = ids[ids >= 0]
            if len(ids) == most or probes >= self.stamp.lists:
                known, rows = fetch(ids)
                if len(known) < len(ids):
                    raise CacheUnusable("it holds segments that the catalog does not")
                return nearest(query, known, rows, k)
            probes *= 4

    def _check(self, lists: NDArray[np.int64]) -> None:
        """Compare the checksums of those of these lists whose were not yet. Raises CacheUnusable."""
        for number in lists[~self._is_checked[lists]].tolist():  # each once in a process
            if _crc32(*_list(self._index, number)) != self._crc32[number]:
                raise CacheUnusable("the checksum of one of its lists is not what its stamp says")
            self._is_checked[number] = True

    def ids(self) -> Ids:
        """As Cache.ids."""
        return np.sort(np.concatenate([_list(self._index, number)[0] for number in range(self.stamp.lists)]))

    def agrees(self, ids: Ids, vectors: Vectors) -> NDArray[np.bool_]:
        """As Cache.agrees: whether it holds the codes that these vectors have."""
        lists = self._index.quantizer.assign(np.ascontiguousarray(vectors), 1)[:, 0]
        same = np.zeros(len(ids), bool)
        for number in np.unique(lists):
            there = np.flatnonzero(lists == number)
            held, codes = _list(self._index, int(number))
            order = np.argsort(held)
            at = np.searchsorted(held, ids[there], sorter=order)
            found = at < len(held)
            found[found] = held[order[at[found]]] == ids[there[found]]
            there, at = there[found], order[at[found]]
            made = self._index.sa_encode(np.ascontiguousarray(vectors[there]))[:, -self.stamp.dimension :]
            same[there] = (codes[at] == made).all(axis=1)
        return same


def _list(index: Any, number: int) -> tuple[Ids, NDArray[np.uint8]]:
    """The ids and codes of one list, where they lie: of use as long as the index is."""
    size, code_size = index.invlists.list_size(number), index.code_size
    if size == 0:
        return np.empty(0, np.int64), np.empty((0, code_size), np.uint8)
    ids = faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
    codes = faiss.rev_swig_ptr(index.invlists.get_codes(number), size * code_size)
    return ids, codes.reshape(size, code_size)


def _crc32(ids: Ids, codes: NDArray[np.uint8]) -> int:
    return zlib.crc32(ids.data, zlib.crc32(codes.data))


def build(chunks: Chunks, dimension: int, count: int) -> Built:
    """About four times the square root of count lists; probes chosen by what they find of some queries' nearest."""
    lists = 1 << round(np.log2(4 * count**0.5))
    sample, queries = _sample(chunks(), lists * _SAMPLE_PER_LIST, count)
    index = _PYTHON.IndexIVFScalarQuantizer(
        _PYTHON.IndexFlatIP(dimension), dimension, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.seed, index.cp.spherical, index.cp.niter = _SEED, True, _ROUNDS
    index.cp.min_points_per_centroid = 1  # no warning on the terminal: _SAMPLE_PER_LIST was measured
    index.parallel_mode = _ALL_CORES
    index.train(sample)
    last, exact = 0, _Best(queries)
    for ids, vectors in chunks():
        index.add_with_ids(np.ascontiguousarray(vectors, np.float32), ids)
        exact.add(ids, vectors)
        last = int(ids.max(initial=last))
    probes, recall = 1, 0.0
    while True:
        found = _candidates(index, queries, _K + _SPARE, probes, None)
        recall = float(np.mean([np.isin(right, some).mean() for right, some in zip(exact.ids, found, strict=True)]))
        if recall >= _RECALL or probes >= lists:
            crc32 = np.array([_crc32(*_list(index, number)) for number in range(lists)], "<u4").tobytes().hex()
            return Built(index, last, min(probes, lists), round(recall, 4), crc32)
        probes = probes + 1 + probes // 2


class _Best:
    """The nearest of each query among all vectors that were added, exactly."""

    def __init__(self, queries: Vectors) -> None:
        self._queries = queries
        self.ids = np.full((len(queries), _K), -1, np.int64)
        self._scores = np.full((len(queries), _K), -np.inf, np.float32)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Compare the next vectors."""
        scores = np.concatenate([self._scores, self._queries @ vectors.T], axis=1)
        candidates = np.concatenate([self.ids, np.broadcast_to(ids, (len(self._queries), len(ids)))], axis=1)
        best = np.argpartition(-scores, _K - 1, axis=1)[:, :_K]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self.ids = np.take_along_axis(candidates, best, axis=1)


def _candidates(
    index: Any,
    queries: Vectors,
    most: int,
    probes: int,
    wanted: NDArray[np.bool_] | None,
    check: Callable[[NDArray[np.int64]], None] | None = None,
) -> NDArray[np.int64]:
    """(N, most) ids by their codes, -1 where a query's lists hold no more. check hears which lists will be read."""
    queries = np.ascontiguousarray(queries, np.float32)
    num_lists = min(probes, index.nlist)
    nearness, lists = index.quantizer.search(queries, num_lists)
    if check is not None:
        check(lists.ravel())
    selector = None if wanted is None else _PYTHON.IDSelectorBitmap(np.packbits(wanted, bitorder="little"))
    parameters = _PYTHON.SearchParametersIVF(nprobe=num_lists, sel=selector)
    scores, ids = np.empty((len(queries), most), np.float32), np.empty((len(queries), most), np.int64)
    arrays = [faiss.swig_ptr(array) for array in (lists, nearness, scores, ids)]
    # the C++ method itself: its wrapper takes no parameters
    index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), most, *arrays, False, parameters)
    return ids


def _sample(chunks: Iterable[tuple[Ids, Vectors]], most: int, count: int) -> tuple[Vectors, Vectors]:
    """About most of the vectors, evenly spread; and as queries what lies half way between two of them.

    A sentence lies beside what videos show, not on it: to be found among their own neighbours is too easy a question.
    """
    step = max(1, count // most)
    parts, start = [], 0
    for _, vectors in chunks:
        parts.append(vectors[start::step])
        start = (start - len(vectors)) % step
    sample = np.ascontiguousarray(np.concatenate(parts), np.float32)
    one, other = np.random.default_rng(_SEED).integers(len(sample), size=(2, _QUERIES))
    return sample, unit(sample[one] + sample[other])
