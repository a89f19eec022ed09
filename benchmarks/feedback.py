"""What "more" and "less" are worth: python benchmarks/feedback.py DATA --model .runs/kept-out/best.

DATA holds msrvtt_sparse/captions.jsonl with its videos. Every sentence of the 408 videos that training kept out looks
for its video among them. Those that find it at ranks 11 to 50 are asked again after three judgements: "more" for
the best-ranked of the right video's ten nearest neighbours, "less" for the two best-ranked videos that are none of
them. The figure is how many right videos are among the first ten then. What was judged stays in the ranking.

The weights in cezsar/query/question.py were chosen on the sentences of one half of the videos, --choosing; the figures
are of the other half. A model that was trained on these videos, as the shipped one was, says nothing of unseen ones.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confidence import footage
from numpy.typing import NDArray

from cezsar import encoders
from cezsar.encoders.frozen import frames
from cezsar.encoders.weights import EMBEDDED_PAIR
from cezsar.features import FeatureCache
from cezsar.metrics import bootstrap
from cezsar.query import question
from cezsar.query.question import Question, Wanted
from cezsar.types import Vectors

_FPS = 1.0
_FIRST, _LAST = 11, 50  # ranks of the right video
_PAGE = 10
_NEAR = 10  # neighbours
_CANDIDATES = [(more, less) for more in (0.1, 0.25, 0.5, 0.75, 1.0, 1.5) for less in (0.0, 0.1, 0.25, 0.5, 0.75)]


def main() -> None:
    """Print the figures, of the weights as they are or of others too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=".runs/kept-out/best")
    parser.add_argument("--cache", type=Path, default=Path(".features"))
    parser.add_argument("--choosing", action="store_true", help="several weights, on the half that they were chosen on")
    asked_for = parser.parse_args()
    encoder = encoders.load(asked_for.model, device="cpu")
    cache = FeatureCache(asked_for.cache, frames(EMBEDDED_PAIR, "cpu"), fps=_FPS)
    kept = footage(asked_for.data / "msrvtt_sparse/captions.jsonl", cache, kept_out=True)
    vectors = kept.vectors(encoder)
    chosen = 0 if asked_for.choosing else 1
    targets = [number for number, pair in enumerate(kept.pairs) if number % 2 == chosen for _ in pair.sentences]
    sentences = [text for number, pair in enumerate(kept.pairs) if number % 2 == chosen for text in pair.sentences]
    hard = judged(vectors, encoder.encode_texts(sentences), targets)
    print(
        f"{asked_for.model}: {len(hard)} of {len(sentences):,} sentences find their video at ranks {_FIRST} to {_LAST}"
    )
    flat, starts = stacked(vectors)
    videos = np.array([one.target for one in hard])
    for more, less in _CANDIDATES if asked_for.choosing else [(question.MORE, question.LESS)]:
        question.MORE, question.LESS = more, less
        after = np.array([one.rank_again(flat, starts) for one in hard])
        found = after <= _PAGE
        low, high = bootstrap(lambda drawn, found=found: float(found[drawn].mean()), videos, rounds=500)
        figures = f"{found.mean():.1%} ({low:.1%} to {high:.1%}) among the first {_PAGE}"
        print(f"more {more:g}, less {less:g}: {figures}, median rank {np.median(after):g}", flush=True)


@dataclass(frozen=True)
class Judged:
    """A sentence's vector (D,), its video, and the vectors of what was judged."""

    text: Vectors
    target: int
    right: Vectors
    wrong: list[Vectors]

    def rank_again(self, flat: Vectors, starts: NDArray[np.int64]) -> int:
        """The rank of its video after that."""
        asked = Question(Wanted("a text"), more=[self.right], less=self.wrong)
        (direction,) = asked.directions(lambda _: self.text[None])
        return rank(np.maximum.reduceat(flat @ direction, starts), self.target)


def judged(vectors: list[Vectors], texts: Vectors, targets: list[int]) -> list[Judged]:
    """The sentences that find their video late, with their judgements: each of a video's best segment."""
    flat, starts = stacked(vectors)
    likeness = np.array([np.maximum.reduceat((flat @ one.T).max(axis=1), starts) for one in vectors])
    np.fill_diagonal(likeness, np.inf)
    near = np.argsort(-likeness, axis=1, kind="stable")[:, : _NEAR + 1]  # the first is the video itself
    found = []
    for text, target in zip(texts, targets, strict=True):
        scores = np.maximum.reduceat(flat @ text, starts)
        if not _FIRST <= rank(scores, target) <= _LAST:
            continue
        order = np.argsort(-scores, kind="stable").tolist()
        own = set(near[target].tolist())
        right = next(video for video in order if video in own - {target})
        wrong = [video for video in order if video not in own][:2]
        best = [vectors[video][int((vectors[video] @ text).argmax())] for video in (right, *wrong)]
        found.append(Judged(text, target, best[0], best[1:]))
    return found


def stacked(vectors: list[Vectors]) -> tuple[Vectors, NDArray[np.int64]]:
    """All segments, and where each video's begin."""
    return np.concatenate(vectors), np.cumsum([0, *(len(one) for one in vectors[:-1])])


def rank(scores: NDArray[np.floating], target: int) -> int:
    """Of a video, from 1 up; a tie counts against it."""
    return int((scores >= scores[target]).sum())


if __name__ == "__main__":
    main()
