"""Text or video in, hits out: encode, search the cache and the catalog's tail, merge, rank; never writes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cezsar import catalog, encoders, maintenance, vectors
from cezsar.encoders import Encoder, Limited, sound
from cezsar.errors import CacheUnusable, IndexDamaged, QueryError, SettingsError
from cezsar.paths import called, matches
from cezsar.query import calibration
from cezsar.query.calibration import Calibration
from cezsar.query.copies import ALIKE, Stretch, are_copies
from cezsar.query.moments import refined
from cezsar.query.prompts import visible
from cezsar.types import Hit, Hits, Ids, Scores, Segment, Vectors, unit

MOST_CHARACTERS = 10_000  # of a text
_FOR_COPIES = 64  # segments that are looked at, at least, to find copies of hits
_AGAINST = 0.5  # the weight of what is not wanted, beside 1 for what is
_SAME_SCORE = 2e-6  # scores nearer than this are of one vector, rounded
_UNKNOWN = "it holds segments that the catalog does not"
_SAME = 0.9999  # cosine similarity from which two texts ask for the same thing


@dataclass(frozen=True, slots=True)
class Filters:
    """Which hits to give: at most top_k, of min_score or more, per_video a video (0: all), of paths that a glob names.

    Copies, near-identical stretches of different files, are one hit unless all_copies is set.
    Raises SettingsError on top_k below 1, per_video below 0, or a min_score that is not a number.
    """

    top_k: int = 10
    min_score: float | None = None
    per_video: int = 1
    path: str | None = None
    all_copies: bool = False

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise SettingsError(f"top_k must be 1 or more, not {self.top_k}.")
        if self.per_video < 0:
            raise SettingsError(f"per_video must be 0 (all) or more, not {self.per_video}.")
        if self.min_score is not None and math.isnan(self.min_score):
            raise SettingsError("min_score must be a number.")


@dataclass(frozen=True, slots=True)
class Nothing:
    """Why there are no hits: how many videos the index shows, how many of them the path named, and their best score."""

    num_videos: int
    num_named: int
    best_score: float | None


class Searcher:
    """An index opened for questions, of several threads at once. Use as a context manager.

    The encoder loads with the first text, unless encoder is given, which must be the one that made the index.
    notice says why the FAISS cache is not used, where it is not; answers are the same without it, only slower.
    calibration_notice says why the index's own calibration is not used, where it cannot be.
    Raises IndexMissing, IndexOutdated, IndexDamaged; IndexMismatch where the given encoder did not make the index.
    """

    def __init__(self, directory: Path, *, device: str = "auto", encoder: Encoder | None = None) -> None:
        self._device = device
        with ExitStack() as opened:
            self.store = opened.enter_context(catalog.open_to_read(directory))
            if encoder is not None:
                encoders.check_recorded(encoder, self.store.info.encoder)
                self.encoder = encoder
            self._open = opened.pop_all()
        self.notice: str | None = None
        self._seen: _Seen | None = None

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that made the index. Raises EncoderError, or IndexMismatch if its weights are other ones now."""
        return encoders.load_recorded(self.store.info.encoder, device=self._device)

    @property
    def calibration(self) -> Calibration | None:
        """What tells how likely a hit is right: the index's own, or the encoder's; None where there is neither."""
        return self._calibrated[0]

    @property
    def calibration_notice(self) -> str | None:
        """Why the index's own calibration is not used, where it cannot be."""
        return self._calibrated[1]

    @cached_property
    def _calibrated(self) -> tuple[Calibration | None, str | None]:
        return calibration.find(self.store.directory, self.store.info.encoder)

    def search(
        self,
        text: str | None = None,
        *,
        without: Sequence[str] = (),
        like: Sequence[Vectors] = (),
        filters: Filters | None = None,
        exact: bool = False,
    ) -> Hits:
        """The moments that show text, or look like the given vectors (D,), and do not show without; best first.

        A large index may miss a few (Stamp.recall); with exact it compares every vector, and takes seconds a million.

        A score is the cosine similarity with the direction asked for. Near-identical neighbours are one hit with
        their whole range and their best score; copies among the nearest segments are part of the best one's hit, and
        count for their own videos too. Segments that show next to nothing come behind all others, unless like is given.
        A hit begins and ends where the shots that show it do, if that is near; its segment is the grid's. Equal scores
        come in the order of segment ids. Where the encoder is calibrated, and no example is given, each hit has a
        confidence. Raises QueryError on a text of over 10,000 characters, or one in which nothing is visible.
        """
        filters = filters or Filters()
        direction = self._direction(text, without, like)
        with self.store.read() as session:
            seen = self._look(session)
            try:
                found, size = self._hits(session, seen, direction, filters, exact=exact, plain_too=bool(like))
            except CacheUnusable as error:  # what was read of it, now, is damaged
                seen = _Seen.of(session, None, seen.files, seen.generation, self.store.info.encoder.dimension)
                self._seen, self.notice = seen, _not_used(error)
                found, size = self._hits(session, seen, direction, filters, exact=exact, plain_too=bool(like))
        return Hits(found) if like else self._judged(found, direction, size)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D) unit vectors.

        Each is read as prompts.visible gives it; bytes that were not UTF-8 in an argument read as '?'.
        """
        return sound(self.encoder.encode_texts([visible(text) for text in texts]), len(texts), self.encoder.identity)

    def unread(self, text: str) -> str | None:
        """A line that says where a text was cut, since the encoder reads no more of it; None if all of it was read."""
        text = visible(text)
        read = self.encoder.beginning(text) if isinstance(self.encoder, Limited) else text
        if read == text:
            return None
        last = " ".join(read.split()[-6:])[-80:]
        return (
            f'The text is longer than {self.store.info.encoder.name} reads: what comes after "... {last}" was not read.'
        )

    def nothing(
        self,
        text: str | None = None,
        *,
        without: Sequence[str] = (),
        like: Sequence[Vectors] = (),
        filters: Filters,
        exact: bool = False,
    ) -> Nothing:
        """Why search gives no hits for this."""
        with self.store.read() as session:
            shown = [video for video in catalog.videos(session) if not video.hidden]
        named = [v for v in shown if filters.path is None or matches(v.file.absolute, v.file.root, filters.path)]
        one = replace(filters, top_k=1, min_score=None)
        hits = self.search(text, without=without, like=like, filters=one, exact=exact)
        return Nothing(len(shown), len(named), hits[0].score if hits else None)

    def like(self, path: Path, segment: Segment | None = None) -> Vectors | None:
        """What a video of the index shows, in the given range or as a whole, as a unit vector (D,); None if not there.

        Raises QueryError if the range holds none of its segments.
        """
        found = self.segments(path)
        return None if found is None else mean_vector(*found, segment, path)

    def segments(self, path: Path) -> tuple[tuple[Segment, ...], Vectors] | None:
        """A video's segments and their vectors (S, D); None if the index does not hold it."""
        with self.store.read() as session:
            found = {v.file.absolute: v.id for v in catalog.videos(session) if not v.hidden}
            named = called(path, found)
            if not named:
                return None
            return catalog.segments(session, found[named[0]], dimension=self.store.info.encoder.dimension)

    def like_segment(self, segment_id: int) -> Vectors | None:
        """What a segment shows, as a unit vector (D,); None if it is not there, or its video is hidden."""
        wanted = np.array([segment_id], np.int64)
        with self.store.read() as session:
            if catalog.part(session, segment_id) is None:
                return None
            _, rows = catalog.vectors_of(session, wanted, dimension=self.store.info.encoder.dimension)
        return rows[0] if len(rows) else None

    def _direction(self, text: str | None, without: Sequence[str], like: Sequence[Vectors]) -> Vectors:
        """The unit vector (D,) to look along: the mean of what is wanted less half the mean of what is not."""
        texts = [*([] if text is None else [text]), *without]
        if long := next((line for line in texts if len(line) > MOST_CHARACTERS), None):
            raise QueryError(f"A text of {len(long):,} characters is too long: {MOST_CHARACTERS:,} are the most.")
        if not all(visible(line).strip() for line in texts):
            raise QueryError("The query is empty: say in a few words what should be seen.")
        if text is None and not like:
            raise QueryError("There is nothing to look for: give a text or an example.")
        rows = self.encode(texts) if texts else np.empty((0, 0), np.float32)
        num_wanted = len(texts) - len(without)
        wanted = np.mean([*rows[:num_wanted], *like], axis=0)
        if without and (rows[num_wanted:] @ unit(wanted[None])[0]).max() > _SAME:
            raise QueryError("The same thing is wanted and not wanted: there is nothing to look for.")
        against = _AGAINST * np.mean(rows[num_wanted:], axis=0) if without else 0.0
        return np.asarray(unit((wanted - against)[None])[0])

    def _hits(
        self,
        session: catalog.Snapshot,
        seen: _Seen,
        direction: Vectors,
        filters: Filters,
        *,
        exact: bool,
        plain_too: bool,
    ) -> tuple[list[Hit], int]:
        """The hits, and among how many segments they were looked for.

        What shows next to nothing fills up the places that are left.
        """
        reach_s = self.store.info.sampling.stride_s
        seek = _Seek(session, seen, self.store.info.encoder.dimension, filters, exact=exact)
        none = np.empty(0, np.int64)
        if plain_too or len(seen.plain) == 0:
            return _hits(session, seek, direction, filters, reach_s=reach_s, without=none), seek.size
        hits = _hits(session, seek, direction, filters, reach_s=reach_s, without=seen.plain)
        if len(hits) == filters.top_k:
            return hits, seek.size
        counts = Counter(hit.video_id for hit in hits)
        full = [video for video, count in counts.items() if count == filters.per_video]
        runs = catalog.runs(session, [hit.segment_id for hit in hits])
        given = [catalog.segments_of_runs(session, runs.values()), catalog.segment_ids(session, full)]
        plain = seek.among(seen.plain)
        for hit in _hits(session, plain, direction, filters, reach_s=reach_s, without=np.concatenate(given)):
            if len(hits) < filters.top_k and not 0 < filters.per_video <= counts[hit.video_id]:
                counts[hit.video_id] += 1
                hits.append(replace(hit, rank=len(hits) + 1))
        return hits, seek.size

    def _judged(self, hits: list[Hit], direction: Vectors, size: int) -> Hits:
        """The hits with their confidences: those of a direction (D,) among so many segments."""
        if self.calibration is None:
            return Hits(hits)
        judge = self.calibration.hits
        level = self.calibration.background(direction[None])
        found = judge.confidence(np.array([hit.score for hit in hits]), level, size)
        judged = [replace(hit, confidence=one) for hit, one in zip(hits, found.tolist(), strict=True)]
        return Hits(judged, threshold=judge.threshold)

    def _look(self, session: catalog.Snapshot) -> _Seen:
        """What is asked of the catalog and the cache before a search; kept until one of them changes."""
        files, seen = vectors.on_disk(self.store.directory), self._seen
        cache: vectors.Cache | None = None
        if seen is None or seen.files != files:
            try:  # before anything is asked of the snapshot: no cache is newer than it
                cache = maintenance.open_cache(self.store, session)
                self.notice = None
            except CacheUnusable as error:
                self.notice = _not_used(error)
        else:
            cache = seen.cache
        generation = catalog.generation(session)
        if seen is None or (seen.files, seen.generation) != (files, generation):
            seen = _Seen.of(session, cache, files, generation, self.store.info.encoder.dimension)
            self._seen = seen  # other threads may hold snapshots of other states: theirs are no concern of this one
        return seen


