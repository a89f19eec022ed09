"""What a scan finds to do, from files and rows alone: nothing here is a video, and nothing is decoded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cezsar.digest import sha256
from cezsar.indexer import scan
from cezsar.paths import is_under
from cezsar.store import Failure, File, Video


def _put(path: Path, content: str | None = None) -> Path:
    """A file of its own content, unless another is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or ascii(path))
    return path


def _rows(root: Path, paths: Iterable[Path], *, hidden: bool = False, first_id: int = 1) -> list[Video]:
    """Rows as an earlier run would have left them for these files, below this root."""
    rows = []
    for number, path in enumerate(paths, first_id):
        status, below = path.stat(), os.fsencode(path.relative_to(root))
        file = File.of(os.fsencode(root), below, status)
        rows.append(Video(number, file, sha256(path), 1.0, hidden))
    return rows


class Listed:
    """Rows that are all there are, asked as a catalog's are."""

    def __init__(self, videos: Sequence[Video]) -> None:
        self._videos = videos

    def roots(self) -> list[bytes]:
        return list(dict.fromkeys(video.file.root for video in self._videos))

    def videos_at(self, paths: Sequence[bytes]) -> dict[bytes, Video]:
        return {video.file.absolute: video for video in self._videos if video.file.absolute in set(paths)}

    def any_under(self, path: bytes) -> bool:
        return any(is_under(video.file.absolute, path) for video in self._videos)

    def num_shown_under(self, path: bytes) -> int:
        return sum(not video.hidden and is_under(video.file.absolute, path) for video in self._videos)

    def pages(self, *, but: Container[int]) -> Iterator[Sequence[Video]]:
        for video in self._videos:
            yield [video] if video.id not in but else []


def _plan(
    *paths: Path, videos: Sequence[Video] = (), prune: bool | None = None, exclude: Sequence[str] = ()
) -> scan.Plan:
    return scan.plan(paths, known=Listed(videos), prune=prune, exclude=exclude)


def _new(plan: scan.Plan) -> list[Path]:
    return [file.full_path for file, row in plan.embed if row is None]


def _placed(plan: scan.Plan) -> dict[int, Path]:
    return {video.id: file.full_path for file, video in plan.place}


def _hidden(plan: scan.Plan) -> list[int]:
    return [video.id for video in plan.hide]


