"""The programs of examples/ run, and say what they should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from make_videos import write_video

_EXAMPLES = Path(__file__).parents[1] / "examples"


def _run(*arguments: object, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(site or "")}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_search_indexes_a_folder_and_prints_hits(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "red.mp4", [("red", 1.0), ("blue", 1.0)])
    (tmp_path / "videos" / "torn.mp4").write_bytes(b"\0" * 99)
    told = _run(_EXAMPLES / "search.py", tmp_path / "videos", "a red wall", tmp_path / "index")
    assert told.returncode == 0, told.stderr
    (line,) = told.stdout.splitlines()
    assert line[5:] == f"  {tmp_path / 'videos' / 'red.mp4'}  0.0-2.0 s"
    assert f"{tmp_path / 'videos' / 'torn.mp4'} cannot be read: " in told.stderr

    assert _run(_EXAMPLES / "search.py").stderr.startswith("Index a folder of videos")
    told = _run(_EXAMPLES / "search.py", tmp_path / "videos", "", tmp_path / "index")
    assert told.stderr.splitlines()[-1] == "The query is empty: say in a few words what should be seen."


@pytest.mark.slow
def test_an_encoder_s_package_is_installed_and_used(tmp_path: Path) -> None:
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    source = tmp_path / "brightness"
    source.mkdir()
    for path in (_EXAMPLES / "brightness").iterdir():
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    installed = _run(*install, tmp_path / "site", source)
    assert installed.returncode == 0, installed.stderr
    (tmp_path / "videos").mkdir()
    for colour in ("black", "white", "yellow"):
        write_video(tmp_path / "videos" / f"{colour}.mp4", [(colour, 1.0)])

    def cezsar(*arguments: object) -> str:
        told = _run("-m", "cezsar", *arguments, site=tmp_path / "site")
        assert told.returncode == 0, told.stderr
        return told.stdout

    (card,) = [card for card in json.loads(cezsar("models", "--json")) if card["package"] == "cezsar-brightness"]
    assert (card["name"], card["advice"]) == ("brightness", "How dark and how bright: two dimensions, no weights.")
    cezsar("index", tmp_path / "videos", "--model", "brightness", "--index", tmp_path / "index")
    for text, expected in (("a dark room", ["black", "yellow", "white"]), ("snow", ["white", "yellow", "black"])):
        hits = json.loads(cezsar("query", text, "--index", tmp_path / "index", "--json"))["hits"]
        assert [Path(hit["path"]).stem for hit in hits] == expected
