"""The page in a browser, over an index of 20,000 segments: its first picture, and moving the pointer over a hit.

python benchmarks/page.py ../shared/data/ucf101

The clips are indexed once; their rows are then written again and again, with other vectors, for hard links of the
files. "cold" opens the page when no picture has been made yet, right after the server's start; the browser is open by
then.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import indexing
import numpy as np
from measuring import Row
from playwright.sync_api import Browser, sync_playwright
from server import served

from cezsar import store
from cezsar.store import Embedding, File
from cezsar.types import unit

_SEGMENTS = 20_000
_ROUNDS = 9
_QUESTION = "?text=a+person+plays+guitar"


def rows(videos: Path) -> list[Row]:
    """Seconds against one second, and against 0.3."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        num_segments = _fill(folder, videos)
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        browser.new_page().goto("about:blank")
        with served(folder / "index") as (host, port, token, _):
            address = f"http://{host}:{port}/?token={token}"
            cold_s = _first_picture(browser, address)
            warm_s = [_first_picture(browser, address) for _ in range(_ROUNDS)]
            question = f"http://{host}:{port}/{_QUESTION}&token={token}"
            _scrub(browser, question)  # now the sprite is kept
            scrub_s = [_scrub(browser, question) for _ in range(_ROUNDS)]
        browser.close()
    size = f"{num_segments:,} segments"
    return [
        Row(f"first picture after opening the page, cold, {size}", "1 s", (cold_s,), 1, at_most=True),
        Row(f"first picture after opening the page, {size}", "1 s", tuple(warm_s), 1, at_most=True),
        Row(
            f"the pointer on a hit until its frames follow it, {size}",
            "0.3 s",
            tuple(one / 0.3 for one in scrub_s),
            1,
            at_most=True,
            note=f"{np.median(scrub_s) * 1e3:.0f} ms, of which the page waits 80",
        ),
    ]


def _first_picture(browser: Browser, address: str) -> float:
    """Seconds from the request to the first picture, with nothing in the browser's cache."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#landing .card .picture.there img")
    took_s = time.perf_counter() - began
    page.close()
    return took_s


def _scrub(browser: Browser, address: str) -> float:
    """Seconds from the pointer's arrival to a frame that follows it."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(address)
    page.wait_for_selector("#cards .picture.there img")
    page.wait_for_load_state("networkidle")
    box = page.locator("#cards .picture").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    began = time.perf_counter()
    page.mouse.move(box["x"] + 40, box["y"] + 20)
    page.wait_for_selector("#cards canvas")
    took_s = time.perf_counter() - began
    page.close()
    return took_s


def _fill(folder: Path, videos: Path) -> int:
    """An index of so many segments whose videos are all there; how many it has."""
    (folder / "videos").mkdir()
    for path in indexing.videos_in(videos):
        shutil.copy(path, folder / "videos")
    command = [sys.executable, "-m", "cezsar", "index", "--quiet", "--index", str(folder / "index"), "videos"]
    subprocess.run(command, cwd=folder, check=True)
    rng = np.random.default_rng(0)
    with store.open_to_write(folder / "index") as catalog:
        with catalog.read() as reading:
            known = [(video, *reading.segments(video.id)) for video in reading.videos()]
        total = num_once = sum(len(segments) for _, segments, _ in known)
        for copy in range(1, _SEGMENTS // num_once + 1):
            (folder / f"copies-{copy}").mkdir()

            def change(writer: object, copy: int = copy) -> None:
                for video, segments, vectors in known:
                    link = folder / f"copies-{copy}" / video.file.path.decode()
                    os.link(video.file.full_path, link)
                    noise = rng.normal(0.0, 0.03, vectors.shape).astype(np.float32)
                    made = Embedding(video.duration_s, segments, tuple(range(len(segments))), unit(vectors + noise))
                    file = File.of(os.fsencode(link.parent), video.file.path, link.stat())
                    writer.add_video(file, os.urandom(32), made)  # type: ignore[attr-defined]

            catalog.write(change)
            total += num_once
        catalog.fold_if_due()
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path)
    for row in rows(parser.parse_args().videos):
        print(*row.cells(), row.note, sep=" | ")
