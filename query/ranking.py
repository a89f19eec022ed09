"""From the nearest segments to hits: one per run of near-identical neighbours, a few per video, copies together."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from cezsar import store
from cezsar.errors import IndexDamaged, SettingsError
from cezsar.query.copies import ALIKE, Stretch, are_copies
from cezsar.query.moments import refined
from cezsar.store import Where
from cezsar.types import Hit, Ids, Segment, Vectors

_FOR_COPIES = 64  # segments that are looked at, at least, to find copies of hits
_FAR_S = 8e9  # from 1970: a catalog's nanoseconds reach to 2262
_MORE = 64  # segments more than hits that are looked at, at most: many are of one run or video


@dataclass(frozen=True, slots=True)
class Filters:
    """Which hits to give: at most top_k, at most per_video per video (0: all), of min_score or more.

    path, a glob, chooses the videos, and none that one of not_paths names; they last min_length_s to max_length_s
    seconds, and their files were changed at since_s or later and before until_s, in seconds since 1970. Copies,
    near-identical stretches of different files, are one hit unless all_copies is set. Raises SettingsError on top_k
    below 1, per_video below 0, a min_score that is not a number, or a range in which there is nothing.
    """

    top_k: int = 10
    min_score: float | None = None
    per_video: int = 1
    path: str | None = None
    all_copies: bool = False
    not_paths: tuple[str, ...] = ()
    min_length_s: float | None = None
    max_length_s: float | None = None
    since_s: float | None = None
    until_s: float | None = None

    def where(self, *, plain: bool | None = None) -> Where:
        """The condition on segments."""
        lengths = self.min_length_s, self.max_length_s
        return Where(self.path, plain, self.not_paths, *lengths, self.since_s, self.until_s)

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise SettingsError(f"top_k must be 1 or more, not {self.top_k}.")
        if self.per_video < 0:
            raise SettingsError(f"per_video must be 0 (all) or more, not {self.per_video}.")
        if self.min_score is not None and math.isnan(self.min_score):
            raise SettingsError("min_score must be a number.")
        lengths, times = (self.min_length_s, self.max_length_s), (self.since_s, self.until_s)
        if not all(value is None or 0 <= value < math.inf for value in lengths):
            raise SettingsError("A video's length must be 0 s or more.")
        if None not in lengths and lengths[0] > lengths[1]:  # type: ignore[operator]
            raise SettingsError(f"No video lasts {lengths[0]:g} s or more and {lengths[1]:g} s at most.")
        if not all(value is None or abs(value) < _FAR_S for value in times):
            raise SettingsError("A date must be between the years 1700 and 2200.")
        if None not in times and times[0] >= times[1]:  # type: ignore[operator]
            raise SettingsError("There is no time from since on and before until.")


class Ranking:
    """One search of one state of an index: the segments nearest to direction (D,), as hits.

    A hit's moment may reach reach_s seconds to a shot's edge. Each video and run is read once.
    """

    def __init__(
        self, rows: store.Rows, direction: Vectors, filters: Filters, *, reach_s: float, exact: bool = False
    ) -> None:
        self._rows, self._direction, self._filters, self._exact = rows, direction, filters, exact
        self._runs: dict[int, store.Run] = {}
        self._moments = _Moments(rows, self._runs, direction, reach_s)

    def all(self) -> list[Hit]:
        """The nearest hits, plain ones too."""
        return self._hits(self._filters.where(), np.empty(0, np.int64))

    def plain_last(self) -> tuple[list[Hit], int]:
        """The nearest hits, and how many of them show something: others only fill up the places that are left."""
        filters = self._filters
        hits = self._hits(filters.where(plain=False), np.empty(0, np.int64))
        num_shown = len(hits)
        if num_shown == filters.top_k:
            return hits, num_shown
        counts = Counter(hit.video_id for hit in hits)
        full = [video for video, count in counts.items() if count == filters.per_video]
        runs = {self._runs[hit.segment_id] for hit in hits}
        given = np.concatenate([self._rows.segments_of_runs(runs), self._rows.segment_ids(full)])
        for hit in self._hits(filters.where(plain=True), given):
            if len(hits) < filters.top_k and not 0 < filters.per_video <= counts[hit.video_id]:
                counts[hit.video_id] += 1
                hits.append(replace(hit, rank=len(hits) + 1))
        return hits, num_shown

    def _hits(self, where: Where, without: Ids) -> list[Hit]:
        """The nearest segments, but those in without, as ranked hits.

        What can give no other hit is left out of the next look: a run that has its hit, a video that has its number. So
        there are never more looks than hits, however many segments a run or a video has.
        """
        filters, rows = self._filters, self._rows
        found = store.Found(np.empty(0, np.int64), np.empty(0), np.empty((0, len(self._direction)), np.float32))
        taken = without
        num_looked_at = filters.top_k + min(filters.top_k, _MORE) + 8
        if not filters.all_copies:
            num_looked_at = max(num_looked_at, _FOR_COPIES)
        while True:
            new = rows.nearest(self._direction, num_looked_at, where=where, without=taken, exact=self._exact)
            self._runs |= rows.runs(new.ids.tolist())
            found, full = self._chosen(_both(found, new))
            if filters.all_copies or not self._moments.may_be_copies(found.ids):
                groups = [[number] for number in range(min(filters.top_k, len(found.ids)))]
            else:
                groups = self._folded(found)
            is_last = len(new.ids) < num_looked_at or (
                filters.min_score is not None and new.scores[-1] < filters.min_score
            )
            if len(groups) == filters.top_k or is_last:
                break
            rest = {self._runs[number] for number in found.ids.tolist() if self._runs[number][0] not in full}
            taken = np.concatenate([without, rows.segments_of_runs(rest), rows.segment_ids(full)])
            num_looked_at *= 4
        shown = [number for group in groups for number in group]
        where_are = dict(zip(shown, self._moments.of(found.ids[shown]), strict=True))
        hits = []
        for rank, (head, *copies) in enumerate(groups, start=1):
            place, moment = where_are[head]
            of = (float(found.scores[head]), place.path, moment.start_s, moment.end_s, int(found.ids[head]))
            paths = tuple(dict.fromkeys(where_are[copy][0].path for copy in copies))
            hits.append(Hit(rank, *of, place.video_id, copies=paths))
        return hits

    def _chosen(self, found: store.Found) -> tuple[store.Found, set[int]]:
        """Those of the segments that are hits, best first; and the videos that have their number of them.

        All of them, if copies are to be folded: then more may be needed than there are to be hits.
        """
        filters, chosen = self._filters, list[int]()
        taken: set[store.Run] = set()
        counts: dict[int, int] = {}
        for place in np.lexsort((found.ids, -found.scores)).tolist():
            if filters.all_copies and len(chosen) == filters.top_k:
                break
            if filters.min_score is not None and found.scores[place] < filters.min_score:
                break
            run = self._runs[int(found.ids[place])]
            count = counts.get(run[0], 0)
            if run in taken or (filters.per_video and count >= filters.per_video):
                continue
            taken.add(run)
            counts[run[0]] = count + 1
            chosen.append(place)
        full = {video for video, count in counts.items() if count == filters.per_video}
        return store.Found(found.ids[chosen], found.scores[chosen], found.vectors[chosen]), full

    def _folded(self, found: store.Found) -> list[list[int]]:
        """The first top_k hits as numbers of what was found, each with its copies, in their order."""
        moments, top_k = self._moments, self._filters.top_k
        heads = np.empty((min(top_k, len(found.ids)), found.vectors.shape[1]), np.float32)
        groups: list[list[int]] = []
        stretches: list[Stretch | None] = []
        for number, (place, moment) in enumerate(moments.of(found.ids)):
            video, own = place.video_id, None
            if video in moments.outlines:
                own = Stretch(video, moment, moments.outlines[video], moments.contents[video])
            stretches.append(own)
            for group in np.flatnonzero(heads[: len(groups)] @ found.vectors[number] >= ALIKE).tolist() if own else ():
                head = stretches[groups[group][0]]
                if head and own and are_copies(head, own):
                    groups[group].append(number)
                    break
            else:
                if len(groups) < top_k:
                    heads[len(groups)] = found.vectors[number]
                    groups.append([number])
        return groups


class _Moments:
    """Where segments are, and when exactly the moments begin and end; each video and run is read once."""

    def __init__(self, rows: store.Rows, runs: dict[int, store.Run], direction: Vectors, reach_s: float) -> None:
        self._rows, self._runs = rows, runs
        self._direction, self._reach_s = direction, reach_s
        self._places: dict[store.Run, store.Place] = {}
        self._asked: set[int] = set()
        self.outlines: dict[int, store.Outline] = {}
        self.contents: dict[int, bytes] = {}

    def may_be_copies(self, ids: Ids) -> bool:
        """Whether there are outlines of two videos or more, without which nothing can be told to be a copy."""
        self._outline({self._runs[number][0] for number in ids.tolist()})
        return len(self.outlines) > 1

    def of(self, ids: Ids) -> list[tuple[store.Place, Segment]]:
        """The run's place and the moment of each of these segments. Raises IndexDamaged."""
        wanted = [self._runs[number] for number in ids.tolist()]
        self._places |= self._rows.ranges(set(wanted) - set(self._places))
        self._outline({video for video, _ in wanted})
        found = []
        for run in wanted:
            if (place := self._places.get(run)) is None:
                raise IndexDamaged("Some segments in the catalog belong to no video: `cezsar verify` says more.")
            stretch = Segment(place.start_s, place.end_s)
            if place.video_id in self.outlines:
                shots = self.outlines[place.video_id]
                stretch = refined(stretch, shots, self._direction, reach_s=self._reach_s)
            found.append((place, stretch))
        return found

    def _outline(self, videos: set[int]) -> None:
        outlines = self._rows.outlines(videos - self._asked)
        self._asked |= videos
        self.outlines |= outlines
        self.contents |= self._rows.contents(outlines)


def _both(one: store.Found, other: store.Found) -> store.Found:
    return store.Found(
        np.concatenate([one.ids, other.ids]),
        np.concatenate([one.scores, other.scores]),
        np.concatenate([one.vectors, other.vectors]),
    )
