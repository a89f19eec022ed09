"""Image backbones: features, the classifier head that reads them, and what cannot be loaded."""

from __future__ import annotations

import pickle
import shutil
import socket
from collections.abc import Callable, Iterator
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

from cezsar import encoders
from cezsar.encoders.images import EMBEDDED_IMAGES, Backbone, ImageBackbone, ImageTower, TimmBackbone, load_backbone
from cezsar.encoders.weights import IMAGE_WEIGHTS
from cezsar.errors import EncoderError

CPU = torch.device("cpu")
ARCHITECTURES = ["test_resnet", "test_vit", "test_efficientnet", "mobilenetv3_small_050"]

Saved = Callable[[str], Path]
Spoil = Callable[[Path], Any]


@pytest.fixture(scope="module")
def lite() -> ImageBackbone:
    return ImageBackbone(CPU)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The folder of a small model, written once, by timm or transformers; not to be changed."""
    root = tmp_path_factory.mktemp("backbones").resolve()
    return cache(lambda kind: WRITERS[kind](root / kind) if kind in WRITERS else _save(root / kind, _net(kind)))


@pytest.fixture(scope="module")
def bit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Backbone]]:
    """BiT-M of ImageNet-21k with random weights: timm's own network, and the backbone of its folder."""
    net = _net("resnetv2_50x1_bit.goog_in21k", num_classes=21843)
    folder = _save(tmp_path_factory.mktemp("bit"), net)
    yield net, load_backbone(str(folder), CPU)
    shutil.rmtree(folder)  # it is large


def _net(architecture: str, *, seed: int = 0, **options: Any) -> Any:
    """A network of timm with random weights, large enough that frames that differ come out apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = timm.create_model(architecture, pretrained=False, **options).eval().requires_grad_(False)
        for name, tensor in net.named_parameters():
            if tensor.ndim > 1:
                tensor.normal_(0.0, (2.0 / tensor[0].numel()) ** 0.5)
            elif name.endswith("bias"):
                tensor.normal_(0.0, 0.5)
    return net


def _save(folder: Path, net: Any) -> Path:
    save_for_hf(net, str(folder), safe_serialization=True)
    return folder


def _frames(backbone: Backbone, count: int, *, portrait: bool = False) -> NDArray[np.uint8]:
    """(count, 3, H, W) coarse noise, no two frames alike, with the backbone's short side and a longer one."""
    short, long = backbone.short_side, backbone.short_side + 32
    height, width = (long, short) if portrait else (short, long)
    blocks = np.random.default_rng(count).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    return np.ascontiguousarray(blocks[:, :, rows][..., columns])


def _pixels(net: Any, frames: NDArray[np.uint8]) -> torch.Tensor:
    """What the network's own preprocessing makes of frames whose short side is right."""
    config = net.pretrained_cfg
    _, height, width = config["input_size"]
    top, left = (frames.shape[2] - height) // 2, (frames.shape[3] - width) // 2
    cut = frames[:, :, top : top + height, left : left + width].transpose(0, 2, 3, 1) / 255.0
    normal = (cut - np.array(config["mean"])) / np.array(config["std"])
    return torch.from_numpy(normal.transpose(0, 3, 1, 2).astype(np.float32))


