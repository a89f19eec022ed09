"""Datasets as they lie on disk: which videos are clips of which class, and what the official lists have beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from cezsar.datasets import CLIPS, FOLDERS, definition
from cezsar.errors import BenchmarkError

NO_LIST = "no official list of clips is known here: every clip found is judged"
_SPLITS = {"dev", "eval", "evaluation", "holdout", "test", "testing", "train", "training", "trainval", "val", "valid"}
_SPLITS |= {"validate", "validation"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A video and the class that it shows; name is how the official list, or its place below the root, calls it."""

    path: Path
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Classes in the official order, the clips that are there, and what is missing.

    missing are the listed clips that are not there; if no list of clips exists, the classes without any. num_listed
    is the length of that list, None without one. notes say what a reader of the figures should know.
    """

    name: str
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    missing: tuple[str, ...]
    num_listed: int | None
    notes: tuple[str, ...] = ()


def read(name: str, root: Path, videos: Iterable[Path], *, split: str | None = None, former: bool = False) -> Dataset:
    """The dataset of this name, out of the videos below root.

    split names the only folder to take clips from, such as train or val_256. A clip in two formats, a.avi beside a.mp4,
    is one, the first by name. With former it reads as for the first receipts: each format counts, and splits are mixed.
    Raises BenchmarkError if no video belongs to the dataset, or several splits lie side by side and none is chosen.
    """
    wanted = definition(name)
    below = sorted(path for path in videos if path.is_relative_to(root))
    if wanted.reading == CLIPS:
        if split is not None:
            raise BenchmarkError(f"{name} has official lists, --protocol split1 to split3, and no --split.")
        found = _ucf101(root, below)
    else:
        below, notes = (below, ()) if former else _one_format(root, below)
        if wanted.reading == FOLDERS:
            found = _folder(root, below, split, former)
        else:
            found = _by_class_folder(name, root, below, split, former)
        found = replace(found, notes=(*found.notes, *notes))
    if not found.clips:
        raise BenchmarkError(f"There is no video of {name} in {root}: {wanted.clips}.")
    return found


def lists(name: str) -> dict[str, Any]:
    """The published lists of a dataset, as package data."""
    text = (files("cezsar.query") / "benchmark" / "lists" / f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def official_classes(name: str) -> tuple[str, ...]:
    """All classes that are candidates, in the official order; empty for a folder, which has its own."""
    if definition(name).reading == FOLDERS:
        return ()
    found = lists(name)
    return tuple(found.get("classes") or found.get("unseen") or found["clips"])


def key(name: str) -> str:
    """The same key for class names that differ only in case, blanks and signs: 'Yo Yo', 'YoYo' and 'yo_yo'."""
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


def distinct(clips: Sequence[Clip], contents: Mapping[Path, str]) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Clips without those that equal another one of their class byte for byte, and notes that name these.

    contents are fingerprints. Equal clips of two classes both stay, with a note: one of the labels is wrong.
    """
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(contents[clip.path], []).append(clip)
    kept, notes = set[Path](), []
    for equal in groups.values():
        labels = {clip.label: clip for clip in reversed(equal)}
        kept |= {clip.path for clip in labels.values()}
        for label, first in labels.items():
            copies = [clip.name for clip in equal if clip.label == label and clip is not first]
            if copies:
                notes.append(_once(first.name, copies, "has the same content"))
        if len(labels) > 1:
            named = ", ".join(f"{clip.name} ({clip.label})" for clip in sorted(labels.values(), key=lambda c: c.name))
            notes.append(f"label noise: the same content is of {len(labels)} classes, and judged in each: {named}")
    return tuple(clip for clip in clips if clip.path in kept), tuple(sorted(notes))


def _once(first: str, others: Sequence[str], why: str) -> str:
    return f"counted once: {first}, for {', '.join(others)} {why}"


