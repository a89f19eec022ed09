"""Index a folder of videos, search it, and print the best moments. It runs offline.

python examples/search.py FOLDER "a dog runs" INDEX
"""

from __future__ import annotations

import sys
from pathlib import Path

import cezsar
from cezsar import indexer, query


def main(folder: str, text: str, index: str) -> None:
    """Videos in the index are not embedded again: only the first call takes long."""
    settings = cezsar.load_settings(index=Path(index))
    report = indexer.index([Path(folder)], settings)
    for skipped in report.skipped:
        print(f"{skipped.path} cannot be read: {skipped.reason}", file=sys.stderr)

    with query.Searcher(settings.index) as searcher:
        hits = searcher.search(text, filters=query.Filters(top_k=5))
        if hits.nothing_like_it:
            print("Probably nothing shows that; the nearest moments are:", file=sys.stderr)
        for hit in hits:
            print(f"{hit.score:.3f}  {hit.path}  {hit.start_s:.1f}-{hit.end_s:.1f} s")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except cezsar.CezsarError as error:  # everything that goes wrong on purpose
        sys.exit(str(error))
