"""Encoders of installed packages: found by name, recorded, checked, and named where they are broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_videos import write_video

from cezsar import encoders, indexer, store
from cezsar.encoders import sound
from cezsar.encoders.registry import MAKERS
from cezsar.encoders.toy import Toy
from cezsar.errors import EncoderError, IndexMismatch
from cezsar.query import Searcher
from cezsar.settings import Settings, load
from cezsar.types import EncoderIdentity, IndexReport

_TINTS = """
import os
from dataclasses import replace
from cezsar.encoders.toy import Toy

class Tints(Toy):
    '''Eight colours under another name.

    More is not shown.'''

    identity = replace(Toy.identity, name="tints", weights_sha256=os.environ.get("TINTS", "a") * 64)

    def __init__(self, device):
        self.device = device
"""
_BROKEN = """
from cezsar.encoders.toy import Toy

number = 8

def half(device):
    return number

def another(device):
    return Toy()

def raising(device):
    raise KeyError("weights")
"""
# what each name of the broken package says where it is used
_SAYS = {
    "missing": "cannot be imported: No module named 'no_such_module' (ModuleNotFoundError)",
    "absent": "cannot be imported: module 'broken' has no attribute 'absent' (AttributeError)",
    "number": "is registered as broken:number, which cannot be called.",
    "half": "is a int without identity, short_side, encode_frames, encode_segments, encode_texts: no encoder.",
    "raising": "cannot be made: 'weights' (KeyError)",
    "another": "must have an EncoderIdentity of that name and of visual, object, visual_object vectors, not EncoderI",
}


def _package(folder: Path, name: str, module: str, code: str, registered: dict[str, str]) -> Path:
    folder = folder / name
    folder.mkdir(parents=True)
    (folder / f"{module}.py").write_text(code)
    lines = "".join(f'"{key}" = "{value}"\n' for key, value in registered.items())
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "1.2"\nlicense = {{text = "MIT"}}\n'
        f'[tool.setuptools]\npy-modules = ["{module}"]\n[project.entry-points."cezsar.encoders"]\n{lines}'
    )
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed a sound package and a broken one."""
    sources, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("site")
    broken = {name: f"broken:{name}" for name in ("absent", "number", "half", "raising", "another", "lite")}
    broken |= {"missing": "no_such_module:Encoder", "twice": "broken:half", "a/b": "broken:half"}
    packages = [
        _package(sources, "cezsar-tints", "tints", _TINTS, {"tints": "tints:Tints", "twice": "tints:Tints"}),
        _package(sources, "cezsar-broken", "broken", _BROKEN, broken),
    ]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", target, *packages], check=True, capture_output=True)
    return target


