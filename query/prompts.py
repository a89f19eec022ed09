"""Labels and the sentences that stand for them."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cezsar.errors import QueryError

Labels = dict[str, tuple[str, ...]]

# Control characters, and what Unicode calls default ignorable, but for the two joiners; and notes between the lines
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JOINER = re.compile("[\u200c\u200d]")
_BLANK = "\u2800"  # a Braille cell without dots
_VIRAMA = 9  # the combining class of the signs after which a joiner chooses another form of a letter


def words(label: str) -> str:
    """A label as words: 'PlayingGuitar' and 'playing_guitar' -> 'playing guitar'; other text stays as it is."""
    if " " in label:
        return label
    parts = re.split(r"_+|(?<=[a-z0-9])(?=[A-Z])", label)
    return " ".join(part.lower() for part in parts if part) or label if len(parts) > 1 else label


def from_names(names: Iterable[str]) -> Labels:
    """Labels that are described by their own words alone. Raises QueryError: none, an empty one, one twice."""
    return _checked([(name.strip(), (words(name.strip()),)) for name in names])


def read_labels(source: str) -> Labels:
    """Labels from 'a,b,c', a .txt file with one a line, or a .json file {label: [sentences]}.

    Raises QueryError: no labels, an empty one, one twice, a file that is missing, not UTF-8 or not of that form.
    """
    try:
        path = Path(os.path.expanduser(source))
        if path.suffix.lower() not in (".txt", ".json") and not os.path.isfile(path):
            return from_names(source.split(",") if source.strip() else ())
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise QueryError(f"The labels in {source} are not UTF-8 text.") from None
    except OSError as error:
        raise QueryError(f"The labels in {source} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise QueryError(f"{source!r} cannot be the name of a file of labels.") from None
    if path.suffix.lower() == ".json":
        return _from_json(text, path)
    return from_names(line for line in text.splitlines() if line.strip())


def _from_json(text: str, path: Path) -> Labels:
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise QueryError(f"{path} is not JSON: {error}.") from None
    if not isinstance(pairs, _Pairs):
        raise QueryError(f'{path} must hold one object, {{"label": ["sentence", ...]}}.')
    labels = []
    for label, sentences in pairs:
        listed = [sentences] if isinstance(sentences, str) else sentences
        good = isinstance(listed, list) and listed and all(isinstance(s, str) and s.strip() for s in listed)
        if not good:
            raise QueryError(f"{path}: label {label!r} needs a list of at least one sentence.")
        labels.append((label.strip(), tuple(sentence.strip() for sentence in listed)))
    return _checked(labels)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys as they came, so that one given twice is seen."""


def _checked(labels: list[tuple[str, tuple[str, ...]]]) -> Labels:
    labels = [(valid(name), tuple(valid(sentence) for sentence in said)) for name, said in labels]
    names = [name for name, _ in labels]
    if not names:
        raise QueryError("There are no labels: give --labels a,b,c or a file of them.")
    if "" in names:
        raise QueryError("One of the labels is empty.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise QueryError(f"These labels are there twice: {', '.join(twice)}.")
    return dict(labels)


def valid(text: str) -> str:
    """Text that UTF-8 can hold: stray surrogates, as of an argument that was not UTF-8, read as '?'."""
    return text.encode("utf-8", "replace").decode("utf-8")


def visible(text: str) -> str:
    """Text as an encoder is to read it: in Unicode's form NFKC, so that full-width letters are letters, without what
    nobody sees.

    Joiners stay where they matter: between emoji, after a virama, and between Arabic letters.
    """
    text = _INVISIBLE.sub("", valid(text)).replace(_BLANK, " ")
    return unicodedata.normalize("NFKC", _JOINER.sub(_kept_joiner, text))


def _kept_joiner(match: re.Match[str]) -> str:
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    if not (before and after):
        return ""
    is_emoji = all(unicodedata.category(one) in ("So", "Sk") for one in (before, after))
    is_arabic = all(unicodedata.bidirectional(one) == "AL" for one in (before, after))
    return match[0] if is_emoji or is_arabic or unicodedata.combining(before) == _VIRAMA else ""
