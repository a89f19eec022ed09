"""Lists, protocols and figures of the benchmark, against published counts and slow sums."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cezsar import metrics
from cezsar.datasets import CLASSES, CLIPS, DATASETS, Definition, OwnProtocol
from cezsar.errors import BenchmarkError
from cezsar.pairs import read_pairs
from cezsar.query.benchmark.datasets import Dataset, lists, official_classes, read, ucf101_names
from cezsar.query.benchmark.protocols import Protocol, plan
from cezsar.query.benchmark.receipt import compare
from cezsar.query.benchmark.retrieval import read_moments
from cezsar.query.benchmark.scoring import both_ways, class_scores, corrected, figures
from cezsar.query.benchmark.sentences import class_sentences
from cezsar.training import Split
from cezsar.training.examples import assemble
from cezsar.types import unit

ROOT = Path("/data")
TEST_LISTS = {  # of the official files
    "split1": (3783, "81be4765084d72739dca4d11658f7ec369c441ad9e227f11d9468fe2a1c14890"),
    "split2": (3734, "c9eec18f3f312153cda441f93e30bc9cffef1941367ebc06996e40c9cd056c91"),
    "split3": (3696, "f9cc029b0598c63f5cc07d070ae1fa4666d1d3901cc79a93490ea0742ca097db"),
}


def ucf101(*left_out: str) -> Dataset:
    """All clips of UCF-101, less those of some classes."""
    return read("ucf101", ROOT, [ROOT / f"{name}.avi" for label, name in ucf101_names() if label not in left_out])


def planned(dataset: Dataset, name: str, *, runs: int = 3, seed: int = 0, allow_missing: bool = False) -> Protocol:
    return plan(dataset, name, runs=runs, seed=seed, allow_missing=allow_missing)


# lists


def test_the_lists_have_their_published_counts() -> None:
    assert len(official_classes("ucf101")) == len(set(official_classes("ucf101"))) == 101
    assert len(ucf101_names()) == len(set(ucf101_names())) == 13_320
    assert len(set(official_classes("hmdb51"))) == 51
    assert len(set(official_classes("kinetics400"))) == 400
    assert len(set(official_classes("kinetics-zsar"))) == 220
    named = lists("ucf101")["lists"].items()
    counts = {name: [len(parts["training"]), len(parts["testing"])] for name, parts in named}
    assert counts == {"truze": [67, 34], "truze2": [70, 31], "hard-cases": [92, 15], "semantic-gap": [103, 4]}


def test_the_splits_of_kinetics_zsar_divide_its_220_classes() -> None:
    splits = lists("kinetics-zsar")["splits"]
    assert len(splits) == 3
    for split in splits:
        assert (len(set(split["validation"])), len(set(split["test"]))) == (60, 160)
        assert {*split["validation"], *split["test"]} == set(official_classes("kinetics-zsar"))
    assert not set(official_classes("kinetics-zsar")) & set(official_classes("kinetics400"))


@pytest.mark.parametrize("name", TEST_LISTS)
def test_the_test_lists_are_the_official_files_byte_for_byte(name: str) -> None:
    found = planned(ucf101(), name)
    assert (len(found.tasks[0].clips), found.file_sha256) == TEST_LISTS[name]
    assert len(found.tasks[0].classes) == 101


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("truze", "ucf101_truezsl_splits.json"),
        ("truze2", "ucf101_truezsl2.0_splits.json"),
        ("hard-cases", "ucf101_hard_cases_splits.json"),
        ("semantic-gap", "ucf101_semantic_gap_cases_splits.json"),
    ],
)
def test_the_lists_are_those_of_the_published_files(name: str, file: str, real_data: Path) -> None:
    published = (real_data / "annotations" / file).read_bytes()
    ours = lists("ucf101")["lists"][name]
    assert planned(ucf101(), name).file_sha256 == hashlib.sha256(published).hexdigest()
    assert {name: names for name, names in ours.items() if name != "file_sha256"} == json.loads(published)


@pytest.mark.parametrize(
    ("name", "count", "notes"),
    [
        ("truze", 34, []),
        ("truze2", 31, []),
        ("hard-cases", 15, ["6 classes are on both published lists: ApplyEyeMakeup"]),
        ("semantic-gap", 4, ["the published training list has 103 names, 97 of them distinct"]),
    ],
)
def test_published_lists_are_kept_with_their_faults(name: str, count: int, notes: list[str]) -> None:
    found = planned(ucf101(), name)
    assert len(set(found.tasks[0].classes)) == count
    assert {clip.label for clip in found.tasks[0].clips} == set(found.tasks[0].classes)
    assert len(found.notes) == len(notes)
    assert all(said.startswith(note) for said, note in zip(found.notes, notes, strict=True))


# datasets


def test_clips_of_ucf101_are_found_in_any_folder_and_format() -> None:
    videos = ["v_Archery_g01_c01.avi", "x/Archery/v_Archery_g01_c02.mp4", "a/v_HandStandPushups_g01_c01.avi", "b.mp4"]
    found = read(
        "ucf101", ROOT, [ROOT / video for video in [*videos, "v_Archery_g01_c01.mp4", "v_Archery_g99_c01.avi"]]
    )
    assert [(clip.label, clip.path.name) for clip in found.clips] == [
        ("Archery", "v_Archery_g01_c01.avi"),
        ("Archery", "v_Archery_g01_c02.mp4"),
        ("HandstandPushups", "v_HandStandPushups_g01_c01.avi"),
    ]
    assert len(found.missing) == 13_317


@pytest.mark.parametrize(
    ("name", "video", "label"),
    [
        ("hmdb51", "brush_hair/a.avi", "brush_hair"),
        ("kinetics400", "val/air drumming/x_000001_000011.mp4", "air drumming"),
        ("kinetics400", "air_drumming/x.mp4", "air drumming"),
        ("kinetics-zsar", "acting in play/x.mp4", "acting in play"),
    ],
)
def test_a_class_is_the_folder_that_is_called_so(name: str, video: str, label: str) -> None:
    found = read(name, ROOT, [ROOT / video, ROOT / "other" / "b.mp4"])
    assert [(clip.label, clip.name) for clip in found.clips] == [(label, video)]
    assert set(found.missing) == set(official_classes(name)) - {label}


def test_a_dataset_without_a_clip_says_how_its_clips_lie() -> None:
    with pytest.raises(BenchmarkError, match=r"no video of ucf101 in /data: its clips are called v_Class_g01_c01\.avi"):
        read("ucf101", ROOT, [ROOT / "other.mp4", Path("/elsewhere/v_Archery_g01_c01.avi")])


def test_a_dataset_is_added_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    diving = Definition(
        "diving48", CLASSES, "a folder a class", "its clips lie in dives", own=(OwnProtocol(("few",), "two of them"),)
    )
    monkeypatch.setitem(DATASETS, "diving48", diving)
    published = {"few": {"training": ["Back"], "testing": ["Pike", "Tuck"], "file_sha256": "f" * 64}}
    ours = {"classes": ["Back", "Pike", "Tuck"], "lists": published}
    for room in ("datasets", "protocols"):
        monkeypatch.setattr(
            f"cezsar.query.benchmark.{room}.lists", lambda name: ours if name == "diving48" else lists(name)
        )
    found = read("diving48", ROOT, [ROOT / "tuck" / "a.mp4", ROOT / "pike" / "b.mp4"])
    assert [(clip.label, clip.name) for clip in found.clips] == [("Pike", "pike/b.mp4"), ("Tuck", "tuck/a.mp4")]
    assert planned(found, "few").tasks[0].classes == ("Pike", "Tuck")
    with pytest.raises(BenchmarkError, match="The protocol few belongs to diving48, not to ucf101"):
        planned(ucf101(), "few")
    with pytest.raises(BenchmarkError, match=r"There are: full, half, random:K, split1, .*, zsar, few"):
        planned(ucf101(), "nope")
    with pytest.raises(BenchmarkError, match="no sentence for 1 of 1 classes"):
        class_sentences("diving48", ["Back"], "ours")
    with pytest.raises(BenchmarkError, match=r"There is no dataset 'diving'\. There are: ucf101, .*, pairs, diving48"):
        read("diving", ROOT, [])


# protocols


def test_random_classes_are_seeded_and_drawn_anew_each_run() -> None:
    found = [planned(ucf101(), "random:50", seed=seed).tasks for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert len({task.classes for task in found[0]}) == 3
    assert all(len(set(task.classes)) == 50 for task in found[0])
    assert all({clip.label for clip in task.clips} == set(task.classes) for task in found[0])


def test_half_is_half_of_the_classes() -> None:
    assert [len(task.classes) for task in planned(ucf101(), "half").tasks] == [50] * 3


def test_missing_clips_stop_a_protocol_unless_that_is_allowed() -> None:
    dataset = ucf101("Archery")
    with pytest.raises(BenchmarkError, match=r"145 of 13,320 clips of full are missing \(v_Archery_g01_c01"):
        planned(dataset, "full")
    found = planned(dataset, "full", allow_missing=True).tasks[0]
    assert (len(found.classes), len(found.clips), found.num_listed) == (101, 13_175, 13_320)


def test_classes_without_clips_are_drawn_from_only_where_nothing_may_be_missing() -> None:
    few = [label for label in official_classes("ucf101") if label not in ("Archery", "Biking", "Bowling")]
    drawn = planned(ucf101(*few), "random:3", allow_missing=True).tasks
    assert {task.classes for task in drawn} == {("Archery", "Biking", "Bowling")}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope", "no protocol 'nope'"),
        ("zsar", "belongs to kinetics-zsar, not to ucf101"),
        ("random:102", "asks for 102 classes, and there are 101"),
        ("random:1", "needs a number of classes from 2"),
        ("random:", "needs a number of classes from 2"),
        ("random:-3", "needs a number of classes from 2"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(name: str, said: str) -> None:
    with pytest.raises(BenchmarkError, match=said):
        planned(ucf101(), name)


# figures


def tables(seed: int, num_clips: int, num_classes: int, *, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and the right class of each clip."""
    random = np.random.default_rng(seed)
    return random.integers(steps, size=(num_clips, num_classes)) / steps, random.integers(num_classes, size=num_clips)