def _seen_by_the_classifier(net: Any, pixels: torch.Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """What goes into a network's classifier, and what comes out."""
    seen = []
    hook = net.get_classifier().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
    with torch.no_grad():
        logits = net(pixels)
    hook.remove()
    return seen[0].numpy(), logits.numpy()


def _by_head(backbone: Backbone, features: NDArray[Any]) -> NDArray[Any]:
    head = backbone.head()
    assert head is not None
    weight, bias = head
    return np.asarray(features @ weight.numpy().T + bias.numpy())


def _rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


# EfficientNet-Lite2, embedded


def test_half_precision_hardly_changes_the_features(lite: ImageBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The types of a GPU, on a processor, and memory for two frames at once."""
    monkeypatch.setattr("cezsar.encoders.images.candidates", lambda _: (torch.bfloat16, torch.float16))
    half = ImageBackbone(CPU)
    assert next(half._net._network._net.parameters()).dtype in (torch.bfloat16, torch.float16)
    embed = half._net._network._maps

    def short_of_memory(net: Any, pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(net, pixels)

    half._net._network._maps = short_of_memory
    frames = _frames(lite, 5)
    for own, other in ((half.features(frames), lite.features(frames)), (half.logits(frames), lite.logits(frames))):
        assert own.dtype == np.float32
        cosines = (own * other).sum(axis=1) / np.linalg.norm(own, axis=1) / np.linalg.norm(other, axis=1)
        assert cosines.min() > 0.998
    assert [tensor.dtype for tensor in half.head()] == [torch.float32, torch.float32]
    assert half._net._network._batches.size == 2


def test_the_head_of_mean_features_is_the_mean_of_the_logits(lite: ImageBackbone) -> None:
    frames = _frames(lite, 5)
    features, logits = lite.features(frames), lite.logits(frames)

    assert features.shape == (5, 1280) == (5, lite.feature_dim)
    assert features.dtype == np.float32
    assert np.ptp(logits, axis=0).max() > 1
    np.testing.assert_allclose(_by_head(lite, features.mean(axis=0)), logits.mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("portrait", [False, True])
def test_lite2_sees_frames_as_it_was_trained_to(portrait: bool, lite: ImageBackbone) -> None:
    net = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
    tensors = torch.load(IMAGE_WEIGHTS.path(), weights_only=True).values()
    net.load_state_dict(dict(zip(net.state_dict(), tensors, strict=True)))
    frames = _frames(lite, 2, portrait=portrait)
    cut = frames[:, :, 16:276] if portrait else frames[..., 16:276]
    features, logits = _seen_by_the_classifier(net, (torch.from_numpy(cut).float() - 127) / 128)

    np.testing.assert_allclose(lite.features(frames), features, atol=1e-4)
    np.testing.assert_allclose(lite.logits(frames), logits, atol=1e-3)


def test_lite2_has_a_thousand_objects_with_names_and_definition(lite: ImageBackbone) -> None:
    objects = lite.objects()
    weight, bias = lite.head()

    assert len(objects) == len(set(objects)) == 1000
    assert weight.shape == (1000, 1280)
    assert bias.shape == (1000,)
    assert all(": " in said for said in objects)
    assert objects[0].startswith("tench, Tinca tinca: freshwater ")
    assert objects[999].startswith("toilet tissue, toilet paper, bathroom tissue: ")


def test_lite2_is_loaded_by_its_name() -> None:
    backbone = load_backbone(EMBEDDED_IMAGES, CPU)

    assert isinstance(backbone, ImageBackbone)
    assert backbone.name == "efficientnet-lite2"
    assert backbone.fingerprint == IMAGE_WEIGHTS.sha256


# timm


@pytest.mark.parametrize("portrait", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_features_are_what_the_networks_own_classifier_sees(architecture: str, portrait: bool, saved: Saved) -> None:
    backbone = load_backbone(str(saved(architecture)), CPU)
    frames = _frames(backbone, 3, portrait=portrait)
    net = _net(architecture)
    features, logits = _seen_by_the_classifier(net, _pixels(net, frames))
    found = backbone.features(frames)

    assert isinstance(backbone, TimmBackbone)
    assert found.dtype == np.float32
    assert np.ptp(logits, axis=0).max() > 1e-2
    np.testing.assert_allclose(found, features, atol=1e-4)
    np.testing.assert_allclose(_by_head(backbone, found), logits, atol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_feature_width_is_as_said(architecture: str, saved: Saved) -> None:
    backbone = load_backbone(str(saved(architecture)), CPU)

    assert backbone.features(_frames(backbone, 2)).shape == (2, backbone.feature_dim)


def test_a_timm_folder_is_known_by_its_path_and_its_input_size(saved: Saved) -> None:
    backbone = load_backbone(str(saved("test_resnet")), CPU)

    assert backbone.name == str(saved("test_resnet"))
    assert backbone.short_side == 168  # 160 pixels cut from the middle, which are 0.95 of the side
    assert len(backbone.objects()) == 1000
    assert backbone.objects()[0].startswith("tench, Tinca tinca: ")


@pytest.mark.parametrize("num_classes", [0, 10])
def test_a_network_without_known_classes_has_features_and_no_head(num_classes: int, tmp_path: Path) -> None:
    backbone = load_backbone(str(_save(tmp_path, _net("test_resnet", num_classes=num_classes))), CPU)

    assert backbone.head() is None
    assert backbone.objects() == []
    assert backbone.features(_frames(backbone, 2)).shape == (2, backbone.feature_dim)


@pytest.mark.parametrize("kind", ["test_resnet", "clip"])
def test_a_frame_has_the_features_that_it_has_alone(kind: str, saved: Saved) -> None:
    backbone = load_backbone(str(saved(kind)), CPU)
    frames = _frames(backbone, 4)
    before = frames.copy()
    together = backbone.features(frames)

    alone = np.concatenate([backbone.features(frames[number : number + 1]) for number in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert len(np.unique(together.round(3), axis=0)) == 4
    assert np.array_equal(frames, before)


def test_bit_knows_the_21843_objects_of_imagenet_21k(bit: tuple[Any, Backbone]) -> None:
    _, backbone = bit
    head = backbone.head()

    assert head is not None
    assert head[0].shape == (21843, 2048)
    assert head[1].shape == (21843,)
    assert len(backbone.objects()) == 21843
    assert all(": " in said for said in backbone.objects())
    assert backbone.objects()[0].startswith("organism, being: a living thing ")


def test_the_head_of_bit_reads_its_features_as_the_network_does(bit: tuple[Any, Backbone]) -> None:
    net, backbone = bit
    frames = _frames(backbone, 2)
    features = backbone.features(frames)
    with torch.no_grad():
        logits = net(_pixels(net, frames)).numpy()

    assert backbone.short_side == 256
    assert features.shape == (2, 2048) == (2, backbone.feature_dim)
    assert np.ptp(logits, axis=0).max() > 1e-2
    np.testing.assert_allclose(_by_head(backbone, features), logits, atol=1e-3)


# CLIP and SigLIP


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_an_image_tower_gives_the_unit_features_of_its_encoder(kind: str, saved: Saved) -> None:
    backbone = load_backbone(str(saved(kind)), CPU)
    encoder = encoders.load(str(saved(kind)), device="cpu")
    frames = _frames(backbone, 3)
    features = backbone.features(frames)

    assert isinstance(backbone, ImageTower)
    assert (backbone.name, backbone.short_side) == (str(saved(kind)), 32)
    assert features.shape == (3, 16) == (3, backbone.feature_dim)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(features, encoder.encode_frames(frames), atol=1e-6)


def test_an_image_tower_has_no_head_and_no_objects(saved: Saved) -> None:
    backbone = load_backbone(str(saved("clip")), CPU)

    assert backbone.head() is None  # type: ignore[func-returns-value,unused-ignore]
    assert backbone.objects() == []


# Fingerprints


@pytest.mark.parametrize("kind", ["test_resnet", "clip"])
def test_the_same_weights_elsewhere_have_the_same_fingerprint(kind: str, saved: Saved, tmp_path: Path) -> None:
    again = WRITERS[kind](tmp_path / "again") if kind in WRITERS else _save(tmp_path / "again", _net(kind))

    one, other = (load_backbone(str(folder), CPU) for folder in (saved(kind), again))
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 64


@pytest.mark.parametrize(("kind", "tensor"), [("test_resnet", "fc.weight"), ("clip", "text_projection.weight")])
def test_one_changed_weight_is_another_fingerprint(kind: str, tensor: str, saved: Saved, tmp_path: Path) -> None:
    folder = shutil.copytree(saved(kind), tmp_path / "changed")
    _rewrite(folder, lambda tensors: tensors[tensor][3, 5].add_(0.001))

    assert load_backbone(str(folder), CPU).fingerprint != load_backbone(str(saved(kind)), CPU).fingerprint


# What cannot be loaded


def _refused(name: str) -> str:
    """Why there is no such backbone, in one line that names it."""
    with pytest.raises(EncoderError) as error:
        load_backbone(name, CPU)
    message = str(error.value)
    assert name in message
    assert "\n" not in message
    assert not message.rstrip().endswith(":")
    return message


@pytest.mark.parametrize("name", ["/no/such/folder", "timm:no_such_network", "timm:test_resnet.no_such_weights"])
def test_an_unknown_name_is_refused(name: str) -> None:
    _refused(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    _refused(str(tmp_path))


def test_a_model_that_only_reads_is_refused(saved: Saved) -> None:
    assert "is a bert model without get_image_features or get_video_features" in _refused(str(saved("bert")))


def test_a_model_of_whole_segments_is_refused(saved: Saved) -> None:
    assert "takes whole segments" in _refused(str(saved("xclip")))


def _cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def _in_config(old: bytes, new: bytes) -> Spoil:
    def run(folder: Path) -> None:
        file = folder / "config.json"
        assert old in file.read_bytes()
        file.write_bytes(file.read_bytes().replace(old, new, 1))

    return run


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "model.safetensors").unlink(), id="no weights"),
        pytest.param(_cut_weights, id="weights cut short"),
        pytest.param(lambda folder: _rewrite(folder, lambda tensors: tensors.pop("fc.weight")), id="a tensor missing"),
        pytest.param(
            lambda folder: _rewrite(folder, lambda tensors: tensors.update({"fc.bias": torch.zeros(3)})),
            id="a tensor of another shape",
        ),
        pytest.param(_in_config(b"test_resnet", b"no_such_network"), id="an unknown architecture"),
        pytest.param(_in_config(b"{", b""), id="broken config.json"),
        pytest.param(_in_config(b"{", b"\xff{"), id="config.json that is no text"),
    ],
)
def test_a_timm_folder_that_is_not_whole_is_refused(spoil: Spoil, saved: Saved, tmp_path: Path) -> None:
    folder = shutil.copytree(saved("test_resnet"), tmp_path / "spoilt")
    spoil(folder)

    _refused(str(folder))


class _Trap:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.mkdir, (self.marker,))


@pytest.mark.parametrize("content", ["a trap", "nothing"])
def test_pickled_weights_run_nothing_and_are_refused(content: str, saved: Saved, tmp_path: Path) -> None:
    folder = shutil.copytree(saved("test_resnet"), tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    pickled = pickle.dumps(_Trap(tmp_path / "was read"), protocol=2) if content == "a trap" else b""
    (folder / "pytorch_model.bin").write_bytes(pickled)

    _refused(str(folder))
    assert not (tmp_path / "was read").exists()


def test_weights_that_were_fetched_before_need_no_network(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetched(repository: str, file: str, **options: Any) -> str:
        asked.append((repository, file, options))
        return str(saved("test_resnet") / "model.safetensors")

    monkeypatch.setattr("cezsar.encoders.images.hf_hub_download", fetched)

    found = load_backbone("timm:test_resnet", CPU)

    assert found.fingerprint == load_backbone(str(saved("test_resnet")), CPU).fingerprint
    assert asked == [("timm/test_resnet.r160_in1k", "model.safetensors", {"local_files_only": True})]


def test_a_network_that_cannot_be_fetched_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited_s: list[float] = []

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("time.sleep", waited_s.append)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    assert "--backbone DIR" in _refused("timm:test_resnet")
    assert sum(waited_s) <= 10
