"""Text or video in, hits out: encode, look for the nearest, rank; never writes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cezsar import encoders, maintenance, store
from cezsar.encoders import Encoder, Limited, sound
from cezsar.errors import NotIndexed, QueryError
from cezsar.location import Location, located
from cezsar.query import calibration
from cezsar.query.calibration import Calibration
from cezsar.query.order import Order, check_within, ordered
from cezsar.query.prompts import visible
from cezsar.query.question import Question, Wanted, asked
from cezsar.query.ranking import Filters, Ranking
from cezsar.types import Hit, Hits, IndexStats, Segment, Vectors, unit

_LARGEST_ID = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Nothing:
    """Why there are no hits: how many videos are visible, how many of those the filters allow, and their best score."""

    num_videos: int
    num_named: int
    best_score: float | None


class Searcher:
    """An index opened for searches, from several threads at once. Use as a context manager.

    The encoder loads with the first text; a given encoder must be the one that made the index. A search of a large
    index takes at most `cores` cores, or all. If the index's own calibration cannot be used, calibration_notice says
    why. Raises IndexMissing, IndexOutdated, IndexDamaged; IndexMismatch if the given encoder did not make the index.
    """

    def __init__(
        self,
        location: Location | str,
        *,
        device: str = "auto",
        encoder: Encoder | None = None,
        cores: int | None = None,
    ) -> None:
        self._device, self._location = device, located(location)
        with ExitStack() as opened:
            self._catalog = opened.enter_context(store.open(self._location, cores=cores))
            if encoder is not None:
                encoders.check_recorded(encoder, self.info.encoder)
                self.encoder = encoder
            self._open = opened.pop_all()
        self._found: tuple[object, tuple[Calibration | None, str | None]] | None = None

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def info(self) -> store.Info:
        """What the index is: its id, the encoder that made it, and its sampling."""
        return self._catalog.info

    @property
    def notice(self) -> str | None:
        """Why the last search did not use the cache; None if it did. The answers are the same, only slower."""
        return self._catalog.notice

    def read(self) -> AbstractContextManager[store.Rows]:
        """One consistent state of the index's rows."""
        return self._catalog.read()

    def is_current(self) -> bool:
        """Whether the catalog that was opened is still the one that the index uses. Raises BadIndex."""
        return self._catalog.is_current()

    def stats(self) -> IndexStats:
        """The figures of the index's contents."""
        return maintenance.stats(self._catalog, self._location)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that made the index. Raises EncoderError, or IndexMismatch if its weights are other ones now."""
        return encoders.load_recorded(self.info.encoder, device=self._device)

    @property
    def calibration(self) -> Calibration | None:
        """The calibration that gives hits their confidence: the index's own, or the encoder's; None without either."""
        with self._catalog.read() as rows:
            return self._calibrated(rows)[0]

    @property
    def calibration_notice(self) -> str | None:
        """Why the index's own calibration cannot be used; None if it can, or if there is none."""
        with self._catalog.read() as rows:
            return self._calibrated(rows)[1]

    def _calibrated(self, rows: store.Rows) -> tuple[Calibration | None, str | None]:
        """The calibration, and why the index's own cannot be used."""
        state = rows.calibrated(), calibration.state(self._catalog.place)
        found = self._found
        if found is None or found[0] != state:
            kept = None if state[0] is None else rows.calibration()
            self._found = found = state, calibration.find(self._catalog.place, self.info.encoder, kept=kept)
        return found[1]

    def search(
        self,
        text: str | Wanted | None = None,
        *,
        without: Sequence[str] = (),
        like: Sequence[Vectors] = (),
        then: Sequence[str | Wanted] = (),
        within_s: float = 60.0,
        more: Sequence[Vectors] = (),
        less: Sequence[Vectors] = (),
        filters: Filters | None = None,
        exact: bool = False,
    ) -> Hits:
        """The moments that show text, or look like the given vectors (D,), and do not show without; best first.

        The rest is as asked has it, and errors are as answer's.
        """
        question = asked(text, without=without, like=like, then=then, within_s=within_s, more=more, less=less)
        return self.answer(question, filters=filters, exact=exact)

    def answer(self, question: Question, *, filters: Filters | None = None, exact: bool = False) -> Hits:
        """The moments that a question asks for, best first.

        A search of a large index may miss a few (Stamp.recall); with exact it compares every vector, which takes
        seconds per million.

        A score is the cosine similarity with the question's direction. Near-identical neighbours are one hit with
        their whole range and their best score; copies among the nearest segments are part of the best one's hit, and
        count for their own videos too. Segments that show next to nothing come behind all others, unless like is given.
        If the shots that show the query begin and end near the segment, the hit begins and ends with them. Equal scores
        come in the order of segment ids. If the encoder is calibrated, and the question has words alone, each hit has a
        confidence, and one that shows next to nothing a confidence of 0. If something
        comes then, hits are as order.ordered gives them.
        Raises QueryError on a text of over 10,000 characters, or one in which nothing is visible, and on parts or
        seconds that Order does not take.
        """
        filters = filters or Filters()
        if question.then:
            check_within(question.within_s)
        directions = question.directions(self.encode)
        reach_s = self.info.sampling.stride_s
        with self._catalog.read() as rows:
            if question.then:
                texts = (question.wanted.text, *(part.text for part in question.then))
                order = Order(directions, texts, question.within_s)
                return Hits(ordered(rows, order, filters, reach_s=reach_s, exact=exact))
            ranking = Ranking(rows, directions[0], filters, reach_s=reach_s, exact=exact)
            if question.like:
                return Hits(ranking.all())
            hits, num_shown = ranking.plain_last()
            found, _ = self._calibrated(rows)
            if found is None or question.more or question.less:
                return Hits(hits)
            size = rows.num_segments(filters.where())
            return self._judged(found, hits, num_shown, directions[0], size)

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
        name = self.info.encoder.name
        return f'The text is longer than {name} reads: the part after "... {last}" was not read.'

    def nothing(self, question: Question, *, filters: Filters, exact: bool = False) -> Nothing:
        """Why answer gives no hits for this."""
        with self._catalog.read() as rows:
            num_videos = rows.counts().videos
            where = filters.where()
            num_named = len(rows.videos_where(where)) if where.names_videos else num_videos
        hits = self.answer(question, filters=replace(filters, top_k=1, min_score=None), exact=exact)
        return Nothing(num_videos, num_named, hits[0].score if hits else None)

    def like(self, path: Path, segment: Segment | None = None) -> Vectors | None:
        """The unit vector (D,) of a video of the index, in the given range or as a whole; None if it is not there.

        Raises QueryError if the range holds none of its segments.
        """
        found = self.segments(path)
        return None if found is None else mean_vector(*found, segment, path)

    def segments(self, path: Path) -> tuple[tuple[Segment, ...], Vectors] | None:
        """A video's segments and their vectors (S, D); None if the index does not hold it."""
        with self._catalog.read() as rows:
            number = rows.video_called(path)
            return None if number is None else rows.segments(number)

    def vectors_of(self, segment_ids: Sequence[int]) -> list[Vectors]:
        """The unit vectors (D,) of these segments, in their order. Raises NotIndexed if one is not there, or if its
        video is hidden."""
        with self._catalog.read() as rows:
            for number in segment_ids:
                if number > _LARGEST_ID or rows.part(number) is None:
                    raise NotIndexed(f"There is no segment {number}: its video was changed or removed since.")
            ids, vectors = rows.vectors_of(np.array(sorted(set(segment_ids)), np.int64))
        known = dict(zip(ids.tolist(), vectors, strict=True))
        return [known[number] for number in segment_ids]

    def _judged(self, calibration: Calibration, hits: list[Hit], num_shown: int, direction: Vectors, size: int) -> Hits:
        """The hits with their confidences: those of a direction (D,) among so many segments; 0 for those behind the
        first num_shown, which show next to nothing."""
        judge = calibration.hits
        level = calibration.background(direction[None])
        found = judge.confidence(np.array([hit.score for hit in hits]), level, size)
        found[num_shown:] = 0.0
        judged = [replace(hit, confidence=one) for hit, one in zip(hits, found.tolist(), strict=True)]
        return Hits(judged, threshold=judge.threshold)


def search(text: str, index: Path, *, filters: Filters | None = None, device: str = "auto") -> Hits:
    """One search of an index: the moments that show text, best first. Errors as for Searcher and its search."""
    with Searcher(index, device=device) as searcher:
        return searcher.search(text, filters=filters)


def mean_vector(parts: Sequence[Segment], rows: Vectors, segment: Segment | None, path: Path) -> Vectors:
    """The unit mean (D,) of the vectors (N, D) of those parts that touch segment, or of all; a part's own vector if
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
