"""A basket as one file to download: a list for the edit, or an archive if the format has several files, as clips do."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from cezsar.edit import Clip, Exported, exported
from cezsar.errors import CezsarError, QueryError, VideoError
from cezsar.server.media import LONGEST_PART_S, Media, Still
from cezsar.store import Video
from cezsar.types import Segment
from cezsar.video import Timing

TYPES = {
    ".edl": "text/plain; charset=utf-8", ".fcpxml": "application/xml", ".m3u8": "application/vnd.apple.mpegurl",
    ".csv": "text/csv; charset=utf-8", ".png": "image/png", ".zip": "application/zip",
    ".otio": "application/octet-stream", ".json": "application/octet-stream",  # to keep: no answer of the API's own
}  # fmt: skip
MOST_CUT = 200  # clips that are cut at once
MOST_BYTES_CUT = 1 << 30
_MOST_NOTICES = 20  # in a header


class Unwanted(CezsarError):
    """Nobody waits for it any more."""


class Download(NamedTuple):
    """A file: its name, its media type, its content in memory or on a disk, and lines for the user."""

    name: str
    media_type: str
    content: bytes | BinaryIO
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
    """The clips of these videos as one file, in one of choices.EXPORTS.

    Raises QueryError as exported does, and if clips are too many or too long to be cut; Unwanted if nobody waits any
    more.
    """
    if form == "clips":
        return _cut(picks, media, is_wanted)
    made = clips_as(form, picks, media, title=title, is_wanted=is_wanted)
    if len(made.files) == 1:
        ((name, content),) = made.files.items()
        return Download(name, TYPES[Path(name).suffix], content, made.notices)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in made.files.items():
            out.writestr(name, content)
    return Download(f"hits-{form}.zip", TYPES[".zip"], archive.getvalue(), made.notices)


def _cut(picks: Sequence[tuple[Video, Clip]], media: Media, is_wanted: Callable[[], bool]) -> Download:
    """Each clip as an MP4 file of its own, in an archive on the disk; one that cannot be cut is a line."""
    if len(picks) > MOST_CUT:
        raise QueryError(f"{len(picks):,} clips are too many: at most {MOST_CUT:,} are cut at once.")
    for number, (_, clip) in enumerate(picks, start=1):
        if clip.end_s - clip.start_s > LONGEST_PART_S:
            lasts = f"{clip.end_s - clip.start_s:g} s"
            raise QueryError(f"Hit {number} lasts {lasts}: a clip that is cut lasts up to {LONGEST_PART_S:g} s.")
    notices: list[str] = []
    with ExitStack() as unless_made, tempfile.TemporaryDirectory(prefix="cezsar-") as room:
        file = cast(BinaryIO, unless_made.enter_context(tempfile.TemporaryFile(prefix="cezsar-")))
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for number, (video, clip) in enumerate(picks, start=1):
                _check(is_wanted)
                target = Path(room, clip.file_name(number))
                try:
                    media.cut(video, Segment(clip.start_s, clip.end_s), target)
                except VideoError as error:
                    notices.append(f"{clip.name}: {str(error).rstrip('.')}; it is left out")
                    continue
                if file.tell() + target.stat().st_size > MOST_BYTES_CUT:
                    raise QueryError(
                        f"The clips take more than {MOST_BYTES_CUT / 1e9:.1f} GB: the first {number - 1:,} fit."
                    )
                archive.write(target, target.name)
                target.unlink()
        if len(notices) == len(picks):
            raise QueryError(f"None of the hits can be cut: {notices[0]}.")
        file.seek(0)
        unless_made.pop_all()
    return Download("hits-clips.zip", TYPES[".zip"], file, tuple(notices))


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
