"""Which files are new, changed, moved or gone: from stat and content hash against the catalog; embeds nothing."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeAlias

from cezsar.digest import sha256
from cezsar.errors import VideoLost
from cezsar.indexer import addresses
from cezsar.paths import (
    OTHER_SUFFIXES,
    VIDEO_SUFFIXES,
    address,
    below,
    is_gone,
    is_nobodys,
    is_under,
    matches,
    spellings,
)
from cezsar.store import Failure, File, Video
from cezsar.types import Skipped

Comparing: TypeAlias = Callable[[Path, int], None]
"""Hears of a file, and of its bytes, before its content is compared."""

_SUFFIXES = frozenset(os.fsencode(suffix) for suffix in VIDEO_SUFFIXES)
_OTHERS = frozenset(os.fsencode(suffix) for suffix in OTHER_SUFFIXES)
_SUFFIX = re.compile(rb"\.[a-z0-9][a-z0-9_+-]{0,9}")  # what a kind of file is known by, and no part of a sentence
_TEXTS_TOO = frozenset(  # that programs' sources and other texts end in, too
    b".amc .anm .avs .crm .dif .drc .imx .mod .mods .movie .mps .mts .mve .ps .rec .ser .tod .tp .ts .tts"
    b" .vid .vr".split()
)
_OF_TEXT = bytes(set(range(32, 256)) - {0x7F} | set(b"\t\n\v\f\r\x1b"))
_BEGINNING = 512  # bytes that tell a text
_MANY = 2_000  # files that are looked up at once
_SEPARATOR = os.fsencode(os.sep)


@dataclass(slots=True)
class Plan:
    """What an indexing run has to do.

    embed: files with the row that each replaces, if any. place: rows whose file moved, came back or was only touched,
    with where it is now. note: rows that lack facts of their file that are known by now: no reason to write, but
    written along with other changes. hide: rows whose file is gone. forget: failures whose file is gone. notices: lines
    for the user. left_out: how many files with an unknown suffix were left out, by suffix. num_texts: how many text
    files were left out that have a video's name.
    """

    embed: list[tuple[File, Video | None]] = field(default_factory=list)
    place: list[tuple[File, Video]] = field(default_factory=list)
    note: list[tuple[File, Video]] = field(default_factory=list)
    hide: list[Video] = field(default_factory=list)
    forget: list[bytes] = field(default_factory=list)
    num_moved: int = 0
    num_unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    num_texts: int = 0

    @property
    def changes_anything(self) -> bool:
        """Whether there is something to write."""
        return bool(self.embed or self.place or self.hide or self.forget)


class Known(Protocol):
    """The questions to a catalog's rows before a run, never for all rows at once; store.Rows answers them."""

    def roots(self) -> list[bytes]:
        """The folders that videos are kept relative to."""

    def videos_at(self, paths: Sequence[bytes]) -> dict[bytes, Video]:
        """The videos of these whole paths, hidden ones too, by path."""

    def any_under(self, path: bytes) -> bool:
        """Whether a video, hidden or not, is this whole path or lies under it."""

    def num_shown_under(self, path: bytes) -> int:
        """How many visible videos are this whole path or lie under it."""

    def pages(self, *, but: Container[int]) -> Iterator[Sequence[Video]]:
        """All videos, hidden ones too, except those with an id in but: by id, some thousands at once."""


def plan(
    paths: Sequence[Path],
    *,
    known: Known | None,
    failures: Mapping[bytes, Failure] = MappingProxyType({}),
    prune: bool | None = None,
    exclude: Sequence[str] = (),
    check_content: bool = False,
    comparing: Comparing | None = None,
) -> Plan:
    """Compare the videos under paths with the catalog's, known; None if there is none yet.

    A known file is unchanged if its size, times and inode are; if not, or with check_content, its content is compared,
    which reads it whole: comparing hears of each one before.

    prune True hides every row under paths whose file is gone, False none, None those of roots that are there and have
    kept at least half of their videos. A file that no row names and whose content is a gone row's takes that row
    over. failures, by path, are not tried again while their file is as it was.
    """
    found = Plan()
    starts = [_start(path, known) for path in paths]
    roots = known.roots() if known else []
    unknown: list[File] = []
    seen, new, texts = _Numbers(), set[bytes](), set[bytes]()
    places = _Places()
    files = (
        one
        for start in starts
        for one in (_at(start, exclude, found, places) if address(start) else _files(start, roots, exclude, found))
    )
    while some := list(islice(files, _MANY)):
        there = known.videos_at([absolute for absolute, _ in some]) if known else {}
        for absolute, file in some:
            video, failure = there.get(absolute), failures.get(absolute)
            if absolute in new or (video and video.id in seen):
                continue
            if video:
                seen.add(video.id)
            else:
                new.add(absolute)
                if absolute not in starts and _is_text(absolute):
                    found.num_texts += 1
                    texts.add(absolute)
                    continue
            _compare(file, video, failure, found, unknown, check_content=check_content, comparing=comparing)
    found.forget = [path for path in failures if path in texts or is_gone(path)]
    others = chain.from_iterable(known.pages(but=seen)) if known else ()
    missing = [v for v in others if is_gone(v.file.absolute) or places.lack(v.file.absolute)]
    moved = _take_over(unknown, missing, found)
    for start in dict.fromkeys(starts):
        gone = [v for v in missing if not v.hidden and v.id not in moved and is_under(v.file.absolute, start)]
        _prune(start, known.num_shown_under(start) if known else 0, gone, prune, found)
    return found


