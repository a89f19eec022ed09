"""The command line's contract, on generated videos and the toy encoder."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import av
import click
import pytest
from click.testing import CliRunner, Result
from make_videos import write_sound, write_video

from cezsar import encoders, store
from cezsar.cli import cli
from cezsar.types import EncoderIdentity, Sampling, Segment


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """red.mp4, green.mp4, blue.mp4, and warm/red-then-blue.mp4."""
    folder = tmp_path_factory.mktemp("colours")
    (folder / "warm").mkdir()
    for name in ("red", "green", "blue"):
        write_video(folder / f"{name}.mp4", [(name, 2.0)])
    write_video(folder / "warm" / "red-then-blue.mp4", [("red", 10.0), ("blue", 10.0)])
    return folder


@pytest.fixture(scope="module")
def made(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the colours that no test changes."""
    folder = tmp_path_factory.mktemp("made") / "index"
    assert run("index", colours, "--index", folder, "--model", "toy").exit_code == 0
    return folder


def run(*words: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, [os.fspath(w) if isinstance(w, Path) else str(w) for w in words], input=stdin)


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def one_error(result: Result) -> str:
    """The single line on stderr of a command that exits 1."""
    assert result.exit_code == 1, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


# index


def test_index_prints_the_contracts_document(colours: Path, tmp_path: Path) -> None:
    report = document(run("index", colours, "--index", tmp_path / "i", "--model", "toy", "--json"))
    assert list(report) == [
        "index", "model", "added", "updated", "moved", "unchanged", "removed", "segments", "seconds", "skipped",
        "left_out",
    ]  # fmt: skip
    assert report["index"] == str(tmp_path / "i")
    assert (report["model"], report["added"], report["segments"], report["skipped"]) == ("toy", 4, 7, [])


def test_second_index_embeds_nothing(colours: Path, tmp_path: Path) -> None:
    run("index", colours, "--index", tmp_path / "i", "--model", "toy")
    report = document(run("index", colours, "--index", tmp_path / "i", "--json"))
    assert (report["added"], report["unchanged"], report["segments"]) == (0, 4, 0)


def test_skipped_file_is_named_with_its_reason_and_does_not_change_the_exit_code(tmp_path: Path) -> None:
    write_video(tmp_path / "red.mp4", [("red", 1.0)])
    (tmp_path / "text.mp4").write_text("no video at all")
    result = run("index", tmp_path, "--index", tmp_path / "i", "--model", "toy", "--json")
    report = document(result)
    assert [Path(skip["path"]).name for skip in report["skipped"]] == ["text.mp4"]
    assert "not a readable video" in report["skipped"][0]["reason"]
    assert "skipped" in result.stderr
    assert "text.mp4" in result.stderr


def test_what_is_left_out_by_its_name_is_one_line_and_in_json(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    write_video(tmp_path / "v" / "red.mp4", [("red", 1.0)])
    for name in ("a.qqq", "b.qqq", "c.zzz", "notes.txt", "code.ts"):
        (tmp_path / "v" / name).write_text("text")
    result = run("index", tmp_path / "v", "--index", tmp_path / "i", "--model", "toy", "--json")
    assert document(result)["left_out"] == {"count": 4, "suffixes": {".qqq": 2, ".zzz": 1}, "texts": 1}
    assert result.stderr.splitlines() == [
        "cezsar: left out 3 files without a video's suffix (.qqq 2, .zzz 1); a file is taken if PATH is its own name"
    ]
    assert run("index", tmp_path / "v", "--index", tmp_path / "i", "--quiet").stderr == ""


def test_what_could_not_be_read_before_is_counted_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    write_video(tmp_path / "v" / "red.mp4", [("red", 1.0)])
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "v" / name).write_text("no video at all")
    first = run("index", tmp_path / "v", "--index", tmp_path / "i", "--model", "toy")
    assert len(first.stderr.splitlines()) == 2
    again = run("index", tmp_path / "v", "--index", tmp_path / "i", "--json")
    assert [Path(skip["path"]).name for skip in document(again)["skipped"]] == ["a.mp4", "b.mp4"]
    assert again.stderr.splitlines() == [
        "cezsar: 2 files could not be read before and have not changed; --retry tries again, --json names them."
    ]
    named = run("index", tmp_path / "v" / "a.mp4", "--index", tmp_path / "i").stderr
    assert "a.mp4: " in named
    assert "not tried again (--retry does)" in named


def test_a_replaced_file_is_found_with_check_content(tmp_path: Path) -> None:
    """Same size, time, inode and ctime, as no stat could tell: the row of a catalog of before these were kept."""
    red, blue = tmp_path / "a.avi", tmp_path / "b.avi"
    for path, colour in ((red, "red"), (blue, "blue")):
        write_video(path, [(colour, 1.0)], codec="rawvideo", pix_fmt="bgr24")
    run("index", red, "--index", tmp_path / "i", "--model", "toy")
    status = red.stat()
    blue.replace(red)
    os.utime(red, ns=(0, status.st_mtime_ns))
    assert red.stat().st_size == status.st_size
    with closing(sqlite3.connect(tmp_path / "i" / store.FILE)) as database:
        database.execute("UPDATE videos SET inode = NULL, ctime_ns = NULL")
        database.commit()
    assert document(run("index", red, "--index", tmp_path / "i", "--json"))["unchanged"] == 1
    assert document(run("index", red, "--index", tmp_path / "i", "--check-content", "--json"))["updated"] == 1


def test_long_work_says_every_half_minute_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from cezsar.cli import console

    waits: list[float] = []
    over = threading.Event()

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout is None:  # a thread's own beginning
                return super().wait()
            waits.append(timeout)
            if len(waits) == 3:
                over.set()
                return super().wait()
            return self.is_set()

    told = iter(["1 of 9 videos", "4 of 9 videos", "9 of 9 videos"])
    monkeypatch.setattr(console.threading, "Event", Clock)
    with console.pulse(lambda: next(told), shown=True):
        assert over.wait(60)
    assert waits == [30, 30, 30]
    assert capsys.readouterr().err == "cezsar: 1 of 9 videos\ncezsar: 4 of 9 videos\n"
    with console.pulse(lambda: next(told), shown=False):
        pass
    assert capsys.readouterr().err == ""


