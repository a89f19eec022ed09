"""Checking a receipt: its files hashed again, some of its clips embedded again, and its figures compared."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cezsar.errors import VideoError
from cezsar.query.benchmark.receipt import TOLERANCE, compare, has_contents
from cezsar.query.benchmark.run import Progress, Result
from cezsar.query.search import Searcher
from cezsar.store import Embedding

_SHARE = 10  # one clip of so many is embedded anew
_LEAST = 5  # clips


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check: its steps, the steps that it could not do, and the differences."""

    did: str
    could_not: tuple[str, ...]
    differences: tuple[str, ...]
    is_identical: bool


def check(
    before: dict[str, Any],
    result: Result,
    searcher: Searcher,
    root: Path,
    *,
    embed: Callable[[Path], Embedding],
    seed: int,
    takes_all: bool = False,
    progress: Progress = lambda _: None,
) -> Checked:
    """Compare a receipt with a result whose hashes are of the files themselves, and embed a tenth of its clips anew.

    embed gives a video's vectors by the encoder from its files. The seed draws the clips to embed, at least five of
    them, or all. Vectors must be those of the index bit for bit if the receipt was made on this machine, and within
    1e-4 on another. Raises EncoderError, BadIndex.
    """
    compared = compare(before, result.receipt)
    paths = {number: os.path.relpath(path, root) for number, path in result.videos}
    count = len(paths) if takes_all else min(len(paths), max(_LEAST, math.ceil(len(paths) / _SHARE)))
    chosen = sorted(random.Random(seed).sample(sorted(paths), count))
    differing, far = [], 0.0
    for done, number in enumerate(chosen, 1):
        progress(f"embedding {paths[number]} anew ({done} of {count})")
        try:
            apart = _apart(searcher, number, embed(root / paths[number]))
        except VideoError as error:
            differing.append(f"{paths[number]}: it cannot be embedded anew: {error}")
            continue
        far = max(far, apart)
        if apart > (0.0 if _is_same_machine(before, result.receipt) else TOLERANCE):
            differing.append(
                f"{paths[number]}: its vectors in the index are not those that the model gives "
                + ("(other segments)" if math.isinf(apart) else f"(up to {apart:.2g} apart)")
            )
    stale = _stale(searcher, result, paths)
    equal = "equal, bit for bit" if far == 0 else f"equal within {TOLERANCE:g}"
    drawn = "" if count == len(paths) else f" (drawn with seed {seed})"
    said = "captions" if isinstance(result.receipt["sentences"]["texts"], list) else "class sentences"
    return Checked(
        f"hashed {len(paths):,} of {len(paths):,} clips, {result.receipt['sentences']['count']:,} {said}, the model's "
        f"weights; embedded {count:,} of {len(paths):,} anew{drawn}: "
        + (f"{len(differing):,} differ" if differing else equal),
        _unheld(before),
        (*compared.differences, *stale, *differing),
        compared.is_identical and not stale and far == 0,
    )


def _apart(searcher: Searcher, video: int, anew: Embedding) -> float:
    """The largest difference between a video's vectors in the index and new ones; infinite if segments differ."""
    with searcher.read() as rows:
        parts, vectors = rows.segments(video)
    if tuple(parts) != tuple(anew.segments) or vectors.shape != anew.vectors.shape:
        return math.inf
    apart = float(np.abs(vectors.astype(np.float64) - anew.vectors).max(initial=0.0))
    return math.inf if math.isnan(apart) else apart


def _stale(searcher: Searcher, result: Result, paths: dict[int, str]) -> list[str]:
    """Files whose content is not what the index was made of."""
    with searcher.read() as rows:
        known = {video.id: video.content_sha256.hex() for video in rows.videos()}
    files = result.receipt["clips"]["files"]
    return [
        f"{name}: its content has changed since it was indexed (`touch` it, so that it is embedded again)"
        for number, name in paths.items()
        if files[name] != known[number]
    ]


def _is_same_machine(before: dict[str, Any], now: dict[str, Any]) -> bool:
    return all(before.get(name) == now.get(name) is not None for name in ("machine", "device", "versions"))


def _unheld(before: dict[str, Any]) -> tuple[str, ...]:
    """What a receipt of an older format does not hold, so that it is not checked."""
    if has_contents(before):
        return ()
    return (
        "the receipt is of an older format: it has one hash for all clips and one for all sentences, so that the one "
        "that changed cannot be named, and none for the model's settings and tokenizer. As when it was made, copies of "
        "a clip count each, and standard deviations have ddof 1",
    )
