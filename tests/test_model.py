"""The model: every part against a slow one, what may not change a vector, and its way to disk and back."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers.utils.hub
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from transformers.utils import logging as transformers_logging

from cezsar.model import STREAMS, CezsarConfig, CezsarModel, pad
from cezsar.model.joint import spread, unit_rows
from cezsar.model.towers import Memory
from cezsar.types import Vectors

transformers_logging.disable_progress_bar()

FEATURE_DIM, SENTENCE_DIM, JOINT_DIM = 12, 8, 6
SIZES: dict[str, Any] = {
    "feature_dim": FEATURE_DIM,
    "sentence_dim": SENTENCE_DIM,
    "joint_dim": JOINT_DIM,
    "d_model": 8,
    "feedforward_dim": 16,
    "num_objects": 7,
    "top_objects": 3,
    "num_memories": 5,
    "memory_dim": 4,
    "image_size": 32,
}
TOWERS = ["d_model", "num_memories", "both"]
FILES = ["config.json", "model.safetensors"]

Row = list[float]
Doubles = NDArray[np.float64]


def make(**changed: Any) -> CezsarModel:
    """A tiny model, ready to use; weights and buffers are all random."""
    random = torch.Generator().manual_seed(5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CezsarModel(CezsarConfig(**{**SIZES, **changed}))
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            if tensor.ndim:
                tensor.normal_(float("norm" in name), 0.4, generator=random)
    model.eval()
    return model


@cache
def tiny(towers: str = "both") -> CezsarModel:
    """A model with one path of the video tower or both; not to be changed."""
    return make(**{"d_model": {"num_memories": 0}, "num_memories": {"d_model": 0}, "both": {}}[towers])


def frames_of(seed: int, *lengths: int) -> list[Vectors]:
    """Segments of so many frames."""
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(length, FEATURE_DIM)).astype(np.float32) for length in lengths]


def tensors_of(seed: int, *lengths: int) -> tuple[Tensor, Tensor]:
    return pad(frames_of(seed, *lengths), max(lengths))


def sentences_of(seed: int, count: int) -> Tensor:
    return torch.randn(count, SENTENCE_DIM, generator=torch.Generator().manual_seed(seed))


def scattered(segments: Sequence[Vectors], width: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The frames of each segment in any order at any places, and rubbish between them."""
    features = torch.from_numpy(generator.normal(scale=50, size=(len(segments), width, FEATURE_DIM))).float()
    mask = torch.zeros(len(segments), width, dtype=torch.bool)
    for row, frames in enumerate(segments):
        places = torch.from_numpy(generator.permutation(width)[: len(frames)])
        features[row, places] = torch.from_numpy(frames)
        mask[row, places] = True
    return features, mask


def assert_same(one: Tensor, other: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


# what may not change a vector


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("towers", TOWERS)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    padding=st.integers(0, 3),
    with_gradients=st.booleans(),
)
def test_neither_batch_nor_padding_nor_order_changes_a_vector(
    streams: str, towers: str, seed: int, lengths: list[int], padding: int, with_gradients: bool
) -> None:
    model, generator = tiny(towers), np.random.default_rng(seed)
    segments = frames_of(seed, *lengths)
    context: AbstractContextManager[Any] = nullcontext() if with_gradients else torch.inference_mode()
    with context:  # torch has another way through a transformer layer without gradients
        alone = torch.cat([model.encode_segments(*pad([frames], 9), streams=streams) for frames in segments])
        padded, mask = pad(segments, 9)
        rubbish = torch.from_numpy(generator.normal(scale=50, size=(len(lengths), padding, FEATURE_DIM))).float()
        rubbish[:, ::2] = math.nan
        padded = torch.cat([padded, rubbish], dim=1)
        mask = torch.cat([mask, torch.zeros(len(lengths), padding, dtype=torch.bool)], dim=1)
        order = torch.from_numpy(generator.permutation(len(lengths)))
        assert_same(model.encode_segments(padded[order], mask[order], streams=streams), alone[order])
        features, mask = scattered(segments, 5 + padding, generator)
        assert_same(model.encode_segments(features, mask, streams=streams), alone)


@pytest.mark.parametrize("streams", STREAMS)
def test_the_order_of_frames_does_not_matter_but_each_frame_does(streams: str) -> None:
    model = tiny()
    features, mask = tensors_of(1, 5)
    before = model.encode_segments(features, mask, streams=streams)
    assert_same(model.encode_segments(features.flip(1), mask, streams=streams), before)
    for place in range(5):
        other = features.clone()
        other[0, place] += 3 * torch.randn(FEATURE_DIM, generator=torch.Generator().manual_seed(place))
        assert (model.encode_segments(other, mask, streams=streams) - before).abs().max() > 1e-3


