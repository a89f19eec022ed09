"""A large index: searching, opening, adding to it, and its memory: python benchmarks/search.py [--segments 1000000].

The vectors are made around real ones, of half of the shipped class sentences by the text tower of `lite`, cut to 256-d:
mixes of two of them with noise. The queries are the other half, as they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measuring import Row, ratios, seconds, turns

from cezsar import encoders, query, store
from cezsar.documents import query_document
from cezsar.encoders.toy import Toy
from cezsar.query import Filters, Searcher
from cezsar.store.local import cache
from cezsar.store.local.stamp import Stamp
from cezsar.types import EncoderIdentity, Sampling, Segment, Vectors, unit

_DIMENSION = 256
_EACH = 1_000  # segments of a video
_NOISE = 0.02
_ROUNDS = 100
_TURNS, _ASKED_EACH_TIME = 10, 100
_IDENTITY = EncoderIdentity("toy", "0" * 64, _DIMENSION, "visual")
_RESIDENT = """
import sys
from pathlib import Path
import faiss, numpy as np
from cezsar.store.local import cache
from cezsar.store.local.choice import Choice
queries = np.load(sys.argv[2])
if sys.argv[1] == "flat":
    index = faiss.read_index(sys.argv[3])
else:
    index = cache.load(Path(sys.argv[3]), index_id=sys.argv[4], dimension=queries.shape[1])
for row in queries:
    if sys.argv[1] == "flat":
        index.search(row[None], 58)
    else:
        index.candidates(row, 58, Choice(None, np.empty(0, np.int64)))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


def rows(num_segments: int = 1_000_000) -> list[Row]:
    """Every row that needs a large index."""
    import faiss

    known, asked = sentences()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flat = faiss.IndexFlatIP(_DIMENSION)
        with store.create(folder / "index", _IDENTITY, Sampling()) as catalog:
            for number, part in enumerate(corpus(known, num_segments)):
                _add(catalog, part, number)
                flat.add(part)
            rebuild_s = seconds(lambda: catalog.rebuild())
        faiss.write_index(flat, str(folder / "flat.faiss"))
        np.save(folder / "queries.npy", asked)
        found = _searching(folder / "index", flat, asked, num_segments)
        found += [_memory(folder), _opening(folder)]
        found += [_many_hits(folder / "index", asked, num_segments)]
        found += _adding(folder / "index", known, asked, flat, rebuild_s)
    return found


def _searching(index: Path, flat: object, asked: Vectors, num_segments: int) -> list[Row]:
    """p50 against FAISS's exact flat search, all cores; recall of its ten."""
    every = Filters(top_k=10, per_video=0)
    with _searcher(index, asked) as searcher:
        stamp = _stamp(index)
        ours, theirs, hit = [], [], 0
        for number in range(-5, _ROUNDS):
            row = asked[number % len(asked)]
            text = str(number % len(asked))
            one = seconds(lambda: searcher.search(text, filters=every))  # noqa: B023
            other = seconds(lambda: flat.search(row[None], 10))  # type: ignore[attr-defined] # noqa: B023
            if number >= 0:
                ours.append(one), theirs.append(other)
        for number, row in enumerate(asked):
            right = flat.search(row[None], 10)[1][0] + 1  # type: ignore[attr-defined]
            hit += len({one.segment_id for one in searcher.search(str(number), filters=every)} & set(right.tolist()))
    p50 = np.median(theirs) / np.median(ours)
    note = f"p50 {np.median(ours) * 1e3:.2f} ms against {np.median(theirs) * 1e3:.1f} ms; "
    note += f"{stamp.probes} of {stamp.lists:,} lists"
    job = f"warm query, {num_segments:,} segments of {_DIMENSION}-d"
    return [
        Row(job, "exact flat search (FAISS, p50)", (float(p50),), 15, note=note),
        Row("its recall@10, unseen sentences", "exact flat search", (hit / 10 / len(asked),), 0.98),
    ]


def _memory(folder: Path) -> Row:
    """What processes that ask all queries hold, less what one holds that has only imported."""
    import faiss

    empty = folder / "empty.faiss"
    faiss.write_index(faiss.IndexFlatIP(_DIMENSION), str(empty))
    with store.open(folder / "index") as catalog:
        index_id = catalog.info.index_id
    base = _resident("flat", folder, empty, index_id)
    ours = _resident("lists", folder, folder / "index", index_id) - base
    theirs = _resident("flat", folder, folder / "flat.faiss", index_id) - base
    note = f"{ours / 1e3:.0f} MB against {theirs / 1e3:.0f} MB"
    return Row("its memory, after all queries", "exact flat search", (ours / theirs,), 0.4, at_most=True, note=note)


def _resident(kind: str, folder: Path, file: Path, index_id: str) -> int:
    command = [sys.executable, "-c", _RESIDENT, kind, str(folder / "queries.npy"), str(file), index_id]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _opening(folder: Path) -> Row:
    """The cache, mapped, against the same vectors read into memory."""
    import faiss

    with store.open(folder / "index") as catalog:
        info = catalog.info

    def mapped() -> None:
        cache.load(folder / "index", index_id=info.index_id, dimension=_DIMENSION)

    ours, theirs = turns(mapped, lambda: faiss.read_index(str(folder / "flat.faiss")), 7)
    return Row("open the index", "reading it whole into memory", ratios(theirs, ours), 20)


