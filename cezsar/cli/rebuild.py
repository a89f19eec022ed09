"""cezsar rebuild"""

from __future__ import annotations

from pathlib import Path

import click

from cezsar.cli.console import counted, index_option, json_option, notice, print_json, working


@click.command(name="rebuild")
@index_option
@json_option
def command(index: Path | None, as_json: bool) -> None:
    """Make the cache anew from the catalog, which stays as it is."""
    from cezsar import store
    from cezsar.settings import load

    with store.open_to_write(load(index=index).index, notice=notice) as catalog, working("making the cache anew"):
        stamp = catalog.rebuild()
    if as_json:
        print_json({"index": str(catalog.directory), "vectors": stamp.count, "bytes": stamp.num_bytes})
    else:
        click.echo(f"rebuilt the cache: {counted(stamp.count, 'vector')}, {stamp.num_bytes / 1e6:,.1f} MB")
