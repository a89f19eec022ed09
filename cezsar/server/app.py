"""The application: the API, the page's files, and the layers that every request passes through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cezsar import __version__
from cezsar.errors import CezsarError
from cezsar.server import api, problems
from cezsar.server.engine import Engine
from cezsar.server.guard import HEADERS, Access, Guard
from cezsar.server.media import Media
from cezsar.server.queues import Busy
from cezsar.server.services import offered

_PAGE = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_MOST_WAITING = 256


def create_app(engine: Engine, media: Media, access: Access, *, most_waiting: int = _MOST_WAITING) -> FastAPI:
    """The application over an open index and its media; at most so many searches, and decodings, wait."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with offered(app, engine, media, most_waiting=most_waiting):
            yield

    app = FastAPI(
        title="CEZSAR",
        version=__version__,
        description="Search videos by what happens in them. The page at / uses nothing else.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # it would fetch scripts of others
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(api.router)
    for address, name in (("/", "index.html"), ("/api", "api.html")):
        _add_file(app, address, _PAGE / name)
    for path in sorted(_PAGE.glob("*.*")):
        if path.suffix != ".html":
            _add_file(app, f"/{path.name}", path)
    _answer_errors(app)
    registry = CollectorRegistry()

    async def metrics() -> Response:
        """Prometheus text."""
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})

    app.add_api_route("/api/v1/metrics", metrics, summary="Counts and times of requests", response_class=Response)
    app.add_middleware(Guard, access=access)
    app.add_middleware(_Measured, registry=registry)
    return app


def _add_file(app: FastAPI, address: str, path: Path) -> None:
    content, media_type = path.read_bytes(), _TYPES[path.suffix]

    async def send() -> Response:
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    app.add_api_route(address, send, include_in_schema=False)


def _answer_errors(app: FastAPI) -> None:
    """Whatever goes wrong is told as problem+json."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, CezsarError)
        return problems.of(error)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"] if part not in ("query", "path", "body")]
        place = ".".join(part for part in parts if "[" not in part)  # what pydantic calls its own alternatives
        return problems.problem(422, f"{place or 'the body'}: {first['msg']}")

    async def known(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problems.problem(error.status_code, str(error.detail), error.headers)

    async def busy(_: Request, error: Exception) -> Response:
        return problems.problem(429, "Too much is waiting: ask again in a second.", {"retry-after": "1"})

    async def gone(_: Request, error: Exception) -> Response:
        return problems.problem(408, "The client went away.")  # which nobody reads

    async def unknown(_: Request, error: Exception) -> Response:
        # it is answered outside of the guard
        return problems.problem(500, "The server failed; its own output names the error.", HEADERS)

    for kind, handler in (
        (CezsarError, ours),
        (RequestValidationError, invalid),
        (HTTPException, known),
        (Busy, busy),
        (ClientDisconnect, gone),
        (Exception, unknown),
    ):
        app.add_exception_handler(kind, handler)


class _Measured:
    """Counts requests and times them, by route, so that no address that somebody makes up becomes a name.

    HEAD is answered as GET, of which the server below sends the head.
    """

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self._app = app
        names = ("route", "status")
        self._requests = Counter("cezsar_requests", "Requests answered.", names, registry=registry)
        self._seconds = Histogram(
            "cezsar_request_seconds", "From a request to the end of its answer.", ("route",), registry=registry
        )
        self._now = Gauge("cezsar_requests_in_progress", "Requests being answered.", registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", "cezsar.head": True}
        status = 500
        has_begun = False

        async def sent(message: Message) -> None:
            nonlocal status, has_begun
            if message["type"] == "http.response.start":
                status, has_begun = message["status"], True
            await send(message)

        began = time.perf_counter()
        self._now.inc()
        try:
            await self._app(scope, receive, sent)
        except asyncio.CancelledError:  # it was told to stop at once, or to wait no longer for this client
            if not has_begun:
                await problems.problem(503, "The server is stopping.")(scope, receive, sent)
        finally:
            self._now.dec()
            route = scope.get("route")
            name = route.path if isinstance(route, Route) else "none"
            self._requests.labels(name, str(status)).inc()
            self._seconds.labels(name).observe(time.perf_counter() - began)
