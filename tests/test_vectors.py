"""The cache of a small index: scores, stamp, parts, what they find, and every way in which they cannot be used."""

from __future__ import annotations

import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import caches
import numpy as np
import pytest
from caches import Said, beside_of, data_of, flipped, resealed, strike, told
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cezsar.errors import BadIndex, CacheUnusable
from cezsar.store import Info, scores
from cezsar.store.local import cache as vectors
from cezsar.store.local import exact, stamp
from cezsar.store.local.cache import Cache
from cezsar.store.local.choice import Choice
from cezsar.store.local.stamp import NEXT, STAMP, Stamp
from cezsar.types import EncoderIdentity, Ids, Sampling, Scores, Vectors, unit

X, Y, Z = np.eye(3, dtype=np.float32)
XY = unit((X + Y)[None])[0]
INFO = Info("mine", EncoderIdentity("toy", "0" * 64, 3, "visual"), Sampling())


def rows_of(rows: dict[int, Vectors], generation: int) -> Any:
    """The rows by id, two at once."""
    ids = sorted(rows)
    found = np.array([rows[i] for i in ids], np.float32).reshape(len(ids), 3)
    return Said(np.array(ids, np.int64), found, generation=generation, num_at_once=2)


def build(folder: Path, rows: dict[int, Vectors], *, generation: int = 7) -> Stamp:
    return vectors.build(folder, rows_of(rows, generation), INFO)


def extend(folder: Path, rows: dict[int, Vectors], *, generation: int = 8) -> Stamp:
    """With all rows as they are by then."""
    return vectors.extend(folder, rows_of(rows, generation), told(folder))


def load(folder: Path) -> Cache:
    return vectors.load(folder, index_id="mine", dimension=3)


def search(
    cache: Cache, query: Vectors, k: int, *, only: Ids | None = None, but: Ids | None = None
) -> tuple[Ids, Scores]:
    """The k best of its candidates, by the scores that it gives."""
    but = np.empty(0, np.int64) if but is None else but
    ids, own, is_all = cache.candidates(query, k, Choice(only, but))
    assert own is not None
    assert is_all
    return scores.best(ids, own, k)


def found(answer: tuple[Ids, Vectors]) -> list[tuple[int, float]]:
    return [(i, round(float(score), 4)) for i, score in zip(*answer, strict=True)]


def ids_of(*ids: int) -> Ids:
    return np.array(ids, np.int64)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# finding


def test_search_gives_ids_and_scores_best_first(tmp_path: Path) -> None:
    build(tmp_path, {5: X, 6: Y, 90: XY, 91: -X})
    assert found(search(load(tmp_path), X, 3)) == [(5, 1.0), (90, 0.7071), (6, 0.0)]


def test_stamp_says_what_the_files_hold(tmp_path: Path) -> None:
    made = build(tmp_path, {5: X, 90: Y})
    assert (made.index_id, made.generation, made.last_segment_id, made.count) == ("mine", 7, 90, 2)
    assert (made.version, made.lists, made.trained, made.trained_on) == (2, 1, None, 0)
    (part,) = made.parts
    assert (part.pieces, part.after, part.last, part.count) == (((0, 7),), 0, 90, 2)
    assert part.beside.name == part.data.name.removesuffix(".npy") + ".ids.npy"
    assert part.data.name.startswith("vectors-7-")
    assert names(tmp_path) == sorted([part.data.name, part.beside.name, STAMP])
    assert made.num_bytes == sum((tmp_path / file.name).stat().st_size for file in made.written)
    assert load(tmp_path).stamp == told(tmp_path) == made
    assert stamp.damage(tmp_path, made) is None
    assert np.load(tmp_path / part.data.name).tolist() == [X.tolist(), Y.tolist()]
    assert np.load(tmp_path / part.beside.name).tolist() == [5, 90]


def test_filters_apply_before_top_k(tmp_path: Path) -> None:
    build(tmp_path, {1: X, 2: X, 3: X, 4: Y, 5: Z})
    cache = load(tmp_path)
    assert found(search(cache, X, 2, only=ids_of(4, 5))) == [(4, 0.0), (5, 0.0)]
    assert found(search(cache, X, 2, but=ids_of(1, 2, 3))) == [(4, 0.0), (5, 0.0)]
    assert found(search(cache, X, 2, only=ids_of(2, 3, 5), but=ids_of(2))) == [(3, 1.0), (5, 0.0)]


