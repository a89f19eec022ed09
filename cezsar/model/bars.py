"""The progress bars of transformers, of which there is one for every file."""

from __future__ import annotations

from transformers.utils import logging


def hide() -> None:
    """Show none from now on."""
    logging.disable_progress_bar()
