"""cezsar restore"""

from __future__ import annotations

from pathlib import Path

import click

from cezsar.cli.console import PathType, index_option, json_option, notice, print_json
from cezsar.location import Location
from cezsar.paths import readable


@click.command(name="restore")
@click.argument("file", type=PathType(path_type=Path, exists=True, dir_okay=False))
@index_option
@click.option("--force", is_flag=True, help="Replace an index that is there, and keep it beside the new one.")
@json_option
def command(file: Path, index: Location | None, force: bool, as_json: bool) -> None:
    """Make an index, in a folder or a PostgreSQL database, from a FILE that `cezsar backup` wrote.

    With --force, an index that is there is kept beside the new one: `cezsar reembed --rollback` returns to it,
    --drop-old deletes it.
    """
    from cezsar import maintenance
    from cezsar.settings import load

    directory = load(index=index).index
    maintenance.restore(file, directory, replace=force, notice=notice)
    if as_json:
        print_json({"index": str(directory)})
    else:
        click.echo(readable(f"restored to {directory}"))
