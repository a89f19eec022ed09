"""Protocols: which classes are candidates, and which clips are judged, exactly as published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cezsar.datasets import DATASETS
from cezsar.errors import BenchmarkError
from cezsar.query.benchmark.datasets import Clip, Dataset, lists, matched, ucf101_names

_GROUPS = {"split1": (1, 7), "split2": (8, 14), "split3": (15, 21)}
_OF_UCF101 = (*_GROUPS, "truze", "truze2", "hard-cases", "semantic-gap")
NAMES = ", ".join(("full", "half", "random:K", *_OF_UCF101, "zsar"))


@dataclass(frozen=True, slots=True)
class Task:
    """Clips to be told apart among candidate classes; num_listed is how many clips the official list has."""

    name: str
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    num_listed: int | None


@dataclass(frozen=True, slots=True)
class Protocol:
    """Tasks, whose figures are averaged, and the faults of their list, as notes.

    list_sha256 is of the list as it is used here, file_sha256 of the published file that it comes from, if it does.
    """

    name: str
    tasks: tuple[Task, ...]
    list_sha256: str
    file_sha256: str | None = None
    notes: tuple[str, ...] = ()

    def of(self, clips: Iterable[Clip]) -> Protocol:
        """The same tasks, of these clips alone."""
        kept = set(clips)
        tasks = (replace(task, clips=tuple(clip for clip in task.clips if clip in kept)) for task in self.tasks)
        return replace(self, tasks=tuple(tasks))


def plan(dataset: Dataset, name: str, *, runs: int, seed: int, allow_missing: bool) -> Protocol:
    """The tasks of a protocol: full, half, random:K, or one that the dataset has alone.

    Candidates are the protocol's classes, never those with clips alone; random:K and half draw `runs` times from the
    classes, and only under allow_missing from those that have clips. Raises BenchmarkError on a protocol that the
    dataset does not have, a K that is too large, and on missing clips unless allow_missing.
    """
    own = {name: one.name for one in DATASETS.values() if not one.is_retrieval for name in one.own_names}
    if own.get(name, dataset.name) != dataset.name:
        raise BenchmarkError(f"The protocol {name} belongs to {own[name]}, not to {dataset.name}.")
    if name in _GROUPS:
        return _test_list(dataset, name, allow_missing)
    if name == "zsar":
        return _zsar(dataset, allow_missing)
    if name in own:
        return _published(dataset, name, allow_missing)
    if name == "full":
        task = _task(dataset, "full", dataset.classes, allow_missing)
        return Protocol(name, (task,), _sha256(list(dataset.classes)))
    if name == "half" or name.startswith("random:"):
        return _random(dataset, name, runs, seed, allow_missing)
    raise BenchmarkError(f"There is no protocol {name!r}. There are: {', '.join(['full, half, random:K', *own])}.")


def _test_list(dataset: Dataset, name: str, allow_missing: bool) -> Protocol:
    listed = ucf101_names(*_GROUPS[name])
    names = {clip for _, clip in listed}
    clips = tuple(clip for clip in dataset.clips if clip.name in names)
    _check_missing(name, len(listed) - len(clips), len(listed), sorted(names - {c.name for c in clips}), allow_missing)
    official = "".join(f"{label}/{clip}.avi\r\n" for label, clip in listed)
    sha256 = hashlib.sha256(official.encode()).hexdigest()  # of testlist01.txt and so on, byte for byte
    return Protocol(name, (Task(name, dataset.classes, clips, len(listed)),), sha256, sha256)


def _published(dataset: Dataset, name: str, allow_missing: bool) -> Protocol:
    published = lists(dataset.name)["lists"][name]
    notes = []
    training = matched(published["training"], dataset.classes, f"The list of {name}")
    testing = matched(published["testing"], dataset.classes, f"The list of {name}")
    if len(set(training)) < len(training):
        notes.append(f"the published training list has {len(training)} names, {len(set(training))} of them distinct")
    if both := sorted(set(training) & set(testing)):
        notes.append(f"{len(both)} classes are on both published lists: {', '.join(both)}")
    task = _task(dataset, name, tuple(dict.fromkeys(testing)), allow_missing)
    return Protocol(name, (task,), _sha256([training, testing]), published["file_sha256"], tuple(notes))


def _zsar(dataset: Dataset, allow_missing: bool) -> Protocol:
    splits = lists(dataset.name)["splits"]
    tasks = [
        _task(dataset, f"split {number}", tuple(split["test"]), allow_missing) for number, split in enumerate(splits, 1)
    ]
    return Protocol("zsar", tuple(tasks), _sha256(splits))


def _random(dataset: Dataset, name: str, runs: int, seed: int, allow_missing: bool) -> Protocol:
    there = {clip.label for clip in dataset.clips}
    classes = [label for label in dataset.classes if label in there] if allow_missing else list(dataset.classes)
    asked = name.removeprefix("random:")
    if name != "half" and not (asked.isascii() and asked.isdigit() and int(asked) >= 2):
        raise BenchmarkError(f"random:{asked} needs a number of classes from 2, as in random:50.")
    count = len(classes) // 2 if name == "half" else int(asked)
    if not 2 <= count <= len(classes):
        raise BenchmarkError(f"{name} asks for {count} classes, and there are {len(classes)}.")
    tasks = []
    for run in range(runs):
        drawn = np.random.default_rng([seed, run]).choice(len(classes), count, replace=False)
        chosen = tuple(classes[number] for number in sorted(drawn.tolist()))
        tasks.append(_task(dataset, f"run {run + 1}", chosen, allow_missing))
    return Protocol(name, tuple(tasks), _sha256(classes))


def _task(dataset: Dataset, name: str, classes: tuple[str, ...], allow_missing: bool) -> Task:
    wanted = set(classes)
    clips = tuple(clip for clip in dataset.clips if clip.label in wanted)
    num_listed = None
    if dataset.num_listed is not None:
        listed = [clip for label, clip in ucf101_names() if label in wanted]
        num_listed = len(listed)
        missing = sorted(set(listed) - {clip.name for clip in clips})
        _check_missing(name, len(missing), num_listed, missing, allow_missing)
    absent = [label for label in classes if label not in {clip.label for clip in clips}]
    if dataset.num_listed is None and absent and not allow_missing:
        raise BenchmarkError(
            f"{len(absent)} of {len(classes)} classes have no clip ({', '.join(absent[:3])}...): "
            "--allow-missing goes on without them."
        )
    if not clips:
        raise BenchmarkError(f"None of the classes of {name} has a clip.")
    return Task(name, classes, clips, num_listed)


def _check_missing(name: str, num_missing: int, num_listed: int, missing: Sequence[str], allow_missing: bool) -> None:
    if num_missing and not allow_missing:
        raise BenchmarkError(
            f"{num_missing:,} of {num_listed:,} clips of {name} are missing ({', '.join(missing[:3])}...): "
            "--allow-missing goes on without them."
        )
    if num_missing == num_listed:
        raise BenchmarkError(f"None of the {num_listed:,} clips of {name} is there.")


def _sha256(listed: object) -> str:
    return hashlib.sha256(json.dumps(listed, ensure_ascii=False).encode()).hexdigest()
