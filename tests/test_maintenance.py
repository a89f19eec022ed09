"""Rebuilding the FAISS cache, knowing when, and proving that it agrees with the catalog."""

from __future__ import annotations

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

import numpy as np
import pytest

from cezsar import catalog, maintenance, vectors
from cezsar.catalog import Catalog, Embedding, File
from cezsar.encoders.toy import Toy
from cezsar.errors import BadIndex, IndexDamaged
from cezsar.maintenance import cache_state, fold_if_due, rebuild, verify
from cezsar.query import Searcher
from cezsar.types import Ids, Sampling, Segment, Vectors


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Catalog]:
    """A catalog of red (segments 1 to 4), green (5 to 7) and hidden blue (8), open for writing, without a cache."""
    with catalog.create(tmp_path, Toy.identity, Sampling()) as store:
        add(store, "red", 4)
        add(store, "green", 3)
        hide(store, add(store, "blue", 1))
        yield store


def add(index: Catalog, colour: str, num_segments: int, *, name: str | None = None) -> int:
    """Add a video that shows one colour; returns its id."""
    segments = tuple(Segment(float(i), i + 1.0) for i in range(num_segments))
    rows = Toy().encode_texts([colour] * num_segments)
    whole = Embedding(float(num_segments), segments, (0,) * num_segments, rows)
    with index.write() as session:
        return catalog.add_video(session, File(b"/videos", os.fsencode(name or colour), 1, 2), b"\0" * 32, whole)


def hide(index: Catalog, video_id: int) -> None:
    with index.write() as session:
        catalog.hide_videos(session, [video_id])


def purge(index: Catalog, video_id: int) -> None:
    with index.write() as session:
        catalog.purge_videos(session, [video_id])


def load(index: Catalog) -> vectors.Cache:
    return vectors.load(index.directory, index_id=index.info.index_id, dimension=8)


def cached(index: Catalog) -> list[int]:
    """The ids that the cache holds."""
    return [int(i) for i in load(index).ids()]


def execute(*statements: str) -> Callable[[Catalog], None]:
    """Change the catalog behind our code's back."""

    def run(index: Catalog) -> None:
        with closing(sqlite3.connect(index.directory / catalog.FILE)) as database, database:
            for statement in statements:
                database.execute(statement)

    return run


def dump(folder: Path) -> list[str]:
    """The whole catalog as SQL."""
    with closing(sqlite3.connect(folder / catalog.FILE)) as database:
        return list(database.iterdump())


def build(index: Catalog, ids: list[int], rows: Vectors, *, generation: int = 4) -> None:
    """Write a cache of whatever this is, for this index."""
    chunks = [(np.array(ids, np.int64), rows)]
    vectors.build(
        index.directory,
        lambda: chunks,
        index_id=index.info.index_id,
        generation=generation,
        dimension=8,
        count=len(ids),
    )


def held(index: Catalog) -> tuple[Ids, Vectors]:
    with index.read() as session:
        return next(catalog.vectors(session, dimension=8))


# rebuild


def test_rebuild_holds_every_vector_hidden_ones_too(index: Catalog) -> None:
    stamp = rebuild(index)
    assert (stamp.count, stamp.last_segment_id, stamp.generation) == (8, 8, 4)
    assert load(index).ids().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert load(index).agrees(*held(index)).all()


@pytest.mark.parametrize("opened", [catalog.open_to_read, catalog.open_to_write])
def test_rebuild_never_changes_the_catalog(opened: Callable[[Path], Catalog], index: Catalog) -> None:
    folder = index.directory
    index.__exit__()
    before = dump(folder), (folder / catalog.FILE).read_bytes()
    for _ in range(2):
        with opened(folder) as store:
            rebuild(store)
    assert (dump(folder), (folder / catalog.FILE).read_bytes()) == before


def test_rebuild_makes_an_unusable_cache_good(index: Catalog) -> None:
    (index.directory / vectors.STAMP).write_text("rubbish", encoding="utf-8")
    (index.directory / "vectors-0-0badcafe.faiss").write_text("rubbish", encoding="utf-8")
    stamp = rebuild(index)
    assert verify(index).problems == ()
    assert [path.name for path in index.directory.glob("vectors*faiss")] == [stamp.file]


