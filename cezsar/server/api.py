"""The HTTP API, version 1: what the command line answers, by the same words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field, StringConstraints
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response

from cezsar import __version__, catalog
from cezsar.documents import classify_document, query_document
from cezsar.paths import path_fields, readable
from cezsar.server.engine import Engine, Queue
from cezsar.server.media import LONGEST_PART_S, Media, opened
from cezsar.server.problems import MEDIA_TYPE, problem
from cezsar.types import Segment
from query import Filters, Searcher, classify_videos

MOST_HITS = 1_000
_LONGEST = 1_000  # characters of a text
_KEEP = {"cache-control": "private, max-age=3600"}


class Problem(BaseModel):
    """What went wrong, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
    for status, words in (
        (400, "The question cannot be answered as it was asked."),
        (401, "The token is missing."),
        (404, "There is no such video, segment or file."),
        (422, "A value is missing or out of its range."),
        (429, "Too much is waiting: ask again after Retry-After seconds."),
        (503, "The index cannot serve now."),
    )
}

_RANGES = re.compile(r"bytes=(?!-?,)(\d{1,18}-\d{0,18}|-\d{1,18})(, ?(\d{1,18}-\d{0,18}|-\d{1,18})){0,9}")

T = TypeVar("T")
Id = Annotated[int, Path(ge=1, le=1 << 62)]
After = Annotated[int, Query(ge=0, le=1 << 62, description="Only those with a higher id.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="At most so many.")]
Text = Annotated[str, StringConstraints(max_length=_LONGEST)]
Words = Annotated[str, StringConstraints(max_length=_LONGEST, pattern=r"\S")]

router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)


class Question(BaseModel):
    """What is to be told apart in which videos."""

    labels: (
        Annotated[list[Words], Field(min_length=1, max_length=200)]
        | Annotated[
            dict[Words, Annotated[list[Words], Field(min_length=1, max_length=100)]],
            Field(min_length=1, max_length=200),
        ]
    ) = Field(description="Labels, or labels with sentences that say them.")
    video_ids: Annotated[list[Annotated[int, Field(ge=1, le=1 << 62)]], Field(min_length=1, max_length=100)]
    k: Annotated[int, Field(ge=1, le=200, description="Labels a video.")] = 5
    timeline: Annotated[bool, Field(description="Each segment too.")] = False


@router.get("/search", summary="The moments that show a text, best first")
async def search(
    request: Request,
    text: Annotated[str | None, Query(max_length=_LONGEST, description="What should be seen.")] = None,
    without: Annotated[list[Text], Query(alias="not", max_length=8, description="Away from what shows this.")] = [],  # noqa: B006
    like: Annotated[
        int | None, Query(ge=1, le=1 << 62, description="What looks like this segment, instead of a text or with it.")
    ] = None,
    k: Annotated[int, Query(ge=1, le=MOST_HITS, description="Hits to give.")] = 10,
    min_score: Annotated[
        float | None, Query(ge=-1, le=1, allow_inf_nan=False, description="No hit below this score.")
    ] = None,
    per_video: Annotated[int, Query(ge=0, le=1_000_000, description="Hits a video; 0 for all of them.")] = 1,
    path: Annotated[
        str | None, Query(max_length=_LONGEST, description="A glob that path, file or folder match.")
    ] = None,
    exact: Annotated[bool, Query(description="Compare every vector.")] = False,
) -> Response:
    """As `cezsar query --json` answers; each hit also has its video_id."""
    filters = Filters(top_k=k, min_score=min_score, per_video=per_video, path=path)

    def work(searcher: Searcher) -> Response:
        examples = []
        if like is not None:
            vector = searcher.like_segment(like)
            if vector is None:
                raise _no_segment(like)
            examples = [vector]
        hits = searcher.search(text, without=without, like=examples, filters=filters, exact=exact)
        document = query_document(text, searcher.store.info.encoder.name, hits)
        for entry, hit in zip(document["hits"], hits, strict=True):
            entry["video_id"] = hit.video_id
        return JSONResponse(document)

    return await _searched(request, work)


@router.post("/classify", summary="The nearest labels of videos")
async def classified(request: Request, question: Question) -> Response:
    """As `cezsar classify --json` answers, for videos of the index, in the order asked; each also has its video_id."""
    asked = question.labels
    labels = {label: (label,) if isinstance(asked, list) else tuple(asked[label]) for label in asked}

    def work(searcher: Searcher) -> Response:
        told = classify_videos(searcher, question.video_ids, labels, top_k=question.k, timeline=question.timeline)
        missing = [number for number in question.video_ids if number not in told]
        if missing:
            raise _no_video(missing[0])
        name = searcher.store.info.encoder.name
        document = classify_document(name, list(labels), list(told.values()), timeline=question.timeline)
        for entry, number in zip(document["videos"], told, strict=True):
            entry["video_id"] = number
        return JSONResponse(document)

    return await _searched(request, work)


@router.get("/videos", summary="The videos of the index")
async def videos(request: Request, after: After = 0, limit: Limit = 100) -> Response:
    """By id; the next page is after the last id of this one."""

    def work(searcher: Searcher) -> Response:
        with searcher.store.read() as snapshot:
            found = catalog.videos_shown(snapshot, after=after, limit=limit)
        return JSONResponse({"videos": [_video(video) for video in found]})

    return await _searched(request, work)


@router.get("/videos/{video_id}", summary="A video, and whether a browser plays its file as it is")
async def video(request: Request, video_id: Id) -> Response:
    """media_type is null where only parts can be played, which are then made for it: /stream with start_s and end_s."""
    found = await _video_of(request, video_id)
    return JSONResponse({**_video(found), "media_type": await _type_of(request, found)})


@router.get("/videos/{video_id}/segments", summary="The segments of a video")
async def segments(request: Request, video_id: Id, after: After = 0, limit: Limit = 100) -> Response:
    """By id; the next page is after the last id of this one."""

    def work(searcher: Searcher) -> Response:
        with searcher.store.read() as snapshot:
            _shown(snapshot, video_id)
            found = catalog.parts(snapshot, video_id, after=after, limit=limit)
        return JSONResponse(
            {"segments": [{"segment_id": one.id, "start_s": one.start_s, "end_s": one.end_s} for one in found]}
        )

    return await _searched(request, work)


@router.head("/videos/{video_id}/stream", include_in_schema=False)
@router.get(
    "/videos/{video_id}/stream",
    summary="A video to play, whole or a part",
    response_class=FileResponse,
    responses={200: {"content": {"video/mp4": {}, "video/webm": {}}}, 206: {"description": "The range asked for."}},
)
async def stream(
    request: Request,
    video_id: Id,
    start_s: Annotated[
        float | None, Query(ge=0, le=1e9, allow_inf_nan=False, description="Where the part begins, in seconds.")
    ] = None,
    end_s: Annotated[
        float | None, Query(ge=0, le=1e9, allow_inf_nan=False, description="Where it ends, in seconds.")
    ] = None,
    download: Annotated[bool, Query(description="Name it as a file to keep.")] = False,
) -> Response:
    """With range requests. Without start_s and end_s the file itself, where browsers play it, or else its first part.

    A part lasts up to 120 s. It is MP4 with the picture copied where that is exact enough, and else encoded anew.
    """
    found = await _video_of(request, video_id)
    media: Media = request.app.state.media
    is_whole = start_s is None and end_s is None
    if is_whole and (kind := await _type_of(request, found)) is not None:
        source, status = opened(found)
        return _file(request, source, status, kind)
    stretch = Segment(start_s or 0.0, min(end_s or (start_s or 0.0) + LONGEST_PART_S, found.duration_s))
    part = await _decoded(request, lambda: media.part(found, stretch))
    name = f"{_path_of(found).stem}-{stretch.start_s:g}-{stretch.end_s:g}.mp4" if download else None
    return _file(request, part, part.stat(), "video/mp4", filename=name and readable(name), headers=_KEEP)


@router.get(
    "/segments/{segment_id}/thumbnail",
    summary="The frame that stands for a segment",
    response_class=FileResponse,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def thumbnail(request: Request, segment_id: Id) -> Response:
    """A JPEG picture, at most 480 pixels wide, of the frame that is most like the whole segment."""

    def find(searcher: Searcher) -> tuple[catalog.Part, catalog.Video]:
        with searcher.store.read() as snapshot:
            part = catalog.part(snapshot, segment_id)
            if part is None:
                raise _no_segment(segment_id)
            return part, _shown(snapshot, part.video_id)

    part, shown = await _searched(request, find)
    media: Media = request.app.state.media
    time_s = part.best_s
    if time_s is None:  # it was indexed before frames were chosen
        time_s = (part.start_s + min(part.end_s, shown.duration_s)) / 2
    picture = await _decoded(request, lambda: media.still(shown, time_s))
    return FileResponse(picture, media_type="image/jpeg", headers=_KEEP)


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Whether the index can be searched")
async def health(request: Request) -> Response:
    """Asks for no token, and says nothing of what the index holds."""

    def work(searcher: Searcher) -> Response:
        with searcher.store.read() as snapshot:
            catalog.generation(snapshot)
        return JSONResponse({"status": "ok", "version": __version__, "model": searcher.store.info.encoder.name})

    return await _searched(request, work)


def _file(request: Request, path: FilePath, status: os.stat_result, media_type: str, **options: Any) -> Response:
    """A file, or the ranges of it that are asked for."""
    asked = request.headers.get("range")
    if asked is not None:
        pairs = [(int(start), int(end or start)) for start, end in re.findall(r"(\d+)-(\d*)", asked)]
        if not _RANGES.fullmatch(asked) or any(start > end for start, end in pairs):
            return problem(400, "The Range header cannot be read: it is like bytes=0-999.")
        if pairs and min(pairs)[0] >= status.st_size:
            whole = {"content-range": f"bytes */{status.st_size}"}
            return problem(416, f"The file ends at {status.st_size:,} bytes, before that range.", whole)
    return FileResponse(path, media_type=media_type, stat_result=status, **options)


async def _searched(request: Request, work: Callable[[Searcher], T]) -> T:
    """Work on the searcher that is current when its turn comes."""
    engine: Engine = request.app.state.engine
    searches: Queue = request.app.state.searches

    def with_searcher() -> T:
        with engine.using() as searcher:
            return work(searcher)

    return await searches.run(with_searcher)


async def _decoded(request: Request, work: Callable[[], T]) -> T:
    """Work that may have to decode."""
    decodings: Queue = request.app.state.decodings
    return await decodings.run(work)


async def _type_of(request: Request, video: catalog.Video) -> str | None:
    """What a browser plays of the file as it is; does not wait for decodings."""
    media: Media = request.app.state.media
    probes: Queue = request.app.state.probes
    return await probes.run(lambda: media.media_type(video))


async def _video_of(request: Request, video_id: int) -> catalog.Video:
    def find(searcher: Searcher) -> catalog.Video:
        with searcher.store.read() as snapshot:
            return _shown(snapshot, video_id)

    return await _searched(request, find)


def _shown(snapshot: catalog.Snapshot, video_id: int) -> catalog.Video:
    """The visible video of this id, or 404."""
    found = catalog.video(snapshot, video_id)
    if found is None:
        raise _no_video(video_id)
    return found


def _no_video(video_id: int) -> HTTPException:
    return HTTPException(404, f"There is no video {video_id}.")


def _no_segment(segment_id: int) -> HTTPException:
    return HTTPException(404, f"There is no segment {segment_id}.")


def _path_of(video: catalog.Video) -> FilePath:
    return FilePath(os.fsdecode(video.file.absolute))


def _video(video: catalog.Video) -> dict[str, Any]:
    return {"video_id": video.id, **path_fields(_path_of(video)), "duration_s": video.duration_s}
