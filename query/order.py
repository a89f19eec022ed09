"""One thing after another in the same video: the best chain of its segments, one for each part of the question.

A chain's score is the mean of its parts' scores. Which videos to look at is found by the threshold algorithm (Fagin,
Lotem and Naor, PODS 2001): the nearest segments of each part name some, which are then looked at whole, until no
other video could do better.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cezsar import store
from cezsar.errors import IndexDamaged, QueryError
from cezsar.query.copies import ALIKE, Stretch, are_copies
from cezsar.query.moments import refined
from cezsar.query.ranking import Filters
from cezsar.store import scores
from cezsar.types import Hit, HitPart, Segment, Vectors

MOST_PARTS = 8
LONGEST_S = 86_400.0  # that may lie between two parts
OVERLAP = 0.5  # of a segment, which the next part's may share with it: in a short video all neighbours do
_FIRST_LOOK = 256  # segments of each part
_FOR_COPIES = 64  # chains that are looked at together, and more than hits: some may be copies
_MILLIONTHS = 1_000_000  # of a score: whole numbers, so that equal chains are equal however they are added up
_NEVER = -(1 << 60)  # the total of a chain that there is not
_ROUNDING_S = 1e-6


class Chain(NamedTuple):
    """The sum of a chain's scores, in millionths, and the places of its segments, one for each part."""

    total: int
    places: tuple[int, ...]


def best_chain(
    scored: NDArray[np.int64], starts_s: NDArray[np.float64], ends_s: NDArray[np.float64], *, within_s: float
) -> Chain | None:
    """The best chain of S segments, in order, by the (P, S) scores of each part; None if there is none.

    Each part's segment shares at most OVERLAP of the one before it, and begins at most within_s after that one's end.
    Of equal chains it is the one whose last segment is the earliest, then the one before the last, and so on.
    """
    # what may come before a segment are those of [first, stop)
    stops = np.searchsorted(starts_s + (1 - OVERLAP) * (ends_s - starts_s) - _ROUNDING_S, starts_s, "right")
    stops = np.minimum(stops, np.arange(len(starts_s)))
    firsts = np.searchsorted(ends_s, starts_s - within_s - _ROUNDING_S, "left")
    reaches = list(zip(firsts.tolist(), stops.tolist(), strict=True))
    totals: list[int] = scored[0].tolist()
    ways: list[list[int]] = []
    for row in scored[1:].tolist():
        before, totals, way = totals, [_NEVER] * len(row), [-1] * len(row)
        best: deque[int] = deque()  # places within reach whose totals fall, so that the first is the best
        num_seen = 0
        for place, (first, stop) in enumerate(reaches):
            for seen in range(num_seen, stop):
                while best and before[best[-1]] < before[seen]:
                    best.pop()
                best.append(seen)
            num_seen = max(num_seen, stop)
            while best and best[0] < first:
                best.popleft()
            if best and before[best[0]] > _NEVER:
                totals[place], way[place] = before[best[0]] + row[place], best[0]
        ways.append(way)
    last = max(range(len(totals)), key=totals.__getitem__, default=-1)
    if last < 0 or totals[last] == _NEVER:
        return None
    places = [last]
    for way in reversed(ways):
        places.append(way[places[-1]])
    return Chain(totals[last], tuple(reversed(places)))


def chains(
    scored: NDArray[np.int64], starts_s: NDArray[np.float64], ends_s: NDArray[np.float64], *, within_s: float
) -> Iterator[Chain]:
    """The best chain as best_chain gives it, then the best of those that share no time with it, and so on."""
    heap: list[tuple[int, tuple[int, ...], int, int]] = []

    def look(start: int, stop: int) -> None:
        found = best_chain(scored[:, start:stop], starts_s[start:stop], ends_s[start:stop], within_s=within_s)
        if found is not None:
            heapq.heappush(heap, (-found.total, tuple(start + place for place in found.places), start, stop))

    look(0, len(starts_s))
    while heap:
        total, places, start, stop = heapq.heappop(heap)
        yield Chain(-total, places)
        look(start, int(np.searchsorted(ends_s, starts_s[places[0]] + _ROUNDING_S, "left")))
        look(int(np.searchsorted(starts_s, ends_s[places[-1]] - _ROUNDING_S, "right")), stop)


