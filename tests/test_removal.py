"""Taking videos out, and what stays."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_videos import write_video

from cezsar import indexer, maintenance, store
from cezsar.errors import BadIndex, IndexMissing, QueryError
from cezsar.query import Searcher, search
from cezsar.settings import Settings
from cezsar.store.local import cache as vectors
from cezsar.store.local import opening
from cezsar.store.local.catalog import Catalog
from cezsar.store.local.pictures import opened
from cezsar.types import IndexReport, unit

Index = Callable[..., IndexReport]
_PLACES = {"red": "a.mp4", "green": "b/one.mp4", "blue": "b/two.mp4", "cyan": "bc/one.mp4"}


@pytest.fixture
def folder(tmp_path: Path, index_toy: Index) -> Path:
    """An indexed folder: a second of each colour at its place."""
    path = tmp_path.resolve() / "folder"
    for colour, place in _PLACES.items():
        (path / place).parent.mkdir(parents=True, exist_ok=True)
        write_video(path / place, [(colour, 1.0)], fps=5)
    assert index_toy(path).added == 4
    return path


def _shown(index: Path) -> set[str]:
    """The colours that can be found."""
    found = {colour: search(colour, index) for colour in _PLACES}
    return {colour for colour, hits in found.items() if hits and hits[0].score > 0.9}


def _videos(index: Path) -> dict[str, tuple[bool, list[int]]]:
    """Whether each video is hidden, and its segments' ids, by name below the root."""
    with store.open(index) as catalog:
        assert maintenance.verify(catalog).problems == ()
        with catalog.read() as rows:
            return {
                os.fsdecode(video.file.path): (video.hidden, rows.segment_ids([video.id]).tolist())
                for video in rows.videos()
            }


@pytest.mark.parametrize("purge", [False, True], ids=["hidden", "purged"])
@pytest.mark.parametrize(
    ("places", "left"),
    [
        (["a.mp4"], {"green", "blue", "cyan"}),
        (["b"], {"red", "cyan"}),
        (["b/one.mp4", "b", "b/../b/two.mp4"], {"red", "cyan"}),
        (["b/one.mp4", "bc"], {"red", "blue"}),
        (["."], set()),
    ],
)
def test_what_is_named_or_lies_below_is_not_found_any_more(
    folder: Path, toy: Settings, places: list[str], left: set[str], purge: bool
) -> None:
    before = _videos(toy.index)
    assert indexer.remove(toy.index, [folder / place for place in places], purge=purge) == 4 - len(left)
    assert _shown(toy.index) == left
    kept = {place: (False, ids) for place, (_, ids) in before.items() if place in {_PLACES[name] for name in left}}
    hidden = {place: (True, ids) for place, (_, ids) in before.items() if place not in kept}
    assert _videos(toy.index) == (kept if purge else kept | hidden)
    assert all((folder / place).is_file() for place in _PLACES.values())


def test_a_hidden_video_comes_back_as_it_was_when_it_is_indexed(folder: Path, toy: Settings, index_toy: Index) -> None:
    before = _videos(toy.index)
    indexer.remove(toy.index, [folder / "b"])
    report = index_toy(folder)
    assert (report.unchanged, report.added, report.segments) == (4, 0, 0)
    assert _videos(toy.index) == before
    assert _shown(toy.index) == set(_PLACES)


