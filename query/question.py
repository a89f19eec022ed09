"""A question: words, what they should not be, examples, what comes after, and the directions that all this makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cezsar.errors import QueryError
from cezsar.query.prompts import visible
from cezsar.types import Vectors, unit

MOST_CHARACTERS = 10_000  # of a text
# Rocchio's weights of answers that were right and wrong, beside 1 for the words (in Salton's SMART Retrieval System,
# 1971); chosen by benchmarks/feedback.py
MORE, LESS = 0.5, 0.25
_AGAINST = 0.5  # the weight of what is not wanted, beside 1 for what is
_SAME = 0.9999  # cosine similarity from which two texts ask for the same thing


@dataclass(frozen=True, slots=True)
class Wanted:
    """Words for what should be seen, None for none, and for what should not."""

    text: str | None
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for: wanted, or what looks like the vectors (D,) of like; then what comes after it in the same
    video, part by part, at most within_s seconds after one another.

    more and less are vectors (D,) of answers that were right and wrong. Raises QueryError if they come with then.
    """

    wanted: Wanted
    like: Sequence[Vectors] = ()
    then: tuple[Wanted, ...] = ()
    within_s: float = 60.0
    more: Sequence[Vectors] = ()
    less: Sequence[Vectors] = ()

    def __post_init__(self) -> None:
        if self.then and (self.more or self.less):
            raise QueryError("more and less do not go with a question that has an order: leave out one of them.")

    def directions(self, encode: Callable[[Sequence[str]], Vectors]) -> Vectors:
        """The unit vectors (P, D) to look along, one for each part, given an encoder of sentences.

        Each is the mean of what is wanted less half the mean of what is not. What was right and wrong moves it, as
        Rocchio's formula has it, with MORE and LESS as weights beside 1 for that. Raises QueryError on a text of over
        10,000 characters, one in which nothing is visible, or if there is nothing to look for.
        """
        parts = (self.wanted, *self.then)
        texts = [[*([] if part.text is None else [part.text]), *part.without] for part in parts]
        for line in (line for of_it in texts for line in of_it):
            if len(line) > MOST_CHARACTERS:
                raise QueryError(f"A text of {len(line):,} characters is too long: at most {MOST_CHARACTERS:,}.")
            if not visible(line).strip():
                raise QueryError("The query is empty: say in a few words what should be seen.")
        if self.wanted.text is None and not self.like:
            if self.then:
                raise QueryError("There is nothing to come first: give a text or an example before what comes then.")
            raise QueryError("There is nothing to look for: give a text or an example.")
        flat = [line for of_it in texts for line in of_it]
        rows = encode(flat) if flat else np.empty((0, 0), np.float32)
        directions, start = [], 0
        for part, of_it in zip(parts, texts, strict=True):
            own = rows[start : start + len(of_it)]
            start += len(of_it)
            num_wanted = len(of_it) - len(part.without)
            directions.append(
                _direction([*own[:num_wanted], *(self.like if part is parts[0] else ())], own[num_wanted:])
            )
        for weight, vectors in ((MORE, self.more), (-LESS, self.less)):
            directions[0] = directions[0] + weight * np.mean(vectors, axis=0) if len(vectors) else directions[0]
        return unit(np.stack(directions)) if self.more or self.less else np.stack(directions)


def asked(
    text: str | Wanted | None,
    *,
    without: Sequence[str] = (),
    like: Sequence[Vectors] = (),
    then: Sequence[str | Wanted] = (),
    within_s: float = 60.0,
    more: Sequence[Vectors] = (),
    less: Sequence[Vectors] = (),
) -> Question:
    """The question for text, or what looks like the vectors (D,) of like, and then for what comes after it.

    without goes for every part.
    """
    parts = [one if isinstance(one, Wanted) else Wanted(one) for one in (text, *then)]
    first, *after = (replace(one, without=(*one.without, *without)) for one in parts)
    return Question(first, tuple(like), tuple(after), within_s, tuple(more), tuple(less))


def _direction(wanted: Sequence[Vectors], unwanted: Vectors) -> Vectors:
    """The unit vector (D,) of the mean of what is wanted less half the mean of what is not."""
    towards = np.mean(wanted, axis=0)
    if len(unwanted) and (unwanted @ unit(towards[None])[0]).max() > _SAME:
        raise QueryError("The same thing is wanted and not wanted: there is nothing to look for.")
    against = _AGAINST * np.mean(unwanted, axis=0) if len(unwanted) else 0.0
    return np.asarray(unit((towards - against)[None])[0])
