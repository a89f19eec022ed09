"""Parts of a large cache: 8-bit codes in inverted lists (FAISS IVF-SQ8), of which a query looks at a few.

All parts have the same lists: their centres, and the ranges of the codes, are in a file of their own. With gpu.py the
only door to faiss.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from cezsar.errors import CacheUnusable
from cezsar.store.best import NUM_BEST, Best
from cezsar.store.local.choice import Choice
from cezsar.store.local.gpu import clustering_index, gpu, nearest
from cezsar.store.local.stamp import Sealed, Stamp, Written, check, read_array, write_array, write_file
from cezsar.types import Ids, Vectors, unit

_PYTHON: Any = faiss  # its type stubs know the C++ signatures, not those of the Python wrappers
_SAMPLE_PER_LIST, _ROUNDS = 32, 5  # vectors that a list's centre is learnt from, and how often they are assigned
_SHARED_OUT = 1  # of FAISS: the lists of one query are shared out among its threads
_QUERIES = 256  # that probes are chosen by
_RECALL = 0.999  # the share of their ten nearest that must be found; sentences find a little less
_SPARE = 48  # candidates more than are asked for: codes rank a little otherwise than vectors do
_SEED = 0


class Lists:
    """The open parts of a cache, memory-mapped. Raises CacheUnusable if a file is not as it was written.

    A list is read only after its checksum was compared, once per process.
    """

    def __init__(self, folder: Path, stamp: Stamp) -> None:
        self.stamp = stamp
        self._trained = load_trained(folder, stamp)
        self._parts = [_Mapped(folder, part, stamp) for part in stamp.parts]

    def candidates(
        self, query: Vectors, most: int, choice: Choice, *, breadth: float = 1.0, cores: int | None = None
    ) -> tuple[Ids, bool]:
        """Up to `most` allowed ids nearest to query (D,) by their codes, best first, fewer if the searched lists hold
        no more; and whether all lists were searched.

        breadth multiplies the usual number of searched lists; cores is the most threads.
        """
        if cores is not None:
            faiss.omp_set_num_threads(cores)
        share = 1.0 if choice.only is None else max(len(choice.only), 1) / max(self.stamp.count, 1)
        probes = min(int(self.stamp.probes * breadth / min(share, 1.0)), self.stamp.lists)
        bits = choice.bits(self.stamp.last_segment_id) if choice.chooses else None
        ids = _searched(self._trained, self._parts, query[None], most, probes, bits, is_checked=True)[0]
        return ids[ids >= 0], probes == self.stamp.lists

    def ids(self) -> Ids:
        """All (N,) ids, ascending."""
        found = [_list(part.index, number)[0] for part in self._parts for number in range(self.stamp.lists)]
        return np.sort(np.concatenate([np.empty(0, np.int64), *found]))

    def agrees(self, ids: Ids, vectors: Vectors) -> NDArray[np.bool_]:
        """For each of these ids, all of which are in it, whether it holds the codes of this vector: (N,)."""
        vectors = np.ascontiguousarray(vectors)
        lists = self._trained.quantizer.assign(vectors, 1)[:, 0]
        codes = self._trained.sa_encode(vectors)[:, -self.stamp.dimension :]
        same = np.zeros(len(ids), bool)
        for part in self._parts:
            inside = (ids > part.part.after) & (ids <= part.part.last)
            for number in np.unique(lists[inside]):
                there = np.flatnonzero(inside & (lists == number))
                held, held_codes = _list(part.index, int(number))
                order = np.argsort(held)
                at = np.searchsorted(held, ids[there], sorter=order)
                found = at < len(held)
                found[found] = held[order[at[found]]] == ids[there[found]]
                same[there[found]] = (held_codes[order[at[found]]] == codes[there[found]]).all(axis=1)
        return same


class _Mapped:
    """One part's lists, where they lie."""

    def __init__(self, folder: Path, part: Sealed, stamp: Stamp) -> None:
        self.part = part
        self.index = _opened(folder, part, stamp, faiss.IO_FLAG_MMAP)
        self.index.parallel_mode = _SHARED_OUT
        _PYTHON.downcast_InvertedLists(self.index.invlists).prefetch_nthread = 0  # or each search starts 32 threads
        self._crc32 = read_array(folder, part.beside)
        if (self._crc32.shape, self._crc32.dtype) != ((stamp.lists,), np.dtype("<u4")):
            raise CacheUnusable("its stamp does not fit its lists")
        self._is_checked = np.zeros(stamp.lists, bool)

    def check(self, lists: NDArray[np.int64]) -> None:
        """Compare the checksums of those of these lists whose were not yet. Raises CacheUnusable."""
        for number in lists[~self._is_checked[lists]].tolist():
            if _crc32(self.index, number) != self._crc32[number]:
                raise CacheUnusable("the checksum of one of its lists is not what its stamp says")
            self._is_checked[number] = True