def _skipped(plan: scan.Plan) -> dict[Path, str]:
    return {skip.path: skip.reason for skip in plan.skipped}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to scan, by the name that the catalog has for it."""
    path = tmp_path.resolve() / "folder"
    path.mkdir()
    return path


# Which files are candidates


def test_a_folder_is_read_to_its_leaves_in_order(folder: Path) -> None:
    files = [_put(folder / name) for name in ("a.mp4", "z.mp4", "b/a.mp4", "b/c/d/e.mkv", "f/a.webm")]
    assert _new(_plan(folder)) == files


@pytest.mark.parametrize("name", ["a.mp4", "a.MP4", "a.MkV", "a.webm", "a.MOV", "a.gif", "a.m2ts", "no name.avi"])
def test_a_video_s_extension_is_known_in_any_case(folder: Path, name: str) -> None:
    assert _new(_plan(_put(folder / name).parent)) == [folder / name]


@pytest.mark.parametrize(
    "name",
    [
        "GL010001.LRV", "VID_20200101_00_001.insv", "GS010001.360", "clip.3gpp", "clip.3gp2", "MOV001.MOD", "a.TOD",
        "a.trp", "a.tp", "a.ts4", "a.m2p", "VR_MOVIE.VRO", "a.evo", "a.dvr-ms", "a.mk3d", "a.f4p", "a.mp4v", "a.mpg4",
        "a.dav", "a.avc", "a.h26l", "a.vvc", "a.av1", "DJI_0001.LRF", "a.rec", "a.pvr", "a.ty+", "a.ogx", "a.swf",
        "a.braw", "A001.R3D", "a.cine", "a.MLV", "a.hdmov", "a.mqv", "a.mpeg4", "a.trec", "a.nuv", "a.ismv", "a.rv",
    ],
)  # fmt: skip
def test_cameras_phones_and_recorders_names_are_videos(folder: Path, name: str) -> None:
    assert _new(_plan(_put(folder / name, "\0").parent)) == [folder / name]


@pytest.mark.parametrize("name", ["a.txt", "a.jpg", "a.mp4.part", "a.mp3", "mp4", "a.mp4~", "a"])
def test_other_files_are_left_out_of_a_folder_and_taken_when_named(folder: Path, name: str) -> None:
    path = _put(folder / name)
    plan = _plan(folder)
    assert (plan.embed, plan.skipped) == ([], [])
    assert _new(_plan(path)) == [path]


def test_hidden_files_and_folders_are_left_out_unless_named(folder: Path) -> None:
    hidden, inside = _put(folder / ".a.mp4"), _put(folder / ".b" / "c.mp4")
    assert _new(_plan(folder)) == []
    assert _new(_plan(hidden)) == [hidden]
    assert _new(_plan(folder / ".b")) == [inside]


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir/a.mp4/SYNOPHOTO_FILM_M.mp4", "#recycle/a.mp4", "#Recycle/a.mp4", "$RECYCLE.BIN/S-1-5-21/$RABC.mp4",
        "@Recycle/a.mp4", "@Recently-Snapshot/a.mp4", ".@__thumb/a.mp4", "#snapshot/a.mp4", "lost+found/#12.mp4",
        "System Volume Information/a.mp4", ".Trash-1000/files/a.mp4", ".stversions/a.mp4", "found.000/a.mp4",
        "FOUND.012/a.mp4", "__MACOSX/a.mp4", "LOST.DIR/a.mp4", "b/@eaDir/a.mp4", "~snapshot/a.mp4",
    ],
)  # fmt: skip
def test_what_a_system_keeps_for_itself_is_left_out_unless_named(folder: Path, name: str) -> None:
    path, keep = _put(folder / name), _put(folder / "keep.mp4")
    plan = _plan(folder)
    assert (_new(plan), plan.skipped, plan.left_out) == ([keep], [], {})
    assert _new(_plan(path)) == _new(_plan(path.parent)) == [path]


@pytest.mark.parametrize(
    "name", ["eaDir", "recycle", "Recycled", "snapshot", "found.abc", "found.0001", "lost", "trash"]
)
def test_a_folder_that_is_called_nearly_so_is_a_person_s(folder: Path, name: str) -> None:
    assert len(_new(_plan(_put(folder / name / "a.mp4").parent.parent))) == 1


def test_what_was_left_out_for_its_name_alone_is_counted_by_suffix(folder: Path) -> None:
    for name in ("a.qqq", "b.QQQ", "c/d.zzz", "e.001"):
        _put(folder / name)
    for name in ("a.txt", "a.jpg", "a.JPG", "a.srt", "a.pdf", "a", "Mr. Smith goes", "a.mp4.part", "a.mp4~", ".x.qqq"):
        _put(folder / name)
    _put(folder / "video.mp4")
    assert _plan(folder).left_out == {".qqq": 2, ".zzz": 1, ".001": 1}
    plan = _plan(folder / "a.qqq")
    assert (_new(plan), plan.left_out) == ([folder / "a.qqq"], {})


@pytest.mark.parametrize("name", ["a.ts", "a.mts", "go.mod", "a.TS", "a.ps", "a.avs"])
@pytest.mark.parametrize("content", [b"export const x = 1;\n", "// \u00fcber\r\n".encode(), b"caf\xe9\n", b"G = 1"])
def test_a_text_that_has_a_video_s_suffix_is_no_video_unless_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    plan = _plan(folder)
    assert (plan.embed, plan.skipped, plan.left_out, plan.num_texts) == ([], [], {}, 1)
    assert _new(_plan(folder / name)) == [folder / name]


@pytest.mark.parametrize("content", [b"", b"G\x40\x00\x10" + b"\xff" * 184, b"\0\0\0\1G" + b"a" * 600])
def test_a_recording_is_no_text(folder: Path, content: bytes) -> None:
    (folder / "a.ts").write_bytes(content)
    plan = _plan(folder)
    assert (_new(plan), plan.num_texts) == ([folder / "a.ts"], 0)


def test_a_text_that_was_remembered_as_a_failure_is_forgotten(folder: Path) -> None:
    path = _put(folder / "a.ts", "export {}")
    file = File.of(os.fsencode(folder), b"a.ts", path.stat())
    failures = {file.absolute: Failure.of(file, "decoder", "no video")}
    plan = scan.plan([folder], known=None, failures=failures)
    assert (plan.skipped, plan.forget, plan.num_texts) == ([], [file.absolute], 1)


def test_paths_named_twice_or_nested_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [_put(folder / "a.mp4"), _put(folder / "b" / "c.mp4")]
    monkeypatch.chdir(folder)
    again = [folder, folder / "b", folder / "b" / "c.mp4", Path("b/../a.mp4"), Path()]
    assert _new(_plan(*again)) == files
    assert sorted(_new(_plan(*reversed(again)))) == files


def test_names_may_hold_anything_that_the_system_allows(folder: Path) -> None:
    names = [b"\xff\xfe.mp4", b"caf\xe9.mp4", b"two\nlines.mp4", "海 👩‍👧.mp4".encode(), b"-o *.mp4", b"\x1b[31m.mp4"]
    for name in names:
        _put(folder / os.fsdecode(name))
    assert sorted(file.path for file, _ in _plan(folder).embed) == sorted(names)


def test_a_file_s_size_and_time_are_recorded(folder: Path) -> None:
    path = _put(folder / "a.mp4", "four")
    os.utime(path, ns=(5, 1_600_000_000_123_456_789))
    ((file, _),) = _plan(folder).embed
    assert file[:4] == (os.fsencode(folder), b"a.mp4", 4, 1_600_000_000_123_456_789)
    assert file[4:] == (path.stat().st_ino, path.stat().st_ctime_ns)


def test_a_fifo_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "a.mp4")
    rows = _rows(folder, [_put(folder / "b.mp4")])
    assert _new(_plan(folder, videos=rows)) == [folder / "a.mp4"]
    (folder / "b.mp4").unlink()
    os.mkfifo(folder / "b.mp4")
    assert [row for _, row in _plan(folder / "b.mp4", videos=rows).embed] == rows


# Links


def test_a_linked_folder_is_read_once_under_its_own_name_where_there_is_one(folder: Path) -> None:
    path = _put(folder / "real" / "a.mp4")
    (folder / "also").symlink_to(folder / "real")
    (folder / "zebra").symlink_to(folder / "real")
    assert _new(_plan(folder)) == [path]
    assert _new(_plan(folder / "also")) == [path]
    assert _new(_plan(folder / "also", folder / "real")) == [path]


def test_a_folder_elsewhere_is_read_through_its_link_once(folder: Path, tmp_path: Path) -> None:
    elsewhere = _put(tmp_path.resolve() / "elsewhere" / "a.mp4").parent
    (folder / "one").symlink_to(elsewhere)
    (folder / "two").symlink_to(elsewhere)
    assert len(_new(_plan(folder))) == 1


def test_loops_of_links_end(folder: Path) -> None:
    path = _put(folder / "b" / "a.mp4")
    (folder / "b" / "up").symlink_to(folder)
    (folder / "b" / "here").symlink_to(folder / "b")
    (folder / "b" / "one").symlink_to(folder / "b" / "two")
    (folder / "b" / "two").symlink_to(folder / "b" / "one")
    plan = _plan(folder)
    assert _new(plan) == [path]
    assert plan.skipped == []


def test_a_linked_file_is_a_video_of_its_own_name(folder: Path) -> None:
    path = _put(folder / "a.mp4")
    (folder / "b.mp4").symlink_to(path)
    assert _new(_plan(folder)) == [path, folder / "b.mp4"]


@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
@pytest.mark.parametrize(
    ("target", "reason"),
    [("a.mp4", "too many levels of symbolic links"), ("gone.mp4", "no such file")],
    ids=["to itself", "to nowhere"],
)
def test_a_link_to_no_file_is_skipped_by_its_reason(folder: Path, target: str, reason: str, named: bool) -> None:
    (folder / "a.mp4").symlink_to(folder / target)
    plan = _plan(folder / "a.mp4" if named else folder)
    assert list(_skipped(plan)) == [folder / "a.mp4"]
    assert reason in _skipped(plan)[folder / "a.mp4"]
    assert [*plan.embed, *plan.place, *plan.hide] == []


# Roots


def test_a_new_root_is_the_folder_given_or_that_of_the_file_given(folder: Path) -> None:
    path = _put(folder / "b" / "a.mp4")
    for given, root, below in ((folder, folder, b"b/a.mp4"), (path, folder / "b", b"a.mp4")):
        ((file, _),) = _plan(given).embed
        assert (file.root, file.path) == (os.fsencode(root), below)


def test_a_file_under_known_roots_keeps_to_the_nearest(folder: Path) -> None:
    rows = _rows(folder, [_put(folder / "a.mp4")]) + _rows(folder / "b", [_put(folder / "b" / "a.mp4")], first_id=2)
    near, far = _put(folder / "b" / "c" / "new.mp4"), _put(folder / "new.mp4")
    outside = _put(folder.parent / "outside.mp4")
    expected = {
        (os.fsencode(folder / "b"), b"c/new.mp4"),
        (os.fsencode(folder), b"new.mp4"),
        (os.fsencode(folder.parent), b"outside.mp4"),
    }
    for given in ([folder.parent], [near, far, outside]):
        assert {(file.root, file.path) for file, _ in _plan(*given, videos=rows).embed} == expected


def test_a_parent_given_later_doubles_nothing(folder: Path) -> None:
    rows = _rows(folder / "b", [_put(folder / "b" / "a.mp4")])
    plan = _plan(folder, videos=rows)
    assert [*plan.embed, *plan.place, *plan.hide] == []
    assert plan.num_unchanged == 1


def test_a_folder_that_begins_with_a_root_s_name_is_not_under_it(folder: Path) -> None:
    rows = _rows(folder / "b", [_put(folder / "b" / "a.mp4")])
    _put(folder / "bc" / "a.mp4")
    ((file, _),) = _plan(folder / "bc", videos=rows).embed
    assert (file.root, file.path) == (os.fsencode(folder / "bc"), b"a.mp4")


# Unchanged, touched, changed


def test_what_has_not_changed_is_left_alone(folder: Path) -> None:
    rows = _rows(folder, [_put(folder / "a.mp4"), _put(folder / "b" / "a.mp4")])
    plan = _plan(folder, videos=rows)
    assert plan == scan.Plan(num_unchanged=2)
    assert [*plan.embed, *plan.place, *plan.hide] == []


def _replaced_like_cp(path: Path, content: str) -> None:
    """Another file under the same name, with the former one's time, as `cp -p` and `rsync -t` leave it."""
    status = path.stat()
    new = path.with_name("new")
    new.write_text(content)
    os.utime(new, ns=(0, status.st_mtime_ns))
    new.replace(path)


