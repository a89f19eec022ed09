"""What every store promises: the same operations lead to the same rows, vectors and answers, bit for bit."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cezsar import maintenance, store
from cezsar.errors import BadIndex, IndexLocked, IndexMissing, IndexReadOnly
from cezsar.location import Location, located
from cezsar.store import Counts, Embedding, Failure, File, Outline, Place, Where
from cezsar.store.writer import Writer
from cezsar.types import EncoderIdentity, Sampling, Segment, Vectors, unit

IDENTITY = EncoderIdentity("toy", "0" * 64, 4, "visual")
SAMPLING = Sampling(2.0, 8.0, 4.0)
EAST, NORTH, UP, BACK = np.eye(4, dtype=np.float32)
NEAR_EAST = unit(np.array([3.0, 1, 0, 0]))
_NUMBERS = itertools.count()


@pytest.fixture(params=["folder", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Where an index can be made, in either store."""
    if request.param == "folder":
        return tmp_path / "index"
    return located(f"{request.getfixturevalue('shared_database')}&schema=test_{next(_NUMBERS)}")


@pytest.fixture
def catalog(location: Location) -> Iterator[store.Catalog]:
    """An empty index, open for writing."""
    with store.create(location, IDENTITY, SAMPLING) as made:
        yield made


def embedding(
    *rows: Vectors,
    runs: tuple[int, ...] | None = None,
    plain: tuple[bool, ...] | None = None,
    is_outlined: bool = False,
) -> Embedding:
    """A video of 8 s segments every 4 s."""
    segments = tuple(Segment(4.0 * number, 4.0 * number + 8) for number in range(len(rows)))
    outline = None
    if is_outlined:
        codes = np.arange(16, dtype=np.uint8)[None]
        outline = Outline(np.array([0.0, segments[-1].end_s]), codes, np.ones((2, 8), np.int8))
    best_s = tuple(segment.start_s + 0.5 for segment in segments)
    runs = runs or tuple(range(len(rows)))
    return Embedding(segments[-1].end_s, segments, runs, np.stack(rows), best_s, 1, outline, plain)


def file(name: str | bytes, root: bytes = b"/videos") -> File:
    path = name if isinstance(name, bytes) else name.encode()
    return File(root, path, 10, 1_700_000_000_123_456_789, (1 << 63) - 1, 1_700_000_000_000_000_001)


def add(catalog: store.Catalog, name: str | bytes, *rows: Vectors, root: bytes = b"/videos", **more: object) -> int:
    made = embedding(*rows, **more)  # type: ignore[arg-type]
    return catalog.write(lambda writer: writer.add_video(file(name, root), name_hash(name), made))


def name_hash(name: str | bytes) -> bytes:
    return (name if isinstance(name, bytes) else name.encode()).ljust(32, b"\0")[:32]


def search(catalog: store.Catalog, query: Vectors, k: int = 10, **more: object) -> list[tuple[int, float]]:
    with catalog.read() as rows:
        found = rows.nearest(query, k, **more)  # type: ignore[arg-type]
    return list(zip(found.ids.tolist(), found.scores.tolist(), strict=True))


# Making and opening


def test_there_is_no_index_until_one_is_made(location: Location) -> None:
    home = store.home(location)
    assert not store.exists(location)
    with pytest.raises(IndexMissing, match="yet: `cezsar index PATH"):
        store.open(location)
    home.check_creatable()
    assert not store.exists(location)
    store.create(location, IDENTITY, SAMPLING).__exit__(None, None, None)
    assert store.exists(location)
    assert store.current(location) == store.upgrade(location) == store.REVISION


def test_an_index_says_what_it_is_to_readers_and_writers(location: Location) -> None:
    with store.create(location, IDENTITY, SAMPLING) as made:
        index_id = made.info.index_id
        assert made.info == store.Info(index_id, IDENTITY, SAMPLING)
        assert len(index_id) == 32
    with store.open(location) as reader:
        assert reader.info == store.Info(index_id, IDENTITY, SAMPLING)
        assert reader.is_current()
    with store.open_to_write(location) as writer:
        assert writer.info == store.Info(index_id, IDENTITY, SAMPLING)


