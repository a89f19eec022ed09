"""What every encoder offers: one space for segments of video and for sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cezsar.errors import EncoderError
from cezsar.types import EncoderIdentity, Vectors

_SAME_LENGTH = 1e-3  # a length nearer to 1 than this is rounding


class Encoder(Protocol):
    """Frozen towers into one joint space, where cosine similarity says how well a sentence fits a segment.

    A frame is encoded once; overlapping segments share what it gave. All results are deterministic, and do not depend
    on how the input is cut into batches (but for rounding). Vectors are unit float32.
    """

    @property
    def identity(self) -> EncoderIdentity:
        """What the index records of this encoder; another identity is another space."""

    @property
    def short_side(self) -> int:
        """The short side, in pixels, to which frames are to be resized."""

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 RGB -> (N, ...): whatever this encoder keeps of each frame."""

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """For each segment what was kept of its frames, (T, ...) on the sampling grid -> (len(segments), D)."""

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D)."""


@runtime_checkable
class Timed(Protocol):
    """An encoder that was trained on frames at a rate of its own."""

    @property
    def fps(self) -> float:
        """That rate, in frames/s."""


@runtime_checkable
class Limited(Protocol):
    """An encoder that reads only so many tokens of a text."""

    def beginning(self, text: str) -> str:
        """What encode_texts reads of a text: all of it, or its beginning if it is longer."""


@runtime_checkable
class OfColours(Protocol):
    """An encoder to which a plain picture says something: what shows next to nothing to others does not to it."""

    knows_colours: bool


@runtime_checkable
class Banked(Protocol):
    """An encoder that knows how generic videos look in its space. This is no part of the space's identity."""

    def bank(self) -> Vectors | None:
        """(B, D) unit vectors of generic videos; None if it has none. Raises EncoderError if they are damaged."""


def sound(vectors: Vectors, count: int, identity: EncoderIdentity) -> Vectors:
    """The vectors (N, D) of an encoder, found to be as many as were asked for, of its dimension, and of length 1.

    A row of zeros is let through. Raises EncoderError.
    """
    lengths = np.linalg.norm(vectors, axis=1) if np.shape(vectors) == (count, identity.dimension) else np.array(np.nan)
    if not ((np.abs(lengths - 1) <= _SAME_LENGTH) | (lengths == 0)).all():
        raise EncoderError(
            f"The encoder {identity.name!r} gave vectors of {np.shape(vectors)} that are not {count} unit vectors of "
            f"{identity.dimension} dimensions."
        )
    return vectors


def longest_beginning(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of a text that fits, where everything shorter does too: all of it, mostly."""
    if fits(text):
        return text
    fitting, too_long = 0, len(text)
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        fitting, too_long = (middle, too_long) if fits(text[:middle]) else (fitting, middle)
    return text[:fitting]