@dataclass(frozen=True, slots=True)
class _Seen:
    """One state of an index: its cache, what the cache lacks, what it holds and must not be found, and what shows next
    to nothing."""

    files: tuple[tuple[object, ...], ...]
    generation: int
    cache: vectors.Cache | None
    tail: tuple[Ids, Vectors]
    masked: Ids
    plain: Ids

    @classmethod
    def of(
        cls,
        session: catalog.Snapshot,
        cache: vectors.Cache | None,
        files: tuple[tuple[object, ...], ...],
        generation: int,
        dimension: int,
    ) -> _Seen:
        """With a cache, the visible segments after it; without one nothing is read ahead."""
        after, since = (cache.stamp.last_segment_id, cache.stamp.generation) if cache else (1 << 62, generation)
        tail = catalog.tail(session, after=after, dimension=dimension)
        return cls(files, generation, cache, tail, catalog.masked(session, since=since), catalog.plain(session))


class _Seek:
    """One question's nearest segments in one snapshot: the cache's, less what is masked, and the catalog's tail."""

    def __init__(
        self,
        session: catalog.Snapshot,
        seen: _Seen,
        dimension: int,
        filters: Filters,
        *,
        exact: bool,
    ) -> None:
        self._session, self._seen, self._dimension = session, seen, dimension
        self._cache = seen.cache if seen.cache and (seen.cache.stamp.lists == 1 or not exact) else None
        self._compared: tuple[Ids, NDArray[np.float32]] | None = None  # ids, and how near they are
        self._allowed: Ids | None = None
        if filters.path is not None:
            chosen = [v.id for v in catalog.videos(session) if matches(v.file.absolute, v.file.root, filters.path)]
            self._allowed = catalog.segment_ids(session, chosen)

    def among(self, ids: Ids) -> _Seek:
        """The same question, of those of these segments that it allows."""
        fewer = copy(self)
        fewer._compared = None
        fewer._allowed = ids if self._allowed is None else self._allowed[np.isin(self._allowed, ids)]
        return fewer

    @property
    def size(self) -> int:
        """How many segments are visible and allowed: what the nearest are the best of; once they were looked for."""
        if self._cache is None:
            return 0 if self._compared is None else len(self._compared[0])
        if self._allowed is not None:
            return int((~np.isin(self._allowed, self._seen.masked)).sum())
        masked = int((self._seen.masked <= self._cache.stamp.last_segment_id).sum())
        return self._cache.stamp.count - masked + len(self._seen.tail[0])

    def nearest(self, direction: Vectors, k: int, taken: Ids) -> tuple[Ids, Scores]:
        """The k nearest visible segments' ids and scores, less those taken, best first; fewer where there are fewer."""
        masked = np.concatenate([self._seen.masked, taken])
        if self._cache is None:
            return self._by_the_catalog(direction, k, masked)
        ids, rows = self._seen.tail
        shown = self._shown(ids, masked)
        fresh = vectors.nearest(direction, ids[shown], rows[shown], k)
        found = self._cache.search(direction, k, self.fetch, allowed=self._allowed, masked=masked)
        return vectors.merged(found, fresh, k)

    def check(self, direction: Vectors, ids: Ids, scores: Scores) -> None:
        """That these hits score as the catalog's own vectors do. Raises CacheUnusable.

        Those of an approximate cache were ranked by them.
        """
        if self._cache is None or self._cache.stamp.lists > 1:
            return
        cached = np.flatnonzero(ids <= self._cache.stamp.last_segment_id)
        cached = cached[np.argsort(ids[cached])]
        known, rows = self.fetch(ids[cached])
        if not np.array_equal(known, ids[cached]):
            raise CacheUnusable(_UNKNOWN)
        if not (np.abs(vectors.similarities(direction, rows) - scores[cached]) <= _SAME_SCORE).all():
            raise CacheUnusable("it holds other vectors than the catalog")

    def _by_the_catalog(self, direction: Vectors, k: int, masked: Ids) -> tuple[Ids, Scores]:
        """By every vector, read once, a part at a time: where there is no cache, or none that is exact."""
        if self._compared is None:
            parts = [(np.empty(0, np.int64), np.empty(0, np.float32))]
            for ids, rows in catalog.vectors(self._session, dimension=self._dimension):
                shown = self._shown(ids, masked)
                parts.append((ids[shown], vectors.similarities(direction, rows[shown])))
            self._compared = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        ids, scores = self._compared
        shown = self._shown(ids, masked)
        return vectors.best(ids[shown], scores[shown], k)

    def _shown(self, ids: Ids, masked: Ids) -> NDArray[np.bool_]:
        """Which of these ids the filters allow and nothing masks: (N,)."""
        shown = ~np.isin(ids, masked)
        return shown if self._allowed is None else shown & np.isin(ids, self._allowed)

    def fetch(self, ids: Ids) -> tuple[Ids, Vectors]:
        """The catalog's own vectors of these segments, by ascending id; those that are not there are left out."""
        return catalog.vectors_of(self._session, ids, dimension=self._dimension)