def test_an_index_is_made_once(location: Location, catalog: store.Catalog) -> None:
    catalog.__exit__(None, None, None)
    with pytest.raises(BadIndex, match=r"Another command has just made an index in .*: run this one again"):
        store.create(location, IDENTITY, SAMPLING)


def test_one_writes_at_a_time_and_the_other_is_told_who_does(location: Location, catalog: store.Catalog) -> None:
    with pytest.raises(
        IndexLocked, match=r"Another cezsar \(process \d+ on \S+, since 20\S+\) is writing to the index"
    ):
        store.open_to_write(location)
    catalog.__exit__(None, None, None)
    store.open_to_write(location).__exit__(None, None, None)


def test_a_reader_cannot_write(location: Location, catalog: store.Catalog) -> None:
    with store.open(location) as reader, pytest.raises(IndexReadOnly, match="was opened to read"):
        reader.write(lambda writer: writer.hide_videos([1]))


# Writing and reading


def test_a_video_is_read_as_it_was_written_bit_for_bit(catalog: store.Catalog) -> None:
    odd = np.array([np.float32(1 / 3), -0.0, np.float32(1e-30), 0.9428090], np.float32)
    name = b"d\xfcr/caf\xc3\xa9 \xe2\x82\xac.mp4"
    number = add(catalog, name, odd, NORTH, runs=(0, 7), plain=(True, False), is_outlined=True)
    with catalog.read() as rows:
        (video,) = rows.videos()
        assert video == (number, file(name), name_hash(name), 12.0, False, 1, None)
        assert rows.video(number) == video
        assert rows.videos_at([b"/videos/" + name, b"/videos/nothing"]) == {b"/videos/" + name: video}
        assert rows.parts(number, after=0, limit=10) == [(1, number, 0.0, 8.0, 0.5), (2, number, 4.0, 12.0, 4.5)]
        assert rows.part(2) == (2, number, 4.0, 12.0, 4.5)
        segments, vectors = rows.segments(number)
        assert segments == (Segment(0.0, 8.0), Segment(4.0, 12.0))
        assert vectors.tobytes() == np.stack([odd, NORTH]).tobytes()
        assert vectors.dtype == np.float32
        (outline,) = rows.outlines([number]).values()
        assert outline.edges_s.tolist() == [0.0, 12.0]
        assert outline.codes.tolist() == [list(range(16))]
        assert outline.fingerprints.tolist() == [[1] * 8] * 2
        assert rows.contents([number]) == {number: name_hash(name)}
        assert rows.runs([1, 2, 3]) == {1: (number, 0), 2: (number, 7)}
        assert rows.plain().tolist() == [1]
        assert rows.roots() == [b"/videos"]
        assert rows.num_without_outline() == 0
        assert [(str(path), stream) for path, stream in rows.other_streams()] == [(str(video.file.full_path), 1)]
        assert rows.counts() == Counts(1, 2, 12.0, 0)
        assert type(rows.counts().duration_s) is float