def test_rebuild_of_an_empty_catalog_is_an_empty_cache(tmp_path: Path) -> None:
    with catalog.create(tmp_path, Toy.identity, Sampling()) as index:
        assert rebuild(index).count == 0
        assert verify(index) == maintenance.Verification(videos=0, segments=0, problems=())
        assert cache_state(index) == "0 vectors, exact; 0 newer ones read from the catalog"


def test_rebuild_of_a_damaged_catalog_keeps_the_old_cache(index: Catalog) -> None:
    rebuild(index)
    execute("UPDATE segments SET vector = x'00' WHERE id = 3")(index)
    with pytest.raises(IndexDamaged, match="dimension"):
        rebuild(index)
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_rebuild_that_cannot_be_written_is_a_bad_index(index: Catalog) -> None:
    (index.directory / vectors.STAMP).mkdir()  # nothing can be put in its place
    with pytest.raises(BadIndex, match="cannot be written"):
        rebuild(index)
    assert not list(index.directory.glob("*.new"))


# fold_if_due


def test_cache_is_built_where_there_is_none_and_then_left_alone(index: Catalog) -> None:
    assert fold_if_due(index)
    assert not fold_if_due(index)
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_tail_is_folded_once_it_is_more_than_an_eighth_of_the_cache(index: Catalog) -> None:
    rebuild(index)
    add(index, "cyan", 1)
    assert not fold_if_due(index)  # 1 of 8
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8]
    add(index, "white", 1)
    assert fold_if_due(index)
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_deletions_count_toward_the_tail(index: Catalog) -> None:
    rebuild(index)
    purge(index, 3)
    assert not fold_if_due(index)  # 1 of 8
    add(index, "white", 1)
    assert fold_if_due(index)
    assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 9]
    assert not fold_if_due(index)


def test_hiding_and_moving_fold_nothing(index: Catalog) -> None:
    rebuild(index)
    hide(index, 1)
    with index.write() as session:
        catalog.place_video(session, 2, File(b"/elsewhere", b"green", 1, 2))
    assert not fold_if_due(index)


@pytest.mark.parametrize(("num_changes", "due"), [(20_000, False), (20_001, True)])
def test_longest_tail_is_twenty_thousand(num_changes: int, due: bool, index: Catalog) -> None:
    build(index, list(range(1, 170_001)), np.tile(Toy().encode_texts(["red"]), (170_000, 1)))
    execute(
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {num_changes})"
        " INSERT INTO deleted_segments SELECT 1000 + i, 5 FROM n"
    )(index)
    assert fold_if_due(index) == due


def cut_short(index: Catalog) -> None:
    path = index.directory / load(index).stamp.file
    os.truncate(path, path.stat().st_size - 1)


def cache_gone(index: Catalog) -> None:
    (index.directory / load(index).stamp.file).unlink()


def stamp_gone(index: Catalog) -> None:
    (index.directory / vectors.STAMP).unlink()


def of_another_index(index: Catalog) -> None:
    vectors.build(
        index.directory, lambda: [held(index)], index_id="another", generation=4, dimension=8, count=len(held(index)[0])
    )


@pytest.mark.parametrize("harm", [cut_short, cache_gone, stamp_gone, of_another_index])
def test_unusable_cache_is_built_anew(harm: Callable[[Catalog], None], index: Catalog) -> None:
    rebuild(index)
    harm(index)
    assert fold_if_due(index)
    assert verify(index).problems == ()


# a catalog brought back from a copy


@pytest.fixture
def restored(index: Catalog, tmp_path: Path) -> Path:
    """A folder whose catalog was brought back from before video 4, while the cache knows it."""
    index.__exit__()
    copy = shutil.copyfile(tmp_path / catalog.FILE, tmp_path / "copy")
    with catalog.open_to_write(tmp_path) as later:
        add(later, "red", 1, name="gone")
        rebuild(later)
    copy.replace(tmp_path / catalog.FILE)
    return tmp_path