@pytest.mark.parametrize("towers", TOWERS)
@pytest.mark.parametrize("with_gradients", [True, False])
def test_another_row_of_the_batch_does_not_matter(towers: str, with_gradients: bool) -> None:
    tower = tiny(towers).video_tower
    features, mask = tensors_of(2, 4, 4, 4)
    other = features.clone()
    other[1] *= -7
    with nullcontext() if with_gradients else torch.inference_mode():
        before, after = tower(features, mask), tower(other, mask)
    assert_same(before[[0, 2]], after[[0, 2]], 1e-6)
    assert (before[1] - after[1]).abs().max() > 1e-3


# the streams


@pytest.mark.parametrize("streams", STREAMS)
def test_vectors_are_unit(streams: str) -> None:
    found = tiny().encode_segments(*tensors_of(3, 1, 2, 5), streams=streams)
    assert found.shape == (3, JOINT_DIM)
    assert_same(found.norm(dim=1), torch.ones(3))
    sentences = tiny().encode_sentences(sentences_of(3, 4))
    assert sentences.shape == (4, JOINT_DIM)
    assert_same(sentences.norm(dim=1), torch.ones(4))


def test_a_row_of_zeros_stays_zero() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, -4.0]], requires_grad=True)
    unit = unit_rows(rows)
    assert_same(unit, torch.tensor([[0.0, 0.0], [0.6, -0.8]]))
    unit.sum().backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize(("changed", "visual_weight"), [({}, 0.8), ({"visual_weight": 0.3}, 0.3)])
def test_both_streams_are_mixed_as_in_the_paper(changed: dict[str, float], visual_weight: float) -> None:
    model = make(**changed)
    features, mask = tensors_of(4, 3, 1, 4)
    visual, objects, both = (model.encode_segments(features, mask, streams=name).tolist() for name in STREAMS)
    for one, other, mixed in zip(visual, objects, both, strict=True):
        summed = [visual_weight * a + (1 - visual_weight) * b for a, b in zip(one, other, strict=True)]
        assert mixed == pytest.approx([value / math.hypot(*summed) for value in summed], abs=1e-5)
        assert math.dist(one, other) > 0.1


@pytest.mark.parametrize("streams", STREAMS)
def test_the_config_names_the_streams(streams: str) -> None:
    model = make(streams=streams)
    features, mask = tensors_of(5, 3, 1)
    assert_same(model.encode_segments(features, mask), tiny().encode_segments(features, mask, streams=streams), 1e-6)


def test_without_objects_there_is_the_visual_stream() -> None:
    model = make(num_objects=0, streams="visual")
    found = model.encode_segments(*tensors_of(5, 3, 1))
    assert_same(found, unit_rows(model.video_tower(*tensors_of(5, 3, 1))))
    assert not [name for name in model.state_dict() if name.startswith("objects")]


@pytest.mark.parametrize(
    "changed",
    [{"streams": "sound"}, {"num_objects": 0}, {"d_model": 0, "num_memories": 0}, {"num_heads": 5}],
)
def test_a_model_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"streams|d_model"):
        make(**changed)


def test_a_stream_that_is_not_there_is_refused() -> None:
    for model, streams in ((tiny(), "sound"), (make(num_objects=0, streams="visual"), "object")):
        with pytest.raises(ValueError, match=streams):
            model.encode_segments(*tensors_of(5, 3, 1), streams=streams)


def test_forward_gives_segments_and_sentences() -> None:
    features, mask = tensors_of(6, 2, 3)
    segments, sentences = tiny()(features, mask, sentences_of(6, 4))
    assert_same(segments, tiny().encode_segments(features, mask), 0)
    assert_same(sentences, tiny().encode_sentences(sentences_of(6, 4)), 0)


# training and inference


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("towers", TOWERS)
def test_without_dropout_training_and_inference_agree(streams: str, towers: str) -> None:
    without = {"d_model": "num_memories", "num_memories": "d_model"}
    changed = {without[towers]: 0} if towers in without else {}
    model = make(dropout=0.0, text_dropout=0.0, **changed)
    features, mask = tensors_of(7, 1, 4, 2)
    sentences = sentences_of(7, 3)
    trained = model.train()(features, mask, sentences)[1], model.encode_segments(features, mask, streams=streams)
    model.eval()
    for context in (nullcontext(), torch.inference_mode()):
        with context:
            used = model(features, mask, sentences)[1], model.encode_segments(features, mask, streams=streams)
        for one, other in zip(trained, used, strict=True):
            assert_same(one.detach(), other.detach())