def test_an_index_run_says_what_it_is_doing_unless_quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cezsar.cli import index as command

    heard: list[tuple[bool, Callable[[], str]]] = []

    @contextmanager
    def pulse(status: Callable[[], str], *, shown: bool) -> Iterator[None]:
        heard.append((shown, status))
        yield

    monkeypatch.setattr(command, "pulse", pulse)
    for quiet in (False, True):
        with command.Bar(shown=not quiet) as bar:
            is_shown, status = heard.pop()
            assert is_shown is not quiet
            assert status() == "looking at the files"
            bar.comparing(tmp_path, 3_000_000)
            assert status() == "comparing contents: 1 video, 3 MB"
            bar.start(2, 5_000_000_000)
            bar.done(tmp_path, 2_000_000_000)
            assert status() == "1 of 2 videos, 2,000 of 5,000 MB"


@pytest.mark.parametrize("name", ["empty.mp4", "sound.m4a.mp4"])
def test_exit_1_when_nothing_could_be_read(tmp_path: Path, name: str) -> None:
    if name == "empty.mp4":
        (tmp_path / name).touch()
    else:
        write_sound(tmp_path / name)
    result = run("index", tmp_path / name, "--index", tmp_path / "i", "--model", "toy")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("cezsar: Nothing in ")
    assert not (tmp_path / "i").exists()


def test_exit_1_for_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    assert "There are no videos to index in" in one_error(run("index", tmp_path / "videos", "--index", tmp_path / "i"))


def test_exit_1_for_a_path_that_is_not_there(tmp_path: Path) -> None:
    result = run("index", tmp_path / "nothing", "--index", tmp_path / "i")
    assert result.exit_code == 1
    assert "no such file or folder" in result.stderr


def test_unplugged_root_hides_nothing_and_says_so(tmp_path: Path) -> None:
    videos = tmp_path / "drive"
    videos.mkdir()
    write_video(videos / "red.mp4", [("red", 1.0)])
    run("index", videos, "--index", tmp_path / "i", "--model", "toy")
    shutil.move(videos, tmp_path / "elsewhere")
    result = run("index", videos, "--index", tmp_path / "i")
    assert result.exit_code == 1
    assert "--prune hides its missing videos" in result.stderr
    assert len(document(run("query", "red", "--index", tmp_path / "i", "--json"))["hits"]) == 1


