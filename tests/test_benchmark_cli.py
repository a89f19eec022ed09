"""`cezsar benchmark`, as its users meet it: folders of colours, receipts, reports, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from make_models import WRITERS
from make_videos import write_video

from cezsar.cli import cli
from cezsar.query.glosses import fingerprint

COLOURS = ("blue", "green", "red")
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sub-folder a colour with two clips, one of them of another colour in red's."""
    root = tmp_path_factory.mktemp("colours")
    for colour in COLOURS:
        (root / colour).mkdir()
        for number in (1, 2):
            shown = "yellow" if (colour, number) == ("red", 2) else colour
            write_video(root / colour / f"{number}.mp4", [(shown, 0.8 + 0.2 * number)])  # no two are one clip
    return root


def _changed_in_secret(path: Path) -> None:
    """Another content under the same size and times: the last byte is another one."""
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _overwrite_a_vector(index: Path, *, by: float) -> None:
    """Add this to a number of one segment's vector, in the catalog alone."""
    with closing(sqlite3.connect(index / "catalog.sqlite")) as database, database:
        number, old = database.execute("SELECT id, vector FROM segments LIMIT 1").fetchone()
        row = np.frombuffer(old, np.float32).copy()
        row[0] += by
        database.execute("UPDATE segments SET vector = ? WHERE id = ?", (row.tobytes(), number))


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """run(*arguments): cezsar benchmark on the colours, with an index of its own."""

    def invoke(*arguments: str, where: Path = root) -> Result:
        index = ("--index", str(tmp_path / "index"))
        asked = arguments if "--check" in arguments else ("folder", "--root", str(where), "--model", "toy", *arguments)
        return CliRunner().invoke(cli, ["benchmark", *asked, *index])

    return invoke


