"""A saved CEZSAR model without torch, where its video tower is the memory alone: cezsar.model's sums in NumPy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cezsar.choices import STREAMS
from cezsar.encoders.bank import BesideWeights
from cezsar.encoders.frozen import Frames, Sentences, check_fingerprint, frames, sentences
from cezsar.model.fields import ALONG, LATER, check, own
from cezsar.types import EncoderIdentity, Vectors, unit

_EPSILON = 1e-5  # of torch's LayerNorm


class Lean(BesideWeights):
    """A trained joint space. Frames, or sentences, load their frozen network when they are first asked for.

    folder is where its bank of generic videos is, if it has one.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        tensors: Mapping[str, NDArray[np.float32]],
        *,
        name: str,
        device: str,
        folder: Path,
    ) -> None:
        self._config, self._tensors, self._device, self._folder = config, tensors, device, folder
        self._context = copy_context()  # what is loaded later may be fetched only if this may
        self.short_side, self.fps = config["image_size"], config["fps"]
        self.identity = EncoderIdentity(name, _sha256(config, tensors), config["joint_dim"], config["streams"])

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 -> (N, F) float32 features of the frozen backbone."""
        return self._frames.features(frames_uint8)

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, F) features -> (len(segments), D); of longer ones the config's num_frames, evenly spread."""
        if not segments:
            return np.empty((0, self.identity.dimension), np.float32)
        means = np.stack([_spread(rows, self._config["num_frames"]).mean(axis=0) for rows in segments])
        rows = self._streams(means)
        if not self._config["querybank_size"]:
            return rows
        temperature = self._config["querybank_temperature"]
        scores = rows @ self._querybank.T / temperature
        highest = scores.max(axis=1, keepdims=True)
        heights = highest + np.log(np.exp(scores - highest).mean(axis=1, keepdims=True))
        return unit(rows - self._config["querybank_share"] * temperature * heights / ALONG / np.sqrt(rows.shape[1]))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D)."""
        rows = unit(self._said(self._sentences.encode(texts)))
        return unit(rows + ALONG / np.sqrt(rows.shape[1])) if self._config["querybank_size"] else rows

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        return self._sentences.beginning(text)

    @cached_property
    def _frames(self) -> Frames:
        found = self._context.copy().run(frames, self._config["backbone"], self._device)
        check_fingerprint(self, found.fingerprint, self._config["backbone_sha256"], f"image backbone {found.name!r}")
        return found

    @cached_property
    def _sentences(self) -> Sentences:
        found = self._context.copy().run(sentences, self._config["sentence_encoder"], self._device)
        check_fingerprint(self, found.fingerprint, self._config["sentence_encoder_sha256"], f"encoder {found.name!r}")
        return found

    def _streams(self, means: NDArray[np.float32]) -> Vectors:
        """(N, F) -> (N, D) unit vectors of the config's streams."""
        visual = unit(self._visual(means)) if self._config["streams"] != "object" else None
        if self._config["streams"] == "visual":
            assert visual is not None
            return visual
        objects = unit(self._objects(means))
        weight = self._config["visual_weight"]
        return objects if visual is None else unit(weight * visual + (1 - weight) * objects)

    @cached_property
    def _querybank(self) -> Vectors:
        return unit(self._said(self._tensors["querybank.sentences"]))

    def _visual(self, means: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, F) -> (N, D): what the memory recalls (cezsar.model.towers.Memory), in the joint space."""
        memory = {name: self._tensors[f"video_tower.memory.{name}"] for name in _MEMORY}
        blocks = self._config["memory_blocks"]
        rows = (means - memory["mean"]) * memory["scale"]
        near = np.zeros((len(rows), len(memory["keys"])), np.float32)
        for block, axes, keys in zip(
            np.split(rows, blocks, axis=1), np.split(memory["axes"], blocks), np.split(memory["keys"], blocks, axis=1),
            strict=True,
        ):  # fmt: skip
            points = block @ axes
            distances = (points**2).sum(axis=1)[:, None] - 2 * points @ keys.T + (keys**2).sum(axis=1)
            near += np.exp(-np.maximum(distances, 0) / points.shape[1]) / blocks
        recalled = near @ memory["values"]
        return self._normed("video_tower.norm", recalled @ self._tensors["video_tower.recall.weight"].T)

    def _objects(self, means: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, F) -> (N, D): the objects' sentences by their posterior (cezsar.model.towers.ObjectStream)."""
        logits = means @ self._tensors["objects.weight"].T + self._tensors["objects.bias"]
        top = min(self._config["top_objects"], logits.shape[1])
        likeliest = np.argpartition(-logits, top - 1, axis=1)[:, :top]
        chosen = np.take_along_axis(logits, likeliest, axis=1) / self._config["object_temperature"]
        weights = np.exp(chosen - chosen.max(axis=1, keepdims=True))
        posterior = np.zeros_like(logits)
        np.put_along_axis(posterior, likeliest, weights / weights.sum(axis=1, keepdims=True), axis=1)
        return np.asarray(posterior @ self._object_rows, np.float32)

    @cached_property
    def _object_rows(self) -> NDArray[np.float32]:
        said = self._said(self._tensors["objects.sentences"])
        return np.asarray(said - said.mean(axis=0), np.float32)

    def _said(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, S) -> (N, D): the text tower."""
        linear = rows @ self._tensors["text_tower.linear.weight"].T + self._tensors["text_tower.linear.bias"]
        return self._normed("text_tower.norm", linear)

    def _normed(self, name: str, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        centred = rows - rows.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + _EPSILON)
        return np.asarray(scaled * self._tensors[f"{name}.weight"] + self._tensors[f"{name}.bias"], np.float32)


def load(
    folder: Path, device: str, *, name: str, streams: str | None = None, objects_of: Path | None = None
) -> Lean | None:
    """The model in a folder; None if it is not whole, or not of this kind: cezsar.encoders.joint then says more.

    objects_of is the folder of a model that keeps its classifier for it, that of the first of its networks.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        check(config)
        if config["model_type"] != "cezsar" or config["d_model"] or config["streams"] not in STREAMS:
            return None
        config = {**LATER, **config}
        if config["feature_dim"] % config["memory_blocks"]:
            return None
        stored = load_file(folder / "model.safetensors")
        if objects_of is not None:
            kept = load_file(objects_of / "model.safetensors")["objects.weight"]
            stored["objects.weight"] = kept[:, : config["feature_dim"]]
        tensors = {key: np.asarray(value, np.float32) for key, value in stored.items()}
    except (OSError, ValueError, TypeError, KeyError, RecursionError, SafetensorError):
        return None
    if {key: value.shape for key, value in tensors.items()} != _shapes(config):
        return None
    if config["streams"] != "visual" and not config["num_objects"]:
        return None
    if streams is not None and (streams == "visual" or config["num_objects"]):
        config["streams"] = streams  # where there is no object stream, its own stay, for the caller to see
    return Lean(config, tensors, name=name, device=device, folder=folder)


