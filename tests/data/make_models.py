"""Tiny checkpoints with random weights, so that the tests need no hub: python tests/data/make_models.py DIR."""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPProcessor,
    CLIPTokenizer,
    GemmaTokenizer,
    LlavaOnevisionVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Processor,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipProcessor,
    VideoMAEImageProcessor,
    VideoPrismConfig,
    VideoPrismProcessor,
    VideoPrismTokenizer,
    XCLIPConfig,
    XCLIPProcessor,
)
from transformers.utils import logging as transformers_logging

DIMENSION = 16
NUM_FRAMES = 4  # that X-CLIP and VideoPrism look at
NUM_TOKENS = 12  # that all of them but SigLIP 2 read of a text; it reads 64, as published

_TOWER = {"hidden_size": DIMENSION, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_PIECES = [("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((chr(code), -3.0) for code in range(97, 123))]
_VISION = {**_TOWER, "image_size": 32, "patch_size": 8}


def write_clip(folder: Path, *, seed: int = 0) -> Path:
    """CLIP: byte-level words, an image of 32 pixels cut from the middle."""
    tokenizer = _clip_tokenizer()
    config = CLIPConfig(text_config=_text(tokenizer, NUM_TOKENS), vision_config=dict(_VISION), projection_dim=DIMENSION)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _save(folder, config, CLIPProcessor(images, tokenizer), seed)


def write_siglip(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP: its tokenizer, which lower-cases and drops punctuation, in the tokenizers library's own file."""
    tokenizer = _siglip_tokenizer()
    config = SiglipConfig(text_config=_text(tokenizer, NUM_TOKENS), vision_config=dict(_VISION))
    images = SiglipImageProcessor(size={"height": 32, "width": 32})
    return _save(folder, config, SiglipProcessor(images, tokenizer), seed)


def write_siglip_published(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP, whose tokenizer is named as in the published checkpoints and comes in both of their files."""
    write_siglip(folder, seed=seed)
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "tokenizer_class": "SiglipTokenizer"}))
    (folder / "spiece.model").write_bytes(_sentencepiece())
    return folder


def write_siglip_gemma(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP 2 of one resolution: SigLIP's architecture with Gemma's tokenizer, which keeps case."""
    tokenizer = _gemma_tokenizer(GemmaTokenizer, NUM_TOKENS)
    config = SiglipConfig(text_config=_text(tokenizer, NUM_TOKENS), vision_config=dict(_VISION))
    images = SiglipImageProcessor(size={"height": 32, "width": 32})
    return _save(folder, config, SiglipProcessor(images, tokenizer), seed)


def write_siglip2(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP 2 of any aspect ratio (NaFlex): at most 256 patches of 16 pixels, and padding."""
    tokenizer = _gemma_tokenizer(Siglip2Tokenizer, 64)
    config = Siglip2Config(
        text_config=_text(tokenizer, 64), vision_config={**_TOWER, "patch_size": 16, "num_patches": 256}
    )
    images = Siglip2ImageProcessor(patch_size=16, max_num_patches=256)
    return _save(folder, config, Siglip2Processor(images, tokenizer), seed)


def write_xclip(folder: Path, *, seed: int = 0) -> Path:
    """X-CLIP: a video tower over NUM_FRAMES frames."""
    tokenizer = _clip_tokenizer()
    mit = {f"mit_{name}": value for name, value in _TOWER.items()}
    config = XCLIPConfig(
        text_config=_text(tokenizer, NUM_TOKENS),
        vision_config={**_VISION, **mit, "mit_num_hidden_layers": 1, "num_frames": NUM_FRAMES},
        projection_dim=DIMENSION,
        prompt_num_attention_heads=2,
    )
    images = VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _save(folder, config, XCLIPProcessor(images, tokenizer), seed)


def write_videoprism(folder: Path, *, seed: int = 0) -> Path:
    """VideoPrism-LvT: a video tower over NUM_FRAMES frames, and a tokenizer that keeps case and punctuation."""
    characters = [*range(97, 123), *range(65, 91), ord("?"), ord("!")]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((chr(code), -3.0) for code in characters)]
    tokenizer = VideoPrismTokenizer(vocab=pieces, extra_ids=0, model_max_length=NUM_TOKENS)
    tower = {name: value for name, value in _TOWER.items() if name != "num_hidden_layers"}
    layers = {"num_spatial_layers": 2, "num_temporal_layers": 1, "num_auxiliary_layers": 1}
    config = VideoPrismConfig(
        text_config=_text(tokenizer, NUM_TOKENS),
        vision_config={**tower, **layers, "image_size": 32, "num_frames": NUM_FRAMES, "tubelet_size": [1, 8, 8]},
    )
    videos = LlavaOnevisionVideoProcessor(size={"height": 32, "width": 32}, do_normalize=False, do_sample_frames=True)
    return _save(folder, config, VideoPrismProcessor(videos, tokenizer), seed)


def write_bert(folder: Path, *, seed: int = 0) -> Path:
    """BERT, which reads and does not see."""
    tokenizer = _siglip_tokenizer()
    return _save(folder, BertConfig(**_text(tokenizer, NUM_TOKENS)), tokenizer, seed)


def write_open_clip(folder: Path, *, seed: int = 0) -> Path:
    """open_clip's CLIP with its own tokenizer, in a folder as open_clip saves one."""
    from open_clip.model import CLIP

    tower = {"width": DIMENSION, "layers": 2}
    model_cfg = {
        "embed_dim": DIMENSION,
        "vision_cfg": {**tower, "image_size": 32, "patch_size": 8, "head_width": 8},
        "text_cfg": {**tower, "heads": 2, "context_length": NUM_TOKENS, "vocab_size": 49_408},
    }
    preprocess_cfg = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    model = CLIP(**model_cfg)
    _randomise(model, seed)
    folder.mkdir(parents=True)
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


def write_st_images(folder: Path, *, seed: int = 0) -> Path:
    """A model of sentence-transformers that takes pictures: CLIP."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer

    with tempfile.TemporaryDirectory() as inside:
        module = Transformer(str(write_clip(Path(inside) / "clip", seed=seed)))
        SentenceTransformer(modules=[module], device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def write_st_video(folder: Path, *, seed: int = 0) -> Path:
    """A model of sentence-transformers that takes videos: Qwen3-VL, with an instruction for queries."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    with tempfile.TemporaryDirectory() as inside:
        modules = [Transformer(str(_write_qwen(Path(inside) / "qwen", seed))), Pooling(DIMENSION, "lasttoken")]
        prompts = {"query": "Find the video: ", "document": ""}
        model = SentenceTransformer(modules=[*modules, Normalize()], prompts=prompts, device="cpu")
        model.save_pretrained(str(folder), create_model_card=False)
    return folder


def _write_qwen(folder: Path, seed: int) -> Path:
    marks = ["endoftext", "im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad"]
    special = [f"<|{mark}|>" for mark in marks]
    tokenizer = Qwen2Tokenizer(
        _numbered([*sorted(pre_tokenizers.ByteLevel.alphabet()), *special]),
        merges=[],
        model_max_length=64,
        unk_token=None,
        pad_token=special[0],
        eos_token=special[2],
        padding_side="left",
        extra_special_tokens=special[1:],
    )
    wanted = ("image_token", "video_token", "vision_start_token", "vision_end_token")
    pads = ("image_pad", "video_pad", "vision_start", "vision_end")
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(f"<|{pad}|>") for name, pad in zip(wanted, pads, strict=True)}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    text = {**_TOWER, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(tokenizer), "rope_parameters": rope}
    vision = {"depth": 2, "num_heads": 2, "hidden_size": DIMENSION, "intermediate_size": 32, "patch_size": 8}
    config = Qwen3VLConfig(
        **ids,
        text_config={**text, "max_position_embeddings": 4096},
        vision_config={
            **vision,
            "out_hidden_size": DIMENSION,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
    )
    size = {"shortest_edge": 16 * 16, "longest_edge": 16 * 48 * 64}
    images, videos = (kind(patch_size=8, size=size) for kind in (Qwen2VLImageProcessor, Qwen3VLVideoProcessor))
    return _save(folder, config, Qwen3VLProcessor(images, tokenizer, videos, chat_template=_CHAT), seed)


_CHAT = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}:"
    "{%- for part in message.content -%}"
    "{%- if part.type in ('image', 'video') -%}<|vision_start|><|{{ part.type }}_pad|><|vision_end|>"
    "{%- else -%}{{ part.text }}{%- endif -%}{%- endfor -%}<|im_end|>{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>:{%- endif -%}"
)

WRITERS = {
    "clip": write_clip,
    "siglip": write_siglip,
    "siglip-published": write_siglip_published,
    "siglip-gemma": write_siglip_gemma,
    "siglip2": write_siglip2,
    "xclip": write_xclip,
    "videoprism": write_videoprism,
    "bert": write_bert,
    "open_clip": write_open_clip,
    "st-images": write_st_images,
    "st-video": write_st_video,
}


def _save(folder: Path, config: Any, processor: Any, seed: int) -> Path:
    """Write a model of this config with weights from the seed, large enough that inputs that differ come out apart."""
    model = AutoModel.from_config(config)
    _randomise(model, seed)
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _randomise(model: torch.nn.Module, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(model.named_parameters()):
            if tensor.ndim > 1 or "embedding" in name:
                spread = 1.0 if "embedding" in name else 2.0 * tensor[0].numel() ** -0.5
                tensor.normal_(0.0, spread, generator=random)


def _text(tokenizer: Any, length: int) -> dict[str, Any]:
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    return {**_TOWER, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": length}


def _clip_tokenizer() -> Any:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(_numbered(pieces), merges=[], model_max_length=NUM_TOKENS)


def _gemma_tokenizer(kind: Any, length: int) -> Any:
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [chr(code) for code in range(33, 127)]
    tokenizer = kind(
        _numbered(pieces), merges=[], model_max_length=length, padding_side="right", model_input_names=["input_ids"]
    )
    ending = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.backend_tokenizer.post_processor = ending
    return tokenizer


def _siglip_tokenizer() -> Any:
    backend = Tokenizer(models.Unigram(_PIECES, unk_id=1))
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        model_max_length=NUM_TOKENS,
        model_input_names=["input_ids"],
    )


def _sentencepiece() -> bytes:
    """_PIECES as sentencepiece's ModelProto: (piece, score, type) each, and a normalizer that leaves text alone."""
    kinds = {"</s>": 3, "<unk>": 2}  # control, unknown; the others are normal
    pieces = [_field(1, text.encode()) + struct.pack("<Bf", 0x15, score) for text, score in _PIECES]
    typed = [piece + bytes([0x18, kinds.get(text, 1)]) for piece, (text, _) in zip(pieces, _PIECES, strict=True)]
    return b"".join(_field(1, piece) for piece in typed) + _field(3, _field(1, b"identity"))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def _numbered(pieces: Sequence[str]) -> dict[str, int]:
    return {piece: number for number, piece in enumerate(pieces)}


if __name__ == "__main__":
    for name, write in WRITERS.items():
        print(write(Path(sys.argv[1]) / name))
