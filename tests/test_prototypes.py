"""What is encoded for a label, and what corrects its scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cezsar import encoders, store
from cezsar.encoders import Banked, bank
from cezsar.encoders.toy import Toy
from cezsar.errors import EncoderError, QueryError
from cezsar.query import Searcher, classify, encoded, from_names, prototypes
from cezsar.query.prototypes import is_sentence
from cezsar.types import EncoderIdentity, Prediction, Sampling, Segment, Vectors, unit

_GLOSS = "archery: the sport of shooting arrows with a bow"
_SHOT = "a person draws a bow and shoots at a target"


def test_a_name_is_encoded_as_it_is_prompted_and_with_its_gloss() -> None:
    assert encoded({"archery": ("archery",)}) == {"archery": ("archery", "a person is archery", _GLOSS)}


def test_a_name_of_common_words_has_no_gloss() -> None:
    assert encoded(from_names(["WalkingDog"])) == {"WalkingDog": ("walking dog", "a person is walking dog")}


def test_sentences_join_the_name_that_they_describe() -> None:
    assert encoded({"archery": (_SHOT,)}) == {"archery": ("archery", "a person is archery", _GLOSS, _SHOT)}


@pytest.mark.parametrize("label", [_SHOT, "A dog.", "people dancing in a street", "one two three four five six seven"])
def test_a_label_that_is_a_sentence_stays_as_it_is(label: str) -> None:
    assert encoded(from_names([label])) == {label: (label,)}


@pytest.mark.parametrize("label", ["class 7", "n02123045"])
def test_a_number_of_a_class_is_no_name_beside_its_sentences(label: str) -> None:
    assert encoded({label: (_SHOT,)}) == {label: (_SHOT,)}


@pytest.mark.parametrize(
    ("label", "texts"),
    [
        ("弓を射る", ("弓を射る", "a person is 弓を射る")),
        ("100 metres hurdles race", ("100 metres hurdles race", "a person is 100 metres hurdles race")),
        ("parkour", ("parkour", "a person is parkour")),
    ],
)
def test_names_that_the_dictionary_lacks_are_prompted_alone(label: str, texts: tuple[str, ...]) -> None:
    assert encoded(from_names([label]))[label][:2] == texts


def test_raw_labels_stay_as_they_were_given() -> None:
    labels = {"archery": ("archery",), "b": (_SHOT, "x")}
    assert encoded(labels, raw=True) is labels


def test_no_sentence_begins_a_name() -> None:
    assert [is_sentence(text) for text in ("archery", "men's hurdles", "man", "a dog runs")] == [
        False, False, True, True,
    ]  # fmt: skip


class _Words(Toy):
    """toy with a bank."""

    def __init__(self, videos: Vectors | None) -> None:
        self._videos = videos

    def bank(self) -> Vectors | None:
        return self._videos


def _colours(*rows: Sequence[float]) -> Vectors:
    """Of black, white, red, green and blue, in this order."""
    return unit(np.array([[*row, 0.0, 0.0, 0.0] for row in rows]))


@pytest.fixture
def searcher(tmp_path: Path) -> Iterator[Searcher]:
    """Of one video that is three parts red and four parts green."""
    with store.create(tmp_path / "i", Toy.identity, Sampling()) as catalog, catalog.transaction() as writer:
        part = (Segment(0.0, 1.0),)
        embedding = store.Embedding(1.0, part, (0,), _colours([0, 0, 3, 4, 0]))
        writer.add_video(store.File(b"/v", b"1.mp4", 1, 1), bytes(32), embedding)
    with Searcher(tmp_path / "i") as opened:
        yield opened


def _told(searcher: Searcher, labels: prototypes.Labels, **how: Any) -> tuple[Prediction, ...]:
    (video,) = classify(searcher, [Path("/v")], labels, **how)
    return video.predictions


def test_without_a_bank_a_score_is_the_similarity(searcher: Searcher) -> None:
    assert _told(searcher, from_names(["red", "green"])) == (Prediction("green", 0.8), Prediction("red", 0.6))


def test_what_a_label_scores_on_generic_videos_is_taken_off(searcher: Searcher) -> None:
    # of ten videos the one nearest to green is green itself, and none is red: 0.8 - 0.75 * 1, and 0.6 - 0.75 * 0
    searcher.encoder = _Words(_colours([0, 0, 0, 1, 0], *([1, 0, 0, 0, 0] for _ in range(9))))
    assert _told(searcher, from_names(["red", "green"])) == (Prediction("red", 0.6), Prediction("green", 0.05))
    assert _told(searcher, from_names(["green"])) == (Prediction("green", 0.05),)
    assert _told(searcher, from_names(["red", "green"]), raw=True)[0] == Prediction("green", 0.8)


def test_the_mean_of_the_highest_tenth_counts(searcher: Searcher) -> None:
    near = ([0, 0, 0, 1, 0], [0, 0, 0, 3, 4])  # of twenty videos two: (1 + 0.6) / 2 * 0.75
    searcher.encoder = _Words(_colours(*near, *([1, 0, 0, 0, 0] for _ in range(18))))
    assert _told(searcher, from_names(["green"])) == (Prediction("green", 0.2),)


def test_a_name_and_its_sentences_are_halves_of_one_prototype(searcher: Searcher) -> None:
    labels = {"green": ("a red thing", "a red one", "a red thing again")}
    ((name, score),) = [(one.label, one.score) for one in _told(searcher, labels)]
    assert (name, score) == ("green", pytest.approx((0.6 + 0.8) / 2**0.5, abs=1e-6))
    (nearest,) = _told(searcher, labels, raw=True)
    assert nearest.score == 0.6


def test_labels_without_words_are_refused(searcher: Searcher) -> None:
    for made in (prototypes.in_words, prototypes.raw):
        for labels in ({}, {"red": ()}):
            with pytest.raises(QueryError, match="at least one sentence"):
                made(searcher, labels)


def test_a_thousand_labels_are_put_in_words() -> None:
    names = [f"label {one}{two}{three}" for one in "abcdefghij" for two in "klmnopqrst" for three in "uvwxyzabcd"]
    texts = encoded(from_names(names))
    assert len(texts) == 1_000
    assert all(said[0] == name for name, said in texts.items())


# The bank's file


_IDENTITY = EncoderIdentity("x", "0" * 64, 8, "visual")


def test_a_bank_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = _colours([1, 2, 3, 4, 5], [0, 0, 1, 0, 0])
    assert bank.write(tmp_path, _IDENTITY, rows) == tmp_path / "bank.safetensors"
    found = bank.read(tmp_path, _IDENTITY)
    assert found is not None
    assert found.dtype == np.float32
    assert np.allclose(found, rows, atol=1e-3)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_bank_of_other_weights_is_none(tmp_path: Path) -> None:
    bank.write(tmp_path, _IDENTITY, _colours([1, 0, 0, 0, 0]))
    assert bank.read(tmp_path, EncoderIdentity("x", "1" * 64, 8, "visual")) is None
    assert bank.read(tmp_path / "elsewhere", _IDENTITY) is None


def test_a_damaged_bank_is_named(tmp_path: Path) -> None:
    path = tmp_path / bank.NAME
    path.write_bytes(b"no bank")
    with pytest.raises(EncoderError, match=r"bank.safetensors cannot be read"):
        bank.read(tmp_path, _IDENTITY)
    for rows in (np.ones((2, 7), np.float16), np.ones(8, np.float16), np.full((1, 8), np.nan, np.float16)):
        save_file({"videos": rows}, path, {"weights_sha256": _IDENTITY.weights_sha256})
        with pytest.raises(EncoderError, match="does not hold vectors of 8"):
            bank.read(tmp_path, _IDENTITY)


def test_the_shipped_bank_is_of_the_shipped_weights() -> None:
    encoder = encoders.load("lite", device="cpu")
    assert isinstance(encoder, Banked)
    found = encoder.bank()
    assert found is not None
    assert found.shape == (512, 384)
    assert not isinstance(Toy(), Banked)


def test_the_bank_is_no_part_of_the_space(tmp_path: Path) -> None:
    encoder = encoders.load("lite", device="cpu")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((Path(encoders.__file__).with_name("lite") / name).read_bytes())
    copy = encoders.load(str(tmp_path), device="cpu")
    assert copy.identity.weights_sha256 == encoder.identity.weights_sha256
    assert isinstance(copy, Banked)
    assert copy.bank() is None
