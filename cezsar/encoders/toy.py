"""`toy`: eight colours, no weights. Made to be checked by eye, in tests and first tries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cezsar.types import EncoderIdentity, Vectors, unit

COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}


class Toy:
    """Says which of eight colours a frame shows and which ones a sentence names.

    A frame is the share of its pixels nearest to each colour, in the order of COLOURS; a segment is the mean of its
    frames; a sentence is the count of the colours' names in it, and all eight alike if it names none.
    """

    identity = EncoderIdentity(
        name="toy",
        weights_sha256=hashlib.sha256(repr(COLOURS).encode()).hexdigest(),
        dimension=len(COLOURS),
        streams="visual",
    )
    short_side = 16
    knows_colours = True

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 -> (N, 8) float32, each row summing to 1."""
        palette = np.array(list(COLOURS.values()), np.float32)  # (8, 3)
        pixels = frames_uint8.astype(np.float32).transpose(0, 2, 3, 1)[..., None, :]  # (N, H, W, 1, 3)
        nearest = ((pixels - palette) ** 2).sum(axis=-1).argmin(axis=-1)  # (N, H, W)
        shares = (nearest[..., None] == np.arange(len(palette))).mean(axis=(1, 2))
        return np.asarray(shares, np.float32)

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, 8) -> (len(segments), 8)."""
        return unit(np.array([frames.mean(axis=0) for frames in segments]).reshape(-1, len(COLOURS)))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), 8)."""
        counts = [[re.findall(r"\w+", text.lower()).count(name) for name in COLOURS] for text in texts]
        rows = np.array(counts, np.float32).reshape(-1, len(COLOURS))
        return unit(np.where(rows.sum(axis=1, keepdims=True) > 0, rows, 1.0))
