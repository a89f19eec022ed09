"""The command line on an index in PostgreSQL: what a folder answers, and one line if the database is in the way."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import databases
import make_catalogs
import psycopg
import pytest
from alembic import command
from click.testing import CliRunner, Result
from make_videos import write_video
from serving import serving
from sqlalchemy import create_engine, text
from test_calibration import SAID

from cezsar import store
from cezsar.cli import cli
from cezsar.location import Database, located
from cezsar.store.names import OF_FOLDER
from cezsar.store.sql.connection import translation

_NUMBERS = itertools.count()


@pytest.fixture
def index(shared_database: str) -> str:
    """Where an index can be made."""
    return f"{shared_database}&schema=cli_{next(_NUMBERS)}"


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """red.mp4, green.mp4, and warm/red-then-blue.mp4."""
    folder = tmp_path_factory.mktemp("colours")
    (folder / "warm").mkdir()
    for name in ("red", "green"):
        write_video(folder / f"{name}.mp4", [(name, 2.0)])
    write_video(folder / "warm" / "red-then-blue.mp4", [("red", 10.0), ("blue", 10.0)])
    return folder


@pytest.fixture
def filled(index: str, colours: Path) -> str:
    """An index of the colours."""
    assert document(run("index", colours, "--index", index, "--model", "toy", "--json"))["added"] == 3
    return index


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache directory of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def one_error(result: Result) -> str:
    """The single line on stderr of a command that exits 1, but for what is said of a password in --index."""
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.stderr.splitlines() if "a password in --index is seen" not in line]
    return line


def execute(location: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run SQL in a location's schema; the last statement's rows."""
    database = located(location)
    assert isinstance(database, Database)
    with psycopg.connect(database.uri, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {database.schema}, public")  # type: ignore[call-overload]
        for statement in statements:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def downgrade(location: str, revision: str) -> None:
    """Bring an index back to a former schema, as its migrations undo themselves."""
    database = located(location)
    assert isinstance(database, Database)
    steps = make_catalogs.config(Path("unused"))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database.uri))
    with engine.begin() as connection:
        connection.execute(text(f"SET search_path TO {database.schema}, public"))
        steps.attributes["connection"] = connection
        command.downgrade(steps, revision)
    engine.dispose()


# Every command


