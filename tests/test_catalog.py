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

from cezsar import catalog, maintenance
from cezsar.catalog import Catalog, Counts, Embedding, File, reading
from cezsar.cli import cli
from cezsar.encoders.toy import COLOURS, Toy
from cezsar.errors import BadIndex, IndexDamaged, IndexMissing, IndexOutdated, IndexReadOnly
from cezsar.types import EncoderIdentity, Sampling, Segment

Unprivileged = Callable[[], AbstractContextManager[None]]

HASH = b"\1" * 32


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder with an empty catalog."""
    with catalog.create(tmp_path / "index", Toy.identity, Sampling()):
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
    with catalog.open_to_write(index) as store, store.write() as session:
        return catalog.add_video(session, at(path), HASH, shows(*colours))


def tail(store: Catalog, after: int = 0) -> list[tuple[int, str]]:
    """The tail's ids, and the colours that its vectors stand for."""
    with store.read() as session:
        ids, vectors = catalog.tail(session, after=after, dimension=8)
    assert (ids.dtype, vectors.dtype, vectors.shape) == (np.int64, np.float32, (len(ids), 8))
    return [(i, list(COLOURS)[vector.argmax()]) for i, vector in zip(ids.tolist(), vectors, strict=True)]


def masked(store: Catalog, since: int) -> list[int]:
    with store.read() as session:
        return sorted(catalog.masked(session, since=since).tolist())


def counts(store: Catalog) -> Counts:
    with store.read() as session:
        return catalog.counts(session)


def generation(store: Catalog) -> int:
    with store.read() as session:
        return catalog.generation(session)


def execute(index: Path, *statements: str) -> None:
    """Change the catalog behind our code's back."""
    with closing(sqlite3.connect(index / catalog.FILE)) as database, database:
        for statement in statements:
            database.execute(statement)


def open_the_way(folder: Path) -> None:
    """Let every user reach a temporary folder."""
    for each in (folder, *folder.parents[:3]):
        if os.geteuid() == 0:
            each.chmod(0o755)
    for file in folder.glob(f"{catalog.FILE}*"):
        file.chmod(0o644)


# making


def test_new_catalog_is_empty_and_says_what_made_it(tmp_path: Path) -> None:
    encoder, sampling = EncoderIdentity("some", "f" * 64, 512, "visual_object"), Sampling(1.5, 6.0, 3.0)
    with catalog.create(tmp_path / "a" / "b", encoder, sampling) as store:
        assert (store.info.encoder, store.info.sampling) == (encoder, sampling)
        assert counts(store) == Counts(videos=0, segments=0, duration_s=0.0, hidden_videos=0)
        assert generation(store) == 0
        made = store.info
    assert names(tmp_path / "a" / "b") == [catalog.FILE, "writer.lock"]
    with catalog.open_to_read(tmp_path / "a" / "b") as store:
        assert store.info == made


def test_every_catalog_has_an_id_of_its_own(tmp_path: Path) -> None:
    with (
        catalog.create(tmp_path / "a", Toy.identity, Sampling()) as one,
        catalog.create(tmp_path / "b", Toy.identity, Sampling()) as other,
    ):
        assert one.info.index_id != other.info.index_id


@pytest.mark.parametrize("name", ["a b", "per%41cent", "ques?tion", "hash#", "a&b=c;d", "ünï", "日本"])
def test_index_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    catalog.create(tmp_path / name, Toy.identity, Sampling()).__exit__()
    add(tmp_path / name, "red.mp4", "red")
    with catalog.open_to_read(tmp_path / name) as store:
        assert tail(store) == [(1, "red")]


