"""Rows.nearest against comparing every vector while a catalog and its cache change; videos_under against matches."""

from __future__ import annotations

import os
import random
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from cezsar import maintenance, store
from cezsar.encoders.toy import Toy
from cezsar.paths import matches
from cezsar.store import Embedding, File, Where, scores
from cezsar.store.local import cache, keeping
from cezsar.types import EncoderIdentity, Sampling, Segment, Vectors, unit

_D = 16
_IDENTITY = EncoderIdentity("toy", "0" * 64, _D, "visual")
_CONDITIONS = (
    Where(), Where(plain=False), Where(plain=True), Where(path="camera-1"), Where(path="camera-2", plain=False)
)  # fmt: skip


@dataclass
class Oracle:
    """What a catalog should hold: by segment id its vector, its video, and whether it is plain."""

    random: np.random.Generator
    segments: dict[int, tuple[Vectors, int, bool]] = field(default_factory=dict)
    folders: dict[int, str] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    last: int = 0

    def change(self, catalog: store.Catalog) -> None:
        """Add some videos; now and then delete some, or hide one."""
        with catalog.transaction() as writer:
            for _ in range(int(self.random.integers(1, 8))):
                count = int(self.random.integers(1, 20))
                vectors = unit(self.random.normal(size=(count, _D)).astype(np.float32))
                plain = tuple(bool(one) for one in self.random.random(count) < 0.1)
                folder = f"camera-{self.random.integers(4)}"
                file = File(b"/videos", f"{folder}/{self.last:06}.mp4".encode(), 1, 1)
                parts = tuple(Segment(float(i), i + 1.0) for i in range(count))
                video = writer.add_video(
                    file, bytes(32), Embedding(float(count), parts, tuple(range(count)), vectors, plain=plain)
                )
                self.folders[video] = folder
                for number, vector in enumerate(vectors):
                    self.segments[self.last + 1 + number] = (vector, video, plain[number])
                self.last += count
            if self.random.random() < 0.3:
                gone = {int(one) for one in self.random.choice(list(self.folders), size=2)}
                writer.purge_videos(sorted(gone))
                self.segments = {number: one for number, one in self.segments.items() if one[1] not in gone}
                self.folders = {video: folder for video, folder in self.folders.items() if video not in gone}
                self.hidden -= gone
            if self.random.random() < 0.4:
                self.hidden.add(video)
                writer.hide_videos([video])

    def check(self, catalog: store.Catalog, where: Where, *, exact: bool) -> float:
        """Ask both; the share of the nearest that were found. What is found is right in any case."""
        visible = [n for n, (_, video, _) in self.segments.items() if video not in self.hidden]
        named = [n for n in visible if where.path in (None, self.folders[self.segments[n][1]])]
        right = [n for n in named if where.plain in (None, self.segments[n][2])]
        without = self.random.choice(right, size=min(len(right), 20), replace=False) if right else []
        right = sorted({*right} - {int(n) for n in without})
        query, k = unit(self.random.normal(size=(1, _D)).astype(np.float32))[0], int(self.random.integers(1, 60))
        with catalog.read() as rows:
            found = rows.nearest(query, k, where=where, without=np.array(without, np.int64), exact=exact)
            assert rows.num_segments(where) == len(named)
        vectors = np.array([self.segments[n][0] for n in right], np.float32).reshape(-1, _D)
        expected, expected_scores = scores.nearest(query, np.array(right, np.int64), vectors, k)
        assert len(found.ids) == len(expected)
        assert {*found.ids.tolist()} <= {*right}
        own = np.array([self.segments[n][0] for n in found.ids.tolist()], np.float32).reshape(-1, _D)
        assert found.vectors.tobytes() == own.tobytes()
        np.testing.assert_allclose(found.scores, own @ query, atol=2e-6)
        if exact or catalog.cache_state().startswith("not used") or "exact" in catalog.cache_state():
            assert found.ids.tolist() == expected.tolist()
            np.testing.assert_array_equal(found.scores, expected_scores)
        return float(np.isin(expected, found.ids).mean()) if len(expected) else 1.0