def train(folder: Path, chunks: Iterable[tuple[Ids, Vectors]], *, generation: int, dimension: int, count: int) -> Stamp:
    """Learn about four times the square root of count lists; the stamp of a cache without parts. Raises BadIndex."""
    lists = 1 << round(np.log2(4 * count**0.5))
    sample = _sample(chunks, lists * _SAMPLE_PER_LIST, count)
    index = gpu().run(
        lambda resources: learnt(sample, lists, clustering_index(dimension, resources)), lambda: learnt(sample, lists)
    )
    name = f"vectors-{generation}-{secrets.token_hex(4)}.faiss"
    return Stamp("", dimension, (), lists, 1, 0.0, _written(folder, name, index), count)


def learnt(sample: Vectors, lists: int, clustering: Any = None) -> Any:
    """An index without vectors, whose centres were learnt by the clustering index, None for its own."""
    dimension = sample.shape[1]
    index = _PYTHON.IndexIVFScalarQuantizer(
        _PYTHON.IndexFlatIP(dimension), dimension, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.seed, index.cp.spherical, index.cp.niter = _SEED, True, _ROUNDS
    index.cp.min_points_per_centroid = 1  # no warning on the terminal: _SAMPLE_PER_LIST was measured
    if clustering is not None:
        index.clustering_index = clustering
    index.train(sample)
    index.clustering_index = None
    return index


def load_trained(folder: Path, stamp: Stamp) -> Any:
    """The lists' centres and the codes' ranges, without any vectors. Raises CacheUnusable, OSError."""
    assert stamp.trained is not None
    index = _read(str(check(folder, stamp.trained)))
    if (index.d, getattr(index, "nlist", 0)) != (stamp.dimension, stamp.lists) or not index.is_trained:
        raise CacheUnusable("its header is not what its stamp says")
    return index


def best(trained: Any) -> Best:
    """The exact nearest, still to be added, of queries to choose probes by: points half way between two lists' centres.

    A sentence lies beside the vectors of videos, not among them: a search for vectors among their own neighbours would
    be too easy.
    """
    centres = trained.quantizer.reconstruct_n(0, trained.nlist)
    one, other = np.random.default_rng(_SEED).integers(len(centres), size=(2, _QUERIES))
    return Best(unit(centres[one] + centres[other]), nearest)


def seal(
    folder: Path, stamp: Stamp, trained: Any, chunks: Iterable[tuple[Ids, Vectors]], *, after: int, generation: int,
    onto: Sequence[Sealed] = (),
) -> Sealed:  # fmt: skip
    """Write a part of the segments with ids above after; with the parts onto, which come right before it, in front.

    Raises BadIndex; CacheUnusable if one of these is damaged.
    """
    empty = _PYTHON.IndexFlatIP(stamp.dimension)
    index = _PYTHON.IndexIVFScalarQuantizer(
        empty, stamp.dimension, stamp.lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.sq, index.is_trained = trained.sq, True
    for part in onto:
        check(folder, part.data)  # the whole of it: what is wrong in it must not be sealed again
        older = _opened(folder, part, stamp, 0)
        index.invlists.merge_from(older.invlists, 0)
        index.ntotal += older.ntotal
    index.quantizer = trained.quantizer  # for as long as vectors are added: it is not written once more a part
    last = after
    for ids, vectors in chunks:
        index.add_with_ids(np.ascontiguousarray(vectors, np.float32), ids)
        last = int(ids.max(initial=last))
    index.quantizer = empty
    name = f"vectors-{generation}-{secrets.token_hex(4)}"
    crc32 = np.array([_crc32(index, number) for number in range(stamp.lists)], "<u4")
    return Sealed(
        (*(piece for part in onto for piece in part.pieces), (after, generation)),
        last,
        index.ntotal,
        _written(folder, f"{name}.faiss", index),
        write_array(folder, f"{name}.crc32.npy", crc32),
    )


def probes(folder: Path, stamp: Stamp, trained: Any, exact: Best) -> tuple[int, float]:
    """How many lists a search must read to find _RECALL of the nearest of its queries, and the recall that this
    reaches."""
    parts = [_Mapped(folder, part, stamp) for part in stamp.parts]
    chosen = 1
    while True:
        found = _searched(trained, parts, exact.queries, NUM_BEST + _SPARE, min(chosen, stamp.lists), None)
        recall = exact.recall(found)
        if recall >= _RECALL or chosen >= stamp.lists:
            return min(chosen, stamp.lists), round(recall, 4)
        chosen += 1 + chosen // 2


def _searched(
    trained: Any,
    parts: Sequence[_Mapped],
    queries: Vectors,
    most: int,
    probes: int,
    bits: NDArray[np.uint8] | None,
    *,
    is_checked: bool = False,
) -> NDArray[np.int64]:
    """(N, most) ids by their codes, best first, -1 where a query's lists hold no more."""
    queries = np.ascontiguousarray(queries, np.float32)
    nearness, lists = trained.quantizer.search(queries, probes)
    selector = None if bits is None else _PYTHON.IDSelectorBitmap(bits)
    parameters = _PYTHON.SearchParametersIVF(nprobe=probes, sel=selector)
    shape = (len(queries), most)
    all_scores, all_ids = [np.empty((len(queries), 0), np.float32)], [np.empty((len(queries), 0), np.int64)]
    for part in parts:
        if is_checked:
            part.check(lists.ravel())
        scores, ids = np.empty(shape, np.float32), np.empty(shape, np.int64)
        arrays = [faiss.swig_ptr(array) for array in (lists, nearness, scores, ids)]
        # the C++ method itself: its wrapper takes no parameters
        part.index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), most, *arrays, False, parameters)
        all_scores.append(np.where(ids < 0, -np.inf, scores))
        all_ids.append(ids)
    scores, ids = np.concatenate(all_scores, axis=1), np.concatenate(all_ids, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    return np.take_along_axis(ids, order, axis=1)


def _opened(folder: Path, part: Sealed, stamp: Stamp, flags: int) -> Any:
    path = check(folder, part.data, lists_bytes=part.count * (stamp.dimension + 8))
    index = _read(str(path), flags)
    shape = (index.ntotal, index.d, getattr(index, "nlist", 0))
    if shape != (part.count, stamp.dimension, stamp.lists) or not index.is_trained:
        raise CacheUnusable("its header is not what its stamp says")
    return index


def _read(path: str, flags: int = 0) -> Any:
    return _PYTHON.read_index(path, flags)


def _written(folder: Path, name: str, index: Any) -> Written:
    # faiss's own writer would not say that the disk is full
    return write_file(
        folder,
        name,
        lambda file: _PYTHON.write_index(index, _PYTHON.PyCallbackIOWriter(file.write, 1 << 20)),
        lists_bytes=index.ntotal * (index.code_size + 8),
    )


def _list(index: Any, number: int) -> tuple[Ids, NDArray[np.uint8]]:
    """The ids and codes of one list, where they lie: of use as long as the index is."""
    size, code_size = index.invlists.list_size(number), index.code_size
    if size == 0:
        return np.empty(0, np.int64), np.empty((0, code_size), np.uint8)
    ids = faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
    codes = faiss.rev_swig_ptr(index.invlists.get_codes(number), size * code_size)
    return ids, codes.reshape(size, code_size)


def _crc32(index: Any, number: int) -> int:
    ids, codes = _list(index, number)
    return zlib.crc32(ids.data, zlib.crc32(codes.data))


def _sample(chunks: Iterable[tuple[Ids, Vectors]], most: int, count: int) -> Vectors:
    """About most of the vectors, evenly spread."""
    step = max(1, count // most)
    parts, start = [], 0
    for _, vectors in chunks:
        parts.append(vectors[start::step])
        start = (start - len(vectors)) % step
    return np.ascontiguousarray(np.concatenate(parts), np.float32)
