"""Access to the server: the Host header, a token unless there is none, and headers for every answer."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cezsar.server import entrance
from cezsar.server.problems import problem

MOST_BYTES = 1 << 20  # of a request's body
MOST_BYTES_AT = {  # where it may be larger: a picture, and baskets with notes
    "/api/v1/examples": 10 << 20, "/api/v1/basket": 4 << 20, "/api/v1/export": 4 << 20,
}  # fmt: skip
BODY_S = 30.0  # in which a request's body is there
_LONGEST_QUERY = 16_384  # bytes of an address after its question mark
_OPEN = ("/api/v1/health", "/style.css", "/icon.svg")  # which say nothing of the index's content
HEADERS = {  # of every answer
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of access: clients must know the token (None: anybody may ask), and call the server by host or, if
    others can reach it, by an address or one of names; pages of the origins in cors may read its answers.
    """

    host: str
    token: str | None = field(repr=False)
    cors: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, host: str, token: str | None, *, no_token: bool, cors: tuple[str, ...] = ()) -> Access:
        """A token is made if none is given, unless no_token: every account of this machine can reach loopback.

        names are the system's own; a badly configured system takes a while to give them.
        """
        if token is None and not no_token:
            token = secrets.token_urlsafe(24)
        if is_loopback(host):
            return cls(host, token, cors)
        own = {socket.gethostname().lower(), socket.getfqdn().lower()}
        return cls(host, token, cors, frozenset(own | {f"{name}.local" for name in own if "." not in name}))

    def knows(self, host: str) -> bool:
        """Whether this server may be called so: a name that is not its own may have been made to lead here."""
        if not set(host).isdisjoint("@\\/?#"):  # browsers and urlsplit differ in what these end
            return False
        try:
            name = urlsplit(f"//{host}").hostname or ""
            _ = urlsplit(f"//{host}").port
        except ValueError:
            return False
        if name in {"localhost", self.host.lower()}:
            return True
        if is_loopback(self.host):
            return is_loopback(name)
        return _is_address(name) or name in self.names

    def admits(self, headers: Headers, cookie: str) -> bool:
        """Whether the token is among the headers, as a bearer's or in the cookie of this name."""
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return self.is_token(cookie_parser(headers.get("cookie", "")).get(cookie, ""))

    def is_token(self, given: str) -> bool:
        """Whether this is the token; the time of the comparison does not reveal where they differ."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server at this host."""
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


class Guard:
    """Passes allowed requests on; answers all others itself."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin if origin in self._access.cors else None

        has_begun = False

        async def sent(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
                if allowed is not None:
                    answer["access-control-allow-origin"] = allowed
                    answer.add_vary_header("Origin")
                    answer["cross-origin-resource-policy"] = "cross-origin"
            await send(message)

        refusal = self._refusal(scope, headers, allowed)
        if refusal is not None:
            await refusal(scope, receive, sent)
            return
        await self._app(scope, _bounded(receive, lambda: has_begun, most=_most_bytes(scope)), sent)

    def _refusal(self, scope: Scope, headers: Headers, allowed: str | None) -> Response | None:
        query = bytes(scope["query_string"])
        if not self._access.knows(headers.get("host", "")):
            return problem(421, "This server does not go by that name: call it by its address.")
        if len(query) > _LONGEST_QUERY:
            return problem(414, f"The address is too long: at most {_LONGEST_QUERY:,} bytes after the question mark.")
        try:
            unquote_to_bytes(query.replace(b"+", b" ")).decode()
        except UnicodeDecodeError:
            return problem(400, "The address is not UTF-8.")
        if (
            headers.get("sec-fetch-site") == "cross-site"
            and headers.get("sec-fetch-mode") != "navigate"
            and not allowed
        ):
            return problem(403, "Pages of other sites may not ask.")
        if scope["method"] == "OPTIONS" and allowed:
            return Response(
                status_code=204,
                headers={
                    "access-control-allow-methods": "GET, HEAD, POST",
                    "access-control-allow-headers": "authorization, content-type, range",
                },
            )
        length = headers.get("content-length", "0")
        most = _most_bytes(scope)
        if not length.isascii() or not length.isdigit() or int(length) > most:
            return problem(413, f"The body is too long: at most {most:,} bytes.")
        if scope["path"] in _OPEN:
            return None
        asked = parse_qsl(query.decode("ascii", "replace"))
        is_person = "text/html" in headers.get("accept", "")
        token = dict(asked).get("token", "")
        if scope["method"] == "GET" and self._access.is_token(token):
            return entrance.welcome(scope, asked, token, is_person=is_person)
        if self._access.admits(headers, entrance.cookie_name(scope)):
            return entrance.tidied(scope, asked) if is_person else None
        if is_person:
            return entrance.refused(scope, asked)
        return problem(
            401,
            "This server asks for its token: open it by the address that it printed, or send "
            "Authorization: Bearer TOKEN.",
            {"www-authenticate": "Bearer"},
        )


def _most_bytes(scope: Scope) -> int:
    return MOST_BYTES_AT.get(scope["path"], MOST_BYTES)


def _bounded(receive: Receive, has_begun: Callable[[], bool], *, most: int) -> Receive:
    """Receive, up to most bytes and BODY_S: a body may come without its length, or never end.

    An answer that has begun by then goes on.
    """
    received = 0
    is_whole = False
    deadline = anyio.current_time() + BODY_S

    async def bounded() -> Message:
        nonlocal received, is_whole
        if is_whole:
            return await receive()
        with anyio.CancelScope(deadline=deadline):
            message = await receive()
            is_whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, f"The body is too long: at most {most:,} bytes.")
            return message
        if has_begun():
            return await receive()
        detail = f"The body took too long: it has to be there within {BODY_S:g} s."
        raise HTTPException(408, detail, {"connection": "close"})

    return bounded


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