def test_filters_may_name_ids_that_are_not_there(tmp_path: Path) -> None:
    build(tmp_path, {1: X, 8: Y})
    cache = load(tmp_path)
    assert found(search(cache, X, 5, only=ids_of(3, 8, 9, 10**12))) == [(8, 0.0)]
    assert found(search(cache, X, 5, but=ids_of(3, 8, 9, 10**12))) == [(1, 1.0)]
    assert found(search(cache, X, 5, only=ids_of())) == []
    assert found(search(cache, X, 5, but=ids_of(1, 8))) == []


def test_more_is_asked_for_than_there_is(tmp_path: Path) -> None:
    build(tmp_path, {1: X, 2: Y})
    assert found(search(load(tmp_path), Y, 1000)) == [(2, 1.0), (1, 0.0)]


def test_ids_may_lie_far_apart(tmp_path: Path) -> None:
    build(tmp_path, {1: Y, 3_000_000: X, 20_000_000: XY})
    cache = load(tmp_path)
    assert found(search(cache, X, 2)) == [(3_000_000, 1.0), (20_000_000, 0.7071)]
    assert found(search(cache, X, 2, but=ids_of(3_000_000))) == [(20_000_000, 0.7071), (1, 0.0)]
    assert cache.ids().tolist() == [1, 3_000_000, 20_000_000]


def test_empty_cache_finds_nothing(tmp_path: Path) -> None:
    made = build(tmp_path, {})
    cache = load(tmp_path)
    assert (made.count, made.last_segment_id) == (0, 0)
    assert found(search(cache, X, 3)) == found(search(cache, X, 3, but=ids_of(1))) == []
    assert cache.ids().shape == (0,)


def test_a_cache_agrees_with_its_vectors_bit_by_bit(tmp_path: Path) -> None:
    rows = unit(np.random.default_rng(0).normal(size=(20, 3)))
    build(tmp_path, {100 - i: row for i, row in enumerate(rows)})
    cache = load(tmp_path)
    assert cache.ids().tolist() == list(range(81, 101))
    other = np.ascontiguousarray(rows[::-1])
    assert cache.agrees(cache.ids(), other).all()
    other[3, 1] = np.nextafter(other[3, 1], 2)
    assert np.flatnonzero(~cache.agrees(cache.ids(), other)).tolist() == [3]
    assert cache.agrees(ids_of(90, 85), rows[[10, 15]]).all()


def test_equal_scores_come_by_id(tmp_path: Path) -> None:
    build(tmp_path, {1: Y, 2: X, 3: Z, 4: X, 5: X})
    assert found(search(load(tmp_path), X, 5)) == [(2, 1.0), (4, 1.0), (5, 1.0), (1, 0.0), (3, 0.0)]


def test_equal_scores_at_the_last_place_go_to_the_lowest_ids(tmp_path: Path) -> None:
    rows = {1: Y, 2: Y, 3: Y, 4: X, 5: Y, 6: X}
    build(tmp_path, rows)
    expected = [(4, 1.0), (6, 1.0), (1, 0.0), (2, 0.0)]
    assert found(scores.nearest(X, ids_of(*rows), np.array(list(rows.values())), 4)) == expected
    assert found(search(load(tmp_path), X, 4)) == expected


def test_nearest_takes_the_lowest_ids_among_equals_in_any_order() -> None:
    assert found(scores.nearest(X, ids_of(9, 2, 5, 4), np.array([X, X, Y, X]), 2)) == [(2, 1.0), (4, 1.0)]
    assert found(scores.nearest(X, ids_of(9, 2), np.array([X, X]), 10)) == [(2, 1.0), (9, 1.0)]
    assert found(scores.nearest(X, ids_of(), np.empty((0, 3), np.float32), 10)) == []


