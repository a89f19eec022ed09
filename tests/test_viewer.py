"""The viewer, in a real browser over videos of plain colours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from desk import WIDTHS, ask, card, coloured, wrong
from pages import NEEDS_CHROMIUM, picture, until, watched
from playwright.sync_api import Browser, Page, expect
from serving import serving

_TIME = "document.querySelector('#viewer video').currentTime"
_RATE = "document.querySelector('#viewer video').playbackRate"

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(coloured(tmp_path_factory.mktemp("viewer")), "--no-token") as found:
        yield found


def look(page: Page, name: str) -> None:
    """Open the viewer on a card, and wait until its video is there."""
    card(page, name).hover()
    card(page, name).locator(".open").click()
    expect(page.locator("#viewer")).to_be_visible()


def time_s(page: Page) -> float:
    found: float = page.evaluate(_TIME)
    return found


@pytest.mark.parametrize("size", WIDTHS)
def test_a_card_opens_it_and_escape_leads_back(browser: Browser, address: str, size: tuple[int, int]) -> None:
    with watched(browser, address, viewport={"width": size[0], "height": size[1]}, has_touch=size[0] < 500) as page:
        ask(page, address, "text=green&per_video=2")
        look(page, "long.mp4")
        viewer = page.locator("#viewer")
        expect(viewer.locator("h2")).to_have_text("long.mp4")
        expect(viewer.locator(".where")).to_have_text("in videos")
        expect(viewer.locator(".facts")).to_contain_text("0:08.0 to 0:16.0; score 1.000")
        until(page, f"{_TIME} > 8.2")
        expect(viewer.locator(".around button")).to_have_count(8)
        expect(viewer.locator(".around [aria-current]")).to_have_count(2)
        assert wrong(page, "#viewer") == []
        picture(page, f"viewer-{size[0]}")
        page.keyboard.press("Escape")
        expect(viewer).to_be_hidden()
        expect(card(page, "long.mp4").locator(".open")).to_be_focused()
        assert page.evaluate("document.querySelector('#viewer video').hasAttribute('src')") is False


def test_the_hit_is_played_in_a_loop_unless_somebody_goes_on(page: Page, address: str) -> None:
    ask(page, address, "text=green")
    look(page, "long.mp4")
    until(page, f"{_TIME} > 8.2")
    page.evaluate(f"{_TIME} = 15.8")
    until(page, f"{_TIME} < 9")
    page.keyboard.press("r")
    expect(page.get_by_role("button", name="Loop")).to_have_attribute("aria-pressed", "false")
    page.evaluate(f"{_TIME} = 15.8")
    until(page, f"{_TIME} > 16.3")


def test_the_timeline_is_of_the_whole_video_and_leads_anywhere(page: Page, address: str) -> None:
    ask(page, address, "text=green")
    look(page, "long.mp4")
    until(page, f"{_TIME} > 8")
    expect(page.locator(".track svg")).to_have_count(1)
    path = page.locator(".track .scores").get_attribute("d") or ""
    assert path.count("M") == 8
    assert "M8 1V0.0000H12V1Z" in path
    assert "M0 1V0.9200H4V1Z" in path
    assert (page.locator(".track .cuts").get_attribute("d") or "").count("M") == 3
    box = page.locator(".track").bounding_box()
    assert box is not None
    page.locator(".track").click(position={"x": box["width"] * 0.7, "y": 20})
    until(page, f"Math.abs({_TIME} - 0.7 * 32) < 1")
    expect(page.locator(".told")).to_contain_text("score 0.000")
    expect(page.locator(".track")).to_have_attribute("aria-valuetext", "0:22.4, score 0.000")
    page.locator(".around button").nth(1).click()
    until(page, f"Math.abs({_TIME} - 4) < 1")


def test_an_order_has_a_line_for_each_part(page: Page, address: str) -> None:
    ask(page, address, "text=green&then=blue")
    look(page, "long.mp4")
    expect(page.locator(".track svg")).to_have_count(2)
    expect(page.locator(".facts")).to_contain_text("0:08.0 to ")


def test_everything_is_done_by_keys_that_are_listed(page: Page, address: str) -> None:
    ask(page, address, "text=green&per_video=1")
    look(page, "long.mp4")
    until(page, f"{_TIME} > 8.1")
    page.keyboard.press(" ")
    until(page, "document.querySelector('#viewer[open] video').paused")
    page.keyboard.press(" ")
    until(page, "!document.querySelector('#viewer[open] video').paused")
    keys = page.locator("#viewer .keys dt")
    assert keys.all_inner_texts() == ["J K L", "Space", "← →", ", .", "[ ]", "↑ ↓", "E", "R", "M", "Esc"]
    page.keyboard.press("k")
    until(page, "document.querySelector('#viewer video').paused")
    page.evaluate(f"{_TIME} = 10.01")
    page.keyboard.press("j")
    until(page, f"Math.abs({_TIME} - 8.01) < 0.05")
    page.keyboard.press("ArrowRight")
    until(page, f"Math.abs({_TIME} - 9.01) < 0.05")
    page.keyboard.press("Shift+ArrowRight")
    until(page, f"Math.abs({_TIME} - 19.01) < 0.05")
    page.keyboard.press("[")
    until(page, f"Math.abs({_TIME} - 16) < 0.1")
    page.keyboard.press("]")
    until(page, f"Math.abs({_TIME} - 24) < 0.1")
    page.keyboard.press("ArrowLeft")
    until(page, f"Math.abs({_TIME} - 23) < 0.1")
    page.keyboard.press(".")
    expect(page.locator(".viewer-state")).to_contain_text("frame 57")
    page.keyboard.press("l")
    until(page, "!document.querySelector('#viewer video').paused")
    page.keyboard.press("l")
    assert page.evaluate(_RATE) == 2
    expect(page.locator(".viewer-state")).to_have_text("2 times as fast")
    page.keyboard.press("k")
    page.keyboard.press("m")
    assert page.evaluate("document.querySelector('#viewer video').muted") is False
    page.keyboard.press("e")
    expect(page.locator("#viewer").get_by_text("Collected")).to_have_attribute("aria-pressed", "true")
    names = page.locator("#cards h2").all_inner_texts()
    here = names.index("long.mp4")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#viewer h2")).to_have_text(names[here + 1])
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#viewer h2")).to_have_text(names[max(0, here - 1)])
    page.keyboard.press(" ")
    until(page, "document.querySelector('#viewer[open] video').paused")
    page.keyboard.press("Escape")
    expect(page.locator("#cards .open").nth(max(0, here - 1))).to_be_focused()
    expect(card(page, "long.mp4").locator(".collect")).to_have_text("Collected")


def test_a_frame_is_a_frame(page: Page, address: str) -> None:
    ask(page, address, "text=green")
    look(page, "film.mp4")
    until(page, f"{_TIME} > 0.1")
    page.keyboard.press("k")
    page.evaluate(f"{_TIME} = 1.0")
    for key, frame in ((".", 30), (".", 31), (",", 30), (",", 29)):  # at 29.97 a second, frame 29 is shown at 1 s
        page.keyboard.press(key)
        expect(page.locator(".viewer-state")).to_have_text(f"frame {frame}")
        until(page, f"Math.floor({_TIME} * 30000 / 1001) === {frame}")


def test_what_no_browser_plays_is_played_part_by_part(page: Page, address: str) -> None:
    ask(page, address, "text=magenta&path=old.avi")
    look(page, "old.avi")
    expect(page.locator(".viewer-state")).to_have_text("No browser plays this file: it is made playable part by part.")
    until(page, "document.querySelector('#viewer video').src.endsWith('start_s=12&end_s=24')")
    until(page, f"{_TIME} > 8.2")  # the hit begins at 20 s
    expect(page.locator(".time")).to_contain_text("0:2")
    page.evaluate(f"{_TIME} = 11.8")  # the end of the part leads on to the next one
    until(page, "document.querySelector('#viewer video').src.endsWith('start_s=24&end_s=32')")
    until(page, f"{_TIME} > 0.2")
    page.keyboard.press("Home")
    until(page, "document.querySelector('#viewer video').src.endsWith('start_s=0&end_s=12')")
    until(page, f"{_TIME} > 0.2")


def test_a_video_that_has_gone_is_one_line(page: Page, address: str) -> None:
    ask(page, address, "text=cyan")
    look(page, "gone.mp4")
    expect(page.locator(".viewer-state")).to_have_text("The video's file has gone.")
    expect(page.locator(".track .scores")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(page.locator(".viewer-state")).not_to_have_text("The video's file has gone.")


def test_a_hostile_name_is_text(page: Page, address: str) -> None:
    ask(page, address, "text=yellow")
    look(page, "onerror")
    expect(page.locator("#viewer h2")).to_have_text(
        "<img src=x onerror=document.title=1> 'it\"s' \\u000a\\u001b[31m.mp4"
    )
    assert page.locator("#viewer h2 img").count() == 0
    assert page.title() == "yellow - CEZSAR"


def test_a_newer_hit_wins_over_what_comes_late(page: Page, address: str) -> None:
    ask(page, address, "text=green")
    page.route("**/scores?*", lambda route: (page.wait_for_timeout(200), route.continue_()))
    look(page, "long.mp4")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator("#viewer h2")).to_have_text("long.mp4")
    page.wait_for_timeout(2_000)  # until the answers to all have come
    assert (page.locator(".track .scores").get_attribute("d") or "").count("M") == 8
    until(page, f"{_TIME} > 8.1")


def test_motion_is_left_out_where_it_is_not_wanted(browser: Browser, address: str) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    ask(page, address, "text=green")
    assert page.evaluate("getComputedStyle(document.querySelector('.picture')).animationName") == "none"
    look(page, "long.mp4")
    page.keyboard.press("Escape")
    context.close()
