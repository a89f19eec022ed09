"""Looking through the index without a query."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from cezsar import answers
from cezsar.choices import VideoOrder
from cezsar.errors import QueryError
from cezsar.query import Searcher
from cezsar.server.fields import face_fields, folder_fields, shown
from cezsar.server.lookups import searched
from cezsar.server.overviews import folders
from cezsar.server.services import services

_MOST_FOLDERS = 200

router = APIRouter()


@router.get("/overview", summary="What the index holds, at a glance", response_model=answers.OverviewAnswer)
async def overview(request: Request) -> Response:
    """What came last, folders, and segments to search with, which differ most from one another.

    Made once for each state of the index, and while it changes fast, not all the time.
    """
    own = services(request)
    return await searched(request, lambda searcher: JSONResponse(own.overviews.of(searcher)))


@router.get("/browse", summary="Folders and videos, without a query", response_model=answers.BrowseAnswer)
async def browse(
    request: Request,
    folder: Annotated[
        str | None, Query(max_length=4_096, description="A whole path; without one, where there is a choice.")
    ] = None,
    folder_bytes: Annotated[
        str | None,
        Query(
            max_length=5_600,
            pattern="^[A-Za-z0-9+/=]*$",
            description="Instead, the path_bytes of one whose path is not UTF-8.",
        ),
    ] = None,
    order: Annotated[
        VideoOrder, Query(description="What came last first, what was recorded last first, or by path.")
    ] = "added",
    after: Annotated[int | None, Query(ge=1, le=1 << 62, description="The last video of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="The most videos of a page.")] = 24,
) -> Response:
    """The next page is after the last video of this one; folders come with the first page, 200 at most."""
    path = _path(folder, folder_bytes)

    def work(searcher: Searcher) -> Response:
        with searcher.read() as rows:
            last = None if after is None else shown(rows, after)
            videos = rows.listed(order, folder=path, after=last, limit=limit)
            found = [] if after is not None else folders(rows, path)[:_MOST_FOLDERS]
            answer: answers.BrowseAnswer = {
                "folders": [folder_fields(rows, one) for one in found],
                "videos": [face_fields(rows, one) for one in videos],
            }
        return JSONResponse(answer)

    return await searched(request, work)


def _path(folder: str | None, folder_bytes: str | None) -> bytes | None:
    """The path that was given, in either way. Raises QueryError."""
    if folder_bytes is not None:
        try:
            return base64.b64decode(folder_bytes, validate=True)
        except binascii.Error:
            raise QueryError("folder_bytes is no base64.") from None
    return None if folder is None else os.fsencode(folder)
