"""How exactly the first hit begins and ends: videos of three clips each, cut together off the grid.

python benchmarks/moments.py ../shared/data/ucf101. The thresholds were chosen on the first five classes, --choosing;
the table is of the others. A clip is only footage here: what is measured is the time.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from cezsar import indexer, store
from cezsar.indexer import embed
from cezsar.query import Filters, Searcher, mean_vector
from cezsar.settings import load
from cezsar.types import Segment, Vectors

_FPS = 25
_SIZE = (320, 240)
_LENGTHS_S = (3.5, 12.0)
_CHOOSING = 5  # classes, by name, that thresholds were chosen on
_EXACT_S = 0.001  # a stamp's rounding
_ROUNDS = 2_000  # of the bootstrap


@dataclass(frozen=True, slots=True)
class Part:
    """A clip's stretch in a video that was put together."""

    video: Path
    clip: Path
    segment: Segment


def main() -> None:
    """Make the videos, index them, ask for each part, and print how well the first hit fits, before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, help="a folder with a folder of clips a class")
    parser.add_argument("--choosing", action="store_true", help="on the classes that thresholds were chosen on")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--num", type=int, default=30)
    parser.add_argument("--seed", type=int, default=20251125)
    asked = parser.parse_args()
    names = sorted(path.name for path in asked.videos.iterdir() if path.is_dir())
    classes = names[:_CHOOSING] if asked.choosing else names[_CHOOSING:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = _make(folder / "videos", asked.videos, classes, asked.num, random.Random(asked.seed))
        clips = sorted({part.clip for part in parts})
        settings = load(environ={}, index=folder / "index", model=asked.model)
        indexer.index([folder / "videos", *clips], settings)
        with Searcher(settings.index) as searcher:
            sampling = searcher.info.sampling
            like = {}
            for clip in clips:
                made = embed(clip, searcher.encoder, sampling)
                like[clip] = mean_vector(made.segments, made.vectors, None, clip)
            print(f"{asked.model}, {sampling}, {len(parts)} parts of {asked.num} videos; 95% intervals over videos")
            for way in ("like", "words"):
                found = [_asked(searcher, part, like[part.clip] if way == "like" else None) for part in parts]
                for at, when in enumerate(("grid", "refined")):
                    _print(f"{way}, {when}", parts, [stretches[at] for stretches in found])
            whole = [_asked(searcher, Part(clip, clip, Segment(0.0, 1.0)), like[clip]) for clip in clips]
            print(f"single shots left as they are: {sum(grid == ours for grid, ours in whole)} of {len(clips)}")
            with searcher.read() as rows:
                kept = rows.outlines([one.id for one in rows.videos()]).values()
                sizes = [sum(map(len, store.outline.packed(one))) / math.ceil(one.edges_s[-1] / 60) for one in kept]
            print(f"kept of each minute begun: {np.mean(sizes):.0f} bytes, at most {max(sizes):.0f}")


def _make(folder: Path, source: Path, classes: Sequence[str], num: int, draw: random.Random) -> list[Part]:
    """The videos: three clips of different classes each, in a random order, of random lengths."""
    folder.mkdir()
    parts: list[Part] = []
    for number in range(num):
        path = folder / f"{number:02d}.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=_FPS, width=_SIZE[0], height=_SIZE[1], pix_fmt="yuv420p")
            at = 0
            for name in draw.sample(list(classes), 3):
                clip = draw.choice(
                    [path for path in sorted((source / name).iterdir()) if path.suffix in (".avi", ".mp4")]
                )
                pictures = _pictures(clip)
                length = min(len(pictures), round(draw.uniform(*_LENGTHS_S) * _FPS))
                start = draw.randint(0, len(pictures) - length)
                for picture in pictures[start : start + length]:
                    frame = VideoFrame.from_ndarray(picture, format="rgb24")
                    frame.pts, at = at, at + 1
                    out.mux(stream.encode(frame))
                parts.append(Part(path, clip, Segment((at - length) / _FPS, at / _FPS)))
            out.mux(stream.encode(None))
    return parts


def _pictures(clip: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(clip)) as container:
        return [
            np.asarray(frame.reformat(*_SIZE, format="rgb24").to_ndarray(), np.uint8)
            for frame in container.decode(video=0)
        ]


def _asked(searcher: Searcher, part: Part, like: Vectors | None) -> tuple[Segment, Segment]:
    """The first hit in the part's video: its segment's run on the grid, and the hit's own stretch."""
    words = " ".join(re.findall(r"[A-Z][a-z]*", part.clip.parent.name)).lower()
    text, examples = (words, ()) if like is None else (None, (like,))
    (hit,) = searcher.search(text, like=examples, filters=Filters(top_k=1, path=str(part.video)))
    with searcher.read() as rows:
        place = rows.places([hit.segment_id])[hit.segment_id]
    return Segment(place.start_s, place.end_s), Segment(hit.start_s, hit.end_s)


def _print(title: str, parts: Sequence[Part], found: Sequence[Segment]) -> None:
    fits = np.array([_iou(part.segment, one) for part, one in zip(parts, found, strict=True)])
    inside = np.array(
        [
            part.segment.start_s - _EXACT_S <= one.start_s and one.end_s <= part.segment.end_s + _EXACT_S
            for part, one in zip(parts, found, strict=True)
        ],
        float,
    )
    print(f"{title}: mean IoU {_interval(fits)}, wholly inside {_interval(100 * inside)} %")


def _iou(one: Segment, other: Segment) -> float:
    common_s = max(0.0, min(one.end_s, other.end_s) - max(one.start_s, other.start_s))
    return common_s / (one.end_s - one.start_s + other.end_s - other.start_s - common_s)


def _interval(values: NDArray[np.float64]) -> str:
    """The mean, and its 95% interval by a bootstrap over videos, three parts each."""
    by_video = values.reshape(-1, 3).mean(axis=1)
    drawn = np.random.default_rng(0).choice(by_video, (_ROUNDS, len(by_video))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
