"""The meanings of a label's rare words: glosses of WordNet 3.1's nouns and verbs, shipped in query/wordnet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

from cezsar.digest import sha256

NAME = "WordNet 3.1"
_FILE = Path(__file__).with_name("wordnet") / "glosses.zip"
_LONGEST = 5  # words that are looked for as one
_RARE = 5  # a word that was met more often in WordNet's own texts is known to every encoder
_SHORTEST_JOINED = 3  # letters of a word that can be joined to the next: breast stroke, but not a part

# Words that say nothing of what is seen
_EMPTY = frozenset({
    "a", "an", "the", "of", "in", "on", "at", "to", "with", "and", "or", "for", "from", "by", "into", "onto", "up",
    "down", "out", "off", "over", "under", "through", "across", "along", "around", "about", "as", "is", "are",
    "be", "being", "was", "were", "his", "her", "their", "its", "my", "your", "our", "it", "them", "this", "that",
    "these", "those", "no", "not", "some", "any", "something", "someone", "somebody", "person", "people", "man",
    "woman", "men", "women"
})  # fmt: skip
_PARTICLES = frozenset({
    "up", "down", "off", "on", "out", "over", "in", "through", "away", "back", "around", "along"
})  # fmt: skip
_PLURALS = (
    ("ies", "y"), ("ves", "f"), ("ves", "fe"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"),
    ("zes", "z"), ("oes", "o"), ("s", ""),
)  # fmt: skip
_ODD_PLURALS = (("men", "man"), ("children", "child"), ("feet", "foot"), ("teeth", "tooth"), ("mice", "mouse"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A noun or verb: how often it was met in WordNet's own texts, and its senses as (worth, gloss), best first.

    Worth is of what is met often, and of what can be seen (tools/glosses.py).
    """

    count: int
    senses: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class _Match:
    """Words of a label that the dictionary has as one, the label's other words, and what the dictionary says."""

    rest: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def gloss(self) -> str:
        """The sense that shares most words with the label's other words; of those that share alike, the worthiest."""
        others = {_stem(word) for word in self.rest if word not in _EMPTY}

        def fit(sense: tuple[int, str]) -> tuple[int, int]:
            worth, gloss = sense
            return len(others & {_stem(word) for word in re.findall("[a-z]+", gloss)}), worth

        return max((sense for entry in self.entries for sense in entry.senses), key=fit)[1]


class Dictionary:
    """Glosses by key; a part of the file is read when a word in it is first asked for."""

    def __init__(self, file: Path) -> None:
        self._file = ZipFile(BytesIO(file.read_bytes()))
        self._parts: dict[str, bytes] = {}

    def entry(self, name: str, pos: str) -> Entry | None:
        """The entry of a key as a noun, 'n', or as a verb, 'v'."""
        part = self._part(member(name))
        line = f"\n{name}\t{pos}\t".encode()
        start = part.find(line)
        if start < 0:
            return None
        start += len(line)
        count, *senses = part[start : part.find(b"\n", start)].decode("ascii").split("\t")
        return Entry(
            int(count), tuple((int(worth), gloss) for worth, _, gloss in (one.partition(" ") for one in senses))
        )

    def _part(self, name: str) -> bytes:
        if name not in self._parts:
            self._parts[name] = self._file.read(name) if name in self._file.NameToInfo else b""
        return self._parts[name]


@cache
def dictionary() -> Dictionary:
    """The shipped one, opened once."""
    return Dictionary(_FILE)


@cache
def fingerprint() -> str:
    """The sha256 of the dictionary's file, in hex."""
    return sha256(_FILE).hex()


def key(lemma: str) -> str:
    """A lemma as the dictionary has it: 'push-up', 'push_up' and 'pushup' are one."""
    return re.sub(r"[\W_]+", "", lemma.lower())


def member(name: str) -> str:
    """The part of the dictionary's file that holds a key."""
    return name[:2]


def glossed(label: str) -> str | None:
    """A label, as words, with its rare words' meanings: 'breast stroke: a swimming stroke; ...'; None if it has none.

    The longest run of words that the dictionary has counts: nouns, also in the plural, and verbs, also in -ing.
    """
    said = [match.gloss for match in _matches(label) if sum(entry.count for entry in match.entries) <= _RARE]
    return f"{label}: {'; '.join(said)}" if said else None


def _matches(label: str) -> Iterator[_Match]:
    words = [key(token) for token in label.split()]
    start = 0
    while start < len(words):
        for stop in range(min(start + _LONGEST, len(words)), start, -1):
            if entries := _entries(words[start:stop]):
                yield _Match((*words[:start], *words[stop:]), entries)
                start = stop
                break
        else:
            start += 1


def _entries(words: Sequence[str]) -> tuple[Entry, ...]:
    """What the dictionary has of these words as one: of a word in -ing its verb first, of others a noun."""
    if words[0] in _EMPTY or not all(word.isascii() and word.isalpha() for word in words):
        return ()
    joined, particle = "".join(words), words[-1] in _PARTICLES
    if len(words) == 2 and not particle and min(map(len, words)) < _SHORTEST_JOINED:
        return ()
    noun = _known(_singulars(joined), "n")
    bases = [base + "".join(words[1:]) for base in _bases(words[0])] or [joined]
    verb = _known(bases, "v") if particle or len(words) == 1 else None
    return tuple(entry for entry in (noun, verb) if entry is not None)


def _known(names: Sequence[str], pos: str) -> Entry | None:
    """The first of these that there is."""
    known = dictionary()
    return next((entry for name in names if (entry := known.entry(name, pos)) is not None), None)


def _bases(word: str) -> list[str]:
    """Of what verbs a word in -ing can be: swimming -> swimm, swimme, swim; none of another word."""
    stem = word.removesuffix("ing")
    if stem == word or len(stem) < 2:
        return []
    shorter = [stem[:-1]] if stem[-1] == stem[-2] else []
    return [stem, f"{stem}e", *shorter, *([f"{stem[:-1]}ie"] if stem.endswith("y") else [])]


def _singulars(word: str) -> list[str]:
    """The word, and of what nouns it can be the plural, those of irregular ones first."""
    odd = [word.removesuffix(end) + one for end, one in _ODD_PLURALS if word.endswith(end)]
    even = [word.removesuffix(end) + one for end, one in _PLURALS if word.endswith(end) and not word.endswith("ss")]
    return [*odd, word, *even]


def _stem(word: str) -> str:
    """Enough of a word to know it again: swimming, swimmer and swim are alike."""
    return re.sub("(ing|ed|ers?|es|s)$", "", word)[:5] if len(word) > 3 else word
