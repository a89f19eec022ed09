"""What a batch costs and what is drawn for it, against sums in plain NumPy, one triplet at a time."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from planted import make, planted

from cezsar.errors import TrainingError
from cezsar.model import CezsarModel, pad
from cezsar.training import Request, Split
from cezsar.training.devices import Devices
from cezsar.training.examples import Examples
from cezsar.training.objective import Batch, Material, Objective
from cezsar.training.pipeline import prepare
from cezsar.training.recipe import RECIPES, Recipe
from cezsar.training.start import object_positives
from cezsar.types import Ids, Vectors, unit

NUM_OBJECTS, K = 30, 4
BIT = replace(RECIPES["bit"], num_negatives=K)
LAYER_NORM_EPSILON = 1e-5

Doubles = NDArray[np.float64]


def given(recipe: Recipe, *, some_have_none: bool = True, **changed: object) -> tuple[CezsarModel, Material, Objective]:
    """A model of all streams, without dropout, on planted pairs; two segments share their footage."""
    training, validation = planted()
    training.sources[1] = training.sources[0]
    model = make(training, num_objects=NUM_OBJECTS, **changed)
    said = ["six words are in this sentence"] * NUM_OBJECTS
    objects = object_positives(model, training, said, count=2, top=5, windows=recipe.object_windows, seed=0)
    if some_have_none:
        objects[::5, :, 1] = -1
        objects[::7] = -1
    material = Material(training, validation, None, objects if recipe.object_positives else None)
    return model, material, Objective(model, model, material, recipe, Devices())


def parts(training: Examples, *, num_batches: int = 3) -> list[tuple[Ids, Ids]]:
    """Every segment once, with its first sentence."""
    rows = np.random.default_rng(4).permutation(len(training))
    firsts = np.searchsorted(training.owners, rows)
    return list(zip(np.array_split(rows, num_batches), np.array_split(firsts, num_batches), strict=True))


def layer_normed(rows: Doubles) -> Doubles:
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + LAYER_NORM_EPSILON))


def texts(model: CezsarModel, sentences: Vectors) -> Doubles:
    """What the text tower makes of them, its LayerNorm being as it was initialised."""
    linear = model.text_tower.linear
    weight, bias = linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()
    return layer_normed(sentences.astype(np.float64) @ weight.T + bias)


def anchors(model: CezsarModel, training: Examples, rows: Ids) -> Doubles:
    """The visual stream's LayerNormed vectors; the path up to there is the model's own."""
    features, mask = pad([training.features[row] for row in rows], model.config.num_frames)
    assert model.video_tower.frames is not None
    with torch.no_grad():
        return layer_normed(model.video_tower.frames(features, mask).double().numpy())


def pooled(material: Material, model: CezsarModel) -> tuple[list[Vectors], list[set[int]], list[float]]:
    """Each sentence that is a positive, the videos that have it, and how often it is one; captions first."""
    training, objects = material.training, material.objects
    assert model.objects is not None
    assert objects is not None
    videos = training.sources[training.owners]
    sentences = list(training.sentences)
    having = [{int(video)} for video in videos]
    times = [float(objects.shape[1])] * len(videos)
    for word in range(NUM_OBJECTS):
        found = [int(videos[m]) for m, chosen in enumerate(objects) for other in chosen.ravel() if other == word]
        if found:
            sentences.append(unit(model.objects.sentences.numpy()[word : word + 1])[0])
            having.append(set(found))
            times.append(len(found))
    return sentences, having, times


def slow_loss(
    recipe: Recipe, model: CezsarModel, material: Material, batch: Batch, of_segments: Doubles, of_texts: list[Doubles]
) -> float:
    """The triplets of a batch, one at a time: captions count 1, objects object_weight together."""
    assert batch.words is not None
    assert batch.negatives is not None
    of_captions, of_objects, of_pool = of_texts
    costs = []
    for number, anchor in enumerate(of_segments):
        positives = [(1.0, of_captions[number], batch.negatives[number, 0])]
        for place, word in enumerate(batch.words[number]):
            if word >= 0:
                own = batch.negatives[number, 1 + place if recipe.object_negatives == "own" else 0]
                positives.append((recipe.object_weight / 2, of_objects[word], own))
        for weight, positive, drawn in positives:
            near = np.sqrt(((anchor - positive) ** 2).sum())
            for negative in drawn:
                far = np.sqrt(((anchor - of_pool[negative]) ** 2).sum())
                costs.append(weight * max(0.0, near - far + recipe.margin) / len(drawn))
    return float(np.sum(costs) / len(of_segments))


def test_bit_trains_the_visual_stream_on_layer_normed_vectors_with_margin_1() -> None:
    model, material, objective = given(BIT)
    assert model.objects is not None
    [batch, *_], _ = objective.batches(parts(material.training), np.random.default_rng(0))
    model.train()
    loss = objective(batch, np.random.default_rng(0))
    loss.backward()  # type: ignore[no-untyped-call]
    of_texts = [
        texts(model, material.training.sentences[batch.chosen]),
        texts(model, model.objects.sentences.numpy()),
        texts(model, np.stack(pooled(material, model)[0])),
    ]
    of_segments = anchors(model, material.training, batch.rows)
    assert np.linalg.norm(of_segments, axis=1) == pytest.approx(np.sqrt(10), rel=1e-2)  # not 1: the joint space has 10
    assert loss.item() == pytest.approx(slow_loss(BIT, model, material, batch, of_segments, of_texts), rel=1e-4)
    assert all(p.grad is not None for name, p in model.named_parameters() if name != "log_scale")


@pytest.mark.parametrize(("margin", "object_weight"), [(1.0, 1.0), (0.3, 2.0)])
def test_ours_is_the_fused_stream_on_unit_vectors(margin: float, object_weight: float) -> None:
    """0.8 of the visual and 0.2 of the object stream, of length 1; the caption's negatives serve its objects."""
    recipe = replace(
        BIT, distances="unit", train_streams="visual_object", object_negatives="caption", object_windows=0,
        margin=margin, object_weight=object_weight,
    )  # fmt: skip
    model, material, objective = given(recipe, visual_weight=0.8)
    assert model.objects is not None
    [batch, *_], _ = objective.batches(parts(material.training), np.random.default_rng(0))
    assert batch.negatives is not None
    assert batch.negatives.shape == (len(batch.rows), 1, K)
    said = texts(model, model.objects.sentences.numpy())
    weight, bias = model.objects.weight.double().numpy(), model.objects.bias.double().numpy()
    mixed = []
    for row in batch.rows:
        logits = weight @ material.training.features[row].astype(np.float64).mean(axis=0) + bias
        top = np.argsort(-logits)[: model.config.top_objects]
        likely = np.exp((logits[top] - logits.max()) / model.config.object_temperature)
        mixed.append(likely / likely.sum() @ (said - said.mean(axis=0))[top])
    visual = anchors(model, material.training, batch.rows)
    of_texts = [
        texts(model, material.training.sentences[batch.chosen]),
        said,
        texts(model, material.training.sentences),
    ]
    fused = _units(0.8 * _units(visual) + 0.2 * _units(np.array(mixed)))
    expected = slow_loss(recipe, model, material, batch, fused, [_units(rows) for rows in of_texts])
    assert objective(batch, np.random.default_rng(0)).item() == pytest.approx(expected, rel=1e-4)


