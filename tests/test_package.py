"""What a wheel holds, and what the checkout promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cezsar.datasets import CLASSES, CLIPS, DATASETS

_ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "checkout"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(_ROOT, copy, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, copy]
    subprocess.run(command, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return zipfile.ZipFile(made)


@pytest.fixture(scope="module")
def wheel_names(wheel: zipfile.ZipFile) -> set[str]:
    """The files in the wheel."""
    return set(wheel.namelist())


def test_wheel_carries_the_licence(wheel: zipfile.ZipFile, wheel_names: set[str]) -> None:
    (licence,) = [name for name in wheel_names if name.endswith(".dist-info/licenses/LICENSE")]
    assert wheel.read(licence) == (_ROOT / "LICENSE").read_bytes()
    of_wordnet = [name for name in wheel_names if name.endswith("wordnet/LICENSE")]
    assert len(of_wordnet) == 2  # among the licences, and beside the dictionary
    assert {wheel.read(name) for name in of_wordnet} == {(_ROOT / "query" / "wordnet" / "LICENSE").read_bytes()}
    (metadata,) = [name for name in wheel_names if name.endswith(".dist-info/METADATA")]
    assert "License: Apache-2.0" in wheel.read(metadata).decode().splitlines()


def test_wheel_asks_for_what_it_imports_itself(wheel: zipfile.ZipFile, wheel_names: set[str]) -> None:
    (metadata,) = [name for name in wheel_names if name.endswith(".dist-info/METADATA")]
    asked = wheel.read(metadata).decode().splitlines()
    assert {"Requires-Dist: jinja2>=3.1", "Requires-Dist: typing-extensions>=4.12"} <= set(asked)


def test_wheel_ships_migrations_objects_vectors_and_class_sentences(wheel_names: set[str]) -> None:
    revisions = {f"cezsar/migrations/versions/{path.name}" for path in (_ROOT / "migrations/versions").glob("*.py")}
    page = {path.relative_to(_ROOT).as_posix() for path in (_ROOT / "cezsar" / "server" / "page").iterdir()}
    assert len(page) > 8
    official = [name for name, one in DATASETS.items() if one.reading in (CLIPS, CLASSES)]
    assert {"ucf101", "hmdb51", "kinetics400", "kinetics-zsar"} <= set(official)
    assert (
        revisions
        | page
        | {
            "cezsar/migrations/env.py",
            "cezsar/migrations/script.py.mako",
            "cezsar/encoders/lite_objects.safetensors",
            "cezsar/encoders/lite/config.json",
            "cezsar/encoders/lite/model.safetensors",
            "cezsar/encoders/lite/bank.safetensors",
            "cezsar/query/wordnet/glosses.zip",
            "cezsar/encoders/lite-1/config.json",
            "cezsar/encoders/lite-1/model.safetensors",
            "cezsar/py.typed",
            "cezsar/query/benchmark/report.html",
        }
        | {f"cezsar/query/sentences/{name}.json" for name in official}
        | {f"cezsar/query/benchmark/lists/{name}.json" for name in official}
        <= wheel_names
    )


def test_wheel_ships_every_module_and_no_tests(wheel_names: set[str]) -> None:
    for folder in ("cezsar", "indexer", "query"):
        package = folder if folder == "cezsar" else f"cezsar/{folder}"
        paths = [path.relative_to(_ROOT / folder).as_posix() for path in (_ROOT / folder).rglob("*.py")]
        assert len(paths) > 5
        assert {f"{package}/{path}" for path in paths} <= wheel_names
    elsewhere = ("tests", "benchmarks", "examples", "tools", "migrations", "indexer", "query")
    assert not [name for name in wheel_names if name.startswith(elsewhere)]


def test_readme_opens_with_the_two_commands() -> None:
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    assert [line.split("  #")[0].rstrip() for line in blocks[0].splitlines()] == ["make demo", "make test"]
    assert blocks[1] == "pip install .\n"


def test_readme_links_lead_somewhere() -> None:
    for page in (_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", *(_ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_and_docs_name_every_dataset_and_protocol() -> None:
    layouts = (_ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split("## Layouts\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in layouts.splitlines() if line.startswith("| `")]
    assert set(re.findall("`([^`]+)`", " ".join(rows))) == set(DATASETS)
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in DATASETS if f"`{name}`" not in readme] == []


def test_public_names_are_there() -> None:
    import cezsar
    from cezsar import indexer, query

    for module in (cezsar, indexer, query):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        cezsar.nothing  # noqa: B018


def _python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_a_query_py_in_the_current_folder_is_not_in_the_way(tmp_path: Path) -> None:
    for name in ("query.py", "indexer.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong one')")
    assert _python("import cezsar.query, cezsar.indexer, cezsar.cli.query", tmp_path).returncode == 0
    command = [sys.executable, "-m", "cezsar", "query", "red", "--index", "nowhere"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr[:16]) == (1, "cezsar: No index")


def test_the_former_names_find_the_same_things_for_one_more_release(tmp_path: Path) -> None:
    code = (
        "import warnings; warnings.simplefilter('error')\nimport cezsar\n"
        "try: import query\nexcept DeprecationWarning as error: print(error)\n"
        "warnings.simplefilter('ignore')\nimport indexer, query; from query.benchmark.run import Request\n"
        "import cezsar.indexer, cezsar.query.benchmark\n"
        "assert query.Searcher is cezsar.query.Searcher and indexer.index is cezsar.indexer.index\n"
        "assert Request is cezsar.query.benchmark.Request\n"
        "try: import query.nothing\nexcept ModuleNotFoundError as error: print(error.name)\n"
    )
    run = _python(code, tmp_path)
    assert run.stderr == ""
    assert run.stdout == ("import cezsar.query, not query: the short name goes with the next release.\nquery.nothing\n")


def test_a_former_name_never_stands_before_what_is_the_user_s(tmp_path: Path) -> None:
    (tmp_path / "query.py").write_text("MINE = True")
    assert _python("import cezsar, query; assert query.MINE", tmp_path).returncode == 0
