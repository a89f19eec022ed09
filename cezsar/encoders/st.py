"""Any model of sentence-transformers that takes videos or pictures: Qwen3-VL-Embedding, EmbeddingGemma 2, CLIP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from numpy.typing import NDArray
from PIL import Image

from cezsar.encoders import hub
from cezsar.encoders.digests import fingerprint
from cezsar.encoders.encoder import longest_beginning
from cezsar.encoders.folders import check_folder
from cezsar.encoders.hub import REFUSALS, OutOfReach, first_line, no_network
from cezsar.encoders.precision import Batches, candidates, lowered
from cezsar.encoders.prefixed import ST_FILE
from cezsar.encoders.prefixed import SentenceTransformer as Asked
from cezsar.encoders.views import averaged, probe
from cezsar.errors import EncoderError
from cezsar.model import bars
from cezsar.types import EncoderIdentity, Vectors, unit

try:
    from sentence_transformers import SentenceTransformer
except ImportError as error:
    raise EncoderError(
        f"sentence-transformers is not installed, or not whole ({first_line(error)}): "
        "`pip install 'cezsar[st]'` brings it."
    ) from None

_NUM_FRAMES = 16  # of a segment, at most, unless the name has ,frames=N
_FEWEST_FRAMES = 2  # a single one is given twice: Qwen3-VL looks at pairs
_SHORT_SIDE = 224  # of a frame: 16 of them are some hundreds of tokens
_LARGEST_SIDE = 1024  # a size above it counts something else than pixels along a side
_FPS = 2.0  # that segments are sampled at unless an index says otherwise; the model is told the frames' times by it
_TEXT_BATCH, _FRAME_BATCH, _SEGMENT_BATCH = 64, 64, 8
_TEXTS = ["a person plays the guitar", "two dogs run on the beach"]
_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
_UNCUT = {"truncation": False, "verbose": False}  # of videos, whose tokens stand for pixels


class _Model:
    """A loaded model with its identity, and its texts. video says whether it takes whole segments."""

    def __init__(self, asked: Asked, folder: Path, device: torch.device) -> None:
        self.model: Any = _loaded(asked, folder, device)
        self.video = "video" in self.model.modalities
        if not self.video and "image" not in self.model.modalities:
            raise EncoderError(f"'{asked}' takes {', '.join(self.model.modalities)}: videos or images were looked for.")
        if not self.video and asked.num_frames:
            raise EncoderError(f"'{asked}' takes single frames, and no ,frames=N.")
        self.num_frames = (asked.num_frames or _NUM_FRAMES) if self.video else None
        dimension = int(self.model.get_embedding_dimension())
        if asked.dimension and asked.dimension > dimension:
            raise EncoderError(f"'{asked}' has vectors of {dimension} numbers: ,dim=N can only make them shorter.")
        self.identity = EncoderIdentity(
            name=str(asked),
            weights_sha256=_sha256(self.model, folder, self.num_frames),
            dimension=asked.dimension or dimension,
            streams="visual",
        )
        if device.type == "cpu":
            self.model.float()  # half precision is slower here

    def lower(self, device: torch.device, see: Callable[[Any], torch.Tensor]) -> None:
        """Half precision if it makes no difference; what was published in it stays so."""
        if next(self.model.parameters()).dtype == torch.float32:
            self.model = lowered(self.model, [see, partial(self.read, _TEXTS)], candidates(device))

    def read(self, texts: Sequence[str], model: Any) -> torch.Tensor:
        # as dicts, since a bare string that looks like an address or a path is opened as a picture
        rows: torch.Tensor = model.encode_query([{"text": text} for text in texts], **self._options(len(texts)))
        return rows

    def see(self, inputs: list[dict[str, Any]], model: Any) -> torch.Tensor:
        video = {"do_sample_frames": False}
        if hasattr(getattr(model.processor, "video_processor", None), "cap_pixels_per_frame"):
            video["cap_pixels_per_frame"] = True
        options = {"processing_kwargs": {"video": video, "text": _UNCUT}} if self.video else {}
        rows: torch.Tensor = model.encode_document(inputs, **options, **self._options(len(inputs)))
        return rows

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        rows = [
            _numpy(self.read(texts[start : start + _TEXT_BATCH], self.model))
            for start in range(0, len(texts), _TEXT_BATCH)
        ]
        return unit(np.concatenate([np.empty((0, self.identity.dimension), np.float32), *rows]))

    def beginning(self, text: str) -> str:
        limit = self.model.max_seq_length
        prompt = self.model.prompts.get("query") or None

        def fits(part: str) -> bool:
            tokens = self.model.preprocess([{"text": part}], prompt=prompt, processing_kwargs={"text": _UNCUT})
            return len(tokens["input_ids"][0]) <= int(limit)

        return longest_beginning(text, fits) if limit else text

    def _options(self, count: int) -> dict[str, Any]:
        return {"batch_size": count, "show_progress_bar": False, "convert_to_tensor": True}


class VideoModel:
    """Whole segments, of at most num_frames frames evenly spread, with the instructions that the model comes with."""

    fps = _FPS
    short_side = _SHORT_SIDE

    def __init__(self, model: _Model, device: torch.device) -> None:
        self._model, self.identity = model, model.identity
        self._batches = Batches(_SEGMENT_BATCH if device.type == "cuda" else 1)
        model.lower(device, partial(self._features, [probe(self.short_side)]))

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8, as they are: the model attends across the frames of a segment."""
        return frames_uint8

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, 3, H, W) uint8 -> (len(segments), D)."""
        rows = self._batches.run(segments, lambda part: _numpy(self._features(part, self._model.model)))
        return unit(np.concatenate([np.empty((0, self.identity.dimension), np.float32), *rows]))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D), each after the model's instruction for queries."""
        return self._model.encode_texts(texts)

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        return self._model.beginning(text)

    def _features(self, segments: Sequence[NDArray[Any]], model: Any) -> torch.Tensor:
        return self._model.see([self._video(frames) for frames in segments], model)

    def _video(self, frames: NDArray[Any]) -> dict[str, Any]:
        count = max(_FEWEST_FRAMES, min(self._model.num_frames or len(frames), len(frames)))
        chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
        times = {"fps": _FPS, "total_num_frames": len(frames), "duration": len(frames) / _FPS}
        metadata = {**times, "frames_indices": chosen.tolist()}
        return {"video": {"array": np.ascontiguousarray(frames[chosen]), "video_metadata": metadata}}


