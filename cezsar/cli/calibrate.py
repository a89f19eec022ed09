"""cezsar calibrate"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cezsar.cli.console import (
    PathType,
    counted,
    device_option,
    index_option,
    json_option,
    notice,
    print_json,
    print_table,
    working,
)
from cezsar.errors import CalibrationError, VideoError
from cezsar.paths import readable

if TYPE_CHECKING:
    from cezsar.location import Location
    from cezsar.pairs import Pair
    from cezsar.query import Calibration, Searcher
    from cezsar.types import Vectors
    from cezsar.video import Pool


@click.command(name="calibrate")
@click.argument("pairs", metavar="PAIRS...", nargs=-1, required=True, type=PathType(path_type=Path))
@click.option(
    "--videos",
    metavar="DIR",
    type=PathType(file_okay=False, path_type=Path),
    help="Where the videos are.  [default: beside PAIRS]",
)
@index_option
@click.option(
    "--validation", "share", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.5, show_default=True,
    help="Share of the videos whose sentences are searched for; the others are the background. If the encoder was "
    "trained on PAIRS, give the share that its training kept out.",
)  # fmt: skip
@click.option("--split-seed", type=int, default=0, show_default=True, help="Chooses these videos.")
@device_option
@json_option
def command(
    pairs: tuple[Path, ...],
    videos: Path | None,
    index: Location | None,
    share: float,
    split_seed: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Learn from captioned videos how far this index's encoder can be believed.

    PAIRS are files of captions as for `cezsar train`, best of videos that the encoder was not trained on. Each sentence
    is searched for among the videos, and among those that show nothing like it. From then on every hit of this index
    has a confidence, and `cezsar query` says if nothing is like the text. The result is kept in the
    index. Videos that the index does not hold are embedded, and not added to it.
    """
    from cezsar import store
    from cezsar.query import Searcher, calibration
    from cezsar.settings import load
    from cezsar.tables import Column, Table
    from cezsar.video import Pool

    settings = load(index=index, device=device)
    with (
        Searcher(settings.index, device=settings.device) as searcher,
        Pool(settings.limits) as pool,
        working("reading the videos") as say,
    ):
        found = _calibration(_read(pairs, videos), searcher, pool, share, split_seed, say)
    data = calibration.document(found)
    with store.open_to_write(settings.index, notice=notice) as catalog:
        catalog.write(lambda writer: writer.keep_calibration(data))
    if as_json:
        print_json({"index": str(settings.index), **document(found)})
    else:
        for line in report(found):
            click.echo(line)
        bars = found.figures["hits"]["reliability"]
        rows = tuple((f"{bar['confidence']:.2f}", f"{bar['right']:.2f}", f"{bar['count']:,}") for bar in bars)
        columns = tuple(Column(title, is_number=True) for title in ("confidence", "right", "first hits"))
        print_table(Table(columns, rows))
        click.echo(readable(f"kept in {settings.index}"))


def _read(files: tuple[Path, ...], videos: Path | None) -> list[Pair]:
    from cezsar.pairs import grouped, read_pairs

    read = [read_pairs(file, videos) for file in files]
    found = grouped([pair for captions in read for pair in captions.pairs])
    for row in [one for captions in read for one in captions.rejected] + found.rejected:
        notice(f"left out {row.where}: {row.reason}")
    return found.pairs


def _calibration(pairs: list[Pair], searcher: Searcher, pool: Pool, share: float, seed: int, say: Any) -> Calibration:
    import numpy as np

    from cezsar.digest import kept_out
    from cezsar.query import calibrating

    asked: list[Vectors] = []
    generic: list[Vectors] = []
    sentences: list[tuple[str, ...]] = []
    for number, pair in enumerate(pairs, start=1):
        say(f"reading the videos: {number:,} of {len(pairs):,}")
        try:
            rows = _vectors(pair, searcher, pool)
        except VideoError as error:
            notice(f"left out {pair.where}: {pair.video.name}: {error}")
            continue
        if kept_out(pair.source, seed=seed, share=share):
            asked.append(rows)
            sentences.append(pair.sentences)
        else:
            generic.append(rows)
    say("fitting")
    if not asked or not generic:
        raise CalibrationError(f"{counted(len(pairs), 'captioned segment')} are too few to calibrate with.")
    made = calibrating.captioned(asked, sentences, searcher.encode)
    return calibrating.calibrate(made, calibrating.bank(np.concatenate(generic)), searcher.info.encoder)


def _vectors(pair: Pair, searcher: Searcher, pool: Pool) -> Vectors:
    """(S, D): the index's own vectors of a captioned stretch if it holds the video, or else embedded now."""
    import numpy as np

    from cezsar import indexer

    found = searcher.segments(pair.video)
    if found is None:
        made = indexer.embed(pair.video, searcher.encoder, searcher.info.sampling, pool=pool)
        found = made.segments, made.vectors
    parts, rows = found
    end_s = pair.end_s if pair.end_s is not None else float("inf")
    touching = [part.start_s < end_s and pair.start_s < part.end_s for part in parts]
    if not any(touching):
        raise VideoError(f"it has nothing from {pair.start_s:g} s on")
    return np.asarray(rows[np.array(touching)])


def document(found: Calibration) -> dict[str, Any]:
    """What `calibrate --json` prints, but for the place."""
    return {
        "encoder": asdict(found.encoder),
        "hits": asdict(found.hits),
        "labels": asdict(found.labels),
        "figures": found.figures,
    }


def report(found: Calibration) -> list[str]:
    """The figures as lines."""
    lines = [
        f"{found.figures['sentences']:,} sentences of {found.figures['videos']:,} videos; "
        "each half is judged by a model that learned from the other"
    ]
    for name, judge, figures in (
        ("hits", found.hits, found.figures["hits"]),
        ("labels", found.labels, found.figures["labels"]),
    ):
        lines += [
            f"{name}: expected calibration error {figures['ece']:.3f}; right above wrong {figures['auroc_right']:.3f}, "
            f"there above not there {figures['auroc_present']:.3f} (areas under the ROC curve)",
            f"  threshold {judge.threshold:.3f}: false alarms {judge.false_alarm:.1%} of things that are not there, "
            f"missed {judge.miss:.1%} of right hits",
        ]
    return lines
