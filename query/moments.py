"""When exactly a hit begins and ends: segments lie on a grid, shots do not."""

from __future__ import annotations

import numpy as np

from cezsar.store import Outline, outline
from cezsar.types import Segment, Vectors

_ALIKE = 0.7  # cosine similarity from which two shots show the same thing, from another side


def refined(stretch: Segment, shots: Outline, direction: Vectors, *, reach_s: float) -> Segment:
    """The range of those shots of a stretch on the grid that fit a query's unit vector (D,).

    They are the stretch's best shot and those next to it that show the same. If the first begins, or the last ends, up
    to reach_s outside the stretch, the moment begins, or ends, with it; otherwise with the stretch. A video of one shot
    has no edges but the grid's.
    """
    edges_s = shots.edges_s
    if len(edges_s) == 2:
        return stretch
    first = int(np.searchsorted(edges_s, stretch.start_s, "right")) - 1
    last = int(np.searchsorted(edges_s, stretch.end_s, "left")) - 1
    scores = outline.similarities(shots.codes[first : last + 1], direction)
    best = int(scores.argmax())
    alike = outline.likeness(shots.codes[first : last + 1], shots.codes[first + best]) >= _ALIKE
    begin, end = best, best
    while begin > 0 and alike[begin - 1]:
        begin -= 1
    while end < last - first and alike[end + 1]:
        end += 1
    start_s, end_s = float(edges_s[first + begin]), float(edges_s[first + end + 1])
    if start_s < stretch.start_s - reach_s:
        start_s = stretch.start_s
    if end_s > stretch.end_s + reach_s:
        end_s = stretch.end_s
    return Segment(start_s, end_s)
