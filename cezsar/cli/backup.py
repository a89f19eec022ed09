"""cezsar backup"""

from __future__ import annotations

from pathlib import Path

import click

from cezsar.cli.console import PathType, index_option, json_option, print_json
from cezsar.location import Location
from cezsar.paths import readable


@click.command(name="backup")
@click.argument("file", type=PathType(path_type=Path, dir_okay=False))
@index_option
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
def command(file: Path, index: Location | None, force: bool, as_json: bool) -> None:
    """Copy the index, with its vectors, to one FILE; queries and indexing go on meanwhile.

    The copy is consistent and checked, and appears whole or not at all. `cezsar restore FILE` makes an index from it,
    in a folder or a PostgreSQL database, whichever the copied one was in.
    """
    from cezsar import maintenance
    from cezsar.settings import load

    target = file.absolute()
    size = maintenance.back_up(load(index=index).index, target, replace=force)
    if as_json:
        print_json({"file": str(target), "bytes": size})
    else:
        click.echo(readable(f"backed up to {target}, {size / 1e6:,.1f} MB"))
