"""Figures of merit for rankings and classifications; pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def precision_at_k(relevant: Sequence[bool], k: int) -> float:
    """The share of relevant ones among the first k of a ranking, in [0, 1]; ranks beyond its end are not relevant."""
    return float(np.sum(np.asarray(relevant[:k], bool)) / k)


def accuracy(predicted: Sequence[str], true: Sequence[str]) -> float:
    """Top-1 accuracy in [0, 1]: the share of predictions that are right."""
    return float(np.mean([one == other for one, other in zip(predicted, true, strict=True)]))