def _many_hits(index: Path, asked: Vectors, num_segments: int) -> Row:
    """`-k 2000 --per-video 0 --json` against ten hits, with the sentence encoder, as one warm process does it."""
    encoder = encoders.load("lite", device="cpu")
    with _searcher(index, asked) as searcher:

        def ask(k: int, number: int) -> None:
            encoder.encode_texts(["a person plays the violin"])
            hits = searcher.search(str(number % len(asked)), filters=Filters(top_k=k, per_video=0))
            json.dumps(query_document("violin", "toy", hits))
            assert len(hits) == k

        numbers = iter(range(10_000))
        ours, theirs = turns(lambda: ask(2_000, next(numbers)), lambda: ask(10, next(numbers)), 15)
    note = f"{np.median(ours) * 1e3:.0f} ms against {np.median(theirs) * 1e3:.0f} ms"
    return Row(f"2,000 hits of {num_segments:,}, warm", "10 hits", ratios(ours, theirs), 3, at_most=True, note=note)


def _adding(index: Path, known: Vectors, asked: Vectors, flat: object, rebuild_s: float) -> list[Row]:
    """One percent more, ten times in a row, each with what the write path does after it, against building anew."""
    num_videos = flat.ntotal // 100 // _EACH  # type: ignore[attr-defined]
    took, recalls = [], []
    for turn in range(_TURNS):
        more = [next(corpus(known, _EACH, seed=1 + turn * num_videos + i)) for i in range(num_videos)]

        def add() -> None:
            with store.open_to_write(index) as catalog:
                for number, part in enumerate(more):  # noqa: B023
                    _add(catalog, part, 1_000_000 + turn * num_videos + number)  # noqa: B023
                catalog.fold_if_due()

        took.append(seconds(add))
        for part in more:
            flat.add(part)  # type: ignore[attr-defined]
        recalls.append(_recall(index, asked[:_ASKED_EACH_TIME], flat))
    note = f"{min(took):.1f} to {max(took):.1f} s against {rebuild_s:.0f} s; the catalog's rows are part of it"
    return [
        Row("add 1%, ten times in a row", "rebuilding", tuple(rebuild_s / one for one in took), 20, note=note),
        Row("the slowest of these", "rebuilding", (rebuild_s / max(took),), 5),
        Row("recall@10 after the worst of these", "exact flat search", (min(recalls),), 0.98),
    ]


def _recall(index: Path, asked: Vectors, flat: object) -> float:
    hit, every = 0, Filters(top_k=10, per_video=0)
    with _searcher(index, asked) as searcher:
        for number, row in enumerate(asked):
            right = flat.search(row[None], 10)[1][0]  # type: ignore[attr-defined]
            found = searcher.search(str(number), filters=every)
            hit += sum(any(abs(one.score - score) < 1e-5 for one in found) for score in _scores(flat, row, right))
    return hit / 10 / len(asked)


def _scores(flat: object, row: Vectors, ids: np.ndarray) -> list[float]:  # type: ignore[type-arg]
    return [float(flat.reconstruct(int(i)) @ row) for i in ids]  # type: ignore[attr-defined]


def sentences(dimension: int = _DIMENSION) -> tuple[Vectors, Vectors]:
    """Half of the shipped sentences for the corpus, half for the queries, as unit vectors of so many dimensions."""
    folder = Path(query.__file__).with_name("sentences")
    labels = [query.read_labels(str(path)) for path in sorted(folder.glob("*.json"))]
    texts = sorted({text for one in labels for some in one.values() for text in some})
    random = np.random.default_rng(0)
    cut = np.linalg.qr(random.normal(size=(384, dimension)))[0]
    rows = unit(encoders.load("lite", device="cpu").encode_texts(texts) @ cut)[random.permutation(len(texts))]
    return rows[::2], rows[1::2][:500]


def corpus(known: Vectors, count: int, seed: int = 0) -> Iterator[Vectors]:
    """count unit vectors in parts of one video each."""
    random = np.random.default_rng(seed)
    for _ in range(count // _EACH):
        one, other = random.integers(len(known), size=(2, _EACH))
        weight = random.random((_EACH, 1)) ** 2
        noise = _NOISE * random.normal(size=(_EACH, known.shape[1]))
        yield unit(known[one] * (1 - weight) + known[other] * weight + noise)


def _add(catalog: store.Catalog, rows: Vectors, number: int) -> None:
    parts = tuple(Segment(4.0 * i, 4.0 * i + 8) for i in range(len(rows)))
    embedding = store.Embedding(4.0 * len(rows) + 4, parts, tuple(range(len(rows))), rows)
    with catalog.transaction() as writer:
        writer.add_video(store.File(b"/videos", b"%07d.mp4" % number, 1, 1), b"\0" * 32, embedding)


def _stamp(index: Path) -> Stamp:
    with store.open(index) as catalog, catalog.read() as rows:
        return catalog.open_cache(rows).stamp


def _searcher(index: Path, asked: Vectors) -> Searcher:
    """A searcher whose texts are numbers of queries."""

    class Numbered(Toy):
        identity = _IDENTITY

        def encode_texts(self, texts: object) -> Vectors:
            return asked[[int(text) for text in texts]]  # type: ignore[attr-defined]

    searcher = Searcher(index)
    searcher.encoder = Numbered()
    return searcher


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=1_000_000)
    for row in rows(parser.parse_args().segments):
        print(*row.cells(), row.note, sep=" | ")
