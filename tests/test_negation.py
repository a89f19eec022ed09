"""What a text says that should not be seen, and when it is left as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cezsar.query import Wanted
from cezsar.query.negation import ANYTHING, understood

WORDS = ["a", "man", "not", "no", "without", "playing", "guitar", "cars", ",", "and", "but", "who", "is", "n't"]


@pytest.mark.parametrize(
    ("text", "wanted", "without"),
    [
        ("a man not playing guitar", "a man", ["playing guitar"]),
        ("A man who is not playing guitar", "A man", ["playing guitar"]),
        ("a man who isn't playing the guitar.", "a man", ["playing the guitar"]),
        ("a man that's not singing", "a man", ["singing"]),
        ("people dancing but not singing", "people dancing", ["singing"]),
        ("cars not moving", "cars", ["moving"]),
        ("a dog is not barking at a cat", "a dog", ["barking at a cat"]),
        ("a street without people", "a street", ["people"]),
        ("a street without any people", "a street", ["people"]),
        ("a man without a red hat", "a man", ["red hat"]),
        ("a street with no cars", "a street", ["cars"]),
        ("a street, no cars", "a street", ["cars"]),
        ("a street, no cars, no people", "a street", ["cars", "people"]),
        ("a street with no cars and no people", "a street", ["cars", "people"]),
        ("a street without cars and without people", "a street", ["cars", "people"]),
        ("an instrument, not a guitar", "an instrument", ["guitar"]),
        ("a dog not a cat", "a dog", ["cat"]),
        ("a field but no horses", "a field", ["horses"]),
        ("without people", ANYTHING, ["people"]),
        ("no cars", ANYTHING, ["cars"]),
        ("No cars!", ANYTHING, ["cars"]),
        ("there are no cars", ANYTHING, ["cars"]),
        ("not a guitar", ANYTHING, ["guitar"]),
        ("not playing guitar", ANYTHING, ["playing guitar"]),
    ],
)
def test_a_plain_negation_is_understood(text: str, wanted: str, without: list[str]) -> None:
    found = understood(text)
    assert found is not None
    assert (found.said, found.wanted) == (text, Wanted(wanted, tuple(without)))


@pytest.mark.parametrize(
    "text",
    [
        "a man playing guitar",
        "not only a guitar but a piano",
        "a man not only playing guitar",
        "no one on a street",
        "a street with no one",
        "nobody dances",
        "nothing happens",
        "a child who can't wait",
        "a dog that does not want to bathe",
        "a man does not give up",
        "a no parking sign",
        "no smoking",
        "no entry",
        "riding a bike with no hands",
        "a road with no end",
        "a girl without a doubt",
        "without a doubt the best goal",
        "it is no longer raining",
        "no more than two people",
        "not without my daughter",
        "not being able to swim",
        "a man who is not going to jump",
        "why not dancing",
        "whether or not playing",
        "a man not playing guitar but singing",
        "a man not playing guitar and singing",
        "a man without a hat playing guitar",
        "a street without people at night",
        "no people on the beach",
        'a sign that says "no cars"',
        "a sign: no cars",
        "Are there no cars?",
        "a man not old",
        "a knot, a note and a notebook",
        "No. 5 scores",
        "no 5",
        "Casino Royale",
        "no",
        "not",
        "without",
        "a man without",
        "kein Auto",
        "a street without cars that are red",
        "never playing guitar",
        "neither a cat nor a dog",
        "x" * 300 + " without people",
        "",
    ],
)
def test_what_is_not_plain_stays_as_it_is(text: str) -> None:
    assert understood(text) is None


def test_it_is_shown_so_that_it_can_be_undone() -> None:
    assert str(understood("a man not playing guitar")) == "a man, not: playing guitar"
    assert str(understood("no cars")) == "anything, not: cars"


@given(st.text(max_size=60))
def test_no_text_is_an_error(text: str) -> None:
    understood(text)


@given(st.lists(st.sampled_from(WORDS), max_size=9))
def test_what_is_understood_has_no_negation_left(words: list[str]) -> None:
    found = understood(" ".join(words))
    said = f"{found.wanted.text} {' '.join(found.wanted.without)}" if found else ""
    assert not {"not", "no", "without", "n't"} & set(said.split())
