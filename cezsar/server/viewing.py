"""Looking at one video closely: along a question, and frame by frame."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from cezsar import answers
from cezsar.query import Searcher
from cezsar.query.timeline import timeline
from cezsar.server.asking import Asking, asking
from cezsar.server.fields import shown, video_fields
from cezsar.server.lookups import searched, video_of
from cezsar.server.services import services
from cezsar.types import Segment

_MOST_SCORES = 2_000  # of a video's segments
_Second = Annotated[float | None, Field(ge=0, le=1e9, allow_inf_nan=False)]
Id = Annotated[int, Path(ge=1, le=1 << 62)]

router = APIRouter()


@router.get(
    "/videos/{video_id}/scores",
    summary="How like a question each segment of a video is",
    response_model=answers.ScoresAnswer,
)
async def scores(
    request: Request,
    video_id: Id,
    asked: Annotated[Asking, Depends(asking)],
    start_s: Annotated[_Second, Query(description="Only what touches the stretch from here on, in seconds.")] = None,
    end_s: Annotated[_Second, Query(description="Only what touches the stretch up to here, in seconds.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_SCORES, description="The most segments, and cuts.")] = 500,
) -> Response:
    """By when they begin. `scores` are cosine similarities, one for each of the question's `parts`.

    If there are more segments than the limit, neighbours are given as one, with the best scores among them and the id
    of the best; `num_segments` counts all. `cuts_s` are the seconds at which another shot begins.
    """
    part = Segment(start_s or 0.0, math.inf if end_s is None else end_s)

    def work(searcher: Searcher) -> Response:
        question = asked.question(searcher)
        directions = question.directions(searcher.encode)
        with searcher.read() as rows:
            video = shown(rows, video_id)
            found = timeline(rows, video_id, directions, stretch=part, most=limit)
        ranges = zip(found.ids.tolist(), found.starts_s.tolist(), found.ends_s.tolist(), strict=True)
        answer: answers.ScoresAnswer = {
            **video_fields(video),
            "parts": [part.text for part in (question.wanted, *question.then)],
            "segments": [
                {"segment_id": number, "start_s": first, "end_s": last, "scores": of_it}
                for (number, first, last), of_it in zip(ranges, found.scores.T.tolist(), strict=True)
            ],
            "cuts_s": found.cuts_s.tolist(),
            "num_segments": found.num_segments,
        }
        return JSONResponse(answer)

    return await searched(request, work)


@router.get("/videos/{video_id}/timing", summary="How a video counts its frames", response_model=answers.TimingAnswer)
async def timing(request: Request, video_id: Id) -> Response:
    """Frame n is shown from `first_s` + n / `frame_rate` on, to within `tick_s`, if the rate is steady.

    So the frames of a stretch are from floor((start_s - first_s + tick_s) * frame_rate) up to, and without,
    ceil((end_s - first_s - tick_s) * frame_rate). `frame_rate` is a fraction, such as 30000/1001; of a variable rate it
    is the mean. `frames` counts them, and `timecode` is what the file calls its first frame: null if it does not say.
    """
    found = await video_of(request, video_id)
    own = services(request)
    known = await own.probes.run(lambda: own.media.timing(found))
    answer: answers.TimingAnswer = {
        "frame_rate": str(known.rate),
        "is_steady": known.is_steady,
        "first_s": known.first_s,
        "tick_s": known.tick_s,
        "frames": known.num_frames,
        "timecode": known.timecode,
    }
    return JSONResponse(answer)
