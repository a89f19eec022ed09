"""Changing an index's encoder, going back, letting go; backups and what is made of them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_videos import write_video

from cezsar import indexer, maintenance, store
from cezsar.encoders.toy import Toy
from cezsar.errors import BadIndex, IndexDamaged, IndexMissing
from cezsar.maintenance.doctor import diagnose
from cezsar.query import Searcher, search
from cezsar.server.media import Media
from cezsar.settings import Settings
from cezsar.store.local import homes, opening
from cezsar.types import IndexReport

SHADES = ("red", "green", "blue")


class Other(Toy):
    """Toy with other weights: its vectors are Toy's, the other way round."""

    identity = replace(Toy.identity, name="other", weights_sha256="f" * 64)

    def encode_segments(self, *arguments: object) -> np.ndarray:
        return np.ascontiguousarray(super().encode_segments(*arguments)[:, ::-1])  # type: ignore[arg-type]

    def encode_texts(self, *arguments: object) -> np.ndarray:
        return np.ascontiguousarray(super().encode_texts(*arguments)[:, ::-1])  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _other(monkeypatch: pytest.MonkeyPatch) -> None:
    """'other' is an encoder like any other."""
    from cezsar.encoders import registry

    monkeypatch.setitem(registry.MAKERS, "other", lambda *_: Other())


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for colour in SHADES:
        write_video(tmp_path / "videos" / f"{colour}.mp4", [(colour, 0.5)])
    return tmp_path / "videos"


@pytest.fixture
def made(videos: Path, toy: Settings, index_toy: Callable[..., IndexReport]) -> Settings:
    """The settings of an index of three colours, for a change to 'other'."""
    index_toy(videos)
    return replace(toy, model="other")


def model(index: Path) -> str:
    with store.open(index) as catalog:
        assert maintenance.verify(catalog).ok
        return catalog.info.encoder.name


def found(index: Path) -> list[str]:
    """The video that each colour finds first."""
    return [search(colour, index)[0].path.stem for colour in SHADES]


def test_every_video_is_found_by_the_new_vectors(made: Settings) -> None:
    report = indexer.reembed(made)
    assert (report.model, report.previous_model, report.videos, report.segments) == ("other", "toy", 3, 3)
    assert model(made.index) == "other"
    assert found(made.index) == list(SHADES)


def test_queries_go_on_with_the_old_vectors_until_the_end(made: Settings) -> None:
    class Watch:
        def comparing(self, path: Path, num_bytes: int) -> None: ...

        def start(self, num_videos: int, num_bytes: int) -> None: ...
        def skipped(self, path: Path, num_bytes: int, reason: str) -> None: ...
        def notice(self, line: str) -> None: ...

        def done(self, path: Path, num_bytes: int) -> None:
            assert model(made.index) == "toy"
            assert found(made.index) == list(SHADES)

    with Searcher(made.index) as before:
        indexer.reembed(made, progress=Watch())
        assert before.search("red")[0].path.stem == "red"  # as it was opened
        assert before.info.encoder.name == "toy"


def test_the_old_vectors_serve_again_after_a_rollback(made: Settings) -> None:
    indexer.reembed(made)
    assert maintenance.roll_back(made.index).encoder.name == "toy"
    assert model(made.index) == "toy"
    assert found(made.index) == list(SHADES)
    assert maintenance.roll_back(made.index).encoder.name == "other"
    assert model(made.index) == "other"


def test_what_came_since_is_embedded_after_a_rollback(made: Settings, toy: Settings, videos: Path) -> None:
    indexer.reembed(made)
    write_video(videos / "white.mp4", [("white", 0.5)])
    (videos / "red.mp4").rename(videos / "crimson.mp4")
    assert indexer.index([videos], replace(toy, model=None)).added == 1
    maintenance.roll_back(made.index)
    report = indexer.index([videos], toy)
    assert (report.added, report.moved, report.unchanged) == (1, 1, 2)
    assert search("white", made.index)[0].path.stem == "white"


