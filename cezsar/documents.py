"""The JSON documents that the command line prints and the server answers with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cezsar.paths import path_fields

if TYPE_CHECKING:
    from cezsar.answers import (
        BestLabel,
        ClassifyAnswer,
        Copies,
        HitAnswer,
        IndexAnswer,
        LabelsAnswer,
        Otherwise,
        PartAnswer,
        Parts,
        PredictionAnswer,
        QueryAnswer,
        SegmentPredictionsAnswer,
        StatsAnswer,
        Timeline,
        UnderstoodAnswer,
        UnreadableVideo,
        VideoPredictionsAnswer,
    )
    from cezsar.types import Hit, Hits, IndexReport, IndexStats, Prediction, SegmentPredictions, VideoPredictions


def index_document(report: IndexReport) -> IndexAnswer:
    """What `index --json` prints."""
    return {
        "index": str(report.index),
        "model": report.model,
        "added": report.added,
        "updated": report.updated,
        "moved": report.moved,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "segments": report.segments,
        "seconds": round(report.seconds, 3),
        "skipped": [{**path_fields(skip.path), "reason": skip.reason} for skip in report.skipped],
        "left_out": {
            "count": sum(report.left_out.values()) + report.num_texts,
            "suffixes": dict(report.left_out),
            "texts": report.num_texts,
        },
    }


def query_document(
    text: str | None, model: str, hits: Hits, *, understood: Sequence[UnderstoodAnswer] = ()
) -> QueryAnswer:
    """What `query --json` prints; the query is null if only --like was given.

    understood are the texts that were read otherwise than they stand.

    Confidences and threshold are null if there is no calibration, or if the search had an example.
    """
    otherwise: Otherwise = {"understood": list(understood)} if understood else {}
    return {
        "query": text,
        **otherwise,
        "model": model,
        "hits": [_hit(hit) for hit in hits],
        "nothing_like_it": hits.nothing_like_it,
        "threshold": hits.threshold,
    }


def parts_document(hit: Hit) -> list[PartAnswer]:
    """The parts of a hit for a question with an order; none if it had none."""
    return [
        {
            "query": part.text,
            "score": part.score,
            "start_s": part.start_s,
            "end_s": part.end_s,
            "segment_id": part.segment_id,
        }
        for part in hit.parts
    ]


def classify_document(
    model: str,
    words: Mapping[str, Sequence[str]],
    videos: Sequence[VideoPredictions],
    *,
    timeline: bool,
    none_of_these: bool = False,
) -> ClassifyAnswer:
    """What `classify --json` prints; words are the labels with the texts that were encoded for each.

    "segments" are given with a timeline only, and "label" with none_of_these, for a video and its segments: the first
    one, or null if none is believed.
    """

    def entry(video: VideoPredictions) -> VideoPredictionsAnswer | UnreadableVideo:
        if video.error is not None:
            return {**path_fields(video.path), "error": video.error}
        return predictions_document(video, timeline=timeline, none_of_these=none_of_these)

    return {**labels_document(model, words), "videos": [entry(video) for video in videos]}


def labels_document(model: str, words: Mapping[str, Sequence[str]]) -> LabelsAnswer:
    """The labels, and the texts that were encoded for each."""
    return {
        "model": model,
        "labels": list(words),
        "words": {label: list(texts) for label, texts in words.items()},
    }


def predictions_document(
    video: VideoPredictions, *, timeline: bool, none_of_these: bool = False
) -> VideoPredictionsAnswer:
    """The predictions for a video that could be read; the options are those of classify_document."""

    def segments() -> Timeline:
        if not timeline:
            return {}
        return {"segments": [_segment(part, none_of_these=none_of_these) for part in video.segments]}

    return {
        **path_fields(video.path),
        **_label(video, none_of_these=none_of_these),
        "predictions": _predictions(video.predictions),
        **segments(),
    }


def stats_document(stats: IndexStats) -> StatsAnswer:
    """What `stats --json` prints."""
    encoder, sampling = stats.encoder, stats.sampling
    return {
        "index": str(stats.index),
        "model": encoder.name,
        "dimension": encoder.dimension,
        "streams": encoder.streams,
        "weights_sha256": encoder.weights_sha256,
        "fps": sampling.fps,
        "window_s": sampling.window_s,
        "stride_s": sampling.stride_s,
        "videos": stats.videos,
        "hidden_videos": stats.hidden_videos,
        "segments": stats.segments,
        "plain_segments": stats.plain_segments,
        "duration_s": stats.duration_s,
        "bytes": stats.num_bytes,
        "schema": stats.schema,
        "cache": stats.cache,
        "roots": [path_fields(root) for root in stats.roots],
        "other_streams": [{**path_fields(path), "stream": stream} for path, stream in stats.other_streams],
    }


def _hit(hit: Hit) -> HitAnswer:
    parts: Parts = {"parts": parts_document(hit)} if hit.parts else {}
    copies: Copies = {"copies": [path_fields(path)["path"] for path in hit.copies]} if hit.copies else {}
    return {
        "rank": hit.rank,
        "score": hit.score,
        **path_fields(hit.path),
        "start_s": hit.start_s,
        "end_s": hit.end_s,
        "segment_id": hit.segment_id,
        "video_id": hit.video_id,
        "confidence": hit.confidence,
        **parts,
        **copies,
    }


def _segment(part: SegmentPredictions, *, none_of_these: bool) -> SegmentPredictionsAnswer:
    return {
        "start_s": part.segment.start_s,
        "end_s": part.segment.end_s,
        **_label(part, none_of_these=none_of_these),
        "predictions": _predictions(part.predictions),
    }


def _label(one: VideoPredictions | SegmentPredictions, *, none_of_these: bool) -> BestLabel:
    if not none_of_these:
        return {}
    return {"label": one.predictions[0].label if one.fits else None}


def _predictions(predictions: Sequence[Prediction]) -> list[PredictionAnswer]:
    return [{"label": one.label, "score": one.score, "confidence": one.confidence} for one in predictions]
