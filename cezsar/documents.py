"""The JSON documents that the command line prints and the server answers with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cezsar.paths import path_fields

if TYPE_CHECKING:
    from cezsar.types import Hits, IndexReport, IndexStats, Prediction, SegmentPredictions, VideoPredictions


def index_document(report: IndexReport) -> dict[str, Any]:
    """What `index --json` prints."""
    return {
        "index": os.fspath(report.index),
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


def query_document(text: str | None, model: str, hits: Hits) -> dict[str, Any]:
    """What `query --json` prints; the query is null where only --like was given.

    Confidences and threshold are null where there is no calibration, or something was asked for by an example.
    """
    return {
        "query": text,
        "model": model,
        "hits": [
            {
                "rank": hit.rank,
                "score": hit.score,
                **path_fields(hit.path),
                "start_s": hit.start_s,
                "end_s": hit.end_s,
                "segment_id": hit.segment_id,
                "confidence": hit.confidence,
                **({"copies": [path_fields(path)["path"] for path in hit.copies]} if hit.copies else {}),
            }
            for hit in hits
        ],
        "nothing_like_it": hits.nothing_like_it,
        "threshold": hits.threshold,
    }


def classify_document(
    model: str,
    labels: Sequence[str],
    videos: Sequence[VideoPredictions],
    *,
    timeline: bool,
    words: Mapping[str, Sequence[str]] | None = None,
    none_of_these: bool = False,
) -> dict[str, Any]:
    """What `classify --json` prints; "segments" only with a timeline, "words", what stood for each label, if given.

    With none_of_these every video, and segment, has a "label" too: its first one, or null where none is believed.
    """
    said = {} if words is None else {"words": {label: list(sentences) for label, sentences in words.items()}}
    return {
        "model": model,
        "labels": list(labels),
        **said,
        "videos": [_video_document(video, timeline=timeline, none_of_these=none_of_these) for video in videos],
    }


def stats_document(stats: IndexStats) -> dict[str, Any]:
    """What `stats --json` prints."""
    encoder, sampling = stats.encoder, stats.sampling
    return {
        "index": os.fspath(stats.index),
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


def _video_document(video: VideoPredictions, *, timeline: bool, none_of_these: bool) -> dict[str, Any]:
    if video.error is not None:
        return {**path_fields(video.path), "error": video.error}

    def told(one: VideoPredictions | SegmentPredictions) -> dict[str, Any]:
        label = {"label": one.predictions[0].label if one.fits else None} if none_of_these else {}
        return {**label, "predictions": _predictions(one.predictions)}

    document: dict[str, Any] = {**path_fields(video.path), **told(video)}
    if timeline:
        document["segments"] = [
            {"start_s": part.segment.start_s, "end_s": part.segment.end_s, **told(part)} for part in video.segments
        ]
    return document


def _predictions(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    return [{"label": one.label, "score": one.score, "confidence": one.confidence} for one in predictions]