def _before_inodes(rows: Sequence[Video]) -> list[Video]:
    """Rows as of before inode and ctime were kept."""
    return [row._replace(file=row.file._replace(inode=None, ctime_ns=None)) for row in rows]


def test_a_file_replaced_by_another_of_its_size_and_time_has_changed(folder: Path) -> None:
    path = _put(folder / "a.mp4", "before")
    rows = _rows(folder, [path])
    _replaced_like_cp(path, "after.")
    assert [row for _, row in _plan(folder, videos=rows).embed] == rows


def test_a_file_rewritten_in_place_with_its_time_put_back_has_changed(folder: Path) -> None:
    path = _put(folder / "a.mp4", "before")
    rows, status = _rows(folder, [path]), path.stat()
    path.write_text("after.")
    os.utime(path, ns=(0, status.st_mtime_ns))
    assert [row for _, row in _plan(folder, videos=rows).embed] == rows


@pytest.mark.parametrize("kept", [{"inode": 1}, {"ctime_ns": 1}])
def test_another_inode_or_ctime_with_the_same_content_is_unchanged_and_noted(
    folder: Path, kept: dict[str, int]
) -> None:
    path = _put(folder / "a.mp4")
    rows = [row._replace(file=row.file._replace(**kept)) for row in _rows(folder, [path])]
    plan = _plan(folder, videos=rows)
    assert (plan.num_unchanged, plan.embed) == (1, [])
    ((file, row),) = plan.place
    assert (file.inode, file.ctime_ns, row) == (path.stat().st_ino, path.stat().st_ctime_ns, rows[0])