def test_explicit_prune_of_an_emptied_folder_is_done(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    write_video(videos / "red.mp4", [("red", 1.0)])
    run("index", videos, "--index", tmp_path / "i", "--model", "toy")
    (videos / "red.mp4").unlink()
    assert document(run("index", videos, "--index", tmp_path / "i", "--prune", "--json"))["removed"] == 1
    assert document(run("query", "red", "--index", tmp_path / "i", "--json"))["hits"] == []


@pytest.mark.parametrize(
    ("flag", "value"), [("--model", "lite-objects"), ("--fps", "3"), ("--window", "9"), ("--stride", "5")]
)
def test_existing_index_refuses_another_model_or_sampling(colours: Path, made: Path, flag: str, value: str) -> None:
    error = one_error(run("index", colours, "--index", made, flag, value))
    assert flag in error
    assert "--index DIR" in error


@pytest.mark.parametrize("words", [("--fps", "0"), ("--fps", "nan"), ("--window", "-1"), ("--workers", "0")])
def test_exit_2_for_values_out_of_range(colours: Path, tmp_path: Path, words: tuple[str, str]) -> None:
    assert run("index", colours, "--index", tmp_path / "i", "--model", "toy", *words).exit_code == 2


def test_unknown_model_lists_the_known_ones(colours: Path, tmp_path: Path) -> None:
    error = one_error(run("index", colours, "--index", tmp_path / "i", "--model", "nonsense"))
    assert "lite-objects" in error
    assert "cezsar models" in error


def test_environment_gives_way_to_a_flag(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEZSAR_INDEX", str(tmp_path / "from-environment"))
    monkeypatch.setenv("CEZSAR_MODEL", "toy")
    run("index", colours / "red.mp4")
    run("index", colours / "red.mp4", "--index", tmp_path / "from-flag")
    assert store.exists(tmp_path / "from-environment")
    assert store.exists(tmp_path / "from-flag")


def test_environment_that_does_not_parse_is_wrong_usage(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEZSAR_FPS", "often")
    result = run("index", colours)
    assert result.exit_code == 2
    assert "CEZSAR_FPS" in result.stderr


def test_wrong_usage_that_is_found_late_shows_the_usage_of_its_command(made: Path) -> None:
    result = run("query", "red", "--since", "yesterday", "--index", made)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[:2] == [
        "Usage: cli query [OPTIONS] [TEXT]",
        "Try 'cli query --help' for help.",
    ]


def test_quiet_prints_nothing_but_skipped_files(tmp_path: Path) -> None:
    write_video(tmp_path / "red.mp4", [("red", 1.0)])
    (tmp_path / "empty.mp4").touch()
    result = run("index", tmp_path, "--index", tmp_path / "i", "--model", "toy", "--quiet")
    assert result.stdout == ""
    assert result.stderr.splitlines() == [f"cezsar: skipped {tmp_path / 'empty.mp4'}: the file is empty"]


def test_interrupt_exits_130_and_keeps_what_was_committed(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cezsar.cli import index as command

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.Bar, "done", stop)
    result = run("index", colours, "--index", tmp_path / "i", "--model", "toy")
    assert result.exit_code == 130
    assert "committed work stays" in result.stderr
    assert json.loads(run("stats", "--index", tmp_path / "i", "--json").stdout)["videos"] == 1


# query


def test_query_prints_the_contracts_document(colours: Path, made: Path) -> None:
    found = document(run("query", "something red", "--index", made, "--json"))
    assert list(found) == ["query", "model", "hits", "nothing_like_it", "threshold"]
    assert (found["query"], found["model"]) == ("something red", "toy")
    fields = ["rank", "score", "path", "start_s", "end_s", "segment_id", "video_id", "confidence"]
    assert list(found["hits"][0]) == fields
    assert (found["hits"][0]["confidence"], found["nothing_like_it"], found["threshold"]) == (None, False, None)
    first, second = found["hits"][:2]
    assert {first["path"], second["path"]} == {str(colours / "red.mp4"), str(colours / "warm" / "red-then-blue.mp4")}
    assert (first["rank"], first["start_s"]) == (1, 0.0)
    assert first["score"] == pytest.approx(1.0, abs=1e-3)


def test_then_finds_what_comes_after_and_shows_the_parts(colours: Path, made: Path) -> None:
    words = ("query", "something red", "--then", "something blue", "--index", made)
    (hit,) = document(run(*words, "--json"))["hits"]
    assert (hit["path"], hit["start_s"], hit["end_s"]) == (str(colours / "warm" / "red-then-blue.mp4"), 0.0, 20.0)
    assert [(part["query"], part["start_s"], part["end_s"]) for part in hit["parts"]] == [
        ("something red", 0.0, 10.0),
        ("something blue", 10.0, 20.0),
    ]
    assert list(hit["parts"][0]) == ["query", "score", "start_s", "end_s", "segment_id"]
    assert hit["segment_id"] == hit["parts"][0]["segment_id"]
    lines = [line.split() for line in run(*words).stdout.splitlines()[2:]]
    assert [line[:3] for line in lines] == [
        ["1", "1.000", "0:00.0-0:20.0"],
        ["1.000", "0:00.0-0:10.0", "something"],
        ["1.000", "0:10.0-0:20.0", "something"],
    ]
    rows = list(csv.DictReader(io.StringIO(run(*words, "--format", "csv").stdout)))
    assert json.loads(rows[0]["parts"]) == hit["parts"]
    (backward,) = document(run("query", "blue", "--then", "red", "--within", "5", "--index", made, "--json"))["hits"]
    assert backward["score"] < 0.8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--then", "red"], "Give a TEXT to look for before --then"),
        (["red", "--within", "5"], "--within needs --then"),
        (["red", "--then", "blue", "--within", "0"], "0<x<=86400"),
        (["red", "--then", "blue", "--within", "31536000"], "0<x<=86400"),
    ],
)
def test_an_order_that_is_asked_for_wrongly_exits_2(made: Path, words: list[str], message: str) -> None:
    told = run("query", *words, "--index", made)
    assert told.exit_code == 2
    assert message in told.stderr


def test_an_order_that_cannot_be_answered_is_one_line(made: Path) -> None:
    assert "empty" in one_error(run("query", "red", "--then", " ", "--index", made))
    assert "over 0" in one_error(run("query", "red", "--then", "blue", "--within", "nan", "--index", made))
    told = run("query", "red", "--then", "blue", "--path", "green.mp4", "--index", made)
    assert told.stderr == (
        "cezsar: no hits for 'red' among 1 video that --path green.mp4 names: "
        "no video is long enough to show one part after the other within 60 s\n"
    )


def test_a_negation_in_words_is_understood_and_can_be_undone(made: Path) -> None:
    words = ("query", "red without blue", "--then", "green, no white", "--index", made)
    told = run(*words)
    assert told.stderr.splitlines()[:2] == [
        "cezsar: understood as: red, not: blue; --literal takes the words as they are",
        "cezsar: understood as: green, not: white; --literal takes the words as they are",
    ]
    assert document(run(*words, "--json"))["understood"] == [
        {"query": "red without blue", "text": "red", "not": ["blue"]},
        {"query": "green, no white", "text": "green", "not": ["white"]},
    ]
    assert run(*words, "--json").stderr == ""
    plain = document(run("query", "red without blue", "--index", made, "--json"))
    assert plain["hits"] == document(run("query", "red", "--not", "blue", "--index", made, "--json"))["hits"]
    literal = document(run("query", "red without blue", "--literal", "--index", made, "--json"))
    assert "understood" not in literal
    assert literal["hits"] != plain["hits"]


def test_right_and_wrong_answers_move_the_question(made: Path) -> None:
    everything = document(run("query", "red green", "--index", made, "--per-video", "0", "--json"))["hits"]
    ids = {Path(hit["path"]).name: hit["segment_id"] for hit in everything}
    judged = ("--more", ids["green.mp4"], "--less", ids["red.mp4"], "--less", ids["blue.mp4"])
    found = document(run("query", "red green", *judged, "--index", made, "--json"))
    assert Path(found["hits"][0]["path"]).name == "green.mp4"
    assert found["hits"][0]["score"] > everything[0]["score"]
    assert (found["hits"][0]["confidence"], found["threshold"], found["query"]) == (None, None, "red green")


@pytest.mark.parametrize("number", ["999999", str((1 << 63) - 1), str(1 << 63)])
@pytest.mark.parametrize("option", ["--more", "--less"])
def test_a_segment_that_is_gone_is_one_line(made: Path, option: str, number: str) -> None:
    line = one_error(run("query", "red", option, number, "--index", made))
    assert f"There is no segment {number}" in line


def test_feedback_and_an_order_do_not_go_together(made: Path) -> None:
    assert "leave out one" in one_error(run("query", "red", "--then", "blue", "--more", "1", "--index", made))
    assert run("query", "red", "--more", "0", "--index", made).exit_code == 2


def test_filters_choose_videos(colours: Path, made: Path) -> None:
    def names(*words: str) -> set[str]:
        hits = document(run("query", "red", "--index", made, "--json", *words))["hits"]
        return {Path(hit["path"]).name for hit in hits}

    everything = {"red.mp4", "green.mp4", "blue.mp4", "red-then-blue.mp4"}
    assert names("--not-path", "warm", "--not-path", "green.*") == {"red.mp4", "blue.mp4"}
    assert names("--min-length", "0:10") == {"red-then-blue.mp4"}
    assert names("--max-length", "10", "--path", "[rg]*") == {"red.mp4", "green.mp4"}
    assert names("--since", "2020", "--until", "2199-12-31") == everything
    assert names("--until", "2020-05") == set()
    told = run("query", "red", "--index", made, "--until", "2020-05")
    assert told.stderr == "cezsar: no hits for 'red': the filters allow none of 4 videos\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--since", "yesterday"], 2, "'yesterday' is no date"),
        (["--since", "2024-13"], 2, "'2024-13' is no date"),
        (["--until", "9999"], 2, "is no date"),
        (["--since", "2024", "--until", "2023"], 2, "There is no time"),
        (["--min-length", "long"], 2, "seconds or m:ss"),
        (["--min-length", "-1"], 2, "0 s or more"),
        (["--min-length", "nan"], 2, "0 s or more"),
        (["--min-length", "2", "--max-length", "1"], 2, "No video lasts 2 s or more and 1 s at most"),
    ],
)
def test_filters_that_make_no_sense_are_refused(made: Path, words: list[str], code: int, message: str) -> None:
    told = run("query", "red", *words, "--index", made)
    assert told.exit_code == code
    assert message in told.stderr
    assert "Traceback" not in told.stderr


