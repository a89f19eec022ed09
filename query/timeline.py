"""A whole video along a question: how like it each segment is, and where shots begin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cezsar import store
from cezsar.store import scores
from cezsar.types import Ids, Segment, Vectors


class Timeline(NamedTuple):
    """Stretches of a video by when they begin: ids (N,) of the best segment in each, ranges in seconds (N,) and (N,),
    and scores (P, N), cosine similarities for each part of the question, the best in the stretch.

    cuts_s (C,) are the seconds at which a shot ends and another begins. num_segments says how many segments that is of.
    """

    ids: Ids
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    scores: NDArray[np.float64]
    cuts_s: NDArray[np.float64]
    num_segments: int


def timeline(rows: store.Rows, video_id: int, directions: Vectors, *, stretch: Segment, most: int) -> Timeline:
    """A video's segments that touch a stretch, and the cuts in it, along the unit vectors (P, D) of a question.

    There are at most `most` of each: where a stretch has more segments, as many neighbours as it takes are one, and of
    cuts that lie close together the first is given.
    """
    course = next(iter(rows.courses([video_id])), None)
    if course is None:
        nothing = np.empty(0)
        return Timeline(np.empty(0, np.int64), nothing, nothing, np.empty((len(directions), 0)), nothing, 0)
    (within,) = np.nonzero((course.starts_s < stretch.end_s) & (course.ends_s > stretch.start_s))
    ids, starts_s, ends_s = course.ids[within], course.starts_s[within], course.ends_s[within]
    found = np.stack([scores.similarities(direction, course.vectors[within]) for direction in directions])
    firsts = np.arange(0, len(ids), max(1, -(-len(ids) // most)))
    best = np.maximum.reduceat(found, firsts, axis=1) if len(ids) else found
    return Timeline(
        ids[_best(found.max(axis=0), firsts)] if len(ids) else ids,
        starts_s[firsts],
        np.maximum.reduceat(ends_s, firsts) if len(ids) else ends_s,
        np.asarray(np.round(best.astype(np.float64), 6), np.float64),
        _cuts(rows, video_id, stretch, most),
        len(ids),
    )


def _best(found: NDArray[np.float32], firsts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the highest of found (S,) is, from each of firsts (N,) to the next."""
    return np.array([first + lot.argmax() for first, lot in zip(firsts, np.split(found, firsts[1:]), strict=True)])


def _cuts(rows: store.Rows, video_id: int, stretch: Segment, most: int) -> NDArray[np.float64]:
    outline = rows.outlines([video_id]).get(video_id)
    if outline is None:
        return np.empty(0)
    cuts_s = outline.edges_s[1:-1]
    cuts_s = cuts_s[(cuts_s >= stretch.start_s) & (cuts_s <= stretch.end_s)]
    if len(cuts_s) <= most:
        return cuts_s
    places = (cuts_s - cuts_s[0]) / (cuts_s[-1] - cuts_s[0]) * (most - 1)
    return cuts_s[np.unique(places.astype(np.int64), return_index=True)[1]]
