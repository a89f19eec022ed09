"""The quality of a model on segments that were kept out: their sentences search for them."""

from __future__ import annotations

import numpy as np
import torch

from cezsar.metrics import Retrieval, ranks, retrieval
from cezsar.model import CezsarModel, pad
from cezsar.training.examples import Examples
from cezsar.types import Ids, Vectors

_AT_ONCE = 256


@torch.inference_mode()
def validate(model: CezsarModel, examples: Examples, *, streams: str | None = None) -> Retrieval:
    """Every sentence's search for its segment among all of them; of model on its device, left as it was."""
    return retrieval(sentence_ranks(model, examples, streams=streams))


def sentence_ranks(model: CezsarModel, examples: Examples, *, streams: str | None = None) -> Ids:
    """(M,): the rank from 1 of the own segment of each sentence."""
    was_training = model.training
    model.eval()
    videos = encode(model, examples.features, streams=streams)
    with torch.inference_mode():
        texts = model.encode_sentences(torch.from_numpy(examples.sentences).to(model.device, model.dtype)).cpu().numpy()
    model.train(was_training)
    return ranks(texts @ videos.T, examples.owners)


def encode(model: CezsarModel, features: list[Vectors], *, streams: str | None = None) -> Vectors:
    """(T_i, F) features of N segments -> (N, D) unit vectors."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(features), _AT_ONCE):
            frames, mask = pad(features[start : start + _AT_ONCE], model.config.num_frames)
            frames, mask = frames.to(model.device, model.dtype), mask.to(model.device)
            rows.append(model.encode_segments(frames, mask, streams=streams).cpu())
    return np.asarray(torch.cat(rows).numpy(), np.float32)
