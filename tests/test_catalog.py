"""The catalog: opening and making it, its transactions, and every change and question."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cezsar import maintenance, store
from cezsar.cli import cli
from cezsar.encoders.toy import COLOURS, Toy
from cezsar.errors import BadIndex, IndexDamaged, IndexMissing, IndexOutdated, IndexReadOnly, LocationError
from cezsar.store import Catalog, Counts, Embedding, File
from cezsar.store import rows as queries
from cezsar.store.local import opening
from cezsar.types import EncoderIdentity, Sampling, Segment

Unprivileged = Callable[[], AbstractContextManager[None]]

HASH = b"\1" * 32


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder with an empty catalog."""
    with store.create(tmp_path / "index", Toy.identity, Sampling()):
        return tmp_path / "index"


def names(folder: Path) -> list[str]:
    """What lies in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def shows(*colours: str, runs: tuple[int, ...] | None = None) -> Embedding:
    """A video of one segment a colour, of one second each."""
    segments = tuple(Segment(float(i), i + 1.0) for i in range(len(colours)))
    rows = Toy().encode_texts(colours)
    return Embedding(float(len(colours)), segments, runs or tuple(range(len(colours))), rows)


def at(path: str | bytes, root: bytes = b"/videos") -> File:
    return File(root, os.fsencode(path), 10, 20)


def add(index: Path, path: str | bytes, *colours: str) -> int:
    """Add a video in a transaction of its own."""
    with opening.open_to_write(index) as catalog, catalog.transaction() as writer:
        return writer.add_video(at(path), HASH, shows(*colours))


def tail(catalog: Catalog, after: int = 0) -> list[tuple[int, str]]:
    """The tail's ids, and the colours that its vectors stand for."""
    with catalog.read() as rows:
        ids, vectors = rows.tail(after=after)
    assert (ids.dtype, vectors.dtype, vectors.shape) == (np.int64, np.float32, (len(ids), 8))
    return [(i, list(COLOURS)[vector.argmax()]) for i, vector in zip(ids.tolist(), vectors, strict=True)]


def masked(catalog: Catalog, since: int) -> list[int]:
    """What a cache of a generation holds and must not be found: segments of hidden videos, and deleted ones."""
    with catalog.read() as rows:
        return sorted([*rows.hidden().tolist(), *rows.deleted(since=since)[0].tolist()])


def counts(catalog: Catalog) -> Counts:
    with catalog.read() as rows:
        return rows.counts()


def generation(catalog: Catalog) -> int:
    with catalog.read() as rows:
        return rows.generation()


def execute(index: Path, *statements: str) -> None:
    """Change the catalog behind our code's back."""
    with closing(sqlite3.connect(index / store.FILE)) as database, database:
        for statement in statements:
            database.execute(statement)


def open_the_way(folder: Path) -> None:
    """Let every user reach a temporary folder."""
    for each in (folder, *folder.parents[:3]):
        if os.geteuid() == 0:
            each.chmod(0o755)
    for file in folder.glob(f"{store.FILE}*"):
        file.chmod(0o644)


# making


def test_new_catalog_is_empty_and_says_what_made_it(tmp_path: Path) -> None:
    encoder, sampling = EncoderIdentity("some", "f" * 64, 512, "visual_object"), Sampling(1.5, 6.0, 3.0)
    with store.create(tmp_path / "a" / "b", encoder, sampling) as catalog:
        assert (catalog.info.encoder, catalog.info.sampling) == (encoder, sampling)
        assert counts(catalog) == Counts(videos=0, segments=0, duration_s=0.0, hidden_videos=0)
        assert generation(catalog) == 0
        made = catalog.info
    assert names(tmp_path / "a" / "b") == [store.FILE, "writer.lock"]
    with store.open(tmp_path / "a" / "b") as catalog:
        assert catalog.info == made


def test_every_catalog_has_an_id_of_its_own(tmp_path: Path) -> None:
    with (
        store.create(tmp_path / "a", Toy.identity, Sampling()) as one,
        store.create(tmp_path / "b", Toy.identity, Sampling()) as other,
    ):
        assert one.info.index_id != other.info.index_id


