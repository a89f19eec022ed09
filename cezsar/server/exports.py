"""A basket as one file to download: a list for the edit, or an archive if the format has several files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cezsar.edit import Clip, Exported, exported
from cezsar.errors import CezsarError
from cezsar.server.media import Media, Still
from cezsar.store import Video
from cezsar.video import Timing

TYPES = {
    ".edl": "text/plain; charset=utf-8", ".fcpxml": "application/xml", ".m3u8": "application/vnd.apple.mpegurl",
    ".csv": "text/csv; charset=utf-8", ".png": "image/png", ".zip": "application/zip",
    ".otio": "application/octet-stream", ".json": "application/octet-stream",  # to keep: no answer of the API's own
}  # fmt: skip
_MOST_NOTICES = 20  # in a header


class Unwanted(CezsarError):
    """Nobody waits for it any more."""


class Download(NamedTuple):
    """A file: its name, its media type, its content, and lines for the user."""

    name: str
    media_type: str
    content: bytes
    notices: tuple[str, ...]

    @property
    def headers(self) -> dict[str, str]:
        """The file's name, and the lines as a JSON array, in ASCII."""
        shown = list(self.notices[:_MOST_NOTICES])
        if len(self.notices) > _MOST_NOTICES:
            shown.append(f"and {len(self.notices) - _MOST_NOTICES} more lines")
        headers = {"content-disposition": f'attachment; filename="{self.name}"', "cache-control": "no-store"}
        return {**headers, "cezsar-notices": json.dumps(shown)} if shown else headers


def download(
    form: str, picks: Sequence[tuple[Video, Clip]], media: Media, *, title: str, is_wanted: Callable[[], bool]
) -> Download:
    """The clips of these videos as one file. Raises QueryError as exported does; Unwanted if nobody waits any more."""
    made = clips_as(form, picks, media, title=title, is_wanted=is_wanted)
    if len(made.files) == 1:
        ((name, content),) = made.files.items()
        return Download(name, TYPES[Path(name).suffix], content, made.notices)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in made.files.items():
            out.writestr(name, content)
    return Download(f"hits-{form}.zip", TYPES[".zip"], archive.getvalue(), made.notices)


def clips_as(
    form: str,
    picks: Sequence[tuple[Video, Clip]],
    media: Media,
    *,
    title: str,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Exported:
    """The clips in a format of cezsar.edit. Their files are opened as all files that the server sends.

    Raises QueryError as exported does; Unwanted if it is not wanted any more.
    """
    videos = {clip.path: video for video, clip in picks}

    def timing_of(path: Path) -> Timing:
        _check(is_wanted)
        return media.timing(videos[path])

    def still_of(path: Path, time_s: float, target: Path) -> None:
        _check(is_wanted)
        target.write_bytes(media.picture(videos[path], Still(time_s)))

    made = exported(form, [clip for _, clip in picks], title=title, timing_of=timing_of, still_of=still_of)
    _check(is_wanted)
    return made


def _check(is_wanted: Callable[[], bool]) -> None:
    if not is_wanted():
        raise Unwanted("Nobody waits for it any more.")
