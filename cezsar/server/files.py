"""Sending open files: whole, a range, or nothing if the client has the file already."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from cezsar.server.media import Content
from cezsar.server.problems import problem

_BLOCK = 1 << 18  # bytes that are read at once
_ONE = r"(?:\d{1,18}-\d{0,18}|-\d{1,18})"
_RANGES = re.compile(rf"{_ONE}(?:[ \t]*,[ \t]*{_ONE}){{0,99}}")


def sent(request: Request, content: Content, *, download: str | None = None) -> Response:
    """The answer that sends a file, which it closes; download is the name to keep it by.

    One range is sent as a range; several ones, and other units than bytes, are ignored, as the standard allows. Shared
    caches never keep the file, and a browser asks each time whether its copy is still right: ids of one index mean
    nothing in another.
    """
    file, media_type, tag = content
    size = os.fstat(file.fileno()).st_size
    etag = f'"{tag}"'
    headers = {"accept-ranges": "bytes", "cache-control": "private, no-cache", "etag": etag}
    if download is not None:
        headers["content-disposition"] = f"attachment; filename*=UTF-8''{quote(download, safe='')}"
    had = request.headers.get("if-none-match", "")
    if etag in had or had.strip() == "*":
        return _Sent(file, range(0), 304, headers)
    asked = request.headers.get("range")
    try:
        stretch = None if asked is None else _stretch(asked, size)
    except ValueError:
        file.close()
        return problem(400, "The Range header cannot be read: it is like bytes=0-999.")
    if stretch is None or request.headers.get("if-range", etag) != etag:
        return _Sent(file, range(size), 200, headers, media_type)
    if not stretch:
        file.close()
        whole = {"content-range": f"bytes */{size}"}
        return problem(416, f"The file ends at {size:,} bytes: there is nothing in that range.", whole)
    headers["content-range"] = f"bytes {stretch.start}-{stretch.stop - 1}/{size}"
    return _Sent(file, stretch, 206, headers, media_type)


def streamed(file: BinaryIO, media_type: str, headers: dict[str, str]) -> Response:
    """The answer that sends an open file whole, and closes it."""
    return _Sent(file, range(os.fstat(file.fileno()).st_size), 200, headers, media_type)


def _stretch(asked: str, size: int) -> range | None:
    """The bytes that a Range header asks for, none if there are none; None if it is to be ignored.

    Raises ValueError if it cannot be read.
    """
    unit, is_said, ranges = asked.partition("=")
    if is_said and unit.strip().lower() != "bytes":
        return None
    found: list[tuple[str, str]] = re.findall(r"(\d*)-(\d*)", ranges)
    if not _RANGES.fullmatch(ranges.strip()) or any(start and end and int(start) > int(end) for start, end in found):
        raise ValueError("no ranges")
    if len(found) > 1:
        return None
    ((start, end),) = found
    if not start:
        return range(max(0, size - int(end)), size)
    return range(int(start), min(int(end or size) + 1, size))


class _Sent(StreamingResponse):
    """Bytes of an open file, which is closed when they have been sent, or will not be."""

    def __init__(
        self, file: BinaryIO, stretch: range, status: int, headers: dict[str, str], media_type: str | None = None
    ) -> None:
        if status != 304:
            headers = {**headers, "content-length": str(len(stretch))}
        super().__init__(_blocks(file, stretch), status, headers, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            if scope.get("cezsar.head"):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body"})
            else:
                await super().__call__(scope, receive, send)


def _blocks(file: BinaryIO, stretch: range) -> Iterator[bytes]:
    file.seek(stretch.start)
    left = len(stretch)
    while left > 0 and (block := file.read(min(_BLOCK, left))):
        left -= len(block)
        yield block