def test_a_row_of_before_inodes_counts_by_size_and_time_and_is_no_reason_to_write(folder: Path) -> None:
    path = _put(folder / "a.mp4", "before")
    rows = _before_inodes(_rows(folder, [path]))
    _replaced_like_cp(path, "after.")
    plan = _plan(folder, videos=rows)
    assert (plan.num_unchanged, plan.changes_anything) == (1, False)
    assert [(file.inode, row) for file, row in plan.note] == [(path.stat().st_ino, rows[0])]


def test_contents_are_compared_on_demand_whatever_size_and_time_say(folder: Path) -> None:
    changed, same, bad = (_put(folder / name, "before") for name in ("a.mp4", "b.mp4", "c.mp4"))
    rows = _before_inodes(_rows(folder, [changed, same, bad]))
    _replaced_like_cp(changed, "after.")
    heard: list[tuple[Path, int]] = []
    plan = scan.plan(
        [folder], known=Listed(rows), check_content=True,
        comparing=lambda path, size: heard.append((path, size)),
    )  # fmt: skip
    assert ([row for _, row in plan.embed], plan.num_unchanged) == (rows[:1], 2)
    assert heard == [(changed, 6), (same, 6), (bad, 6)]


def test_a_failure_is_tried_again_once_its_file_was_replaced(folder: Path) -> None:
    path = _put(folder / "a.mp4", "before")
    ((file, _),) = _plan(folder).embed
    failures = {file.absolute: Failure.of(file, "decoder", "no picture")}

    def plan(*paths: Path) -> scan.Plan:
        return scan.plan(paths, known=None, failures=failures)

    assert [(skip.path, skip.was_known) for skip in plan(folder).skipped] == [(path, True)]
    _replaced_like_cp(path, "after.")
    assert (_new(plan(folder)), plan(folder).skipped) == ([path], [])


