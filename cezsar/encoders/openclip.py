"""Any model of open_clip by name, folder or file: PE-Core, MobileCLIP2, SigLIP 2, EVA, DFN. No pickle is opened."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode

from cezsar.encoders import hub
from cezsar.encoders.digests import fingerprint
from cezsar.encoders.encoder import longest_beginning
from cezsar.encoders.folders import check_folder
from cezsar.encoders.hub import REFUSALS, OutOfReach, first_line, no_network
from cezsar.encoders.pixels import Pixels
from cezsar.encoders.precision import FRAME_BATCH, Batches, candidates, compiled, lowered, sent
from cezsar.encoders.prefixed import OPEN_CLIP_FILE, OpenClip
from cezsar.encoders.views import averaged, probe
from cezsar.errors import EncoderError
from cezsar.types import EncoderIdentity, Vectors, unit

try:
    import open_clip
    from open_clip.factory import load_checkpoint
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.transform import PreprocessCfg, image_transform_v2
except ImportError as error:
    raise EncoderError(
        f"open_clip is not installed, or not whole ({first_line(error)}): `pip install 'cezsar[open-clip]'` brings it."
    ) from None

_TEXT_BATCH = 64
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
_TEXTS = ["a person plays the guitar", "two dogs run on the beach"]


class OpenClipEncoder:
    """Image and text towers of open_clip; a segment is the mean of its frames' unit embeddings."""

    def __init__(self, name: str, model: Any, tokenizer: Any, device: torch.device) -> None:
        preprocessing = PreprocessCfg(
            **{
                field.name: model.visual.preprocess_cfg[field.name]
                for field in fields(PreprocessCfg)
                if field.name in model.visual.preprocess_cfg
            }
        )
        self._pixels, self._published = _pixels(preprocessing), image_transform_v2(preprocessing, is_train=False)
        self._device, self._batches, self._tokenizer = device, Batches(FRAME_BATCH), tokenizer
        self._num_tokens = int(tokenizer.context_length)
        self.short_side = min(_sides(preprocessing))
        settings = json.dumps({**asdict(preprocessing), "tokens": self._num_tokens}, sort_keys=True)
        weights = fingerprint(model.state_dict())
        self._model = model.eval().requires_grad_(False).to(device)
        with torch.inference_mode():
            dimension = int(self._text_features(["a"], self._model).shape[1])
        self.identity = EncoderIdentity(
            name=name,
            weights_sha256=hashlib.sha256((settings + weights).encode()).hexdigest(),
            dimension=dimension,
            streams="visual",
        )
        self._embed: Callable[..., torch.Tensor] = _of_images
        see, read = partial(self._features, probe(self.short_side)), partial(self._text_features, _TEXTS)
        self._model = lowered(self._model, [see, read], candidates(device))
        self._embed = compiled(_of_images, self._model, self._prepared(probe(self.short_side), self._model))

    @torch.inference_mode()
    def encode_frames(self, frames_uint8: NDArray[Any]) -> NDArray[Any]:
        """(N, 3, H, W) uint8 -> (N, D) unit float32."""
        rows = self._batches.run(frames_uint8, lambda part: _numpy(self._features(np.asarray(part), self._model)))
        return unit(np.concatenate(rows))

    def encode_segments(self, segments: Sequence[NDArray[Any]]) -> Vectors:
        """Segments of (T, D) -> (len(segments), D)."""
        return averaged(segments, self.identity.dimension)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D)."""
        rows = [
            _numpy(self._text_features(texts[start : start + _TEXT_BATCH], self._model))
            for start in range(0, len(texts), _TEXT_BATCH)
        ]
        return unit(np.concatenate(rows)) if rows else np.empty((0, self.identity.dimension), np.float32)

    def beginning(self, text: str) -> str:
        """As Limited.beginning."""
        room = max(4 * len(text), self._num_tokens) + 8  # for any text of this length: a byte is a token at most
        (empty,) = self._tokenizer([""], context_length=room)

        def fits(part: str) -> bool:
            (tokens,) = self._tokenizer([part], context_length=room)
            return bool((tokens[self._num_tokens :] == empty[-1]).all())  # nothing but padding

        return longest_beginning(text, fits)

    def _features(self, frames_uint8: NDArray[Any], model: Any) -> torch.Tensor:
        return self._embed(model, self._prepared(frames_uint8, model))

    def _prepared(self, frames_uint8: NDArray[Any], model: Any) -> torch.Tensor:
        if self._pixels:
            pixels = self._pixels(sent(frames_uint8, self._device))
        else:  # a frame is padded to a square
            images = [Image.fromarray(frame.transpose(1, 2, 0)) for frame in frames_uint8]
            pixels = torch.stack([self._published(image) for image in images]).to(self._device)
        return pixels.to(next(model.parameters()).dtype)

    def _text_features(self, texts: Sequence[str], model: Any) -> torch.Tensor:
        rows: torch.Tensor = model.encode_text(self._tokenizer(list(texts)).to(self._device), normalize=True)
        return rows


def load(asked: OpenClip, device: torch.device) -> OpenClipEncoder:
    """The encoder. Raises EncoderError if it is unknown, cannot be had, is damaged, or has pickled weights alone."""
    try:
        with _silent():
            model, tokenizer = _of_folder(asked.folder) if asked.folder else _of_architecture(asked)
    except OutOfReach:
        raise EncoderError(
            f"'{asked}' could not be fetched: {hub.UNREACHABLE}. Use weights that are here (open_clip:ARCH@FILE or "
            "open_clip:DIR), or the embedded encoder (--model lite)."
        ) from None
    except REFUSALS as error:
        raise EncoderError(f"'{asked}' could not be loaded by open_clip: {first_line(error)}") from None
    return OpenClipEncoder(str(asked), model, tokenizer, device)


def _of_folder(folder: str) -> tuple[Any, Any]:
    check_folder(Path(folder))
    config = Path(folder) / OPEN_CLIP_FILE
    if not config.is_file():
        raise EncoderError(f"{folder} holds no {OPEN_CLIP_FILE}, which open_clip saves beside a model's weights.")
    text = json.loads(config.read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    _refuse_code(folder, text)
    found = [Path(folder) / name for name in _WEIGHTS if (Path(folder) / name).is_file()]
    found = found or sorted(Path(folder).glob("*.safetensors"))
    if not found:
        raise EncoderError(
            f"{folder} holds no safetensors: {' or '.join(_WEIGHTS[:2])} was looked for, and pickles are never opened."
        )
    name = f"local-dir:{folder}"
    return _from_local(lambda: _made(name, found[0]), lambda: open_clip.get_tokenizer(name, **_own_code_only(text)))


def _of_architecture(asked: OpenClip) -> tuple[Any, Any]:
    """By architecture: the weights of a file, or those of the hub that a name stands for."""
    architecture = asked.architecture or ""
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise EncoderError(
            f"open_clip has no architecture {architecture!r}: "
            "`python -c 'import open_clip; print(open_clip.list_models())'` lists them."
        )
    published = _published_as(architecture, asked.pretrained)
    weights = Path(asked.file) if asked.file else _fetched(str(asked), published)
    text = config["text_cfg"]
    return _from_local(
        lambda: _made(architecture, weights, published),
        lambda: open_clip.get_tokenizer(architecture, **_own_code_only(text)),
        source=text.get("hf_tokenizer_name"),
    )


def _published_as(architecture: str, pretrained: str | None) -> dict[str, Any]:
    """What open_clip knows of published weights. Raises EncoderError if it has none of that name.

    Without a name they must all want the same of pictures, which then are prepared so.
    """
    tags = list_pretrained_tags_by_model(architecture)
    if pretrained:
        if found := get_pretrained_cfg(architecture, pretrained):
            return dict(found)
        raise EncoderError(f"open_clip knows no weights {pretrained!r} of {architecture}: {', '.join(tags) or 'none'}.")
    wants = {
        json.dumps({key: value for key, value in get_pretrained_cfg(architecture, tag).items() if key in _OF_PICTURES})
        for tag in tags
    }
    if len(wants) > 1:
        raise EncoderError(
            f"The published weights of {architecture} want their pictures prepared in {len(wants)} ways: name those in "
            f"the file, open_clip:{architecture}/PRETRAINED@FILE, of {', '.join(tags)}."
        )
    return json.loads(wants.pop()) if wants else {}


_OF_PICTURES = ("mean", "std", "interpolation", "resize_mode", "quick_gelu")


def _fetched(name: str, published: dict[str, Any]) -> Path:
    """The safetensors of published weights, fetched once. Raises OutOfReach; EncoderError if they are pickled."""
    repository, _, file = str(published.get("hf_hub") or "").rpartition("/")
    stem = file.rpartition(".")[0]
    safe = [f"{stem}.safetensors"] if stem else list(_WEIGHTS[:2])
    if not repository:
        raise _pickled(name)

    def download(local: bool) -> Path:
        for candidate in safe:
            with suppress(OSError if local else EntryNotFoundError):
                return Path(hf_hub_download(repository, candidate, local_files_only=local))
        raise _NotHere() if local else _pickled(name)

    try:
        return hub.local_first(repository, download)
    except _NotHere:  # and it must not be fetched
        raise EncoderError(
            f"{name!r} is not on this machine: `{hub.download_command(repository)} {safe[0]}` fetches it."
        ) from None


class _NotHere(OSError):
    """The hub's cache has no such file."""


