"""One benchmark over an index: plan, look up vectors, score, and write down everything that the figures depend on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

from cezsar import __version__, encoders
from cezsar.choices import CORRECTIONS, PROTOTYPES, SENTENCES, not_one_of
from cezsar.datasets import DATASETS, definition
from cezsar.digest import sha256
from cezsar.errors import BenchmarkError
from cezsar.metrics import predictions
from cezsar.query import glosses, prototypes
from cezsar.query.benchmark.datasets import Clip, distinct, read
from cezsar.query.benchmark.protocols import Task, plan
from cezsar.query.benchmark.retrieval import Moment, read_moments
from cezsar.query.benchmark.scoring import both_ways, class_scores, corrected, figures
from cezsar.query.benchmark.sentences import class_sentences
from cezsar.query.prompts import Labels
from cezsar.query.search import Searcher
from cezsar.types import Ids, Scores, Segment, Vectors, unit

_PACKAGES = ("torch", "torchvision", "transformers", "timm", "numpy", "av", "faiss-gpu", "faiss-cpu")
Progress = Callable[[str], None]
FORMAT = 3  # of receipts; 1 held places of its maker, no sentences, and no hash of each clip; 2 was of raw labels


@dataclass(frozen=True, slots=True)
class Request:
    """A benchmark to run; as data, so that a receipt can repeat it. Raises BenchmarkError on a value out of its range.

    protocol None is the dataset's own, as its definition says. runs and seed are those of random:K and half. sentences,
    prototypes and correction are as in class_sentences and scoring; split is as in datasets.read; raw and prototypes
    are as in classify and scoring; only raw labels have several prototypes.
    """

    dataset: str
    protocol: str | None = None
    runs: int = 10
    seed: int = 0
    sentences: str = "names"
    prototypes: str = "nearest"
    correction: str = "none"
    allow_missing: bool = False
    query_field: str | None = None
    split: str | None = None
    raw: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("dataset", tuple(DATASETS)), ("prototypes", PROTOTYPES), ("correction", CORRECTIONS)):
            if getattr(self, name) not in choices:
                raise BenchmarkError(f"{not_one_of(name, getattr(self, name), choices)}.")
        if self.prototypes != PROTOTYPES[0] and not self.raw:
            raise BenchmarkError(
                f"--prototypes {self.prototypes} goes with --raw: otherwise a class has one prototype."
            )
        if self.split is not None and self.is_retrieval:
            raise BenchmarkError(f"{self.dataset} is read from its captions, and has no --split.")
        if self.runs < 1 or self.seed < 0:
            raise BenchmarkError("runs must be 1 or more, and seed 0 or more.")

    @property
    def is_retrieval(self) -> bool:
        """Whether the benchmark is a retrieval of captions, not a classification."""
        return definition(self.dataset).is_retrieval

    @property
    def asked_protocol(self) -> str:
        """The protocol, with the dataset's own if none was named."""
        return self.protocol or definition(self.dataset).protocol


@dataclass(frozen=True, slots=True)
class Scored:
    """A task with the scores and vectors behind its figures.

    scores (N, C), and the right class of each clip, targets (N,); videos (N, D); prototypes (P, D) of classes
    owners (P,).
    """

    task: Task
    scores: Scores
    targets: Ids
    videos: Vectors
    prototypes: Vectors
    owners: Ids

    @property
    def predicted(self) -> Ids:
        """(N,): the class that each clip is taken for."""
        return predictions(self.scores, self.targets)


@dataclass(frozen=True, slots=True)
class Result:
    """The receipt, as JSON would give it back, its videos, and, of a classification, the scores.

    videos are (id in the index, file), one for each clip or moment, in the receipt's order.
    """

    receipt: dict[str, Any]
    videos: tuple[tuple[int, Path], ...]
    scored: tuple[Scored, ...] = ()


