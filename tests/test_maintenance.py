"""Rebuilding the cache, knowing when, and proving that it agrees with the catalog."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import caches
import numpy as np
import pytest
from caches import beside_of, data_of, flipped, strike, told

from cezsar import maintenance, store
from cezsar.encoders.toy import Toy
from cezsar.errors import BadIndex, IndexDamaged
from cezsar.maintenance import verify
from cezsar.query import Searcher
from cezsar.store import Embedding, File
from cezsar.store.local import cache as vectors
from cezsar.store.local import opening, stamp
from cezsar.store.local.catalog import Catalog
from cezsar.store.local.lock import was_interrupted
from cezsar.store.writer import Writer
from cezsar.types import Ids, Sampling, Segment, Vectors


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Catalog]:
    """A catalog of red (segments 1 to 4), green (5 to 7) and hidden blue (8), open for writing, without a cache."""
    with store.create(tmp_path, Toy.identity, Sampling()) as catalog:
        add(catalog, "red", 4)
        add(catalog, "green", 3)
        hide(catalog, add(catalog, "blue", 1))
        yield catalog


def add(index: Catalog, colour: str, num_segments: int, *, name: str | None = None) -> int:
    """Add a video that shows one colour; returns its id."""
    segments = tuple(Segment(float(i), i + 1.0) for i in range(num_segments))
    rows = Toy().encode_texts([colour] * num_segments)
    whole = Embedding(float(num_segments), segments, (0,) * num_segments, rows)
    with index.transaction() as writer:
        return writer.add_video(File(b"/videos", os.fsencode(name or colour), 1, 2), b"\0" * 32, whole)


def hide(index: Catalog, video_id: int) -> None:
    with index.transaction() as writer:
        writer.hide_videos([video_id])


def purge(index: Catalog, video_id: int) -> None:
    with index.transaction() as writer:
        writer.purge_videos([video_id])


def load(index: Catalog) -> vectors.Cache:
    return vectors.load(index.directory, index_id=index.info.index_id, dimension=8)


def cached(index: Catalog) -> list[int]:
    """The ids that the cache holds."""
    return [int(i) for i in load(index).ids()]


def execute(*statements: str) -> Callable[[Catalog], None]:
    """Change the catalog behind our code's back."""

    def run(index: Catalog) -> None:
        with closing(sqlite3.connect(index.directory / store.FILE)) as database, database:
            for statement in statements:
                database.execute(statement)

    return run


def dump(folder: Path) -> list[str]:
    """The whole catalog as SQL."""
    with closing(sqlite3.connect(folder / store.FILE)) as database:
        return list(database.iterdump())


def build(index: Catalog, ids: list[int], rows: Vectors, *, generation: int = 4) -> None:
    """Write a cache of whatever this is, for this index."""
    caches.build(index.directory, index.info, np.array(ids, np.int64), rows, generation=generation)


def held(index: Catalog) -> tuple[Ids, Vectors]:
    with index.read() as rows:
        return next(rows.vectors())


RED = Toy().encode_texts(["red"]).astype("<f4").tobytes().hex()

# rebuild


def test_rebuild_holds_every_vector_hidden_ones_too(index: Catalog) -> None:
    made = index.rebuild()
    assert (made.count, made.last_segment_id, made.generation) == (8, 8, 4)
    assert load(index).ids().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert load(index).agrees(*held(index)).all()


@pytest.mark.parametrize("opened", [store.open, opening.open_to_write])
def test_rebuild_never_changes_the_catalog(opened: Callable[[Path], Catalog], index: Catalog) -> None:
    folder = index.directory
    index.__exit__()
    before = dump(folder), (folder / store.FILE).read_bytes()
    for _ in range(2):
        with opened(folder) as catalog:
            catalog.rebuild()
    assert (dump(folder), (folder / store.FILE).read_bytes()) == before


def test_rebuild_makes_an_unusable_cache_good(index: Catalog) -> None:
    (index.directory / stamp.STAMP).write_text("rubbish", encoding="utf-8")
    for suffix in ("faiss", "crc32.npy", "npy", "ids.npy"):
        (index.directory / f"vectors-0-0badcafe.{suffix}").write_text("rubbish", encoding="utf-8")
    (index.directory / stamp.NEXT).write_text("rubbish", encoding="utf-8")
    made = index.rebuild()
    assert verify(index).problems == ()
    names = sorted(path.name for path in index.directory.glob("vectors*"))
    assert names == sorted([stamp.STAMP, *(file.name for file in made.written)])
    assert len(names) == 3