def test_cache_newer_than_its_catalog_is_built_anew(restored: Path) -> None:
    with catalog.open_to_write(restored) as index:
        assert not verify(index).ok
        assert fold_if_due(index)
        assert cached(index) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_cache_newer_than_its_catalog_is_not_searched(restored: Path) -> None:
    with Searcher(restored) as searcher:
        hits = searcher.search("red")
        assert searcher.notice
    assert [(hit.path, hit.score) for hit in hits] == [(Path("/videos/red"), 1.0), (Path("/videos/green"), 0.0)]


# cache_state


def test_cache_state_says_how_much_it_holds_or_why_it_is_not_used(index: Catalog) -> None:
    assert cache_state(index) == "not used: there is none yet; `cezsar rebuild` makes it anew"
    rebuild(index)
    assert cache_state(index) == "8 vectors, exact; 0 newer ones read from the catalog"
    add(index, "white", 1200)
    assert cache_state(index) == "8 vectors, exact; 1,200 newer ones read from the catalog"
    rebuild(index)
    assert cache_state(index) == "1,208 vectors, exact; 0 newer ones read from the catalog"
    cut_short(index)
    assert cache_state(index).startswith("not used: its size is not what its stamp says;")


# verify


def test_verify_counts_and_finds_nothing_wrong_where_nothing_is(index: Catalog) -> None:
    rebuild(index)
    result = verify(index)
    assert result == maintenance.Verification(videos=3, segments=8, problems=())
    assert result.ok


def bit_flipped(index: Catalog) -> None:
    path = index.directory / load(index).stamp.file
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1  # among the vectors: 8 ids of 8 bytes are the last
    path.write_bytes(raw)


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
    rebuild(index)
    execute("UPDATE segments SET vector = substr(vector, 1, 28) WHERE id = 2")(index)


def then_rebuilt(*statements: str) -> Callable[[Catalog], None]:
    """Harm the catalog so that only the catalog is wrong."""

    def run(index: Catalog) -> None:
        execute(*statements)(index)
        rebuild(index)

    return run


HALF = np.float32([0, 0, 0.5, 0, 0, 0, 0, 0]).tobytes().hex()


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        pytest.param(cache_gone, "the FAISS cache cannot be used: its file is missing", id="cache file missing"),
        pytest.param(cut_short, "the FAISS cache cannot be used: its size is not what", id="cache cut short"),
        pytest.param(of_another_index, "the FAISS cache cannot be used: it belongs to another", id="another index"),
        pytest.param(other_vector_in_cache, "1 vectors differ between the catalog and", id="other vector"),
        pytest.param(least_change_in_cache, "1 vectors differ between the catalog and", id="least change of a vector"),
        pytest.param(swapped_ids, "2 vectors differ between the catalog and", id="two ids swapped"),
        pytest.param(segment_not_in_cache, "1 segments are missing from the FAISS cache", id="segment missing"),
        pytest.param(vector_without_segment, "1 vectors in the FAISS cache have no segment", id="vector too many"),
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
    rebuild(index)
    harm(index)
    result = verify(index)
    assert not result.ok
    assert [found[: len(problem)] for found in result.problems] == [problem]


def test_verify_finds_a_flipped_bit_by_vector_and_by_checksum(index: Catalog) -> None:
    rebuild(index)
    bit_flipped(index)
    assert verify(index).problems == (
        "the FAISS cache cannot be used: its checksum is not what its stamp says; `cezsar rebuild` makes it anew",
    )


def test_verify_finds_vectors_that_are_not_numbers(index: Catalog) -> None:
    nan = np.full(8, np.nan, np.float32).tobytes().hex()
    then_rebuilt(f"UPDATE segments SET vector = x'{nan}' WHERE id = 1")(index)
    assert "1 vectors in the catalog are not of length 1" in verify(index).problems


def test_verify_changes_nothing(index: Catalog) -> None:
    rebuild(index)
    bit_flipped(index)
    index.__exit__()
    before = {path.name: path.read_bytes() for path in index.directory.iterdir()}
    with catalog.open_to_read(index.directory) as store:
        assert not verify(store).ok
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
        with index.write() as session:
            catalog.replace_video(session, 1, File(b"/videos", b"red", 3, 4), b"\1" * 32, whole)


