"""How likely a hit is right: the model, its file, and what queries and classifications say with it."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from make_videos import write_video

from cezsar import encoders, indexer, store
from cezsar.cli import cli
from cezsar.encoders.toy import COLOURS, Toy
from cezsar.errors import CalibrationError
from cezsar.metrics import auroc, expected_calibration_error
from cezsar.query import Filters, Searcher, calibrating, calibration, zeroshot
from cezsar.query.calibration import Calibration, Judge
from cezsar.settings import load

# of a score s, a background b and a size n: the log odds are 10 s - 2 b - ln n - 2
JUDGE = Judge(-2.0, 10.0, -2.0, -1.0, threshold=0.5, false_alarm=0.1, miss=0.2)


def made(**changes: Any) -> Calibration:
    """A calibration of the toy encoder, whose generic footage is white."""
    white = np.eye(8, dtype=np.float32)[[list(COLOURS).index("white")]]
    return replace(Calibration(Toy.identity, white, JUDGE, JUDGE, {}), **changes)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colours")
    for name in ("red", "green", "blue"):
        write_video(folder / f"{name}.mp4", [(name, 2.0)])
    return folder


@pytest.fixture
def index(colours: Path, tmp_path: Path) -> Path:
    """A calibrated index of three videos, a segment each."""
    folder = tmp_path / "index"
    indexer.index([colours], load(environ={}, index=folder, model="toy"))
    calibration.write(made(), folder / calibration.FILE, private=True)
    return folder


def run(*words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, [os.fspath(w) if isinstance(w, Path) else str(w) for w in words], input=stdin)


# the model


def test_confidence_is_the_logistic_of_score_background_and_size() -> None:
    # log odds 10 x 0.5 - 2 x 0.5 - ln 1 - 2 = 2, and ln 3 less among three
    assert JUDGE.confidence(np.array([0.5]), np.array([0.5]), 1).tolist() == [0.8808]
    assert JUDGE.confidence(np.array([0.5, 0.2]), np.array([0.5]), 3).tolist() == [0.7112, 0.1092]


def test_best_of_many_is_less_believed_than_best_of_few() -> None:
    few, many = (JUDGE.confidence(np.array([0.6]), np.array([0.3]), n)[0] for n in (10, 1_000_000))
    assert few > 0.5 > 0.01 > many


def test_background_is_the_mean_of_the_best_twentieth() -> None:
    bank = np.stack([np.array([i / 40, 0], np.float32) for i in range(40)])
    assert calibration.background(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), bank) == pytest.approx([38.5 / 40, 0])


def test_calibration_error_is_the_mean_distance_over_the_bins() -> None:
    confidence, is_right = np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, False])
    assert expected_calibration_error(confidence, is_right) == pytest.approx(0.5 * 0.1 + 0.5 * 0.4)


def test_auroc_counts_pairs_and_ties_half() -> None:
    assert auroc(np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False])) == pytest.approx((2 + 0.5) / 4)
    assert np.isnan(auroc(np.array([1.0]), np.array([True])))


# its file


def test_what_is_written_is_read_again_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / calibration.FILE
    calibration.write(made(figures={"videos": 3}), path, private=True)
    found = calibration.read(path)
    assert found is not None
    assert (found.encoder, found.hits, found.labels, found.figures) == (Toy.identity, JUDGE, JUDGE, {"videos": 3})
    assert np.array_equal(found.bank, made().bank)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert calibration.read(tmp_path / "none") is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"bank": ""},
        {"bank": "!"},
        {"bank": "AAA="},
        {"encoder": {}},
        {"encoder": {**asdict(Toy.identity), "dimension": 0}},
        {"encoder": {**asdict(Toy.identity), "dimension": "8"}},
        {"hits": None},
        {"hits": {**asdict(JUDGE), "score": -1.0}},
        {"labels": {**asdict(JUDGE), "threshold": float("nan")}},
        {"labels": {**asdict(JUDGE), "other": 1.0}},
        {"figures": []},
    ],
)
def test_damaged_one_is_a_line(index: Path, change: dict[str, Any]) -> None:
    path = index / calibration.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CalibrationError, match="is damaged"):
        calibration.read(path)
    result = run("query", "red", "--index", index, "--json")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"cezsar: {path} is damaged: it is not used. `cezsar calibrate` makes a new one."
    ]
    assert json.loads(result.stdout)["hits"][0]["confidence"] is None


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b"{}", b"null"])
def test_what_is_no_calibration_at_all_is_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(CalibrationError, match="is damaged"):
        calibration.read(tmp_path / "c.json")
    with pytest.raises(CalibrationError, match="is no calibration"):
        calibration.read(tmp_path)


def test_one_of_another_encoder_is_not_used(index: Path) -> None:
    other = replace(Toy.identity, weights_sha256="0" * 64)
    calibration.write(made(encoder=other), index / calibration.FILE)
    result = run("query", "red", "--index", index, "--json")
    assert json.loads(result.stdout)["hits"][0]["confidence"] is None
    assert "is of another encoder: it is not used" in result.stderr


def test_shipped_one_is_of_the_shipped_weights() -> None:
    lite = encoders.load("lite", device="cpu").identity
    path = encoders.calibration_file("lite")
    assert path is not None
    found = calibration.read(path)
    assert found is not None
    assert found.fits(lite)
    assert found.bank.shape == (calibrating.BANK, lite.dimension)
    assert 0 < found.hits.threshold < 1
    used, notice = calibration.find(Path("nowhere"), lite)
    assert used is not None
    assert (used.hits, notice) == (found.hits, None)
    assert encoders.calibration_file("toy") is None


# queries


def test_hits_say_how_likely_they_are_by_query_and_by_size(index: Path) -> None:
    with Searcher(index) as searcher:
        hits = searcher.search("red")
        # 10 x 1 - 2 x 0 - ln 3 - 2, and what shows no red at all: -ln 3 - 2
        assert [(hit.path.stem, hit.score, hit.confidence) for hit in hits][:2] == [
            ("red", 1.0, 0.999),
            ("blue", 0.0, 0.0432),
        ]
        assert not hits.nothing_like_it
        nothing = searcher.search("white")  # its background is 1
        assert [hit.confidence for hit in nothing] == [0.0061] * 3
        assert nothing.nothing_like_it
        (only,) = searcher.search("blue", filters=Filters(path="red.mp4"))
        assert only.confidence == 0.1192  # of one that was compared: -2


def test_hidden_videos_and_a_missing_cache_change_no_confidence(index: Path, colours: Path, tmp_path: Path) -> None:
    with Searcher(index) as searcher:
        before = [hit.confidence for hit in searcher.search("red")]
    (index / "vectors.json").unlink()
    with Searcher(index) as searcher:
        assert [hit.confidence for hit in searcher.search("red")] == before
    assert run("remove", colours / "blue.mp4", "--index", index).exit_code == 0
    with Searcher(index) as searcher:
        assert searcher.search("red")[1].confidence == 0.0634  # of two: -ln 2 - 2
    assert run("rebuild", "--index", index).exit_code == 0
    with Searcher(index) as searcher:
        assert searcher.search("red")[1].confidence == 0.0634


def test_an_open_index_takes_a_calibration_that_is_made_meanwhile(index: Path) -> None:
    path = index / calibration.FILE
    path.unlink()
    with Searcher(index) as searcher:
        assert searcher.search("red")[0].confidence is None
        calibration.write(made(), path, private=True)
        before = searcher.search("red")[0].confidence
        assert before is not None
        calibration.write(made(hits=replace(JUDGE, intercept=-1.0)), path, private=True)
        after = searcher.search("red")[0].confidence
    assert after is not None
    assert after > before


def test_an_example_has_no_confidence(index: Path, colours: Path) -> None:
    found = json.loads(run("query", "--like", colours / "red.mp4", "--index", index, "--json").stdout)
    assert {hit["confidence"] for hit in found["hits"]} == {None}
    assert (found["nothing_like_it"], found["threshold"]) == (False, None)


def test_what_is_not_wanted_is_part_of_what_is_asked(index: Path) -> None:
    found = json.loads(run("query", "red", "--not", "green", "--index", index, "--json").stdout)
    by_name = {Path(hit["path"]).stem: (hit["score"], hit["confidence"]) for hit in found["hits"]}
    assert by_name["red"] == (0.894427, 0.9971)  # along (2, -1) / sqrt 5: 10 x 0.894427 - ln 3 - 2
    assert by_name["green"][1] < by_name["blue"][1] < 0.05


def test_json_and_csv_keep_all_hits_and_say_so(index: Path) -> None:
    found = json.loads(run("query", "white", "--index", index, "--json").stdout)
    assert (found["nothing_like_it"], found["threshold"], len(found["hits"])) == (True, 0.5, 3)
    rows = list(csv.DictReader(io.StringIO(run("query", "white", "--index", index, "--format", "csv").stdout)))
    assert [(row["confidence"], row["nothing_like_it"]) for row in rows] == [("0.0061", "true")] * 3
    (first, *_) = csv.DictReader(io.StringIO(run("query", "red", "--index", index, "--format", "csv").stdout))
    assert (first["confidence"], first["nothing_like_it"]) == ("0.999", "false")


def test_table_says_nothing_like_it_above_the_nearest(index: Path) -> None:
    result = run("query", "white", "--index", index)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "Nothing like it; the nearest are:"
    assert lines[1].split() == ["#", "score", "confidence", "time", "video"]
    assert len(lines) == 6
    assert run("query", "white", "--any", "--index", index).stdout.splitlines() == lines[1:]
    assert "Nothing" not in run("query", "red", "--index", index).stdout


def test_without_a_calibration_the_table_is_as_it_was(index: Path) -> None:
    (index / calibration.FILE).unlink()
    lines = run("query", "white", "--index", index).stdout.splitlines()
    assert lines[0].split() == ["#", "score", "time", "video"]


def test_paths_and_export_give_nothing_where_nothing_is_like_it(index: Path, tmp_path: Path) -> None:
    for words in (("--format", "paths"), ("--format", "json", "--export", tmp_path / "clips")):
        result = run("query", "white", "--index", index, *words)
        assert result.exit_code == 0
        assert "cezsar: nothing like it: 'white'; --any gives the nearest" in result.stderr.splitlines()
    assert run("query", "white", "--index", index, "--format", "paths").stdout == ""
    assert not (tmp_path / "clips").exists()
    assert len(run("query", "white", "--any", "--index", index, "--format", "paths").stdout.splitlines()) == 3
    assert run("query", "white", "--any", "--index", index, "--export", tmp_path / "clips").exit_code == 0
    assert len(list((tmp_path / "clips").iterdir())) == 3
    assert len(run("query", "red", "--index", index, "--format", "paths").stdout.splitlines()) == 3


# classifications


def test_no_label_is_likelier_than_one_before_it() -> None:
    classes = zeroshot._Classes(("a", "b", "c"), None, 3, None)  # type: ignore[arg-type]
    found = classes._best(np.array([0.1, 0.3, 0.2], np.float32), np.array([0.4, 0.5, 0.9]))
    assert [(one.label, one.confidence) for one in found] == [("b", 0.5), ("c", 0.5), ("a", 0.4)]
    unknown = classes._best(np.array([0.1, 0.3, 0.2], np.float32), np.full(3, np.nan))
    assert [one.confidence for one in unknown] == [None] * 3


def test_predictions_have_a_confidence_and_no_label_may_fit(index: Path, colours: Path) -> None:
    words = ("classify", colours, "--labels", "red,yellow", "--index", index)
    videos = {Path(one["path"]).stem: one for one in json.loads(run(*words, "--json").stdout)["videos"]}
    # among two labels: 10 - ln 2 - 2, and -ln 2 - 2
    assert [one["confidence"] for one in videos["red"]["predictions"]] == [0.9993, 0.0634]
    assert "label" not in videos["red"]
    told = json.loads(run(*words, "--json", "--none-of-these", "--segments").stdout)["videos"]
    assert {Path(one["path"]).stem: one["label"] for one in told} == {"red": "red", "green": None, "blue": None}
    assert {Path(one["path"]).stem: one["segments"][0]["label"] for one in told}["green"] is None
    table = run(*words, "--none-of-these").stdout
    assert table.count("none of these") == 2
    rows = list(csv.DictReader(io.StringIO(run(*words, "--none-of-these", "--format", "csv").stdout)))
    assert [(row["rank"], row["label"]) for row in rows if "green" in row["path"]] == [
        ("0", ""), ("1", "red"), ("2", "yellow"),
    ]  # fmt: skip


def test_none_of_these_needs_a_calibration(index: Path, colours: Path) -> None:
    (index / calibration.FILE).unlink()
    result = run("classify", colours, "--labels", "red,yellow", "--index", index, "--none-of-these")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "cezsar: --none-of-these: toy has no calibration here: `cezsar calibrate PAIRS` makes one for this index."
    )


# how one is made


def test_short_forms() -> None:
    short = calibrating.short_form
    assert short("a man is folding a sheet of paper") == "folding a sheet of"
    assert short("there is a woman cooking") is None
    assert short("two young men are wrestling") == "wrestling"
    assert short("a cat on a sofa") is None


def test_near_is_a_caption_at_hand_and_the_own_video() -> None:
    said = np.array([[1.0, 0.0], [0.0, 1.0], [0.66, 0.7513]], np.float32)
    found = calibrating.near(said[:1], np.array([1]), said, np.array([0, 1, 2]), 3)
    assert found.tolist() == [[True, True, True]]
    found = calibrating.near(said[:1], np.array([0]), said[[0, 1, 1]], np.array([0, 1, 2]), 3)
    assert found.tolist() == [[True, False, False]]


def asked(count: int, seed: int = 0) -> calibrating.Asked:
    """First hits whose odds of being right are known: those of JUDGE."""
    generator = np.random.default_rng(seed)
    score, level = generator.uniform(0, 1, count), generator.uniform(0, 0.5, count)
    size = generator.choice([10, 100, 1000], count)
    chance = 1 / (1 + np.exp(-(10 * score - 2 * level - np.log(size) - 2)))
    is_right = generator.uniform(size=count) < chance
    return calibrating.Asked(score, level, size, is_right, is_right, np.arange(count), size)


def test_fit_finds_the_odds_that_made_the_hits() -> None:
    many = asked(40_000)
    found = calibrating.fit(many)
    assert [found.intercept, found.score, found.background, found.log_size] == pytest.approx([-2, 10, -2, -1], abs=0.35)
    assert expected_calibration_error(calibrating.crossed(many), many.is_right) < 0.01
    assert found.miss == pytest.approx(0.1, abs=0.01)


def test_scores_that_say_nothing_calibrate_nothing() -> None:
    many = asked(2_000)
    wrong = replace(many, score=-many.score)
    with pytest.raises(CalibrationError, match="no likelier to be right"):
        calibrating.fit(wrong)


def test_absent_sentences_are_asked_where_nothing_shows_them() -> None:
    rows = np.eye(12, dtype=np.float32)
    shows = np.eye(12, dtype=bool)
    shows[0, 1] = True
    found = calibrating.ask(
        calibrating.Captioned([row[None] for row in rows], rows, np.arange(12), shows), rows[:2], [12]
    )
    assert found.is_right.tolist() == found.is_present.tolist()
    assert found.compared[(found.video == 0) & ~found.is_present].tolist() == [10]
    assert found.compared[(found.video == 5) & ~found.is_present].tolist() == [11]


SAID = {
    "red": ("red roses in a garden", "a red fire engine"),
    "green": ("green hills in the spring", "a green frog on a leaf"),
    "blue": ("the blue ocean from above", "a blue winter sky"),
    "yellow": ("yellow corn on the cob", "a yellow taxi in the city"),
    "cyan": ("cyan paint in a bucket", "a cyan laser in a laboratory"),
    "magenta": ("magenta lipstick in a drawer", "a magenta wedding dress"),
    "white": ("white snow on a mountain", "a white wall of marble"),
    "black": ("black coffee in a cup", "a black cat at night"),
}


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos a colour, and what is said of them."""
    folder = tmp_path_factory.mktemp("captioned")
    rows = []
    for name, sentences in SAID.items():
        for number in range(3):
            write_video(folder / f"{name}{number}.mp4", [(name, 1.0)])
            rows.append(json.dumps({"video": f"{name}{number}.mp4", "sentences": sentences}))
    (folder / "captions.jsonl").write_text("\n".join(rows))
    return folder / "captions.jsonl"


