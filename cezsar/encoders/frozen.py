"""The frozen networks that trained models and lite-objects stand on, by name: of images, and of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cezsar.encoders.devices import runs_on_gpu, torch_device
from cezsar.encoders.weights import EMBEDDED_IMAGES, EMBEDDED_PAIR, EMBEDDED_SENTENCES
from cezsar.errors import EncoderError
from cezsar.types import Vectors


class Frames(Protocol):
    """A frozen image network: (N, 3, H, W) uint8 -> (N, F) features. fingerprint is of its weights."""

    name: str
    short_side: int

    @property
    def fingerprint(self) -> str:
        """sha256, in hex."""

    def features(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 -> (N, F) float32."""


class Sentences(Protocol):
    """A frozen sentence encoder: sentences -> (N, S) unit float32."""

    name: str

    @property
    def fingerprint(self) -> str:
        """sha256, in hex."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (N, S) unit float32."""

    def beginning(self, text: str) -> str:
        """As cezsar.encoders.Limited.beginning."""


def frames(name: str, device: str) -> Frames:
    """The image network of this name: an embedded one through ONNX Runtime on the CPU, any other through torch."""
    if name in (EMBEDDED_IMAGES, EMBEDDED_PAIR) and not runs_on_gpu(device):
        from cezsar.encoders.embedded import EfficientNet, Pair

        return EfficientNet() if name == EMBEDDED_IMAGES else Pair()
    from cezsar.encoders.images import load_backbone

    return load_backbone(name, torch_device(device))


def sentences(name: str, device: str) -> Sentences:
    """The sentence encoder of this name: the embedded one through ONNX Runtime, unless 'cuda' is asked for."""
    if name == EMBEDDED_SENTENCES and device != "cuda":
        from cezsar.encoders.embedded import MiniLM

        return MiniLM()
    from cezsar.encoders.sentences import SentenceEncoder

    return SentenceEncoder(torch_device(device), name)


def check_fingerprint(encoder: Any, found: str, recorded: str, what: str) -> None:
    """Raise EncoderError if a trained model would get other frozen weights than those that it was trained on."""
    if found != recorded:
        raise EncoderError(f"{encoder.identity.name!r} was trained on other weights of its {what} than those here.")