@pytest.mark.parametrize("name", ["a b", "per%41cent", "ques?tion", "hash#", "a&b=c;d", "ünï", "日本"])
def test_index_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    store.create(tmp_path / name, Toy.identity, Sampling()).__exit__()
    add(tmp_path / name, "red.mp4", "red")
    with store.open(tmp_path / name) as catalog:
        assert tail(catalog) == [(1, "red")]


@pytest.mark.parametrize("room", [0, 5_000, 30_000])
def test_catalog_that_does_not_fit_on_the_disk_is_not_there_at_all(room: int, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # the system writes so much of a file, no more
    try:
        with pytest.raises(BadIndex, match=r"The index in .* cannot be used"):
            store.create(tmp_path, Toy.identity, Sampling())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["writer.lock"]
    assert not store.exists(tmp_path)


def test_catalog_that_cannot_say_what_made_it_is_not_there_at_all(tmp_path: Path) -> None:
    with pytest.raises(OverflowError):  # after the schema is made
        store.create(tmp_path, EncoderIdentity("some", "", 2**70, "visual"), Sampling())
    assert names(tmp_path) == ["writer.lock"]


def test_making_a_catalog_never_costs_one_that_is_there(index: Path) -> None:
    add(index, "red.mp4", "red")
    with suppress(BadIndex):
        store.create(index, Toy.identity, Sampling()).__exit__()
    with store.open(index) as catalog:
        assert tail(catalog) == [(1, "red")]


def test_new_catalog_takes_nothing_from_a_log_that_an_old_one_left(index: Path) -> None:
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.add_video(at("red.mp4"), HASH, shows("red"))
        log = (index / f"{store.FILE}-wal").read_bytes()
    (index / store.FILE).unlink()
    (index / f"{store.FILE}-wal").write_bytes(log)  # as after a crash
    with store.create(index, Toy.identity, Sampling()) as catalog:
        assert tail(catalog) == []


@pytest.mark.parametrize("folder", ["closed", "closed/new"])
def test_no_catalog_is_made_where_nothing_may_be_written(
    folder: str, tmp_path: Path, unprivileged: Unprivileged
) -> None:
    (tmp_path / "closed").mkdir()
    open_the_way(tmp_path / "closed")
    (tmp_path / "closed").chmod(0o555)
    with unprivileged(), pytest.raises(IndexReadOnly, match="cannot be written"):
        store.create(tmp_path / folder, Toy.identity, Sampling())
    (tmp_path / "closed").chmod(0o755)
    assert list((tmp_path / "closed").iterdir()) == []


# opening


@pytest.mark.parametrize("opened", [store.open, opening.open_to_write, store.current, store.upgrade])
def test_missing_index_says_how_to_make_one(opened: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        assert not store.exists(folder)
        with pytest.raises(IndexMissing, match="`cezsar index PATH"):
            opened(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("opened", [store.open, opening.open_to_write])
def test_older_schema_names_the_command_that_upgrades_it(opened: Callable[[Path], object], index: Path) -> None:
    execute(index, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(IndexOutdated, match=f"schema 0000.*`cezsar db upgrade --index {index}`"):
        opened(index)


@pytest.mark.parametrize("opened", [store.open, opening.open_to_write, store.upgrade])
def test_newer_schema_says_to_update_the_package(opened: Callable[[Path], object], index: Path) -> None:
    execute(index, "UPDATE alembic_version SET version_num = '9999'")
    before = (index / store.FILE).read_bytes()
    with pytest.raises(IndexOutdated, match=r"schema 9999, newer .*`pip install --upgrade cezsar`"):
        opened(index)
    assert (index / store.FILE).read_bytes() == before


def garbage(index: Path) -> None:
    (index / store.FILE).write_bytes(np.random.default_rng(0).bytes(20_000))


def empty(index: Path) -> None:
    (index / store.FILE).write_bytes(b"")


def cut_short(index: Path) -> None:
    os.truncate(index / store.FILE, 9_000)


def foreign(index: Path) -> None:
    (index / store.FILE).unlink()
    execute(index, "CREATE TABLE recipes (name)")


def without_revision(index: Path) -> None:
    execute(index, "DELETE FROM alembic_version")


def without_information(index: Path) -> None:
    execute(index, "DELETE FROM index_info")


def without_a_table(index: Path) -> None:
    execute(index, "DROP TABLE index_info")


@pytest.mark.parametrize("opened", [store.open, opening.open_to_write])
@pytest.mark.parametrize(
    "harm", [garbage, empty, cut_short, foreign, without_revision, without_information, without_a_table]
)
def test_damaged_catalog_is_called_damaged(
    harm: Callable[[Path], None], opened: Callable[[Path], object], index: Path
) -> None:
    harm(index)
    with pytest.raises(IndexDamaged, match=str(index)):
        opened(index)


def test_vector_of_another_length_is_damage(index: Path) -> None:
    add(index, "red.mp4", "red", "blue")
    execute(index, "UPDATE segments SET vector = substr(vector, 1, 31) WHERE id = 2")
    with store.open(index) as catalog:
        questions = [
            lambda s: s.tail(after=0),
            lambda s: list(s.vectors()),
            lambda s: s.segments(1),
        ]
        for question in questions:
            with catalog.read() as rows, pytest.raises(IndexDamaged, match="dimension"):
                question(rows)


def test_folder_that_may_not_be_looked_into_is_not_taken_for_an_empty_one(
    index: Path, unprivileged: Unprivileged
) -> None:
    open_the_way(index)
    index.chmod(0)
    with unprivileged():
        for opened in (store.exists, store.open, opening.open_to_write):
            with pytest.raises(IndexDamaged, match="cannot be opened: Permission denied"):
                opened(index)
    index.chmod(0o755)


def test_writing_checks_references_and_logs_ahead(index: Path) -> None:
    with opening.open_to_write(index) as catalog, catalog.transaction() as writer:
        connection = writer._session.connection()
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    with pytest.raises(BadIndex), opening.open_to_write(index) as catalog, catalog.transaction() as writer:
        writer._session.connection().exec_driver_sql("INSERT INTO segments VALUES (1, 99, 0, 1, 0, x'', NULL)")


def test_a_segment_keeps_the_time_of_its_best_frame_where_there_is_one(index: Path) -> None:
    two = shows("red", "blue")
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            chosen = writer.add_video(at("chosen.mp4"), HASH, replace(two, best_s=(0.5, 1.25)))
            writer.add_video(at("not.mp4"), HASH, two)
        with catalog.read() as rows:
            assert rows.part(2) == (2, chosen, 1.0, 2.0, 1.25)
            assert [part.best_s for part in rows.parts(chosen, after=0, limit=9)] == [0.5, 1.25]
            assert rows.part(3) == (3, chosen + 1, 0.0, 1.0, None)


@pytest.mark.parametrize("value", ["'soon'", "-1.0", "1e300", "x'00'"])
def test_a_best_frame_at_a_time_that_cannot_be_is_damage(index: Path, value: str) -> None:
    add(index, "red.mp4", "red")
    with closing(sqlite3.connect(index / store.FILE)) as database, database:
        database.execute(f"UPDATE segments SET best_s = {value}")
    with store.open(index) as catalog, catalog.read() as rows:
        with pytest.raises(IndexDamaged, match="impossible times"):
            rows.part(1)
        assert rows.inconsistencies() == ["1 segments have impossible times"]


def test_catalog_opened_to_read_cannot_be_changed(index: Path) -> None:
    add(index, "red.mp4", "red")
    with store.open(index) as catalog:
        with pytest.raises(IndexReadOnly, match="cannot be written"), catalog.transaction() as writer:
            writer.purge_videos([1])
        assert tail(catalog) == [(1, "red")]


# a folder that cannot be written


def test_read_only_folder_is_read_and_not_written(index: Path, unprivileged: Unprivileged) -> None:
    add(index, "red.mp4", "red")
    open_the_way(index)
    index.chmod(0o555)
    with unprivileged():
        with store.open(index) as catalog:
            assert tail(catalog) == [(1, "red")]
        with pytest.raises(IndexReadOnly, match=f"{index} cannot be written"):
            opening.open_to_write(index)
    index.chmod(0o755)
    assert names(index) == [store.FILE, "writer.lock"]


def test_a_reader_of_a_folder_that_it_cannot_write_sees_what_a_writer_does_later(
    index: Path, unprivileged: Unprivileged
) -> None:
    add(index, "red.mp4", "red")
    open_the_way(index)
    index.chmod(0o555)
    with ExitStack() as stack:
        with unprivileged():
            catalog = stack.enter_context(store.open(index))
            assert tail(catalog) == [(1, "red")]
        add(index, "blue.mp4", "blue")
        with unprivileged():
            assert tail(catalog) == [(1, "red"), (2, "blue")]
    index.chmod(0o755)


@pytest.mark.parametrize("left", [("-wal", "-shm"), ("-wal",), ("-shm",)])
def test_read_only_folder_with_empty_leftovers_is_read(
    left: tuple[str, ...], index: Path, unprivileged: Unprivileged
) -> None:
    add(index, "red.mp4", "red")
    for suffix in left:
        (index / f"{store.FILE}{suffix}").write_bytes(b"")
    open_the_way(index)
    index.chmod(0o555)
    with unprivileged(), store.open(index) as catalog:
        assert tail(catalog) == [(1, "red")]
    index.chmod(0o755)


def test_read_only_folder_gives_what_a_writer_that_died_had_committed(index: Path, unprivileged: Unprivileged) -> None:
    copy = index.parent / "copy"
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.add_video(at("red.mp4"), HASH, shows("red"))
        shutil.copytree(index, copy)
    assert (copy / f"{store.FILE}-wal").stat().st_size > 0
    open_the_way(copy)
    copy.chmod(0o555)
    with unprivileged(), store.open(copy) as catalog:
        assert tail(catalog) == [(1, "red")]
    copy.chmod(0o755)


def test_outdated_catalog_in_a_read_only_folder_says_that_it_cannot_be_written(
    index: Path, unprivileged: Unprivileged
) -> None:
    execute(index, "UPDATE alembic_version SET version_num = '0001'")
    open_the_way(index)
    index.chmod(0o555)
    with unprivileged(), pytest.raises(IndexReadOnly, match=f"{index} cannot be written"):
        store.upgrade(index)
    index.chmod(0o755)
    assert store.current(index) == "0001"


# transactions


def test_each_write_is_one_generation(index: Path) -> None:
    with opening.open_to_write(index) as catalog:
        for number in (1, 2, 3):
            with catalog.transaction():
                assert generation(catalog) == number - 1
            assert generation(catalog) == number


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failed_write_undoes_everything(error: type[BaseException], index: Path) -> None:
    add(index, "red.mp4", "red")

    def fail(catalog: Catalog) -> None:
        with catalog.transaction() as writer:
            writer.add_video(at("blue.mp4", b"/other"), HASH, shows("blue"))
            writer.purge_videos([1])
            raise error

    with opening.open_to_write(index) as catalog:
        with pytest.raises(error):
            fail(catalog)
        assert (tail(catalog), masked(catalog, since=0), generation(catalog)) == ([(1, "red")], [], 1)
        with catalog.read() as rows:
            assert rows.roots() == [b"/videos"]
    assert add(index, "green.mp4", "green") == 2


def test_two_videos_never_have_the_same_path(index: Path) -> None:
    add(index, "red.mp4", "red")
    with pytest.raises(BadIndex):
        add(index, "red.mp4", "blue")
    with store.open(index) as catalog:
        assert tail(catalog) == [(1, "red")]


def test_reader_sees_one_state_while_a_writer_commits(index: Path) -> None:
    add(index, "red.mp4", "red")
    with opening.open_to_write(index) as writer, store.open(index) as reader:
        with reader.read() as rows:
            assert rows.generation() == 1
            with writer.transaction() as changing:
                changing.add_video(at("blue.mp4"), HASH, shows("blue"))
                assert rows.generation() == 1
            assert rows.generation() == 1
            assert rows.counts().videos == 1
            assert rows.tail(after=0)[0].tolist() == [1]
        assert generation(reader) == 2
        assert tail(reader) == [(1, "red"), (2, "blue")]


def test_uncommitted_changes_are_seen_by_nobody_else(index: Path) -> None:
    with opening.open_to_write(index) as writer, store.open(index) as reader:
        with writer.transaction() as session:
            session.add_video(at("red.mp4"), HASH, shows("red"))
            assert (tail(reader), generation(reader)) == ([], 0)
        assert (tail(reader), generation(reader)) == ([(1, "red")], 1)


# changes


def test_video_comes_back_as_it_was_added(index: Path) -> None:
    file = File(b"/videos", b"warm/red.mp4", 2**40, 1_700_000_000_123_456_789)
    whole = shows("red", "blue")
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            assert writer.add_video(file, HASH, whole) == 1
        with catalog.read() as rows:
            assert rows.videos() == [store.Video(1, file, HASH, 2.0, hidden=False)]
            segments, vectors = rows.segments(1)
    assert (file.absolute, file.full_path) == (b"/videos/warm/red.mp4", Path("/videos/warm/red.mp4"))
    assert segments == (Segment(0.0, 1.0), Segment(1.0, 2.0))
    np.testing.assert_array_equal(vectors, whole.vectors)


def test_the_full_path_of_a_file_keeps_bytes_that_are_no_text() -> None:
    assert os.fsencode(File(b"/videos", b"caf\xe9.mp4", 1, 1).full_path) == b"/videos/caf\xe9.mp4"


def test_vectors_are_kept_bit_by_bit(index: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    rows[0, 0], rows[0, 1] = np.float32(1e-42), -0.0
    whole = Embedding(3.0, shows("red", "red", "red").segments, (0, 0, 0), rows)
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.add_video(at("red.mp4"), HASH, whole)
        with catalog.read() as session:
            assert session.tail(after=0)[1].tobytes() == rows.tobytes()


def test_paths_that_are_not_utf_8_are_kept_as_bytes(index: Path) -> None:
    root, name = b"/caf\xe9", b"\xff\xfe/gr\xfcn.mp4"
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.add_video(at(name, root), HASH, shows("green"))
        with catalog.read() as rows:
            assert rows.roots() == [root]
            assert [video.file for video in rows.videos()] == [at(name, root)]
            assert os.fsencode(rows.places([1])[1].path) == root + b"/" + name


def test_segments_of_another_number_than_vectors_are_refused_whole(index: Path) -> None:
    wrong = Embedding(2.0, shows("red", "blue").segments, (0, 1), shows("red").vectors)
    with opening.open_to_write(index) as catalog:
        with pytest.raises(ValueError, match="argument"), catalog.transaction() as writer:
            writer.add_video(at("red.mp4"), HASH, wrong)
        assert counts(catalog).videos == 0


def test_replaced_video_has_new_segments_under_new_ids(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.hide_videos([1])
            moved = File(b"/videos", b"c.mp4", 11, 21)
            writer.replace_video(1, moved, b"\2" * 32, shows("cyan", "white", "black"))
        assert tail(catalog) == [(3, "green"), (4, "cyan"), (5, "white"), (6, "black")]
        assert (masked(catalog, since=2), masked(catalog, since=3)) == ([1, 2], [])
        with catalog.read() as rows:
            assert rows.videos()[0] == store.Video(1, moved, b"\2" * 32, 3.0, hidden=False)


def test_moved_video_keeps_its_segments(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.place_video(1, at("b.mp4", b"/elsewhere"))
        assert tail(catalog) == [(1, "red"), (2, "blue")]
        assert masked(catalog, since=0) == []
        with catalog.read() as rows:
            assert [video.file.absolute for video in rows.videos()] == [b"/elsewhere/b.mp4"]
            assert rows.roots() == [b"/elsewhere"]


def test_hidden_video_is_masked_until_it_is_placed_again(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.hide_videos([1])
        assert (tail(catalog), masked(catalog, since=3)) == ([(3, "green")], [1, 2])
        assert counts(catalog) == Counts(videos=1, segments=1, duration_s=1.0, hidden_videos=1)
        with catalog.read() as rows:
            assert [video.hidden for video in rows.videos()] == [True, False]
            assert [ids.tolist() for ids, _ in rows.vectors()] == [[1, 2, 3]]
        with catalog.transaction() as writer:
            writer.place_video(1, at("a.mp4"))
        assert (tail(catalog), masked(catalog, since=3)) == ([(1, "red"), (2, "blue"), (3, "green")], [])
        assert counts(catalog) == Counts(videos=2, segments=3, duration_s=3.0, hidden_videos=0)


def test_purged_video_is_gone_and_its_segments_are_logged_with_their_generation(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    with opening.open_to_write(index) as catalog:
        for number in (1, 2):
            with catalog.transaction() as writer:
                writer.purge_videos([number])
        assert [masked(catalog, since=since) for since in (1, 2, 3, 4)] == [[1, 2, 3], [1, 2, 3], [3], []]
        assert (tail(catalog), counts(catalog)) == ([], Counts(0, 0, 0.0, 0))
        with catalog.read() as rows:
            assert rows.videos() == []
            assert [len(rows.deleted(since=since)[0]) for since in (2, 3, 4)] == [3, 1, 0]
            assert rows.inconsistencies() == []


def test_no_segment_id_is_ever_used_twice(index: Path) -> None:
    used: list[int] = []
    for _ in range(3):
        video_id = add(index, "a.mp4", "red", "blue")
        with opening.open_to_write(index) as catalog:
            used += [i for i, _ in tail(catalog)]
            with catalog.transaction() as writer:
                writer.purge_videos([video_id])
            assert tail(catalog) == []
    assert used == [1, 2, 3, 4, 5, 6]
    assert add(index, "a.mp4", "red") == 4


def test_changes_take_more_videos_than_a_statement_does(index: Path) -> None:
    add(index, "a.mp4", "red")
    many = list(range(40_000, 0, -1))
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.hide_videos(many)
        with catalog.read() as rows:
            assert rows.counts().hidden_videos == 1
            assert rows.segment_ids(many).tolist() == [1]
            assert list(rows.places(many)) == [1]
            assert rows.vectors_of(np.array(many))[0].tolist() == [1]
        with catalog.transaction() as writer:
            writer.purge_videos(many)
        with catalog.read() as rows:
            assert rows.videos() == []


# questions


def test_tail_is_what_is_newer_and_visible(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    add(index, "c.mp4", "cyan", "white")
    with opening.open_to_write(index) as catalog:
        assert tail(catalog, after=1) == [(2, "blue"), (3, "green"), (4, "cyan"), (5, "white")]
        assert tail(catalog, after=5) == []
        with catalog.transaction() as writer:
            writer.hide_videos([3])
        assert tail(catalog, after=2) == [(3, "green")]
        with catalog.read() as rows:
            assert [rows.num_segments_after(after) for after in (0, 3, 5)] == [5, 2, 0]


def test_segment_ids_are_those_of_the_videos_ascending(index: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        add(index, name, "red", "blue")
    with store.open(index) as catalog, catalog.read() as rows:
        assert rows.segment_ids({3, 1}).tolist() == [1, 2, 5, 6]
        assert rows.segment_ids([]).tolist() == []


def test_all_vectors_come_by_id_however_many_there_are(index: Path) -> None:
    given = np.random.default_rng(0).normal(size=(10_001, 8)).astype(np.float32)
    segments = tuple(Segment(float(i), i + 1.0) for i in range(len(given)))
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.add_video(at("long.mp4"), HASH, Embedding(1.0, segments, (0,) * len(given), given))
        with catalog.read() as rows:
            ids, vectors = zip(*rows.vectors(), strict=True)
            late = [ids.tolist() for ids, _ in rows.vectors(after=9_999)]
    assert np.concatenate(ids).tolist() == list(range(1, 10_002))
    np.testing.assert_array_equal(np.concatenate(vectors), given)
    assert late == [[10_000, 10_001]]


def test_vectors_of_segments_come_by_id_and_only_those_that_are_there(index: Path) -> None:
    add(index, "a.mp4", "red", "blue", "green")
    with store.open(index) as catalog, catalog.read() as rows:
        ids, vectors = rows.vectors_of(np.array([3, 99, 1]))
        none, no_vectors = rows.vectors_of(np.array([99]))
    assert ids.tolist() == [1, 3]
    np.testing.assert_array_equal(vectors, shows("red", "green").vectors)
    assert (none.shape, no_vectors.shape) == ((0,), (0, 8))


@pytest.mark.parametrize(
    ("query", "plan"),
    [
        (
            queries.PLACES.format("(?,?)"),
            ["COVERING INDEX ix_segments_run", "videos USING INTEGER PRIMARY KEY"],
        ),
        (queries.RUNS.format("?"), ["segments USING INTEGER PRIMARY KEY"]),
        (queries.OF_RUNS.format("(?,?)"), ["COVERING INDEX ix_segments_run"]),
        (queries.HIDDEN, ["INDEX ix_videos_hidden", "segments USING COVERING INDEX"]),
        (queries.PLAIN, ["INDEX ix_segments_plain", "videos USING INTEGER PRIMARY KEY"]),
        (queries.OUTLINES.format("?"), ["outlines USING INTEGER PRIMARY KEY", "videos USING INTEGER PRIMARY KEY"]),
        (queries.DELETED, ["INDEX ix_deleted_segments_generation"]),
        (queries.TAIL, ["segments USING INTEGER PRIMARY KEY", "videos USING INTEGER PRIMARY KEY"]),
        (queries.OF_VIDEO, ["segments USING COVERING INDEX"]),
        (queries.STRETCHES.format("?"), ["segments USING COVERING INDEX"]),
        (queries.COUNTED.format("?"), ["COVERING INDEX ix_segments_place"]),
        (queries.COURSES.format("?"), ["INDEX ix_segments_place"]),
        (queries.VECTORS_OF.format("?"), ["segments USING INTEGER PRIMARY KEY"]),
        (queries.SHOWN.format("?", ""), ["segments USING INTEGER PRIMARY KEY", "videos USING INTEGER PRIMARY KEY"]),
    ],
    ids=[
        "places", "runs", "of runs", "hidden", "plain", "outlines", "deleted", "tail", "of video", "stretches",
        "counted", "courses", "vectors", "shown",
    ],
)  # fmt: skip
def test_what_a_query_asks_of_the_catalog_is_answered_from_its_indices(
    query: str, plan: list[str], index: Path
) -> None:
    add(index, "a.mp4", "red")
    with store.open(index) as catalog, catalog.read() as rows:
        steps = [row[3] for row in rows._connection.execute(f"EXPLAIN QUERY PLAN {query}", (1,) * query.count("?"))]

    assert all(any(wanted in step for step in steps) for wanted in plan), steps
    own = ("SCAN wanted", "SCAN CONSTANT ROW")  # what the statement itself brings along
    assert not [step for step in steps if step.startswith("SCAN") and "INDEX" not in step and step not in own]


def test_places_know_their_run_and_its_range(index: Path) -> None:
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            for name in ("a.mp4", "b.mp4"):
                writer.add_video(at(name), HASH, shows("red", "red", "red", "blue", runs=(0, 0, 0, 1)))
        with catalog.read() as rows:
            places = rows.places([2, 4, 8, 99])
    a, b = Path("/videos/a.mp4"), Path("/videos/b.mp4")
    assert places == {
        2: store.Place(1, a, 0, 0.0, 3.0),
        4: store.Place(1, a, 1, 3.0, 4.0),
        8: store.Place(2, b, 1, 3.0, 4.0),
    }


def test_counts_tell_the_visible_from_the_hidden(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    add(index, "c.mp4", "cyan", "white", "black")
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.hide_videos([3])
        assert counts(catalog) == Counts(videos=2, segments=3, duration_s=3.0, hidden_videos=1)


# A stranger's catalog


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON videos BEGIN DELETE FROM segments; END", "a trigger 't'"),
        ("CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n", "a view 'v'"),
        ("CREATE TABLE pragma_table_xinfo (name)", "the table 'pragma_table_xinfo'"),
        ("CREATE TABLE more (a)", "the table 'more'"),
        ("CREATE VIRTUAL TABLE words USING fts5(a)", "the table 'words'"),
        ("CREATE VIRTUAL TABLE boxes USING rtree(id, a, b)", "the table 'boxes'"),
        ("CREATE INDEX more ON videos (size)", "the index 'more'"),
        ("CREATE INDEX more ON videos (abs(size))", "the index 'more'"),
        ("ALTER TABLE videos ADD COLUMN more INTEGER", "the column 'more' of videos"),
        ("ALTER TABLE videos ADD COLUMN more INTEGER AS (abs(size)) VIRTUAL", "the table 'videos'"),
        ("ALTER TABLE failures ADD COLUMN more TEXT DEFAULT 'x'", "the table 'failures'"),
        ("DROP INDEX ix_segments_run", "lacks 'ix_segments_run'"),
        ("DROP TABLE failures", "lacks 'failures'"),
        ("ALTER TABLE segments DROP COLUMN best_s", "segments lacks 'best_s'"),
    ],
)
def test_a_schema_that_is_not_ours_is_refused_before_anything_is_asked(
    index: Path, tmp_path: Path, statement: str, told: str
) -> None:
    add(index, "red.mp4", "red")
    execute(index, statement)
    for opened in (store.open, opening.open_to_write, store.current, store.upgrade):
        with pytest.raises(IndexDamaged) as error:
            opened(index)
        assert told in str(error.value)
        assert "\n" not in str(error.value)
    for refused in (
        lambda: maintenance.back_up(index, tmp_path / "copy"),
        lambda: maintenance.restore(index / store.FILE, tmp_path / "again"),
    ):
        with pytest.raises(IndexDamaged) as error:
            refused()
        assert told in str(error.value)


def test_a_view_in_the_place_of_a_table_hangs_nobody(index: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n"
    for table in ("alembic_version", "index_info"):
        execute(index, f"DROP TABLE IF EXISTS {table}", f"CREATE VIEW {table} AS {endless}")
        with pytest.raises(IndexDamaged, match="a view"):
            store.open(index)


def test_no_connection_trusts_a_schema(index: Path) -> None:
    with opening.open_to_write(index) as catalog:
        with catalog.read() as rows:
            assert rows._connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
        with catalog.transaction() as writer:
            assert writer._session.connection().exec_driver_sql("PRAGMA trusted_schema").scalar() == 0
            assert writer._session.connection().exec_driver_sql("PRAGMA secure_delete").scalar() == 1


def test_a_statement_can_be_interrupted(index: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    try:
        with store.open(index) as catalog:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt), catalog.read() as rows:
                rows._connection.execute(endless).fetchone()
    finally:
        signal.signal(signal.SIGINT, before)


# Nobody else's


def modes(folder: Path) -> dict[str, int]:
    """What others may do with a folder and what is in it."""
    return {path.name: path.lstat().st_mode & 0o077 for path in [folder, *folder.rglob("*")]}


def test_an_index_is_made_for_nobody_else(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with store.create(tmp_path / "index", Toy.identity, Sampling()) as catalog:
            with catalog.transaction() as writer:
                writer.add_video(at("red.mp4"), HASH, shows("red"))
            catalog.rebuild()
            assert set(modes(tmp_path / "index").values()) == {0}
            assert {f"{store.FILE}-wal", "writer.json", "vectors.json"} < set(modes(tmp_path / "index"))
        maintenance.back_up(tmp_path / "index", tmp_path / "copy")
        maintenance.restore(tmp_path / "copy", tmp_path / "index", replace=True)
        maintenance.restore(tmp_path / "copy", tmp_path / "again")
    finally:
        os.umask(before)
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    assert set((modes(tmp_path / "index") | modes(tmp_path / "again")).values()) == {0}


def open_to_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_an_index_of_before_is_closed_to_others_at_the_next_write_and_that_is_said_once(index: Path) -> None:
    add(index, "red.mp4", "red")
    open_to_all(index)
    told: list[str] = []
    for _ in range(2):
        opening.open_to_write(index, notice=told.append).__exit__()
    assert len(told) == 1
    assert str(index) in told[0]
    assert set(modes(index).values()) == {0}


def test_making_the_cache_anew_closes_an_index_of_before(index: Path) -> None:
    add(index, "red.mp4", "red")
    open_to_all(index)
    said = CliRunner().invoke(cli, ["rebuild", "--index", str(index)])
    assert said.exit_code == 0
    assert str(index) in said.stderr
    assert set(modes(index).values()) == {0}


def test_a_folder_with_other_files_keeps_its_mode_and_they_keep_theirs(index: Path) -> None:
    (index / "notes.txt").write_text("mine")
    open_to_all(index)
    told: list[str] = []
    opening.open_to_write(index, notice=told.append).__exit__()
    assert "notes.txt" in told[0]
    assert modes(index) == {"index": 0o055, "notes.txt": 0o044, store.FILE: 0, "writer.lock": 0}


def test_a_location_of_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(LocationError, match=r"no store for mysql: locations; an index is a folder, or postgres"):
        store.open("mysql://localhost/videos")


def test_an_upgrade_makes_the_cache_of_before_anew(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "data" / "catalogs" / "0007.sqlite"
    shutil.copy(golden, tmp_path / store.FILE)
    (tmp_path / "vectors.json").write_text('{"file": "vectors-4-00000000.faiss", "index_id": "of before"}')
    assert store.upgrade(tmp_path) == "0007"
    with store.open(tmp_path) as catalog:
        assert catalog.cache_state() == "5 vectors, exact; 0 newer ones read from the catalog"
