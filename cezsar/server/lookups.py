"""What requests look up: in the index, and in what is made of its videos."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastapi import Request
from starlette.exceptions import HTTPException

from cezsar import store
from cezsar.query import Searcher
from cezsar.server.fields import no_segment, shown
from cezsar.server.media import Content, Wanted
from cezsar.server.queues import Queue
from cezsar.server.services import services

T = TypeVar("T")


async def searched(request: Request, work: Callable[[Searcher], T], queue: Queue | None = None) -> T:
    """Work on the searcher that is current when its turn comes."""
    own = services(request)

    def with_searcher() -> T:
        with own.engine.using() as searcher:
            return work(searcher)

    return await (queue or own.searches).run(with_searcher)


async def made(request: Request, video: store.Video, wanted: Wanted) -> Content:
    """What is wanted of a video; made if it has not been kept."""
    own = services(request)

    def is_there() -> bool:
        with own.engine.using() as searcher, searcher.read() as rows:
            now = rows.video(video.id)
        return now is not None and now.content_sha256 == video.content_sha256

    kept = await own.files.run(lambda: own.media.kept(video, wanted))
    if kept is None:
        await own.decodings.once((video, wanted), lambda: own.media.make(video, wanted, is_there), request)
        kept = await own.files.run(lambda: own.media.kept(video, wanted))
    if kept is None:
        raise HTTPException(503, "The file was deleted before it could be sent: ask again.", {"retry-after": "1"})
    return kept


async def video_of(request: Request, video_id: int) -> store.Video:
    def find(searcher: Searcher) -> store.Video:
        with searcher.read() as rows:
            return shown(rows, video_id)

    return await searched(request, find)


async def segment_of(request: Request, segment_id: int) -> tuple[store.Part, store.Video]:
    def find(searcher: Searcher) -> tuple[store.Part, store.Video]:
        with searcher.read() as rows:
            found = rows.part(segment_id)
            if found is None:
                raise no_segment(segment_id)
            return found, shown(rows, found.video_id)

    return await searched(request, find)
