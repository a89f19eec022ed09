"""The configuration of a CEZSAR model, as data."""

from __future__ import annotations

from transformers import PreTrainedConfig


class CezsarConfig(PreTrainedConfig):  # type: ignore[misc]
    """The frozen parts that a model stands on, its sizes, and how its streams are mixed.

    backbone and sentence_encoder name the frozen parts: an embedded one, `timm:NAME`, or a transformers hub id or
    folder; the sha256 are of their weights, so that a model is never run on others. feature_dim (F), sentence_dim (S)
    and num_objects (K, 0 without an object stream) are theirs; joint_dim (D) is the space's. image_size is the short
    side in pixels, fps the frames/s that the model was trained on, num_frames the most frames that it takes of a
    segment, spread evenly.

    The video tower has a transformer path if d_model > 0 (paper: 1 layer, 2 heads) and a memory if num_memories > 0
    (docs/design.md). The memory's kernel is the mean of memory_blocks ones, each of its own block of the features, all
    of one length, on memory_dim axes. The object stream mixes the top_objects likeliest objects at object_temperature;
    streams says what a segment's vector holds, and visual_weight is the paper's 0.8 (eq. 9). If querybank_size > 0, a
    segment that is near to many of the bank's sentences is lowered for all queries, by querybank_share of the bank's
    inverted softmax at querybank_temperature (cezsar.model.towers.QueryBank).
    """

    model_type = "cezsar"

    backbone: str = "efficientnet-lite2"
    backbone_sha256: str = ""
    sentence_encoder: str = "all-MiniLM-L6-v2"
    sentence_encoder_sha256: str = ""
    feature_dim: int = 1280
    sentence_dim: int = 384
    image_size: int = 260
    fps: float = 1.0
    num_frames: int = 16
    joint_dim: int = 384
    d_model: int = 512
    num_heads: int = 2
    feedforward_dim: int = 2048
    dropout: float = 0.2
    text_dropout: float = 0.1
    num_memories: int = 0
    memory_dim: int = 256
    num_objects: int = 1000
    top_objects: int = 50
    object_temperature: float = 1.5
    streams: str = "visual_object"
    visual_weight: float = 0.8
    memory_blocks: int = 1
    querybank_size: int = 0
    querybank_temperature: float = 0.05
    querybank_share: float = 0.25