def test_a_purged_video_is_embedded_anew_under_ids_never_used_before(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    last = max(max(ids) for _, ids in _videos(toy.index).values())
    indexer.remove(toy.index, [folder], purge=True)
    assert _videos(toy.index) == {}
    report = index_toy(folder)
    assert (report.added, report.unchanged, report.segments) == (4, 0, 4)
    assert min(min(ids) for _, ids in _videos(toy.index).values()) > last
    assert _shown(toy.index) == set(_PLACES)


def test_purging_much_takes_it_out_of_the_faiss_cache_too(folder: Path, toy: Settings) -> None:
    with store.open(toy.index) as catalog:
        index_id = catalog.info.index_id
    assert vectors.load(toy.index, index_id=index_id, dimension=8).stamp.count == 4
    indexer.remove(toy.index, [folder / "b"], purge=True)
    assert vectors.load(toy.index, index_id=index_id, dimension=8).stamp.count == 2


def test_purging_deletes_hidden_videos_too_and_hiding_does_not_count_them_again(folder: Path, toy: Settings) -> None:
    assert indexer.remove(toy.index, [folder / "b" / "one.mp4"]) == 1
    assert indexer.remove(toy.index, [folder / "b"]) == 1
    assert indexer.remove(toy.index, [folder / "b"], purge=True) == 2
    assert sorted(_videos(toy.index)) == ["a.mp4", "bc/one.mp4"]


def test_purging_deletes_the_pictures_that_a_server_kept_and_hiding_does_not(folder: Path, toy: Settings) -> None:
    pictures = toy.index / "media"
    pictures.mkdir()
    (pictures / f"{'0' * 32}.jpg").write_bytes(b"x")
    indexer.remove(toy.index, [folder / "a.mp4"])
    assert (pictures / f"{'0' * 32}.jpg").exists()
    indexer.remove(toy.index, [folder / "a.mp4"], purge=True)
    assert not pictures.exists()


@pytest.mark.parametrize("kind", ["file", "link", "others"])
def test_what_is_in_the_pictures_place_and_is_not_ours_stays_and_is_named(
    folder: Path, toy: Settings, tmp_path: Path, kind: str
) -> None:
    place, told = toy.index / "media", list[str]()
    if kind == "file":
        place.write_text("mine")
    elif kind == "link":
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / f"{'0' * 32}.jpg").write_text("mine")
        place.symlink_to(tmp_path / "home")
    else:
        place.mkdir()
        (place / "holiday.jpg").write_text("mine")
    before = tree(tmp_path)
    assert indexer.remove(toy.index, [folder / "a.mp4"], purge=True, notice=told.append) == 1
    assert len(told) == 1
    assert str(place) in told[0]
    after = tree(tmp_path)
    assert {name: after.get(name) for name in before if "media" in name or "home" in name} == {
        name: content for name, content in before.items() if "media" in name or "home" in name
    }
    assert sorted(_videos(toy.index)) == ["b/one.mp4", "b/two.mp4", "bc/one.mp4"]