def test_merged_ranks_two_answers_as_one() -> None:
    one, other = (ids_of(8, 3), np.float32([0.5, 0.1])), (ids_of(9, 2), np.float32([0.7, 0.5]))
    assert found(scores.merged(one, other, 3)) == found(scores.merged(other, one, 3)) == [(9, 0.7), (2, 0.5), (8, 0.5)]
    assert found(scores.merged(one, (ids_of(), np.empty(0, np.float32)), 9)) == [(8, 0.5), (3, 0.1)]


def agree(answer: tuple[Ids, Vectors], rows: dict[int, Vectors], query: Vectors, k: int) -> None:
    """The answer against a slow oracle: its scores are the k best, each id's score is its own, equals come by id."""
    truth = {i: float(np.dot(row.astype(np.float64), query)) for i, row in rows.items()}
    ids, ranked = answer
    np.testing.assert_allclose(ranked, sorted(truth.values(), reverse=True)[:k], atol=1e-6)
    np.testing.assert_allclose(ranked, [truth[i] for i in ids.tolist()], atol=1e-6)
    assert list(zip(-ranked, ids, strict=True)) == sorted(set(zip(-ranked, ids, strict=True)))


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_every_search_agrees_with_a_slow_one(data: st.DataObject) -> None:
    some_ids = st.lists(st.integers(1, 60), unique=True, max_size=40)
    ids = data.draw(some_ids)
    values = data.draw(arrays.arrays(np.int8, (len(ids) + 1, 3), elements=st.integers(-2, 2)))
    *rows, query = unit(values.astype(np.float32))  # few different values: many equal scores
    held = dict(zip(ids, rows, strict=True))
    only, but = data.draw(st.none() | some_ids), data.draw(st.none() | some_ids)
    k = data.draw(st.integers(1, 50))
    cuts = sorted(data.draw(st.lists(st.integers(1, 60), max_size=4)))  # where a part ends and the next begins
    left = {i: row for i, row in held.items() if (only is None or i in only) and (but is None or i not in but)}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_small", lambda *_: ())
        build(Path(folder), {i: row for i, row in held.items() if i <= (cuts or [60])[0]})
        for cut in [*cuts[1:], 60]:
            extend(Path(folder), {i: row for i, row in held.items() if i <= cut})
        cache = load(Path(folder))
        chosen = None if only is None else np.unique(ids_of(*only))
        answer = search(cache, query, k, only=chosen, but=None if but is None else ids_of(*but))
        assert cache.ids().tolist() == sorted(held)
        matrix = np.array([held[i] for i in sorted(held)], np.float32).reshape(len(held), 3)
        assert cache.agrees(ids_of(*sorted(held)), matrix).all()
    agree(answer, left, query, k)
    matrix = np.array(list(left.values()), np.float32).reshape(len(left), 3)
    agree(scores.nearest(query, ids_of(*left), matrix, k), left, query, k)


