"""Checkpoints by folder or hub id: where to look for them, and the error if they cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HTTPError, StrictDataclassError
from safetensors import SafetensorError

from cezsar.encoders.folders import check_folder
from cezsar.errors import EncoderError

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
_PATIENCE_S = 5  # for the hub to answer
_MAY_FETCH = ContextVar("may_fetch", default=True)
_Loaded = TypeVar("_Loaded")


class OutOfReach(OSError):
    """The hub gives no answer, or has no such model, and what is on this machine is not whole."""


def revised(name: str) -> tuple[str, str | None]:
    """('ORG/MODEL', 'REVISION') of ORG/MODEL@REVISION; any other name, a folder's too, as it is, and None."""
    if "@" not in name or Path(name).is_dir():
        return name, None
    repository, _, revision = name.partition("@")
    return repository, revision


def wanted(name: str) -> dict[str, str]:
    """{'revision': REVISION} for a library's loader, if the name has one."""
    _, revision = revised(name)
    return {"revision": revision} if revision else {}


def local_first(name: str, load: Callable[[bool], _Loaded]) -> _Loaded:
    """load(local_files_only) of a folder, of the local cache, or of the hub, in this order.

    Raises one of REFUSALS, and among them OutOfReach; EncoderError if a folder holds what must not be opened. The hub
    is asked once, with a time limit, before anything is fetched: the libraries' own retries take most of a minute if
    there is no network.
    """
    if Path(name).is_dir():
        check_folder(Path(name))
        return load(True)
    if not _MAY_FETCH.get():
        return load(True)
    with suppress(OSError):
        return load(True)
    try:
        ask(name)
    except REFUSALS:
        raise OutOfReach(UNREACHABLE) from None
    return load(False)


@contextmanager
def offline() -> Iterator[None]:
    """Only what is on this machine is loaded meanwhile."""
    before = _MAY_FETCH.set(False)
    try:
        yield
    finally:
        _MAY_FETCH.reset(before)


@contextmanager
def no_network() -> Iterator[None]:
    """The hub's library, and those on top of it, ask no network meanwhile, for those that have no argument for that."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def is_cached(name: str) -> bool:
    """Whether a model of the hub was fetched before: its configuration, and weights, are in the local cache."""
    repository, revision = revised(name)
    try:
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except REFUSALS:
        return False
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def was_fetched(name: str) -> bool:
    """Whether something of this hub id lies in the hub's cache."""
    repository, _ = revised(name)
    return (Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}").is_dir()


@cache
def ask(name: str) -> None:
    """Whether the hub has a model; an answer is remembered. Raises OSError or HTTPError if it gives none."""
    repository, revision = revised(name)
    HfApi().model_info(repository, revision=revision, timeout=_PATIENCE_S)


def download_command(name: str) -> str:
    """The command that fetches a model of the hub."""
    repository, revision = revised(name)
    return f"hf download {repository}" + (f" --revision {revision}" if revision else "")


def unreachable(name: str) -> EncoderError:
    """The error for a hub id that cannot be had."""
    here = "what was fetched of it is not whole" if was_fetched(name) else "there is no folder of that name here"
    return EncoderError(
        f"{name!r} could not be fetched: {UNREACHABLE}, and {here}. "
        "Use the embedded encoder (--model lite) or the folder of a downloaded model (--model DIR)."
    )


def first_line(error: Exception) -> str:
    """What an error says, in one line: its first, and the next where that only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
