"""The basket, in a real browser over videos of plain colours; what it exports is read by the readers of test_edit."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from desk import WIDTHS, ask, card, coloured, wrong
from pages import NEEDS_CHROMIUM, picture, until, watched
from playwright.sync_api import Browser, Page, expect
from serving import serving
from test_edit import NTSC, read_edl, read_fcpxml, read_m3u

pytestmark = NEEDS_CHROMIUM

_KEPT = "JSON.parse(localStorage.getItem('cezsar-basket'))"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured(tmp_path_factory.mktemp("basket"))


@pytest.fixture(scope="module")
def address(index: Path) -> Iterator[str]:
    with serving(index, "--no-token") as found:
        yield found


def collect(page: Page, address: str, question: str, name: str) -> None:
    ask(page, address, question)
    card(page, name).locator(".collect").click()
    expect(card(page, name).locator(".collect")).to_have_text("Collected")


def three(page: Page, address: str) -> None:
    """Collect a hit of each of three videos, in this order, and open the basket."""
    collect(page, address, "text=green&path=long.mp4", "long.mp4")
    collect(page, address, "text=green&path=film.mp4", "film.mp4")
    collect(page, address, "text=blue&path=old.avi", "old.avi")
    page.click("#open-basket")


def names(page: Page) -> list[str]:
    return page.locator("#basket .rows strong").all_inner_texts()


def kept(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(_KEPT)
    return found


def keep(page: Page, hits: object) -> None:
    """Have the browser keep this, and load the page anew."""
    page.evaluate(
        "text => localStorage.setItem('cezsar-basket', text)", hits if type(hits) is str else json.dumps(hits)
    )
    page.reload()


def exported(page: Page, form: str) -> bytes:
    page.locator("#basket select").select_option(form)
    with page.expect_download() as download:
        page.locator("#basket .export-as button").click()
    expect(page.locator(".basket-state")).to_contain_text(download.value.suggested_filename)
    return download.value.path().read_bytes()


def unpacked(content: bytes, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name).decode()


@pytest.mark.parametrize("size", WIDTHS)
def test_hits_of_several_questions_are_kept_with_them_as_notes(
    browser: Browser, address: str, size: tuple[int, int]
) -> None:
    with watched(browser, address, viewport={"width": size[0], "height": size[1]}, has_touch=size[0] < 500) as page:
        three(page, address)
        expect(page.locator("#basket h2")).to_have_text("Basket: 3 hits, 0:36.0")
        assert names(page) == ["long.mp4", "film.mp4", "old.avi"]
        assert [one["note"] for one in kept(page)] == ["green", "green", "blue"]
        page.locator(".rows summary").first.click()
        expect(page.locator(".trimmer .at").first).to_contain_text("0:08.000, frame 200")
        assert wrong(page, "#basket") == []
        picture(page, f"basket-{size[0]}")
        page.keyboard.press("Escape")
        expect(page.locator("#open-basket")).to_be_focused()
        page.reload()
        expect(page.locator("#open-basket")).to_have_accessible_name("Basket, 3 hits")
        expect(card(page, "old.avi").locator(".collect")).to_have_text("Collected")
        card(page, "old.avi").locator(".collect").click()
        expect(page.locator("#open-basket")).to_have_accessible_name("Basket, 2 hits")


def test_hits_are_put_in_order_by_buttons_numbers_and_dragging(page: Page, address: str) -> None:
    three(page, address)
    page.get_by_label("Move old.avi up").click()
    assert names(page) == ["long.mp4", "old.avi", "film.mp4"]
    expect(page.get_by_label("Move old.avi up")).to_be_focused()
    page.keyboard.press("Enter")
    assert names(page) == ["old.avi", "long.mp4", "film.mp4"]
    expect(page.get_by_label("Move old.avi down")).to_be_focused()
    expect(page.locator(".basket-state")).to_have_text("old.avi is number 1 now.")
    page.get_by_label("Place of old.avi").fill("3")
    page.keyboard.press("Enter")
    assert names(page) == ["long.mp4", "film.mp4", "old.avi"]
    page.locator(".rows .grip").nth(2).drag_to(page.locator(".rows li").first)
    assert names(page) == ["old.avi", "long.mp4", "film.mp4"]
    assert [one["path"].rpartition("/")[2] for one in kept(page)] == names(page)


def test_what_was_removed_comes_back(page: Page, address: str) -> None:
    three(page, address)
    page.get_by_label("Remove film.mp4").click()
    assert names(page) == ["long.mp4", "old.avi"]
    expect(page.get_by_label("Remove old.avi")).to_be_focused()
    page.get_by_role("button", name="Undo").click()
    assert names(page) == ["long.mp4", "film.mp4", "old.avi"]
    page.get_by_role("button", name="Empty").click()
    expect(page.locator("#basket h2")).to_have_text("The basket is empty")
    expect(page.get_by_role("button", name="Export")).to_be_disabled()
    page.get_by_role("button", name="Undo").click()
    assert len(kept(page)) == 3


def test_trims_are_the_same_frames_in_every_list(page: Page, address: str, index: Path) -> None:
    three(page, address)
    page.get_by_label("Remove old.avi").click()
    for place, (first, stop) in enumerate([(200, 400), (0, 240)]):
        page.locator(".rows .trim summary").nth(place).click()
        trimmer = page.locator(".rows li").nth(place).locator(".trimmer")
        expect(trimmer.locator(".at").first).to_contain_text(f"frame {first}")
        expect(trimmer.locator(".at").nth(1)).to_contain_text(f"before frame {stop}")
        for _ in range(7):
            trimmer.get_by_label("In one frame later").click()
        trimmer.get_by_label("In one frame earlier").click()
        trimmer.get_by_label("Out one frame earlier").click(modifiers=["Shift"])
        trimmer.get_by_label("Out one frame later").click()
        expect(trimmer.locator(".at").first).to_contain_text(f"frame {first + 6}")
        expect(trimmer.locator(".at").nth(1)).to_contain_text(f"before frame {stop - 9}")
        expect(trimmer.locator(".trim-state")).to_have_text(f"{stop - first - 15} frames")
    page.get_by_label("Note on long.mp4").fill("the <green> one")
    long, film = (("long.mp4", 206, 391), ("film.mp4", 6, 231))
    edl = exported(page, "edl")
    assert read_edl(unpacked(edl, "hits-25.edl"), Fraction(25)) == [long]
    assert read_edl(unpacked(edl, "hits-29.97df.edl"), NTSC) == [film]
    assert "* COMMENT: the <green> one\n" in unpacked(edl, "hits-25.edl")
    assert page.locator(".notices li").all_inner_texts() == [
        "a list has one frame rate: there is one list for each of 25, 29.97df"
    ]
    (first, second) = read_fcpxml(exported(page, "fcpxml").decode())
    assert (first[0], first[2], first[2] + first[3]) == long
    assert (second[0], second[2]) == film[:2]  # it lasts to the next frame of the other's timeline
    track = otio.adapters.read_from_string(exported(page, "otio").decode(), "otio_json").tracks[0]
    ranges = [one.source_range for one in track]
    assert [
        (round(one.start_time.value, 6), round(one.start_time.value + one.duration.value, 6)) for one in ranges
    ] == [long[1:], film[1:]]
    videos = index.parent.resolve() / "videos"
    assert read_m3u(unpacked(exported(page, "m3u"), "hits.m3u8")) == [
        (videos / "long.mp4", pytest.approx(206 / 25), pytest.approx(391 / 25)),
        (videos / "film.mp4", pytest.approx(6 * 1001 / 30000, abs=1e-6), pytest.approx(231 * 1001 / 30000, abs=1e-6)),
    ]
    rows = list(csv.DictReader(io.StringIO(exported(page, "csv").decode())))
    assert [(int(row["first_frame"]), int(row["end_frame"])) for row in rows] == [long[1:], film[1:]]
    assert [one["note"] for one in json.loads(exported(page, "json"))["clips"]] == ["the <green> one", "green"]
    assert exported(page, "sheet").startswith(b"\x89PNG")
    with zipfile.ZipFile(io.BytesIO(exported(page, "clips"))) as archive:
        assert archive.namelist() == ["001_long_8.2-15.6.mp4", "002_film_0.2-7.7.mp4"]


def test_a_trim_shows_the_frame_that_it_moved_to(page: Page, address: str) -> None:
    three(page, address)
    page.locator(".rows .trim summary").first.click()
    shown = "document.querySelector('.trimmer video').currentTime"
    until(page, f"Math.abs({shown} - 8) < 0.02")
    page.get_by_label("Out one frame later").first.click()
    until(page, f"Math.floor({shown} * 25) === 400")  # the last frame of 200 to before 401
    page.get_by_label("In one frame later").first.click()
    until(page, f"Math.floor({shown} * 25) === 201")


def test_a_trim_of_a_video_that_has_gone_is_one_line(page: Page, address: str) -> None:
    collect(page, address, "text=cyan", "gone.mp4")
    page.click("#open-basket")
    page.locator(".rows .trim summary").click()
    expect(page.locator(".trim-state")).to_have_text("The video's file has gone.")


def test_a_hit_is_looked_at_from_the_basket(page: Page, address: str) -> None:
    three(page, address)
    page.locator(".rows .see").nth(1).click()
    expect(page.locator("#viewer h2")).to_have_text("film.mp4")
    expect(page.locator("#viewer .number")).to_have_text("2 of 3 hits")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("#basket")).to_be_visible()
    expect(page.locator(".rows .see").nth(1)).to_be_focused()


def test_10000_hits_are_shown_by_the_page_and_exported_in_one_go(page: Page, address: str) -> None:
    collect(page, address, "text=green&path=long.mp4", "long.mp4")
    (one,) = kept(page)
    keep(page, [{**one, "note": f"number {number} " + "ä" * 40} for number in range(10_000)])
    card(page, "long.mp4").wait_for()
    page.click("#open-basket")
    expect(page.locator("#basket h2")).to_have_text("Basket: 10,000 hits, 22:13:20.0")
    expect(page.locator(".rows li")).to_have_count(50)
    expect(page.locator(".pages span")).to_have_text("1 to 50 of 10,000")
    page.get_by_role("button", name="Later").click()
    expect(page.locator(".rows li").first.locator("input[type=number]")).to_have_value("51")
    page.locator(".rows input[type=number]").first.fill("10000")
    page.keyboard.press("Enter")
    expect(page.locator(".pages span")).to_have_text("9,951 to 10,000 of 10,000")
    assert kept(page)[-1]["note"].startswith("number 50 ")
    rows = list(csv.DictReader(io.StringIO(exported(page, "csv").decode())))
    assert len(rows) == 10_000
    assert rows[-1]["note"].startswith("number 50 ")
    for form, line in (
        ("sheet", "10,000 clips are too many: at most 200 as sheet."),
        ("clips", "10,000 clips are too many: at most 200 are cut at once."),
    ):
        page.locator("#basket select").select_option(form)
        page.locator("#basket .export-as button").click()
        expect(page.locator(".basket-state")).to_have_text(line)
        expect(page.locator(".basket-state")).to_have_class("basket-state bad")
    page.get_by_role("button", name="Copy a link").click()
    expect(page.locator(".basket-state")).to_contain_text("too long for an address")
    page.keyboard.press("Escape")
    ask(page, address, "text=yellow")
    card(page, "onerror").locator(".collect").click()
    expect(page.locator("#state")).to_have_text("The basket is full: it holds 10,000 hits.")


@pytest.mark.parametrize(
    ("text", "count", "line"),
    [
        ("{", 0, "1 broken entry of the kept basket could not be read."),
        ('{"a": 1}', 0, "1 broken entry of the kept basket could not be read."),
        ("null", 0, "1 broken entry of the kept basket could not be read."),
        (
            '[null, 7, {"segment_id": "1"}, {"segment_id": 1, "video_id": 1, "start_s": 3, "end_s": 2, "note": "",'
            '"path": ""}]',
            0, "4 broken entries of the kept basket could not be read.",
        ),
        ('[{"segment_id": 1, "video_id": 1, "start_s": 0, "end_s": 2, "note": "", "path": "<b>/x"}, []]', 1, ""),
    ],
)  # fmt: skip
def test_a_broken_basket_is_survived(page: Page, address: str, text: str, count: int, line: str) -> None:
    keep(page, text)
    collect(page, address, "text=green&path=long.mp4", "long.mp4")
    page.click("#open-basket")
    expect(page.locator(".rows li")).to_have_count(count + 1)
    assert len(kept(page)) == count + 1
    if line:
        keep(page, text)
        page.evaluate("import('/basket.js').then((one) => one.open())")
        expect(page.locator(".basket-state")).to_have_text(line)


def test_a_browser_that_keeps_nothing_says_so(browser: Browser, address: str) -> None:
    with watched(browser, address) as page:
        page.add_init_script(
            "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"
        )
        collect(page, address, "text=green&path=long.mp4", "long.mp4")
        expect(page.locator("#state")).to_have_text("This browser keeps no basket: it is lost when the page is closed.")
        page.click("#open-basket")
        expect(page.locator(".rows li")).to_have_count(1)


def test_hits_that_are_gone_are_said_and_left_out(page: Page, address: str) -> None:
    three(page, address)
    one, two, three_ = kept(page)
    keep(page, [one, {**two, "segment_id": 999_999}, {**three_, "path": "/elsewhere/film.mp4"}])
    page.click("#open-basket")
    expect(page.locator(".basket-state")).to_have_text("2 hits are gone, and left out of what is exported.")
    assert page.locator(".rows .why").all_inner_texts() == [
        "There is no segment 999999.", "This index has another video by that number.",
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(exported(page, "csv").decode())))
    assert [row["note"] for row in rows] == ["green"]
    picture(page, "basket-gone")
    page.get_by_role("button", name="Leave out what is gone").click()
    assert names(page) == ["long.mp4"]


def test_an_address_brings_a_basket_along(browser: Browser, page: Page, address: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    three(page, address)
    page.get_by_label("Note on film.mp4").fill("a_b & c\td")
    page.get_by_role("button", name="Copy a link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    with watched(browser, link) as other:
        expect(other.locator(".basket-state")).to_have_text("3 hits came with the address.")
        assert names(other) == ["long.mp4", "film.mp4", "old.avi"]
        assert other.url == address
        mine, theirs = kept(page), kept(other)
        assert [{**one, "end_s": round(one["end_s"], 6)} for one in mine] == theirs
        assert theirs[1]["note"] == "a_b & c\td"
        other.get_by_label("Remove old.avi").click()
        other.goto(f"{link}&basket=999999_1_2_&basket=rubbish&text=blue")
        expect(other.locator(".offer p")).to_have_text(
            "The address brings a basket of 3 hits. 2 other hits of it are not there."
        )
        other.get_by_role("button", name="Leave them").click()
        assert len(kept(other)) == 2
        assert other.url == f"{address}?text=blue"
        other.goto(link)
        other.get_by_role("button", name="Add them to mine").click()
        assert names(other) == ["long.mp4", "film.mp4", "long.mp4", "film.mp4", "old.avi"]
        other.goto(link)
        other.get_by_role("button", name="Take them instead").click()
        assert names(other) == ["long.mp4", "film.mp4", "old.avi"]


def test_two_tabs_have_one_basket(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page, other = context.new_page(), context.new_page()
    ask(page, address, "text=green&path=long.mp4")
    collect(other, address, "text=green&path=long.mp4", "long.mp4")
    expect(card(page, "long.mp4").locator(".collect")).to_have_text("Collected")
    context.close()


def test_a_hostile_name_is_text(page: Page, address: str) -> None:
    collect(page, address, "text=yellow", "onerror")
    page.click("#open-basket")
    assert names(page) == ["<img src=x onerror=document.title=1> 'it\"s' \\u000a\\u001b[31m.mp4"]
    assert page.locator(".rows strong img").count() == 0
    assert page.title() == "yellow - CEZSAR"
