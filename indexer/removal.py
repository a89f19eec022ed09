"""Taking videos out of the index."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cezsar import store
from cezsar.errors import BadIndex, QueryError
from cezsar.files import PRIVATE_FOLDER, write
from cezsar.paths import is_under, spellings, under
from cezsar.store import Catalog, Video, pictures
from cezsar.types import Location

if TYPE_CHECKING:
    from cezsar.store.writer import Writer

_PENDING = "purge.json"  # of a purge that has begun: the paths, until the last trace of them has gone


def remove(
    location: Location, paths: Sequence[Path], *, purge: bool = False, notice: Callable[[str], None] = lambda _: None
) -> int:
    """Hide the videos that are these paths or lie under them; purge deletes them, hidden ones too, for good.

    Returns how many. The files themselves are not touched. purge first deletes all pictures that a server has kept,
    then the rows and vectors in every catalog of the index, older ones too, and every cache of these. The next purge
    finishes an interrupted one. notice gets a line for files that were left in the place of pictures. Raises QueryError
    if a path names no video of the index, and changes nothing then; BadIndex.
    """
    with store.open_to_write(location, notice=notice) as catalog:
        if purge:
            return _purge(store.home(location), catalog, paths, notice)
        shown = [video for video in _videos(catalog) if not video.hidden]
        chosen = _under(shown, _names(paths, [video.file.absolute for video in shown]))
        catalog.write(lambda writer: writer.hide_videos([video.id for video in chosen]))
        catalog.fold_if_due()
    return len(chosen)


def _purge(home: store.Home, catalog: Catalog, paths: Sequence[Path], notice: Callable[[str], None]) -> int:
    directory = home.files()
    with ExitStack() as stack:
        older = [stack.enter_context(_opened(place)) for place in home.others()]
        pending = _pending(directory)
        known = [video.file.absolute for one in (catalog, *older) for video in _videos(one)]
        names = _names(paths, [*known, *pending]) | pending
        _forget_pictures(directory, notice)
        _note(directory, names)
        videos = _videos(catalog)
        chosen = _under(videos, names)
        contents = {video.content_sha256 for video in chosen}
        kept = {video.file.absolute for video in videos} - {video.file.absolute for video in chosen}
        purged = {video.file.absolute for video in chosen}
        for one in older:  # a video that has moved since is known there by its former name
            there = [video for video in _videos(one) if video.file.absolute not in kept]
            moved = [video for video in there if video.content_sha256 in contents]
            gone = {video.id: video for video in (*_under(there, names), *moved)}
            purged |= {video.file.absolute for video in _under(there, names)}
            _delete(one, list(gone.values()), names)
            one.drop_cache()
            one.scrub()
        _delete(catalog, chosen, names)
        catalog.rebuild()
        catalog.scrub()
        _forget_pictures(directory, lambda _: None)  # that a server has made meanwhile
        (directory / _PENDING).unlink(missing_ok=True)
    return len(chosen) or len(purged)


def _opened(place: Location) -> Catalog:
    try:
        return store.home(place).open_place_to_write()
    except BadIndex as error:
        raise type(error)(f"{error} It holds older vectors: `cezsar reembed --drop-old` deletes them all.") from None


def _videos(catalog: Catalog) -> list[Video]:
    with catalog.read() as rows:
        return rows.videos()


def _under(videos: Iterable[Video], names: Iterable[bytes]) -> list[Video]:
    """Those that are one of the names, or lie under one."""
    return [video for video in videos if any(is_under(video.file.absolute, name) for name in names)]


def _names(paths: Sequence[Path], known: Sequence[bytes]) -> set[bytes]:
    """How the known whole paths name these, and what is called like them. Raises QueryError if none does."""
    names: set[bytes] = set()
    for path in paths:
        named = under(path, known)
        if not named:
            raise QueryError(f"{path} names no video in the index; `cezsar stats` lists the folders that it covers.")
        names.update(spellings(path), named)
    return names


def _delete(catalog: Catalog, videos: Sequence[Video], names: Iterable[bytes]) -> None:
    with catalog.read() as rows:
        failed = [failure.path for failure in rows.failures()]

    def change(writer: Writer) -> None:
        writer.purge_videos([video.id for video in videos])
        writer.forget_failures([path for path in failed if any(is_under(path, name) for name in names)])

    catalog.write(change)


def _forget_pictures(directory: Path, notice: Callable[[str], None]) -> None:
    """They are made anew if they are wanted again."""
    try:
        pictures.forget(directory)
    except pictures.NotOurs as error:
        notice(str(error))


def _pending(directory: Path) -> set[bytes]:
    """The paths of a purge that did not come to its end."""
    try:
        told = json.loads((directory / _PENDING).read_text(encoding="utf-8"))
        return {base64.b64decode(name) for name in told["paths"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return set()


def _note(directory: Path, names: Iterable[bytes]) -> None:
    told = {"paths": [base64.b64encode(name).decode() for name in sorted(names)]}
    try:
        directory.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        write(directory / _PENDING, json.dumps(told).encode(), durable=True, private=True)
    except OSError as error:
        raise BadIndex(f"{directory / _PENDING} cannot be written ({error.strerror}): nothing was purged.") from None
