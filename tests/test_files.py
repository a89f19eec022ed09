"""Files that appear whole."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from cezsar.files import appearing, forget_drafts


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
