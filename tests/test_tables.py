"""cezsar.tables: one description of a table, which the terminal prints and the report shows."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from cezsar.cli.console import print_table
from cezsar.query.benchmark import Result, results, write_report
from cezsar.query.benchmark.datasets import NO_LIST
from cezsar.tables import Column, Table

TABLE = Table(
    (Column("name"), Column("score", is_number=True), Column("(95%)", is_number=True, is_detail=True), Column("then")),
    (("red", "0.5", "(0.4-0.6)", ""), ("a name that is long enough to be folded in a terminal", "1", "", "")),
)
HOSTILE = "<script>alert('1')</script>&\"\x1b"


def _interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.04}


def _accuracies(**changed: Any) -> dict[str, Any]:
    figures = {"top_1": _interval(0.5), "top_5": _interval(0.8), "mean_class": _interval(0.45)}
    tasks = [
        {"name": "run 1", "num_classes": 50, "num_clips": 1_234, "num_listed": None, **figures},
        {"name": "run 2", "num_classes": 50, "num_clips": 1_235, "num_listed": 2_000, **figures},
    ]
    summary = {key: {"mean": 0.5, "std": 0.02} for key in figures}
    return {"tasks": tasks, "summary": summary, "std_ddof": 0, "notes": [], **changed}


def _recalls() -> dict[str, Any]:
    found = {
        "num_queries": 1_000, "num_candidates": 2_000, "recall_1": _interval(0.1), "recall_5": _interval(0.3),
        "recall_10": _interval(0.5), "median_rank": 9.0, "mean_rank": 12.345,
    }  # fmt: skip
    about = {
        "request": {"dataset": HOSTILE, "prototypes": HOSTILE, "correction": HOSTILE}, "protocol": HOSTILE,
        "model": {"name": HOSTILE, "streams": HOSTILE}, "clips": {"found": 3, "listed": 4, "missing": []},
        "sentences": {"source": HOSTILE, "count": 3}, "labels": {"method": HOSTILE}, "notes": [HOSTILE],
    }  # fmt: skip
    return {**about, "text_to_video": found, "video_to_text": found}


def _on_a_terminal(table: Table, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "80"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    print_table(table)
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()]


def test_a_brief_table_has_no_details_and_an_empty_column_can_be_left_out() -> None:
    assert [column.title for column in TABLE.brief().columns] == ["name", "score", "then"]
    assert TABLE.brief().rows[0] == ("red", "0.5", "")
    assert TABLE.without_empty("then").rows[0] == ("red", "0.5", "(0.4-0.6)")
    assert TABLE.without_empty("score") == TABLE
    assert TABLE.without_empty("other") == TABLE


def test_a_terminal_of_80_columns_shows_accuracies_as_ever(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _on_a_terminal(results(_accuracies()).brief(), capsys, monkeypatch) == [
        "         classes            clips      top-1 % (95%)      top-5 %   class mean %",
        "─" * 80,
        "run 1         50            1,234   50.0 (45.0-54.0)         80.0           45.0",
        "run 2         50   1,235 of 2,000   50.0 (45.0-54.0)         80.0           45.0",
        "mean ±                                    50.0 ± 2.0   50.0 ± 2.0     50.0 ± 2.0",
        "std",
        "over",
        "runs,",
        "ddof 0",
    ]


def test_a_terminal_of_80_columns_shows_recalls_as_ever(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _on_a_terminal(results(_recalls()).brief(), capsys, monkeypatch) == [
        "            queries   among       R@1 % (95%)    R@5   R@10   median   mean rank",
        "─" * 80,
        "text to       1,000   2,000   10.0 (5.0-14.0)   30.0   50.0        9        12.3",
        "video",
        "video to      1,000   2,000   10.0 (5.0-14.0)   30.0   50.0        9        12.3",
        "text",
    ]


def test_a_task_without_a_list_of_clips_says_so() -> None:
    assert results(_accuracies(notes=[NO_LIST])).rows[0][2] == "1,234, no list"


def test_the_report_shows_the_same_table_with_every_interval(tmp_path: Path) -> None:
    receipt = _recalls()
    write_report(tmp_path, Result(receipt, ()))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    rows = [re.findall("<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall("<tr>(.*?)</tr>", page)]
    table = results(receipt)
    assert [column.title for column in table.columns] in rows
    assert [[html.unescape(cell) for cell in row] for row in rows][-2:] == [list(row) for row in table.rows]
    assert rows[-1][5] == "(25.0-34.0)"
    assert "<td>text to video</td><td class='number'>1,000</td>" in page


def test_nothing_that_a_receipt_says_becomes_markup(tmp_path: Path) -> None:
    write_report(tmp_path, Result(_recalls(), ()))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&#34;") >= 8