def test_old_vectors_go_only_when_they_are_dropped(made: Settings) -> None:
    indexer.reembed(made)
    assert (made.index / store.FILE).is_file()
    assert maintenance.drop_older(made.index) > 0
    assert not (made.index / store.FILE).exists()
    assert model(made.index) == "other"
    with pytest.raises(IndexMissing, match="no older vectors"):
        maintenance.roll_back(made.index)
    assert maintenance.drop_older(made.index) == 0


def test_coming_back_to_an_encoder_embeds_only_what_is_new(made: Settings, videos: Path, toy: Settings) -> None:
    indexer.reembed(made)
    indexer.reembed(replace(made, model="toy"))
    write_video(videos / "white.mp4", [("white", 0.5)])
    indexer.index([videos], replace(toy, model=None))
    assert indexer.reembed(made).segments == 1
    assert found(made.index) == list(SHADES)


def test_another_sampling_is_a_change_too(made: Settings) -> None:
    indexer.reembed(replace(made, model=None, window_s=0.25, stride_s=0.25))
    with store.open(made.index) as catalog, catalog.read() as rows:
        assert catalog.info.sampling.window_s == 0.25
        assert rows.counts().segments == 6


def test_the_same_again_is_refused(made: Settings) -> None:
    with pytest.raises(BadIndex, match="already"):
        indexer.reembed(replace(made, model="toy"))


def test_a_video_that_is_not_there_stops_the_change_unless_that_is_allowed(made: Settings, videos: Path) -> None:
    away = videos.rename(videos.with_name("away"))
    with pytest.raises(BadIndex, match="3 of 3 videos could not be embedded anew"):
        indexer.reembed(made)
    away.rename(videos)
    (videos / "green.mp4").unlink()
    with pytest.raises(BadIndex, match=r"1 of 3 .*green\.mp4: no such file or directory.* nothing was switched"):
        indexer.reembed(made)
    assert model(made.index) == "toy"
    report = indexer.reembed(made, allow_missing=True)
    assert (report.videos, report.segments, len(report.skipped)) == (2, 0, 1)
    assert model(made.index) == "other"


def test_what_was_removed_meanwhile_does_not_come_back(made: Settings, videos: Path) -> None:
    (videos / "green.mp4").rename(videos / "green.hidden")
    with pytest.raises(BadIndex):
        indexer.reembed(made)
    (videos / "green.hidden").rename(videos / "green.mp4")
    indexer.remove(made.index, [videos / "red.mp4"])
    indexer.reembed(made)
    with Searcher(made.index) as searcher:
        assert {hit.path.stem for hit in searcher.search("red")} == {"green", "blue"}


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from cezsar import indexer
from cezsar.encoders import registry
from cezsar.encoders.toy import Toy
from cezsar.settings import load
class Other(Toy):
    identity = replace(Toy.identity, name="other", weights_sha256="f" * 64)
    def encode_segments(self, *arguments):
        return super().encode_segments(*arguments)[:, ::-1].copy()
registry.MAKERS["other"] = lambda *_: Other()
replaced = os.replace
moment = sys.argv[2]
def replacing(source, target):
    if moment == "before the switch" and Path(target).name == "current.json":
        os.kill(os.getpid(), signal.SIGKILL)
    replaced(source, target)
    if moment == "after the switch" and Path(target).name == "current.json":
        os.kill(os.getpid(), signal.SIGKILL)
    if moment == "before its first video" and Path(target).name == "catalog.sqlite":
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replacing
class Watch:
    def start(self, *_): pass
    def done(self, *_):
        if moment == "after a video":
            os.kill(os.getpid(), signal.SIGKILL)
