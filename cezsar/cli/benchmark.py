"""cezsar benchmark"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cezsar import choices
from cezsar.cli.console import (
    LocationType,
    PathType,
    counted,
    device_option,
    json_option,
    notice,
    print_json,
    print_table,
    working,
)
from cezsar.datasets import DATASETS
from cezsar.errors import BenchmarkError, CezsarError
from cezsar.location import located
from cezsar.paths import readable

if TYPE_CHECKING:
    from cezsar.location import Location
    from cezsar.query.benchmark import Checked, Request, Result
    from cezsar.query.prompts import Labels
    from cezsar.settings import Settings
    from cezsar.types import EncoderIdentity, Limits, Sampling

_FEW = 10  # clips of a class: its accuracy says little
_HELP = """Repeat a zero-shot protocol, with a receipt that anyone can check.

\b
DATASET        what --root holds
{datasets}

If no list of clips is known, every clip below --root is judged.

\b
PROTOCOL                        classes that are candidates
full                            all of them (0/101, 0/400 ...); retrieval: all rows
half, random:K                  a half, or K, drawn --runs times: mean and std
{protocols}

Nothing is downloaded. The dataset is indexed like any folder, into an index of its own, so that a second protocol
takes seconds. Figures have 95% bootstrap intervals; among equal scores the right answer counts as last.

