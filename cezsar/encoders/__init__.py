"""Encoders: the joint spaces of video and text, by name; the only room with a registry, which packages may add to."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cezsar.encoders import prefixed, registry
from cezsar.encoders.devices import check_torch, runs_on_gpu, torch_device
from cezsar.encoders.encoder import Banked, Encoder, Limited, OfColours, Timed, sound
from cezsar.encoders.folders import check_folder
from cezsar.encoders.registry import CARDS, Card, cards
from cezsar.errors import EncoderError, IndexMismatch
from cezsar.types import EncoderIdentity, Sampling

if TYPE_CHECKING:
    from cezsar.encoders.cached import Installed

__all__ = [
    "CARDS",
    "Banked",
    "Card",
    "Encoder",
    "Limited",
    "OfColours",
    "brief",
    "canonical",
    "cards",
    "check_recorded",
    "installed",
    "load",
    "load_recorded",
    "older",
    "own_sampling",
    "sound",
]

_LITE_1 = frozenset(  # weights_sha256 of lite's version 1: of its visual stream, its objects, and both
    (
        "1d637e8951d598636fe48fd4fd42c35cd9a8fe825c2b0ab87f65c11c5ff8dca7",
        "8449502f50f59093417612f7dacfd16f06e6ef8aff6eb46e22b220fce03b1edb",
        "74b02ee11f3c86feb172c7dc6583f2b2ec65203254f89353d5738bc2e0f15742",
    )
)
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(@\w[\w./-]*)?", re.ASCII)  # ORG/MODEL, or ORG/MODEL@REVISION


def load(name: str, *, device: str = "auto", streams: str | None = None) -> Encoder:
    """The encoder of this name, on 'cpu', 'cuda' or, with 'auto', on a GPU if there is one.

    streams, 'visual', 'object' or 'visual_object', asks a trained model for other streams than its config's.

    Raises EncoderError for an unknown name, weights that are missing or damaged (the embedded ones are read, and
    checked, when they are first needed), or a device that is not there.
    """
    encoder = _load(canonical(name), device, streams)
    if streams not in (None, encoder.identity.streams):
        raise EncoderError(f"{name!r} gives {encoder.identity.streams} vectors, and has no {streams} ones.")
    return encoder


def load_recorded(recorded: EncoderIdentity, *, device: str = "auto") -> Encoder:
    """The encoder that made an index, from this machine: nothing is fetched because an index names it.

    Raises IndexMismatch if its weights are other ones now; errors as for load.
    """
    if older(recorded):
        encoder = registry.lite(device, recorded.streams, version_1=True)
    elif registry.registered(recorded.name):
        encoder = _load(recorded.name, device, recorded.streams)
    else:
        from cezsar.encoders import hub

        with hub.offline():
            encoder = _load(_here(recorded.name), device, recorded.streams)
    check_recorded(encoder, recorded)
    return encoder


def check_recorded(encoder: Encoder, recorded: EncoderIdentity) -> None:
    """Raise IndexMismatch if an index was made with another encoder, or with other weights of it."""
    given = encoder.identity
    if given.name != recorded.name:
        raise IndexMismatch(
            f"The index holds {recorded.name!r}; an encoder {given.name!r} needs one of its own: --index DIR"
        )
    if given != recorded:
        raise IndexMismatch(
            f"The weights of {recorded.name!r} are not those that made this index: "
            "bring the old ones back, or make a new index with --index DIR"
        )


def older(recorded: EncoderIdentity) -> str | None:
    """The line to print for an index of an older version of `lite`, which goes on working; None for every other
    index."""
    if recorded.name == "lite" and recorded.weights_sha256 in _LITE_1:
        return "the index is of version 1 of lite: `cezsar reembed` brings it over to version 2"
    return None


def installed() -> list[Installed]:
    """What the hub's cache has that looks like an encoder; nothing is loaded."""
    from cezsar.encoders import cached

    return cached.installed()


def own_sampling(encoder: Encoder) -> Sampling:
    """The default sampling of a new index: with the frame rate that the encoder was trained at, if it has one."""
    return Sampling(fps=encoder.fps) if isinstance(encoder, Timed) else Sampling()