@pytest.fixture(scope="module")
def first(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders index and out of a run on the colours."""
    folder = tmp_path_factory.mktemp("first")
    asked = ["folder", "--root", str(root), "--model", "toy", "--out", str(folder / "out")]
    result = CliRunner().invoke(cli, ["benchmark", *asked, "--index", str(folder / "index")])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def ran(first: Path, tmp_path: Path) -> None:
    """As after run("--out", str(tmp_path / "out"))."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)


def _receipt(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.usefixtures("ran")
def test_a_folder_is_a_class_each_and_the_wrong_clip_is_counted(run: Run) -> None:
    labels = run("--json")
    found = _receipt(labels)
    task = found["tasks"][0]
    assert task["classes"] == list(COLOURS)
    assert task["num_clips"] == 6
    assert task["by_class"][:2] == [1.0, 1.0]
    assert task["top_1"]["value"] == pytest.approx(5 / 6)
    assert task["top_1"]["low"] <= 5 / 6 <= task["top_1"]["high"]
    assert sum(map(sum, task["confusions"])) == 6
    assert task["confusions"][2][2] == 1


def test_the_table_says_what_was_run(run: Run) -> None:
    said = run().output
    assert "folder, protocol full; model toy (visual); sentences: names" in said
    assert re.search(r"full +3 +6 +83\.3 \(", said)


def test_two_runs_have_the_same_receipt_but_for_time(run: Run) -> None:
    first, second = _receipt(run("--json")), _receipt(run("--json"))
    first.pop("seconds"), second.pop("seconds")
    assert first == second


@pytest.mark.usefixtures("ran")
def test_random_classes_are_drawn_as_often_as_asked(run: Run) -> None:
    found = _receipt(run("--json", "--protocol", "random:2", "--runs", "7", "--seed", "3"))
    assert [len(task["classes"]) for task in found["tasks"]] == [2] * 7
    assert len({tuple(task["classes"]) for task in found["tasks"]}) > 1
    values = [task["top_1"]["value"] for task in found["tasks"]]
    assert found["summary"]["top_1"]["mean"] == pytest.approx(sum(values) / 7)


@pytest.mark.usefixtures("ran")
def test_a_receipt_is_confirmed_by_running_it_again(run: Run, tmp_path: Path) -> None:
    again = run("--check", str(tmp_path / "out" / "receipt.json"))
    assert again.exit_code == 0, again.output
    assert "identical, bit for bit" in again.output


@pytest.mark.usefixtures("ran")
def test_a_receipt_that_claims_more_is_not_confirmed(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "out" / "receipt.json"
    receipt = json.loads(path.read_text())
    receipt["tasks"][0]["top_1"]["value"] = 1.0
    path.write_text(json.dumps(receipt))
    again = run("--check", str(path))
    assert again.exit_code == 1
    assert "tasks[0].top_1.value: 1.0, and now 0.8333" in again.output
    assert "1 value differs." in again.output


def test_a_receipt_of_other_clips_is_not_confirmed(root: Path, run: Run, tmp_path: Path) -> None:
    moved = shutil.copytree(root, tmp_path / "moved")
    assert run("--out", str(tmp_path / "out"), where=moved).exit_code == 0
    (moved / "blue" / "1.mp4").unlink()
    again = run("--check", str(tmp_path / "out" / "receipt.json"))
    assert again.exit_code == 1
    assert "clips.found: 6, and now 5" in again.output


def test_a_receipt_of_clips_of_other_content_is_not_confirmed(root: Path, run: Run, tmp_path: Path) -> None:
    moved = shutil.copytree(root, tmp_path / "moved")
    assert run("--out", str(tmp_path / "out"), where=moved).exit_code == 0
    write_video(moved / "blue" / "1.mp4", [("blue", 1.5)])
    again = run("--check", str(tmp_path / "out" / "receipt.json"))
    assert again.exit_code == 1
    assert "clips.sha256: " in again.output


@pytest.mark.usefixtures("ran")
def test_a_check_says_what_it_did(run: Run, tmp_path: Path) -> None:
    again = run("--check", str(tmp_path / "out" / "receipt.json"), "--check-seed", "7")
    did = "hashed 6 of 6 clips, 3 class sentences, the model's weights; embedded 5 of 6 anew (drawn with seed 7): equal"
    assert f"{did}, bit for bit" in again.output
    every = run("--check", str(tmp_path / "out" / "receipt.json"), "--all").output
    assert "embedded 6 of 6 anew: equal, bit for bit" in every


def test_a_clip_changed_under_its_size_and_times_is_found_and_named(root: Path, run: Run, tmp_path: Path) -> None:
    moved = shutil.copytree(root, tmp_path / "moved")
    assert run("--out", str(tmp_path / "out"), where=moved).exit_code == 0
    _changed_in_secret(moved / "blue" / "1.mp4")
    again = run("--check", str(tmp_path / "out" / "receipt.json"))
    assert again.exit_code == 1
    assert "differs: clips.files.blue/1.mp4: " in again.output


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("by", [1.0, 1e-6])
def test_vectors_overwritten_by_hand_are_found_and_named(by: float, run: Run, tmp_path: Path) -> None:
    _overwrite_a_vector(tmp_path / "index", by=by)
    again = run("--check", str(tmp_path / "out" / "receipt.json"), "--all")
    assert again.exit_code == 1
    assert re.search(r"differs: \w+/\d\.mp4: its vectors in the index are not those that the model gives", again.output)
    assert "embedded 6 of 6 anew: 1 differ" in again.output


def test_a_clip_that_crashes_the_decoder_in_a_check_is_named(
    root: Path, run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    hostile = shutil.copytree(root, tmp_path / "hostile")
    (hostile / "red" / "2.mp4").rename(hostile / "red" / "deadly.mp4")
    assert run("--out", str(tmp_path / "out"), where=hostile).exit_code == 0
    request.getfixturevalue("deadly")
    again = run("--check", str(tmp_path / "out" / "receipt.json"), "--all")
    assert again.exit_code == 1
    assert "differs: red/deadly.mp4: it cannot be embedded anew: it crashed the decoder (SIGSEGV)" in again.output
    assert "embedded 6 of 6 anew: 1 differ" in again.output


@pytest.mark.usefixtures("ran")
def test_on_another_machine_vectors_may_differ_by_rounding(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "out" / "receipt.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "machine": "another"}))
    _overwrite_a_vector(tmp_path / "index", by=1e-6)
    again = run("--check", str(path), "--all")
    assert again.exit_code == 0, again.output
    assert "embedded 6 of 6 anew: equal within 0.0001" in again.output
    assert "the same within 1e-4, though not bit for bit" in again.output


def test_an_edited_sentence_is_found_and_named(run: Run, tmp_path: Path) -> None:
    said = {"red": ["red", "yellow"], "green": ["green"], "blue": ["blue"]}
    (tmp_path / "said.json").write_text(json.dumps(said))
    assert run("--sentences", str(tmp_path / "said.json"), "--out", str(tmp_path / "out")).exit_code == 0
    receipt = str(tmp_path / "out" / "receipt.json")
    (tmp_path / "said.json").write_text(json.dumps({**said, "red": ["red", "white"]}))
    again = run("--check", receipt, "--sentences", str(tmp_path / "said.json"))
    assert again.exit_code == 1
    assert "differs: sentences.texts.red[1]: 'yellow', and now 'white'" in again.output
    edited = json.loads(Path(receipt).read_text())
    edited["sentences"]["texts"]["red"][1] = "white"
    Path(receipt).write_text(json.dumps(edited))
    assert "differs: sentences.sha256: " in run("--check", receipt).output


def test_a_receipt_holds_no_place_of_its_maker(root: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "said.json").write_text(json.dumps({"red": ["red"], "green": ["green"], "blue": ["blue"]}))
    lacking = shutil.copytree(root, tmp_path / "lacking")
    (lacking / "blue" / "3.mp4").write_bytes(b"no video")
    asked = ("--sentences", str(tmp_path / "said.json"), "--out", str(tmp_path / "out"))
    assert run(*asked, where=lacking).exit_code == 0
    for name in ("receipt.json", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        assert str(tmp_path) not in text
        assert str(Path.home()) not in text
    receipt = json.loads((tmp_path / "out" / "receipt.json").read_text())
    assert receipt["sentences"]["texts"] == {"blue": ["blue"], "green": ["green"], "red": ["red"]}
    assert list(receipt["clips"]["files"])[:2] == ["blue/1.mp4", "blue/2.mp4"]
    assert receipt["clips"]["unreadable"][0].startswith("blue/3.mp4: ")


def test_a_receipt_is_confirmed_elsewhere_with_nothing_of_its_maker(root: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "said.json").write_text(json.dumps({"red": ["red"], "green": ["green"], "blue": ["blue"]}))
    assert run("--sentences", str(tmp_path / "said.json"), "--out", str(tmp_path / "out")).exit_code == 0
    (tmp_path / "said.json").unlink()
    shutil.rmtree(tmp_path / "index")
    moved = shutil.copytree(root, tmp_path / "far" / "away")
    again = run("--check", str(tmp_path / "out" / "receipt.json"), "--root", str(moved))
    assert again.exit_code == 0, again.output
    assert "identical, bit for bit" in again.output
    lost = run("--check", str(tmp_path / "out" / "receipt.json"))  # the index knows where it was made
    assert lost.exit_code == 0, lost.output
    shutil.rmtree(tmp_path / "index")
    gone = run("--check", str(tmp_path / "out" / "receipt.json"))
    assert gone.exit_code == 1
    assert "is not there: say where it is with --root" in gone.output


def test_a_receipt_is_checked_with_the_sampling_that_made_it(
    root: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEZSAR_FPS", "4")
    assert run("--out", str(tmp_path / "out")).exit_code == 0
    monkeypatch.delenv("CEZSAR_FPS")
    shutil.rmtree(tmp_path / "index")
    again = run("--check", str(tmp_path / "out" / "receipt.json"), "--root", str(root))
    assert again.exit_code == 0, again.output
    assert "identical, bit for bit" in again.output


def test_an_index_of_its_own_is_kept_for_each_sampling(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = ["benchmark", "folder", "--root", str(root), "--model", "toy", "--json"]
    rates = []
    for fps in (None, "4", None):
        monkeypatch.setenv("CEZSAR_FPS", fps or "")
        rates.append(_receipt(CliRunner().invoke(cli, asked))["sampling"]["fps"])
    assert rates == [2.0, 4.0, 2.0]


@pytest.mark.usefixtures("ran")
def test_a_receipt_of_before_labels_were_words_is_checked_raw(root: Path, run: Run, tmp_path: Path) -> None:
    made = _receipt(run("--json", "--raw"))
    assert made["labels"] == {"method": "raw"}
    asked = {key: value for key, value in made["request"].items() if key != "raw"}
    before = {**made, "format": 2, "request": asked}
    del before["labels"]
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(before))
    again = run("--check", str(path))
    assert again.exit_code == 0, again.output
    assert again.output.endswith("The receipt is confirmed: identical, bit for bit.\n")


@pytest.mark.usefixtures("ran")
def test_a_receipt_names_how_labels_became_words(root: Path, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "out" / "receipt.json"
    made = json.loads(path.read_text())
    labels = made["labels"]
    assert labels["method"] == "words"
    assert labels["dictionary"] == "WordNet 3.1"
    assert labels["dictionary_sha256"] == fingerprint()
    assert labels["bank_sha256"] is None  # toy has none
    assert labels["texts"]["blue"] == ["blue", "a person is blue"]
    assert run("--check", str(path)).exit_code == 0
    path.write_text(json.dumps({**made, "labels": {**labels, "dictionary_sha256": "0" * 64}}))
    again = run("--check", str(path))
    assert again.exit_code == 1
    assert "differs: labels.dictionary_sha256" in again.output


def _former(receipt: dict[str, Any], root: Path, index: Path) -> dict[str, Any]:
    """A receipt as the first ones were: places of its maker, no sentences, one hash of all clips, ddof 1."""
    found = {key: value for key, value in receipt.items() if key not in ("format", "machine", "std_ddof", "labels")}
    for part, names in {
        "request": ["split", "raw"],
        "model": ["files", "is_folder"],
        "clips": ["files", "per_class"],
    }.items():
        found[part] = {key: value for key, value in receipt[part].items() if key not in names}
    found["sentences"] = {key: value for key, value in receipt["sentences"].items() if key != "texts"}
    if len(receipt["tasks"]) > 1:
        found["summary"] = {
            name: {**of, "std": float(np.std([task[name]["value"] for task in receipt["tasks"]], ddof=1))}
            for name, of in receipt["summary"].items()
        }
    return {**found, "root": str(root), "index": str(index)}


@pytest.mark.usefixtures("ran")
def test_a_receipt_of_the_first_format_is_checked_as_it_was_made(root: Path, run: Run, tmp_path: Path) -> None:
    made = _receipt(run("--json", "--raw", "--protocol", "random:2", "--runs", "3"))
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(_former(made, root, tmp_path / "index")))
    again = run("--check", str(path))
    assert again.exit_code == 0, again.output
    assert "the receipt is of an older format: it has one hash for all clips" in again.output
    assert "identical, bit for bit" in again.output


def test_a_clip_changed_since_a_receipt_of_the_first_format_is_found(root: Path, run: Run, tmp_path: Path) -> None:
    moved = shutil.copytree(root, tmp_path / "moved")
    made = _receipt(run("--json", "--raw", where=moved))
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(_former(made, moved, tmp_path / "index")))
    _changed_in_secret(moved / "blue" / "1.mp4")
    again = run("--check", str(path))
    assert again.exit_code == 1
    assert "differs: clips.sha256: " in again.output


def test_other_weights_under_the_same_name_are_found(root: Path, run: Run, tmp_path: Path) -> None:
    model = WRITERS["clip"](tmp_path / "clip")
    assert run("--model", str(model), "--out", str(tmp_path / "out")).exit_code == 0
    receipt = tmp_path / "out" / "receipt.json"
    assert str(tmp_path) not in receipt.read_text()
    moved = shutil.copytree(model, tmp_path / "elsewhere" / "copy")
    shutil.rmtree(tmp_path / "index")
    whole = run("--check", str(receipt), "--root", str(root), "--model", str(moved))
    assert whole.exit_code == 0, whole.output
    settings = moved / "processor_config.json"
    settings.write_text(settings.read_text() + " ")
    again = run("--check", str(receipt), "--root", str(root), "--model", str(moved))
    assert again.exit_code == 1
    assert "differs: model.files.processor_config.json: " in again.output
    WRITERS["clip"](moved, seed=1)
    again = run("--check", str(receipt), "--root", str(root), "--model", str(moved))
    assert again.exit_code == 1
    assert f"The weights of '{moved}' are not those that made this index" in again.output
    shutil.rmtree(tmp_path / "index")
    again = run("--check", str(receipt), "--root", str(root), "--model", str(moved))
    assert again.exit_code == 1
    assert "differs: model.weights_sha256: " in again.output
    shutil.rmtree(tmp_path / "index")
    lost = run("--check", str(receipt), "--root", str(root))
    assert "The receipt's model is a folder called clip: say where it is with --model DIR." in lost.output


def test_equal_clips_of_a_class_count_once_and_of_two_in_each(root: Path, run: Run, tmp_path: Path) -> None:
    copied = shutil.copytree(root, tmp_path / "copied")
    shutil.copy(copied / "blue" / "1.mp4", copied / "blue" / "9.mp4")
    shutil.copy(copied / "blue" / "1.mp4", copied / "green" / "9.mp4")
    (copied / "blue" / "2.mp4").rename(copied / "blue" / "2.mkv")
    write_video(copied / "blue" / "2.mp4", [("blue", 1.5)])
    found = _receipt(run("--json", where=copied))
    assert found["clips"]["per_class"] == {"blue": 2, "green": 3, "red": 2}
    assert found["notes"] == [
        "counted once: blue/2.mkv, for blue/2.mp4 is the same clip by name",
        "counted once: blue/1.mp4, for blue/9.mp4 has the same content",
        "label noise: the same content is of 2 classes, and judged in each: blue/1.mp4 (blue), green/9.mp4 (green)",
    ]


def test_standard_deviations_are_of_ddof_0_and_say_so(run: Run, tmp_path: Path) -> None:
    asked = ("--protocol", "random:2", "--runs", "5", "--out", str(tmp_path / "out"))
    assert re.search(r"mean ± std over runs, ddof 0 .*\d+\.\d ± \d+\.\d", run(*asked).output)
    found = json.loads((tmp_path / "out" / "receipt.json").read_text())
    values = [task["top_1"]["value"] for task in found["tasks"]]
    assert found["std_ddof"] == 0
    assert found["summary"]["top_1"]["std"] == pytest.approx(statistics.pstdev(values))
    assert "ddof 0" in (tmp_path / "out" / "report.html").read_text()


def _hmdb51(root: Path, *folders: str) -> Path:
    """Clips of two classes of HMDB-51 in each of these folders, two of the first and one of the second."""
    for number, folder in enumerate(folders):
        for label, count in (("clap", 2), ("wave", 1)):
            (root / folder / label).mkdir(parents=True)
            for clip in range(count):
                write_video(root / folder / label / f"{clip}.mp4", [(COLOURS[clip], 1.0 + 0.1 * number)])
    return root


def test_a_dataset_without_a_list_says_so_and_how_many_clips_it_judged(tmp_path: Path) -> None:
    asked = ["hmdb51", "--root", str(_hmdb51(tmp_path / "hmdb", ".")), "--model", "toy", "--allow-missing"]
    said = CliRunner().invoke(cli, ["benchmark", *asked, "--index", str(tmp_path / "index")]).output
    assert "clips judged: 3 (per class 0-2)" in said
    assert "fewer than 10 clips: 51 of 51 classes (brush_hair 0, " in said
    assert "note: no official list of clips is known here: every clip found is judged" in said
    assert re.search(r"full +51 +3, no list ", said)


def test_splits_side_by_side_are_refused_unless_one_is_chosen(tmp_path: Path) -> None:
    root = _hmdb51(tmp_path / "hmdb", "train", "val_256")

    def asked(*arguments: str) -> Result:
        where = ["--root", str(root), "--model", "toy", "--allow-missing", "--index", str(tmp_path / "index")]
        return CliRunner().invoke(cli, ["benchmark", "hmdb51", *where, *arguments])

    refused = asked()
    assert refused.exit_code == 1
    assert f"{root} holds several splits, whose clips must not be mixed (train, val_256): " in refused.output
    assert "choose one with --split val_256." in refused.output
    found = _receipt(asked("--split", "val_256", "--json"))
    assert list(found["clips"]["files"]) == ["val_256/clap/0.mp4", "val_256/clap/1.mp4", "val_256/wave/0.mp4"]
    assert found["request"]["split"] == "val_256"
    assert "its splits are: train, val_256." in asked("--split", "test").output


def test_a_folder_of_splits_has_their_classes(root: Path, run: Run, tmp_path: Path) -> None:
    for split in ("test", "train"):
        shutil.copytree(root, tmp_path / "parted" / split)
    refused = run(where=tmp_path / "parted")
    assert "(test, train): choose one with --split test." in refused.output
    assert _receipt(run("--json", "--split", "test", where=tmp_path / "parted"))["tasks"][0]["classes"] == list(COLOURS)


@pytest.mark.usefixtures("ran")
def test_sentences_of_a_file_stand_for_the_classes(run: Run, tmp_path: Path) -> None:
    said = {"Red": ["red", "yellow"], "GREEN": ["green"], "blue": ["blue"]}
    (tmp_path / "said.json").write_text(json.dumps(said))
    found = _receipt(run("--json", "--sentences", str(tmp_path / "said.json")))
    assert found["tasks"][0]["top_1"]["value"] == 1.0
    assert found["sentences"]["count"] == 4


@pytest.mark.usefixtures("ran")
def test_sentences_of_a_folder_stand_for_the_classes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    for label, said in (("Red", "red\nyellow\n"), ("GREEN", "green"), ("blue", "blue\n")):
        (tmp_path / "theirs" / f"{label}.txt").write_text(said)
    found = _receipt(run("--json", "--sentences", str(tmp_path / "theirs")))
    assert found["tasks"][0]["top_1"]["value"] == 1.0
    assert (found["sentences"]["count"], found["sentences"]["source"]) == (4, "theirs")


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("correction", ["csls", "inverted-softmax", "refine"])
def test_a_correction_is_named_in_the_receipt(correction: str, run: Run) -> None:
    assert _receipt(run("--json", "--correction", correction))["request"]["correction"] == correction


@pytest.mark.usefixtures("ran")
def test_the_report_holds_everything_itself(run: Run, tmp_path: Path) -> None:
    names = {"receipt.json", "report.html", "confusion.png", "classes.png", "tsne.png", "curve.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("src='data:image/png;base64,") == 5  # four figures, and red taken for another colour
    assert not re.search(r"(src|href)='(?!data:)", page)


def test_a_report_that_cannot_be_written_leaves_the_older_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run("--out", str(out)).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(_: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    result = run("--out", str(out))
    assert result.exit_code == 1
    assert f"The report cannot be written: {out}: No space left on device." in result.stderr
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_clip_that_crashes_the_decoder_costs_its_picture_alone(
    root: Path, run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    hostile = shutil.copytree(root, tmp_path / "hostile")
    (hostile / "red" / "2.mp4").rename(hostile / "red" / "deadly.mp4")
    assert run(where=hostile).exit_code == 0
    request.getfixturevalue("deadly")
    assert run("--out", str(tmp_path / "out"), where=hostile).exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<td>it crashed the decoder (SIGSEGV)</td><td>red</td>" in page
    assert page.count("src='data:image/png;base64,") == 4


def test_names_of_classes_cannot_write_html(root: Path, run: Run, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile"
    shutil.copytree(root, hostile)
    (hostile / "red").rename(hostile / "<script>red<")
    assert run("--out", str(tmp_path / "out"), where=hostile).exit_code == 0
    assert "<script>" not in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("ran")
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium to look at the report with")
def test_a_browser_shows_every_figure(run: Run, tmp_path: Path) -> None:
    page = (tmp_path / "out" / "report.html").read_text()
    count = (
        "<script>onload = () => { document.title = [...document.images].map(i => i.naturalWidth).join(' ') }</script>"
    )
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{count}</body>"))
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    seen = subprocess.run(
        [*browser, "--dump-dom", str(tmp_path / "page.html")], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    title = re.search(r"<title>([\d ]+)</title>", seen)
    assert title is not None
    widths = [int(width) for width in title[1].split()]
    assert len(widths) == 5
    assert min(widths) >= 100
    shot = tmp_path / "shot.png"
    subprocess.run(
        [*browser, f"--screenshot={shot}", "--window-size=1000,3000", str(tmp_path / "out" / "report.html")],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert shot.stat().st_size > 50_000


def test_pairs_are_found_both_ways(tmp_path: Path) -> None:
    rows = []
    for colour in COLOURS:
        write_video(tmp_path / f"{colour}.mp4", [(colour, 1.0)])
        rows.append({"video": f"{colour}.mp4", "sentences": [colour, f"{colour} again"], "title": colour})
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ["pairs", "--root", str(tmp_path), "--model", "toy", "--json", "--index", str(tmp_path / "index")]
    found = _receipt(CliRunner().invoke(cli, ["benchmark", *asked]))
    assert found["text_to_video"]["num_queries"] == 6
    assert found["video_to_text"]["num_candidates"] == 6
    assert found["text_to_video"]["recall_1"]["value"] == found["video_to_text"]["recall_1"]["value"] == 1.0
    by_title = _receipt(CliRunner().invoke(cli, ["benchmark", *asked, "--query-field", "title"]))
    assert by_title["text_to_video"]["num_queries"] == 3


def test_twenty_captions_of_a_video_are_no_rivals_of_each_other_in_any_form(tmp_path: Path) -> None:
    colours = ("red", "blue", "yellow", "green", "white")
    for colour in colours:
        write_video(tmp_path / f"{colour}.mp4", [(colour, 1.0)])
    rows = [{"video": f"{colour}.mp4", "sentence": f"{colour} thing {n}"} for n in range(20) for colour in colours]
    lists = [{"video": f"{colour}.mp4", "sentences": [f"{colour} thing {n}" for n in range(20)]} for colour in colours]
    texts = {
        "captions.jsonl": ["".join(json.dumps(row) + "\n" for row in said) for said in (lists, rows)],
        "captions.csv": ["video,sentence\n" + "".join(f"{row['video']},{row['sentence']}\n" for row in rows)],
    }
    figures = []
    for name, said in texts.items():
        for text in said:
            (tmp_path / name).write_text(text)
            asked = ["pairs", "--root", str(tmp_path), "--model", "toy", "--json", "--index", str(tmp_path / "index")]
            found = _receipt(CliRunner().invoke(cli, ["benchmark", *asked]))
            figures.append([found[key] for key in ("text_to_video", "video_to_text", "list_sha256", "clips")])
        (tmp_path / name).unlink()
    assert len(figures) == 3
    assert figures[1] == figures[0]
    assert figures[2] == figures[0]
    for direction, num_queries, num_candidates in ((figures[0][0], 100, 5), (figures[0][1], 5, 100)):
        assert (direction["num_queries"], direction["num_candidates"]) == (num_queries, num_candidates)
        assert direction["recall_1"]["value"] == 1.0
        assert (direction["median_rank"], direction["mean_rank"]) == (1.0, 1.0)


def test_equal_captions_of_two_videos_stay_rivals(tmp_path: Path) -> None:
    """Worked out by hand: of 8 queries 7 are right, and black is like none of the four, so it comes last: 4th."""
    said = {"red": ["red", "a red thing", "something red"], "blue": ["blue", "blue sky"], "yellow": ["yellow"],
            "lime": ["green", "black"]}  # fmt: skip
    for colour in said:
        write_video(tmp_path / f"{colour}.mp4", [("green" if colour == "lime" else colour, 1.0)])
    rows = [{"video": colour, "sentence": one} for colour, sentences in said.items() for one in sentences]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ["pairs", "--root", str(tmp_path), "--model", "toy", "--json", "--index", str(tmp_path / "index")]
    found = _receipt(CliRunner().invoke(cli, ["benchmark", *asked]))
    assert found["text_to_video"]["recall_1"]["value"] == 7 / 8
    assert (found["text_to_video"]["median_rank"], found["text_to_video"]["mean_rank"]) == (1.0, 1.375)
    assert found["video_to_text"]["recall_1"]["value"] == 1.0


def test_rows_that_start_after_their_end_are_counted_in_a_note(tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        write_video(tmp_path / f"{colour}.mp4", [(colour, 2.0)])
    rows = [{"video": "red", "start_s": 2, "end_s": 0, "sentence": "red"}, {"video": "blue", "sentence": "blue"}]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ["pairs", "--root", str(tmp_path), "--model", "toy", "--index", str(tmp_path / "index")]
    found = CliRunner().invoke(cli, ["benchmark", *asked])
    assert found.exit_code == 0, found.output
    assert "note: rows whose start comes after their end, and had the two exchanged: 1\n" in found.output


def test_a_receipt_of_captions_is_checked_and_names_the_one_that_changed(tmp_path: Path) -> None:
    root, index = tmp_path / "root", str(tmp_path / "index")
    root.mkdir()
    rows: list[dict[str, Any]] = [{"video": "gone.mp4", "sentences": ["gone"]}]
    for colour in COLOURS:
        write_video(root / f"{colour}.mp4", [(colour, 1.0)])
        rows.append({"video": f"{colour}.mp4", "sentences": [colour, f"{colour} again"]})
    captions = root / "captions.jsonl"
    captions.write_text("\n".join(map(json.dumps, rows)))
    asked = ["pairs", "--root", str(root), "--model", "toy", "--allow-missing", "--index", index]
    made = CliRunner().invoke(cli, ["benchmark", *asked, "--out", str(tmp_path / "out")])
    assert made.exit_code == 0, made.output
    receipt = tmp_path / "out" / "receipt.json"
    found = json.loads(receipt.read_text())
    assert str(tmp_path) not in receipt.read_text() + (tmp_path / "out" / "report.html").read_text()
    assert found["sentences"]["texts"] == ["blue", "blue again", "green", "green again", "red", "red again"]
    check = ["benchmark", "--check", str(receipt), "--root", str(root), "--index", index]
    whole = CliRunner().invoke(cli, check).output
    assert "hashed 3 of 3 clips, 6 captions, the model's weights; embedded 3 of 3 anew: equal" in whole
    captions.write_text(captions.read_text().replace("green again", "green anew"))
    again = CliRunner().invoke(cli, check)
    assert again.exit_code == 1
    assert "differs: sentences.texts[3]: 'green again', and now 'green anew'" in again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--protocol", "nope"], "There is no protocol 'nope'. There are: full, half"),
        (["--protocol", "truze"], "truze belongs to ucf101, not to folder"),
        (["--protocol", "random:9"], "random:9 asks for 9 classes, and there are 3"),
        (["--protocol", "random:x"], "random:x needs a number of classes"),
        (["--sentences", "ours"], "no sentence for 3 of 3 classes (blue, green, red)"),
        (["--sentences", "missing.json"], "cannot be read"),
        (["--sentences", "words.txt"], "--sentences is names, ours, a .json file"),
        (["--streams", "object"], "has no object ones"),
    ],
)
def test_what_cannot_be_run_is_one_clear_line(arguments: list[str], said: str, run: Run) -> None:
    found = run(*arguments)
    assert found.exit_code == 1
    assert said in found.output
    assert "\n" not in found.output.strip()


def test_a_class_without_a_clip_stops_it_unless_that_is_allowed(root: Path, run: Run, tmp_path: Path) -> None:
    lacking = shutil.copytree(root, tmp_path / "lacking")
    (lacking / "white").mkdir()
    found = run(where=lacking)
    assert found.exit_code == 1
    assert "1 of 4 classes have no clip (white" in found.output
    task = _receipt(run("--json", "--allow-missing", where=lacking))["tasks"][0]
    assert task["num_classes"] == 4
    assert task["by_class"][3] is None


def test_a_folder_without_videos_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty" / "red").mkdir(parents=True)
    found = run(where=tmp_path / "empty")
    assert found.exit_code == 1
    assert "There is no video in" in found.output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a receipt of `cezsar benchmark`: it cannot be []."),
        ('{"request": {}}', "is not a receipt of `cezsar benchmark`: root is missing."),
        ('{"request": {}, "root": 3}', "is not a receipt of `cezsar benchmark`: model is missing."),
        ('{"request": {}, "format": "2"}', "is not a receipt of `cezsar benchmark`: format cannot be '2'."),
        ('{"request": {}, "format": 9, "cezsar": "3.0"}', "was made by a newer CEZSAR ('3.0')"),
    ],
)
def test_what_is_no_receipt_is_refused(text: str, told: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text(text)
    found = run("--check", str(tmp_path / "receipt.json"))
    assert found.exit_code == 1
    assert "\n" not in found.output.strip()
    assert told in found.output


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("request", {"runs": "10"}, "runs cannot be '10'"),
        ("request", {"more": 1}, "its request does not have the fields of format 3"),
        ("sampling", {"fps": 0}, "fps must be a positive number, not 0"),
        ("sampling", {"more": 1}, "more is not known"),
        ("model", {"is_folder": None}, "model.is_folder cannot be None"),
        ("sentences", {"texts": {"red": []}}, "sentences.texts has a list without any"),
    ],
)
def test_a_receipts_wrong_field_is_named(
    part: str, change: dict[str, object], told: str, run: Run, tmp_path: Path
) -> None:
    receipt = _receipt(run("--json"))
    (tmp_path / "receipt.json").write_text(json.dumps({**receipt, part: {**receipt[part], **change}}))
    found = run("--check", str(tmp_path / "receipt.json"))
    assert found.exit_code == 1
    assert found.output.strip().endswith(f"receipt.json is not a receipt of `cezsar benchmark`: {told}.")


def test_a_check_takes_no_other_choice(run: Run, tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text("{}")
    assert run("--check", str(tmp_path / "receipt.json"), "--seed", "3").exit_code == 2
    assert CliRunner().invoke(cli, ["benchmark", "folder"]).exit_code == 2
