"""A picture that a client sends, as an example: its vector, small enough for an address."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import numpy as np

from cezsar import indexer
from cezsar.errors import QueryError, VideoError
from cezsar.query import Searcher, mean_vector
from cezsar.types import Limits, Vectors, unit
from cezsar.video import Pool

_LIMITS = Limits(stall_s=20.0, time_s=30.0, memory_gb=2.0)  # of decoding a picture


def example(searcher: Searcher, picture: bytes) -> str:
    """What stands for a picture in a search: its vector (D,), rounded, in URL-safe base64.

    Raises VideoError if it is no picture.
    """
    with tempfile.TemporaryDirectory(prefix="cezsar-") as folder, Pool(_LIMITS) as pool:
        path = Path(folder, "picture")
        path.write_bytes(picture)
        try:
            made = indexer.embed(path, searcher.encoder, searcher.info.sampling, pool=pool)
        except VideoError as error:
            raise VideoError(f"That is no picture: {error}.") from None
    vector = mean_vector(made.segments, made.vectors, None, path)
    return base64.urlsafe_b64encode(vector.astype("<f2").tobytes()).decode("ascii").rstrip("=")


def vector_of(text: str, dimension: int) -> Vectors:
    """The unit vector (D,) of such an example. Raises QueryError if it is none, or one of another encoder's."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        data = b""
    numbers = np.frombuffer(data[: len(data) // 2 * 2], "<f2").astype(np.float32)
    if len(data) != 2 * dimension or not np.isfinite(numbers).all() or not numbers.any():
        raise QueryError("The example is none of this index: send its picture again.")
    return np.asarray(unit(numbers[None])[0])
