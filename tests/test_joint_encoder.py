"""A saved joint space as an encoder, on top of a small backbone and a small sentence encoder."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from make_models import WRITERS
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from cezsar import encoders
from cezsar.encoders.encoder import Encoder
from cezsar.encoders.images import load_backbone
from cezsar.encoders.joint import Joint, is_saved, load_model
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.errors import EncoderError
from cezsar.model import STREAMS, CezsarConfig, CezsarModel
from cezsar.types import EncoderIdentity, unit

CPU = torch.device("cpu")
DIMENSION = 12
NUM_FRAMES = 4
SHORT_SIDE = 168
WORDS = ["[PAD]", "[UNK]", "[END]", "a", "red", "blue", "dog", "cat", "runs", "sleeps", "and"]
TEXTS = ["a red dog", "blue", "a cat sleeps and a dog runs", "a", ""]
SIZES: dict[str, Any] = {
    "image_size": SHORT_SIDE,
    "num_frames": NUM_FRAMES,
    "joint_dim": DIMENSION,
    "d_model": 8,
    "feedforward_dim": 16,
    "num_memories": 7,
    "memory_dim": 5,
    "top_objects": 10,
}

Write = Callable[..., Path]
Spoil = Callable[[Path], Any]


@dataclass(frozen=True)
class Parts:
    """The frozen parts that the models of these tests stand on."""

    backbone: Path
    sentences: Path
    config: dict[str, Any]
    head: tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    root = tmp_path_factory.mktemp("parts").resolve()
    backbone = load_backbone(str(_write_backbone(root / "backbone")), CPU)
    sentences = SentenceEncoder(CPU, str(_write_sentences(root / "sentences")))
    head = backbone.head()
    assert head is not None
    config = {
        "backbone": backbone.name,
        "backbone_sha256": backbone.fingerprint,
        "sentence_encoder": sentences.name,
        "sentence_encoder_sha256": sentences.fingerprint,
        "feature_dim": backbone.feature_dim,
        "sentence_dim": sentences.dimension,
        "num_objects": len(backbone.objects()),
    }
    return Parts(root / "backbone", root / "sentences", config, head)


@pytest.fixture(scope="module")
def write(parts: Parts) -> Write:
    """Save a model of random weights: write(folder, streams="visual")."""

    def run(folder: Path, *, seed: int = 0, **options: Any) -> Path:
        random = torch.Generator().manual_seed(seed)
        model = CezsarModel(CezsarConfig(**{**parts.config, **SIZES, **options}))
        with torch.no_grad():
            for name, tensor in sorted(model.state_dict().items()):
                if tensor.ndim:
                    tensor.normal_(float("norm" in name), 0.3, generator=random)
            if model.objects is not None:
                model.objects.weight.copy_(parts.head[0])
                model.objects.bias.copy_(parts.head[1])
        transformers_logging.disable_progress_bar()
        model.save_pretrained(folder)
        return folder

    return run


@pytest.fixture(scope="module")
def saved(write: Write, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model with these streams, written once; not to be changed."""
    root = tmp_path_factory.mktemp("models").resolve()
    return cache(lambda streams: write(root / streams, streams=streams))


@pytest.fixture(scope="module", params=STREAMS)
def joint(request: pytest.FixtureRequest, saved: Callable[[str], Path]) -> Joint:
    return Joint(str(saved(request.param)), CPU)


