"""An encoder for CEZSAR that knows how bright a picture is, and no more: the smallest package that adds one.

pip install examples/brightness
cezsar index FOLDER --model brightness --index INDEX
cezsar query "a dark room" --index INDEX
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cezsar.types import EncoderIdentity, Vectors, unit

DARK = ("dark", "night", "black", "cave")
BRIGHT = ("bright", "day", "white", "snow")


class Brightness:
    """How dark and how bright: two dimensions, no weights."""

    # what the index records, so that vectors of other rules are never compared with these: cover all weights
    identity = EncoderIdentity(
        name="brightness",
        weights_sha256=hashlib.sha256(repr((DARK, BRIGHT)).encode()).hexdigest(),
        dimension=2,
        streams="visual",
    )
    short_side = 16  # pixels; more would cost time and tell nothing
    knows_colours = True  # a plain picture says something here, and is not left out

    def __init__(self, device: str) -> None:
        """device is 'auto', 'cpu' or 'cuda'; here there is nothing to put on it."""

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 -> (N, 1) float32, from 0, black, to 1, white."""
        return np.asarray(frames_uint8.mean(axis=(1, 2, 3))[:, None] / 255, np.float32)

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, 1) -> (len(segments), 2) unit float32."""
        bright = np.array([frames.mean() for frames in segments])
        return unit(np.stack([1 - bright, bright], axis=1))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), 2) unit float32; both alike if a sentence says nothing of it."""
        words = [re.findall(r"\w+", text.lower()) for text in texts]
        counts = np.array([[sum(map(line.count, kind)) for kind in (DARK, BRIGHT)] for line in words])
        return unit(np.where(counts.any(axis=1, keepdims=True), counts, 1))
