"""Hits as cards: pictures, scrubbing, strength, copies, parts, and hits of a video together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from make_videos import write_video
from pages import NEEDS_CHROMIUM, act, picture, search, until, watched
from playwright.sync_api import Browser, Page, Route, expect
from serving import serving

from cezsar import indexer
from cezsar.encoders.toy import COLOURS, Toy
from cezsar.query import Calibration, calibration
from cezsar.query.calibration import Judge
from cezsar.settings import load

pytestmark = NEEDS_CHROMIUM

_COLOUR = """() => {
    const [red, , blue] = document.querySelector("canvas").getContext("2d").getImageData(5, 5, 1, 1).data;
    return red > 200 && blue < 60 ? "red" : blue > 200 && red < 60 ? "blue" : `${red} ${blue}`;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A video of red and then blue, a copy of it, and a white one that is upright."""
    folder = tmp_path_factory.mktemp("cards")
    (folder / "videos" / "copies").mkdir(parents=True)
    write_video(folder / "videos" / "both.mp4", [("red", 8.0), ("blue", 8.0), ("red", 8.0)], size=(128, 96))
    shutil.copy(folder / "videos" / "both.mp4", folder / "videos" / "copies" / "again.mp4")
    write_video(folder / "videos" / "upright.mp4", [("white", 8.0)], size=(54, 96))
    indexer.index(
        [folder / "videos"], load(environ={}, index=folder / "index", model="toy", window_s=8.0, stride_s=8.0)
    )
    with serving(folder / "index", "--no-token") as found:
        yield found


@pytest.fixture
def calibrated(tmp_path: Path) -> Iterator[str]:
    """A server of three colours whose hits are judged: log odds of 10 times the score less 2 of the background."""
    (tmp_path / "videos").mkdir()
    for name in ("red", "green", "blue"):
        write_video(tmp_path / "videos" / f"{name}.mp4", [(name, 2.0)])
    indexer.index([tmp_path / "videos"], load(environ={}, index=tmp_path / "index", model="toy"))
    judge = Judge(-2.0, 10.0, -2.0, 0.0, threshold=0.2, false_alarm=0.0, miss=0.0)
    white = np.eye(8, dtype=np.float32)[[list(COLOURS).index("white")]]
    calibration.write(Calibration(Toy.identity, white, judge, judge, {}), tmp_path / "index" / calibration.FILE)
    with serving(tmp_path / "index", "--no-token") as found:
        yield found


def test_hits_say_how_strong_they_are_and_where_nothing_is_like_it(browser: Browser, calibrated: str) -> None:
    page = browser.new_page()
    page.goto(calibrated)
    search(page, "red green")
    strengths, words = page.locator("#cards .strength"), page.locator("#cards .word")
    # cosines 0.707, 0.707 and 0: log odds 5.07, 5.07 and -2
    assert words.all_inner_texts() == ["strong", "strong", "weak"]
    assert (strengths.first.get_attribute("title") or "").startswith("score 0.707, confidence 0.99: ")
    widths = [one.evaluate("one => one.style.width") for one in page.locator("#cards .bar span").all()]
    assert widths == ["99%", "99%", "12%"]
    expect(page.locator("#state")).to_have_text("3 moments, best first.")
    expect(page.locator("#nothing")).to_be_hidden()
    search(page, "white")
    expect(page.locator("#nothing")).to_have_text("Nothing like it. The nearest are weak:")
    assert words.all_inner_texts() == ["weak"] * 3
    picture(page, "nothing-like-it")
    page.locator("#cards .like").first.click()
    expect(page.locator("#nothing")).to_be_hidden()
    expect(words.first).to_have_text("score 1.000")
    assert strengths.locator(".bar").first.is_hidden()
    page.close()


def test_classes_show_confidence_where_there_is_a_calibration(browser: Browser, calibrated: str, address: str) -> None:
    page = browser.new_page()
    for place in (calibrated, address):
        page.goto(f"{place}?text=blue&k=1&labels=blue,white")
        expect(page.locator("#state")).to_contain_text("classified")
        number = page.locator("#cards .card").get_attribute("data-video")
        asked = {"labels": ["blue", "white"], "video_ids": [number], "k": 3}
        (video,) = httpx.post(f"{place}api/v1/classify", json=asked).json()["videos"]
        judged = [one["confidence"] for one in video["predictions"]]
        if place == calibrated:
            words = [f"{round(100 * one)}%" for one in judged]
        else:
            assert judged == [None, None]
            words = [f"{one['score']:.3f}" for one in video["predictions"]]
        assert page.locator(".class .value").all_inner_texts() == words
    page.close()


def test_the_picture_fills_the_card_and_is_whole_under_the_pointer(page: Page) -> None:
    search(page, "white")
    image = page.locator("#cards img").first
    until(page, "document.querySelector('#cards img').naturalWidth > 0")
    box = page.locator("#cards .picture").first.bounding_box()
    assert image.bounding_box() == box
    fit = "one => getComputedStyle(one).objectFit"
    assert image.evaluate(fit) == "cover"
    page.locator("#cards .picture").first.hover()
    assert image.evaluate(fit) == "contain"


def test_the_pointer_goes_through_a_hit(page: Page, address: str) -> None:
    page.goto(f"{address}?like=1&path=both.mp4")
    first = page.locator("#cards .card", has_text="both.mp4").first
    told = first.locator(".range").inner_text()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "sprite" in request.url else None)
    page.goto(f"{address}?view=browse&order=name")  # a whole video as a card: 0 to 24 s
    expect(page.locator("#state")).to_have_text("3 videos.")
    card = page.locator("#cards .card", has_text="both.mp4").first
    expect(card.locator(".picture.there")).to_be_visible()
    box = card.locator(".picture").bounding_box()
    assert box is not None
    for share, colour, time in ((0.1, "red", "0:02.4"), (0.5, "blue", "0:12.0"), (0.9, "red", "0:21.6")):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 100)
        until(page, "document.querySelector('canvas') !== null")
        until(page, f"({_COLOUR})() === '{colour}'")
        expect(card.locator(".range")).to_have_text(time)
    assert len(asked) == 1
    picture(page, "scrub")
    page.mouse.move(0, 0)
    expect(page.locator("canvas")).to_have_count(0)
    expect(card.locator(".range")).to_have_text("")
    assert told == "0:00 – 0:08"
    page.mouse.move(box["x"] + 10, box["y"] + 100)
    expect(page.locator("canvas")).to_have_count(1)
    assert len(asked) == 1  # it is there already


@pytest.mark.parametrize("reason", ["reduced motion", "touch"])
def test_nothing_moves_for_those_who_want_none_or_touch(browser: Browser, address: str, reason: str) -> None:
    options = {"reduced_motion": "reduce"} if reason == "reduced motion" else {"has_touch": True}
    with watched(browser, f"{address}?text=red", **options) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "sprite" in request.url else None)
        expect(page.locator("#state")).to_contain_text("best first")
        if reason == "touch":
            page.locator("#cards .play").first.tap()
            expect(page.locator("#cards video")).to_have_count(1)
        else:
            page.locator("#cards .play").first.hover()
            assert (
                page.locator("#cards .sign").first.evaluate("one => getComputedStyle(one).transitionDuration") == "0s"
            )
        page.wait_for_timeout(300)
        assert asked == []


def test_copies_are_folded_under_one_card_with_their_paths(page: Page) -> None:
    search(page, "red")
    copies = page.locator("#cards .copies").first
    expect(copies.locator("summary")).to_have_text("+ 1 copy")
    expect(copies.locator("li")).to_be_hidden()
    copies.locator("summary").click()
    paths = [page.locator("#cards h2").first.get_attribute("title"), copies.locator("li").inner_text()]
    assert sorted(Path(path or "").name for path in paths) == ["again.mp4", "both.mp4"]


def test_hits_of_a_video_come_together_when_that_is_wanted(page: Page, address: str) -> None:
    page.goto(f"{address}?text=red&path=*.mp4")
    expect(page.locator("#state")).to_contain_text("2 moments")
    page.get_by_role("button", name="Group by video").click()
    group = page.locator(".group")
    expect(group.locator("h2").first).to_contain_text("3 moments")
    assert group.locator(".range").all_inner_texts() == ["0:00 – 0:08", "0:08 – 0:16", "0:16 – 0:24"]
    expect(page.get_by_role("button", name="Group by video")).to_have_attribute("aria-pressed", "true")
    picture(page, "grouped")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#command")
    assert "--per-video 0" in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Group by video").click()
    expect(page.locator(".group")).to_have_count(0)


def test_hits_of_an_order_show_and_play_their_parts(page: Page, address: str) -> None:
    page.goto(f"{address}?text=red&then=blue&within=5")
    parts = page.locator("#cards .card").first.locator(".part")
    expect(parts).to_have_text(["red 0:00 – 0:08", "blue 0:08 – 0:16"])
    parts.nth(1).click()
    until(page, "document.querySelector('#cards video')?.currentTime > 8")
    picture(page, "order")


def test_a_menu_closes_by_escape_and_by_a_click_elsewhere(page: Page) -> None:
    search(page, "red")
    menu = page.locator("#cards .menu").first
    menu.locator("summary").click()
    expect(menu.get_by_text("Copy path")).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu.get_by_text("Copy path")).to_be_hidden()
    expect(menu.locator("summary")).to_be_focused()
    menu.locator("summary").click()
    page.mouse.click(5, 500)
    expect(menu.get_by_text("Copy path")).to_be_hidden()


def test_a_long_hit_says_how_much_of_it_is_exported(page: Page) -> None:
    def lengthen(route: Route) -> None:
        found = route.fetch().json()
        for hit in found["hits"]:
            hit["end_s"] = 500.0
        route.fulfill(body=json.dumps(found), content_type="application/json")

    page.route("**/api/v1/search*", lengthen)
    search(page, "red")
    act(page.locator("#cards .card").first, "Export the first 120 s")
    expect(page.locator("#cards .length").first).to_have_text("8:20")


def test_while_pictures_are_made_their_places_are_not_black(page: Page) -> None:
    page.route("**/thumbnail", lambda route: None)  # it never ends
    search(page, "red")
    place = page.locator("#cards .picture").first
    assert place.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(235, 238, 240)"
    assert place.evaluate("one => getComputedStyle(one, '::before').animationName") == "sheen"


def test_skeletons_stand_where_hits_will_be(page: Page) -> None:
    page.route("**/api/v1/search*", lambda route: None)  # it never ends
    page.fill("#text", "red")
    page.keyboard.press("Enter")
    expect(page.locator("#cards .skeleton")).to_have_count(8)
    expect(page.locator("#state")).to_have_text("Searching.")


def test_a_link_is_copied_beside_the_command(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    search(page, "red")
    page.click("#link")
    expect(page.locator("#link")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
