"""What a wheel holds, and what the checkout promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files in a wheel built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "checkout"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(_ROOT, copy, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, copy]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_ships_migrations_objects_vectors_and_class_sentences(wheel_names: set[str]) -> None:
    revisions = {f"cezsar/migrations/versions/{path.name}" for path in (_ROOT / "migrations/versions").glob("*.py")}
    page = {path.relative_to(_ROOT).as_posix() for path in (_ROOT / "cezsar" / "server" / "page").iterdir()}
    assert len(page) > 8
    assert (
        revisions
        | page
        | {
            "cezsar/migrations/env.py",
            "cezsar/migrations/script.py.mako",
            "cezsar/encoders/lite_objects.safetensors",
            "cezsar/encoders/lite/config.json",
            "cezsar/encoders/lite/model.safetensors",
            "cezsar/py.typed",
            "query/sentences/ucf101.json",
            "query/sentences/hmdb51.json",
            "query/sentences/kinetics400.json",
            "query/sentences/kinetics-zsar.json",
            "query/benchmark/lists/ucf101.json",
        }
        <= wheel_names
    )


def test_wheel_ships_every_module_and_no_tests(wheel_names: set[str]) -> None:
    for package in ("cezsar", "indexer", "query"):
        modules = {path.relative_to(_ROOT).as_posix() for path in (_ROOT / package).rglob("*.py")}
        assert modules <= wheel_names
    assert not [name for name in wheel_names if name.startswith(("tests", "benchmarks", "migrations"))]


def test_readme_opens_with_the_two_commands() -> None:
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    assert [line.split("  #")[0].rstrip() for line in blocks[0].splitlines()] == ["make demo", "make test"]
    assert blocks[1] == "pip install .\n"


def test_readme_links_lead_somewhere() -> None:
    for page in (_ROOT / "README.md", *(_ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_public_names_are_there() -> None:
    import cezsar
    import indexer
    import query

    for module in (cezsar, indexer, query):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        cezsar.nothing  # noqa: B018
