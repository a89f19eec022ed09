"""The interface of every encoder: one space for segments of video and for sentences."""

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

    A frame is encoded once; overlapping segments share its features. All results are deterministic, and do not depend
    on how the input is cut into batches (but for rounding). Vectors are unit float32.
    """

    @property
    def identity(self) -> EncoderIdentity:
        """The identity that an index records of this encoder; another identity is another space."""

    @property
    def short_side(self) -> int:
        """The short side, in pixels, that frames are resized to."""

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 RGB -> (N, ...): the features of each frame, of any shape."""

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """The features of each segment's frames, (T, ...) on the sampling grid -> (len(segments), D)."""

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
        """The part of a text that encode_texts reads: all of it, or its beginning if it is too long."""


@runtime_checkable
class OfColours(Protocol):
    """An encoder to which plain pictures mean something; to others they show next to nothing."""

    knows_colours: bool


@runtime_checkable
class Banked(Protocol):
    """An encoder with vectors of generic videos in its space. They are no part of the space's identity."""

    def bank(self) -> Vectors | None:
        """(B, D) unit vectors of generic videos; None if it has none. Raises EncoderError if they are damaged."""


def sound(vectors: Vectors, count: int, identity: EncoderIdentity) -> Vectors:
    """The vectors (N, D) of an encoder, after a check that there are `count`, of its dimension, and of length 1.

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
    """The longest beginning of a text that fits, if everything shorter fits too: mostly all of it."""
    if fits(text):
        return text
    fitting, too_long = 0, len(text)
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        fitting, too_long = (middle, too_long) if fits(text[:middle]) else (fitting, middle)
    return text[:fitting]
