"""The FAISS cache: what it finds, and every way in which it cannot be used."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cezsar import vectors
from cezsar.errors import BadIndex, CacheUnusable
from cezsar.types import Ids, Scores, Vectors, unit
from cezsar.vectors import STAMP, Cache, Stamp

X, Y, Z = np.eye(3, dtype=np.float32)
XY = unit((X + Y)[None])[0]


def build(folder: Path, rows: dict[int, Vectors], *, generation: int = 7) -> Stamp:
    return vectors.build(
        folder, lambda: chunks(rows), index_id="mine", generation=generation, dimension=3, count=len(rows)
    )


def chunks(rows: dict[int, Vectors]) -> Iterable[tuple[Ids, Vectors]]:
    """The rows by id, two at once."""
    ids = sorted(rows)
    for start in range(0, len(ids), 2):
        some = ids[start : start + 2]
        yield np.array(some, np.int64), np.array([rows[i] for i in some], np.float32)


def load(folder: Path) -> Cache:
    return vectors.load(folder, index_id="mine", dimension=3)


def search(cache: Cache, query: Vectors, k: int, **filters: Ids) -> tuple[Ids, Scores]:
    """A search that is exact by itself, and asks the catalog nothing."""

    def never(ids: Ids) -> tuple[Ids, Vectors]:
        raise AssertionError

    return cache.search(query, k, never, **filters)


def found(answer: tuple[Ids, Vectors]) -> list[tuple[int, float]]:
    return [(i, round(float(score), 4)) for i, score in zip(*answer, strict=True)]


def ids_of(*ids: int) -> Ids:
    return np.array(ids, np.int64)


# finding


def test_search_gives_ids_and_scores_best_first(tmp_path: Path) -> None:
    build(tmp_path, {5: X, 6: Y, 90: XY, 91: -X})
    assert found(search(load(tmp_path), X, 3)) == [(5, 1.0), (90, 0.7071), (6, 0.0)]


def test_stamp_says_what_the_file_holds(tmp_path: Path) -> None:
    stamp = build(tmp_path, {5: X, 90: Y})
    assert (stamp.index_id, stamp.generation, stamp.last_segment_id, stamp.count) == ("mine", 7, 90, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([stamp.file, STAMP])
    assert (tmp_path / stamp.file).stat().st_size == stamp.size
    assert load(tmp_path).stamp == stamp
    assert vectors.damage(tmp_path, stamp) is None


def test_filters_apply_before_top_k(tmp_path: Path) -> None:
    build(tmp_path, {1: X, 2: X, 3: X, 4: Y, 5: Z})
    cache = load(tmp_path)
    assert found(search(cache, X, 2, allowed=ids_of(4, 5))) == [(4, 0.0), (5, 0.0)]
    assert found(search(cache, X, 2, masked=ids_of(1, 2, 3))) == [(4, 0.0), (5, 0.0)]
    assert found(search(cache, X, 2, allowed=ids_of(2, 3, 5), masked=ids_of(2))) == [(3, 1.0), (5, 0.0)]


def test_filters_may_name_ids_that_are_not_there(tmp_path: Path) -> None:
    build(tmp_path, {1: X, 8: Y})
    cache = load(tmp_path)
    assert found(search(cache, X, 5, allowed=ids_of(3, 8, 9, 10**12))) == [(8, 0.0)]
    assert found(search(cache, X, 5, masked=ids_of(3, 8, 9, 10**12))) == [(1, 1.0)]
    assert found(search(cache, X, 5, allowed=ids_of())) == []
    assert found(search(cache, X, 5, masked=ids_of(1, 8))) == []


def test_more_is_asked_for_than_there_is(tmp_path: Path) -> None:
    build(tmp_path, {1: X, 2: Y})
    assert found(search(load(tmp_path), Y, 1000)) == [(2, 1.0), (1, 0.0)]


def test_ids_may_lie_far_apart(tmp_path: Path) -> None:
    build(tmp_path, {1: Y, 3_000_000: X, 20_000_000: XY})
    cache = load(tmp_path)
    assert found(search(cache, X, 2)) == [(3_000_000, 1.0), (20_000_000, 0.7071)]
    assert found(search(cache, X, 2, masked=ids_of(3_000_000))) == [(20_000_000, 0.7071), (1, 0.0)]
    assert cache.ids().tolist() == [1, 3_000_000, 20_000_000]


def test_empty_cache_finds_nothing(tmp_path: Path) -> None:
    stamp = build(tmp_path, {})
    cache = load(tmp_path)
    assert (stamp.count, stamp.last_segment_id) == (0, 0)
    assert found(search(cache, X, 3)) == found(search(cache, X, 3, masked=ids_of(1))) == []
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
    assert found(vectors.nearest(X, ids_of(*rows), np.array(list(rows.values())), 4)) == expected
    assert found(search(load(tmp_path), X, 4)) == expected


def test_nearest_takes_the_lowest_ids_among_equals_in_any_order() -> None:
    assert found(vectors.nearest(X, ids_of(9, 2, 5, 4), np.array([X, X, Y, X]), 2)) == [(2, 1.0), (4, 1.0)]
    assert found(vectors.nearest(X, ids_of(9, 2), np.array([X, X]), 10)) == [(2, 1.0), (9, 1.0)]
    assert found(vectors.nearest(X, ids_of(), np.empty((0, 3), np.float32), 10)) == []


def test_merged_ranks_two_answers_as_one() -> None:
    one, other = (ids_of(8, 3), np.float32([0.5, 0.1])), (ids_of(9, 2), np.float32([0.7, 0.5]))
    assert (
        found(vectors.merged(one, other, 3)) == found(vectors.merged(other, one, 3)) == [(9, 0.7), (2, 0.5), (8, 0.5)]
    )
    assert found(vectors.merged(one, (ids_of(), np.empty(0, np.float32)), 9)) == [(8, 0.5), (3, 0.1)]


def agree(answer: tuple[Ids, Vectors], rows: dict[int, Vectors], query: Vectors, k: int) -> None:
    """The answer against a slow oracle: its scores are the k best, each id's score is its own, equals come by id."""
    truth = {i: float(np.dot(row.astype(np.float64), query)) for i, row in rows.items()}
    ids, scores = answer
    np.testing.assert_allclose(scores, sorted(truth.values(), reverse=True)[:k], atol=1e-6)
    np.testing.assert_allclose(scores, [truth[i] for i in ids.tolist()], atol=1e-6)
    assert list(zip(-scores, ids, strict=True)) == sorted(set(zip(-scores, ids, strict=True)))


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_every_search_agrees_with_a_slow_one(data: st.DataObject) -> None:
    some_ids = st.lists(st.integers(1, 60), unique=True, max_size=40)
    ids = data.draw(some_ids)
    values = data.draw(arrays.arrays(np.int8, (len(ids) + 1, 3), elements=st.integers(-2, 2)))
    *rows, query = unit(values.astype(np.float32))  # few different values: many equal scores
    held = dict(zip(ids, rows, strict=True))
    allowed, masked = data.draw(st.none() | some_ids), data.draw(st.none() | some_ids)
    k = data.draw(st.integers(1, 50))
    left = {
        i: row for i, row in held.items() if (allowed is None or i in allowed) and (masked is None or i not in masked)
    }
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), held)
        answer = search(
            load(Path(folder)),
            query,
            k,
            allowed=None if allowed is None else ids_of(*allowed),
            masked=None if masked is None else ids_of(*masked),
        )
    agree(answer, left, query, k)
    matrix = np.array(list(left.values()), np.float32).reshape(len(left), 3)
    agree(vectors.nearest(query, ids_of(*left), matrix, k), left, query, k)


