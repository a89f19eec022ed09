"""Where an encoder runs."""

from __future__ import annotations

import torch

from cezsar.errors import EncoderError


def torch_device(name: str) -> torch.device:
    """The device of this name; 'auto' is a GPU where there is one. Raises EncoderError where it is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise EncoderError("There is no GPU that torch can use here: --device cpu or auto works without one.")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def device_name(name: str) -> str:
    """What a device is called: a GPU's model, or 'cpu'."""
    device = torch_device(name)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
