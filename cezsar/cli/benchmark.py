"""cezsar benchmark"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cezsar.cli.console import (
    PathType,
    counted,
    device_option,
    json_option,
    notice,
    print_json,
    print_table,
    working,
)
from cezsar.errors import BenchmarkError, CezsarError
from cezsar.paths import readable

if TYPE_CHECKING:
    from cezsar.query.benchmark import Request, Result
    from cezsar.settings import Settings
    from cezsar.types import Limits

_DATASETS = ("ucf101", "hmdb51", "kinetics400", "kinetics-zsar", "activitynet", "folder", "pairs")


@click.command(name="benchmark")
@click.argument("dataset", metavar="[DATASET]", required=False, type=click.Choice(_DATASETS))
@click.option("--root", metavar="DIR", type=PathType(path_type=Path, exists=True, file_okay=False), help="The dataset.")
@click.option("--protocol", metavar="P", help="full, half, random:K, split1, truze ... (above).  [default: full]")
@click.option("--runs", type=click.IntRange(min=1), default=10, show_default=True, help="Draws of random:K and half.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of these draws.")
@click.option("--model", metavar="NAME", help="The encoder, as for cezsar index.  [default: lite]")
@click.option(
    "--streams", type=click.Choice(["visual", "object", "visual_object"]), help="Of a trained model, which to use."
)
@click.option("--sentences", metavar="names|ours|FILE", default="names", show_default=True, help="What a class is.")
@click.option(
    "--prototypes", type=click.Choice(["nearest", "mean"]), default="nearest", show_default=True,
    help="Of several sentences of a class, the nearest, or their mean.",
)  # fmt: skip
@click.option(
    "--correction", type=click.Choice(["none", "csls", "inverted-softmax", "refine"]), default="none",
    show_default=True, help="One that sees all test clips, unlabelled.",
)  # fmt: skip
@click.option(
    "--index", metavar="DIR", type=PathType(file_okay=False, path_type=Path),
    help="The index's folder.  [default: one in the user's cache]",
)  # fmt: skip
@click.option("--out", metavar="DIR", type=PathType(path_type=Path, file_okay=False), help="Receipt, figures, report.")
@click.option("--allow-missing", is_flag=True, help="Go on without what is missing; coverage is printed.")
@click.option("--query-field", metavar="F", help="pairs: the field of a row with its one query.")
@click.option(
    "--check", metavar="RECEIPT", type=PathType(path_type=Path, exists=True, dir_okay=False),
    help="Run a receipt again and compare.",
)  # fmt: skip
@device_option
@json_option
def command(
    dataset: str | None,
    root: Path | None,
    index: Path | None,
    out: Path | None,
    check: Path | None,
    model: str | None,
    streams: str | None,
    device: str | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Repeat a zero-shot protocol, with a receipt that anyone can check.

    \b
    DATASET        what --root holds
    ucf101         v_Class_g01_c01.avi, in folders or not      } clips are matched
    hmdb51         a folder a class                            } with the official
    kinetics400    a folder a class                            } lists; nothing is
    kinetics-zsar  the 220 classes of K600 that K400 lacks     } downloaded
    folder         your own: one sub-folder a class
    activitynet    val_1.json and the videos
    pairs          captions.jsonl of video, start_s, end_s, sentences; and the videos

    \b
    PROTOCOL                        classes that are candidates
    full                            all of them (0/101, 0/400 ...); retrieval: all rows
    half, random:K                  a half, or K, drawn --runs times: mean and std
    split1, split2, split3          UCF-101's test lists, all classes
    truze, truze2                   34 of 67/34, and 31 of 70/31
    hard-cases, semantic-gap        15 and 4, as published
    zsar                            kinetics-zsar's three splits of 160
    moments                         activitynet: each sentence for its own stretch
    kept-out:SHARE[:SEED]           pairs: what cezsar train keeps out

    The dataset is indexed like any folder, into an index of its own, so that a second protocol takes seconds. Figures
    have 95% bootstrap intervals; of equal scores the right answer counts as last.

    \b
    cezsar benchmark folder --root clips --sentences ours --out report
    cezsar benchmark ucf101 --root UCF-101 --protocol truze --sentences ours
    cezsar benchmark --check report/receipt.json
    """
    from cezsar.query.benchmark import Request, compare, read_receipt
    from cezsar.settings import load

    before: dict[str, Any] | None = None
    if check is not None:
        _refuse_others()
        before, request = read_receipt(check)
        root = root or Path(before["root"])
        index = index or Path(before["index"])
        model, streams = before["model"]["name"], before["model"]["streams"]
        if not root.is_dir():
            raise BenchmarkError(f"The receipt's folder {root} is not there: say where it is with --root.")
    else:
        if dataset is None or root is None:
            raise click.UsageError("A DATASET and its --root are needed, or --check RECEIPT.")
        if asked["sentences"] not in ("names", "ours"):
            asked["sentences"] = str(Path(asked["sentences"]).expanduser().resolve())
        request = Request(dataset, **asked)
    root = root.resolve()
    settings = load(index=index or _own_index(root, model, streams), model=model, streams=streams, device=device)
    result = _run(root, settings, request)
    if out is not None:
        _write(out, result, settings.limits)
    if as_json:
        print_json(result.receipt)
    else:
        _print(result.receipt)
    if before is not None:
        found = compare(before, result.receipt)
        for line in found.differences[:10]:
            click.echo(readable(f"differs: {line}"))
        if found.differences:
            differ = "differs" if len(found.differences) == 1 else "differ"
            raise CezsarError(f"The receipt is not confirmed: {counted(len(found.differences), 'value')} {differ}.")
        how = "identical, bit for bit" if found.is_identical else "the same within 1e-4, though not bit for bit"
        (notice if as_json else click.echo)(f"The receipt is confirmed: {how}.")


