"""Segments are cut from features, put together with their sentences, and split by footage for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cezsar.errors import TrainingError
from cezsar.features import VideoFeatures
from cezsar.pairs import Pair, Rejected
from cezsar.training.examples import ALSO, MAIN, Examples, Split, assemble, cut

RED, BLUE = Path("/videos/red.mp4"), Path("/videos/blue.mp4")

_NAMES = st.text(max_size=6)
_SEGMENTS = st.lists(st.tuples(_NAMES, st.sampled_from([MAIN, MAIN, ALSO]), st.integers(1, 3)), min_size=1, max_size=30)
_SHARES = st.floats(0, 1, exclude_max=True)


def _pair(video: Path, start_s: float = 0.0, end_s: float | None = None, *said: str, source: str = "") -> Pair:
    return Pair(f"p:{video.stem}:{start_s:g}", video, source or video.stem, start_s, end_s, said or ("x",))


def _features(num_frames: int, *, fps: float = 1.0, duration_s: float | None = None, first: int = 0) -> VideoFeatures:
    """One number a frame: first, first + 1, ..."""
    frames = np.arange(first, first + num_frames, dtype=np.float32)[:, None]
    return VideoFeatures(frames, fps, num_frames / fps if duration_s is None else duration_s)


def _examples(segments: Sequence[tuple[str, int, int]]) -> Examples:
    """From (source, corpus, number of sentences) of each segment; features and sentences tell whose they are."""
    names = sorted({name for name, _, _ in segments})
    owners = [row for row, (_, _, count) in enumerate(segments) for _ in range(count)]
    return Examples(
        [np.full((1 + row % 3, 2), row, np.float32) for row in range(len(segments))],
        np.array([names.index(name) for name, _, _ in segments], np.int64),
        names,
        np.array([corpus for _, corpus, _ in segments], np.int64),
        np.array([[number, owner] for number, owner in enumerate(owners)], np.float32).reshape(-1, 2),
        np.array(owners, np.int64),
    )


def _numbers(examples: Examples) -> list[int]:
    """Which segments of _examples these are."""
    return [int(frames[0, 0]) for frames in examples.features]


def _is_kept_out(name: str, seed: int, share: float) -> bool:
    return int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:8], 16) / 2**32 < share


# cut


def test_segments_are_cut_from_their_videos() -> None:
    pairs = [_pair(BLUE, 1, 3), _pair(RED, 0, 1), _pair(BLUE, 2.5, 2.6)]
    kept, rows, rejected = cut(pairs, {RED: _features(4), BLUE: _features(4, first=10)}, {})
    assert kept == [0, 1, 2]
    assert [row[:, 0].tolist() for row in rows] == [[11, 12], [0], [12]]
    assert rejected == []


def test_without_an_end_a_segment_goes_on_to_the_end() -> None:
    _, rows, _ = cut([_pair(RED), _pair(RED, 2)], {RED: _features(4)}, {})
    assert [row[:, 0].tolist() for row in rows] == [[0, 1, 2, 3], [2, 3]]


def test_an_end_past_the_end_is_clipped() -> None:
    kept, rows, rejected = cut([_pair(RED, 2, 1000)], {RED: _features(4)}, {})
    assert (kept, rejected) == ([0], [])
    assert rows[0][:, 0].tolist() == [2, 3]


@pytest.mark.parametrize("start_s", [4.0, 4.5, 1000.0])
def test_a_start_past_the_end_is_rejected(start_s: float) -> None:
    pairs = [_pair(RED, start_s, start_s + 1), _pair(RED, 3.9, 9)]
    kept, rows, rejected = cut(pairs, {RED: _features(4)}, {})
    assert (kept, len(rows)) == ([1], 1)
    assert rejected == [Rejected(pairs[0].where, f"it starts at {start_s:g} s, and red.mp4 ends at 4 s")]


def test_the_end_is_the_videos_own_and_not_that_of_its_frames() -> None:
    features = {RED: _features(4, fps=2, duration_s=1.75)}
    kept, _, rejected = cut([_pair(RED, 1.7), _pair(RED, 1.75)], features, {})
    assert kept == [0]
    assert "ends at 1.75 s" in rejected[0].reason


def test_a_video_of_unknown_length_ends_with_its_frames() -> None:
    kept, rows, rejected = cut([_pair(RED, 1.5), _pair(RED, 2)], {RED: _features(4, fps=2, duration_s=0)}, {})
    assert kept == [0]
    assert rows[0][:, 0].tolist() == [3]
    assert "ends at 2 s" in rejected[0].reason


def test_a_video_without_features_is_rejected_with_its_reason() -> None:
    pairs = [_pair(BLUE), _pair(RED), _pair(BLUE, 1, 2)]
    kept, rows, rejected = cut(pairs, {RED: _features(2)}, {BLUE: "the file is empty"})
    assert (kept, len(rows)) == ([1], 1)
    assert rejected == [Rejected(pairs[n].where, "blue.mp4: the file is empty") for n in (0, 2)]


# assemble


def test_examples_number_sources_and_own_their_sentences() -> None:
    pairs = [
        _pair(RED, 0, 1, "a", "b"),
        _pair(BLUE, 0, 1, "c", source="film"),
        replace(_pair(RED, 1, 2, "d", "e", "f"), is_noisy=True),
        _pair(BLUE, 1, 2, "g", source="film"),
    ]
    features = [np.full((1, 2), number, np.float32) for number in range(4)]
    sentences = np.eye(7, dtype=np.float32)
    examples = assemble(pairs, features, sentences)
    assert len(examples) == 4
    assert [examples.source_names[source] for source in examples.sources] == ["red", "film", "red", "film"]
    assert sorted(examples.source_names) == ["film", "red"]
    assert examples.owners.tolist() == [0, 0, 1, 2, 2, 2, 3]
    assert examples.corpora.tolist() == [MAIN, MAIN, ALSO, MAIN]
    assert np.array_equal(examples.sentences, sentences)
    assert _numbers(examples) == [0, 1, 2, 3]


def test_means_are_of_each_segments_frames() -> None:
    frames = [np.array([[0, 2], [4, 4]], np.float32), np.array([[7, 8]], np.float32)]
    examples = assemble([_pair(RED), _pair(BLUE)], frames, np.eye(2, dtype=np.float32))
    assert examples.means().tolist() == [[2, 3], [7, 8]]


# where


@given(_SEGMENTS, st.data())
def test_chosen_rows_keep_their_own_sentences(segments: list[tuple[str, int, int]], data: st.DataObject) -> None:
    examples = _examples(segments)
    rows = data.draw(st.lists(st.booleans(), min_size=len(segments), max_size=len(segments)))
    found = examples.where(np.array(rows, bool))

    expected = [row for row, keep in enumerate(rows) if keep]
    sentences, owners = [], []
    for number, row in enumerate(expected):
        for sentence, owner in zip(examples.sentences.tolist(), examples.owners.tolist(), strict=True):
            if owner == row:
                sentences.append(sentence)
                owners.append(number)
    assert len(found) == len(expected)
    assert _numbers(found) == expected
    assert all(a is examples.features[row] for a, row in zip(found.features, expected, strict=True))
    assert [found.source_names[source] for source in found.sources] == [segments[row][0] for row in expected]
    assert found.corpora.tolist() == [segments[row][1] for row in expected]
    assert found.sentences.tolist() == sentences
    assert found.owners.tolist() == owners


# split


@pytest.mark.parametrize("name", ["red", "v_uqiMw7tQ1Cc", "café", ""])
@pytest.mark.parametrize("seed", [0, 7, -1])
def test_the_rule_is_the_digests_first_four_bytes(name: str, seed: int) -> None:
    drawn = int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:8], 16)
    assert not Split(seed, drawn / 2**32).is_kept_out(name)
    assert Split(seed, (drawn + 1) / 2**32).is_kept_out(name)


def test_the_rule_stays_for_ever() -> None:
    """Worked out once, outside of Python: printf 0:red | sha256sum."""
    assert hashlib.sha256(b"0:red").hexdigest().startswith("7347c18f")
    assert not Split(0, 0x7347C18F / 2**32).is_kept_out("red")
    assert Split(0, (0x7347C18F + 1) / 2**32).is_kept_out("red")


def test_the_share_is_about_what_is_kept_out() -> None:
    names = [f"video{number}" for number in range(4000)]
    for share in (0.1, 0.5):
        assert sum(map(Split(0, share).is_kept_out, names)) / len(names) == pytest.approx(share, abs=0.03)
    assert not any(map(Split(0, 0).is_kept_out, names))


def test_another_seed_keeps_others_out() -> None:
    names = [f"video{number}" for number in range(100)]
    kept_out = [tuple(map(Split(seed, 0.5).is_kept_out, names)) for seed in range(5)]
    assert len(set(kept_out)) == 5


@pytest.mark.parametrize("name", ["caf\udce9", "a\ud800b"])
def test_any_name_of_a_source_can_be_split(name: str) -> None:
    split = Split(0, 0.5)
    assert split.is_kept_out(name) in (True, False)
    assert len(split.sha256(_examples([(name, MAIN, 1)]))) == 64


@given(_SEGMENTS, st.integers(), _SHARES)
def test_no_source_is_on_both_sides(segments: list[tuple[str, int, int]], seed: int, share: float) -> None:
    examples = _examples(segments)
    kept_out = {name for name, corpus, _ in segments if corpus == MAIN and _is_kept_out(name, seed, share)}
    trained = [row for row, (name, _, _) in enumerate(segments) if name not in kept_out]
    validated = [row for row, (name, corpus, _) in enumerate(segments) if name in kept_out and corpus == MAIN]
    split = Split(seed, share)
    if len({segments[row][0] for row in trained}) < 2:
        with pytest.raises(TrainingError, match="at least two videos"):
            split.apply(examples)
    elif share > 0 and len(validated) < 2:
        with pytest.raises(TrainingError, match="too few to validate with"):
            split.apply(examples)
    else:
        training, validation = split.apply(examples)
        assert _numbers(training) == trained
        assert _numbers(validation) == validated
        assert not set(training.sources.tolist()) & set(validation.sources.tolist())


def _sides(split: Split, names: Sequence[str]) -> tuple[set[str], set[str]]:
    found = split.apply(_examples([(name, MAIN, 1) for name in names]))
    training, validation = ({side.source_names[source] for source in side.sources} for side in found)
    return training, validation


def test_videos_that_are_added_move_none() -> None:
    names = [f"video{number}" for number in range(40)]
    training, validation = _sides(Split(0, 0.3), names)
    more_training, more_validation = _sides(Split(0, 0.3), [*(f"a{number}" for number in range(40)), *names[::-1]])
    assert training | validation == set(names)
    assert more_training & set(names) == training
    assert more_validation & set(names) == validation


def test_a_share_of_nothing_keeps_none_out() -> None:
    training, validation = Split(0, 0).apply(_examples([("a", MAIN, 1), ("b", MAIN, 2), ("c", ALSO, 1)]))
    assert _numbers(training) == [0, 1, 2]
    assert len(validation) == 0
    assert validation.sentences.shape == (0, 2)


def test_noisier_rows_of_a_kept_out_source_are_on_neither_side() -> None:
    split = Split(0, 0.5)
    out = [name for name in map(str, range(20)) if split.is_kept_out(name)][:2]
    trained = [name for name in map(str, range(20)) if not split.is_kept_out(name)][:2]
    segments = [(name, corpus, 1) for name in (*out, *trained) for corpus in (ALSO, MAIN, ALSO)]
    training, validation = split.apply(_examples(segments))
    assert _numbers(validation) == [1, 4]
    assert _numbers(training) == [6, 7, 8, 9, 10, 11]


def test_noisier_rows_are_not_split() -> None:
    split = Split(0, 0.5)
    out = [name for name in map(str, range(20)) if split.is_kept_out(name)][:4]
    [trained, *_] = [name for name in map(str, range(20)) if not split.is_kept_out(name)]
    segments = [*((name, MAIN, 1) for name in (*out[:2], trained)), *((name, ALSO, 1) for name in out)]
    training, validation = split.apply(_examples(segments))
    assert _numbers(validation) == [0, 1]
    assert _numbers(training) == [2, 5, 6]


def test_a_noisier_copy_of_a_kept_out_video_is_its_footage() -> None:
    split = Split(0, 0.5)
    out = next(name for name in map(str, range(20)) if split.is_kept_out(name))
    trained = next(name for name in map(str, range(20)) if not split.is_kept_out(name))
    clean = [_pair(Path(f"/videos/{name}.mp4")) for name in (out, trained)]
    copies = [replace(_pair(Path(f"/copies/{name}.mp4")), is_noisy=True) for name in ("one", "two", "three")]
    contents = dict(zip((pair.video for pair in (*clean, *copies)), ("aa", "bb", "aa", "bb", "cc"), strict=True))
    found = split.follow([*copies, *clean], contents)
    assert [pair.source for pair in found] == [out, "two", "three", out, trained]
    assert [replace(pair, source="") for pair in found] == [replace(pair, source="") for pair in (*copies, *clean)]


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_one_video_alone_is_refused(share: float) -> None:
    with pytest.raises(TrainingError, match="at least two videos to train on"):
        Split(0, share).apply(_examples([("a", MAIN, 1), ("a", MAIN, 2), ("a", ALSO, 1)]))


def test_too_few_to_validate_with_is_refused() -> None:
    names = [f"video{number}" for number in range(20)]
    split = Split(0, 0.3)
    [out, *_] = [name for name in names if split.is_kept_out(name)]
    segments = [(name, MAIN, 1) for name in names if not split.is_kept_out(name)]
    for number, kept_out in enumerate([[], [(out, MAIN, 3)], [(out, MAIN, 1), (out, ALSO, 1)]]):
        with pytest.raises(TrainingError, match=f"keeps {min(number, 1)} segments? out, too few to validate with"):
            split.apply(_examples([*segments, *kept_out]))
    _, validation = split.apply(_examples([*segments, (out, MAIN, 1), (out, MAIN, 1)]))
    assert len(validation) == 2


def test_the_fingerprint_of_a_split_is_of_its_kept_out_names_alone() -> None:
    split = Split(0, 0.5)
    out = [name for name in map(str, range(40)) if split.is_kept_out(name)]
    trained = [name for name in map(str, range(40)) if not split.is_kept_out(name)]
    some = _examples([(name, MAIN, 1) for name in (*out[:3], *trained[:3])])
    expected = hashlib.sha256("\n".join(sorted(out[:3])).encode()).hexdigest()
    assert split.sha256(some) == expected
    others = _examples([(name, MAIN, 2) for name in (*trained[4:9], *out[2::-1], *out[:3])])
    assert split.sha256(others) == expected
    noisier = _examples([*((name, MAIN, 1) for name in out[:3]), *((name, ALSO, 1) for name in out[3:6])])
    assert split.sha256(noisier) == expected
    assert split.sha256(_examples([(name, MAIN, 1) for name in (*out[:4], *trained[:3])])) != expected
    assert split.sha256(_examples([(name, MAIN, 1) for name in (*out[:2], *trained[:3])])) != expected
    assert Split(1, 0.5).sha256(some) != expected
