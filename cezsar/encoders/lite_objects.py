"""`lite-objects`: the training-free object stream; a segment is a mix of ImageNet's objects, said in words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from cezsar.digest import sha256
from cezsar.encoders.devices import runs_on_gpu, torch_device
from cezsar.encoders.frozen import Sentences, sentences
from cezsar.encoders.weights import EMBEDDED_SENTENCES, IMAGE_WEIGHTS, SENTENCE_WEIGHTS
from cezsar.types import EncoderIdentity, Vectors, unit

if TYPE_CHECKING:
    from cezsar.encoders.embedded import EfficientNet
    from cezsar.encoders.images import ImageBackbone

_OBJECTS = Path(__file__).with_name("lite_objects.safetensors")
# Chosen by retrieval on MSR-VTT videos, both ways; the paper takes the top 3 of 21,843 objects at temperature 1.
_NUM_OBJECTS = 50
_TEMPERATURE = 1.5


class LiteObjects:
    """EfficientNet-Lite2's posterior over ImageNet-1k, spelt out by MiniLM (arXiv 2605.01165, the object stream).

    The logits of a segment's frames are averaged; the likeliest 50 objects, by their softmax at temperature 1.5, weigh
    the embeddings of their names and definitions, from which the mean over all objects is taken, so that no sentence is
    near to everything. A sentence is its MiniLM embedding.
    """

    short_side = 260

    def __init__(self, device: str) -> None:
        self._device = device

    @cached_property
    def identity(self) -> EncoderIdentity:
        """lite-objects, 384-d; the fingerprint covers both backbones and the objects' vectors."""
        parts = (IMAGE_WEIGHTS.sha256, SENTENCE_WEIGHTS.sha256, sha256(_OBJECTS).hex())
        return EncoderIdentity(
            name="lite-objects",
            weights_sha256=hashlib.sha256(" ".join(parts).encode()).hexdigest(),
            dimension=384,
            streams="object",
        )

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 -> (N, 1000) float32 logits."""
        return self._frames.logits(frames_uint8)

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, 1000) logits -> (len(segments), 384)."""
        logits = np.array([frames.mean(axis=0) for frames in segments], np.float64).reshape(-1, len(self._objects))
        weights = np.exp((logits - logits.max(axis=1, keepdims=True)) / _TEMPERATURE)
        least = np.partition(weights, -_NUM_OBJECTS, axis=1)[:, -_NUM_OBJECTS, None]
        return unit(np.where(weights >= least, weights, 0.0) @ self._objects)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), 384)."""
        return self._sentences.encode(texts)

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        return self._sentences.beginning(text)

    @cached_property
    def _frames(self) -> EfficientNet | ImageBackbone:  # a query needs only the words: each loads when asked
        if runs_on_gpu(self._device):
            from cezsar.encoders.images import ImageBackbone

            return ImageBackbone(torch_device(self._device))
        from cezsar.encoders.embedded import EfficientNet

        return EfficientNet()

    @cached_property
    def _sentences(self) -> Sentences:
        return sentences(EMBEDDED_SENTENCES, self._device)

    @cached_property
    def _objects(self) -> Vectors:
        return np.asarray(load_file(_OBJECTS)["objects"], np.float32)
