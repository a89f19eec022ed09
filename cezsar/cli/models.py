"""cezsar models"""

from __future__ import annotations

import textwrap
from dataclasses import asdict

import click

from cezsar.cli.console import json_option, notice, print_json


@click.command(name="models")
@json_option
def command(as_json: bool) -> None:
    """List the encoders, the source of their weights, and which to choose."""
    from cezsar.encoders import cards

    found = cards(notice)
    if as_json:
        print_json([asdict(card) for card in found])
        return
    click.echo(
        "Offline or on a laptop, take lite, the default. If you can reach the model hub and quality\n"
        "matters, name a SigLIP 2 or CLIP checkpoint: cezsar index PATH --model HUB_ID --index DIR\n"
    )
    for card in found:
        click.echo(click.style(card.name, bold=True) + (f", version {card.version}" if card.version else ""))
        if card.package:
            click.echo(f"  package    {card.package}")
        else:
            click.echo(f"  dimension  {card.dimension or 'of the checkpoint'}")
        click.echo(f"  licence    {card.licence}")
        click.echo(f"  weights    {card.weights}")
        click.echo(
            textwrap.fill(
                card.advice, 78, initial_indent="  use        ", subsequent_indent=" " * 13, break_on_hyphens=False
            )
        )