def run(
    searcher: Searcher,
    root: Path,
    request: Request,
    *,
    labels: Labels | None = None,
    skipped: Sequence[str] = (),
    reads_files: bool = False,
    former: bool = False,
    progress: Progress = lambda _: None,
) -> Result:
    """Run a benchmark on the videos of root that are in the index.

    labels are the sentences of each class, if they are not to be looked up; skipped are files that could not be read,
    for the receipt. The receipt's hashes of clips are those that the index holds, or, with reads_files, those of the
    files as they are now. With former it runs as for the first receipts: each copy of a clip counts, splits are mixed,
    and standard deviations have ddof 1. progress gets a line for each step. Raises BenchmarkError if the protocol does
    not allow the request, and lists missing clips; EncoderError, BadIndex.
    """
    result = (
        _retrieve(searcher, root, request, skipped, progress)
        if request.is_retrieval
        else _classify(searcher, root, request, labels, skipped, former, progress)
    )
    progress(f"hashing {len(result.videos):,} clips" if reads_files else "writing the receipt")
    clips = without_places(result.receipt["clips"], os.fspath(root))
    receipt = {**result.receipt, "clips": {**clips, **_contents(searcher, root, result, reads_files)}}
    return replace(result, receipt=json.loads(json.dumps(receipt)))


def _classify(
    searcher: Searcher,
    root: Path,
    request: Request,
    labels: Labels | None,
    skipped: Sequence[str],
    former: bool,
    progress: Progress,
) -> Result:
    indexed = _indexed(searcher)
    dataset = read(request.dataset, root, indexed, split=request.split, former=former)
    protocol = plan(
        dataset, request.asked_protocol, runs=request.runs, seed=request.seed, allow_missing=request.allow_missing
    )
    copies: tuple[str, ...] = ()
    if not former:
        judged, contents = {clip for task in protocol.tasks for clip in task.clips}, _known_contents(searcher)
        once, copies = distinct(
            [clip for clip in dataset.clips if clip in judged],
            {path: contents[number] for path, number in indexed.items()},
        )
        protocol = protocol.of(once)
    wanted = {label for task in protocol.tasks for label in task.classes}
    classes = [label for label in dataset.classes if label in wanted]
    labels = labels or class_sentences(request.dataset, classes, request.sentences)
    if lacking := [label for label in classes if label not in labels]:
        raise BenchmarkError(f"There is no sentence for {len(lacking)} classes ({', '.join(lacking[:5])}).")
    labels = {label: labels[label] for label in classes}
    asked = {clip.path: clip for task in protocol.tasks for clip in task.clips}
    clips = [clip for clip in dataset.clips if clip.path in asked]
    progress(f"looking up {len(clips):,} clips")
    vectors = _vectors(searcher, [indexed[clip.path] for clip in clips])
    rows = {clip.path: vector for clip, vector in zip(clips, vectors, strict=True)}
    progress(f"encoding the sentences of {len(classes):,} classes")
    made = (prototypes.raw if request.raw else prototypes.in_words)(searcher, labels)
    scored, found = [], []
    for task in protocol.tasks:
        progress(f"scoring {task.name}")
        one = _score(task, request, rows, classes, made)
        counts = {"name": task.name, "classes": list(task.classes), "num_listed": task.num_listed}
        found.append({**counts, **asdict(figures(one.scores, one.targets))})
        scored.append(one)
    receipt = {
        **_about(searcher, request),
        "protocol": protocol.name,
        "list_sha256": protocol.list_sha256,
        "split_file_sha256": protocol.file_sha256,
        "notes": [*protocol.notes, *([] if former else [*dataset.notes, *copies])],
        "classes": {"count": len(classes), "sha256": _sha256(classes)},
        "clips": {
            "found": len(clips),
            "per_class": _per_class(clips, classes),
            "listed": max(task.num_listed or 0 for task in protocol.tasks) or None,
            "missing": list(dataset.missing),
            "unreadable": list(skipped),
        },
        "sentences": _said(labels, request.sentences),
        "labels": _method(searcher, labels, request),
        "summary": _summary(found, ddof=1 if former else 0),
        "std_ddof": 1 if former else 0,
        "tasks": found,
    }
    return Result(receipt, tuple((indexed[clip.path], clip.path) for clip in clips), tuple(scored))


def _per_class(clips: Sequence[Clip], classes: Sequence[str]) -> dict[str, int]:
    counts = Counter(clip.label for clip in clips)
    return {label: counts[label] for label in classes}