def test_rebuild_of_an_empty_catalog_is_an_empty_cache(tmp_path: Path) -> None:
    with store.create(tmp_path, Toy.identity, Sampling()) as index:
        assert index.rebuild().count == 0
        assert verify(index) == maintenance.Verification(videos=0, segments=0, problems=())
        assert index.cache_state() == "0 vectors, exact; 0 newer ones read from the catalog"


def test_rebuild_of_a_damaged_catalog_keeps_the_old_cache(index: Catalog) -> None:
    index.rebuild()
    execute("UPDATE segments SET vector = x'00' WHERE id = 3")(index)
    with pytest.raises(IndexDamaged, match="dimension"):
        index.rebuild()
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_rebuild_that_cannot_be_written_is_a_bad_index(index: Catalog) -> None:
    (index.directory / stamp.STAMP).mkdir()  # nothing can be put in its place
    with pytest.raises(BadIndex, match="cannot be written"):
        index.rebuild()
    assert not list(index.directory.glob("*.new"))


# fold_if_due


def test_cache_is_built_where_there_is_none_and_then_left_alone(index: Catalog) -> None:
    assert index.fold_if_due()
    assert not index.fold_if_due()
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_tail_is_folded_once_it_is_more_than_an_eighth_of_the_cache(index: Catalog) -> None:
    index.rebuild()
    add(index, "cyan", 1)
    assert not index.fold_if_due()  # 1 of 8
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8]
    add(index, "white", 1)
    assert index.fold_if_due()
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_deletions_make_the_cache_anew_once_they_are_more_than_an_eighth_of_it(index: Catalog) -> None:
    index.rebuild()
    purge(index, 3)
    assert not index.fold_if_due()  # 1 of 8
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8]
    add(index, "white", 1)
    assert not index.fold_if_due()  # 1 of 8 came
    purge(index, 2)
    assert index.fold_if_due()
    assert cached(index) == [1, 2, 3, 4, 9]
    assert [part.count for part in told(index.directory).parts] == [5]
    assert not index.fold_if_due()


def test_hiding_and_moving_fold_nothing(index: Catalog) -> None:
    index.rebuild()
    hide(index, 1)
    with index.transaction() as writer:
        writer.place_video(2, File(b"/elsewhere", b"green", 1, 2))
    assert not index.fold_if_due()


@pytest.mark.parametrize(
    ("num_new", "parts"),
    [(2_000, [(0, 170_000, 170_000)]), (2_001, [(0, 170_000, 170_000), (170_000, 172_001, 2_001)])],
)
def test_longest_tail_is_two_thousand(num_new: int, parts: list[tuple[int, int, int]], index: Catalog) -> None:
    build(index, list(range(1, 170_001)), np.tile(Toy().encode_texts(["red"]), (170_000, 1)))
    execute(
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {num_new})"
        " INSERT INTO segments (id, video_id, start_s, end_s, run, vector)"
        f" SELECT 170000 + i, 1, 100.0 + i, 101.0 + i, i, x'{RED}' FROM n"
    )(index)
    assert index.fold_if_due() == (len(parts) > 1)
    assert [(part.after, part.last, part.count) for part in told(index.directory).parts] == parts


@pytest.mark.parametrize(("num_gone", "due"), [(21_250, False), (21_251, True)])
def test_most_deletions_are_an_eighth_of_a_large_cache_too(num_gone: int, due: bool, index: Catalog) -> None:
    build(index, list(range(1, 170_001)), np.tile(Toy().encode_texts(["red"]), (170_000, 1)))
    execute(
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {num_gone})"
        " INSERT INTO deleted_segments SELECT 1000 + i, 5 FROM n"
    )(index)
    assert index.fold_if_due() == due
    assert told(index.directory).count == (8 if due else 170_000)


def cut_short(index: Catalog) -> None:
    strike(data_of(index.directory), lambda raw: raw[:-1])


def ids_cut_short(index: Catalog) -> None:
    strike(beside_of(index.directory), lambda raw: raw[:-1])


def cache_gone(index: Catalog) -> None:
    data_of(index.directory).unlink()


def ids_gone(index: Catalog) -> None:
    beside_of(index.directory).unlink()


def stamp_gone(index: Catalog) -> None:
    (index.directory / stamp.STAMP).unlink()


def of_another_index(index: Catalog) -> None:
    other = dataclasses.replace(index.info, index_id="another")
    caches.build(index.directory, other, *held(index), generation=4)


@pytest.mark.parametrize("harm", [cut_short, ids_cut_short, cache_gone, ids_gone, stamp_gone, of_another_index])
def test_unusable_cache_is_built_anew(harm: Callable[[Catalog], None], index: Catalog) -> None:
    index.rebuild()
    harm(index)
    assert index.fold_if_due()
    assert verify(index).problems == ()