\b
cezsar benchmark folder --root clips --sentences ours --out report
cezsar benchmark ucf101 --root UCF-101 --protocol truze --sentences ours
cezsar benchmark --check report/receipt.json
""".format(
    datasets="\n".join(f"{one.name:<15}{one.holds}" for one in DATASETS.values()),
    protocols="\n".join(f"{', '.join(p.names):<32}{p.what}" for one in DATASETS.values() for p in one.own),
)


@click.command(name="benchmark", help=_HELP)
@click.argument("dataset", metavar="[DATASET]", required=False, type=click.Choice(list(DATASETS)))
@click.option("--root", metavar="DIR", type=PathType(path_type=Path, exists=True, file_okay=False), help="The dataset.")
@click.option("--protocol", metavar="P", help="full, half, random:K, split1, truze ... (above).  [default: full]")
@click.option("--runs", type=click.IntRange(min=1), default=10, show_default=True, help="Draws of random:K and half.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of these draws.")
@click.option("--model", metavar="NAME", help="The encoder, as for cezsar index.  [default: lite]")
@click.option("--streams", type=click.Choice(choices.STREAMS), help="Streams of a trained model to use.")
@click.option(
    "--sentences", metavar="|".join((*choices.SENTENCES, "FILE", "DIR")), default=choices.SENTENCES[0],
    show_default=True,
    help="The text of a class: its name, this project's sentence, a JSON file's, or those of a folder of CLASS.txt.",
)  # fmt: skip
@click.option("--raw", is_flag=True, help="Take labels as cezsar classify --raw does.")
@click.option(
    "--prototypes", type=click.Choice(choices.PROTOTYPES), default=choices.PROTOTYPES[0], show_default=True,
    help="With --raw: the nearest of a class's sentences, or their mean.",
)  # fmt: skip
@click.option(
    "--correction", type=click.Choice(choices.CORRECTIONS), default=choices.CORRECTIONS[0],
    show_default=True, help="A correction that sees all test clips, unlabelled.",
)  # fmt: skip
@click.option(
    "--index", metavar="DIR|URL", type=LocationType(file_okay=False, path_type=Path),
    help="The index's folder or database.  [default: one in the user's cache]",
)  # fmt: skip
@click.option(
    "--out",
    metavar="DIR",
    type=PathType(path_type=Path, file_okay=False),
    help="Folder for receipt, figures and report.",
)
@click.option("--allow-missing", is_flag=True, help="Go on without missing clips, and print the coverage.")
@click.option("--query-field", metavar="F", help="pairs: the field that holds a row's one query.")
@click.option("--split", metavar="NAME", help="The folder to take if train/ and val/ lie side by side.")
@click.option(
    "--check", metavar="RECEIPT", type=PathType(path_type=Path, exists=True, dir_okay=False),
    help="Hash a receipt's clips, embed a tenth of them anew, repeat the protocol and compare. --root, --model, "
    "--sentences and --index say where things are now.",
)  # fmt: skip
@click.option("--all", "takes_all", is_flag=True, help="With --check: embed all clips anew.")
@click.option(
    "--check-seed", metavar="N", type=click.IntRange(min=0),
    help="With --check: seed of the tenth that is embedded anew.  [default: drawn, and printed]",
)  # fmt: skip
@device_option
@json_option
def command(
    dataset: str | None,
    root: Path | None,
    index: Location | None,
    out: Path | None,
    check: Path | None,
    takes_all: bool,
    check_seed: int | None,
    model: str | None,
    streams: str | None,
    device: str | None,
    as_json: bool,
    **asked: Any,
) -> None:
    from cezsar import encoders
    from cezsar.query.benchmark import Request
    from cezsar.settings import DEFAULT_MODEL, load

    if check is not None:
        _refuse_others()
        _check(check, root, index, out, model, device, as_json, asked["sentences"], takes_all, check_seed)
        return
    if dataset is None or root is None:
        raise click.UsageError("A DATASET and its --root are needed, or --check RECEIPT.")
    if takes_all or check_seed is not None:
        raise click.UsageError("--all and --check-seed go with --check RECEIPT.")
    request = Request(dataset, **asked)
    settings = load(index=index, model=model, streams=streams, device=device)
    if index is None:
        encoder = encoders.load(settings.model or DEFAULT_MODEL, device=settings.device, streams=settings.streams)
        sampling = settings.sampling_over(encoders.own_sampling(encoder))
        settings = replace(settings, index=_own_index(root.resolve(), encoder.identity, sampling))
    result, _ = _run(root, settings, request)
    _show(result, settings.limits, out, as_json)


def _show(result: Result, limits: Limits, out: Path | None, as_json: bool) -> None:
    if out is not None:
        _write(out, result, limits)
    if as_json:
        print_json(result.receipt)
    else:
        _print(result.receipt)


def _given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _refuse_others() -> None:
    allowed = ("check", "root", "index", "model", "sentences", "takes_all", "check_seed", "out", "device", "as_json")
    if any(_given(name) for name in click.get_current_context().params if name not in allowed):
        raise click.UsageError(
            "--check repeats what the receipt asked: only --root, --index, --model, --sentences, --all, --check-seed, "
            "--out, --device, --json go with it."
        )


def _check(
    receipt: Path,
    root: Path | None,
    index: Location | None,
    out: Path | None,
    model: str | None,
    device: str | None,
    as_json: bool,
    sentences: str,
    takes_all: bool,
    seed: int | None,
) -> None:
    """Run a receipt again, on what it names or on what is given in its place, and say whether it holds."""
    from cezsar import encoders, store
    from cezsar.query.benchmark import labels_of, read_receipt
    from cezsar.settings import load
    from cezsar.types import Sampling

    before, request = read_receipt(receipt)
    labels = labels_of(before)
    if _given("sentences"):
        request, labels = replace(request, sentences=sentences), None
    root = _root(before, root, index)
    model, streams = model or _model(before, index), before["model"]["streams"]
    if "index" in before:
        index = index or located(before["index"])
    settings = load(index=index, model=model, streams=streams, device=device)
    if index is None:
        sampling = Sampling(**before["sampling"])
        identity = encoders.load(model, device=settings.device, streams=streams).identity
        settings = replace(settings, index=_own_index(root.resolve(), identity, sampling))
    if "sampling" in before and not store.exists(settings.index):
        settings = replace(settings, **before["sampling"])
    against = _Against(before, labels, secrets.randbelow(2**32) if seed is None else seed, takes_all)
    result, checked = _run(root, settings, request, against)
    assert checked is not None
    _show(result, settings.limits, out, as_json)
    say = notice if as_json else click.echo
    for line in (checked.did, *checked.could_not, *(f"differs: {line}" for line in checked.differences[:10])):
        say(readable(line))
    if checked.differences:
        differ = "differs" if len(checked.differences) == 1 else "differ"
        raise CezsarError(f"The receipt is not confirmed: {counted(len(checked.differences), 'value')} {differ}.")
    how = "identical, bit for bit" if checked.is_identical else "the same within 1e-4, though not bit for bit"
    say(f"The receipt is confirmed: {how}.")


def _root(before: dict[str, Any], root: Path | None, index: Location | None) -> Path:
    """Where a receipt's clips are: as said, or where the given index found them, or under its name here."""
    from cezsar import store

    if root is None and index is not None and store.exists(index):
        with store.open(index) as catalog, catalog.read() as rows:
            roots = rows.roots()
        root = Path(os.fsdecode(roots[0])) if len(roots) == 1 else None
    root = root or Path(before["root"])
    if not root.is_dir():
        raise BenchmarkError(f"The receipt's folder {root} is not there: say where it is with --root.")
    return root


def _model(before: dict[str, Any], index: Location | None) -> str:
    """What a receipt's encoder is called here; of a folder it holds the name alone, and an index where it is."""
    from cezsar import store

    name: str = before["model"]["name"]
    if not before["model"].get("is_folder"):
        return name
    if index is not None and store.exists(index):
        with store.open(index) as catalog:
            return catalog.info.encoder.name
    raise BenchmarkError(f"The receipt's model is a folder called {name}: say where it is with --model DIR.")


