"""Every view at every width, light and dark: nothing sticks out, all can be hit, and axe-core finds no grave fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import NEEDS_CHROMIUM, SIZES, faults, films, picture, until, watched
from playwright.sync_api import Browser, Page, expect
from serving import serving

pytestmark = NEEDS_CHROMIUM

VIEWS = {  # the address of each, and what is told when it is there
    "landing": ("", "in all."),
    "results": ("?text=a+person+plays+guitar&per_video=3&not=a+dog", "best first"),
    "grouped": ("?text=a+person+plays+guitar&group=1", "best first"),
    "order": ("?text=a+blue+screen&then=a+black+screen", "best first"),
    "browse": ("?view=browse&order=recorded", "videos."),
    "classify": ("?text=a+person&view=classify&labels=playing+music,sports,a+plain+colour", "classified"),
    "nothing": ("?text=a+person&path=nowhere", "No moment matches"),
}
_SMALL = """() => [...document.querySelectorAll("button, summary, .export, .tile, #views a, select, input")]
    .filter(one => one.checkVisibility() && one.getBoundingClientRect().width > 1)
    .filter(one => one.getBoundingClientRect().height < 39.9)
    .map(one => `${one.className || one.id || one.textContent}: ${one.getBoundingClientRect().height}`)"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Iterator[str]:
    with serving(films(tmp_path_factory.mktemp("sizes"), real_data), "--no-token") as found:
        yield found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_view_fits_and_can_be_hit(browser: Browser, address: str, size: str, theme: str) -> None:
    width, height = SIZES[size]
    with watched(browser, address, viewport={"width": width, "height": height}, color_scheme=theme) as page:
        for view, (place, told) in VIEWS.items():
            page.goto(address + place)
            expect(page.locator("#state")).to_contain_text(told)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view
            assert page.evaluate(_SMALL) == [], view
            picture(page, f"{view}-{size}-{theme}")
        page.click("#filters > summary")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_SMALL) == []
        picture(page, f"filters-{size}-{theme}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_grave(browser: Browser, address: str, view: str, theme: str) -> None:
    place, told = VIEWS[view]
    with watched(browser, address + place, color_scheme=theme, reduced_motion="reduce") as page:
        expect(page.locator("#state")).to_contain_text(told)
        if view == "results":
            page.click("#filters > summary")
            page.locator("#cards .menu summary").first.click()
            page.get_by_role("button", name="Then…").click()
        assert faults(page) == []


@pytest.mark.parametrize("view", ["landing", "results", "browse"])
def test_on_a_phone_the_first_picture_is_in_the_upper_third(browser: Browser, address: str, view: str) -> None:
    width, height = SIZES["phone"]
    place = "?text=a+person+plays+guitar" if view == "results" else VIEWS[view][0]
    with watched(browser, address + place, viewport={"width": width, "height": height}) as page:
        expect(page.locator("#state")).to_contain_text(VIEWS[view][1])
        until(page, "document.querySelector('main .picture') !== null")
        box = page.locator("main .picture").first.bounding_box()
        assert box is not None
        assert box["y"] < height / 3


def test_dark_is_dark_and_focus_is_seen(browser: Browser, address: str) -> None:
    with watched(browser, address, color_scheme="dark") as page:
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(20, 23, 26)"
        _go_through(page)


def _go_through(page: Page) -> None:
    expect(page.locator("#state")).to_contain_text("in all.")
    page.locator("#text").focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            "(one => [one.outlineStyle, one.outlineWidth])(getComputedStyle(document.activeElement))"
        )
        assert outline == ["solid", "3px"], page.evaluate("document.activeElement.outerHTML")
