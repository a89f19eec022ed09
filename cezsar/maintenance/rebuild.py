"""Building the FAISS cache from the catalog: at once, or when its tail has grown long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cezsar import catalog, vectors
from cezsar.errors import CacheUnusable

# A query reads the tail from the catalog: about 5 microseconds a segment (benchmarks/tail.py). Folding rewrites the
# whole cache, so it waits until the tail is an eighth of it, and never lets a query read more than this many.
_LONGEST_TAIL = 20_000


def rebuild(index: catalog.Catalog) -> vectors.Stamp:
    """Write the cache anew from the catalog, which is not changed; for who holds the writer's lock. Raises BadIndex."""
    info = index.info
    with index.read() as session:
        stamp = vectors.build(
            index.directory,
            lambda: catalog.vectors(session, dimension=info.encoder.dimension),
            index_id=info.index_id,
            generation=catalog.generation(session),
            dimension=info.encoder.dimension,
            count=catalog.num_segments_after(session, 0),
        )
    index.settle()
    return stamp


def open_cache(index: catalog.Catalog, session: catalog.Snapshot) -> vectors.Cache:
    """The cache for a session that has asked nothing yet: opened first, it is never newer than what is asked then.

    Raises CacheUnusable with the reason; one that is newer than the catalog belongs to a later state of it, which was
    lost.
    """
    info = index.info
    cache = vectors.load(index.directory, index_id=info.index_id, dimension=info.encoder.dimension)
    if catalog.was_interrupted(index.directory) and (wrong := vectors.damage(index.directory, cache.stamp)):
        raise CacheUnusable(wrong)
    if cache.stamp.generation > catalog.generation(session):
        raise CacheUnusable("it is newer than the catalog")
    return cache


def open_to_write(directory: Path, *, notice: Callable[[str], None] = lambda _: None) -> catalog.Catalog:
    """The catalog, open for writing, with a cache that is sound and not far behind it.

    That comes before anything new: a cache of a later state, which was lost, must go first. After a writer that was
    killed its whole checksum is compared. Errors as catalog.open_to_write's.
    """
    with ExitStack() as stack:
        store = stack.enter_context(catalog.open_to_write(directory, notice=notice))
        if store.follows_interruption:
            if _is_damaged(store):
                rebuild(store)
            store.settle()
        fold_if_due(store)
        stack.pop_all()  # it stays open
    return store


def _is_damaged(index: catalog.Catalog) -> bool:
    info = index.info
    try:
        stamp = vectors.load(index.directory, index_id=info.index_id, dimension=info.encoder.dimension).stamp
    except CacheUnusable:
        return False  # and made anew
    return vectors.damage(index.directory, stamp) is not None


def fold_if_due(index: catalog.Catalog) -> bool:
    """Rebuild the cache if it is unusable or if what came and went since is an eighth of it, or very much."""
    try:
        with index.read() as session:
            stamp = open_cache(index, session).stamp
            changed = catalog.num_segments_after(session, stamp.last_segment_id)
            changed += len(catalog.deleted(session, since=stamp.generation))
        due = changed > min(stamp.count / 8, _LONGEST_TAIL)
    except CacheUnusable:
        due = True
    if due:
        rebuild(index)
    return due


def cache_state(index: catalog.Catalog) -> str:
    """The cache in a few words: how much of the catalog it holds, or why it is not used."""
    try:
        with index.read() as session:
            stamp = open_cache(index, session).stamp
            behind = catalog.num_segments_after(session, stamp.last_segment_id)
    except CacheUnusable as error:
        return f"not used: {error}; `cezsar rebuild` makes it anew"
    how = "exact"
    if stamp.lists > 1:
        how = f"8-bit codes, {stamp.probes} of {stamp.lists:,} lists looked at, recall@10 {stamp.recall:.3f}"
    return f"{stamp.count:,} vectors, {how}; {behind:,} newer ones read from the catalog"