indexer.reembed(load(environ={}, index=sys.argv[1], model="other"), progress=Watch())
"""


@pytest.mark.parametrize(
    ("moment", "serving", "num_left"),
    [
        ("before its first video", "toy", 3),
        ("after a video", "toy", 2),
        ("before the switch", "toy", 0),
        ("after the switch", "other", None),
    ],
)
def test_a_change_that_was_killed_goes_on_where_it_was(
    made: Settings, moment: str, serving: str, num_left: int | None
) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(made.index), moment], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert model(made.index) == serving
    assert found(made.index) == list(SHADES)
    if num_left is not None:
        assert indexer.reembed(made).segments == num_left
    assert model(made.index) == "other"
    assert found(made.index) == list(SHADES)


@pytest.mark.parametrize(
    "said", ["{", "[]", '{"current": "space-9", "previous": "."}', '{"current": "..", "previous": "."}']
)
def test_a_pointer_that_leads_nowhere_is_damage(made: Settings, said: str) -> None:
    (made.index / homes.POINTER).write_text(said)
    with pytest.raises(IndexDamaged, match=r"current\.json"):
        store.open(made.index)


def test_no_changed_bit_of_a_pointer_lets_older_vectors_answer(made: Settings) -> None:
    indexer.reembed(made)
    indexer.reembed(replace(made, model="toy"))
    pointer, serving = made.index / homes.POINTER, homes.home(made.index)
    sound = pointer.read_bytes()
    for place in range(8 * len(sound)):
        changed = bytearray(sound)
        changed[place // 8] ^= 1 << place % 8
        pointer.write_bytes(changed)
        with suppress(IndexDamaged):
            assert homes.home(made.index) == serving
    pointer.write_text(json.dumps({"current": "space-2", "previous": "."}))  # of before pointers had a checksum
    assert homes.home(made.index) == made.index / "space-2"


def test_a_writer_that_waited_for_the_change_writes_to_the_new_vectors(made: Settings, videos: Path) -> None:
    indexer.reembed(made)
    with opening.open_to_write(made.index) as catalog:
        assert catalog.info.encoder.name == "other"
        assert catalog.directory == made.index / "space-2"


# Somebody's own files in an index's folder

OWN = (
    "notes.new",
    "vectors-holiday.faiss",
    "space-2/mine.txt",
    "space-3/catalog.sqlite.txt",
    "space-4/photos/beach.jpg",
    "media.txt",
    "catalog.sqlite.bak",
    ".plan.cezsar-draft",
    "vectors.new",
    "catalog.sqlite.old.new",
)


def _plant(index: Path, elsewhere: Path) -> dict[str, bytes]:
    """Files of somebody's own in an index's folder, and links from there to a home folder; all of it, by path."""
    for name in OWN:
        (index / name).parent.mkdir(parents=True, exist_ok=True)
        (index / name).write_text(f"my {name}")
    (elsewhere / ".ssh").mkdir(parents=True)
    for name in (".ssh/id_ed25519", ".bashrc", "catalog.sqlite", "vectors-1-0123abcd.faiss", "a.new"):
        (elsewhere / name).write_text(f"my {name}")
    (index / "space-7").symlink_to(elsewhere)
    (index / "media").symlink_to(elsewhere)
    (index / "vectors-9-0123abcd.faiss").symlink_to(elsewhere / ".bashrc")
    return _mine(index, elsewhere)


def _mine(index: Path, elsewhere: Path) -> dict[str, bytes]:
    links = (index / "space-7", index / "media", index / "vectors-9-0123abcd.faiss")
    files = [*(index / name for name in OWN), *(path for path in elsewhere.rglob("*") if path.is_file())]
    return {str(path): path.read_bytes() for path in files} | {str(path): os.readlink(path).encode() for path in links}


def test_what_somebody_put_in_an_indexs_folder_survives_every_command(
    made: Settings, videos: Path, toy: Settings, tmp_path: Path
) -> None:
    before = _plant(made.index, tmp_path / "home")
    (made.index / "writer.json").write_text("{}")  # as if a writer had been killed
    maintenance.back_up(made.index, tmp_path / "b.sqlite")
    list(diagnose(made.index, model="toy", device="cpu"))
    indexer.index([videos], toy)
    with opening.open_to_write(made.index) as catalog:
        catalog.rebuild()
    indexer.reembed(made)
    maintenance.roll_back(made.index)
    maintenance.restore(tmp_path / "b.sqlite", made.index, replace=True)
    indexer.remove(made.index, [videos / "red.mp4"], purge=True)
    with Media(made.index):
        pass
    told: list[str] = []
    assert maintenance.drop_older(made.index, notice=told.append) > 0
    assert _mine(made.index, tmp_path / "home") == before


def test_a_folder_of_older_vectors_that_holds_something_else_stays_with_it_and_that_is_said(made: Settings) -> None:
    indexer.reembed(made)
    maintenance.roll_back(made.index)
    (made.index / "space-2" / "mine.txt").write_text("mine")
    told: list[str] = []
    assert maintenance.drop_older(made.index, notice=told.append) > 0
    assert [line.split(":")[0] for line in told] == [f"{made.index / 'space-2'} stays"]
    assert sorted(path.name for path in (made.index / "space-2").iterdir()) == ["mine.txt", "writer.lock"]
    with pytest.raises(IndexMissing):
        maintenance.roll_back(made.index)


# backups


def test_a_backup_is_taken_while_others_write_and_is_one_file(made: Settings, tmp_path: Path) -> None:
    with opening.open_to_write(made.index) as catalog, catalog.transaction() as writer:
        writer.hide_videos([1])
        maintenance.back_up(made.index, tmp_path / "b.sqlite")
    assert sorted(path.name for path in tmp_path.glob("b.sqlite*")) == ["b.sqlite"]
    maintenance.restore(tmp_path / "b.sqlite", tmp_path / "again")
    assert found(tmp_path / "again") == list(SHADES)  # what was not committed is not in it
    assert model(tmp_path / "again") == "toy"


def test_a_backup_replaces_a_file_only_when_asked(made: Settings, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(BadIndex, match="there already"):
        maintenance.back_up(made.index, tmp_path / "b")
    assert (tmp_path / "b").read_text() == "mine"
    assert maintenance.back_up(made.index, tmp_path / "b", replace=True) == (tmp_path / "b").stat().st_size
    with pytest.raises(BadIndex, match="cannot be"):
        maintenance.back_up(made.index, tmp_path / "none" / "b")


def test_restoring_keeps_the_index_that_was_there(made: Settings, videos: Path, toy: Settings, tmp_path: Path) -> None:
    maintenance.back_up(made.index, tmp_path / "b")
    write_video(videos / "white.mp4", [("white", 0.5)])
    indexer.index([videos], toy)
    with pytest.raises(BadIndex, match="already"):
        maintenance.restore(tmp_path / "b", made.index)
    maintenance.restore(tmp_path / "b", made.index, replace=True)
    assert model(made.index) == "toy"
    assert search("white", made.index)[0].score < 0.5
    maintenance.roll_back(made.index)
    assert search("white", made.index)[0].path.stem == "white"


def test_a_backup_of_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "data" / "catalogs" / "0001.sqlite"
    maintenance.restore(golden, tmp_path / "index")
    assert store.current(tmp_path / "index") == store.REVISION


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "text"])
def test_what_is_no_sound_backup_is_refused_and_changes_nothing(made: Settings, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "b"
    maintenance.back_up(made.index, file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "other":
        file.unlink()
        with closing(sqlite3.connect(file)) as database:
            database.execute("CREATE TABLE a (b)")
    else:
        file.write_bytes({"empty": b"", "text": b"no database" * 1000}[damage])
    with pytest.raises(IndexDamaged, match="not a sound catalog"):
        maintenance.restore(file, made.index, replace=True)
    with pytest.raises(IndexDamaged):
        maintenance.restore(file, tmp_path / "new")
    assert found(made.index) == list(SHADES)
    assert not (tmp_path / "new").exists()
