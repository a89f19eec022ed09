"""The examples of training: the features and sentences of every described segment, and which of them are kept out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cezsar.digest import kept_out
from cezsar.errors import TrainingError
from cezsar.features import VideoFeatures
from cezsar.pairs import Pair, Rejected
from cezsar.types import Ids, Vectors

MAIN, ALSO = 0, 1


@dataclass(frozen=True, slots=True)
class Examples:
    """N segments and their M sentences.

    features holds (T_i, F) of each segment; sources (N,) numbers the footage of each, whose names are source_names;
    corpora (N,) is MAIN, or ALSO for the noisier rows. sentences (M, S) are unit embeddings; owners (M,) the
    segment of each, in order.
    """

    features: list[Vectors]
    sources: Ids
    source_names: list[str]
    corpora: Ids
    sentences: Vectors
    owners: Ids

    def __len__(self) -> int:
        return len(self.features)

    def means(self) -> Vectors:
        """(N, F): the mean feature of each segment."""
        return np.stack([frames.mean(axis=0) for frames in self.features])

    def where(self, rows: NDArray[np.bool_]) -> Examples:
        """The segments of these rows alone, numbered anew."""
        numbers = np.cumsum(rows) - 1
        kept = rows[self.owners]
        features = [frames for frames, keep in zip(self.features, rows, strict=True) if keep]
        return Examples(
            features,
            self.sources[rows],
            self.source_names,
            self.corpora[rows],
            self.sentences[kept],
            numbers[self.owners[kept]],
        )


def cut(
    pairs: Sequence[Pair], features: Mapping[Path, VideoFeatures], reasons: Mapping[Path, str]
) -> tuple[list[int], list[Vectors], list[Rejected]]:
    """The numbers of the pairs whose segments are there, their features, and the rows that are rejected.

    Rejected are those of videos that could not be read, and those that start past the end of theirs.
    """
    kept, rows, rejected = [], [], []
    for number, pair in enumerate(pairs):
        if pair.video not in features:
            rejected.append(Rejected(pair.where, f"{pair.video.name}: {reasons[pair.video]}"))
            continue
        video = features[pair.video]
        duration_s = video.duration_s or len(video.frames) / video.fps
        if pair.start_s >= duration_s:
            rejected.append(
                Rejected(pair.where, f"it starts at {pair.start_s:g} s, and {pair.video.name} ends at {duration_s:g} s")
            )
            continue
        kept.append(number)
        rows.append(video.between(pair.start_s, duration_s if pair.end_s is None else pair.end_s))
    return kept, rows, rejected


def assemble(pairs: Sequence[Pair], features: list[Vectors], sentences: Vectors) -> Examples:
    """Examples from the kept pairs, their features, and all their sentences' embeddings in order."""
    names = sorted({pair.source for pair in pairs})
    numbers = {name: number for number, name in enumerate(names)}
    return Examples(
        features,
        np.array([numbers[pair.source] for pair in pairs], np.int64),
        names,
        np.array([ALSO if pair.is_noisy else MAIN for pair in pairs], np.int64),
        sentences,
        np.repeat(np.arange(len(pairs)), [len(pair.sentences) for pair in pairs]),
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Which sources are kept out: those whose sha256 of 'seed:source' falls below the share; by footage, for ever.

    Noisier rows are not split: all are trained on, but those of footage that is kept out because of another row.
    """

    seed: int = 0
    share: float = 0.1

    def is_kept_out(self, source: str) -> bool:
        """Whether the segments of this footage are only for validation, unless they are noisier ones."""
        return kept_out(source, seed=self.seed, share=self.share)

    def follow(self, pairs: Sequence[Pair], contents: Mapping[Path, str]) -> list[Pair]:
        """The pairs, noisier ones of a file that has the content of a kept-out one under that one's source."""
        kept = {
            contents[pair.video]: pair.source for pair in pairs if not pair.is_noisy and self.is_kept_out(pair.source)
        }
        return [
            replace(pair, source=kept.get(contents[pair.video], pair.source)) if pair.is_noisy else pair
            for pair in pairs
        ]

    def apply(self, examples: Examples) -> tuple[Examples, Examples]:
        """(training, validation); noisier rows are never validated with, nor trained on if their footage is kept out.

        Raises TrainingError if there is nothing to train on, or one video alone, or nothing to validate with.
        """
        validation = examples.where(self._kept_out(examples))
        training = examples.where(~np.isin(examples.sources, validation.sources))
        if len(np.unique(training.sources)) < 2:
            raise TrainingError("There must be at least two videos to train on: each is told from the others.")
        if self.share > 0 and len(validation) < 2:
            raise TrainingError(
                f"A share of {self.share:g} keeps {len(validation)} segments out, too few to validate with: "
                "choose a larger --validation, or 0 to go without."
            )
        return training, validation

    def sha256(self, examples: Examples) -> str:
        """Of the names of the sources that are kept out."""
        names = sorted({examples.source_names[source] for source in examples.sources[self._kept_out(examples)]})
        return hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()

    def _kept_out(self, examples: Examples) -> NDArray[np.bool_]:
        names = np.array([self.is_kept_out(name) for name in examples.source_names], bool)
        return np.asarray(names[examples.sources] & (examples.corpora == MAIN), bool)
