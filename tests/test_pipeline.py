"""Indexing from files to answers: real videos, a real catalog, the toy encoder."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from make_videos import COLOURS, write_sound, write_video

from cezsar import indexer, maintenance, store
from cezsar.encoders.toy import Toy
from cezsar.errors import EncoderError, IndexDamaged, IndexMismatch, IndexReadOnly
from cezsar.indexer import pipeline, runners
from cezsar.query import search
from cezsar.settings import Settings
from cezsar.types import Hit, IndexReport, Sampling

Index = Callable[..., IndexReport]
_NAMES = [name for name in COLOURS if name != "black"]


@pytest.fixture(scope="session")
def _clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in _NAMES:
        write_video(folder / f"{name}.mp4", [(name, 1.0)], fps=5)
    return folder


@pytest.fixture
def clip(_clips: Path) -> Callable[[str, Path], Path]:
    """clip("red", path) puts a second of red there."""

    def put(name: str, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(_clips / f"{name}.mp4", path))

    return put


@pytest.fixture
def folder(tmp_path: Path, clip: Callable[[str, Path], Path]) -> Path:
    """A folder of one video each of red, green and blue."""
    for name in ("red", "green", "blue"):
        clip(name, tmp_path / "folder" / f"{name}.mp4")
    return tmp_path / "folder"


@dataclass
class _Watch:
    """A Progress that keeps what it hears; on_start and on_done are called in passing."""

    on_start: Callable[[], object] = lambda: None
    on_done: Callable[[Path], object] = lambda path: None
    started: list[tuple[int, int]] = field(default_factory=list)
    finished: list[tuple[Path, int]] = field(default_factory=list)
    skips: list[tuple[Path, int, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def comparing(self, path: Path, num_bytes: int) -> None: ...

    def start(self, num_videos: int, num_bytes: int) -> None:
        self.started.append((num_videos, num_bytes))
        self.on_start()

    def done(self, path: Path, num_bytes: int) -> None:
        self.finished.append((path, num_bytes))
        self.on_done(path)

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None:
        self.skips.append((path, num_bytes, reason))

    def notice(self, line: str) -> None:
        self.lines.append(line)


def _counts(report: IndexReport) -> dict[str, int]:
    """The report's counts that are not zero."""
    names = ("added", "updated", "moved", "unchanged", "removed", "segments")
    counts = {name: getattr(report, name) for name in names} | {"skipped": len(report.skipped)}
    return {name: count for name, count in counts.items() if count}


