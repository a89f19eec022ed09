"""A bank of generic videos beside a model's weights: a text that is near to all of them says little of one video."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cezsar import files
from cezsar.errors import EncoderError
from cezsar.types import EncoderIdentity, Vectors, unit

NAME = "bank.safetensors"


class BesideWeights:
    """A model of a folder that may hold a bank; a model of the hub has none."""

    identity: EncoderIdentity
    _folder: Path

    def bank(self) -> Vectors | None:
        """As Banked.bank."""
        return self._bank

    @cached_property
    def _bank(self) -> Vectors | None:
        return read(self._folder, self.identity)


def read(folder: Path, identity: EncoderIdentity) -> Vectors | None:
    """The (B, D) unit vectors of a model's folder; None if there are none, or they are of other weights or streams.

    Raises EncoderError if the file is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("weights_sha256") != identity.weights_sha256:
                return None
            rows = file.get_tensor("videos")
    except (OSError, SafetensorError) as error:
        raise EncoderError(f"The bank of videos {path} cannot be read: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != identity.dimension or not np.isfinite(rows).all():
        raise EncoderError(f"The bank of videos {path} does not hold vectors of {identity.dimension} numbers.")
    return unit(rows)


def write(folder: Path, identity: EncoderIdentity, videos: Vectors) -> Path:
    """Keep (B, D) unit vectors, which the encoder of this identity gave, as float16. Raises OSError."""
    path = folder / NAME
    metadata = {"format": "np", "weights_sha256": identity.weights_sha256}
    files.write(path, save({"videos": videos.astype(np.float16)}, metadata))
    return path
