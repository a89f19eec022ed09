"""Captioned videos are read from every format that is promised, and every row that is left out says why."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cezsar.errors import PairsError
from cezsar.indexer.scan import plan as index_plan
from cezsar.pairs import Captions, Pair, grouped, read_pairs
from cezsar.paths import VIDEO_SUFFIXES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """red.mp4, blue.mp4, v_walk.mp4, run.mkv and deep/er/green.webm, all of them empty files."""
    made = tmp_path / "videos"
    (made / "deep" / "er").mkdir(parents=True)
    for name in ("red.mp4", "blue.mp4", "v_walk.mp4", "run.mkv", "deep/er/green.webm"):
        (made / name).touch()
    return made


def _read(folder: Path, text: str | bytes, name: str = "pairs.jsonl") -> Captions:
    """What a file of this text beside the videos says."""
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(data)
    return read_pairs(folder / name)


def _rows(folder: Path, *rows: object) -> Captions:
    return _read(folder, "".join(json.dumps(row) + "\n" for row in rows))


def _only(captions: Captions) -> Pair:
    assert captions.rejected == []
    [pair] = captions.pairs
    return pair


def _reason(captions: Captions, where: str) -> str:
    """Why the only row was left out."""
    assert captions.pairs == []
    [row] = captions.rejected
    assert row.where == where
    assert "\n" not in row.reason
    return row.reason


def _said(captions: Captions) -> list[tuple[str, str, float, float | None, tuple[str, ...]]]:
    assert captions.rejected == []
    return [(pair.where, pair.video.name, pair.start_s, pair.end_s, pair.sentences) for pair in captions.pairs]


def _refusal(file: Path, videos: Path | None = None) -> str:
    with pytest.raises(PairsError) as caught:
        read_pairs(file, videos)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# JSONL


def test_a_row_is_a_pair(folder: Path) -> None:
    row = {"video": "red.mp4", "start_s": 1, "end_s": 2.5, "sentence": "a red screen", "source": "film"}
    assert _only(_rows(folder, row)) == Pair("pairs.jsonl:1", folder / "red.mp4", "film", 1.0, 2.5, ("a red screen",))


def test_without_start_and_end_a_row_is_of_the_whole_video(folder: Path) -> None:
    pair = _only(_rows(folder, {"video": "red.mp4", "sentence": "x"}))
    assert (pair.start_s, pair.end_s) == (0.0, None)


def test_without_a_source_it_is_the_name_of_the_video(folder: Path) -> None:
    assert _only(_rows(folder, {"video": "red.mp4", "sentence": "x"})).source == "red"
    assert _only(_rows(folder, {"video": "deep/er/green.webm", "sentence": "x", "source": ""})).source == "green"


def test_a_source_may_be_a_number(folder: Path) -> None:
    rows = [{"video": name, "sentence": "x", "source": number} for name, number in (("red", 7), ("blue", 0))]
    assert [pair.source for pair in _rows(folder, *rows).pairs] == ["7", "0"]


def test_several_sentences_stay_one_pair_in_order_each_once(folder: Path) -> None:
    assert _only(_rows(folder, {"video": "red.mp4", "sentences": ["b", "a", "b"]})).sentences == ("b", "a")


def test_spaces_around_and_within_a_sentence_are_made_one(folder: Path) -> None:
    assert _only(_rows(folder, {"video": "red.mp4", "sentence": "  a\n red \t screen "})).sentences == ("a red screen",)


def test_seconds_may_be_written_as_text(folder: Path) -> None:
    pair = _only(_rows(folder, {"video": "red.mp4", "start_s": "0.5", "end_s": "1e1", "sentence": "x"}))
    assert (pair.start_s, pair.end_s) == (0.5, 10.0)


def test_an_endless_end_is_the_end_of_the_video(folder: Path) -> None:
    assert _only(_rows(folder, {"video": "red.mp4", "end_s": math.inf, "sentence": "x"})).end_s is None


def test_blank_lines_are_skipped_and_still_counted(folder: Path) -> None:
    row, other = (json.dumps({"video": name, "sentence": "x"}) for name in ("red", "blue"))
    captions = _read(folder, f"\n{row}\n  \n\t\n{other}\nbad\n\n")
    assert [pair.where for pair in captions.pairs] == ["pairs.jsonl:2", "pairs.jsonl:5"]
    assert [row.where for row in captions.rejected] == ["pairs.jsonl:6"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_and_either_line_ending_are_read(folder: Path, mark: bytes, newline: str) -> None:
    lines = ['{"video": "red.mp4", "sentence": "é"}', '{"video": "blue.mp4", "sentence": "日本"}']
    captions = _read(folder, mark + newline.join(lines).encode())
    assert [pair.sentences for pair in captions.pairs] == [("é",), ("日本",)]
    assert captions.rejected == []


def test_a_line_separator_within_a_sentence_ends_no_row(folder: Path) -> None:
    captions = _read(folder, '{"video": "red.mp4", "sentence": "a\u2028b\x85c"}\n')
    assert _only(captions).sentences == ("a b c",)


def test_an_empty_file_has_no_rows(folder: Path) -> None:
    assert _read(folder, "") == Captions([], [])


def test_a_file_of_another_suffix_is_read_as_jsonl(folder: Path) -> None:
    assert _only(_read(folder, '{"video": "red", "sentence": "x"}', "pairs.txt")).where == "pairs.txt:1"


# one segment, several rows

TALL = [("red", ["a", "b c", "d"]), ("blue", ["a", "e"]), ("v_walk", ["f", "g", "h", "i"])]


def _segments(captions: Captions) -> list[tuple[Path, str, float, float | None, tuple[str, ...]]]:
    assert captions.rejected == []
    return [(pair.video, pair.source, pair.start_s, pair.end_s, pair.sentences) for pair in captions.pairs]


def test_a_row_a_sentence_and_a_row_a_video_say_the_same(folder: Path) -> None:
    lists = [{"video": name, "sentences": said} for name, said in TALL]
    rows = [{"video": name, "sentence": one} for name, said in TALL for one in said]
    table = "video,sentence\n" + "".join(f"{row['video']},{row['sentence']}\n" for row in rows)
    msrvtt = {"sentences": [{"video_id": row["video"], "caption": row["sentence"]} for row in rows]}
    expected = [
        (folder / "red.mp4", "red", 0.0, None, ("a", "b c", "d")),
        (folder / "blue.mp4", "blue", 0.0, None, ("a", "e")),
        (folder / "v_walk.mp4", "v_walk", 0.0, None, ("f", "g", "h", "i")),
    ]
    assert _segments(_rows(folder, *lists)) == expected
    assert _segments(_rows(folder, *rows)) == expected
    assert _segments(_read(folder, table, "pairs.csv")) == expected
    assert _segments(_read(folder, json.dumps(msrvtt), "videodatainfo.json")) == expected


def test_rows_of_one_segment_need_not_follow_each_other(folder: Path) -> None:
    spread = [("red", "a"), ("blue", "a"), ("red", "b c"), ("v_walk", "f"), ("walk", "g"), ("blue.mp4", "e"),
              ("red.mp4", "d"), ("v_walk", "h"), ("v_walk.mp4", "i")]  # fmt: skip
    captions = _rows(folder, *({"video": name, "sentence": said} for name, said in spread))
    assert [(pair.where, pair.sentences) for pair in captions.pairs] == [
        ("pairs.jsonl:1", ("a", "b c", "d")),
        ("pairs.jsonl:2", ("a", "e")),
        ("pairs.jsonl:4", ("f", "g", "h", "i")),
    ]


def test_the_same_stretch_is_one_however_its_seconds_are_written(folder: Path) -> None:
    stretches: list[dict[str, Any]] = [
        {"start_s": 1, "end_s": 2}, {"start_s": "1.0", "end_s": 2.0}, {"start_s": 1.0, "end_s": "2e0"},
        {}, {"start_s": None, "end_s": None}, {"start_s": 0}, {"start_s": -0.0}, {"end_s": math.inf},
        {"start_s": 1}, {"start_s": 1, "end_s": 2.5}, {"start_s": 1, "end_s": 2.0000001},
    ]  # fmt: skip
    rows = [{"video": "red", **stretch, "sentence": str(number)} for number, stretch in enumerate(stretches)]
    captions = _rows(folder, *rows)
    assert [(pair.start_s, pair.end_s, pair.sentences) for pair in captions.pairs] == [
        (1.0, 2.0, ("0", "1", "2")),
        (0.0, None, ("3", "4", "5", "6", "7")),
        (1.0, None, ("8",)),
        (1.0, 2.5, ("9",)),
        (1.0, 2.0000001, ("10",)),
    ]
    assert math.copysign(1, captions.pairs[1].start_s) == 1


def test_the_same_video_is_one_however_its_path_is_spelt(folder: Path) -> None:
    (folder / "other.mp4").symlink_to(folder / "red.mp4")
    (folder / "linked").symlink_to(folder / "deep", target_is_directory=True)
    names = ["./red.mp4", "red", "../videos/red.mp4", str(folder / "red.mp4"), "other.mp4", "deep/er/green.webm",
             "green", "linked/er/green.webm"]  # fmt: skip
    captions = _rows(folder, *({"video": name, "sentence": str(number)} for number, name in enumerate(names)))
    assert [(pair.video.name, pair.source, pair.sentences) for pair in captions.pairs] == [
        ("red.mp4", "red", ("0", "1", "2", "3", "4")),
        ("green.webm", "green", ("5", "6", "7")),
    ]


def test_a_video_that_is_spelt_in_two_ways_is_one_video_in_all_its_segments(folder: Path) -> None:
    (folder / "other.mp4").symlink_to(folder / "red.mp4")
    rows = [{"video": name, "start_s": start, "sentence": "x"} for start, name in enumerate(("other", "red"))]
    captions = _rows(folder, *rows)
    assert [(pair.video, pair.source) for pair in captions.pairs] == [(folder / "other.mp4", "other")] * 2


def test_a_sentence_counts_once(folder: Path) -> None:
    composed, decomposed = "a caf\u00e9 at night", "a  cafe\u0301 at\u00a0night "
    rows = [{"video": "red", "sentence": said} for said in (composed, decomposed, *["x"] * 100, "X", "x.")]
    assert _only(_rows(folder, *rows)).sentences == (composed, "x", "X", "x.")
    assert _only(_rows(folder, *rows[1::-1])).sentences == (composed,)
    assert _only(_rows(folder, {"video": "red", "sentences": [decomposed, composed]})).sentences == (composed,)


def test_two_videos_with_one_sentence_stay_two(folder: Path) -> None:
    captions = _rows(folder, *({"video": name, "sentence": "x"} for name in ("red", "blue", "red")))
    assert [(pair.video.name, pair.sentences) for pair in captions.pairs] == [("red.mp4", ("x",)), ("blue.mp4", ("x",))]


def test_another_field_with_a_query_a_row_is_grouped_too(folder: Path) -> None:
    rows = [
        {"video": "red", "query": "one", "sentence": "x"},
        {"video": "blue", "query": "two", "sentence": "x"},
        {"video": "red", "query": "three", "sentence": "x"},
    ]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "a.csv").write_text("video,query\nred,one\nblue,two\nred,three\n")
    for name in ("a.jsonl", "a.csv"):
        captions = read_pairs(folder / name, field="query")
        assert [pair.sentences for pair in captions.pairs] == [("one", "three"), ("two",)]


def test_a_source_that_one_row_names_is_that_of_the_videos_other_rows(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"video": "red", "sentence": "a"},
        {"video": "red", "sentence": "b", "source": "film"},
        {"video": "red", "start_s": 1, "sentence": "c"},
        {"video": "blue", "sentence": "d"},
    ]
    captions = _rows(folder, *rows)
    assert [(pair.source, pair.sentences) for pair in captions.pairs] == [
        ("film", ("a", "b")),
        ("film", ("c",)),
        ("blue", ("d",)),
    ]


def test_a_second_source_of_one_segment_is_rejected(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"video": "red", "start_s": 1, "sentence": "a", "source": "joined"},
        {"video": "red", "sentence": "b"},
        {"video": "red", "sentence": "c", "source": "film"},
        {"video": "red.mp4", "sentence": "d", "source": "tape"},
        {"video": "red", "sentence": "e", "source": "film"},
    ]
    captions = _rows(folder, *rows)
    assert [(pair.start_s, pair.source, pair.sentences) for pair in captions.pairs] == [
        (1.0, "joined", ("a",)),
        (0.0, "film", ("b", "c", "e")),
    ]
    [row] = captions.rejected
    assert row.where == "pairs.jsonl:4"
    assert row.reason == "its source is 'tape', and pairs.jsonl:3 names 'film' for the same segment"


def test_what_is_noisy_stays_apart_and_shares_its_source(folder: Path) -> None:
    clean = _rows(folder, {"video": "red", "sentence": "a", "source": "film"}).pairs
    noisy = _rows(folder, {"video": "red", "sentence": "b"}, {"video": "red.mp4", "sentence": "a"}).pairs
    found = grouped([*clean, *(replace(pair, is_noisy=True) for pair in noisy), *clean])
    assert [(pair.source, pair.sentences, pair.is_noisy) for pair in found.pairs] == [
        ("film", ("a",), False),
        ("film", ("b", "a"), True),
    ]


def test_start_and_end_are_exchanged_where_the_end_comes_first_and_that_is_counted(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"video": "red", "start_s": 2, "end_s": 1.5, "sentence": "a"},
        {"video": "red", "start_s": 1.5, "end_s": 2, "sentence": "b"},
        {"video": "blue", "start_s": 2, "end_s": 0, "sentence": "c"},
    ]
    captions = _rows(folder, *rows)
    assert [(pair.start_s, pair.end_s, pair.sentences) for pair in captions.pairs] == [
        (1.5, 2.0, ("a", "b")),
        (0.0, 2.0, ("c",)),
    ]
    assert captions.num_exchanged == 2
    document = {"red": {"timestamps": [[1, 0]], "sentences": ["a"]}}
    found = _read(folder, json.dumps(document), "val_1.json")
    assert ([(pair.start_s, pair.end_s) for pair in found.pairs], found.num_exchanged) == ([(0.0, 1.0)], 1)


# where the videos are


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("red.mp4", "red.mp4"),
        ("red", "red.mp4"),
        ("run", "run.mkv"),
        ("deep/er/green.webm", "deep/er/green.webm"),
        ("green.webm", "deep/er/green.webm"),
        ("green", "deep/er/green.webm"),
        ("walk", "v_walk.mp4"),
        ("v_walk", "v_walk.mp4"),
        ("v_run", "run.mkv"),
        ("../videos/red.mp4", "red.mp4"),
    ],
)
def test_a_video_is_found(folder: Path, name: str, found: str) -> None:
    assert _only(_rows(folder, {"video": name, "sentence": "x"})).video.resolve() == folder / found


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_every_video_that_is_indexed_is_found_without_its_suffix(folder: Path, suffix: str) -> None:
    for name in (f"clip{suffix.upper()}", f"deep/sub{suffix}"):
        (folder / name).touch()
    captions = _rows(folder, *({"video": name, "sentence": "x"} for name in ("clip", "deep/sub")))
    assert captions.rejected == []
    assert [pair.video.name for pair in captions.pairs] == [f"clip{suffix.upper()}", f"sub{suffix}"]
    [found, _] = index_plan([folder / f"clip{suffix.upper()}", folder / "red.mp4"], known=None).embed
    assert found[0].full_path.stem == "clip"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "name", ["W\u00fcrzburg/Caf\u00e9 \u00dcbung.mp4", "W\u00fcrzburg/Caf\u00e9 \u00dcbung", "Caf\u00e9 \u00dcbung"]
)
def test_a_name_is_found_composed_or_decomposed(folder: Path, name: str, typed: Any, form: Any) -> None:
    file = folder / unicodedata.normalize(form, "W\u00fcrzburg/Caf\u00e9 \u00dcbung.mp4")
    file.parent.mkdir()
    file.touch()
    said = unicodedata.normalize(typed, name)
    rows = [{"video": one, "sentence": one} for one in (said, f"./{said}")]
    if "/" in said:
        rows.append({"video": f"../videos/{said}", "sentence": "x"})
    found = _rows(folder, *rows[: 3 if "/" in said else 1])
    assert _only(found).video == file
    assert _only(found).source == "Caf\u00e9 \u00dcbung"


def test_the_very_name_comes_before_the_one_that_only_looks_the_same(folder: Path) -> None:
    composed, decomposed = folder / "caf\u00e9.mp4", folder / "cafe\u0301.mp4"
    composed.touch()
    decomposed.touch()
    captions = _rows(folder, *({"video": path.stem, "sentence": "x"} for path in (decomposed, composed)))
    assert [pair.video for pair in captions.pairs] == [decomposed, composed]
    (folder / "deep" / "x\u0301.mp4").touch()
    (folder / "x\u0301.mkv").touch()
    assert "may be" in _reason(_rows(folder, {"video": "x\u0301", "sentence": "x"}), "pairs.jsonl:1")


def test_an_absolute_video_is_taken_from_where_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / "red.mp4"
    other.touch()
    assert _only(_rows(folder, {"video": str(other), "sentence": "x"})).video == other


def test_videos_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"video": "red.mp4", "sentence": "x"}\n{"video": "green", "sentence": "x"}\n')
    captions = read_pairs(file, folder)
    assert [pair.video for pair in captions.pairs] == [folder / "red.mp4", folder / "deep" / "er" / "green.webm"]


def test_a_picture_or_a_note_beside_a_video_is_not_taken_for_it(folder: Path) -> None:
    for name in ("red.jpg", "red.info", "red.srt", "red.txt"):
        (folder / name).touch()
    assert _only(_rows(folder, {"video": "red", "sentence": "x"})).video == folder / "red.mp4"


# CSV


def test_csv_columns_come_in_any_order_and_may_be_empty(folder: Path) -> None:
    text = "sentence,video,source,end_s,start_s\na,red.mp4,film,2,1\nb,blue,,,\n"
    captions = _read(folder, text, "pairs.csv")
    assert _said(captions) == [
        ("pairs.csv:2", "red.mp4", 1.0, 2.0, ("a",)),
        ("pairs.csv:3", "blue.mp4", 0.0, None, ("b",)),
    ]
    assert [pair.source for pair in captions.pairs] == ["film", "blue"]


def test_csv_quotes_hold_commas_and_quotes(folder: Path) -> None:
    text = 'video,start_s,end_s,sentence\nred,0,1,"red, ""very"" red"\n'
    assert _only(_read(folder, text, "pairs.csv")).sentences == ('red, "very" red',)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_quotes_hold_newlines(folder: Path, newline: str) -> None:
    text = newline.join(["video,start_s,end_s,sentence", 'red,0,1,"a red', 'screen"', "blue,0,1,b", ""])
    captions = _read(folder, text, "pairs.csv")
    assert [pair.sentences for pair in captions.pairs] == [("a red screen",), ("b",)]
    assert captions.rejected == []


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0b", "\x0c", "\x1e"])
def test_csv_rows_end_at_line_ends_alone(folder: Path, separator: str) -> None:
    text = f"video,start_s,end_s,sentence\nred,0,1,a red{separator}screen\n"
    assert len(_only(_read(folder, text, "pairs.csv")).sentences[0].split()) == 3


def test_csv_with_a_byte_order_mark_is_read(folder: Path) -> None:
    assert _only(_read(folder, b"\xef\xbb\xbfvideo,sentence\r\nred,x\r\n", "PAIRS.CSV")).video.name == "red.mp4"


@pytest.mark.parametrize(
    ("header", "missing"),
    [("video,start_s,end_s", ["sentence"]), ("clip,sentence", ["video"]), ("", ["sentence", "video"])],
)
def test_csv_without_a_column_is_refused(folder: Path, header: str, missing: list[str]) -> None:
    file = folder / "pairs.csv"
    file.write_text(f"{header}\na,b,c\n" if header else "")
    said = _refusal(file)
    assert str(file) in said
    assert [name for name in ("sentence", "video") if f"no column {name}" in said] == missing


def test_csv_row_that_is_too_short_is_named(folder: Path) -> None:
    captions = _read(folder, "video,start_s,end_s,sentence\nred,0\nred,0,1,x\n", "pairs.csv")
    assert [pair.where for pair in captions.pairs] == ["pairs.csv:3"]
    assert [(row.where, row.reason) for row in captions.rejected] == [("pairs.csv:2", "it has no sentence")]


def test_csv_row_that_is_too_long_loses_nothing_in_silence(folder: Path) -> None:
    captions = _read(folder, "video,sentence\nred,a big, red screen\n", "pairs.csv")
    assert captions.rejected or captions.pairs[0].sentences == ("a big, red screen",)


@pytest.mark.parametrize("seconds", ["soon", "nan", "1:30", "-1"])
def test_csv_seconds_are_checked_too(folder: Path, seconds: str) -> None:
    captions = _read(folder, f"video,start_s,end_s,sentence\nred,{seconds},9,x\n", "pairs.csv")
    assert "start" in _reason(captions, "pairs.csv:2")


# ActivityNet Captions and MSR-VTT


def _activitynet(folder: Path, document: object) -> Captions:
    return _read(folder, json.dumps(document), "val_1.json")


def test_activitynet_captions_are_read(folder: Path) -> None:
    (folder / "ids").mkdir()
    (folder / "ids" / "abc-1_X.mp4").touch()  # v_walk.mp4 is named with v_, this one without
    document = {
        "v_walk": {"duration": 9.5, "timestamps": [[0, 1.5], [1, 9.5]], "sentences": ["One walks.", " He  stops."]},
        "v_abc-1_X": {"duration": 3, "timestamps": [[0.25, 3]], "sentences": ["A cat."]},
        "walk": {"duration": 9.5, "timestamps": [[2, 3]], "sentences": ["She runs."]},
    }
    assert _said(_activitynet(folder, document)) == [
        ("val_1.json:1", "v_walk.mp4", 0.0, 1.5, ("One walks.",)),
        ("val_1.json:2", "v_walk.mp4", 1.0, 9.5, ("He stops.",)),
        ("val_1.json:3", "abc-1_X.mp4", 0.25, 3.0, ("A cat.",)),
        ("val_1.json:4", "v_walk.mp4", 2.0, 3.0, ("She runs.",)),
    ]
    assert {pair.source for pair in _activitynet(folder, document).pairs} == {"v_walk", "abc-1_X"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"timestamps": [[0, 1]], "sentences": ["a", "b"]}, "not an object"),
        ({"timestamps": "0-1", "sentences": ["a"]}, "not an object"),
        ({"timestamps": [[0]], "sentences": ["a"]}, "timestamps are not [start, end]"),
        ({"timestamps": [[0, 1, 2]], "sentences": ["a"]}, "timestamps are not [start, end]"),
        ({"timestamps": ["01"], "sentences": ["a"]}, "timestamps are not [start, end]"),
        ({"timestamps": [[0, "x"]], "sentences": ["a"]}, "end_s is 'x'"),
        ({"timestamps": [[1, 1]], "sentences": ["a"]}, "ends at 1 s, and starts at 1 s"),
        ({"timestamps": [[0, 1]], "sentences": [None]}, "no sentence"),
        ({"timestamps": [[0, 1]], "sentences": [" "]}, "sentence is empty"),
    ],
)
def test_activitynet_row_that_is_odd_is_named(folder: Path, entry: dict[str, Any], told: str) -> None:
    good = {"timestamps": [[0, 1]], "sentences": ["a"]}
    captions = _activitynet(folder, {"red": good, "v_walk": entry, "blue": good})
    assert [pair.where for pair in captions.pairs] == ["val_1.json:1", "val_1.json:3"]
    [row] = captions.rejected
    assert row.where == "val_1.json:2"
    assert told in row.reason


@pytest.mark.real
def test_published_activitynet_captions_are_understood_whole(real_data: Path, tmp_path: Path) -> None:
    file = real_data / "annotations" / "activitynet_captions_val_1.json"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    document = json.loads(file.read_text(encoding="utf-8"))
    there = list(document)[::1000]
    for number, name in enumerate(there):
        (tmp_path / f"{name if number % 2 else name.removeprefix('v_')}.mp4").touch()
    captions = read_pairs(file, tmp_path)
    rows = [
        (name, float(start), float(end), " ".join(sentence.split()))
        for name, entry in document.items()
        for (start, end), sentence in zip(entry["timestamps"], entry["sentences"], strict=True)
    ]
    wheres = [f"{file.name}:{number}" for number in range(1, len(rows) + 1)]
    expected = [(where, *row) for where, row in zip(wheres, rows, strict=True) if row[0] in there]
    assert len(expected) > len(there) > 3
    assert [
        (pair.where, f"v_{pair.source.removeprefix('v_')}", pair.start_s, pair.end_s, *pair.sentences)
        for pair in captions.pairs
    ] == expected
    assert sorted([*(pair.where for pair in captions.pairs), *(row.where for row in captions.rejected)]) == sorted(
        wheres
    )
    assert all(row.reason.endswith(f"is not in {tmp_path}") for row in captions.rejected)


def test_msrvtt_is_read_one_pair_a_video(folder: Path) -> None:
    (folder / "video0.mp4").touch()
    (folder / "video10.mp4").touch()
    document = {
        "info": {"year": "2016"},
        "videos": [{"video_id": "video0", "split": "train"}, {"video_id": "video10", "split": "train"}],
        "sentences": [
            {"caption": "a cat", "video_id": "video0", "sen_id": 0},
            {"caption": "a dog", "video_id": "video10", "sen_id": 1},
            {"caption": "a cat sleeps", "video_id": "video0", "sen_id": 2},
        ],
    }
    assert _said(_read(folder, json.dumps(document), "videodatainfo.json")) == [
        ("videodatainfo.json:1", "video0.mp4", 0.0, None, ("a cat", "a cat sleeps")),
        ("videodatainfo.json:2", "video10.mp4", 0.0, None, ("a dog",)),
    ]


def test_msrvtt_rows_that_are_odd_are_named(folder: Path) -> None:
    sentences = [
        {"caption": "a", "video_id": "red"},
        {"caption": " ", "video_id": "red"},
        {"caption": "b", "video_id": "gone"},
        {"caption": None, "video_id": "blue"},
        {"caption": "c"},
    ]
    captions = _read(folder, json.dumps({"videos": [], "sentences": sentences}), "v.json")
    assert [(pair.where, pair.sentences) for pair in captions.pairs] == [("v.json:2", ("a",))]
    told = {row.where: row.reason for row in captions.rejected}
    assert list(told) == ["v.json:1", "v.json:2", "v.json:3", "v.json:4"]
    assert told["v.json:1"] == "it names no video"
    assert told["v.json:2"] == "its sentence 2 is empty"
    assert "'gone' is not in" in told["v.json:3"]
    assert told["v.json:4"] == "it has no sentence"


def test_msrvtt_row_that_is_no_object_is_not_lost_in_silence(folder: Path) -> None:
    document = {"videos": [], "sentences": [{"caption": "a", "video_id": "red"}, "b", None]}
    captions = _read(folder, json.dumps(document), "v.json")
    assert len(captions.pairs) == 1
    assert len(captions.rejected) == 2


# rows that are left out

_BAD: list[tuple[object, str]] = [
    ({"video": "gone.mp4", "sentence": "x"}, "its video 'gone.mp4' is not in"),
    ({"video": "/nowhere/red.mp4", "sentence": "x"}, "its video '/nowhere/red.mp4' is not in"),
    ({"video": "deep", "sentence": "x"}, "its video 'deep' is not in"),
    ({"video": "re", "sentence": "x"}, "its video 're' is not in"),
    ({"video": "a" * 300, "sentence": "x"}, "is not in"),
    ({"video": "a\0b", "sentence": "x"}, "is not in"),
    ({"video": "a\ud800b", "sentence": "x"}, "is not in"),
    ({"sentence": "x"}, "it names no video"),
    ({"video": "", "sentence": "x"}, "it names no video"),
    ({"video": None, "sentence": "x"}, "it names no video"),
    ({"video": 3, "sentence": "x"}, "it names no video"),
    ({"video": "red.mp4"}, "it has no sentence"),
    ({"video": "red.mp4", "sentence": None}, "it has no sentence"),
    ({"video": "red.mp4", "sentence": 5}, "it has no sentence"),
    ({"video": "red.mp4", "sentence": ""}, "its sentence is empty"),
    ({"video": "red.mp4", "sentence": " \t\n"}, "its sentence is empty"),
    ({"video": "red.mp4", "sentences": []}, "it has no sentence"),
    ({"video": "red.mp4", "sentences": ["", "  "]}, "its sentence is empty"),
    ({"video": "red.mp4", "start_s": math.inf, "end_s": 1.5, "sentence": "x"}, "starts at inf s"),
    ({"video": "red.mp4", "start_s": 2, "end_s": 2, "sentence": "x"}, "it ends at 2 s, and starts at 2 s"),
    ({"video": "red.mp4", "end_s": 0, "sentence": "x"}, "it ends at 0 s, and starts at 0 s"),
    ({"video": "red.mp4", "end_s": -1, "sentence": "x"}, "it ends at -1 s"),
    ({"video": "red.mp4", "start_s": math.inf, "sentence": "x"}, "starts at inf s"),
    ({"video": "red.mp4", "start_s": -0.5, "end_s": 1, "sentence": "x"}, "it starts at -0.5 s, before its video"),
    ({"video": "red.mp4", "start_s": -math.inf, "sentence": "x"}, "before its video"),
    ({"video": "red.mp4", "start_s": math.nan, "sentence": "x"}, "its start_s is not a number"),
    ({"video": "red.mp4", "end_s": math.nan, "sentence": "x"}, "its end_s is not a number"),
    ({"video": "red.mp4", "start_s": "soon", "sentence": "x"}, "its start_s is 'soon'"),
    ({"video": "red.mp4", "end_s": "", "sentence": "x"}, "its end_s is ''"),
    ({"video": "red.mp4", "end_s": [1], "sentence": "x"}, "its end_s is [1]"),
    ({"video": "red.mp4", "end_s": 10**400, "sentence": "x"}, "end_s"),
    (["red.mp4", 0, 1, "x"], "it is not an object"),
    ("red.mp4", "it is not an object"),
    (7, "it is not an object"),
    (None, "it is not an object"),
]


@pytest.mark.parametrize(("row", "told"), _BAD)
def test_a_row_that_cannot_be_used_is_named_with_its_reason(folder: Path, row: object, told: str) -> None:
    assert told in _reason(_rows(folder, row), "pairs.jsonl:1")


@pytest.mark.parametrize(
    "line",
    [
        '{"video": "red.mp4", "sentence": "x"',
        "video: red",
        '{"video": "red.mp4"} {}',
        "{'video': 'red.mp4'}",
        "[" * 99_999,
    ],
)
def test_a_line_that_is_not_json_is_named(folder: Path, line: str) -> None:
    good, other = '{"video": "red.mp4", "sentence": "x"}', '{"video": "blue.mp4", "sentence": "x"}'
    captions = _read(folder, f"{good}\n{line}\n{other}\n")
    assert [pair.where for pair in captions.pairs] == ["pairs.jsonl:1", "pairs.jsonl:3"]
    assert [row.where for row in captions.rejected] == ["pairs.jsonl:2"]
    assert captions.rejected[0].reason


def test_one_empty_sentence_of_several_is_named_and_the_others_stay(folder: Path) -> None:
    captions = _rows(folder, {"video": "red.mp4", "sentences": ["a", " ", "b", ""]})
    assert [pair.sentences for pair in captions.pairs] == [("a", "b")]
    assert [(row.where, row.reason) for row in captions.rejected] == [
        ("pairs.jsonl:1", "its sentence 2 is empty"),
        ("pairs.jsonl:1", "its sentence 4 is empty"),
    ]


_GOOD: list[dict[str, Any]] = [
    {"video": "red.mp4", "sentence": "x"},
    {"video": "blue", "sentences": ["x", "y"], "start_s": 1},
    {"video": "green", "sentence": "x", "start_s": 1, "end_s": 1.001},
]


@given(st.lists(st.sampled_from([*((row, True) for row in _GOOD), *((row, False) for row, _ in _BAD[11:31])])))
def test_every_row_is_kept_or_named(rows: Sequence[tuple[object, bool]]) -> None:
    with TemporaryDirectory() as made:
        for name in ("red.mp4", "blue.mp4", "green.mp4"):
            Path(made, name).touch()
        captions = _rows(Path(made), *(row for row, _ in rows))
    wheres = [f"pairs.jsonl:{number}" for number in range(1, len(rows) + 1)]
    first: dict[str, str] = {}  # row of each segment
    for where, (row, is_good) in zip(wheres, rows, strict=True):
        if is_good:
            first.setdefault(json.dumps(row), where)
    assert [pair.where for pair in captions.pairs] == list(first.values())
    assert [row.where for row in captions.rejected] == [
        where for where, (_, is_good) in zip(wheres, rows, strict=True) if not is_good
    ]
    assert all(row.reason for row in captions.rejected)


# files that cannot be read


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    said = _refusal(folder / "none.jsonl")
    assert str(folder / "none.jsonl") in said
    assert "No such file" in said


def test_a_folder_is_no_file_of_pairs(folder: Path) -> None:
    assert "Is a directory" in _refusal(folder / "deep")


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv", "pairs.json"])
def test_a_file_that_is_not_utf8_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes('{"video": "red.mp4", "sentence": "café"}'.encode("latin-1"))
    assert _refusal(folder / name) == f"{folder / name} is not UTF-8 text."


@pytest.mark.parametrize("text", ["", "{", '{"v_a": {"timestamps": [[0, 1]]', "[" * 99_999])
def test_broken_json_is_refused(folder: Path, text: str) -> None:
    file = folder / "pairs.json"
    file.write_text(text)
    said = _refusal(file)
    assert f"{file} is not JSON" in said


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        3,
        None,
        "text",
        [{"video": "red.mp4", "sentence": "x"}],
        {"video": "red.mp4", "sentence": "x"},
        {"v_walk": {"sentences": ["x"]}},
        {"v_walk": [[0, 1]]},
        {"v_walk": {"timestamps": [[0, 1]], "sentences": ["x"]}, "version": 3},
        {"sentences": {"video0": "x"}},
    ],
)
def test_json_of_another_shape_is_refused(folder: Path, document: object) -> None:
    file = folder / "pairs.json"
    file.write_text(json.dumps(document))
    said = _refusal(file)
    assert str(file) in said
    assert "ActivityNet" in said
    assert ".jsonl" in said


@pytest.mark.parametrize("name", ["none", "red.mp4"])
def test_videos_that_are_no_folder_are_refused(folder: Path, name: str) -> None:
    file = folder / "pairs.jsonl"
    file.write_text('{"video": "red.mp4", "sentence": "x"}')
    assert _refusal(file, folder / name) == f"There is no folder of videos {folder / name}."
