"""The training loop on planted pairs: it recovers them, goes on after a kill, and stops where it must."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import BOTH, make, material, planted, train
from safetensors.numpy import load_file

import cezsar.training.objective
from cezsar.errors import TrainingError
from cezsar.training.devices import Devices
from cezsar.training.loop import fit, make_accelerator
from cezsar.training.recipe import Recipe
from cezsar.training.run import EpochReport, Run
from cezsar.training.start import fill_querybank, fit_memory, object_positives, whiten_text
from cezsar.training.validation import encode, sentence_ranks, validate
from cezsar.types import unit

pytestmark = pytest.mark.slow

PLANTED = Path(__file__).with_name("planted.py")


def _fit(run: Path, recipe: Recipe = BOTH, **changed: object) -> tuple[EpochReport, Run]:
    training, validation = planted()
    model = make(training, **changed)
    report = fit(model, material(model, training, validation), recipe, Run(run), save_every_s=0.0)
    return report, Run(run)


@pytest.mark.parametrize("loss", ["infonce", "triplet", "both"])
@pytest.mark.parametrize("negatives", ["batch", "band", "semi-hard"])
def test_training_recovers_planted_pairs_never_seen(tmp_path: Path, loss: str, negatives: str) -> None:
    recipe = replace(BOTH, loss=loss, negatives=negatives, epochs=60)
    training, validation = planted()
    model = make(training)
    before = validate(model, validation)
    report = fit(model, material(model, training, validation), recipe, Run(tmp_path))
    assert before.recall_1 < 0.5
    assert report.validation is not None
    assert report.validation.recall_1 == 1
    assert validate(model, validation) == report.validation  # the model ends with its best weights


@pytest.mark.parametrize("loss", ["infonce", "triplet", "both"])
@pytest.mark.parametrize("streams", ["visual", "object", "visual_object"])
@pytest.mark.parametrize("own", [True, False])
def test_whatever_is_trained_gets_a_gradient(tmp_path: Path, loss: str, streams: str, own: bool) -> None:
    training, validation = planted()
    model = make(training, num_objects=10, streams=streams if own else "visual_object", num_memories=len(training))
    recipe = replace(BOTH, loss=loss, epochs=1, train_streams=None if own else streams)
    fit(model, material(model, training, validation), recipe, Run(tmp_path))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert ("log_scale" in trained) is (loss != "triplet")
    assert ("video_tower.recall.weight" in trained) is (streams != "object")
    assert {"text_tower.linear.weight", "text_tower.norm.bias"} < trained


def test_a_model_that_met_the_triplet_loss_learns_its_temperature_again(tmp_path: Path) -> None:
    training, validation = planted()
    model = make(training)
    temperatures = []
    for loss in ("triplet", "infonce"):
        recipe = replace(BOTH, loss=loss, negatives="batch", epochs=2)
        fit(model, material(model, training, validation), recipe, Run(tmp_path / loss))
        temperatures.append(model.log_scale.item())
    assert temperatures[0] == pytest.approx(np.log(1 / 0.07))
    assert temperatures[1] != temperatures[0]


def _forked(loss: str, *runs: tuple[Path, str], **environment: str) -> list[int]:
    """How the processes of planted.fork ended."""
    words = [str(word) for run in runs for word in run]
    ended = subprocess.run(
        [sys.executable, PLANTED, loss, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return [int(code) for code in ended.stdout.splitlines()[-1].split()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without torch.distributed")
def test_two_processes_train_the_model_that_one_trains(tmp_path: Path) -> None:
    """As `accelerate launch` starts them, on processors alone: the figures are equal but for rounding."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    assert _forked("infonce,triplet,both", *[(tmp_path / "two", "alike")] * 2, **launched) == [0, 0]
    assert _forked("infonce,triplet,both", (tmp_path / "one", "alike")) == [0]
    for loss in ("infonce", "triplet", "both"):
        one, two = (Run(tmp_path / name / loss) for name in ("one", "two"))
        reports = two.reports()
        assert [row["epoch"] for row in reports] == [1, 2, 3]
        assert reports[-1]["loss"] < reports[0]["loss"]
        for own, other in zip(one.reports(), reports, strict=True):
            assert other["loss"] == pytest.approx(own["loss"], rel=1e-3)
            assert other["num_widened"] == own["num_widened"]
            assert other["validation"]["recall_10"] == pytest.approx(own["validation"]["recall_10"], abs=0.05)
        weights, others = (load_file(run.last / "model.safetensors") for run in (one, two))
        assert weights.keys() == others.keys()
        for name, values in weights.items():
            np.testing.assert_allclose(others[name], values, atol=2e-3, err_msg=f"{loss} {name}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("num_rows", [1, 2, 5, 6])
def test_devices_share_a_batch(count: int, num_rows: int) -> None:
    parts = [Devices(count, number).own(num_rows).tolist() for number in range(count)]
    assert {len(part) for part in parts} == {-(-num_rows // count)}
    in_turn = [row for rows in zip(*parts, strict=True) for row in rows]
    assert in_turn[:num_rows] == list(range(num_rows))


def test_object_positives_and_noisier_rows_take_part(tmp_path: Path) -> None:
    training, validation = planted(num_also=30)
    model = make(training, num_objects=20)
    found = material(model, training, validation, objects=True)
    report = fit(model, found, replace(BOTH, epochs=30, also_weight=0.5), Run(tmp_path / "all"))
    assert report.validation is not None
    assert report.validation.recall_5 == 1
    for name, other in (
        ("no objects", replace(found, objects=None)),
        ("no noisier", replace(found, training=training.where(training.corpora == 0))),
    ):
        model = make(training, num_objects=20)
        without = fit(model, other, replace(BOTH, epochs=30, also_weight=0.5), Run(tmp_path / name))
        assert without.loss != report.loss


def test_the_memory_alone_recovers_planted_pairs() -> None:
    training, validation = planted()
    model = make(training, d_model=0, num_memories=len(training), joint_dim=12)
    recalled = fit_memory(model, training, also_weight=0.1, seed=0)
    whiten_text(model, training)
    assert recalled.shape == (len(training), 12)
    assert validate(model, validation).recall_1 > 0.8


def test_what_is_recalled_in_training_comes_from_other_footage() -> None:
    training, _ = planted()
    model = make(training, d_model=0, num_memories=len(training), joint_dim=12)
    held_out = fit_memory(model, training, also_weight=0.1, seed=0)
    changed = training.sentences.copy()
    changed[training.owners == 3] *= -1  # a segment's own sentences do not matter to what is recalled of it
    other = fit_memory(model, replace(training, sentences=changed), also_weight=0.1, seed=0)
    kept = unit(held_out[3:4]) @ unit(other[3:4]).T
    assert kept.item() > 0.99
    assert not np.allclose(held_out, other)


@pytest.mark.parametrize("num_memories", [80, 50])
def test_what_is_recalled_in_training_is_what_a_memory_without_the_footage_recalls(num_memories: int) -> None:
    training, _ = planted()
    training = replace(training, sources=training.sources // 2)  # two segments a footage
    model = make(training, d_model=0, num_memories=num_memories, joint_dim=12)
    recalled = fit_memory(model, training, also_weight=0.1, seed=0)
    memory = model.video_tower.memory
    assert memory is not None
    points = memory.project(torch.from_numpy(training.means())).double()
    targets = np.stack([training.sentences[training.owners == row].mean(axis=0) for row in range(len(training))])
    targets -= targets.mean(axis=0)
    held = [row for row in range(len(training)) if (points[row] - memory.keys).norm(dim=1).min() < 1e-6]
    assert len(held) == num_memories
    for row in (0, 7, 41):
        known = [one for one in held if training.sources[one] != training.sources[row]]
        kernel = memory.kernel(points[known], points[known]).numpy() + 0.3 * np.eye(len(known))
        expected = memory.kernel(points[row : row + 1], points[known]).numpy() @ np.linalg.solve(kernel, targets[known])
        np.testing.assert_allclose(recalled[row], expected[0], atol=1e-4)


def test_the_query_bank_is_of_sentences_that_were_trained_on() -> None:
    training, _ = planted()
    model = make(training, querybank_size=9)
    fill_querybank(model, training, seed=0)
    assert model.querybank is not None
    found = {row.tobytes() for row in model.querybank.sentences.numpy()}
    assert len(found) == 9
    assert found < {row.tobytes() for row in training.sentences}


def test_the_memory_is_kernel_ridge_regression() -> None:
    training, _ = planted(num_also=10)
    model = make(training, d_model=0, num_memories=len(training), joint_dim=12)
    fit_memory(model, training, also_weight=0.1, seed=0)
    memory = model.video_tower.memory
    assert memory is not None
    points = memory.project(torch.from_numpy(training.means())).numpy().astype(float)
    assert (points**2).sum(axis=1).mean() == pytest.approx(points.shape[1], rel=0.1)
    targets = np.stack([training.sentences[training.owners == row].mean(axis=0) for row in range(len(training))])
    for corpus in (0, 1):
        targets[training.corpora == corpus] -= targets[training.corpora == corpus].mean(axis=0)
    kernel = np.array([[np.exp(-((a - b) ** 2).sum() / len(a)) for b in points] for a in points])
    ridge = np.diag(0.3 / np.where(training.corpora == 1, 0.1, 1.0))
    np.testing.assert_allclose(memory.values.numpy(), np.linalg.solve(kernel + ridge, targets), atol=1e-3)


def test_a_small_memory_holds_a_random_part() -> None:
    training, _ = planted()
    model = make(training, d_model=0, num_memories=7, joint_dim=12)
    fit_memory(model, training, also_weight=0.1, seed=0)
    memory = model.video_tower.memory
    assert memory is not None
    points = memory.project(torch.from_numpy(training.means()))
    assert ((memory.keys[:, None] - points[None]).abs().amax(dim=2).min(dim=1).values < 1e-5).all()


def test_object_positives_are_the_nearest_long_ones_of_the_likeliest() -> None:
    training, _ = planted()
    model = make(training, num_objects=20)
    said = ["one two three four five six" if number % 3 else "too short" for number in range(20)]
    found = object_positives(model, training, said, count=2, top=5)
    assert model.objects is not None
    embedded = model.objects.sentences.numpy()
    for sentence in range(0, len(training.owners), 7):
        mean = training.features[training.owners[sentence]].mean(axis=0)
        logits = model.objects.weight.numpy() @ mean + model.objects.bias.numpy()
        likeliest = sorted((o for o in range(20) if o % 3), key=lambda o: -logits[o])[:5]
        nearness = {o: training.sentences[sentence] @ embedded[o] / np.linalg.norm(embedded[o]) for o in likeliest}
        assert list(found[sentence, 0]) == sorted(likeliest, key=lambda o: -nearness[o])[:2]


def test_the_same_seed_gives_the_same_weights_and_another_one_others(tmp_path: Path) -> None:
    one, two, other = (
        _fit(tmp_path / name, replace(BOTH, epochs=3, seed=seed))[1] for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert _weights(one) == _weights(two)
    assert _weights(one) != _weights(other)


_HALVES = """
import sys; sys.path.insert(0, sys.argv[1])
from dataclasses import replace
from pathlib import Path
import planted
from cezsar.training.loop import fit
from cezsar.training.run import Run
from cezsar.training.start import whiten_text
training, validation = planted.planted()
model = planted.make(training, d_model=0, num_memories=len(training), joint_dim=12)
if sys.argv[3] == "double":
    model.double()
whiten_text(model, training)  # nothing is left of what was drawn: normal numbers differ from processor to processor
recipe = replace(planted.BOTH, precision=sys.argv[3])
fit(model, planted.material(model, training, validation), recipe, Run(Path(sys.argv[2])))
Run(Path(sys.argv[2])).save(Path(sys.argv[2]) / "half", model.half())
"""


def test_in_double_precision_a_processor_that_adds_up_otherwise_gives_the_same_weights(tmp_path: Path) -> None:
    """In float32 both of them differ by the last bits, and on a large model some halves do."""
    weights = []
    for capability in ("default", "avx2"):
        subprocess.run(
            [sys.executable, "-c", _HALVES, str(Path(__file__).parent), str(tmp_path / capability), "double"],
            env={**os.environ, "ATEN_CPU_CAPABILITY": capability}, check=True, timeout=300,
        )  # fmt: skip
        for folder, dtype in (("best", np.float32), ("half", np.float16)):
            saved = load_file(tmp_path / capability / folder / "model.safetensors")
            assert {value.dtype for value in saved.values()} == {np.dtype(dtype)}
            weights.append({name: value.tobytes() for name, value in saved.items()})
    assert weights[:2] == weights[2:]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_killed_run_that_goes_on_ends_with_the_same_weights(tmp_path: Path) -> None:
    moments = ("mid-epoch", "mid-save")
    codes = _forked("both", *((tmp_path / moment, moment) for moment in moments))
    assert codes == [-signal.SIGKILL, -signal.SIGKILL]
    train(tmp_path / "whole")
    whole = Run(tmp_path / "whole")
    for moment in moments:
        killed = Run(tmp_path / moment)
        state = killed.state()
        assert state is not None
        assert 0 < state.facts.epoch < 6
        train(tmp_path / moment)
        assert _weights(killed) == _weights(whole)
        assert _timeless(killed) == _timeless(whole)
        assert len(_timeless(killed)) == 6


def _weights(run: Run) -> dict[str, bytes]:
    return {
        f"{folder.name} {name}": value.tobytes()
        for folder in (run.best, run.last)
        for name, value in load_file(folder / "model.safetensors").items()
    }


def _timeless(run: Run) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.reports()]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = cezsar.training.objective.info_nce, []

    def broken(*arguments: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return real(*arguments, **named) * (float("nan") if len(calls) == 8 else 1.0)

    monkeypatch.setattr(cezsar.training.objective, "info_nce", broken)
    with pytest.raises(TrainingError, match=r"The loss is nan in epoch 3, batch 2 of 3 \(video\d+.*last good .*/last"):
        _fit(tmp_path / "broken", replace(BOTH, epochs=5, batch_size=32, negatives="batch"))
    monkeypatch.undo()
    kept = Run(tmp_path / "broken").state()
    assert kept is not None
    assert kept.facts.epoch == 2
    _fit(tmp_path / "whole", replace(BOTH, epochs=5, batch_size=32, negatives="batch"))
    _fit(tmp_path / "broken", replace(BOTH, epochs=5, batch_size=32, negatives="batch"))  # goes on from there
    assert _weights(Run(tmp_path / "broken")) == _weights(Run(tmp_path / "whole"))


def test_a_feature_that_is_no_number_is_named(tmp_path: Path) -> None:
    training, validation = planted()
    training.features[5][0, 0] = np.nan
    model = make(training)
    with pytest.raises(TrainingError, match="The loss is nan in epoch 1, batch 1 of 2"):
        fit(model, material(model, training, validation), BOTH, Run(tmp_path))
    assert all(np.isfinite(value).all() for value in load_file(tmp_path / "last" / "model.safetensors").values())


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    _fit(tmp_path, replace(BOTH, epochs=1))
    with pytest.raises(TrainingError, match="holds a model of another shape"):
        _fit(tmp_path, replace(BOTH, epochs=2), joint_dim=5)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04cos\nsystem\n"])
def test_a_damaged_or_planted_state_is_refused(tmp_path: Path, content: bytes) -> None:
    _fit(tmp_path, replace(BOTH, epochs=1))
    (tmp_path / "last" / "state.safetensors").write_bytes(content)
    with pytest.raises(TrainingError, match=r"state\.safetensors is damaged"):
        _fit(tmp_path, replace(BOTH, epochs=2))


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run = _fit(tmp_path, replace(BOTH, epochs=2))
    before = _weights(run)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cezsar.model.CezsarModel.save_pretrained", full)
    with pytest.raises(TrainingError, match=r"cannot be written: .*: No space left on device\. What was saved stays"):
        _fit(tmp_path, replace(BOTH, epochs=4))
    monkeypatch.undo()
    assert _weights(run) == before
    assert not list(tmp_path.glob("*.partial"))
    _fit(tmp_path, replace(BOTH, epochs=4))
    _, whole = _fit(tmp_path / "whole", replace(BOTH, epochs=4))
    assert sorted(_weights(run)) == sorted(_weights(whole))


def test_training_stops_when_recall_gets_no_better(tmp_path: Path) -> None:
    report, run = _fit(tmp_path, replace(BOTH, epochs=200, patience=3))
    assert len(run.reports()) == report.epoch + 3 < 200
    assert [row["epoch"] for row in run.reports() if row["is_best"]][-1] == report.epoch


def test_without_validation_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    training, validation = planted()
    model = make(training)
    nothing = validation.where(np.zeros(len(validation), bool))
    report = fit(model, material(model, training, nothing), replace(BOTH, epochs=4, patience=1), Run(tmp_path))
    assert (report.epoch, report.validation) == (4, None)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_the_rate_warms_up_and_falls_along_a_cosine(tmp_path: Path) -> None:
    _, run = _fit(tmp_path, replace(BOTH, epochs=10, warmup=0.3, patience=99))
    rates = [json.loads(line)["learning_rate"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert np.argmax(rates) == 3
    assert rates[1] < rates[2] < rates[3]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[9] < 0.1 * rates[3]
    assert len(run.reports()) == 10


def test_a_constant_rate_stays_after_its_warm_up(tmp_path: Path) -> None:
    for warmup, expected in ((0.0, [5e-3] * 4), (0.5, [1.25e-3, 3.75e-3, 5e-3, 5e-3])):
        recipe = replace(BOTH, epochs=4, warmup=warmup, schedule="constant", batch_size=40)  # two batches an epoch
        _, run = _fit(tmp_path / str(warmup), replace(recipe, patience=99))
        assert [row["learning_rate"] for row in run.reports()] == pytest.approx(expected)


def test_gradients_are_cut_to_the_norm_and_with_0_they_are_not(tmp_path: Path) -> None:
    weights = []
    for norm in (0.0, 1e9, 1e-9):
        _, run = _fit(tmp_path / str(norm), replace(BOTH, epochs=1, clip_norm=norm))
        weights.append(_weights(run))
    assert weights[0] == weights[1] != weights[2]


def test_dropout_inside_the_transformer_layer_is_the_recipes(tmp_path: Path) -> None:
    for share, inside in ((None, 0.2), (0.1, 0.1)):
        training, validation = planted()
        model = make(training, dropout=0.2, text_dropout=0.3)
        recipe = replace(BOTH, epochs=1, layer_dropout=share)
        fit(model, material(model, training, validation), recipe, Run(tmp_path / str(share)))
        frames = model.video_tower.frames
        assert frames is not None
        layer = frames.layer
        parts = (layer.self_attn.dropout, layer.dropout.p, layer.dropout1.p, layer.dropout2.p)
        assert parts == (inside,) * 4
        assert (frames.dropout.p, model.text_tower.dropout.p) == (0.2, 0.3)
        assert model.config.dropout == 0.2


def test_frame_dropout_leaves_every_segment_a_frame(tmp_path: Path) -> None:
    report, _ = _fit(tmp_path, replace(BOTH, epochs=40, frame_dropout=0.9))
    assert np.isfinite(report.loss)
    assert report.validation is not None
    assert report.validation.recall_1 > 0.9


def test_the_anchor_holds_what_began_in_closed_form(tmp_path: Path) -> None:
    moved = []
    for anchor in (0.0, 100.0):
        training, validation = planted()
        model = make(training, joint_dim=12)
        start = model.text_tower.linear.weight.detach().clone()
        fit(model, material(model, training, validation), replace(BOTH, anchor=anchor), Run(tmp_path / str(anchor)))
        moved.append((model.text_tower.linear.weight - start).norm().item())
    assert moved[1] < moved[0] / 4


def test_ranks_are_those_of_a_slow_search() -> None:
    training, validation = planted()
    model = make(training)
    videos = encode(model, validation.features)
    with torch.inference_mode():
        texts = model.eval().encode_sentences(torch.from_numpy(validation.sentences)).numpy()
    expected = [
        sum(float(text @ video) >= float(text @ videos[owner]) for video in videos)
        for text, owner in zip(texts, validation.owners, strict=True)
    ]
    assert list(sentence_ranks(model, validation)) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_said() -> None:
    with pytest.raises(TrainingError, match="no CUDA device"):
        make_accelerator(Recipe(), "cuda")


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "hinge"},
        {"negatives": "none"},
        {"epochs": 0},
        {"band_low": 0.8},
        {"also_weight": 0},
        {"precision": "x"},
        {"schedule": "linear"},
        {"distances": "cosine"},
        {"distances": "layernorm"},
        {"distances": "layernorm", "train_streams": "visual_object"},
        {"train_streams": "words"},
        {"object_negatives": "none"},
        {"object_windows": -1},
        {"object_weight": -1.0},
        {"object_weight": float("nan")},
        {"clip_norm": -1.0},
        {"clip_norm": float("inf")},
        {"warmup": 1.0},
        {"layer_dropout": 1.0},
        {"layer_dropout": float("nan")},
        {"frame_dropout": 1.0},
    ],
)
def test_a_recipe_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(TrainingError):
        Recipe(**wrong)  # type: ignore[arg-type]