def test_a_file_that_was_only_touched_is_unchanged_and_its_time_is_noted(folder: Path) -> None:
    path = _put(folder / "a.mp4")
    rows = _rows(folder, [path])
    os.utime(path, ns=(7, 7))
    plan = _plan(folder, videos=rows)
    assert (plan.num_unchanged, plan.embed) == (1, [])
    ((file, row),) = plan.place
    assert (file.mtime_ns, row) == (7, rows[0])


@pytest.mark.parametrize("content", ["longer than before", "b"], ids=["another size", "the same size"])
def test_a_file_whose_content_changed_replaces_its_row(folder: Path, content: str) -> None:
    path = _put(folder / "a.mp4", "a")
    rows = _rows(folder, [path])
    path.write_text(content)
    os.utime(path, ns=(7, 7))
    plan = _plan(folder, videos=rows)
    assert [row for _, row in plan.embed] == rows
    assert (plan.num_unchanged, plan.place, plan.hide) == (0, [], [])


# Moved


@pytest.mark.parametrize("new", ["renamed.mp4", "b/a.mp4", "c/d/e.webm", "../other/a.mp4"])
def test_a_file_that_moved_keeps_its_row(folder: Path, new: str) -> None:
    path, stays = _put(folder / "a.mp4"), _put(folder / "stays.mp4")
    rows = _rows(folder, [path, stays])
    target = Path(os.path.normpath(folder / new))
    target.parent.mkdir(exist_ok=True, parents=True)
    path.rename(target)
    for given in ([folder, target.parent], [target]):
        plan = _plan(*given, videos=rows)
        assert _placed(plan) == {1: target}
        assert (plan.num_moved, plan.embed, plan.hide, plan.notices) == (1, [], [], [])


