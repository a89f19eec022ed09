"""Planted pairs: features and sentences that are two linear views of one hidden cause; runs that kill themselves."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cezsar.training.objective
from cezsar.model import CezsarConfig, CezsarModel
from cezsar.training.examples import Examples
from cezsar.training.loop import fit, make_accelerator
from cezsar.training.objective import Material
from cezsar.training.recipe import Recipe
from cezsar.training.run import Run
from cezsar.training.start import fit_memory, object_positives
from cezsar.types import unit

FEATURE_DIM, SENTENCE_DIM = 16, 12
BOTH = Recipe(
    loss="both",
    negatives="band",
    band_high=1.2,
    num_negatives=4,
    epochs=12,
    margin=0.3,
    learning_rate=5e-3,
    anchor=0.0,
    batch_size=64,
)


def planted(*, num_also: int = 0) -> tuple[Examples, Examples]:
    """80 training segments (and noisier ones), 20 for validation; 1 to 4 frames and 1 to 3 sentences each."""
    generator = np.random.default_rng(7)
    views = generator.normal(size=(5, FEATURE_DIM)), generator.normal(size=(5, SENTENCE_DIM))
    made = []
    for num_clean, num_noisy in ((80, num_also), (20, 0)):
        count = num_clean + num_noisy
        causes = generator.normal(size=(count, 5))
        noise = np.where(np.arange(count) < num_clean, 0.01, 0.5)
        features = [
            (cause @ views[0] + 0.01 * generator.normal(size=(generator.integers(1, 5), FEATURE_DIM))).astype(
                np.float32
            )
            for cause in causes
        ]
        owners = np.repeat(np.arange(count), generator.integers(1, 4, size=count))
        rows = causes[owners] @ views[1] + noise[owners, None] * generator.normal(size=(len(owners), SENTENCE_DIM))
        names = [f"video{number}" for number in range(count)]
        corpora = (np.arange(count) >= num_clean).astype(np.int64)
        made.append(Examples(features, np.arange(count), names, corpora, unit(rows.astype(np.float32)), owners))
    return made[0], made[1]


def make(training: Examples, **changed: Any) -> CezsarModel:
    """A tiny model, with random objects where num_objects says so."""
    sizes = {"joint_dim": 10, "d_model": 64, "feedforward_dim": 32, "num_objects": 0, "top_objects": 3, "memory_dim": 5}
    fixed = {"feature_dim": FEATURE_DIM, "sentence_dim": SENTENCE_DIM, "dropout": 0.0, "text_dropout": 0.0}
    changed.setdefault("streams", "visual_object" if changed.get("num_objects") else "visual")
    torch.manual_seed(0)
    model = CezsarModel(CezsarConfig(**{**sizes, **fixed, **changed}))
    if model.objects is not None:
        model.objects.weight.copy_(torch.randn_like(model.objects.weight))
        model.objects.sentences.copy_(torch.randn_like(model.objects.sentences))
    return model


def material(model: CezsarModel, training: Examples, validation: Examples, *, objects: bool = False) -> Material:
    """What the loop takes."""
    recalled = None
    if model.video_tower.memory is not None:
        recalled = fit_memory(model, training, also_weight=0.1, seed=0)
    said = ["six words are in this sentence"] * model.config.num_objects
    chosen = object_positives(model, training, said, count=2, top=5) if objects else None
    return Material(training, validation, recalled, chosen)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, moment: str = "never", loss: str = "both") -> None:
    """Six epochs into the folder, killed in the middle of the fourth, or between two files of the third checkpoint.

    "alike" are three epochs in which nothing is dropped: as many devices as there may be then end alike.
    """
    count = 0
    if moment == "mid-epoch":
        contrast = cezsar.training.objective.info_nce

        def info_nce(*arguments: Any, **named: Any) -> torch.Tensor:
            nonlocal count
            count += 1
            if count == 3 * 3 + 2:  # three batches an epoch
                _kill()
            return contrast(*arguments, **named)

        cezsar.training.objective.info_nce = info_nce
    elif moment == "mid-save":
        replace = os.replace

        def replacing(source: Any, target: Any) -> None:
            nonlocal count
            if Path(target).parent.name == "last" and Path(target).name == "state.safetensors":
                count += 1
                if count == 3:
                    _kill()
            replace(source, target)

        os.replace = replacing
    training, validation = planted()
    dropped = {} if moment == "alike" else {"dropout": 0.2, "text_dropout": 0.1}
    model = make(training, num_objects=10, **dropped)
    recipe = Recipe(
        loss=loss,
        negatives="batch" if moment == "alike" and loss == "infonce" else "band",
        band_high=1.2,
        object_positives=moment == "alike",
        epochs=3 if moment == "alike" else 6,
        batch_size=32,  # batches of 27, 27 and 26: two devices cannot halve them all
        frame_dropout=0.0 if moment == "alike" else 0.2,
    )
    accelerator = make_accelerator(recipe, "cpu")
    found = material(model, training, validation, objects=recipe.object_positives)
    fit(model, found, recipe, Run(folder), accelerator=accelerator, save_every_s=0.0)


def fork(loss: str, runs: list[tuple[str, str]]) -> list[int]:
    """How a process for each folder and moment ended: all are forks of this one, which has loaded what they need.

    Several losses, "infonce,both", are trained with one after another, each in a folder of its own name.
    With WORLD_SIZE they are the ranks of one run, which all end where one does not end well.
    """
    children: dict[int, int] = {}
    for rank, (folder, moment) in enumerate(runs):
        if (child := os.fork()) == 0:
            if "WORLD_SIZE" in os.environ:
                os.environ.update(RANK=f"{rank}", LOCAL_RANK=f"{rank}")
            for one in loss.split(","):
                train(Path(folder, one) if "," in loss else Path(folder), moment, one)
            sys.exit()
        children[child] = rank
    codes = [0] * len(runs)
    while children:
        child, status = os.wait()
        code = codes[children.pop(child)] = os.waitstatus_to_exitcode(status)
        if code != 0 and "WORLD_SIZE" in os.environ:
            for other in children:
                os.kill(other, signal.SIGKILL)
    return codes


if __name__ == "__main__":
    loss, *words = sys.argv[1:]
    codes = fork(loss, list(zip(words[::2], words[1::2], strict=True)))
    sys.stdout.write(" ".join(map(str, codes)) + "\n")
