"""Feedback and pictures as examples, in a real browser over videos of plain colours."""

from __future__ import annotations

import base64
import io
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from desk import WIDTHS, ask, card, coloured, wrong
from pages import NEEDS_CHROMIUM, picture, watched
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from serving import serving

pytestmark = NEEDS_CHROMIUM

_TRANSFER = """([kind, name, type, data, target]) => {
    const held = new DataTransfer();
    held.items.add(new File([Uint8Array.from(atob(data), (one) => one.charCodeAt(0))], name, { type }));
    const options = { bubbles: true, cancelable: true, clipboardData: held, dataTransfer: held };
    const event = kind === "paste" ? new ClipboardEvent(kind, options) : new DragEvent(kind, options);
    return !(document.querySelector(target)).dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(coloured(tmp_path_factory.mktemp("judging")), "--no-token") as found:
        yield found


def said(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def shown(page: Page) -> list[str]:
    return page.locator("#cards h2").all_inner_texts()


def give(page: Page, kind: str, content: bytes, *, name: str = "a.png", target: str = "body") -> bool:
    """Paste or drop a file; whether the page took it."""
    data = base64.b64encode(content).decode()
    taken: bool = page.evaluate(_TRANSFER, [kind, name, "image/png", data, target])
    return taken


def png(colour: str, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "png", **options)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("size", WIDTHS)
def test_a_hit_that_is_right_moves_the_question(browser: Browser, address: str, size: tuple[int, int]) -> None:
    with watched(browser, address, viewport={"width": size[0], "height": size[1]}, has_touch=size[0] < 500) as page:
        ask(page, address, "text=green")
        before = shown(page)
        assert before[0] in ("long.mp4", "film.mp4")
        chosen = before[-1]
        card(page, chosen).get_by_role("button", name="More", exact=True).click()
        expect(page.locator("#chips .chip")).to_contain_text("+ more: ")
        expect(page.locator("#state")).to_contain_text("best first")
        assert shown(page).index(chosen) < len(before) - 1
        assert said(page)["text"] == ["green"]
        assert len(said(page)["more"]) == 1
        card(page, "film.mp4").get_by_role("button", name="Less", exact=True).click()
        expect(page.locator("#chips .chip")).to_have_count(2)
        expect(page.locator("#chips .chip").nth(1)).to_contain_text("− less: film.mp4, 0:00 – ")
        expect(card(page, "film.mp4").locator(".less")).to_have_attribute("aria-pressed", "true")
        assert wrong(page, "#search") == []
        picture(page, f"judged-{size[0]}")
        page.reload()
        expect(page.locator("#chips .chip").nth(1)).to_contain_text("− less: film.mp4, 0:00 – ")
        card(page, "film.mp4").get_by_role("button", name="More", exact=True).click()
        expect(page.locator("#chips .chip").nth(1)).to_contain_text("+ more: film.mp4")
        assert "less" not in said(page)
        page.locator("#chips .chip").first.click()
        expect(page.locator("#chips .chip")).to_have_count(1)
        page.go_back()
        expect(page.locator("#chips .chip")).to_have_count(2)
        page.fill("#text", "red")
        page.keyboard.press("Enter")
        expect(page.locator("#chips .chip")).to_have_count(0)  # what was right for other words is not for these


def test_a_judgement_is_part_of_the_command(page: Page, address: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, address, "text=green")
    card(page, "old.avi").get_by_role("button", name="More", exact=True).click()
    expect(page.locator("#chips .chip")).to_have_count(1)
    card(page, "film.mp4").get_by_role("button", name="Less", exact=True).click()
    expect(page.locator("#chips .chip")).to_have_count(2)
    expect(page.locator("#state")).to_contain_text("best first")
    page.click("#command")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert words[words.index("--more") + 1] == said(page)["more"][0]
    assert words[words.index("--less") + 1] == said(page)["less"][0]
    command = [sys.executable, "-m", *words, "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert [Path(hit["path"]).name for hit in told["hits"] if "onerror" not in hit["path"]] == [
        name for name in shown(page) if "onerror" not in name
    ]


def test_an_order_takes_no_judgement(page: Page, address: str) -> None:
    ask(page, address, "text=green&then=blue")
    expect(card(page, "long.mp4").locator(".more")).to_be_hidden()
    page.goto(f"{address}?text=green&more=999999")
    expect(page.locator("#state")).to_contain_text("There is no segment 999999")
    expect(page.locator("#chips .chip")).to_contain_text("+ more: segment 999999")


@pytest.mark.parametrize("way", ["paste", "drop", "file"])
@pytest.mark.parametrize("size", WIDTHS)
def test_a_picture_finds_what_looks_like_it(
    browser: Browser, address: str, tmp_path: Path, size: tuple[int, int], way: str
) -> None:
    with watched(browser, address, viewport={"width": size[0], "height": size[1]}) as page:
        ask(page, address, "text=green")
        if way == "file":
            (tmp_path / "a.png").write_bytes(png("magenta"))
            with page.expect_file_chooser() as chooser:
                page.get_by_role("button", name="Picture…").click()
            chooser.value.set_files(tmp_path / "a.png")
        else:
            assert give(page, way, png("magenta"))
        expect(page.locator("#chips .chip")).to_contain_text("like a.png")
        expect(page.locator("#cards h2").first).to_have_text("old.avi")
        assert "text" not in said(page)
        assert page.eval_on_selector("#chips canvas", "one => [one.width, one.height]") == [64, 48]
        assert wrong(page, "#search") == []
        picture(page, f"example-{size[0]}")
        page.reload()
        expect(page.locator("#chips .chip")).to_contain_text("like a picture")
        expect(page.locator("#cards h2").first).to_have_text("old.avi")
        page.fill("#text", "yellow")
        page.keyboard.press("Enter")
        expect(page.locator("#cards h2").first).not_to_have_text("old.avi")
        page.locator("#chips .chip").click()
        expect(page.locator("#chips .chip")).to_have_count(0)
        assert "example" not in said(page)


def test_pictures_of_all_kinds_are_taken(page: Page, address: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # turn it by 90 degrees
    photograph, moving = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 48), "magenta").save(photograph, "jpeg", exif=turned)
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("magenta", "magenta")]
    frames[0].save(moving, "gif", save_all=True, append_images=frames[1:], duration=500)
    wide = png("magenta", (10_000, 1_000))
    for content, width in ((photograph.getvalue(), 48), (moving.getvalue(), 32), (wide, 640)):
        page.goto(address)
        assert give(page, "paste", content)
        expect(page.locator("#cards h2").first).to_have_text("old.avi")
        assert page.eval_on_selector("#chips canvas", "one => one.width") == width


def test_a_picture_that_is_too_large_is_made_smaller_before_it_is_sent(
    page: Page, address: str, tmp_path: Path
) -> None:
    (tmp_path / "large.bmp").write_bytes(b"")
    Image.new("RGB", (10_000, 400), "magenta").save(tmp_path / "large.bmp")
    assert (tmp_path / "large.bmp").stat().st_size > 10 << 20
    page.set_input_files("input[type=file]", tmp_path / "large.bmp")
    expect(page.locator("#cards h2").first).to_have_text("old.avi")  # the server would refuse the file as it is


def test_what_is_no_picture_is_one_line_and_leaves_the_page(page: Page, address: str) -> None:
    ask(page, address, "text=green")
    here = page.url
    assert give(page, "drop", b"no picture at all")
    expect(page.locator("#state")).to_contain_text("That is no picture")
    expect(page.locator("#state")).to_have_class("bad")
    assert page.url == here
    assert page.locator("#cards .card").count() > 0


def test_text_is_pasted_as_text(page: Page, address: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('a red screen')")
    page.locator("#text").focus()
    page.keyboard.press("ControlOrMeta+v")
    expect(page.locator("#text")).to_have_value("a red screen")


def test_the_command_names_the_picture(page: Page, address: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(address)
    assert give(page, "paste", png("magenta"), name="it's.png")
    expect(page.locator("#cards h2").first).to_have_text("old.avi")
    page.click("#command")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert words[words.index("--like") + 1] == "it's.png"
