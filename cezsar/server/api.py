"""The HTTP API, version 1: the answers of the command line, with the same fields."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from cezsar import __version__, answers, store
from cezsar.choices import ExportFormat
from cezsar.documents import labels_document, predictions_document, query_document, stats_document
from cezsar.edit import MOST_CLIPS, Clip
from cezsar.errors import NotIndexed, QueryError
from cezsar.paths import readable
from cezsar.query import Filters, Searcher, classify_videos, dates, encoded
from cezsar.query.basket import Pick, looked_up, picked
from cezsar.server import browsing, viewing
from cezsar.server.asking import LONGEST, Asking, Text, Words, asking
from cezsar.server.examples import example as example_of
from cezsar.server.exports import TYPES, Download, download
from cezsar.server.fields import no_video, segment_fields, shown, video_fields
from cezsar.server.files import sent, streamed
from cezsar.server.lookups import made, searched, segment_of, video_of
from cezsar.server.media import Still, part, stretch
from cezsar.server.problems import MEDIA_TYPE
from cezsar.server.services import services

MOST_HITS = 1_000
_MOST_SENTENCES = 2_000  # of all labels together
_MOST_PREDICTIONS = 250_000  # in one answer
_MOST_IN_TIMELINES = 5  # predictions of each segment


class Problem(BaseModel):
    """An error, after RFC 9457."""

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
        (414, "The address is too long."),
        (422, "A value is missing or out of its range."),
        (429, "Too much is waiting: ask again after Retry-After seconds."),
        (503, "The index cannot serve now."),
    )
}

Id = Annotated[int, Path(ge=1, le=1 << 62)]
After = Annotated[int, Query(ge=0, le=1 << 62, description="Only those with a higher id.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="The most items of a page.")]
Asked = Annotated[Asking, Depends(asking)]

router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)


class Question(BaseModel):
    """The labels to compare with some videos of the index."""

    labels: (
        Annotated[list[Words], Field(min_length=1, max_length=200)]
        | Annotated[
            dict[Words, Annotated[list[Words], Field(min_length=1, max_length=100)]],
            Field(min_length=1, max_length=200),
        ]
    ) = Field(description="Labels, or labels with sentences that describe them.")
    video_ids: Annotated[list[Annotated[int, Field(ge=1, le=1 << 62)]], Field(min_length=1, max_length=100)]
    k: Annotated[int, Field(ge=1, le=200, description="Labels per video.")] = 5
    timeline: Annotated[bool, Field(description="Label each segment too.")] = False
    none_of_these: Annotated[bool, Field(description="Answer a label of null if none fits; needs a calibration.")] = (
        False
    )
    raw: Annotated[
        bool, Field(description="Take labels as they are and their nearest sentence, and correct nothing.")
    ] = False


Second = Annotated[float | None, Field(ge=0, le=1e9, allow_inf_nan=False)]
Some = Annotated[int | None, Field(ge=1, le=1 << 62)]


class Collected(BaseModel):
    """A hit of a basket: a segment, or a stretch of a video by its id or path; start_s and end_s trim a segment."""

    segment_id: Some = None
    video_id: Some = None
    path: Annotated[str | None, Field(min_length=1)] = None
    start_s: Second = None
    end_s: Second = None
    note: Text = ""


class Collection(BaseModel):
    """Hits in their order."""

    hits: Annotated[list[Collected], Field(min_length=1, description=f"At most {MOST_CLIPS:,}.")]

    def picks(self) -> list[Pick]:
        """What is to be looked up. Raises QueryError if there are too many."""
        if len(self.hits) > MOST_CLIPS:  # said here: a description's limit makes testers generate as many
            raise QueryError(f"{len(self.hits):,} hits are too many: at most {MOST_CLIPS:,}.")
        return [Pick(**hit.model_dump()) for hit in self.hits]


class Basket(Collection):
    """Hits in their order, and the format to have them in."""

    format: ExportFormat
    title: Text = "cezsar"


@router.get("/search", summary="The moments that show a text, best first", response_model=answers.QueryAnswer)
async def search(
    request: Request,
    asked: Asked,
    k: Annotated[int, Query(ge=1, le=MOST_HITS, description="Number of hits.")] = 10,
    min_score: Annotated[
        float | None, Query(ge=-1, le=1, allow_inf_nan=False, description="No hit below this score.")
    ] = None,
    per_video: Annotated[int, Query(ge=0, le=1_000_000, description="Hits per video; 0 for all.")] = 1,
    path: Annotated[
        str | None,
        Query(max_length=LONGEST, description="A glob that the path, or the name of the file or a folder, matches."),
    ] = None,
    not_path: Annotated[list[Text], Query(max_length=8, description="Globs that no path matches.")] = [],  # noqa: B006
    since: Annotated[
        str | None, Query(max_length=40, description="A date, on or after which the video was recorded.")
    ] = None,
    until: Annotated[
        str | None, Query(max_length=40, description="A date, on or before which the video was recorded.")
    ] = None,
    min_length: Annotated[
        float | None, Query(ge=0, le=1e9, allow_inf_nan=False, description="No video that is shorter, in seconds.")
    ] = None,
    max_length: Annotated[
        float | None, Query(ge=0, le=1e9, allow_inf_nan=False, description="No video that is longer, in seconds.")
    ] = None,
    exact: Annotated[bool, Query(description="Compare every vector.")] = False,
    all_copies: Annotated[bool, Query(description="Make copies hits of their own.")] = False,
) -> Response:
    """As `cezsar query --json` answers.

    `confidence`, in [0, 1], says how likely a person would say that a hit shows the text. If the best one is below
    `threshold`, `nothing_like_it` is true. If the encoder has no calibration, and with `like`, `more`, `less` or
    `then`, `confidence` and `threshold` are null and `nothing_like_it` is false. With `then` each hit has its `parts`.
    A plain "not", "no" or "without" in a text is read as `not`, and `understood` says so, unless `literal` is set.
    """
    filters = Filters(
        top_k=k,
        min_score=min_score,
        per_video=per_video,
        path=path,
        all_copies=all_copies,
        not_paths=tuple(not_path),
        min_length_s=min_length,
        max_length_s=max_length,
        since_s=None if since is None else dates.began(since),
        until_s=None if until is None else dates.ended(until),
    )

    def work(searcher: Searcher) -> Response:
        question = asked.question(searcher)
        hits = searcher.answer(question, filters=filters, exact=exact)
        name = searcher.info.encoder.name
        return JSONResponse(
            query_document(asked.text, name, hits, understood=[one.document() for one in asked.understood])
        )

    return await searched(request, work)


@router.post(
    "/examples",
    summary="What stands for a picture in a search",
    response_model=answers.ExampleAnswer,
    openapi_extra={
        "requestBody": {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}, "required": True}
    },
)
async def examples(request: Request) -> Response:
    """The body is a picture (JPEG, PNG, WebP, GIF, BMP) of up to 10 MB; /search takes the answer as `example`."""
    picture = await request.body()
    own = services(request)

    def encode() -> Response:
        with own.engine.using() as searcher:
            answer: answers.ExampleAnswer = {"example": example_of(searcher, picture)}
        return JSONResponse(answer)

    return await own.probes.run(encode)


@router.post("/classify", summary="The nearest labels of videos", response_model=answers.ClassifyIndexedAnswer)
async def classified(request: Request, question: Question) -> Response:
    """As `cezsar classify --json`, for videos of the index, in the requested order; each also has its video_id."""
    asked = question.labels
    labels = {label: (label,) if isinstance(asked, list) else tuple(asked[label]) for label in asked}
    if question.timeline and question.k > _MOST_IN_TIMELINES:
        raise QueryError(f"With a timeline k is at most {_MOST_IN_TIMELINES}.")
    if sum(map(len, labels.values())) > _MOST_SENTENCES:
        raise QueryError(f"Too many sentences: at most {_MOST_SENTENCES:,} for all labels together.")

    def work(searcher: Searcher) -> Response:
        if question.none_of_these and searcher.calibration is None:
            raise QueryError(f"{searcher.info.encoder.name} has no calibration: it cannot tell if no label fits.")
        told = {}
        num_predictions = 0
        for number, video in classify_videos(
            searcher, question.video_ids, labels, top_k=question.k, timeline=question.timeline, raw=question.raw
        ):
            if video is None:
                raise no_video(number)
            told[number] = video
            num_predictions += len(video.predictions) * (1 + len(video.segments))
            if num_predictions > _MOST_PREDICTIONS:
                raise QueryError("The answer would be too large: ask for fewer videos, or for a smaller k.")
        videos: list[answers.IndexedVideoPredictionsAnswer] = [
            {
                **predictions_document(one, timeline=question.timeline, none_of_these=question.none_of_these),
                "video_id": number,
            }
            for number, one in told.items()
        ]
        answer: answers.ClassifyIndexedAnswer = {
            **labels_document(searcher.info.encoder.name, encoded(labels, raw=question.raw)),
            "videos": videos,
        }
        return JSONResponse(answer)

    return await searched(request, work)


@router.post("/basket", summary="What a basket's hits are", response_model=answers.BasketAnswer)
async def basket(request: Request, collection: Collection) -> Response:
    """Each hit's video and stretch, in their order; of a hit that is not there any more `error` says so in one line."""
    picks = collection.picks()

    def work(searcher: Searcher) -> list[tuple[store.Video, Clip] | NotIndexed | QueryError]:
        with searcher.read() as rows:
            return looked_up(rows, picks)

    found: list[answers.PickedAnswer | answers.LostAnswer] = []
    for one in await searched(request, work):
        if isinstance(one, tuple):
            video, clip = one
            found.append({**video_fields(video), "start_s": clip.start_s, "end_s": clip.end_s})
        else:
            found.append({"error": readable(str(one))})
    answer: answers.BasketAnswer = {"hits": found}
    return JSONResponse(answer)


