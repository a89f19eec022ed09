"""The dictionary: what a label's rare words mean."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cezsar.query import glosses
from cezsar.query.glosses import glossed

_WORDNET = Path(glosses.__file__).with_name("wordnet")


@pytest.mark.parametrize(
    ("label", "gloss"),
    [
        ("archery", "the sport of shooting arrows with a bow"),
        ("pole vault", "a competition that involves jumping over a high crossbar with"),
        ("kayaking", "travel in a small canoe"),  # by its verb
        ("unicycling", "ride a unicycle"),
    ],
)
def test_a_rare_word_is_told_what_it_means(label: str, gloss: str) -> None:
    assert glossed(label) == f"{label}: {gloss}"


@pytest.mark.parametrize("label", ["breast stroke", "breast-stroke", "breaststroke", "BreastStroke", "breast_stroke"])
def test_a_word_is_found_however_it_is_joined(label: str) -> None:
    found = glossed(label)
    assert found is not None
    assert found.startswith(f"{label}: a swimming stroke; the arms are extended together in front")


def test_the_longest_run_of_words_counts() -> None:
    assert glossed("ice skate") == glossed("ice skates").replace("skates:", "skate:")  # type: ignore[union-attr]
    assert "steel blade fitted" in str(glossed("ice skate"))
    assert "barbell" in str(glossed("clean and jerk"))


def test_every_rare_word_of_a_label_is_told() -> None:
    found = str(glossed("archery and karate"))
    assert found == (
        "archery and karate: the sport of shooting arrows with a bow; a traditional Japanese system of unarmed combat; "
        "sharp blows and"
    )


@pytest.mark.parametrize("label", ["walking with a dog", "running", "a person", "a part", "brushing teeth", "women"])
def test_words_that_everybody_knows_need_no_gloss(label: str) -> None:
    assert glossed(label) is None


@pytest.mark.parametrize("label", ["", "弓を射る", "parkour", "qqxz", "3d", "42", "...", "é", "\t", "Zürich", "K2"])
def test_what_the_dictionary_lacks_has_no_gloss(label: str) -> None:
    assert glossed(label) is None


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("playing cricket", "a game played with a ball and bat"),
        ("pitching horseshoes", "a game in which iron rings"),  # and not: what a horse wears
        ("sawing wood", "cut with a saw"),  # and not: to snore
    ],
)
def test_the_sense_that_fits_is_taken(label: str, told: str) -> None:
    assert told in str(glossed(label))


def test_spellings_of_one_word_have_one_gloss_and_keep_their_names() -> None:
    gloss = "an acrobatic feat in which the feet roll over the"
    assert glossed("somersault") == f"somersault: {gloss}"
    assert glossed("somersaults") == f"somersaults: {gloss}"


@given(st.text(max_size=60))
def test_no_label_fails(label: str) -> None:
    found = glossed(label)
    assert found is None or (found.startswith(f"{label}: ") and len(found) > len(label) + 2)


@given(st.lists(st.sampled_from(["a", "of", "ing", "sing", "archery", "ss", "men", "ies", "jerk", "and"]), max_size=8))
def test_no_words_fail(words: list[str]) -> None:
    glossed(" ".join(words))


def test_the_shipped_file_is_whole_and_within_five_megabytes() -> None:
    assert (_WORDNET / "glosses.zip").stat().st_size < 5_000_000
    with ZipFile(_WORDNET / "glosses.zip") as file:
        assert file.testzip() is None
        num_words = 0
        for name in file.namelist():
            lines = file.read(name).decode("ascii").strip("\n").split("\n")
            num_words += len(lines)
            for line in lines:
                word, pos, count, *senses = line.split("\t")
                assert glosses.member(word) == name
                assert word == glosses.key(word)
                assert pos in "nv"
                assert int(count) >= 0
                assert 1 <= len(senses) <= 6
                assert all(re.fullmatch(r"-?[0-9]+ \S.*", sense) for sense in senses)
    assert num_words > 100_000


def test_wordnets_licence_lies_beside_it() -> None:
    licence = (_WORDNET / "LICENSE").read_text(encoding="ascii")
    assert licence.startswith("This software and database is being provided to you, the LICENSEE, by\nPrinceton")
    assert "WordNet 3.1 Copyright 2011 by Princeton University.  All rights reserved." in licence
