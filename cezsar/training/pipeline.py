"""Training from captions to a run folder: pairs -> features -> examples -> start -> loop."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator

from cezsar.encoders.devices import runs_on_gpu, torch_device
from cezsar.encoders.frozen import frames
from cezsar.encoders.images import Backbone, load_backbone
from cezsar.encoders.joint import load_model
from cezsar.encoders.sentences import SentenceEncoder
from cezsar.encoders.weights import EMBEDDED_IMAGES, EMBEDDED_PAIR
from cezsar.errors import EncoderError, TrainingError
from cezsar.features import FeatureCache, embed_sentences
from cezsar.model import CezsarConfig, CezsarModel, bars
from cezsar.model.presets import PRESETS
from cezsar.pairs import Captions, Rejected, grouped, read_pairs
from cezsar.records import Malformed, record
from cezsar.training.examples import Examples, Split, assemble, cut
from cezsar.training.loop import fit, make_accelerator
from cezsar.training.objective import Material
from cezsar.training.recipe import Recipe
from cezsar.training.run import EpochReport, Run
from cezsar.training.start import fill_querybank, fit_memory, object_positives, whiten_text
from cezsar.types import Limits, Sampling


@dataclass(frozen=True, slots=True)
class Request:
    """The request for a training run; as data, so that the run can go on later.

    pairs and also are files of captions, also's being the noisier ones, which are not split; videos is their videos'
    folder, None for each file's own. model overrides the preset's config; start_from names a saved model to take the
    first weights from.
    """

    pairs: tuple[str, ...]
    also: tuple[str, ...]
    videos: str | None
    cache: str
    preset: str
    model: dict[str, Any]
    recipe: Recipe
    split: Split
    start_from: str | None = None
    half: bool = False


class Watcher(Protocol):
    """A listener to a training run, called in this order."""

    def rejected(self, row: Rejected) -> None:
        """A row, or a sentence of one, was left out."""

    def exchanged(self, num_rows: int) -> None:
        """The number of rows whose start was after the end, and was exchanged with it; not called if there are none."""

    def extracting(self, num_videos: int) -> None:
        """Frame features are about to be read from the cache or computed."""

    def extracted(self, video: Path, is_new: bool) -> None:
        """The features of one video are there, or cannot be had."""

    def training(self, num_training: int, num_validation: int) -> None:
        """The loop is about to start on so many segments."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch has ended."""


class _Deaf:
    """The listener of a process that is not the first."""

    def rejected(self, row: Rejected) -> None: ...

    def exchanged(self, num_rows: int) -> None: ...

    def extracting(self, num_videos: int) -> None: ...

    def extracted(self, video: Path, is_new: bool) -> None: ...

    def training(self, num_training: int, num_validation: int) -> None: ...

    def epoch(self, report: EpochReport) -> None: ...


@dataclass(frozen=True, slots=True)
class Trained:
    """The run's folder, its best epoch, and what it was trained on."""

    run: Path
    best: EpochReport
    num_training: int
    num_validation: int
    num_rejected: int


def train(
    request: Request,
    folder: Path,
    watcher: Watcher,
    *,
    device: str = "auto",
    resume: bool = False,
    limits: Limits | None = None,
    workers: int = 1,
    batch_size: int = 8,
) -> Trained:
    """Train a model into a run folder; with resume, go on with the run that is there.

    workers videos are decoded at once, and batch_size frames are encoded at once; limits are those of one video, None
    the defaults. Of several processes under `accelerate launch` the first one alone has its watcher told, and writes
    the folder. Raises TrainingError if there are
    no pairs, one video alone, nothing to validate with, a loss that is not finite, a folder that cannot be written, or,
    on resuming, other captions than before.
    """
    run, accelerator = Run(folder), make_accelerator(request.recipe, device)
    if not resume and accelerator.is_main_process:
        run.claim()
    accelerator.wait_for_everyone()
    watcher = watcher if accelerator.is_main_process else _Deaf()
    backbone = load_backbone(request.model.get("backbone", PRESETS[request.preset]["backbone"]), torch_device(device))
    encoder = SentenceEncoder(
        torch_device(device), request.model.get("sentence_encoder", PRESETS[request.preset]["sentence_encoder"])
    )
    examples, num_rejected = gather(
        request, backbone, encoder, watcher,
        device=device, limits=limits, workers=workers, batch_size=batch_size, accelerator=accelerator,
    )  # fmt: skip
    training, validation = request.split.apply(examples)
    settings = {
        "request": asdict(request),
        "examples_sha256": _fingerprint(examples),
        "validation_sha256": request.split.sha256(examples),
        "num_training": len(training),
        "num_validation": len(validation),
    }
    if resume:
        _check_same(run.settings(), settings)
    model, material = prepare(request, backbone, encoder, training, validation, resume=resume)
    if not resume and accelerator.is_main_process:
        run.start(settings)
    watcher.training(len(training), len(validation))
    best = fit(model, material, request.recipe, run, accelerator=accelerator, progress=watcher.epoch)
    if request.half and accelerator.is_main_process:
        run.save(run.best, model.half())
    return Trained(folder, best, len(training), len(validation), num_rejected)