@router.post(
    "/export",
    summary="A basket as a file for the edit",
    response_class=Response,
    responses={200: {"content": {kind.partition(";")[0]: {} for kind in TYPES.values()}}},
)
async def export(request: Request, basket: Basket) -> Response:
    """As `cezsar query --export DIR --as FORMAT` writes it: the hits in their order, as a file to keep.

    Formats of several files come as a ZIP archive. The header `cezsar-notices` has a JSON array of lines about what the
    format could not say, if there are some. A contact sheet has at most 200 hits, and so many clips of up to 120 s are
    cut at once, up to 1 GB.
    """
    chosen = basket.picks()
    own = services(request)
    over = threading.Event()

    def work(searcher: Searcher) -> list[tuple[store.Video, Clip]]:
        with searcher.read() as rows:
            return picked(rows, chosen)

    picks = await searched(request, work)

    def make() -> Download:
        return download(basket.format, picks, own.media, title=basket.title, is_wanted=lambda: not over.is_set())

    try:
        file = await own.exports.once(object(), make, request)
    finally:
        over.set()
    if isinstance(file.content, bytes):
        return Response(file.content, media_type=file.media_type, headers=file.headers)
    return streamed(file.content, file.media_type, file.headers)


@router.get("/videos", summary="The videos of the index", response_model=answers.VideosAnswer)
async def videos(request: Request, after: After = 0, limit: Limit = 100) -> Response:
    """By id; the next page is after the last id of this one."""

    def work(searcher: Searcher) -> Response:
        with searcher.read() as rows:
            found = rows.videos_shown(after=after, limit=limit)
        answer: answers.VideosAnswer = {"videos": [video_fields(video) for video in found]}
        return JSONResponse(answer)

    return await searched(request, work)