def test_calibrate_makes_one_for_an_index(index: Path, captions: Path) -> None:
    (index / calibration.FILE).unlink()
    result = run("calibrate", captions, "--index", index, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["index"] == str(index)
    assert told["figures"]["hits"]["auroc_right"] > 0.95
    assert not (index / calibration.FILE).exists()
    found = json.loads(run("query", "red", "--index", index, "--json").stdout)
    first, second, *_ = found["hits"]
    assert first["confidence"] > found["threshold"] > second["confidence"]
    lines = run("calibrate", captions, "--index", index).stdout.splitlines()
    assert lines[-1].startswith("kept in ")
    assert any("expected calibration error" in line for line in lines)


def test_a_video_that_crashes_the_decoder_costs_its_own_captions_alone(
    index: Path, captions: Path, tmp_path: Path, deadly: None
) -> None:
    crashing = write_video(tmp_path / "deadly.mp4", [("red", 1.0)])
    first = json.dumps({"video": str(crashing), "sentence": "red roses"})
    more = tmp_path / "captions.jsonl"
    more.write_text("\n".join([first, captions.read_text()]))
    result = run("calibrate", more, "--videos", captions.parent, "--index", index)
    assert result.exit_code == 0, result.output
    told = "left out captions.jsonl:1: deadly.mp4: it crashed the decoder (SIGSEGV)"
    assert told in result.stderr
    assert result.stdout.splitlines()[-1].startswith("kept in ")


def test_too_few_captions_calibrate_nothing(index: Path, captions: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(captions.read_text().splitlines()[:6]))
    result = run("calibrate", few, "--videos", captions.parent, "--index", index)
    assert result.exit_code == 1
    assert "too few" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_captions_that_are_all_alike_calibrate_nothing(index: Path, captions: Path, tmp_path: Path) -> None:
    names = [json.loads(line)["video"] for line in captions.read_text().splitlines()]
    alike = tmp_path / "alike.jsonl"
    alike.write_text("\n".join(json.dumps({"video": name, "sentence": "a red fire engine"}) for name in names))
    result = run("calibrate", alike, "--videos", captions.parent, "--index", index)
    assert result.exit_code == 1, result.output
    assert result.stderr.splitlines() == [
        "cezsar: These captions are too much alike to calibrate with: each says what every video shows. "
        "Add videos of other things."
    ]


def test_nothing_is_told_of_a_video_that_every_sentence_fits() -> None:
    rows = np.eye(12, dtype=np.float32)
    shows = np.eye(12, dtype=bool)
    shows[:, 3] = True
    found = calibrating.tell(
        calibrating.Captioned([row[None] for row in rows], rows, np.arange(12), shows), rows[:2], [2]
    )
    assert found.is_present[found.video == 3].tolist() == [True] * 6
    assert sorted(found.is_present[found.video == 5].tolist()) == [False] * 6 + [True] * 6


def test_sentences_that_everything_shows_calibrate_nothing() -> None:
    rows = np.eye(12, dtype=np.float32)
    everything = calibrating.Captioned([row[None] for row in rows], rows, np.arange(12), np.ones((12, 12), bool))
    with pytest.raises(CalibrationError, match="too much alike to calibrate with: each says what every video shows"):
        calibrating.calibrate(everything, np.eye(12, dtype=np.float32)[:8], Toy.identity)


def test_what_shows_next_to_nothing_is_not_believed(index: Path) -> None:
    with closing(sqlite3.connect(index / store.FILE)) as database, database:
        red = "SELECT id FROM videos WHERE path = ?"
        database.execute(f"UPDATE segments SET plain = 1 WHERE video_id = ({red})", (b"red.mp4",))
    with Searcher(index) as searcher:
        hits = searcher.search("red")
    assert [hit.path.name for hit in hits][-1] == "red.mp4"
    assert hits[-1].score == pytest.approx(1.0, abs=1e-3)
    assert hits[-1].confidence == 0.0
    assert hits[0].confidence != 0.0
