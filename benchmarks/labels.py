"""What stands for a label, measured on kept-out captioned videos: python benchmarks/labels.py DATA --index DIR.

DATA holds msrvtt_sparse/captions.jsonl, and msrvtt_trainval/captions.jsonl, from which sentences for labels are
taken. DIR is an index of msrvtt_sparse, made with a model that never saw the kept-out videos (.runs/kept-out/best)
and has a bank (tools/bank.py). There are no class labels, so phrases of the captions are taken for some:

acts    an -ing verb with the noun that follows within two small words and an adjective ("playing guitar"), or alone
things  a noun of one or two words that is met as a noun at least as often as as a verb
rare    those of the things that were met at most three times in WordNet's own texts

A phrase is a label if 2 to 20 of the kept-out videos (things 3 to 12, rare 1 to 12) have it in at least 2 of their
captions (things and rare 3). Of labels with the same videos the most frequent is taken. A video that has a label is
right if one of its captions fewer has the label that is nearest to it. Figures are the share of right videos, and the
same with each label's videos weighing alike, in percent, with 95% intervals of 1,000 bootstrap samples of videos.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cezsar.digest import kept_out
from cezsar.metrics import bootstrap
from cezsar.query import Searcher
from cezsar.query.glosses import dictionary, glossed, key
from cezsar.query.prototypes import DISCOUNT, PROMPT, TOP, bank
from cezsar.types import Vectors, unit

_SMALL_WORDS = "a an the his her their some on in with at up out of to into through for around down off over"
_SMALL = frozenset(_SMALL_WORDS.split())
_OTHERS = """man woman person people girl boy guy lady child kid men women someone one two three group male female
player video clip scene something it him them her different lot way type front side top thing camera footage screen
bunch couple being doing going having getting showing using trying starting making taking putting coming giving keeping
looking nothing everything anything morning evening during holding waiting living standing sitting watching laying"""
_NO_LABEL = frozenset(_OTHERS.split())  # persons, what every video has, and words in -ing that say no act
_SENTENCES = 3  # a label, where some are given


@dataclass(frozen=True)
class Labels:
    """Phrases, (videos, phrases) what is surely a video's, and what is perhaps."""

    names: list[str]
    sure: NDArray[np.bool_]
    perhaps: NDArray[np.bool_]


def acts(caption: str) -> Iterator[str]:
    """The -ing verbs of a caption, each with its noun."""
    words = re.findall("[a-z]+", caption.lower())
    for start, word in enumerate(words):
        if not is_gerund(word):
            continue
        place = start + 1
        while place < min(len(words), start + 3) and words[place] in _SMALL:
            place += 1
        noun = noun_at(words, place) or noun_at(words, place + 1)
        yield f"{word} {noun}" if noun else word


def things(caption: str) -> Iterator[str]:
    """The nouns of a caption."""
    words = re.findall("[a-z]+", caption.lower())
    place = 0
    while place < len(words):
        noun = noun_at(words, place)
        if noun:
            yield noun
        place += len(noun.split()) if noun else 1


def rare(caption: str) -> Iterator[str]:
    """Those that are met at most three times."""
    return (noun for noun in things(caption) if count(noun, "n") <= 3)


def is_gerund(word: str) -> bool:
    """Whether it is the -ing form of a verb, and says an act."""
    stem = word.removesuffix("ing")
    if stem == word or len(stem) < 2 or word in _NO_LABEL:
        return False
    return any(count(base, "v") >= 0 for base in (stem, f"{stem}e", stem[:-1] if stem[-1] == stem[-2] else stem))


def noun_at(words: Sequence[str], place: int) -> str | None:
    """The noun of two words, or of one, that begins there."""
    for many in (2, 1):
        found = words[place : place + many]
        if len(found) < many or found[0] in _SMALL | _NO_LABEL or found[-1] in _NO_LABEL:
            continue
        for last in (found[-1].removesuffix("s"), found[-1]):
            noun = " ".join([*found[:-1], last])
            if len(noun) > 2 and not is_gerund(noun) and 0 <= count(noun, "n") >= count(noun, "v"):
                return noun
    return None


@cache
def count(words: str, pos: str) -> int:
    """How often it was met; -1 where it is no such word."""
    entry = dictionary().entry(key(words), pos)
    return -1 if entry is None else entry.count


# what finds the phrases, the fewest and most videos of a label, and how many captions make sure of one
KINDS: dict[str, tuple[Callable[[str], Iterator[str]], int, int, int]] = {
    "acts": (acts, 2, 20, 2),
    "things": (things, 3, 12, 3),
    "rare": (rare, 1, 12, 3),
}


def labels_of(captions: Sequence[Sequence[str]], kind: str) -> Labels:
    """The labels of videos by their captions."""
    find, fewest, most, surely = KINDS[kind]
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for video, said in enumerate(captions):
        for caption in said:
            for phrase in set(find(caption)):
                counts[phrase][video] += 1
    sure = {phrase: frozenset(v for v, n in found.items() if n >= surely) for phrase, found in counts.items()}
    once: dict[frozenset[int], str] = {}
    for phrase in sorted(counts, key=lambda phrase: (-counts[phrase].total(), phrase)):
        if fewest <= len(sure[phrase]) <= most:
            once.setdefault(sure[phrase], phrase)
    names = sorted(once.values())

    def table(least: int) -> NDArray[np.bool_]:
        return np.array([[counts[name][video] >= least for name in names] for video in range(len(captions))])

    return Labels(names, table(surely), table(surely - 1))


