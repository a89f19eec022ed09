"""One batch on several devices: each embeds a share of its rows, and then all of them have the whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cezsar.types import Ids


@dataclass(frozen=True, slots=True)
class Devices:
    """So many devices, each with a process of torch.distributed; this one's number is in [0, count)."""

    count: int = 1
    number: int = 0

    def own(self, num_rows: int) -> Ids:
        """The rows of a batch that this device embeds, (N,): as many on each, so that at the end some come twice."""
        num_all = self.count * math.ceil(num_rows / self.count)
        return np.arange(self.number, num_all, self.count) % num_rows

    def whole(self, parts: Sequence[Tensor], num_rows: int) -> list[Tensor]:
        """(N, K_i, D) of each device -> (num_rows, K_i, D) of the batch, in order; a gradient goes back to each device.

        On every device it is the sum of all devices' gradients, which DistributedDataParallel then divides by their
        count: if all compute the same loss, that is the gradient of one device with the whole batch.
        """
        if self.count == 1:
            return list(parts)
        from torch.distributed.nn.functional import all_gather

        shares = all_gather(torch.cat(list(parts), dim=1))  # type: ignore[no-untyped-call]
        rows = torch.stack(shares, dim=1).flatten(0, 1)[:num_rows]
        return list(torch.split(rows, [part.shape[1] for part in parts], dim=1))
