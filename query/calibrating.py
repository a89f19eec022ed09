"""Makes a calibration: sentences search for captioned videos in indexes of many sizes, once with the videos that show
them and once without, and a logistic model learns from the first hits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cezsar import metrics
from cezsar.errors import CalibrationError
from cezsar.query.calibration import Calibration, Judge, background
from cezsar.types import EncoderIdentity, Ids, Vectors, unit

NEAR = 0.65  # cosine of two sentences' embeddings from which about half of the pairs say the same thing to a reader
BANK = 256  # segments of generic footage that a calibration carries
SIZES = (10, 50, 200)  # videos of the indexes that are asked, besides all of them
LABELS = (2, 5, 20, 100)  # how many a video is judged by
_FEWEST = 8  # videos, to ask for and, apart, for the bank
_SENTENCES = 6  # of a video that are asked for, and the short forms of half of them
_DENIED = 0.1  # of right first hits may be called nothing like it
_BELIEVED = 0.5  # what is likelier right than wrong never is
_RIDGE = 1e-5
_SUBJECT = re.compile(r"(?:there (?:is|are) )?(?:an?|the|two|some|one|several)? ?(?:\w+ )?\w+ (?:is|are) (?=\w+ing\b)")
_SHORT = 4  # words of a short form


@dataclass(frozen=True, slots=True)
class Captioned:
    """N videos and M sentences of some of them.

    vectors holds (S_i, D) of each video's segments; sentences is (M, D); owners (M,) is the video of each; shows (M, N)
    says which videos show it: its own, and those with a caption near to it.
    """

    vectors: list[Vectors]
    sentences: Vectors
    owners: Ids
    shows: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Asked:
    """T best hits: the score of each, its query's background, how many segments were compared, whether it is right,
    whether anything right was there, the video whose sentence was searched for, and the index's size in videos; all
    (T,)."""

    score: NDArray[np.float64]
    background: NDArray[np.float64]
    compared: Ids
    is_right: NDArray[np.bool_]
    is_present: NDArray[np.bool_]
    video: Ids
    size: Ids

    def where(self, rows: NDArray[np.bool_]) -> Asked:
        """These rows alone."""
        return Asked(*(getattr(self, name)[rows] for name in self.__slots__))


def near(embeddings: Vectors, owners: Ids, said: Vectors, said_of: Ids, num_videos: int) -> NDArray[np.bool_]:
    """(M, N): which videos have a caption whose embedding is near a sentence's, or are its own.

    embeddings (M, S) are of the sentences and owners (M,) their videos; said (C, S) of all captions, said_of (C,)
    theirs, in order.
    """
    shown = np.zeros((len(embeddings), num_videos), bool)
    starts = np.flatnonzero(np.diff(said_of, prepend=-1))
    for first in range(0, len(embeddings), 512):
        part = np.maximum.reduceat(embeddings[first : first + 512] @ said.T, starts, axis=1) >= NEAR
        shown[first : first + 512, said_of[starts]] = part
    shown[np.arange(len(embeddings)), owners] = True
    return shown


def short_form(sentence: str) -> str | None:
    """A sentence as somebody in a hurry types it: 'a man is folding a sheet of paper' -> 'folding a sheet of'; None of
    one that does not begin so.
    """
    match = _SUBJECT.match(sentence)
    return " ".join(sentence[match.end() :].split()[:_SHORT]) if match else None


def chosen(sentences: Sequence[Sequence[str]], *, seed: int = 0) -> tuple[list[str], list[str], Ids]:
    """Sentences to ask for, what each is said as, and its video (M,): some of each video's, and short forms of some."""
    generator = np.random.default_rng(seed)
    asked: list[str] = []
    originals: list[str] = []
    owners: list[int] = []
    for video, said in enumerate(sentences):
        for number, i in enumerate(generator.permutation(len(said))[:_SENTENCES]):
            forms = [said[i], short_form(said[i]) if number % 2 else None]
            for form in forms:
                if form is not None:
                    asked.append(form)
                    originals.append(said[i])
                    owners.append(video)
    return asked, originals, np.array(owners, np.int64)


def bank(vectors: Vectors, *, seed: int = 0) -> Vectors:
    """(N, D) segments of generic footage -> the (B, D) of them that a calibration carries."""
    if len(vectors) <= BANK:
        return vectors
    return vectors[np.sort(np.random.default_rng(seed).choice(len(vectors), BANK, replace=False))]