@dataclass(frozen=True, slots=True)
class Order:
    """A question with an order: the unit vectors (P, D) of its parts, P >= 2, their texts, and the seconds that may
    lie between two of them. Raises QueryError on another number of parts or seconds."""

    directions: Vectors
    texts: tuple[str | None, ...]
    within_s: float = 60.0

    def __post_init__(self) -> None:
        if not 2 <= len(self.directions) <= MOST_PARTS:
            raise QueryError(f"A question with an order has 2 to {MOST_PARTS} parts, not {len(self.directions)}.")
        check_within(self.within_s)


def check_within(within_s: float) -> None:
    """Raise QueryError if no such time may lie between two parts."""
    if not 0 < within_s <= LONGEST_S:
        raise QueryError(f"within must be over 0 and at most {LONGEST_S:,.0f} s, a day, not {within_s:g} s.")


class _Candidate(NamedTuple):
    """A chain with the segments of its video: sorts best first, then by video, then by time."""

    negative: int
    video_id: int
    ids: tuple[int, ...]
    ranges: tuple[Segment, ...]
    scores: tuple[int, ...]


def ordered(rows: store.Rows, order: Order, filters: Filters, *, reach_s: float, exact: bool = False) -> list[Hit]:
    """The best chains as hits, best first; equal ones by the ids of their videos, then by time.

    Segments that show next to nothing are in no chain. A part's range begins or ends with a shot, if one does within
    reach_s. With filters.per_video other than 1 a video's chains share no time.
    """
    shown = _Shown(rows, order, filters, reach_s)
    candidates: list[_Candidate] = []
    seen: set[int] = set()
    num_looked_at = max(_FIRST_LOOK, 4 * filters.top_k)
    where = filters.where(plain=False)
    least = None if filters.min_score is None else filters.min_score * _MILLIONTHS * len(order.directions)
    while True:
        taken = rows.segment_ids(seen)
        bound: float = 0.0
        new: set[int] = set()
        for direction in order.directions:
            found = rows.nearest(direction, num_looked_at, where=where, without=taken, exact=exact)
            new |= {video for video, _ in rows.runs(found.ids.tolist()).values()}
            # the others have no more than the last one's score for this part; if it was the last of all, there are none
            is_last = len(found.ids) < num_looked_at
            bound += -np.inf if is_last else round(float(found.scores[-1]) * _MILLIONTHS)
        candidates += _candidates(rows, new, order, filters)
        candidates.sort()
        seen |= new
        good = [one for one in candidates if least is None or -one.negative >= least]
        hits = shown.hits(good, num_sure=sum(-one.negative > bound for one in good))
        is_over = bound == -np.inf or (least is not None and bound < least)
        if len(hits) == filters.top_k or is_over:
            return hits
        num_looked_at *= 4


def _candidates(rows: store.Rows, videos: set[int], order: Order, filters: Filters) -> list[_Candidate]:
    found: list[_Candidate] = []
    most = filters.per_video or filters.top_k
    for course in rows.courses(videos):
        kept = ~course.plain
        if kept.sum() < 2:
            continue
        ids, starts_s, ends_s = course.ids[kept], course.starts_s[kept], course.ends_s[kept]
        vectors = course.vectors[kept]
        scored = np.stack([_millionths(scores.similarities(one, vectors)) for one in order.directions])
        best = chains(scored, starts_s, ends_s, within_s=order.within_s)
        for total, places in islice(best, most):
            at = list(places)
            ranges = tuple(Segment(*times) for times in zip(starts_s[at].tolist(), ends_s[at].tolist(), strict=True))
            own = tuple(int(scored[part, place]) for part, place in enumerate(places))
            found.append(_Candidate(-total, course.video_id, tuple(ids[at].tolist()), ranges, own))
    return found