def _not_used(error: CacheUnusable) -> str:
    return f"The FAISS cache is not used: {error}. `cezsar rebuild` makes it anew."


def search(text: str, index: Path, *, filters: Filters | None = None, device: str = "auto") -> Hits:
    """Ask one question of an index: the moments that show text, best first. Errors as for Searcher and its search."""
    with Searcher(index, device=device) as searcher:
        return searcher.search(text, filters=filters)


def mean_vector(parts: Sequence[Segment], rows: Vectors, segment: Segment | None, path: Path) -> Vectors:
    """The unit mean (D,) of the vectors (N, D) of those parts that touch segment, or of all; a part's own vector where
    segment is just that part."""
    if segment in parts:
        rows = rows[[parts.index(segment)]]
    elif segment is not None:
        touching = [i for i, part in enumerate(parts) if part.start_s < segment.end_s and segment.start_s < part.end_s]
        if not touching:
            raise QueryError(
                f"{path} has nothing between {segment.start_s:g} and {segment.end_s:g} s; it ends at "
                f"{max((part.end_s for part in parts), default=0.0):g} s."
            )
        rows = rows[touching]
    return np.asarray(unit(rows.mean(axis=0, keepdims=True))[0])


def _hits(
    session: catalog.Snapshot, seek: _Seek, direction: Vectors, filters: Filters, *, reach_s: float, without: Ids
) -> list[Hit]:
    """The nearest segments as ranked hits, but those in without: one a run of near-identical neighbours, at most
    per_video a video.

    What can give no other hit is left out of the next look: a run that has its hit, a video that has its number. So
    there are never more looks than hits, however many segments a run or a video has.
    """
    found = np.empty(0, np.int64), np.empty(0, np.float64)
    runs: dict[int, catalog.Run] = {}
    taken = np.empty(0, np.int64)
    moments = _Moments(session, runs, direction, reach_s)
    num_looked_at = filters.top_k + min(filters.top_k, 64) + 8
    if not filters.all_copies:
        num_looked_at = max(num_looked_at, _FOR_COPIES)
    while True:
        ids, scores = seek.nearest(direction, num_looked_at, np.concatenate([taken, without]))
        runs |= catalog.runs(session, ids.tolist())
        found, full = _chosen(*vectors.merged(found, (ids, scores), len(found[0]) + len(ids)), runs, filters)
        if filters.all_copies or not moments.may_be_copies(found[0]):
            groups = [[number] for number in range(min(filters.top_k, len(found[0])))]
        else:
            groups = _folded(found[0], *seek.fetch(found[0]), moments, filters.top_k)
        is_last = len(ids) < num_looked_at or (filters.min_score is not None and scores[-1] < filters.min_score)
        if len(groups) == filters.top_k or is_last:
            break
        rest = {runs[number] for number in found[0].tolist() if runs[number][0] not in full}
        taken = np.concatenate([catalog.segments_of_runs(session, rest), catalog.segment_ids(session, full)])
        num_looked_at *= 4
    shown = [number for group in groups for number in group]
    seek.check(direction, found[0][shown], found[1][shown])
    where = dict(zip(shown, moments.of(found[0][shown]), strict=True))
    hits = []
    for rank, (head, *copies) in enumerate(groups, start=1):
        place, moment = where[head]
        paths = tuple(dict.fromkeys(where[copy][0].path for copy in copies))
        score, number = float(found[1][head]), int(found[0][head])
        hits.append(Hit(rank, score, place.path, moment.start_s, moment.end_s, number, place.video_id, copies=paths))
    return hits


