"""Datasets as they lie on disk: which videos are clips of which class, and what the official lists have beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from cezsar.errors import BenchmarkError

CLASSIFICATION = ("ucf101", "hmdb51", "kinetics400", "kinetics-zsar", "folder")
RETRIEVAL = ("activitynet", "pairs")


@dataclass(frozen=True, slots=True)
class Clip:
    """A video and the class that it shows; name is how the official list, or its place below the root, calls it."""

    path: Path
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Classes in the official order, the clips that are there, and what is missing.

    missing are the listed clips that are not there; where no list of clips exists, the classes without any. num_listed
    is the length of that list, None without one.
    """

    name: str
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    missing: tuple[str, ...]
    num_listed: int | None


def read(name: str, root: Path, videos: Iterable[Path]) -> Dataset:
    """The dataset of this name, out of the videos below root. Raises BenchmarkError where none belongs to it."""
    below = sorted(path for path in videos if path.is_relative_to(root))
    if name == "ucf101":
        found = _ucf101(below)
    elif name == "folder":
        found = _folder(root, below)
    else:
        found = _by_class_folder(name, root, below)
    if not found.clips:
        raise BenchmarkError(f"There is no video of {name} in {root}: {_LAYOUTS[name]}.")
    return found


_LAYOUTS = {
    "ucf101": "its clips are called v_Class_g01_c01.avi",
    "hmdb51": "its clips lie in a folder for each class, as brush_hair/NAME.avi",
    "kinetics400": "its clips lie in a folder for each class, as 'air drumming' or air_drumming",
    "kinetics-zsar": "its clips lie in a folder for each class, as 'acting in play' or acting_in_play",
    "folder": "its clips lie in a sub-folder for each class",
}


def lists(name: str) -> dict[str, Any]:
    """The published lists of a dataset, as package data."""
    text = (files("cezsar.query") / "benchmark" / "lists" / f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def official_classes(name: str) -> tuple[str, ...]:
    """All classes that are candidates, in the official order; empty for a folder, which has its own."""
    if name == "folder":
        return ()
    found = lists(name)
    return tuple(found.get("classes") or found.get("unseen") or found["clips"])


def key(name: str) -> str:
    """What class names that differ in case, blanks and signs alone have in common: 'Yo Yo', 'YoYo' and 'yo_yo'."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def matched(names: Sequence[str], classes: Sequence[str], where: str) -> tuple[str, ...]:
    """The classes that these names mean. Raises BenchmarkError on one that is none of them."""
    known = {key(name): name for name in classes}
    if unknown := [name for name in names if key(name) not in known]:
        raise BenchmarkError(f"{where} names classes that are not there: {', '.join(unknown[:5])}.")
    return tuple(known[key(name)] for name in names)


def ucf101_names(first_group: int = 1, last_group: int = 25) -> list[tuple[str, str]]:
    """(class, clip name without suffix) of the groups first to last, in the order of the official lists.

    Test list 1 is groups 1 to 7, 2 is 8 to 14, 3 is 15 to 21 (Soomro et al., 2012).
    """
    named = []
    for label, counts in lists("ucf101")["clips"].items():
        stem = "HandStandPushups" if label == "HandstandPushups" else label  # as its files are called
        for group in range(first_group, last_group + 1):
            named += [(label, f"v_{stem}_g{group:02d}_c{clip:02d}") for clip in range(1, counts[group - 1] + 1)]
    return named


def _ucf101(videos: Sequence[Path]) -> Dataset:
    by_stem: dict[str, Path] = {}
    for path in videos:
        by_stem.setdefault(path.stem.lower(), path)  # of a clip in two formats the first by name
    listed = ucf101_names()
    clips = [Clip(by_stem[name.lower()], name, label) for label, name in listed if name.lower() in by_stem]
    missing = [name for _, name in listed if name.lower() not in by_stem]
    return Dataset("ucf101", official_classes("ucf101"), tuple(clips), tuple(missing), len(listed))


def _by_class_folder(name: str, root: Path, videos: Sequence[Path]) -> Dataset:
    classes = official_classes(name)
    known = {key(label): label for label in classes}
    clips = []
    for path in videos:
        below = path.relative_to(root)
        label = next((known[key(part)] for part in reversed(below.parts[:-1]) if key(part) in known), None)
        if label is not None:
            clips.append(Clip(path, str(below), label))
    there = {clip.label for clip in clips}
    return Dataset(name, classes, tuple(clips), tuple(label for label in classes if label not in there), None)


def _folder(root: Path, videos: Sequence[Path]) -> Dataset:
    """One sub-folder a class, and every sub-folder is one; those without a video are missing."""
    classes = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    clips = [
        Clip(path, str(path.relative_to(root)), path.relative_to(root).parts[0])
        for path in videos
        if len(path.relative_to(root).parts) > 1
    ]
    there = {clip.label for clip in clips}
    missing = tuple(label for label in classes if label not in there)
    return Dataset("folder", tuple(classes), tuple(clip for clip in clips if clip.label in set(classes)), missing, None)
