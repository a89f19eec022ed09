"""Retrieval: captions that look for their moments, and moments for their captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cezsar.datasets import MOMENTS, PARAGRAPHS, Definition, definition
from cezsar.digest import kept_out
from cezsar.errors import BenchmarkError
from cezsar.pairs import Pair, read_pairs


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of a video, end_s None for its end, and its sentences."""

    path: Path
    start_s: float
    end_s: float | None
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Captioned:
    """Moments, the file that they come from, and the rows that could not be used, as FILE:ROW: reason.

    num_exchanged rows start after their end, and had the two exchanged.
    """

    file: Path
    moments: tuple[Moment, ...]
    missing: tuple[str, ...]
    num_exchanged: int


def read_moments(dataset: str, root: Path, protocol: str, field: str | None) -> Captioned:
    """The moments of a captions file in root; rows of one video and stretch are one, with several sentences.

    Protocols of a dataset of moments: 'full', and 'kept-out:SHARE' or 'kept-out:SHARE:SEED', the videos that `cezsar
    train` keeps out with --validation SHARE --split-seed SEED. Protocols of a dataset of paragraphs: 'full', a video's
    sentences joined into one, as published for ActivityNet; and 'moments', each sentence for its own stretch. field
    names another field of a row, with one query. Raises BenchmarkError on an unknown protocol, or no file; PairsError
    if it cannot be read.
    """
    wanted = definition(dataset)
    file = _file(wanted, root)
    captions = read_pairs(file, root, field=field)
    pairs: Sequence[Pair] = captions.pairs
    if wanted.reading == PARAGRAPHS and protocol == "full":
        moments = tuple(_paragraph(rows) for rows in _by_video(pairs).values())
    else:
        if protocol.startswith("kept-out:") and wanted.reading == MOMENTS:
            share, seed = _share(protocol)
            pairs = [pair for pair in pairs if kept_out(pair.source, seed=seed, share=share)]
        elif protocol != ("moments" if wanted.reading == PARAGRAPHS else "full"):
            known = ", ".join(["full", *wanted.own_names])
            raise BenchmarkError(f"There is no protocol {protocol!r} of {dataset}. There are: {known}.")
        moments = tuple(Moment(pair.video, pair.start_s, pair.end_s, pair.sentences) for pair in pairs)
    if not moments:
        raise BenchmarkError(f"{file} has no moment to look for.")
    rejected = tuple(f"{row.where}: {row.reason}" for row in captions.rejected)
    return Captioned(file, moments, rejected, captions.num_exchanged)


def _file(dataset: Definition, root: Path) -> Path:
    found = [root / name for name in dataset.files if (root / name).is_file()]
    if not found and dataset.reading == MOMENTS:
        found = sorted(root.glob("*.jsonl"))
        if len(found) > 1:
            raise BenchmarkError(f"There are several .jsonl files in {root}: rename the one to use to captions.jsonl.")
        if not found and (root / "captions.csv").is_file():
            found = [root / "captions.csv"]
    if not found:
        raise BenchmarkError(f"There are no captions in {root}: no {' or '.join(dataset.files)}.")
    return found[0]


def _share(protocol: str) -> tuple[float, int]:
    share, _, seed = protocol.removeprefix("kept-out:").partition(":")
    try:
        found = float(share), int(seed or 0)
    except ValueError:
        found = 0.0, 0
    if not 0 < found[0] <= 1:
        raise BenchmarkError(f"{protocol} needs a share of the videos above 0, as in kept-out:0.1 or kept-out:0.1:7.")
    return found


def _by_video(pairs: Sequence[Pair]) -> Mapping[Path, list[Pair]]:
    found: dict[Path, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.video, []).append(pair)
    return found


def _paragraph(rows: Sequence[Pair]) -> Moment:
    said = " ".join(sentence for row in sorted(rows, key=lambda row: row.start_s) for sentence in row.sentences)
    return Moment(rows[0].video, 0.0, None, (said,))
