"""Which files are new, changed, moved or gone: from stat and content hash against the catalog; embeds nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from cezsar.catalog import Failure, File, Video
from cezsar.digest import sha256
from cezsar.paths import VIDEO_SUFFIXES, below, is_gone, is_under, matches, spellings
from cezsar.types import Skipped

_SUFFIXES = frozenset(os.fsencode(suffix) for suffix in VIDEO_SUFFIXES)


@dataclass(slots=True)
class Plan:
    """What an indexing run has to do.

    embed: files with the row that each replaces, if any. place: rows whose file moved, came back or was only touched,
    with where it is now. hide: rows whose file is gone. forget: failures whose file is gone. notices: lines for the
    user.
    """

    embed: list[tuple[File, Video | None]] = field(default_factory=list)
    place: list[tuple[File, Video]] = field(default_factory=list)
    hide: list[Video] = field(default_factory=list)
    forget: list[bytes] = field(default_factory=list)
    num_moved: int = 0
    num_unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def changes_anything(self) -> bool:
        """Whether there is something to write."""
        return bool(self.embed or self.place or self.hide or self.forget)


def plan(
    paths: Sequence[Path],
    *,
    videos: Sequence[Video],
    roots: Sequence[bytes],
    failures: Mapping[bytes, Failure] = MappingProxyType({}),
    prune: bool | None = None,
    exclude: Sequence[str] = (),
) -> Plan:
    """Compare the videos under paths with the catalog's.

    prune True hides every row under paths whose file is gone, False none, None those of roots that are there and have
    kept at least half of their videos. A file that no row names and whose content is a gone row's takes that row
    over. failures, by path, are not tried again while their file is as it was.
    """
    found = Plan()
    by_path = {video.file.absolute: video for video in videos}
    starts = [_start(path, by_path) for path in paths]
    unknown: list[File] = []
    seen: set[bytes] = set()
    for start in starts:
        for absolute, file in _files(start, roots, exclude, found.skipped):
            if absolute not in seen:
                seen.add(absolute)
                _compare(file, by_path.get(absolute), failures.get(absolute), found, unknown)
    found.forget = [path for path in failures if path not in seen and is_gone(path)]
    missing = [video for path, video in by_path.items() if path not in seen and is_gone(path)]
    moved = _take_over(unknown, missing, found)
    for start in dict.fromkeys(starts):
        known = [video for path, video in by_path.items() if not video.hidden and is_under(path, start)]
        _prune(start, known, {video.id for video in missing} - moved, prune, found)
    return found


def compare(files: Sequence[File], known: Mapping[bytes, Video], failures: Mapping[bytes, Failure]) -> Plan:
    """What it takes to have these files, as they are now, in a catalog of known videos and failures, both by path."""
    found, unknown = Plan(), list[File]()
    for file in files:
        try:
            status = os.stat(file.absolute)
        except OSError as error:
            found.skipped.append(_unreadable(file.absolute, error))
            continue
        now = File.of(file.root, file.path, status)
        _compare(now, known.get(file.absolute), failures.get(file.absolute), found, unknown)
    found.embed += [(file, None) for file in unknown]
    return found


def _start(path: Path, known: Iterable[bytes]) -> bytes:
    """Which spelling of a path to go by: the one that the catalog has videos under, if only one has."""
    names = spellings(path)
    return next((name for name in names if any(is_under(absolute, name) for absolute in known)), names[0])


def _files(
    start: bytes, roots: Sequence[bytes], exclude: Sequence[str], skipped: list[Skipped]
) -> Iterator[tuple[bytes, File]]:
    """The candidate files under start, or start itself if it is a file, sorted, each with its whole path.

    A folder named twice is read once.
    """
    is_folder = os.path.isdir(start)
    base = start if is_folder else os.path.dirname(start)
    folder, root, length = b"", base, 0
    for absolute in _walk(start, skipped) if is_folder else [start]:
        if any(matches(absolute, base, glob) for glob in exclude):
            continue
        try:
            status = os.stat(absolute)
        except OSError as error:
            if not is_gone(absolute):
                skipped.append(_unreadable(absolute, error))
            continue
        if (above := os.path.dirname(absolute)) != folder:  # whose files have one root
            folder = above
            root = max((root for root in roots if is_under(folder, root)), key=len, default=base)
            length = len(below(root, b""))
        yield absolute, File.of(root, absolute[length:], status)


def _walk(start: bytes, skipped: list[Skipped]) -> Iterator[bytes]:
    """Paths below a folder with a video's extension, no hidden ones; linked folders come last, each folder once."""
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
            skipped.append(_unreadable(folder, error))
            continue
        below = []
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.path)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                linked.append(entry.path)
            elif entry.name[entry.name.rfind(b".") :].lower() in _SUFFIXES:
                yield entry.path
        folders += reversed(below)


def _compare(file: File, video: Video | None, failure: Failure | None, found: Plan, unknown: list[File]) -> None:
    stamp = (file.size, file.mtime_ns)
    same_stat = video is not None and stamp == (video.file.size, video.file.mtime_ns)
    if failure is not None and not same_stat and stamp == (failure.size, failure.mtime_ns):
        path = Path(os.fsdecode(file.absolute))
        found.skipped.append(Skipped(path, f"{failure.reason}; not tried again (--retry does)"))
        return
    if video is None:
        unknown.append(file)
        return
    if not same_stat and not _holds(file, video):
        found.embed.append((file, video))
        return
    found.num_unchanged += 1
    if video.hidden or not same_stat:
        found.place.append((file, video))


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


def _prune(start: bytes, known: Sequence[Video], missing: Container[int], prune: bool | None, found: Plan) -> None:
    """Hide what has gone from under start, by the careful rule."""
    there, name = not is_gone(start), os.fsdecode(start)
    gone = [video for video in known if video.id in missing]
    if not there and not known:
        found.skipped.append(Skipped(Path(name), "no such file or folder"))
    if not gone or prune is False:
        return
    if prune is None and (not there or 2 * len(gone) > len(known)):
        what = f"has lost {len(gone)} of {len(known)} videos" if there else "is missing"
        found.notices.append(f"{name} {what}: nothing was hidden. --prune hides what has gone.")
        return
    found.hide += [video for video in gone if video not in found.hide]


def _holds(file: File, video: Video) -> bool:
    """Whether the file's content is what the video was made from."""
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