def test_a_file_that_moved_and_was_touched_keeps_its_row(folder: Path) -> None:
    path = _put(folder / "a.mp4")
    rows = _rows(folder, [path])
    os.utime(path.rename(folder / "b.mp4"), ns=(7, 7))
    ((file, _),) = _plan(folder, videos=rows).place
    assert (file.path, file.mtime_ns) == (b"b.mp4", 7)


def test_a_renamed_folder_keeps_every_row(folder: Path) -> None:
    rows = _rows(folder, [_put(folder / f"{n}" / f"{n}.mp4") for n in range(5)])
    new = folder.rename(folder.parent / "renamed")
    for given in ([new], [folder, new], [folder.parent]):
        plan = _plan(*given, videos=rows)
        assert _placed(plan) == {n + 1: new / f"{n}" / f"{n}.mp4" for n in range(5)}
        assert (plan.num_moved, plan.embed, plan.hide, plan.notices) == (5, [], [], [])


def test_two_copies_are_two_videos(folder: Path) -> None:
    path = _put(folder / "a.mp4")
    shutil.copy2(path, folder / "b.mp4")
    assert _new(_plan(folder)) == [folder / "a.mp4", folder / "b.mp4"]
    plan = _plan(folder, videos=_rows(folder, [path]))
    assert (_new(plan), plan.num_moved, plan.num_unchanged) == ([folder / "b.mp4"], 0, 1)


def test_two_copies_that_move_keep_two_rows(folder: Path) -> None:
    paths = [_put(folder / "a.mp4", "twin"), _put(folder / "b.mp4", "twin")]
    rows = _rows(folder, paths)
    targets = [path.rename(folder / f"new {path.name}") for path in paths]
    _put(folder / "third.mp4", "twin")
    plan = _plan(folder, videos=rows)
    assert sorted(_placed(plan)) == [1, 2]
    assert set(_placed(plan).values()) == set(targets)
    assert (plan.num_moved, _new(plan)) == (2, [folder / "third.mp4"])


def test_a_file_that_moved_keeps_its_own_row_though_a_hidden_twin_came_first(folder: Path) -> None:
    old, path = _put(folder / "old.mp4", "twin"), _put(folder / "a.mp4", "twin")
    rows = [*_rows(folder, [old], hidden=True), *_rows(folder, [path], first_id=2)]
    old.unlink()
    path.rename(folder / "b.mp4")
    plan = _plan(folder, videos=rows)
    assert _placed(plan) == {2: folder / "b.mp4"}
    assert (plan.hide, plan.notices) == ([], [])


def test_a_hidden_row_comes_back_under_its_file_s_new_name(folder: Path) -> None:
    path = _put(folder / "a.mp4")
    rows = _rows(folder, [path], hidden=True)
    path.rename(folder / "b.mp4")
    plan = _plan(folder, videos=rows)
    assert (_placed(plan), plan.num_moved, plan.embed) == ({1: folder / "b.mp4"}, 1, [])


def test_a_row_whose_file_is_still_there_is_not_taken_over(folder: Path) -> None:
    stays = _put(folder / "a.mp4", "twin")
    rows = _rows(folder, [stays])
    new = _put(folder.parent / "other" / "a.mp4", "twin")
    plan = _plan(new.parent, videos=rows)
    assert (_new(plan), plan.place) == ([new], [])


def test_same_size_is_not_same_content(folder: Path) -> None:
    path = _put(folder / "a.mp4", "one")
    rows = _rows(folder, [path])
    path.unlink()
    _put(folder / "b.mp4", "two")
    plan = _plan(folder, videos=rows, prune=True)
    assert (_new(plan), plan.num_moved, _hidden(plan)) == ([folder / "b.mp4"], 0, [1])


# Gone


def _lost(folder: Path, num_videos: int, num_lost: int) -> list[Video]:
    """Rows 1 to num_videos, of which the files of the first num_lost are gone."""
    paths = [_put(folder / f"{n}.mp4") for n in range(1, num_videos + 1)]
    rows = _rows(folder, paths)
    for path in paths[:num_lost]:
        path.unlink()
    return rows


