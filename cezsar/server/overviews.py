"""What an index holds, at a glance: what came last, its folders, and what it holds that differs most."""

from __future__ import annotations

import threading
import time

from cezsar import answers, store
from cezsar.query import Searcher
from cezsar.query.overview import distinct
from cezsar.server.fields import face_fields, folder_fields, segment_fields, shown, video_fields

_LATEST, _FOLDERS, _EXAMPLES = 8, 24, 12
_PATIENCE = 10  # times as long as an overview took it is given again, whatever changes


class Overviews:
    """The overview of an index's latest state. While it is made, or the index changes fast, an older one is given."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._made: tuple[tuple[str, int], answers.OverviewAnswer] | None = None
        self._good_until_s = 0.0

    def of(self, searcher: Searcher) -> answers.OverviewAnswer:
        """The overview of the index that is searched."""
        with searcher.read() as rows:
            state = searcher.info.index_id, rows.generation()
            older = self._made
            is_usable = older is not None and older[0][0] == state[0]
            if older is not None and (older[0] == state or (is_usable and time.monotonic() < self._good_until_s)):
                return older[1]
            if not self._making.acquire(blocking=not is_usable):
                assert older is not None
                return older[1]
            try:
                if self._made is None or self._made[0] != state:  # nobody else has made it meanwhile
                    began_s = time.monotonic()
                    self._made = state, _overview(rows)
                    now_s = time.monotonic()
                    self._good_until_s = now_s + _PATIENCE * (now_s - began_s)
                return self._made[1]
            finally:
                self._making.release()


def _overview(rows: store.Rows) -> answers.OverviewAnswer:
    examples: list[answers.SegmentOfVideoAnswer] = [
        {**video_fields(shown(rows, part.video_id)), **segment_fields(part)} for part in distinct(rows, _EXAMPLES)
    ]
    return {
        "videos": [face_fields(rows, one) for one in rows.listed("added", limit=_LATEST)],
        "folders": [folder_fields(rows, one) for one in folders(rows, None)[:_FOLDERS]],
        "examples": examples,
    }


def folders(rows: store.Rows, path: bytes | None) -> list[store.VideoFolder]:
    """The folders in a folder; without one, the first ones that there are several of, or that videos lie beside."""
    found = rows.folders(path)
    while path is None and len(found) == 1 and (inner := rows.folders(found[0].path)):
        is_whole = sum(one.num_videos for one in inner) == found[0].num_videos
        found = inner
        if not is_whole:
            break
    return found
