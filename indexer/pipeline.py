"""One indexing run: scan, embed what is new, commit video by video, keep the FAISS cache in step."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cezsar import catalog, encoders, maintenance
from cezsar.catalog import Catalog, File
from cezsar.errors import IndexMismatch, VideoError
from cezsar.settings import DEFAULT_MODEL, Settings
from cezsar.types import IndexReport, Sampling, Skipped
from indexer import scan
from indexer.embedding import Embedded, embed_all

_FOLD_CHECK = 2_000  # segments committed between two looks at how long the cache's tail has grown


class Progress(Protocol):
    """Who wants to know how an indexing run goes."""

    def start(self, num_videos: int, num_bytes: int) -> None:
        """The scan is over; this much is to be embedded."""

    def done(self, path: Path, num_bytes: int) -> None:
        """One video is committed."""

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None:
        """One file could not be read."""

    def notice(self, line: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the catalog says before a run; info is None where there is no index yet."""

    info: catalog.Info | None
    videos: Sequence[catalog.Video]
    roots: Sequence[bytes]


def index(
    paths: Sequence[Path],
    settings: Settings,
    *,
    prune: bool | None = None,
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
) -> IndexReport:
    """Bring the index up to date with the videos under paths; embeds only what is new or changed.

    One transaction a video: an interruption keeps what was committed. prune is as in scan.plan. A video that cannot
    be read is in the report's skipped, with its reason, and keeps no other from being indexed. Raises IndexMismatch
    where the settings ask for another encoder or sampling than the index's; EncoderError; BadIndex.
    """
    began = time.monotonic()
    wanted = encoders.canonical(settings.model) if settings.model else None
    known = _known(settings, wanted)
    plan = scan.plan(paths, videos=known.videos, roots=known.roots, prune=prune, exclude=exclude)
    model = known.info.encoder.name if known.info else wanted or DEFAULT_MODEL
    added = updated = num_segments = 0
    skipped = list(plan.skipped)
    if progress:
        for line in plan.notices:
            progress.notice(line)
        for skip in plan.skipped:
            progress.skipped(skip.path, 0, skip.reason)
    with ExitStack() as stack:
        store = None
        if plan.place or plan.hide:
            store = stack.enter_context(_opened(settings))
            _place_and_hide(store, plan)
        if plan.embed:
            encoder = (
                encoders.load_recorded(known.info.encoder, device=settings.device)
                if known.info
                else encoders.load(model, device=settings.device)
            )
            sampling = known.info.sampling if known.info else settings.sampling_over(Sampling())
            if progress:
                progress.start(len(plan.embed), sum(file.size for file, _ in plan.embed))
            unchecked = 0
            results = embed_all(
                [file for file, _ in plan.embed],
                encoder,
                sampling,
                workers=settings.workers,
                batch_size=settings.batch_size,
            )
            stack.enter_context(closing(results))  # an interruption ends its threads
            for (file, row), result in zip(plan.embed, results, strict=True):
                path = Path(os.fsdecode(file.absolute))
                if isinstance(result, VideoError):
                    skipped.append(Skipped(path, str(result)))
                    if progress:
                        progress.skipped(path, file.size, str(result))
                    continue
                if store is None:
                    store = stack.enter_context(
                        _opened(settings) if known.info else catalog.create(settings.index, encoder.identity, sampling)
                    )
                _commit(store, file, row, result)
                added, updated = (added, updated + 1) if row else (added + 1, updated)
                num_segments += len(result.embedding.segments)
                unchecked += len(result.embedding.segments)
                if unchecked >= _FOLD_CHECK:
                    maintenance.fold_if_due(store)
                    unchecked = 0
                if progress:
                    progress.done(path, file.size)
                    if result.shortfall:
                        progress.notice(f"{path}: {result.shortfall}; what there is was indexed.")
        if store:
            maintenance.fold_if_due(store)
    return IndexReport(
        index=settings.index,
        model=model,
        added=added,
        updated=updated,
        moved=plan.num_moved,
        unchanged=plan.num_unchanged,
        removed=len(plan.hide),
        segments=num_segments,
        seconds=time.monotonic() - began,
        skipped=tuple(skipped),
    )


def _commit(store: Catalog, file: File, row: catalog.Video | None, result: Embedded) -> None:
    with store.write() as session:
        if row:
            catalog.replace_video(session, row.id, file, result.content_sha256, result.embedding)
        else:
            catalog.add_video(session, file, result.content_sha256, result.embedding)


def _opened(settings: Settings) -> Catalog:
    store = catalog.open_to_write(settings.index)
    maintenance.fold_if_due(store)  # before anything new: a cache of a lost, later state must go first
    return store


def _place_and_hide(store: Catalog, plan: scan.Plan) -> None:
    with store.write() as session:
        for file, video in plan.place:
            catalog.place_video(session, video.id, file)
        catalog.hide_videos(session, [video.id for video in plan.hide])


# Before the run


def _known(settings: Settings, wanted: str | None) -> _Known:
    """The catalog's state, once the settings have been found to agree with it."""
    if not catalog.exists(settings.index):
        return _Known(None, (), ())
    with catalog.open_to_read(settings.index) as store, store.read() as session:
        info = store.info
        if wanted not in (None, info.encoder.name):
            raise IndexMismatch(
                f"The index in {settings.index} holds {info.encoder.name!r}; --model {wanted} needs one of its own: "
                "--index DIR"
            )
        asked = settings.sampling_over(info.sampling)
        for name, own, other in (
            ("fps", info.sampling.fps, asked.fps),
            ("window", info.sampling.window_s, asked.window_s),
            ("stride", info.sampling.stride_s, asked.stride_s),
        ):
            if own != other:
                raise IndexMismatch(
                    f"The index in {settings.index} has a {name} of {own:g}; --{name} {other:g} needs one of its own: "
                    "--index DIR"
                )
        return _Known(info, catalog.videos(session), catalog.roots(session))
