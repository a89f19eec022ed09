"""The schema's revisions: each one's golden catalog is upgraded and then used."""

from __future__ import annotations

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import make_catalogs
import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from cezsar import maintenance, migrations, store
from cezsar.encoders.toy import Toy
from cezsar.errors import BadIndex, IndexOutdated
from cezsar.query import Searcher
from cezsar.store.local import opening
from cezsar.store.tables import Base
from cezsar.types import Sampling, Segment

VERSIONS = Path(migrations.__file__).parent / "versions"
SCRIPTS = ScriptDirectory(str(VERSIONS.parent))
CHAIN = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]
RED, GREEN = Path("/videos/red.mp4"), Path("/videos/green.mp4")


def golden(revision: str, folder: Path) -> Path:
    """An index folder with a copy of this revision's golden catalog; fails where there is none."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(make_catalogs.CATALOGS / f"{revision}.sqlite", folder / store.FILE)
    return folder


def rows(database: sqlite3.Connection, query: str) -> list[tuple[object, ...]]:
    return database.execute(query).fetchall()


def named(database: sqlite3.Connection, name: str) -> str:
    """A table's columns, as a SELECT names them."""
    return ", ".join(str(column[1]) for column in rows(database, f"PRAGMA table_info({name})"))


def schema(path: Path) -> dict[str, object]:
    """Each table's columns, indexes and foreign keys, and whether its ids are used once only."""
    with closing(sqlite3.connect(path)) as database:
        return {
            str(name): (
                "AUTOINCREMENT" in str(sql),
                rows(database, f"PRAGMA table_info({name})"),
                sorted(
                    (*index[1:4], *rows(database, f"PRAGMA index_info({index[1]})"))
                    for index in rows(database, f"PRAGMA index_list({name})")
                ),
                rows(database, f"PRAGMA foreign_key_list({name})"),
            )
            for name, sql in rows(database, "SELECT name, sql FROM sqlite_master WHERE type = 'table'")
            if not str(name).startswith("sqlite_")
        }


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as database:
        return {name: sorted(rows(database, f"SELECT * FROM {name}")) for name in schema(path)}


# golden catalogs


@pytest.mark.parametrize("revision", CHAIN)
def test_golden_catalog_is_upgraded_and_then_serves(revision: str, tmp_path: Path) -> None:
    index = golden(revision, tmp_path)
    assert store.current(index) == revision
    assert store.upgrade(index) == revision
    assert store.current(index) == store.REVISION

    with store.open(index) as catalog, catalog.read() as rows:
        assert catalog.info == store.Info("0" * 32, Toy.identity, Sampling(2.0, 8.0, 4.0))
        ids, vectors = rows.tail(after=0)
        assert ids.tolist() == [1, 2, 4]
        np.testing.assert_array_equal(vectors, Toy().encode_texts(["red", "red", "green"]))
        assert rows.counts() == store.Counts(videos=2, segments=3, duration_s=20.0, hidden_videos=1)
        assert [video.file.path for video in rows.videos()] == [b"red.mp4", b"green.mp4", b"bl\xfce.mp4"]
        first = rows.part(1)
        assert first == (1, 1, 0.0, 8.0, 1.5 if revision >= "0005" else None)

    with Searcher(index) as searcher:
        hits = searcher.search("red")
    assert [(hit.path, hit.score, hit.start_s, hit.end_s) for hit in hits] == [(RED, 1, 0, 12), (GREEN, 0, 0, 8)]

    blue = store.Embedding(2.0, (Segment(0.0, 2.0),), (0,), Toy().encode_texts(["blue"]))
    with opening.open_to_write(index) as catalog:
        with catalog.transaction() as writer:
            writer.add_video(store.File(b"/videos", b"new.mp4", 1, 2), b"\0" * 32, blue)
        with catalog.read() as rows:
            assert rows.tail(after=0)[0].tolist()[-1] == 7
        assert catalog.rebuild().count == 6
        assert maintenance.verify(catalog).problems == ()


@pytest.mark.parametrize("revision", CHAIN[:-1])
def test_older_catalog_is_refused_until_it_is_upgraded(revision: str, tmp_path: Path) -> None:
    index = golden(revision, tmp_path)
    with pytest.raises(IndexOutdated, match=f"schema {revision}.*`cezsar db upgrade --index"):
        store.open(index)
    store.upgrade(index)
    with store.open(index) as catalog:
        assert catalog.info.encoder == Toy.identity


