"""cezsar doctor"""

from __future__ import annotations

import textwrap
from dataclasses import asdict

import click

from cezsar.cli.console import device_option, index_option, json_option, print_json
from cezsar.location import Location
from cezsar.paths import readable


@click.command(name="doctor")
@index_option
@click.option("--model", metavar="NAME|HUB_ID|DIR", help="The encoder to try.  [default: the index's, or lite]")
@device_option
@json_option
@click.pass_context
def command(ctx: click.Context, index: Location | None, model: str | None, device: str | None, as_json: bool) -> None:
    """List what is wrong with this machine, installation and index, with the command that mends each.

    The exit code is 1 if something is wrong. Nothing is changed. Only `cezsar verify` compares every vector.
    """
    from cezsar import store
    from cezsar.errors import BadIndex
    from cezsar.maintenance.doctor import diagnose
    from cezsar.settings import DEFAULT_MODEL, load

    settings = load(index=index, model=model, device=device)
    tried = settings.model
    if tried is None:
        try:
            with store.open(settings.index) as catalog:
                tried = catalog.info.encoder.name
        except BadIndex:
            tried = DEFAULT_MODEL
    findings = list(diagnose(settings.index, model=tried, device=settings.device))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "ok " if finding.is_well else "NO "
            lines = textwrap.wrap(readable(finding.found), 60, break_on_hyphens=False) or [""]
            click.echo(f"{mark} {finding.what:<14} {lines[0]}")
            for line in lines[1:]:
                click.echo(f"{'':<18} {line}")
            if not finding.is_well:
                click.echo(f"{'':<18} mend: {readable(finding.mend)}")
    ctx.exit(0 if all(finding.is_well for finding in findings) else 1)
