"""A question as an address asks it: the parameters that a search and the scores of one video share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query
from pydantic import Field, StringConstraints

from cezsar.query import Question, Searcher, Wanted, asked, negation
from cezsar.query.order import LONGEST_S, MOST_PARTS
from cezsar.server.examples import vector_of

LONGEST = 1_000  # characters of a text
_MOST_JUDGED = 100  # segments that are right, or wrong, for one question

SegmentId = Annotated[int, Field(ge=1, le=1 << 62)]
Text = Annotated[str, StringConstraints(max_length=LONGEST)]
Words = Annotated[str, StringConstraints(max_length=LONGEST, pattern=r"\S")]


@dataclass(frozen=True, slots=True)
class Asking:
    """A question of which the examples are not read yet; the rest is as Question has it.

    understood are the texts that were read otherwise than they stand.
    """

    text: str | None
    parts: Sequence[Wanted]
    understood: Sequence[negation.Understood]
    without: Sequence[str]
    within_s: float
    like: int | None
    example: str | None
    more: Sequence[int]
    less: Sequence[int]

    def question(self, searcher: Searcher) -> Question:
        """The question to this index. Raises NotIndexed, QueryError."""
        examples = [] if self.like is None else searcher.vectors_of([self.like])
        if self.example is not None:
            examples.append(vector_of(self.example, searcher.info.encoder.dimension))
        right, wrong = (searcher.vectors_of(ids) for ids in (self.more, self.less))
        first, *after = self.parts
        return asked(
            first,
            without=self.without,
            like=examples,
            then=after,
            within_s=self.within_s,
            more=right,
            less=wrong,
        )


async def asking(
    text: Annotated[str | None, Query(max_length=LONGEST, description="What should be seen.")] = None,
    without: Annotated[list[Text], Query(alias="not", max_length=8, description="Turn away from what this says.")] = [],  # noqa: B006
    literal: Annotated[bool, Query(description='Take "not", "no" and "without" as words.')] = False,
    then: Annotated[
        list[Words], Query(max_length=MOST_PARTS - 1, description="What comes after that in the same video, in turn.")
    ] = [],  # noqa: B006
    within: Annotated[
        float, Query(gt=0, le=LONGEST_S, allow_inf_nan=False, description="Seconds that may lie between two parts.")
    ] = 60.0,
    like: Annotated[
        int | None,
        Query(ge=1, le=1 << 62, description="Find what looks like this segment, instead of a text or with it."),
    ] = None,
    example: Annotated[
        str | None, Query(max_length=8_000, description="Find what looks like a picture, as /examples named it.")
    ] = None,
    more: Annotated[
        list[SegmentId],
        Query(max_length=_MOST_JUDGED, description="Segments that are right: the words keep their weight."),
    ] = [],  # noqa: B006
    less: Annotated[list[SegmentId], Query(max_length=_MOST_JUDGED, description="Segments that are wrong.")] = [],  # noqa: B006
) -> Asking:
    """The question that an address asks. Raises QueryError."""
    parts, understood = negation.read([text, *then], literal=literal)
    return Asking(text, parts, understood, without, within, like, example, more, less)