# being unusable


def test_no_cache_yet(tmp_path: Path) -> None:
    with pytest.raises(CacheUnusable, match="there is none yet"):
        load(tmp_path)


def changed(**fields: object) -> Callable[[Path, Stamp], None]:
    """Rewrite the stamp with other fields."""

    def run(folder: Path, stamp: Stamp) -> None:
        known = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        (folder / STAMP).write_text(json.dumps(known | fields), encoding="utf-8")

    return run


def sealed(**fields: object) -> Callable[[Path, Stamp], None]:
    """Rewrite the stamp with other fields and the seal that belongs to them."""

    def run(folder: Path, stamp: Stamp) -> None:
        other = dataclasses.replace(stamp, **fields)  # type: ignore[arg-type]
        (folder / STAMP).write_text(json.dumps({**dataclasses.asdict(other), "seal": vectors._seal(other)}))

    return run


def stamped(content: bytes) -> Callable[[Path, Stamp], None]:
    """Write something else in the place of the stamp."""

    def run(folder: Path, stamp: Stamp) -> None:
        (folder / STAMP).write_bytes(content)

    return run


def filled(content: Callable[[bytes], bytes]) -> Callable[[Path, Stamp], None]:
    """Write something else in the place of the file."""

    def run(folder: Path, stamp: Stamp) -> None:
        path = folder / stamp.file
        path.write_bytes(content(path.read_bytes()))

    return run


