"""Whether a search tells what is there from what is not: python benchmarks/absent.py CLIPS [--model lite].

CLIPS holds clips of some of UCF-101's classes, a sub-folder each. Each of the 101 class names is searched for in an
index of them. The table gives the area under the ROC curve of the first hit's confidence, names with clips against
names without, that of the bare score, and how many of either reach the threshold.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from cezsar import indexer
from cezsar.metrics import auroc
from cezsar.query import Filters, Searcher
from cezsar.query.benchmark.datasets import official_classes
from cezsar.query.prompts import words
from cezsar.settings import load


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--model", default="lite")
    asked = parser.parse_args()
    there = {folder.name for folder in asked.clips.iterdir() if folder.is_dir()}
    names = official_classes("ucf101")
    with tempfile.TemporaryDirectory() as folder:
        settings = load(environ={}, index=Path(folder) / "index", model=asked.model)
        indexer.index([asked.clips], settings)
        with Searcher(settings.index) as searcher:
            hits = [searcher.search(words(name), filters=Filters(top_k=1)) for name in names]
    is_there = np.array([name in there for name in names])
    confidence = np.array([found[0].confidence for found in hits], np.float64)
    scores = np.array([found[0].score for found in hits])
    reach = np.array([not found.nothing_like_it for found in hits])
    print(f"{is_there.sum()} names with clips, {(~is_there).sum()} without")
    print(f"area under the ROC curve: {auroc(confidence, is_there):.3f} (bare score {auroc(scores, is_there):.3f})")
    print(f"reach the threshold: {reach[is_there].sum()} of those with, {reach[~is_there].sum()} of those without")


if __name__ == "__main__":
    main()
