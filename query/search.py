"""Text or video in, hits out: encode, search the cache and the catalog's tail, merge, rank; never writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cezsar import catalog, encoders, maintenance, vectors
from cezsar.encoders import Encoder
from cezsar.errors import CacheUnusable, IndexDamaged, QueryError, SettingsError
from cezsar.paths import matches, spellings
from cezsar.types import Hit, Ids, Scores, Segment, Vectors, unit
from query.prompts import valid

_AGAINST = 0.5  # the weight of what is not wanted, beside 1 for what is
_SAME = 0.9999  # cosine similarity from which two texts ask for the same thing


@dataclass(frozen=True, slots=True)
class Filters:
    """Which hits to give: at most top_k, of min_score or more, per_video a video (0: all), of paths that a glob names.

    Raises SettingsError on top_k below 1, per_video below 0, or a min_score that is not a number.
    """

    top_k: int = 10
    min_score: float | None = None
    per_video: int = 1
    path: str | None = None

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise SettingsError(f"top_k must be 1 or more, not {self.top_k}.")
        if self.per_video < 0:
            raise SettingsError(f"per_video must be 0 (all) or more, not {self.per_video}.")
        if self.min_score is not None and math.isnan(self.min_score):
            raise SettingsError("min_score must be a number.")


class Searcher:
    """An index opened for questions. Use as a context manager; the encoder loads with the first text.

    notice says why the FAISS cache is not used, where it is not; answers are the same without it, only slower.
    Raises IndexMissing, IndexOutdated, IndexDamaged.
    """

    def __init__(self, directory: Path, *, device: str = "auto") -> None:
        self._device = device
        self._open = ExitStack()
        self.store = self._open.enter_context(catalog.open_to_read(directory))
        self.notice: str | None = None

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that made the index. Raises EncoderError, or IndexMismatch if its weights are other ones now."""
        return encoders.load_recorded(self.store.info.encoder, device=self._device)

    def search(
        self,
        text: str | None = None,
        *,
        without: Sequence[str] = (),
        like: Sequence[Vectors] = (),
        filters: Filters | None = None,
    ) -> list[Hit]:
        """The moments that show text, or look like the given vectors (D,), and do not show without; best first.

        A score is the cosine similarity with the direction asked for. Near-identical neighbours are one hit with
        their whole range and their best score. Equal scores come in the order of segment ids. Raises QueryError on an
        empty text.
        """
        filters = filters or Filters()
        direction = self._direction(text, without, like)
        with self.store.read() as session:
            cache = self._cache(session)
            seek = _Seek(session, cache, self.store.info.encoder.dimension, filters)
            num_found = 2 * filters.top_k + 8
            while True:
                ids, scores = seek.nearest(direction, num_found)
                hits = _hits(catalog.places(session, ids.tolist()), ids, scores, filters)
                if len(hits) >= filters.top_k or len(ids) < num_found:
                    return hits[: filters.top_k]
                if filters.min_score is not None and scores[-1] < filters.min_score:
                    return hits
                num_found *= 4

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Sentences -> (len(texts), D) unit vectors; bytes that were not UTF-8 in an argument read as '?'."""
        return self.encoder.encode_texts([valid(text) for text in texts])

    def like(self, path: Path, segment: Segment | None = None) -> Vectors | None:
        """What a video of the index shows, in the given range or as a whole, as a unit vector (D,); None if not there.

        Raises QueryError if the range holds none of its segments.
        """
        with self.store.read() as session:
            names = spellings(path)
            found = [v for v in catalog.videos(session) if v.file.absolute in names and not v.hidden]
            if not found:
                return None
            parts, rows = catalog.segments(session, found[0].id, dimension=self.store.info.encoder.dimension)
        return mean_vector(parts, rows, segment, path)

    def _direction(self, text: str | None, without: Sequence[str], like: Sequence[Vectors]) -> Vectors:
        """The unit vector (D,) to look along: the mean of what is wanted less half the mean of what is not."""
        texts = [*([] if text is None else [text]), *without]
        if not all(line.strip() for line in texts):
            raise QueryError("The query is empty: say in a few words what should be seen.")
        if text is None and not like:
            raise QueryError("There is nothing to look for: give a text, or a video with --like.")
        rows = self.encode(texts) if texts else np.empty((0, 0), np.float32)
        num_wanted = len(texts) - len(without)
        wanted = np.mean([*rows[:num_wanted], *like], axis=0)
        if without and (rows[num_wanted:] @ unit(wanted[None])[0]).max() > _SAME:
            raise QueryError("The same thing is wanted and not wanted: there is nothing to look for.")
        against = _AGAINST * np.mean(rows[num_wanted:], axis=0) if without else 0.0
        return np.asarray(unit((wanted - against)[None])[0])

    def _cache(self, session: catalog.Snapshot) -> vectors.Cache | None:
        try:
            cache = maintenance.open_cache(self.store, session)
        except CacheUnusable as error:
            self.notice = f"The FAISS cache is not used: {error}. `cezsar rebuild` makes it anew."
            return None
        self.notice = None
        return cache


class _Seek:
    """Nearest segments in one snapshot: the cache's, less what is masked, and the catalog's tail."""

    def __init__(self, session: catalog.Snapshot, cache: vectors.Cache | None, dimension: int, filters: Filters) -> None:
        chosen: frozenset[int] | None = None
        if filters.path is not None:
            chosen = frozenset(
                video.id
                for video in catalog.videos(session)
                if matches(video.file.absolute, video.file.root, filters.path)
            )
        self._cache = cache
        after = cache.stamp.last_segment_id if cache else 0
        self._tail = catalog.tail(session, after=after, dimension=dimension, video_ids=chosen)
        self._allowed = None if chosen is None or cache is None else catalog.segment_ids(session, chosen)
        self._masked = catalog.masked(session, since=cache.stamp.generation) if cache else None

    def nearest(self, direction: Vectors, k: int) -> tuple[Ids, Scores]:
        """The k nearest visible segments' ids and scores, best first; fewer where there are fewer."""
        fresh = vectors.nearest(direction, *self._tail, k)
        if self._cache is None:
            return fresh
        return vectors.merged(self._cache.search(direction, k, allowed=self._allowed, masked=self._masked), fresh, k)