class ImageModel:
    """Frames as pictures; a segment is the mean of its frames' unit embeddings."""

    def __init__(self, model: _Model, device: torch.device) -> None:
        self._model, self.identity = model, model.identity
        self._batches = Batches(_FRAME_BATCH)
        self.short_side = _short_side(model.model)
        model.lower(device, partial(self._features, probe(self.short_side)))

    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 -> (N, D) unit float32."""
        rows = self._batches.run(frames_uint8, lambda part: _numpy(self._features(part, self._model.model)))
        return unit(np.concatenate(rows))

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, D) -> (len(segments), D)."""
        return averaged(segments, self.identity.dimension)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D), each after the model's instruction for queries."""
        return self._model.encode_texts(texts)

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        return self._model.beginning(text)

    def _features(self, frames_uint8: NDArray[Any], model: Any) -> torch.Tensor:
        images = [Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0))) for frame in frames_uint8]
        return self._model.see([{"image": image} for image in images], model)


def load(asked: Asked, device: torch.device) -> VideoModel | ImageModel:
    """The encoder. Raises EncoderError if it cannot be had, takes only text, or wants code of its own to be run."""
    try:
        folder = Path(hub.local_first(asked.source, partial(_fetched, asked.source)))
        check_folder(folder)
        _refuse_code(asked, folder)
        with no_network():
            model = _Model(asked, folder, device)
    except OutOfReach:
        raise hub.unreachable(asked.source) from None
    except REFUSALS as error:
        if "trust_remote_code" in str(error):
            raise _wants_code(asked) from None
        raise EncoderError(f"'{asked}' could not be loaded by sentence-transformers: {first_line(error)}") from None
    return VideoModel(model, device) if model.video else ImageModel(model, device)


def _fetched(source: str, local: bool) -> str:
    """The folder of a model, without weights that are pickled. Raises OSError if it is not here, and must be."""
    if Path(source).is_dir():
        return source
    repository, _ = hub.revised(source)
    patterns = list(_FILES)
    folder = snapshot_download(repository, local_files_only=local, allow_patterns=patterns, **hub.wanted(source))
    if local and not any(Path(folder).rglob("*.safetensors")):
        raise OSError(f"{source} is not on this machine: `{hub.download_command(source)}` fetches it")
    return str(folder)


def _loaded(asked: Asked, folder: Path, device: torch.device) -> Any:
    bars.hide()
    return SentenceTransformer(
        str(folder),
        device=str(device),
        trust_remote_code=False,
        local_files_only=True,
        truncate_dim=asked.dimension,
        model_kwargs={"use_safetensors": True, "dtype": "auto"},
    )


def _refuse_code(asked: Asked, folder: Path) -> None:
    """Raise EncoderError if the model would run code that comes with it, or open pickles."""
    listed = folder / ST_FILE
    if not listed.is_file():
        raise EncoderError(f"{folder} holds no {ST_FILE}, which sentence-transformers saves beside a model.")
    for module in json.loads(listed.read_text(encoding="utf-8")):
        if not str(module["type"]).startswith("sentence_transformers."):
            raise _wants_code(asked)
        place = folder / str(module["path"])
        if (place / "pytorch_model.bin").exists() and not any(place.glob("*.safetensors")):
            raise EncoderError(f"{place} holds pickled weights alone, which can hold code and are not opened.")


def _wants_code(asked: Asked) -> EncoderError:
    return EncoderError(f"'{asked}' wants code of its own to be run (trust_remote_code), which is never done.")


def _sha256(model: Any, folder: Path, num_frames: int | None) -> str:
    """Of the weights, and of what else decides about the vectors: instructions, pooling, number of frames."""
    modules = {
        str(path.parent.relative_to(folder)): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*/config.json"))
    }
    settings = {"prompts": model.prompts, "default": model.default_prompt_name, "frames": num_frames}
    said = json.dumps({**settings, "modules": modules}, sort_keys=True)
    return hashlib.sha256((said + fingerprint(model.state_dict())).encode()).hexdigest()


def _short_side(model: Any) -> int:
    """The short side that the model's own preprocessing starts from, where that says one."""
    processor = getattr(model.processor, "image_processor", model.processor)
    size = dict(getattr(processor, "size", None) or {})
    side = int(size.get("shortest_edge") or min(size.get("height", 0), size.get("width", 0)))
    return side if 0 < side <= _LARGEST_SIDE else _SHORT_SIDE


def _numpy(rows: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(rows.float().cpu().numpy(), np.float32)
