"""cezsar mcp"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cezsar.cli.console import PathType, device_option, index_option
from cezsar.errors import CezsarError

if TYPE_CHECKING:
    from cezsar.location import Location


@click.command(name="mcp")
@index_option
@click.option(
    "--allow-export", "export_to", metavar="DIR", type=PathType(file_okay=False, path_type=Path),
    help="Let the agent write lists of moments into DIR; without it, it can only read.",
)  # fmt: skip
@device_option
def command(index: Location | None, export_to: Path | None, device: str | None) -> None:
    """Offer the searches as tools to an agent, over stdin and stdout (Model Context Protocol).

    The agent can search, classify videos of the index, and look at pictures of its segments; no other file is read.
    """
    from cezsar.settings import load

    settings = load(index=index, device=device)
    try:
        from cezsar.server import agents
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "mcp", "mcp_types", "prometheus_client", "uvicorn"):
            raise
        raise CezsarError("`cezsar mcp` needs more packages: pip install 'cezsar[mcp]' brings them.") from None
    agents.serve(settings, export_to=export_to)
