"""CezsarModel: frame features and sentence embeddings -> unit vectors of one space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init

from cezsar.choices import STREAMS, not_one_of
from cezsar.model.config import CezsarConfig
from cezsar.model.fields import KINDS, check
from cezsar.model.towers import ObjectStream, QueryBank, TextTower, VideoTower

_TEMPERATURE = 0.07  # to begin with (CLIP)
_MAX_SCALE = 100.0


class CezsarModel(PreTrainedModel):  # type: ignore[misc]
    """The joint embedding of videos and sentences (arXiv 2605.01165), on top of a frozen backbone and sentence encoder.

    Saved and loaded with save_pretrained and from_pretrained, weights as safetensors. A segment's vector is the unit
    mix w visual + (1 - w) object of the two streams' unit vectors (eq. 9), or one of them alone: config.streams.
    """

    config_class = CezsarConfig
    config: CezsarConfig
    main_input_name = "features"
    base_model_prefix = "cezsar"

    def __init__(self, config: CezsarConfig) -> None:
        super().__init__(config)
        check({name: getattr(config, name) for name in KINDS})
        if config.streams not in STREAMS:
            raise ValueError(not_one_of("streams", config.streams, STREAMS))
        if config.streams != "visual" and not config.num_objects:
            raise ValueError(f"streams {config.streams!r} needs num_objects above 0")
        if not config.d_model and not config.num_memories:
            raise ValueError("the video tower needs d_model or num_memories above 0")
        if config.d_model % config.num_heads:
            raise ValueError(f"d_model {config.d_model} is not a multiple of num_heads {config.num_heads}")
        if config.feature_dim % config.memory_blocks:
            raise ValueError(f"feature_dim {config.feature_dim} is not a multiple of {config.memory_blocks} blocks")
        self.video_tower = VideoTower(config)
        self.text_tower = TextTower(config)
        self.objects = ObjectStream(config) if config.num_objects else None
        self.querybank = QueryBank(config) if config.querybank_size else None
        self.log_scale = nn.Parameter(torch.tensor(-math.log(_TEMPERATURE)))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Linear layers Xavier-normal (arXiv 2605.01165), everything else as it is; called by transformers."""
        if isinstance(module, nn.Linear):
            init.xavier_normal_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)

    @property
    def scale(self) -> Tensor:
        """The inverse temperature of InfoNCE."""
        return self.log_scale.exp()

    @torch.no_grad()
    def bound_scale(self) -> None:
        """Keep the scale at 100 or less (CLIP); called after each step, so that its gradient is never cut off."""
        self.log_scale.clamp_(max=math.log(_MAX_SCALE))

    def forward(
        self,
        features: Tensor,
        mask: Tensor,
        sentences: Tensor,
        recalled: Tensor | None = None,
        *,
        streams: str | None = None,
        scaled: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """(B, T, F) features with their (B, T) mask, and (N, S) sentences -> (B, D) and (N, D) unit vectors.

        Unscaled, they are the outputs of the LayerNorms of the visual stream and of the text tower.
        """
        if scaled:
            segments = self.encode_segments(features, mask, recalled=recalled, streams=streams)
            return segments, self.encode_sentences(sentences)
        features = features.masked_fill(~mask.unsqueeze(-1), 0)
        return self.video_tower(features, mask, recalled), self.text_tower(sentences)

    def encode_segments(
        self, features: Tensor, mask: Tensor, *, recalled: Tensor | None = None, streams: str | None = None
    ) -> Tensor:
        """(B, T, F) features, (B, T) true where there is a frame -> (B, D) unit vectors of the given streams.

        Raises ValueError for streams that the model does not have. Features outside the mask are not read.
        """
        streams = streams or self.config.streams
        if streams not in STREAMS or (streams != "visual" and self.objects is None):
            raise ValueError(f"there is no stream {streams!r}")
        rows = self._streams(features.masked_fill(~mask.unsqueeze(-1), 0), mask, recalled, streams)
        if self.querybank is None or self.training:  # training is by what the query bank leaves as it is
            return rows
        return unit_rows(self.querybank.lower(rows, unit_rows(self.text_tower(self.querybank.sentences))))

    def _streams(self, features: Tensor, mask: Tensor, recalled: Tensor | None, streams: str) -> Tensor:
        visual = unit_rows(self.video_tower(features, mask, recalled)) if streams != "object" else None
        if streams == "visual" or self.objects is None:
            assert visual is not None
            return visual
        objects = unit_rows(self.objects(features, mask, self.text_tower))
        if visual is None:
            return objects
        weight = self.config.visual_weight
        return unit_rows(weight * visual + (1 - weight) * objects)

    def encode_sentences(self, sentences: Tensor) -> Tensor:
        """(N, S) embeddings -> (N, D) unit vectors."""
        rows = unit_rows(self.text_tower(sentences))
        return rows if self.querybank is None or self.training else unit_rows(self.querybank.lift(rows))


def unit_rows(rows: Tensor) -> Tensor:
    """Rows scaled to length 1, differentiably; a row of zeros stays zero."""
    return functional.normalize(rows, dim=-1)


def pad(segments: Sequence[NDArray[np.float32]], num_frames: int) -> tuple[Tensor, Tensor]:
    """Segments of (T_i, F) -> (B, T, F) float32 and its (B, T) mask; at most num_frames of each, spread evenly."""
    chosen = [spread(frames, num_frames) for frames in segments]
    longest = max(map(len, chosen))
    features = np.zeros((len(chosen), longest, chosen[0].shape[1]), np.float32)
    mask = np.zeros((len(chosen), longest), bool)
    for row, frames in enumerate(chosen):
        features[row, : len(frames)] = frames
        mask[row, : len(frames)] = True
    return torch.from_numpy(features), torch.from_numpy(mask)


def spread(frames: NDArray[np.float32], num_frames: int) -> NDArray[np.float32]:
    """(T, F) -> at most num_frames of them, evenly spread from the first to the last."""
    if len(frames) <= num_frames:
        return frames
    chosen: NDArray[np.float32] = frames[np.linspace(0, len(frames) - 1, num_frames).round().astype(int)]
    return chosen
