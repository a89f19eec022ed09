"""Encoders without torch: the embedded networks through ONNX Runtime, and trained models in NumPy, against torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cezsar import encoders
from cezsar.encoders import lean
from cezsar.encoders.embedded import EfficientNet, MiniLM, Pair
from cezsar.encoders.images import ImageBackbone, PairBackbone, lite1
from cezsar.encoders.joint import Joint
from cezsar.encoders.lean import Lean
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.errors import EncoderError
from cezsar.model import OWN_FIELDS, STREAMS, CezsarConfig, CezsarModel
from cezsar.model.fields import KINDS
from cezsar.types import Sampling

CPU = torch.device("cpu")
LITE, LITE_1 = (Path(encoders.__file__).with_name(name) for name in ("lite", "lite-1"))
GRAPHS = sorted(Path(encoders.__file__).parent.glob("*.onnx"))
TEXTS = ["a dog runs", "", "Ünïcödé 日本語 🎻", "a red dog runs on " * 200, "x", "two people play violin in a hall"]


@pytest.fixture(scope="module")
def lite() -> tuple[Lean, Joint]:
    """The shipped model in NumPy, and through torch."""
    loaded = encoders.load("lite", device="cpu")
    assert isinstance(loaded, Lean)
    return loaded, Joint(str(LITE), CPU, name="lite")


def _frames(height: int, width: int, count: int = 3) -> NDArray[np.uint8]:
    """(count, 3, height, width) smooth noise, which looks more like a picture than white noise does."""
    blocks = np.random.default_rng(height + width).integers(0, 256, (count, 3, 9, 9)).astype(np.uint8)
    rows, columns = np.arange(height) * 9 // height, np.arange(width) * 9 // width
    return np.ascontiguousarray(blocks[:, :, rows][..., columns])


def _cosines(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / lengths)


def test_minilm_gives_the_vectors_that_torch_gives() -> None:
    one, other = MiniLM(), SentenceEncoder(CPU)

    np.testing.assert_allclose(one.encode(TEXTS), other.encode(TEXTS), atol=1e-5)
    assert (one.name, one.dimension, one.fingerprint) == (other.name, other.dimension, other.fingerprint)
    assert one.encode([]).shape == (0, 384)


def test_a_text_has_the_vector_that_it_has_alone_in_any_batch() -> None:
    encoder = MiniLM()
    texts = [*TEXTS, *(f"{number} dogs" for number in range(60))]

    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), alone, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(260, 260), (260, 461), (463, 260), (260, 4160)])
def test_efficientnet_gives_the_features_and_logits_that_torch_gives(height: int, width: int) -> None:
    one, other = EfficientNet(), ImageBackbone(CPU)
    frames = _frames(height, width)

    assert _cosines(one.features(frames), other.features(frames)).min() > 0.99999
    np.testing.assert_allclose(one.features(frames), other.features(frames), atol=1e-3)
    np.testing.assert_allclose(one.logits(frames), other.logits(frames), atol=1e-3)
    for name in ("name", "short_side", "feature_dim", "fingerprint"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize(("height", "width"), [(260, 260), (260, 461), (463, 260)])
def test_the_pair_gives_the_features_that_torch_gives(height: int, width: int) -> None:
    one, other = Pair(), PairBackbone(CPU)
    frames = _frames(height, width)

    assert one.features(frames).shape == (3, 2560)
    assert _cosines(one.features(frames), other.features(frames)).min() > 0.99999
    np.testing.assert_allclose(one.features(frames), other.features(frames), atol=1e-3)
    for name in ("name", "short_side", "feature_dim", "num_blocks", "fingerprint"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("is_tall", [False, True])
def test_the_pair_looks_at_both_ends_and_the_middle(is_tall: bool) -> None:
    frames = _frames(460, 260) if is_tall else _frames(260, 460)
    first, last = (frames[..., :260, :], frames[..., 200:, :]) if is_tall else (frames[..., :260], frames[..., 200:])
    middle = frames[..., 100:360, :] if is_tall else frames[..., 100:360]
    features, large = Pair().features(frames), EfficientNet()

    np.testing.assert_allclose(features[:, :1280], (large.features(first) + large.features(last)) / 2, atol=1e-5)
    np.testing.assert_allclose(features[:, 1280:], lite1(CPU).features(middle), atol=1e-3)


def test_lite_is_the_same_encoder_with_and_without_torch(lite: tuple[Lean, Joint]) -> None:
    assert lite[0].identity == lite[1].identity
    assert lite[0].short_side == lite[1].short_side


def test_lite_says_texts_as_torch_does(lite: tuple[Lean, Joint]) -> None:
    one, other = (encoder.encode_texts(TEXTS) for encoder in lite)

    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("streams", STREAMS)
def test_lite_sees_segments_as_torch_does_in_every_stream(streams: str) -> None:
    one, other = lean.load(LITE, "cpu", name="lite", streams=streams), Joint(str(LITE), CPU, streams=streams)
    assert one is not None
    random = np.random.default_rng(0)
    segments = [np.abs(random.normal(0.3, 0.5, (length, 2560))).astype(np.float32) for length in (1, 5, 16, 41)]

    np.testing.assert_allclose(one.encode_segments(segments), other.encode_segments(segments), atol=1e-4)
    assert one.identity.weights_sha256 == other.identity.weights_sha256
    assert one.encode_segments([]).shape == (0, 384)


def _saved(folder: Path, **options: Any) -> Path:
    """A model of random weights on the embedded networks."""
    frozen = {key: json.loads((LITE_1 / "config.json").read_text())[key] for key in
              ("backbone_sha256", "sentence_encoder_sha256")}  # fmt: skip
    sizes = {"joint_dim": 12, "d_model": 0, "num_memories": 7, "memory_dim": 5, "num_objects": 20, "top_objects": 4}
    random = torch.Generator().manual_seed(0)
    model = CezsarModel(CezsarConfig(**{**frozen, **sizes, **options}))
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            if tensor.ndim:
                tensor.normal_(float("norm" in name), 0.3, generator=random)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"streams": "visual"},
        {"streams": "object"},
        {"num_objects": 0, "streams": "visual"},
        {"top_objects": 50},
        {"memory_blocks": 2},
        {"querybank_size": 9},
        {"querybank_size": 9, "streams": "object", "querybank_share": 0.5},
    ],
    ids=repr,
)
def test_a_trained_memory_needs_no_torch_and_gives_what_torch_gives(options: dict[str, Any], tmp_path: Path) -> None:
    folder = _saved(tmp_path / "model", **options)
    one, other = encoders.load(str(folder), device="cpu"), Joint(str(folder), CPU)
    features = [np.random.default_rng(n).normal(0, 1, (n, 1280)).astype(np.float32) for n in (1, 3, 30)]

    assert isinstance(one, Lean)
    assert one.identity == other.identity
    np.testing.assert_allclose(one.encode_segments(features), other.encode_segments(features), atol=1e-4)
    np.testing.assert_allclose(one.encode_texts(TEXTS), other.encode_texts(TEXTS), atol=1e-5)


def test_a_new_index_looks_at_as_many_frames_as_its_model_was_trained_on(tmp_path: Path) -> None:
    folder = str(_saved(tmp_path / "model", fps=0.5))

    assert encoders.own_sampling(encoders.load(folder, device="cpu")) == Sampling(fps=0.5, window_s=8.0, stride_s=4.0)
    assert encoders.own_sampling(Joint(folder, CPU)).fps == 0.5
    assert encoders.own_sampling(encoders.load("lite")).fps == 1.0
    assert encoders.own_sampling(encoders.load("toy")).fps == 2.0


@pytest.mark.parametrize("d_model", [0, 8])
def test_what_a_recorded_model_stands_on_is_not_fetched_either(
    d_model: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("cezsar.encoders.hub.ask", asked.append)
    parts = {"backbone": "timm:resnet10t.c3_in1k", "sentence_encoder": "cezsar-tests/no-such-model"}
    identity = encoders.load(str(_saved(tmp_path / "model", d_model=d_model, **parts)), device="cpu").identity

    recorded = encoders.load_recorded(identity, device="cpu")
    with pytest.raises(EncoderError, match="resnet10t"):
        recorded.encode_frames(_frames(260, 260))
    with pytest.raises(EncoderError, match="no-such-model"):
        recorded.encode_texts(["a dog"])
    assert asked == []


def test_a_stream_that_a_model_lacks_is_refused_without_torch_too(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "model", num_objects=0, streams="visual")

    with pytest.raises(EncoderError, match="no object ones"):
        encoders.load(str(folder), device="cpu", streams="object")


def test_a_transformer_tower_goes_through_torch(tmp_path: Path) -> None:
    assert isinstance(encoders.load(str(_saved(tmp_path / "model", d_model=8)), device="cpu"), Joint)


@pytest.mark.parametrize(
    "change",
    [
        {"joint_dim": 11}, {"num_memories": 0}, {"streams": "sound"}, {"streams": 3}, {"top_objects": 0},
        {"model_type": "bert"}, {"num_frames": "many"}, {"num_objects": 0}, {"memory_dim": 1e300},
    ],
    ids=repr,
)  # fmt: skip
def test_a_model_that_is_not_whole_is_left_to_torch_which_says_why(change: dict[str, Any], tmp_path: Path) -> None:
    folder = _saved(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))

    assert lean.load(folder, "cpu", name="model") is None


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_model_without_a_file_is_left_to_torch(missing: str, tmp_path: Path) -> None:
    folder = shutil.copytree(LITE, tmp_path / "model")
    (folder / missing).unlink()

    assert lean.load(folder, "cpu", name="model") is None


def test_other_frozen_weights_are_refused(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "model", sentence_encoder_sha256="0" * 64, backbone_sha256="0" * 64)
    encoder = encoders.load(str(folder), device="cpu")

    with pytest.raises(EncoderError, match="all-MiniLM-L6-v2"):
        encoder.encode_texts(["a"])
    with pytest.raises(EncoderError, match="efficientnet-lite2"):
        encoder.encode_frames(_frames(260, 260))


def test_the_fields_of_a_config_are_those_of_its_class() -> None:
    kinds = {name: {"str": str, "int": int, "float": float}[kind] for name, kind in
             CezsarConfig.__annotations__.items()}  # fmt: skip

    assert kinds == KINDS
    assert tuple(kinds) == OWN_FIELDS


def test_the_shipped_graphs_hold_no_weights() -> None:
    assert len(GRAPHS) == 3
    assert all(graph.stat().st_size < 200_000 for graph in GRAPHS)
