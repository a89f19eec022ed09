"""cezsar serve"""

from __future__ import annotations

import os
import re
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import click

from cezsar.cli.console import PathType, device_option, index_option, notice
from cezsar.errors import CezsarError
from cezsar.location import Location

_TOKEN = "CEZSAR_TOKEN"


@click.command(name="serve")
@index_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is every one.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    type=PathType(path_type=Path),
    help=f"The token to ask for, in a file that only you can read.  [environment: {_TOKEN} holds the token itself]",
)
@click.option(
    "--token",
    metavar="T",
    help="The token to ask for; other accounts of this machine can see it in the process list.",
)
@click.option(
    "--no-token",
    is_flag=True,
    help="Ask for no token: all who can reach the server, such as every account of this machine, may search and watch.",
)
@click.option("--cors", metavar="ORIGIN", multiple=True, help="Let pages of this origin ask. Repeatable.")
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@device_option
def command(
    index: Location | None,
    host: str,
    port: int,
    token_file: Path | None,
    token: str | None,
    no_token: bool,
    cors: tuple[str, ...],
    opens: bool,
    device: str | None,
) -> None:
    """Serve searches to browsers and scripts: a page at / and an HTTP API at /api/v1.

    Only this machine can reach the server, unless --host says otherwise. It asks for a token, and makes one if you give
    none. The printed address holds the token, and --open opens that address. After Ctrl-C it finishes the requests in
    flight and stops.
    """
    from cezsar.settings import load

    settings = load(index=index, device=device)
    for origin in cors:
        if not re.fullmatch(r"https?://[^/?#@\s]+", origin):
            raise click.UsageError(f"--cors takes an origin, like https://example.org:8000, not {origin!r}.")
    try:
        from cezsar.server import Access, doorway, is_loopback, serve
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "prometheus_client"):
            raise
        raise CezsarError("The server needs more packages: `pip install 'cezsar[serve]'`.") from None
    access = Access.of(host, _given(token, token_file, no_token=no_token), no_token=no_token, cors=cors)
    if access.token is None and not is_loopback(host):
        notice(f"anybody who can reach {host} can search and watch these videos: --no-token was given.")
    if token is not None:
        notice(
            f"other accounts of this machine can see --token in the process list: --token-file or {_TOKEN} hides it."
        )

    with ExitStack() as until_the_end:

        def ready(addresses: list[str]) -> None:
            asked = "" if access.token is None else f"?token={quote(access.token, safe='')}"
            here, *elsewhere = [address + asked for address in addresses]
            places = [
                f"Serving {settings.index} at {here}",
                *(f"and, for other machines, at {one}" for one in elsewhere),
            ]
            click.echo("\n".join([*places, "Ctrl-C stops."]))
            if not opens:
                return
            try:
                webbrowser.open(here if access.token is None else until_the_end.enter_context(doorway(here)))
            except OSError as error:
                notice(f"the page cannot be opened ({error.strerror}): open that address yourself.")

        serve(settings, access, port=port, ready=ready)


def _given(token: str | None, token_file: Path | None, *, no_token: bool) -> str | None:
    """The token that was given, if one was: by an option or by the environment."""
    from cezsar.server import tokens

    options = {"--token": token is not None, "--token-file": token_file is not None, "--no-token": no_token}
    environment = os.environ.get(_TOKEN)
    ways = [name for name, is_given in options.items() if is_given]
    if ways == ["--no-token"] and environment:
        ways.append(_TOKEN)
    if len(ways) > 1:
        raise click.UsageError(f"{' and '.join(ways)} contradict each other.")
    if token_file is not None:
        return tokens.read(token_file)
    given = environment or None if token is None else token
    if given is not None and not tokens.is_token(given):
        raise click.UsageError(f"The token in {_TOKEN if token is None else '--token'} is not a token: {tokens.RULE}.")
    return given
