"""Large caches: 8-bit codes in lists. The size from which they are made is lowered here; everything else is real."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cezsar import catalog, maintenance, vectors
from cezsar.cli import cli
from cezsar.encoders.toy import Toy
from cezsar.errors import CacheUnusable
from cezsar.query import Filters, Searcher
from cezsar.types import EncoderIdentity, Ids, Sampling, Scores, Segment, Vectors, unit
from cezsar.vectors import approximate
from cezsar.vectors.approximate import Approximate

DIMENSION = 8
COUNT = 6_000
SEGMENTS_EACH = 20


def _clustered(count: int, seed: int = 0) -> Vectors:
    """(count, 8) unit vectors around 60 centres, as those of videos lie around what they show."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(60, DIMENSION))
    return unit(centres[random.integers(60, size=count)] + 0.25 * random.normal(size=(count, DIMENSION)))


ROWS = _clustered(COUNT)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "APPROXIMATE_FROM", 1_000)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of COUNT segments; not to be changed."""
    folder = tmp_path_factory.mktemp("index")
    with pytest.MonkeyPatch.context() as patch, catalog.create(folder, Toy.identity, Sampling()) as store:
        patch.setattr(vectors, "APPROXIMATE_FROM", 1_000)
        _add(store, ROWS)
        maintenance.rebuild(store)
    return folder


def _add(store: catalog.Catalog, rows: Vectors, name: str = "v") -> None:
    with store.write() as session:
        for start in range(0, len(rows), SEGMENTS_EACH):
            some = rows[start : start + SEGMENTS_EACH]
            parts = tuple(Segment(4.0 * i, 4.0 * i + 8) for i in range(len(some)))
            embedding = catalog.Embedding(4.0 * len(some) + 4, parts, tuple(range(len(some))), some)
            file = catalog.File(b"/videos", f"{name}{start:05d}.mp4".encode(), 1, 1)
            catalog.add_video(session, file, b"\0" * 32, embedding)


def _cache(folder: Path) -> vectors.Cache:
    with catalog.open_to_read(folder) as store, store.read() as snapshot:
        return maintenance.open_cache(store, snapshot)


def _fetch(ids: Ids) -> tuple[Ids, Vectors]:
    ids = np.sort(ids)
    return ids, ROWS[ids - 1]


def _by_hand(query: Vectors, k: int, shown: Ids | None = None) -> list[int]:
    """The ids of the nearest, compared one by one."""
    ids = np.arange(1, COUNT + 1) if shown is None else shown
    scores = np.round((ROWS[ids - 1] @ query).astype(np.float64), 6)
    return [int(i) for i in ids[np.lexsort((ids, -scores))][:k]]


def _recall(found: tuple[Ids, Scores], right: list[int]) -> float:
    return len(set(found[0].tolist()) & set(right)) / len(right)


def test_a_large_cache_holds_codes_in_lists_and_says_what_they_find(filled: Path) -> None:
    cache = _cache(filled)

    assert isinstance(cache, Approximate)
    assert cache.stamp.lists == 256
    assert 1 <= cache.stamp.probes <= 256
    assert 0.995 <= cache.stamp.recall <= 1.0
    assert cache.stamp.size < COUNT * (DIMENSION + 8) + 40_000
    assert cache.ids().tolist() == list(range(1, COUNT + 1))


@pytest.mark.parametrize("k", [1, 10, 100, 2_000, COUNT, 2 * COUNT])
def test_it_finds_nearly_all_of_the_nearest_with_their_exact_scores(k: int, filled: Path) -> None:
    cache, recalls = _cache(filled), []
    for query in _clustered(40, seed=1):
        ids, scores = cache.search(query, k, _fetch)
        recalls.append(_recall((ids, scores), _by_hand(query, k)))
        assert len(ids) == min(k, COUNT)
        np.testing.assert_allclose(scores, ROWS[ids - 1] @ query, atol=2e-6)
        assert (np.diff(scores) <= 0).all()

    assert np.mean(recalls) >= 0.98


@pytest.mark.parametrize("num_allowed", [0, 1, 300])
def test_few_allowed_ids_are_compared_exactly(num_allowed: int, filled: Path) -> None:
    allowed = np.sort(np.random.default_rng(2).choice(np.arange(1, COUNT + 1), num_allowed, replace=False))
    query = _clustered(1, seed=3)[0]

    ids, _ = _cache(filled).search(query, 50, _fetch, allowed=allowed)

    assert ids.tolist() == _by_hand(query, 50, allowed)


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_filters_apply_before_top_k_however_few_they_leave(
    share: float, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approximate, "_FEW", 0)
    masked = np.flatnonzero(np.random.default_rng(4).random(COUNT) > share) + 1
    shown = np.setdiff1d(np.arange(1, COUNT + 1), masked)
    cache, recalls = _cache(filled), []
    for query in _clustered(20, seed=5):
        by_mask = cache.search(query, 10, _fetch, masked=masked)
        by_list = cache.search(query, 10, _fetch, allowed=shown)
        assert by_mask[0].tolist() == by_list[0].tolist()
        assert len(by_mask[0]) == 10
        assert not np.isin(by_mask[0], masked).any()
        recalls.append(_recall(by_mask, _by_hand(query, 10, shown)))

    assert np.mean(recalls) >= 0.98


def test_the_same_vectors_make_the_same_file(filled: Path, tmp_path: Path) -> None:
    with catalog.create(tmp_path / "again", Toy.identity, Sampling()) as store:
        _add(store, ROWS)
        stamps = [maintenance.rebuild(store) for _ in range(2)]

    assert stamps[0].sha256 == stamps[1].sha256 == _cache(filled).stamp.sha256


def test_one_other_vector_is_noticed(filled: Path) -> None:
    cache = _cache(filled)
    rows = ROWS.copy()
    rows[100] = -rows[100]
    rows[200] = unit(rows[200][None] + 0.1)[0]

    assert np.flatnonzero(~cache.agrees(np.arange(1, COUNT + 1), rows)).tolist() == [100, 200]


def test_verify_agrees_and_notices_a_cache_of_other_vectors(tmp_path: Path) -> None:
    with catalog.create(tmp_path / "index", Toy.identity, Sampling()) as store:
        _add(store, ROWS[:2_000])
        maintenance.rebuild(store)
        assert maintenance.verify(store).problems == ()
        with store.write() as session:
            catalog.purge_videos(session, [3])
        _add(store, ROWS[2_000:2_100], name="w")
        assert maintenance.verify(store).problems == ()
        file = (
            store.directory
            / vectors.load(store.directory, index_id=store.info.index_id, dimension=DIMENSION).stamp.file
        )
        content = bytearray(file.read_bytes())
        content[-1_000] ^= 0x10  # an id, or a code
        file.write_bytes(content)
        assert "checksum is wrong" in str(maintenance.verify(store).problems)


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw[:60] + b"\x07" + raw[61:], lambda raw: b""])
def test_a_damaged_file_is_not_opened(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with catalog.create(tmp_path / "index", Toy.identity, Sampling()) as store:
        _add(store, ROWS[:2_000])
        stamp = maintenance.rebuild(store)
        file = store.directory / stamp.file
        file.write_bytes(change(file.read_bytes()))
        assert "not used" in maintenance.cache_state(store)


def _damage_a_list(folder: Path, query: Vectors) -> None:
    """One bit of the nearest list to a query is another one, its size and time as before."""
    cache = _cache(folder)
    assert isinstance(cache, Approximate)
    number = int(cache._index.quantizer.search(query[None], 1)[1][0, 0])
    ids, _ = approximate._list(cache._index, number)
    file = folder / cache.stamp.file
    content, raw = file.read_bytes(), ids.tobytes()
    assert content.count(raw) == 1
    at = content.index(raw) + len(raw) // 2
    status = file.stat()
    file.unlink()  # the old one may be mapped
    file.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_list_is_compared_when_it_is_first_read_and_the_catalog_answers_then(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(filled, tmp_path / "index")
    every = Filters(top_k=10, per_video=0)
    _damage_a_list(tmp_path / "index", _clustered(50, seed=6)[0])
    with _searcher(tmp_path / "index", monkeypatch) as searcher:
        answers = [searcher.search(str(number), filters=every) for number in (0, 0, 1)]
        assert searcher.notice == (
            "The FAISS cache is not used: the checksum of one of its lists is not what its stamp says. "
            "`cezsar rebuild` makes it anew."
        )
    for number, hits in zip((0, 0, 1), answers, strict=True):
        assert [hit.segment_id for hit in hits] == _by_hand(_clustered(50, seed=6)[number], 10)


def test_each_list_is_compared_once_and_only_those_that_are_read(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, compared, crc32 = _cache(filled), [], approximate._crc32
    monkeypatch.setattr(approximate, "_crc32", lambda *found: compared.append(1) or crc32(*found))
    query = _clustered(1, seed=3)[0]
    cache.search(query, 10, _fetch)
    first = len(compared)
    cache.search(query, 10, _fetch)
    assert first == cache.stamp.probes == len(compared)


def test_a_cache_without_checksums_of_its_lists_is_compared_whole(filled: Path, tmp_path: Path) -> None:
    """As one was written before there were such checksums."""
    shutil.copytree(filled, tmp_path / "index")
    stamp = dataclasses.replace(_cache(filled).stamp, lists_crc32="")
    told = {key: value for key, value in dataclasses.asdict(stamp).items() if key != "lists_crc32"}
    seal = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    (tmp_path / "index" / vectors.STAMP).write_text(json.dumps({**told, "seal": seal}))
    query = _clustered(1, seed=3)[0]

    assert _cache(tmp_path / "index").search(query, 9, _fetch)[0].tolist() == _by_hand(query, 9)
    content = (tmp_path / "index" / stamp.file).read_bytes()
    (tmp_path / "index" / stamp.file).write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    with pytest.raises(CacheUnusable, match="its checksum is not what its stamp says"):
        _cache(tmp_path / "index")


def _searcher(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Searcher:
    """A searcher whose texts are numbers: '3' is the fourth of some queries."""
    queries = _clustered(50, seed=6)
    monkeypatch.setattr(Toy, "encode_texts", lambda self, texts: queries[[int(text) for text in texts]])
    return Searcher(folder)


def test_exact_compares_every_vector(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every, one = Filters(top_k=10, per_video=0), Filters(top_k=10)
    recalls = []
    with _searcher(filled, monkeypatch) as searcher:
        for number in range(50):
            query = _clustered(50, seed=6)[number]
            exact = [hit.segment_id for hit in searcher.search(str(number), filters=every, exact=True)]
            assert exact == _by_hand(query, 10)
            found = [hit.segment_id for hit in searcher.search(str(number), filters=every)]
            recalls.append(len(set(found) & set(exact)) / 10)
            assert len(searcher.search(str(number), filters=one)) == 10
    assert np.mean(recalls) >= 0.98


def test_what_came_and_went_since_is_found_and_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with catalog.create(tmp_path / "index", Toy.identity, Sampling()) as store:
        _add(store, ROWS)
        maintenance.rebuild(store)
    every = Filters(top_k=5, per_video=0)
    with _searcher(tmp_path / "index", monkeypatch) as searcher:
        first = searcher.search("0", filters=every)
        with catalog.open_to_write(tmp_path / "index") as store:
            query = _clustered(50, seed=6)[:1]
            _add(store, query, name="new")
            with store.read() as snapshot:
                gone = catalog.places(snapshot, [first[0].segment_id])[first[0].segment_id].video_id
            with store.write() as session:
                catalog.hide_videos(session, [gone])
        second = searcher.search("0", filters=every)
        narrowed = searcher.search("0", filters=Filters(top_k=5, per_video=0, path="new*"))
        exact = searcher.search("0", filters=every, exact=True)
    assert second[0].path == Path("/videos/new00000.mp4")
    assert second[0].score == 1.0
    assert first[0].segment_id not in [hit.segment_id for hit in second]
    assert [hit.path for hit in narrowed] == [Path("/videos/new00000.mp4")]
    assert [hit.segment_id for hit in exact] == [hit.segment_id for hit in second]


def test_stats_says_how_large_indexes_are_searched(filled: Path) -> None:
    told = CliRunner().invoke(cli, ["stats", "--index", str(filled)]).output

    assert "8-bit codes" in told
    assert "of 256 lists looked at" in told
    assert "recall@10" in told


def test_below_the_size_the_search_is_exact(tmp_path: Path) -> None:
    identity = EncoderIdentity("toy", Toy.identity.weights_sha256, DIMENSION, "visual")
    with catalog.create(tmp_path / "index", identity, Sampling()) as store:
        _add(store, ROWS[:980])
        assert maintenance.rebuild(store).lists == 1
