"""How a model is trained, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cezsar.choices import (
    DISTANCES,
    LOSSES,
    NEGATIVES,
    OBJECT_NEGATIVES,
    PRECISIONS,
    SCHEDULES,
    STREAMS,
    not_one_of,
)
from cezsar.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of training. loss and negatives define the loss; the band is a range of cosine distances, with
    num_negatives of it per positive.

    train_streams names the segment's vector in the loss, None for the model's own. distances are the triplet loss's:
    between unit vectors, or between the LayerNormed ones of the visual stream, of length sqrt(D) or so.

    With object_positives, object sentences are positives that together count object_weight times as much as a caption.
    They are chosen by the whole segment, or by each of so many object_windows of 10 s in it. object_negatives is the
    source of their negatives in a band: with "caption" they have those of their caption, with "own" each has a band of
    its own, and all are drawn from captions and object sentences, by how often each is a positive.

    batch_size is in segments, learning_rate AdamW's after `warmup` (a share of all steps): it falls to 0 along a
    cosine, or stays. clip_norm is the longest gradient, 0 for any. anchor pulls weights that start in closed form back
    to their start (L2-SP, Li et al., 2018). patience is the epochs without a better validation recall before training
    stops. also_weight, in (0, 1], is how much a noisier row counts, frame_dropout the share of frames hidden in
    training, layer_dropout the dropout inside the transformer layer, None for the model's. precision is Accelerate's
    mixed one, or double: float64, whose sums differ too little between processors to round to other float16 weights.
    Raises TrainingError on a value out of its range.
    """

    loss: str = "infonce"
    negatives: str = "batch"
    band_low: float = 0.0
    band_high: float = 0.8
    num_negatives: int = 10
    margin: float = 1.0
    distances: str = "unit"
    train_streams: str | None = None
    object_positives: bool = False
    object_windows: int = 0
    object_weight: float = 1.0
    object_negatives: str = "caption"
    epochs: int = 60
    patience: int = 60
    batch_size: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    schedule: str = "cosine"
    warmup: float = 0.05
    clip_norm: float = 1.0
    anchor: float = 0.1
    also_weight: float = 0.1
    frame_dropout: float = 0.0
    layer_dropout: float | None = None
    precision: str = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise TrainingError(f"{not_one_of(name, getattr(self, name), choices)}.")
        if self.train_streams not in (None, *STREAMS):
            raise TrainingError(f"{not_one_of('train_streams', self.train_streams, STREAMS)}.")
        if self.distances == "layernorm" and self.train_streams != "visual":
            raise TrainingError(
                "Only the visual stream has LayerNormed vectors: --train-streams visual, or --distances unit."
            )
        for name in ("num_negatives", "epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        for name in ("margin", "weight_decay", "anchor", "band_low", "band_high"):
            if not math.isfinite(getattr(self, name)):
                raise TrainingError(f"{name} must be a finite number, not {getattr(self, name)}.")
        for name in ("object_windows", "object_weight", "clip_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise TrainingError(f"{name} must be 0 or more, not {getattr(self, name)}.")
        for name in ("warmup", "frame_dropout", "layer_dropout"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} must be in [0, 1), not {getattr(self, name)}.")
        if not self.band_low < self.band_high:
            raise TrainingError(f"The band's low end {self.band_low:g} must lie below its high end {self.band_high:g}.")
        if not self.learning_rate > 0 or not 0 < self.also_weight <= 1:
            raise TrainingError("learning_rate must be above 0, also_weight in (0, 1].")


_CHOICES = {
    "loss": LOSSES, "negatives": NEGATIVES, "object_negatives": OBJECT_NEGATIVES, "distances": DISTANCES,
    "schedule": SCHEDULES, "precision": PRECISIONS,
}  # fmt: skip

RECIPES = {
    "lite": Recipe(),
    # as the code of arXiv 2605.01165's authors has it; docs/training.md says where it differs
    "bit": Recipe(
        loss="triplet", negatives="band", distances="layernorm", train_streams="visual", object_positives=True,
        object_windows=3, object_weight=2.0, object_negatives="own", epochs=200, patience=20, batch_size=128,
        learning_rate=1e-4, schedule="constant", warmup=0.0, clip_norm=0.0, anchor=0.0, layer_dropout=0.1,
    ),
}  # fmt: skip
