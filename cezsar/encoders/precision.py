"""Half precision on a GPU where it makes no difference, compiled networks, and batches as large as its memory takes."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
_LEAST_COSINE = 0.999  # to float32's vectors
FRAME_BATCH = 512
"""Frames at once, or fewer if a GPU has too little memory; what comes at once is mostly less."""
_Tower = Callable[[Any], torch.Tensor]  # of a model: its (N, D) vectors of a fixed batch


class _Items(Protocol):
    """A list, or an array along its first axis."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> Any: ...


def candidates(device: torch.device) -> tuple[torch.dtype, ...]:
    """The types to try on this device, best first: none on a CPU, where they save nothing."""
    if device.type != "cuda":
        return ()
    return (torch.bfloat16, torch.float16) if torch.cuda.is_bf16_supported() else (torch.float16,)


@torch.inference_mode()
def lowered(model: Any, towers: Sequence[_Tower], dtypes: Sequence[torch.dtype]) -> Any:
    """The float32 model in the first of these types that hardly changes its vectors; the model itself if none does.

    Each tower gives a model's vectors of a fixed batch, whose cosine to float32's must be 0.999 or more.
    """
    expected = [tower(model).float() for tower in towers] if dtypes else []
    for dtype in dtypes:
        half = copy.deepcopy(model).to(dtype)
        if all(_are_near(tower, half, rows) for tower, rows in zip(towers, expected, strict=True)):
            return half
    return model


def _are_near(tower: _Tower, model: Any, expected: torch.Tensor) -> bool:
    try:
        return _is_near(tower(model).float(), expected)
    except RuntimeError:  # an operation that this type lacks
        return False


def _is_near(found: torch.Tensor, expected: torch.Tensor) -> bool:
    cosines = torch.nn.functional.cosine_similarity(found, expected, dim=-1)
    return bool((cosines >= _LEAST_COSINE).all())  # NaN is not


@torch.inference_mode()
def compiled(work: Callable[..., torch.Tensor], *example: Any) -> Callable[..., torch.Tensor]:
    """The work as torch.compile makes it, if CEZSAR_COMPILE is 1 and it can; as it is, with a line, if it cannot.

    work gives (N, ...); its result of the example must keep a cosine of 0.999.
    """
    if os.environ.get("CEZSAR_COMPILE") != "1":
        return work
    fast: Callable[..., torch.Tensor] = torch.compile(work)
    try:
        if _is_near(fast(*example).flatten(1).float(), work(*example).flatten(1).float()):
            return fast
        reason = "its vectors change"
    except (RuntimeError, OSError) as error:  # no compiler, or an operation that it cannot compile
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    _LOG.warning("CEZSAR_COMPILE: the network runs as it is, not compiled: %s", reason)
    return work


def sent(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array on the device; to a GPU it is copied from pinned memory while the processor goes on."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class Batches:
    """Runs over parts of the input, at first `size` items each, and half as many whenever memory is short."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, items: _Items, encode: Callable[[Any], NDArray[Any]]) -> list[NDArray[Any]]:
        """encode's result of each part, in order. Raises torch.OutOfMemoryError if one item alone is too much."""
        results, start = list[NDArray[Any]](), 0
        while start < len(items):
            part = items[start : start + self.size]
            try:
                results.append(encode(part))
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                self.size = (len(part) + 1) // 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            start += len(part)
        return results
