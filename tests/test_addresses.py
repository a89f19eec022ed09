"""Videos at addresses: a real server on loopback, and fsspec's file system in memory."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cezsar import indexer, paths, store
from cezsar.cli import cli
from cezsar.settings import Settings
from cezsar.types import IndexReport


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def folder(tmp_path: Path, videos: Path) -> Path:
    """What the server has: three videos, one of them in a folder, a text, and a file that is no video."""
    here = tmp_path / "served" / "films"
    (here / "more").mkdir(parents=True)
    shutil.copyfile(videos / "red.mp4", here / "red.mp4")
    shutil.copyfile(videos / "green.mp4", here / "green.mp4")
    shutil.copyfile(videos / "blue.mp4", here / "more" / "blue.mp4")
    (here / "read.me").write_text("no video")
    (here / "broken.mp4").write_bytes(b"no video")
    return here


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """The address of that folder."""
    handler = partial(_Quiet, directory=str(folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/films"
        server.shutdown()


def _indexed(address: str, settings: Settings) -> IndexReport:
    return indexer.index([Path(address)], settings)


def _contents(settings: Settings) -> dict[str, tuple[bytes, float, bytes]]:
    """Hash, duration and vectors of what is shown, by name."""
    with store.open(settings.index) as catalog, catalog.read() as rows:
        return {
            os.fsdecode(video.file.absolute): (
                video.content_sha256, video.duration_s, rows.segments(video.id)[1].tobytes()
            )
            for video in rows.videos() if not video.hidden
        }  # fmt: skip


def test_folder_of_a_web_server_is_indexed_like_one_of_a_disk(
    web: str, folder: Path, toy: Settings, tmp_path: Path
) -> None:
    report = _indexed(web, toy)
    assert (report.added, report.segments) == (3, 3)
    assert [paths.spelled(skip.path) for skip in report.skipped] == [f"{web}/broken.mp4"]
    assert report.left_out == {".me": 1}
    local = Settings(index=tmp_path / "local", model="toy")
    indexer.index([folder], local)
    at_home = {name.replace(str(folder), web): what for name, what in _contents(local).items()}
    assert _contents(toy) == at_home
    assert set(at_home) == {f"{web}/red.mp4", f"{web}/green.mp4", f"{web}/more/blue.mp4"}


@pytest.mark.slow
def test_nodes_of_a_ray_fetch_addresses_themselves(web: str, toy: Settings, tmp_path: Path) -> None:
    _indexed(web, toy)
    on_ray = replace(toy, index=tmp_path / "on-ray", runner="ray")
    assert _indexed(web, on_ray).added == 3
    assert _contents(on_ray) == _contents(toy)


def test_web_server_is_asked_again_only_for_what_changed(web: str, folder: Path, videos: Path, toy: Settings) -> None:
    _indexed(web, toy)
    shutil.copyfile(videos / "cyan.mp4", folder / "red.mp4")
    os.utime(folder / "red.mp4", (1e9, 1e9))
    (folder / "green.mp4").unlink()
    report = _indexed(web, toy)
    assert (report.added, report.updated, report.unchanged, report.removed) == (0, 1, 1, 1)
    assert set(_contents(toy)) == {f"{web}/red.mp4", f"{web}/more/blue.mp4"}


def test_excluded_address_is_not_gone(web: str, toy: Settings) -> None:
    _indexed(web, toy)
    report = indexer.index([Path(web)], toy, exclude=["more"], prune=True)
    assert (report.unchanged, report.removed) == (2, 0)


def test_index_of_a_folder_leaves_addresses_alone(web: str, toy: Settings, videos: Path) -> None:
    _indexed(web, toy)
    report = indexer.index([videos / "white.mp4"], toy, prune=True)
    assert (report.added, report.removed) == (1, 0)


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_one_address_is_a_hit_and_says_why_it_cannot_be_cut(web: str, toy: Settings, tmp_path: Path) -> None:
    index = ["--index", str(toy.index)]
    assert _run("index", f"{web}/red.mp4", *index, "--model", "toy").exit_code == 0
    (hit,) = json.loads(_run("query", "red", *index, "--json").stdout)["hits"]
    assert hit["path"] == f"{web}/red.mp4"
    assert _run("query", "red", *index, "--format", "paths").stdout == f"{web}/red.mp4\n"
    assert f"{web}/red.mp4" in _run("query", "red", *index, "--path", f"{web}/*").stdout
    cut = _run("query", "red", *index, "--export", str(tmp_path / "cuts"))
    assert f"{web}/red.mp4: it is at an address, and only `cezsar index` fetches videos\n" in cut.stderr
    assert _run("remove", f"{web}/red.mp4", *index).exit_code == 0
    assert _contents(toy) == {}


def test_address_with_nothing_is_one_line(web: str, toy: Settings) -> None:
    result = _run("index", f"{web}/none.mp4", "--index", str(toy.index), "--model", "toy")
    assert result.exit_code == 1
    assert f"cezsar: skipped {web}/none.mp4: there is nothing at this address\n" in result.stderr
    result = _run("index", "http://127.0.0.1:9/none.mp4", "--index", str(toy.index), "--model", "toy")
    assert result.exit_code == 1
    assert re.search(r"127\.0\.0\.1:9/none\.mp4: its address cannot be read \(.*[Cc]onnect", result.stderr)


def test_missing_package_is_one_line_with_the_command(web: str, toy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    result = _run("index", web, "--index", str(toy.index), "--model", "toy")
    said = "cezsar: Addresses with http:// need fsspec and aiohttp: pip install fsspec aiohttp\n"
    assert (result.exit_code, result.stderr) == (1, said)


def test_file_system_that_is_no_web_is_listed(toy: Settings, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setattr(paths, "_ADDRESS", re.compile(rb"(memory):/{1,3}([^/].*)", re.DOTALL))
    memory = fsspec.filesystem("memory")
    for name in ("red", "blue"):
        memory.pipe_file(f"/bucket/{name}.mp4", (videos / f"{name}.mp4").read_bytes())
    memory.pipe_file("/bucketful/cyan.mp4", (videos / "cyan.mp4").read_bytes())
    assert _indexed("memory://bucket", toy).added == 2
    assert set(_contents(toy)) == {"memory://bucket/blue.mp4", "memory://bucket/red.mp4"}
    assert _indexed("memory://bucket", toy).unchanged == 2
    memory.rm("/bucket/red.mp4")
    assert _indexed("memory://bucket", toy).removed == 1


def test_an_address_with_a_name_too_long_for_an_index_is_skipped_by_name(web: str, toy: Settings) -> None:
    report = _indexed(f"{web}/{'x' * 2_000}.mp4", toy)
    assert report.added == 0
    (skip,) = report.skipped
    assert skip.reason == "an address with a name of more than 2,000 bytes is not supported"