@pytest.mark.parametrize("training", [True, False])
def test_both_towers_end_with_a_layer_norm(training: bool) -> None:
    model = make().train(training)
    for norm in (model.video_tower.norm, model.text_tower.norm):
        torch.nn.init.ones_(norm.weight)
        torch.nn.init.zeros_(norm.bias)
    for rows in (model.video_tower(*tensors_of(8, 2, 3)), model.text_tower(sentences_of(8, 4))):
        assert_same(rows.mean(dim=1), torch.zeros(len(rows)))
        assert_same(rows.var(dim=1, unbiased=False), torch.ones(len(rows)), 1e-3)


@pytest.mark.parametrize(
    ("changed", "is_random"),
    [
        ({"dropout": 0.5, "text_dropout": 0.0, "num_memories": 0}, (True, False)),
        ({"dropout": 0.0, "text_dropout": 0.5, "num_memories": 0}, (False, True)),
        ({"dropout": 0.0, "text_dropout": 0.5}, (True, True)),
        ({"dropout": 0.0, "text_dropout": 0.0}, (False, False)),
    ],
)
def test_dropout_is_for_training_alone(changed: dict[str, Any], is_random: tuple[bool, bool]) -> None:
    model = make(streams="visual", **changed)
    given = *tensors_of(9, 3, 2), sentences_of(9, 3)
    for training, expected in ((True, is_random), (False, (False, False))):
        model.train(training)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            one, other = model(*given), model(*given)
        found = tuple((a - b).abs().max().item() > 1e-4 for a, b in zip(one, other, strict=True))
        assert found == expected


def test_what_is_recalled_may_be_given() -> None:
    model = tiny("num_memories")
    features, mask = tensors_of(10, 2, 3)
    memory = model.video_tower.memory
    assert memory is not None
    own = model.encode_segments(features, mask, streams="visual")
    assert_same(model.encode_segments(features, mask, streams="visual", recalled=memory(features, mask)), own)
    given = sentences_of(10, 2)
    changed = model.encode_segments(features, mask, streams="visual", recalled=given)
    assert (changed - own).abs().max() > 1e-2
    assert model.video_tower.recall is not None
    assert_same(changed, unit_rows(model.video_tower.norm(model.video_tower.recall(given))))
    assert_same(model(features, mask, given, given)[0], model.encode_segments(features, mask, recalled=given), 0)


# the parts, slowly