@contextmanager
def few_samples() -> Iterator[None]:
    """Intervals of 20 bootstrap samples and not of 1,000, where it is the figures that are tried, and many times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "bootstrap", partial(metrics.bootstrap, rounds=20))
        yield


@given(seed=st.integers(0, 2**32 - 1), num_clips=st.integers(1, 12), num_classes=st.integers(2, 8))
def test_figures_are_those_of_the_slow_oracle_and_ties_are_lost(seed: int, num_clips: int, num_classes: int) -> None:
    scores, targets = tables(seed, num_clips, num_classes, steps=4)
    with few_samples():
        found = figures(scores, targets)
    ranked, confusions = [], Counter[tuple[int, int]]()
    for row, target in zip(scores.tolist(), targets.tolist(), strict=True):
        ahead = [label for label, score in enumerate(row) if label != target and score >= row[target]]
        ranked.append(1 + len(ahead))
        best = [label for label in ahead if row[label] == max(row)]
        confusions[target, best[0] if best else target] += 1
    by_class = {
        label: [r for r, t in zip(ranked, targets.tolist(), strict=True) if t == label]
        for label in set(targets.tolist())
    }
    assert found.top_1.value == pytest.approx(sum(rank == 1 for rank in ranked) / num_clips)
    assert found.top_5.value == pytest.approx(sum(rank <= 5 for rank in ranked) / num_clips)
    shares = {label: sum(rank == 1 for rank in ranks) / len(ranks) for label, ranks in by_class.items()}
    assert found.mean_class.value == pytest.approx(sum(shares.values()) / len(shares))
    assert found.by_class == tuple(shares.get(label) for label in range(num_classes))
    assert found.confusions == tuple(tuple(confusions[i, j] for j in range(num_classes)) for i in range(num_classes))
    for interval in (found.top_1, found.top_5, found.mean_class):
        assert 0 <= interval.low <= interval.high <= 1


def test_figures_are_scikit_learns_where_nothing_ties() -> None:
    # its import takes a second, which other processes need not
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix, top_k_accuracy_score

    random = np.random.default_rng(3)
    scores, targets = random.normal(size=(300, 7)), random.integers(7, size=300)
    found, predicted = figures(scores, targets), scores.argmax(axis=1)
    assert found.top_1.value == pytest.approx(top_k_accuracy_score(targets, scores, k=1))
    assert found.top_5.value == pytest.approx(top_k_accuracy_score(targets, scores, k=5))
    assert found.mean_class.value == pytest.approx(balanced_accuracy_score(targets, predicted))
    np.testing.assert_array_equal(found.confusions, confusion_matrix(targets, predicted))
    half = 1.96 * math.sqrt(found.top_1.value * (1 - found.top_1.value) / 300)
    assert found.top_1.high - found.top_1.low == pytest.approx(2 * half, rel=0.2)


def test_the_samples_of_a_group_are_drawn_together() -> None:
    groups, seen = np.array([5, 1, 5, 1, 7]), []

    def watch(rows: np.ndarray) -> float:
        seen.append(Counter(rows.tolist()))
        return float(rows.mean())

    first = metrics.bootstrap(watch, groups, rounds=50, seed=4)
    assert all(rows[0] == rows[2] and rows[1] == rows[3] for rows in seen)
    assert all(rows[0] + rows[1] + rows[4] == 3 for rows in seen)
    assert len({tuple(sorted(rows.items())) for rows in seen}) > 3
    assert metrics.bootstrap(watch, groups, rounds=50, seed=4) == first
    assert metrics.bootstrap(lambda rows: 1.0, groups) == (1.0, 1.0)


def embedded(seed: int, count: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, 5)))


def test_a_class_scores_by_its_nearest_sentence_or_by_their_mean() -> None:
    videos, said, owners = embedded(0, 4), embedded(1, 5), np.array([0, 0, 1, 2, 2])
    nearest = class_scores(videos, said, owners, kind="nearest")
    mean = class_scores(videos, said, owners, kind="mean")
    for row in range(4):
        for label in range(3):
            mine = [said[i].astype(float) for i in range(5) if owners[i] == label]
            assert nearest[row, label] == pytest.approx(max(float(videos[row] @ one) for one in mine), abs=2e-6)
            summed = np.sum(mine, axis=0)
            expected = float(videos[row] @ summed) / float(np.linalg.norm(summed))
            assert mean[row, label] == pytest.approx(expected, abs=2e-6)


def test_corrections_are_those_of_the_slow_oracle() -> None:
    videos, said, owners = embedded(2, 12), embedded(3, 4), np.arange(4)
    scores = class_scores(videos, said, owners, kind="nearest")
    csls = corrected(scores, videos, said, owners, kind="nearest", how="csls")
    inverted = corrected(scores, videos, said, owners, kind="nearest", how="inverted-softmax")
    for row in range(12):
        for label in range(4):
            column = [float(value) for value in scores[:, label]]
            by_class = sum(sorted(column)[-10:]) / 10
            by_video = sum(scores[row].tolist()) / 4
            assert csls[row, label] == pytest.approx(2 * scores[row, label] - by_class - by_video, abs=2e-6)
            share = math.exp(column[row] / 0.1) / sum(math.exp(value / 0.1) for value in column)
            assert inverted[row, label] == pytest.approx(math.log(share), abs=2e-6)
    assert corrected(scores, videos, said, owners, kind="nearest", how="none") is scores


def test_refined_prototypes_move_to_their_videos() -> None:
    random = np.random.default_rng(5)
    centres = unit(np.eye(3, 5) + 0.1)
    videos = unit(np.repeat(centres, 20, axis=0) + 0.05 * random.normal(size=(60, 5)))
    shifted = unit(centres + 0.45 * random.normal(size=(3, 5)))
    scores = class_scores(videos, shifted, np.arange(3), kind="nearest")
    refined = corrected(scores, videos, shifted, np.arange(3), kind="nearest", how="refine")
    own = np.repeat(np.arange(3), 20)
    assert refined[np.arange(60), own].mean() > scores[np.arange(60), own].mean() + 0.05


@given(seed=st.integers(0, 2**32 - 1), counts=st.lists(st.integers(1, 3), min_size=2, max_size=6))
def test_retrieval_is_that_of_the_slow_oracle_both_ways(seed: int, counts: list[int]) -> None:
    owners = np.repeat(np.arange(len(counts)), counts)
    random = np.random.default_rng(seed)
    videos, said = (unit(random.integers(-1, 2, size=(n, 3)) + 0.0) for n in (len(counts), len(owners)))  # with ties
    with few_samples():
        there, back = both_ways(videos, said, owners)
    scores = np.round(said.astype(float) @ videos.T.astype(float), 6).tolist()
    texts = [
        1 + sum(score >= row[owner] for video, score in enumerate(row) if video != owner)
        for row, owner in zip(scores, owners.tolist(), strict=True)
    ]
    ways = []
    for video in range(len(counts)):
        best = max(row[video] for row, owner in zip(scores, owners.tolist(), strict=True) if owner == video)
        ways.append(
            1 + sum(row[video] >= best for row, owner in zip(scores, owners.tolist(), strict=True) if owner != video)
        )
    for found, ranked in ((there, texts), (back, ways)):
        assert found.recall_1.value == pytest.approx(sum(rank == 1 for rank in ranked) / len(ranked))
        assert found.recall_10.value == pytest.approx(sum(rank <= 10 for rank in ranked) / len(ranked))
        assert found.median_rank == pytest.approx(float(np.median(ranked)))
        assert found.mean_rank == pytest.approx(sum(ranked) / len(ranked))


# sentences and captions


@pytest.mark.parametrize("name", [name for name, one in DATASETS.items() if one.reading in (CLASSES, CLIPS)])
def test_every_class_has_a_sentence_of_ours(name: str) -> None:
    classes = official_classes(name)
    found = class_sentences(name, classes, "ours")
    assert list(found) == list(classes)
    assert all(len(said.split()) >= 5 for sentences in found.values() for said in sentences)
    assert len({said for sentences in found.values() for said in sentences}) == len(classes)


def test_names_are_their_own_words() -> None:
    assert class_sentences("folder", ["PlayingGuitar", "brush_hair"], "names") == {
        "PlayingGuitar": ("playing guitar",),
        "brush_hair": ("brush hair",),
    }


def write_captions(folder: Path, *names: str) -> None:
    rows = []
    for name in names:
        (folder / f"{name}.mp4").touch()
        rows.append({"video": f"{name}.mp4", "start_s": 1, "end_s": 2, "sentences": [f"a {name}", f"the {name}"]})
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_what_training_keeps_out_can_be_asked_alone(tmp_path: Path) -> None:
    names = [f"video{number}" for number in range(40)]
    write_captions(tmp_path, *names)
    found = read_moments("pairs", tmp_path, "kept-out:0.3:7", None)
    kept = [name for name in names if Split(7, 0.3).is_kept_out(name)]
    assert 0 < len(kept) < 40
    assert [moment.path.stem for moment in found.moments] == kept
    assert found.moments[0].sentences == (f"a {kept[0]}", f"the {kept[0]}")


def test_what_is_asked_of_what_was_kept_out_is_what_training_validates_with(tmp_path: Path) -> None:
    names = [f"video{number}" for number in range(40)]
    for name in names:
        (tmp_path / f"{name}.mp4").touch()
    rows: list[dict[str, object]] = [{"video": name, "sentence": f"{n} {name}"} for n in range(3) for name in names]
    rows += [{"video": "video3.mp4", "sentence": "x", "source": "video4"}, {"video": "video3", "sentence": "y"}]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pairs = read_pairs(tmp_path / "captions.jsonl").pairs
    features = [np.zeros((1, 1), np.float32)] * len(pairs)
    numbers = np.arange(sum(len(pair.sentences) for pair in pairs), dtype=np.float32)[:, None]
    _, validation = Split(7, 0.3).apply(assemble(pairs, features, numbers))
    said = [sentence for pair in pairs for sentence in pair.sentences]
    moments = read_moments("pairs", tmp_path, "kept-out:0.3:7", None).moments
    assert len(moments) == len(validation) > 2
    assert [sentence for moment in moments for sentence in moment.sentences] == [
        said[int(number)] for number in validation.sentences[:, 0]
    ]


def test_activitynet_is_asked_by_paragraphs_or_by_moments(tmp_path: Path) -> None:
    (tmp_path / "v_a.mp4").touch()
    entry = {"duration": 9, "timestamps": [[4, 9], [0, 4]], "sentences": ["Then he rests.", " A man runs. "]}
    (tmp_path / "val_1.json").write_text(json.dumps({"v_a": entry}))
    (paragraph,) = read_moments("activitynet", tmp_path, "full", None).moments
    assert (paragraph.sentences, paragraph.start_s, paragraph.end_s) == (("A man runs. Then he rests.",), 0.0, None)
    moments = read_moments("activitynet", tmp_path, "moments", None).moments
    assert [(one.start_s, one.end_s, one.sentences) for one in moments] == [
        (4.0, 9.0, ("Then he rests.",)),
        (0.0, 4.0, ("A man runs.",)),
    ]


@pytest.mark.parametrize(
    ("dataset", "protocol", "said"),
    [
        ("pairs", "moments", "no protocol 'moments' of pairs"),
        ("pairs", "kept-out:x", "needs a share of the videos above 0"),
        ("activitynet", "full", "There are no captions"),
    ],
)
def test_captions_that_cannot_be_asked_are_refused(dataset: str, protocol: str, said: str, tmp_path: Path) -> None:
    write_captions(tmp_path, "a", "b")
    with pytest.raises(BenchmarkError, match=said):
        read_moments(dataset, tmp_path, protocol, None)


# receipts


RECEIPT = {"tasks": [{"top_1": {"value": 0.5, "low": 0.25}}], "clips": {"found": 4}, "seconds": 3.0, "device": "cpu"}


def test_receipts_that_differ_in_time_and_device_alone_are_identical() -> None:
    found = compare(RECEIPT, {**RECEIPT, "seconds": 9.0, "device": "cuda", "versions": {"numpy": "3"}})
    assert found.is_identical
    assert found.differences == ()


@pytest.mark.parametrize(("value", "is_near"), [(0.5 + 9e-5, True), (0.5 - 9e-5, True), (0.5 + 2e-4, False)])
def test_figures_within_the_tolerance_are_confirmed_and_not_called_identical(value: float, is_near: bool) -> None:
    found = compare(RECEIPT, {**RECEIPT, "tasks": [{"top_1": {"value": value, "low": 0.25}}]})
    assert not found.is_identical
    assert bool(found.differences) != is_near


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"clips": {"found": 5}}, "clips.found: 4, and now 5"),
        ({"clips": {}}, "clips.found: 4, and now None"),
        ({"tasks": []}, "tasks.length: 1, and now 0"),
        ({"notes": ["a fault"]}, "notes.length: None, and now 1"),
    ],
)
def test_what_is_counted_otherwise_lacking_or_new_differs(changed: dict[str, object], said: str) -> None:
    assert said in compare(RECEIPT, {**RECEIPT, **changed}).differences
