"""cezsar doctor: each thing that can be wrong is found, with the command that mends it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from caches import beside_of, data_of, flipped, strike, trained_of
from click.testing import CliRunner
from make_videos import write_video

from cezsar import store
from cezsar.cli import cli
from cezsar.maintenance.doctor import Finding, diagnose
from cezsar.settings import Settings
from cezsar.store.local import cache as vectors
from cezsar.store.local import opening
from cezsar.types import IndexReport, Segment, unit


@pytest.fixture
def index(tmp_path: Path, toy: Settings, index_toy: Callable[..., IndexReport]) -> Path:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "red.mp4", [("red", 0.5)])
    index_toy(tmp_path / "videos")
    return toy.index


def wrong(index: Path, *, model: str = "toy") -> dict[str, Finding]:
    """What is not well, by its name."""
    return {one.what: one for one in diagnose(index, model=model, device="cpu") if not one.is_well}


def test_nothing_is_wrong_with_a_sound_index_and_nothing_changes(index: Path) -> None:
    before = {path.name: path.read_bytes() for path in index.iterdir()}
    assert wrong(index) == {}
    assert {name: (index / name).read_bytes() for name in before} == before  # SQLite adds files of its own


def test_no_index_names_the_command_that_makes_one(tmp_path: Path) -> None:
    found = wrong(tmp_path / "none")["index"]
    assert found.mend == f"cezsar index PATH... --index {tmp_path / 'none'}"


def test_an_older_schema_names_the_upgrade(tmp_path: Path) -> None:
    shutil.copyfile(Path(__file__).parent / "data" / "catalogs" / "0001.sqlite", tmp_path / store.FILE)
    assert wrong(tmp_path)["index"].mend == f"cezsar db upgrade --index {tmp_path}"


def test_a_damaged_catalog_names_the_backup(tmp_path: Path) -> None:
    (tmp_path / store.FILE).write_bytes(b"not a database at all" * 100)
    assert "cezsar restore BACKUP --force" in wrong(tmp_path)["index"].mend


def test_a_damaged_cache_names_the_rebuild(index: Path) -> None:
    (index / "vectors.json").write_text("{")
    assert wrong(index)["cache"].mend == f"cezsar rebuild --index {index}"


@pytest.mark.parametrize("file_of", [data_of, beside_of])
def test_one_bit_of_the_cache_is_noticed_and_a_sound_one_was_compared_whole(
    file_of: Callable[[Path], Path], index: Path
) -> None:
    (sound,) = (one for one in diagnose(index, model="toy", device="cpu") if one.what == "cache")
    assert sound.found == "1 vectors, exact; 0 newer ones read from the catalog; the whole checksum is right"
    strike(file_of(index), flipped(-20))
    assert wrong(index)["cache"].found == (
        "not used: its checksum is not what its stamp says; `cezsar rebuild` makes it anew"
    )


@pytest.mark.parametrize(
    ("file_of", "expected"),
    [
        (data_of, "the cache's checksum is wrong"),
        (beside_of, "not used: its checksum is not what its stamp says; `cezsar rebuild` makes it anew"),
        (trained_of, "not used: its checksum is not what its stamp says; `cezsar rebuild` makes it anew"),
    ],
)
def test_one_bit_of_a_large_cache_is_noticed_too(
    file_of: Callable[[Path], Path], expected: str, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "APPROXIMATE_FROM", 1_000)
    rows = unit(np.random.default_rng(0).normal(size=(1_200, 8)))
    with opening.open_to_write(index) as catalog:
        parts = tuple(Segment(float(i), i + 1.0) for i in range(len(rows)))
        with catalog.transaction() as writer:
            embedding = store.Embedding(1_200.0, parts, tuple(range(len(rows))), rows)
            writer.add_video(store.File(os.fsencode(index.parent), b"a", 1, 1), bytes(32), embedding)
        catalog.rebuild()
    assert wrong(index) == {}
    strike(file_of(index), flipped(-20))
    assert wrong(index)["cache"].found == expected


def test_a_writer_that_was_killed_is_noticed(index: Path) -> None:
    (index / "writer.json").write_text("{}")
    assert set(wrong(index)) == {"last writer"}


def test_a_drive_that_is_not_there_is_named(index: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").rename(tmp_path / "unplugged")
    found = wrong(index)["folder"]
    assert found.found == f"{tmp_path / 'videos'} is not there"


def test_files_that_could_not_be_decoded_are_counted(
    index: Path, tmp_path: Path, index_toy: Callable[..., IndexReport]
) -> None:
    (tmp_path / "videos" / "bad.mp4").write_text("bad")
    index_toy(tmp_path / "videos")
    found = wrong(index)["files"]
    assert found.found.startswith("1 could not be decoded, such as ")
    assert "--retry" in found.mend


def test_a_model_that_does_not_load_is_named(index: Path) -> None:
    assert "There is no encoder 'nope'" in wrong(index, model="nope")["model"].found


def test_a_full_disk_is_noticed(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    assert "0.0 GB free" in wrong(index)["disk"].found


def test_the_page_fits_a_terminal_and_says_how_to_mend(index: Path) -> None:
    sound = CliRunner().invoke(cli, ["doctor", "--index", os.fspath(index)])
    assert sound.exit_code == 0
    assert all(line.startswith(("ok ", " ")) for line in sound.stdout.splitlines())
    (index / "vectors.json").write_text("{")
    found = CliRunner().invoke(cli, ["doctor", "--index", os.fspath(index)])
    assert found.exit_code == 1
    assert f"mend: cezsar rebuild --index {index}" in found.stdout
    document = CliRunner().invoke(cli, ["doctor", "--index", os.fspath(index), "--json"])
    assert '"what": "cache"' in document.stdout
