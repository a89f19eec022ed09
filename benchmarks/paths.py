"""`--path` of a folder that holds one percent of an index's videos: python benchmarks/paths.py."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from measuring import Row, ratios, turns

from cezsar import store
from cezsar.encoders.toy import Toy
from cezsar.query import Filters, Searcher
from cezsar.types import EncoderIdentity, Sampling, Segment, Vectors, unit

_DIMENSION, _EACH = 256, 5  # segments of a video
_FEW, _MANY = 20_000, 200_000  # videos
_FOLDERS = 100
_ROUNDS = 30
_IDENTITY = EncoderIdentity("toy", "0" * 64, _DIMENSION, "visual")


class _Anything(Toy):
    """An encoder whose texts are directions by chance."""

    identity = _IDENTITY

    def encode_texts(self, texts: object) -> Vectors:
        return _random(len(texts), abs(hash(tuple(texts))))  # type: ignore[arg-type, call-overload]


def rows() -> list[Row]:
    """A folder's query against the whole index's, and against the same in a tenth of the index."""
    took: dict[int, list[float]] = {}
    found = []
    for num_videos in (_FEW, _MANY):
        with tempfile.TemporaryDirectory() as name:
            index = Path(name) / "index"
            _fill(index, num_videos)
            with Searcher(index, encoder=_Anything()) as searcher:
                numbers = iter(range(10_000))

                def ask(path: str | None) -> None:
                    hits = searcher.search(f"anything {next(numbers)}", filters=Filters(path=path))  # noqa: B023
                    assert len(hits) == 10

                for path in ("camera-042", "camera-042/*", "*era-042*"):
                    ours, theirs = turns(lambda: ask(path), lambda: ask(None), _ROUNDS)  # noqa: B023
                    if path == "camera-042":
                        took[num_videos] = ours
                    note = f"{np.median(ours) * 1e3:.1f} ms against {np.median(theirs) * 1e3:.1f} ms"
                    job = f"--path {path!r}, 1% of {num_videos:,} videos"
                    limit = 3 if num_videos == _FEW else None
                    found.append(
                        Row(job, "the same query without", ratios(ours, theirs), limit, at_most=True, note=note)
                    )
    grown = ratios(took[_MANY], took[_FEW])
    return [*found, Row(f"the first, {_MANY:,} videos", f"{_FEW:,} videos", grown, 2, at_most=True)]


def _fill(index: Path, num_videos: int) -> None:
    """Videos of a few segments in a hundred folders of one size."""
    parts = tuple(Segment(4.0 * i, 4.0 * i + 8) for i in range(_EACH))
    with store.create(index, _IDENTITY, Sampling()) as catalog:
        for start in range(0, num_videos, 2_000):
            vectors = _random(2_000 * _EACH, start).reshape(2_000, _EACH, _DIMENSION)
            with catalog.transaction() as writer:
                for number in range(start, start + 2_000):
                    path = b"camera-%03d/%07d.mp4" % (number % _FOLDERS, number)
                    embedding = store.Embedding(24.0, parts, tuple(range(_EACH)), vectors[number - start])
                    writer.add_video(store.File(b"/videos", path, 1, 1), number.to_bytes(32, "big"), embedding)
        catalog.rebuild()


def _random(count: int, seed: int) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(count, _DIMENSION)).astype(np.float32))


if __name__ == "__main__":
    for row in rows():
        print(*row.cells(), row.note, sep=" | ")