def flipped(byte: int) -> Callable[[bytes], bytes]:
    """One bit of the file is another one."""
    return lambda raw: raw[:byte] + bytes([raw[byte] ^ 1]) + raw[byte + 1 :]


NO_STAMP = "its stamp cannot be read"
NO_FILE = "its file cannot be read|its header is not what its stamp says"
NOT_READ = "its (stamp|file) cannot be read"


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
        pytest.param(changed(colour="red"), NO_STAMP, id="stamp with a field too many"),
        pytest.param(changed(generation="7"), NO_STAMP, id="text for a number"),
        pytest.param(changed(size=1.5), NO_STAMP, id="fraction for a number"),
        pytest.param(changed(count=True), NO_STAMP, id="truth for a number"),
        pytest.param(changed(sha256=None), NO_STAMP, id="nothing for text"),
        pytest.param(changed(file="../other.faiss"), NO_STAMP, id="file in another folder"),
        pytest.param(changed(file="/etc/passwd"), NO_STAMP, id="file by its whole path"),
        pytest.param(changed(file="a\0b"), NOT_READ, id="file with a name that no file can have"),
        pytest.param(changed(file="\ud800"), NOT_READ, id="file with a name that is not text"),
        pytest.param(changed(file=".."), NO_STAMP + "|its size is not", id="file a folder"),
        pytest.param(changed(last_segment_id=2), NO_STAMP, id="another last segment"),
        pytest.param(changed(generation=8), NO_STAMP, id="another generation"),
        pytest.param(sealed(index_id="another"), "it belongs to another index", id="another index"),
        pytest.param(sealed(dimension=4), "it holds 4-d vectors, the catalog 3-d ones", id="another dimension"),
        pytest.param(sealed(count=4), "its header is not what its stamp says", id="another count"),
        pytest.param(sealed(file="vectors-0-gone.faiss"), "its file is missing", id="file missing"),
        pytest.param(lambda folder, stamp: (folder / stamp.file).unlink(), "its file is missing", id="file deleted"),
        pytest.param(filled(lambda raw: raw[:-1]), "its size is not what its stamp says", id="file cut short"),
        pytest.param(filled(lambda raw: b""), "its size is not what its stamp says", id="file empty"),
        pytest.param(filled(lambda raw: raw + b"\0"), "its size is not what its stamp says", id="file too long"),
        pytest.param(filled(lambda raw: np.random.default_rng(0).bytes(len(raw))), NO_FILE, id="random bytes"),
        pytest.param(filled(lambda raw: bytes(len(raw))), NO_FILE, id="zeros"),
        pytest.param(filled(flipped(4)), NO_FILE + "|its header is not", id="header of another dimension"),
        pytest.param(filled(flipped(8)), "its header is not what its stamp says", id="header of another count"),
        pytest.param(filled(flipped(32)), NO_FILE + "|its header is not", id="header that says untrained"),
        pytest.param(filled(flipped(90)), NO_FILE, id="header that contradicts itself"),
        pytest.param(filled(flipped(130)), NO_FILE, id="header that asks for 2 ** 56 lists"),
    ],
)
def test_cache_that_does_not_fit_is_unusable_and_says_why(
    harm: Callable[[Path, Stamp], None], reason: str, tmp_path: Path
) -> None:
    stamp = build(tmp_path, {1: X, 2: Y, 3: Z})
    harm(tmp_path, stamp)
    with pytest.raises(CacheUnusable, match=reason):
        load(tmp_path)
    assert found_after_rebuild(tmp_path) == [(2, 1.0)]


