"""When a video was recorded, as its file says."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import av
import numpy as np
import pytest

from cezsar import indexer
from cezsar.query import Filters, Searcher
from cezsar.settings import load
from cezsar.video.frames import Video

_APPLE = "com.apple.quicktime.creationdate"
_MAY = datetime(2019, 5, 6, 7, 8, 9, tzinfo=timezone.utc).timestamp()


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine two hours east of Greenwich."""
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def write(path: Path, tags: dict[str, str], **options: str) -> Path:
    """A red video of a second."""
    with av.open(path, "w", options=options) as container:
        container.metadata.update(tags)
        stream = container.add_stream("libvpx" if path.suffix == ".webm" else "mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        red = np.full((64, 64, 3), (255, 0, 0), np.uint8)
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("suffix", "tags", "recorded_s"),
    [
        ("mp4", {"creation_time": "2019-05-06T07:08:09Z"}, _MAY),
        ("mov", {"creation_time": "2019-05-06T07:08:09.000000Z"}, _MAY),
        ("mkv", {"creation_time": "2019-05-06T07:08:09Z"}, _MAY),
        ("webm", {"creation_time": "2019-05-06T07:08:09Z"}, _MAY),
        ("mkv", {"DATE_RECORDED": "2019-05-06 07:08:09"}, _MAY - 7200),  # no zone: the machine's
        ("mkv", {"creation_time": "2024-01-01T00:00:00Z", _APPLE: "2019-05-06T09:08:09+0200"}, _MAY),  # it says where
        ("mkv", {"DATE": "2019:05:06 07:08:09.25+00:00"}, _MAY + 0.25),
        ("avi", {"date": "2019-05-06 07:08:09"}, _MAY - 7200),
        ("avi", {"date": "Mon May 06 07:08:09 2019"}, _MAY - 7200),
        ("mp4", {"date": "2019"}, None),  # of the film, or of the file
        ("mkv", {"DATE": "2019-05-06"}, None),
        ("mkv", {"DATE": "2019-13-06 07:08:09"}, None),
        ("mkv", {"DATE": "0000-00-00 00:00:00"}, None),
        ("mkv", {"DATE": "2019-05-06 07:08:09+99:99"}, None),
        ("mkv", {"DATE": "yesterday"}, None),
        ("mp4", {"creation_time": "1904-01-01T00:00:00Z"}, None),
        ("mkv", {"DATE": "1970-01-01 00:00:00Z"}, None),
        ("mkv", {"DATE": "2399-01-01 00:00:00Z"}, None),
        ("mp4", {}, None),
    ],
)  # fmt: skip
def test_a_file_says_when_it_was_recorded(
    tmp_path: Path, suffix: str, tags: dict[str, str], recorded_s: float | None
) -> None:
    with Video(write(tmp_path / f"a.{suffix}", tags)) as video:
        assert video.recorded_s == recorded_s


def test_dates_of_a_search_are_those_of_the_recording_or_else_of_the_file(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    said = write(videos / "said.mp4", {"creation_time": "2019-05-06T07:08:09Z"})
    silent = write(videos / "silent.mp4", {})
    for path in (said, silent):
        os.utime(path, (1_500_000_000, 1_500_000_000))  # in 2017
    settings = load(environ={}, index=tmp_path / "index", model="toy")

    def found(searcher: Searcher, since_s: float, until_s: float) -> set[str]:
        hits = searcher.search("red", filters=Filters(since_s=since_s, until_s=until_s, all_copies=True))
        return {Path(hit.path).name for hit in hits}

    assert indexer.index([videos], settings).added == 2
    with Searcher(settings.index) as searcher:
        assert found(searcher, _MAY, _MAY + 1) == {"said.mp4"}
        assert found(searcher, 1_500_000_000, 1_500_000_001) == {"silent.mp4"}
        assert found(searcher, _MAY + 1, _MAY + 1e9) == set()
    write(said, {})  # now it does not say it any more
    os.utime(said, (1_500_000_000, 1_500_000_000))
    assert indexer.index([videos], settings).updated == 1
    with Searcher(settings.index) as searcher:
        assert found(searcher, 1_500_000_000, 1_500_000_001) == {"said.mp4", "silent.mp4"}
