"""Taking videos out of the index."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cezsar import catalog, maintenance
from cezsar.catalog import homes
from cezsar.errors import BadIndex, QueryError
from cezsar.paths import is_under, spellings


def remove(directory: Path, paths: Sequence[Path], *, purge: bool = False) -> int:
    """Hide the videos that are these paths or lie under them; purge deletes them, hidden ones too, for good.

    Returns how many. The files themselves are not touched. With purge the pictures that a server has kept go too, all
    of them. Raises QueryError if a path names no video of the index, and changes nothing then; BadIndex.
    """
    with maintenance.open_to_write(directory) as store:
        with store.read() as session:
            videos = [video for video in catalog.videos(session) if purge or not video.hidden]
        chosen: set[int] = set()
        for path in paths:
            names = spellings(path)
            ids = {video.id for video in videos if any(is_under(video.file.absolute, name) for name in names)}
            if not ids:
                raise QueryError(
                    f"{path} names no video in the index; `cezsar stats` lists the folders that it covers."
                )
            chosen |= ids
        with store.write() as session:
            (catalog.purge_videos if purge else catalog.hide_videos)(session, sorted(chosen))
        maintenance.fold_if_due(store)
        if purge:
            _forget_pictures(directory / homes.MEDIA)
    return len(chosen)


def _forget_pictures(folder: Path) -> None:
    """They are made anew where they are wanted again."""
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
    except OSError as error:
        raise BadIndex(f"The videos were deleted, but not their pictures in {folder}: {error.strerror}.") from None
