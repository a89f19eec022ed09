"""Fingerprints of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch


def fingerprint(state: Mapping[str, torch.Tensor]) -> str:
    """The sha256 of every tensor's name, type, shape and bytes; the same for the same weights in any file layout."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
