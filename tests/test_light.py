"""A light installation, without torch: what it does, and what it says of the rest; run in such an environment too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import pytest
import serving

pytestmark = pytest.mark.light

_WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in "torch torchvision transformers timm accelerate sklearn matplotlib".split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
import importlib.util
real = importlib.util.find_spec
def find_spec(name, package=None):
    try:
        return real(name, package)
    except ModuleNotFoundError:
        return None
importlib.util.find_spec = find_spec
from cezsar.cli import main
main()
"""
_IS_LIGHT = not find_spec("torch")


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A command of an installation without torch: of this one, or of one that cannot find it."""
    command = [sys.executable, "-m", "cezsar"] if _IS_LIGHT else [sys.executable, "-c", _WITHOUT]
    return subprocess.run(
        [*command, *map(str, words)],
        env={**os.environ, "CEZSAR_INDEX": str(folder / "index"), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def indexed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an index of `lite` that a light installation made."""
    folder = tmp_path_factory.mktemp("light")
    made = run(folder, "index", videos, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["model"] == "lite"
    assert json.loads(made.stdout)["added"] == len(list(videos.iterdir()))
    return folder


def test_it_finds_and_labels(indexed: Path, videos: Path) -> None:
    found = run(indexed, "query", "a green meadow", "--json")
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["hits"]) == min(10, len(list(videos.iterdir())))
    labelled = run(indexed, "classify", videos, "--labels", "sky,fire", "--json")
    assert labelled.returncode == 0, labelled.stderr
    assert {one["predictions"][0]["label"] for one in json.loads(labelled.stdout)["videos"]} <= {"sky", "fire"}


@pytest.mark.parametrize("command", ["verify", "rebuild", "stats", "models", "db current"])
def test_it_keeps_its_index(indexed: Path, command: str) -> None:
    done = run(indexed, *command.split())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not _IS_LIGHT, reason="torch is installed here")
def test_the_doctor_says_that_it_is_light(indexed: Path) -> None:
    told = run(indexed, "doctor", "--json")
    packages = next(one for one in json.loads(told.stdout) if one["what"] == "packages")
    assert packages["is_well"]
    assert packages["found"].endswith("; a light installation, without torch")


def test_what_needs_torch_names_the_line_that_brings_it(indexed: Path, videos: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.jsonl"
    captions.write_text('{"video": "a.mp4", "sentence": "a dog"}\n')
    for words, said in (
        (("train", captions, "--out", tmp_path / "run"), "`cezsar train` needs "),
        (("index", videos, "--model", "openai/clip-vit-base-patch32", "--index", tmp_path), "This needs torch"),
    ):
        done = run(indexed, *words)
        assert done.returncode == 1
        assert done.stderr.startswith(f"cezsar: {said}")
        assert "which a light installation leaves out: `pip install cezsar` brings " in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not _IS_LIGHT, reason="torch is installed here")
def test_its_server_answers(indexed: Path) -> None:
    with serving.serving(indexed / "index", "--no-token") as address, urlopen(f"{address}api/v1/stats") as answer:
        assert json.load(answer)["model"] == "lite"