def test_candidates_are_the_nearest_of_all_parts_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else what is not nearest would take the place of what is, once some of these turn out to be hidden."""
    monkeypatch.setattr(vectors, "_small", lambda *_: ())
    near = unit(np.stack([X * (10 - i) + Y * i for i in range(6)]))
    held = {1 + i: row for i, row in enumerate(near)}
    build(tmp_path, held)
    held |= {11 + i: Z for i in range(5)}
    extend(tmp_path, held)
    ids, own, _ = load(tmp_path).candidates(X, 3, Choice(None, ids_of()))
    assert own is not None
    assert sorted(ids.tolist()) == [1, 2, 3]
    np.testing.assert_allclose(own[np.argsort(ids)], near[:3] @ X, atol=1e-6)


# parts


def counts(folder: Path) -> list[int]:
    return [part.count for part in told(folder).parts]


def grown(folder: Path, *steps: int) -> list[list[int]]:
    """The counts of the parts after each time that so many more were added, from the first on."""
    held: dict[int, Vectors] = {}
    seen = []
    for step in steps:
        held |= dict.fromkeys(range(len(held) + 1, len(held) + step + 1), X)
        extend(folder, held) if (folder / STAMP).exists() else build(folder, held)
        seen.append(counts(folder))
    assert load(folder).ids().tolist() == list(held)
    return seen


def test_small_parts_are_merged_by_size(tmp_path: Path) -> None:
    assert grown(tmp_path, 100, 2, 2, 3, 20, 7, 30, 20, 60, 10) == [
        [100],
        [100, 2],
        [100, 4],
        [100, 7],
        [100, 27],
        [100, 27, 7],
        [164],
        [164, 20],
        [164, 80],
        [164, 80, 10],
    ]


def test_a_part_of_the_largest_size_is_not_merged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_LARGEST", 10)
    assert grown(tmp_path, 6, 3, 1, 2, 10, 4, 6) == [
        [6],
        [9],
        [9, 1],
        [9, 3],
        [9, 3, 10],
        [9, 3, 10, 4],
        [9, 3, 10, 10],
    ]


@pytest.mark.parametrize("num_parts_least", [8])
def test_there_are_few_parts_and_a_vector_is_written_a_few_times(
    num_parts_least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    write = stamp.write_array

    def counted(folder: Path, name: str, array: Any) -> Any:
        written.append(len(array) if array.ndim == 2 else 0)
        return write(folder, name, array)

    monkeypatch.setattr(exact, "write_array", counted)
    seen = grown(tmp_path, *[10] * 128)
    assert max(len(parts) for parts in seen) <= num_parts_least
    assert sum(written) <= 1_280 * num_parts_least


def state_of(folder: Path, *files: str) -> list[tuple[int, int, int]]:
    found = [(folder / name).stat() for name in files]
    return [(status.st_ino, status.st_mtime_ns, status.st_size) for status in found]


def test_a_new_part_leaves_older_files_as_they_are_and_costs_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = dict.fromkeys(range(1, 1_001), X)
    older = [file.name for file in build(tmp_path, held).written]
    before = state_of(tmp_path, *older)
    reads: list[int] = []
    real = Said.vectors
    monkeypatch.setattr(Said, "vectors", lambda rows, *, after=0: reads.append(after) or real(rows, after=after))
    made = extend(tmp_path, held | dict.fromkeys(range(1_001, 1_011), Y))
    assert counts(tmp_path) == [1_000, 10]
    assert state_of(tmp_path, *older) == before
    assert reads == [1_000]
    new = [file for file in made.written if file.name not in older]
    assert [file.size for file in new] == [128 + 10 * 3 * 4, 128 + 10 * 8]
    assert names(tmp_path) == sorted([*older, *(file.name for file in new), STAMP])
    assert ([part.pieces for part in made.parts], made.generation) == ([((0, 7),), ((1_000, 8),)], 8)


def test_merged_parts_files_go_and_others_stay(tmp_path: Path) -> None:
    held = dict.fromkeys(range(1, 101), X)
    first = [file.name for file in build(tmp_path, held).written]
    before = state_of(tmp_path, *first)
    extend(tmp_path, held := held | dict.fromkeys(range(101, 111), Y))
    made = extend(tmp_path, held | dict.fromkeys(range(111, 121), Z))
    assert counts(tmp_path) == [100, 20]
    assert state_of(tmp_path, *first) == before
    assert names(tmp_path) == sorted([STAMP, *(file.name for file in made.written)])
    assert len(made.written) == 4


def test_what_was_deleted_is_gone_from_a_merged_part(tmp_path: Path) -> None:
    held = dict.fromkeys(range(1, 101), X)
    build(tmp_path, held)
    extend(tmp_path, held := held | dict.fromkeys(range(101, 111), Y))
    del held[3], held[105]
    extend(tmp_path, held | dict.fromkeys(range(111, 121), Z), generation=9)
    assert counts(tmp_path) == [100, 19]
    assert [part.pieces for part in told(tmp_path).parts] == [((0, 7),), ((100, 9),)]
    assert load(tmp_path).ids().tolist() == [*range(1, 105), *range(106, 121)]


# being unusable


def test_no_cache_yet(tmp_path: Path) -> None:
    with pytest.raises(CacheUnusable, match="there is none yet"):
        load(tmp_path)


Harm = Callable[[Path], None]


def changed(**fields: object) -> Harm:
    """Rewrite the stamp with other fields, under the old seal."""

    def run(folder: Path) -> None:
        known = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        (folder / STAMP).write_text(json.dumps(known | fields), encoding="utf-8")

    return run


def part_changed(**fields: object) -> Harm:
    """The same of its last part."""

    def run(folder: Path) -> None:
        known = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        changed(parts=[*known["parts"][:-1], known["parts"][-1] | fields])(folder)

    return run


def written_changed(**fields: object) -> Harm:
    """The same of its last part's vectors."""

    def run(folder: Path) -> None:
        known = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        part_changed(data=known["parts"][-1]["data"] | fields)(folder)

    return run


