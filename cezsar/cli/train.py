"""cezsar train"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cezsar import choices
from cezsar.cli.console import PathType, counted, device_option, json_option, notice, print_json, pulse, short
from cezsar.paths import readable

if TYPE_CHECKING:
    from cezsar.pairs import Rejected
    from cezsar.training.pipeline import Request, Trained
    from cezsar.training.run import EpochReport

_FILE = PathType(path_type=Path, exists=True, dir_okay=False)
_FOLDER = PathType(path_type=Path, file_okay=False)
_POSITIVE = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=1)
_WHOLE = click.IntRange(min=0)
_LEAST_0 = click.FloatRange(min=0)
_SHARE = click.FloatRange(0, 1, max_open=True)
_STREAMS = click.Choice(choices.STREAMS)
_MODEL = (
    "backbone", "sentence_encoder", "fps", "joint_dim", "d_model", "num_memories", "dropout", "text_dropout", "streams",
    "visual_weight",
)  # fmt: skip


@click.command(name="train")
@click.argument("pairs", metavar="PAIRS...", nargs=-1, type=_FILE)
@click.option("--videos", metavar="DIR", type=_FOLDER, help="Where the videos are.  [default: beside PAIRS]")
@click.option("--also", metavar="PAIRS", multiple=True, type=_FILE, help="More pairs, noisier ones. Repeatable.")
@click.option("--also-weight", type=_POSITIVE, help="How much a noisier row counts, up to 1.  [default: 0.1]")
@click.option("--out", metavar="DIR", type=_FOLDER, help="The run's folder, a new one.  [default: ./cezsar-run]")
@click.option("--resume", metavar="DIR", type=_FOLDER, help="Go on with the run in this folder, as it was started.")
@click.option("--start-from", metavar="DIR|HUB_ID", help="Begin with the weights of a saved model of the same sizes.")
@click.option("--preset", type=click.Choice(choices.PRESETS), default="lite", show_default=True, help="The model.")
@click.option("--backbone", metavar="NAME", help="Image backbone: timm:NAME, or DIR or HUB_ID of CLIP or SigLIP.")
@click.option("--sentence-encoder", metavar="NAME", help="DIR or HUB_ID of a sentence-transformers model.")
@click.option("--fps", type=_POSITIVE, help="Frames per second to look at.  [default: 1]")
@click.option("--joint-dim", type=_COUNT, help="Width of the joint space.  [lite: 384, bit: 128]")
@click.option("--d-model", type=_WHOLE, help="Width of the transformer path; 0 for none.  [lite: 0, bit: 1024]")
@click.option("--num-memories", type=_WHOLE, help="Segments in the memory; 0 for none.  [lite: 16384, bit: 0]")
@click.option("--dropout", type=_SHARE, help="Dropout in the transformer path.  [default: 0.2]")
@click.option("--layer-dropout", type=_SHARE, help="Dropout in its transformer layer.  [lite: as --dropout, bit: 0.1]")
@click.option("--text-dropout", type=_SHARE, help="Dropout of sentences, and of recalled ones.  [lite: 0.1, bit: 0.2]")
@click.option("--streams", type=_STREAMS, help="Streams in a segment's vector.  [default: visual_object]")
@click.option(
    "--visual-weight",
    type=click.FloatRange(0, 1),
    help="The visual stream's share; the objects have the rest.  [lite: 0.75, bit: 0.8]",
)
@click.option(
    "--loss",
    type=click.Choice(choices.LOSSES),
    help="The loss that is minimised.  [lite: infonce, bit: triplet]",
)
@click.option("--train-streams", type=_STREAMS, help="Streams in the loss.  [lite: as --streams, bit: visual]")
@click.option("--margin", type=_POSITIVE, help="The triplet loss's margin.  [default: 1]")
@click.option(
    "--distances",
    type=click.Choice(choices.DISTANCES),
    help="The triplet loss's distances: of unit vectors, or of LayerNormed ones.  [lite: unit, bit: layernorm]",
)
@click.option(
    "--negatives",
    type=click.Choice(choices.NEGATIVES),
    help="Source of the wrong sentences.  [lite: batch, bit: band]",
)
@click.option(
    "--band", metavar="LOW HIGH", nargs=2, type=float, help="Range of a band's cosine distances.  [default: 0 0.8]"
)
@click.option("--num-negatives", type=_COUNT, help="Sentences of the band per positive.  [default: 10]")
@click.option(
    "--object-positives/--no-object-positives",
    default=None,
    help="Object sentences as positives, too.  [lite: no, bit: yes]",
)
@click.option(
    "--object-windows",
    type=_WHOLE,
    help="Windows of 10 s that choose a segment's objects; 0 takes the whole segment.  [lite: 0, bit: 3]",
)
@click.option(
    "--object-weight",
    type=_POSITIVE,
    help="How much a segment's objects count; its sentence counts 1.  [lite: 1, bit: 2]",
)
@click.option(
    "--object-negatives",
    type=click.Choice(choices.OBJECT_NEGATIVES),
    help="An object's negatives: its caption's, or those in a band of its own.  [lite: caption, bit: own]",
)
@click.option("--epochs", type=_COUNT, help="Epochs at most.  [lite: 60, bit: 200]")
@click.option("--patience", type=_COUNT, help="Stop after so many epochs without a better recall.  [lite: 60, bit: 20]")
@click.option("--batch-size", type=_COUNT, help="Segments per step.  [lite: 1024, bit: 128]")
@click.option("--lr", "learning_rate", type=_POSITIVE, help="AdamW's learning rate.  [lite: 0.001, bit: 0.0001]")
@click.option(
    "--schedule",
    type=click.Choice(choices.SCHEDULES),
    help="How the rate goes on after its warm-up.  [lite: cosine, bit: constant]",
)
@click.option("--warmup", type=_SHARE, help="Share of the steps in which the rate rises.  [lite: 0.05, bit: 0]")
@click.option("--clip-norm", type=_LEAST_0, help="Cut gradients to this length; 0 for never.  [lite: 1, bit: 0]")
@click.option("--anchor", type=_LEAST_0, help="Pull towards the closed-form start.  [lite: 0.1, bit: 0]")
@click.option("--frame-dropout", type=_SHARE, help="Share of frames hidden in training.  [default: 0]")
@click.option(
    "--precision",
    type=click.Choice(choices.PRECISIONS),
    help="Mixed precision; or double, float64 throughout: every processor then rounds to the same --half weights.  "
    "[default: no]",
)
@click.option(
    "--validation", "share", type=_SHARE, default=0.1, show_default=True,
    help="Share of the videos to keep out; 0 for none.",
)  # fmt: skip
@click.option("--split-seed", type=int, default=0, show_default=True, help="Chooses the videos to keep out.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of weights and draws.  [default: 0]")
@click.option("--half", is_flag=True, help="Store best/ in float16, half as large.")
@click.option("--cache", metavar="DIR", type=_FOLDER, help="Where frame features are kept.  [default: the user cache]")
@device_option
@click.option("--workers", type=_COUNT, help="Videos decoded at once.  [default: 2]")
@click.option("--quiet", is_flag=True, help="No progress; rejected rows are still named.")
@json_option
def command(pairs: tuple[Path, ...], resume: Path | None, out: Path | None, as_json: bool, **chosen: Any) -> None:
    """Train a joint space of videos and sentences on captioned videos.

    PAIRS are files of rows that say what [start_s, end_s) of a video shows:

    \b
    .jsonl  {"video": "a.mp4", "start_s": 0, "end_s": 8, "sentence": "a man plays violin"}
    .csv    with the columns video, start_s, end_s, sentence
    .json   of ActivityNet Captions or MSR-VTT, as published

    In .jsonl, "sentences" may be a list, and "source" names the footage that several files were cut from. A row
    without start and end stands for the whole video. Rows of the same video, start and end are one segment with several
    sentences. Rows that cannot be used are named, with the reason, and left out.

    \b
    cezsar train captions.jsonl --videos ~/Movies --out run     train; Ctrl-C stops
    cezsar train --resume run                                   go on, with the same result
    cezsar index ~/Movies --model run/best --index new          use it

    Frames are encoded once, into a cache. Each video is decoded in a process of its own: one that crashes, hangs or
    takes too much costs only its own rows. The run's folder then holds run.json, metrics.jsonl, curves.png and the
    checkpoints best/ and last/. A share of the videos is kept out to measure recall: each of their sentences searches
    for its segment among all that are kept out.
    """
    from cezsar import training
    from cezsar.settings import load

    settings = load(workers=chosen.pop("workers"))
    is_first = os.environ.get("RANK", "0") == "0"  # of the processes that `accelerate launch` starts
    device, quiet = chosen.pop("device") or "auto", chosen.pop("quiet") or as_json or not is_first
    if resume is not None:
        _refuse_others()
        folder, request = resume, training.resumed(resume)
    else:
        if not pairs:
            raise click.UsageError("Missing argument 'PAIRS...'.")
        folder, request = out or Path("cezsar-run"), _request(pairs, chosen)
    with ExitStack() as stack:
        watcher = stack.enter_context(_Watcher(shown=not quiet))
        done = training.train(
            request, folder, watcher,
            device=device, resume=resume is not None, limits=settings.limits, workers=settings.workers,
            batch_size=settings.batch_size,
        )  # fmt: skip
    if not is_first:
        return
    if as_json:
        print_json(_document(done))
    elif not quiet:
        for line in _summary(done):
            click.echo(readable(line))


def _refuse_others() -> None:
    """--resume goes on as the run was started: nothing else can be chosen then."""
    context = click.get_current_context()
    for name in context.params:
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in ("resume", "device", "workers", "quiet", "as_json"):
            raise click.UsageError(
                "--resume goes on as the run was started: only --device, --workers, --quiet, --json go with it."
            )


def _resolved(name: str) -> str:
    """A folder by its whole path, so that a run can go on from elsewhere; a name as it is."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def _request(pairs: tuple[Path, ...], chosen: dict[str, Any]) -> Request:
    """The request of the options that were given, over the preset's."""
    from dataclasses import fields, replace

    from platformdirs import user_cache_path

    from cezsar.model.presets import PRESETS
    from cezsar.training import RECIPES, Recipe, Request, Split

    given = {key: value for key, value in chosen.items() if value is not None}
    if band := given.pop("band", None):
        given["band_low"], given["band_high"] = band
    recipe = {field.name: given[field.name] for field in fields(Recipe) if field.name in given}
    for name in ("backbone", "sentence_encoder", "start_from"):
        if name in given:
            given[name] = _resolved(given[name])
    model = {name: given[name] for name in _MODEL if name in given}
    return Request(
        pairs=tuple(str(file.resolve()) for file in pairs),
        also=tuple(str(file.resolve()) for file in given["also"]),
        videos=str(given["videos"].resolve()) if "videos" in given else None,
        cache=str(given["cache"].resolve() if "cache" in given else user_cache_path("cezsar") / "features"),
        preset=given["preset"],
        model={**PRESETS[given["preset"]], **model},
        recipe=replace(RECIPES[given["preset"]], **recipe),
        split=Split(seed=given["split_seed"], share=given["share"]),
        start_from=given.get("start_from"),
        half=given["half"],
    )


