"""Paths as bytes, as text, and as globs name them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cezsar.paths import VIDEO_SUFFIXES, called, canonical, is_under, matches, path_fields, readable, under


def test_canonical_is_absolute_and_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = os.path.realpath(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", home)
    assert canonical(Path("a.mp4")) == os.fsencode(home) + b"/a.mp4"
    assert canonical(Path("gone/../b//./a.mp4")) == os.fsencode(home) + b"/b/a.mp4"
    assert canonical(Path()) == os.fsencode(home)
    assert canonical(Path("~/a.mp4")) == os.fsencode(home) + b"/a.mp4"
    assert canonical(Path("/")) == b"/"
    assert canonical(Path(os.fsdecode(b"caf\xe9.mp4"))) == os.fsencode(home) + b"/caf\xe9.mp4"


def test_canonical_resolves_linked_folders_and_keeps_a_linked_file_by_its_own_name(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "sub").mkdir(parents=True)
    (real / "a.mp4").touch()
    (tmp_path / "folder").symlink_to(real)
    (tmp_path / "file.mp4").symlink_to(real / "a.mp4")
    (tmp_path / "nowhere.mp4").symlink_to(real / "gone.mp4")
    base = os.fsencode(os.path.realpath(tmp_path))
    assert canonical(tmp_path / "folder") == base + b"/real"
    assert canonical(tmp_path / "folder" / "sub") == base + b"/real/sub"
    assert canonical(tmp_path / "folder" / "a.mp4") == base + b"/real/a.mp4"
    assert canonical(tmp_path / "folder" / "gone.mp4") == base + b"/real/gone.mp4"
    assert canonical(tmp_path / "file.mp4") == base + b"/file.mp4"
    assert canonical(tmp_path / "nowhere.mp4") == base + b"/nowhere.mp4"


def test_canonical_takes_a_name_with_a_tilde_that_is_nobodys_home_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert canonical(Path("~draft of nobody.mp4")) == os.fsencode(os.path.realpath(tmp_path)) + b"/~draft of nobody.mp4"


@pytest.mark.parametrize(
    ("path", "start", "expected"),
    [
        (b"/a/b", b"/a/b", True),
        (b"/a/b", b"/a", True),
        (b"/a/b/c.mp4", b"/a", True),
        (b"/a/b", b"/", True),
        (b"/", b"/", True),
        (b"/a/bc", b"/a/b", False),
        (b"/a", b"/a/b", False),
        (b"/a/\xe9/c", b"/a/\xe9", True),
    ],
)
def test_under_means_the_folder_itself_or_below_it(path: bytes, start: bytes, expected: bool) -> None:
    assert is_under(path, start) is expected


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("/v/holiday/day 1/beach.mp4", True),
        ("/v/*.mp4", True),
        ("holiday/day 1/beach.mp4", True),
        ("holiday/*", True),
        ("beach.mp4", True),
        ("day 1", True),
        ("day ?", True),
        ("b[a-e]ach.*", True),
        ("v", False),
        ("day", False),
        ("1/beach.mp4", False),
        ("Beach.mp4", False),
        ("*.MP4", False),
        ("", False),
    ],
)
def test_a_glob_names_the_path_the_path_below_its_base_or_a_part_of_that(glob: str, expected: bool) -> None:
    assert matches(b"/v/holiday/day 1/beach.mp4", b"/v", glob) is expected


def test_a_glob_works_below_the_root_of_the_file_system_and_on_names_that_are_not_utf8() -> None:
    assert matches(b"/v/a.mp4", b"/", "v/a.mp4")
    assert matches(b"/v/caf\xe9.mp4", b"/v", "caf?.mp4")


def _nfd(text: str) -> bytes:
    return unicodedata.normalize("NFD", text).encode()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "glob",
    ["*Caf\u00e9*", "W\u00fcrzburg", "W\u00fcrzburg/", "/v/W\u00fcrzburg", "W\u00fcrzburg/Caf\u00e9.mp4", "Caf?.mp4"],
)
def test_typed_and_copied_letters_are_the_same(glob: str, form: str) -> None:
    for path in (_nfd("/v/W\u00fcrzburg/Caf\u00e9.mp4"), "/v/W\u00fcrzburg/Caf\u00e9.mp4".encode()):
        assert matches(path, b"/v", unicodedata.normalize(form, glob))
    assert not matches(b"/v/Wurzburg/Kaffee.mp4", b"/v", unicodedata.normalize(form, glob))


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("Dog [dQw4].mp4", True),
        ("/v/Trip [2019]/Dog [dQw4].mp4", True),
        ("Trip [2019]/Dog [dQw4].mp4", True),
        ("Trip [2019]", True),
        ("Trip [2019]/", True),
        ("/v/Trip [2019]", True),
        ("/v/Trip [2019]/", True),
        ("/v", True),
        ("/", True),
        ("*[[]2019]*", True),
        ("Trip ?2019?", True),
        ("rip [2019]", False),
        ("/v/Trip", False),
        ("Trip [2019]x", False),
    ],
)
def test_a_name_is_itself_before_it_is_a_glob(glob: str, expected: bool) -> None:
    assert matches(b"/v/Trip [2019]/Dog [dQw4].mp4", b"/v", glob) is expected


def test_a_folder_names_what_is_below_it_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = os.path.realpath(tmp_path)
    (tmp_path / "videos" / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "videos")
    path, base = os.fsencode(home) + b"/videos/a/b/c.mp4", os.fsencode(home) + b"/videos"
    monkeypatch.chdir(tmp_path)
    for glob in ("videos/a", "videos/a/", "./videos", "a/b", "a/b/", "a/?", "link/a", f"{home}/videos/a/"):
        assert matches(path, base, glob), glob
    for glob in ("videos/b", "b/a", "videos/a/b/c", "ink/a", "../videos/a"):
        assert not matches(path, base, glob), glob


def test_what_no_path_can_be_called_names_nothing() -> None:
    for glob in ("\0", "\ud800", "a\0/b", "~nobody-has-this-name/a"):
        assert not matches(b"/v/a.mp4", b"/v", glob)


def test_the_very_bytes_win_before_letters_that_look_the_same() -> None:
    composed, decomposed, bad = "/v/caf\u00e9.mp4".encode(), _nfd("/v/caf\u00e9.mp4"), b"/v/caf\xe9.mp4"
    for path in (composed, decomposed, bad):
        assert called(Path(os.fsdecode(path)), [composed, decomposed, bad]) == [path]
    assert called(Path(os.fsdecode(composed)), [decomposed, bad]) == [decomposed]
    assert called(Path(os.fsdecode(bad)), [composed, decomposed]) == []
    assert under(Path(os.fsdecode(composed)).parent, [decomposed, b"/w/a.mp4"]) == [decomposed]
    assert called(Path("/v"), [decomposed]) == []


def test_canonical_finds_the_decomposed_name_of_what_was_typed_composed(tmp_path: Path) -> None:
    base = os.fsencode(os.path.realpath(tmp_path))
    folder, typed = base + b"/" + _nfd("W\u00fcrzburg"), "W\u00fcrzburg/Caf\u00e9.mp4"
    os.mkdir(folder)
    assert canonical(tmp_path / typed) == folder + "/Caf\u00e9.mp4".encode()
    open(folder + b"/" + _nfd("Caf\u00e9.mp4"), "x").close()
    assert canonical(tmp_path / typed) == folder + b"/" + _nfd("Caf\u00e9.mp4")
    open(folder + "/Caf\u00e9.mp4".encode(), "x").close()
    assert canonical(tmp_path / typed) == folder + "/Caf\u00e9.mp4".encode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v/a b.mp4", "/v/a b.mp4"),
        ("/v/海.mp4", "/v/海.mp4"),
        ("/v/two\nlines.mp4", "/v/two\\x0alines.mp4"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        (os.fsdecode(b"caf\xe9.mp4"), "caf\\xe9.mp4"),
        ("\ud800", "\\ud800"),
        ("👩\u200d👧.mp4", "👩\u200d👧.mp4"),
    ],
)
def test_readable_escapes_what_is_not_safe_to_print(path: str, expected: str) -> None:
    assert readable(path) == expected


def test_readable_takes_a_path() -> None:
    assert readable(Path("/v/\x07.mp4")) == "/v/\\x07.mp4"


@given(st.binary())
def test_whatever_the_name_what_is_readable_is_one_line_that_utf8_can_hold(name: bytes) -> None:
    shown = readable(os.fsdecode(name))
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert {unicodedata.category(c) for c in shown if c != "\u200d"}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


def test_a_utf8_path_needs_no_bytes() -> None:
    assert path_fields(Path("/v/海\n.mp4")) == {"path": "/v/海\n.mp4"}


def test_a_path_that_is_not_utf8_is_given_in_bytes_too() -> None:
    path = Path(os.fsdecode(b"/v/caf\xe9.mp4"))
    assert path_fields(path) == {"path": "/v/caf\\xe9.mp4", "path_bytes": "L3YvY2Fm6S5tcDQ="}


def test_a_video_s_suffix_is_lower_case_and_has_its_dot_and_is_no_picture_s_sound_s_or_subtitle_s() -> None:
    assert all(suffix == suffix.lower() and suffix.rfind(".") == 0 for suffix in VIDEO_SUFFIXES)
    assert VIDEO_SUFFIXES.isdisjoint((".jpg", ".png", ".avif", ".heic", ".mp3", ".m4a", ".mka", ".srt", ".mks", ".txt"))
