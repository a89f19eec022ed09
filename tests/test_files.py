"""Files that appear whole."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from cezsar.files import appearing, forget_drafts, write
from cezsar.folders import filling


def _modes(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_appears_whole_with_its_content(tmp_path: Path) -> None:
    with appearing(tmp_path / "a.txt", durable=True) as draft:
        draft.write_text("half")
        assert not (tmp_path / "a.txt").exists()
        draft.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_what_fails_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    def fail() -> None:
        with appearing(tmp_path / "a.txt") as draft:
            draft.write_text("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_what_is_written_at_once_replaces_an_older_file(tmp_path: Path) -> None:
    for content in (b"old and longer", b"new"):
        write(tmp_path / "a.txt", content, private=True)
        assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.txt", content)]
    assert _modes(tmp_path / "a.txt") == 0o600
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "a.txt", b"")


def test_two_threads_do_not_share_a_draft(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def write(name: str) -> None:
        with appearing(tmp_path / name) as draft:
            draft.write_text(name)
            both.wait(10)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "a", "b": "b"}


def test_private_files_are_the_owner_s_alone_and_others_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with appearing(tmp_path / "mine", private=True) as draft:
            draft.write_text("x")
        with appearing(tmp_path / "theirs") as draft:
            draft.write_text("x")
    finally:
        os.umask(before)
    assert (_modes(tmp_path / "mine"), _modes(tmp_path / "theirs")) == (0o600, 0o640)


def test_the_longest_name_has_a_draft_too(tmp_path: Path) -> None:
    for name in ("a" * 255, "é" * 127):
        with appearing(tmp_path / name) as draft:
            draft.write_text("x")
        assert (tmp_path / name).read_text() == "x"


def test_only_drafts_are_forgotten(tmp_path: Path) -> None:
    kept = (".notes.new", "report.new", ".a.0123456789abcdef.cezsar-draft.txt", ".cezsar-draft", "a.cezsar-draft")
    for name in (*kept, ".vectors.json.0123456789abcdef.cezsar-draft"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".b.0123456789abcdef.cezsar-draft").mkdir()
    (tmp_path / ".c.0123456789abcdef.cezsar-draft").symlink_to(tmp_path / "report.new")
    forget_drafts(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*kept, ".b.0123456789abcdef.cezsar-draft", ".c.0123456789abcdef.cezsar-draft"}


def test_nothing_is_forgotten_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    draft = tmp_path / "home" / ".a.0123456789abcdef.cezsar-draft"
    draft.write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "home")
    forget_drafts(tmp_path / "link")
    assert draft.exists()


# Folders


def _tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_takes_all_files_of_its_draft_and_keeps_its_others(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    for name in ("a", "mine"):
        (tmp_path / "best" / name).write_text("old")
    with filling(tmp_path / "best") as draft:
        for name in ("a", "b"):
            (draft / name).write_text("new")
        assert _tree(tmp_path / "best") == {"a": "old", "mine": "old"}
    assert _tree(tmp_path) == {"best/a": "new", "best/b": "new", "best/mine": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_the_last_name_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append(Path(new).name), replace(old, new)))
    with filling(tmp_path / "last") as draft:
        for name in ("state", "config", "model"):
            (draft / name).touch()
    assert order == ["config", "model", "state"]


def test_a_folder_that_fails_stays_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "a").write_text("old")

    def fail() -> None:
        with filling(tmp_path / "best") as draft:
            (draft / "a").write_text("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert _tree(tmp_path) == {"best/a": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_only_drafts_of_the_same_folder_are_forgotten_and_through_no_link(tmp_path: Path) -> None:
    home, run = tmp_path / "home", tmp_path / "run"
    kept = (home / "a", run / ".last.0123456789abcdef.cezsar-draft" / "a", run / ".best.cezsar-draft" / "a")
    killed = run / ".best.0123456789abcdef.cezsar-draft" / "a"
    for path in (*kept, killed):
        path.parent.mkdir(parents=True)
        path.write_text("x")
    (run / ".best.00000000000000ff.cezsar-draft").symlink_to(home)
    with filling(run / "best"):
        pass
    assert not killed.parent.exists()
    assert [path.exists() for path in kept] == [True] * 3
    (tmp_path / "link").symlink_to(run)
    killed.parent.mkdir()
    with filling(tmp_path / "link" / "best"):
        pass
    assert killed.parent.exists()