def captioned(
    vectors: list[Vectors],
    sentences: Sequence[Sequence[str]],
    encode: Callable[[Sequence[str]], Vectors],
    *,
    num_asked: int | None = None,
) -> Captioned:
    """N videos' segments and captions, the first num_asked of which (None: all) are asked for.

    encode gives the calibrated encoder's vectors. The embedded sentence encoder says which captions are near, so that
    this does not depend on the calibrated space. Raises EncoderError if it is not there.
    """
    from cezsar.encoders.embedded import MiniLM

    asked, originals, owners = chosen(sentences[:num_asked])
    said = [sentence for those in sentences for sentence in those]
    said_of = np.repeat(np.arange(len(sentences)), [len(those) for those in sentences])
    distinct = sorted(set(said), key=lambda sentence: (len(sentence), sentence))  # alike lengths share a batch
    rows = MiniLM().encode(distinct)
    number = {sentence: i for i, sentence in enumerate(distinct)}
    embeddings, all_said = (rows[[number[one] for one in those]] for those in (originals, said))
    return Captioned(vectors, encode(asked), owners, near(embeddings, owners, all_said, said_of, len(vectors)))


def ask(captioned: Captioned, bank: Vectors, sizes: Sequence[int], *, seed: int = 0) -> Asked:
    """Each sentence's first hit in random indexes of so many videos: twice each, with its video, and without any video
    that shows it.
    """
    generator = np.random.default_rng(seed)
    lengths = np.array([len(rows) for rows in captioned.vectors], np.int64)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])
    best = np.maximum.reduceat(captioned.sentences @ np.concatenate(captioned.vectors).T, starts, axis=1)
    level = background(captioned.sentences, bank)
    rows = []
    for size in sizes:
        for i, owner in enumerate(captioned.owners.tolist()):
            shows = captioned.shows[i]
            with_it = _drawn(generator, np.delete(np.arange(len(shows)), owner), size - 1)
            for is_present, index in (
                (True, np.append(with_it, owner)),
                (False, _drawn(generator, np.flatnonzero(~shows), size)),
            ):
                if len(index) == 0:
                    continue
                first = index[np.argmax(best[i, index])]
                compared = lengths[index].sum()
                rows.append((best[i, first], level[i], compared, shows[first], is_present, owner, size))
    return _asked(rows)


def tell(captioned: Captioned, bank: Vectors, sizes: Sequence[int], *, seed: int = 0) -> Asked:
    """Each video's best label of random ones: twice each, one sentence of its own among those of others, and none that
    it shows.
    """
    generator = np.random.default_rng(seed)
    means = unit(np.stack([rows.mean(axis=0) for rows in captioned.vectors]))
    scores = captioned.sentences @ means.T
    level = background(captioned.sentences, bank)
    rows = []
    for size in sizes:
        for video in np.unique(captioned.owners).tolist():
            own = np.flatnonzero(captioned.owners == video)
            others = np.flatnonzero(~captioned.shows[:, video])
            for _ in range(_SENTENCES):
                for is_present, count in ((True, size - 1), (False, size)):
                    labels = _drawn(generator, others, count)
                    labels = np.append(labels, generator.choice(own)) if is_present else labels
                    if len(labels) == 0:
                        continue
                    first = labels[np.argmax(scores[labels, video])]
                    is_right = captioned.shows[first, video]
                    rows.append((scores[first, video], level[first], len(labels), is_right, is_present, video, size))
    return _asked(rows)


def _drawn(generator: np.random.Generator, candidates: Ids, count: int) -> Ids:
    return generator.choice(candidates, min(count, len(candidates)), replace=False)


def _asked(rows: list[tuple[Any, ...]]) -> Asked:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    score, level, compared, is_right, is_present, video, size = columns
    return Asked(score.astype(float), level.astype(float), compared, is_right, is_present, video, size)