@router.get(
    "/videos/{video_id}",
    summary="A video, and whether a browser plays its file as it is",
    response_model=answers.PlayableVideoAnswer,
)
async def video(request: Request, video_id: Id) -> Response:
    """`media_type` is null if browsers cannot play the whole file; /stream with `start_s` and `end_s` makes parts."""
    found = await video_of(request, video_id)
    own = services(request)
    media_type = await own.probes.run(lambda: own.media.media_type(found))
    answer: answers.PlayableVideoAnswer = {**video_fields(found), "media_type": media_type}
    return JSONResponse(answer)


@router.get("/videos/{video_id}/segments", summary="The segments of a video", response_model=answers.SegmentsAnswer)
async def segments(request: Request, video_id: Id, after: After = 0, limit: Limit = 100) -> Response:
    """By id; the next page is after the last id of this one."""

    def work(searcher: Searcher) -> Response:
        with searcher.read() as rows:
            shown(rows, video_id)
            found = rows.parts(video_id, after=after, limit=limit)
        answer: answers.SegmentsAnswer = {"segments": [segment_fields(one) for one in found]}
        return JSONResponse(answer)

    return await searched(request, work)


@router.get(
    "/videos/{video_id}/stream",
    summary="A video to play, whole or a part",
    response_class=StreamingResponse,
    responses={200: {"content": {"video/mp4": {}, "video/webm": {}}}, 206: {"description": "The requested range."}},
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
    download: Annotated[bool, Query(description="Send a file to keep: with a name, and at full size.")] = False,
) -> Response:
    """With range requests. Without start_s and end_s it is the file, if browsers play it, or else its first part.

    A part lasts up to 120 s. It is MP4. Its picture is copied if that is exact enough; otherwise it is encoded anew,
    with a short side of at most 720 pixels, unless it is downloaded.
    """
    found = await video_of(request, video_id)
    own = services(request)
    path = found.file.full_path
    if start_s is None and end_s is None:
        whole = await own.probes.run(lambda: own.media.whole(found))
        if whole is not None:
            return sent(request, whole, download=readable(path.name) if download else None)
    wanted = part(found, start_s, end_s, at_full_size=download)
    stretch = wanted.segment
    name = f"{path.stem}-{stretch.start_s:g}-{stretch.end_s:g}.mp4"
    return sent(request, await made(request, found, wanted), download=readable(name) if download else None)


