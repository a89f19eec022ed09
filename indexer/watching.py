"""Watching folders: files are indexed as they come, go and change, each once it has stopped growing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeAlias

from cezsar import encoders, store
from cezsar.encoders import Encoder
from cezsar.errors import CezsarError
from cezsar.indexer.pipeline import Progress, index
from cezsar.paths import VIDEO_SUFFIXES
from cezsar.settings import Settings
from cezsar.types import IndexReport

_TICK_S = 1.0
_AGAIN_S = 30.0  # after a run that failed, as when another process writes, or the disk is full
_State: TypeAlias = "tuple[int, int, int] | None"  # a file's inode, size and mtime in ns; None if it is not there


class Ended(Protocol):
    """Whether the watching is to end; a threading.Event is one."""

    def is_set(self) -> bool: ...


def watch(
    paths: Sequence[Path],
    settings: Settings,
    *,
    exclude: Sequence[str] = (),
    settle_s: float = 5.0,
    progress: Progress,
    ended: Ended,
) -> Iterator[IndexReport]:
    """Index paths as index() does, then again whenever something under them has changed; one report a run.

    A file is taken when its size and time have stayed the same for settle_s seconds: until then it is left out of the
    runs that other files cause. A folder that vanishes is waited for. A run that fails is told to progress, and
    repeated after 30 s. Raises CezsarError if watchfiles is not installed, if none of the paths is there, or if the
    first run fails.
    """
    watcher = _watcher()
    if not any(os.path.exists(path) for path in paths):
        raise CezsarError(f"There is nothing to watch: {', '.join(map(str, paths))} is not there.")
    growing = _Growing(settle_s)
    growing.saw(_young(paths, settle_s))
    encoder: Encoder | None = None
    due_s = 0.0  # when the next run is due, if anything has changed
    is_first = has_changed = True
    missing: set[Path] = set()
    while not ended.is_set():
        roots = [path for path in paths if os.path.exists(path)]
        for path in set(paths) - set(roots) - missing:
            progress.notice(f"{path} has gone: it is watched again when it comes back")
        if back := missing.intersection(roots):
            growing.saw(_young(sorted(back), settle_s))
            has_changed = True
        missing = set(paths) - set(roots)
        before = _identities(roots)
        for changes in watcher(roots, ended) if roots else _idle():
            has_changed |= growing.saw(changes)
            has_changed |= growing.settle()
            if has_changed and time.monotonic() >= due_s:
                try:
                    if not is_first and encoder is None:
                        encoder = _loaded(settings)
                    yield index(
                        roots, settings, encoder=encoder, exclude=(*exclude, *growing.names()), progress=progress
                    )
                except (CezsarError, OSError) as error:
                    if is_first:
                        raise
                    progress.notice(f"{error} Trying again in {_AGAIN_S:g} s.")
                    due_s = time.monotonic() + _AGAIN_S
                else:
                    has_changed = is_first = False
            if ended.is_set() or _identities(paths) != before:
                break


class _Growing:
    """Files that have changed lately, each with its state and since when it has been so."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._files: dict[str, tuple[_State, float]] = {}

    def saw(self, changed: Iterable[str]) -> bool:
        """Note that these have changed; whether one of them can be taken at once, since it is a folder, or gone."""
        is_due = False
        for path in changed:
            state = _state(path)
            suffix = os.path.splitext(path)[1].lower()
            if os.path.isdir(path):  # it may have come with files that nobody was told of
                is_due = True
                self.saw(_young([Path(path)], self._settle_s))
            elif state is None:
                is_due |= not suffix or suffix in VIDEO_SUFFIXES  # a folder, or a video
                self._files.pop(path, None)
            elif suffix in VIDEO_SUFFIXES:
                self._files[path] = state, time.monotonic()
        return is_due

    def settle(self) -> bool:
        """Forget the files that have stayed the same for long enough; whether there were some."""
        now_s = time.monotonic()
        is_due = False
        for path, (before, since_s) in list(self._files.items()):
            state = _state(path)
            if state != before:
                self._files[path] = state, now_s
            elif now_s - since_s >= self._settle_s:
                del self._files[path]
                is_due = True
        return is_due

    def names(self) -> list[str]:
        """The paths that are not to be taken yet."""
        return list(self._files)


def _state(path: str) -> _State:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _young(paths: Sequence[Path], settle_s: float) -> list[str]:
    """The files under paths that have been written to so lately that they may be growing."""
    since_s = time.time() - settle_s
    found = []
    for path in paths:
        for folder, _, names in os.walk(path):
            for name in names:
                whole = os.path.join(folder, name)
                with suppress(OSError):
                    if os.stat(whole).st_mtime >= since_s:
                        found.append(whole)
    return found


def _identities(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Which folders these are: another one of the same name has to be watched anew."""
    found = []
    for path in paths:
        with suppress(OSError):
            status = os.stat(path)
            found.append((status.st_dev, status.st_ino))
    return found


def _idle() -> Iterator[Iterable[str]]:
    while True:
        time.sleep(_TICK_S)
        yield ()


def _loaded(settings: Settings) -> Encoder | None:
    """The index's encoder, kept for the next runs; None if the first run made no index."""
    home = store.home(settings.index)
    if not home.exists():
        return None
    with home.open(cores=1) as catalog:
        return encoders.load_recorded(catalog.info.encoder, device=settings.device)


def _watcher() -> Callable[[Sequence[Path], Ended], Iterator[Iterable[str]]]:
    """watchfiles, if it is installed: the paths that have changed, and at least once a second none."""
    try:
        import watchfiles
    except ModuleNotFoundError:
        raise CezsarError("Watching needs watchfiles: pip install 'cezsar[watch]' brings it.") from None

    def watched(roots: Sequence[Path], ended: Ended) -> Iterator[Iterable[str]]:
        for changes in watchfiles.watch(
            *roots, watch_filter=None, debounce=1000, rust_timeout=round(_TICK_S * 1000), yield_on_timeout=True,
            raise_interrupt=True, ignore_permission_denied=True,
        ):  # fmt: skip
            yield [path for _, path in changes]

    return watched
