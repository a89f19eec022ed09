"""Where an encoder runs."""

from __future__ import annotations

import ctypes
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cezsar.errors import EncoderError

if TYPE_CHECKING:
    import torch

_DRIVER = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"


def runs_on_gpu(name: str) -> bool:
    """Whether the device of this name is a GPU; 'auto' is one if there is one, and torch to use it.

    Torch is asked only if there is a driver that it could use. Raises EncoderError if 'cuda' is not there.
    """
    if name == "cpu" or (name == "auto" and not (_has_driver() and find_spec("torch"))):
        return False
    return torch_device(name).type == "cuda"


def torch_device(name: str) -> torch.device:
    """The device of this name; 'auto' is a GPU if there is one. Raises EncoderError if it, or torch, is not there."""
    check_torch()
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise EncoderError("There is no GPU that torch can use here: --device cpu or auto works without one.")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def device_name(name: str) -> str:
    """What a device is called: a GPU's model, or 'cpu'."""
    if not runs_on_gpu(name):
        return "cpu"
    import torch

    return torch.cuda.get_device_name(torch_device(name))


def check_torch() -> None:
    """Raise EncoderError if torch and transformers are not installed, as in a light installation."""
    if lacking := [name for name in ("torch", "transformers") if not find_spec(name)]:
        raise EncoderError(
            f"This needs {' and '.join(lacking)}, which a light installation leaves out: `pip install cezsar` brings "
            f"{'it' if len(lacking) == 1 else 'them'}."
        )


def _has_driver() -> bool:
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    return True