def _pickled(name: str) -> EncoderError:
    return EncoderError(
        f"{name!r} is published as a pickle alone, which can hold code and is not opened: convert its weights "
        "elsewhere, and give them as open_clip:ARCH/PRETRAINED@FILE.safetensors."
    )


def _made(name: str, weights: Path, published: dict[str, Any] | None = None) -> Any:
    """The model in float32 with the weights of a safetensors file."""
    published = published or {}
    wanted = {key: value for key, value in published.items() if key in _OF_PICTURES and key != "quick_gelu"}
    model = open_clip.create_model(
        name,
        precision="fp32",
        device="cpu",
        load_weights=False,  # it would open what it finds, pickles too
        pretrained_image=False,
        pretrained_text=False,
        force_quick_gelu=bool(published.get("quick_gelu")),
        force_preprocess_cfg=wanted,
    )
    load_checkpoint(model, str(weights), strict=True)
    return model


def _from_local(model: Callable[[], Any], tokenizer: Callable[[], Any], source: str | None = None) -> tuple[Any, Any]:
    """Model and tokenizer; only a tokenizer that open_clip names by hub id may be fetched."""
    with no_network():
        made = model()

    def load(local: bool) -> Any:
        with no_network() if local else nullcontext():
            return tokenizer()

    return made, hub.local_first(source, load) if source else load(True)


