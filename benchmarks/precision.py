"""How well search and labels work on a folder with one sub-folder a class: python benchmarks/precision.py DIR [MODEL].

Prints the mean precision at 10 of the queries "CLASS" and "person CLASS", and the zero-shot top-1 accuracy of
`cezsar classify` with the class names as words; each beside what chance gives, and as a ratio to it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from cezsar import indexer, metrics, settings
from cezsar.query import Filters, Searcher, classify, from_names
from cezsar.query.prompts import words


def main(root: Path, model: str | None) -> None:
    """Index root afresh and print the table."""
    classes = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    with tempfile.TemporaryDirectory() as folder:
        chosen = settings.load(index=Path(folder) / "index", model=model)
        report = indexer.index([root], chosen)
        with Searcher(chosen.index) as searcher:
            videos = classify(searcher, [root], from_names(classes), top_k=1)
            shares = {name: sum(video.path.parent.name == name for video in videos) / len(videos) for name in classes}
            rows = [
                (
                    "top-1 accuracy, class names",
                    metrics.accuracy([v.predictions[0].label for v in videos], [v.path.parent.name for v in videos]),
                    1 / len(classes),
                )
            ]
            for template in ("{}", "person {}"):
                precisions = []
                for name in classes:
                    hits = searcher.search(template.format(words(name)), filters=Filters(top_k=10))
                    precisions.append(metrics.precision_at_k([hit.path.parent.name == name for hit in hits], 10))
                mean = sum(precisions) / len(classes)
                rows.append(
                    (f'precision at 10, "{template.format("CLASS")}"', mean, sum(shares.values()) / len(classes))
                )
    print(f"{report.added} videos, {len(classes)} classes, {len(report.skipped)} skipped; model {report.model}")
    for name, value, chance in rows:
        print(f"{name:<32} {100 * value:5.1f}%   chance {100 * chance:4.1f}%   ratio {value / chance:4.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
