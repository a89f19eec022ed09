"""One indexing run: scan, embed what is new, commit video by video, keep the cache in step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cezsar import encoders, store
from cezsar.encoders import Encoder
from cezsar.errors import IndexMismatch, VideoError, VideoLost
from cezsar.indexer import scan
from cezsar.indexer.embedding import Embedded
from cezsar.indexer.runners import runner
from cezsar.paths import spellings
from cezsar.settings import DEFAULT_MODEL, Settings
from cezsar.store import Catalog, File
from cezsar.types import IndexReport, Skipped
from cezsar.video import DECODER

if TYPE_CHECKING:
    from cezsar.store.writer import Writer

_MOST_AT_ONCE = 10  # videos of one transaction, if so many are ready: it costs a few times as much as a video does
_FOLD_CHECK = 2_000  # segments committed between two looks at how long the cache's tail has grown


class Progress(Protocol):
    """A listener to an indexing run."""

    def comparing(self, path: Path, num_bytes: int) -> None:
        """A known file's content is about to be compared; this comes before the start."""

    def start(self, num_videos: int, num_bytes: int) -> None:
        """The scan is over; this much is to be embedded."""

    def done(self, path: Path, num_bytes: int) -> None:
        """One video is committed."""

    def skipped(self, path: Path, num_bytes: int, reason: str) -> None:
        """One file could not be read."""

    def notice(self, line: str) -> None:
        """A line for the user."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the catalog says before a run; info is None if there is no index yet."""

    info: store.Info | None
    generation: int


