"""Zero-shot classification: labels and their sentences -> class vectors -> the nearest class."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cezsar import catalog
from cezsar.errors import QueryError, SettingsError
from cezsar.paths import is_under, spellings
from cezsar.types import Prediction, SegmentPredictions, Vectors, VideoPredictions, unit
from query.prompts import Labels
from query.search import Searcher


def classify(
    searcher: Searcher,
    paths: Sequence[Path],
    labels: Labels,
    *,
    top_k: int = 5,
    timeline: bool = False,
    errors: Mapping[Path, str] | None = None,
) -> list[VideoPredictions]:
    """The nearest classes of every indexed video under paths, by path; with timeline, of its segments too.

    A video is the mean of its segments; a class scores by the nearest of its sentences (1-nearest-neighbour over the
    prototypes, arXiv 2605.01165). Equal scores keep the order of the labels. errors, by path, are videos that could
    not be read: they are listed with their reason. Raises SettingsError on top_k below 1, QueryError on a label
    without words.
    """
    if top_k < 1:
        raise SettingsError(f"top_k must be 1 or more, not {top_k}.")
    if not labels or not all(labels.values()):
        raise QueryError("Every label needs at least one sentence.")
    starts = [name for path in paths for name in spellings(path)]
    names = list(labels)
    owners = np.repeat(np.arange(len(names)), [len(labels[name]) for name in names])
    prototypes = searcher.encode([sentence for name in names for sentence in labels[name]])
    results = {path: VideoPredictions(path, error=reason) for path, reason in (errors or {}).items()}
    with searcher.store.read() as session:
        for video in catalog.videos(session):
            path = Path(os.fsdecode(video.file.absolute))
            if video.hidden or path in results or not any(is_under(video.file.absolute, start) for start in starts):
                continue
            parts, rows = catalog.segments(session, video.id, dimension=searcher.store.info.encoder.dimension)
            whole = _class_scores(unit(rows.mean(axis=0, keepdims=True)), prototypes, owners)
            by_segment = _class_scores(rows, prototypes, owners) if timeline else np.empty((0, len(names)))
            results[path] = VideoPredictions(
                path,
                _best(whole[0], names, top_k),
                tuple(
                    SegmentPredictions(part, _best(scores, names, top_k))
                    for part, scores in zip(parts, by_segment, strict=False)
                ),
            )
    return [results[path] for path in sorted(results)]


def _class_scores(rows: Vectors, prototypes: Vectors, owners: NDArray[np.intp]) -> NDArray[np.float32]:
    """(N, D) vectors against (P, D) prototypes, each owned by a class -> (N, classes): the best of each class's."""
    similarities = rows @ prototypes.T
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.maximum.reduceat(similarities, starts, axis=1)


def _best(scores: NDArray[np.float32], names: Sequence[str], top_k: int) -> tuple[Prediction, ...]:
    order = np.argsort(-scores, kind="stable")[:top_k]
    return tuple(Prediction(names[i], round(float(scores[i]), 6)) for i in order)