_MEMORY = ("mean", "scale", "axes", "keys", "values")


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of a model with a memory alone."""
    features, said, joint = config["feature_dim"], config["sentence_dim"], config["joint_dim"]
    memories, axes, objects = config["num_memories"], config["memory_dim"], config["num_objects"]
    shapes: dict[str, tuple[int, ...]] = {
        "log_scale": (),
        "text_tower.linear.weight": (joint, said),
        "text_tower.linear.bias": (joint,),
        "video_tower.memory.mean": (features,),
        "video_tower.memory.scale": (features,),
        "video_tower.memory.axes": (features, axes),
        "video_tower.memory.keys": (memories, config["memory_blocks"] * axes),
        "video_tower.memory.values": (memories, said),
        "video_tower.recall.weight": (joint, said),
    }
    for tower in ("text_tower", "video_tower"):
        shapes |= {f"{tower}.norm.weight": (joint,), f"{tower}.norm.bias": (joint,)}
    if objects:
        shapes |= {"objects.weight": (objects, features), "objects.bias": (objects,)}
        shapes["objects.sentences"] = (objects, said)
    if config["querybank_size"]:
        shapes["querybank.sentences"] = (config["querybank_size"], said)
    return shapes


def _sha256(config: Mapping[str, Any], tensors: Mapping[str, NDArray[np.float32]]) -> str:
    """The same that cezsar.encoders.joint makes of the same model."""
    said = own(config)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} torch.float32 {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return hashlib.sha256((json.dumps(said, sort_keys=True) + digest.hexdigest()).encode()).hexdigest()


def _spread(rows: NDArray[np.float32], num_frames: int) -> NDArray[np.float32]:
    """(T, F) -> at most num_frames of them, evenly spread from the first to the last."""
    if len(rows) <= num_frames:
        return rows
    chosen: NDArray[np.float32] = rows[np.linspace(0, len(rows) - 1, num_frames).round().astype(int)]
    return chosen
