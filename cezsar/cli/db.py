"""cezsar db"""

from __future__ import annotations

import click

from cezsar.cli.console import index_option, json_option, print_json
from cezsar.location import Location


@click.group(name="db")
def command() -> None:
    """The catalog's schema."""


@command.command()
@index_option
@json_option
def current(index: Location | None, as_json: bool) -> None:
    """Say which schema revision the catalog has, and which one this CEZSAR uses."""
    from cezsar import store
    from cezsar.settings import load

    revision = store.current(load(index=index).index)
    if as_json:
        print_json({"current": revision, "newest": store.REVISION})
    else:
        click.echo(f"{revision} (this CEZSAR uses {store.REVISION})")


@command.command()
@index_option
@json_option
def upgrade(index: Location | None, as_json: bool) -> None:
    """Bring an older catalog up to date, in one transaction; everything in it is kept."""
    from cezsar import store
    from cezsar.settings import load

    before = store.upgrade(load(index=index).index)
    if as_json:
        print_json({"before": before, "current": store.REVISION})
    elif before == store.REVISION:
        click.echo(f"{before}: up to date already")
    else:
        click.echo(f"upgraded {before} -> {store.REVISION}")