def index(
    paths: Sequence[Path],
    settings: Settings,
    *,
    encoder: Encoder | None = None,
    prune: bool | None = None,
    exclude: Sequence[str] = (),
    retry: bool = False,
    check_content: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Bring the index up to date with the videos under paths; embeds only what is new or changed.

    Videos are committed as they are ready, one at a time or some at once, so that they outlast an interruption.
    prune and check_content are as in scan.plan. A video that cannot be read is in the report's skipped, with its
    reason, and does not keep others from being indexed; it is tried again when it has changed, or with retry. A
    given encoder replaces the settings' model, streams and device. Raises IndexMismatch if the settings or the
    encoder do not fit the index; EncoderError; BadIndex, in particular IndexLocked if there is something to write
    and another process is writing.
    """
    began = time.monotonic()
    if encoder:
        settings = replace(settings, model=None, streams=None)
    wanted = encoders.canonical(settings.model) if settings.model else None
    home = store.home(settings.index)

    def look() -> tuple[_Known, scan.Plan]:
        scanned = partial(
            scan.plan, paths, prune=prune, exclude=exclude, check_content=check_content,
            comparing=progress.comparing if progress else None,
        )  # fmt: skip
        if not home.exists():
            return _Known(None, 0), scanned(known=None)
        with home.open(cores=None) as catalog, catalog.read() as rows:
            _check_agreement(catalog.info, settings, wanted, encoder)
            failures = {one.path: one for one in rows.failures() if one.decoder == DECODER and not retry}
            return _Known(catalog.info, rows.generation()), scanned(known=rows, failures=failures)

    known, plan = look()
    with ExitStack() as stack:
        catalog = None
        if known.info and (plan.changes_anything or home.needs_a_writer()):
            catalog = stack.enter_context(store.open_to_write(settings.index, notice=noticing(progress)))
            with catalog.read() as rows:
                is_outdated = rows.generation() != known.generation
            if is_outdated:  # another writer was at work since
                known, plan = look()
        elif plan.embed:
            home.check_creatable()
        if progress:
            for line in plan.notices:
                progress.notice(line)
            if known.info and (told := encoders.older(known.info.encoder)):
                progress.notice(told)
            _tell_of_skipped(plan, paths, progress)
        if catalog and (plan.place or plan.note or plan.hide or plan.forget):
            _tidy(catalog, plan)
        model = known.info.encoder.name if known.info else encoder.identity.name if encoder else wanted or DEFAULT_MODEL
        done = embed_and_commit(plan, encoder or model, catalog, settings, progress) if plan.embed else _Done()
    return IndexReport(
        index=settings.index,
        model=model,
        added=done.added,
        updated=done.updated,
        moved=plan.num_moved,
        unchanged=plan.num_unchanged,
        removed=len(plan.hide),
        segments=done.segments,
        seconds=time.monotonic() - began,
        skipped=(*plan.skipped, *done.skipped),
        left_out=dict(plan.left_out.most_common()),
        num_texts=plan.num_texts,
    )


def noticing(progress: Progress | None) -> Callable[[str], None]:
    """Who is told what is worth a line."""
    return lambda line: progress.notice(line) if progress else None


def _tell_of_skipped(plan: scan.Plan, paths: Sequence[Path], progress: Progress) -> None:
    """A line a file, but one for all that an earlier run has named, unless they are asked for by their own names."""
    named = {name for path in paths for name in spellings(path)}
    num_known = 0
    for skip in plan.skipped:
        if skip.was_known and os.fsencode(skip.path) not in named:
            num_known += 1
        else:
            progress.skipped(skip.path, 0, skip.reason)
    if num_known:
        files, have = ("file", "has") if num_known == 1 else ("files", "have")
        progress.notice(
            f"{num_known:,} {files} could not be read before and {have} not changed; --retry tries again, --json names "
            "them."
        )


class _Ready(NamedTuple):
    """A result to be committed, and the row that the file has already."""

    file: File
    row: store.Video | None
    result: Embedded


@dataclass(slots=True)
class _Done:
    """What has been embedded so far."""

    added: int = 0
    updated: int = 0
    segments: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def count(self, ready: _Ready) -> None:
        """One more video."""
        self.added, self.updated = self.added + (ready.row is None), self.updated + (ready.row is not None)
        self.segments += len(ready.result.embedding.segments)


def _tidy(catalog: Catalog, plan: scan.Plan) -> None:
    """What needs no decoding: rows whose file moved, came back or has gone."""

    def change(writer: Writer) -> None:
        for file, video in plan.place:
            writer.place_video(video.id, file)
        writer.note_files([(video.id, file) for file, video in plan.note])
        writer.hide_videos([video.id for video in plan.hide])
        writer.forget_failures(plan.forget)

    catalog.write(change)
    catalog.fold_if_due()


def embed_and_commit(
    plan: scan.Plan, model: str | Encoder, catalog: Catalog | None, settings: Settings, progress: Progress | None
) -> _Done:
    """Embed the plan's files and commit each; a new index is made with the first video that could be read.

    model is a new index's encoder, or its name; an encoder, and no name, is also taken for an index that is there.
    """
    if not isinstance(model, str):
        encoder = model
    elif catalog:
        encoder = encoders.load_recorded(catalog.info.encoder, device=settings.device)
    else:
        encoder = encoders.load(model, device=settings.device, streams=settings.streams)
    sampling = catalog.info.sampling if catalog else settings.sampling_over(encoders.own_sampling(encoder))
    done, unchecked, failed = _Done(), 0, list[store.Failure]()
    rows = dict(plan.embed)  # of files without a result
    if progress:
        progress.start(len(rows), sum(file.size for file in rows))
    batch = list[_Ready]()
    with ExitStack() as stack:
        results = runner(settings, notice=noticing(progress)).embed(list(rows), encoder, sampling)
        stack.enter_context(closing(results))  # an interruption ends its work
        for one in chain(results, [None]):
            if one is not None and one[0] in rows:  # otherwise it came twice
                file, result = one
                row = rows.pop(file)
                if isinstance(result, VideoError):
                    done.skipped.append(Skipped(file.full_path, str(result)))
                    if progress:
                        progress.skipped(file.full_path, file.size, str(result))
                    if not isinstance(result, VideoLost):
                        failed.append(store.Failure.of(file, DECODER, str(result)))
                else:
                    batch.append(_Ready(file, row, result))
            if batch and (one is None or len(batch) == _MOST_AT_ONCE):
                catalog = catalog or stack.enter_context(
                    store.create(settings.index, encoder.identity, sampling, notice=noticing(progress))
                )
                _commit(catalog, batch)
                unchecked += sum(len(ready.result.embedding.segments) for ready in batch)
                if unchecked >= _FOLD_CHECK:
                    catalog.fold_if_due()
                    unchecked = 0
                for ready in batch:
                    done.count(ready)
                    if progress:
                        _tell_of(ready, progress)
                batch = []
            if catalog and failed:
                catalog.write(partial(_note_failures, failed))
                failed = []
        if catalog:
            catalog.fold_if_due()
    return done


def _tell_of(ready: _Ready, progress: Progress) -> None:
    """That a video is committed, and what is worth knowing of it."""
    path, result = ready.file.full_path, ready.result
    progress.done(path, ready.file.size)
    if result.shortfall:
        progress.notice(f"{path}: {result.shortfall}; the readable part was indexed.")
    if result.embedding.stream:
        progress.notice(
            f"{path}: video stream {result.embedding.stream} was indexed, not stream 0, "
            "which a player would not show first or which gives no frame."
        )


def _commit(catalog: Catalog, batch: Sequence[_Ready]) -> None:
    """All of these videos, or none of them."""

    def change(writer: Writer) -> None:
        for file, row, result in batch:
            if row:
                writer.replace_video(row.id, file, result.content_sha256, result.embedding)
            else:
                writer.add_video(file, result.content_sha256, result.embedding)

    catalog.write(change)


def _note_failures(failures: Sequence[store.Failure], writer: Writer) -> None:
    for failure in failures:
        writer.note_failure(failure)


# Before the run


def _check_agreement(info: store.Info, settings: Settings, wanted: str | None, encoder: Encoder | None) -> None:
    """That the settings agree with what the index is. Raises IndexMismatch."""
    if encoder:
        encoders.check_recorded(encoder, info.encoder)
    if wanted not in (None, info.encoder.name):
        raise IndexMismatch(
            f"The index in {settings.index} holds {info.encoder.name!r}; --model {wanted} needs one of its own: "
            "--index DIR"
        )
    if settings.streams not in (None, info.encoder.streams):
        raise IndexMismatch(
            f"The index in {settings.index} holds {info.encoder.streams} vectors; {settings.streams} ones need an "
            "index of their own: --index DIR"
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