def sealed(**fields: object) -> Harm:
    """Rewrite the stamp with other fields and the seal that belongs to them."""
    return lambda folder: stamp.write(folder / STAMP, replace(told(folder), **fields))  # type: ignore[arg-type]


def part_sealed(**fields: object) -> Harm:
    """The same of its last part."""

    def run(folder: Path) -> None:
        *others, part = told(folder).parts
        sealed(parts=(*others, replace(part, **fields)))(folder)  # type: ignore[arg-type]

    return run


def written_sealed(**fields: object) -> Harm:
    """The same of its last part's vectors."""

    def run(folder: Path) -> None:
        part_sealed(data=replace(told(folder).parts[-1].data, **fields))(folder)  # type: ignore[arg-type]

    return run


def stamped(content: bytes) -> Harm:
    """Write something else in the place of the stamp."""
    return lambda folder: (folder / STAMP).write_bytes(content) and None  # type: ignore[func-returns-value]


def harmed(file_of: Callable[[Path], Path], blow: caches.Blow) -> Harm:
    """Another content of one of the files."""
    return lambda folder: strike(file_of(folder), blow)


def resealed_as(file_of: Callable[[Path], Path], blow: caches.Blow) -> Harm:
    """The same, with a stamp that fits."""

    def run(folder: Path) -> None:
        strike(file_of(folder), blow)
        resealed(folder)

    return run


