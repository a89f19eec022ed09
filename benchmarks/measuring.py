"""What every benchmark shares: ratios of two things that take turns in one run, and the verdict on them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A job against a yardstick: a ratio a round, and the least, or with at_most the most, that it should be."""

    job: str
    yardstick: str
    ratios: tuple[float, ...]
    target: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        """Whether the median reaches the target."""
        if self.target is None:
            return ""
        return "reached" if (self.ratio <= self.target if self.at_most else self.ratio >= self.target) else "MISSED"

    def cells(self) -> tuple[str, str, str, str, str]:
        """Job, yardstick, ratio with its spread, target, verdict."""
        low, high = min(self.ratios), max(self.ratios)
        spread = "" if low == high else f" ({low:.2f}-{high:.2f})"
        target = "" if self.target is None else f"{'<=' if self.at_most else '>='} {self.target:g}"
        return self.job, self.yardstick, f"{self.ratio:.2f}{spread}", target, self.verdict


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def turns(one: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """The seconds of both, taking turns, once more than is counted."""
    seconds(one), seconds(other)
    pairs = [(seconds(one), seconds(other)) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def ratios(over: Sequence[float], under: Sequence[float]) -> tuple[float, ...]:
    """Round by round."""
    return tuple(one / other for one, other in zip(over, under, strict=True))