def _one_format(root: Path, videos: Sequence[Path]) -> tuple[list[Path], tuple[str, ...]]:
    """Of files that differ in their suffix alone the first, and notes that name the others."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in videos:
        groups.setdefault((path.parent, path.stem.lower()), []).append(path)
    return [paths[0] for paths in groups.values()], _formats(root, groups.values())


def _formats(root: Path, groups: Iterable[Sequence[Path]]) -> tuple[str, ...]:
    """A note for each clip that is there in several files."""
    named = ([str(path.relative_to(root)) for path in paths] for paths in groups if len(paths) > 1)
    return tuple(_once(first, others, "is the same clip by name") for first, *others in named)


def _ucf101(root: Path, videos: Sequence[Path]) -> Dataset:
    groups: dict[str, list[Path]] = {}
    for path in videos:
        groups.setdefault(path.stem.lower(), []).append(path)
    by_stem = {stem: paths[0] for stem, paths in groups.items()}
    listed = ucf101_names()
    clips = [Clip(by_stem[name.lower()], name, label) for label, name in listed if name.lower() in by_stem]
    missing = [name for _, name in listed if name.lower() not in by_stem]
    names = {name.lower() for _, name in listed}
    notes = _formats(root, (paths for stem, paths in groups.items() if stem in names))
    return Dataset("ucf101", official_classes("ucf101"), tuple(clips), tuple(missing), len(listed), notes)


def _by_class_folder(name: str, root: Path, videos: Sequence[Path], split: str | None, former: bool) -> Dataset:
    classes = official_classes(name)
    known = {key(label): label for label in classes}
    clips, splits = [], []
    for path in videos:
        below = path.relative_to(root)
        label = next((known[key(part)] for part in reversed(below.parts[:-1]) if key(part) in known), None)
        if label is not None:
            clips.append(Clip(path, str(below), label))
            splits.append([part for part in below.parts[:-1] if key(part) not in known])
    clips = clips if former else _of_split(root, clips, splits, split)
    there = {clip.label for clip in clips}
    missing = tuple(label for label in classes if label not in there)
    return Dataset(name, classes, tuple(clips), missing, None, (NO_LIST,))


def _folder(root: Path, videos: Sequence[Path], split: str | None, former: bool) -> Dataset:
    """One sub-folder a class, and every sub-folder is one; those without a video are missing.

    Where every sub-folder is called as a split is, the classes are those of the chosen one.
    """
    top, folders = root, _subfolders(root)
    if len(folders) > 1 and all(map(_is_split, folders)) and not former:
        if split is None or split not in folders:
            raise BenchmarkError(_choose(root, folders, split))
        top, folders, split = root / split, _subfolders(root / split), None
    clips, splits = [], []
    for path in videos:
        parts = path.relative_to(top).parts if path.is_relative_to(top) else ()
        if len(parts) > 1 and parts[0] in folders:
            clips.append(Clip(path, str(path.relative_to(root)), parts[0]))
            splits.append(list(parts[1:-1]))
    clips = clips if former else _of_split(root, clips, splits, split)
    there = {clip.label for clip in clips}
    missing = tuple(label for label in folders if label not in there)
    return Dataset("folder", tuple(folders), tuple(clips), missing, None)


def _subfolders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_split(name: str) -> bool:
    """Whether a folder is called as the parts of a dataset are: train, val_256, kinetics-test."""
    return not _SPLITS.isdisjoint(re.findall("[a-z]+", name.lower()))


def _of_split(root: Path, clips: list[Clip], folders: Sequence[Sequence[str]], split: str | None) -> list[Clip]:
    """The clips that lie in the folder that split names; all, if none is named and there are not several."""
    if split is not None:
        chosen = [clip for clip, names in zip(clips, folders, strict=True) if split in names]
        if clips and not chosen:
            there = sorted({name for names in folders for name in names if _is_split(name)})
            raise BenchmarkError(_choose(root, there, split))
        return chosen
    there = sorted({name for names in folders for name in names if _is_split(name)})
    if len(there) > 1:
        raise BenchmarkError(_choose(root, there, None))
    return clips


def _choose(root: Path, there: Sequence[str], split: str | None) -> str:
    if split is not None:
        return f"There is no clip in a folder {split!r} in {root}; its splits are: {', '.join(there) or 'none'}."
    return (
        f"{root} holds several splits, whose clips must not be mixed ({', '.join(there)}): "
        f"choose one with --split {next((name for name in there if 'train' not in name.lower()), there[0])}."
    )
