"""cezsar models"""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cezsar.cli.console import json_option, notice, print_json

if TYPE_CHECKING:
    from cezsar.encoders import Card

_WIDTH = 80
_KEYS = 13  # columns, with the space before and after


@click.command(name="models")
@click.option("--installed", "only_installed", is_flag=True, help="List the models in the hub's cache on this machine.")
@json_option
def command(only_installed: bool, as_json: bool) -> None:
    """List the encoders, what they are good for, the source of their weights, and which to choose."""
    if only_installed:
        _print_installed(as_json)
        return
    from cezsar.encoders import cards

    found = cards(notice)
    if as_json:
        print_json([asdict(card) for card in found])
        return
    click.echo(
        "Offline or on a laptop, take lite, the default. If you can reach the model hub and quality\n"
        "matters, name a SigLIP 2 or CLIP checkpoint: cezsar index PATH --model HUB_ID --index DIR\n"
        "Figures are accuracy in % by class, or R@1 of sentences, as their authors published them.\n"
    )
    for card in found:
        _print_card(card)


def _print_card(card: Card) -> None:
    click.echo(click.style(card.name, bold=True) + (f", version {card.version}" if card.version else ""))
    if card.package:
        _print_line("package", card.package)
    else:
        _print_line("dimension", str(card.dimension or "of the checkpoint"))
    _print_line("licence", card.licence)
    _print_line("weights", card.weights)
    _print_line("good for", ", ".join(card.good_for))
    _print_line("size", card.size)
    _print_line("published", card.published)
    _print_line("use", card.advice)


def _print_line(key: str, text: str | None) -> None:
    if text:
        first = f"  {key}".ljust(_KEYS)
        click.echo(
            textwrap.fill(
                text, _WIDTH, initial_indent=first, subsequent_indent=" " * _KEYS, break_on_hyphens=False,
                break_long_words=False,
            )
        )  # fmt: skip


def _print_installed(as_json: bool) -> None:
    from cezsar.encoders import installed
    from cezsar.encoders.registry import names

    found = installed()
    if as_json:
        print_json([{"name": one.name, "family": one.family, "bytes": one.num_bytes} for one in found])
        return
    click.echo(f"Always here: {', '.join(names())}")
    if not found:
        click.echo("The hub's cache has no model that looks like an encoder: cezsar models says which there are.")
    for one in found:
        click.echo(f"{one.num_bytes / 1e6:>9,.0f} MB  {one.family:<21} {one.name}")