def test_query_from_standard_input_prints_a_document_a_line_in_order(made: Path) -> None:
    result = run("query", "-", "--index", made, "--json", stdin="red\n\nblue\ngreen")
    assert [json.loads(line)["query"] for line in result.stdout.splitlines()] == ["red", "blue", "green"]


def test_standard_input_without_a_query_is_an_error(made: Path) -> None:
    assert "no queries" in one_error(run("query", "-", "--index", made, stdin="\n \n"))
    assert "no queries" in one_error(run("query", "-", "--index", made, stdin="\u200b\n\ufeff\u00ad\n"))


def test_a_line_that_is_too_long_is_left_out_and_the_others_are_answered(made: Path) -> None:
    lines = "red\n" + "x" * 300_000 + "\n\u200b\nblue\n" + "y " * 5_001 + "\ngreen"
    result = run("query", "-", "--index", made, "--json", stdin=lines)
    assert result.exit_code == 0
    assert [json.loads(line)["query"] for line in result.stdout.splitlines()] == ["red", "blue", "green"]
    assert result.stderr.splitlines() == [
        "cezsar: line 2 has more than 10,000 characters: it is left out",
        "cezsar: line 5 has more than 10,000 characters: it is left out",
    ]
    assert "too long: at most 10,000" in one_error(run("query", "red " * 3_000, "--index", made))


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        (["--path", "nowhere/*"], ": --path nowhere/* names none of 4 videos"),
        (["--min-score", "0.9"], ": the best score is 0.707, below --min-score 0.9"),
        (
            ["--path", "blue.mp4", "--min-score", "0.25"],
            ": the best score among 1 video that --path blue.mp4 names is 0.000, below --min-score 0.25",
        ),
    ],
)
def test_no_hits_says_why_on_stderr(made: Path, filters: list[str], reason: str) -> None:
    told = run("query", "red white", "--index", made, *filters)
    assert (told.exit_code, told.stdout) == (0, "")
    assert told.stderr == f"cezsar: no hits for 'red white'{reason}\n"
    as_json = run("query", "red white", "--index", made, *filters, "--json")
    assert (document(as_json)["hits"], as_json.stderr) == ([], "")


def test_an_index_of_no_videos_says_so(tmp_path: Path) -> None:
    with store.create(tmp_path / "index", encoders.load("toy").identity, Sampling()):
        pass
    told = run("query", "red", "--index", tmp_path / "index")
    assert told.stderr.splitlines()[-1] == "cezsar: no hits for 'red': the index holds no videos"


def test_a_text_without_quotes_is_answered_with_the_command(made: Path) -> None:
    told = run("query", "a", "man", "playing", "guitar", "-k", "3", "--index", made)
    assert told.exit_code == 2
    assert told.output == "cezsar: the text needs quotes around it: cezsar query 'a man playing guitar'\n"


