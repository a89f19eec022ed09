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
_LONGEST_NAME = 3  # words; what is longer is a sentence
_SHORTEST_LIST = 4  # from so many on, numbers that run on are a list's
_NUMBERED = re.compile(r"([0-9]{1,9})[.):]?[\s,;]\s*(\S.*)")

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
    """A label as words: 'PlayingGuitar', 'playing_guitar', 'playing.guitar' -> 'playing guitar'; 'TVShow' -> 'tv show'.

    'iPhone' and 'push-up' are one word each, and words that stand apart already stay as they are: so do sentences, in
    which a name like YouTube is no label that was put together.
    """
    label = unicodedata.normalize("NFC", label)
    tokens = label.split()
    is_sentence = len(tokens) > _LONGEST_NAME
    parts = [_token(token, is_sentence=is_sentence) for token in tokens]
    if all(part == [token] for part, token in zip(parts, tokens, strict=True)):
        return label
    return " ".join(word.lower() for part in parts for word in part) or label


def _token(token: str, *, is_sentence: bool) -> list[str]:
    """What stands between two blanks, as the words of which it was put together; itself if it was not."""
    parts = [part for part in token.split("_") if part]
    dotted = token.split(".")
    if len(parts) == 1 and all(len(part) > 1 and part[0].isalpha() for part in dotted):  # no 3.5, no U.S., no "end."
        parts = dotted
    if is_sentence and parts == [token]:
        return parts
    found = [word for part in parts for word in _humps(part)]
    is_mixed = any(c.islower() for c in token) and any(c.isupper() for c in token[1:])
    if found == [token] and is_mixed and not any(mark in token for mark in "-'\u2019"):  # iPhone
        return [token.lower()]
    return found


def _humps(part: str) -> list[str]:
    """'PlayingVRGames' -> ['Playing', 'VR', 'Games']; 'CDs' keeps its s, and 'iPhone' its first letter."""
    starts = [0]
    for i in range(1, len(part)):
        before, this, after = part[i - 1], part[i], part[i + 1 : i + 2]
        if not this.isupper():
            continue
        if before.islower():
            is_start = i - starts[-1] > 1 or before == "a" or starts[-1] > 0  # a lone one is iPhone's
        elif before.isdigit():
            is_start = after.islower() or any(c.islower() for c in part[starts[-1] : i])  # not 3D, but Route66Ride
        else:
            is_plural = after == "s" and not part[i + 2 : i + 3].islower()
            is_start = before.isupper() and after.islower() and not is_plural
        if is_start:
            starts.append(i)
    return [part[start:stop] for start, stop in zip(starts, [*starts[1:], len(part)], strict=True)]


def from_names(names: Iterable[str]) -> Labels:
    """Labels that are described by their own words alone; the numbers of a numbered list are left out.

    Raises QueryError: none, an empty one, one twice, two of the same words.
    """
    typed = [name.strip() for name in names]
    labels = _checked([(name, (words(bare),)) for name, bare in zip(typed, _without_numbers(typed), strict=True)])
    known: dict[str, str] = {}
    for name, (said,) in labels.items():
        other = known.setdefault(said.casefold(), name)
        if other != name:
            raise QueryError(f"Two labels have the same words: {other!r} and {name!r} are both {said!r}.")
    return labels


def _without_numbers(names: list[str]) -> list[str]:
    """The names of a numbered list, such as UCF-101's classInd.txt, without their numbers; others as they are.

    A number is one of the list's only if every name has one. Names that were put together (BoxingPunchingBag) say that
    it is; or else the numbers have to run on, for '100 metres' and '200 metres' are names.
    """
    found = [_NUMBERED.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in found if match]
    bare = [match[2] for match in found if match]
    if not names or len(bare) < len(names) or len(set(bare)) < len(bare) or len(set(numbers)) < len(numbers):
        return names
    is_of_code = all(len(name.split()) == 1 for name in bare) and any(" " in words(name) for name in bare)
    runs_on = len(names) >= _SHORTEST_LIST and max(numbers) - min(numbers) == len(names) - 1
    return bare if is_of_code or runs_on else names


def read_labels(source: str) -> Labels:
    """Labels from 'a,b,c', a .txt file with one per line, or a .json file {label: [sentences]}.

    Raises QueryError: no labels, an empty one, one twice, two of the same words, a file that is missing, not UTF-8 or
    not of that form.
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


def read_sentences(folder: Path) -> Labels:
    """Labels from a folder with a text file for each, called LABEL.txt, that has a sentence on every line.

    Blank lines count for nothing. Raises QueryError: no such files, one without a sentence, unreadable or not UTF-8.
    """
    labels = []
    for path in sorted(folder.glob("*.txt")):
        try:
            said = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
        except UnicodeDecodeError:
            raise QueryError(f"The sentences in {path} are not UTF-8 text.") from None
        except OSError as error:
            raise QueryError(f"The sentences in {path} cannot be read: {error.strerror}.") from None
        if not said:
            raise QueryError(f"{path} has no sentence: it needs one on every line.")
        labels.append((path.stem, said))
    if not labels:
        raise QueryError(f"{folder} holds no text files, of which there should be one for each class: CLASS.txt.")
    return _checked(labels)


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
    shown = [unicodedata.normalize("NFC", name) for name in names]
    twice = sorted({name for name in shown if shown.count(name) > 1})
    if twice:
        raise QueryError(f"These labels are given twice: {', '.join(twice)}.")
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
