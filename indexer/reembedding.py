"""Another encoder for an index: its vectors are made beside the old ones, and then replace them at once."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cezsar import encoders, store
from cezsar.errors import BadIndex
from cezsar.indexer import scan
from cezsar.indexer.pipeline import Progress, embed_and_commit, noticing
from cezsar.settings import Settings
from cezsar.types import Location, Skipped

if TYPE_CHECKING:
    from cezsar.store.writer import Writer


@dataclass(frozen=True, slots=True)
class ReembedReport:
    """The result: videos with new vectors, segments embedded in this run, and videos that could not be embedded."""

    index: Location
    model: str
    previous_model: str
    videos: int
    segments: int
    seconds: float
    skipped: tuple[Skipped, ...]


def reembed(settings: Settings, *, allow_missing: bool = False, progress: Progress | None = None) -> ReembedReport:
    """Embed every video of an index anew with settings.model, and then change over to the new vectors.

    Queries go on with the old vectors until the last moment, and nobody else writes. After an interruption the next run
    goes on. The sampling is the index's if the settings choose none. Raises BadIndex, and switches nothing, if a
    visible video cannot be embedded, unless allow_missing; EncoderError.
    """
    began = time.monotonic()
    location = settings.index
    home = store.home(location)
    with store.open_to_write(location, notice=noticing(progress)) as old:
        with old.read() as rows:
            known = [video for video in rows.videos() if not video.hidden]
            is_whole = rows.num_without_outline() == 0
        info = old.info
        sampling = settings.sampling_over(info.sampling)
        chosen = replace(settings, fps=sampling.fps, window_s=sampling.window_s, stride_s=sampling.stride_s)
        identity = encoders.load(
            encoders.canonical(settings.model or info.encoder.name), device=settings.device, streams=settings.streams
        ).identity
        if is_whole and (identity, sampling) == (info.encoder, info.sampling):
            raise BadIndex(f"The index in {location} has vectors of {identity.name!r} with this sampling already.")
        place = _unfinished(home, identity, sampling) or home.fresh()
        done, plan = _embed(known, place, identity.name, replace(chosen, index=place), progress)
        missing = _missing(known, place, plan)
        if missing and not allow_missing:
            raise BadIndex(
                f"{len(missing):,} of {len(known):,} videos could not be embedded anew (first {missing[0].path}: "
                f"{missing[0].reason}): nothing was switched. Bring them back, `cezsar remove` them, or give "
                "--allow-missing; finished vectors are kept for the next try."
            )
        if not store.exists(place):
            raise BadIndex("There is no video to embed anew: nothing was switched.")
        home.switch(place)
    return ReembedReport(
        index=location,
        model=identity.name,
        previous_model=info.encoder.name,
        videos=len(known) - len(missing),
        segments=done,
        seconds=time.monotonic() - began,
        skipped=tuple(missing),
    )


def _embed(
    known: list[store.Video], place: Location, model: str, settings: Settings, progress: Progress | None
) -> tuple[int, scan.Plan]:
    """Bring the new catalog up to the known videos: embed what it lacks, hide what it has too much."""
    there: dict[bytes, store.Video] = {}
    failures: dict[bytes, store.Failure] = {}
    if store.exists(place):
        with store.open(place) as reader, reader.read() as rows:
            there = {video.file.absolute: video for video in rows.videos()}
            failures = {failure.path: failure for failure in rows.failures()}
    plan = scan.compare([video.file for video in known], there, failures)
    wanted = {video.file.absolute for video in known}
    plan.hide = [video for path, video in there.items() if path not in wanted and not video.hidden]
    with ExitStack() as stack:
        catalog = stack.enter_context(store.open_to_write(place)) if store.exists(place) else None
        if catalog and (plan.hide or plan.place):
            catalog.write(partial(_tidy, plan))
        done = embed_and_commit(plan, model, catalog, settings, progress) if plan.embed else None
    plan.skipped += done.skipped if done else []
    return done.segments if done else 0, plan


def _tidy(plan: scan.Plan, writer: Writer) -> None:
    writer.hide_videos([video.id for video in plan.hide])
    for file, video in plan.place:
        writer.place_video(video.id, file)


def _missing(known: list[store.Video], place: Location, plan: scan.Plan) -> list[Skipped]:
    """The known videos that the new catalog does not show, and why."""
    shown: set[bytes] = set()
    if store.exists(place):
        with store.open(place) as catalog, catalog.read() as rows:
            shown = {video.file.absolute for video in rows.videos() if not video.hidden}
    reasons = {os.fsencode(skip.path): skip.reason for skip in plan.skipped}
    return [
        Skipped(Path(os.fsdecode(path)), reasons.get(path, "no such file"))
        for path in (video.file.absolute for video in known)
        if path not in shown
    ]


def _unfinished(home: store.Home, identity: object, sampling: object) -> Location | None:
    """A catalog in a place of its own, of this encoder and sampling, that has been begun or served before."""
    for place in reversed([place for place in home.others() if place != home.location]):
        with suppress(BadIndex), store.open(place) as catalog:
            if (catalog.info.encoder, catalog.info.sampling) == (identity, sampling):
                return place
    return None