@given(seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_the_memory_is_the_slow_one(seed: int, lengths: list[int]) -> None:
    segments = frames_of(seed, *lengths)
    memory = tiny().video_tower.memory
    assert memory is not None
    found = memory(*pad(segments, 9)).tolist()
    mean, scale, axes, keys, values = (
        getattr(memory, name).tolist() for name in ("mean", "scale", "axes", "keys", "values")
    )
    for row, frames in zip(found, segments, strict=True):
        standard = [(x - m) * s for x, m, s in zip(slow_mean(frames.tolist()), mean, scale, strict=True)]
        point = [dot(standard, [axis[place] for axis in axes]) for place in range(4)]
        expected = [0.0] * SENTENCE_DIM
        for key, value in zip(keys, values, strict=True):
            weight = math.exp(-(math.dist(point, key) ** 2) / 4)
            expected = [total + weight * x for total, x in zip(expected, value, strict=True)]
        assert row == pytest.approx(expected, abs=1e-5)


def test_the_memorys_kernel_is_the_mean_of_its_blocks() -> None:
    memory = Memory(CezsarConfig(feature_dim=4, sentence_dim=1, num_memories=1, memory_dim=1, memory_blocks=2))
    memory.axes.copy_(torch.tensor([[1.0], [0.0], [0.0], [2.0]]))  # the first feature, and twice the last
    memory.keys.copy_(torch.tensor([[1.0, 2.0]]))
    memory.values.fill_(1)

    points = memory.project(torch.tensor([[1.0, 5.0, 5.0, 1.5], [3.0, 5.0, 5.0, 1.0]]))
    assert points.tolist() == [[1.0, 3.0], [3.0, 2.0]]
    # e^-0 and e^-1; e^-4 and e^-0
    assert (memory.kernel(points, memory.keys) @ memory.values).flatten().tolist() == pytest.approx(
        [0.6839397, 0.5091578], abs=1e-6
    )


@pytest.mark.parametrize(
    ("changed", "top", "temperature"),
    [
        ({}, 3, 1.5),
        ({"top_objects": 1}, 1, 1.5),
        ({"top_objects": 50, "object_temperature": 0.5}, 7, 0.5),
    ],
)
@given(seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_the_object_stream_is_the_slow_one(
    changed: dict[str, Any], top: int, temperature: float, seed: int, lengths: list[int]
) -> None:
    model = _with_objects(**changed)
    assert model.objects is not None
    segments = frames_of(seed, *lengths)
    features, mask = pad(segments, 9)
    posteriors = model.objects.posterior(features, mask).tolist()
    mixed = model.objects(features, mask, model.text_tower).tolist()
    weight, bias = model.objects.weight.tolist(), model.objects.bias.tolist()
    said = [model.text_tower(sentence[None])[0].tolist() for sentence in model.objects.sentences]
    shared = slow_mean(said)
    for posterior, row, frames in zip(posteriors, mixed, segments, strict=True):
        logits = slow_mean(
            [[dot(frame, w) + b for w, b in zip(weight, bias, strict=True)] for frame in frames.tolist()]
        )
        likeliest = sorted(range(7), key=lambda number: -logits[number])[:top]
        total = math.fsum(math.exp(logits[number] / temperature) for number in likeliest)
        expected = [math.exp(logits[n] / temperature) / total if n in likeliest else 0.0 for n in range(7)]
        assert posterior == pytest.approx(expected, abs=1e-5)
        sums = [dot(expected, [words[place] - shared[place] for words in said]) for place in range(JOINT_DIM)]
        assert row == pytest.approx(sums, abs=1e-4)


@cache
def _with_objects(**changed: Any) -> CezsarModel:
    return make(**changed)


def slow_mean(rows: Sequence[Row]) -> Row:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def dot(one: Row, other: Row) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def test_the_text_tower_is_the_slow_one() -> None:
    tower, sentences = tiny().text_tower, sentences_of(11, 3)
    for row, sentence in zip(tower(sentences).tolist(), sentences, strict=True):
        hidden = apply(tower.linear, doubles(sentence))
        assert row == pytest.approx(list(normed(tower.norm, hidden)), abs=1e-5)


@pytest.mark.parametrize("with_gradients", [True, False])
@pytest.mark.parametrize("towers", TOWERS)
def test_the_video_tower_is_the_slow_one(towers: str, with_gradients: bool) -> None:
    tower = tiny(towers).video_tower
    assert ((tower.frames is not None), (tower.memory is not None)) == (towers != "num_memories", towers != "d_model")
    segments = frames_of(12, 1, 4, 2)
    with nullcontext() if with_gradients else torch.inference_mode():
        found = tower(*pad(segments, 9)).tolist()
    for row, frames in zip(found, segments, strict=True):
        summed = np.zeros(JOINT_DIM)
        if tower.frames is not None:
            path = tower.frames
            hidden = transformer(path.layer, apply(path.input, np.maximum(frames.astype(float), 0)))
            summed += apply(path.output, np.maximum(hidden, 0)).mean(axis=0)
        if tower.memory is not None and tower.recall is not None:
            summed += doubles(tower.recall.weight) @ doubles(tower.memory(*pad([frames], 9))[0])
        assert row == pytest.approx(list(normed(tower.norm, summed)), abs=1e-4)


def transformer(layer: torch.nn.TransformerEncoderLayer, rows: Doubles) -> Doubles:
    """One layer with two heads, as in "Attention is all you need"."""
    attention = layer.self_attn
    mixed = rows @ doubles(attention.in_proj_weight).T + doubles(attention.in_proj_bias)
    queries, keys, values = np.split(mixed, 3, axis=1)
    heads = []
    for part in np.split(np.arange(rows.shape[1]), 2):
        scores = np.exp(queries[:, part] @ keys[:, part].T / math.sqrt(len(part)))
        heads.append(scores / scores.sum(axis=1, keepdims=True) @ values[:, part])
    attended = normed(layer.norm1, rows + apply(attention.out_proj, np.concatenate(heads, axis=1)))
    further = apply(layer.linear2, np.maximum(apply(layer.linear1, attended), 0))
    return normed(layer.norm2, attended + further)


def doubles(tensor: Tensor) -> Doubles:
    return np.asarray(tensor.detach().double().numpy(), np.float64)


def apply(linear: torch.nn.Linear, rows: Doubles) -> Doubles:
    return np.asarray(rows @ doubles(linear.weight).T + doubles(linear.bias), np.float64)


def normed(norm: torch.nn.LayerNorm, rows: Doubles) -> Doubles:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    spread_out = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return np.asarray(centred / spread_out * doubles(norm.weight) + doubles(norm.bias), np.float64)


# frames


@given(length=st.integers(1, 80), num_frames=st.integers(2, 20))
def test_frames_are_spread_evenly_from_the_first_to_the_last(length: int, num_frames: int) -> None:
    chosen = spread(np.arange(length, dtype=np.float32)[:, None], num_frames)[:, 0].tolist()
    assert (chosen[0], chosen[-1]) == (0, length - 1)
    if length <= num_frames:
        assert chosen == list(range(length))
    else:
        gaps = np.diff(chosen)
        assert len(chosen) == num_frames
        for number, place in enumerate(chosen):
            assert abs(place - number * (length - 1) / (num_frames - 1)) <= 0.5 + 1e-9
        assert gaps.min() >= math.floor((length - 1) / (num_frames - 1))
        assert gaps.max() <= math.ceil((length - 1) / (num_frames - 1))


def test_frames_that_are_taken_are_the_segments_own() -> None:
    (frames,) = frames_of(13, 9)
    np.testing.assert_array_equal(spread(frames, 5), frames[[0, 2, 4, 6, 8]])
    np.testing.assert_array_equal(spread(frames, 9), frames)
    assert len(spread(frames, 1)) == 1


def test_segments_are_padded_to_the_longest() -> None:
    segments = frames_of(14, 2, 4, 9, 1)
    features, mask = pad(segments, 5)
    assert (features.dtype, mask.dtype) == (torch.float32, torch.bool)
    assert features.shape == (4, 5, FEATURE_DIM)
    assert mask.sum(dim=1).tolist() == [2, 4, 5, 1]
    assert (features[~mask] == 0).all()
    for row, frames in enumerate([segments[0], segments[1], segments[2][[0, 2, 4, 6, 8]], segments[3]]):
        assert mask[row, : len(frames)].all()
        np.testing.assert_array_equal(features[row, : len(frames)].numpy(), frames)


def test_segments_are_padded_no_further_than_needed() -> None:
    assert pad(frames_of(14, 2, 3), 16)[0].shape == (2, 3, FEATURE_DIM)


# the query bank


def test_a_segment_near_to_the_query_bank_is_lowered_for_every_sentence() -> None:
    model = make(querybank_size=2, querybank_temperature=0.5, querybank_share=0.25)
    assert model.querybank is not None
    model.querybank.sentences.copy_(sentences_of(3, 2))
    (features, mask), sentences = tensors_of(16, 2, 4, 1), sentences_of(17, 5)
    bank, model.querybank = model.querybank, None
    plain, said = (rows.detach().numpy().astype(float) for rows in model(features, mask, sentences))
    hubs = model.encode_sentences(bank.sentences).detach().numpy().astype(float)
    model.querybank = bank
    lowered, lifted = (rows.detach().numpy().astype(float) for rows in model(features, mask, sentences))

    for rows in (lowered, lifted):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    # an inverted softmax of the two, a quarter of it; sentences have half their length along the diagonal
    diagonal = np.full(JOINT_DIM, JOINT_DIM**-0.5)
    heights = 0.25 * 0.5 * np.log(np.exp(plain @ hubs.T / 0.5).mean(axis=1))
    expected = plain - heights[:, None] / 0.5 * diagonal
    np.testing.assert_allclose(lowered, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    expected = said + 0.5 * diagonal
    np.testing.assert_allclose(lifted, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


# learning


@pytest.mark.parametrize("towers", TOWERS)
def test_weights_learn_and_buffers_do_not(towers: str) -> None:
    model = make(**{"d_model": {"num_memories": 0}, "num_memories": {"d_model": 0}, "both": {}}[towers])
    model.train()
    segments, sentences = model(*tensors_of(15, 2, 4, 1), sentences_of(15, 3))
    (model.scale * (segments * sentences).sum(dim=1)).exp().sum().log().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    assert ("video_tower.frames.input.weight" in dict(model.named_parameters())) == (towers != "num_memories")
    assert ("video_tower.recall.weight" in dict(model.named_parameters())) == (towers != "d_model")
    buffers = dict(model.named_buffers())
    for name, buffer in buffers.items():
        assert not buffer.requires_grad, name
    memory = {f"video_tower.memory.{name}" for name in ("mean", "scale", "axes", "keys", "values")}
    objects = {f"objects.{name}" for name in ("weight", "bias", "sentences")}
    assert set(buffers) == (objects if towers == "d_model" else memory | objects)


def test_the_scale_starts_as_in_clip_and_ends_at_a_hundred() -> None:
    model = CezsarModel(CezsarConfig(**SIZES))
    assert model.scale.item() == pytest.approx(1 / 0.07)
    for log_scale, expected in ((0.0, 1.0), (math.log(99), 99.0), (math.log(101), 100.0), (50.0, 100.0)):
        torch.nn.init.constant_(model.log_scale, log_scale)
        model.bound_scale()
        assert model.scale.item() == pytest.approx(expected)


def test_linear_layers_start_as_xavier_normal() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CezsarModel(CezsarConfig(**{**SIZES, "d_model": 64, "feedforward_dim": 96, "feature_dim": 80}))
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert len(linears) == 7  # 5 of the frame path, the recall and the text tower
    for linear in linears:
        expected = math.sqrt(2 / (linear.in_features + linear.out_features))
        assert linear.weight.std().item() == pytest.approx(expected, rel=0.35)
        assert linear.bias is None or (linear.bias == 0).all()


# to disk and back


def test_a_saved_model_is_the_same_one(tmp_path: Path) -> None:
    model = make(visual_weight=0.7, fps=0.5, backbone_sha256="ab12", streams="object")
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    loaded = CezsarModel.from_pretrained(tmp_path)
    assert not loaded.training
    assert_equal(loaded.state_dict(), model.state_dict())
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["model_type"] == "cezsar"
    for name in CezsarConfig.__annotations__:
        assert getattr(loaded.config, name) == getattr(model.config, name) == written[name], name
    given = *tensors_of(16, 2, 3), sentences_of(16, 3)
    for one, other in zip(model(*given), loaded(*given), strict=True):
        assert_same(one, other, 0)


def test_the_saved_weights_are_safetensors(tmp_path: Path) -> None:
    model = make()
    model.save_pretrained(tmp_path)
    assert_equal(load_file(tmp_path / "model.safetensors"), model.state_dict())


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def test_a_model_may_be_saved_at_half_precision(tmp_path: Path) -> None:
    model = make()
    whole = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = *tensors_of(17, 2, 3), sentences_of(17, 3)
    before = model(*given)
    model.half().save_pretrained(tmp_path)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    loaded = CezsarModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert_equal(loaded.state_dict(), {name: tensor.half().float() for name, tensor in whole.items()})
    for one, other in zip(before, loaded(*given), strict=True):
        assert_same(one, other, 1e-2)


def test_a_model_can_be_pushed_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    pushed: dict[str, Any] = {}

    def create_repo(repo_id: str, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(repo_id=repo_id)

    def create_commit(*, repo_id: str, operations: list[Any], **_: Any) -> str:
        assert not pushed
        files = {operation.path_in_repo: Path(operation.path_or_fileobj) for operation in operations}
        pushed.update(repo_id=repo_id, files=sorted(files))
        pushed.update(config=json.loads(files["config.json"].read_text()))
        pushed.update(weights={name: t.clone() for name, t in load_file(files["model.safetensors"]).items()})
        return "done"

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be sent")

    hub = SimpleNamespace(create_repo=create_repo, create_commit=create_commit)
    card = SimpleNamespace(save=lambda path: Path(path).write_text("# a model"))
    monkeypatch.setattr(transformers.utils.hub, "hf_api", lambda: hub, raising=False)
    for name in ("create_repo", "create_commit"):  # where an older version has them
        monkeypatch.setattr(transformers.utils.hub, name, getattr(hub, name), raising=False)
    monkeypatch.setattr(transformers.utils.hub, "create_and_tag_model_card", lambda *_, **__: card)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert model.push_to_hub("someone/space") == "done"
    assert pushed["repo_id"] == "someone/space"
    assert pushed["files"] == ["README.md", *FILES]
    assert pushed["config"]["joint_dim"] == JOINT_DIM
    assert_equal(pushed["weights"], model.state_dict())