# a catalog brought back from a copy


@pytest.fixture
def restored(index: Catalog, tmp_path: Path) -> Path:
    """A folder whose catalog was brought back from before video 4, while the cache knows it."""
    index.__exit__()
    copy = shutil.copyfile(tmp_path / store.FILE, tmp_path / "copy")
    with opening.open_to_write(tmp_path) as later:
        add(later, "red", 1, name="gone")
        later.rebuild()
    copy.replace(tmp_path / store.FILE)
    return tmp_path


def test_cache_newer_than_its_catalog_is_built_anew(restored: Path) -> None:
    with opening.open_to_write(restored) as index:
        assert not verify(index).ok
        assert index.fold_if_due()
        assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_cache_newer_than_its_catalog_is_not_searched(restored: Path) -> None:
    with Searcher(restored) as searcher:
        hits = searcher.search("red")
        assert searcher.notice
    assert [(hit.path, hit.score) for hit in hits] == [(Path("/videos/red"), 1.0), (Path("/videos/green"), 0.0)]


# cache_state


def test_cache_state_says_how_much_it_holds_or_why_it_is_not_used(index: Catalog) -> None:
    assert index.cache_state() == "not used: there is none yet; `cezsar rebuild` makes it anew"
    index.rebuild()
    assert index.cache_state() == "8 vectors, exact; 0 newer ones read from the catalog"
    add(index, "white", 1200)
    assert index.cache_state() == "8 vectors, exact; 1,200 newer ones read from the catalog"
    index.rebuild()
    assert index.cache_state() == "1,208 vectors, exact; 0 newer ones read from the catalog"
    cut_short(index)
    assert index.cache_state().startswith("not used: its size is not what its stamp says;")


# verify


def test_verify_counts_and_finds_nothing_wrong_where_nothing_is(index: Catalog) -> None:
    index.rebuild()
    result = verify(index)
    assert result == maintenance.Verification(videos=3, segments=8, problems=())
    assert result.ok


def bit_flipped(index: Catalog) -> None:
    strike(data_of(index.directory), flipped(-100))  # among the vectors: there are 8 of 32 bytes


def bit_of_an_id_flipped(index: Catalog) -> None:
    strike(beside_of(index.directory), flipped(-8))


def other_vector_in_cache(index: Catalog) -> None:
    ids, rows = held(index)
    rows[6] = rows[0]
    build(index, ids.tolist(), rows)


def least_change_in_cache(index: Catalog) -> None:
    ids, rows = held(index)
    rows[0, 2] = np.nextafter(rows[0, 2], np.float32(0))
    build(index, ids.tolist(), rows)


def segment_not_in_cache(index: Catalog) -> None:
    ids, rows = held(index)
    keep = ids != 3
    build(index, ids[keep].tolist(), rows[keep])


def vector_without_segment(index: Catalog) -> None:
    ids, rows = held(index)
    build(index, [*ids.tolist(), 99], np.concatenate([rows, rows[:1]]))


def swapped_ids(index: Catalog) -> None:
    ids, rows = held(index)
    order = [0, 1, 2, 4, 3, 5, 6, 7]  # 4 is red, 5 is green
    build(index, ids.tolist(), rows[order])


def vector_too_short(index: Catalog) -> None:
    index.rebuild()
    execute("UPDATE segments SET vector = substr(vector, 1, 28) WHERE id = 2")(index)


def then_rebuilt(*statements: str) -> Callable[[Catalog], None]:
    """Harm the catalog so that only the catalog is wrong."""

    def run(index: Catalog) -> None:
        execute(*statements)(index)
        index.rebuild()

    return run