@router.get("/segments/{segment_id}", summary="A segment, and its video", response_model=answers.SegmentOfVideoAnswer)
async def segment(request: Request, segment_id: Id) -> Response:
    """Its range, in seconds, and the video's path."""
    found, of = await segment_of(request, segment_id)
    answer: answers.SegmentOfVideoAnswer = {**video_fields(of), **segment_fields(found)}
    return JSONResponse(answer)


@router.get(
    "/segments/{segment_id}/thumbnail",
    summary="The frame that stands for a segment",
    response_class=StreamingResponse,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def thumbnail(request: Request, segment_id: Id) -> Response:
    """A JPEG picture, at most 480 pixels wide, of the frame that is most like the whole segment."""
    found, of = await segment_of(request, segment_id)
    time_s = found.best_s
    if time_s is None:  # it was indexed before frames were chosen
        time_s = (found.start_s + min(found.end_s, of.duration_s)) / 2
    return sent(request, await made(request, of, Still(time_s)))


@router.get(
    "/segments/{segment_id}/sprite",
    summary="Frames of a segment side by side",
    response_class=StreamingResponse,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def sprite(
    request: Request,
    segment_id: Id,
    start_s: Annotated[
        float | None, Query(ge=0, le=1e9, allow_inf_nan=False, description="Where to begin instead, in seconds.")
    ] = None,
    end_s: Annotated[
        float | None, Query(ge=0, le=1e9, allow_inf_nan=False, description="Where to end instead, in seconds.")
    ] = None,
) -> Response:
    """A JPEG picture of 12 frames at equal steps, each at most 240 pixels wide, of the segment or, with `start_s` and
    `end_s`, of another stretch of its video, such as a hit."""
    found, of = await segment_of(request, segment_id)
    wanted = stretch(of, found.start_s if start_s is None else start_s, found.end_s if end_s is None else end_s)
    return sent(request, await made(request, of, wanted))


@router.get("/stats", summary="What the index holds and which encoder made it", response_model=answers.StatsAnswer)
async def stats(request: Request) -> Response:
    """As `cezsar stats --json` answers."""

    def work(searcher: Searcher) -> Response:
        return JSONResponse(stats_document(searcher.stats()))

    return await searched(request, work)


@router.get("/health", summary="Whether the index can be searched", response_model=answers.HealthAnswer)
async def health(request: Request) -> Response:
    """Asks for no token, and reveals nothing of the index."""

    def work(searcher: Searcher) -> Response:
        with searcher.read() as rows:
            rows.generation()
        name = searcher.info.encoder.name
        answer: answers.HealthAnswer = {"status": "ok", "version": __version__, "model": name}
        return JSONResponse(answer)

    return await searched(request, work, services(request).health)


router.include_router(browsing.router)
router.include_router(viewing.router)
