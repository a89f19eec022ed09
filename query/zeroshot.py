"""Zero-shot classification: labels -> prototypes -> the nearest label of each video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cezsar import store
from cezsar.errors import SettingsError
from cezsar.paths import under
from cezsar.query import prototypes
from cezsar.query.calibration import Calibration
from cezsar.query.moments import refined
from cezsar.query.prompts import Labels
from cezsar.query.search import Searcher
from cezsar.types import Prediction, Segment, SegmentPredictions, Vectors, VideoPredictions, unit


def classify(
    searcher: Searcher,
    paths: Sequence[Path],
    labels: Labels,
    *,
    top_k: int = 5,
    timeline: bool = False,
    raw: bool = False,
    errors: Mapping[Path, str] | None = None,
) -> list[VideoPredictions]:
    """The nearest labels of every indexed video under paths, by path; with timeline, of its segments too.

    A video is the mean of its segments. A label is one prototype, of its words and their meanings, and its scores are
    corrected by generic videos (prototypes.in_words); with raw a label is the given texts, the nearest of them counts,
    and nothing is corrected (prototypes.raw). Equal scores keep the order of the labels. errors, by path, are videos
    that could not be read: they are listed with their reason. Raises SettingsError on top_k below 1, QueryError on a
    label without words.
    """
    classes = _Classes.of(searcher, labels, top_k, raw=raw)
    results = {path: VideoPredictions(path, error=reason) for path, reason in (errors or {}).items()}
    with searcher.read() as rows:
        shown = {video.file.absolute: video for video in rows.videos() if not video.hidden}
        chosen = {one for path in paths for one in under(path, shown)}
        for absolute, video in shown.items():
            path = video.file.full_path
            if absolute not in chosen or path in results:
                continue
            results[path] = classes.told(rows, video, timeline=timeline)
    return [results[path] for path in sorted(results)]


def classify_videos(
    searcher: Searcher,
    video_ids: Sequence[int],
    labels: Labels,
    *,
    top_k: int = 5,
    timeline: bool = False,
    raw: bool = False,
) -> Iterator[tuple[int, VideoPredictions | None]]:
    """As classify, for videos by their ids in the catalog, one after another; None if there is none, or hidden."""
    classes = _Classes.of(searcher, labels, top_k, raw=raw)
    with searcher.read() as rows:
        for number in dict.fromkeys(video_ids):
            video = rows.video(number)
            yield number, None if video is None else classes.told(rows, video, timeline=timeline)


@dataclass(frozen=True, slots=True)
class _Classes:
    """Labels by names as prototypes, and how many of them to tell."""

    names: tuple[str, ...]
    prototypes: prototypes.Prototypes
    top_k: int
    calibration: Calibration | None = None

    @classmethod
    def of(cls, searcher: Searcher, labels: Labels, top_k: int, *, raw: bool) -> _Classes:
        if top_k < 1:
            raise SettingsError(f"top_k must be 1 or more, not {top_k}.")
        made = (prototypes.raw if raw else prototypes.in_words)(searcher, labels)
        return cls(tuple(labels), made, top_k, searcher.calibration)

    def told(self, rows: store.Rows, video: store.Video, *, timeline: bool) -> VideoPredictions:
        """A video's nearest classes, and with timeline its segments'."""
        parts, vectors = rows.segments(video.id)
        whole = unit(vectors.mean(axis=0, keepdims=True))
        asked = np.concatenate([whole, vectors]) if timeline else whole
        confidences = self._confidences(asked)
        best = [self._best(*one) for one in zip(self.prototypes.scores(asked), confidences, strict=True)]
        fits = [self._fits(one) for one in confidences]
        told = zip(parts, best[1:], fits[1:], strict=False)
        by_segment = [SegmentPredictions(part, predictions, fits=fit) for part, predictions, fit in told]
        return VideoPredictions(
            video.file.full_path,
            best[0],
            self._by_shots(rows, video.id, by_segment, vectors),
            fits=fits[0],
        )

    def _by_shots(
        self, rows: store.Rows, video_id: int, timeline: Sequence[SegmentPredictions], vectors: Vectors
    ) -> tuple[SegmentPredictions, ...]:
        """A timeline's segments, of vectors (N, D), as the shots in each that show the first of its classes.

        Segments that lie over one another on the grid may show the same shots: those are listed once, with the
        predictions of the one that scores best.
        """
        shots = rows.outlines([video_id]).get(video_id) if timeline else None
        if shots is None:
            return tuple(timeline)
        found: dict[Segment, SegmentPredictions] = {}
        for one, vector in zip(timeline, vectors, strict=True):
            first = one.predictions[0]
            own = self.prototypes.rows[self.prototypes.owners == self.names.index(first.label)]
            nearest = own[int((own @ vector).argmax())]
            part = refined(one.segment, shots, nearest, reach_s=0.0)
            if part not in found or found[part].predictions[0].score < first.score:
                found[part] = replace(one, segment=part)
        return tuple(found.values())

    def _confidences(self, rows: Vectors) -> NDArray[np.float64]:
        """(N, D) vectors -> (N, classes): how likely each class fits, by its likeliest prototype; NaN if unknown."""
        if self.calibration is None:
            return np.full((len(rows), len(self.names)), np.nan)
        level = self.calibration.background(self.prototypes.rows)
        found = self.calibration.labels.confidence(rows @ self.prototypes.rows.T, level, len(self.names))
        return np.asarray(
            np.maximum.reduceat(found, np.flatnonzero(np.diff(self.prototypes.owners, prepend=-1)), axis=1)
        )

    def _fits(self, confidences: NDArray[np.float64]) -> bool:
        """Whether one of the classes (classes,) is believed; True if nothing is known."""
        return self.calibration is None or bool(confidences.max() >= self.calibration.labels.threshold)

    def _best(self, scores: NDArray[np.float32], confidences: NDArray[np.float64]) -> tuple[Prediction, ...]:
        order = np.argsort(-scores, kind="stable")[: self.top_k]
        likely = np.fmin.accumulate(confidences[order])  # scores correct for more, so a later class is no likelier
        found = zip(order, likely, strict=True)
        return tuple(
            Prediction(self.names[i], round(float(scores[i]), 6), None if np.isnan(one) else float(one))
            for i, one in found
        )