NO_STAMP = "its stamp cannot be read"
NO_FILE = "its file cannot be read"
NO_CHECKSUM = "its checksum is not what its stamp says"
NO_SIZE = "its size is not what its stamp says"
NO_HEADER = "its header is not what its stamp says"
NOT_READ = "its (stamp|file) cannot be read"
FORMER = """{
 "file": "vectors-7-0123abcd.faiss", "size": 170, "sha256": "%s", "header_sha256": "%s", "index_id": "mine",
 "generation": 7, "last_segment_id": 3, "count": 3, "dimension": 3, "lists": 1, "probes": 1, "recall": 1.0, "seal": "%s"
}""" % (("0" * 64,) * 3)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        pytest.param(stamped(b""), NO_STAMP, id="stamp empty"),
        pytest.param(stamped(b"{"), NO_STAMP, id="stamp not JSON"),
        pytest.param(stamped(b"\xff\xfe\x00"), NO_STAMP, id="stamp not UTF-8"),
        pytest.param(stamped(b"[1, 2]"), NO_STAMP, id="stamp a list"),
        pytest.param(stamped(b"null"), NO_STAMP, id="stamp null"),
        pytest.param(stamped(b"{}"), NO_STAMP, id="stamp without fields"),
        pytest.param(stamped(b"[" * 100_000), NO_STAMP, id="stamp nested too deeply"),
        pytest.param(stamped(FORMER.encode()), "another version of CEZSAR made it", id="stamp of version 1"),
        pytest.param(sealed(version=3), "another version of CEZSAR made it", id="stamp of version 3"),
        pytest.param(changed(version="2"), "another version of CEZSAR made it", id="text for the version"),
        pytest.param(changed(colour="red"), NO_STAMP, id="stamp with a field too many"),
        pytest.param(part_changed(pieces=[[0, "7"]]), NO_STAMP, id="text for a number"),
        pytest.param(written_changed(size=1.5), NO_STAMP, id="fraction for a number"),
        pytest.param(part_changed(count=True), NO_STAMP, id="truth for a number"),
        pytest.param(written_changed(sha256=None), NO_STAMP, id="nothing for text"),
        pytest.param(changed(parts=None), NO_STAMP, id="nothing for parts"),
        pytest.param(changed(parts=[]), NO_STAMP, id="a part less"),
        pytest.param(written_changed(name="../other.npy"), NO_STAMP, id="file in another folder"),
        pytest.param(written_changed(name="/etc/passwd"), NO_STAMP, id="file by its whole path"),
        pytest.param(written_changed(name="a\0b"), NOT_READ, id="file with a name that no file can have"),
        pytest.param(written_changed(name="\ud800"), NOT_READ, id="file with a name that is not text"),
        pytest.param(written_changed(name=".."), NO_STAMP, id="file a folder"),
        pytest.param(part_changed(last=2), NO_STAMP, id="another last segment"),
        pytest.param(part_changed(pieces=[[0, 8]]), NO_STAMP, id="another generation"),
        pytest.param(part_sealed(pieces=((0, "7"),)), NO_STAMP, id="sealed text for a number"),
        pytest.param(part_sealed(pieces=((0,),)), NO_STAMP, id="sealed piece without a generation"),
        pytest.param(part_sealed(pieces=()), NO_STAMP, id="sealed part of no pieces"),
        pytest.param(part_sealed(count=True), NO_STAMP, id="sealed truth for a number"),
        pytest.param(written_sealed(sha256=None), NO_STAMP, id="sealed nothing for text"),
        pytest.param(sealed(lists=0), NO_STAMP, id="no lists"),
        pytest.param(sealed(lists=64), NO_STAMP, id="lists without centres"),
        pytest.param(written_sealed(name="../other.npy"), "its file is missing", id="sealed file in another folder"),
        pytest.param(written_sealed(name="a\0b"), NO_FILE, id="sealed name that no file can have"),
        pytest.param(written_sealed(name=".."), NO_SIZE + "|" + NO_FILE, id="sealed file a folder"),
        pytest.param(sealed(index_id="another"), "it belongs to another index", id="another index"),
        pytest.param(sealed(dimension=4), "it holds 4-d vectors, the catalog 3-d ones", id="another dimension"),
        pytest.param(part_sealed(count=4), NO_HEADER, id="another count"),
        pytest.param(part_sealed(count=-1), NO_HEADER, id="a count below nothing"),
        pytest.param(written_sealed(name="vectors-0-0000000a.npy"), "its file is missing", id="file missing"),
        pytest.param(lambda folder: data_of(folder).unlink(), "its file is missing", id="file deleted"),
        pytest.param(lambda folder: beside_of(folder).unlink(), "its file is missing", id="ids deleted"),
        *(
            pytest.param(harmed(file_of, blow), reason, id=f"{what} {how}")
            for what, file_of in (("vectors", data_of), ("ids", beside_of))
            for how, blow, reason in (
                ("cut short", lambda raw: raw[:-1], NO_SIZE),
                ("empty", lambda raw: b"", NO_SIZE),
                ("too long", lambda raw: raw + b"\0", NO_SIZE),
                ("random bytes", lambda raw: np.random.default_rng(0).bytes(len(raw)), NO_CHECKSUM),
                ("zeros", lambda raw: bytes(len(raw)), NO_CHECKSUM),
                ("of another magic", flipped(1), NO_CHECKSUM),
                ("of another version", flipped(6), NO_CHECKSUM),
                ("of another header", flipped(70), NO_CHECKSUM),
                ("with another last bit", flipped(-1), NO_CHECKSUM),
            )
        ),
        *(
            pytest.param(resealed_as(file_of, blow), NO_FILE + "|" + NO_HEADER, id=f"sealed {what} {how}")
            for what, file_of in (("vectors", data_of), ("ids", beside_of))
            for how, blow in (
                ("cut short", lambda raw: raw[:-1]),
                ("empty", lambda raw: b""),
                ("random bytes", lambda raw: np.random.default_rng(0).bytes(len(raw))),
                ("an archive", lambda raw: b"PK\x03\x04" + bytes(len(raw))),
                ("zeros", lambda raw: bytes(len(raw))),
                ("of another dtype", lambda raw: raw.replace(b"<f4", b"<i4").replace(b"<i8", b"<u8")),
                ("by columns", lambda raw: raw.replace(b"(3,", b"(2,", 1)),
                (
                    "of a shape without end",
                    lambda raw: raw.replace(b"(3,", b"(3" + b"0" * 9 + b",").replace(b" " * 9, b"", 1),
                ),
            )
        ),
    ],
)
def test_cache_that_does_not_fit_is_unusable_and_says_why(harm: Harm, reason: str, tmp_path: Path) -> None:
    build(tmp_path, {1: X, 2: Y, 3: Z})
    harm(tmp_path)
    with pytest.raises(CacheUnusable, match=reason):
        load(tmp_path)
    assert found_after_rebuild(tmp_path) == [(2, 1.0)]


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("kind", ["data", "beside"])
@pytest.mark.parametrize(
    ("blow", "reason"), [(flipped(-1), NO_CHECKSUM), (flipped(3), NO_CHECKSUM), (lambda raw: raw[:-1], NO_SIZE)]
)
def test_each_part_is_compared(
    part: int, kind: str, blow: caches.Blow, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "_small", lambda *_: ())
    grown(tmp_path, 5, 4, 6)
    assert counts(tmp_path) == [5, 4, 6]
    strike(tmp_path / getattr(told(tmp_path).parts[part], kind).name, blow)
    with pytest.raises(CacheUnusable, match=reason):
        load(tmp_path)
    assert stamp.damage(tmp_path, told(tmp_path)) == "the cache's checksum is wrong"