def resumed(folder: Path) -> Request:
    """The request of the run in this folder. Raises TrainingError if there is none, or it is damaged."""
    try:
        return record(Request, Run(folder).settings().get("request"))
    except Malformed as error:
        raise TrainingError(f"{folder} holds a damaged run: {error}") from None


def gather(
    request: Request,
    backbone: Backbone,
    encoder: SentenceEncoder,
    watcher: Watcher,
    *,
    device: str = "auto",
    limits: Limits | None = None,
    workers: int = 1,
    batch_size: int = 8,
    accelerator: Accelerator | None = None,
) -> tuple[Examples, int]:
    """All segments of a request, and how many rows were rejected; the watcher hears of each.

    An embedded backbone sees the frames as it does in indexing: on a CPU through ONNX Runtime. Of the accelerator's
    processes each reads a part of the videos, and then the features of all.
    """
    captions = _read(request)
    for row in captions.rejected:
        watcher.rejected(row)
    if captions.num_exchanged:
        watcher.exchanged(captions.num_exchanged)
    found = list(dict.fromkeys(pair.video for pair in captions.pairs))
    watcher.extracting(len(found))
    fps = Sampling(fps=request.model.get("fps", CezsarConfig().fps)).fps
    seer = (
        frames(backbone.name, device)
        if backbone.name in (EMBEDDED_IMAGES, EMBEDDED_PAIR) and not runs_on_gpu(device)
        else backbone
    )

    def cache() -> FeatureCache:
        return FeatureCache(Path(request.cache), seer, fps=fps, limits=limits, workers=workers)

    if accelerator is not None and accelerator.num_processes > 1:
        part = found[accelerator.process_index :: accelerator.num_processes]
        cache().extract(part, batch_size=batch_size)
        accelerator.wait_for_everyone()
    features, reasons = cache().extract(found, batch_size=batch_size, done=watcher.extracted)
    kept, rows, rejected = cut(captions.pairs, features, reasons)
    for row in rejected:
        watcher.rejected(row)
    if not kept:
        raise TrainingError("There are no pairs to train on.")
    contents = {video: found.content_sha256 for video, found in features.items()}
    pairs = request.split.follow([captions.pairs[number] for number in kept], contents)
    sentences = embed_sentences(Path(request.cache), encoder, [said for pair in pairs for said in pair.sentences])
    examples = assemble(pairs, rows, sentences)
    return examples, len(captions.rejected) + len(rejected)


def _read(request: Request) -> Captions:
    """The segments of all files together."""
    videos = None if request.videos is None else Path(request.videos)
    files = [(file, False) for file in request.pairs] + [(file, True) for file in request.also]
    read = [(read_pairs(Path(file), videos), is_noisy) for file, is_noisy in files]
    found = grouped([replace(pair, is_noisy=is_noisy) for captions, is_noisy in read for pair in captions.pairs])
    rejected = [row for captions, _ in read for row in captions.rejected] + found.rejected
    return Captions(found.pairs, rejected, sum(captions.num_exchanged for captions, _ in read))


