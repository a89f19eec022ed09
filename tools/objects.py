"""The objects' vectors that `lite-objects` is shipped with: python tools/objects.py makes them again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from timm.data import ImageNetInfo

from cezsar import encoders
from cezsar.encoders.frozen import Sentences
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.types import Vectors


def object_vectors(encoder: Sentences) -> Vectors:
    """(1000, 384): the embedding of 'names: definition' of each ImageNet-1k object less their mean, by class number."""
    objects = ImageNetInfo("imagenet-1k")
    said = [objects.index_to_description(i, detailed=True) for i in range(objects.num_classes())]
    rows = encoder.encode(said)
    return np.asarray(rows - rows.mean(axis=0), np.float32)


if __name__ == "__main__":
    made = object_vectors(SentenceEncoder(torch.device("cpu")))
    shipped = Path(encoders.__file__).with_name("lite_objects.safetensors")
    save_file({"objects": made.astype(np.float16)}, shipped)