def _here(name: str) -> str:
    """A recorded name that can be loaded without a network: an absolute path, or what the hub's cache has."""
    if os.path.isabs(name):
        return canonical(name)
    if model := prefixed.parsed(name):
        if str(model) != name:  # what the current folder has is not what is meant
            raise EncoderError(f"The index was made with {name!r}, and no encoder can be found by that name.")
        return name
    if registry.NAME.fullmatch(name):
        raise EncoderError(f"The index was made with {name!r}, an encoder of a package that is not installed here.")
    if not _HUB_ID.fullmatch(name) or os.path.exists(name):  # what the current folder has is not what is meant
        raise EncoderError(f"The index was made with {name!r}, and no encoder can be found by that name.")
    from cezsar.encoders import hub

    if not hub.is_cached(name):
        raise EncoderError(
            f"The index was made with {name!r}, which is not on this machine: "
            f"`{hub.download_command(name)}` fetches it."
        )
    return name


def canonical(name: str) -> str:
    """The name under which an index records this encoder: folders as absolute paths. Raises EncoderError if unknown.

    ORG/MODEL@REVISION of the hub stays as it is, so that an index goes on with that revision.
    """
    if registry.registered(name):
        return name
    if model := prefixed.parsed(name):
        return str(model)
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return os.path.realpath(folder)
    if _HUB_ID.fullmatch(name):
        if (parent := Path(name).parent).is_dir() and not _was_fetched(name):
            raise EncoderError(
                f"There is no folder {name!r}, though there is one called {str(parent)!r} here: give the path of a "
                "saved model's folder. If a model of the hub is meant, run this in another folder."
            )
        return name
    if name.startswith((".", "~", os.sep)):
        raise EncoderError(
            f"There is no folder {name!r}: --model takes the folder of a saved model, a hub id, or one of "
            f"{', '.join(registry.names())}."
        )
    raise EncoderError(
        f"There is no encoder {name!r}. There are: {', '.join(registry.names())}, a hub id like "
        "google/siglip2-base-patch16-224, or the folder of a saved model. `cezsar models` describes them."
    )


def calibration_file(name: str, *, is_older: bool = False) -> Path | None:
    """Where the calibration of an encoder that comes with CEZSAR, or of its version before, is, if it has one."""
    folder = "lite-1" if is_older else "lite"
    return Path(__file__).with_name(folder) / "calibration.json" if name == "lite" else None


def settings_files(name: str) -> dict[str, Path]:
    """The files of an encoder besides its weights, by file name: its configs and its tokenizer's files.

    Empty if they come with CEZSAR. name is as in an identity: a folder, or a hub id that was fetched.
    """
    if registry.registered(name):
        return {}
    model = prefixed.parsed(name)
    if isinstance(model, prefixed.OpenClip):
        if not model.folder:
            return {}  # open_clip's own
        name = model.folder
    elif model:
        name = model.source
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        from cezsar.encoders.hub import revised

        repository, revision = revised(name)
        config = try_to_load_from_cache(repository, "config.json", revision=revision)
        if not isinstance(config, str):
            return {}
        folder = Path(config).parent
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.suffix in (".json", ".txt", ".model") and not path.name.endswith(".index.json") and path.is_file()
    }


def brief(name: str) -> tuple[str, bool]:
    """An encoder's recorded name without the path of a folder or file, and whether it had one."""
    prefix, colon, rest = name.partition(":")
    if os.path.isabs(name):
        return Path(name).name, True
    if colon and os.path.isabs(rest):
        return f"{prefix}:{Path(rest).name}", True
    place, at, file = name.partition("@")
    return (f"{place}@{Path(file).name}", True) if at and os.path.isabs(file) else (name, False)


def _load(name: str, device: str, streams: str | None) -> Encoder:
    if device == "cuda" and name != "toy":
        runs_on_gpu(device)  # or it says that there is none
    if model := prefixed.parsed(name):
        check_torch()
        return prefixed.load(model, device)
    maker = registry.registered(name)
    return maker(device, streams) if maker else _load_saved(name, device, streams)


def _was_fetched(name: str) -> bool:
    from cezsar.encoders import hub

    return hub.was_fetched(name)


def _load_saved(name: str, device: str, streams: str | None) -> Encoder:
    if Path(name).is_dir():
        check_folder(Path(name))
    else:
        check_torch()
        if not _was_fetched(name):
            from cezsar.encoders import hub

            try:
                hub.ask(name)  # before torch is imported, which takes seconds
            except hub.REFUSALS:
                raise hub.unreachable(name) from None
    from cezsar.encoders import lean

    if loaded := lean.load(Path(name), device, name=name, streams=streams):
        return loaded
    check_torch()
    from cezsar.encoders import dual, joint

    if joint.is_saved(name):
        return joint.Joint(name, torch_device(device), streams=streams)
    return dual.load(name, torch_device(device))
