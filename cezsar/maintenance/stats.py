"""The figures of an index's contents."""

from __future__ import annotations

import os
from pathlib import Path

from cezsar import store
from cezsar.types import IndexStats, Location


def stats(catalog: store.Catalog, index: Location) -> IndexStats:
    """The figures of an open catalog, the one in use by an index, and the encoder that made it."""
    with catalog.read() as rows:
        counts, roots = rows.counts(), rows.roots()
        other_streams = tuple(rows.other_streams())
        num_plain = len(rows.plain())
    return IndexStats(
        index,
        catalog.info.encoder,
        catalog.info.sampling,
        counts.videos,
        counts.hidden_videos,
        counts.segments,
        counts.duration_s,
        catalog.num_bytes(),
        store.REVISION,
        catalog.cache_state(),
        tuple(Path(os.fsdecode(root)) for root in roots),
        other_streams,
        num_plain,
    )
