"""The embedded networks through ONNX Runtime, on the CPU: faster than torch, and there at once.

Their graphs are shipped without weights, which ONNX Runtime maps from the published files (tools/graphs.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException
from tokenizers import Tokenizer

from cezsar.encoders.encoder import longest_beginning
from cezsar.encoders.views import middle, paired
from cezsar.encoders.weights import (
    EMBEDDED_IMAGES,
    EMBEDDED_PAIR,
    EMBEDDED_SENTENCES,
    IMAGE_WEIGHTS,
    PAIR_FINGERPRINT,
    SENTENCE_WEIGHTS,
    SMALL_IMAGE_WEIGHTS,
    Weights,
)
from cezsar.types import Vectors, unit

_TEXT = Path(__file__).with_name("minilm.onnx")
_FRAMES = Path(__file__).with_name("efficientnet_lite2.onnx")
_SMALL_FRAMES = Path(__file__).with_name("efficientnet_lite1.onnx")
_FATAL_ONLY = 4  # of ONNX Runtime's own log; its errors are raised


class MiniLM:
    """all-MiniLM-L6-v2, mean-pooled: sentences -> (N, 384). Raises EncoderError if its weights are not there."""

    name = EMBEDDED_SENTENCES
    fingerprint = SENTENCE_WEIGHTS.sha256
    dimension = 384
    _max_tokens = 256
    _batch_size = 64

    def __init__(self) -> None:
        with ThreadPoolExecutor(1) as aside:
            checked = aside.submit(SENTENCE_WEIGHTS.check)
            self._tokenizer = Tokenizer.from_file(os.fspath(SENTENCE_WEIGHTS.found().with_name("tokenizer.json")))
            self._tokenizer.enable_truncation(self._max_tokens)
            self._tokenizer.enable_padding()
            # weights are used as they lie in the file: to arrange them anew would cost more than one query saves
            # and threads that spin when it is done would hold up the search that follows
            entries = {"session.disable_prepacking": "1", "session.intra_op.allow_spinning": "0"}
            self._session = _session(_TEXT, SENTENCE_WEIGHTS, entries)
            checked.result()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (N, 384) unit float32."""
        rows = [np.empty((0, self.dimension), np.float32)]
        for start in range(0, len(texts), self._batch_size):
            tokens = self._tokenizer.encode_batch(list(texts[start : start + self._batch_size]))
            inputs = {
                "input_ids": np.array([one.ids for one in tokens], np.int64),
                "attention_mask": np.array([one.attention_mask for one in tokens], np.int64),
            }
            with _memory_errors():
                rows += self._session.run(["vectors"], inputs)
        return unit(np.concatenate(rows))

    def beginning(self, text: str) -> str:
        """As cezsar.encoders.Limited.beginning."""
        return longest_beginning(text, lambda part: not self._tokenizer.encode(part).overflowing)


class EfficientNet:
    """EfficientNet-Lite2 on the middle of a frame: 1,280 features, or logits over the 1,000 objects of ImageNet-1k.

    Raises EncoderError if its weights are not there.
    """

    name = EMBEDDED_IMAGES
    short_side = 260
    feature_dim = 1280
    num_blocks = 1
    fingerprint = IMAGE_WEIGHTS.sha256

    def __init__(self) -> None:
        self._net = _Network(_FRAMES, IMAGE_WEIGHTS)

    def features(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 with a short side of 260 -> (N, 1280) float32: the pooled last layer."""
        return self._net.run("features", middle(frames_uint8, 260))

    def logits(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 with a short side of 260 -> (N, 1000) float32."""
        return self._net.run("logits", middle(frames_uint8, 260))


class Pair:
    """As cezsar.encoders.images.PairBackbone. Raises EncoderError if its weights are not there."""

    name = EMBEDDED_PAIR
    short_side = 260
    feature_dim = 2560
    num_blocks = 2
    fingerprint = PAIR_FINGERPRINT

    def __init__(self) -> None:
        self._large, self._small = _Network(_FRAMES, IMAGE_WEIGHTS), _Network(_SMALL_FRAMES, SMALL_IMAGE_WEIGHTS)

    def features(self, frames_uint8: NDArray[Any]) -> NDArray[np.float32]:
        """(N, 3, H, W) uint8 with a short side of 260 -> (N, 2560) float32."""
        large, small = (partial(net.run, "features") for net in (self._large, self._small))
        return paired(large, small, frames_uint8)


class _Network:
    """An EfficientNet-Lite's graph with its weights."""

    def __init__(self, graph: Path, weights: Weights) -> None:
        weights.check()
        # its threads must not spin between two batches: decoders need the processor then
        self._session = _session(graph, weights, {"session.intra_op.allow_spinning": "0"})

    def run(self, output: str, squares_uint8: NDArray[Any]) -> NDArray[np.float32]:
        with _memory_errors():
            (rows,) = self._session.run([output], {"frames": np.ascontiguousarray(squares_uint8)})
        return np.asarray(rows, np.float32)


def _session(graph: Path, weights: Weights, entries: dict[str, str]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    folder = os.fspath(weights.found().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    with _memory_errors():
        return onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])


@contextmanager
def _memory_errors() -> Iterator[None]:
    """ONNX Runtime has no error of its own for too little memory; Python's takes its place."""
    try:
        yield
    except (RuntimeException, Fail) as error:
        if not any(told in str(error) for told in ("bad_alloc", "Failed to allocate memory")):
            raise
        raise MemoryError(str(error)) from None