def _own_index(root: Path, encoder: EncoderIdentity, sampling: Sampling) -> Path:
    """Where a root's benchmark index is kept: in the user's cache, for it can be made again."""
    from platformdirs import user_cache_path

    said = json.dumps([str(root), asdict(encoder), asdict(sampling)])
    name = f"{root.name[:40]}-{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    return user_cache_path("cezsar") / "benchmarks" / readable(name)


@dataclass(frozen=True, slots=True)
class _Against:
    """A receipt to be checked, its own sentences, and which of its clips are embedded anew."""

    receipt: dict[str, Any]
    labels: Labels | None
    seed: int
    takes_all: bool


def _run(
    asked_root: Path, settings: Settings, request: Request, against: _Against | None = None
) -> tuple[Result, Checked | None]:
    """The result, and what a check of a receipt against it found."""
    from cezsar import indexer, store
    from cezsar.cli.index import run_index
    from cezsar.encoders.devices import device_name
    from cezsar.query import Searcher
    from cezsar.query.benchmark import check, run
    from cezsar.video import Pool

    began, root = time.monotonic(), asked_root.resolve()
    report = run_index((root,), settings)
    if not store.exists(settings.index):
        raise BenchmarkError(f"There is no video in {root}.")
    skipped = [f"{os.path.relpath(skip.path, root)}: {skip.reason}" for skip in report.skipped]
    circumstances = {
        "root": asked_root.name if asked_root.is_absolute() else os.fspath(asked_root),
        "device": device_name(settings.device),
        "machine": _machine(),
    }
    checked = None
    with working("opening the index") as progress, Searcher(settings.index, device=settings.device) as searcher:
        choices: dict[str, Any] = {"skipped": skipped, "progress": progress}
        if against is not None:
            choices |= {"labels": against.labels, "reads_files": True}
            choices |= {"former": against.receipt.get("std_ddof", 1) == 1}
        result = run(searcher, root, request, **choices)
        result = replace(result, receipt={**result.receipt, **circumstances})
        if against is not None:
            sampling = searcher.info.sampling
            with Pool(settings.limits) as pool:
                checked = check(
                    against.receipt, result, searcher, root,
                    embed=lambda path: indexer.embed(
                        path, searcher.encoder, sampling, batch_size=settings.batch_size, pool=pool
                    ),
                    seed=against.seed, takes_all=against.takes_all, progress=progress,
                )  # fmt: skip
    seconds = round(time.monotonic() - began, 1)
    return replace(result, receipt={**result.receipt, "seconds": seconds}), checked


def _machine() -> str:
    """What tells this machine from others, and says nothing else of it."""
    said = [platform.node(), platform.machine(), platform.processor(), os.cpu_count()]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _write(out: Path, result: Result, limits: Limits) -> None:
    from cezsar.query.benchmark import write_report

    try:
        with working("drawing the report"):
            write_report(out, result, limits=limits)
    except OSError as error:
        raise BenchmarkError(f"The report cannot be written: {out}: {error.strerror or error}.") from None


def _print(receipt: dict[str, Any]) -> None:
    from cezsar.query.benchmark import results

    for line in _heading(receipt):
        click.echo(readable(line))
    print_table(results(receipt).brief())


def _heading(receipt: dict[str, Any]) -> list[str]:
    clips, request, model = receipt["clips"], receipt["request"], receipt["model"]
    lines = [
        f"{request['dataset']}, protocol {receipt['protocol']}; model {model['name']} ({model['streams']}); "
        f"sentences: {receipt['sentences']['source']}"
        + (f"; labels: {receipt['labels']['method']}" if "labels" in receipt else "")
        + (f"; correction: {request['correction']}" if request["correction"] != "none" else "")
    ]
    if clips["missing"]:
        first = ", ".join(clips["missing"][:3])
        lines.append(f"missing: {len(clips['missing']):,} ({first}{', ...' if len(clips['missing']) > 3 else ''})")
    if per_class := clips.get("per_class"):
        counts = per_class.values()
        lines.append(f"clips judged: {clips['found']:,} (per class {min(counts):,}-{max(counts):,})")
        if few := [f"{label} {count}" for label, count in per_class.items() if count < _FEW]:
            more = ", ..." if len(few) > 5 else ""
            lines.append(
                f"fewer than {_FEW} clips: {len(few):,} of {len(per_class):,} classes ({', '.join(few[:5])}{more})"
            )
    return lines + [f"note: {note}" for note in receipt["notes"]]