HALF = np.float32([0, 0, 0.5, 0, 0, 0, 0, 0]).tobytes().hex()


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        pytest.param(cache_gone, "the cache cannot be used: its file is missing", id="cache file missing"),
        pytest.param(ids_gone, "the cache cannot be used: its file is missing", id="cache's ids missing"),
        pytest.param(cut_short, "the cache cannot be used: its size is not what", id="cache cut short"),
        pytest.param(ids_cut_short, "the cache cannot be used: its size is not what", id="cache's ids cut short"),
        pytest.param(of_another_index, "the cache cannot be used: it belongs to another", id="another index"),
        pytest.param(other_vector_in_cache, "1 vectors differ between the catalog and", id="other vector"),
        pytest.param(least_change_in_cache, "1 vectors differ between the catalog and", id="least change of a vector"),
        pytest.param(swapped_ids, "2 vectors differ between the catalog and", id="two ids swapped"),
        pytest.param(segment_not_in_cache, "1 segments are missing from the cache", id="segment missing"),
        pytest.param(vector_without_segment, "1 vectors in the cache have no segment", id="vector too many"),
        pytest.param(vector_too_short, "Some vectors in the catalog do not have the index's dimension", id="short"),
        pytest.param(
            then_rebuilt(f"UPDATE segments SET vector = x'{HALF}' WHERE id IN (1, 3)"),
            "2 vectors in the catalog are not of length 1",
            id="vectors not unit",
        ),
        pytest.param(
            then_rebuilt("UPDATE segments SET vector = zeroblob(32) WHERE id = 8"),
            "1 vectors in the catalog are not of length 1",
            id="vector of a hidden video zero",
        ),
        pytest.param(
            then_rebuilt(
                "INSERT INTO videos (id, root_id, path, size, mtime_ns, content_sha256, duration_s, hidden)"
                " VALUES (9, 1, x'78', 1, 1, zeroblob(32), 1.0, 0)"
            ),
            "1 videos have no segments",
            id="video without segments",
        ),
        pytest.param(
            then_rebuilt("UPDATE segments SET end_s = start_s WHERE id = 2"),
            "1 segments end before they start",
            id="segment of no length",
        ),
        pytest.param(
            then_rebuilt("UPDATE segments SET video_id = 77 WHERE id = 2"),
            "the catalog: a row of segments refers to nothing",
            id="segment of no video",
        ),
        pytest.param(
            then_rebuilt("UPDATE videos SET root_id = 77 WHERE id = 3"),
            "the catalog: a row of videos refers to nothing",
            id="video of no root",
        ),
    ],
)
def test_verify_finds_exactly_what_is_wrong(harm: Callable[[Catalog], None], problem: str, index: Catalog) -> None:
    index.rebuild()
    harm(index)
    result = verify(index)
    assert not result.ok
    assert [found[: len(problem)] for found in result.problems] == [problem]


@pytest.mark.parametrize("harm", [bit_flipped, bit_of_an_id_flipped])
def test_verify_finds_a_flipped_bit_by_checksum(harm: Callable[[Catalog], None], index: Catalog) -> None:
    index.rebuild()
    harm(index)
    assert verify(index).problems == (
        "the cache cannot be used: its checksum is not what its stamp says; `cezsar rebuild` makes it anew",
    )


def test_verify_finds_vectors_that_are_not_numbers(index: Catalog) -> None:
    nan = np.full(8, np.nan, np.float32).tobytes().hex()
    then_rebuilt(f"UPDATE segments SET vector = x'{nan}' WHERE id = 1")(index)
    assert "1 vectors in the catalog are not of length 1" in verify(index).problems


def test_verify_changes_nothing(index: Catalog) -> None:
    index.rebuild()
    bit_flipped(index)
    index.__exit__()
    before = {path.name: path.read_bytes() for path in index.directory.iterdir()}
    with store.open(index.directory) as catalog:
        assert not verify(catalog).ok
    assert {name: (index.directory / name).read_bytes() for name in before} == before


def added(index: Catalog) -> None:
    add(index, "white", 2)


def purged(index: Catalog) -> None:
    purge(index, 1)


def added_and_purged(index: Catalog) -> None:
    purge(index, add(index, "white", 2))


def replaced(index: Catalog) -> None:
    whole = Embedding(1.0, (Segment(0.0, 1.0),), (0,), Toy().encode_texts(["cyan"]))
    for _ in range(2):  # the first one's segment comes and goes beside the cache
        with index.transaction() as writer:
            writer.replace_video(1, File(b"/videos", b"red", 3, 4), b"\1" * 32, whole)


@pytest.mark.parametrize("change", [added, purged, added_and_purged, replaced])
def test_verify_is_content_with_changes_that_are_not_folded_yet(
    change: Callable[[Catalog], None], index: Catalog
) -> None:
    index.rebuild()
    change(index)
    assert verify(index).problems == ()


def test_verify_takes_no_deletion_for_the_reason_of_another_vector(index: Catalog) -> None:
    vector_without_segment(index)
    execute("UPDATE sqlite_sequence SET seq = 200 WHERE name = 'segments'")(index)
    purge(index, add(index, "white", 1))  # 201, which the cache never held
    assert verify(index).problems == ("1 vectors in the cache have no segment; `cezsar rebuild` makes it anew",)


def test_an_index_without_a_cache_yet_is_sound(index: Catalog) -> None:
    (index.directory / stamp.STAMP).unlink(missing_ok=True)
    assert verify(index).ok


