"""What an index holds, counted."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cezsar import catalog
from cezsar.maintenance.rebuild import cache_state
from cezsar.types import IndexStats


def stats(store: catalog.Catalog, index: Path) -> IndexStats:
    """What an open catalog, the one that serves the folder index, holds and which encoder made it."""
    with store.read() as session:
        counts, roots = catalog.counts(session), catalog.roots(session)
        other_streams = tuple(catalog.other_streams(session))
        num_plain = len(catalog.plain(session))
    num_bytes = 0
    for file in store.directory.iterdir():
        with suppress(FileNotFoundError):  # a writer's, which has ended
            num_bytes += file.stat().st_size if file.is_file() else 0
    return IndexStats(
        index,
        store.info.encoder,
        store.info.sampling,
        counts.videos,
        counts.hidden_videos,
        counts.segments,
        counts.duration_s,
        num_bytes,
        catalog.REVISION,
        cache_state(store),
        tuple(Path(os.fsdecode(root)) for root in roots),
        other_streams,
        num_plain,
    )
