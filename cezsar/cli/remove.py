"""cezsar remove"""

from __future__ import annotations

from pathlib import Path

import click

from cezsar.cli.console import counted, index_option, json_option, notice, path_arguments, print_json
from cezsar.location import Location


@click.command(name="remove")
@path_arguments
@index_option
@click.option("--purge", is_flag=True, help="Delete rows, vectors and pictures for good, also those of hidden videos.")
@json_option
def command(paths: tuple[Path, ...], index: Location | None, purge: bool, as_json: bool) -> None:
    """Take the videos at or under PATH out of every answer. The video files themselves are never touched.

    Their vectors are kept, and a later `cezsar index` or `classify` that meets the files brings them back at no cost;
    --purge deletes them for good.
    """
    from cezsar import indexer
    from cezsar.settings import load

    settings = load(index=index)
    count = indexer.remove(settings.index, paths, purge=purge, notice=notice)
    if as_json:
        print_json({"removed": count, "purged": purge})
    else:
        click.echo(f"{'purged' if purge else 'hid'} {counted(count, 'video')}")