@pytest.mark.parametrize("change", [added, purged, added_and_purged, replaced])
def test_verify_is_content_with_changes_that_are_not_folded_yet(
    change: Callable[[Catalog], None], index: Catalog
) -> None:
    rebuild(index)
    change(index)
    assert verify(index).problems == ()


def test_verify_takes_no_deletion_for_the_reason_of_another_vector(index: Catalog) -> None:
    vector_without_segment(index)
    execute("UPDATE sqlite_sequence SET seq = 200 WHERE name = 'segments'")(index)
    purge(index, add(index, "white", 1))  # 201, which the cache never held
    assert verify(index).problems == ("1 vectors in the FAISS cache have no segment; `cezsar rebuild` makes it anew",)


def test_an_index_without_a_cache_yet_is_sound(index: Catalog) -> None:
    (index.directory / vectors.STAMP).unlink(missing_ok=True)
    assert verify(index).ok


# after a writer that was killed

KILLED = """
import os, signal, sys
from pathlib import Path
from cezsar import maintenance
with maintenance.open_to_write(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def flip_a_bit(index: Path) -> None:
    """In the middle of the cache's vectors: its size, header and stamp stay right."""
    (file,) = index.glob("vectors-*.faiss")
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """An index with a cache, whose last writer was killed."""
    with catalog.create(tmp_path, Toy.identity, Sampling()) as store:
        add(store, "red", 4)
        rebuild(store)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    return tmp_path


def test_a_clean_end_leaves_no_note_of_a_writer(index: Catalog) -> None:
    assert (index.directory / "writer.json").exists()
    assert not catalog.was_interrupted(index.directory)
    index.__exit__()
    assert not (index.directory / "writer.json").exists()
    assert not catalog.was_interrupted(index.directory)


def test_the_lock_of_a_dead_process_is_taken_over(killed: Path) -> None:
    assert catalog.was_interrupted(killed)
    with catalog.open_to_write(killed) as store:
        assert store.follows_interruption
        add(store, "green", 1)
    with maintenance.open_to_write(killed) as store:  # nobody has compared the cache since
        assert store.follows_interruption
    with catalog.open_to_write(killed) as store:
        assert not store.follows_interruption


@pytest.mark.parametrize("settled", ["rebuilt", "replaced"])
def test_a_kill_is_settled_once_the_cache_is_made_anew(settled: str, killed: Path) -> None:
    with catalog.open_to_write(killed) as store:
        if settled == "rebuilt":
            rebuild(store)
        else:
            store.settle()
    assert not catalog.was_interrupted(killed)


def test_a_flipped_bit_is_noticed_after_an_upgrade_that_followed_a_kill(killed: Path) -> None:
    flip_a_bit(killed)
    with catalog.locked(killed):  # as `db upgrade` and others take it, which look at no cache
        pass
    with Searcher(killed) as searcher:
        searcher.search("red")
        assert "checksum" in str(searcher.notice)
    with maintenance.open_to_write(killed) as store:
        assert verify(store).ok
    assert not catalog.was_interrupted(killed)


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
    with maintenance.open_to_write(killed) as store:
        assert verify(store).ok


def test_a_second_writer_is_told_who_writes(index: Catalog) -> None:
    code = "import sys; from pathlib import Path; from cezsar import catalog; catalog.open_to_write(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(index.directory)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    said = refused.stderr.splitlines()[-1]
    assert said.startswith(f"cezsar.errors.IndexLocked: Another cezsar (process {os.getpid()} on ")
    assert said.endswith(f") is writing to the index in {index.directory}: wait for it.")


def test_a_second_writer_waits_for_one_that_is_about_to_end(index: Catalog) -> None:
    ending = threading.Timer(0.5, index.__exit__)
    ending.start()
    with catalog.open_to_write(index.directory) as later:
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
        with index.write() as session:
            (catalog.purge_videos if number % 3 else catalog.hide_videos)(session, [newest])
            file = File(b"/videos", b"red %d" % number, 1, 2)
            newest = catalog.add_video(session, file, b"\0" * 32, Embedding(1.0, segment, (0,), row))
        rebuild(index)
    over.set()
    asking.join()
    assert len(seen) > 20
    assert {len(names) for names in seen} == {1}
    numbers = [int(names[0].split()[1]) for names in seen]
    assert numbers == sorted(numbers)