class _Numbers:
    """A set of numbers, one byte for each that could be in it."""

    def __init__(self) -> None:
        self._are_in = bytearray()

    def add(self, number: int) -> None:
        if number >= len(self._are_in):
            self._are_in.extend(bytes(number + 1 - len(self._are_in) + _MANY))
        self._are_in[number] = 1

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and number < len(self._are_in) and self._are_in[number] == 1


def compare(files: Sequence[File], known: Mapping[bytes, Video], failures: Mapping[bytes, Failure]) -> Plan:
    """The changes that bring these files, as they are now, into a catalog of known videos and failures, both by
    path."""
    found, unknown = Plan(), list[File]()
    for file in files:
        try:
            is_file = address(file.absolute) is None
            now = File.of(file.root, file.path, os.stat(file.absolute)) if is_file else addresses.now(file)
        except OSError as error:
            found.skipped.append(_unreadable(file.absolute, error))
            continue
        except VideoLost as error:
            found.skipped.append(Skipped(file.full_path, str(error)))
            continue
        _compare(now, known.get(file.absolute), failures.get(file.absolute), found, unknown)
    found.embed += [(file, None) for file in unknown]
    return found


def _start(path: Path, known: Known | None) -> bytes:
    """Which spelling of a path to go by: the one that the catalog has videos under, if only one has."""
    names = spellings(path)
    return next((name for name in names if known and known.any_under(name)), names[0])


def _files(start: bytes, roots: Sequence[bytes], exclude: Sequence[str], found: Plan) -> Iterator[tuple[bytes, File]]:
    """The candidate files under start, or start itself if it is a file, sorted, each with its whole path.

    A folder named twice is read once.
    """
    is_folder = os.path.isdir(start)
    base = start if is_folder else os.path.dirname(start)
    folder, root, length = b"", base, 0
    for absolute in _walk(start, found) if is_folder else [start]:
        if exclude and any(matches(absolute, base, glob) for glob in exclude):
            continue
        try:
            status = os.stat(absolute)
        except OSError as error:
            if not is_gone(absolute):
                found.skipped.append(_unreadable(absolute, error))
            continue
        if (above := absolute[: absolute.rfind(_SEPARATOR)] or _SEPARATOR) != folder:  # whose files have one root
            folder = above
            root = max((root for root in roots if is_under(folder, root)), key=len, default=base)
            length = len(below(root, b""))
        yield absolute, File.of(root, absolute[length:], status)


def _at(start: bytes, exclude: Sequence[str], found: Plan, places: _Places) -> Iterator[tuple[bytes, File]]:
    """The candidate files at an address, as _files has them of a folder."""
    try:
        for file in addresses.listed(start):
            absolute, suffix = file.absolute, file.path[file.path.rfind(b".") :].lower()
            if absolute == start or not (
                any(is_nobodys(name) for name in file.path.split(b"/"))
                or any(matches(absolute, start, glob) for glob in exclude)
                or suffix not in _SUFFIXES
            ):
                yield absolute, file
                continue
            places.left_out.add(absolute)
            if suffix not in _SUFFIXES and suffix not in _OTHERS and _SUFFIX.fullmatch(suffix):
                found.left_out[os.fsdecode(suffix)] += 1
        places.listed.append(start)
    except VideoLost as error:
        found.skipped.append(Skipped(Path(os.fsdecode(start)), str(error)))


@dataclass(slots=True)
class _Places:
    """Addresses that were listed to their ends, and what is there and was left out."""

    listed: list[bytes] = field(default_factory=list)
    left_out: set[bytes] = field(default_factory=set)

    def lack(self, path: bytes) -> bool:
        """Whether a path that was not seen is gone from an address."""
        return path not in self.left_out and any(is_under(path, start) for start in self.listed)


