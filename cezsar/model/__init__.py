"""The CEZSAR method (arXiv 2605.01165): towers, object stream, losses; it knows features, and no files of video."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cezsar.choices import STREAMS

if TYPE_CHECKING:
    from cezsar.model.config import CezsarConfig
    from cezsar.model.fields import OWN_FIELDS
    from cezsar.model.joint import CezsarModel, pad

__all__ = ["OWN_FIELDS", "STREAMS", "CezsarConfig", "CezsarModel", "pad"]

_ROOMS = {"OWN_FIELDS": "fields", "CezsarConfig": "config", "CezsarModel": "joint", "pad": "joint"}


def __getattr__(name: str) -> Any:
    # who only reads a config need not wait for torch
    if name in _ROOMS:
        return getattr(import_module(f"cezsar.model.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
