"""Where an index is: a folder or a database, and what is never shown of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cezsar.errors import LocationError
from cezsar.location import Database, located
from cezsar.settings import load


@pytest.mark.parametrize(
    ("text", "uri", "schema", "shown"),
    [
        ("postgresql://ann@db/videos", "postgresql://ann@db/videos", "cezsar", "postgresql://ann@db/videos"),
        ("postgres://db/videos", "postgresql://db/videos", "cezsar", "postgresql://db/videos"),
        (
            "postgresql://ann@db:5433/videos?schema=sport&sslmode=verify-full",
            "postgresql://ann@db:5433/videos?sslmode=verify-full",
            "sport",
            "postgresql://ann@db:5433/videos?sslmode=verify-full&schema=sport",
        ),
        (
            "postgresql://a:1,b:2/videos?target_session_attrs=read-write",
            "postgresql://a:1,b:2/videos?target_session_attrs=read-write",
            "cezsar",
            "postgresql://a:1,b:2/videos?target_session_attrs=read-write",
        ),
        (
            "postgresql:///videos?host=/run/postgresql",
            "postgresql:///videos?host=/run/postgresql",
            "cezsar",
            "postgresql:///videos?host=/run/postgresql",
        ),
        ("postgresql://?service=films", "postgresql://?service=films", "cezsar", "postgresql://?service=films"),
    ],
)
def test_a_url_names_a_database_and_a_schema_in_it(text: str, uri: str, schema: str, shown: str) -> None:
    found = located(text)
    assert found == Database(uri, schema)
    assert str(found) == shown
    assert load(environ={}, index=text).index == load(environ={"CEZSAR_INDEX": text}).index == found


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ann:s3cret@db/videos",
        "postgresql://ann:s3%63ret@db:1/videos?sslmode=require",
        "postgresql://ann@db/videos?password=s3cret",
        "postgresql://ann@db/videos?%70assword=s3cret&sslpassword=s3cret",
    ],
)
def test_a_password_goes_to_libpq_and_is_never_shown(text: str) -> None:
    found = located(text)
    assert isinstance(found, Database)
    assert "ret" in found.uri
    settings = load(environ={}, index=text)
    for shown in (str(found), repr(found), f"{settings}", repr({"index": found})):
        assert "ret" not in shown
        assert "ann" in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql://ann@db", "postgresql://ann@db names no database: postgresql://USER@HOST/DATABASE."),
        ("postgresql://ann:s3cret@db/", "postgresql://ann@db/ names no database: postgresql://USER@HOST/DATABASE."),
        (
            "mysql://db/videos",
            "There is no store for mysql: locations; an index is a folder, or postgresql://USER@HOST/DATABASE.",
        ),
        (
            "postgresql://db/videos?schema=Drop;",
            "schema=Drop; names no schema for an index: it takes a-z, 0-9 and _, 50 at most, and no pg_ at first.",
        ),
        (
            "postgresql://db/videos?schema=pg_videos",
            "schema=pg_videos names no schema for an index: it takes a-z, 0-9 and _, 50 at most, and no pg_ at first.",
        ),
        (
            Path("postgresql://db/videos"),
            "A database's location has two slashes, and is no Path but a text: postgresql://USER@HOST/DATABASE.",
        ),
    ],
)
def test_a_location_that_names_no_index_is_refused(text: str, said: str) -> None:
    with pytest.raises(LocationError) as error:
        located(text)
    assert str(error.value) == said


def test_all_else_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert located("index") == located(Path("index")) == tmp_path / "index"
    assert located("~/index") == tmp_path / "index"
    assert located("a:b") == tmp_path / "a:b"
    os.mkdir("odd:")
    os.mkdir("odd:/index")
    assert located("odd://index") == tmp_path / "odd:" / "index"


@pytest.mark.parametrize("vectors", ["milvus://db/films", "milvus://10.0.0.2:19530/films", "milvus://[::1]:1/_f2"])
def test_a_url_names_a_cache_of_vectors(vectors: str) -> None:
    found = located(f"postgresql://db/videos?vectors={vectors}")
    assert found == Database("postgresql://db/videos", vectors=vectors)
    assert str(found) == f"postgresql://db/videos?vectors={vectors}"


@pytest.mark.parametrize(
    "vectors", ["faiss://db/films", "milvus://ann:s3cret@db/films", "milvus://db", "milvus://db/a-b", "milvus:db/films"]
)
def test_a_cache_of_vectors_that_cannot_be_is_refused_without_its_text(vectors: str) -> None:
    with pytest.raises(LocationError, match=r"vectors= takes milvus://HOST:PORT/NAME") as raised:
        located(f"postgresql://db/videos?vectors={vectors}")
    assert "s3cret" not in str(raised.value)
