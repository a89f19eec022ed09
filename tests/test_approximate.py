"""Large caches: 8-bit codes in lists. The size from which they are made is lowered here; everything else is real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from caches import beside_of, data_of, flipped, resealed, strike, told, trained_of
from click.testing import CliRunner

from cezsar import maintenance, store
from cezsar.cli import cli
from cezsar.encoders.toy import Toy
from cezsar.query import Filters, Searcher
from cezsar.store.local import approximate, keeping, nearest, opening, stamp
from cezsar.store.local import cache as vectors
from cezsar.store.local.choice import Choice
from cezsar.store.local.lock import was_interrupted
from cezsar.store.local.stamp import NEXT, STAMP
from cezsar.types import EncoderIdentity, Ids, Sampling, Segment, Vectors, unit

DIMENSION = 8
COUNT = 6_000
SEGMENTS_EACH = 20


def _clustered(count: int, seed: int = 0) -> Vectors:
    """(count, 8) unit vectors around 60 centres, as those of videos lie around what they show."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(60, DIMENSION))
    return unit(centres[random.integers(60, size=count)] + 0.25 * random.normal(size=(count, DIMENSION)))


ROWS = _clustered(COUNT)


def _lower(patch: pytest.MonkeyPatch) -> None:
    for module in (vectors, keeping):
        patch.setattr(module, "APPROXIMATE_FROM", 1_000)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    _lower(monkeypatch)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of COUNT segments; not to be changed."""
    folder = tmp_path_factory.mktemp("index")
    with pytest.MonkeyPatch.context() as patch, store.create(folder, Toy.identity, Sampling()) as catalog:
        _lower(patch)
        _add(catalog, ROWS)
        catalog.rebuild()
    return folder


def _add(catalog: store.Catalog, rows: Vectors, name: str = "v") -> None:
    with catalog.transaction() as writer:
        for start in range(0, len(rows), SEGMENTS_EACH):
            some = rows[start : start + SEGMENTS_EACH]
            parts = tuple(Segment(4.0 * i, 4.0 * i + 8) for i in range(len(some)))
            embedding = store.Embedding(4.0 * len(some) + 4, parts, tuple(range(len(some))), some)
            file = store.File(b"/videos", f"{name}{start:05d}.mp4".encode(), 1, 1)
            writer.add_video(file, b"\0" * 32, embedding)


def _cache(folder: Path) -> vectors.Cache:
    with store.open(folder) as catalog, catalog.read() as rows:
        return catalog.open_cache(rows)


def _by_hand(query: Vectors, k: int, shown: Ids | None = None) -> list[int]:
    """The ids of the nearest, compared one by one."""
    ids = np.arange(1, COUNT + 1) if shown is None else shown
    scores = np.round((ROWS[ids - 1] @ query).astype(np.float64), 6)
    return [int(i) for i in ids[np.lexsort((ids, -scores))][:k]]


def _recall(found: Ids, right: list[int]) -> float:
    return len(set(found.tolist()) & set(right)) / len(right)


@pytest.fixture
def rows(filled: Path) -> Iterator[store.Rows]:
    """What can be asked of the filled index."""
    with store.open(filled) as catalog, catalog.read() as found:
        yield found
        assert catalog.notice is None


def test_a_large_cache_holds_codes_in_lists_and_says_what_they_find(filled: Path) -> None:
    cache = _cache(filled)

    assert not cache.is_exact
    assert cache.stamp.lists == 256
    assert cache.stamp.trained_on == COUNT
    assert 1 <= cache.stamp.probes <= 256
    assert 0.995 <= cache.stamp.recall <= 1.0
    assert [part.count for part in cache.stamp.parts] == [COUNT]
    assert cache.stamp.num_bytes < COUNT * (DIMENSION + 8) + 40_000
    assert cache.ids().tolist() == list(range(1, COUNT + 1))


@pytest.mark.parametrize("k", [1, 10, 100, 2_000, COUNT, 2 * COUNT])
def test_it_finds_nearly_all_of_the_nearest_with_their_exact_scores(k: int, rows: store.Rows) -> None:
    recalls = []
    for query in _clustered(40, seed=1):
        ids, scores, found = rows.nearest(query, k)
        recalls.append(_recall(ids, _by_hand(query, k)))
        assert len(ids) == min(k, COUNT)
        np.testing.assert_array_equal(found, ROWS[ids - 1])
        np.testing.assert_allclose(scores, ROWS[ids - 1] @ query, atol=2e-6)
        assert (np.diff(scores) <= 0).all()

    assert np.mean(recalls) >= 0.98


@pytest.mark.parametrize("num_allowed", [0, 1, 300])
def test_few_allowed_ids_are_compared_exactly(num_allowed: int, rows: store.Rows) -> None:
    allowed = np.sort(np.random.default_rng(2).choice(np.arange(1, COUNT + 1), num_allowed, replace=False))
    query = _clustered(1, seed=3)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest.Nearest, "_of", lambda *_: allowed)
        found = rows.nearest(query, 50, where=store.Where("some"))

    assert found.ids.tolist() == _by_hand(query, 50, allowed)


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_filters_apply_before_top_k_however_few_they_leave(
    share: float, rows: store.Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_FEW", 0)
    masked = np.flatnonzero(np.random.default_rng(4).random(COUNT) > share) + 1
    shown = np.setdiff1d(np.arange(1, COUNT + 1), masked)
    monkeypatch.setattr(nearest.Nearest, "_of", lambda *_: shown)
    recalls = []
    for query in _clustered(20, seed=5):
        by_mask = rows.nearest(query, 10, without=masked).ids
        by_list = rows.nearest(query, 10, where=store.Where("shown")).ids
        right = _by_hand(query, 10, shown)
        for ids in (by_mask, by_list):
            assert len(ids) == 10
            assert not np.isin(ids, masked).any()
            recalls.append(_recall(ids, right))

    assert np.mean(recalls) >= 0.98


@pytest.mark.parametrize("how", ["hide", "purge"])
@pytest.mark.parametrize("num_gone", [100, 5_900])
def test_what_is_hidden_or_gone_is_not_found_however_much_it_is(how: str, num_gone: int, tmp_path: Path) -> None:
    with store.create(tmp_path / "index", Toy.identity, Sampling()) as catalog:
        _add(catalog, ROWS)
        catalog.rebuild()
        query = _clustered(1, seed=3)[0]
        near = _by_hand(query, COUNT)
        videos = list(dict.fromkeys((number - 1) // SEGMENTS_EACH + 1 for number in near))[: num_gone // SEGMENTS_EACH]
        with catalog.transaction() as writer:
            (writer.hide_videos if how == "hide" else writer.purge_videos)(videos)
        shown = np.array([n for n in range(1, COUNT + 1) if (n - 1) // SEGMENTS_EACH + 1 not in videos])
        assert len(shown) == COUNT - num_gone
        with catalog.read() as rows:
            found = rows.nearest(query, 50)
            assert rows.num_segments() == len(shown)
        assert catalog.notice is None
    assert _recall(found.ids, _by_hand(query, 50, shown)) >= 0.96
    assert np.isin(found.ids, shown).all()
    assert len(found.ids) == 50


def test_the_same_vectors_make_the_same_files(filled: Path, tmp_path: Path) -> None:
    with store.create(tmp_path / "again", Toy.identity, Sampling()) as catalog:
        _add(catalog, ROWS)
        stamps = [catalog.rebuild() for _ in range(2)]

    digests = [[file.sha256 for file in one.written] for one in (*stamps, told(filled))]
    assert digests[0] == digests[1] == digests[2]
    assert len(digests[0]) == 3


def test_one_other_vector_is_noticed(filled: Path) -> None:
    cache = _cache(filled)
    rows = ROWS.copy()
    rows[100] = -rows[100]
    rows[200] = unit(rows[200][None] + 0.1)[0]

    assert np.flatnonzero(~cache.agrees(np.arange(1, COUNT + 1), rows)).tolist() == [100, 200]


@pytest.mark.parametrize("at", [-1_000, -20_000])
def test_verify_agrees_and_notices_a_cache_of_other_vectors(at: int, tmp_path: Path) -> None:
    with store.create(tmp_path / "index", Toy.identity, Sampling()) as catalog:
        _add(catalog, ROWS[:2_000])
        catalog.rebuild()
        assert maintenance.verify(catalog).problems == ()
        with catalog.transaction() as writer:
            writer.purge_videos([3])
        _add(catalog, ROWS[2_000:2_100], name="w")
        assert maintenance.verify(catalog).problems == ()
        strike(data_of(catalog.directory), flipped(at))  # an id, or a code
        assert "checksum is wrong" in str(maintenance.verify(catalog).problems)


@pytest.mark.parametrize("file_of", [data_of, beside_of, trained_of])
@pytest.mark.parametrize(
    "change", [lambda raw: raw[:-1], lambda raw: raw[:60] + b"\x07" + raw[61:], lambda raw: b"", lambda raw: raw + b"0"]
)
def test_a_damaged_file_is_not_opened(
    change: Callable[[bytes], bytes], file_of: Callable[[Path], Path], tmp_path: Path
) -> None:
    with store.create(tmp_path / "index", Toy.identity, Sampling()) as catalog:
        _add(catalog, ROWS[:2_000])
        catalog.rebuild()
        strike(file_of(catalog.directory), change)
        assert "not used" in catalog.cache_state()
        assert catalog.fold_if_due()
        assert maintenance.verify(catalog).problems == ()


@pytest.mark.parametrize("file_of", [data_of, beside_of, trained_of])
@pytest.mark.parametrize("change", [lambda raw: raw[:-9], lambda raw: b"", lambda raw: b"PK\x03\x04" + raw[4:]])
def test_a_damaged_file_with_a_stamp_that_fits_is_not_opened(
    change: Callable[[bytes], bytes], file_of: Callable[[Path], Path], tmp_path: Path
) -> None:
    with store.create(tmp_path / "index", Toy.identity, Sampling()) as catalog:
        _add(catalog, ROWS[:2_000])
        catalog.rebuild()
        strike(file_of(catalog.directory), change)
        resealed(catalog.directory)
        assert "not used" in catalog.cache_state()


@pytest.mark.parametrize("file_of", [data_of, beside_of, trained_of])
def test_a_missing_file_is_noticed(file_of: Callable[[Path], Path], tmp_path: Path) -> None:
    with store.create(tmp_path / "index", Toy.identity, Sampling()) as catalog:
        _add(catalog, ROWS[:2_000])
        catalog.rebuild()
        file_of(catalog.directory).unlink()
        assert catalog.cache_state().startswith("not used: its file is missing")


def test_a_damaged_list_is_mended_by_the_next_writer_after_a_kill(tmp_path: Path) -> None:
    index = tmp_path / "index"
    with store.create(index, Toy.identity, Sampling()) as catalog:
        _add(catalog, ROWS[:2_000])
        catalog.rebuild()
    strike(data_of(index), flipped(-1_000))
    (index / "writer.json").write_text("{}")  # as a writer that was killed leaves it
    with store.open(index) as catalog:
        assert "checksum is wrong" in catalog.cache_state()
    with store.open_to_write(index) as catalog:
        assert maintenance.verify(catalog).problems == ()


def _damage_a_list(folder: Path, query: Vectors) -> None:
    """One bit of the nearest list to a query is another one, its size and time as before."""
    lists = _cache(folder)._lists
    assert lists is not None
    number = int(lists._trained.quantizer.search(query[None], 1)[1][0, 0])
    ids, _ = approximate._list(lists._parts[-1].index, number)
    file = data_of(folder)
    content, raw = file.read_bytes(), ids.tobytes()
    assert content.count(raw) == 1
    at = content.index(raw) + len(raw) // 2
    status = file.stat()
    strike(file, lambda _: content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
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
            "The cache is not used: the checksum of one of its lists is not what its stamp says. "
            "`cezsar rebuild` makes it anew."
        )
    for number, hits in zip((0, 0, 1), answers, strict=True):
        assert [hit.segment_id for hit in hits] == _by_hand(_clustered(50, seed=6)[number], 10)


def test_each_list_is_compared_once_and_only_those_that_are_read(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, compared, crc32 = _cache(filled), [], approximate._crc32
    monkeypatch.setattr(approximate, "_crc32", lambda *found: compared.append(1) or crc32(*found))
    query, everything = _clustered(1, seed=3)[0], Choice(None, np.empty(0, np.int64))
    cache.candidates(query, 10, everything)
    first = len(compared)
    cache.candidates(query, 10, everything)
    assert first == cache.stamp.probes == len(compared)


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
    with store.create(tmp_path / "index", Toy.identity, Sampling()) as catalog:
        _add(catalog, ROWS)
        catalog.rebuild()
    every = Filters(top_k=5, per_video=0)
    with _searcher(tmp_path / "index", monkeypatch) as searcher:
        first = searcher.search("0", filters=every)
        with opening.open_to_write(tmp_path / "index") as catalog:
            query = _clustered(50, seed=6)[:1]
            _add(catalog, query, name="new")
            with catalog.read() as rows:
                gone = rows.places([first[0].segment_id])[first[0].segment_id].video_id
            with catalog.transaction() as writer:
                writer.hide_videos([gone])
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
    with store.create(tmp_path / "index", identity, Sampling()) as catalog:
        _add(catalog, ROWS[:980])
        assert catalog.rebuild().lists == 1


# in several parts


def _counts(folder: Path) -> list[int]:
    return [part.count for part in told(folder).parts]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("vectors*"))


def _named(folder: Path) -> list[str]:
    return sorted([STAMP, *(file.name for file in told(folder).written)])


def _state(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {name: (folder / name).stat() for name in _names(folder) if name != STAMP}
    return {name: (status.st_ino, status.st_mtime_ns, status.st_size) for name, status in found.items()}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[store.Catalog]:
    """An empty one, to be filled."""
    with store.create(tmp_path / "index", Toy.identity, Sampling()) as made:
        yield made


def _answers(folder: Path, k: int = 20) -> list[tuple[list[int], list[float]]]:
    with store.open(folder) as catalog, catalog.read() as rows:
        found = [rows.nearest(query, k) for query in _clustered(30, seed=7)]
        assert catalog.notice is None
    return [(one.ids.tolist(), one.scores.tolist()) for one in found]


def test_what_came_becomes_a_part_and_small_parts_are_merged(catalog: store.Catalog) -> None:
    folder, seen = catalog.directory, []
    _add(catalog, ROWS[:3_000])
    assert catalog.fold_if_due()
    first, trained = _state(folder), trained_of(folder).name
    for start in range(3_000, 4_900, 380):
        _add(catalog, ROWS[start : start + 380], name=f"{start} ")
        seen.append((catalog.fold_if_due(), _counts(folder), first.items() <= _state(folder).items()))
        assert _names(folder) == _named(folder)
    assert seen == [
        (True, [3_000, 380], True),
        (False, [3_000, 380], True),
        (True, [3_000, 1_140], True),
        (False, [3_000, 1_140], True),
        (True, [4_900], False),
    ]
    assert trained_of(folder).name == trained
    assert told(folder).trained_on == 3_000
    assert maintenance.verify(catalog).problems == ()


def test_a_new_part_costs_no_more_than_what_is_new(catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    _add(catalog, ROWS[:3_000])
    catalog.rebuild()
    before = _state(catalog.directory)
    _add(catalog, ROWS[3_000:3_400], name="w")
    reads: list[int] = []
    real = store.Rows.vectors
    monkeypatch.setattr(store.Rows, "vectors", lambda rows, *, after=0: reads.append(after) or real(rows, after=after))
    assert catalog.fold_if_due()
    assert reads == [3_000]
    new = {name: state[2] for name, state in _state(catalog.directory).items() if name not in before}
    assert before.items() <= _state(catalog.directory).items()
    assert len(new) == 2
    lists = told(catalog.directory).lists
    assert max(new.values()) <= 400 * (DIMENSION + 8) + 8 * lists + 1_000
    assert min(new.values()) == 128 + 4 * lists


def test_lists_are_made_anew_when_the_count_doubled(catalog: store.Catalog) -> None:
    _add(catalog, ROWS[:1_200])
    catalog.fold_if_due()
    trained = trained_of(catalog.directory).name
    assert told(catalog.directory).lists == 128
    _add(catalog, ROWS[1_200:2_380], name="w")
    catalog.fold_if_due()
    assert (trained_of(catalog.directory).name, _counts(catalog.directory)) == (trained, [2_380])
    _add(catalog, ROWS[2_380:2_700], name="x")
    catalog.fold_if_due()
    assert trained_of(catalog.directory).name != trained
    assert (told(catalog.directory).trained_on, _counts(catalog.directory)) == (2_700, [2_700])
    assert told(catalog.directory).lists == 256
    assert _names(catalog.directory) == _named(catalog.directory)


def test_an_exact_cache_becomes_lists_once_there_are_enough(catalog: store.Catalog) -> None:
    _add(catalog, ROWS[:800])
    catalog.fold_if_due()
    _add(catalog, ROWS[800:980], name="w")
    catalog.fold_if_due()
    assert (told(catalog.directory).lists, _counts(catalog.directory)) == (1, [800, 180])
    _add(catalog, ROWS[980:1_140], name="x")
    catalog.fold_if_due()
    assert (told(catalog.directory).lists, _counts(catalog.directory)) == (128, [1_140])
    assert _names(catalog.directory) == _named(catalog.directory)


@pytest.mark.parametrize("is_large", [False, True])
def test_several_parts_answer_as_one_made_anew(
    is_large: bool, catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of things deleted and hidden before and after a part was sealed too."""
    for module in (vectors, keeping):
        monkeypatch.setattr(module, "APPROXIMATE_FROM", 1_500 if is_large else 10_000)
    monkeypatch.setattr(vectors, "_small", lambda *_: ())
    _add(catalog, ROWS[:1_600])
    catalog.fold_if_due()
    for start in range(1_600, 3_000, 340):
        _add(catalog, ROWS[start : start + 340], name=f"{start} ")
        with catalog.transaction() as writer:
            writer.purge_videos([start // 20 - 40, start // 20 + 3])  # of an older part, and of what is not in one yet
            writer.hide_videos([start // 20 - 30, start // 20 + 5])
        catalog.fold_if_due()
        with catalog.transaction() as writer:
            writer.purge_videos([start // 20 + 7])  # of the part that was just sealed
            writer.hide_videos([start // 20 + 9])
    assert _counts(catalog.directory) == [1_600, 320, 320, 320, 620]
    assert (told(catalog.directory).lists > 1) == is_large
    in_parts, (size, visible) = _answers(catalog.directory), _sizes(catalog)
    assert size == visible
    assert maintenance.verify(catalog).problems == ()
    catalog.rebuild()
    anew = _answers(catalog.directory)
    assert len(_counts(catalog.directory)) == 1
    assert _sizes(catalog) == (visible, visible)
    with catalog.read() as rows:
        exact = [rows.nearest(query, 20, exact=True) for query in _clustered(30, seed=7)]
    right = [(one.ids.tolist(), one.scores.tolist()) for one in exact]
    assert anew == right if not is_large else _mean_recall(anew, right) >= 0.98
    assert in_parts == right if not is_large else _mean_recall(in_parts, right) >= 0.98


def _mean_recall(found: list[tuple[list[int], list[float]]], right: list[tuple[list[int], list[float]]]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for (a, _), (b, _) in zip(found, right, strict=True)]))


def _sizes(catalog: store.Catalog) -> tuple[int, int]:
    """How many visible segments a search counts, and the catalog."""
    with store.open(catalog.directory) as reader, reader.read() as rows:
        return rows.num_segments(), rows.counts().segments


def test_merged_lists_do_not_count_what_went_before_they_came(catalog: store.Catalog) -> None:
    """A segment that came after the first part was sealed, and went before the second one was, is in neither."""
    _add(catalog, ROWS[:1_600])
    catalog.fold_if_due()
    _add(catalog, ROWS[1_600:1_840], name="w")
    catalog.fold_if_due()
    _add(catalog, ROWS[1_840:2_200], name="x")
    with catalog.transaction() as writer:
        writer.purge_videos([93])
    catalog.fold_if_due()
    assert _counts(catalog.directory) == [1_600, 580]
    assert _sizes(catalog) == (2_180, 2_180)


def test_a_filter_over_several_exact_parts_gives_each_segment_once(
    catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (vectors, keeping):
        monkeypatch.setattr(module, "APPROXIMATE_FROM", 10_000)
    monkeypatch.setattr(vectors, "_small", lambda *_: ())
    for start, name in ((0, "a"), (1_600, "b"), (3_200, "ac")):
        _add(catalog, ROWS[start : start + 1_600], name=name)
        catalog.fold_if_due()
    assert _counts(catalog.directory) == [1_600] * 3
    shown = np.r_[1:1_601, 3_201:4_801]
    with catalog.read() as rows:
        for query in _clustered(10, seed=8):
            assert rows.nearest(query, 30, where=store.Where("a*")).ids.tolist() == _by_hand(query, 30, shown)
        assert catalog.notice is None


# made part by part


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are made in parts of a thousand."""
    monkeypatch.setattr(vectors, "_SLICE", 1_000)
    monkeypatch.setattr("cezsar.store.rows._CHUNK", 500)


class _Killed(BaseException):
    """As a signal: nobody catches it."""


def _stop_after(num_parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop once so many parts of new lists are finished, in the midst of the next."""
    seal, done = approximate.seal, []

    def sealed(*given: object, **named: object) -> object:
        if len(done) == num_parts:
            raise _Killed
        done.append(1)
        return seal(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(approximate, "seal", sealed)


def test_large_lists_are_made_in_parts(sliced: None, catalog: store.Catalog) -> None:
    _add(catalog, ROWS)
    catalog.fold_if_due()
    assert _counts(catalog.directory) == [1_000] * 6
    assert _names(catalog.directory) == _named(catalog.directory)
    assert maintenance.verify(catalog).problems == ()
    with catalog.read() as rows:
        recalls = [_recall(rows.nearest(q, 10).ids, _by_hand(q, 10)) for q in _clustered(40, seed=1)]
    assert np.mean(recalls) >= 0.98


@pytest.fixture
def begun(sliced: None, catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch) -> store.Catalog:
    """A cache of 1,000 in lists; of 3,000 more, of which two parts of a thousand are made, and then it was killed."""
    _add(catalog, ROWS[:1_000])
    catalog.fold_if_due()
    before = _state(catalog.directory)
    _add(catalog, ROWS[1_000:4_000], name="w")
    with monkeypatch.context() as patch:
        _stop_after(2, patch)
        with pytest.raises(_Killed):
            catalog.fold_if_due()
    assert before.items() <= _state(catalog.directory).items()
    assert [part.count for part in stamp.read(catalog.directory / NEXT).parts] == [1_000, 1_000]
    return catalog


def test_the_old_cache_serves_while_lists_are_made(begun: store.Catalog) -> None:
    assert begun.cache_state().startswith("1,000 vectors, 8-bit codes")
    with begun.read() as rows:
        for query in _clustered(10, seed=1):
            assert _recall(rows.nearest(query, 10).ids, _by_hand(query, 10, np.arange(1, 4_001))) >= 0.8
    assert begun.notice is None
    assert maintenance.verify(begun).problems == ()


def test_the_next_writer_goes_on_with_lists_that_were_begun(begun: store.Catalog) -> None:
    half = _state(begun.directory)
    made = [file.name for file in stamp.read(begun.directory / NEXT).written]
    assert begun.fold_if_due()
    now = _state(begun.directory)
    assert {name: now[name] for name in made} == {name: half[name] for name in made}
    assert _counts(begun.directory) == [1_000] * 4
    assert told(begun.directory).trained_on == 4_000
    assert _names(begun.directory) == _named(begun.directory)
    assert maintenance.verify(begun).problems == ()
    with begun.read() as rows:
        recalls = [
            _recall(rows.nearest(query, 10).ids, _by_hand(query, 10, np.arange(1, 4_001)))
            for query in _clustered(40, seed=1)
        ]
    assert np.mean(recalls) >= 0.98


def test_deletions_meanwhile_are_heard_of_by_lists_that_were_begun(begun: store.Catalog) -> None:
    with begun.transaction() as writer:
        writer.purge_videos([60, 190])  # of a part that is made, and of one that is not
    assert begun.fold_if_due()
    assert _counts(begun.directory) == [1_000, 1_000, 1_020, 960]
    assert maintenance.verify(begun).problems == ()
    assert _sizes(begun) == (3_960, 3_960)


def test_a_part_that_is_added_meanwhile_keeps_what_was_begun(begun: store.Catalog) -> None:
    made = {file.name for file in stamp.read(begun.directory / NEXT).written}
    with begun.read() as rows:
        vectors.extend(begun.directory, rows, told(begun.directory))
    assert made <= set(_names(begun.directory))
    assert (begun.directory / NEXT).exists()


@pytest.mark.parametrize("blow", [flipped(-1), flipped(40), lambda raw: raw[:-1], None])
@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, NEXT])
def test_lists_that_were_begun_and_are_damaged_are_begun_anew(
    blow: Callable[[bytes], bytes] | None, number: int | str, begun: store.Catalog
) -> None:
    made = [file.name for file in stamp.read(begun.directory / NEXT).written]
    file = begun.directory / (NEXT if number == NEXT else made[int(number)])
    file.unlink() if blow is None else strike(file, blow)
    assert begun.fold_if_due()
    assert not set(made) & set(_names(begun.directory))
    assert _names(begun.directory) == _named(begun.directory)
    assert _counts(begun.directory) == [1_000] * 4
    assert maintenance.verify(begun).problems == ()


@pytest.mark.parametrize("changes", [{"index_id": "another"}, {"dimension": 9}, {"version": 3}, {"trained_on": 2_000}])
def test_lists_that_were_begun_for_something_else_are_begun_anew(
    changes: dict[str, object], begun: store.Catalog
) -> None:
    next_one = stamp.read(begun.directory / NEXT)
    stamp.write(begun.directory / NEXT, replace(next_one, **changes))  # type: ignore[arg-type]
    assert begun.fold_if_due()
    assert not {file.name for file in next_one.written} & set(_names(begun.directory))
    assert _counts(begun.directory) == [1_000] * 4
    assert maintenance.verify(begun).problems == ()


def test_lists_begun_for_a_later_state_that_was_lost_are_begun_anew(begun: store.Catalog, tmp_path: Path) -> None:
    """A catalog comes back from a copy; its next segments have ids that the parts hold of others."""
    index = begun.directory
    begun.__exit__()
    other = tmp_path / "other"
    with store.create(other, Toy.identity, Sampling()):
        pass
    shutil.copytree(index, tmp_path / "later")
    with opening.open_to_write(index) as catalog, catalog.transaction() as writer:
        writer.purge_videos(list(range(51, 201)))
    _forget(index, after=1_000)
    with store.open_to_write(index) as catalog:
        assert catalog.cache_state().startswith("1,000 vectors")
        _add(catalog, -ROWS[1_000:4_000], name="other")
        catalog.fold_if_due()
        assert maintenance.verify(catalog).problems == ()


def _forget(index: Path, *, after: int) -> None:
    """Have a catalog be as it was before it had segments above an id: as a copy of then."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(index / store.FILE)) as database, database:
        database.execute("DELETE FROM deleted_segments")
        database.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'segments'", (after,))
        database.execute("UPDATE index_info SET generation = 1")


def test_lists_that_are_whole_but_do_not_count_yet_are_taken(
    begun: store.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(approximate, "probes", killed)
        with pytest.raises(_Killed):
            begun.fold_if_due()
    made = [file.name for file in stamp.read(begun.directory / NEXT).written]
    assert begun.cache_state().startswith("1,000 vectors")
    assert begun.fold_if_due()
    assert _names(begun.directory) == sorted([STAMP, *made])


def test_rebuilding_begins_anew(begun: store.Catalog) -> None:
    made = {file.name for file in stamp.read(begun.directory / NEXT).written}
    begun.rebuild()
    assert not made & set(_names(begun.directory))
    assert _names(begun.directory) == _named(begun.directory)


def test_dropping_a_cache_drops_what_was_begun(begun: store.Catalog) -> None:
    begun.drop_cache()
    assert _names(begun.directory) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from cezsar import store
from cezsar.store import rows
from cezsar.store.local import approximate, cache, keeping
cache.APPROXIMATE_FROM = keeping.APPROXIMATE_FROM = cache._SLICE = 1_000
rows._CHUNK = 500
seal, done = approximate.seal, []
def sealed(*given, **named):
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return seal(*given, **named)
approximate.seal = sealed
with store.open_to_write(Path(sys.argv[1])) as catalog:
    pass
"""


def test_a_process_killed_while_it_makes_lists_costs_nothing(sliced: None, catalog: store.Catalog) -> None:
    _add(catalog, ROWS[:1_000])
    catalog.fold_if_due()
    _add(catalog, ROWS[1_000:4_000], name="w")
    catalog.__exit__()
    before = _answers(catalog.directory)
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(catalog.directory)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert was_interrupted(catalog.directory)
    assert _answers(catalog.directory) == before
    made = [file.name for file in stamp.read(catalog.directory / NEXT).written]
    assert len(made) == 5
    with store.open_to_write(catalog.directory) as later:
        assert maintenance.verify(later).problems == ()
    assert set(made) < set(_names(catalog.directory))
    assert _counts(catalog.directory) == [1_000] * 4
    assert not was_interrupted(catalog.directory)


@pytest.mark.parametrize("kind", ["data", "beside"])
def test_a_damaged_part_is_not_merged_into_another(kind: str, catalog: store.Catalog) -> None:
    _add(catalog, ROWS[:1_600])
    catalog.fold_if_due()
    _add(catalog, ROWS[1_600:1_840], name="w")
    catalog.fold_if_due()
    assert _counts(catalog.directory) == [1_600, 240]
    strike((data_of if kind == "data" else beside_of)(catalog.directory), flipped(-3))
    _add(catalog, ROWS[1_840:2_200], name="x")
    assert catalog.fold_if_due()
    assert maintenance.verify(catalog).problems == ()
    assert told(catalog.directory).count == 2_200


def test_a_cache_of_another_version_is_made_anew_and_answers_meanwhile(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    shutil.copytree(filled, index)
    for name in _names(index):
        (index / name).unlink()
    former = index / "vectors-300-0123abcd.faiss"
    former.write_bytes(b"IwSq" + bytes(6_000))
    with store.open(filled) as catalog:
        index_id = catalog.info.index_id
    (index / STAMP).write_text(
        f"""{{
 "file": "vectors-300-0123abcd.faiss", "size": 6004, "sha256": "{"0" * 64}", "header_sha256": "{"1" * 64}",
 "index_id": "{index_id}", "generation": 1, "last_segment_id": 6000, "count": 6000, "dimension": 8, "lists": 256,
 "probes": 5, "recall": 0.9992, "lists_crc32": "{"2" * 2_048}", "seal": "{"3" * 64}"
}}"""
    )
    every = Filters(top_k=10, per_video=0)
    with _searcher(index, monkeypatch) as searcher:
        for number in (0, 1):
            hits = searcher.search(str(number), filters=every)
            assert [hit.segment_id for hit in hits] == _by_hand(_clustered(50, seed=6)[number], 10)
        assert searcher.notice == (
            "The cache is not used: another version of CEZSAR made it. `cezsar rebuild` makes it anew."
        )
    assert former.exists()
    with store.open_to_write(index) as catalog:
        assert maintenance.verify(catalog).problems == ()
    assert not former.exists()
    assert _names(index) == _named(index)
    assert _counts(index) == [COUNT]
