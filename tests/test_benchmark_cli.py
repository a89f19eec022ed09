"""`cezsar benchmark`, as its users meet it: folders of colours, receipts, reports, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from make_videos import write_video

from cezsar.cli import cli

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
            write_video(root / colour / f"{number}.mp4", [(shown, 1.0)])
    return root


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """run(*arguments): cezsar benchmark on the colours, with an index of its own."""

    def invoke(*arguments: str, where: Path = root) -> Result:
        index = ("--index", str(tmp_path / "index"))
        asked = arguments if "--check" in arguments else ("folder", "--root", str(where), "--model", "toy", *arguments)
        return CliRunner().invoke(cli, ["benchmark", *asked, *index])

    return invoke


def _receipt(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


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


def test_random_classes_are_drawn_as_often_as_asked(run: Run) -> None:
    found = _receipt(run("--json", "--protocol", "random:2", "--runs", "7", "--seed", "3"))
    assert [len(task["classes"]) for task in found["tasks"]] == [2] * 7
    assert len({tuple(task["classes"]) for task in found["tasks"]}) > 1
    values = [task["top_1"]["value"] for task in found["tasks"]]
    assert found["summary"]["top_1"]["mean"] == pytest.approx(sum(values) / 7)


def test_a_receipt_is_confirmed_by_running_it_again(run: Run, tmp_path: Path) -> None:
    assert run("--out", str(tmp_path / "out")).exit_code == 0
    again = run("--check", str(tmp_path / "out" / "receipt.json"))
    assert again.exit_code == 0, again.output
    assert "identical, bit for bit" in again.output


def test_a_receipt_that_claims_more_is_not_confirmed(run: Run, tmp_path: Path) -> None:
    assert run("--out", str(tmp_path / "out")).exit_code == 0
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


def test_sentences_of_a_file_stand_for_the_classes(run: Run, tmp_path: Path) -> None:
    said = {"Red": ["red", "yellow"], "GREEN": ["green"], "blue": ["blue"]}
    (tmp_path / "said.json").write_text(json.dumps(said))
    found = _receipt(run("--json", "--sentences", str(tmp_path / "said.json")))
    assert found["tasks"][0]["top_1"]["value"] == 1.0
    assert found["sentences"]["count"] == 4


@pytest.mark.parametrize("correction", ["csls", "inverted-softmax", "refine"])
def test_a_correction_is_named_in_the_receipt(correction: str, run: Run) -> None:
    assert _receipt(run("--json", "--correction", correction))["request"]["correction"] == correction


def test_the_report_holds_everything_itself(run: Run, tmp_path: Path) -> None:
    assert run("--out", str(tmp_path / "out")).exit_code == 0
    names = {"receipt.json", "report.html", "confusion.png", "classes.png", "tsne.png", "curve.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("src='data:image/png;base64,") == 5  # four figures, and red taken for another colour
    assert not re.search(r"(src|href)='(?!data:)", page)


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


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium to look at the report with")
def test_a_browser_shows_every_figure(run: Run, tmp_path: Path) -> None:
    assert run("--out", str(tmp_path / "out")).exit_code == 0
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--protocol", "nope"], "There is no protocol 'nope'. There are: full, half"),
        (["--protocol", "truze"], "truze is of ucf101, not of folder"),
        (["--protocol", "random:9"], "random:9 asks for 9 classes, and there are 3"),
        (["--protocol", "random:x"], "random:x needs a number of classes"),
        (["--sentences", "ours"], "no sentence for 3 of 3 classes (blue, green, red)"),
        (["--sentences", "missing.json"], "cannot be read"),
        (["--sentences", "words.txt"], "--sentences is names, ours, or a .json file"),
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


@pytest.mark.parametrize("text", ["{", "[]", '{"request": {}}', '{"request": {"dataset": "folder"}, "root": "/"}'])
def test_what_is_no_receipt_is_refused(text: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text(text)
    found = run("--check", str(tmp_path / "receipt.json"))
    assert found.exit_code == 1
    assert "\n" not in found.output.strip()


def test_a_check_takes_no_other_choice(run: Run, tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text("{}")
    assert run("--check", str(tmp_path / "receipt.json"), "--seed", "3").exit_code == 2
    assert CliRunner().invoke(cli, ["benchmark", "folder"]).exit_code == 2
