"""Labels and the sentences that stand for them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from cezsar.errors import QueryError
from cezsar.query.prompts import from_names, read_labels, read_sentences, visible, words


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    return tmp_path / "labels.json"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("PlayingGuitar", "playing guitar"),
        ("playing_guitar", "playing guitar"),
        ("Playing_Guitar", "playing guitar"),
        ("playingGuitar", "playing guitar"),
        ("__playing__guitar__", "playing guitar"),
        ("YoYo", "yo yo"),
        ("TaiChi", "tai chi"),
        ("PlayingTV", "playing tv"),
        ("Route66Ride", "route66 ride"),
        ("class_1", "class 1"),
        ("TV", "TV"),
        ("Archery", "Archery"),
        ("archery", "archery"),
        ("100", "100"),
        ("already words", "already words"),
        ("Already Words_with TVSets", "already words with tv sets"),
        ("AnnualCrop", "annual crop"),
        ("PlayingVRGames", "playing vr games"),
        ("CCTVFootage", "cctv footage"),
        ("person_RunningFast", "person running fast"),
        ("Apply EyeMakeup", "apply eye makeup"),
        ("person RunningFast", "person running fast"),
        ("push-up", "push-up"),
        ("push_up", "push up"),
        ("Push-UpBoard", "push-up board"),
        ("T-shirt", "T-shirt"),
        ("iPhone", "iphone"),
        ("eBay", "ebay"),
        ("iPhoneRepair", "iphone repair"),
        ("YMCA", "YMCA"),
        ("UCF101", "UCF101"),
        ("YMCADance", "ymca dance"),
        ("BurningCDs", "burning cds"),
        ("TVs", "tvs"),
        ("3DPrinting", "3d printing"),
        ("3D printing", "3D printing"),
        ("4x100 relay", "4x100 relay"),
        ("100 metres", "100 metres"),
        ("Top10TV", "top10 tv"),
        ("MP4Video", "mp4 video"),
        ("playing.guitar", "playing guitar"),
        ("U.S.", "U.S."),
        ("3.5", "3.5"),
        ("The end.", "The end."),
        ("\u00dcbungsTeil", "\u00fcbungs teil"),
        ("U\u0308bungsTeil", "\u00fcbungs teil"),
        (
            "\u041f\u0440\u0438\u0432\u0435\u0442\u041c\u0438\u0440",
            "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
        ),
        ("a person plays violin in Berlin", "a person plays violin in Berlin"),
        ("a man films a YouTube video at McDonald's", "a man films a YouTube video at McDonald's"),
        ("a man_riding a horse by the sea", "a man riding a horse by the sea"),
        ("弓を射る", "弓を射る"),
        ("__", "__"),
    ],
)
def test_a_label_is_read_as_words(label: str, expected: str) -> None:
    assert words(label) == expected


def test_names_stand_for_themselves_in_their_order() -> None:
    labels = from_names([" YoYo", "a red car ", "archery"])
    assert list(labels.items()) == [("YoYo", ("yo yo",)), ("a red car", ("a red car",)), ("archery", ("archery",))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("YoYo,archery", {"YoYo": ("yo yo",), "archery": ("archery",)}),
        (" a red car , archery ", {"a red car": ("a red car",), "archery": ("archery",)}),
        ("archery", {"archery": ("archery",)}),
        ("~archery,diving", {"~archery": ("~archery",), "diving": ("diving",)}),
        ("a.b,c/d", {"a.b": ("a.b",), "c/d": ("c/d",)}),
    ],
)
def test_a_list_is_split_at_commas(source: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert list(read_labels(source).items()) == list(expected.items())


@pytest.mark.parametrize(
    "text",
    [
        "1 ApplyEyeMakeup\n2 Archery\n3 BoxingPunchingBag\n",
        "1\tApplyEyeMakeup\n2\tArchery\n3\tBoxingPunchingBag\n",
        "0,ApplyEyeMakeup\n1,Archery\n2,BoxingPunchingBag\n",
        "21. ApplyEyeMakeup\n7. Archery\n101. BoxingPunchingBag",
        "001: ApplyEyeMakeup\r\n002: Archery\r\n003: BoxingPunchingBag",
    ],
)
def test_a_numbered_list_s_labels_are_as_typed_and_read_without_the_numbers(tmp_path: Path, text: str) -> None:
    (tmp_path / "classInd.txt").write_text(text, newline="")
    labels = read_labels(str(tmp_path / "classInd.txt"))
    assert list(labels) == text.split("\r\n" if "\r" in text else "\n")[:3]
    assert list(labels.values()) == [("apply eye makeup",), ("Archery",), ("boxing punching bag",)]


def test_a_list_of_plain_names_is_numbered_where_the_numbers_run_on() -> None:
    labels = from_names(["3 dog", "1 cat", "2 a red car", "4 horse"])
    assert list(labels.values()) == [("dog",), ("cat",), ("a red car",), ("horse",)]


@pytest.mark.parametrize(
    "names",
    [
        ["100 metres", "200 metres", "400 metres"],
        ["1 person", "2 people"],
        ["1 person", "2 people", "3 people", "4 people"],
        ["100 metres sprint", "110 metres hurdles", "400 metres", "3000 metres steeplechase"],
        ["4x100 relay", "3D printing", "T-shirt"],
        ["21 BoxingPunchingBag", "Archery"],
    ],
)
def test_a_number_that_belongs_to_a_name_stays(names: list[str]) -> None:
    said = list(from_names(names).values())
    assert [words.partition(" ")[0] for (words,) in said] == [name.partition(" ")[0] for name in names]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PlayingGuitar", "playing_guitar"),
        ("Archery", "archery"),
        ("TVShow", "tv show"),
        ("playing.guitar", "Playing Guitar"),
    ],
)
def test_two_labels_of_the_same_words_are_refused_by_both_names(one: str, other: str) -> None:
    with pytest.raises(QueryError) as raised:
        from_names([one, "diving", other])
    assert repr(one) in str(raised.value)
    assert repr(other) in str(raised.value)


def test_labels_that_look_the_same_are_there_twice(labels_file: Path) -> None:
    with pytest.raises(QueryError, match="twice: caf\u00e9"):
        from_names(["caf\u00e9", "cafe\u0301"])
    labels_file.write_text('{"caf\u00e9": ["one"], "cafe\u0301": ["two"]}', encoding="utf-8")
    with pytest.raises(QueryError, match="twice: caf\u00e9"):
        read_labels(str(labels_file))


@pytest.mark.parametrize("num_labels", [40, 1000])
def test_a_list_may_be_longer_than_a_file_name_can_be(num_labels: int) -> None:
    names = [f"number{i}" for i in range(num_labels)]
    assert list(read_labels(",".join(names))) == names


@pytest.mark.parametrize("name", ["labels.txt", "labels.TXT", "labels", "labels.csv"])
@pytest.mark.parametrize(
    "content",
    [
        b"YoYo\na red, red car\n",
        b"YoYo\r\na red, red car\r\n",
        b"\xef\xbb\xbfYoYo\na red, red car",
        b"\n \t\n  YoYo \n\na red, red car\n\n",
    ],
)
def test_a_text_file_has_one_label_a_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_labels(str(tmp_path / name)) == {"YoYo": ("yo yo",), "a red, red car": ("a red, red car",)}


def test_labels_keep_their_letters(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("café\n弓を射る\n", encoding="utf-8")
    assert list(read_labels(str(tmp_path / "labels.txt"))) == ["café", "弓を射る"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"b": ["one", " two "], "a": ["three"]}', {"b": ("one", "two"), "a": ("three",)}),
        ('{"PlayingGuitar": "a person plucks strings"}', {"PlayingGuitar": ("a person plucks strings",)}),
        ('\ufeff{" caf\\u00e9 ": ["one", "one"]}', {"café": ("one", "one")}),
    ],
)
def test_a_json_file_gives_each_label_its_sentences(
    labels_file: Path, text: str, expected: dict[str, tuple[str, ...]]
) -> None:
    labels_file.write_text(text, encoding="utf-8")
    assert list(read_labels(str(labels_file)).items()) == list(expected.items())


@pytest.mark.parametrize("source", ["", "  ", "\n"])
def test_no_labels_at_all_are_refused(source: str) -> None:
    with pytest.raises(QueryError, match="no labels"):
        read_labels(source)


@pytest.mark.parametrize("source", [",", "a,,b", "a,b,", ", a"])
def test_an_empty_label_is_refused(source: str) -> None:
    with pytest.raises(QueryError, match="empty"):
        read_labels(source)


@pytest.mark.parametrize("source", ["a,b,a", "a, a", "c,a,b,a"])
def test_a_label_that_is_there_twice_is_refused_by_name(source: str) -> None:
    with pytest.raises(QueryError, match=r"twice: a"):
        read_labels(source)


@pytest.mark.parametrize("content", [b"", b"\n \r\n\t\n", b"\xef\xbb\xbf"])
def test_a_text_file_without_labels_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(QueryError, match="no labels"):
        read_labels(str(tmp_path / "labels.txt"))


def test_a_line_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\n a \n")
    with pytest.raises(QueryError, match="twice: a"):
        read_labels(str(tmp_path / "labels.txt"))


@pytest.mark.parametrize(
    "name", ["gone.txt", "gone.json", "gone/labels.txt", pytest.param("a" * 300 + ".txt", id="long")]
)
def test_a_file_that_cannot_be_opened_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(QueryError, match=name):
        read_labels(str(tmp_path / name))


def test_a_folder_that_is_named_like_a_file_of_labels_is_refused(labels_file: Path) -> None:
    labels_file.mkdir()
    with pytest.raises(QueryError, match="cannot be read"):
        read_labels(str(labels_file))


def test_a_file_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(QueryError, match="cannot be read"):
        read_labels("~nobody-has-this-name/labels.txt")


def test_a_file_in_the_own_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "labels.txt").write_text("a")
    assert read_labels("~/labels.txt") == {"a": ("a",)}


@pytest.mark.parametrize("name", ["labels.txt", "labels.json", "labels"])
def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes("café".encode("latin-1"))
    with pytest.raises(QueryError, match="not UTF-8"):
        read_labels(str(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("a\nb\n", "not JSON"),
        ('{"a": ["one"]', "not JSON"),
        pytest.param('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON", id="deep"),
        pytest.param('{"a": ' + "1" * 10_000 + "}", "not JSON", id="huge number"),
        ("[]", "one object"),
        ('["a", "b"]', "one object"),
        ('[["a", ["one"]]]', "one object"),
        ('"a"', "one object"),
        ("null", "one object"),
        ("{}", "no labels"),
        ('{"a": []}', "'a' needs"),
        ('{"a": {}}', "'a' needs"),
        ('{"a": {"b": "one"}}', "'a' needs"),
        ('{"a": ""}', "'a' needs"),
        ('{"a": ["one", "  "]}', "'a' needs"),
        ('{"a": ["one", 2]}', "'a' needs"),
        ('{"a": [["one"]]}', "'a' needs"),
        ('{"a": null}', "'a' needs"),
        ('{"a": 1}', "'a' needs"),
        ('{" ": ["one"]}', "empty"),
        ('{"a": ["one"], "a": ["two"]}', "twice: a"),
        ('{"a": ["one"], "\\u0061 ": ["two"]}', "twice: a"),
    ],
)
def test_json_of_another_form_is_refused(labels_file: Path, text: str, reason: str) -> None:
    labels_file.write_text(text)
    with pytest.raises(QueryError, match=reason):
        read_labels(str(labels_file))


def test_each_class_of_ucf101_has_one_plain_sentence() -> None:
    labels = read_labels(str(files("cezsar.query") / "sentences" / "ucf101.json"))
    assert len(labels) == 101
    assert all(len(said) == 1 and said[0] == said[0].lower() and len(said[0].split()) >= 5 for said in labels.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a man plays", "a man plays"),
        ("\uff47\uff55\uff49\uff54\uff41\uff52", "guitar"),
        ("gui\u200btar", "guitar"),
        ("gui\u00adtar", "guitar"),
        ("gui\u200dtar", "guitar"),
        ("gui\u200ctar", "guitar"),
        ("\ufeffguitar\u2060", "guitar"),
        ("\u202eguitar\u202c", "guitar"),
        ("gui\x00tar\x1b", "guitar"),
        ("\ufb01re", "fire"),
        ("cafe\u0301", "caf\u00e9"),
        ("cafe\u00ad\u0301", "caf\u00e9"),
        ("a\u00a0b\u3000c", "a b c"),
        ("\u2764\ufe0f", "\u2764"),
        ("\U0001f469\u200d\U0001f373", "\U0001f469\u200d\U0001f373"),  # a woman who cooks
        ("\u2764\ufe0f\u200d\U0001f525", "\u2764\u200d\U0001f525"),
        ("\U0001f44b\U0001f3fd", "\U0001f44b\U0001f3fd"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),
        ("caf\udce9", "caf?"),
    ],
)
def test_a_text_is_read_as_it_is_seen(text: str, expected: str) -> None:
    assert visible(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "\u200b",
        "\u200d",
        "\u200c\u200d",
        "\ufeff",
        "\u00ad",
        "\ufe0f",
        "\u2060",
        "\u3164",
        "\uffa0",
        "\u2800",
        "\u180e",
        "\U000e0041",
    ],
)
def test_what_nobody_sees_is_nothing(text: str) -> None:
    assert visible(f" {text}\t").strip() == ""


# A folder of sentences


def test_a_folder_of_text_files_gives_each_class_its_lines(tmp_path: Path) -> None:
    (tmp_path / "YoYo.txt").write_text(
        "\ufeffA person plays with a yoyo.\n\n  It goes up and down. \n", encoding="utf-8"
    )
    (tmp_path / "ApplyEyeMakeup.txt").write_text("A woman paints her eyelids.", encoding="utf-8")
    (tmp_path / "README.md").write_text("not a class")
    assert read_sentences(tmp_path) == {
        "ApplyEyeMakeup": ("A woman paints her eyelids.",),
        "YoYo": ("A person plays with a yoyo.", "It goes up and down."),
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.md", b"text", "holds no text files, of which there should be one for each class"),
        ("a.txt", b" \n\n", "has no sentence: it needs one on every line"),
        ("a.txt", b"\xff\xfe\xff", "are not UTF-8 text"),
    ],
)
def test_a_folder_without_sentences_is_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(QueryError, match=said):
        read_sentences(tmp_path)
