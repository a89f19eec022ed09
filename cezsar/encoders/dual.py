"""Any dual encoder of transformers, from the hub or a folder: CLIP, SigLIP, SigLIP 2, X-CLIP, VideoPrism."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoProcessor

from cezsar.encoders import prefixed
from cezsar.encoders.digests import fingerprint
from cezsar.encoders.encoder import longest_beginning
from cezsar.encoders.hub import REFUSALS, OutOfReach, first_line, local_first, revised, unreachable, wanted, was_fetched
from cezsar.encoders.pixels import of_processor
from cezsar.encoders.precision import FRAME_BATCH, Batches, candidates, compiled, lowered, sent
from cezsar.encoders.views import averaged, probe, spread
from cezsar.errors import EncoderError
from cezsar.model import bars
from cezsar.types import EncoderIdentity, Vectors, unit

_TEXT_BATCH = 64
_SEGMENT_BATCH = 16  # on a GPU
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class _Checkpoint:
    """A loaded checkpoint: model, processor, identity, and its text tower.

    name is a hub id or a folder. Raises EncoderError if it cannot be had or has no towers of pictures and of text.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.device = device
        self.model: Any
        self.model, processor = _load(name)
        self.model.eval().requires_grad_(False).to(device)
        self.tokenizer = processor.tokenizer
        self.image_processor: Any = getattr(processor, "image_processor", None)
        self.video_processor: Any = getattr(processor, "video_processor", None)
        self.short_side = _short_side(self.image_processor or self.video_processor)
        self.identity = EncoderIdentity(
            name=name,
            weights_sha256=fingerprint(self.model.state_dict()),
            dimension=self.encode_texts(["a"]).shape[1],
            streams="visual",
        )

    def lower(self, see: Callable[[Any], torch.Tensor]) -> None:
        """Go on in half precision where the device gains by it, and vectors of pictures and text hardly change."""
        text = partial(self._text_features, ["a person plays the guitar", "two dogs run on the beach"])
        self.model = lowered(self.model, [see, text], candidates(self.device))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        texts = [self._written(text) for text in texts]
        rows = [
            _numpy(self._text_features(texts[start : start + _TEXT_BATCH], self.model))
            for start in range(0, len(texts), _TEXT_BATCH)
        ]
        return unit(np.concatenate(rows)) if rows else np.empty((0, self.identity.dimension), np.float32)

    def beginning(self, text: str) -> str:
        def fits(part: str) -> bool:
            return len(self.tokenizer(self._written(part), verbose=False).input_ids) <= self._num_tokens

        return longest_beginning(text, fits)

    def _text_features(self, texts: Sequence[str], model: Any) -> torch.Tensor:
        # padded to the full length, as SigLIP was trained; the others mask the padding
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self._num_tokens, return_tensors="pt"
        )
        inputs = {name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask") if name in tokens}
        return _rows(model.get_text_features(**inputs))

    @property
    def _num_tokens(self) -> int:
        return min(int(self.model.config.text_config.max_position_embeddings), int(self.tokenizer.model_max_length))

    def _written(self, text: str) -> str:
        """A text as the model was trained to read it: lower-case for SigLIP, and for VideoPrism without punctuation."""
        kind = self.model.config.model_type
        if "siglip" in kind or "videoprism" in kind:
            text = text.lower()
        return text.translate(_WITHOUT_PUNCTUATION) if "videoprism" in kind else text


class DualEncoder:
    """Image and text towers of one checkpoint; a segment is the mean of its frames' unit embeddings."""

    def __init__(self, checkpoint: _Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._pixels = of_processor(checkpoint.image_processor)
        self._batches = Batches(FRAME_BATCH)
        self._embed: Callable[..., torch.Tensor] = _of_images
        checkpoint.lower(partial(self._features, probe(checkpoint.short_side)))
        model = checkpoint.model
        self._embed = compiled(_of_images, model, self._inputs(probe(checkpoint.short_side), model))
        self.identity, self.short_side = self._checkpoint.identity, self._checkpoint.short_side

    @torch.inference_mode()
    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 -> (N, D) unit float32."""
        encode = partial(self._features, model=self._checkpoint.model)
        rows = self._batches.run(frames_uint8, lambda part: _numpy(encode(np.asarray(part))))
        return unit(np.concatenate(rows))

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, D) -> (len(segments), D)."""
        return averaged(segments, self.identity.dimension)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D)."""
        return self._checkpoint.encode_texts(texts)

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        return self._checkpoint.beginning(text)

    def _features(self, frames_uint8: NDArray[Any], model: Any) -> torch.Tensor:
        return self._embed(model, self._inputs(frames_uint8, model))

    def _inputs(self, frames_uint8: NDArray[Any], model: Any) -> dict[str, torch.Tensor]:
        frames = sent(frames_uint8, self._checkpoint.device)
        if self._pixels:
            return {"pixel_values": self._pixels(frames).to(model.dtype)}
        # patches of any shape, with their masks, are the processor's own affair
        inputs = self._checkpoint.image_processor(images=list(frames), return_tensors="pt")
        return dict(inputs.to(self._checkpoint.device, model.dtype))


class VideoDualEncoder:
    """X-CLIP and VideoPrism: whole segments through the video tower; X-CLIP's texts without video-conditioned prompts.

    Frames are kept as they are; the tower sees as many frames of a segment as it was trained for, evenly spread.
    """

    def __init__(self, checkpoint: _Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._num_frames = int(self._checkpoint.model.config.vision_config.num_frames)
        self._batches = Batches(_SEGMENT_BATCH if checkpoint.device.type == "cuda" else 1)
        self._embed: Callable[..., torch.Tensor] = _of_videos
        example = [probe(checkpoint.short_side)]
        checkpoint.lower(partial(self._features, example))
        self._embed = compiled(_of_videos, checkpoint.model, self._inputs(example, checkpoint.model))
        self.identity, self.short_side = self._checkpoint.identity, self._checkpoint.short_side

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8, as they are: the tower attends across the frames of a segment."""
        return frames_uint8

    @torch.inference_mode()
    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, 3, H, W) uint8 -> (len(segments), D)."""
        encode = partial(self._features, model=self._checkpoint.model)
        rows = self._batches.run(segments, lambda part: unit(_numpy(encode(part))))
        return np.concatenate([np.empty((0, self.identity.dimension), np.float32), *rows])

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D)."""
        return self._checkpoint.encode_texts(texts)

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        return self._checkpoint.beginning(text)

    def _features(self, segments: Sequence[NDArray[Any]], model: Any) -> torch.Tensor:
        return self._embed(model, self._inputs(segments, model))

    def _inputs(self, segments: Sequence[NDArray[Any]], model: Any) -> dict[str, torch.Tensor]:
        pixels = torch.cat([self._pixels(spread(frames, self._num_frames)) for frames in segments]).to(model.dtype)
        return {"pixel_values" if self._checkpoint.image_processor else "pixel_values_videos": pixels}

    def _pixels(self, frames_uint8: NDArray[Any]) -> torch.Tensor:
        """(T, 3, H, W) uint8 -> (1, T, 3, h, w) float32."""
        frames = sent(frames_uint8, self._checkpoint.device)
        if not self._checkpoint.image_processor:  # VideoPrism; its own choice of frames would need the video's times
            prepared = self._checkpoint.video_processor([frames], do_sample_frames=False, return_tensors="pt")
            videos: torch.Tensor = prepared["pixel_values_videos"].to(self._checkpoint.device)
            return videos
        pixels = self._checkpoint.image_processor(list(frames), return_tensors="pt")["pixel_values"]
        if pixels.ndim == 4:  # from an image processor, which knows frames and no videos
            pixels = pixels[None]
        return pixels.to(self._checkpoint.device)  # type: ignore[no-any-return]