def found_after_rebuild(folder: Path) -> list[tuple[int, float]]:
    build(folder, {2: Y}, generation=8)
    assert names(folder) == sorted([STAMP, *(file.name for file in told(folder).written)])
    return found(search(load(folder), Y, 3))


def test_stamp_that_may_not_be_read_is_unusable(
    tmp_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    build(tmp_path, {1: X})
    open_the_way(tmp_path)
    (tmp_path / STAMP).chmod(0)
    with unprivileged(), pytest.raises(CacheUnusable, match=NO_STAMP):
        load(tmp_path)


def test_flipped_bit_among_the_vectors_is_found_by_the_checksum(tmp_path: Path) -> None:
    made = build(tmp_path, {1: X, 2: Y, 3: Z})
    path = data_of(tmp_path)
    strike(path, flipped(path.read_bytes().rindex(Y.tobytes()) + 5))
    with pytest.raises(CacheUnusable, match="its checksum is not what its stamp says"):
        load(tmp_path)
    assert stamp.damage(tmp_path, made) == "the cache's checksum is wrong"


@pytest.mark.parametrize("file_of", [data_of, beside_of])
def test_missing_file_is_damage(file_of: Callable[[Path], Path], tmp_path: Path) -> None:
    made = build(tmp_path, {1: X})
    file_of(tmp_path).unlink()
    assert stamp.damage(tmp_path, made) == "the cache cannot be read: No such file or directory"


def test_a_cache_of_version_one_is_replaced_with_its_file(tmp_path: Path) -> None:
    (tmp_path / STAMP).write_text(FORMER)
    (tmp_path / "vectors-7-0123abcd.faiss").write_bytes(b"IwFl" + bytes(166))
    build(tmp_path, {1: X})
    assert names(tmp_path) == sorted([STAMP, *(file.name for file in told(tmp_path).written)])


def test_a_stamp_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = build(tmp_path, {1: X, 2: Y})
    large = replace(made, lists=64, probes=5, recall=0.9995, trained=made.parts[0].data, trained_on=123)
    stamp.write(tmp_path / NEXT, large)
    assert stamp.read(tmp_path / NEXT) == large
    assert large.written == (made.parts[0].data, *made.written)
    assert (tmp_path / NEXT).stat().st_mode & 0o777 == 0o600


def test_only_its_own_files_are_forgotten(tmp_path: Path) -> None:
    made = build(tmp_path, {1: X})
    mine = ["vectors-1-0123abcd.faiss", "vectors-1-0123abcd.crc32.npy", "vectors-1-0123abcd.npy"]
    others = [
        "vectors-1-0123abcd.txt",
        "vectors.npy",
        "vectors-1-0123ABCD.npy",
        "vectors-x-0123abcd.npy",
        "holiday.npy",
    ]
    for name in (*mine, *others):
        (tmp_path / name).write_text("x")
    (tmp_path / "vectors-1-0123abcd.ids.npy").symlink_to(tmp_path / "holiday.npy")
    stamp.forget_others(tmp_path, made)
    assert names(tmp_path) == sorted(
        [STAMP, "vectors-1-0123abcd.ids.npy", *others, *(file.name for file in made.written)]
    )
    stamp.drop(tmp_path)
    assert names(tmp_path) == sorted(["vectors-1-0123abcd.ids.npy", *others])


# being replaced


def test_open_cache_answers_as_before_after_a_rebuild(tmp_path: Path) -> None:
    old = build(tmp_path, {1: X, 2: Y})
    reader = load(tmp_path)
    new = build(tmp_path, {3: X}, generation=8)
    assert found(search(reader, X, 2)) == [(1, 1.0), (2, 0.0)]
    assert reader.ids().tolist() == [1, 2]
    assert found(search(load(tmp_path), X, 2)) == [(3, 1.0)]
    assert not {file.name for file in old.written} & {file.name for file in new.written}
    assert names(tmp_path) == sorted([STAMP, *(file.name for file in new.written)])


def test_rebuild_of_the_same_vectors_serves_old_and_new_readers(tmp_path: Path) -> None:
    old = build(tmp_path, {1: X, 2: Y})
    reader = load(tmp_path)
    new = build(tmp_path, {1: X, 2: Y})
    assert [(one.size, one.sha256) for one in new.written] == [(one.size, one.sha256) for one in old.written]
    assert found(search(reader, X, 1)) == found(search(load(tmp_path), X, 1)) == [(1, 1.0)]


class Broken(Said):
    """Rows of a catalog that is damaged farther on."""

    def vectors(self, *, after: int = 0) -> Iterator[tuple[Ids, Vectors]]:
        yield ids_of(3), X[None]
        raise BadIndex("the catalog is damaged")


@pytest.mark.parametrize("is_new", [True, False])
def test_vectors_that_cannot_be_had_leave_the_old_cache(is_new: bool, tmp_path: Path) -> None:
    build(tmp_path, {1: X})
    before = names(tmp_path)
    rows: Any = Broken(ids_of(1, 3), np.stack([X, X]), generation=8)
    with pytest.raises(BadIndex, match="the catalog is damaged"):
        vectors.build(tmp_path, rows, INFO) if is_new else vectors.extend(tmp_path, rows, told(tmp_path))
    assert names(tmp_path) == before
    assert found(search(load(tmp_path), X, 9)) == [(1, 1.0)]


def test_read_only_folder_keeps_its_cache(
    tmp_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    build(tmp_path, {1: X})
    before = sorted(path.name for path in tmp_path.iterdir())
    open_the_way(tmp_path)
    tmp_path.chmod(0o555)
    with unprivileged():
        with pytest.raises(BadIndex, match=f"The cache in {tmp_path} cannot be written"):
            build(tmp_path, {2: Y}, generation=8)
        assert found(search(load(tmp_path), X, 9)) == [(1, 1.0)]
    tmp_path.chmod(0o755)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("missing", [1, 4_000, 9_000, 14_000])
@pytest.mark.parametrize("how", ["built", "extended"])
def test_disk_that_is_full_keeps_the_old_cache(how: str, missing: int, tmp_path: Path) -> None:
    (tmp_path / "roomy").mkdir()
    (tmp_path / "full").mkdir()
    many = dict.fromkeys(range(2, 1_202), Y)
    size = build(tmp_path / "roomy", many).parts[0].data.size
    build(tmp_path / "full", {1: X})
    before = names(tmp_path / "full")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - missing, hard))  # the system writes so much of a file, no more
    try:
        with pytest.raises(BadIndex, match="cannot be written"):
            (build if how == "built" else extend)(tmp_path / "full", many, generation=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path / "full") == before
    assert found(search(load(tmp_path / "full"), X, 9)) == [(1, 1.0)]


def open_the_way(folder: Path) -> None:
    """Let every user reach a temporary folder."""
    for each in (folder, *folder.parents[:2]):
        if os.geteuid() == 0:
            each.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
