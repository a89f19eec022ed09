"""What an index shows of itself before anybody asks: the segments that differ most."""

from __future__ import annotations

import numpy as np

from cezsar import store
from cezsar.store import Where

_SAMPLE = 2_048  # ids that are looked at, whatever an index holds
_THE_SAME = 0.95  # cosine similarity: what is so near to one that was chosen shows nothing new


def distinct(rows: store.Rows, most: int) -> list[store.Part]:
    """At most so many segments that differ from one another, one of a video: the first is nearest to the mean, and each
    other one is farthest from all before it (Gonzalez 1985).

    A sample of the ids is looked at, equally spaced; segments that show next to nothing are left out.
    """
    span = rows.segment_span()
    if span is None:
        return []
    ids, vectors = rows.shown(np.unique(np.linspace(*span, _SAMPLE).round().astype(np.int64)), Where(plain=False))
    belongs = rows.runs(ids.tolist())
    videos = np.array([belongs[number][0] for number in ids.tolist()], np.int64)
    found: list[store.Part] = []
    nearest = -vectors @ vectors.mean(axis=0) - 1.0 if len(ids) else np.empty(0)
    while len(found) < most and nearest.size and nearest.min() < _THE_SAME:
        chosen = int(nearest.argmin())
        part = rows.part(int(ids[chosen]))
        assert part is not None  # it is visible in the same state
        found.append(part)
        nearest = vectors @ vectors[chosen] if len(found) == 1 else np.maximum(nearest, vectors @ vectors[chosen])
        nearest[np.isin(videos, [one.video_id for one in found])] = 1.0
    return found
