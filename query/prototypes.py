"""Labels as prototypes: the texts that are encoded for each, and the correction of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cezsar.encoders import Banked
from cezsar.errors import QueryError
from cezsar.query.glosses import glossed
from cezsar.query.prompts import Labels, words
from cezsar.query.search import Searcher
from cezsar.types import Ids, Scores, Vectors, unit

PROMPT = "a person is {}"
TOP = 0.1  # of the bank: the share that is nearest to a label
DISCOUNT = 0.75  # of their mean score

_LONGEST_NAME = 6  # words; what is longer is a sentence
_SUBJECTS = frozenset({
    "a", "an", "the", "this", "that", "these", "those", "there", "some", "one", "two", "three", "he", "she", "it",
    "they", "we", "i", "you", "someone", "somebody", "something", "people", "person", "persons", "man", "men",
    "woman", "women", "boy", "boys", "girl", "girls", "child", "children", "kid", "kids"
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prototypes:
    """Labels as (P, D) unit prototypes, the label owners (P,) of each, and the discount (C,) of each label's scores."""

    rows: Vectors
    owners: Ids
    discounts: Scores

    def scores(self, vectors: Vectors) -> NDArray[np.float32]:
        """(N, D) videos -> (N, C): the similarity to the nearest prototype of each label, less its discount."""
        return np.asarray(_nearest(vectors, self.rows, self.owners) - self.discounts, np.float32)


def raw(searcher: Searcher, labels: Labels) -> Prototypes:
    """Each sentence of a label as a prototype of its own (1-nearest-neighbour, arXiv 2605.01165), without a correction.

    Raises QueryError on a label without words.
    """
    _check(labels)
    rows = searcher.encode([sentence for said in labels.values() for sentence in said])
    owners = np.repeat(np.arange(len(labels)), [len(said) for said in labels.values()])
    return Prototypes(rows, owners, np.zeros(len(labels)))


def in_words(searcher: Searcher, labels: Labels) -> Prototypes:
    """One prototype per label: the mean of its name as it is, prompted, and with the meanings of its rare words.

    If a label has sentences too, their mean and that of the name count alike. If the encoder has a bank of generic
    videos, 0.75 of the mean of a label's highest tenth there is taken off its scores, since a label that is near to
    everything says little (after CSLS: Conneau et al., 2018). Raises QueryError on a label without words.
    """
    _check(labels)
    texts = {label: _Texts.of(label, said) for label, said in labels.items()}
    distinct = sorted({text for one in texts.values() for text in one.all}, key=lambda text: (len(text), text))
    known = dict(zip(distinct, searcher.encode(distinct), strict=True))
    rows = unit(np.stack([one.prototype(known) for one in texts.values()]))
    owners = np.arange(len(labels))
    return Prototypes(rows, owners, _discounts(bank(searcher), rows, owners))


def encoded(labels: Labels, *, raw: bool = False) -> Labels:
    """The texts that stand for each label: the given ones, or, without raw, those that in_words makes of them."""
    return labels if raw else {label: _Texts.of(label, said).all for label, said in labels.items()}


def bank(searcher: Searcher) -> Vectors | None:
    """The encoder's generic videos (B, D), if it has some."""
    return searcher.encoder.bank() if isinstance(searcher.encoder, Banked) else None


@dataclass(frozen=True, slots=True)
class _Texts:
    """What is encoded for a label: its names, prompted and glossed too, and its sentences."""

    names: tuple[str, ...]
    sentences: tuple[str, ...]

    @classmethod
    def of(cls, label: str, said: Sequence[str]) -> _Texts:
        """A text that is no sentence is a name; if there are only sentences, the label itself is, if it is one."""
        names = [words(text) for text in said if not is_sentence(words(text))]
        sentences = tuple(text for text in said if is_sentence(words(text)))
        if not names and not is_sentence(words(label)) and not any(letter.isdigit() for letter in label):
            names = [words(label)]
        return cls(tuple(text for name in names for text in _named(name)), sentences)

    @property
    def all(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys([*self.names, *self.sentences]))

    def prototype(self, known: dict[str, Vectors]) -> Vectors:
        """(D,) of the texts' vectors; not of length 1."""
        halves = [
            np.stack([known[text] for text in texts]).mean(axis=0) for texts in (self.names, self.sentences) if texts
        ]
        return np.asarray(np.sum(halves, axis=0), np.float32)


@lru_cache(maxsize=10_000)
def _named(name: str) -> tuple[str, ...]:
    """What is encoded for a name: itself, itself prompted, and with what its rare words mean."""
    said = glossed(name)
    return (name, PROMPT.format(name), *([] if said is None else [said]))


def is_sentence(text: str) -> bool:
    """Whether words are a sentence that describes a scene, not a name: 'a person draws a bow', but not 'archery'."""
    found = text.split()
    return len(found) > _LONGEST_NAME or text.rstrip()[-1:] in (".", "!", "?") or found[0].lower() in _SUBJECTS


def _discounts(videos: Vectors | None, rows: Vectors, owners: Ids) -> Scores:
    """(C,): what is taken off each label's scores."""
    if videos is None:
        return np.zeros(int(owners[-1]) + 1)
    scores = np.sort(_nearest(videos, rows, owners), axis=0)[-max(1, round(TOP * len(videos))) :]
    return np.asarray(DISCOUNT * scores.mean(axis=0), np.float64)


def _nearest(vectors: Vectors, rows: Vectors, owners: Ids) -> NDArray[np.float32]:
    """(N, D), (P, D) prototypes of labels owners (P,), in order -> (N, C): the best of each label's."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.asarray(np.maximum.reduceat(vectors @ rows.T, starts, axis=1), np.float32)


def _check(labels: Labels) -> None:
    if not labels or not all(labels.values()):
        raise QueryError("Every label needs at least one sentence.")
