"""cezsar rebuild"""

from __future__ import annotations

import click

from cezsar.cli.console import counted, index_option, json_option, notice, print_json, working
from cezsar.location import Location


@click.command(name="rebuild")
@index_option
@json_option
def command(index: Location | None, as_json: bool) -> None:
    """Make the cache anew from the catalog, which stays as it is."""
    from cezsar import store
    from cezsar.settings import load

    with store.open_to_write(load(index=index).index, notice=notice) as catalog, working("making the cache anew"):
        made = catalog.rebuild()
    if as_json:
        print_json({"index": str(catalog.place), "vectors": made.count, "bytes": made.num_bytes})
    else:
        click.echo(f"rebuilt the cache: {counted(made.count, 'vector')}, {made.num_bytes / 1e6:,.1f} MB")