def _refuse_others() -> None:
    context = click.get_current_context()
    for name in context.params:
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in ("check", "root", "index", "out", "device", "as_json"):
            raise click.UsageError(
                "--check repeats what the receipt asked: only --root, --index, --out, --device, --json go with it."
            )


def _own_index(root: Path, model: str | None, streams: str | None) -> Path:
    """Where a root's benchmark index is kept: in the user's cache, for it can be made again."""
    from platformdirs import user_cache_path

    said = json.dumps([str(root), model, streams])
    name = f"{root.name[:40]}-{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    return user_cache_path("cezsar") / "benchmarks" / readable(name)


def _run(root: Path, settings: Settings, request: Request) -> Result:
    from dataclasses import replace

    from cezsar import catalog
    from cezsar.cli.index import run_index
    from cezsar.encoders.devices import device_name
    from cezsar.query import Searcher
    from cezsar.query.benchmark import run

    began = time.monotonic()
    report = run_index((root,), settings)
    if not catalog.exists(settings.index):
        raise BenchmarkError(f"There is no video in {root}.")
    skipped = [f"{skip.path}: {skip.reason}" for skip in report.skipped]
    with working("opening the index") as progress, Searcher(settings.index, device=settings.device) as searcher:
        result = run(searcher, root, request, skipped=skipped, progress=progress)
    seconds = round(time.monotonic() - began, 1)
    extra = {
        "root": str(root),
        "index": str(settings.index),
        "device": device_name(settings.device),
        "seconds": seconds,
    }
    return replace(result, receipt={**result.receipt, **extra})


def _write(out: Path, result: Result, limits: Limits) -> None:
    from cezsar.query.benchmark import write_report

    try:
        with working("drawing the report"):
            write_report(out, result, limits=limits)
    except OSError as error:
        raise BenchmarkError(f"The report cannot be written: {out}: {error.strerror or error}.") from None


def _print(receipt: dict[str, Any]) -> None:
    for line in _heading(receipt):
        click.echo(readable(line))
    if "tasks" in receipt:
        _print_accuracies(receipt)
    else:
        _print_recalls(receipt)


def _heading(receipt: dict[str, Any]) -> list[str]:
    clips, request, model = receipt["clips"], receipt["request"], receipt["model"]
    lines = [
        f"{request['dataset']}, protocol {receipt['protocol']}; model {model['name']} ({model['streams']}); "
        f"sentences: {receipt['sentences']['source']}"
        + (f"; correction: {request['correction']}" if request["correction"] != "none" else "")
    ]
    if clips["missing"]:
        first = ", ".join(clips["missing"][:3])
        lines.append(f"missing: {len(clips['missing']):,} ({first}{', ...' if len(clips['missing']) > 3 else ''})")
    return lines + [f"note: {note}" for note in receipt["notes"]]


def _print_accuracies(receipt: dict[str, Any]) -> None:
    tasks, summary = receipt["tasks"], receipt["summary"]
    titles = ("", "classes", "clips", "top-1 % (95%)", "top-5 %", "class mean %")
    rows: list[tuple[str, ...]] = [
        (
            task["name"],
            f"{task['num_classes']}",
            _coverage(task["num_clips"], task["num_listed"]),
            _interval(task["top_1"]),
            _percent(task["top_5"]["value"]),
            _percent(task["mean_class"]["value"]),
        )
        for task in tasks
    ]
    if len(tasks) > 1:
        means = [_mean(summary[name]) for name in ("top_1", "top_5", "mean_class")]
        rows.append(("mean ± std", "", "", *means))
    print_table([(title, bool(title)) for title in titles], rows)


def _print_recalls(receipt: dict[str, Any]) -> None:
    rows = []
    for name, key in (("text to video", "text_to_video"), ("video to text", "video_to_text")):
        found = receipt[key]
        recalls = [found["recall_1"], found["recall_5"], found["recall_10"]]
        rows.append(
            (
                name,
                f"{found['num_queries']:,}",
                f"{found['num_candidates']:,}",
                _interval(recalls[0]),
                *(_percent(one["value"]) for one in recalls[1:]),
                f"{found['median_rank']:g}",
                f"{found['mean_rank']:.1f}",
            )
        )
    titles = ("", "queries", "among", "R@1 % (95%)", "R@5", "R@10", "median", "mean rank")
    print_table([(title, bool(title)) for title in titles], rows)


def _coverage(found: int, listed: int | None) -> str:
    return f"{found:,}" if listed in (None, found) else f"{found:,} of {listed:,}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(found: dict[str, float]) -> str:
    return f"{_percent(found['value'])} ({_percent(found['low'])}-{_percent(found['high'])})"


def _mean(found: dict[str, Any]) -> str:
    return f"{_percent(found['mean'])} ± {_percent(found['std'])}"
