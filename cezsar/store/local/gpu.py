"""FAISS on a GPU, if its package and the machine have one: what takes long when a large cache is made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import faiss

from cezsar.types import Ids, Scores, Vectors

_PYTHON: Any = faiss
_LOG = logging.getLogger(__name__)
_SCRATCH_BYTES = 256 << 20  # FAISS would take 1.5 GB, which the encoder may need
_Result = TypeVar("_Result")


class Gpu:
    """The first GPU; given up, with a line on stderr, as soon as FAISS cannot use it."""

    def __init__(self) -> None:
        self._resources: Any = None
        with self._watched():
            if _PYTHON.get_num_gpus():
                self._resources = _PYTHON.StandardGpuResources()
                self._resources.setTempMemory(_SCRATCH_BYTES)

    def run(self, there: Callable[[Any], _Result], otherwise: Callable[[], _Result]) -> _Result:
        """there(FAISS's resources on the GPU), or otherwise(), on the processor, if there is none or it fails."""
        if self._resources is not None:
            with self._watched():
                return there(self._resources)
        return otherwise()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # whatever FAISS, or CUDA below it, says
            self._resources = None
            _LOG.warning("FAISS goes on without the GPU: %s", (str(error).strip().splitlines() or ["it failed"])[-1])


@cache
def gpu() -> Gpu:
    """The one of this process."""
    return Gpu()


def clustering_index(dimension: int, resources: Any) -> Any:
    """An empty exact index on the GPU, by inner product, for k-means."""
    return _PYTHON.index_cpu_to_gpu(resources, 0, _PYTHON.IndexFlatIP(dimension))


def nearest(queries: Vectors, vectors: Vectors, count: int) -> tuple[Scores, Ids]:
    """(Q, D) and (N, D) -> the scores and rows (Q, count) of the vectors that are nearest to each query, best first."""
    metric = {"metric": _PYTHON.METRIC_INNER_PRODUCT}
    scores, rows = gpu().run(
        lambda resources: _PYTHON.knn_gpu(resources, queries, vectors, count, **metric),
        lambda: _PYTHON.knn(queries, vectors, count, **metric),
    )
    return scores, rows
