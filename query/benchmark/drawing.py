"""The figures of a classification benchmark, as PNG images; the only code of the read path that draws."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cezsar.query.benchmark.run import Scored
from cezsar.types import Ids

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NAMES = 60  # that can be read on an axis
_DRAWS = 20
_DPI = 110


def draw(scored: Scored, confusions: Sequence[Sequence[int]], by_class: Sequence[float | None]) -> dict[str, bytes]:
    """File name -> PNG: confusion matrix, accuracy of each class, t-SNE, and accuracy against number of classes."""
    return {
        "confusion.png": _png(_confusion(scored.task.classes, np.array(confusions))),
        "classes.png": _png(_bars(scored.task.classes, by_class)),
        "tsne.png": _png(_tsne(scored)),
        "curve.png": _png(_curve(scored)),
    }


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _confusion(classes: Sequence[str], counts: Ids) -> Figure:
    present = np.flatnonzero(counts.sum(axis=1))
    shares = counts[present] / counts[present].sum(axis=1, keepdims=True)
    columns = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    size = min(4 + 0.17 * max(len(columns), len(present)), 16)
    figure = _figure(size + 1, size)
    axes = figure.subplots()
    image = axes.imshow(shares[:, columns], cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    figure.colorbar(image, label="share of the class's clips")
    if len(columns) <= _MOST_NAMES:
        axes.set_xticks(range(len(columns)), [classes[i] for i in columns.tolist()], rotation=90, fontsize=7)
    if len(present) <= _MOST_NAMES:
        axes.set_yticks(range(len(present)), [classes[i] for i in present.tolist()], fontsize=7)
    axes.set(xlabel="taken for", ylabel="class", title="Confusion matrix (classes with clips, or taken for)")
    return figure


def _bars(classes: Sequence[str], by_class: Sequence[float | None]) -> Figure:
    found = sorted(((share, name) for name, share in zip(classes, by_class, strict=True) if share is not None))
    figure = _figure(7, min(1.5 + 0.2 * len(found), 24))
    axes = figure.subplots()
    axes.barh(range(len(found)), [100 * share for share, _ in found], color="tab:blue")
    axes.set_yticks(range(len(found)), [name for _, name in found], fontsize=8 if len(found) <= _MOST_NAMES else 4)
    axes.set(xlim=(0, 100), xlabel="top-1 accuracy (%)", title="Accuracy of each class", ylim=(-0.6, len(found) - 0.4))
    return figure


def _tsne(scored: Scored) -> Figure:
    """Classes with clips alone, since a hundred others would hide them."""
    from sklearn.manifold import TSNE

    classes, videos = np.unique(scored.targets), scored.videos
    owners = scored.owners[np.isin(scored.owners, classes)]
    said = scored.prototypes[np.isin(scored.owners, classes)]
    rows = np.concatenate([videos - videos.mean(axis=0), said - said.mean(axis=0)])  # the two lie apart otherwise
    perplexity = max(1.0, min(30.0, (len(rows) - 1) / 3))
    places = TSNE(perplexity=perplexity, init="pca", random_state=0, metric="cosine").fit_transform(rows)
    figure = _figure(8.5, 6)
    axes = figure.subplots()
    number = {label: place for place, label in enumerate(classes.tolist())}
    colours = [number[label] for label in scored.targets.tolist()]
    stars = [number[label] for label in owners.tolist()]
    style: dict[str, Any] = {"cmap": "tab20", "vmin": 0, "vmax": max(len(classes) - 1, 1)}
    clips, classed = places[: len(videos)], places[len(videos) :]
    axes.scatter(clips[:, 0], clips[:, 1], c=colours, s=14, **style)
    axes.scatter(classed[:, 0], classed[:, 1], c=stars, s=140, marker="*", edgecolors="black", linewidths=0.8, **style)
    if len(classes) <= _MOST_NAMES:
        for place, label in zip(classed, owners.tolist(), strict=True):
            axes.annotate(scored.task.classes[label], place, fontsize=7, xytext=(4, 4), textcoords="offset points")
    axes.set(xticks=[], yticks=[], title="t-SNE: clips (dots) and class prototypes (stars), colours by class")
    return figure


def _curve(scored: Scored) -> Figure:
    """Top-1 accuracy among ever more of the candidates: random sets of classes, some of them with clips."""
    num_classes, random = scored.scores.shape[1], np.random.default_rng(0)
    sizes = sorted({2, num_classes, *np.unique(np.geomspace(2, num_classes, 12).astype(int)).tolist()})
    means, spreads = [], []
    for size in sizes:
        found = [_accuracy(scored, random.choice(num_classes, size, replace=False)) for _ in range(_DRAWS)]
        known = [value for value in found if value is not None]
        means.append(float(np.mean(known)) if known else math.nan)
        spreads.append(float(np.std(known)) if known else math.nan)
    figure = _figure(6.5, 4)
    axes = figure.subplots()
    axes.errorbar(sizes, means, yerr=spreads, marker="o", capsize=3, label="nearest class")
    axes.plot(sizes, [100 / size for size in sizes], linestyle=":", color="grey", label="chance")
    axes.set(xlabel="candidate classes", ylabel="top-1 accuracy (%)", ylim=(0, 100), xscale="log",
             title=f"Accuracy against number of classes ({_DRAWS} draws, mean and std, ddof 0)")  # fmt: skip
    axes.set_xticks(sizes, [str(size) for size in sizes], fontsize=8)
    axes.minorticks_off()
    axes.legend()
    return figure


def _accuracy(scored: Scored, classes: Ids) -> float | None:
    """In percent, of the clips of these classes among them; None if they have none. A tie is wrong."""
    rows = np.flatnonzero(np.isin(scored.targets, classes))
    if not len(rows):
        return None
    scores = scored.scores[np.ix_(rows, classes)]
    right = scored.scores[rows, scored.targets[rows]][:, None]
    return 100 * float(np.mean((scores >= right).sum(axis=1) == 1))