def _walk(start: bytes, found: Plan) -> Iterator[bytes]:
    """Paths below a folder with a video's suffix, but what is nobody's; linked folders come last, each folder once."""
    visited: set[tuple[int, int]] = set()
    folders, linked = [start], list[bytes]()
    while folders or linked:
        folder = folders.pop() if folders else linked.pop(0)
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            found.skipped.append(_unreadable(folder, error))
            continue
        below = []
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not is_nobodys(entry.name):
                    below.append(entry.path)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                if not is_nobodys(entry.name):
                    linked.append(entry.path)
            elif (suffix := entry.name[entry.name.rfind(b".") :].lower()) in _SUFFIXES:
                yield entry.path
            elif suffix not in _OTHERS and _SUFFIX.fullmatch(suffix):
                found.left_out[os.fsdecode(suffix)] += 1
        folders += reversed(below)


def untouched(file: File, was: File | Failure) -> bool:
    """Whether a file's size, times and inode are what they were, as far as these were kept."""
    return (
        (file.size, file.mtime_ns) == (was.size, was.mtime_ns)
        and was.inode in (None, file.inode)
        and was.ctime_ns in (None, file.ctime_ns)
    )


def _compare(
    file: File,
    video: Video | None,
    failure: Failure | None,
    found: Plan,
    unknown: list[File],
    *,
    check_content: bool = False,
    comparing: Comparing | None = None,
) -> None:
    is_same = video is not None and untouched(file, video.file)
    if failure is not None and not is_same and untouched(file, failure):
        reason = f"{failure.reason}; not tried again (--retry does)"
        found.skipped.append(Skipped(file.full_path, reason, was_known=True))
        return
    if video is None:
        unknown.append(file)
        return
    if check_content or not is_same:
        if comparing and file.size == video.file.size:
            comparing(file.full_path, file.size)
        if not _holds(file, video):
            found.embed.append((file, video))
            return
    found.num_unchanged += 1
    if video.hidden or not is_same:
        found.place.append((file, video))
    elif video.file.inode is None:
        found.note.append((file, video))


def _is_text(path: bytes) -> bool:
    """Whether a file is text, though its name may be a video's: TypeScript is called .ts, as recordings are."""
    if address(path) or path[path.rfind(b".") :].lower() not in _TEXTS_TOO:
        return False
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            beginning = file.read(_BEGINNING) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:  # whoever reads it says why
        return False
    return beginning != b"" and not beginning.translate(None, _OF_TEXT)


def _take_over(unknown: Sequence[File], missing: Sequence[Video], found: Plan) -> set[int]:
    """Give each unknown file the row of a missing one with the same content, if any; returns those rows' ids."""
    lost: dict[int, list[Video]] = {}
    for video in sorted(missing, key=lambda video: video.hidden):
        lost.setdefault(video.file.size, []).append(video)
    moved: set[int] = set()
    for file in unknown:
        same = next((v for v in lost.get(file.size, []) if v.id not in moved and _holds(file, v)), None)
        if same is None:
            found.embed.append((file, None))
        else:
            found.place.append((file, same))
            moved.add(same.id)
    found.num_moved = len(moved)
    return moved


def _prune(start: bytes, num_shown: int, gone: Sequence[Video], prune: bool | None, found: Plan) -> None:
    """Hide what has gone of the visible videos under start, by the careful rule."""
    there, name = not is_gone(start), os.fsdecode(start)
    if not there and not num_shown:
        found.skipped.append(Skipped(Path(name), "no such file or folder"))
    if not gone or prune is False:
        return
    if prune is None and (not there or 2 * len(gone) > num_shown):
        what = f"has lost {len(gone)} of {num_shown} videos" if there else "is missing"
        found.notices.append(f"{name} {what}: nothing was hidden. --prune hides its missing videos.")
        return
    found.hide += [video for video in gone if video not in found.hide]


def _holds(file: File, video: Video) -> bool:
    """Whether the file's content is what the video was made from; of one at an address that is not asked."""
    if address(file.absolute):
        return False
    try:
        return (
            file.size == video.file.size
            and stat.S_ISREG(os.stat(file.absolute).st_mode)
            and sha256(file.absolute) == video.content_sha256
        )
    except OSError:
        return False


def _unreadable(path: bytes, error: OSError) -> Skipped:
    return Skipped(Path(os.fsdecode(path)), (error.strerror or "unreadable").lower())