class _Watcher:
    """Progress on stderr where that is a terminal, a line each tenth of the epochs elsewhere, and rejected rows."""

    def __init__(self, *, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True, highlight=False)
        self._shown, self._live = shown, shown and console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not self._live,
            transient=True,
        )
        self._open = ExitStack()
        self._task: Any = None
        self._videos = (0, 0)
        self._doing = "reading the pairs"

    def __enter__(self) -> _Watcher:
        self._open.enter_context(self._progress)
        self._open.enter_context(pulse(lambda: self._doing, shown=self._shown and not self._live))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def rejected(self, row: Rejected) -> None:
        notice(f"left out {row.where}: {row.reason}")

    def exchanged(self, num_rows: int) -> None:
        verb = "has" if num_rows == 1 else "have"
        notice(f"{counted(num_rows, 'row')} {verb} a start after the end: the two were exchanged")

    def extracting(self, num_videos: int) -> None:
        self._videos = (0, num_videos)
        self._doing = f"features 0/{num_videos} videos"
        self._task = self._progress.add_task(f"features 0/{num_videos} videos", total=num_videos)

    def extracted(self, video: Path, is_new: bool) -> None:
        done, total = self._videos[0] + 1, self._videos[1]
        self._videos = (done, total)
        self._doing = f"features {done}/{total} videos"
        self._progress.update(self._task, advance=1, description=self._doing)

    def training(self, num_training: int, num_validation: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._doing = f"training on {counted(num_training, 'segment')}, {num_validation:,} kept out"
        if self._shown:
            notice(self._doing)

    def epoch(self, report: EpochReport) -> None:
        said = self._doing = _epoch(report)
        if self._live:
            if self._task is None:
                self._task = self._progress.add_task(said, total=report.epochs)
            self._progress.update(self._task, completed=report.epoch, description=said)
        elif self._shown and (
            report.epoch == 1 or report.epoch * 10 // report.epochs != (report.epoch - 1) * 10 // report.epochs
        ):
            notice(said)


def _epoch(report: EpochReport) -> str:
    line = f"epoch {report.epoch}/{report.epochs}, loss {report.loss:.3f}"
    if report.validation is not None:
        line += f", recall@1 {report.validation.recall_1:.1%}, @10 {report.validation.recall_10:.1%}"
    return line


def _summary(done: Trained) -> list[str]:
    line = f"best epoch {done.best.epoch}"
    if (found := done.best.validation) is not None:
        line += (
            f": of {done.num_validation:,} kept-out segments recall@1 {found.recall_1:.1%}, @5 {found.recall_5:.1%}, "
            f"@10 {found.recall_10:.1%}, median rank {found.median_rank:g}"
        )
    if done.num_rejected:
        line += f"; {counted(done.num_rejected, 'row')} left out"
    return [line, f"cezsar index PATH --model {short(done.run / 'best')} --index DIR uses it"]


def _document(done: Trained) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "run": str(done.run),
        "best": asdict(done.best),
        "training": done.num_training,
        "validation": done.num_validation,
        "rejected": done.num_rejected,
    }
