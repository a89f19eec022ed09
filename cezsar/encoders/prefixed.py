"""Names that begin with a library's: open_clip:... and st:..., taken apart without importing the library."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cezsar.errors import EncoderError

if TYPE_CHECKING:
    from cezsar.encoders.encoder import Encoder

_ARCHITECTURE = re.compile(r"\w[\w.-]*", re.ASCII)
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(@\w[\w./-]*)?", re.ASCII)
_OPTION = re.compile(r",(dim|frames)=([1-9][0-9]{0,4})$")
_SAFE = ".safetensors"
OPEN_CLIP_FILE, ST_FILE = "open_clip_config.json", "modules.json"  # what the libraries save beside a model
_SAVED_BY = {OPEN_CLIP_FILE: ("open_clip", "open_clip"), ST_FILE: ("st", "sentence-transformers")}  # prefix, name


@dataclass(frozen=True, slots=True)
class OpenClip:
    """A model of open_clip: a folder that it saved, or an architecture with the name of weights, a file, or both.

    With both, the weights are the file's, and the name says how they want their pictures.
    """

    folder: str | None = None
    architecture: str | None = None
    pretrained: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        weights = "/".join(part for part in (self.architecture, self.pretrained) if part)
        return "open_clip:" + (self.folder or weights + (f"@{self.file}" if self.file else ""))


@dataclass(frozen=True, slots=True)
class SentenceTransformer:
    """A model of sentence-transformers: a folder, or a hub id; how many numbers of each vector, frames of a segment."""

    source: str
    dimension: int | None = None
    num_frames: int | None = None

    def __str__(self) -> str:
        options = {"dim": self.dimension, "frames": self.num_frames}
        return f"st:{self.source}" + "".join(f",{name}={value}" for name, value in options.items() if value)


def parsed(name: str) -> OpenClip | SentenceTransformer | None:
    """The model that a name means, folders and files as absolute paths; None if it has no library's prefix.

    Raises EncoderError if it is none that the library could have, or a file or folder is not there.
    """
    prefix, colon, rest = name.partition(":")
    reader = _READERS.get(prefix) if colon else None
    return reader(name, rest) if reader else None


def hint(folder: str) -> str:
    """A sentence that names another library which saved the model in a folder; empty if nothing there says so."""
    for file, (prefix, library) in _SAVED_BY.items():
        if os.path.isfile(os.path.join(folder, file)):
            return f" {library} saved this folder: call it {prefix}:{folder}."
    return ""


def load(model: OpenClip | SentenceTransformer, device: str) -> Encoder:
    """The encoder. Raises EncoderError if its library is not installed, or the model cannot be had."""
    from cezsar.encoders.devices import torch_device

    if isinstance(model, OpenClip):
        from cezsar.encoders import openclip

        return openclip.load(model, torch_device(device))
    from cezsar.encoders import st

    return st.load(model, torch_device(device))


def _open_clip(name: str, rest: str) -> OpenClip:
    if folder := _folder(rest):
        return OpenClip(folder=folder)
    if _is_path(rest):
        raise EncoderError(f"There is no folder {rest!r}, which {name!r} names: {_OPEN_CLIP_FORMS}.")
    place, at, file = rest.partition("@")
    architecture, _, pretrained = place.partition("/")
    if not (_ARCHITECTURE.fullmatch(architecture) and (at or pretrained)):
        raise EncoderError(f"{name!r} is no model of open_clip: {_OPEN_CLIP_FORMS}.")
    if not at:
        return OpenClip(architecture=architecture, pretrained=pretrained)
    path = os.path.realpath(os.path.expanduser(file))
    if not file.endswith(_SAFE):
        raise EncoderError(
            f"{file!r} is not a {_SAFE} file, the only kind that is opened, since others can hold code: "
            "safetensors.torch.save_file writes one."
        )
    if not os.path.isfile(path):
        raise EncoderError(f"There is no file {file!r}, which {name!r} names.")
    return OpenClip(architecture=architecture, pretrained=pretrained or None, file=path)


def _sentence_transformer(name: str, rest: str) -> SentenceTransformer:
    options: dict[str, int] = {}
    while not _folder(rest) and (match := _OPTION.search(rest)):
        options.setdefault(match[1], int(match[2]))
        rest = rest[: match.start()]
    source = _folder(rest)
    if not source and _is_path(rest):
        raise EncoderError(f"There is no folder {rest!r}, which {name!r} names: {_ST_FORMS}.")
    if not source and not _HUB_ID.fullmatch(rest):
        raise EncoderError(f"{name!r} is no model of sentence-transformers: {_ST_FORMS}.")
    return SentenceTransformer(source or rest, options.get("dim"), options.get("frames"))


def _folder(text: str) -> str | None:
    path = os.path.expanduser(text)
    return os.path.realpath(path) if text and os.path.isdir(path) else None


def _is_path(text: str) -> bool:
    return text.startswith((".", "~", os.sep))


_OPEN_CLIP_FORMS = "open_clip:ARCH/PRETRAINED, open_clip:ARCH@FILE.safetensors and open_clip:DIR can be given"
_ST_FORMS = "st:ORG/MODEL, st:ORG/MODEL@REVISION and st:DIR can be given, and after them ,dim=N and ,frames=N"
_READERS: dict[str, Callable[[str, str], OpenClip | SentenceTransformer]] = {
    "open_clip": _open_clip,
    "st": _sentence_transformer,
}
