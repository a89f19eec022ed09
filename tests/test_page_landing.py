"""What the page opens on, and looking through folders and times without a query."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from make_videos import write_video
from pages import NEEDS_CHROMIUM, colours, picture, search, until, watched
from playwright.sync_api import Browser, Page, expect
from serving import serving

from cezsar import indexer, store
from cezsar.encoders.toy import Toy
from cezsar.settings import load
from cezsar.types import Sampling

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours(tmp_path_factory.mktemp("landing"))


@pytest.fixture(scope="module")
def address(index: Path) -> Iterator[str]:
    with serving(index, "--no-token") as found:
        yield found


def test_it_opens_on_pictures(page: Page) -> None:
    latest = page.locator("#landing section", has_text="Latest")
    expect(latest.locator(".card h2")).to_have_text(
        ["white red.mp4", "blue black.mp4", "red blue.mp4", "green white.mp4"]
    )
    assert latest.locator(".length").all_inner_texts() == ["8 s"] * 4
    folders = page.locator("#landing section", has_text="Folders")
    assert folders.locator(".tile").all_inner_texts() == ["day\n2 videos", "night\n2 videos"]
    until(page, "[...document.querySelectorAll('#landing img')].filter(one => one.naturalWidth > 0).length >= 6")
    picture(page, "landing")


def test_an_example_finds_more_like_it(page: Page) -> None:
    examples = page.locator("#landing section", has_text="Find more like one of these").locator(".tile")
    names = examples.locator(".unseen")
    expect(names.first).to_be_attached()
    assert len(set(names.all_inner_texts())) == examples.count() >= 3
    first = names.first.inner_text()
    examples.first.click()
    expect(page.locator("#state")).to_contain_text("best first")
    assert first == f": find more like {page.locator('#cards h2').first.inner_text()}"
    expect(page.locator("#landing")).to_be_hidden()
    page.go_back()
    expect(page.locator("#landing .tile").first).to_be_visible()
    assert page.locator("#cards .card").count() == 0


def test_a_latest_video_plays_from_its_beginning(page: Page) -> None:
    page.locator("#landing .play").first.click()
    until(page, "document.querySelector('#landing video')?.currentTime > 0.1")


def test_recent_searches_stay_in_this_browser_until_they_are_removed(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    assert page.locator(".recent").count() == 0
    for text in ("red", "blue", "red"):
        search(page, text)
    page.goto(f"{address}?text=green&then=white&path=*.mp4")
    expect(page.locator("#state")).to_contain_text("moment")
    again = context.new_page()
    again.goto(address)
    expect(again.locator(".recent .again").first).to_be_visible()
    assert again.locator(".recent .again").all_inner_texts() == ["green → white", "red", "blue"]
    again.locator(".recent .again").first.click()
    expect(again.locator("#chips")).to_contain_text("path: *.mp4")
    expect(again.locator("#then input[name=then]")).to_have_value("white")
    again.go_back()
    for left in (["red", "blue"], ["blue"], []):
        again.locator(".recent button").first.click()
        assert again.locator(".recent .again").all_inner_texts() == left
    expect(again.locator("#text")).to_be_focused()
    assert again.evaluate("localStorage.getItem('cezsar.recent')") == "[]"
    context.close()


def test_going_back_before_the_answer_came_shows_what_was_there(page: Page, address: str) -> None:
    search(page, "red")
    page.goto(address)
    expect(page.locator("#landing .card").first).to_be_visible()
    page.route("**/api/v1/search?*", lambda _: None)  # no answer ever
    page.locator(".recent .again").click()
    expect(page.locator("#state")).to_have_text("Searching.")
    expect(page.locator("#landing")).to_be_hidden()
    page.go_back()
    expect(page.locator("#landing .card").first).to_be_visible()
    expect(page.locator("#cards li")).to_have_count(0)
    page.unroute_all(behavior="ignoreErrors")


def test_damaged_memory_of_searches_is_none(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    for kept in ("{", "3", '[1, null, {"words": 3}, {"search": "https://evil.example", "words": "x"}]'):
        page.evaluate("kept => localStorage.setItem('cezsar.recent', kept)", kept)
        page.reload()
        expect(page.locator("#landing .tile").first).to_be_visible()
        assert page.locator(".recent").count() == 0
    context.close()


def test_folders_lead_down_and_crumbs_up(page: Page, index: Path) -> None:
    page.get_by_role("link", name="Browse").click()
    expect(page.locator("#state")).to_have_text("4 videos.")
    page.locator("#browse .tile", has_text="night").click()
    expect(page.locator("#state")).to_have_text("2 videos.")
    assert page.locator("#cards h2").all_inner_texts() == ["white red.mp4", "blue black.mp4"]
    page.locator("#browse .tile", has_text="deep").click()
    expect(page.locator("#state")).to_have_text("1 video.")
    assert page.locator(".crumbs a").all_inner_texts()[-2:] == ["night", "deep"]
    picture(page, "browse")
    page.locator(".crumbs a", has_text="night").click()
    expect(page.locator("#state")).to_have_text("2 videos.")
    page.go_back()
    expect(page.locator("#state")).to_have_text("1 video.")
    page.reload()
    expect(page.locator("#state")).to_have_text("1 video.")
    page.get_by_role("link", name="All folders").click()
    expect(page.locator("#state")).to_have_text("4 videos.")
    assert page.url.endswith("?view=browse")


def test_a_search_from_a_folder_is_one_of_all(page: Page) -> None:
    page.get_by_role("link", name="Browse").click()
    page.locator("#browse .tile", has_text="night").click()
    expect(page.locator("#state")).to_have_text("2 videos.")
    search(page, "green")
    assert page.locator("#cards h2").first.inner_text() == "green white.mp4"
    expect(page.locator("#browse")).to_be_hidden()
    expect(page.get_by_role("link", name="Search", exact=True)).to_have_attribute("aria-current", "page")


def test_videos_come_by_time_in_months_a_page_at_a_time(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    source = write_video(tmp_path / "source.mp4", [("red", 1.0)], fps=5)
    for number in range(30):
        path = tmp_path / "videos" / f"{number:02d}.mp4"
        path.write_bytes(source.read_bytes() + bytes(number))  # no copies of one another
        when = 1_700_000_000 + number * 86_400 * (1 if number < 20 else 40)
        os.utime(path, (when, when))
    indexer.index([tmp_path / "videos"], load(environ={}, index=tmp_path / "index", model="toy"))
    with serving(tmp_path / "index", "--no-token") as address, watched(browser, address, locale="en-GB") as page:
        page.get_by_role("link", name="Browse").click()
        page.get_by_label("Order").select_option("Latest recorded")
        expect(page.locator("#state")).to_have_text("24 videos so far.")
        page.get_by_role("button", name="More videos").click()
        expect(page.locator("#state")).to_have_text("30 videos.")
        expect(page.locator("#further")).to_be_hidden()
        assert page.locator("#cards .card h2").all_inner_texts() == [
            f"{number:02d}.mp4" for number in range(29, -1, -1)
        ]
        months = page.locator(".month").all_inner_texts()
        assert months[-2:] == ["December 2023", "November 2023"]
        assert len(months) == len(set(months)) == 12
        page.get_by_label("Order").select_option("By name")
        expect(page.locator("#cards .card h2").first).to_have_text("00.mp4")
        assert page.locator(".month").count() == 0


def test_an_empty_index_says_how_to_fill_it(browser: Browser, tmp_path: Path) -> None:
    sampling = Sampling(2.0, 8.0, 4.0)
    store.create(tmp_path / "index", Toy.identity, sampling).__exit__(None, None, None)
    with serving(tmp_path / "index", "--no-token") as address, watched(browser, address) as page:
        expect(page.locator("#state")).to_have_text("The index holds no video yet: `cezsar index PATH` adds some.")
        assert page.locator("#landing section").count() == 0
        page.get_by_role("link", name="Browse").click()
        expect(page.locator("#state")).to_have_text("No video is here.")


def test_labels_tell_the_latest_videos_apart_without_a_search(page: Page) -> None:
    page.get_by_role("link", name="Classify").click()
    page.fill("#labels", "red, blue")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("4 videos. 4 videos classified.")
    assert page.locator("#cards .class").count() == 8


def test_while_the_first_sight_is_made_its_places_are_grey(page: Page) -> None:
    page.route("**/api/v1/overview", lambda route: None)  # it never ends
    page.reload()
    expect(page.locator("#landing .skeleton").first).to_be_visible()
    assert (
        page.locator("#landing .skeleton .picture").first.evaluate("one => getComputedStyle(one).backgroundColor")
        == "rgb(235, 238, 240)"
    )


def test_what_is_of_no_account_is_said_if_the_overview_fails(page: Page) -> None:
    page.route("**/api/v1/overview", lambda route: route.abort())
    page.reload()
    expect(page.locator("#state")).to_have_text(re.compile("^The server cannot be reached"))
