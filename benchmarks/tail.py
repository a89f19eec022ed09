"""What a segment in the catalog's tail costs a query, against one in the cache: python benchmarks/tail.py.

maintenance/rebuild.py folds the tail into the cache by these figures.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cezsar import store
from cezsar.store import scores
from cezsar.store.local.choice import Choice
from cezsar.types import EncoderIdentity, Sampling, Segment, unit

_DIMENSION = 384
_NUM_SEGMENTS = 50_000
_ROUNDS = 5


def main() -> None:
    """Fill a catalog with random vectors; time reading its tail and searching its cache in turns."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        identity = EncoderIdentity("random", "0" * 64, _DIMENSION, "visual")
        with store.create(Path(folder), identity, Sampling()) as catalog:
            parts = tuple(Segment(4.0 * i, 4.0 * i + 8) for i in range(1_000))
            for number in range(_NUM_SEGMENTS // 1_000):
                rows = unit(random.normal(size=(1_000, _DIMENSION)))
                embedding = store.Embedding(4_004.0, parts, tuple(range(1_000)), rows)
                with catalog.transaction() as writer:
                    writer.add_video(store.File(b"/v", b"%d" % number, 1, 1), b"\0" * 32, embedding)
            catalog.rebuild()
            with catalog.read() as rows:
                cache = catalog.open_cache(rows)
            query = unit(random.normal(size=(1, _DIMENSION)))[0]
            cached, read = [], []
            for _ in range(_ROUNDS):
                cached.append(_seconds(lambda: cache.candidates(query, 10, Choice(None, np.empty(0, np.int64)))))
                with catalog.read() as rows:
                    read.append(_seconds(lambda: scores.nearest(query, *rows.tail(after=0), 10)))
    one, other = statistics.median(cached) / _NUM_SEGMENTS, statistics.median(read) / _NUM_SEGMENTS
    print(f"{_NUM_SEGMENTS:,} segments of {_DIMENSION}-d, medians of {_ROUNDS}")
    print(f"in the cache {one * 1e6:.2f} us a segment; in the tail {other * 1e6:.2f} us; ratio {other / one:.1f}")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
