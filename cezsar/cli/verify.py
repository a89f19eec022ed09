"""cezsar verify"""

from __future__ import annotations

import click

from cezsar.cli.console import counted, index_option, json_option, print_json
from cezsar.errors import IndexDamaged
from cezsar.location import Location
from cezsar.paths import readable


@click.command(name="verify")
@index_option
@json_option
@click.pass_context
def command(ctx: click.Context, index: Location | None, as_json: bool) -> None:
    """Prove that rows and vectors agree: every id and every vector, and the cache's checksum. Exit 1 if not."""
    from cezsar import maintenance, store
    from cezsar.settings import load

    try:
        with store.open(load(index=index).index) as catalog:
            result = maintenance.verify(catalog)
    except IndexDamaged as error:
        result = maintenance.Verification(videos=0, segments=0, problems=(str(error),))
    if as_json:
        print_json(
            {"ok": result.ok, "videos": result.videos, "segments": result.segments, "problems": list(result.problems)}
        )
    else:
        told = f"{counted(result.videos, 'video')}, {counted(result.segments, 'segment')}"
        click.echo(f"ok: {told}; rows and vectors agree" if result.ok else f"not ok: {told}")
        for problem in result.problems:
            click.echo(f"  {readable(problem)}")
    ctx.exit(0 if result.ok else 1)
