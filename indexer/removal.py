"""Taking videos out of the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cezsar import catalog, maintenance
from cezsar.catalog import pictures
from cezsar.errors import QueryError
from cezsar.paths import is_under, spellings


def remove(
    directory: Path, paths: Sequence[Path], *, purge: bool = False, notice: Callable[[str], None] = lambda _: None
) -> int:
    """Hide the videos that are these paths or lie under them; purge deletes them, hidden ones too, for good.

    Returns how many. The files themselves are not touched. With purge the pictures that a server has kept go too, all
    of them, and first; notice is told what was left where they would be. Raises QueryError if a path names no video of
    the index, and changes nothing then; BadIndex.
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
        if purge:
            try:
                pictures.forget(directory)
            except pictures.NotOurs as error:
                notice(str(error))
        with store.write() as session:
            (catalog.purge_videos if purge else catalog.hide_videos)(session, sorted(chosen))
        maintenance.fold_if_due(store)
    return len(chosen)
