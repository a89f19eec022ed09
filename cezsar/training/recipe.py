"""How a model is trained, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cezsar.errors import TrainingError
from cezsar.model.losses import LOSSES

NEGATIVES = ("batch", "band", "semi-hard")
PRECISIONS = ("no", "fp16", "bf16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """loss and negatives say what is minimised; the band is of cosine distances, with num_negatives of it a positive.

    batch_size is in segments, learning_rate AdamW's peak after `warmup` (a share of all steps), decayed to 0 along a
    cosine. anchor pulls what starts in closed form back to its start (L2-SP, Li et al., 2018). patience is the epochs
    without a better validation recall before training stops. also_weight, in (0, 1], is how much a noisier row counts,
    frame_dropout the share of frames hidden in training. Raises TrainingError on a value out of its range.
    """

    loss: str = "infonce"
    negatives: str = "batch"
    band_low: float = 0.0
    band_high: float = 0.8
    num_negatives: int = 10
    margin: float = 1.0
    object_positives: bool = False
    epochs: int = 60
    patience: int = 60
    batch_size: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    warmup: float = 0.05
    clip_norm: float = 1.0
    anchor: float = 0.1
    also_weight: float = 0.1
    frame_dropout: float = 0.0
    precision: str = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("loss", LOSSES), ("negatives", NEGATIVES), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise TrainingError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}.")
        for name in ("num_negatives", "epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        for name in ("margin", "weight_decay", "warmup", "clip_norm", "anchor", "band_low", "band_high"):
            if not math.isfinite(getattr(self, name)):
                raise TrainingError(f"{name} must be a finite number, not {getattr(self, name)}.")
        if not self.band_low < self.band_high:
            raise TrainingError(f"The band's low end {self.band_low:g} must lie below its high end {self.band_high:g}.")
        if not self.learning_rate > 0 or not 0 < self.also_weight <= 1 or not 0 <= self.frame_dropout < 1:
            raise TrainingError("learning_rate must be above 0, also_weight in (0, 1], frame_dropout in [0, 1).")


RECIPES = {
    "lite": Recipe(),
    # the paper's figures
    "bit": Recipe(
        loss="triplet", negatives="band", object_positives=True, epochs=200, patience=20, batch_size=128,
        learning_rate=1e-4, warmup=0.0, anchor=0.0,
    ),
}  # fmt: skip