def _tables(index: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the catalog, but what is of the index as a whole."""
    with closing(sqlite3.connect(index / store.FILE)) as database:
        return {
            table: database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in ("roots", "videos", "segments", "deleted_segments")
        }


def _segments(index: Path) -> dict[Path, list[tuple[int, bytes]]]:
    """The ids and vectors of each visible video's segments, by path."""
    found: dict[Path, list[tuple[int, bytes]]] = {}
    with store.open(index) as catalog, catalog.read() as rows:
        for video in rows.videos():
            if not video.hidden:
                ids = rows.segment_ids([video.id])
                _, vectors = rows.segments(video.id)
                path = video.file.full_path
                found[path] = [(int(i), row.tobytes()) for i, row in zip(ids, vectors, strict=True)]
    return found


def _ids(index: Path) -> dict[str, list[int]]:
    """The ids of each visible video's segments, by the file's name."""
    return {path.name: [i for i, _ in segments] for path, segments in _segments(index).items()}


def _best(text: str, index: Path) -> Hit:
    return search(text, index)[0]


def _sound(index: Path) -> bool:
    with store.open(index) as catalog:
        return maintenance.verify(catalog).ok


# A first run, and one with nothing to do


def test_videos_are_found_by_what_they_show(folder: Path, toy: Settings, index_toy: Index) -> None:
    report = index_toy(folder)
    assert replace(report, seconds=0.0) == IndexReport(index=toy.index, model="toy", added=3, segments=3)
    assert report.seconds > 0
    for name in ("red", "green", "blue"):
        hit = _best(name, toy.index)
        assert (hit.path, hit.start_s, hit.end_s) == (folder / f"{name}.mp4", 0.0, 1.0)
        assert hit.score == pytest.approx(1.0, abs=1e-6)
    assert _sound(toy.index)


def test_the_catalog_holds_what_embedding_gives(folder: Path, toy: Settings) -> None:
    write_video(folder / "mixed.mp4", [("red", 1.2), ("blue", 1.0), ("black", 0.8)])
    sampling = Sampling(fps=5.0, window_s=1.0, stride_s=0.5)
    indexer.index([folder], replace(toy, fps=5.0, window_s=1.0, stride_s=0.5))
    with store.open(toy.index) as catalog, catalog.read() as rows:
        assert (catalog.info.encoder, catalog.info.sampling) == (Toy.identity, sampling)
        for video in rows.videos():
            expected = indexer.embed(video.file.full_path, Toy(), sampling)
            segments, vectors = rows.segments(video.id)
            places = rows.places(rows.segment_ids([video.id]).tolist())
            runs = tuple(places[segment_id].run for segment_id in sorted(places))
            assert (video.duration_s, segments, runs) == (expected.duration_s, expected.segments, expected.runs)
            np.testing.assert_array_equal(vectors, expected.vectors)
            assert len(segments) == (5 if video.file.path == b"mixed.mp4" else 1)


def test_progress_hears_of_every_video(folder: Path, toy: Settings, index_toy: Index) -> None:
    (folder / "empty.mp4").touch()
    (folder / "broken.mp4").symlink_to(folder / "broken.mp4")
    watch = _Watch()
    report = index_toy(folder, progress=watch)
    sizes = {path: path.stat().st_size for path in (folder / f"{name}.mp4" for name in ("blue", "green", "red"))}
    assert watch.started == [(4, sum(sizes.values()))]
    assert watch.finished == list(sizes.items())
    assert [(path, size) for path, size, _ in watch.skips] == [(folder / "broken.mp4", 0), (folder / "empty.mp4", 0)]
    assert [(skip.path, skip.reason) for skip in report.skipped] == [(path, why) for path, _, why in watch.skips]
    assert watch.lines == []


def test_a_second_run_embeds_nothing_and_changes_nothing(folder: Path, toy: Settings, index_toy: Index) -> None:
    index_toy(folder)
    before, files = _tables(toy.index), {path: path.stat().st_mtime_ns for path in toy.index.iterdir()}
    watch = _Watch()
    assert _counts(index_toy(folder, progress=watch)) == {"unchanged": 3}
    assert (watch.started, watch.finished) == ([], [])
    assert _tables(toy.index) == before
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_where_nothing_is_embedded_the_encoder_is_not_even_loaded(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    index_toy(folder)
    model = folder.parent / "model that went away"
    with closing(sqlite3.connect(toy.index / store.FILE)) as database, database:
        database.execute("UPDATE index_info SET encoder = ?", (str(model),))
    settings = replace(toy, model=None)
    assert _counts(indexer.index([folder], settings)) == {"unchanged": 3}
    os.utime(folder / "red.mp4", ns=(7, 7))
    (folder / "green.mp4").rename(folder / "renamed.mp4")
    (folder / "blue.mp4").unlink()
    assert _counts(indexer.index([folder], settings, prune=True)) == {"unchanged": 1, "moved": 1, "removed": 1}
    write_video(folder / "new.mp4", [("red", 1.0)])
    with pytest.raises(EncoderError, match="model that went away"):
        indexer.index([folder], settings)


def test_no_paths_are_a_run_with_nothing_to_do(toy: Settings) -> None:
    assert _counts(indexer.index([], toy)) == {}
    assert not toy.index.exists()


# Files that change


def test_a_touched_file_is_unchanged_and_its_time_is_noted(folder: Path, toy: Settings, index_toy: Index) -> None:
    index_toy(folder)
    before = _segments(toy.index)
    os.utime(folder / "red.mp4", ns=(7, 7))
    assert _counts(index_toy(folder)) == {"unchanged": 3}
    assert _segments(toy.index) == before
    tables = _tables(toy.index)
    assert _counts(index_toy(folder)) == {"unchanged": 3}
    assert _tables(toy.index) == tables  # the second time there is nothing left to note


def test_what_rows_lack_of_their_files_is_noted_once_something_is_written(
    folder: Path, toy: Settings, index_toy: Index, clip: Callable[[str, Path], Path]
) -> None:
    index_toy(folder)
    with closing(sqlite3.connect(toy.index / store.FILE)) as database:
        database.execute("UPDATE videos SET inode = NULL, ctime_ns = NULL")
        database.commit()
    before = _tables(toy.index)
    index_toy(folder)
    assert _tables(toy.index) == before
    clip("yellow", folder / "yellow.mp4")
    assert _counts(index_toy(folder)) == {"added": 1, "unchanged": 3, "segments": 1}
    with store.open(toy.index) as catalog, catalog.read() as rows:
        for video in rows.videos():
            status = os.stat(video.file.absolute)
            assert (video.file.inode, video.file.ctime_ns) == (status.st_ino, status.st_ctime_ns)


def test_a_replaced_file_of_the_same_size_and_time_is_embedded_again(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    for name in ("red", "blue"):
        write_video(folder / f"{name}.avi", [(name, 1.0)], codec="rawvideo", pix_fmt="bgr24")
    index_toy(folder)
    status = (folder / "red.avi").stat()
    (folder / "blue.avi").replace(folder / "red.avi")
    os.utime(folder / "red.avi", ns=(0, status.st_mtime_ns))
    assert (folder / "red.avi").stat().st_size == status.st_size
    report = index_toy(folder)
    assert (report.updated, report.unchanged, report.removed) == (1, 3, 1)
    assert [hit.path.name for hit in search("blue", toy.index)[:2]] == ["blue.mp4", "red.avi"]


def test_a_changed_file_is_updated_under_new_segment_ids(
    folder: Path, toy: Settings, index_toy: Index, clip: Callable[[str, Path], Path]
) -> None:
    index_toy(folder)
    before = _ids(toy.index)
    clip("cyan", folder / "red.mp4")
    os.utime(folder / "red.mp4", ns=(7, 7))
    assert _counts(index_toy(folder)) == {"updated": 1, "unchanged": 2, "segments": 1}
    after = _ids(toy.index)
    assert min(after["red.mp4"]) > max(max(ids) for ids in before.values())
    assert {name: ids for name, ids in after.items() if name != "red.mp4"} == {
        name: ids for name, ids in before.items() if name != "red.mp4"
    }
    assert _best("cyan", toy.index).path == folder / "red.mp4"
    assert _best("red", toy.index).score < 0.5
    assert _sound(toy.index)


@pytest.mark.parametrize("new", ["renamed.mp4", "b/red.mp4", "../other/red.webm"])
def test_a_moved_file_keeps_its_vectors_and_segment_ids(
    folder: Path, toy: Settings, index_toy: Index, new: str
) -> None:
    index_toy(folder)
    before, old = _segments(toy.index), folder / "red.mp4"
    target = Path(os.path.normpath(folder / new))
    target.parent.mkdir(exist_ok=True)
    old.rename(target)
    assert _counts(index_toy(folder, target.parent)) == {"moved": 1, "unchanged": 2}
    assert _segments(toy.index) == {target if path == old else path: rows for path, rows in before.items()}
    assert _best("red", toy.index).path == target
    assert _counts(index_toy(folder, target.parent)) == {"unchanged": 3}


def test_a_renamed_folder_keeps_all_vectors(folder: Path, toy: Settings, index_toy: Index) -> None:
    index_toy(folder)
    before = _segments(toy.index)
    new = folder.rename(folder.parent / "renamed")
    assert _counts(index_toy(new)) == {"moved": 3}
    assert _segments(toy.index) == {new / path.name: rows for path, rows in before.items()}
    assert _best("blue", toy.index).path == new / "blue.mp4"


def test_videos_that_swap_names_are_each_found_under_its_new_one(folder: Path, toy: Settings, index_toy: Index) -> None:
    index_toy(folder)
    (folder / "red.mp4").rename(folder / "x")
    (folder / "blue.mp4").rename(folder / "red.mp4")
    (folder / "x").rename(folder / "blue.mp4")
    assert index_toy(folder).num_readable == 3
    assert _best("red", toy.index).path == folder / "blue.mp4"
    assert _best("blue", toy.index).path == folder / "red.mp4"
    assert _sound(toy.index)


def test_two_copies_are_two_videos_and_the_one_that_stays_keeps_its_own(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    index_toy(folder)
    shutil.copyfile(folder / "red.mp4", folder / "copy.mp4")
    assert _counts(index_toy(folder)) == {"added": 1, "unchanged": 3, "segments": 1}
    before = _ids(toy.index)
    assert len(before) == 4
    (folder / "red.mp4").unlink()
    assert _counts(index_toy(folder)) == {"unchanged": 3, "removed": 1}
    assert _ids(toy.index) == {name: ids for name, ids in before.items() if name != "red.mp4"}
    assert _best("red", toy.index).path == folder / "copy.mp4"


def test_a_copy_whose_original_is_deleted_before_the_next_run_has_moved(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    index_toy(folder)
    before = _ids(toy.index)
    shutil.copyfile(folder / "red.mp4", folder / "copy.mp4")
    (folder / "red.mp4").unlink()
    assert _counts(index_toy(folder)) == {"moved": 1, "unchanged": 2}
    assert _ids(toy.index)["copy.mp4"] == before["red.mp4"]


def test_a_parent_indexed_later_doubles_nothing(folder: Path, toy: Settings, index_toy: Index) -> None:
    index_toy(folder)
    before = _tables(toy.index)
    assert _counts(index_toy(folder.parent, folder, folder / "red.mp4")) == {"unchanged": 3}
    assert _tables(toy.index) == before


def test_names_that_are_not_utf8_and_names_of_two_lines_are_indexed_and_found(
    tmp_path: Path, toy: Settings, index_toy: Index, clip: Callable[[str, Path], Path]
) -> None:
    one = clip("red", tmp_path / "f" / os.fsdecode(b"caf\xe9.mp4"))
    two = clip("blue", tmp_path / "f" / "two\nlines.mp4")
    assert _counts(index_toy(tmp_path / "f")) == {"added": 2, "segments": 2}
    assert [_best(name, toy.index).path for name in ("red", "blue")] == [one, two]
    assert _counts(index_toy(tmp_path / "f")) == {"unchanged": 2}


# Files that go, and come back


def test_what_has_gone_is_hidden_and_comes_back_with_its_file_unembedded(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    index_toy(folder)
    before = _segments(toy.index)
    kept = (folder / "red.mp4").rename(folder.parent / "elsewhere.mp4")
    assert _counts(index_toy(folder)) == {"unchanged": 2, "removed": 1}
    assert folder / "red.mp4" not in [hit.path for hit in search("red", toy.index)]
    kept.rename(folder / "red.mp4")
    assert _counts(index_toy(folder)) == {"unchanged": 3}
    assert _segments(toy.index) == before
    assert _best("red", toy.index).path == folder / "red.mp4"


@pytest.mark.parametrize("lost", ["all files", "the folder"])
def test_a_root_that_lost_over_half_hides_nothing_and_says_how(
    folder: Path, toy: Settings, index_toy: Index, lost: str
) -> None:
    index_toy(folder)
    away = folder.rename(folder.parent / "away")
    if lost == "all files":
        folder.mkdir()
    before, watch = _tables(toy.index), _Watch()
    assert _counts(index_toy(folder, progress=watch)) == {}
    (line,) = watch.lines
    assert line.startswith(f"{folder} ")
    assert "--prune" in line
    assert _tables(toy.index) == before
    assert _counts(index_toy(folder, prune=False)) == {}
    assert _counts(index_toy(folder, prune=True)) == {"removed": 3}
    assert search("red", toy.index) == []
    shutil.rmtree(folder, ignore_errors=True)
    away.rename(folder)
    assert _counts(index_toy(folder)) == {"unchanged": 3}
    assert _best("red", toy.index).path == folder / "red.mp4"


def test_a_prune_that_is_refused_says_so_only_to_progress_and_without_it_is_silent(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    index_toy(folder)
    (folder / "red.mp4").unlink()
    watch = _Watch()
    assert _counts(index_toy(folder, prune=False, progress=watch)) == {"unchanged": 2}
    assert watch.lines == []
    assert _best("red", toy.index).path == folder / "red.mp4"


def test_excluded_files_are_neither_indexed_nor_hidden(folder: Path, toy: Settings, index_toy: Index) -> None:
    assert _counts(index_toy(folder, exclude=["r*.mp4"])) == {"added": 2, "segments": 2}
    index_toy(folder)
    before = _tables(toy.index)
    assert _counts(index_toy(folder, exclude=["[rg]*.mp4"], prune=True)) == {"unchanged": 1}
    assert _tables(toy.index) == before


def test_the_report_counts_everything_that_a_run_did(
    folder: Path, toy: Settings, index_toy: Index, clip: Callable[[str, Path], Path]
) -> None:
    clip("yellow", folder / "yellow.mp4")
    index_toy(folder)
    write_video(folder / "red.mp4", [("white", 20.0)], fps=2)  # updated: 4 segments
    (folder / "green.mp4").rename(folder / "moved.mp4")
    (folder / "blue.mp4").unlink()
    clip("cyan", folder / "new.mp4")
    (folder / "bad.mp4").write_text("no video at all")
    report = index_toy(folder, folder / "nothing here")
    assert _counts(report) == {
        "added": 1,
        "updated": 1,
        "moved": 1,
        "unchanged": 1,
        "removed": 1,
        "segments": 5,
        "skipped": 2,
    }
    assert report.num_readable == 4
    assert {skip.path.name for skip in report.skipped} == {"bad.mp4", "nothing here"}


# Files that cannot be read


def _truncated(path: Path) -> None:
    path.write_bytes(write_video(path, [("red", 1.0)]).read_bytes()[:200])


_BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.touch(), "the file is empty"),
    "text": (lambda path: path.write_text("no video at all\n" * 99), "not a readable video"),
    "sound only": (lambda path: write_sound(path), "no video stream"),
    "cut off": (_truncated, "not a readable video"),
    "a FIFO": (os.mkfifo, "not a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
    "a link to nowhere": (lambda path: path.symlink_to(path.parent / "gone"), "no such file"),
}


@pytest.mark.parametrize(("make", "reason"), _BAD.values(), ids=list(_BAD))
def test_unreadable_video_keeps_neighbours_aligned(
    folder: Path, toy: Settings, index_toy: Index, make: Callable[[Path], object], reason: str
) -> None:
    without = replace(toy, index=toy.index.parent / "without")
    indexer.index([folder], without)
    make(folder / "c.mp4")  # between blue and green
    report = index_toy(folder)
    assert _counts(report) == {"added": 3, "segments": 3, "skipped": 1}
    assert report.skipped[0].path == folder / "c.mp4"
    assert reason in report.skipped[0].reason
    assert _tables(toy.index) == _tables(without.index)
    assert _best("green", toy.index).path == folder / "green.mp4"


@pytest.mark.parametrize(("make", "reason"), _BAD.values(), ids=list(_BAD))
def test_an_index_is_not_made_where_nothing_could_be_read(
    tmp_path: Path, toy: Settings, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "a.mp4"
    make(path)
    (skip,) = indexer.index([path], toy).skipped
    assert skip.path == path
    assert reason in skip.reason
    assert not toy.index.exists()


def test_a_bad_file_is_tried_again_and_added_once_it_is_good(
    folder: Path, index_toy: Index, clip: Callable[[str, Path], Path]
) -> None:
    (folder / "bad.mp4").write_text("still being copied")
    index_toy(folder)
    assert _counts(index_toy(folder)) == {"unchanged": 3, "skipped": 1}
    clip("cyan", folder / "bad.mp4")
    assert _counts(index_toy(folder)) == {"added": 1, "unchanged": 3, "segments": 1}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "there is no such file"),
        (lambda path: path.write_bytes(path.read_bytes() + b"more"), "it changed while it was being read"),
    ],
    ids=["vanishes", "changes"],
)
def test_a_file_that_does_not_hold_still_between_scan_and_reading_is_skipped(
    folder: Path, toy: Settings, index_toy: Index, spoil: Callable[[Path], object], reason: str
) -> None:
    report = index_toy(folder, progress=_Watch(on_start=lambda: spoil(folder / "green.mp4")))
    assert _counts(report) == {"added": 2, "segments": 2, "skipped": 1}
    assert [(skip.path, skip.reason) for skip in report.skipped] == [(folder / "green.mp4", reason)]
    assert sorted(_ids(toy.index)) == ["blue.mp4", "red.mp4"]
    assert _best("red", toy.index).path == folder / "red.mp4"


def test_a_video_that_ends_early_is_indexed_with_a_notice(tmp_path: Path, index_toy: Index) -> None:
    mixed = [(name, 1.0) for name in _NAMES]
    whole = write_video(tmp_path / "whole.mkv", mixed, options={"g": "1"})
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    watch = _Watch()
    assert _counts(index_toy(path, progress=watch)) == {"added": 1, "segments": 1}
    (line,) = watch.lines
    assert line.startswith(f"{path}: only ")
    assert line.endswith(" of the 7.0 s that it claims could be read; the readable part was indexed.")


# An index that has been made keeps what made it


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model": "lite-objects"}, "holds 'toy'; --model lite-objects needs one of its own: --index DIR"),
        ({"fps": 4.0}, "has a fps of 2; --fps 4 needs one of its own: --index DIR"),
        ({"window_s": 2.5}, "has a window of 8; --window 2.5 needs one of its own: --index DIR"),
        ({"stride_s": 8.0}, "has a stride of 4; --stride 8 needs one of its own: --index DIR"),
    ],
)
def test_another_model_or_sampling_than_the_index_s_is_refused(
    folder: Path, toy: Settings, index_toy: Index, other: dict[str, Any], message: str
) -> None:
    index_toy(folder)
    before = _tables(toy.index)
    write_video(folder / "new.mp4", [("red", 1.0)])
    with pytest.raises(IndexMismatch) as error:
        indexer.index([folder], replace(toy, **other))
    assert str(error.value) == f"The index in {toy.index} {message}"
    assert _tables(toy.index) == before


def test_an_index_keeps_its_model_and_sampling_where_nothing_is_asked_for(folder: Path, toy: Settings) -> None:
    indexer.index([folder / "red.mp4"], replace(toy, window_s=0.5, stride_s=0.5))
    report = indexer.index([folder / "blue.mp4"], replace(toy, model=None))
    assert (report.model, _counts(report)) == ("toy", {"added": 1, "segments": 2})
    assert _counts(indexer.index([folder / "blue.mp4"], replace(toy, window_s=0.5))) == {"unchanged": 1}


def test_streams_that_the_index_does_not_hold_are_refused(folder: Path, toy: Settings) -> None:
    with pytest.raises(EncoderError, match="'toy' gives visual vectors, and has no object ones"):
        indexer.index([folder / "red.mp4"], replace(toy, streams="object"))
    indexer.index([folder / "red.mp4"], replace(toy, streams="visual"))
    with pytest.raises(IndexMismatch, match="holds visual vectors; object ones need an index of their own"):
        indexer.index([folder / "red.mp4"], replace(toy, streams="object"))


def test_other_weights_than_those_that_made_the_index_are_refused(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    index_toy(folder / "red.mp4")
    with closing(sqlite3.connect(toy.index / store.FILE)) as database, database:
        database.execute("UPDATE index_info SET weights_sha256 = ?", ("0" * 64,))
    with pytest.raises(IndexMismatch, match="The weights of 'toy' are not those that made this index"):
        index_toy(folder)
    assert list(_ids(toy.index)) == ["red.mp4"]


def test_a_folder_that_holds_something_else_by_the_catalog_s_name_is_left_alone(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    toy.index.mkdir()
    (toy.index / store.FILE).write_text("precious notes\n" * 999)
    with pytest.raises(IndexDamaged):
        index_toy(folder)
    assert (toy.index / store.FILE).read_text() == "precious notes\n" * 999


# Interrupted, at once, and in other hands


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupted_run_keeps_what_was_committed_and_the_next_one_finishes_it(
    folder: Path, toy: Settings, workers: int
) -> None:
    one, other = replace(toy, workers=workers), replace(toy, index=toy.index.parent / "uninterrupted")
    indexer.index([folder], other)
    with pytest.raises(KeyboardInterrupt):
        indexer.index([folder], one, progress=_Watch(on_done=_interrupt))
    assert list(_ids(one.index)) == ["blue.mp4"]
    assert _best("blue", one.index).path == folder / "blue.mp4"
    assert _counts(indexer.index([folder], one)) == {"added": 2, "unchanged": 1, "segments": 2}
    assert _tables(one.index) == _tables(other.index)
    assert _sound(one.index)


def test_an_interrupted_run_leaves_no_threads(folder: Path, toy: Settings) -> None:
    with pytest.raises(KeyboardInterrupt) as interrupt:
        indexer.index([folder], replace(toy, workers=3), progress=_Watch(on_done=_interrupt))
    # while somebody still holds the exception, as an interactive session does
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")] == []
    assert interrupt.traceback


def test_a_finished_run_leaves_no_threads_and_no_drafts(folder: Path, toy: Settings, index_toy: Index) -> None:
    before = threading.active_count()
    index_toy(folder)
    assert threading.active_count() == before
    assert [path.name for path in toy.index.iterdir() if "new" in path.name or "tmp" in path.name] == []


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 1), (1, 100), (4, 3)])
def test_the_catalog_does_not_depend_on_workers_or_batch_size(
    folder: Path, toy: Settings, workers: int, batch_size: int
) -> None:
    (folder / "bad.mp4").write_text("no video at all")
    write_video(folder / "mixed.mp4", [("red", 0.7), ("blue", 1.6), ("black", 0.9)])
    one = replace(toy, fps=10.0, window_s=0.5, stride_s=0.3)
    other = replace(one, index=toy.index.parent / "other", workers=workers, batch_size=batch_size)
    reports = [indexer.index([folder], settings) for settings in (one, other)]
    assert _counts(reports[0]) == _counts(reports[1])
    assert reports[0].skipped == reports[1].skipped
    assert _tables(one.index) == _tables(other.index)


def test_a_query_during_a_run_sees_every_video_that_is_committed_and_no_other(
    tmp_path: Path, toy: Settings, index_toy: Index, clip: Callable[[str, Path], Path]
) -> None:
    for name in _NAMES:
        clip(name, tmp_path / "f" / f"{name}.mp4")
    seen: list[str] = []

    def ask(path: Path) -> None:
        seen.append(path.stem)
        hit = _best(path.stem, toy.index)
        assert (hit.path, hit.score) == (path, pytest.approx(1.0, abs=1e-6))
        assert {hit.path.stem for hit in search("anything", toy.index)} == set(seen)

    index_toy(*(tmp_path / "f" / f"{name}.mp4" for name in _NAMES[:2]))
    seen += _NAMES[:2]
    index_toy(tmp_path / "f", progress=_Watch(on_done=ask))
    assert sorted(seen) == sorted(_NAMES)


def test_a_long_run_of_small_ones_ends_sound(
    tmp_path: Path, toy: Settings, index_toy: Index, clip: Callable[[str, Path], Path]
) -> None:
    """Adds, updates, moves and losses one after another: catalog and cache agree after each, and the answers do."""
    where: dict[str, Path] = {}
    for number, name in enumerate(_NAMES):
        where[name] = clip(name, tmp_path / "f" / f"{name}.mp4")
        if number % 2:
            earlier = _NAMES[number - 1]
            where[earlier] = where[earlier].rename(tmp_path / "f" / f"{number}.mp4")
        assert index_toy(tmp_path / "f").num_readable == number + 1
        assert _sound(toy.index)
        assert {colour: _best(colour, toy.index).path for colour in where} == where


@pytest.fixture
def public(clip: Callable[[str, Path], Path]) -> Iterator[Path]:
    """A folder that everyone may look into, with red.mp4 and blue.mp4: pytest's own is shut to others."""
    with TemporaryDirectory() as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        for colour in ("red", "blue"):
            clip(colour, path / "videos" / f"{colour}.mp4")
        yield path


def test_an_unreadable_file_is_skipped_by_its_reason(
    public: Path, toy: Settings, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    settings = replace(toy, index=public / "index")
    indexer.index([public / "videos" / "blue.mp4"], settings)
    (public / "index").chmod(0o777)
    for path in (public / "index").iterdir():
        path.chmod(0o666)
    (public / "videos" / "red.mp4").chmod(0o000)
    with unprivileged():
        report = indexer.index([public / "videos"], settings)
    assert _counts(report) == {"unchanged": 1, "skipped": 1}
    assert [(skip.path.name, skip.reason.lower()) for skip in report.skipped] == [("red.mp4", "permission denied")]


def _read_only(index: Path) -> None:
    for path in (*index.iterdir(), index):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_a_read_only_index_serves_a_run_with_nothing_to_do_and_no_other(
    public: Path,
    toy: Settings,
    unprivileged: Callable[[], AbstractContextManager[None]],
    clip: Callable[[str, Path], Path],
) -> None:
    settings, videos = replace(toy, index=public / "index"), public / "videos"
    indexer.index([videos], settings)
    _read_only(settings.index)
    with unprivileged():
        assert _counts(indexer.index([videos], settings)) == {"unchanged": 2}
    clip("green", videos / "green.mp4")
    with unprivileged(), pytest.raises(IndexReadOnly, match="cannot be written"):
        indexer.index([videos], settings)
    (videos / "green.mp4").unlink()
    (videos / "red.mp4").unlink()
    with unprivileged(), pytest.raises(IndexReadOnly, match="cannot be written"):
        indexer.index([videos], settings)
    with unprivileged():
        assert _counts(indexer.index([videos], settings, prune=False)) == {"unchanged": 1}


def test_an_index_that_cannot_be_made_is_an_error_that_says_where(
    public: Path, toy: Settings, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    settings = replace(toy, index=public / "no" / "index")
    with unprivileged(), pytest.raises(IndexReadOnly) as error:
        indexer.index([public / "videos"], settings)
    assert str(settings.index) in str(error.value)


# videos that the decoder cannot bear


def _crashes(report: IndexReport) -> list[tuple[str, str]]:
    return [(skip.path.name, skip.reason) for skip in report.skipped]


def test_a_crash_in_the_decoder_costs_that_video_alone(
    folder: Path, toy: Settings, deadly: None, clip: Callable[[str, Path], Path]
) -> None:
    crashing = clip("white", folder / "deadly.mp4")
    first = indexer.index([folder], toy)
    assert _counts(first) == {"added": 3, "segments": 3, "skipped": 1}
    assert _crashes(first) == [("deadly.mp4", "it crashed the decoder (SIGSEGV)")]
    again = indexer.index([folder], toy)
    assert _counts(again) == {"unchanged": 3, "skipped": 1}
    assert _crashes(again) == [("deadly.mp4", "it crashed the decoder (SIGSEGV); not tried again (--retry does)")]
    assert _crashes(indexer.index([folder], toy, retry=True)) == _crashes(first)
    os.utime(crashing, ns=(1, 1))
    assert _crashes(indexer.index([folder], toy)) == _crashes(first)
    assert _sound(toy.index)


def test_a_video_that_could_not_be_decoded_comes_in_once_it_can(
    folder: Path, toy: Settings, clip: Callable[[str, Path], Path]
) -> None:
    (folder / "white.mp4").write_text("not yet")
    assert _counts(indexer.index([folder], toy)) == {"added": 3, "segments": 3, "skipped": 1}
    clip("white", folder / "white.mp4")
    assert _counts(indexer.index([folder], toy)) == {"added": 1, "segments": 1, "unchanged": 3}
    with store.open(toy.index) as catalog, catalog.read() as rows:
        assert rows.failures() == []


def test_a_video_that_went_bad_keeps_what_it_was(folder: Path, toy: Settings) -> None:
    indexer.index([folder], toy)
    (folder / "red.mp4").write_text("overwritten")
    for _ in range(2):
        assert _counts(indexer.index([folder], toy)) == {"unchanged": 2, "skipped": 1}
    assert _best("red", toy.index).path.name == "red.mp4"


def test_failures_are_forgotten_with_their_files(folder: Path, toy: Settings) -> None:
    bad = folder / "bad.mp4"
    bad.write_text("bad")
    indexer.index([folder], toy)
    bad.unlink()
    indexer.index([folder], toy)
    with store.open(toy.index) as catalog, catalog.read() as rows:
        assert rows.failures() == []


def test_failures_of_another_decoder_are_tried_again(
    folder: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.mp4").write_text("bad")
    indexer.index([folder], toy)
    monkeypatch.setattr("cezsar.indexer.pipeline.DECODER", "another one")
    assert "not tried again" not in indexer.index([folder], toy).skipped[0].reason
    assert "not tried again" in indexer.index([folder], toy).skipped[0].reason


def test_a_new_index_takes_the_rate_that_its_encoder_was_trained_at(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "fps", 0.5, raising=False)

    def fps_of(name: str, **chosen: float) -> float:
        settings = Settings(index=tmp_path / name, model="toy", **chosen)  # type: ignore[arg-type]
        indexer.index([folder], settings)
        with store.open(settings.index) as catalog:
            return catalog.info.sampling.fps

    assert fps_of("own") == 0.5
    assert fps_of("chosen", fps=4.0) == 4.0
    monkeypatch.setattr(Toy, "fps", 2.0)
    assert fps_of("own") == 0.5  # an existing index keeps its own


# Batches


class _Ready:
    """A runner whose results are there at once: nothing has to be waited for, but before the numbers in pauses."""

    def __init__(self, settings: Settings, pauses: tuple[int, ...] = ()) -> None:
        self._own, self._pauses = runners.Threads(settings), pauses

    def embed(self, *given: Any) -> Generator[Any, None, None]:
        with closing(self._own.embed(*given)) as results:
            ready = [one for one in results if one is not None]
        for number, one in enumerate(ready):
            if number in self._pauses:
                yield None
            yield one


@pytest.mark.parametrize(
    ("pauses", "num_transactions"),
    [((), 1), ((3,), 2), ((1, 2, 3), 4), ((0, 0, 1), 2)],
)
def test_videos_that_are_ready_at_once_are_committed_at_once(
    videos: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch, pauses: tuple[int, ...], num_transactions: int
) -> None:
    monkeypatch.setattr(pipeline, "runner", lambda settings, notice: _Ready(settings, pauses))
    report = indexer.index([videos], toy)
    assert report.added == len(COLOURS)
    with store.open(toy.index) as catalog, catalog.read() as rows:
        assert rows.generation() == num_transactions
        assert len(rows.videos()) == len(COLOURS)


def test_no_more_than_ten_videos_are_committed_at_once(
    tmp_path: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "videos").mkdir()
    first = write_video(tmp_path / "videos" / "0.mp4", [("red", 0.5)])
    for number in range(1, 12):
        (first.parent / f"{number}.mp4").write_bytes(first.read_bytes() + b"\0" * number)
    monkeypatch.setattr(pipeline, "runner", lambda settings, notice: _Ready(settings))
    assert indexer.index([first.parent], toy).added == 12
    with store.open(toy.index) as catalog, catalog.read() as rows:
        assert rows.generation() == 2


def test_threads_commit_each_video_before_they_begin_the_next(videos: Path, toy: Settings) -> None:
    assert indexer.index([videos], toy).added == len(COLOURS)
    with store.open(toy.index) as catalog, catalog.read() as rows:
        assert rows.generation() == len(COLOURS)