def _units(rows: Doubles) -> Doubles:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def test_info_nce_is_of_unit_vectors_whatever_the_triplets_distances_are() -> None:
    losses = []
    for distances in ("unit", "layernorm"):
        recipe = Recipe(distances=distances, train_streams="visual", negatives="band", num_negatives=K)
        _, material, objective = given(recipe)
        [batch, *_], _ = objective.batches(parts(material.training), np.random.default_rng(0))
        losses.append(objective(batch, np.random.default_rng(0)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("band", [(0.0, 0.8), (0.4, 0.6)])
def test_an_objects_negatives_are_of_its_own_band_among_captions_and_objects(band: tuple[float, float]) -> None:
    recipe = replace(BIT, band_low=band[0], band_high=band[1])
    model, material, objective = given(recipe)
    assert model.objects is not None
    sentences, having, _ = pooled(material, model)
    embedded = np.stack(sentences).astype(np.float64)
    said = unit(model.objects.sentences.numpy()).astype(np.float64)
    training, kinds, num_widened = material.training, set(), 0
    batches, counted = objective.batches(parts(training), np.random.default_rng(0))
    for batch in batches:
        assert batch.words is not None
        assert batch.negatives is not None
        for number, row in enumerate(batch.rows):
            video = int(training.sources[row])
            positives = [training.sentences[batch.chosen[number]].astype(np.float64)]
            positives += [said[word] for word in batch.words[number]]
            for place, positive in enumerate(positives):
                if place and batch.words[number, place - 1] < 0:
                    continue
                distances = 1 - embedded @ positive
                inside = {
                    other
                    for other, distance in enumerate(distances)
                    if band[0] < distance < band[1] and distance > 1e-5 and video not in having[other]
                }
                drawn = set(batch.negatives[number, place].tolist())
                assert all(video not in having[other] for other in drawn)
                if inside:
                    assert drawn <= inside
                    kinds |= {(bool(place), other < len(training.sentences)) for other in drawn}
                num_widened += not inside
    assert counted == num_widened
    assert kinds == {(False, False), (False, True), (True, False), (True, True)}  # each has both for negatives


def test_a_sentence_is_drawn_as_often_as_it_is_a_positive_in_all_windows() -> None:
    recipe = replace(BIT, band_low=-1.0, band_high=3.0)
    model, material, objective = given(recipe)
    _, _, times = pooled(material, model)
    found = np.zeros(len(times))
    generator = np.random.default_rng(0)
    for _ in range(60):
        for batch in objective.batches(parts(material.training), generator)[0]:
            assert batch.negatives is not None
            np.add.at(found, batch.negatives[:, 0, 0], 1)
    expected = np.array(times) / np.sum(times) * found.sum()
    captions = len(material.training.sentences)
    assert found[:captions].sum() == pytest.approx(expected[:captions].sum(), rel=0.1)
    assert np.corrcoef(found[captions:], expected[captions:])[0, 1] > 0.9


def test_each_epoch_takes_the_two_objects_that_one_window_chose() -> None:
    training, validation = planted()
    objects = np.arange(len(training.owners) * 6).reshape(-1, 3, 2) % NUM_OBJECTS
    model = make(training, num_objects=NUM_OBJECTS)
    objective = Objective(model, model, Material(training, validation, None, objects), BIT, Devices())
    generator, seen = np.random.default_rng(0), set()
    for _ in range(40):
        for batch in objective.batches(parts(training), generator)[0]:
            assert batch.words is not None
            for sentence, words in zip(batch.chosen.tolist(), batch.words.tolist(), strict=True):
                [window] = [number for number, chosen in enumerate(objects[sentence].tolist()) if chosen == words]
                seen.add((sentence, window))
    assert len(seen) == 3 * len(training)


def test_the_captions_band_serves_its_objects_where_that_is_asked_for() -> None:
    _, material, objective = given(replace(BIT, object_negatives="caption"))
    batches, _ = objective.batches(parts(material.training), np.random.default_rng(0))
    for batch in batches:
        assert batch.negatives is not None
        assert batch.negatives.shape[1:] == (1, K)
        assert batch.negatives.max() < len(material.training.sentences)


def test_a_stream_that_the_backbone_cannot_have_is_not_trained() -> None:
    backbone = SimpleNamespace(head=lambda: None, fingerprint="a", feature_dim=16, short_side=32, num_blocks=1)
    encoder = SimpleNamespace(fingerprint="b", dimension=12)
    training, validation = planted()
    recipe = replace(BIT, train_streams="visual_object", distances="unit")
    request = Request((), (), None, "", "bit", {"backbone": "some"}, recipe, Split())
    with pytest.raises(TrainingError, match="some has no classifier, so visual_object cannot be trained"):
        prepare(request, backbone, encoder, training, validation)  # type: ignore[arg-type]
    model, _ = prepare(replace(request, recipe=BIT), backbone, encoder, training, validation)  # type: ignore[arg-type]
    assert model.config.streams == "visual"
    assert (model.config.d_model, model.config.joint_dim) == (1024, 128)


# windows


def _counting(lengths: list[int], *, fps: float) -> tuple[CezsarModel, Examples]:
    """Segments whose frame t shows object t alone, and sentences that are nearest to the later objects."""
    training, _ = planted()
    model = make(training, num_objects=200, feature_dim=200, sentence_dim=200, fps=fps)
    assert model.objects is not None
    model.objects.weight.copy_(torch.eye(200))
    model.objects.sentences.copy_(torch.eye(200))
    features = [np.eye(200, dtype=np.float32)[:length] for length in lengths]
    said = unit(np.tile(np.linspace(0.5, 1, 200, dtype=np.float32), (len(lengths), 1)))
    numbers = np.arange(len(lengths))
    return model, Examples(features, numbers, list(map(str, numbers)), numbers * 0, said, numbers)


@pytest.mark.parametrize(("fps", "length"), [(1.0, 10), (2.0, 20), (0.5, 5)])
def test_each_window_is_10_seconds_inside_the_moment_and_chooses_for_itself(fps: float, length: int) -> None:
    model, examples = _counting([100] * 300, fps=fps)
    said = ["six words are in this sentence"] * 200
    found = object_positives(model, examples, said, count=length, top=length, windows=3, seed=1)
    assert found.shape == (300, 3, length)
    starts = set()
    for chosen in found.reshape(-1, length):
        assert sorted(chosen) == list(range(min(chosen), min(chosen) + length))  # one stretch, nothing beside it
        starts.add(min(chosen))
    assert (min(starts), max(starts)) == (0, 100 - length)
    assert (found[:, 0].min(axis=1) != found[:, 1].min(axis=1)).mean() > 0.9
    again = object_positives(model, examples, said, count=length, top=length, windows=3, seed=1)
    other = object_positives(model, examples, said, count=length, top=length, windows=3, seed=2)
    assert (found == again).all()
    assert (found != other).any()


def test_a_moment_of_up_to_10_seconds_is_one_window() -> None:
    model, examples = _counting([4, 10], fps=1.0)
    said = ["six words are in this sentence"] * 200
    found = object_positives(model, examples, said, count=2, top=4, windows=3, seed=1)
    whole = object_positives(model, examples, said, count=2, top=4)
    assert (found == whole).all()
    assert whole[0, 0].tolist() == [3, 2]


def test_the_two_nearest_are_of_a_windows_five_likeliest() -> None:
    """A window of a planted long segment, against one that is looked for among all windows."""
    training, _ = planted()
    generator = np.random.default_rng(3)
    long = [generator.normal(size=(25, 16)).astype(np.float32) for _ in range(len(training))]
    training = replace(training, features=long)
    model = make(training, num_objects=40)
    assert model.objects is not None
    said = ["one two three four five six" if number % 3 else "too short" for number in range(40)]
    found = object_positives(model, training, said, count=2, top=5, windows=3, seed=0)
    embedded = unit(model.objects.sentences.numpy())
    for sentence in range(0, len(training.owners), 11):
        frames, expected = training.features[training.owners[sentence]], []
        for start in range(16):
            logits = model.objects.weight.numpy() @ frames[start : start + 10].mean(axis=0)
            likeliest = sorted((o for o in range(40) if o % 3), key=lambda o, logits=logits: -logits[o])[:5]
            nearness = {o: float(training.sentences[sentence] @ embedded[o]) for o in likeliest}
            expected.append(sorted(likeliest, key=lambda o, nearness=nearness: -nearness[o])[:2])
        assert all(window in expected for window in found[sentence].tolist())


# the presets


def test_bit_is_as_the_authors_code_has_it() -> None:
    assert RECIPES["bit"] == Recipe(
        loss="triplet", margin=1.0, distances="layernorm", train_streams="visual",
        negatives="band", band_low=0.0, band_high=0.8, num_negatives=10,
        object_positives=True, object_windows=3, object_weight=2.0, object_negatives="own",
        batch_size=128, learning_rate=1e-4, weight_decay=1e-5, schedule="constant", warmup=0.0, clip_norm=0.0,
        epochs=200, patience=20, layer_dropout=0.1, frame_dropout=0.0, anchor=0.0,
    )  # fmt: skip


def test_lite_is_what_it_was() -> None:
    assert RECIPES["lite"] == Recipe(
        loss="infonce", margin=1.0, distances="unit", train_streams=None, negatives="batch",
        object_positives=False, object_windows=0, object_weight=1.0, object_negatives="caption",
        batch_size=1024, learning_rate=1e-3, weight_decay=1e-5, schedule="cosine", warmup=0.05, clip_norm=1.0,
        epochs=60, patience=60, layer_dropout=None, frame_dropout=0.0, anchor=0.1, also_weight=0.1,
    )  # fmt: skip