class _Moments:
    """Where segments are, and when exactly the moments begin and end; each video and run is read once."""

    def __init__(
        self, session: catalog.Snapshot, runs: dict[int, catalog.Run], direction: Vectors, reach_s: float
    ) -> None:
        self._session, self._runs = session, runs
        self._direction, self._reach_s = direction, reach_s
        self._places: dict[catalog.Run, catalog.Place] = {}
        self._asked: set[int] = set()
        self.outlines: dict[int, catalog.Outline] = {}
        self.contents: dict[int, bytes] = {}

    def may_be_copies(self, ids: Ids) -> bool:
        """Whether there are outlines of two videos or more, without which nothing can be told to be a copy."""
        self._outline({self._runs[number][0] for number in ids.tolist()})
        return len(self.outlines) > 1

    def of(self, ids: Ids) -> list[tuple[catalog.Place, Segment]]:
        """The run's place and the moment of each of these segments. Raises IndexDamaged."""
        wanted = [self._runs[number] for number in ids.tolist()]
        self._places |= catalog.ranges(self._session, set(wanted) - set(self._places))
        self._outline({video for video, _ in wanted})
        found = []
        for run in wanted:
            if (place := self._places.get(run)) is None:
                raise IndexDamaged("Some segments in the catalog are of no video: `cezsar verify` says more.")
            stretch = Segment(place.start_s, place.end_s)
            if place.video_id in self.outlines:
                shots = self.outlines[place.video_id]
                stretch = refined(stretch, shots, self._direction, reach_s=self._reach_s)
            found.append((place, stretch))
        return found

    def _outline(self, videos: set[int]) -> None:
        outlines = catalog.outlines(self._session, videos - self._asked)
        self._asked |= videos
        self.outlines |= outlines
        self.contents |= catalog.contents(self._session, outlines)


