"""The bank of generic videos beside a model: python tools/bank.py MODEL CAPTIONS [--count 512].

MODEL is a model's folder, CAPTIONS a file of captions, as `cezsar train` takes them, of footage that the model was
trained on; the captions are not read. Of its videos those whose names have the lowest sha256 are taken, the same ones
each time. A video is the unit mean of its segments, as `cezsar classify` has it.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cezsar import indexer, store
from cezsar.encoders import bank
from cezsar.pairs import read_pairs
from cezsar.settings import load
from cezsar.types import unit


def main() -> None:
    """Write bank.safetensors into the model's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--count", type=int, default=512)
    asked = parser.parse_args()
    videos = sorted({pair.video for pair in read_pairs(asked.captions).pairs}, key=_place)[: asked.count]
    with TemporaryDirectory() as folder:
        settings = load(environ={}, index=Path(folder) / "index", model=str(asked.model), device="cpu")
        report = indexer.index(videos, settings)
        if report.skipped:
            raise SystemExit(f"{report.skipped[0].path} cannot be read: {report.skipped[0].reason}")
        with store.open(settings.index) as catalog, catalog.read() as rows:
            identity = catalog.info.encoder
            ids = sorted((video.file.absolute, video.id) for video in rows.videos())
            means = [rows.segments(number)[1].mean(axis=0) for _, number in ids]
    path = bank.write(asked.model, identity, unit(np.stack(means)))
    print(f"{path}: {len(means)} videos, {path.stat().st_size:,} bytes")


def _place(video: Path) -> bytes:
    return hashlib.sha256(video.name.encode()).digest()


if __name__ == "__main__":
    main()
