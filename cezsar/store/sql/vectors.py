"""Vectors as pgvector sends and takes them: four bytes of a header, then big-endian float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cezsar.errors import IndexDamaged
from cezsar.types import Vectors

_MOST_OF_HALFVEC = 4_000  # dimensions that pgvector can index


def has_lists(dimension: int) -> bool:
    """Whether pgvector can put vectors of this dimension into lists."""
    return dimension <= _MOST_OF_HALFVEC


def layout(dimension: int) -> np.dtype[np.void]:
    """A vector as pgvector's binary format has it."""
    return np.dtype([("dimension", ">u2"), ("unused", ">u2"), ("values", ">f4", (dimension,))])


def read(sent: Sequence[bytes], dimension: int) -> Vectors:
    """What vector_send() gave for some vectors: (N, D). Raises IndexDamaged if one has another dimension."""
    form = layout(dimension)
    if set(map(len, sent)) - {form.itemsize}:
        raise IndexDamaged("Some vectors in the catalog do not have the index's dimension.")
    return np.frombuffer(b"".join(sent), form)["values"].astype(np.float32)


def text(vector: Vectors) -> str:
    """A vector (D,) as an SQL value: what comes of it has the same bits."""
    return f"[{','.join(map(repr, vector.tolist()))}]"