def _folded(ids: Ids, known: Ids, rows: Vectors, moments: _Moments, top_k: int) -> list[list[int]]:
    """The first top_k hits as numbers of ids, each with its copies among the ids, in their order.

    known are the ids, ascending, and rows their vectors.
    """
    if not np.array_equal(known, np.sort(ids)):
        raise CacheUnusable(_UNKNOWN)
    rows = rows[np.searchsorted(known, ids)]
    heads = np.empty((min(top_k, len(ids)), rows.shape[1]), np.float32)
    groups: list[list[int]] = []
    stretches: list[Stretch | None] = []
    for number, (place, moment) in enumerate(moments.of(ids)):
        video, own = place.video_id, None
        if video in moments.outlines:
            own = Stretch(video, moment, moments.outlines[video], moments.contents[video])
        stretches.append(own)
        for group in np.flatnonzero(heads[: len(groups)] @ rows[number] >= ALIKE).tolist() if own else ():
            head = stretches[groups[group][0]]
            if head and own and are_copies(head, own):
                groups[group].append(number)
                break
        else:
            if len(groups) < top_k:
                heads[len(groups)] = rows[number]
                groups.append([number])
    return groups


def _chosen(
    ids: Ids, scores: Scores, runs: dict[int, catalog.Run], filters: Filters
) -> tuple[tuple[Ids, Scores], set[int]]:
    """Those of the ranked segments that are hits, with their scores; and the videos that have their number of them.

    All of them, if copies are to be folded: then more may be needed than there are to be hits.
    """
    chosen: list[int] = []
    taken: set[catalog.Run] = set()
    counts: dict[int, int] = {}
    for place, (number, score) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True)):
        if filters.all_copies and len(chosen) == filters.top_k:
            break
        if filters.min_score is not None and score < filters.min_score:
            break
        if (run := runs.get(number)) is None:
            raise CacheUnusable(_UNKNOWN)
        count = counts.get(run[0], 0)
        if run in taken or (filters.per_video and count >= filters.per_video):
            continue
        taken.add(run)
        counts[run[0]] = count + 1
        chosen.append(place)
    full = {video for video, count in counts.items() if count == filters.per_video}
    return (ids[chosen], scores[chosen]), full