def _refuse_code(folder: str, text: dict[str, Any]) -> None:
    if "trust_remote_code" in text.get("tokenizer_kwargs", {}):
        raise EncoderError(f"{folder} wants code of its own to be run (trust_remote_code), which is never done.")


def _own_code_only(text: dict[str, Any]) -> dict[str, Any]:
    return {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}


def _pixels(preprocessing: Any) -> Pixels | None:
    """The same preprocessing of a whole batch; None if a frame is padded."""
    height, width = _sides(preprocessing)
    squashed = preprocessing.resize_mode == "squash"
    if not squashed and (preprocessing.resize_mode != "shortest" or height != width):
        return None
    bilinear = preprocessing.interpolation == "bilinear"
    return Pixels(
        short_side=None if squashed else height,
        size=(height, width) if squashed else None,
        mode=InterpolationMode.BILINEAR if bilinear else InterpolationMode.BICUBIC,
        crop=None if squashed else (height, width),
        mean=tuple(preprocessing.mean),
        std=tuple(preprocessing.std),
        centred=round,
    )


def _sides(preprocessing: Any) -> tuple[int, int]:
    size = preprocessing.size
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _of_images(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    rows: torch.Tensor = model.encode_image(pixels, normalize=True)
    return rows


def _numpy(rows: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(rows.float().cpu().numpy(), np.float32)


@contextmanager
def _silent() -> Iterator[None]:
    """open_clip logs to the root logger, which would print it."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