def _cezsar(site: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cezsar", *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": str(site), **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for colour in ("red", "blue"):
        write_video(folder / f"{colour}.mp4", [(colour, 1.0)])
    return folder


@pytest.mark.slow
def test_an_encoder_of_a_package_indexes_and_answers_by_its_name(site: Path, colours: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    made = _cezsar(site, "index", colours, "--model", "tints", "--index", index, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["model"] == "tints"
    with store.open(index) as catalog:
        assert catalog.info.encoder == EncoderIdentity("tints", "a" * 64, 8, "visual")

    asked = _cezsar(site, "query", "red", "--index", index, "--json")
    assert [Path(hit["path"]).name for hit in json.loads(asked.stdout)["hits"]] == ["red.mp4", "blue.mp4"]

    other = _cezsar(site, "query", "red", "--index", index, TINTS="b")
    assert other.returncode == 1
    assert other.stderr.startswith("cezsar: The weights of 'tints' are not those that made this index")

    gone = _cezsar(tmp_path, "query", "red", "--index", index)
    assert (gone.returncode, gone.stderr) == (
        1, "cezsar: The index was made with 'tints', an encoder of a package that is not installed here.\n"
    )  # fmt: skip


def test_models_lists_what_packages_register_and_names_what_is_broken(site: Path) -> None:
    told = _cezsar(site, "models", "--json")
    assert told.returncode == 0
    cards = {card["name"]: card for card in json.loads(told.stdout)}
    assert list(cards)[: len(MAKERS) + 3] == [*MAKERS, "another", "half", "raising"]
    assert cards["lite"]["package"] is None
    assert cards["tints"] == {
        "name": "tints", "dimension": None, "licence": "MIT", "weights": "the package cezsar-tints 1.2",
        "advice": "Eight colours under another name.", "version": None, "package": "cezsar-tints",
        "good_for": [], "size": None, "published": None,
    }  # fmt: skip
    assert told.stderr.splitlines() == [
        "cezsar: The encoder 'a/b' of the package cezsar-broken is not used: a name may have letters, digits, '_', '.' "
        "and '-'.",
        f"cezsar: The encoder 'absent' of the package cezsar-broken {_SAYS['absent']}",
        "cezsar: The encoder 'lite' of the package cezsar-broken is not used: CEZSAR has one of that name.",
        f"cezsar: The encoder 'missing' of the package cezsar-broken {_SAYS['missing']}",
        f"cezsar: The encoder 'number' of the package cezsar-broken {_SAYS['number']}",
        "cezsar: cezsar-broken and cezsar-tints both register an encoder 'twice': uninstall all but one.",
    ]
    assert "tints\n  package    cezsar-tints\n  licence    MIT\n" in _cezsar(site, "models").stdout


@pytest.mark.parametrize("name", _SAYS)
def test_a_broken_encoder_is_one_line_where_it_is_used(name: str, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    with pytest.raises(EncoderError) as error:
        encoders.load(name, device="cpu")
    assert str(error.value).startswith(f"The encoder {name!r} of the package cezsar-broken {_SAYS[name]}")
    assert "\n" not in str(error.value)


def test_a_broken_encoder_gives_no_traceback(site: Path, colours: Path, tmp_path: Path) -> None:
    told = _cezsar(site, "index", colours, "--model", "missing", "--index", tmp_path / "index")
    assert told.returncode == 1
    assert told.stderr == f"cezsar: The encoder 'missing' of the package cezsar-broken {_SAYS['missing']}\n"


def test_a_name_of_two_packages_is_neither_s(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    with pytest.raises(EncoderError, match="cezsar-broken and cezsar-tints both register an encoder 'twice'"):
        encoders.canonical("twice")


def test_an_unknown_name_is_answered_with_those_of_packages_too(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    with pytest.raises(EncoderError, match=r"There are: lite, lite-objects, toy, .*absent, another, half, missing, "):
        encoders.canonical("nope")


def test_packages_are_not_asked_for_what_cezsar_has_itself(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr("cezsar.encoders.registry._points", None)
    assert encoders.load_recorded(encoders.load("toy").identity).identity.name == "toy"
    assert encoders.canonical("google/siglip2-base-patch16-224") == "google/siglip2-base-patch16-224"


@pytest.mark.slow
def test_neither_help_nor_a_query_imports_a_package(
    site: Path, colours: Path, index_toy: Callable[..., IndexReport]
) -> None:
    report = index_toy(colours)
    code = (
        "import sys; from cezsar.cli import main\ntry: main()\n"
        "finally: print(sorted({'tints', 'broken'} & set(sys.modules)), file=sys.stderr)"
    )
    for arguments in (["--help"], ["query", "red", "--index", str(report.index)]):
        command = [sys.executable, "-c", code, *arguments]
        told = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=True
        )
        assert told.stderr.endswith("[]\n")


# An Encoder object, from Python


class Shy(Toy):
    """An encoder that no package registers."""

    identity = replace(Toy.identity, name="shy", weights_sha256="c" * 64)


class Wrong(Shy):
    """The same with other weights, whose vectors are of no length that they may have."""

    identity = replace(Shy.identity, weights_sha256="d" * 64)

    def encode_texts(self, *arguments: object) -> np.ndarray:
        return super().encode_texts(*arguments) * 2  # type: ignore[arg-type]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that ask for toy, in whose place the given encoder comes."""
    return load(environ={}, index=tmp_path / "index", model="toy")


def test_an_encoder_object_indexes_and_answers(settings: Settings, colours: Path) -> None:
    report = indexer.index([colours], settings, encoder=Shy())
    assert (report.model, report.added) == ("shy", 2)
    write_video(colours / "green.mp4", [("green", 1.0)])
    assert indexer.index([colours], settings, encoder=Shy()).added == 1
    with Searcher(settings.index, encoder=Shy()) as searcher:
        assert searcher.search("green")[0].path == colours / "green.mp4"


def test_another_encoder_object_than_the_index_s_is_refused(settings: Settings, colours: Path) -> None:
    indexer.index([colours], settings, encoder=Shy())
    with pytest.raises(IndexMismatch, match="The index holds 'shy'; an encoder 'toy' needs one of its own: --index"):
        indexer.index([colours], settings, encoder=Toy())
    with pytest.raises(IndexMismatch, match="The weights of 'shy' are not those that made this index"):
        indexer.index([colours], settings, encoder=Wrong())
    with pytest.raises(IndexMismatch, match="The index holds 'shy'; an encoder 'toy' needs"):
        Searcher(settings.index, encoder=Toy())


def test_vectors_that_are_not_unit_are_refused(settings: Settings, colours: Path) -> None:
    indexer.index([colours], settings, encoder=Wrong())
    with (
        Searcher(settings.index, encoder=Wrong()) as searcher,
        pytest.raises(EncoderError, match=r"'shy' gave vectors of \(1, 8\) that are not 1 unit vectors of 8 dimensi"),
    ):
        searcher.search("red")


@pytest.mark.parametrize(
    "rows", [np.eye(2, 7), np.eye(3, 8), np.ones(8), np.full((2, 8), np.nan), np.full((2, 8), np.inf)]
)
def test_vectors_of_another_shape_or_without_a_length_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(EncoderError, match="that are not 2 unit vectors of 8 dimensions"):
        sound(rows, 2, Toy.identity)


def test_rounding_and_rows_of_zeros_are_let_through() -> None:
    rows = np.array([np.eye(8)[0] * 1.0009, np.zeros(8)], np.float32)
    assert sound(rows, 2, Toy.identity) is rows
    assert sound(rows[:0], 0, Toy.identity).shape == (0, 8)