@pytest.fixture
def whole(saved: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a whole model, to be changed."""
    return Path(shutil.copytree(saved("visual_object"), tmp_path.resolve() / "model"))


def _write_backbone(folder: Path, seed: int = 0) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = timm.create_model("test_resnet", pretrained=False)
    save_for_hf(net, str(folder), safe_serialization=True)
    return folder


def _write_sentences(folder: Path, seed: int = 0) -> Path:
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A [END]", special_tokens=[("[END]", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=256,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(config)
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _frames(count: int) -> NDArray[np.uint8]:
    """(count, 3, H, W) coarse noise, no two frames alike."""
    blocks = np.random.default_rng(count).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(SHORT_SIDE // 4, axis=2).repeat(SHORT_SIDE // 4, axis=3))


def _segments(*lengths: int) -> list[NDArray[np.float32]]:
    """Segments of features as they may be, of so many frames each."""
    random = np.random.default_rng(7)
    return [random.normal(0.5, 1.0, (length, 96)).astype(np.float32) for length in lengths]


def _by_model(joint: Joint, segment: NDArray[np.float32]) -> NDArray[Any]:
    """The vector of one segment, by the model alone and without padding."""
    model = load_model(joint.identity.name)
    with torch.no_grad():
        row = model.encode_segments(torch.from_numpy(segment)[None], torch.ones(1, len(segment), dtype=torch.bool))
    return np.asarray(row[0].numpy())


def _assert_unit_rows(rows: NDArray[Any], count: int) -> None:
    assert rows.shape == (count, DIMENSION)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def _assert_all_apart(rows: NDArray[Any]) -> None:
    similar = rows @ rows.T - 2 * np.eye(len(rows))
    assert similar.max() < 0.999


def _reconfigure(folder: Path, **options: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **options}))
    return folder


def _rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


# Frames, segments and sentences


def test_frames_become_features_and_segments_of_them_unit_rows(joint: Joint, parts: Parts) -> None:
    frames = _frames(6)
    before = frames.copy()
    encoder: Encoder = joint
    features = encoder.encode_frames(frames)

    assert joint.short_side == SHORT_SIDE
    assert features.shape == (6, 96)
    assert features.dtype == np.float32
    assert np.array_equal(features, load_backbone(str(parts.backbone), CPU).features(frames))
    _assert_unit_rows(encoder.encode_segments([features[:1], features[:2], features, features[1:5]]), 4)
    assert np.array_equal(frames, before)


def test_nothing_gives_no_rows(joint: Joint) -> None:
    _assert_unit_rows(joint.encode_segments([]), 0)
    _assert_unit_rows(joint.encode_texts([]), 0)


def test_a_segment_has_the_vector_that_it_has_alone(joint: Joint) -> None:
    segments = _segments(1, 4, 2, 3)
    before = [segment.copy() for segment in segments]
    rows = joint.encode_segments(segments)

    np.testing.assert_allclose(rows, np.concatenate([joint.encode_segments([one]) for one in segments]), atol=1e-5)
    np.testing.assert_allclose(rows, [_by_model(joint, segment) for segment in segments], atol=1e-5)
    _assert_all_apart(rows)
    assert all(np.array_equal(one, other) for one, other in zip(segments, before, strict=True))


def test_of_a_long_segment_the_frames_are_spread_evenly(joint: Joint) -> None:
    [segment, short] = _segments(10, 2)
    rows = joint.encode_segments([segment, short])

    np.testing.assert_allclose(rows[0], _by_model(joint, segment[[0, 3, 6, 9]]), atol=1e-5)
    assert np.abs(rows[0] - _by_model(joint, segment[:4])).max() > 1e-3


def test_sentences_go_through_the_text_tower(joint: Joint, parts: Parts) -> None:
    rows = joint.encode_texts(TEXTS)
    embeddings = torch.from_numpy(SentenceEncoder(CPU, str(parts.sentences)).encode(TEXTS))
    with torch.no_grad():
        expected = load_model(joint.identity.name).encode_sentences(embeddings).numpy()

    _assert_unit_rows(rows, len(TEXTS))
    np.testing.assert_allclose(rows, unit(expected), atol=1e-5)
    np.testing.assert_allclose(rows[1:2], joint.encode_texts(TEXTS[1:2]), atol=1e-5)
    _assert_all_apart(rows[:4])


def test_the_same_input_gives_the_same_bits(joint: Joint) -> None:
    segments = _segments(3, 4)

    assert np.array_equal(joint.encode_segments(segments), joint.encode_segments(segments))
    assert np.array_equal(joint.encode_texts(TEXTS), joint.encode_texts(TEXTS))


def test_each_mix_of_streams_has_vectors_of_its_own(saved: Callable[[str], Path]) -> None:
    visual, objects, both = (
        Joint(str(saved(streams)), CPU).encode_segments(_segments(3, 2))
        for streams in ("visual", "object", "visual_object")
    )

    np.testing.assert_allclose(both, unit(0.8 * visual + 0.2 * objects), atol=1e-5)
    assert np.abs(visual - objects).max() > 0.01


def test_a_model_without_objects_has_the_visual_stream(write: Write, tmp_path: Path) -> None:
    joint = Joint(str(write(tmp_path / "model", num_objects=0, streams="visual")), CPU)

    assert joint.identity.streams == "visual"
    _assert_unit_rows(joint.encode_segments(_segments(3, 2)), 2)


# Identity


def test_the_identity_says_dimension_and_streams(joint: Joint) -> None:
    folder = Path(joint.identity.name)

    assert joint.identity == EncoderIdentity(str(folder), joint.identity.weights_sha256, DIMENSION, folder.name)
    assert len(joint.identity.weights_sha256) == 64


def test_a_model_may_have_another_name_than_its_folder(saved: Callable[[str], Path]) -> None:
    folder = str(saved("visual"))

    assert Joint(folder, CPU, name="lite").identity == replace(Joint(folder, CPU).identity, name="lite")


def test_loading_again_gives_the_same_identity(joint: Joint) -> None:
    assert Joint(joint.identity.name, CPU).identity == joint.identity


def test_the_same_model_elsewhere_has_the_same_sha256(saved: Callable[[str], Path], whole: Path) -> None:
    moved, there = Joint(str(whole), CPU).identity, Joint(str(saved("visual_object")), CPU).identity

    assert moved == replace(there, name=str(whole))


def test_every_changed_weight_is_another_encoder(whole: Path) -> None:
    names = list(load_file(whole / "model.safetensors"))
    seen = {Joint(str(whole), CPU).identity.weights_sha256}
    for name in names:
        _rewrite(whole, lambda tensors, name=name: tensors[name].view(-1)[0].add_(0.01))  # type: ignore[misc]
        seen.add(Joint(str(whole), CPU).identity.weights_sha256)

    assert len(names) > 20
    assert len(seen) == 1 + len(names)


@pytest.mark.parametrize(
    "other",
    [
        {"streams": "visual"},
        {"visual_weight": 0.5},
        {"num_frames": 8},
        {"top_objects": 20},
        {"object_temperature": 1.0},
        {"num_heads": 1},
        {"backbone_sha256": "0" * 64},
        {"sentence_encoder_sha256": "0" * 64},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_changes_the_vectors_is_another_encoder(other: dict[str, Any], whole: Path) -> None:
    before = Joint(str(whole), CPU).identity
    after = Joint(str(_reconfigure(whole, **other)), CPU).identity

    assert after.weights_sha256 != before.weights_sha256
    assert after.streams == other.get("streams", "visual_object")


def test_what_does_not_change_the_vectors_is_the_same_encoder(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Joint(str(whole), CPU).identity
    _reconfigure(whole, fps=3.0)
    monkeypatch.setattr("transformers.configuration_utils.__version__", "9.9.9")

    assert Joint(str(whole), CPU).identity == before


# The frozen parts


def test_other_weights_of_the_backbone_are_refused_by_its_name(whole: Path, tmp_path: Path) -> None:
    other = _write_backbone(tmp_path / "other", seed=1)
    joint = Joint(str(_reconfigure(whole, backbone=str(other))), CPU)

    with pytest.raises(EncoderError, match="trained on other weights of its image backbone") as error:
        joint.encode_frames(_frames(1))
    assert str(other) in str(error.value)
    assert str(whole) in str(error.value)
    _assert_unit_rows(joint.encode_texts(TEXTS), len(TEXTS))
    _assert_unit_rows(joint.encode_segments(_segments(2)), 1)


def test_other_weights_of_the_sentence_encoder_are_refused_by_its_name(whole: Path, tmp_path: Path) -> None:
    other = _write_sentences(tmp_path / "other", seed=1)
    joint = Joint(str(_reconfigure(whole, sentence_encoder=str(other))), CPU)

    with pytest.raises(EncoderError, match="trained on other weights of its ") as error:
        joint.encode_texts(TEXTS)
    assert str(other) in str(error.value)
    assert joint.encode_frames(_frames(1)).shape == (1, 96)


def test_the_frozen_parts_may_have_moved(whole: Path, parts: Parts, tmp_path: Path) -> None:
    backbone = shutil.copytree(parts.backbone, tmp_path / "b")
    sentences = shutil.copytree(parts.sentences, tmp_path / "s")
    before = Joint(str(whole), CPU).identity
    joint = Joint(str(_reconfigure(whole, backbone=str(backbone), sentence_encoder=str(sentences))), CPU)

    assert joint.identity == before
    assert joint.encode_frames(_frames(1)).shape == (1, 96)
    _assert_unit_rows(joint.encode_texts(TEXTS), len(TEXTS))


def test_frozen_parts_that_are_gone_are_named(whole: Path) -> None:
    joint = Joint(str(_reconfigure(whole, backbone="/no/such/b", sentence_encoder="/no/such/s")), CPU)

    with pytest.raises(EncoderError, match="/no/such/b"):
        joint.encode_frames(_frames(1))
    with pytest.raises(EncoderError, match="/no/such/s"):
        joint.encode_texts(TEXTS)


def test_a_sentence_encoder_without_its_unused_pooler_keeps_its_fingerprint(parts: Parts, tmp_path: Path) -> None:
    folder = shutil.copytree(parts.sentences, tmp_path / "sentences")
    _rewrite(folder, lambda tensors: [tensors.pop(f"pooler.dense.{name}") for name in ("weight", "bias")])
    one, other = (SentenceEncoder(CPU, str(folder)) for _ in range(2))

    assert np.array_equal(one.encode(TEXTS), other.encode(TEXTS))
    assert one.fingerprint == other.fingerprint


def test_a_sentence_encoder_that_lacks_weights_is_refused(parts: Parts, tmp_path: Path) -> None:
    folder = shutil.copytree(parts.sentences, tmp_path / "sentences")
    _rewrite(folder, lambda tensors: tensors.pop("encoder.layer.0.output.dense.weight"))

    with pytest.raises(EncoderError):
        SentenceEncoder(CPU, str(folder))


# What cannot be loaded


def _cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def _drop_a_tensor(folder: Path) -> None:
    _rewrite(folder, lambda tensors: tensors.pop("text_tower.linear.weight"))


def _drop_a_buffer(folder: Path) -> None:
    _rewrite(folder, lambda tensors: tensors.pop("objects.sentences"))


def _add_a_tensor(folder: Path) -> None:
    _rewrite(folder, lambda tensors: tensors.update({"text_tower.more": torch.zeros(3)}))


def _reshape_a_tensor(folder: Path) -> None:
    _rewrite(folder, lambda tensors: tensors.update({"text_tower.linear.weight": torch.zeros(3, 16)}))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "model.safetensors").unlink(), id="no weights"),
        pytest.param(_cut_weights, id="weights cut short"),
        pytest.param(_drop_a_tensor, id="a tensor missing"),
        pytest.param(_drop_a_buffer, id="a buffer missing"),
        pytest.param(_add_a_tensor, id="a tensor too many"),
        pytest.param(_reshape_a_tensor, id="a tensor of another shape"),
        pytest.param(lambda folder: (folder / "config.json").write_text("{"), id="broken config.json"),
        pytest.param(lambda folder: (folder / "config.json").unlink(), id="no config.json"),
        pytest.param(lambda folder: _reconfigure(folder, joint_dim=10), id="another dimension"),
        pytest.param(lambda folder: _reconfigure(folder, num_memories=0), id="no memory"),
        pytest.param(lambda folder: _reconfigure(folder, num_heads=3), id="heads that do not fit"),
        pytest.param(lambda folder: _reconfigure(folder, streams="sound"), id="unknown streams"),
        pytest.param(shutil.rmtree, id="no folder"),
    ],
)
def test_a_folder_without_a_whole_model_is_refused_with_a_reason(spoil: Spoil, whole: Path) -> None:
    spoil(whole)

    with pytest.raises(EncoderError) as error:
        Joint(str(whole), CPU)
    assert str(whole) in str(error.value)
    assert "\n" not in str(error.value)
    assert not str(error.value).rstrip().endswith(":")


class _Trap:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.mkdir, (self.marker,))


def test_pickled_weights_are_refused_unread(whole: Path, tmp_path: Path) -> None:
    (whole / "model.safetensors").unlink()
    (whole / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap(tmp_path / "was read")))

    with pytest.raises(EncoderError, match="safetensors"):
        Joint(str(whole), CPU)
    assert not (tmp_path / "was read").exists()


@pytest.mark.parametrize("kind", ["clip", "bert"])
def test_a_model_of_another_kind_is_refused(kind: str, tmp_path: Path) -> None:
    folder = WRITERS[kind](tmp_path / kind)

    with pytest.raises(EncoderError):
        Joint(str(folder), CPU)
    assert not is_saved(str(folder))


def test_a_saved_model_is_known_by_its_folder(saved: Callable[[str], Path]) -> None:
    assert all(is_saved(str(saved(streams))) for streams in STREAMS)


@pytest.mark.parametrize("content", [None, "", "{", "{}", "[]", '{"model_type": "bert"}', "\xff"])
def test_a_folder_without_a_models_config_is_none(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="latin-1")

    assert not is_saved(str(tmp_path))
    assert not is_saved(str(tmp_path / "missing"))


def test_a_revision_of_a_trained_model_is_the_one_that_is_loaded(
    write: Write, saved: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "models--cezsar-tests--trained"
    (place / "refs").mkdir(parents=True)
    for commit, (revision, folder) in enumerate(
        {"main": write(tmp_path / "other", seed=1, streams="visual"), "v1": saved("visual")}.items()
    ):
        shutil.copytree(folder, place / "snapshots" / (f"{commit}" * 40))
        (place / "refs" / revision).write_text(f"{commit}" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    expected = Joint(str(saved("visual")), CPU).identity
    first = encoders.load("cezsar-tests/trained@v1", device="cpu").identity
    assert first == replace(expected, name="cezsar-tests/trained@v1")
    newest = encoders.load("cezsar-tests/trained", device="cpu").identity
    assert newest.weights_sha256 != expected.weights_sha256
