"""Any dual encoder of transformers, from the hub or a folder: CLIP, SigLIP, SigLIP 2, X-CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoProcessor
from transformers.utils import logging as transformers_logging

from cezsar.encoders.digests import fingerprint
from cezsar.encoders.encoder import longest_beginning
from cezsar.encoders.hub import REFUSALS, first_line, local_first, unreachable
from cezsar.errors import EncoderError
from cezsar.types import EncoderIdentity, Vectors, unit

_TEXT_BATCH = 64


class _Checkpoint:
    """A loaded checkpoint: model, processor, identity, and its text tower.

    name is a hub id or a folder. Raises EncoderError if it cannot be had or has no image and text towers.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.device = device
        self.model, processor = _load(name)
        self.model.eval().requires_grad_(False).to(device)
        self.tokenizer, self.image_processor = processor.tokenizer, processor.image_processor
        self.short_side = _short_side(self.image_processor)
        self.identity = EncoderIdentity(
            name=name,
            weights_sha256=fingerprint(self.model.state_dict()),
            dimension=self.encode_texts(["a"]).shape[1],
            streams="visual",
        )

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        rows = []
        texts = [self._cased(text) for text in texts]
        for start in range(0, len(texts), _TEXT_BATCH):
            # padded to the full length, as SigLIP was trained; the others mask the padding
            some = list(texts[start : start + _TEXT_BATCH])
            tokens = self.tokenizer(
                some, padding="max_length", truncation=True, max_length=self._num_tokens, return_tensors="pt"
            )
            inputs = {name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask") if name in tokens}
            rows.append(_rows(self.model.get_text_features(**inputs)))
        return unit(np.concatenate(rows)) if rows else np.empty((0, self.identity.dimension), np.float32)

    def beginning(self, text: str) -> str:
        def fits(part: str) -> bool:
            return len(self.tokenizer(self._cased(part), verbose=False).input_ids) <= self._num_tokens

        return longest_beginning(text, fits)

    @property
    def _num_tokens(self) -> int:
        return min(int(self.model.config.text_config.max_position_embeddings), int(self.tokenizer.model_max_length))

    def _cased(self, text: str) -> str:
        """SigLIP and SigLIP 2 were trained on lower-case text."""
        return text.lower() if "siglip" in self.model.config.model_type else text


class DualEncoder:
    """Image and text towers of one checkpoint; a segment is the mean of its frames' unit embeddings."""

    def __init__(self, checkpoint: _Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.identity, self.short_side = self._checkpoint.identity, self._checkpoint.short_side

    @torch.inference_mode()
    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 -> (N, D) unit float32."""
        frames = list(torch.from_numpy(frames_uint8))
        inputs = self._checkpoint.image_processor(images=frames, return_tensors="pt").to(self._checkpoint.device)
        return unit(_rows(self._checkpoint.model.get_image_features(**inputs)))

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, D) -> (len(segments), D)."""
        means = [frames.mean(axis=0) for frames in segments]
        return unit(np.array(means, np.float32).reshape(len(segments), self.identity.dimension))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D)."""
        return self._checkpoint.encode_texts(texts)

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        return self._checkpoint.beginning(text)


class VideoDualEncoder:
    """X-CLIP: whole segments through its video tower, sentences without its video-conditioned prompts.

    Frames are kept as they are; the tower sees as many frames of a segment as it was trained for, evenly spread.
    """

    def __init__(self, checkpoint: _Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._num_frames = int(self._checkpoint.model.config.vision_config.num_frames)
        self.identity, self.short_side = self._checkpoint.identity, self._checkpoint.short_side

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8, as they are: the tower attends across the frames of a segment."""
        return frames_uint8

    @torch.inference_mode()
    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, 3, H, W) uint8 -> (len(segments), D)."""
        rows = [np.empty((0, self.identity.dimension), np.float32)]
        for frames in segments:
            chosen = np.linspace(0, len(frames) - 1, self._num_frames).round().astype(int)
            video = list(torch.from_numpy(frames[chosen]))
            pixels = self._checkpoint.image_processor(video, return_tensors="pt")["pixel_values"]
            if pixels.ndim == 4:  # from an image processor, which knows frames and no videos
                pixels = pixels[None]
            pixels = pixels.to(self._checkpoint.device)
            rows.append(unit(_rows(self._checkpoint.model.get_video_features(pixel_values=pixels))))
        return np.concatenate(rows)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D)."""
        return self._checkpoint.encode_texts(texts)

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        return self._checkpoint.beginning(text)


def load(name: str, device: torch.device) -> DualEncoder | VideoDualEncoder:
    """The encoder for this checkpoint: by segments if its model takes video, by frames otherwise."""
    checkpoint = _Checkpoint(name, device)
    if hasattr(checkpoint.model, "get_video_features"):
        return VideoDualEncoder(checkpoint)
    return DualEncoder(checkpoint)


def _load(name: str) -> tuple[Any, Any]:
    """Model and processor."""
    transformers_logging.disable_progress_bar()
    try:
        return local_first(name, lambda local: _from_pretrained(name, local_files_only=local))
    except REFUSALS as error:
        if Path(name).is_dir():
            raise EncoderError(
                f"{name} does not hold a model that transformers can load: {first_line(error)}"
            ) from None
        raise unreachable(name) from None


def _from_pretrained(source: str, *, local_files_only: bool) -> tuple[Any, Any]:
    """Model and processor, weights from safetensors only. Raises EncoderError if they are not of two towers."""
    # False, for transformers would otherwise ask on the terminal whether to run code that comes with the weights
    options: dict[str, Any] = {"local_files_only": local_files_only, "trust_remote_code": False}
    model, loaded = AutoModel.from_pretrained(
        source, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
    )
    if loaded["missing_keys"]:
        raise EncoderError(f"{source} lacks weights of its model: {', '.join(sorted(loaded['missing_keys'])[:3])}.")
    processor = AutoProcessor.from_pretrained(source, **options)
    sees = hasattr(model, "get_image_features") or hasattr(model, "get_video_features")
    if not (sees and hasattr(model, "get_text_features") and hasattr(processor, "image_processor")):
        raise EncoderError(f"{source!r} is a {model.config.model_type} model, which has no image and text towers.")
    num_known, num_words = len(processor.tokenizer), int(model.config.text_config.vocab_size)
    if 2 * num_known < num_words:  # without its file a tokenizer loads all the same, and knows nothing
        raise EncoderError(f"{source} has a tokenizer of {num_known} tokens for a model of {num_words}.")
    return model, processor


def _rows(features: Any) -> NDArray[np.float32]:
    """The embeddings that a tower gave, bare or wrapped in its output object, as (N, D) float32."""
    tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return np.asarray(tensor.float().cpu().numpy(), np.float32)


def _short_side(image_processor: Any) -> int:
    """The short side that the checkpoint's own preprocessing starts from."""
    size = dict(getattr(image_processor, "size", None) or {})
    return int(size.get("shortest_edge") or min(size.get("height", 256), size.get("width", 256)))