def test_a_course_is_a_whole_video_in_order(catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cezsar.store.rows._CHUNK", 2)  # so that several batches are needed
    first = add(catalog, "a.mp4", EAST, NORTH, UP, plain=(True, False, False))
    second, third = add(catalog, "b.mp4", BACK), add(catalog, "c.mp4", UP)
    with catalog.read() as rows:
        one, two, three = rows.courses([third, first, 999, second, first])
    assert (one.video_id, two.video_id, three.video_id) == (first, second, third)
    assert (one.ids.tolist(), two.ids.tolist(), three.ids.tolist()) == ([1, 2, 3], [4], [5])
    assert (one.starts_s.tolist(), one.ends_s.tolist()) == ([0.0, 4.0, 8.0], [8.0, 12.0, 16.0])
    assert one.plain.tolist() == [True, False, False]
    assert one.vectors.tobytes() == np.stack([EAST, NORTH, UP]).tobytes()


def test_a_run_is_one_range_and_one_place(catalog: store.Catalog) -> None:
    number = add(catalog, "still.mp4", EAST, EAST, EAST, NORTH, runs=(0, 0, 0, 1))
    path = Path("/videos/still.mp4")
    with catalog.read() as rows:
        assert rows.places([1, 2, 4, 9]) == {
            1: Place(number, path, 0, 0.0, 16.0),
            2: Place(number, path, 0, 0.0, 16.0),
            4: Place(number, path, 1, 12.0, 20.0),
        }
        assert rows.ranges([(number, 1), (number, 5)]) == {(number, 1): Place(number, path, 1, 12.0, 20.0)}
        assert sorted(rows.segments_of_runs([(number, 0)]).tolist()) == [1, 2, 3]
        assert rows.segment_ids([number]).tolist() == [1, 2, 3, 4]


def test_hidden_videos_are_in_no_answer_and_come_back(catalog: store.Catalog) -> None:
    first, second = add(catalog, "a.mp4", EAST), add(catalog, "b.mp4", NORTH)
    catalog.write(lambda writer: writer.hide_videos([first]))
    assert search(catalog, EAST) == [(2, 0.0)]
    with catalog.read() as rows:
        assert rows.hidden().tolist() == [1]
        assert (rows.num_hidden(1), rows.num_hidden(0)) == (1, 0)
        assert [video.id for video in rows.videos_shown(after=0, limit=9)] == [second]
        assert [(video.id, video.hidden) for video in rows.videos()] == [(first, True), (second, False)]
        assert (rows.video(first), rows.part(1)) == (None, None)
        assert rows.counts() == Counts(1, 1, 8.0, 1)
        assert rows.known(np.array([1, 2, 3])).tolist() == [1, 2]
    catalog.write(lambda writer: writer.place_video(first, file("moved/c.mp4")))
    assert search(catalog, EAST) == [(1, 1.0), (2, 0.0)]
    with catalog.read() as rows:
        assert rows.video_called(Path("/videos/moved/c.mp4")) == first
        assert rows.videos_under("moved") == [first]
        assert rows.videos_under("a.mp4") == []


def test_ids_are_never_used_twice(catalog: store.Catalog) -> None:
    first = add(catalog, "a.mp4", EAST, NORTH)
    catalog.write(lambda writer: writer.replace_video(first, file("a.mp4"), b"2" * 32, embedding(UP)))
    with catalog.read() as rows:
        assert rows.deleted(since=0)[0].tolist() == [1, 2]
        assert rows.deleted(since=0)[1].tolist() == [2, 2]
        assert rows.deleted(since=2)[0].tolist() == []
        assert rows.tail(after=0)[0].tolist() == [3]
        assert rows.video(first).content_sha256 == b"2" * 32  # type: ignore[union-attr]
    catalog.write(lambda writer: writer.purge_videos([first]))
    with catalog.read() as rows:
        assert (rows.videos(), rows.roots(), rows.num_segments_after(0)) == ([], [], 0)
        assert rows.outlines([first]) == {}
        assert rows.any_under(b"/videos") is False
    second = add(catalog, "a.mp4", BACK)
    assert second > first
    with catalog.read() as rows:
        assert rows.tail(after=0)[0].tolist() == [4]


def test_a_failure_is_kept_until_the_file_can_be_read(catalog: store.Catalog) -> None:
    failure = Failure(b"/videos/br\xffken.mp4", 7, 1, "PyAV 1", "no video stream — or so", 3, None)
    catalog.write(lambda writer: writer.note_failure(failure))
    catalog.write(lambda writer: writer.note_failure(replace(failure, reason="it's worse")))
    with catalog.read() as rows:
        assert rows.failures() == [replace(failure, reason="it's worse")]
    add(catalog, b"br\xffken.mp4", EAST)
    with catalog.read() as rows:
        assert rows.failures() == []


def test_a_calibration_is_kept_whole(catalog: store.Catalog) -> None:
    with catalog.read() as rows:
        assert (rows.calibrated(), rows.calibration()) == (None, None)
    for number, document in enumerate((b"\0one", b"two" * 10_000), start=1):
        catalog.write(lambda writer, document=document: writer.keep_calibration(document))
        with catalog.read() as rows:
            assert (rows.calibrated(), rows.calibration()) == (number, document)


# Transactions and states


def test_each_transaction_is_one_generation_and_an_error_undoes_it_all(catalog: store.Catalog) -> None:
    with catalog.read() as rows:
        assert rows.generation() == 0

    def fail(writer: object) -> None:
        writer.add_video(file("a.mp4"), b"1" * 32, embedding(EAST))  # type: ignore[attr-defined]
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        catalog.write(fail)
    with catalog.read() as rows:
        assert (rows.generation(), rows.videos()) == (0, [])
    assert add(catalog, "b.mp4", EAST) > 0
    with catalog.read() as rows:
        assert (rows.generation(), len(rows.videos())) == (1, 1)


def test_a_state_stays_as_it_is_while_others_write(location: Location, catalog: store.Catalog) -> None:
    add(catalog, "a.mp4", EAST)
    with store.open(location) as reader, reader.read() as before:
        assert before.counts() == Counts(1, 1, 8.0, 0)
        number = add(catalog, "b.mp4", EAST)
        catalog.write(lambda writer: writer.hide_videos([number - 1]))
        assert before.counts() == Counts(1, 1, 8.0, 0)
        assert before.nearest(EAST, 5).ids.tolist() == [1]
        with reader.read() as after:
            assert after.counts() == Counts(1, 1, 8.0, 1)
            assert after.nearest(EAST, 5).ids.tolist() == [2]
        assert before.generation() == 1


def test_a_path_is_there_once(catalog: store.Catalog) -> None:
    add(catalog, "a.mp4", EAST)
    with pytest.raises(BadIndex, match=r"Another command changed the index in .* just now: run this one again"):
        add(catalog, "a.mp4", EAST)
    assert search(catalog, EAST) == [(1, 1.0)]


def test_many_read_at_once(location: Location, catalog: store.Catalog) -> None:
    add(catalog, "a.mp4", EAST, NORTH)
    found = list[list[tuple[int, float]]]()
    with store.open(location) as reader:
        threads = [threading.Thread(target=lambda: found.append(search(reader, EAST))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [[(1, 1.0), (2, 0.0)]] * 8


# Nearest


@pytest.mark.parametrize("exact", [False, True])
def test_nearest_are_ranked_by_six_decimals_and_then_by_id(catalog: store.Catalog, exact: bool) -> None:
    add(catalog, "a.mp4", NORTH, EAST, plain=(True, False))
    add(catalog, "good/b.mp4", NEAR_EAST, EAST)
    add(catalog, "good/hidden.mp4", EAST)
    catalog.write(lambda writer: writer.hide_videos([3]))
    assert search(catalog, EAST, exact=exact) == [(2, 1.0), (4, 1.0), (3, 0.948683), (1, 0.0)]
    assert search(catalog, EAST, 2, exact=exact) == [(2, 1.0), (4, 1.0)]
    for where, expected in (
        (Where(path="good"), [(4, 1.0), (3, 0.948683)]),
        (Where(path="*.mp4"), [(2, 1.0), (4, 1.0), (3, 0.948683), (1, 0.0)]),
        (Where(path="nothing"), []),
        (Where(plain=True), [(1, 0.0)]),
        (Where(plain=False), [(2, 1.0), (4, 1.0), (3, 0.948683)]),
        (Where(path="a.mp4", plain=False), [(2, 1.0)]),
        (Where(path="a.mp4", plain=True), [(1, 0.0)]),
    ):
        assert search(catalog, EAST, where=where, exact=exact) == expected
    assert search(catalog, EAST, without=np.array([2, 3]), exact=exact) == [(4, 1.0), (1, 0.0)]
    with catalog.read() as rows:
        found = rows.nearest(EAST, 3, exact=exact)
        assert found.vectors.tobytes() == np.stack([EAST, EAST, NEAR_EAST]).tobytes()
        assert (found.ids.dtype, found.scores.dtype) == (np.int64, np.float64)
        assert (rows.num_segments(), rows.num_segments(Where(path="good"))) == (4, 2)


def test_a_condition_on_videos_is_obeyed_before_the_nearest_are_cut(catalog: store.Catalog) -> None:
    for number, name in enumerate(("a/short.mp4", "a/long.mp4", "b/later.mp4")):
        rows = [EAST] * (1 + number)
        made = replace(embedding(*rows), duration_s=10.0 * (number + 1))
        if number == 1:  # what its file says of its recording counts for more than when the file was changed
            made, number = replace(made, recorded_s=1_001.0), 90
        one = file(name)._replace(mtime_ns=(1_000 + number) * 10**9)
        catalog.write(lambda writer, one=one, made=made: writer.add_video(one, name_hash(one.path), made))
    for where, ids in (
        (Where(not_paths=("a",)), [4, 5, 6]),
        (Where(not_paths=("short.mp4", "b/*")), [2, 3]),
        (Where(path="a", not_paths=("short.mp4",)), [2, 3]),
        (Where(not_paths=("nothing",)), [1, 2, 3, 4, 5, 6]),
        (Where(min_length_s=20.0), [2, 3, 4, 5, 6]),
        (Where(max_length_s=20.0), [1, 2, 3]),
        (Where(min_length_s=10.1, max_length_s=29.9), [2, 3]),
        (Where(since_s=1_001.0), [2, 3, 4, 5, 6]),
        (Where(until_s=1_001.0), [1]),
        (Where(since_s=1_001.0, until_s=1_002.0), [2, 3]),
        (Where(path="b", max_length_s=20.0), []),
    ):
        assert search(catalog, EAST, where=where) == [(number, 1.0) for number in ids], where
        assert search(catalog, EAST, 1, where=where) == [(number, 1.0) for number in ids[:1]]
        with catalog.read() as rows:
            assert rows.num_segments(where) == len(ids)


def test_an_empty_index_has_no_nearest(catalog: store.Catalog) -> None:
    assert search(catalog, EAST) == []
    with catalog.read() as rows:
        found = rows.nearest(EAST, 3)
        assert (found.ids.shape, found.scores.shape, found.vectors.shape) == ((0,), (0,), (0, 4))


# Names


NAMES = (
    "Dog [x].mp4", "dogs/a.mp4", "dogs/b/c.mkv", "Do.mp4", b"caf\xc3\xa9/1.mp4", b"cafe\xcc\x81/2.mp4",
    b"\xff\xfe/3.mp4", "100%/4_.mp4", "dogs2/a.mp4",
)  # fmt: skip


def test_what_a_condition_chooses_is_looked_up_once_a_generation(
    catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Where] = []
    look_up = store.Rows.videos_where
    monkeypatch.setattr(store.Rows, "videos_where", lambda rows, where: asked.append(where) or look_up(rows, where))
    add(catalog, "good/a.mp4", EAST)
    named = Where(path="good")
    for _ in range(2):
        assert search(catalog, EAST, where=named) == [(1, 1.0)]
    assert asked == [named]
    add(catalog, "good/b.mp4", EAST)
    catalog.write(lambda writer: writer.hide_videos([1]))
    for _ in range(2):
        assert search(catalog, EAST, where=named) == [(2, 1.0)]
    assert asked == [named] * 2


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("dogs", [2, 3]),
        ("dogs/", [2, 3]),
        ("/videos/dogs", [2, 3]),
        ("/videos", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("/", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("a.mp4", [2, 9]),
        ("dogs/a.mp4", [2]),
        ("*.mkv", [3]),
        ("Do*", [1, 4]),
        ("*og*", [1, 2, 3, 9]),
        ("Dog [x].mp4", [1]),
        ("café", [5, 6]),
        ("100%", [8]),
        ("4_.mp4", [8]),
        ("4?.mp4", [8]),
        ("\udcff\udcfe", [7]),
        ("nothing", []),
        ("[", []),
        ("'; DROP TABLE videos; --", []),
    ],
)
def test_a_path_a_name_and_a_glob_name_the_same_videos_in_every_store(
    location: Location, asked: str, expected: list[int]
) -> None:
    with store.create(location, IDENTITY, SAMPLING) as catalog:
        for name in NAMES:
            add(catalog, name, EAST)
        with catalog.read() as rows:
            assert rows.videos_under(asked) == expected


def test_what_lies_under_a_folder_is_counted_and_looked_up(catalog: store.Catalog) -> None:
    for name in NAMES:
        add(catalog, name, EAST)
    add(catalog, "other.mp4", EAST, root=b"/videos/dogs/more")
    catalog.write(lambda writer: writer.hide_videos([2]))
    with catalog.read() as rows:
        assert rows.num_shown_under(b"/videos/dogs") == 2
        assert rows.any_under(b"/videos/dogs/a.mp4")
        assert not rows.any_under(b"/videos/dog")
        assert rows.num_shown_under(b"/") == 9
        assert rows.video_called(Path("/videos/dogs/b/c.mkv")) == 3
        assert rows.video_called(Path("/videos/caf\u00e9/2.mp4")) == 6
        assert rows.video_called(Path("/videos/dogs/a.mp4")) is None
        assert sorted(rows.roots()) == [b"/videos", b"/videos/dogs/more"]


def test_pages_hold_every_video_but_those_that_are_not_wanted(
    catalog: store.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cezsar.store.rows._CHUNK", 3)
    ids = [add(catalog, f"{number}.mp4", EAST) for number in range(8)]
    with catalog.read() as rows:
        assert [[video.id for video in page] for page in rows.pages(but={2})] == [[1, 3, 4], [5, 6, 7], [8]]
        assert [video.id for video in rows.videos()] == ids
        assert [some.tolist() for some, _ in rows.vectors()] == [[1, 2, 3], [4, 5, 6], [7, 8]]
        assert [some.tolist() for some, _ in rows.vectors(after=6)] == [[7, 8]]


# Keeping


def test_a_whole_index_has_nothing_wrong(location: Location, catalog: store.Catalog) -> None:
    for name in NAMES:
        add(catalog, name, EAST, NORTH, is_outlined=True)
    catalog.fold_if_due()
    catalog.rebuild()
    with store.open(location) as reader:
        assert maintenance.verify(reader) == maintenance.Verification(9, 18, ())
        assert reader.cache_check()[0]
        assert not reader.was_interrupted()
        assert reader.why_not_writable() is None
        figures = maintenance.stats(reader, location)
    assert (figures.videos, figures.segments, figures.schema, figures.index) == (9, 18, store.REVISION, location)
    assert figures.num_bytes > 10_000


def test_vectors_that_are_not_of_length_1_are_found(catalog: store.Catalog) -> None:
    add(catalog, "a.mp4", EAST, EAST * 2)
    assert "1 vectors in the catalog are not of length 1" in maintenance.verify(catalog).problems


def test_another_space_takes_the_place_of_the_first_and_gives_it_back(
    location: Location, catalog: store.Catalog
) -> None:
    add(catalog, "a.mp4", EAST)
    catalog.__exit__(None, None, None)
    home = store.home(location)
    assert home.others() == []
    place = home.fresh()
    other = replace(IDENTITY, name="other", dimension=3)
    with store.create(place, other, SAMPLING) as made:
        number = made.write(lambda writer: writer.add_video(file("a.mp4"), b"1" * 32, embedding(np.float32([0, 1, 0]))))
        assert number == 1
        assert made.place == place
    assert home.others() == [place]
    with store.open(location) as before:
        assert before.info.encoder == IDENTITY
        home.switch(place)
        assert not before.is_current()
        assert search(before, EAST) == [(1, 1.0)]  # until it is opened anew
    with store.open(location) as after, home.open_previous() as previous:
        assert after.info.encoder == other
        assert after.place == place
        assert previous.info.encoder == IDENTITY
    assert maintenance.roll_back(location).encoder == IDENTITY
    assert maintenance.roll_back(location).encoder == other
    assert maintenance.drop_older(location) > 0
    assert home.others() == []
    with pytest.raises(IndexMissing, match="no older vectors"):
        maintenance.roll_back(location)
    with store.open_to_write(location) as catalog_now:
        assert catalog_now.info.encoder == other
        assert catalog_now.is_current()
    assert store.upgrade(location) == store.REVISION


# Both, side by side


def everything(catalog: store.Catalog) -> list[object]:
    """All that a catalog can be asked, as one value."""
    with catalog.read() as rows:
        ids, vectors = (np.concatenate(parts) for parts in zip(*[([0], EAST[None]), *rows.vectors()], strict=True))
        videos = rows.videos()
        numbers = [video.id for video in videos]
        outlines = rows.outlines(numbers)
        nearest = [
            rows.nearest(query, k, where=Where(path, plain), without=ids[1::5], exact=exact)
            for query in (EAST, NEAR_EAST)
            for k in (1, 4)
            for path in (None, "a", "*1.mp4", "/videos/b")
            for plain in (None, True, False)
            for exact in (False, True)
        ]
        return [
            ids.tolist(), vectors.tobytes(), videos, rows.generation(), rows.counts(), rows.failures(), rows.roots(),
            sorted(rows.hidden().tolist()), rows.plain().tolist(), [found.tolist() for found in rows.deleted(since=0)],
            rows.tail(after=2)[0].tolist(), rows.runs(ids.tolist()), rows.places(ids.tolist()), rows.contents(numbers),
            {number: (one.edges_s.tolist(), one.codes.tolist()) for number, one in outlines.items()},
            [rows.parts(number, after=0, limit=9) for number in numbers], rows.other_streams(), rows.inconsistencies(),
            sorted(rows.segment_ids(numbers).tolist()), rows.num_without_outline(), rows.num_segments(Where("a")),
            [rows.num_shown_under(path) for path in (b"/", b"/videos", b"/videos/a", b"/videos/a/1.mp4")],
            [(found.ids.tolist(), found.scores.tolist(), found.vectors.tobytes()) for found in nearest],
        ]  # fmt: skip


def random_change(draw: np.random.Generator, numbers: list[int]) -> Callable[[Writer], object]:
    """Something that a writer is asked to do; the same for the same draw."""
    some = sorted(draw.choice(numbers, draw.integers(1, len(numbers) + 1), replace=False).tolist()) if numbers else []
    name = f"{draw.choice(['a', 'b', 'a/c'])}/{next(_NUMBERS)}.mp4"
    size = int(draw.integers(1, 5))
    rows = unit(draw.choice([EAST, NORTH, UP, BACK, NEAR_EAST], size) + draw.choice([0, 1e-7, 0.1], (size, 1)))
    flags = tuple(draw.choice([False, True], size).tolist()) if draw.random() < 0.7 else None
    made = embedding(
        *rows, runs=tuple((np.arange(size) // 2).tolist()), plain=flags, is_outlined=bool(draw.random() < 0.5)
    )
    choice = draw.integers(8)

    def change(writer: Writer) -> object:
        if choice < 3:
            return writer.add_video(file(name, b"/videos"), name_hash(name), made)
        if choice == 3:
            return writer.hide_videos(some)
        if choice == 4:
            return writer.purge_videos(some[:2])
        if choice == 5:
            return [writer.replace_video(some[0], file(f"b/new{some[0]}.mp4"), b"3" * 32, made)] if some else None
        if choice == 6:
            return [writer.place_video(some[-1], file(f"moved/{some[-1]}.mp4", b"/other"))] if some else None
        return writer.note_failure(Failure(b"/videos/" + name.encode(), 1, 2, "PyAV", "no stream"))

    return change


@pytest.mark.parametrize("seed", range(4))
def test_both_stores_agree_in_everything_after_the_same_random_changes(
    seed: int, tmp_path: Path, shared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cezsar.store.rows._CHUNK", 7)
    draw = np.random.default_rng(seed)
    database = located(f"{shared_database}&schema=random_{seed}")
    with store.create(tmp_path, IDENTITY, SAMPLING) as local, store.create(database, IDENTITY, SAMPLING) as remote:
        for _ in range(25):
            with local.read() as rows:
                numbers = [video.id for video in rows.videos()]
            change = random_change(draw, numbers)
            assert local.write(change) == remote.write(change)
            local.fold_if_due()
            remote.fold_if_due()
            if draw.random() < 0.4:
                assert everything(local) == everything(remote)
        assert everything(local) == everything(remote)
        with store.open(tmp_path) as one, store.open(database) as other:
            assert everything(one) == everything(other)
