"""cezsar mcp, asked by the client of the protocol's own package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from make_videos import write_video
from mcp import ClientSession, StdioServerParameters, stdio_client
from test_edit import PAL, read_edl

from cezsar import indexer
from cezsar.settings import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mcp").resolve()
    (made / "videos").mkdir()
    for name in ("red", "green"):
        write_video(made / "videos" / f"{name}.mp4", [(name, 4.0)], fps=25)
    write_video(made / "outside.mp4", [("red", 4.0)])
    indexer.index([made / "videos"], load(environ={}, index=made / "index", model="toy", window_s=4.0, stride_s=4.0))
    return made


@asynccontextmanager
async def session(folder: Path, *options: str) -> AsyncIterator[ClientSession]:
    words = ["-m", "cezsar", "mcp", "--index", str(folder / "index"), *options]
    server = StdioServerParameters(command=sys.executable, args=words)
    async with stdio_client(server) as streams, ClientSession(*streams) as made:
        await made.initialize()
        yield made


def asked(folder: Path, talk: Callable[[ClientSession], Awaitable[Any]], *options: str) -> Any:
    async def run() -> Any:
        with anyio.fail_after(120):
            async with session(folder, *options) as made:
                return await talk(made)

    return anyio.run(run)


async def told(made: ClientSession, tool: str, **arguments: Any) -> Any:
    """A tool's answer: parsed JSON, or the line of its error."""
    answer = await made.call_tool(tool, arguments)
    (content,) = answer.content
    return content.text.removeprefix(f"Error executing tool {tool}: ") if answer.is_error else json.loads(content.text)


def test_an_agent_searches_looks_and_classifies(folder: Path) -> None:
    async def talk(made: ClientSession) -> None:
        offered = (await made.list_tools()).tools
        assert [tool.name for tool in offered] == ["search", "classify", "thumbnail"]
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in offered)
        found = await told(made, "search", text="red", k=2)
        assert [Path(hit["path"]).name for hit in found["hits"]] == ["red.mp4", "green.mp4"]
        picture = await made.call_tool("thumbnail", {"segment_id": found["hits"][0]["segment_id"]})
        assert picture.content[0].mime_type == "image/jpeg"
        paths = [str(folder / "videos" / f"{name}.mp4") for name in ("green", "red")]
        labels = await told(made, "classify", paths=paths, labels=["red", "green"], k=1)
        assert [video["predictions"][0]["label"] for video in labels["videos"]] == ["green", "red"]

    asked(folder, talk)


def test_what_lies_outside_of_the_index_is_refused(folder: Path) -> None:
    async def talk(made: ClientSession) -> None:
        for path in (str(folder / "outside.mp4"), "/etc/passwd", "a\0b"):
            line = await told(made, "classify", paths=[path], labels=["red"])
            assert line.replace("\\x00", "\0") == f"The index holds no video {path} (hit 1)."
        assert await told(made, "thumbnail", segment_id=99_999) == "There is no segment 99999 (hit 1)."
        assert "k" in await told(made, "search", text="red", k=0)
        assert "empty" in await told(made, "search", text="​")
        assert "Unknown tool" in await told(made, "export", hits=[{"segment_id": 1}], format="csv")

    asked(folder, talk)


def test_an_agent_exports_into_the_folder_that_was_allowed_alone(folder: Path, tmp_path: Path) -> None:
    async def talk(made: ClientSession) -> None:
        (one,) = [tool for tool in (await made.list_tools()).tools if tool.name == "export"]
        assert one.annotations is not None
        assert not one.annotations.read_only_hint
        red = str(folder / "videos" / "red.mp4")
        made_files = await told(made, "export", hits=[{"path": red, "start_s": 1, "end_s": 2}], format="edl")
        out = tmp_path / "out"
        assert made_files == {"files": [str(out / "hits.edl"), str(out / "hits-markers.edl")], "notices": []}
        assert read_edl((out / "hits.edl").read_text(), PAL) == [("red.mp4", 25, 50)]
        outside = await told(made, "export", hits=[{"path": "/etc/passwd", "start_s": 0, "end_s": 1}], format="m3u")
        assert outside == "The index holds no video /etc/passwd (hit 1)."

    asked(folder, talk, "--allow-export", str(tmp_path / "out"))


def test_an_index_that_is_missing_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cezsar", "mcp", "--index", str(tmp_path / "none")]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("cezsar: No index in ")
    assert len(ended.stderr.splitlines()) == 1
