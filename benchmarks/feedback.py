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
    owners = np.repeat(np.arange(len(vectors)), [len(one) for one in vectors])
    flat = np.concatenate(vectors)
    chosen = 0 if asked_for.choosing else 1
    targets = [number for number, pair in enumerate(kept.pairs) if number % 2 == chosen for _ in pair.sentences]
    sentences = [text for number, pair in enumerate(kept.pairs) if number % 2 == chosen for text in pair.sentences]
    texts = encoder.encode_texts(sentences)
    hard = [
        (text, target, order, best)
        for text, target in zip(texts, targets, strict=True)
        for order, best in [ranked(text, flat, owners)]
        if _FIRST <= rank(order, target) <= _LAST
    ]
    print(f"{asked_for.model}: {len(hard)} of {len(texts):,} sentences find their video at ranks {_FIRST} to {_LAST}")
    weights = _CANDIDATES if asked_for.choosing else [(question.MORE, question.LESS)]
    videos = np.array([target for _, target, _, _ in hard])
    for more, less in weights:
        question.MORE, question.LESS = more, less
        after = np.array([again(*one, flat, owners) for one in hard])
        found = after <= _PAGE
        low, high = bootstrap(lambda drawn, found=found: float(found[drawn].mean()), videos, rounds=500)
        figures = f"{found.mean():.1%} ({low:.1%} to {high:.1%}) among the first {_PAGE}"
        print(f"more {more:g}, less {less:g}: {figures}, median rank {np.median(after):g}", flush=True)


def ranked(direction: Vectors, flat: Vectors, owners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All videos, best first, and the best segment of each."""
    scores = flat @ direction
    order = np.lexsort((np.arange(len(flat)), -scores))
    _, firsts = np.unique(owners[order], return_index=True)
    firsts.sort()
    return owners[order[firsts]], order[firsts]


def rank(order: NDArray[np.int64], target: int) -> int:
    """Of a video among those, from 1 up."""
    return int(np.flatnonzero(order == target)[0]) + 1


def again(
    text: Vectors,
    target: int,
    order: NDArray[np.int64],
    best: NDArray[np.int64],
    flat: Vectors,
    owners: NDArray[np.int64],
) -> int:
    """The right video's rank after the three judgements."""
    likeness = (flat @ flat[owners == target].T).max(axis=1)
    by_likeness = dict.fromkeys(owners[np.argsort(-likeness, kind="stable")].tolist())
    near = set([video for video in by_likeness if video != target][:_NEAR])
    right = next(one for video, one in zip(order.tolist(), best, strict=True) if video in near)
    wrong = [one for video, one in zip(order.tolist(), best, strict=True) if video not in {*near, target}][:2]
    asked = Question(Wanted("text"), more=[flat[right]], less=list(flat[wrong]))
    (direction,) = asked.directions(lambda _: text[None])
    return rank(ranked(direction, flat, owners)[0], target)


if __name__ == "__main__":
    main()
