"""A basket: stretches of the index's videos that somebody has collected, in an order of his own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cezsar.edit import Clip
from cezsar.errors import NotIndexed, QueryError
from cezsar.store import Rows, Video


@dataclass(frozen=True, slots=True)
class Pick:
    """A segment, or a stretch of a video that is named by its id or its path, and a note.

    start_s and end_s are needed for a video; for a segment they trim it.
    """

    segment_id: int | None = None
    video_id: int | None = None
    path: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    note: str = ""


def picked(rows: Rows, picks: Sequence[Pick]) -> list[tuple[Video, Clip]]:
    """The visible video and the clip of each pick, in their order; a clip ends where its video does.

    Raises NotIndexed if a segment or a video is not there, or not any more; QueryError if a pick names none, or
    several, or is no stretch of its video.
    """
    shelf = _Shelf(rows)
    return [shelf.found(pick, number) for number, pick in enumerate(picks, start=1)]


def looked_up(rows: Rows, picks: Sequence[Pick]) -> list[tuple[Video, Clip] | NotIndexed | QueryError]:
    """As picked, but with the error of each pick that has one in its place."""
    shelf = _Shelf(rows)

    def found(pick: Pick, number: int) -> tuple[Video, Clip] | NotIndexed | QueryError:
        try:
            return shelf.found(pick, number)
        except (NotIndexed, QueryError) as error:
            return error

    return [found(pick, number) for number, pick in enumerate(picks, start=1)]


class _Shelf:
    """The videos of one state, each read once."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._videos: dict[int, Video | None] = {}
        self._called: dict[str, int | None] = {}

    def found(self, pick: Pick, number: int) -> tuple[Video, Clip]:
        """A pick's video and clip. Raises NotIndexed, QueryError."""
        names = [name for name in (pick.segment_id, pick.video_id, pick.path) if name is not None]
        if len(names) != 1:
            raise QueryError(f"Hit {number} needs one of segment_id, video_id and path.")
        start_s, end_s, video_id = pick.start_s, pick.end_s, pick.video_id
        if pick.segment_id is not None:
            part = self._rows.part(pick.segment_id)
            if part is None:
                raise NotIndexed(f"There is no segment {pick.segment_id} (hit {number}).")
            video_id = part.video_id
            start_s = part.start_s if start_s is None else start_s
            end_s = part.end_s if end_s is None else end_s
        elif pick.path is not None:
            if pick.path not in self._called:
                is_path = _is_path(pick.path)
                self._called[pick.path] = self._rows.video_called(Path(pick.path)) if is_path else None
            video_id = self._called[pick.path]
            if video_id is None:
                raise NotIndexed(f"The index holds no video {pick.path} (hit {number}).")
        assert video_id is not None
        if video_id not in self._videos:
            self._videos[video_id] = self._rows.video(video_id)
        video = self._videos[video_id]
        if video is None:
            raise NotIndexed(f"There is no video {video_id} (hit {number}).")
        if start_s is None or end_s is None:
            raise QueryError(f"Hit {number} needs start_s and end_s.")
        end_s = min(end_s, video.duration_s)
        if not 0 <= start_s < end_s:
            raise QueryError(f"Hit {number} is no stretch of its video, which ends at {video.duration_s:g} s.")
        return video, Clip(video.file.full_path, start_s, end_s, pick.note)


def _is_path(text: str) -> bool:
    """Whether something can be called so."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