# after a writer that was killed

KILLED = """
import os, signal, sys
from pathlib import Path
from cezsar import store
with store.open_to_write(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def flip_a_bit(index: Path) -> None:
    """In the middle of the cache's vectors: its size, header and stamp stay right."""
    strike(data_of(index), flipped(-100))


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """An index with a cache, whose last writer was killed."""
    with store.create(tmp_path, Toy.identity, Sampling()) as catalog:
        add(catalog, "red", 4)
        catalog.rebuild()
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    return tmp_path


def test_a_clean_end_leaves_no_note_of_a_writer(index: Catalog) -> None:
    assert (index.directory / "writer.json").exists()
    assert not was_interrupted(index.directory)
    index.__exit__()
    assert not (index.directory / "writer.json").exists()
    assert not was_interrupted(index.directory)


def test_the_lock_of_a_dead_process_is_taken_over(killed: Path) -> None:
    assert was_interrupted(killed)
    with opening.open_to_write(killed) as catalog:
        add(catalog, "green", 1)
    assert was_interrupted(killed)  # nobody has compared the cache since
    with store.open_to_write(killed):
        pass
    assert not was_interrupted(killed)


@pytest.mark.parametrize("settled", [Catalog.rebuild, Catalog.tidy])
def test_a_kill_is_settled_once_the_cache_is_made_anew_or_compared(
    settled: Callable[[Catalog], object], killed: Path
) -> None:
    with opening.open_to_write(killed) as catalog:
        settled(catalog)
    assert not was_interrupted(killed)


def test_a_flipped_bit_is_noticed_after_an_upgrade_that_followed_a_kill(killed: Path) -> None:
    flip_a_bit(killed)
    with store.locked(killed):  # as `db upgrade` and others take it, which look at no cache
        pass
    with Searcher(killed) as searcher:
        searcher.search("red")
        assert "checksum" in str(searcher.notice)
    with store.open_to_write(killed) as catalog:
        assert verify(catalog).ok
    assert not was_interrupted(killed)


def test_a_flipped_bit_is_noticed_by_queries_after_a_writer_was_killed(killed: Path) -> None:
    with Searcher(killed) as searcher:
        searcher.search("red")
        assert searcher.notice is None
    flip_a_bit(killed)
    with Searcher(killed) as searcher:
        assert searcher.search("red")[0].score == pytest.approx(1.0)
        assert searcher.notice is not None
        assert "checksum" in searcher.notice


def test_a_flipped_bit_is_mended_by_the_next_writer_after_a_kill(killed: Path) -> None:
    flip_a_bit(killed)
    with store.open_to_write(killed) as catalog:
        assert verify(catalog).ok


def test_a_second_writer_is_told_who_writes(index: Catalog) -> None:
    code = "import sys; from pathlib import Path; from cezsar import store; store.open_to_write(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(index.directory)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    said = refused.stderr.splitlines()[-1]
    assert said.startswith(f"cezsar.errors.IndexLocked: Another cezsar (process {os.getpid()} on ")
    assert said.endswith(f") is writing to the index in {index.directory}: wait for it.")


def test_a_second_writer_waits_for_one_that_is_about_to_end(index: Catalog) -> None:
    ending = threading.Timer(0.5, index.__exit__)
    ending.start()
    with opening.open_to_write(index.directory) as later:
        add(later, "white", 1)
    ending.join()


def test_a_query_during_folds_and_prunes_sees_one_generation_or_the_next(index: Catalog) -> None:
    """Each transaction hides the one red video and adds another: there is exactly one at any time."""
    purge(index, 1)
    newest, over, seen = add(index, "red", 1, name="red 0"), threading.Event(), list[list[str]]()

    def ask() -> None:
        with Searcher(index.directory) as searcher:
            while not over.is_set():
                seen.append([hit.path.name for hit in searcher.search("red") if hit.score > 0.99])

    asking = threading.Thread(target=ask)
    asking.start()
    segment, row = (Segment(0.0, 1.0),), Toy().encode_texts(["red"])
    for number in range(1, 200):
        with index.transaction() as writer:
            (Writer.purge_videos if number % 3 else Writer.hide_videos)(writer, [newest])
            file = File(b"/videos", b"red %d" % number, 1, 2)
            newest = writer.add_video(file, b"\0" * 32, Embedding(1.0, segment, (0,), row))
        index.rebuild()
    over.set()
    asking.join()
    assert len(seen) > 20
    assert {len(names) for names in seen} == {1}
    numbers = [int(names[0].split()[1]) for names in seen]
    assert numbers == sorted(numbers)
