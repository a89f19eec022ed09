"""Whether "A, then B" finds the right order: made videos of two actions, each pair in both orders.

python benchmarks/order.py ../shared/data/ucf101. The rules of cezsar/query/order.py were chosen on the first five
classes, --choosing; the figures are of the others. The words are the classes' names, and a clip is at least 4 s long:
two shorter ones would fit into one segment, in which nothing comes after anything.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from cezsar import indexer
from cezsar.query import Filters, Searcher
from cezsar.settings import load

_CHOOSING = 5  # classes, by name, that the rules were chosen on
_SHORTEST_S = 4.0
_ROUNDS = 2_000  # of the bootstrap


@dataclass(frozen=True, slots=True)
class Pair:
    """Two actions, and a video of each order: forward shows first, then second."""

    first: str
    second: str
    forward: Path
    backward: Path


def main() -> None:
    """Make the videos, index them, ask for both orders of each pair, and print how often the right one comes first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, help="a folder with a folder of clips a class")
    parser.add_argument("--choosing", action="store_true", help="on the classes that the rules were chosen on")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--num", type=int, default=30)
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--keep", type=Path, help="a folder for the videos and their index, to look at them")
    asked = parser.parse_args()
    names = sorted(path.name for path in asked.videos.iterdir() if path.is_dir())
    classes = names[:_CHOOSING] if asked.choosing else names[_CHOOSING:]
    with tempfile.TemporaryDirectory() as name:
        folder = asked.keep or Path(name)
        pairs = _make(folder / "videos", asked.videos, classes, asked.num, random.Random(asked.seed))
        settings = load(environ={}, index=folder / "index", model=asked.model)
        indexer.index([folder / "videos"], settings)
        with Searcher(settings.index) as searcher:
            print(f"{asked.model}, {searcher.info.sampling}, {asked.num} pairs of {', '.join(classes)}")
            right = np.array([_right(searcher, pair, pairs) for pair in pairs])
    _print("the right order before the wrong one", right[:, :, 0])
    _print("first of all a video of both actions in that order", right[:, :, 1])


def _make(folder: Path, source: Path, classes: Sequence[str], num: int, draw: random.Random) -> list[Pair]:
    """The videos: two clips of different classes each, one after the other, and the other way round."""
    folder.mkdir(parents=True)
    clips = {
        name: [path for path in sorted((source / name).iterdir()) if _length_s(path) >= _SHORTEST_S] for name in classes
    }
    pairs = []
    for number in range(num):
        first, second = draw.sample([name for name in classes if clips[name]], 2)
        one, other = draw.choice(clips[first]), draw.choice(clips[second])
        # names that say nothing: equal scores come in the order of ids, and so of names
        forward, backward = draw.sample([folder / f"{number:02d}-{side}.mp4" for side in "ab"], 2)
        _join([one, other], forward)
        _join([other, one], backward)
        pairs.append(Pair(_words(first), _words(second), forward, backward))
    return pairs


def _length_s(path: Path) -> float:
    if path.suffix not in (".avi", ".mp4"):
        return 0.0
    with av.open(str(path)) as container:
        return (container.duration or 0) / av.time_base


def _join(clips: Sequence[Path], target: Path) -> None:
    ways = "".join(f"[{i}:v]scale=320:240,setsar=1,fps=25[v{i}];" for i in range(len(clips)))
    joined = "".join(f"[v{i}]" for i in range(len(clips))) + f"concat=n={len(clips)}[v]"
    sources = [word for clip in clips for word in ("-i", str(clip))]
    made = ["-map", "[v]", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", str(target)]
    subprocess.run(["ffmpeg", "-v", "error", *sources, "-filter_complex", ways + joined, *made], check=True)


def _words(name: str) -> str:
    return " ".join(re.findall(r"[A-Z][a-z]*", name)).lower()


def _right(searcher: Searcher, pair: Pair, pairs: Sequence[Pair]) -> list[list[bool]]:
    """For both orders: whether the right video comes before the wrong one, and whether the first of all videos shows
    both actions in that order."""
    everything = Filters(top_k=1_000, all_copies=True)
    shown = {one.forward: (one.first, one.second) for one in pairs}
    shown |= {one.backward: (one.second, one.first) for one in pairs}
    found = []
    for first, second, right, wrong in (
        (pair.first, pair.second, pair.forward, pair.backward),
        (pair.second, pair.first, pair.backward, pair.forward),
    ):
        hits = searcher.search(first, then=[second], filters=everything)
        ranks = {hit.path: hit.rank for hit in hits}
        is_first = bool(hits) and shown[hits[0].path] == (first, second)
        found.append([ranks.get(right, np.inf) < ranks.get(wrong, np.inf), is_first])
    return found


def _print(title: str, right: NDArray[np.bool_]) -> None:
    """The share of (pairs, 2) questions, and its 95% interval by a bootstrap over pairs."""
    by_pair = right.mean(axis=1)
    drawn = np.random.default_rng(0).choice(by_pair, (_ROUNDS, len(by_pair))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    print(f"{title}: {right.mean():.1%} ({low:.1%} to {high:.1%}) of {right.size} questions")


if __name__ == "__main__":
    main()