def sentences_of(rows: Sequence[Mapping[str, list[str]]], kind: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Captions of other videos that have a label's phrase, one a video, always the same ones."""
    wanted, found = set(names), defaultdict(list)
    for row in sorted(rows, key=lambda row: sha256(str(row["video"]).encode()).hexdigest()):
        taken = set()
        for caption in row["sentences"]:
            for phrase in set(KINDS[kind][0](caption)) & wanted - taken:
                if len(caption.split()) > 4 and len(found[phrase]) < _SENTENCES:
                    found[phrase].append(caption)
                    taken.add(phrase)
    return found


class Lab:
    """The kept-out videos, and what a way of putting labels is worth on them."""

    def __init__(self, searcher: Searcher, data: Path) -> None:
        self.searcher, self._known = searcher, dict[str, Vectors]()
        rows = [json.loads(line) for line in (data / "msrvtt_sparse/captions.jsonl").open(encoding="utf-8")]
        rows = [row for row in rows if kept_out(Path(row["video"]).stem, seed=0, share=0.44)]
        self.captions = [row["sentences"] for row in rows]
        self.others = [json.loads(line) for line in (data / "msrvtt_trainval/captions.jsonl").open(encoding="utf-8")]
        self.videos = self._vectors([row["video"] for row in rows])
        generic = bank(searcher)
        if generic is None:
            raise SystemExit("The model has no bank: tools/bank.py makes one.")
        self.generic = generic

    def _vectors(self, names: Sequence[str]) -> Vectors:
        with self.searcher.read() as rows:
            ids = {Path(video.file.path.decode()).name: video.id for video in rows.videos()}
            means = [rows.segments(ids[name])[1].mean(axis=0) for name in names]
        return unit(np.stack(means))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """(N, D), each text encoded once."""
        new = sorted({text for text in texts if text not in self._known}, key=len)
        if new:
            self._known |= dict(zip(new, self.searcher.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])

    def scores(self, ways: Sequence[Sequence[Sequence[str]]], videos: Vectors, *, nearest: bool = False) -> Vectors:
        """(N, C) of videos and labels, a label being groups of texts: the mean of their means, or the nearest text."""
        if nearest:
            rows = [(videos @ self.encode([text for group in way for text in group]).T).max(axis=1) for way in ways]
            return np.stack(rows, axis=1)
        means = [np.sum([self.encode(group).mean(axis=0) for group in way if group], axis=0) for way in ways]
        return np.asarray(videos @ unit(np.stack(means)).T)

    def row(self, labels: Labels, ways: Sequence[Sequence[Sequence[str]]], *, corrects: bool, nearest: bool) -> str:
        """Both figures, with their intervals."""
        scores = self.scores(ways, self.videos, nearest=nearest)
        if corrects:
            generic = np.sort(self.scores(ways, self.generic, nearest=nearest), axis=0)
            scores = scores - DISCOUNT * generic[-round(TOP * len(generic)) :].mean(axis=0)
        asked = labels.sure.any(axis=1)
        right = (labels.perhaps | labels.sure)[np.arange(len(scores)), scores.argmax(axis=1)][asked].astype(float)
        weights = (labels.sure / np.maximum(labels.sure.sum(axis=0), 1)).sum(axis=1)[asked]
        places = np.arange(len(right))
        cells = []
        for weight in (np.ones(len(right)), weights):

            def figure(rows: NDArray[np.integer], weight: NDArray[np.floating] = weight) -> float:
                return float(np.average(right[rows], weights=weight[rows]))

            low, high = bootstrap(figure, places)
            cells.append(f"{100 * figure(places):.1f} ({100 * low:.1f} to {100 * high:.1f})")
        return " | ".join(cells)


def main() -> None:
    """Print a table a kind of labels, of names alone and of names with sentences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True)
    asked = parser.parse_args()
    with Searcher(asked.index, device="cpu") as searcher:
        lab = Lab(searcher, asked.data)
        for kind in KINDS:
            labels = labels_of(lab.captions, kind)
            num_videos = int(labels.sure.any(axis=1).sum())
            said = sentences_of(lab.others, kind, labels.names)
            print(f"\n{kind}: {len(labels.names)} labels, {num_videos} of {len(lab.captions)} videos have one\n")
            print("| what stands for a label | corrected | right % | right %, labels alike |\n|---|---|---|---|")
            names = {name: [name] for name in labels.names}
            prompted = {name: [name, PROMPT.format(name)] for name in names}
            full = {name: [*prompted[name], *([glossed(name)] if glossed(name) else [])] for name in names}
            for what, texts, nearest in (
                ("its name (--raw)", [[names[name]] for name in names], True),
                ("name, prompt", [[prompted[name]] for name in names], False),
                ("name, prompt, gloss (the default)", [[full[name]] for name in names], False),
                ("3 sentences, the nearest (--raw)", [[said[name] or names[name]] for name in names], True),
                ("3 sentences, their mean", [[said[name] or names[name]] for name in names], False),
                ("and name, prompt, gloss (the default)", [[said[name], full[name]] for name in names], False),
            ):
                for corrects in (False, True):
                    found = lab.row(labels, texts, corrects=corrects, nearest=nearest)
                    print(f"| {what} | {'yes' if corrects else 'no'} | {found} |", flush=True)


if __name__ == "__main__":
    main()
