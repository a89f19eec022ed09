"""The page, in a real browser over real videos."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from make_videos import write_video
from pages import HOSTILE, NEEDS_CHROMIUM, PICTURES, act, classify, films, picture, search, until
from playwright.sync_api import Browser, Page, Route, expect
from serving import serving

from cezsar import indexer, server
from cezsar.server import doorway
from cezsar.settings import load

_FOCUSED = "(one => one.className || one.id || one.tagName)(document.activeElement)"

_COLOUR = """kind => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.drawImage(document.querySelector("#cards " + kind), 0, 0, 1, 1);
    const [red, , blue] = canvas.getImageData(0, 0, 1, 1).data;
    return red > 200 && blue < 50 ? "red" : blue > 200 && red < 50 ? "blue" : `${red} ${blue}`;
}"""

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Iterator[str]:
    with serving(films(tmp_path_factory.mktemp("page"), real_data), "--no-token") as found:
        yield found


@pytest.fixture(scope="module")
def own_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small index of one red video."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "videos").mkdir()
    write_video(folder / "videos" / "red.mp4", [("red", 2.0)])
    indexer.index([folder / "videos"], load(environ={}, index=folder / "index", model="toy"))
    return folder / "index"


def run_cezsar(*words: str) -> str:
    command = [sys.executable, "-m", "cezsar", *words]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_every_module_is_asked_for_at_once_and_none_needs_itself() -> None:
    folder = Path(server.__file__).with_name("page")
    imports = {path.name: re.findall(r'from "\./([\w.]+)"', path.read_text()) for path in folder.glob("*.js")}
    del imports["api.js"]  # of the page of the API
    order = list(TopologicalSorter(imports).static_order())  # raises CycleError
    assert order[-1] == "page.js"
    preloaded = re.findall(r'modulepreload" href="/([\w.]+)"', (folder / "index.html").read_text())
    assert sorted(preloaded) == sorted(order[:-1])


def test_the_first_sight_says_what_to_do(page: Page) -> None:
    expect(page.locator("#state")).to_have_text(
        re.compile(r"Say in a few words what should be seen\. 18 videos, \d:\d\d in all\.")
    )
    expect(page.locator("#text")).to_be_focused()
    assert page.locator("#cards li").count() == 0


def test_a_search_shows_cards_with_pictures(page: Page) -> None:
    search(page, "a person plays the violin")
    cards = page.locator("#cards li")
    assert cards.count() >= 10
    first = cards.first
    expect(first.locator(".strength")).to_have_attribute("title", re.compile(r"^score 0\.\d\d\d, confidence 0\.\d\d: "))
    expect(first.locator(".range")).to_contain_text("0:00 – 0:")
    until(page, "document.querySelector('#cards img').naturalWidth > 0")
    assert "text=a+person+plays+the+violin" in page.url
    picture(page, "search")


def test_a_click_plays_from_the_start_of_the_range_and_loops(page: Page) -> None:
    search(page, "a person")
    page.locator("#cards .play").first.click()
    until(page, "document.querySelector('#cards video')?.currentTime > 0.2")
    assert page.evaluate("document.querySelector('#cards video').error") is None
    duration = page.evaluate("document.querySelector('#cards video').duration")
    page.evaluate("document.querySelector('#cards video').currentTime = " + str(duration - 0.1))
    until(page, "document.querySelector('#cards video').currentTime < 2")


def test_what_no_browser_plays_is_played_part_by_part_and_looped(page: Page) -> None:
    search(page, "a blue screen")
    card = page.locator("#cards li", has_text="old.avi")
    expect(card.locator(".range")).to_have_text("0:00 – 0:20")
    expect(card.locator(".length")).to_have_text("20 s")
    card.locator(".play").click()
    for part in ("start_s=0&end_s=12", "start_s=12&end_s=20", "start_s=0&end_s=12"):
        until(page, f"document.querySelector('#cards video')?.src.endsWith('{part}')")
        until(page, "document.querySelector('#cards video').currentTime > 0.2")
        page.evaluate("(one => one.currentTime = one.duration - 0.1)(document.querySelector('#cards video'))")


def test_one_video_plays_at_a_time_and_escape_ends_it(page: Page) -> None:
    search(page, "a person")
    cards = page.locator("#cards li")
    for number in (0, 1):
        cards.nth(number).locator(".play").click()
        expect(cards.nth(number).locator("video")).to_be_focused()
        assert page.locator("video").count() == 1
    page.keyboard.press("Escape")
    expect(cards.nth(1).locator(".play")).to_be_focused()
    assert page.locator("video").count() == 0


def test_a_video_that_has_gone_is_told(page: Page) -> None:
    search(page, "a red screen")
    card = page.locator("#cards li", has_text="gone.mp4")
    for action in (card.locator(".play").click, lambda: act(card, "Export")):
        page.evaluate("document.getElementById('state').textContent = ''")
        action()
        expect(page.locator("#state")).to_have_text("gone.mp4: The video's file has gone.")
        expect(page.locator("#state")).to_have_class("bad")


def test_more_hits_come_below_those_that_are_there(page: Page, address: str) -> None:
    page.goto(f"{address}?text=a+person&k=5")
    first = page.locator("#cards h2").first.inner_text()
    page.click("text=More hits")
    expect(page.locator("#cards li")).not_to_have_count(5)
    assert page.locator("#cards li").count() > 5
    assert page.locator("#cards h2").first.inner_text() == first
    expect(page.locator("#further")).to_be_hidden()


def test_while_it_searches_it_says_so(page: Page) -> None:
    page.route("**/api/v1/search*", lambda route: (page.wait_for_timeout(500), route.continue_()))
    page.fill("#text", "a person")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("Searching.")
    expect(page.locator("#state")).to_contain_text("best first")


def test_filters_narrow_and_the_back_button_undoes(page: Page) -> None:
    search(page, "a person")
    every = page.locator("#cards li").count()
    page.click("#filters > summary")
    page.fill("input[name=path]", "old.avi")
    page.keyboard.press("Enter")
    expect(page.locator("#cards li")).to_have_count(1)
    expect(page.locator("#state")).to_contain_text("1 moment, best first.")
    page.go_back()
    expect(page.locator("#cards li")).to_have_count(every)
    expect(page.locator("input[name=path]")).to_have_value("")
    page.go_forward()
    expect(page.locator("#cards li")).to_have_count(1)


def test_an_address_can_be_shared(page: Page, address: str) -> None:
    page.goto(f"{address}?text=blue&path=old.avi&not=a+person%3B+a+dog")
    expect(page.locator("#text")).to_have_value("blue")
    expect(page.locator("input[name=not]")).to_have_value("a person; a dog")
    expect(page.locator("#cards li")).to_have_count(1)


def test_no_match_and_errors_have_their_words(page: Page) -> None:
    page.goto(page.url + "?text=blue&min_score=1")
    expect(page.locator("#state")).to_contain_text("No moment matches")
    page.goto(page.url.split("?")[0] + "?text=blue&k=5000")
    expect(page.locator("#state")).to_contain_text("k: ")
    expect(page.locator("#state")).to_have_class("bad")
    page.goto(page.url.split("?")[0])
    page.route("**/api/v1/search*", lambda route: route.abort())
    page.fill("#text", "anything")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_contain_text("The server cannot be reached")


def test_more_like_this(page: Page) -> None:
    search(page, "a blue screen")
    card = page.locator("#cards li", has_text="old.avi")
    card.get_by_text("Like this").click()
    expect(page.locator("#chips")).to_contain_text("like old.avi, 0:")
    expect(page.locator("#cards h2").first).to_have_text("old.avi")
    search(page, "a blue screen")
    expect(page.locator("#state")).to_contain_text("by the text and by what they are to be like")
    page.click("#chips button")
    expect(page.locator("#chips")).to_be_hidden()
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#state")).to_have_text(re.compile(r"best first\.$"))


def test_labels_tell_the_shown_videos_apart(page: Page) -> None:
    search(page, "a person")
    classify(page, "playing music, sports, a plain colour")
    expect(page.locator("#state")).to_contain_text("videos classified")
    first = page.locator("#cards li").first
    expect(first.locator("meter")).to_have_count(3)
    assert page.locator("#legend li").all_inner_texts() == ["playing music", "sports", "a plain colour"]
    assert first.locator(".timeline button").count() >= 1
    picture(page, "classes")
    page.go_back()
    expect(first.locator("meter").first).to_be_hidden()
    page.go_forward()
    expect(first.locator("meter")).to_have_count(3)
    page.reload()
    expect(first.locator("meter")).to_have_count(3)
    expect(page.locator("#labels")).to_have_value("playing music, sports, a plain colour")


def test_a_timeline_says_and_plays_what_each_part_shows(page: Page, address: str) -> None:
    page.goto(f"{address}?text=blue&path=old.avi&labels=the+sea,a+tv+screen")
    blocks = page.locator(".timeline button")
    expect(blocks).to_have_count(2)
    expect(page.locator(".now")).to_have_text("0:00.0 to 0:30.0")
    blocks.first.focus()
    expect(page.locator(".now")).to_contain_text("the sea, 0:00.0 to ")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".now")).to_contain_text("a tv screen, ")
    expect(page.locator(".now")).to_contain_text("to 0:30.0")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#cards video')?.currentTime > 0.2")
    assert "start_s=16" in page.evaluate("document.querySelector('#cards video').src")
    page.keyboard.press("Escape")
    expect(blocks.nth(1)).to_be_focused()


def test_labels_without_words_are_told(page: Page) -> None:
    search(page, "a person")
    classify(page, " , ,")
    expect(page.locator("#state")).to_have_text("Give some labels, with commas between them.")
    assert page.locator("#cards li").count() > 0


def test_a_video_removed_meanwhile_does_not_keep_others_from_being_classified(page: Page) -> None:
    def answer(route: Route) -> None:
        asked = route.request.post_data_json
        asked["video_ids"] = [999 if number == 1 else number for number in asked["video_ids"]]
        route.continue_(post_data=asked)

    page.route("**/api/v1/classify", answer)
    search(page, "a person")
    classify(page, "music, sports")
    expect(page.locator("#state")).to_contain_text("18 moments, best first. 17 videos classified.")


def test_what_is_typed_and_not_asked_yet_stays(page: Page) -> None:
    search(page, "a person")
    page.fill("#text", "something to ask later")
    classify(page, "music, sports")
    expect(page.locator("#state")).to_contain_text("classified")
    expect(page.locator("#text")).to_have_value("something to ask later")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_focused()
    expect(page.locator("#text")).to_have_value("something to ask later")
    assert not [url for url in asked if "/search" in url or "/classify" in url]


def test_going_back_while_a_search_is_under_way_leaves_what_was_there(page: Page) -> None:
    search(page, "a blue screen")
    first = page.locator("#cards h2").all_inner_texts()
    page.route("**/api/v1/search?like=*", lambda route: None)  # it never ends
    page.locator("#cards .like").first.click()
    expect(page.locator("#state")).to_have_text("Searching.")
    page.go_back()
    expect(page.locator("#state")).to_have_text(re.compile(r"best first\.$"))
    assert page.title() == "a blue screen - CEZSAR"
    assert page.locator("#cards h2").all_inner_texts() == first
    expect(page.locator("#chips")).to_be_hidden()


def test_what_was_being_made_playable_is_not_for_ever(page: Page) -> None:
    page.route("**/stream?*", lambda route: None)  # it never ends
    search(page, "a blue screen")
    page.locator("#cards li", has_text="old.avi").locator(".play").click()
    expect(page.locator("#state")).to_have_text("Making it playable.")
    page.keyboard.press("Escape")
    expect(page.locator("#state")).to_contain_text("best first.")


def test_a_wrong_filter_that_is_closed_is_opened_and_told(page: Page) -> None:
    search(page, "a person")
    page.click("#filters > summary")
    page.fill("input[name=min_score]", "7")
    page.click("#filters > summary")
    page.fill("#text", "something else")
    page.keyboard.press("Enter")
    expect(page.locator("input[name=min_score]")).to_be_visible()
    expect(page.locator("input[name=min_score]")).to_be_focused()


def test_the_command_line_asks_for_the_same(page: Page, address: str, real_data: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{address}?text=it's+a+dog&not=a+cat;rain&path=*.avi&min_score=-1&per_video=2&k=7")
    page.click("#command")
    expect(page.locator("#command")).to_have_text("Copied")
    page.click("#command")
    expect(page.locator("#command")).to_have_text("Copy as a command")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    index = words.pop(words.index("--index") + 1)
    assert words == [
        *("cezsar", "query", "--top-k", "7", "--not", "a cat", "--not", "rain", "--path", "*.avi"),
        *("--min-score", "-1", "--per-video", "2", "--index", "it's a dog"),
    ]
    told = run_cezsar(*words[1:-2], "--index", index, words[-1], "--json")
    shown = page.locator("#cards h2").all_inner_texts()
    assert [Path(hit["path"]).name for hit in json.loads(told)["hits"]] == shown


def test_a_hostile_name_is_copied_so_that_no_terminal_obeys_it(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    search(page, "a yellow screen")
    card = page.locator("#cards li", has_text="onerror")
    act(card, "Copy path")
    expect(card.get_by_text("Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.isprintable()
    echoed = subprocess.run(["bash", "-c", f"printf %s {copied}"], capture_output=True, check=True)
    assert Path(os.fsdecode(echoed.stdout)).name == HOSTILE
    card.get_by_text("Like this").click()
    expect(page.locator("#chips")).to_contain_text("onerror")
    page.click("#command")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.isprintable()
    script = copied.replace("cezsar query", f"{sys.executable} -m cezsar query --json", 1)
    told = subprocess.run(["bash", "-c", script], capture_output=True, check=True, text=True)
    hits = json.loads(told.stdout)["hits"]
    assert Path(hits[0]["path"]).name == HOSTILE
    assert [f"score {hit['score']:.3f}" for hit in hits] == page.locator("#cards .word").all_inner_texts()


def test_a_name_that_is_not_utf8_is_copied_by_its_bytes(browser: Browser, tmp_path: Path) -> None:
    name = b"caf\xe9 'n\\.mp4"
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / os.fsdecode(name), [("red", 2.0)], format="mp4")
    indexer.index([tmp_path / "videos"], load(environ={}, index=tmp_path / "index", model="toy"))
    with serving(tmp_path / "index", "--no-token") as address:
        page = browser.new_page(permissions=["clipboard-read", "clipboard-write"])
        page.goto(f"{address}?text=red")
        act(page.locator("#cards li"), "Copy path")
        expect(page.get_by_text("Copied")).to_be_visible()
        script = f"printf %s {page.evaluate('navigator.clipboard.readText()')}"
        echoed = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
        assert echoed.stdout == os.fsencode(tmp_path / "videos") + b"/" + name
        page.close()


def test_who_has_no_token_is_asked_for_it_and_led_on(browser: Browser, own_index: Path) -> None:
    with serving(own_index, "--token", "correct horse") as entrance:
        page = browser.new_page()
        page.goto(entrance.split("?")[0] + "?text=red&k=3")
        expect(page.get_by_text("asks for its token")).to_be_visible()
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / "entrance.png")
        for given, told in (("battery staple", "That is not the token."), ("correct horse", "best first")):
            page.fill("#token", given)
            page.keyboard.press("Enter")
            expect(page.get_by_text(told)).to_be_visible()
        assert page.url.endswith("/?text=red&k=3")
        page.context.clear_cookies()
        page.fill("#text", "blue")
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_contain_text("asks for its token again")
        page.close()


def visited(page: Page) -> list[str]:
    """The addresses that the back button leads to, and the one that is shown."""
    return [entry["url"] for entry in page.context.new_cdp_session(page).send("Page.getNavigationHistory")["entries"]]


def test_the_printed_address_lets_in_and_its_token_stays_nowhere(browser: Browser, own_index: Path) -> None:
    with serving(own_index) as entrance:
        here, token = entrance.split("?token=")
        context = browser.new_context()
        asked: list[tuple[str, str]] = []
        context.on("request", lambda request: asked.append((request.url, request.all_headers().get("referer", ""))))
        page = context.new_page()
        page.goto(entrance)
        expect(page.get_by_text("1 video, ")).to_be_visible()
        search(page, "red")
        assert page.url == f"{here}?text=red"
        assert not [url for url in visited(page) if token in url]
        assert [url for url, referrer in asked if token in url or token in referrer] == [entrance]
        assert page.evaluate("document.cookie") == ""
        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["value"]) == (True, "Strict", token)
        page.goto("about:blank")
        page.goto(here)
        expect(page.locator("#text")).to_be_focused()
        context.close()


def test_the_bare_address_asks_for_the_token_which_stays_nowhere(browser: Browser, own_index: Path) -> None:
    with serving(own_index) as entrance:
        here, token = entrance.split("?token=")
        for width in (390, 1440):
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.goto(here)
            expect(page.locator("#token")).to_be_focused()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            PICTURES.mkdir(exist_ok=True)
            page.screenshot(path=PICTURES / f"entrance-{width}.png")
            page.keyboard.type(token)
            page.keyboard.press("Enter")
            expect(page.get_by_text("1 video, ")).to_be_visible()
            search(page, "red")
            assert page.locator("#cards li").count() == 1
            until(page, "document.querySelector('#cards img').naturalWidth > 0")
            assert page.url == f"{here}?text=red"
            assert not [url for url in visited(page) if token in url]
            page.close()


def test_the_file_that_is_opened_leads_in(browser: Browser, own_index: Path) -> None:
    with serving(own_index) as entrance, doorway(entrance) as opened:
        page = browser.new_page()
        page.goto(opened)
        expect(page.get_by_text("1 video, ")).to_be_visible()
        assert page.url == entrance.split("?")[0]
        assert not [url for url in visited(page) if "token=" in url]
        page.close()


def test_a_link_of_another_site_with_the_token_lets_in(browser: Browser, own_index: Path) -> None:
    with serving(own_index, "--token", "correct horse") as entrance:
        page = browser.new_page()
        here, links = entrance.split("?")[0], [""]
        page.route(
            "http://elsewhere.example/",
            lambda route: route.fulfill(content_type="text/html", body=f"<a href='{links[-1]}'>look</a>"),
        )
        for link in (entrance.replace("?", "?text=red&"), f"{here}?text=red&k=2"):
            links.append(link)
            page.goto("http://elsewhere.example/")
            page.click("a")
            expect(page.locator("#state")).to_contain_text("best first")
            assert page.url.startswith(f"{here}?text=red")
            assert "token" not in page.url
            assert "again" not in page.url
        page.close()


def test_no_address_leads_to_another_site(browser: Browser, own_index: Path) -> None:
    with serving(own_index, "--token", "correct horse") as entrance:
        here = entrance.split("?")[0].rstrip("/")
        context = browser.new_context()
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        detours = (
            *(
                "/%5Cevil.example/",
                "//evil.example/",
                "/%2F%2Fevil.example/",
                "/%2F%5Cevil.example/",
                "/%09/evil.example",
            ),
            *(
                "/\\evil.example",
                "/%0A/evil.example",
                "/%0d%0aSet-Cookie:a=b",
                "/javascript:alert(1)",
                "/.//evil.example",
            ),
        )
        for detour in detours:
            for query in ("", "?token=correct%20horse", "?again=1"):  # without a cookie, to get one, and with one
                page.goto(here + detour + query)
                page.wait_for_load_state("networkidle")
                if not query:
                    page.fill("#token", "correct horse")
                    page.keyboard.press("Enter")
                    expect(page.locator("#token")).to_have_count(0)
                    page.wait_for_load_state("networkidle")
                assert page.url.startswith(f"{here}/")
            context.clear_cookies()
        assert len(asked) > 2 * len(detours)
        assert [url for url in asked if not url.startswith(f"{here}/")] == []
        context.close()


def test_another_index_at_the_same_address_shows_its_own_pictures(browser: Browser, tmp_path: Path) -> None:
    settings = {}
    for name in ("red", "blue"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / f"{name}.mp4", [(name, 2.0)])
        os.utime(tmp_path / name / f"{name}.mp4", (0, 0))
        settings[name] = load(environ={}, index=tmp_path / f"{name}-index", model="toy")
        indexer.index([tmp_path / name], settings[name])
    page, port = browser.new_page(), 0
    for name in ("red", "blue"):
        with serving(settings[name].index, "--port", str(port), "--no-token") as address:
            port = int(address.rstrip("/").split(":")[-1])
            page.goto(f"{address}?text={name}")
            expect(page.locator("#state")).to_contain_text("best first")
            until(page, f"({_COLOUR})('img') === '{name}'")
            page.click(".play")
            until(page, "document.querySelector('#cards video')?.currentTime > 0.1")
            until(page, f"({_COLOUR})('video') === '{name}'")
    page.close()


def test_a_hostile_name_is_text(page: Page) -> None:
    search(page, "a yellow screen")
    card = page.locator("#cards h2", has_text="onerror")
    expect(card).to_have_text("<img src=x onerror=document.title=1> 'it\"s' \\u000a\\u001b[31m.mp4")
    assert page.title() == "a yellow screen - CEZSAR"
    assert page.locator("#cards h2 img").count() == 0


def test_an_export_is_a_file(page: Page) -> None:
    search(page, "a blue screen")
    with page.expect_download() as download:
        act(page.locator("#cards li", has_text="old.avi"), "Export")
    assert download.value.suggested_filename.startswith("old-0-")


def test_the_keyboard_reaches_everything(page: Page) -> None:
    search(page, "a person")
    page.locator("#text").focus()
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(_FOCUSED))
    assert reached == [
        "BUTTON", "quiet", "quiet", "SUMMARY", "quiet", "quiet", "quiet",
        "play", "open", "SUMMARY", "collect", "like", "more", "less",
    ]  # fmt: skip
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    for name in ("copy-path", "export"):
        page.keyboard.press("Tab")
        assert page.evaluate(_FOCUSED) == name
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_api_is_described(page: Page, address: str) -> None:
    page.goto(f"{address}api")
    expect(page.locator("h2").first).to_be_visible()
    assert "GET /api/v1/search" in page.locator("h2").all_inner_texts()
    expect(page.locator("#state")).to_be_hidden()
    described = page.request.get(f"{address}api/v1/openapi.json").json()["paths"]
    assert page.locator("h2").count() == sum(map(len, described.values()))
    search = page.locator("section", has=page.get_by_text("GET /api/v1/search", exact=True))
    assert "hits[].confidence\tanswer\tnumber\tmay be null\t" in search.locator("tr").all_inner_texts()
    picture(page, "api")
