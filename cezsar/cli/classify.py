"""cezsar classify"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cezsar.choices import CLASSIFY_FORMATS
from cezsar.cli.console import (
    NOT_CALIBRATED,
    clock,
    counted,
    device_option,
    index_option,
    is_terminal,
    json_option,
    notice,
    path_arguments,
    print_json,
    print_table,
    short,
)
from cezsar.errors import CezsarError
from cezsar.paths import path_fields, readable

if TYPE_CHECKING:
    from cezsar.location import Location
    from cezsar.types import Prediction, VideoPredictions


@click.command(name="classify")
@path_arguments
@click.option(
    "--labels",
    metavar="a,b,c|FILE",
    required=True,
    help="Your labels: a list, a .txt file with one per line, or a .json file {label: [sentences]}.",
)
@index_option
@click.option("-k", "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Labels per video.")
@click.option("--segments", "timeline", is_flag=True, help="Give a timeline too: the labels of each segment.")
@click.option("--format", "form", type=click.Choice(CLASSIFY_FORMATS), default="table", show_default=True)
@click.option("--raw", is_flag=True, help="Encode labels as they are, take the nearest sentence, and correct nothing.")
@json_option
@click.option("--none-of-these", is_flag=True, help="Say so if no label fits a video, by the encoder's calibration.")
@device_option
@click.option("-v", "--verbose", is_flag=True, help="Print the texts encoded for each label on stderr.")
def command(
    paths: tuple[Path, ...],
    labels: str,
    index: Location | None,
    top_k: int,
    timeline: bool,
    form: str,
    raw: bool,
    as_json: bool,
    none_of_these: bool,
    device: str | None,
    verbose: bool,
) -> None:
    """Say which of your labels fits each video under PATH best, without any training on them.

    Videos that are not in the index yet are added to it first. A label is the mean of its own words (PlayingGuitar and
    playing_guitar are "playing guitar"; the numbers of a numbered list are left out), of the meanings of its rare words
    (WordNet), and of the sentences that a .json file gives it, which say what is seen:
    {"archery": ["a person draws a bow and shoots at a target"]}. -v shows them. The score is the cosine similarity of
    this mean and the video, less the label's score on generic videos if the encoder has some (`lite` does): above 0 the
    video fits better than those do. With --raw it is the cosine similarity of the nearest sentence.
    """
    from cezsar import store
    from cezsar.cli.index import run_index
    from cezsar.query import Searcher, classify, encoded, read_labels
    from cezsar.settings import load
    from cezsar.types import VideoPredictions

    wanted = read_labels(labels)
    texts = encoded(wanted, raw=raw)
    if verbose:
        for label, said in texts.items():
            notice(f"label {label}: {' | '.join(said)}")
    settings = load(index=index, device=device)
    form = "json" if as_json else form
    is_new = not store.exists(settings.index)
    report = run_index(paths, settings, prune=False)
    errors = {skip.path: skip.reason for skip in report.skipped}
    if store.exists(settings.index):
        if is_new:
            notice(f"made a new index in {settings.index} ({report.model})")
        elif report.added:
            where = ", ".join(short(path) for path in paths)
            notice(f"added {counted(report.added, 'video')} of {where} to the index in {settings.index}")
        with Searcher(settings.index, device=settings.device) as searcher:
            if searcher.calibration_notice:
                notice(searcher.calibration_notice)
            if none_of_these and searcher.calibration is None:
                raise CezsarError(f"--none-of-these: {NOT_CALIBRATED.format(report.model)}")
            videos = classify(searcher, paths, wanted, top_k=top_k, timeline=timeline, raw=raw, errors=errors)
    else:
        videos = [VideoPredictions(path, error=errors[path]) for path in sorted(errors)]
    if form == "json":
        from cezsar.documents import classify_document

        print_json(classify_document(report.model, texts, videos, timeline=timeline, none_of_these=none_of_these))
    elif form == "csv":
        _print_csv(videos, none_of_these=none_of_these)
    else:
        _print_tables(videos, none_of_these=none_of_these)
    if all(video.error is not None for video in videos):
        raise CezsarError(f"There is no video to classify in {', '.join(short(path) for path in paths)}.")


def _print_tables(videos: Sequence[VideoPredictions], *, none_of_these: bool) -> None:
    from cezsar.tables import Column, Table

    rows: list[tuple[str, ...]] = []
    for video in videos:
        if video.error is not None:
            rows.append((short(video.path), "-", "", "", video.error))
            continue
        rows.append((short(video.path), *_cells(video.predictions, fits=video.fits or not none_of_these)))
        for part in video.segments:
            time = f"  {clock(part.segment.start_s)}-{clock(part.segment.end_s)}"
            rows.append((time, *_cells(part.predictions, fits=part.fits or not none_of_these)))
    numbers = (Column("score", is_number=True), Column("confidence", is_number=True))
    if rows:
        columns = (Column("video"), Column("label"), *numbers, Column("then"))
        print_table(Table(columns, tuple(rows)).without_empty("confidence"))


def _cells(predictions: Sequence[Prediction], *, fits: bool) -> tuple[str, str, str, str]:
    """Label, score, confidence and the others; if none fits, all are others."""
    best, others = predictions[0], predictions[1:]
    rest = ", ".join(f"{other.label} {other.score:.3f}" for other in (others if fits else predictions))
    if not fits:
        return "none of these", "", "", rest
    return best.label, f"{best.score:.3f}", "" if best.confidence is None else f"{best.confidence:.2f}", rest


def _print_csv(videos: Sequence[VideoPredictions], *, none_of_these: bool) -> None:
    """One line a prediction; start_s and end_s are empty if it is of the whole video.

    With none_of_these a line of rank 0 without a label comes first if none fits.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "start_s", "end_s", "rank", "label", "score", "error", "path_bytes", "confidence"))
    for video in videos:
        path = path_fields(video.path)
        name, raw = path["path"], path.get("path_bytes", "")
        if video.error is not None:
            writer.writerow((name, "", "", "", "", "", video.error, raw, ""))
        if none_of_these and not video.fits:
            writer.writerow((name, "", "", 0, "", "", "", raw, ""))
        for rank, one in enumerate(video.predictions, start=1):
            writer.writerow((name, "", "", rank, one.label, one.score, "", raw, _csv_confidence(one)))
        for part in video.segments:
            times = (part.segment.start_s, part.segment.end_s)
            if none_of_these and not part.fits:
                writer.writerow((name, *times, 0, "", "", "", raw, ""))
            for rank, one in enumerate(part.predictions, start=1):
                writer.writerow((name, *times, rank, one.label, one.score, "", raw, _csv_confidence(one)))
    lines = out.getvalue().splitlines() if is_terminal() else [out.getvalue().removesuffix("\n")]
    for line in lines:
        click.echo(readable(line) if is_terminal() else line)


def _csv_confidence(one: Prediction) -> float | str:
    return "" if one.confidence is None else one.confidence