def load(name: str, device: torch.device) -> DualEncoder | VideoDualEncoder:
    """The encoder for this checkpoint: by segments if its model takes video, by frames otherwise."""
    checkpoint = _Checkpoint(name, device)
    if hasattr(checkpoint.model, "get_video_features"):
        return VideoDualEncoder(checkpoint)
    return DualEncoder(checkpoint)


def _load(name: str) -> tuple[Any, Any]:
    """Model and processor."""
    bars.hide()
    try:
        return local_first(name, lambda local: _from_pretrained(name, local_files_only=local))
    except OutOfReach:
        raise unreachable(name) from None
    except REFUSALS as error:
        if not Path(name).is_dir() and not was_fetched(name):
            raise unreachable(name) from None
        raise EncoderError(
            f"{name} does not hold a model that transformers can load: {first_line(error)}{prefixed.hint(name)}"
        ) from None
    except EncoderError as error:
        raise EncoderError(f"{error}{prefixed.hint(name)}") from None


def _from_pretrained(source: str, *, local_files_only: bool) -> tuple[Any, Any]:
    """Model and processor, weights from safetensors only. Raises EncoderError if they are not of two towers."""
    # False, for transformers would otherwise ask on the terminal whether to run code that comes with the weights
    options: dict[str, Any] = {"local_files_only": local_files_only, "trust_remote_code": False}
    options |= wanted(source)
    repository, _ = revised(source)
    model, loaded = AutoModel.from_pretrained(
        repository, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
    )
    if loaded["missing_keys"]:
        raise EncoderError(f"{source} lacks weights of its model: {', '.join(sorted(loaded['missing_keys'])[:3])}.")
    processor = AutoProcessor.from_pretrained(repository, **options)
    if lacking := _lacking(model, processor):
        raise EncoderError(
            f"{source!r} is a {model.config.model_type} model without {lacking}: "
            "a tower of pictures or videos, one of text, and their processor were looked for."
        )
    num_known, num_words = len(processor.tokenizer), int(model.config.text_config.vocab_size)
    if 2 * num_known < num_words:  # without its file a tokenizer loads all the same, and knows nothing
        raise EncoderError(f"{source} has a tokenizer of {num_known} tokens for a model of {num_words}.")
    return model, processor


def _lacking(model: Any, processor: Any) -> str:
    """What of a dual encoder is not there, in words; empty if all of it is."""
    takes_video = hasattr(model, "get_video_features")
    pictures = ("image_processor", "video_processor") if takes_video else ("image_processor",)
    parts = {
        "get_image_features or get_video_features": takes_video or hasattr(model, "get_image_features"),
        "get_text_features": hasattr(model, "get_text_features"),
        " or ".join(f"its {name}" for name in pictures): any(getattr(processor, name, None) for name in pictures),
        "its tokenizer": hasattr(processor, "tokenizer"),
    }
    return ", ".join(name for name, is_there in parts.items() if not is_there)


def _of_images(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return _rows(model.get_image_features(**inputs))


def _of_videos(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return _rows(model.get_video_features(**inputs))


def _rows(features: Any) -> torch.Tensor:
    """The embeddings that a tower gave, bare or wrapped in its output object, as (N, D)."""
    tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return tensor.reshape(-1, tensor.shape[-1])  # VideoPrism has an axis of length 1 in between


def _numpy(rows: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(rows.float().cpu().numpy(), np.float32)


def _short_side(processor: Any) -> int:
    """The short side that the checkpoint's own preprocessing starts from."""
    size = dict(getattr(processor, "size", None) or {})
    return int(size.get("shortest_edge") or min(size.get("height", 256), size.get("width", 256)))
