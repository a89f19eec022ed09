"""Checkpoints by folder or hub id: where they are looked for, and what is said when they cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HTTPError, StrictDataclassError
from safetensors import SafetensorError

# what transformers, timm and their helpers raise where a checkpoint is missing, damaged or not what it says
REFUSALS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ImportError,
    RuntimeError,
    HTTPError,
    SafetensorError,
    StrictDataclassError,
)
UNREACHABLE = "the model hub cannot be reached, or has no such model with safetensors"
_PATIENCE_S = 10  # for the hub to answer
_MAY_FETCH = ContextVar("may_fetch", default=True)
_Loaded = TypeVar("_Loaded")


def local_first(name: str, load: Callable[[bool], _Loaded]) -> _Loaded:
    """load(local_files_only) of a folder, of what was fetched before, or of the hub, in this order.

    Raises one of REFUSALS. The hub is asked once, with a time limit, before anything is fetched: the libraries' own
    retries take most of a minute where there is no network.
    """
    if Path(name).is_dir():
        return load(True)
    if not _MAY_FETCH.get():
        return load(True)
    with suppress(OSError):
        return load(True)
    HfApi().model_info(name, timeout=_PATIENCE_S)
    return load(False)


@contextmanager
def offline() -> Iterator[None]:
    """Only what is on this machine is loaded meanwhile."""
    before = _MAY_FETCH.set(False)
    try:
        yield
    finally:
        _MAY_FETCH.reset(before)


def is_cached(name: str) -> bool:
    """Whether a model of the hub was fetched before: its configuration, and weights, are in the local cache."""
    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except REFUSALS:
        return False
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def first_line(error: Exception) -> str:
    """What an error says, in one line: its first, and the next where that only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