@pytest.mark.parametrize("command", ["query", "index"])
@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that holds this limit")
def test_too_little_memory_is_one_line(made: Path, colours: Path, tmp_path: Path, command: str) -> None:
    """Limits that lie between what Python itself takes and what the command does."""
    words = ["query", "red", "--index", made] if command == "query" else ["index", colours, "--index", tmp_path / "i"]
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)),) * 2)"
    limited += "; runpy.run_module('cezsar', run_name='__main__', alter_sys=True)"
    lines = []
    for limit in (60, 200, 300):
        ended = subprocess.run(
            [sys.executable, "-c", limited, str(limit << 20), *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            assert "Traceback" not in ended.stderr, (limit, ended.stderr)
            lines += ended.stderr.splitlines()
    assert "cezsar: there is not enough memory" in "".join(lines)


def test_table_lists_rank_score_time_and_video(made: Path) -> None:
    lines = run("query", "green", "--index", made, "-k", "1").stdout.splitlines()
    assert lines[0].split() == ["#", "score", "time", "video"]
    assert lines[2].split()[:3] == ["1", "1.000", "0:00.0-0:02.0"]
    assert lines[2].rstrip().endswith("green.mp4")


def test_csv_can_be_read_back(made: Path) -> None:
    result = run("query", "green, please", "--index", made, "--format", "csv", "-k", "2")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert rows[0]["query"] == "green, please"
    assert rows[0]["path"].endswith("green.mp4")


def test_paths_format_prints_bare_paths(colours: Path, made: Path) -> None:
    result = run("query", "green", "--index", made, "--format", "paths", "-k", "1")
    assert result.stdout == f"{colours / 'green.mp4'}\n"


def test_path_filter_applies_before_top_k(colours: Path, made: Path) -> None:
    found = document(run("query", "red", "--index", made, "--path", "blue.mp4", "-k", "1", "--json"))
    assert [hit["path"] for hit in found["hits"]] == [str(colours / "blue.mp4")]


def test_per_video_zero_gives_all_moments_of_a_video(made: Path) -> None:
    words = ("query", "red", "--index", made, "--path", "warm", "--json")
    assert len(document(run(*words))["hits"]) == 1
    assert len(document(run(*words, "--per-video", "0"))["hits"]) > 1


def test_min_score_cuts_the_list(made: Path) -> None:
    assert len(document(run("query", "green", "--index", made, "--min-score", "0.9", "--json"))["hits"]) == 1


def test_not_turns_away(colours: Path, made: Path) -> None:
    found = document(run("query", "red", "--not", "blue", "--index", made, "--json"))
    assert found["hits"][0]["path"] == str(colours / "red.mp4")


def test_like_takes_a_range_of_an_indexed_video(colours: Path, made: Path) -> None:
    example = f"{colours / 'warm' / 'red-then-blue.mp4'}@0:12-20"
    found = document(run("query", "--like", example, "--index", made, "--path", "*.mp4", "-k", "2", "--json"))
    assert found["query"] is None
    assert {Path(hit["path"]).name for hit in found["hits"]} == {"red-then-blue.mp4", "blue.mp4"}


def test_like_takes_a_video_that_is_not_in_the_index(made: Path, tmp_path: Path) -> None:
    other = write_video(tmp_path / "other.mkv", [("green", 1.0)])
    found = document(run("query", "--like", other, "--index", made, "-k", "1", "--json"))
    assert Path(found["hits"][0]["path"]).name == "green.mp4"


@pytest.mark.parametrize("spec", ["{}@8-4", "{}@1-x", "{}@1:2:3:x-4"])
def test_like_with_a_senseless_range_is_refused(colours: Path, made: Path, spec: str) -> None:
    assert run("query", "--like", spec.format(colours / "red.mp4"), "--index", made).exit_code in (1, 2)


def test_like_with_a_range_beyond_the_end_says_where_it_ends(colours: Path, made: Path) -> None:
    assert "ends at 2 s" in one_error(run("query", "--like", f"{colours / 'red.mp4'}@50-60", "--index", made))


def test_like_with_a_file_that_is_no_video_says_why(made: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "the file is empty" in one_error(run("query", "--like", tmp_path / "empty.mp4", "--index", made))


def test_export_cuts_each_hit(made: Path, tmp_path: Path) -> None:
    result = run("query", "red", "--index", made, "-k", "2", "--export", tmp_path / "cut", "--json")
    assert len(document(result)["hits"]) == 2
    files = sorted((tmp_path / "cut").iterdir())
    assert len(files) == 2
    for file in files:
        with av.open(str(file)) as cut:
            assert len(list(cut.decode(video=0))) > 10


def test_a_video_that_crashes_the_decoder_is_no_example(
    made: Path, colours: Path, tmp_path: Path, deadly: None
) -> None:
    crashing = shutil.copy(colours / "red.mp4", tmp_path / "deadly.mp4")
    assert one_error(run("query", "--like", crashing, "--index", made)) == (
        f"cezsar: --like {crashing}: it crashed the decoder (SIGSEGV)."
    )


def test_a_video_that_crashes_the_decoder_costs_its_own_export_alone(
    colours: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name, source in (("deadly", "red"), ("red", "red"), ("blue", "blue")):
        shutil.copy(colours / f"{source}.mp4", videos / f"{name}.mp4")
    assert run("index", videos, "--index", tmp_path / "i", "--model", "toy").exit_code == 0
    request.getfixturevalue("deadly")
    result = run("query", "red", "--index", tmp_path / "i", "--all-copies", "--export", tmp_path / "cut")
    assert result.exit_code == 0, result.output
    assert "it crashed the decoder (SIGSEGV)" in result.stderr
    assert f"exported 2 files to {tmp_path / 'cut'}" in result.stderr
    names = sorted(path.name for path in (tmp_path / "cut").iterdir())
    assert [name.split("_")[1] for name in names] == ["red", "blue"]


def test_export_names_stay_in_their_folder(tmp_path: Path) -> None:
    video = write_video(tmp_path / "..\n\x1b[31m'\"<b>.mp4", [("red", 1.0)])
    run("index", video, "--index", tmp_path / "i", "--model", "toy")
    run("query", "red", "--index", tmp_path / "i", "--export", tmp_path / "cut")
    (file,) = (tmp_path / "cut").iterdir()
    assert file.name.startswith("001_..")
    assert file.name.isprintable()


def test_export_of_a_video_that_has_gone_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "red.mp4", [("red", 1.0)])
    run("index", tmp_path, "--index", tmp_path / "i", "--model", "toy")
    (tmp_path / "red.mp4").unlink()
    result = run("query", "red", "--index", tmp_path / "i", "--export", tmp_path / "cut")
    assert result.exit_code == 1
    assert "not exported" in result.stderr
    assert list((tmp_path / "cut").iterdir()) == []


def test_no_index_yet_names_the_command_that_makes_one(tmp_path: Path) -> None:
    for words in (("query", "red"), ("stats",), ("verify",), ("rebuild",), ("db", "current"), ("remove", "x")):
        assert "cezsar index PATH" in one_error(run(*words, "--index", tmp_path / "none"))


@pytest.mark.parametrize("text", ["", "   "])
def test_empty_query_is_an_error(made: Path, text: str) -> None:
    assert "empty" in one_error(run("query", text, "--index", made))


@pytest.mark.parametrize(
    "words", [("index", ""), ("remove", ""), ("query", "red", "--export", ""), ("query", "red", "--like", "")]
)
def test_an_empty_path_is_wrong_usage_and_never_the_current_folder(made: Path, words: tuple[str, ...]) -> None:
    assert run(*words, "--index", made).exit_code == 2
    assert run("stats", "--index", "").exit_code == 2


@pytest.mark.parametrize("words", [("--fps", "1e9"), ("--window", "1e9"), ("--stride", "1e-9")])
def test_sampling_that_would_fill_the_memory_is_wrong_usage(
    colours: Path, tmp_path: Path, words: tuple[str, str]
) -> None:
    assert run("index", colours, "--index", tmp_path / "i", "--model", "toy", *words).exit_code == 2


def test_a_reader_that_has_had_enough_is_no_error(made: Path) -> None:
    command = f"{sys.executable} -m cezsar query red --index {made} --format csv | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_one_clear_line(made: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "cezsar", "stats", "--index", str(made)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "cezsar: the output cannot be written: No space left on device\n"


def test_closed_standard_input_is_an_error(made: Path) -> None:
    command = f"{sys.executable} -m cezsar query - --index {made} <&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_neither_text_nor_like_is_wrong_usage(made: Path) -> None:
    assert run("query", "--index", made).exit_code == 2


@pytest.mark.parametrize("words", [("-k", "0"), ("--per-video", "-1"), ("--format", "xml"), ("--min-score", "nan")])
def test_exit_2_for_query_values_out_of_range(made: Path, words: tuple[str, str]) -> None:
    assert run("query", "red", "--index", made, *words).exit_code == 2


def test_names_with_control_characters_are_printed_safely_and_exactly_in_json(tmp_path: Path) -> None:
    name = "a\x1b[2J\n\u202egpj.mp4"
    write_video(tmp_path / name, [("red", 1.0)])
    run("index", tmp_path / name, "--index", tmp_path / "i", "--model", "toy")
    table = run("query", "red", "--index", tmp_path / "i").stdout
    assert "\x1b" not in table
    assert "\u202e" not in table
    assert "a\\x1b[2J\\x0a\\u202egpj.mp4" in table
    assert document(run("query", "red", "--index", tmp_path / "i", "--json"))["hits"][0]["path"] == str(tmp_path / name)


def test_path_that_is_not_utf8_survives_a_round_trip(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    write_video(Path(os.fsdecode(raw)), [("red", 1.0)])
    found = document(run("index", tmp_path, "--index", tmp_path / "i", "--model", "toy", "--json"))
    assert found["added"] == 1
    (hit,) = document(run("query", "red", "--index", tmp_path / "i", "--json"))["hits"]
    assert hit["path"].endswith("caf\\xe9.mp4")
    assert base64.b64decode(hit["path_bytes"]) == raw
    paths = run("query", "red", "--index", tmp_path / "i", "--format", "paths")
    assert paths.stdout_bytes == raw + b"\n"


# classify


def test_classify_indexes_first_and_prints_the_contracts_document(colours: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    run("index", colours / "red.mp4", "--index", index, "--model", "toy")
    found = document(run("classify", colours, "--labels", "red,green,blue", "--index", index, "-k", "2", "--json"))
    assert list(found) == ["model", "labels", "words", "videos"]
    assert found["words"] == {name: [name, f"a person is {name}"] for name in ("red", "green", "blue")}
    assert found["labels"] == ["red", "green", "blue"]
    best = {Path(video["path"]).name: video["predictions"][0]["label"] for video in found["videos"]}
    assert best.pop("red-then-blue.mp4") in ("red", "blue")
    assert best == {"red.mp4": "red", "green.mp4": "green", "blue.mp4": "blue"}
    assert all(len(video["predictions"]) == 2 and "segments" not in video for video in found["videos"])
    scores = [one["score"] for one in found["videos"][0]["predictions"]]
    assert scores == sorted(scores, reverse=True)


def test_classify_says_that_it_added_videos_to_an_index_that_was_there(colours: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    run("index", colours / "red.mp4", "--index", index, "--model", "toy")
    words = ("classify", colours, "--labels", "red,green", "--index", index)
    assert run(*words).stderr.splitlines() == [f"cezsar: added 3 videos of {colours} to the index in {index}"]
    assert run(*words).stderr == ""


def test_classify_shows_as_which_words_labels_were_read(colours: Path, made: Path, tmp_path: Path) -> None:
    labels = tmp_path / "classInd.txt"
    labels.write_text("1 RedCar\n2 Green\n3 BlueSky\n")
    result = run("classify", colours / "red.mp4", "--labels", labels, "--index", made, "--json", "-v")
    found = document(result)
    assert found["labels"] == ["1 RedCar", "2 Green", "3 BlueSky"]
    assert found["words"] == {
        "1 RedCar": ["red car", "a person is red car"],
        "2 Green": ["Green", "a person is Green"],
        "3 BlueSky": ["blue sky", "a person is blue sky", "blue sky: the sky as viewed during daylight"],
    }
    assert found["videos"][0]["predictions"][0]["label"] == "1 RedCar"
    assert result.stderr.splitlines() == [
        "cezsar: label 1 RedCar: red car | a person is red car",
        "cezsar: label 2 Green: Green | a person is Green",
        "cezsar: label 3 BlueSky: blue sky | a person is blue sky | blue sky: the sky as viewed during daylight",
    ]


def test_classify_raw_encodes_labels_as_they_are(colours: Path, made: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"archery": ["a red thing", "green"], "blue": ["blue"]}))
    words = ("classify", colours / "red.mp4", "--labels", labels, "--index", made, "--json")
    found = document(run(*words, "--raw"))
    assert found["words"] == {"archery": ["a red thing", "green"], "blue": ["blue"]}
    assert found["videos"][0]["predictions"][0] == {"label": "archery", "score": 1.0, "confidence": None}
    assert found["words"] != document(run(*words))["words"]


def test_classify_timeline_follows_the_video(colours: Path, made: Path) -> None:
    words = ("classify", colours / "warm", "--labels", "red,blue", "--index", made, "--segments")
    (video,) = document(run(*words, "--json"))["videos"]
    assert [part["predictions"][0]["label"] for part in video["segments"]] == ["red", "red", "blue", "blue"]
    assert [part["start_s"] for part in video["segments"]] == [0.0, 4.0, 10.0, 12.0]  # blue begins at 10 s
    table = run(*words).stdout
    assert "0:12.0-0:20.0" in table
    rows = list(csv.DictReader(io.StringIO(run(*words, "--format", "csv").stdout)))
    assert [row["label"] for row in rows if row["start_s"] == "12.0"] == ["blue", "red"]


def test_classify_gives_an_error_in_place_of_predictions(tmp_path: Path) -> None:
    write_video(tmp_path / "red.mp4", [("red", 1.0)])
    (tmp_path / "bad.mp4").touch()
    words = ("classify", tmp_path, "--labels", "red,blue", "--index", tmp_path / "i", "--json")
    run("index", tmp_path / "red.mp4", "--index", tmp_path / "i", "--model", "toy")
    videos = {Path(video["path"]).name: video for video in document(run(*words))["videos"]}
    assert videos["bad.mp4"] == {"path": str(tmp_path / "bad.mp4"), "error": "the file is empty"}
    assert videos["red.mp4"]["predictions"][0]["label"] == "red"


def test_classify_exits_1_when_no_video_could_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").touch()
    result = run("classify", tmp_path, "--labels", "a,b", "--index", tmp_path / "i")
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("labels", "told"), [("", "no labels"), ("a,a", "twice"), ("a,,b", "empty"), ("none.txt", "cannot be read")]
)
def test_classify_refuses_senseless_labels(colours: Path, made: Path, labels: str, told: str) -> None:
    assert told in one_error(run("classify", colours, "--labels", labels, "--index", made))


def test_classify_without_labels_is_wrong_usage(colours: Path, made: Path) -> None:
    assert run("classify", colours, "--index", made).exit_code == 2


# the others


def test_models_says_plainly_which_to_choose() -> None:
    told = " ".join(run("models").stdout.split())
    assert "Offline or on a laptop, take lite, the default" in told
    assert "SigLIP 2" in told
    assert "without its video-conditioned prompts" in told
    names = [card["name"] for card in document(run("models", "--json"))]
    assert names[:3] == ["lite", "lite-objects", "toy"]


def test_models_says_of_each_family_what_it_is_good_for_in_80_columns() -> None:
    lines = run("models").stdout.splitlines()
    assert "  good for   classes, motion" in lines
    assert "  published  UCF-101 (51 classes) 74 to 81, MSR-VTT R@1 10 to 27 (MVEB)" in lines
    assert [line for line in lines if len(line) > 80] == [
        line for line in lines if line.startswith(("Offline or", "matters,", "Figures are"))
    ]
    families = {card["name"]: card for card in document(run("models", "--json"))}
    prism = families["HUB_ID or DIR of VideoPrism-LvT"]
    assert (prism["good_for"], prism["size"]) == (["sentences", "classes", "motion"], "B 248 million, L 580 million")
    assert {one for card in families.values() for one in card["good_for"]} == {
        "sentences", "classes", "motion", "languages",
    }  # fmt: skip


def test_stats_says_what_the_index_holds(colours: Path, made: Path) -> None:
    told = document(run("stats", "--index", made, "--json"))
    assert (told["model"], told["videos"], told["segments"], told["fps"]) == ("toy", 4, 7, 2.0)
    assert told["roots"] == [{"path": str(colours)}]
    assert str(colours) in run("stats", "--index", made).stdout


def test_remove_hides_and_index_brings_back_and_purge_deletes(colours: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    run("index", colours, "--index", index, "--model", "toy")
    assert run("remove", colours / "red.mp4", "--index", index).stdout == "hid 1 video\n"
    assert document(run("stats", "--index", index, "--json"))["hidden_videos"] == 1
    assert document(run("index", colours, "--index", index, "--json"))["segments"] == 0
    assert document(run("stats", "--index", index, "--json"))["hidden_videos"] == 0
    assert run("remove", colours / "warm", colours / "blue.mp4", "--purge", "--index", index).exit_code == 0
    assert document(run("stats", "--index", index, "--json"))["videos"] == 2
    assert document(run("verify", "--index", index, "--json"))["ok"] is True
    assert (colours / "blue.mp4").exists()


def test_remove_of_an_unknown_path_changes_nothing(colours: Path, made: Path, tmp_path: Path) -> None:
    assert "names no video" in one_error(run("remove", colours / "red.mp4", tmp_path / "x", "--index", made))
    assert document(run("stats", "--index", made, "--json"))["hidden_videos"] == 0


def test_verify_prints_the_contracts_document(made: Path) -> None:
    assert document(run("verify", "--index", made, "--json")) == {
        "ok": True, "videos": 4, "segments": 7, "problems": [],
    }  # fmt: skip


def test_verify_exits_1_on_a_flipped_bit_and_rebuild_mends_it(made: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(made, tmp_path / "i"))
    (cache,) = (path for path in index.glob("vectors-*.npy") if not path.name.endswith(".ids.npy"))
    data = bytearray(cache.read_bytes())
    data[-5] ^= 1
    cache.write_bytes(data)
    result = run("verify", "--index", index, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False
    assert run("rebuild", "--index", index).exit_code == 0
    assert run("verify", "--index", index).exit_code == 0


def test_lost_cache_is_noticed_and_worked_around(colours: Path, made: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(made, tmp_path / "i"))
    (index / "vectors.json").unlink()
    result = run("query", "green", "--index", index, "-k", "1", "--json")
    assert document(result) == document(run("query", "green", "--index", made, "-k", "1", "--json"))
    assert "`cezsar rebuild`" in result.stderr


def test_db_current_and_upgrade(made: Path) -> None:
    assert document(run("db", "current", "--index", made, "--json")) == {"current": "0011", "newest": "0011"}
    assert run("db", "upgrade", "--index", made).stdout == "0011: up to date already\n"


def test_older_catalog_names_the_upgrade_command_and_works_after_it(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "data" / "catalogs" / "0001.sqlite"
    shutil.copy(golden, tmp_path / store.FILE)
    assert "cezsar db upgrade" in one_error(run("query", "red", "--index", tmp_path))
    assert run("db", "upgrade", "--index", tmp_path).stdout == "upgraded 0001 -> 0011\n"
    assert run("query", "red", "--index", tmp_path).exit_code == 0


def test_read_only_index_can_be_queried_and_says_that_it_cannot_be_written(
    colours: Path, made: Path, tmp_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    index = Path(shutil.copytree(made, tmp_path / "i"))
    write_video(tmp_path / "new.mp4", [("cyan", 1.0)])
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    run("query", "red", "--index", index)  # imports what it needs while it still may
    run("index", colours / "red.mp4", "--index", index)
    for file in index.iterdir():
        file.chmod(0o644)
    index.chmod(0o555)
    with unprivileged():
        assert run("query", "red", "--index", index).exit_code == 0
        assert run("stats", "--index", index).exit_code == 0
        assert run("verify", "--index", index).exit_code == 0
        refused = run("index", tmp_path / "new.mp4", "--index", index)
    index.chmod(0o755)
    assert "cannot be written" in one_error(refused)


def test_corrupt_catalog_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / store.FILE).write_bytes(b"not a database, but long enough to be read as one " * 100)
    assert "damaged" in one_error(run("query", "red", "--index", tmp_path))


# the whole


def test_every_command_helps_and_is_documented_in_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert command.help
        assert run(name, "--help").exit_code == 0
        assert f"cezsar {name}" in readme
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in ("help", "as_json"):
                assert option.help or option.name == "form", f"{name} {option.opts} has no help"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cezsar.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'faiss', 'sqlalchemy', 'av', 'transformers', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_query_imports_nothing_that_it_could_do_without(tmp_path: Path) -> None:
    encoder = encoders.load("lite", device="cpu")
    rows = encoder.encode_texts(["a person plays the violin", "a dog"])
    with store.create(tmp_path, encoder.identity, Sampling()) as catalog:
        with catalog.transaction() as writer:
            parts = (Segment(0.0, 8.0), Segment(8.0, 16.0))
            embedding = store.Embedding(16.0, parts, (0, 1), rows)
            writer.add_video(store.File(b"/videos", b"violin.mp4", 1, 1), b"\0" * 32, embedding)
        catalog.rebuild()
    code = (
        "import sys; from cezsar.cli import cli\n"
        f"try: cli(['query', 'a person plays the violin', '--index', {str(tmp_path)!r}])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'timm', 'faiss', 'sqlalchemy', 'alembic', 'filelock', 'av'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "violin.mp4" in done.stdout


def test_module_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "cezsar", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == "cezsar 0.1.0\n"


def test_unknown_command_is_wrong_usage() -> None:
    assert run("serch").exit_code == 2


# another model, and backups


def test_reembed_rolls_back_and_drops(made: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(made, tmp_path / "i"))
    changed = document(run("reembed", "--window", "4", "--index", index, "--json"))
    assert (changed["model"], changed["previous_model"], changed["skipped"]) == ("toy", "toy", [])
    assert document(run("stats", "--index", index, "--json"))["window_s"] == 4.0
    assert "toy is in use again" in run("reembed", "--rollback", "--index", index).stdout
    assert document(run("stats", "--index", index, "--json"))["window_s"] == 8.0
    assert run("reembed", "--drop-old", "--index", index).stdout.startswith("freed ")
    assert "no older vectors" in one_error(run("reembed", "--rollback", "--index", index))


@pytest.mark.parametrize("arguments", [[], ["--rollback", "--drop-old"], ["--model", "toy", "--rollback"]])
def test_reembed_needs_one_thing_to_do(arguments: list[str], made: Path) -> None:
    assert run("reembed", *arguments, "--index", made).exit_code == 2


def test_an_index_of_an_older_lite_works_says_so_and_is_brought_over(videos: Path, tmp_path: Path) -> None:
    first = EncoderIdentity(
        "lite", "74b02ee11f3c86feb172c7dc6583f2b2ec65203254f89353d5738bc2e0f15742", 384, "visual_object"
    )
    with store.create(tmp_path / "i", first, Sampling()):
        pass
    said = "cezsar: the index is of version 1 of lite: `cezsar reembed` brings it over to version 2"
    for command in (["index", videos / "red.mp4", "--quiet"], ["query", "a red screen"], ["stats"]):
        done = run(*command, "--index", tmp_path / "i")
        assert done.exit_code == 0, done.output
        assert said in done.stderr.splitlines()
    stats = document(run("stats", "--index", tmp_path / "i", "--json"))
    assert (stats["videos"], stats["weights_sha256"], stats["fps"]) == (1, first.weights_sha256, 2.0)

    changed = document(run("reembed", "--index", tmp_path / "i", "--json"))
    assert (changed["model"], changed["previous_model"], changed["videos"]) == ("lite", "lite", 1)
    newest = encoders.load("lite", device="cpu").identity
    assert document(run("stats", "--index", tmp_path / "i", "--json"))["weights_sha256"] == newest.weights_sha256
    again = run("query", "a red screen", "--index", tmp_path / "i")
    assert (again.exit_code, again.stderr) == (0, "")
    assert run("reembed", "--index", tmp_path / "i").exit_code == 2
    assert run("reembed", "--rollback", "--index", tmp_path / "i").exit_code == 0
    assert run("query", "a red screen", "--index", tmp_path / "i").stderr.splitlines() == [said]


def test_backup_and_restore(made: Path, tmp_path: Path) -> None:
    assert run("backup", tmp_path / "b", "--index", made).stdout.startswith(f"backed up to {tmp_path / 'b'}, ")
    assert "--force" in one_error(run("backup", tmp_path / "b", "--index", made))
    assert run("restore", tmp_path / "b", "--index", tmp_path / "i").exit_code == 0
    assert document(run("query", "red", "--index", tmp_path / "i", "--json"))["hits"]
    assert "--force" in one_error(run("restore", tmp_path / "b", "--index", tmp_path / "i"))
    assert run("restore", tmp_path / "b", "--index", tmp_path / "i", "--force").exit_code == 0
    (tmp_path / "b").write_text("no backup")
    assert "not a sound catalog" in one_error(run("restore", tmp_path / "b", "--index", tmp_path / "j"))
    assert "No index in" in one_error(run("backup", tmp_path / "c", "--index", tmp_path / "none"))
