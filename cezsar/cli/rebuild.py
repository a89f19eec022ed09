"""cezsar rebuild"""

from __future__ import annotations

from pathlib import Path

import click

from cezsar.cli.console import counted, index_option, json_option, notice, print_json, working


@click.command(name="rebuild")
@index_option
@json_option
def command(index: Path | None, as_json: bool) -> None:
    """Make the FAISS cache anew from the catalog, which stays as it is."""
    from cezsar import catalog, maintenance
    from cezsar.settings import load

    with catalog.open_to_write(load(index=index).index, notice=notice) as store, working("making the cache anew"):
        stamp = maintenance.rebuild(store)
    if as_json:
        print_json({"index": str(store.directory), "vectors": stamp.count, "bytes": stamp.size})
    else:
        click.echo(f"rebuilt the cache: {counted(stamp.count, 'vector')}, {stamp.size / 1e6:,.1f} MB")
