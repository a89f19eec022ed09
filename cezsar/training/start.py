"""The start of training: the parts that have a closed form, before the first gradient."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cezsar.model import CezsarModel
from cezsar.training.examples import ALSO, MAIN, Examples
from cezsar.types import Ids, Vectors, unit

_RIDGE = 0.3
_MIN_STD = 1e-3
_WINDOW_S = 10.0


def whiten_text(model: CezsarModel, examples: Examples, *, also_weight: float = 0.0) -> None:
    """The text tower begins as within-class covariance normalisation (Hatch et al., 2006), a class being a segment.

    Directions in which the sentences of one segment differ say little of what it shows, and are shrunk; those of a
    noisier row count also_weight. If no segment that counts has two sentences, or the tower's width is not the
    sentences', it stays as it was initialised.
    """
    counts = np.where(examples.corpora == ALSO, also_weight, 1.0)[examples.owners]
    sentences, owners, counts = examples.sentences[counts > 0], examples.owners[counts > 0], counts[counts > 0]
    linear = model.text_tower.linear
    within = sentences.astype(np.float64)
    within = (within - _by_owner(within, owners, len(examples))[owners]) * np.sqrt(counts)[:, None]
    spare = len(sentences) - len(np.unique(owners))
    if spare == 0 or linear.out_features != linear.in_features:
        return
    values, axes = np.linalg.eigh(within.T @ within / counts.sum())
    transform = axes @ np.diag((np.maximum(values, 0) + values.mean()) ** -0.5) @ axes.T
    transform *= np.sqrt(len(transform)) / np.linalg.norm(transform)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(transform))
        linear.bias.copy_(torch.from_numpy(-transform @ np.average(sentences, axis=0, weights=counts)))
        recall = model.video_tower.recall
        if recall is not None:
            recall.weight.copy_(torch.from_numpy(transform))


def fit_memory(model: CezsarModel, examples: Examples, *, also_weight: float, seed: int) -> Vectors:
    """Fit the model's memory; return (N, S), its recall of each training segment when that footage is forgotten.

    The values solve (K + ridge W^-1) values = Y by kernel ridge regression, Y being the mean sentence of each
    segment less the mean of its corpus, and W 1 for a row, also_weight for a noisier one. Of more segments than
    the memory holds, a random part is remembered. What is recalled of a segment in training comes from a memory fitted
    without its footage, as it will be for unseen ones.
    """
    memory = model.video_tower.memory
    assert memory is not None
    means = examples.means().astype(np.float64)
    counted = means[examples.corpora == MAIN]
    centre, spread = counted.mean(axis=0), counted.std(axis=0) + _MIN_STD
    blocks = np.split((means - centre) / spread, memory.num_blocks, axis=1)
    axes = np.concatenate([_main_axes(block, memory.axes.shape[1]) for block in blocks])
    with torch.no_grad():
        memory.mean.copy_(torch.from_numpy(centre))
        memory.scale.copy_(torch.from_numpy(1 / spread))
        memory.axes.copy_(torch.from_numpy(axes))
    points = memory.project(torch.from_numpy(means).to(memory.mean.dtype)).double()
    targets = torch.from_numpy(_mean_sentences(examples))
    weights = torch.from_numpy(np.where(examples.corpora == ALSO, also_weight, 1.0))
    held = np.sort(np.random.default_rng(seed).permutation(len(examples))[: len(memory.keys)])
    kernel = memory.kernel(points, points[held])  # (N, held)
    factor = torch.linalg.cholesky(kernel[held] + torch.diag(_RIDGE / weights[held]))
    inverse = torch.cholesky_inverse(factor)
    values = inverse @ targets[held]
    recalled = kernel @ values
    for source in np.unique(examples.sources[held]):
        rows = np.flatnonzero(examples.sources == source)
        known = np.flatnonzero(examples.sources[held] == source)
        # the values without these: block inversion, instead of another fit
        forgotten = inverse[:, known] @ torch.linalg.solve(inverse[known][:, known], values[known])
        recalled[rows] -= kernel[rows] @ forgotten
    with torch.no_grad():
        memory.keys.copy_(points[held])
        memory.values.copy_(values)
    return np.asarray(recalled.numpy(), np.float32)


def fill_querybank(model: CezsarModel, examples: Examples, *, seed: int) -> None:
    """Give the model's query bank random sentences of the examples."""
    assert model.querybank is not None
    chosen = np.random.default_rng(seed).permutation(len(examples.owners))[: len(model.querybank.sentences)]
    with torch.no_grad():
        model.querybank.sentences.copy_(torch.from_numpy(examples.sentences[np.sort(chosen)]))