@pytest.mark.parametrize("seed", [1, 7])
@pytest.mark.parametrize("approximate_from", [1_000_000, 300])
def test_the_nearest_are_those_of_comparing_every_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, approximate_from: int, seed: int
) -> None:
    for module, name, value in (
        (cache, "APPROXIMATE_FROM", approximate_from), (keeping, "APPROXIMATE_FROM", approximate_from),
        (cache, "_SLICE", 300), (cache, "_LARGEST", 700), (keeping, "_LONGEST_TAIL", 50),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    oracle, shares, most_parts = Oracle(np.random.default_rng(seed)), list[float](), 0
    with store.create(tmp_path, _IDENTITY, Sampling()) as catalog:
        for turn in range(30):
            oracle.change(catalog)
            if turn % 3:
                catalog.fold_if_due()
            with store.open(tmp_path) as reader:
                for where in _CONDITIONS:
                    shares.append(oracle.check(catalog, where, exact=False))
                    oracle.check(reader, where, exact=True)
            with catalog.read() as rows:
                most_parts = max(most_parts, len(catalog.open_cache(rows).stamp.parts) if turn else 0)
        assert maintenance.verify(catalog).problems == ()
        assert ("lists looked at" in catalog.cache_state()) == (approximate_from == 300)
    assert most_parts >= 2
    assert np.mean(shares) >= 0.99


# Which videos a name names

_NAMES = (
    "a",
    "b",
    "ab",
    "trip",
    "day 1",
    "a[1]",
    "caf\u00e9",
    "cafe\u0301",
    "\u212aelvin",
    "x*y",
    "goal",
    "Red",
    "red",
)
_ROOTS = (b"/data", b"/data/trip", os.fsencode("/m\u00e9dia"), b"/")
_ODD = ("*", "?", "[a]*", "/", "", "/data", "*/", "data*", "/d*", ".", "./trip", "*\u00e9*", "*[", "[")


@pytest.mark.parametrize("seed", range(4))
def test_videos_are_named_as_matches_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(seed)

    def name() -> str:
        return chance.choice(_NAMES) + chance.choice(("", "", ".mp4", ".MP4", "-07"))

    files = dict[tuple[bytes, bytes], int]()
    with store.create(tmp_path / "index", Toy.identity, Sampling()) as catalog:
        with catalog.transaction() as writer:
            for _ in range(60):
                root = chance.choice((*_ROOTS, os.fsencode(tmp_path)))
                path = os.fsencode("/".join(name() for _ in range(chance.randint(1, 4))))
                path += b"\xff\xe9" if chance.random() < 0.1 else b""
                if (root, path) not in files:
                    shows = Embedding(1.0, (Segment(0.0, 1.0),), (0,), Toy().encode_texts(["red"]))
                    files[root, path] = writer.add_video(File(root, path, 1, 1), bytes(32), shows)
            writer.hide_videos([3])
        with catalog.read() as rows:
            for _ in range(300):
                glob = _glob(chance, *chance.choice(list(files)))
                expected = [
                    number for (root, path), number in files.items()
                    if number != 3 and matches(File(root, path, 1, 1).absolute, root, glob)
                ]  # fmt: skip
                assert rows.videos_under(glob) == expected, repr(glob)


def _glob(chance: random.Random, root: bytes, path: bytes) -> str:
    """A whole path, a part of one, a name, or a pattern made of one of these."""
    names, whole = os.fsdecode(path).split("/"), os.fsdecode(root).rstrip("/") + "/" + os.fsdecode(path)
    beginning = "/".join(names[: chance.randint(1, len(names))])
    glob = chance.choice((os.fsdecode(root).rstrip("/") + "/" + beginning, beginning, chance.choice(names), whole))
    if chance.random() < 0.1:
        glob = chance.choice(_ODD)
    elif chance.random() < 0.5:
        start = chance.randint(0, len(glob))
        stop = chance.randint(start, len(glob))
        glob = glob[:start] + chance.choice(("*", "?", "*", "[ab]")) + glob[stop:]
    return unicodedata.normalize(chance.choice(("NFC", "NFD")), glob) if chance.random() < 0.3 else glob
