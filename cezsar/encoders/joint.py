"""A saved CEZSAR model as an encoder: its towers on top of their frozen backbone and sentence encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextvars import copy_context
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cezsar.encoders.bank import BesideWeights
from cezsar.encoders.digests import fingerprint
from cezsar.encoders.frozen import Frames, Sentences, check_fingerprint, frames, sentences
from cezsar.encoders.hub import REFUSALS, OutOfReach, first_line, local_first, revised, unreachable, wanted
from cezsar.errors import EncoderError
from cezsar.model import CezsarConfig, CezsarModel, bars, pad
from cezsar.model.fields import OWN_FIELDS, own
from cezsar.types import EncoderIdentity, Vectors, unit


class Joint(BesideWeights):
    """A trained joint space. Frames, or sentences, load their frozen network when they are first asked for.

    Raises EncoderError if the checkpoint is damaged, or was trained on other frozen weights than those here.
    """

    def __init__(
        self, source: str, device: torch.device, *, name: str | None = None, streams: str | None = None
    ) -> None:
        self._device, self._folder = device, Path(source)
        self._context = copy_context()  # what is loaded later may be fetched only if this may
        model = load_model(source)
        if streams is not None and (streams == "visual" or model.objects is not None):
            model.config.streams = streams  # where there is no object stream, its own stay, for the caller to see
        self._config: CezsarConfig = model.config
        parts = json.dumps(own({key: getattr(self._config, key) for key in OWN_FIELDS}), sort_keys=True) + fingerprint(
            model.state_dict()
        )
        self.identity = EncoderIdentity(
            name=name or source,
            weights_sha256=hashlib.sha256(parts.encode()).hexdigest(),
            dimension=self._config.joint_dim,
            streams=self._config.streams,
        )
        self.short_side, self.fps = self._config.image_size, self._config.fps
        self._model = model.to(device)

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 -> (N, F) float32 features of the frozen backbone."""
        return self._backbone.features(frames_uint8)

    @torch.inference_mode()
    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, F) features -> (len(segments), D); of longer ones the config's num_frames, evenly spread."""
        if not segments:
            return np.empty((0, self.identity.dimension), np.float32)
        features, mask = pad(segments, self._config.num_frames)
        return unit(self._model.encode_segments(features.to(self._device), mask.to(self._device)).cpu().numpy())

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D)."""
        embeddings = torch.from_numpy(self._sentences.encode(texts)).to(self._device)
        return unit(self._model.encode_sentences(embeddings).cpu().numpy())

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        return self._sentences.beginning(text)

    @cached_property
    def _backbone(self) -> Frames:  # a query needs only the words, indexing only the frames: each loads when asked
        found = self._context.copy().run(frames, self._config.backbone, self._device.type)
        check_fingerprint(self, found.fingerprint, self._config.backbone_sha256, f"image backbone {found.name!r}")
        return found

    @cached_property
    def _sentences(self) -> Sentences:
        found = self._context.copy().run(sentences, self._config.sentence_encoder, self._device.type)
        check_fingerprint(self, found.fingerprint, self._config.sentence_encoder_sha256, f"encoder {found.name!r}")
        return found


def is_saved(name: str) -> bool:
    """Whether a folder, or a hub id that was fetched before or can be fetched now, holds a CEZSAR model."""
    try:
        found, _ = local_first(
            name,
            lambda local: CezsarConfig.get_config_dict(revised(name)[0], local_files_only=local, **wanted(name)),
        )
    except REFUSALS:
        return False
    return isinstance(found, dict) and found.get("model_type") == CezsarConfig.model_type


def load_model(source: str) -> CezsarModel:
    """The model of a folder or hub id, in float32 and for inference. Raises EncoderError if it is not whole."""
    bars.hide()
    try:
        model, loaded = local_first(source, lambda local: _from_pretrained(source, local_files_only=local))
    except OutOfReach:
        raise unreachable(source) from None
    except REFUSALS as error:
        raise EncoderError(f"{source} does not hold a whole CEZSAR model: {first_line(error)}") from None
    if wrong := sorted({*loaded["missing_keys"], *loaded["unexpected_keys"]}):
        raise EncoderError(f"{source} does not hold the weights that its config.json names: {', '.join(wrong[:3])}.")
    trained: CezsarModel = model.eval().requires_grad_(False)
    return trained


def _from_pretrained(source: str, *, local_files_only: bool) -> tuple[Any, Any]:
    return CezsarModel.from_pretrained(  # type: ignore[no-any-return]
        revised(source)[0],
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        local_files_only=local_files_only,
        **wanted(source),
    )