def _main_axes(rows: NDArray[np.float64], dimension: int) -> NDArray[np.float64]:
    """(F, d): the directions of most variance, scaled so that a row's squared length is d on average."""
    values, axes = np.linalg.eigh(np.cov(rows, rowvar=False))
    values, axes = values[::-1][:dimension], axes[:, ::-1][:, :dimension]
    return np.asarray(axes * np.sqrt(dimension / max(values.sum(), 1e-12)))


def _mean_sentences(examples: Examples) -> NDArray[np.float64]:
    means = _by_owner(examples.sentences.astype(np.float64), examples.owners, len(examples))
    for corpus in (MAIN, ALSO):
        rows = examples.corpora == corpus
        if rows.any():
            means[rows] -= means[rows].mean(axis=0)
    return means


def _by_owner(rows: NDArray[np.float64], owners: Ids, count: int) -> NDArray[np.float64]:
    """(count, S): the mean row of each owner; 0 for one without."""
    sums = np.zeros((count, rows.shape[1]))
    np.add.at(sums, owners, rows)
    return np.asarray(sums / np.maximum(np.bincount(owners, minlength=count), 1)[:, None])


def object_positives(
    model: CezsarModel, examples: Examples, said: list[str], *, count: int, top: int, windows: int = 0, seed: int = 0
) -> Ids:
    """(M, W, count): the objects of each sentence's segment that are nearest to it, out of its likeliest `top`.

    The segment is seen whole, W being 1, or in W = windows random windows of 10 s in it, each of which chooses for
    itself (arXiv 2605.01165). Only objects with sentences of at least 6 words count; -1 if there are no more.
    """
    generator = np.random.default_rng(seed)
    seen = [_windowed(examples, model.config.fps, generator) for _ in range(windows)] or [examples.means()]
    return np.stack([_nearest_objects(model, examples, said, means, count, top) for means in seen], axis=1)


def _windowed(examples: Examples, fps: float, generator: np.random.Generator) -> Vectors:
    """(N, F): the mean feature of 10 s somewhere in each segment; of all if it is no longer."""
    length = max(round(_WINDOW_S * fps), 1)
    starts = [int(generator.integers(max(len(frames) - length, 0) + 1)) for frames in examples.features]
    return np.stack(
        [frames[at : at + length].mean(axis=0) for at, frames in zip(starts, examples.features, strict=True)]
    )


def _nearest_objects(
    model: CezsarModel, examples: Examples, said: list[str], means: Vectors, count: int, top: int
) -> Ids:
    """(M, count): of the objects that each segment's mean feature (N, F) makes likely."""
    assert model.objects is not None
    logits = means @ model.objects.weight.numpy().T + model.objects.bias.numpy()
    long = np.array([len(sentence.split()) >= 6 for sentence in said])
    chosen = np.full((len(examples.owners), count), -1, np.int64)
    likeliest = np.argsort(-np.where(long, logits, -np.inf), axis=1, kind="stable")[:, :top][examples.owners]
    embedded = unit(model.objects.sentences.numpy())
    nearness = np.einsum("ms,mts->mt", examples.sentences, embedded[likeliest])
    nearness[~long[likeliest]] = -np.inf
    order = np.argsort(-nearness, axis=1, kind="stable")[:, :count]
    found = np.take_along_axis(likeliest, order, axis=1)
    found[~np.isfinite(np.take_along_axis(nearness, order, axis=1))] = -1
    chosen[:, : found.shape[1]] = found
    return chosen
