"""Captioned videos: rows of video, start, end and sentences, from the formats in which people keep them."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cezsar.errors import PairsError
from cezsar.paths import VIDEO_SUFFIXES


@dataclass(frozen=True, slots=True)
class Pair:
    """The sentences of [start_s, end_s) of a video, end_s None for its end; where is the first row with one of them.

    source is the footage that it was cut from: no source is ever both in training and in validation. Sentences are in
    NFC with single spaces. is_noisy says that they are less reliable, and never used for validation.
    """

    where: str
    video: Path
    source: str
    start_s: float
    end_s: float | None
    sentences: tuple[str, ...]
    is_noisy: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row, or a sentence of one, that cannot be trained on; where is FILE:ROW, reason ends the line."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Captions:
    """The segments of one file or several, the rejected rows, and how many rows had their start and end exchanged."""

    pairs: list[Pair] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    num_exchanged: int = 0


def read_pairs(file: Path, videos: Path | None = None, *, field: str | None = None) -> Captions:
    """The pairs of a JSONL or CSV file, or of ActivityNet Captions' or MSR-VTT's JSON, one per segment.

    JSONL rows and CSV columns are video, start_s (default 0), end_s (default the end), sentence (or, in JSONL,
    sentences) and source, if several files were cut from one footage. Rows of one segment are one pair, as in
    grouped(). A row that starts after its end has the two exchanged. Videos are looked for in the given folder, by
    default the file's own, and below it; the suffix may be left out. field names another field that holds a row's one
    sentence. Raises PairsError if the file cannot be read or is of no such format.
    """
    folder = _Folder(videos or file.parent)
    pairs: list[Pair] = []
    rejected: list[Rejected] = []
    num_exchanged = 0
    for number, row in _rows(file, field):
        where = f"{file.name}:{number}"
        try:
            pair, empty, is_exchanged = _pair(where, _with_field(row, field), folder)
        except _Unfit as reason:
            rejected.append(Rejected(where, str(reason)))
            continue
        pairs.append(pair)
        rejected.extend(Rejected(where, f"its sentence {one} is empty") for one in empty)
        num_exchanged += is_exchanged
    found = grouped(pairs)
    return Captions(found.pairs, [*rejected, *found.rejected], num_exchanged)


def grouped(pairs: Sequence[Pair]) -> Captions:
    """One pair per segment, in order of first appearance, with each of its sentences once.

    Pairs are of one segment if video, start and end are equal; a video is its file, however its path is spelt. Noisy
    pairs stay apart from the others. A pair that names no source, so that it is the video's name, takes the one that
    the first other pair of its video names; one that names another source than a pair of the same segment before it is
    rejected, since it could be in training and in validation at once.
    """
    files = [os.path.realpath(pair.video) for pair in pairs]
    spelt: dict[str, Path] = {}  # how each file is spelt first
    by_video: dict[str, str] = {}  # the first source that is named for each file
    by_stretch: dict[tuple[str, float, float | None], Pair] = {}  # the first pair that names one
    for pair, file in zip(pairs, files, strict=True):
        spelt.setdefault(file, pair.video)
        if pair.source != _own_source(pair.video):
            by_video.setdefault(file, pair.source)
            by_stretch.setdefault((file, pair.start_s, pair.end_s), pair)
    segments: dict[tuple[str, float, float | None, bool], Pair] = {}
    rejected = []
    for pair, file in zip(pairs, files, strict=True):
        namer = by_stretch.get((file, pair.start_s, pair.end_s))
        source = namer.source if namer else by_video.get(file, _own_source(spelt[file]))
        if namer and pair.source not in (source, _own_source(pair.video)):
            reason = f"its source is {pair.source!r}, and {namer.where} names {source!r} for the same segment"
            rejected.append(Rejected(pair.where, reason))
            continue
        key = (file, pair.start_s, pair.end_s, pair.is_noisy)
        before = segments.get(key)
        if before is None:
            segments[key] = replace(pair, video=spelt[file], source=source)
        else:
            segments[key] = replace(before, sentences=before.sentences + pair.sentences)
    return Captions(
        [replace(pair, sentences=tuple(dict.fromkeys(pair.sentences))) for pair in segments.values()], rejected
    )


def _own_source(video: Path) -> str:
    """The source of a video of which no row names one."""
    return unicodedata.normalize("NFC", video.stem)


def _with_field(row: Any, field: str | None) -> Any:
    return row if field is None or not isinstance(row, dict) else {**row, "sentences": row.get(field)}


class _Unfit(Exception):
    """Why a row cannot be used."""


class _Folder:
    """The videos below a folder, by their names, or by their paths in it, with and without suffix.

    A name is compared as it is, and only then as a person reads it, composed (NFC): a Mac hands names out decomposed.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise PairsError(f"There is no folder of videos {path}.")
        self._path = path

    def find(self, name: str) -> Path:
        with suppress(OSError, ValueError):  # a name that no file can have
            if (exact := self._path / name).is_file():
                return exact
        keys = (name, name.removeprefix("v_"), f"v_{name}")  # ActivityNet's ids come with and without
        texts = map(_text, (*keys, str(self._path / name)))
        found = _first(self._by_name, keys) or _first(self._by_text, texts)
        if not found:
            raise _Unfit(f"its video {name!r} is not in {self._path}")
        if len(found) > 1:
            raise _Unfit(f"its video {name!r} may be {found[0]} or {found[1]}")
        return found[0]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for folder, folders, names in os.walk(self._path):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                spelt = (name, str(path), str(path.relative_to(self._path)))
                keys = set(spelt)
                if path.suffix.lower() in VIDEO_SUFFIXES:
                    keys.update(one.removesuffix(path.suffix) for one in spelt)
                for key in keys:
                    found.setdefault(key, []).append(path)
        return found

    @cached_property
    def _by_text(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for name, paths in self._by_name.items():
            known = found.setdefault(_text(name), [])
            known += [path for path in paths if path not in known]
        return found


def _first(named: dict[str, list[Path]], keys: Iterable[str]) -> list[Path]:
    return next((named[key] for key in keys if key in named), [])


def _text(name: str) -> str:
    """A path as a person reads it: composed, without a detour."""
    return unicodedata.normalize("NFC", os.path.normpath(name))


def _rows(file: Path, field: str | None) -> Iterator[tuple[int, Any]]:
    """(row number from 1, row) of a file of any of the formats."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PairsError(f"The pairs cannot be read: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PairsError(f"{file} is not UTF-8 text.") from None
    suffix = file.suffix.lower()
    if suffix == ".csv":
        yield from _csv_rows(file, text, field or "sentence")
    elif suffix == ".json":
        yield from enumerate(_json_rows(file, text), 1)
    else:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, _json_line(line)


def _csv_rows(file: Path, text: str, sentence: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        missing = {"video", sentence} - set(reader.fieldnames or ())
        if missing:
            raise PairsError(f"{file} has no column {' and no column '.join(sorted(missing))}.")
        for row in reader:
            if None in row:
                yield reader.line_num, _Unfit("it has more fields than there are columns: a comma needs quotes")
            else:
                yield reader.line_num, {key: value for key, value in row.items() if value not in (None, "")}
    except csv.Error as error:
        raise PairsError(f"{file}:{reader.line_num} is not CSV: {error}") from None


def _json_line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return _Unfit("it is not JSON")


def _json_rows(file: Path, text: str) -> Iterator[Any]:
    """ActivityNet Captions: {id: {timestamps, sentences}}; MSR-VTT: {videos, sentences: [{video_id, caption}]}."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PairsError(f"{file} is not JSON: {error}") from None
    if isinstance(document, dict) and isinstance(document.get("sentences"), list):
        captions: dict[str, list[Any]] = {}
        for row in document["sentences"]:
            if isinstance(row, dict) and isinstance(row.get("video_id"), str):
                captions.setdefault(row["video_id"], []).append(row.get("caption"))
            else:
                yield _Unfit("it names no video")
        for name, sentences in captions.items():
            yield {"video": name, "sentences": sentences}
        return
    if isinstance(document, dict) and document:
        for name, entry in document.items():
            if not isinstance(entry, dict) or not {"timestamps", "sentences"} <= set(entry):
                break
            spans, sentences = entry["timestamps"], entry["sentences"]
            if not isinstance(spans, list) or not isinstance(sentences, list) or len(spans) != len(sentences):
                yield None
                continue
            for span, sentence in zip(spans, sentences, strict=True):
                if isinstance(span, list) and len(span) == 2 and None not in span:
                    yield {"video": name, "start_s": span[0], "end_s": span[1], "sentence": sentence}
                else:
                    yield _Unfit("its timestamps are not [start, end]")
        else:
            return
    raise PairsError(
        f"{file} is neither ActivityNet Captions' JSON nor MSR-VTT's; rows of your own go into a .jsonl or .csv file."
    )


def _pair(where: str, row: Any, folder: _Folder) -> tuple[Pair, list[int], bool]:
    """The pair of a row, the numbers from 1 of its empty sentences, and whether its start and end were exchanged."""
    if isinstance(row, _Unfit):
        raise row
    if not isinstance(row, dict):
        raise _Unfit("it is not an object of video, start_s, end_s and sentence")
    name = row.get("video")
    if not isinstance(name, str) or not name:
        raise _Unfit("it names no video")
    said = row.get("sentences", row.get("sentence"))
    said = [said] if isinstance(said, str) else said
    if not isinstance(said, list) or not any(isinstance(sentence, str) for sentence in said):
        raise _Unfit("it has no sentence")
    sentences = [_sentence(one) if isinstance(one, str) else "" for one in said]
    if not _is_text(" ".join(sentences)):
        raise _Unfit("its sentence holds half a character")
    if not any(sentences):
        raise _Unfit("its sentence is empty")
    start_s, end_s, is_exchanged = _stretch(row)
    video = folder.find(name)
    source = row.get("source")
    source = _own_source(video) if source in (None, "") else unicodedata.normalize("NFC", str(source))
    kept = tuple(dict.fromkeys(sentence for sentence in sentences if sentence))
    empty = [number for number, sentence in enumerate(sentences, 1) if not sentence]
    return Pair(where, video, source, start_s, end_s, kept), empty, is_exchanged


def _sentence(text: str) -> str:
    """In NFC, as text is typed, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _stretch(row: dict[str, Any]) -> tuple[float, float | None, bool]:
    """(start, end or None, whether they were exchanged) of a row."""
    start_s, end_s = _seconds(row, "start_s", 0.0), _seconds(row, "end_s", math.inf)
    if start_s < 0:
        raise _Unfit(f"it starts at {start_s:g} s, before its video")
    if end_s < 0:
        raise _Unfit(f"it ends at {end_s:g} s, before its video")
    if start_s in (end_s, math.inf):
        raise _Unfit(f"it ends at {end_s:g} s, and starts at {start_s:g} s")
    low, high = sorted((start_s, end_s))
    return low + 0.0, None if high == math.inf else high, start_s > end_s  # + 0.0 makes 0 of -0


def _seconds(row: dict[str, Any], key: str, default: float) -> float:
    value = row.get(key)
    value = default if value is None else value
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise _Unfit(f"its {key} is {value!r}, which is not a number of seconds") from None
    if math.isnan(seconds):
        raise _Unfit(f"its {key} is not a number")
    return seconds


def _is_text(sentence: str) -> bool:
    try:
        sentence.encode()
    except UnicodeEncodeError:
        return False
    return True
