"""What narrows a search: chips, lines of what comes then, negation in words, and the same as a command."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import NEEDS_CHROMIUM, colours, picture, search, watched
from playwright.sync_api import Browser, Page, Route, expect
from serving import serving

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(colours(tmp_path_factory.mktemp("filters")), "--no-token") as found:
        yield found


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with watched(browser, address) as made:
        made.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield made


def chips(page: Page) -> list[str]:
    return [one.removesuffix("×: remove").strip() for one in page.locator("#chips .chip").all_text_contents()]


def command(page: Page) -> list[str]:
    """The copied command, but for the program and the index."""
    page.click("#command")
    expect(page.locator("#command")).to_have_text("Copied")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    place = words.index("--index")
    return words[2:place] + words[place + 2 :]


SET = {
    "not": ("black; white", ["not: black", "not: white"], ["--not", "black", "--not", "white"]),
    "path": ("*.mp4", ["path: *.mp4"], ["--path", "*.mp4"]),
    "not_path": ("deep; *.avi", ["not path: deep", "not path: *.avi"], ["--not-path", "deep", "--not-path", "*.avi"]),
    "since": ("2020", ["since 2020"], ["--since", "2020"]),
    "until": ("2099-01-31", ["until 2099-01-31"], ["--until", "2099-01-31"]),
    "min_length": ("2.5", ["at least 2.5 s long"], ["--min-length", "2.5"]),
    "max_length": ("90", ["at most 1:30 long"], ["--max-length", "90"]),
    "min_score": ("-0.5", ["score from -0.5"], ["--min-score", "-0.5"]),
    "per_video": ("2", ["2 hits per video"], ["--per-video", "2"]),
}


@pytest.mark.parametrize("name", SET)
def test_a_filter_is_a_chip_that_a_click_removes_and_an_option_of_the_command(page: Page, name: str) -> None:
    value, shown, option = SET[name]
    search(page, "red")
    page.click("#filters > summary")
    page.fill(f"input[name={name}]", value)
    page.keyboard.press("Enter")
    expect(page.locator("#chips .chip")).to_have_count(len(shown))
    expect(page.locator("#filters > summary")).to_be_focused()
    expect(page.locator("#state")).to_contain_text("best first")
    assert chips(page) == shown
    words = command(page)
    assert words == ["--top-k", "24", *option, "red"]
    for left in range(len(shown) - 1, -1, -1):
        page.locator("#chips .chip").first.click()
        expect(page.locator("#chips .chip")).to_have_count(left)
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator(f"input[name={name}]")).to_have_value("")
    assert page.url.endswith("?text=red")


def test_filters_choose_before_hits_are_counted_out(page: Page) -> None:
    page.goto(page.url + "?text=red&k=1&not_path=day&min_length=1")
    expect(page.locator("#cards h2")).to_have_text(["white red.mp4"])


def test_all_filters_together_ask_the_command_line_for_the_same(page: Page, address: str) -> None:
    asked = "text=red&then=blue&within=30&not=white&path=*.mp4&not_path=nowhere&since=2020&until=2099"
    page.goto(f"{address}?{asked}&min_length=1&max_length=100&min_score=-1&per_video=3&k=9&literal=true")
    expect(page.locator("#state")).to_contain_text("best first")
    page.click("#command")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    told = subprocess.run([sys.executable, "-m", *words, "--json"], capture_output=True, check=True, text=True).stdout
    hits = json.loads(told)["hits"]
    assert hits
    assert [Path(hit["path"]).name for hit in hits] == page.locator("#cards h2").all_inner_texts()
    options = {
        "--then",
        "--within",
        "--not",
        "--path",
        "--not-path",
        "--since",
        "--until",
        "--min-length",
        "--max-length",
    }
    assert options | {"--min-score", "--per-video", "--literal"} <= set(words)
    picture(page, "chips")


def test_a_line_says_what_comes_then(page: Page) -> None:
    page.fill("#text", "red")
    page.get_by_role("button", name="Then…").click()
    expect(page.locator("#then input[name=then]")).to_be_focused()
    page.keyboard.type("blue")
    page.fill("#then input[name=within]", "20")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_contain_text("best first")
    assert "then=blue&within=20" in page.url
    expect(page.locator("#cards h2").first).to_have_text("red blue.mp4")
    expect(page.locator("#cards .parts").first).to_be_visible()
    assert command(page) == ["--top-k", "24", "--then", "blue", "--within", "20", "red"]
    page.get_by_role("button", name="Remove the line: blue").click()
    expect(page.locator("#then")).to_be_hidden()
    expect(page.locator("#cards .parts").first).to_be_hidden()
    assert page.url.endswith("?text=red")


def test_lines_come_back_with_their_address_up_to_eight_parts(page: Page, address: str) -> None:
    page.goto(f"{address}?text=a&" + "&".join(f"then={number}" for number in range(7)))
    expect(page.locator("#then input[name=then]")).to_have_count(7)
    expect(page.get_by_role("button", name="Then…")).to_be_hidden()
    page.get_by_role("button", name="Remove the line: 3").click()
    expect(page.get_by_role("button", name="Then…")).to_be_visible()
    assert [one.input_value() for one in page.locator("#then input[name=then]").all()] == ["0", "1", "2", "4", "5", "6"]


def test_an_empty_line_asks_nothing(page: Page) -> None:
    page.get_by_role("button", name="Then…").click()
    page.get_by_role("button", name="Then…").click()
    search(page, "red")
    assert page.url.endswith("?text=red")


def test_how_words_were_read_is_shown_and_a_click_undoes_it(page: Page) -> None:
    search(page, "red without blue")
    chip = page.locator("#chips .chip")
    expect(chip).to_contain_text("read as: red, not: blue")
    expect(chip).to_have_attribute("title", "Take the words as they are instead")
    read = page.locator("#cards .word").all_inner_texts()
    assert "--literal" not in command(page)
    held: list[Route] = []
    page.route("**/search?*literal*", lambda route: held.append(route))
    chip.click()
    expect(page.locator("#state")).to_have_text("Searching.")
    assert chip.count() == 1  # nothing of the question before
    expect(chip).to_contain_text("words as they are")
    held[0].continue_()
    page.unroute("**/search?*literal*")
    expect(page.locator("#state")).to_contain_text("best first")
    assert "literal=true" in page.url
    assert page.locator("#cards .word").all_inner_texts() != read
    assert "--literal" in command(page)
    chip.click()
    expect(chip).to_contain_text("read as")
    assert page.url.endswith("?text=red+without+blue")


def test_a_wrong_date_is_told(page: Page) -> None:
    page.goto(page.url + "?text=red&since=yesterday")
    expect(page.locator("#state")).to_have_class("bad")
    expect(page.locator("#state")).to_have_text(re.compile("yesterday"))
    assert chips(page) == ["since yesterday"]
    page.locator("#chips .chip").click()
    expect(page.locator("#state")).to_contain_text("best first")
