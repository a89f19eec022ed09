"""How far a model's hits can be believed: python benchmarks/confidence.py DATA --model .runs/kept-out/best.

DATA holds msrvtt_sparse/captions.jsonl with its videos and, for larger indexes, msrvtt_trainval/captions.jsonl.
The sentences of the 408 videos that training kept out are asked for in random indexes of these videos: once with what
they describe, once without everything that is like it. The others, which the model was trained on, are the background.
Prints the tables of docs/model-card.md. Each half of the videos is judged by a model that learned from the other half.

--figure FILE draws the reliability diagram. --write FILE --of MODEL makes the calibration of MODEL, which was trained
like the first and then on these videos too: as the first has it, with the background in MODEL's own space.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cezsar import encoders
from cezsar.encoders import Encoder
from cezsar.encoders.frozen import frames
from cezsar.encoders.weights import EMBEDDED_PAIR
from cezsar.features import FeatureCache, VideoFeatures
from cezsar.indexer.segments import plan
from cezsar.metrics import auroc, bootstrap, expected_calibration_error, reliability
from cezsar.pairs import Pair, read_pairs
from cezsar.query import calibrating
from cezsar.query.calibrating import Asked
from cezsar.query.calibration import write
from cezsar.training import Split
from cezsar.types import Sampling, Vectors

_SPLIT = Split(seed=0, share=0.44)
_SAMPLING = Sampling(fps=1.0)


@dataclass(frozen=True)
class Footage:
    """Captioned videos and their frames' features."""

    pairs: list[Pair]
    features: list[VideoFeatures]

    def vectors(self, encoder: Encoder) -> list[Vectors]:
        """(S_i, D) of each, cut as an index cuts them."""
        found = []
        for video in self.features:
            parts = plan(video.duration_s, window_s=_SAMPLING.window_s, stride_s=_SAMPLING.stride_s)
            found.append(encoder.encode_segments([video.between(part.start_s, part.end_s) for part in parts]))
        return found


def footage(file: Path, cache: FeatureCache, *, kept_out: bool | None) -> Footage:
    """Of one file: what is kept out, what is not, or all."""
    pairs = [one for one in read_pairs(file).pairs if kept_out in (None, _SPLIT.is_kept_out(one.source))]
    features, _ = cache.extract([pair.video for pair in pairs])
    there = [pair for pair in pairs if pair.video in features]
    return Footage(there, [features[pair.video] for pair in there])


def row(name: str, asked: Asked, found: NDArray[np.float64], threshold: float) -> str:
    """A line of the table, with 95% intervals: the videos drawn anew, with their sentences."""
    figures = (
        lambda drawn: auroc(found[drawn], asked.is_present[drawn]),
        lambda drawn: auroc(found[drawn], asked.is_right[drawn]),
        lambda drawn: expected_calibration_error(found[drawn], asked.is_right[drawn]),
    )
    everything = np.arange(len(found))
    cells = []
    for figure in figures:
        low, high = bootstrap(figure, asked.video, rounds=200)
        cells.append(f"{figure(everything):.3f} ({low:.3f} to {high:.3f})")
    right = asked.is_right[asked.is_present].mean()
    false_alarm, miss = np.mean(found[~asked.is_present] >= threshold), np.mean(found[asked.is_right] < threshold)
    # where the first hit is not right, it stays first when what is right is taken away
    highest = 1 - (1 - right) ** 2 / 2
    return f"| {name} | {right:.1%} | {highest:.3f} | {' | '.join(cells)} | {false_alarm:.1%} | {miss:.1%} |"


HEADER = (
    "| | first hit right | highest possible | there or not | right or wrong | calibration error | false alarms "
    "| missed |\n|---|---|---|---|---|---|---|---|"
)


