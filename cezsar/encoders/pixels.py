"""A checkpoint's own preprocessing as a few operations on a batch of frames, on whatever device the batch lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

_MODES = {2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}  # by PIL's number, which processors have
_SAME = 1e-4  # of pixels whose spread is about 1
_PROBES = ((2, 97, 131), (1, 131, 97))  # frames, height, width


@dataclass(frozen=True)
class Pixels:
    """Resize, cut out the middle, scale and normalise: (N, 3, H, W) uint8 -> (N, 3, h, w) float32.

    short_side is the length that the short side gets, if the frame keeps its shape; size, (height, width) otherwise.
    centred makes a whole number of the pixels above and left of the middle: transformers cuts off what torchvision
    rounds.
    """

    short_side: int | None
    size: tuple[int, int] | None
    mode: InterpolationMode
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    centred: Callable[[float], int] = int

    def __call__(self, frames_uint8: torch.Tensor) -> torch.Tensor:
        frames = frames_uint8
        if target := self._target(*frames.shape[-2:]):
            frames = functional.resize(frames, list(target), interpolation=self.mode, antialias=True)
        if self.crop:
            height, width = self.crop
            top, left = self.centred((frames.shape[-2] - height) / 2), self.centred((frames.shape[-1] - width) / 2)
            frames = frames[..., top : top + height, left : left + width]
        scaled = functional.to_dtype(frames, torch.float32, scale=True)
        normal: torch.Tensor = functional.normalize(scaled, list(self.mean), list(self.std))
        return normal

    def _target(self, height: int, width: int) -> tuple[int, int] | None:
        if self.short_side is None:
            return self.size
        short, long = min(height, width), max(height, width)
        longer = int(self.short_side * long / short)
        return (self.short_side, longer) if height <= width else (longer, self.short_side)


def of_processor(processor: Any) -> Pixels | None:
    """What an image processor of transformers does, if it comes to the same pixels on a few frames; None if not."""
    size = dict(getattr(processor, "size", None) or {})
    crop = dict(getattr(processor, "crop_size", None) or {})
    mode = _MODES.get(int(getattr(processor, "resample", None) or 0))
    mean, std = getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
    if mode is None or not mean or not std or not (size.keys() & {"shortest_edge", "height"}):
        return None
    pixels = Pixels(
        short_side=size.get("shortest_edge"),
        size=None if "shortest_edge" in size else (size["height"], size["width"]),
        mode=mode,
        crop=(crop["height"], crop["width"]) if crop and getattr(processor, "do_center_crop", None) else None,
        mean=tuple(mean),
        std=tuple(std),
    )
    is_same = agrees(pixels, lambda frames: processor(images=list(frames), return_tensors="pt").get("pixel_values"))
    return pixels if is_same else None


def agrees(pixels: Pixels, published: Callable[[torch.Tensor], Any]) -> bool:
    """Whether the published preprocessing gives the same pixels of a few coarse frames, wide ones and tall ones."""
    for number, (count, height, width) in enumerate(_PROBES):
        random = torch.Generator().manual_seed(number)
        coarse = torch.randint(0, 256, (count, 3, 7, 9), dtype=torch.uint8, generator=random)
        frames = functional.resize(coarse, [height, width], interpolation=InterpolationMode.NEAREST_EXACT)
        expected, found = published(frames), pixels(frames)
        if not isinstance(expected, torch.Tensor) or expected.shape != found.shape:
            return False
        if (expected - found).abs().max() > _SAME:
            return False
    return True
