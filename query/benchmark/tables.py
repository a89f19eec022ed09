"""The figures of a receipt as tables, for the terminal and the report."""

from __future__ import annotations

from typing import Any

from cezsar.query.benchmark.datasets import NO_LIST
from cezsar.tables import Column, Table


def results(receipt: dict[str, Any]) -> Table:
    """A receipt's accuracies, one row per task, or its recalls, one row per direction; in percent, with 95%
    intervals."""
    return _accuracies(receipt) if "tasks" in receipt else _recalls(receipt)


def _accuracies(receipt: dict[str, Any]) -> Table:
    tasks, summary, has_list = receipt["tasks"], receipt["summary"], NO_LIST not in receipt["notes"]
    rows = [
        (
            task["name"],
            f"{task['num_classes']:,}",
            _coverage(task["num_clips"], task["num_listed"], has_list=has_list),
            f"{_percent(task['top_1'])} {_interval(task['top_1'])}",
            *_apart(task["top_5"]),
            *_apart(task["mean_class"]),
        )
        for task in tasks
    ]
    if len(tasks) > 1:
        top_1, top_5, mean_class = (_mean(summary[name]) for name in ("top_1", "top_5", "mean_class"))
        title = f"mean ± std over runs, ddof {receipt['std_ddof']}"
        rows.append((title, "", "", top_1, top_5, "", mean_class, ""))
    return Table(
        (
            Column(""),
            Column("classes", is_number=True),
            Column("clips", is_number=True),
            Column("top-1 % (95%)", is_number=True),
            Column("top-5 %", is_number=True),
            Column("(95%)", is_number=True, is_detail=True),
            Column("class mean %", is_number=True),
            Column("(95%)", is_number=True, is_detail=True),
        ),
        tuple(rows),
    )


def _recalls(receipt: dict[str, Any]) -> Table:
    rows = []
    for name, key in (("text to video", "text_to_video"), ("video to text", "video_to_text")):
        found = receipt[key]
        rows.append(
            (
                name,
                f"{found['num_queries']:,}",
                f"{found['num_candidates']:,}",
                f"{_percent(found['recall_1'])} {_interval(found['recall_1'])}",
                *_apart(found["recall_5"]),
                *_apart(found["recall_10"]),
                f"{found['median_rank']:g}",
                f"{found['mean_rank']:.1f}",
            )
        )
    return Table(
        (
            Column(""),
            Column("queries", is_number=True),
            Column("among", is_number=True),
            Column("R@1 % (95%)", is_number=True),
            Column("R@5", is_number=True),
            Column("(95%)", is_number=True, is_detail=True),
            Column("R@10", is_number=True),
            Column("(95%)", is_number=True, is_detail=True),
            Column("median", is_number=True),
            Column("mean rank", is_number=True),
        ),
        tuple(rows),
    )


def _coverage(found: int, listed: int | None, *, has_list: bool) -> str:
    if not has_list:
        return f"{found:,}, no list"
    return f"{found:,}" if listed in (None, found) else f"{found:,} of {listed:,}"


def _apart(found: dict[str, float]) -> tuple[str, str]:
    """A figure and its interval, for columns of their own."""
    return _percent(found), _interval(found)


def _percent(found: dict[str, float]) -> str:
    return f"{100 * found['value']:.1f}"


def _interval(found: dict[str, float]) -> str:
    return f"({100 * found['low']:.1f}-{100 * found['high']:.1f})"


def _mean(found: dict[str, float]) -> str:
    return f"{100 * found['mean']:.1f} ± {100 * found['std']:.1f}"