@pytest.mark.parametrize(
    ("num_videos", "num_lost", "prune", "num_hidden"),
    [
        (4, 0, None, 0),
        (4, 1, None, 1),
        (4, 2, None, 2),
        (4, 3, None, 0),
        (5, 3, None, 0),
        (3, 1, None, 1),
        (1, 1, None, 0),
        (4, 4, None, 0),
        (4, 1, True, 1),
        (4, 3, True, 3),
        (4, 4, True, 4),
        (4, 1, False, 0),
        (4, 4, False, 0),
    ],
)
def test_a_root_hides_what_has_gone_unless_that_is_over_half(
    folder: Path, num_videos: int, num_lost: int, prune: bool | None, num_hidden: int
) -> None:
    rows = _lost(folder, num_videos, num_lost)
    plan = _plan(folder, videos=rows, prune=prune)
    assert _hidden(plan) == list(range(1, num_hidden + 1))
    assert plan.num_unchanged == num_videos - num_lost
    careful = prune is None and num_lost > num_hidden
    assert plan.notices == [
        f"{folder} has lost {num_lost} of {num_videos} videos: nothing was hidden. --prune hides its missing videos."
    ] * int(careful)


@pytest.mark.parametrize(("prune", "num_hidden"), [(None, 0), (True, 3), (False, 0)])
def test_a_missing_root_hides_nothing_without_being_told_to(folder: Path, prune: bool | None, num_hidden: int) -> None:
    rows = _lost(folder, 3, 3)
    folder.rmdir()
    plan = _plan(folder, videos=rows, prune=prune)
    assert len(plan.hide) == num_hidden
    assert plan.notices == [f"{folder} is missing: nothing was hidden. --prune hides its missing videos."] * (
        prune is None
    )
    assert plan.skipped == []


def test_each_root_is_judged_by_itself(folder: Path) -> None:
    whole, lost = folder / "whole", folder / "lost"
    rows = _rows(whole, [_put(whole / f"{n}.mp4") for n in range(4)])
    rows += _rows(lost, [_put(lost / f"{n}.mp4") for n in range(2)], first_id=5)
    (whole / "0.mp4").unlink()
    shutil.rmtree(lost)
    plan = _plan(whole, lost, videos=rows)
    assert _hidden(plan) == [1]
    assert plan.notices == [f"{lost} is missing: nothing was hidden. --prune hides its missing videos."]
    assert _hidden(_plan(whole, lost, videos=rows, prune=True)) == [1, 5, 6]


def test_what_is_not_under_the_given_paths_is_never_hidden(folder: Path) -> None:
    rows = _lost(folder, 4, 1)
    other = _put(folder.parent / "other" / "a.mp4").parent
    assert _plan(other, videos=rows, prune=True).hide == []
    assert _plan(folder / "4.mp4", videos=rows, prune=True).hide == []


def test_videos_named_twice_are_hidden_once(folder: Path) -> None:
    rows = _lost(folder, 4, 1)
    assert _hidden(_plan(folder, folder.parent, folder, videos=rows)) == [1]


@pytest.mark.parametrize("where", ["folder", "other"], ids=["within the root", "out of the root"])
def test_files_that_moved_do_not_count_as_lost(folder: Path, where: str) -> None:
    rows = _lost(folder, 5, 2)
    target = folder.parent / where
    target.mkdir(exist_ok=True)
    for n in (3, 4):
        (folder / f"{n}.mp4").rename(target / f"new {n}.mp4")
    plan = _plan(folder, target, videos=rows)
    assert (plan.num_moved, plan.num_unchanged) == (2, 1)
    assert (_hidden(plan), plan.notices) == ([1, 2], [])


def test_hidden_rows_do_not_count_as_lost_and_are_not_hidden_again(folder: Path) -> None:
    paths = [_put(folder / f"{n}.mp4") for n in range(3)]
    rows = _rows(folder, paths[:1]) + _rows(folder, paths[1:], hidden=True, first_id=2)
    paths[1].unlink()
    paths[2].unlink()
    assert _plan(folder, videos=rows) == scan.Plan(num_unchanged=1)


