"""cezsar train, from captions of made videos to a model that finds them, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click
import matplotlib.image
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from make_videos import write_video
from safetensors import safe_open

from cezsar.cli import cli
from cezsar.encoders.toy import COLOURS
from cezsar.model import CezsarConfig
from cezsar.model.presets import PRESETS
from cezsar.training import RECIPES, Recipe, Split
from cezsar.types import Limits
from cezsar.video import Pool

pytestmark = pytest.mark.slow

SPLIT = ("--validation", "0.3", "--split-seed", "5")
KEPT_OUT = {"white", "yellow"}
TRAIN = (*SPLIT, "--epochs", "3")
# for what is said of the rows: a memory takes half of a run's time
QUICK = (*SPLIT, "--epochs", "1", "--d-model", "16", "--joint-dim", "8", "--num-memories", "0")


@pytest.fixture(scope="module", autouse=True)
def _no_pulse() -> Iterator[None]:
    """A slow machine adds no lines to what is compared whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cezsar.cli.console._PULSE_S", 3600.0)
        yield


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """captions.jsonl and the eight videos that it describes, 2 s each."""
    folder = tmp_path_factory.mktemp("colours")
    for name in COLOURS:
        write_video(folder / f"{name}.mp4", [(name, 2.0)])
    _write(folder / "captions.jsonl", CAPTIONS)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(colours: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A run that no test changes, and what its command said."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    result = run("train", colours / "captions.jsonl", *TRAIN, "--cache", cache, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder, result


@pytest.fixture
def again(trained: tuple[Path, Result], tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(trained[0], tmp_path / "again"))


CAPTIONS: list[dict[str, Any]] = [
    {"video": f"{name}.mp4", "sentences": [f"a {name} screen", f"everything is {name}"]} for name in COLOURS
]


def _write(file: Path, rows: Sequence[object]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [os.fspath(w) if isinstance(w, Path) else str(w) for w in words])


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def one_error(result: Result) -> str:
    """The single line on stderr of a command that exits 1."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("cezsar: ")
    return line


def wrong_usage(result: Result) -> str:
    """The last line of a command that was called wrongly."""
    assert result.exit_code == 2, result.output
    return result.stderr.splitlines()[-1]


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _weights(run: Path) -> tuple[bytes, ...]:
    return tuple((run / name / "model.safetensors").read_bytes() for name in ("best", "last"))


def _types(checkpoint: Path) -> set[str]:
    """Of the floating-point tensors of a saved model."""
    with safe_open(checkpoint / "model.safetensors", framework="numpy") as file:
        return {file.get_slice(name).get_dtype() for name in file.keys()} & {"F16", "BF16", "F32", "F64"}  # noqa: SIM118


# A run


def test_the_run_folder_holds_what_is_promised(trained: tuple[Path, Result], colours: Path) -> None:
    folder, _ = trained
    assert {path.name for path in folder.iterdir()} == {"run.json", "metrics.jsonl", "curves.png", "best", "last"}
    settings = json.loads((folder / "run.json").read_text())
    assert settings["request"]["pairs"] == [str((colours / "captions.jsonl").resolve())]
    assert settings["request"]["recipe"]["epochs"] == 3
    assert settings["request"]["split"] == {"seed": 5, "share": 0.3}
    assert (settings["num_training"], settings["num_validation"]) == (6, 2)
    assert {name for name in COLOURS if Split(5, 0.3).is_kept_out(name)} == KEPT_OUT
    assert settings["validation_sha256"] != settings["examples_sha256"]


def test_metrics_hold_a_line_an_epoch(trained: tuple[Path, Result]) -> None:
    rows = [json.loads(line) for line in (trained[0] / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(np.isfinite(row["loss"]) and 0 <= row["validation"]["recall_1"] <= 1 for row in rows)
    assert rows[0]["is_best"] is True


def test_curves_are_a_picture_with_something_on_it(trained: tuple[Path, Result]) -> None:
    picture = matplotlib.image.imread(trained[0] / "curves.png")
    assert min(picture.shape[:2]) > 200
    left, right = np.array_split(picture[..., :3], 2, axis=1)
    for half in (left, right):
        assert half.max() == 1
        assert half.min() < 0.5
        assert 0.001 < (half < 0.9).any(axis=2).mean() < 0.5


def test_both_checkpoints_are_whole_and_hold_no_pickle(trained: tuple[Path, Result]) -> None:
    folder, _ = trained
    assert {path.name for path in (folder / "best").iterdir()} == {"config.json", "model.safetensors"}
    assert {"config.json", "model.safetensors"} < {path.name for path in (folder / "last").iterdir()}
    for checkpoint in ("best", "last"):
        assert json.loads((folder / checkpoint / "config.json").read_text())["model_type"] == "cezsar"
        assert _types(folder / checkpoint) == {"F32"}
    for content in _contents(folder / "best").values():
        assert not content.startswith((b"PK", b"\x80"))


def test_progress_goes_to_stderr_and_the_result_to_stdout(trained: tuple[Path, Result]) -> None:
    folder, result = trained
    assert result.stderr.splitlines()[0] == "cezsar: training on 6 segments, 2 kept out"
    assert [line.split(",")[0] for line in result.stderr.splitlines()[1:]] == [
        f"cezsar: epoch {number}/3" for number in (1, 2, 3)
    ]
    assert result.stdout.startswith("best epoch ")
    assert "of 2 kept-out segments recall@1 " in result.stdout
    assert f"--model {folder / 'best'}" in result.stdout
    assert "left out" not in result.output


def test_the_result_is_two_lines(trained: tuple[Path, Result]) -> None:
    lines = trained[1].stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["best", "cezsar"]
    assert "\\x0a" not in trained[1].stdout


def test_the_model_finds_the_videos(trained: tuple[Path, Result], colours: Path, tmp_path: Path) -> None:
    report = document(run("index", colours, "--model", trained[0] / "best", "--index", tmp_path / "i", "--json"))
    assert (report["added"], report["skipped"]) == (8, [])
    for name in ("red", "blue"):
        hits = document(run("query", f"a {name} screen", "--index", tmp_path / "i", "--json"))["hits"]
        assert len(hits) == 8
        assert Path(hits[0]["path"]).name == f"{name}.mp4"


def test_the_same_command_gives_the_same_weights(
    trained: tuple[Path, Result], colours: Path, cache: Path, tmp_path: Path
) -> None:
    words = ("train", colours / "captions.jsonl", *TRAIN, "--cache", cache, "--out", tmp_path / "run", "--json")
    result = run(*words)
    found = document(result)
    assert list(found) == ["run", "best", "training", "validation", "rejected"]
    assert (found["run"], found["training"], found["validation"], found["rejected"]) == (str(tmp_path / "run"), 6, 2, 0)
    assert found["best"]["validation"]["recall_1"] <= 1
    assert result.stderr == ""
    assert _weights(tmp_path / "run") == _weights(trained[0])


def test_half_stores_best_in_half_precision_and_going_on_keeps_it(colours: Path, cache: Path, tmp_path: Path) -> None:
    words = ("train", colours / "captions.jsonl", *SPLIT, "--epochs", "1", "--cache", cache, "--half", "--quiet")
    result = run(*words, "--out", tmp_path / "run")
    assert (result.exit_code, result.output) == (0, "")
    assert _types(tmp_path / "run" / "best") == {"F16"}
    assert _types(tmp_path / "run" / "last") == {"F32"}
    before = _weights(tmp_path / "run")
    assert len(before[0]) < 0.55 * len(before[1])
    assert run("train", "--resume", tmp_path / "run").exit_code == 0
    assert _weights(tmp_path / "run") == before


def test_a_run_starts_from_the_weights_of_another(
    trained: tuple[Path, Result], colours: Path, cache: Path, tmp_path: Path
) -> None:
    words = ("train", colours / "captions.jsonl", *SPLIT, "--epochs", "1", "--lr", "1e-12", "--cache", cache)
    found = document(run(*words, "--start-from", trained[0] / "best", "--out", tmp_path / "run", "--json"))
    assert found["best"]["epoch"] == 1
    with (
        safe_open(trained[0] / "best" / "model.safetensors", framework="numpy") as before,
        safe_open(tmp_path / "run" / "best" / "model.safetensors", framework="numpy") as after,
    ):
        name = "text_tower.linear.weight"
        np.testing.assert_allclose(after.get_tensor(name), before.get_tensor(name), atol=1e-6)


# One segment, several rows


def test_a_row_a_sentence_trains_the_very_same_model(
    trained: tuple[Path, Result], colours: Path, cache: Path, tmp_path: Path
) -> None:
    rows = [{"video": row["video"], "sentence": one} for row in CAPTIONS for one in row["sentences"]]
    spread = [rows[number] for start in (0, 1) for number in range(start, len(rows), 2)]
    table = tmp_path / "captions.csv"
    table.write_text("video,sentence\n" + "".join(f"{row['video']},{row['sentence']}\n" for row in rows))
    first, second = (_write(tmp_path / f"{n}.jsonl", spread[n * 8 :][:8]) for n in (0, 1))
    for number, files in enumerate(([_write(tmp_path / "rows.jsonl", rows)], [table], [first, second])):
        out = tmp_path / f"run{number}"
        words = ("train", *files, "--videos", colours, *TRAIN, "--cache", cache, "--out", out)
        result = run(*words)
        assert result.exit_code == 0, result.output
        assert result.stderr == trained[1].stderr
        assert _weights(out) == _weights(trained[0])


def test_noisier_rows_of_a_segment_are_one_too(colours: Path, cache: Path, tmp_path: Path) -> None:
    rows = [{"video": "red.mp4", "sentence": said} for said in ("reddish", "red or so", "reddish")]
    file = _write(tmp_path / "noisier.jsonl", rows)
    words = ("train", colours / "captions.jsonl", *QUICK, "--cache", cache, "--videos", colours)
    found = document(run(*words, "--also", file, "--out", tmp_path / "run", "--json"))
    assert (found["training"], found["validation"]) == (7, 2)


def test_rows_that_start_after_their_end_are_counted(colours: Path, cache: Path, tmp_path: Path) -> None:
    rows = [*CAPTIONS, *({"video": name, "start_s": 2, "end_s": 1, "sentence": "x"} for name in ("red", "blue"))]
    file = _write(tmp_path / "captions.jsonl", rows)
    words = ("train", file, "--videos", colours, *QUICK, "--cache", cache)
    result = run(*words, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "cezsar: 2 rows have a start after the end: the two were exchanged" in result.stderr.splitlines()
    assert "training on 8 segments, 2 kept out" in result.stderr


# The paper's recipe


BIT = ("--preset", "bit", "--backbone", "efficientnet-lite2", "--sentence-encoder", "all-MiniLM-L6-v2")  # offline
SMALL = ("--d-model", "16", "--joint-dim", "8", "--lr", "0.01")


def test_bit_is_trained_and_goes_on_by_its_own_rules(
    colours: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cezsar.cli import train as command

    def stop(_: object, report: Any) -> None:
        if report.epoch == 1:
            raise KeyboardInterrupt

    words = ("train", colours / "captions.jsonl", *BIT, *SMALL, *TRAIN, "--cache", cache, "--quiet")
    assert run(*words, "--out", tmp_path / "whole").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(command._Watcher, "epoch", stop)
        assert run(*words, "--out", tmp_path / "run").exit_code == 130
    asked = json.loads((tmp_path / "run" / "run.json").read_text())["request"]
    recipe = {**asdict(RECIPES["bit"]), "epochs": 3, "learning_rate": 0.01}
    assert asked["recipe"] == recipe
    assert asked["model"] == {
        **PRESETS["bit"], "backbone": BIT[3], "sentence_encoder": BIT[5], "d_model": 16, "joint_dim": 8,
    }  # fmt: skip
    monkeypatch.setitem(PRESETS, "bit", {**PRESETS["bit"], "text_dropout": 0.9})  # of another version
    assert run("train", "--resume", tmp_path / "run", "--quiet").exit_code == 0
    assert _weights(tmp_path / "run") == _weights(tmp_path / "whole")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["learning_rate"] for row in rows] == [0.01] * 3
    config = json.loads((tmp_path / "run" / "best" / "config.json").read_text())
    assert (config["dropout"], config["text_dropout"], config["visual_weight"]) == (0.2, 0.2, 0.8)


OURS = {
    "train_streams": "visual_object", "distances": "unit", "object_windows": 0, "object_weight": 1.0,
    "object_negatives": "caption", "layer_dropout": 0.2, "schedule": "cosine", "warmup": 0.05, "clip_norm": 1.0,
}  # fmt: skip


def test_ours_is_to_be_had_with_bit_too(colours: Path, cache: Path, tmp_path: Path) -> None:
    ours = [word for name, value in OURS.items() for word in ("--" + name.replace("_", "-"), str(value))]
    ours += ["--dropout", "0.3", "--text-dropout", "0.1"]
    words = ("train", colours / "captions.jsonl", *BIT, *SMALL, *SPLIT, "--epochs", "1", "--cache", cache)
    document(run(*words, *ours, "--out", tmp_path / "run", "--json"))
    asked = json.loads((tmp_path / "run" / "run.json").read_text())["request"]
    assert asked["recipe"] == {**asdict(RECIPES["bit"]), "epochs": 1, "learning_rate": 0.01, **OURS}
    assert (asked["model"]["dropout"], asked["model"]["text_dropout"]) == (0.3, 0.1)


# Going on


def test_a_second_run_into_a_folder_is_refused_and_names_resume(again: Path, colours: Path, cache: Path) -> None:
    before = _contents(again)
    told = one_error(run("train", colours / "captions.jsonl", *TRAIN, "--cache", cache, "--out", again, "--quiet"))
    assert "holds a run already" in told
    assert f"--resume {again}" in told
    assert _contents(again) == before


def test_going_on_with_a_finished_run_changes_nothing(again: Path) -> None:
    before, rows = _weights(again), (again / "metrics.jsonl").read_text()
    found = document(run("train", "--resume", again, "--json"))
    assert found["run"] == str(again)
    assert found["best"]["epochs"] == 3
    assert _weights(again) == before
    assert (again / "metrics.jsonl").read_text() == rows


def test_an_interrupted_run_goes_on_to_the_same_weights(
    trained: tuple[Path, Result], colours: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cezsar.cli import train as command

    def stop(_: object, report: Any) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt

    words = ("train", colours / "captions.jsonl", *TRAIN, "--cache", cache, "--out", tmp_path / "run", "--quiet")
    with monkeypatch.context() as patch:
        patch.setattr(command._Watcher, "epoch", stop)
        result = run(*words)
    assert result.exit_code == 130
    assert len(result.stderr.splitlines()) == 1
    assert run("train", "--resume", tmp_path / "run", "--quiet").exit_code == 0
    assert _weights(tmp_path / "run") == _weights(trained[0])
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("is_there", [True, False])
def test_going_on_where_there_is_no_run_is_refused(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / "run").mkdir()
    assert one_error(run("train", "--resume", tmp_path / "run")) == (
        f"cezsar: {tmp_path / 'run'} holds no training run."
    )


@pytest.mark.parametrize("content", ["", "not json", "[]", "{}", '{"request": {}}', '{"request": {"recipe": 3}}'])
def test_going_on_with_a_damaged_run_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert "damaged" in one_error(run("train", "--resume", tmp_path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"half": "yes"}, "half cannot be 'yes'"),
        ({"recipe": {"epochs": "3"}}, "recipe.epochs cannot be '3'"),
        ({"split": {"sead": 1}}, "split.sead is not known"),
        ({"pairs": "captions.jsonl"}, "pairs cannot be 'captions.jsonl'"),
    ],
)
def test_a_damaged_runs_wrong_field_is_named(tmp_path: Path, change: dict[str, object], told: str) -> None:
    asked = {
        "pairs": [], "also": [], "videos": None, "cache": "", "preset": "bit", "model": {}, "recipe": {}, "split": {},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps({"request": {**asked, **change}}))
    assert one_error(run("train", "--resume", tmp_path)) == f"cezsar: {tmp_path} holds a damaged run: {told}"


def test_going_on_with_other_captions_is_refused(colours: Path, cache: Path, tmp_path: Path) -> None:
    file = _write(tmp_path / "captions.jsonl", CAPTIONS)
    words = ("train", file, "--videos", colours, *QUICK, "--cache", cache, "--quiet")
    assert run(*words, "--out", tmp_path / "run").exit_code == 0
    before = _contents(tmp_path / "run")
    _write(file, [*CAPTIONS[:-1], {**CAPTIONS[-1], "sentences": ["something else", "everything is magenta"]}])
    assert "not those that this run was started with" in one_error(run("train", "--resume", tmp_path / "run"))
    assert _contents(tmp_path / "run") == before


# Rows that are left out


def test_every_row_that_is_left_out_is_named_and_counted(colours: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    rows = [
        *CAPTIONS,
        {"video": "gone.mp4", "sentence": "a"},
        {"video": str(tmp_path / "empty.mp4"), "sentence": "a"},
        {"video": "red.mp4", "start_s": 50, "sentence": "a"},
        {"video": "red.mp4", "sentences": ["a reddish screen", ""]},
        "red.mp4",
    ]
    file = _write(tmp_path / "captions.jsonl", rows)
    words = ("train", file, "--videos", colours, *QUICK, "--cache", cache)
    result = run(*words, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    told = [line for line in result.stderr.splitlines() if "left out" in line]
    assert [line.split(": ", 2)[1] for line in told] == [f"left out captions.jsonl:{n}" for n in (9, 12, 13, 10, 11)]
    for line, reason in zip(
        told,
        ("'gone.mp4' is not in", "sentence 2 is empty", "not an object", "empty.mp4: the file is empty", "at 50 s"),
        strict=True,
    ):
        assert reason in line
    assert result.stdout.splitlines()[0].endswith("; 5 rows left out")
    assert "training on 6 segments, 2 kept out" in result.stderr  # row 12 is of a segment that has sentences already


def test_a_video_that_crashes_its_decoder_costs_its_own_row_alone(
    colours: Path, tmp_path: Path, deadly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[int] = []

    class Counted(Pool):
        def __init__(self, limits: Limits | None, *, workers: int) -> None:
            pools.append(workers)
            super().__init__(limits, workers=workers)

    monkeypatch.setattr("cezsar.features.Pool", Counted)
    crashing = write_video(tmp_path / "deadly.mp4", [("red", 1.0)])
    file = _write(tmp_path / "captions.jsonl", [{"video": str(crashing), "sentence": "a red screen"}, *CAPTIONS])
    words = ("train", file, "--videos", colours, *QUICK, "--cache", tmp_path / "cache")
    result = run(*words, "--out", tmp_path / "run", "--workers", "3")
    assert result.exit_code == 0, result.output
    told = "cezsar: left out captions.jsonl:1: deadly.mp4: it crashed the decoder (SIGSEGV)"
    assert [line for line in result.stderr.splitlines() if "left out" in line] == [told]
    assert result.stdout.splitlines()[0].endswith("; 1 row left out")

    found = document(run("train", "--resume", tmp_path / "run", "--workers", "1", "--json"))
    assert (found["training"], found["validation"], found["rejected"]) == (6, 2, 1)
    monkeypatch.setenv("CEZSAR_WORKERS", "4")
    assert run("train", "--resume", tmp_path / "run", "--quiet").exit_code == 0
    assert pools == [3, 1, 4]


def test_noisier_pairs_are_trained_on_and_never_validated_with(colours: Path, cache: Path, tmp_path: Path) -> None:
    noisier = [{"video": f"{name}.mp4", "sentence": f"{name} or so"} for name in ("red", "blue", *KEPT_OUT)]
    file = _write(tmp_path / "noisier.jsonl", noisier)
    words = ("train", colours / "captions.jsonl", *QUICK, "--cache", cache, "--videos", colours)
    found = document(run(*words, "--also", file, "--out", tmp_path / "run", "--json"))
    assert (found["training"], found["validation"]) == (8, 2)


def test_noisier_copies_of_what_is_kept_out_are_not_trained_on(colours: Path, cache: Path, tmp_path: Path) -> None:
    [out, *_] = sorted(KEPT_OUT)
    shutil.copy(colours / f"{out}.mp4", tmp_path / "copy.mp4")
    rows = [{"video": "copy.mp4", "sentence": "a copy"}, {"video": str(colours / "red.mp4"), "sentence": "red or so"}]
    file = _write(tmp_path / "noisier.jsonl", rows)
    words = ("train", colours / "captions.jsonl", *QUICK, "--cache", cache, "--also", file)
    found = document(run(*words, "--out", tmp_path / "run", "--json"))
    assert (found["training"], found["validation"], found["rejected"]) == (7, 2, 0)


@pytest.mark.parametrize("rows", [[], [{"video": "gone.mp4", "sentence": "a"}], [{"video": "red.mp4", "start_s": 9}]])
def test_no_usable_pairs_is_said(colours: Path, cache: Path, tmp_path: Path, rows: list[object]) -> None:
    file = _write(tmp_path / "captions.jsonl", rows)
    result = run("train", file, "--videos", colours, "--cache", cache, "--out", tmp_path / "run")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "cezsar: There are no pairs to train on."
    assert len(result.stderr.splitlines()) == len(rows) + 1
    assert not (tmp_path / "run").exists()


def test_one_video_alone_is_said(colours: Path, cache: Path, tmp_path: Path) -> None:
    rows = [{"video": "red.mp4", "start_s": n, "end_s": n + 1, "sentence": "a"} for n in (0, 1)]
    file = _write(tmp_path / "captions.jsonl", rows)
    words = ("train", file, "--videos", colours, "--cache", cache, "--out", tmp_path / "run")
    assert "at least two videos" in one_error(run(*words, "--validation", "0"))
    assert not (tmp_path / "run").exists()


def test_too_little_to_validate_with_is_said(colours: Path, cache: Path, tmp_path: Path) -> None:
    words = ("train", colours / "captions.jsonl", "--cache", cache, "--out", tmp_path / "run", "--validation", "0.0001")
    assert "--validation" in one_error(run(*words))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("row", [{"sentence": "a \ud800 red"}, {"sentence": "a", "source": "\ud800"}])
def test_text_that_no_encoding_holds_is_no_crash(
    colours: Path, cache: Path, tmp_path: Path, row: dict[str, str]
) -> None:
    file = _write(tmp_path / "captions.jsonl", [*CAPTIONS, {"video": "red.mp4", **row}])
    words = ("train", file, "--videos", colours, *QUICK, "--cache", cache, "--out", tmp_path / "run")
    result = run(*words)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)


# What is refused


def test_without_pairs_it_is_wrong_usage() -> None:
    assert "Missing argument 'PAIRS...'" in wrong_usage(run("train"))


def test_going_on_takes_no_pairs_and_no_other_folder(again: Path, colours: Path, tmp_path: Path) -> None:
    assert "--resume" in wrong_usage(run("train", colours / "captions.jsonl", "--resume", again))
    assert "--resume" in wrong_usage(run("train", "--resume", again, "--out", tmp_path / "other"))


def test_pairs_that_are_not_there_are_wrong_usage(tmp_path: Path) -> None:
    assert "does not exist" in wrong_usage(run("train", tmp_path / "none.jsonl"))


@pytest.mark.parametrize(
    "words",
    [
        ("--epochs", "0"),
        ("--validation", "1"),
        ("--validation", "-0.1"),
        ("--fps", "0"),
        ("--lr", "0"),
        ("--frame-dropout", "1"),
        ("--loss", "l2"),
        ("--negatives", "all"),
        ("--precision", "fp8"),
        ("--schedule", "linear"),
        ("--distances", "cosine"),
        ("--train-streams", "words"),
        ("--object-negatives", "none"),
        ("--object-windows", "-1"),
        ("--object-weight", "0"),
        ("--layer-dropout", "1"),
        ("--text-dropout", "1"),
        ("--dropout", "-0.1"),
        ("--clip-norm", "-1"),
        ("--warmup", "1"),
        ("--band", "0.1"),
        ("--out", ""),
        ("--cache", ""),
    ],
)
def test_exit_2_for_values_out_of_range(colours: Path, words: tuple[str, str]) -> None:
    wrong_usage(run("train", colours / "captions.jsonl", *words))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--band", "0.8", "0.2"), "The band's low end 0.8 must lie below its high end 0.2."),
        (("--band", "0.5", "0.5"), "The band's low end 0.5 must lie below its high end 0.5."),
        (("--also-weight", "2"), "also_weight"),
        (("--distances", "layernorm"), "--train-streams visual, or --distances unit."),
        (("--preset", "bit", "--train-streams", "visual_object"), "--train-streams visual, or --distances unit."),
        (("--clip-norm", "inf"), "clip_norm must be 0 or more, not inf."),
    ],
)
def test_a_recipe_that_makes_no_sense_is_one_line(
    colours: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    assert told in one_error(run("train", colours / "captions.jsonl", *words, "--out", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [("--d-model", "7"), ("--d-model", "0", "--num-memories", "0")])
def test_a_model_that_cannot_be_made_is_one_line(
    colours: Path, cache: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    rest = ("--cache", cache, "--out", tmp_path / "run", "--quiet")
    one_error(run("train", colours / "captions.jsonl", *TRAIN, *words, *rest))


def test_starting_from_another_shape_is_one_line(
    trained: tuple[Path, Result], colours: Path, cache: Path, tmp_path: Path
) -> None:
    words = ("train", colours / "captions.jsonl", *TRAIN, "--cache", cache, "--out", tmp_path / "run")
    told = one_error(run(*words, "--start-from", trained[0] / "best", "--d-model", "8"))
    assert "another shape" in told
    assert str(trained[0] / "best") in told
    assert not (tmp_path / "run").exists()


def test_starting_from_a_folder_without_a_model_is_one_line(colours: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    words = ("train", colours / "captions.jsonl", *TRAIN, "--cache", cache, "--out", tmp_path / "run")
    assert str(tmp_path / "none") in one_error(run(*words, "--start-from", tmp_path / "none"))


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without torch.distributed")
def test_accelerate_launches_two_processes_that_read_each_video_once(colours: Path, tmp_path: Path) -> None:
    captions = _write(tmp_path / "captions.jsonl", [*CAPTIONS, {"video": "nowhere.mp4", "sentence": "nothing"}])
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
            *("-m", "cezsar", "train", captions, "--videos", colours, *QUICK, "--device", "cpu", "--json"),
            *("--cache", tmp_path / "cache", "--out", tmp_path / "run"),
        ],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["training"] == 6
    said = [line for line in ended.stderr.splitlines() if line.startswith("cezsar:")]
    assert said == [f"cezsar: left out {captions.name}:9: its video 'nowhere.mp4' is not in {colours}"]
    read = [line for line in (tmp_path / "cache" / "known.jsonl").read_text().splitlines() if line]
    assert len(read) == len(COLOURS)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "run.json", "metrics.jsonl", "curves.png", "best", "last",
    }  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_one_line(colours: Path, tmp_path: Path) -> None:
    told = one_error(run("train", colours / "captions.jsonl", "--device", "cuda", "--out", tmp_path / "run"))
    assert "--device cpu" in told


def test_a_run_that_cannot_be_written_is_one_line(colours: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    words = ("train", colours / "captions.jsonl", *TRAIN, "--cache", cache, "--quiet")
    told = one_error(run(*words, "--out", tmp_path / "file" / "run"))
    assert told.startswith(f"cezsar: The run cannot be written: {tmp_path / 'file' / 'run'}: Not a directory")
    assert f"'{tmp_path / 'file'}' is a file" in wrong_usage(run(*words, "--out", tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_cache_that_cannot_be_written_is_one_line(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    words = ("train", colours / "captions.jsonl", *TRAIN, "--out", tmp_path / "run", "--quiet")
    assert "feature cache cannot be written" in one_error(run(*words, "--cache", tmp_path / "file" / "cache"))
    assert not (tmp_path / "run").exists()


# Help


def test_every_option_has_help() -> None:
    command = cli.get_command(click.Context(cli), "train")
    assert command is not None
    told = " ".join(run("train", "--help").stdout.split())
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert len(options) > 30
    for option in options:
        assert option.help, option.opts
        assert option.opts[0] in told
        assert option.help.split(".  [")[0].strip() in told


def test_help_says_what_each_preset_has() -> None:
    """Of every option that a preset decides; the frozen parts' names are too long for it."""
    command = cli.get_command(click.Context(cli), "train")
    assert command is not None
    values: dict[str, tuple[Any, ...]] = {
        field.name: tuple(getattr(RECIPES[preset], field.name) for preset in ("lite", "bit"))
        for field in fields(Recipe)
    }
    values["band"] = tuple(f"{recipe.band_low:g} {recipe.band_high:g}" for recipe in (RECIPES["lite"], RECIPES["bit"]))
    for name in ("joint_dim", "d_model", "num_memories", "dropout", "text_dropout", "streams", "visual_weight", "fps"):
        values[name] = tuple(PRESETS[preset].get(name, getattr(CezsarConfig(), name)) for preset in ("lite", "bit"))
    as_another = {"layer_dropout": "as --dropout", "train_streams": "as --streams"}
    checked = set()
    for option in command.params:
        if isinstance(option, click.Option) and option.name in values:
            lite, bit = (_in_words(value, as_another.get(option.name)) for value in values[option.name])
            told = f"[default: {lite}]" if lite == bit else f"[lite: {lite}, bit: {bit}]"
            assert (option.help or "").endswith(told), (option.name, told)
            checked.add(option.name)
    assert set(values) - checked == {"band_low", "band_high", "weight_decay"}


def _in_words(value: object, none: str | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return str(none if value is None else value)


@pytest.mark.parametrize("columns", ["80", "100", "300"])
def test_help_fits_the_terminal_and_100_columns(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = run("train", "--help").stdout.splitlines()
    assert len(lines) > 60
    assert max(map(len, lines)) <= 100
