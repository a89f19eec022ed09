"""cezsar serve"""

from __future__ import annotations

import re
import webbrowser
from pathlib import Path
from urllib.parse import quote

import click

from cezsar.cli.console import device_option, index_option, notice
from cezsar.errors import CezsarError


@click.command(name="serve")
@index_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 is everywhere.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8765, show_default=True, help="0 takes one that is free."
)
@click.option("--token", metavar="T", envvar="CEZSAR_TOKEN", help="Answer only who knows it.")
@click.option("--no-token", is_flag=True, help="Answer whoever can reach another host than this machine's own.")
@click.option("--cors", metavar="ORIGIN", multiple=True, help="Let pages of this origin ask. Repeatable.")
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@device_option
def command(
    index: Path | None,
    host: str,
    port: int,
    token: str | None,
    no_token: bool,
    cors: tuple[str, ...],
    opens: bool,
    device: str | None,
) -> None:
    """Search in the browser, and by HTTP: a page at / and an API at /api/v1.

    Only this machine can reach it, unless --host says otherwise; then it asks for a token, which it makes and prints
    where none is given. Ctrl-C stops it once what is in flight is done.
    """
    from cezsar.settings import load

    settings = load(index=index, device=device)
    if token is not None and no_token:
        raise click.UsageError("--token and --no-token contradict each other.")
    if token is not None and not (8 <= len(token) <= 200 and token.isascii() and token.isprintable()):
        raise click.UsageError("A token (--token, CEZSAR_TOKEN) has 8 to 200 printable ASCII characters.")
    for origin in cors:
        if not re.fullmatch(r"https?://[^/?#@\s]+", origin):
            raise click.UsageError(f"--cors takes an origin, like https://example.org:8000, not {origin!r}.")
    try:
        from cezsar.server import Access, is_loopback, serve
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "prometheus_client"):
            raise
        raise CezsarError("The server needs more packages: `pip install 'cezsar[serve]'`.") from None
    access = Access.of(host, token, no_token=no_token, cors=cors)
    if access.token is None and not is_loopback(host):
        notice(f"anybody who can reach {host} can search and watch these videos: --no-token was given.")

    def ready(addresses: list[str]) -> None:
        token = "" if access.token is None else f"?token={quote(access.token, safe='')}"
        here, *elsewhere = [address + token for address in addresses]
        click.echo(f"Serving {settings.index} at {here}")
        for entrance in elsewhere:
            click.echo(f"and, for other machines, at {entrance}")
        click.echo("Ctrl-C stops.")
        if opens:
            webbrowser.open(here)

    serve(settings, access, port=port, ready=ready)