def _score(
    task: Task, request: Request, rows: dict[Path, Vectors], classes: list[str], made: prototypes.Prototypes
) -> Scored:
    """A task's scores, of its own candidates alone."""
    numbers = {label: number for number, label in enumerate(task.classes)}
    places = [numbers.get(classes[owner], -1) for owner in made.owners.tolist()]
    order = np.argsort([place if place >= 0 else len(numbers) for place in places], kind="stable")
    kept = [number for number in order.tolist() if places[number] >= 0]
    mine, own = made.rows[kept], np.array([places[number] for number in kept], np.int64)
    videos = np.stack([rows[clip.path] for clip in task.clips])
    taken_off = made.discounts[[classes.index(label) for label in task.classes]]
    scores = class_scores(videos, mine, own, kind=request.prototypes, discounts=taken_off)
    scores = corrected(scores, videos, mine, own, kind=request.prototypes, how=request.correction, discounts=taken_off)
    targets = np.array([numbers[clip.label] for clip in task.clips], np.int64)
    return Scored(task, scores, targets, videos, mine, own)


def _retrieve(searcher: Searcher, root: Path, request: Request, skipped: Sequence[str], progress: Progress) -> Result:
    captioned = read_moments(request.dataset, root, request.asked_protocol, request.query_field)
    indexed = _indexed(searcher)
    there = [moment for moment in captioned.moments if moment.path.resolve() in indexed or moment.path in indexed]
    known = set(there)
    missing = [
        *captioned.missing,
        *(os.path.relpath(one.path, root) for one in captioned.moments if one not in known),
    ]
    if missing and not request.allow_missing:
        raise BenchmarkError(
            f"{len(missing):,} of {len(there) + len(missing):,} moments are missing ({missing[0]}): "
            "--allow-missing goes on without them."
        )
    if len(there) < 2:
        raise BenchmarkError("There are fewer than two moments to choose from.")
    progress(f"looking up {len(there):,} moments")
    videos = _moments(searcher, there, indexed)
    said = [sentence for moment in there for sentence in moment.sentences]
    owners = np.repeat(np.arange(len(there)), [len(moment.sentences) for moment in there])
    progress(f"encoding and ranking {len(said):,} sentences")
    text_to_video, video_to_text = both_ways(videos, searcher.encode(said), owners)
    exchanged = f"rows whose start comes after their end, and had the two exchanged: {captioned.num_exchanged:,}"
    receipt = {
        **_about(searcher, request),
        "protocol": request.asked_protocol,
        "list_sha256": _sha256([[os.path.relpath(one.path, root), one.start_s, one.end_s] for one in there]),
        "split_file_sha256": hashlib.sha256(captioned.file.read_bytes()).hexdigest(),
        "notes": [exchanged] if captioned.num_exchanged else [],
        "clips": {
            "found": len(there),
            "listed": len(there) + len(missing),
            "missing": missing,
            "unreadable": list(skipped),
        },
        "sentences": {"source": captioned.file.name, "count": len(said), "sha256": _sha256(said), "texts": said},
        "text_to_video": asdict(text_to_video),
        "video_to_text": asdict(video_to_text),
    }
    return Result(receipt, tuple((_video_id(moment, indexed), moment.path) for moment in there))


def _indexed(searcher: Searcher) -> dict[Path, int]:
    """The ids of the visible videos, by path."""
    with searcher.read() as rows:
        return {video.file.full_path: video.id for video in rows.videos() if not video.hidden}


def _video_id(moment: Moment, indexed: dict[Path, int]) -> int:
    return indexed[moment.path if moment.path in indexed else moment.path.resolve()]


def without_places(clips: dict[str, Any], root: str) -> dict[str, Any]:
    """A receipt's clips, whose lines on what is missing or unreadable do not say where the root is."""
    shorter = {
        name: [
            line.replace(f"{root}/", "").replace(root, "the root") if isinstance(line, str) else line
            for line in clips[name]
        ]
        for name in ("missing", "unreadable")
        if isinstance(clips.get(name), list)
    }
    return {**clips, **shorter}


def _contents(searcher: Searcher, root: Path, result: Result, reads_files: bool) -> dict[str, Any]:
    """The sha256 of each video's content, by its place below root, and of all of them in order."""
    contents = {n: hashed(path) for n, path in result.videos} if reads_files else _known_contents(searcher)
    return {
        "sha256": _sha256([contents[number] for number, _ in result.videos]),
        "files": {os.path.relpath(path, root): contents[number] for number, path in result.videos},
    }


