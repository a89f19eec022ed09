"""Errors as problem+json (RFC 9457): one clear line each, and nothing of the server's inside."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse

from cezsar.errors import (
    BadIndex,
    CezsarError,
    EncoderError,
    NotIndexed,
    QueryError,
    SettingsError,
    VideoError,
    VideoLost,
)
from cezsar.paths import readable

MEDIA_TYPE = "application/problem+json"
_STATUS: tuple[tuple[type[CezsarError], int], ...] = (
    (NotIndexed, 404),
    (QueryError, 400),
    (SettingsError, 400),
    (VideoLost, 404),
    (VideoError, 422),
    (BadIndex, 503),
    (EncoderError, 503),
)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer to a request that could not be answered."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": readable(detail)}
    return JSONResponse(body, status, {"x-content-type-options": "nosniff", **(headers or {})}, MEDIA_TYPE)


def of(error: CezsarError) -> JSONResponse:
    """The answer to a client for one of our errors."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return problem(status, str(error), {"retry-after": "5"} if status == 503 else None)