@pytest.mark.parametrize("revision", CHAIN[:-1])
def test_upgrade_keeps_every_row(revision: str, tmp_path: Path) -> None:
    index = golden(revision, tmp_path)
    before = contents(index / store.FILE)
    with closing(sqlite3.connect(index / store.FILE)) as database:
        columns = {name: named(database, name) for name in before}
    store.upgrade(index)
    with closing(sqlite3.connect(index / store.FILE)) as database:  # which may have more columns now
        after = {name: sorted(rows(database, f"SELECT {of} FROM {name}")) for name, of in columns.items()}
    assert after.pop("alembic_version") == [(store.REVISION,)]
    assert before.pop("alembic_version") == [(revision,)]
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("revision", CHAIN)
def test_golden_catalog_is_what_its_revision_makes(revision: str, tmp_path: Path) -> None:
    committed = golden(revision, tmp_path / "committed") / store.FILE
    made = make_catalogs.write_catalog(tmp_path / "made.sqlite", revision)
    assert schema(committed) == schema(made)
    assert contents(committed) == contents(made)


def test_every_revision_has_a_golden_catalog_and_every_golden_a_revision() -> None:
    assert len(CHAIN) == len([path for path in VERSIONS.glob("*.py") if path.name != "__init__.py"])
    assert sorted(path.name for path in make_catalogs.CATALOGS.iterdir()) == [f"{name}.sqlite" for name in CHAIN]


# revisions


def test_code_uses_the_newest_revision_and_there_is_one_newest() -> None:
    assert SCRIPTS.get_heads() == [store.REVISION]


def test_revisions_sort_in_their_order() -> None:
    assert sorted(CHAIN) == CHAIN  # "older" and "newer" compare the names


def test_models_and_migrations_describe_the_same_schema(tmp_path: Path) -> None:
    make_catalogs.migrate(tmp_path / "made.sqlite", "head")
    engine = create_engine(f"sqlite:///{tmp_path / 'made.sqlite'}")
    with engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    assert difference == []


def test_ids_of_videos_and_segments_are_used_once_by_models_and_migrations_alike(tmp_path: Path) -> None:
    make_catalogs.migrate(tmp_path / "migrated.sqlite", "head")
    engine = create_engine(f"sqlite:///{tmp_path / 'modelled.sqlite'}")
    Base.metadata.create_all(engine)
    engine.dispose()
    for name in ("migrated", "modelled"):
        with closing(sqlite3.connect(tmp_path / f"{name}.sqlite")) as database:
            found = rows(database, "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%' ORDER BY name")
        assert found == [("segments",), ("videos",)]


@pytest.mark.parametrize("number", range(len(CHAIN)), ids=CHAIN)
def test_downgrade_undoes_its_upgrade(number: int, tmp_path: Path) -> None:
    there_and_back, before = tmp_path / "back.sqlite", tmp_path / "before.sqlite"
    make_catalogs.migrate(there_and_back, CHAIN[number])
    command.downgrade(make_catalogs.config(there_and_back), CHAIN[number - 1] if number else "base")
    if number:
        make_catalogs.migrate(before, CHAIN[number - 1])
        assert schema(there_and_back) == schema(before)
    else:
        assert list(schema(there_and_back)) == ["alembic_version"]


@pytest.mark.parametrize("path", sorted(VERSIONS.glob("*.py")), ids=lambda path: path.name)
def test_revision_imports_nothing_of_ours(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level or (node.module or "").partition(".")[0])
    assert imported <= {"alembic", "sqlalchemy", *sys.stdlib_module_names}


# upgrading


@pytest.mark.parametrize(
    "obstacle",
    [
        "CREATE TABLE deleted_segments (segment_id INTEGER, generation INTEGER)",  # the first statement fails
        # one of the last, after tables were made
        "CREATE INDEX ix_segments_run ON segments (video_id, run, start_s, end_s)",
    ],
)
def test_interrupted_upgrade_leaves_the_catalog_at_its_old_revision(obstacle: str, tmp_path: Path) -> None:
    index = golden("0001", tmp_path)
    with closing(sqlite3.connect(index / store.FILE)) as database, database:
        database.execute(obstacle)
    before = schema(index / store.FILE), contents(index / store.FILE)
    with pytest.raises(BadIndex, match="already exists"):
        store.upgrade(index)
    assert store.current(index) == "0001"
    assert (schema(index / store.FILE), contents(index / store.FILE)) == before


def test_upgrade_of_the_newest_changes_nothing(tmp_path: Path) -> None:
    index = golden(store.REVISION, tmp_path)
    before = (index / store.FILE).read_bytes()
    assert store.upgrade(index) == store.REVISION
    assert (index / store.FILE).read_bytes() == before


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_alembic_upgrades_from_a_checkout(by: str, tmp_path: Path) -> None:
    index = golden("0001", tmp_path)
    words, environment = ["-x", f"index={index}"], dict(os.environ)
    if by == "environment":
        words, environment["CEZSAR_INDEX"] = [], str(index)
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", "setup.cfg", *words, "upgrade", "head"],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert store.current(index) == store.REVISION