def search(text: str, index: Path, *, filters: Filters | None = None, device: str = "auto") -> list[Hit]:
    """Ask one question of an index: the moments that show text, best first. Errors as for Searcher and its search."""
    with Searcher(index, device=device) as searcher:
        return searcher.search(text, filters=filters)


def mean_vector(parts: Sequence[Segment], rows: Vectors, segment: Segment | None, path: Path) -> Vectors:
    """The unit mean (D,) of the vectors (N, D) of those parts that touch segment, or of all."""
    if segment is not None:
        touching = [i for i, part in enumerate(parts) if part.start_s < segment.end_s and segment.start_s < part.end_s]
        if not touching:
            raise QueryError(
                f"{path} has nothing between {segment.start_s:g} and {segment.end_s:g} s; it ends at "
                f"{max((part.end_s for part in parts), default=0.0):g} s."
            )
        rows = rows[touching]
    return np.asarray(unit(rows.mean(axis=0, keepdims=True))[0])


def _hits(places: dict[int, catalog.Place], ids: Ids, scores: Scores, filters: Filters) -> list[Hit]:
    """Ranked segments as ranked hits: one a run of near-identical neighbours, at most per_video a video."""
    hits: list[Hit] = []
    taken: set[tuple[int, int]] = set()
    num_of_video: dict[int, int] = {}
    for segment_id, score in zip(ids.tolist(), scores.tolist(), strict=True):
        if filters.min_score is not None and score < filters.min_score:
            break
        place = places.get(segment_id)
        if place is None:
            raise IndexDamaged("The FAISS cache holds what the catalog does not: `cezsar rebuild` makes it anew.")
        run = (place.video_id, place.run)
        count = num_of_video.get(place.video_id, 0)
        if run in taken or (filters.per_video and count >= filters.per_video):
            continue
        taken.add(run)
        num_of_video[place.video_id] = count + 1
        whole = place.run_segment
        hits.append(Hit(len(hits) + 1, score, place.path, whole.start_s, whole.end_s, segment_id))
    return hits
