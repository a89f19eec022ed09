"""What a text says that should not be seen: "a man not playing guitar" is a man, less playing guitar.

An encoder of sentences finds guitars for "not a guitar". So a plain "not", "no" or "without" is read here, by a grammar
that leaves a text as it is in every case of doubt: a wrong reading is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cezsar.query.prompts import visible
from cezsar.query.question import Wanted

if TYPE_CHECKING:
    from cezsar.answers import UnderstoodAnswer

ANYTHING = "a video"  # the words that are looked for if a text only says what should not be seen
_LONGEST = 200  # characters of a text that is read at all

# "not" and a verb, "not" and a thing, "no" and a thing; each only after what makes it plain
_ACT = re.compile(
    r"(?:^|\s)(?:(?:who|that|which)(?:\s+(?:is|are|was|were)|['’]s|['’]re)?\s+|(?:is|are|was|were)\s+|(?:and|but)\s+)?"
    r"not\s+(?=\w{2,}ing\b)|(?:^|\s)(?:(?:who|that|which)\s+)?(?:is|are|was|were)n['’]t\s+(?=\w{2,}ing\b)"
)
_THING = re.compile(r"(?:^|[,;]\s*|\s+(?:and|but)\s+|\s+)not\s+(?=(?:an?|the|any)\s)")
_NONE = re.compile(
    r"(?:^|(?:^|\s)there\s+(?:is|are)\s+|[,;]\s*(?:(?:and|but)\s+)?|\s(?:with|and|but|and with|but with)\s+)no\s+"
    r"|(?:^|[,;]?\s+)(?:(?:and|but)\s+)?(?:without|with\s+no)\s+(?:any\s+)?"
)
_CUE = re.compile(r"\b(?:not|no|without|never|neither|nor|none|nobody|nothing|nowhere|cannot|non)\b|n['’]t\b")
_MORE = re.compile(r"\s*(?:,|;|\band\b|\bor\b|,\s*and\b)\s*(?:no|without(?:\s+any)?)\s+")
_LEADING = re.compile(r"^(?:an?|any|the)\s+")

_WORDS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# a thing has none of these: they begin something else, and nobody knows what it belongs to
_JOINTS = frozenset(
    """about above across after against all along although among and around as at away back because before behind below
    beside between beyond but by down during except for from if in inside into just like near of off on onto or out
    outside over past since so than that then through till to toward towards under unless until up upon very what when
    where whether which while who whom whose why with within yet""".split()  # noqa: SIM905
)
# "no one", "no longer", "without a doubt", "not the only": said without anything that could be seen
_IDIOMS = frozenset(
    """chance choice doubt end entry exception exit fear further good hand hands help hesitation idea less limit
    limits longer matter means more need number one only other parking place point precedent problem question
    reason regard result rules same sense sign signs smoking sooner stopping such thanks time trespassing
    trouble turn use warning way wonder words worry worse""".split()  # noqa: SIM905
)
_NO_ACTS = frozenset(
    """anything being during everything evening everybody giving going having including knowing letting morning nothing
    something stopping thing wanting minding caring""".split()  # noqa: SIM905
)
_CLAUSES = frozenset("although and because but if or that then until when which while who".split())  # noqa: SIM905
# before a negation, these make something else of it
_DOUBTS = frozenset(
    """can certainly could definitely did do does don't either even hardly if maybe might must neither or perhaps please
    probably shall should than until whether why will would""".split()  # noqa: SIM905
)
_MOST_OF_A_THING = 4  # words
_MOST_OF_AN_ACT = 7


@dataclass(frozen=True, slots=True)
class Understood:
    """A text, and what it is understood as."""

    said: str
    wanted: Wanted

    def document(self) -> UnderstoodAnswer:
        """As JSON has it."""
        text = "" if self.wanted.text is None else self.wanted.text
        return {"query": self.said, "text": text, "not": list(self.wanted.without)}

    def __str__(self) -> str:
        """'a man, not: playing guitar'."""
        text = "anything" if self.wanted.text == ANYTHING else self.wanted.text
        return f"{text}, not: {', '.join(self.wanted.without)}"


def understood(text: str) -> Understood | None:
    """What a text says should and should not be seen; None if it does not plainly say what should not."""
    line = " ".join(visible(text).split()).rstrip(".!")
    lowered = line.lower()
    if len(line) > _LONGEST or len(lowered) != len(line) or re.search(r"[\"“”«»?:()\[\]]|(?:^|\s)['‘]", line):
        return None
    for pattern, is_sound in ((_NONE, _is_thing), (_ACT, _is_act), (_THING, _is_thing)):
        if (cue := pattern.search(lowered)) is None:
            continue
        head, tail = line[: cue.start()].strip(" ,;"), line[cue.end() :]
        unwanted = [_LEADING.sub("", one) if is_sound is _is_thing else one for one in _MORE.split(tail)]
        words = _WORDS.findall(head.lower())
        if _CUE.search(head.lower()) or (words and words[-1] in _DOUBTS | _JOINTS) or (words and words[0] in _DOUBTS):
            return None
        if not all(map(is_sound, unwanted)):
            return None
        return Understood(text, Wanted(head if words else ANYTHING, tuple(unwanted)))
    return None


def read(texts: Sequence[str | None], *, literal: bool = False) -> tuple[list[Wanted], list[Understood]]:
    """What each of these texts asks for, and those that were understood otherwise than they stand; with literal none
    is."""
    wanted, otherwise = list[Wanted](), list[Understood]()
    for text in texts:
        found = None if text is None or literal else understood(text)
        wanted.append(Wanted(text) if found is None else found.wanted)
        otherwise += [] if found is None else [found]
    return wanted, otherwise


def _is_thing(text: str) -> bool:
    """Whether this is a bare name of a thing: 'people', 'red sports car'."""
    words = _WORDS.findall(text.lower())
    if not 1 <= len(words) <= _MOST_OF_A_THING or _CUE.search(text.lower()) or re.search(r"[,;]|\d", text):
        return False
    if words[0] in _IDIOMS or set(words) & _JOINTS or len(words[0]) < 2:
        return False
    return not any(word.endswith("ing") for word in words[1:])


def _is_act(text: str) -> bool:
    """Whether this is one act: 'playing guitar', 'barking at a cat'."""
    words = _WORDS.findall(text.lower())
    if not 1 <= len(words) <= _MOST_OF_AN_ACT or _CUE.search(text.lower()) or re.search(r"[,;]", text):
        return False
    return words[0] not in _NO_ACTS and not set(words[1:]) & _CLAUSES