def found_after_rebuild(folder: Path) -> list[tuple[int, float]]:
    build(folder, {2: Y}, generation=8)
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
    stamp = build(tmp_path, {1: X, 2: Y, 3: Z})
    path = tmp_path / stamp.file
    path.write_bytes(flipped(path.read_bytes().rindex(Y.tobytes()) + 5)(path.read_bytes()))
    with pytest.raises(CacheUnusable, match="its checksum is not what its stamp says"):
        load(tmp_path)
    assert vectors.damage(tmp_path, stamp) == "the FAISS cache's checksum is wrong"


def test_missing_file_is_damage(tmp_path: Path) -> None:
    stamp = build(tmp_path, {1: X})
    (tmp_path / stamp.file).unlink()
    assert vectors.damage(tmp_path, stamp) == "the FAISS cache cannot be read: No such file or directory"


# being replaced


def test_open_cache_answers_as_before_after_a_rebuild(tmp_path: Path) -> None:
    old = build(tmp_path, {1: X, 2: Y})
    reader = load(tmp_path)
    new = build(tmp_path, {3: X}, generation=8)
    assert found(search(reader, X, 2)) == [(1, 1.0), (2, 0.0)]
    assert reader.ids().tolist() == [1, 2]
    assert found(search(load(tmp_path), X, 2)) == [(3, 1.0)]
    assert old.file != new.file
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new.file, STAMP])


def test_rebuild_of_the_same_vectors_serves_old_and_new_readers(tmp_path: Path) -> None:
    old = build(tmp_path, {1: X, 2: Y})
    reader = load(tmp_path)
    assert build(tmp_path, {1: X, 2: Y}) == old
    assert found(search(reader, X, 1)) == found(search(load(tmp_path), X, 1)) == [(1, 1.0)]


def test_vectors_that_cannot_be_had_leave_the_old_cache(tmp_path: Path) -> None:
    def broken() -> Iterable[tuple[Ids, Vectors]]:
        yield ids_of(3), X[None]
        raise BadIndex("the catalog is damaged")

    build(tmp_path, {1: X})
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(BadIndex, match="the catalog is damaged"):
        vectors.build(tmp_path, broken, index_id="mine", generation=8, dimension=3, count=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert found(search(load(tmp_path), X, 9)) == [(1, 1.0)]


def test_read_only_folder_keeps_its_cache(
    tmp_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    build(tmp_path, {1: X})
    before = sorted(path.name for path in tmp_path.iterdir())
    open_the_way(tmp_path)
    tmp_path.chmod(0o555)
    with unprivileged():
        with pytest.raises(BadIndex, match=f"The FAISS cache in {tmp_path} cannot be written"):
            build(tmp_path, {2: Y}, generation=8)
        assert found(search(load(tmp_path), X, 9)) == [(1, 1.0)]
    tmp_path.chmod(0o755)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("missing", [1, 4_000, 15_000, 24_000])
def test_disk_that_is_full_keeps_the_old_cache(missing: int, tmp_path: Path) -> None:
    (tmp_path / "roomy").mkdir()
    (tmp_path / "full").mkdir()
    many = dict.fromkeys(range(1, 1_201), Y)
    size = build(tmp_path / "roomy", many).size
    build(tmp_path / "full", {1: X})
    before = sorted(path.name for path in (tmp_path / "full").iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - missing, hard))  # the system writes so much of a file, no more
    try:
        with pytest.raises(BadIndex, match="cannot be written"):
            build(tmp_path / "full", many, generation=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == before
    assert found(search(load(tmp_path / "full"), X, 9)) == [(1, 1.0)]


def open_the_way(folder: Path) -> None:
    """Let every user reach a temporary folder."""
    for each in (folder, *folder.parents[:2]):
        if os.geteuid() == 0:
            each.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
