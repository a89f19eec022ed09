"""The figures of an index's contents."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cezsar import store
from cezsar.types import IndexStats


def stats(catalog: store.Catalog, index: Path) -> IndexStats:
    """The figures of an open catalog, the one in use in the folder index, and the encoder that made it."""
    with catalog.read() as rows:
        counts, roots = rows.counts(), rows.roots()
        other_streams = tuple(rows.other_streams())
        num_plain = len(rows.plain())
    num_bytes = 0
    for file in catalog.directory.iterdir():
        with suppress(FileNotFoundError):  # a writer's, which has ended
            num_bytes += file.stat().st_size if file.is_file() else 0
    return IndexStats(
        index,
        catalog.info.encoder,
        catalog.info.sampling,
        counts.videos,
        counts.hidden_videos,
        counts.segments,
        counts.duration_s,
        num_bytes,
        store.REVISION,
        catalog.cache_state(),
        tuple(Path(os.fsdecode(root)) for root in roots),
        other_streams,
        num_plain,
    )