def prepare(
    request: Request,
    backbone: Backbone,
    encoder: SentenceEncoder,
    training: Examples,
    validation: Examples,
    *,
    resume: bool = False,
) -> tuple[CezsarModel, Material]:
    """A model at the start of training, and the other inputs of the loop."""
    model, recipe = _model(request, backbone, encoder, training, resume=resume), request.recipe
    if recipe.precision == "double":
        model.double()
    recalled = objects = None
    if model.video_tower.memory is not None:
        recalled = fit_memory(model, training, also_weight=recipe.also_weight, seed=recipe.seed)
    if request.start_from is None:
        whiten_text(model, training, also_weight=recipe.also_weight)
    if model.querybank is not None:
        fill_querybank(model, training, seed=recipe.seed)
    if recipe.object_positives and model.objects is not None:
        objects = object_positives(
            model, training, backbone.objects(), count=2, top=5, windows=recipe.object_windows, seed=recipe.seed
        )
    return model, Material(training, validation, recalled, objects)


def _model(
    request: Request, backbone: Backbone, encoder: SentenceEncoder, training: Examples, *, resume: bool
) -> CezsarModel:
    head = backbone.head()
    preset = {**PRESETS[request.preset], **request.model}
    memory_blocks = preset.get("memory_blocks", backbone.num_blocks)
    config = CezsarConfig(
        **{
            **preset,
            "backbone_sha256": backbone.fingerprint,
            "sentence_encoder_sha256": encoder.fingerprint,
            "feature_dim": backbone.feature_dim,
            "sentence_dim": encoder.dimension,
            "image_size": backbone.short_side,
            "num_objects": 0 if head is None else len(head[0]),
            "streams": "visual" if head is None else preset.get("streams", CezsarConfig().streams),
            "num_memories": min(preset["num_memories"], len(training)),
            "querybank_size": min(preset.get("querybank_size", 0), len(training.owners)),
            "object_temperature": backbone.num_blocks
            * preset.get("object_temperature", CezsarConfig().object_temperature),
            "memory_dim": min(
                preset.get("memory_dim", CezsarConfig().memory_dim), backbone.feature_dim // memory_blocks
            ),
            "memory_blocks": memory_blocks,
        }
    )
    if not config.d_model and not config.num_memories:
        raise TrainingError("The video tower needs a d-model or num-memories above 0.")
    if config.d_model % config.num_heads:
        raise TrainingError(f"d-model {config.d_model} is not a multiple of its {config.num_heads} attention heads.")
    if request.recipe.train_streams not in (None, "visual") and not config.num_objects:
        raise TrainingError(
            f"{config.backbone} has no classifier, so {request.recipe.train_streams} cannot be trained."
        )
    torch.manual_seed(request.recipe.seed)
    model = CezsarModel(config)
    if request.start_from is not None and not resume:
        _begin_with(model, request.start_from)
    if model.objects is not None and head is not None:
        embedded = embed_sentences(Path(request.cache), encoder, backbone.objects())
        model.objects.weight.copy_(head[0])
        model.objects.bias.copy_(head[1])
        model.objects.sentences.copy_(torch.from_numpy(embedded))
    bars.hide()
    return model


def _begin_with(model: CezsarModel, source: str) -> None:
    """Take over the trained weights of a saved model. Raises TrainingError if it stands on other parts or sizes."""
    try:
        saved = load_model(source)
    except EncoderError as error:
        raise TrainingError(str(error)) from None
    for part in ("backbone", "sentence_encoder"):
        if getattr(saved.config, f"{part}_sha256") != getattr(model.config, f"{part}_sha256"):
            here = getattr(model.config, part)
            raise TrainingError(
                f"{source} uses the {part} {getattr(saved.config, part)!r}, and this run uses {here!r}."
            )
    weights = dict(saved.named_parameters())
    there = {name: tuple(value.shape) for name, value in model.named_parameters()}
    if there != {name: tuple(value.shape) for name, value in weights.items()}:
        raise TrainingError(f"{source} holds a model of another shape than this run's.")
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(weights[name])


def _fingerprint(examples: Examples) -> str:
    digest = hashlib.sha256()
    arrays: Sequence[Any] = (
        examples.sources,
        examples.corpora,
        examples.owners,
        examples.sentences,
        *examples.features,
    )
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _check_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    for key in ("examples_sha256", "validation_sha256"):
        if before.get(key) != now[key]:
            raise TrainingError("The captions or videos are not those that this run was started with.")