def test_commands_answer_as_with_a_folder(filled: str, colours: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    run("index", colours, "--index", folder, "--model", "toy")
    for words in (
        ("query", "red", "--json"),
        ("query", "blue", "--path", "warm", "--json"),
        ("query", "red", "--not", "blue", "--exact", "--top-k", "1", "--json"),
        ("query", "--like", colours / "green.mp4", "--json"),
        ("query", "red", "--path", "nothing", "--json"),
        ("classify", colours, "--labels", "red,green,blue", "--json"),
        ("db", "current", "--json"),
    ):
        assert document(run(*words, "--index", filled)) == document(run(*words, "--index", folder)), words
    ours, theirs = (document(run("stats", "--json", "--index", where)) for where in (filled, folder))
    for name in ("index", "bytes", "cache"):
        assert ours.pop(name) != theirs.pop(name)
    assert ours == theirs
    for words in (("verify",), ("query", "red", "--format", "csv"), ("db", "upgrade")):
        assert run(*words, "--index", filled).stdout == run(*words, "--index", folder).stdout


def test_index_by_the_environment_and_again_and_with_prune(
    index: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEZSAR_INDEX", index)
    videos = shutil.copytree(colours, tmp_path / "videos")
    first = document(run("index", videos, "--model", "toy", "--json"))
    assert (first["index"], first["added"], first["segments"]) == (str(located(index)), 3, 6)
    (videos / "green.mp4").rename(videos / "grass.mp4")
    (videos / "red.mp4").unlink()
    (videos / "broken.mp4").write_bytes(b"no video")
    second = document(run("index", videos, "--prune", "--json"))
    assert {name: second[name] for name in ("added", "moved", "removed", "unchanged")} == {
        "added": 0, "moved": 1, "removed": 1, "unchanged": 1,
    }  # fmt: skip
    assert [skip["path"] for skip in second["skipped"]] == [str(videos / "broken.mp4")]
    third = document(run("index", videos, "--json"))
    assert (third["added"], third["moved"], len(third["skipped"])) == (0, 0, 1)
    assert {hit["path"] for hit in document(run("query", "green", "--json"))["hits"]} == {
        str(videos / "grass.mp4"), str(videos / "warm" / "red-then-blue.mp4"),
    }  # fmt: skip


def test_remove_hides_and_purge_deletes_for_good(filled: str, colours: Path) -> None:
    assert run("remove", colours / "red.mp4", "--index", filled).stdout == "hid 1 video\n"
    assert document(run("stats", "--json", "--index", filled))["hidden_videos"] == 1
    run("reembed", "--window", "6", "--index", filled)
    result = run("remove", "--purge", colours / "warm", "--index", filled)
    assert result.stdout == "purged 1 video\n", result.output
    assert execute(filled, "SELECT path FROM videos ORDER BY 1") == [(b"green.mp4",), (b"red.mp4",)]
    database = located(filled)
    assert isinstance(database, Database)
    assert execute(filled, f"SELECT path FROM {database.schema}_2.videos") == [(b"green.mp4",)]
    assert run("verify", "--index", filled).exit_code == 0
    assert "names no video in the index" in one_error(run("remove", colours / "warm", "--index", filled))


def test_reembed_and_rollback_and_drop_old(filled: str) -> None:
    before = document(run("query", "red", "--json", "--index", filled))
    assert "already" in one_error(run("reembed", "--model", "toy", "--index", filled))
    report = document(run("reembed", "--window", "6", "--json", "--index", filled))
    assert (report["index"], report["videos"]) == (str(located(filled)), 3)
    assert document(run("stats", "--json", "--index", filled))["window_s"] == 6
    assert any("1 kept" in line for line in run("doctor", "--index", filled).stdout.splitlines())
    assert run("reembed", "--rollback", "--index", filled).exit_code == 0
    assert document(run("query", "red", "--json", "--index", filled)) == before
    assert document(run("reembed", "--drop-old", "--json", "--index", filled))["bytes"] > 0
    assert "no older vectors" in one_error(run("reembed", "--rollback", "--index", filled))
    assert document(run("query", "red", "--json", "--index", filled)) == before


def test_doctor_finds_all_well_and_rebuild_has_nothing_to_make(filled: str) -> None:
    findings = {one["what"]: one for one in document(run("doctor", "--json", "--index", filled))}
    assert findings["index"]["found"].endswith(f", of toy, schema {store.REVISION}")
    assert findings["catalog"]["found"] == "3 videos, 6 segments, sound"
    assert findings["cache"]["found"] == "6 vectors in PostgreSQL, exact"
    assert findings["writable"]["found"] == "yes"
    told = run("rebuild", "--index", filled)
    assert told.stdout == "nothing to make anew: 6 vectors in PostgreSQL, exact\n"


def test_calibrate_keeps_its_result_in_the_database(filled: str, tmp_path: Path) -> None:
    rows = []
    for name, sentences in SAID.items():
        for number in range(3):
            write_video(tmp_path / f"{name}{number}.mp4", [(name, 1.0)])
            rows.append(json.dumps({"video": f"{name}{number}.mp4", "sentences": sentences}))
    (tmp_path / "captions.jsonl").write_text("\n".join(rows))
    result = run("calibrate", tmp_path / "captions.jsonl", "--index", filled)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"kept in {located(filled)}"
    hits = document(run("query", "red", "--json", "--index", filled))["hits"]
    assert hits[0]["confidence"] > hits[-1]["confidence"]


def test_benchmark_takes_an_index_in_a_database(filled: str, colours: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    for name in ("red", "green"):
        (clips / name).mkdir(parents=True)
        shutil.copy(colours / f"{name}.mp4", clips / name / "clip.mp4")
    result = run("benchmark", "folder", "--root", clips, "--index", filled, "--out", tmp_path / "out", "--json")
    assert document(result)["model"]["name"] == "toy"
    assert "postgresql:" not in result.output
    for file in (tmp_path / "out").iterdir():
        assert b"postgresql:" not in file.read_bytes()


def test_the_page_searches_a_database_and_follows_a_switch(filled: str, tmp_path: Path) -> None:
    def hits(address: str, path: str) -> Any:
        with urllib.request.urlopen(f"{address}api/v1/{path}", timeout=60) as answer:
            return answer.read()

    with serving(filled, "--no-token") as address:  # type: ignore[arg-type]
        found = json.loads(hits(address, "search?text=red"))["hits"]
        assert [Path(hit["path"]).name for hit in found[:2]] == ["red.mp4", "red-then-blue.mp4"]
        picture = hits(address, f"segments/{found[0]['segment_id']}/thumbnail")
        assert picture[:3] == b"\xff\xd8\xff"
        assert run("reembed", "--window", "6", "--index", filled).exit_code == 0
        assert json.loads(hits(address, "stats"))["window_s"] == 6
    kept = list((tmp_path / "cache" / "cezsar" / "databases").glob("*/media/*.jpg"))
    assert len(kept) == 1


def test_two_schemas_are_two_indexes(shared_database: str, colours: Path) -> None:
    one, other = (f"{shared_database}&schema=two_{name}" for name in ("one", "one_2"))
    run("index", colours / "red.mp4", "--index", one, "--model", "toy")
    run("index", colours / "green.mp4", "--index", other, "--model", "toy")
    assert run("reembed", "--window", "6", "--index", one).exit_code == 0
    assert run("reembed", "--drop-old", "--index", one).exit_code == 0
    assert document(run("stats", "--json", "--index", other))["videos"] == 1
    (hit,) = document(run("query", "green", "--json", "--index", one))["hits"]
    assert Path(hit["path"]).name == "red.mp4"


def test_a_query_on_a_folder_loads_nothing_for_a_database(colours: Path, tmp_path: Path) -> None:
    run("index", colours, "--index", tmp_path / "index", "--model", "toy")
    code = (
        "import sys; from cezsar.query import Searcher; Searcher(sys.argv[1]).search('red'); "
        "print([name for name in ('psycopg', 'sqlalchemy', 'cezsar.store.sql') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "index"], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Bad input


def test_no_server_there() -> None:
    line = one_error(run("query", "red", "--index", "postgresql://ann:s3cret@127.0.0.1:1/videos"))
    assert line.startswith("cezsar: The index in postgresql://ann@127.0.0.1:1/videos is out of reach: ")
    assert "refused" in line
    assert "s3cret" not in line


def test_a_password_on_the_command_line_is_advised_against_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    advice = (
        "cezsar: a password in --index is seen by everybody who lists this machine's processes: "
        "PGPASSWORD or a line in ~/.pgpass keeps it"
    )
    nowhere = "127.0.0.1:1/videos"
    for given in (f"ann:s3cret@{nowhere}", f"ann@{nowhere}?password=s3cret"):
        said = run("stats", "--index", f"postgresql://{given}")
        assert said.stderr.splitlines()[0] == advice
        assert "s3cret" not in said.output
        monkeypatch.setenv("CEZSAR_INDEX", f"postgresql://{given}")  # which its owner alone sees
        assert "is out of reach" in one_error(run("stats"))
    assert "is out of reach" in one_error(run("stats", "--index", f"postgresql://ann@{nowhere}"))


def test_a_database_that_is_not_there(postgres: str) -> None:
    line = one_error(run("query", "red", "--index", databases.location(postgres, "nothing")))
    assert 'database "nothing" does not exist' in line


def test_a_url_without_a_database_and_a_misspelt_parameter(shared_database: str) -> None:
    line = one_error(run("stats", "--index", "postgresql://ann@localhost"))
    assert line == "cezsar: postgresql://ann@localhost names no database: postgresql://USER@HOST/DATABASE."
    line = one_error(run("stats", "--index", f"{shared_database}&shema=sport"))
    assert line.endswith(": shema is no parameter of a PostgreSQL URL, and not schema or vectors, which are CEZSAR's.")
    line = one_error(run("stats", "--index", "postgresql://ann:s3%zzcret@db/videos"))
    assert line == "cezsar: postgresql://ann@db/videos is no URL of PostgreSQL: postgresql://USER@HOST:PORT/DATABASE."
    line = one_error(run("stats", "--index", f"{shared_database}&vectors=milvus://ann:s3cret@db/videos"))
    assert line == (
        "cezsar: vectors= takes milvus://HOST:PORT/NAME; MILVUS_TOKEN, in the environment, has the account."
    )


def test_a_database_without_pgvector(postgres: str, colours: Path) -> None:
    with databases.database(postgres) as location:
        execute(
            location,
            "CREATE ROLE guest LOGIN",
            "GRANT CREATE ON DATABASE " + location.split("/")[3].split("?")[0] + " TO guest",
        )
        guest = location.replace("postgres@", "guest@")
        line = one_error(run("index", colours, "--index", guest, "--model", "toy"))
        assert "has no pgvector: `CREATE EXTENSION vector;` in it, as a superuser, adds it." in line
        execute(location, "DROP OWNED BY guest", "DROP ROLE guest")


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("0008", f"has schema 0008, this CEZSAR needs {store.REVISION}: `cezsar db upgrade --index postgresql://"),
        ("9999", f"has schema 9999, newer than this CEZSAR's {store.REVISION}: `pip install --upgrade cezsar` updates"),
    ],
)
def test_an_older_or_a_newer_schema(filled: str, colours: Path, revision: str, said: str) -> None:
    execute(filled, f"UPDATE alembic_version SET version_num = '{revision}'")
    for words in (("query", "red"), ("index", colours), ("stats",), ("remove", colours)):
        assert said in one_error(run(*words, "--index", filled))


def test_an_older_schema_is_upgraded_in_one_transaction(filled: str) -> None:
    downgrade(filled, "0008")
    assert run("db", "upgrade", "--index", filled).stdout == f"upgraded 0008 -> {store.REVISION}\n"
    assert len(document(run("query", "red", "--json", "--index", filled))["hits"]) == 3


@pytest.fixture
def deep(colours: Path) -> Iterator[Path]:
    """A folder deep below one with random names, so that nothing shortens its path of nearly 4,000 bytes."""
    with tempfile.TemporaryDirectory(prefix="deep") as start:
        draw, path = random.Random(0), Path(start)
        while len(str(path)) < 3_700:
            path /= "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=min(250, 3_900 - len(str(path)))))
        path.mkdir(parents=True)
        shutil.copyfile(colours / "red.mp4", path / "red.mp4")
        (path / "broken.mp4").write_bytes(b"no video")
        yield path


@pytest.mark.parametrize("is_root", [False, True], ids=["below the folder", "the folder"])
def test_a_path_of_almost_4000_bytes_is_a_path_as_any(deep: Path, is_root: bool, index: str, tmp_path: Path) -> None:
    given = deep if is_root else Path(*deep.parts[:3])
    first = document(run("index", given, "--index", index, "--model", "toy", "--json"))
    assert (first["added"], len(first["skipped"])) == (1, 1)
    again = document(run("index", given, "--index", index, "--json"))
    assert (again["added"], again["unchanged"], len(again["skipped"])) == (0, 1, 1)
    for name in (deep, deep / "red.mp4", Path(*deep.parts[:9]), "red.mp4"):
        (hit,) = document(run("query", "red", "--path", name, "--json", "--index", index))["hits"]
        assert hit["path"] == str(deep / "red.mp4")
    assert document(run("query", "red", "--path", f"{deep}x", "--json", "--index", index))["hits"] == []
    assert run("backup", tmp_path / "kept.sqlite", "--index", index).exit_code == 0
    assert run("restore", tmp_path / "kept.sqlite", "--index", f"{index}_again").exit_code == 0
    for place in (index, f"{index}_again"):
        assert document(run("remove", deep, "--purge", "--json", "--index", place))["removed"] == 1


def test_a_path_is_once_below_its_folder(filled: str) -> None:
    copy = "size, mtime_ns, content_sha256, duration_s, hidden FROM videos"
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(filled, f"INSERT INTO videos (root_id, path, {copy[:-12]}) SELECT root_id, path, {copy}")
    with pytest.raises(psycopg.errors.ExclusionViolation):
        execute(filled, "INSERT INTO roots (path) SELECT path FROM roots")


def test_a_path_and_a_folder_are_looked_up_and_not_looked_for(filled: str) -> None:
    fill = (
        "INSERT INTO videos (root_id, path, size, mtime_ns, content_sha256, duration_s, hidden) "
        "SELECT 1, decode(md5(n::text), 'hex'), 1, 1, '', 1, 0 FROM generate_series(1, 5000) AS n"
    )
    folder = translation(OF_FOLDER).replace("%s", "{}").format(1, *["'ab'::bytea"] * 5)
    plans = [
        " ".join(line for (line,) in execute(filled, *before, f"EXPLAIN {query}"))
        for before, query in (
            ((fill, "ANALYZE videos"), folder),
            ((), "SELECT id FROM videos WHERE root_id = 1 AND path IN ('ab', 'cd')"),
        )
    ]
    assert "Seq Scan" not in "".join(plans)
    assert "ix_videos_folder" in plans[0]
    assert "ix_videos_path" in plans[1]


def test_a_schema_of_somebody_else_s(shared_database: str, colours: Path) -> None:
    execute(f"{shared_database}&schema=books", "CREATE SCHEMA books", "CREATE TABLE books (title TEXT)")
    for words in (("query", "red"), ("index", colours, "--model", "toy")):
        line = one_error(run(*words, "--index", f"{shared_database}&schema=books"))
        assert line.endswith("schema=books holds books, of no index: ?schema=NAME names another.")
    execute(f"{shared_database}&schema=posing", "CREATE SCHEMA posing", "CREATE TABLE index_info (title TEXT)")
    assert "is not a catalog of CEZSAR" in one_error(run("query", "red", "--index", f"{shared_database}&schema=posing"))


@pytest.fixture
def reader(filled: str) -> Iterator[str]:
    """The filled index, for an account that may only SELECT."""
    database = located(filled)
    assert isinstance(database, Database)
    execute(
        filled, "CREATE ROLE reader LOGIN", f"GRANT USAGE ON SCHEMA {database.schema} TO reader",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {database.schema} TO reader",
    )  # fmt: skip
    yield filled.replace("postgres@", "reader@")
    execute(filled, "DROP OWNED BY reader", "DROP ROLE reader")


def test_an_account_that_may_only_select_searches_and_cannot_write(reader: str, filled: str, colours: Path) -> None:
    assert len(document(run("query", "red", "--json", "--index", reader))["hits"]) == 3
    for words in (("stats",), ("verify",), ("index", colours), ("classify", colours, "--labels", "red,blue")):
        assert run(*words, "--index", reader).exit_code == 0, words
    for words in (("remove", colours), ("reembed", "--window", "6"), ("rebuild",)):
        line = one_error(run(*words, "--index", reader))
        assert line.endswith("cannot be written: this account may only read it, or the server is a standby.")
    findings = {one["what"]: one for one in json.loads(run("doctor", "--json", "--index", reader).stdout)}
    assert findings["writable"]["found"] == "no: it can be searched, not changed"
    assert "may not CREATE" in one_error(run("index", colours, "--model", "toy", "--index", f"{reader}_other"))
    run("reembed", "--window", "6", "--index", filled)
    assert document(run("stats", "--json", "--index", reader))["window_s"] == 6


def test_a_wrong_password(tmp_path: Path, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="pg") as folder, databases.server(Path(folder)) as host:
        with psycopg.connect(databases.location(host, "postgres"), autocommit=True) as connection:
            connection.execute("CREATE ROLE ann LOGIN SUPERUSER PASSWORD 's3cret'")
            (rules,) = connection.execute("SHOW hba_file").fetchone() or ("",)
            Path(rules).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        place = f"/postgres?host={quote(host, safe='')}"
        said = run("query", "red", "--index", f"postgresql://ann:wr0ng@{place}")
        assert said.exit_code == 1
        assert 'password authentication failed for user "ann"' in said.stderr.splitlines()[-1]
        assert "wr0ng" not in said.output
        assert "no password supplied" in one_error(run("query", "red", "--index", f"postgresql://ann@{place}"))
        monkeypatch.setenv("PGPASSWORD", "s3cret")
        result = run("index", colours, "--index", f"postgresql://ann@{place}", "--model", "toy")
        assert result.exit_code == 0, result.output
        monkeypatch.delenv("PGPASSWORD")
        passwords = tmp_path / "pgpass"
        passwords.write_text("*:*:*:ann:s3cret\n")
        passwords.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(passwords))
        for url in (f"postgresql://ann@{place}", f"postgresql://ann:s3cret@{place}"):
            result = run("stats", "--json", "--index", url)
            assert document(result)["videos"] == 3
            assert "s3cret" not in result.output


def test_without_the_extra_one_line_says_how_to_add_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['psycopg'] = None; from cezsar.cli import main; main()"
    command = [sys.executable, "-c", code, "query", "red", "--index", "postgresql://db/videos"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", "cezsar: An index in PostgreSQL needs psycopg: `pip install 'cezsar[postgres]'` adds it.\n",
    )  # fmt: skip