def tree(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder with its content, links with where they lead."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("purge", [False, True], ids=["hidden", "purged"])
def test_a_path_that_names_no_video_is_an_error_and_nothing_is_changed(
    folder: Path, toy: Settings, purge: bool
) -> None:
    before = _videos(toy.index)
    for wrong in (folder / "gone.mp4", folder / "b" / "o", folder.parent / "other"):
        with pytest.raises(QueryError, match="names no video in the index") as error:
            indexer.remove(toy.index, [folder / "a.mp4", wrong], purge=purge)
        assert str(wrong) in str(error.value)
    assert _videos(toy.index) == before


def test_a_video_that_is_hidden_already_is_no_video_to_hide(folder: Path, toy: Settings) -> None:
    indexer.remove(toy.index, [folder / "a.mp4"])
    with pytest.raises(QueryError, match=r"a\.mp4"):
        indexer.remove(toy.index, [folder / "a.mp4"])


def test_a_video_whose_file_is_gone_can_be_removed(folder: Path, toy: Settings) -> None:
    for place in _PLACES.values():
        (folder / place).unlink()
    (folder / "b").rmdir()
    assert indexer.remove(toy.index, [folder / "b", folder / "a.mp4"]) == 3
    assert _shown(toy.index) == {"cyan"}


def test_a_path_through_a_link_names_the_same_videos(
    folder: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.parent / "link").symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    assert indexer.remove(toy.index, [Path("link/b")]) == 2
    assert indexer.remove(toy.index, [Path("link")]) == 2


def test_a_video_that_was_found_through_a_link_can_be_removed_by_that_path(
    folder: Path, toy: Settings, index_toy: Index
) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    write_video(elsewhere / "white.mp4", [("white", 1.0)], fps=5)
    (folder / "link").symlink_to(elsewhere)
    assert index_toy(folder).added == 1
    (hit,) = [hit for hit in search("white", toy.index) if hit.score > 0.9]
    assert indexer.remove(toy.index, [hit.path]) == 1
    index_toy(folder)
    assert indexer.remove(toy.index, [folder / "link" / "white.mp4"]) == 1


def test_a_name_that_is_not_utf8_can_be_removed(folder: Path, toy: Settings, index_toy: Index) -> None:
    path = (folder / "a.mp4").rename(folder / os.fsdecode(b"caf\xe9.mp4"))
    assert index_toy(folder).moved == 1
    assert indexer.remove(toy.index, [path]) == 1


def test_without_an_index_there_is_nothing_to_remove(tmp_path: Path) -> None:
    with pytest.raises(IndexMissing, match="cezsar index"):
        indexer.remove(tmp_path, [tmp_path])
    assert list(tmp_path.iterdir()) == []


# For good


def _bytes_of(index: Path) -> bytes:
    """All that the files of an index hold, one after another."""
    return b"\n".join(path.read_bytes() for path in sorted(index.rglob("*")) if path.is_file())


def _vector(index: Path, name: str) -> bytes:
    with closing(sqlite3.connect(index / store.FILE)) as database:
        query = "SELECT vector FROM segments JOIN videos ON videos.id = video_id WHERE path = ?"
        (found,) = database.execute(query, (name.encode(),)).fetchone()
    return bytes(found)


@pytest.fixture
def distinct(folder: Path, toy: Settings) -> Path:
    """The indexed folder; the toy's vectors, mostly zeros, are changed a little: no other bytes are like one."""
    generator = np.random.default_rng(5)
    with opening.open_to_write(toy.index) as catalog:
        with catalog.read() as known:
            ((ids, rows),) = list(known.vectors())
        rows = unit(rows + generator.normal(scale=0.01, size=rows.shape).astype(np.float32))
        with catalog.transaction() as writer:
            for number, row in zip(ids.tolist(), rows, strict=True):
                changed = (row.astype("<f4").tobytes(), number)
                writer._session.connection().exec_driver_sql("UPDATE segments SET vector = ? WHERE id = ?", changed)
        catalog.rebuild()
    return folder


def test_nothing_of_a_purged_video_is_left_in_any_file(distinct: Path, toy: Settings) -> None:
    vector, other = _vector(toy.index, "b/one.mp4"), _vector(toy.index, "a.mp4")
    assert vector in _bytes_of(toy.index)
    indexer.remove(toy.index, [distinct / "b" / "one.mp4"], purge=True)
    left = _bytes_of(toy.index)
    assert vector not in left
    assert b"b/one.mp4" not in left
    assert other in left
    assert sorted(path.name for path in toy.index.iterdir() if "purge" in path.name) == []


def test_a_reader_that_stays_open_keeps_nothing_in_the_log(distinct: Path, toy: Settings) -> None:
    vector = _vector(toy.index, "a.mp4")
    with Searcher(toy.index) as searcher:
        searcher.search("red")
        indexer.remove(toy.index, [distinct / "a.mp4"], purge=True)
        assert vector not in _bytes_of(toy.index)


def test_a_rollback_brings_no_purged_video_back(distinct: Path, toy: Settings, index_toy: Index) -> None:
    indexer.reembed(replace(toy, model=None, stride_s=2.0))
    (distinct / "a.mp4").rename(distinct / "moved.mp4")
    indexer.index([distinct], replace(toy, model=None))
    vector = _vector(toy.index, "a.mp4")  # in the older catalog, by its former name
    indexer.remove(toy.index, [distinct / "moved.mp4"], purge=True)
    left = _bytes_of(toy.index)
    assert vector not in left
    assert b"moved.mp4" not in left
    maintenance.roll_back(toy.index)
    assert _shown(toy.index) == {"green", "blue", "cyan"}
    assert "a.mp4" not in _videos(toy.index)


def test_a_copy_that_stays_is_not_taken_for_the_purged_one(folder: Path, toy: Settings, index_toy: Index) -> None:
    shutil.copyfile(folder / "a.mp4", folder / "copy.mp4")
    index_toy(folder)
    indexer.reembed(replace(toy, model=None, stride_s=2.0))
    indexer.remove(toy.index, [folder / "a.mp4"], purge=True)
    maintenance.roll_back(toy.index)
    assert sorted(_videos(toy.index)) == ["b/one.mp4", "b/two.mp4", "bc/one.mp4", "copy.mp4"]


def test_pictures_that_cannot_be_deleted_stop_a_purge_before_it_has_begun(
    folder: Path, toy: Settings, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    with opened(toy.index, make=True) as kept:
        kept.write(f"{'0' * 32}.jpg", b"x")
    before = _videos(toy.index)
    for path in (*toy.index.rglob("*"), toy.index):
        os.chown(path, 65534, 65534)
    for path in toy.index.parents[:4]:
        path.chmod(0o755)
    (toy.index / "media").chmod(0o500)
    with unprivileged(), pytest.raises(BadIndex, match=r"pictures in .* cannot be deleted"):
        indexer.remove(toy.index, [folder / "a.mp4"], purge=True)
    assert _videos(toy.index) == before
    (toy.index / "media").chmod(0o700)
    assert indexer.remove(toy.index, [folder / "a.mp4"], purge=True) == 1
    assert not (toy.index / "media").exists()


def test_a_purge_that_did_not_come_to_its_end_is_finished_by_the_same_again(
    distinct: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = _vector(toy.index, "a.mp4")

    def full(*_: object) -> None:
        raise BadIndex("The disk is full.")

    monkeypatch.setattr(Catalog, "scrub", full)
    with pytest.raises(BadIndex, match="full"):
        indexer.remove(toy.index, [distinct / "a.mp4"], purge=True)
    monkeypatch.undo()
    with opened(toy.index, make=True) as kept:
        kept.write(f"{'0' * 32}.jpg", b"x")
    assert indexer.remove(toy.index, [distinct / "a.mp4"], purge=True) == 0
    assert not (toy.index / "media").exists()
    assert vector not in _bytes_of(toy.index)
    with pytest.raises(QueryError, match="names no video"):
        indexer.remove(toy.index, [distinct / "a.mp4"], purge=True)
