"""cezsar rebuild"""

from __future__ import annotations

import click

from cezsar.cli.console import counted, index_option, json_option, notice, print_json, working
from cezsar.location import Location


@click.command(name="rebuild")
@index_option
@json_option
def command(index: Location | None, as_json: bool) -> None:
    """Make the cache anew from the catalog, which stays as it is; in a database, the lists of vectors."""
    from cezsar import store
    from cezsar.settings import load

    with store.open_to_write(load(index=index).index, notice=notice) as catalog, working("making the cache anew"):
        made = catalog.rebuild()
        state = catalog.cache_state()
    if as_json:
        count, num_bytes = (made.count, made.num_bytes) if made else (0, 0)
        print_json({"index": str(catalog.place), "vectors": count, "bytes": num_bytes})
    elif made is None:
        click.echo(f"nothing to make anew: {state}")
    else:
        click.echo(f"rebuilt the cache: {counted(made.count, 'vector')}, {made.num_bytes / 1e6:,.1f} MB")
