"""Exporting clips in one of the formats, as the content of files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cezsar.choices import LISTS, not_one_of
from cezsar.edit import edl, fcpxml, otio, playlist, rows, sheet
from cezsar.edit.clips import Clip, timed
from cezsar.errors import CezsarError, QueryError, VideoError
from cezsar.files import write as write_file
from cezsar.paths import readable
from cezsar.video import Timing

MOST_CLIPS = 10_000
MOST_PICTURES = 200  # of contact sheets: each is decoded
TimingOf = Callable[[Path], Timing]
StillOf = Callable[[Path, float, Path], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """The content of each file by its name, and lines for the user about what could not be said in it."""

    files: Mapping[str, bytes]
    notices: tuple[str, ...]


def exported(form: str, clips: Sequence[Clip], *, title: str, timing_of: TimingOf, still_of: StillOf) -> Exported:
    """The clips, in their order, in one of choices.LISTS.

    timing_of reads a video's timing; still_of(path, time_s, target) writes a JPEG picture of it: both may raise
    VideoError, and that clip is left out of formats that count frames. Raises QueryError if there are no clips or
    too many, if none can be told in this format, or if its library is not installed.
    """
    title = readable(" ".join(title.split())) or "cezsar"
    most = MOST_PICTURES if form == "sheet" else MOST_CLIPS
    if not clips:
        raise QueryError("There is nothing to export.")
    if len(clips) > most:
        raise QueryError(f"{len(clips):,} clips are too many: at most {most:,} as {form}.")
    if bad := next((clip for clip in clips if not 0 <= clip.start_s < clip.end_s), None):
        raise QueryError(f"A clip ends after it begins: not {bad.start_s:g} to {bad.end_s:g} s of {bad.name}.")
    if form == "m3u":
        return _texts({"hits.m3u8": playlist.vlc(clips), "hits-mpv.m3u8": playlist.mpv(clips)}, ())
    if form == "sheet":
        return _sheets(clips, still_of, title=title)
    found, notices = timed(clips, timing_of)
    if form == "csv":
        return _texts({"hits.csv": rows.as_csv(found)}, notices)
    if form == "json":
        return _texts({"hits.json": rows.as_json(found, title=title)}, notices)
    if all(clip.timing is None for clip in found):
        raise QueryError(f"None of the videos can be read, so nothing can be exported as {form}: {notices[0]}.")
    if form == "otio":
        return _texts({"hits.otio": otio.timeline(found, title=title)}, notices)
    if form == "fcpxml":
        text, more = fcpxml.project(found, title=title)
        return _texts({"hits.fcpxml": text}, [*notices, *more])
    if form == "edl":
        texts, more = edl.lists(found, title=title)
        if not texts:
            raise QueryError(f"Nothing can be exported as edl: {more[0]}.")
        return _texts({f"{name}.edl": text for name, text in texts.items()}, [*notices, *more])
    raise QueryError(f"{not_one_of('the format', form, LISTS)}.")


def write(made: Exported, folder: Path, *, prefix: str = "") -> None:
    """Write the files to a folder, each whole or not at all, in the place of older ones. Raises CezsarError."""
    for name, content in made.files.items():
        target = folder / (prefix + name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_file(target, content)
        except OSError as error:
            raise CezsarError(f"{target} cannot be written: {error.strerror}.") from None


def _texts(texts: Mapping[str, str], notices: Sequence[str]) -> Exported:
    """Half a character, as bytes that are not UTF-8 leave it in a note, is written as an escape."""
    return Exported({name: text.encode(errors="backslashreplace") for name, text in texts.items()}, tuple(notices))


def _sheets(clips: Sequence[Clip], still_of: StillOf, *, title: str) -> Exported:
    notices = []
    pictures: list[Path | None] = []
    with tempfile.TemporaryDirectory(prefix="cezsar-") as room:
        for number, clip in enumerate(clips):
            target = Path(room) / f"{number}.jpg"
            try:
                still_of(clip.path, (clip.start_s + clip.end_s) / 2, target)
            except VideoError as error:
                notices.append(f"{clip.name}: {str(error).rstrip('.')}; it has no picture")
                pictures.append(None)
            else:
                pictures.append(target)
        made = sheet.sheets(clips, pictures, title=title)
    if len(made) == 1:
        return Exported({"hits.png": made[0]}, tuple(notices))
    return Exported({f"hits-{number}.png": one for number, one in enumerate(made, start=1)}, tuple(notices))