def fit(asked: Asked) -> Judge:
    """The logistic model of these first hits; its threshold, at most a half, denies one right one in ten.

    Raises CalibrationError if nothing was asked that nothing shows, or higher scores are not likelier to be right.
    """
    if asked.is_present.all():
        raise CalibrationError(
            "These captions are too much alike to calibrate with: each says what every video shows. "
            "Add videos of other things."
        )
    if not asked.is_right.any():
        raise _no_likelier()
    rows = _features(asked)
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    design = np.column_stack([np.ones(len(rows)), (rows - mean) / spread])
    ridge = np.diag([0.0, *[_RIDGE * len(rows)] * rows.shape[1]])
    weights = np.zeros(design.shape[1])
    for _ in range(50):  # Newton's steps
        expected = 0.5 * (1 + np.tanh(design @ weights / 2))
        slope = design.T @ (asked.is_right - expected) - ridge @ weights
        step = np.linalg.solve((design * (expected * (1 - expected))[:, None]).T @ design + ridge, slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    slopes = weights[1:] / spread
    intercept = weights[0] - float(slopes @ mean)
    values = [round(float(value), 5) for value in (intercept, *slopes)]
    if not (np.isfinite(values).all() and values[1] > 0):
        raise _no_likelier()
    judge = Judge(values[0], values[1], values[2], values[3], threshold=0.0, false_alarm=1.0, miss=0.0)
    found = confidences(judge, asked)
    right = found[asked.is_right]
    threshold = min(math.floor(float(np.quantile(right, _DENIED)) * 1e4) / 1e4, _BELIEVED)
    return with_rates(replace(judge, threshold=threshold), asked, found)


def _no_likelier() -> CalibrationError:
    return CalibrationError("These captions cannot calibrate this encoder: a higher score is no likelier to be right.")


def with_rates(judge: Judge, asked: Asked, found: NDArray[np.float64]) -> Judge:
    """The judge, with the false-alarm and miss rates that its threshold has on these."""
    false_alarm = float(np.mean(found[~asked.is_present] >= judge.threshold))
    miss = float(np.mean(found[asked.is_right] < judge.threshold))
    return replace(judge, false_alarm=round(false_alarm, 4), miss=round(miss, 4))


def confidences(judge: Judge, asked: Asked) -> NDArray[np.float64]:
    """(T,) of first hits."""
    found = np.empty(len(asked.score))
    for size in np.unique(asked.compared):
        rows = asked.compared == size
        found[rows] = judge.confidence(asked.score[rows], asked.background[rows], int(size))
    return found


def crossed(asked: Asked) -> NDArray[np.float64]:
    """(T,) by two models, each of which learned from the videos of the other half."""
    found = np.empty(len(asked.score))
    for half in (0, 1):
        own = asked.video % 2 == half
        found[own] = confidences(fit(asked.where(~own)), asked.where(own))
    return found


def _features(asked: Asked) -> NDArray[np.float64]:
    return np.column_stack([asked.score, asked.background, np.log(asked.compared)])


def calibrate(captioned: Captioned, bank: Vectors, encoder: EncoderIdentity) -> Calibration:
    """The calibration of an encoder, with figures that were measured across halves. Raises CalibrationError."""
    num_videos = len(np.unique(captioned.owners))
    if num_videos < _FEWEST or len(bank) < _FEWEST:
        raise CalibrationError(
            f"{num_videos} captioned videos to ask for and {len(bank)} segments of others are too few: "
            f"each must be at least {_FEWEST}."
        )
    total = len(captioned.vectors)
    asked = ask(captioned, bank, [*(size for size in SIZES if size < total), total])
    told = tell(captioned, bank, LABELS)
    hits, found = _judged(asked)
    labels, told_found = _judged(told)
    figures = {
        "videos": num_videos,
        "sentences": len(captioned.sentences),
        "hits": summary(asked, found),
        "labels": summary(told, told_found),
    }
    return Calibration(encoder, bank, hits, labels, figures)


def _judged(asked: Asked) -> tuple[Judge, NDArray[np.float64]]:
    judge, found = fit(asked), crossed(asked)
    return with_rates(judge, asked, found), found


def summary(asked: Asked, found: NDArray[np.float64]) -> dict[str, Any]:
    """The quality of confidences (T,): expected calibration error, areas under the ROC curve, and the diagram."""
    return {
        "ece": round(metrics.expected_calibration_error(found, asked.is_right), 4),
        "auroc_right": round(metrics.auroc(found, asked.is_right), 4),
        "auroc_present": round(metrics.auroc(found, asked.is_present), 4),
        "right": round(float(asked.is_right.mean()), 4),
        "right_of_present": round(float(asked.is_right[asked.is_present].mean()), 4),
        "reliability": [
            {"confidence": round(one.confidence, 4), "right": round(one.right, 4), "count": one.count}
            for one in metrics.reliability(found, asked.is_right)
        ],
    }