@pytest.mark.parametrize("room", [0, 5_000, 30_000])
def test_catalog_that_does_not_fit_on_the_disk_is_not_there_at_all(room: int, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # the system writes so much of a file, no more
    try:
        with pytest.raises(BadIndex, match=r"The index in .* cannot be used"):
            catalog.create(tmp_path, Toy.identity, Sampling())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["writer.lock"]
    assert not catalog.exists(tmp_path)


def test_catalog_that_cannot_say_what_made_it_is_not_there_at_all(tmp_path: Path) -> None:
    with pytest.raises(OverflowError):  # after the schema is made
        catalog.create(tmp_path, EncoderIdentity("some", "", 2**70, "visual"), Sampling())
    assert names(tmp_path) == ["writer.lock"]


def test_making_a_catalog_never_costs_one_that_is_there(index: Path) -> None:
    add(index, "red.mp4", "red")
    with suppress(BadIndex):
        catalog.create(index, Toy.identity, Sampling()).__exit__()
    with catalog.open_to_read(index) as store:
        assert tail(store) == [(1, "red")]


def test_new_catalog_takes_nothing_from_a_log_that_an_old_one_left(index: Path) -> None:
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.add_video(session, at("red.mp4"), HASH, shows("red"))
        log = (index / f"{catalog.FILE}-wal").read_bytes()
    (index / catalog.FILE).unlink()
    (index / f"{catalog.FILE}-wal").write_bytes(log)  # as after a crash
    with catalog.create(index, Toy.identity, Sampling()) as store:
        assert tail(store) == []


@pytest.mark.parametrize("folder", ["closed", "closed/new"])
def test_no_catalog_is_made_where_nothing_may_be_written(
    folder: str, tmp_path: Path, unprivileged: Unprivileged
) -> None:
    (tmp_path / "closed").mkdir()
    open_the_way(tmp_path / "closed")
    (tmp_path / "closed").chmod(0o555)
    with unprivileged(), pytest.raises(IndexReadOnly, match="cannot be written"):
        catalog.create(tmp_path / folder, Toy.identity, Sampling())
    (tmp_path / "closed").chmod(0o755)
    assert list((tmp_path / "closed").iterdir()) == []


# opening


@pytest.mark.parametrize("opened", [catalog.open_to_read, catalog.open_to_write, catalog.current, catalog.upgrade])
def test_missing_index_says_how_to_make_one(opened: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        assert not catalog.exists(folder)
        with pytest.raises(IndexMissing, match="`cezsar index PATH"):
            opened(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("opened", [catalog.open_to_read, catalog.open_to_write])
def test_older_schema_names_the_command_that_upgrades_it(opened: Callable[[Path], object], index: Path) -> None:
    execute(index, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(IndexOutdated, match=f"schema 0000.*`cezsar db upgrade --index {index}`"):
        opened(index)


@pytest.mark.parametrize("opened", [catalog.open_to_read, catalog.open_to_write, catalog.upgrade])
def test_newer_schema_says_to_update_the_package(opened: Callable[[Path], object], index: Path) -> None:
    execute(index, "UPDATE alembic_version SET version_num = '9999'")
    before = (index / catalog.FILE).read_bytes()
    with pytest.raises(IndexOutdated, match=r"schema 9999, newer .*`pip install --upgrade cezsar`"):
        opened(index)
    assert (index / catalog.FILE).read_bytes() == before


def garbage(index: Path) -> None:
    (index / catalog.FILE).write_bytes(np.random.default_rng(0).bytes(20_000))


def empty(index: Path) -> None:
    (index / catalog.FILE).write_bytes(b"")


def cut_short(index: Path) -> None:
    os.truncate(index / catalog.FILE, 9_000)


def foreign(index: Path) -> None:
    (index / catalog.FILE).unlink()
    execute(index, "CREATE TABLE recipes (name)")


def without_revision(index: Path) -> None:
    execute(index, "DELETE FROM alembic_version")


def without_information(index: Path) -> None:
    execute(index, "DELETE FROM index_info")


def without_a_table(index: Path) -> None:
    execute(index, "DROP TABLE index_info")


@pytest.mark.parametrize("opened", [catalog.open_to_read, catalog.open_to_write])
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
    with catalog.open_to_read(index) as store:
        questions = [
            lambda s: catalog.tail(s, after=0, dimension=8),
            lambda s: list(catalog.vectors(s, dimension=8)),
            lambda s: catalog.segments(s, 1, dimension=8),
        ]
        for question in questions:
            with store.read() as session, pytest.raises(IndexDamaged, match="dimension"):
                question(session)


def test_folder_that_may_not_be_looked_into_is_not_taken_for_an_empty_one(
    index: Path, unprivileged: Unprivileged
) -> None:
    open_the_way(index)
    index.chmod(0)
    with unprivileged():
        for opened in (catalog.exists, catalog.open_to_read, catalog.open_to_write):
            with pytest.raises(IndexDamaged, match="cannot be opened: Permission denied"):
                opened(index)
    index.chmod(0o755)


def test_writing_checks_references_and_logs_ahead(index: Path) -> None:
    with catalog.open_to_write(index) as store, store.write() as session:
        connection = session.connection()
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    with pytest.raises(BadIndex), catalog.open_to_write(index) as store, store.write() as session:
        session.connection().exec_driver_sql("INSERT INTO segments VALUES (1, 99, 0, 1, 0, x'', NULL)")


def test_a_segment_keeps_the_time_of_its_best_frame_where_there_is_one(index: Path) -> None:
    two = shows("red", "blue")
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            chosen = catalog.add_video(session, at("chosen.mp4"), HASH, replace(two, best_s=(0.5, 1.25)))
            catalog.add_video(session, at("not.mp4"), HASH, two)
        with store.read() as snapshot:
            assert catalog.part(snapshot, 2) == (2, chosen, 1.0, 2.0, 1.25)
            assert [part.best_s for part in catalog.parts(snapshot, chosen, after=0, limit=9)] == [0.5, 1.25]
            assert catalog.part(snapshot, 3) == (3, chosen + 1, 0.0, 1.0, None)


@pytest.mark.parametrize("value", ["'soon'", "-1.0", "1e300", "x'00'"])
def test_a_best_frame_at_a_time_that_cannot_be_is_damage(index: Path, value: str) -> None:
    add(index, "red.mp4", "red")
    with closing(sqlite3.connect(index / catalog.FILE)) as database, database:
        database.execute(f"UPDATE segments SET best_s = {value}")
    with catalog.open_to_read(index) as store, store.read() as snapshot:
        with pytest.raises(IndexDamaged, match="times that cannot be"):
            catalog.part(snapshot, 1)
        assert catalog.inconsistencies(snapshot) == ["1 segments have times that cannot be"]


def test_catalog_opened_to_read_cannot_be_changed(index: Path) -> None:
    add(index, "red.mp4", "red")
    with catalog.open_to_read(index) as store:
        with pytest.raises(IndexReadOnly, match="cannot be written"), store.write() as session:
            catalog.purge_videos(session, [1])
        assert tail(store) == [(1, "red")]


# a folder that cannot be written


def test_read_only_folder_is_read_and_not_written(index: Path, unprivileged: Unprivileged) -> None:
    add(index, "red.mp4", "red")
    open_the_way(index)
    index.chmod(0o555)
    with unprivileged():
        with catalog.open_to_read(index) as store:
            assert tail(store) == [(1, "red")]
        with pytest.raises(IndexReadOnly, match=f"{index} cannot be written"):
            catalog.open_to_write(index)
    index.chmod(0o755)
    assert names(index) == [catalog.FILE, "writer.lock"]


def test_a_reader_of_a_folder_that_it_cannot_write_sees_what_a_writer_does_later(
    index: Path, unprivileged: Unprivileged
) -> None:
    add(index, "red.mp4", "red")
    open_the_way(index)
    index.chmod(0o555)
    with ExitStack() as stack:
        with unprivileged():
            store = stack.enter_context(catalog.open_to_read(index))
            assert tail(store) == [(1, "red")]
        add(index, "blue.mp4", "blue")
        with unprivileged():
            assert tail(store) == [(1, "red"), (2, "blue")]
    index.chmod(0o755)


@pytest.mark.parametrize("left", [("-wal", "-shm"), ("-wal",), ("-shm",)])
def test_read_only_folder_with_empty_leftovers_is_read(
    left: tuple[str, ...], index: Path, unprivileged: Unprivileged
) -> None:
    add(index, "red.mp4", "red")
    for suffix in left:
        (index / f"{catalog.FILE}{suffix}").write_bytes(b"")
    open_the_way(index)
    index.chmod(0o555)
    with unprivileged(), catalog.open_to_read(index) as store:
        assert tail(store) == [(1, "red")]
    index.chmod(0o755)


def test_read_only_folder_gives_what_a_writer_that_died_had_committed(index: Path, unprivileged: Unprivileged) -> None:
    copy = index.parent / "copy"
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.add_video(session, at("red.mp4"), HASH, shows("red"))
        shutil.copytree(index, copy)
    assert (copy / f"{catalog.FILE}-wal").stat().st_size > 0
    open_the_way(copy)
    copy.chmod(0o555)
    with unprivileged(), catalog.open_to_read(copy) as store:
        assert tail(store) == [(1, "red")]
    copy.chmod(0o755)


def test_outdated_catalog_in_a_read_only_folder_says_that_it_cannot_be_written(
    index: Path, unprivileged: Unprivileged
) -> None:
    execute(index, "UPDATE alembic_version SET version_num = '0001'")
    open_the_way(index)
    index.chmod(0o555)
    with unprivileged(), pytest.raises(IndexReadOnly, match=f"{index} cannot be written"):
        catalog.upgrade(index)
    index.chmod(0o755)
    assert catalog.current(index) == "0001"


# transactions


def test_each_write_is_one_generation(index: Path) -> None:
    with catalog.open_to_write(index) as store:
        for number in (1, 2, 3):
            with store.write():
                assert generation(store) == number - 1
            assert generation(store) == number


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failed_write_undoes_everything(error: type[BaseException], index: Path) -> None:
    add(index, "red.mp4", "red")

    def fail(store: Catalog) -> None:
        with store.write() as session:
            catalog.add_video(session, at("blue.mp4", b"/other"), HASH, shows("blue"))
            catalog.purge_videos(session, [1])
            raise error

    with catalog.open_to_write(index) as store:
        with pytest.raises(error):
            fail(store)
        assert (tail(store), masked(store, since=0), generation(store)) == ([(1, "red")], [], 1)
        with store.read() as session:
            assert catalog.roots(session) == [b"/videos"]
    assert add(index, "green.mp4", "green") == 2


def test_two_videos_never_have_the_same_path(index: Path) -> None:
    add(index, "red.mp4", "red")
    with pytest.raises(BadIndex):
        add(index, "red.mp4", "blue")
    with catalog.open_to_read(index) as store:
        assert tail(store) == [(1, "red")]


def test_reader_sees_one_state_while_a_writer_commits(index: Path) -> None:
    add(index, "red.mp4", "red")
    with catalog.open_to_write(index) as writer, catalog.open_to_read(index) as reader:
        with reader.read() as session:
            assert catalog.generation(session) == 1
            with writer.write() as changing:
                catalog.add_video(changing, at("blue.mp4"), HASH, shows("blue"))
                assert catalog.generation(session) == 1
            assert catalog.generation(session) == 1
            assert catalog.counts(session).videos == 1
            assert catalog.tail(session, after=0, dimension=8)[0].tolist() == [1]
        assert generation(reader) == 2
        assert tail(reader) == [(1, "red"), (2, "blue")]


def test_uncommitted_changes_are_seen_by_nobody_else(index: Path) -> None:
    with catalog.open_to_write(index) as writer, catalog.open_to_read(index) as reader:
        with writer.write() as session:
            catalog.add_video(session, at("red.mp4"), HASH, shows("red"))
            assert (tail(reader), generation(reader)) == ([], 0)
        assert (tail(reader), generation(reader)) == ([(1, "red")], 1)


# changes


def test_video_comes_back_as_it_was_added(index: Path) -> None:
    file = File(b"/videos", b"warm/red.mp4", 2**40, 1_700_000_000_123_456_789)
    whole = shows("red", "blue")
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            assert catalog.add_video(session, file, HASH, whole) == 1
        with store.read() as session:
            assert catalog.videos(session) == [catalog.Video(1, file, HASH, 2.0, hidden=False)]
            segments, vectors = catalog.segments(session, 1, dimension=8)
    assert (file.absolute, file.full_path) == (b"/videos/warm/red.mp4", Path("/videos/warm/red.mp4"))
    assert segments == (Segment(0.0, 1.0), Segment(1.0, 2.0))
    np.testing.assert_array_equal(vectors, whole.vectors)


def test_the_full_path_of_a_file_keeps_bytes_that_are_no_text() -> None:
    assert os.fsencode(File(b"/videos", b"caf\xe9.mp4", 1, 1).full_path) == b"/videos/caf\xe9.mp4"


def test_vectors_are_kept_bit_by_bit(index: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    rows[0, 0], rows[0, 1] = np.float32(1e-42), -0.0
    whole = Embedding(3.0, shows("red", "red", "red").segments, (0, 0, 0), rows)
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.add_video(session, at("red.mp4"), HASH, whole)
        with store.read() as session:
            assert catalog.tail(session, after=0, dimension=8)[1].tobytes() == rows.tobytes()


def test_paths_that_are_not_utf_8_are_kept_as_bytes(index: Path) -> None:
    root, name = b"/caf\xe9", b"\xff\xfe/gr\xfcn.mp4"
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.add_video(session, at(name, root), HASH, shows("green"))
        with store.read() as session:
            assert catalog.roots(session) == [root]
            assert [video.file for video in catalog.videos(session)] == [at(name, root)]
            assert os.fsencode(catalog.places(session, [1])[1].path) == root + b"/" + name


def test_segments_of_another_number_than_vectors_are_refused_whole(index: Path) -> None:
    wrong = Embedding(2.0, shows("red", "blue").segments, (0, 1), shows("red").vectors)
    with catalog.open_to_write(index) as store:
        with pytest.raises(ValueError, match="argument"), store.write() as session:
            catalog.add_video(session, at("red.mp4"), HASH, wrong)
        assert counts(store).videos == 0


def test_replaced_video_has_new_segments_under_new_ids(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.hide_videos(session, [1])
            moved = File(b"/videos", b"c.mp4", 11, 21)
            catalog.replace_video(session, 1, moved, b"\2" * 32, shows("cyan", "white", "black"))
        assert tail(store) == [(3, "green"), (4, "cyan"), (5, "white"), (6, "black")]
        assert (masked(store, since=2), masked(store, since=3)) == ([1, 2], [])
        with store.read() as session:
            assert catalog.videos(session)[0] == catalog.Video(1, moved, b"\2" * 32, 3.0, hidden=False)


def test_moved_video_keeps_its_segments(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.place_video(session, 1, at("b.mp4", b"/elsewhere"))
        assert tail(store) == [(1, "red"), (2, "blue")]
        assert masked(store, since=0) == []
        with store.read() as session:
            assert [video.file.absolute for video in catalog.videos(session)] == [b"/elsewhere/b.mp4"]
            assert catalog.roots(session) == [b"/elsewhere"]


def test_hidden_video_is_masked_until_it_is_placed_again(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.hide_videos(session, [1])
        assert (tail(store), masked(store, since=3)) == ([(3, "green")], [1, 2])
        assert counts(store) == Counts(videos=1, segments=1, duration_s=1.0, hidden_videos=1)
        with store.read() as session:
            assert [video.hidden for video in catalog.videos(session)] == [True, False]
            assert [ids.tolist() for ids, _ in catalog.vectors(session, dimension=8)] == [[1, 2, 3]]
        with store.write() as session:
            catalog.place_video(session, 1, at("a.mp4"))
        assert (tail(store), masked(store, since=3)) == ([(1, "red"), (2, "blue"), (3, "green")], [])
        assert counts(store) == Counts(videos=2, segments=3, duration_s=3.0, hidden_videos=0)


def test_purged_video_is_gone_and_its_segments_are_logged_with_their_generation(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    with catalog.open_to_write(index) as store:
        for number in (1, 2):
            with store.write() as session:
                catalog.purge_videos(session, [number])
        assert [masked(store, since=since) for since in (1, 2, 3, 4)] == [[1, 2, 3], [1, 2, 3], [3], []]
        assert (tail(store), counts(store)) == ([], Counts(0, 0, 0.0, 0))
        with store.read() as session:
            assert catalog.videos(session) == []
            assert [len(catalog.deleted(session, since=since)) for since in (2, 3, 4)] == [3, 1, 0]
            assert catalog.inconsistencies(session) == []


def test_no_segment_id_is_ever_used_twice(index: Path) -> None:
    used: list[int] = []
    for _ in range(3):
        video_id = add(index, "a.mp4", "red", "blue")
        with catalog.open_to_write(index) as store:
            used += [i for i, _ in tail(store)]
            with store.write() as session:
                catalog.purge_videos(session, [video_id])
            assert tail(store) == []
    assert used == [1, 2, 3, 4, 5, 6]
    assert add(index, "a.mp4", "red") == 4


def test_changes_take_more_videos_than_a_statement_does(index: Path) -> None:
    add(index, "a.mp4", "red")
    many = list(range(40_000, 0, -1))
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.hide_videos(session, many)
        with store.read() as snapshot:
            assert catalog.counts(snapshot).hidden_videos == 1
            assert catalog.segment_ids(snapshot, many).tolist() == [1]
            assert list(catalog.places(snapshot, many)) == [1]
            assert catalog.vectors_of(snapshot, np.array(many), dimension=8)[0].tolist() == [1]
        with store.write() as session:
            catalog.purge_videos(session, many)
        with store.read() as snapshot:
            assert catalog.videos(snapshot) == []


# questions


def test_tail_is_what_is_newer_and_visible(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    add(index, "c.mp4", "cyan", "white")
    with catalog.open_to_write(index) as store:
        assert tail(store, after=1) == [(2, "blue"), (3, "green"), (4, "cyan"), (5, "white")]
        assert tail(store, after=5) == []
        with store.write() as session:
            catalog.hide_videos(session, [3])
        assert tail(store, after=2) == [(3, "green")]
        with store.read() as session:
            assert [catalog.num_segments_after(session, after) for after in (0, 3, 5)] == [5, 2, 0]


def test_segment_ids_are_those_of_the_videos_ascending(index: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        add(index, name, "red", "blue")
    with catalog.open_to_read(index) as store, store.read() as session:
        assert catalog.segment_ids(session, {3, 1}).tolist() == [1, 2, 5, 6]
        assert catalog.segment_ids(session, []).tolist() == []


def test_all_vectors_come_by_id_however_many_there_are(index: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(10_001, 8)).astype(np.float32)
    segments = tuple(Segment(float(i), i + 1.0) for i in range(len(rows)))
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.add_video(session, at("long.mp4"), HASH, Embedding(1.0, segments, (0,) * len(rows), rows))
        with store.read() as snapshot:
            ids, vectors = zip(*catalog.vectors(snapshot, dimension=8), strict=True)
            late = [ids.tolist() for ids, _ in catalog.vectors(snapshot, dimension=8, after=9_999)]
    assert np.concatenate(ids).tolist() == list(range(1, 10_002))
    np.testing.assert_array_equal(np.concatenate(vectors), rows)
    assert late == [[10_000, 10_001]]


def test_vectors_of_segments_come_by_id_and_only_those_that_are_there(index: Path) -> None:
    add(index, "a.mp4", "red", "blue", "green")
    with catalog.open_to_read(index) as store, store.read() as snapshot:
        ids, vectors = catalog.vectors_of(snapshot, np.array([3, 99, 1]), dimension=8)
        none, no_vectors = catalog.vectors_of(snapshot, np.array([99]), dimension=8)
    assert ids.tolist() == [1, 3]
    np.testing.assert_array_equal(vectors, shows("red", "green").vectors)
    assert (none.shape, no_vectors.shape) == ((0,), (0, 8))


@pytest.mark.parametrize(
    ("query", "plan"),
    [
        (
            reading.PLACES.format("(?,?)"),
            ["COVERING INDEX ix_segments_run", "videos USING INTEGER PRIMARY KEY"],
        ),
        (reading.RUNS.format("?"), ["segments USING INTEGER PRIMARY KEY"]),
        (reading.OF_RUNS.format("(?,?)"), ["COVERING INDEX ix_segments_run"]),
        (reading.HIDDEN, ["INDEX ix_videos_hidden", "segments USING COVERING INDEX"]),
        (reading.PLAIN, ["INDEX ix_segments_plain", "videos USING INTEGER PRIMARY KEY"]),
        (reading.OUTLINES.format("?"), ["outlines USING INTEGER PRIMARY KEY", "videos USING INTEGER PRIMARY KEY"]),
        (reading.DELETED, ["INDEX ix_deleted_segments_generation"]),
        (reading.TAIL, ["segments USING INTEGER PRIMARY KEY", "videos USING INTEGER PRIMARY KEY"]),
        (reading.OF_VIDEOS.format("?"), ["segments USING COVERING INDEX"]),
        (reading.VECTORS_OF.format("?"), ["segments USING INTEGER PRIMARY KEY"]),
    ],
    ids=["places", "runs", "of runs", "hidden", "plain", "outlines", "deleted", "tail", "of videos", "vectors"],
)
def test_what_a_query_asks_of_the_catalog_is_answered_from_its_indices(
    query: str, plan: list[str], index: Path
) -> None:
    add(index, "a.mp4", "red")
    with catalog.open_to_read(index) as store, store.read() as snapshot:
        steps = [row[3] for row in snapshot.execute(f"EXPLAIN QUERY PLAN {query}", (1,) * query.count("?"))]

    assert all(any(wanted in step for step in steps) for wanted in plan), steps
    own = ("SCAN wanted", "SCAN CONSTANT ROW")  # what the statement itself brings along
    assert not [step for step in steps if step.startswith("SCAN") and "INDEX" not in step and step not in own]


def test_places_know_their_run_and_its_range(index: Path) -> None:
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            for name in ("a.mp4", "b.mp4"):
                catalog.add_video(session, at(name), HASH, shows("red", "red", "red", "blue", runs=(0, 0, 0, 1)))
        with store.read() as snapshot:
            places = catalog.places(snapshot, [2, 4, 8, 99])
    a, b = Path("/videos/a.mp4"), Path("/videos/b.mp4")
    assert places == {
        2: catalog.Place(1, a, 0, 0.0, 3.0),
        4: catalog.Place(1, a, 1, 3.0, 4.0),
        8: catalog.Place(2, b, 1, 3.0, 4.0),
    }


def test_counts_tell_the_visible_from_the_hidden(index: Path) -> None:
    add(index, "a.mp4", "red", "blue")
    add(index, "b.mp4", "green")
    add(index, "c.mp4", "cyan", "white", "black")
    with catalog.open_to_write(index) as store:
        with store.write() as session:
            catalog.hide_videos(session, [3])
        assert counts(store) == Counts(videos=2, segments=3, duration_s=3.0, hidden_videos=1)


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
    for opened in (catalog.open_to_read, catalog.open_to_write, catalog.current, catalog.upgrade):
        with pytest.raises(IndexDamaged) as error:
            opened(index)
        assert told in str(error.value)
        assert "\n" not in str(error.value)
    for refused in (
        lambda: maintenance.back_up(index, tmp_path / "copy"),
        lambda: maintenance.restore(index / catalog.FILE, tmp_path / "again"),
    ):
        with pytest.raises(IndexDamaged) as error:
            refused()
        assert told in str(error.value)


def test_a_view_in_the_place_of_a_table_hangs_nobody(index: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n"
    for table in ("alembic_version", "index_info"):
        execute(index, f"DROP TABLE IF EXISTS {table}", f"CREATE VIEW {table} AS {endless}")
        with pytest.raises(IndexDamaged, match="a view"):
            catalog.open_to_read(index)


def test_no_connection_trusts_a_schema(index: Path) -> None:
    with catalog.open_to_write(index) as store:
        with store.read() as snapshot:
            assert snapshot.execute("PRAGMA trusted_schema").fetchone() == (0,)
        with store.write() as session:
            assert session.connection().exec_driver_sql("PRAGMA trusted_schema").scalar() == 0
            assert session.connection().exec_driver_sql("PRAGMA secure_delete").scalar() == 1


def test_a_statement_can_be_interrupted(index: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    try:
        with catalog.open_to_read(index) as store:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt), store.read() as snapshot:
                snapshot.execute(endless).fetchone()
    finally:
        signal.signal(signal.SIGINT, before)


# Nobody else's


def modes(folder: Path) -> dict[str, int]:
    """What others may do with a folder and what is in it."""
    return {path.name: path.lstat().st_mode & 0o077 for path in [folder, *folder.rglob("*")]}


def test_an_index_is_made_for_nobody_else(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with catalog.create(tmp_path / "index", Toy.identity, Sampling()) as store:
            with store.write() as session:
                catalog.add_video(session, at("red.mp4"), HASH, shows("red"))
            maintenance.rebuild(store)
            assert set(modes(tmp_path / "index").values()) == {0}
            assert {f"{catalog.FILE}-wal", "writer.json", "vectors.json"} < set(modes(tmp_path / "index"))
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
        catalog.open_to_write(index, notice=told.append).__exit__()
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
    catalog.open_to_write(index, notice=told.append).__exit__()
    assert "notes.txt" in told[0]
    assert modes(index) == {"index": 0o055, "notes.txt": 0o044, catalog.FILE: 0, "writer.lock": 0}