def _millionths(found: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray(np.round(found.astype(np.float64) * _MILLIONTHS), np.int64)


class _Shown:
    """What turns chains into hits: where their videos are, when their parts begin and end, which are copies."""

    def __init__(self, rows: store.Rows, order: Order, filters: Filters, reach_s: float) -> None:
        self._rows, self._order, self._filters, self._reach_s = rows, order, filters, reach_s
        self._outlines: dict[int, store.Outline] = {}
        self._contents: dict[int, bytes] = {}
        self._asked: set[int] = set()

    def hits(self, candidates: Sequence[_Candidate], *, num_sure: int) -> list[Hit]:
        """The first top_k of the first num_sure of these chains, best first, each with its copies among all."""
        if self._filters.all_copies:
            groups = [[one] for one in candidates[: min(num_sure, self._filters.top_k)]]
        else:
            groups = self._folded(candidates, num_sure)
        self._outline({one.video_id for group in groups for one in group})
        places = self._rows.places([one.ids[0] for group in groups for one in group])
        if len(places) < len({one.ids[0] for group in groups for one in group}):
            raise IndexDamaged("Some segments in the catalog belong to no video: `cezsar verify` says more.")
        found = []
        for rank, (head, *copies) in enumerate(groups, start=1):
            parts = tuple(
                HitPart(text, score / _MILLIONTHS, moment.start_s, moment.end_s, number)
                for text, score, moment, number in zip(
                    self._order.texts, head.scores, self._moments(head), head.ids, strict=True
                )
            )
            score = round(-head.negative / _MILLIONTHS / len(parts), 6)
            stretch = self._stretch(head)
            paths = tuple(dict.fromkeys(places[copy.ids[0]].path for copy in copies))
            place = places[head.ids[0]]
            of = (score, place.path, stretch.start_s, stretch.end_s, head.ids[0], head.video_id)
            found.append(Hit(rank, *of, copies=paths, parts=parts))
        return found

    def _folded(self, candidates: Sequence[_Candidate], num_sure: int) -> list[list[_Candidate]]:
        top_k = self._filters.top_k
        groups: list[list[_Candidate]] = []
        heads: list[Vectors] = []
        for start in range(0, len(candidates), _FOR_COPIES):
            some = candidates[start : start + _FOR_COPIES]
            self._outline({one.video_id for one in some})
            ids, vectors = self._rows.vectors_of(np.unique(np.array([one.ids for one in some], np.int64)))
            for number, one in enumerate(some, start=start):
                own = vectors[np.searchsorted(ids, np.array(one.ids))]  # (P, D)
                near = np.einsum("gpd,pd->gp", np.array(heads), own).min(axis=1) >= ALIKE if heads else np.empty(0)
                stretch = self._as_copy(one)
                for group in np.flatnonzero(near).tolist() if stretch else ():
                    head = self._as_copy(groups[group][0])
                    if head and stretch and are_copies(head, stretch):
                        groups[group].append(one)
                        break
                else:
                    if len(groups) < top_k and number < num_sure:
                        groups.append([one])
                        heads.append(own)
            if len(groups) == top_k or start + _FOR_COPIES >= num_sure:
                break  # copies have nearly the same score: they have come by now
        return groups

    def _as_copy(self, one: _Candidate) -> Stretch | None:
        video = one.video_id
        if video not in self._outlines:
            return None
        return Stretch(video, self._stretch(one), self._outlines[video], self._contents[video])

    def _stretch(self, one: _Candidate) -> Segment:
        """From where the first of its parts begins to where the last one ends."""
        moments = self._moments(one)
        return Segment(moments[0].start_s, moments[-1].end_s)

    def _moments(self, one: _Candidate) -> list[Segment]:
        shots = self._outlines.get(one.video_id)
        if shots is None:
            return list(one.ranges)
        moments = [
            refined(part, shots, direction, reach_s=self._reach_s)
            for part, direction in zip(one.ranges, self._order.directions, strict=True)
        ]
        is_in_order = all(a.start_s < b.start_s and a.end_s < b.end_s for a, b in pairwise(moments))
        return moments if is_in_order else list(one.ranges)

    def _outline(self, videos: set[int]) -> None:
        outlines = self._rows.outlines(videos - self._asked)
        self._asked |= videos
        self._outlines |= outlines
        self._contents |= self._rows.contents(outlines)
