"""What can be done with hits on the page, beyond their cards: what its tests share."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from make_videos import write_video
from pages import HOSTILE, SIZES, faults
from playwright.sync_api import Locator, Page, expect

from cezsar import indexer
from cezsar.settings import load

WIDTHS = [SIZES["phone"], SIZES["desk"]]

# of what is seen inside: what is no 40 pixels high, or reaches out of the window
_ODD = """inside => [...inside.querySelectorAll("button, a, input, select, summary")].flatMap((one) => {
    const { width, height, left, right } = one.getBoundingClientRect();
    if (!width || one.matches(".unseen")) return [];
    const found = [];
    if (height < 39.5) found.push("low");
    if (!one.closest(".around") && (left < -1 || right > innerWidth + 1)) found.push("outside");
    return found.map((fault) => `${fault}: ${one.outerHTML.slice(0, 120)}`);
})"""


def coloured(folder: Path) -> Path:
    """An index of videos of plain colours, in segments of 4 s: one that no browser plays, one of a hostile name, one
    at 29.97 frames per second, and one whose file has gone."""
    videos = folder / "videos"
    videos.mkdir()
    write_video(videos / "long.mp4", [("red", 8.0), ("green", 8.0), ("blue", 8.0), ("red", 8.0)], fps=25, sound=True)
    write_video(videos / "film.mp4", [("green", 8.0)], fps=Fraction(30000, 1001))
    write_video(videos / "old.avi", [("blue", 20.0), ("magenta", 12.0)], codec="mpeg4", size=(320, 240))
    write_video(videos / HOSTILE, [("yellow", 4.0)], format="mp4")
    write_video(videos / "gone.mp4", [("cyan", 4.0)])
    settings = load(environ={}, index=folder / "index", model="toy", window_s=4.0, stride_s=4.0)
    indexer.index([videos], settings)
    (videos / "gone.mp4").unlink()
    return folder / "index"


def ask(page: Page, address: str, question: str) -> None:
    """Open the answer to a question, as an address asks it."""
    page.goto(f"{address}?{question}")
    expect(page.locator("#state")).to_contain_text("best first")


def card(page: Page, name: str) -> Locator:
    """The first card of a video."""
    return page.locator("#cards .card", has_text=name).first


def wrong(page: Page, inside: str) -> list[str]:
    """What is too low to be touched, or outside of the window; and what axe-core finds grave, light and dark."""
    found: list[str] = page.eval_on_selector(inside, _ODD)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        found += [f"{scheme}: {one}" for one in faults(page)]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("it is wider than the window")
    return found
