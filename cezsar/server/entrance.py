"""How a person comes in: by an address that holds the token, by the token alone, or by a cookie that was set then."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias
from urllib.parse import quote, urlencode

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from cezsar.files import write

_PAGE = Path(__file__).with_name("page") / "entrance.html"
_AGAIN = ("again", "1")  # said in an address that one of our own pages led to
_FRESH = {"cache-control": "no-store"}

Pairs: TypeAlias = list[tuple[str, str]]  # of an address, after its question mark


def cookie_name(scope: Scope) -> str:
    """The name of the token's cookie, one per port: browsers share cookies between the ports of a host."""
    return f"cezsar_token_{scope['server'][1]}"


@contextmanager
def doorway(address: str) -> Iterator[str]:
    """The address of a file that leads a browser on to address, and that nobody else can read; deleted at the end.

    A browser's arguments stand in the process list, and would show a token. Raises OSError.
    """
    with TemporaryDirectory(prefix="cezsar-", ignore_cleanup_errors=True) as folder:
        page = Path(folder) / "open.html"
        write(page, _leading_to(address).encode(), private=True)
        yield page.as_uri()


def welcome(scope: Scope, asked: Pairs, token: str, *, is_person: bool) -> Response:
    """On to the same address without the token, which is kept in a cookie from now on."""
    address = _address(scope, _kept(asked))
    answer = _on_to(address, 200) if is_person else RedirectResponse(address, 303, _FRESH)
    answer.set_cookie(cookie_name(scope), token, httponly=True, samesite="strict", path="/")
    return answer


def refused(scope: Scope, asked: Pairs) -> Response:
    """The answer to a person without a token: the page that asks for it, and then leads to the requested address.

    First the same address once more, from a page of ours: a strict cookie does not come along from other sites' links.
    """
    if _AGAIN not in asked:
        return _on_to(_address(scope, [*_kept(asked), _AGAIN]), 401)
    kept = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in [*_kept(asked), _AGAIN]
    )
    told = "That is not the token." if "token" in dict(asked) else "This server asks for its token."
    page = _PAGE.read_text(encoding="utf-8").replace("<!-- told -->", told).replace("<!-- kept -->", kept)
    return HTMLResponse(page, 401, {"www-authenticate": "Bearer", **_FRESH})


def tidied(scope: Scope, asked: Pairs) -> Response | None:
    """A redirect to the address without parameters that a person would not keep."""
    return RedirectResponse(_address(scope, _kept(asked)), 303, _FRESH) if _AGAIN in asked else None


def _kept(asked: Pairs) -> Pairs:
    return [pair for pair in asked if pair[0] != "token" and pair != _AGAIN]


def _address(scope: Scope, asked: Pairs) -> str:
    """An address of this server, whatever was asked for: quoted, since browsers read a backslash as a slash, and drop
    tabs and newlines; of the slashes at the start one is left, since two of them name another server.
    """
    path = "/" + quote(scope["path"].lstrip("/"), safe="/", errors="replace")
    return path + ("?" + urlencode(asked, errors="replace") if asked else "")


def _on_to(address: str, status: int) -> Response:
    return HTMLResponse(_leading_to(address), status, _FRESH)


def _leading_to(address: str) -> str:
    goes = f'<meta http-equiv="refresh" content="0; url={html.escape(address)}">'
    return f'<!doctype html><meta charset="utf-8"><title>CEZSAR</title>{goes}'
