"""The page in a real browser: what its tests share. Pictures of it go to .artefacts/ to be looked at."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from make_videos import write_video
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from cezsar import indexer
from cezsar.settings import load

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PICTURES = Path(__file__).parents[1] / ".artefacts"
HOSTILE = "<img src=x onerror=document.title=1> 'it\"s' \n\x1b[31m.mp4"
SIZES = {"phone": (390, 844), "tablet": (768, 1024), "desk": (1440, 900), "4k": (3840, 2160)}
NEEDS_CHROMIUM = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to look with"),
]

_AXE = Path(__file__).with_name("axe") / "axe.min.js"
_SEEN = """[...document.querySelectorAll('.picture:not(.there)')].every(one =>
    one.getBoundingClientRect().top > innerHeight || !one.checkVisibility())"""
_FAULTS = """async () => {
    const found = await axe.run(document, {resultTypes: ["violations"]});
    return found.violations.filter(one => ["serious", "critical"].includes(one.impact)).map(one =>
        `${one.id}: ${one.nodes.map(node => node.target.join(" ") + " " + node.failureSummary).join("; ")}`);
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of this test module's own."""
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@contextmanager
def watched(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """The page, whose console stays free of errors."""
    made = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda told: wrong.append(told.text) if "Content Security Policy" in told.text else None)
    made.goto(address)
    yield made
    made.close()
    assert wrong == []


def films(folder: Path, real_data: Path) -> Path:
    """An index of some real clips, one of which no browser plays as it is; of a hostile name, and of one that goes."""
    videos = folder / "videos"
    videos.mkdir()
    clips = sorted(path for path in (real_data / "ucf101").rglob("*") if path.suffix in (".avi", ".mp4"))
    for path in clips[::8]:
        shutil.copy(path, videos)
    write_video(videos / HOSTILE, [("yellow", 4.0)], format="mp4")
    write_video(videos / "old.avi", [("blue", 20.0), ("black", 10.0)], codec="mpeg4", size=(320, 240))
    write_video(videos / "gone.mp4", [("red", 2.0)])
    indexer.index([videos], load(environ={}, index=folder / "index"))
    (videos / "gone.mp4").unlink()
    return folder / "index"


def colours(folder: Path) -> Path:
    """An index of the toy encoder: four videos of 8 s, of two colours each, in two folders."""
    for place in ("day/red blue", "day/green white", "night/blue black", "night/deep/white red"):
        path = folder / "videos" / f"{place}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, [(name, 4.0) for name in path.stem.split()])
    indexer.index(
        [folder / "videos"], load(environ={}, index=folder / "index", model="toy", window_s=4.0, stride_s=4.0)
    )
    return folder / "index"


def until(page: Page, expression: str) -> None:
    """Wait until it is so; the page's own policy forbids scripts that are made of text."""
    patience = time.monotonic() + 15
    while not page.evaluate(expression):
        assert time.monotonic() < patience, expression
        page.wait_for_timeout(50)


def picture(page: Page, name: str) -> None:
    """Keep what it looks like, once its thumbnails are there."""
    PICTURES.mkdir(exist_ok=True)
    until(page, _SEEN)
    page.screenshot(path=PICTURES / f"{name}.png")


def search(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_contain_text("best first")


def classify(page: Page, labels: str) -> None:
    page.get_by_role("link", name="Classify").click()
    page.fill("#labels", labels)
    page.keyboard.press("Enter")


def act(card: Locator, name: str) -> None:
    """Choose something of a card's menu."""
    if not card.locator(".menu").evaluate("one => one.open"):
        card.locator(".menu summary").click()
    card.get_by_text(name, exact=True).click()


def faults(page: Page) -> list[str]:
    """What axe-core finds serious or critical on the page as it is now."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE.read_text())
    found: list[str] = page.evaluate(_FAULTS)
    return found