def test_a_hidden_row_comes_back_with_its_file(folder: Path) -> None:
    rows = _rows(folder, [_put(folder / "a.mp4")], hidden=True)
    plan = _plan(folder, videos=rows)
    assert (_placed(plan), plan.num_unchanged, plan.embed) == ({1: folder / "a.mp4"}, 1, [])


def test_a_path_that_never_was_is_skipped(folder: Path) -> None:
    plan = _plan(folder / "gone.mp4", folder / "gone")
    assert _skipped(plan) == dict.fromkeys((folder / "gone.mp4", folder / "gone"), "no such file or folder")
    assert [*plan.embed, *plan.place, *plan.hide] == []


# Excluded


@pytest.mark.parametrize("glob", ["b", "*/b/*", "b/*.mp4", "[ab].mp4"])
def test_what_is_excluded_is_not_taken(folder: Path, glob: str) -> None:
    _put(folder / "b" / "a.mp4")
    keep = _put(folder / "keep.mp4")
    assert _new(_plan(folder, exclude=[glob])) == [keep]
    assert _new(_plan(folder, exclude=[glob, "keep*"])) == []


def test_what_is_excluded_is_left_as_it_is_in_the_index(folder: Path) -> None:
    paths = [_put(folder / name) for name in ("a.mp4", "b.mp4", "c.mp4")]
    rows = _rows(folder, paths[:2]) + _rows(folder, paths[2:], hidden=True, first_id=3)
    (folder / "a.mp4").write_text("changed")
    for prune in (None, True):
        plan = _plan(folder, videos=rows, exclude=["*.mp4"], prune=prune)
        assert plan == scan.Plan()
    assert _plan(folder / "a.mp4", videos=rows, exclude=["a.*"]) == scan.Plan()


def test_an_excluded_file_s_row_is_not_taken_over_by_its_copy(folder: Path) -> None:
    rows = _rows(folder, [_put(folder / "a.mp4", "twin")])
    new = _put(folder / "b.mp4", "twin")
    assert _new(_plan(folder, videos=rows, exclude=["a.mp4"])) == [new]


# What the system refuses


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everyone may look into: pytest's own is shut to others."""
    with TemporaryDirectory() as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o711], ids=["shut", "no way in", "no listing"])
@pytest.mark.parametrize("prune", [None, True])
def test_a_folder_that_cannot_be_read_is_skipped_and_has_not_lost_its_videos(
    public: Path, mode: int, prune: bool | None, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    rows = _rows(public, [_put(public / name) for name in ("a.mp4", "b/b.mp4", "c/c.mp4")])
    (public / "b").chmod(mode)
    with unprivileged():
        plan = _plan(public, videos=rows, prune=prune)
    assert _skipped(plan) == {public / ("b/b.mp4" if mode == 0o444 else "b"): "permission denied"}
    assert (plan.hide, plan.notices, plan.num_unchanged) == ([], [], 2)


def test_a_row_whose_file_is_out_of_reach_is_not_taken_over_by_a_copy(
    public: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    rows = _rows(public, [_put(public / "b" / "a.mp4", "twin")])
    copy = _put(public / "c" / "a.mp4", "twin")
    (public / "b").chmod(0o000)
    with unprivileged():
        plan = _plan(public / "c", videos=rows)
    assert (_new(plan), plan.num_moved) == ([copy], 0)


def test_a_named_file_out_of_reach_is_skipped_by_its_reason(
    public: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    path = _put(public / "b" / "a.mp4")
    (public / "b").chmod(0o000)
    with unprivileged():
        plan = _plan(path)
    assert _skipped(plan) == {path: "permission denied"}


def test_a_known_file_that_cannot_be_read_any_more_is_not_hidden(
    public: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    paths = [_put(public / name) for name in ("a.mp4", "b.mp4")]
    rows = _rows(public, paths)
    paths[0].chmod(0o000)
    os.utime(paths[0], ns=(7, 7))
    with unprivileged():
        plan = _plan(public, videos=rows)
    assert ([row for _, row in plan.embed], plan.hide, plan.num_unchanged) == (rows[:1], [], 1)