def draw(asked: Asked, found: NDArray[np.float64], target: Path) -> None:
    """The reliability diagram, and below it how many first hits there are of each confidence."""
    import matplotlib

    matplotlib.use("svg" if target.suffix == ".svg" else "agg")
    matplotlib.rcParams["svg.hashsalt"] = "cezsar"  # the same picture twice is the same file
    from matplotlib import pyplot as plot

    figure, (above, below) = plot.subplots(
        2, 1, figsize=(5, 6), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    above.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfect")
    for size in np.unique(asked.size):
        own = asked.size == size
        bars = [bar for bar in reliability(found[own], asked.is_right[own]) if bar.count >= 20]
        above.plot([bar.confidence for bar in bars], [bar.right for bar in bars], "o-", label=f"{size:,} videos")
    above.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1), title="First hits, by size of the index")
    above.legend()
    below.hist(found, bins=20, range=(0, 1), color="0.5")
    below.set(xlabel="confidence", ylabel="first hits", yscale="log")
    figure.savefig(target, dpi=110, metadata={"Date": None} if target.suffix == ".svg" else None)


def main() -> None:
    """Print the tables, and make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=".runs/kept-out/best")
    parser.add_argument("--cache", type=Path, default=Path(".features"))
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--of", default="lite")
    parser.add_argument("--no-others", action="store_true", help="without msrvtt_trainval's videos")
    asked_for = parser.parse_args()
    encoder = encoders.load(asked_for.model, device="cpu")
    cache = FeatureCache(asked_for.cache, frames(EMBEDDED_PAIR, "cpu"), fps=_SAMPLING.fps)
    sparse = asked_for.data / "msrvtt_sparse/captions.jsonl"
    kept, seen = (footage(sparse, cache, kept_out=one) for one in (True, False))
    bank = calibrating.bank(np.concatenate(seen.vectors(encoder)))
    sentences = [pair.sentences for pair in kept.pairs]
    captioned = calibrating.captioned(kept.vectors(encoder), sentences, encoder.encode_texts)
    made = calibrating.calibrate(captioned, bank, encoder.identity)
    total = len(kept.pairs)
    sizes = [*(size for size in calibrating.SIZES if size < total), total]
    asked = calibrating.ask(captioned, bank, sizes)
    found = calibrating.crossed(asked)
    print(f"{len(captioned.sentences):,} sentences of {total} videos; a background of {len(bank)} segments\n\n{HEADER}")
    print(row("all sizes", asked, found, made.hits.threshold))
    for size in sizes:
        own = asked.size == size
        print(row(f"{size:,} videos", asked.where(own), found[own], made.hits.threshold), flush=True)
    others = asked_for.data / "msrvtt_trainval/captions.jsonl"
    if others.exists() and not asked_for.no_others:
        more = footage(others, cache, kept_out=None)
        both = calibrating.captioned(
            captioned.vectors + more.vectors(encoder),
            sentences + [pair.sentences for pair in more.pairs],
            encoder.encode_texts,
            num_asked=total,
        )
        for size in (1000, len(both.vectors)):
            large = calibrating.ask(both, bank, [size])
            judged = _judged_across(asked, large)
            print(
                row(f"{size:,} videos, most of them training footage", large, judged, made.hits.threshold), flush=True
            )
    told = calibrating.tell(captioned, bank, calibrating.LABELS)
    judged = calibrating.crossed(told)
    print(row("labels", told, judged, made.labels.threshold))
    for size in calibrating.LABELS:
        own = told.size == size
        print(row(f"{size} labels", told.where(own), judged[own], made.labels.threshold))
    print(f"\nthresholds: hits {made.hits.threshold:.4f}, labels {made.labels.threshold:.4f}")
    if asked_for.figure:
        draw(asked, found, asked_for.figure)
    if asked_for.write:
        shipped = encoders.load(asked_for.of, device="cpu")
        own_bank = calibrating.bank(np.concatenate(seen.vectors(shipped)))
        write(replace(made, encoder=shipped.identity, bank=own_bank), asked_for.write)


def _judged_across(taught: Asked, asked: Asked) -> NDArray[np.float64]:
    """Confidences of hits in larger indexes, by what the other half of the videos taught in the smaller ones."""
    found = np.empty(len(asked.score))
    for half in (0, 1):
        own = asked.video % 2 == half
        judge = calibrating.fit(taught.where(taught.video % 2 != half))
        found[own] = calibrating.confidences(judge, asked.where(own))
    return found


if __name__ == "__main__":
    main()