def _known_contents(searcher: Searcher) -> dict[int, str]:
    """The sha256 of each video's content when it was indexed, by its id."""
    with searcher.read() as rows:
        return {video.id: video.content_sha256.hex() for video in rows.videos()}


def hashed(path: Path) -> str:
    """The sha256 of a file, in hex. Raises BenchmarkError if it cannot be read."""
    try:
        return sha256(path).hex()
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror}.") from None


def _vectors(searcher: Searcher, ids: Sequence[int]) -> Vectors:
    """(N, D): the unit mean of each video's segments."""
    with searcher.read() as rows:
        means = [rows.segments(video)[1].mean(axis=0) for video in ids]
    return unit(np.stack(means))


def _moments(searcher: Searcher, moments: Sequence[Moment], indexed: dict[Path, int]) -> Vectors:
    """(N, D): the unit mean of the segments that each moment holds the middle of, or of those that it touches."""
    means = []
    with searcher.read() as rows:
        for moment in moments:
            parts, vectors = rows.segments(_video_id(moment, indexed))
            means.append(vectors[_chosen(parts, moment)].mean(axis=0))
    return unit(np.stack(means))


def _chosen(parts: Sequence[Segment], moment: Moment) -> list[int]:
    end_s = float("inf") if moment.end_s is None else moment.end_s
    inside = [i for i, part in enumerate(parts) if moment.start_s <= (part.start_s + part.end_s) / 2 < end_s]
    touching = [i for i, part in enumerate(parts) if part.start_s < end_s and moment.start_s < part.end_s]
    return inside or touching or [len(parts) - 1]


def _about(searcher: Searcher, request: Request) -> dict[str, Any]:
    info = searcher.info
    name = info.encoder.name
    shown, is_folder = encoders.brief(name)  # of a folder no more than its name
    return {
        "format": FORMAT,
        "cezsar": __version__,
        "request": {**asdict(request), "sentences": _named(request.sentences)},
        "model": {
            "name": shown,
            "is_folder": is_folder,
            "weights_sha256": info.encoder.weights_sha256,
            "dimension": info.encoder.dimension,
            "streams": info.encoder.streams,
            "files": {file: hashed(path) for file, path in encoders.settings_files(name).items()},
        },
        "sampling": {"fps": info.sampling.fps, "window_s": info.sampling.window_s, "stride_s": info.sampling.stride_s},
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    """Of the packages that figures may depend on, those that are there."""
    installed = {one.name.lower(): one.version for one in distributions() if one.name}
    return {package: installed[package] for package in _PACKAGES if package in installed}


def _said(labels: Labels, source: str) -> dict[str, Any]:
    listed = {label: list(sentences) for label, sentences in labels.items()}
    count = sum(map(len, listed.values()))
    return {"source": _named(source), "count": count, "sha256": _sha256(listed), "texts": listed}


def _method(searcher: Searcher, labels: Labels, request: Request) -> dict[str, Any]:
    """How labels became prototypes: what was encoded, and the hashes of what it was made with."""
    if request.raw:
        return {"method": "raw"}
    videos = prototypes.bank(searcher)
    texts = {label: list(said) for label, said in prototypes.encoded(labels).items()}
    return {
        "method": "words",
        "dictionary": glosses.NAME,
        "dictionary_sha256": glosses.fingerprint(),
        "bank_sha256": None if videos is None else hashlib.sha256(videos.tobytes()).hexdigest(),
        "texts": texts,
    }


def _named(source: str) -> str:
    """What a receipt says of where sentences come from: names, ours, or a file's name."""
    return source if source in SENTENCES else Path(source).name


def _summary(tasks: Sequence[dict[str, Any]], *, ddof: int) -> dict[str, Any]:
    """Mean and, over several tasks, standard deviation of each accuracy; ddof 0 is what papers of the field report."""
    summary = {}
    for name in ("top_1", "top_5", "mean_class"):
        values = [task[name]["value"] for task in tasks]
        summary[name] = {
            "mean": float(np.mean(values)),
            "std": float(np.std(values, ddof=ddof)) if len(values) > 1 else None,
        }
    return summary


def _sha256(listed: object) -> str:
    return hashlib.sha256(json.dumps(listed, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
