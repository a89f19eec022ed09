"""Clients that leave something undone keep nobody else from being answered."""

from __future__ import annotations

import logging
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import uvicorn
from make_videos import write_video
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cezsar import indexer
from cezsar.server import Access, connections, guard
from cezsar.server.guard import Guard
from cezsar.server.run import _listening, _OnceAMinute, server_of
from cezsar.settings import load

BLOCK, NUM_BLOCKS = b"x" * (1 << 20), 40
WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"
HALVES = {
    "nothing": b"",
    "half a line": b"GET / HT",
    "half a head": WHOLE[:-2],
    "half of the next": WHOLE + WHOLE[:20],
    "half of a pipelined one": WHOLE + WHOLE + WHOLE[:-2],
    "half a TLS hello": b"\x16\x03\x01",
    "a body after its answer": WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Length: 100\r\n\r\nx"),
}


async def blocks() -> AsyncIterator[bytes]:
    """40 MB."""
    for _ in range(NUM_BLOCKS):
        yield BLOCK


@pytest.fixture
def server() -> Iterator[uvicorn.Server]:
    """One that answers at /, sends much at /big, much at once at /tail, and a body back at /echo."""

    async def short(_: Request) -> Response:
        return PlainTextResponse("here")

    async def echo(request: Request) -> Response:
        return Response(await request.body())

    async def big(_: Request) -> Response:
        return StreamingResponse(blocks())

    async def gone(_: Request, error: Exception) -> Response:
        return PlainTextResponse("nobody reads this")

    async def tail(_: Request) -> Response:
        return Response(BLOCK * NUM_BLOCKS)

    app = Starlette(
        routes=[
            Route("/", short),
            Route("/echo", echo, methods=["POST"]),
            Route("/big", big, methods=["GET", "POST"]),
            Route("/tail", tail),
        ],
        exception_handlers={ClientDisconnect: gone},
    )
    started = threading.Event()
    with _listening("127.0.0.1", 0) as listener:
        made = server_of(Guard(app, access=Access("127.0.0.1", None)), started.set, lambda: None)
        running = threading.Thread(target=made.run, kwargs={"sockets": [listener]})
        running.start()
        assert started.wait(30)
        made.place = listener.getsockname()  # type: ignore[attr-defined]
        yield made
        made.should_exit = True
        running.join(60)
        assert not running.is_alive()


def connected(server: uvicorn.Server, data: bytes = b"") -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    made.settimeout(30)
    made.connect(server.place)  # type: ignore[attr-defined]
    made.sendall(data)
    return made


def rest(one: socket.socket) -> bytes:
    """What comes until the server closes it."""
    received = bytearray()
    with suppress(ConnectionError):
        while data := one.recv(1 << 20):
            received += data
    return bytes(received)


def until(condition: Callable[[], bool]) -> None:
    patience = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.01)


def is_open(one: socket.socket) -> bool:
    """Whether it is answered."""
    answer = b""
    try:
        one.sendall(WHOLE)
        while not answer.endswith(b"here"):
            received = one.recv(1 << 16)
            if not received:
                return False
            answer += received
    except ConnectionError:
        return False
    return answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
def test_half_a_head_is_not_waited_for_for_ever(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    with connected(server, sent) as one:
        if b"\r\n\r\n" in sent:
            time.sleep(0.2)  # so that something comes after the answer
            one.sendall(b"G")
        rest(one)
    until(lambda: not server.server_state.connections)


@pytest.mark.parametrize("sent", [b"", WHOLE], ids=["first", "next"])
def test_a_byte_now_and_then_wins_no_time(server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 1.0)
    with connected(server, sent) as one, pytest.raises(ConnectionError):  # noqa: PT012
        for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 200:
            one.sendall(bytes([byte]))
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        (b"Content-Length: 10\r\n\r\n", []),
        (b"Content-Length: 10\r\n\r\nhalf", []),
        (b"Content-Length: 1000\r\n\r\n", [b"x"] * 100),
        (b"Transfer-Encoding: chunked\r\n\r\n", [b"1\r\nx\r\n"] * 100),
        (b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n", []),
    ],
)
def test_half_a_body_is_not_waited_for_for_ever(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch, head: bytes, pieces: list[bytes]
) -> None:
    monkeypatch.setattr(guard, "BODY_S", 1.0)
    with connected(server, POST + head) as one:
        with suppress(ConnectionError):
            for piece in pieces:
                one.sendall(piece)
                time.sleep(0.1)
                if server.server_state.total_requests:
                    break
        answer = rest(one).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"The body took too long" in answer


def test_a_body_that_takes_its_time_is_answered(server: uvicorn.Server) -> None:
    with connected(server, POST + b"Content-Length: 20\r\nConnection: close\r\n\r\n") as one:
        for _ in range(20):
            one.sendall(b"x")
            time.sleep(0.05)
        assert rest(one).endswith(b"\r\n\r\n" + b"x" * 20)


def test_an_answer_that_has_begun_goes_on_without_the_rest_of_the_body(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.5)
    head = b"Content-Length: 10\r\nConnection: close\r\n\r\n"
    with connected(server, POST.replace(b"/echo", b"/big") + head) as one:
        time.sleep(1.5)
        assert len(rest(one)) > len(BLOCK) * NUM_BLOCKS
    assert caplog.text == ""


@pytest.mark.parametrize("place", ["/big", "/tail"])
def test_an_answer_that_nobody_takes_is_given_up(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(connections, "STALL_S", 1.0)
    with connected(server, WHOLE.replace(b"/ ", place.encode() + b" ")) as one:
        until(lambda: len(server.server_state.connections) == 1)
        until(lambda: not server.server_state.connections)
        until(lambda: not server.server_state.tasks)
        assert len(rest(one)) < len(BLOCK) * NUM_BLOCKS


@pytest.mark.parametrize("place", ["/big", "/tail"])
def test_a_client_that_pauses_gets_it_whole(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(connections, "STALL_S", 5.0)
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    monkeypatch.setattr(guard, "BODY_S", 0.5)
    with connected(server, WHOLE.replace(b"/ ", place.encode() + b" ")) as one:
        received = 0
        for num_wanted in (10 << 20, 20 << 20):
            time.sleep(3)
            while received < num_wanted:
                received += len(one.recv(1 << 16))
        one.sendall(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert received + len(rest(one)) > len(BLOCK) * NUM_BLOCKS


def test_a_new_connection_takes_the_place_of_the_one_that_waited_longest(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda: 4)
    with ExitStack() as all_of_them:

        def opened(data: bytes = b"") -> socket.socket:
            return all_of_them.enter_context(connected(server, data))

        watching = opened(WHOLE.replace(b"/ ", b"/big "))
        until(lambda: len(server.server_state.tasks) == 1)
        idle = opened()
        assert is_open(idle)
        half = opened(WHOLE[:10])
        body = opened(POST + b"Content-Length: 10\r\n\r\n")
        until(lambda: len(server.server_state.connections) == 4)
        for oldest in (idle, half, body):
            assert is_open(opened())
            assert rest(oldest) == b""
            assert len(server.server_state.connections) == 4
        until(lambda: len(server.server_state.tasks) == 1)
        assert watching.recv(100).startswith(b"HTTP/1.1 200 ")


def test_where_all_are_busy_the_one_that_takes_nothing_goes_and_else_the_new_one(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda: 2)
    with ExitStack() as all_of_them:
        big = WHOLE.replace(b"/ ", b"/big ")
        first, second = (all_of_them.enter_context(connected(server, big)) for _ in range(2))
        until(lambda: len(server.server_state.tasks) == 2)
        assert not is_open(all_of_them.enter_context(connected(server)))
        assert len(server.server_state.tasks) == 2
        monkeypatch.setattr(connections, "_STALLED_S", 2.0)
        time.sleep(3)
        assert is_open(all_of_them.enter_context(connected(server)))
        until(lambda: len(server.server_state.tasks) == 1)
        assert len(rest(first)) < len(BLOCK) * NUM_BLOCKS
        second.sendall(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert len(rest(second)) > len(BLOCK) * NUM_BLOCKS


def test_what_clients_cause_is_told_once_a_minute_with_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = 0.0, []
    monkeypatch.setattr("cezsar.server.run.time.monotonic", lambda: now)
    logger, handler = logging.Logger("one of its own"), logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.addFilter(_OnceAMinute())
    for _ in range(1_235):
        logger.warning("Invalid HTTP request received.")
    logger.error("socket.accept() out of system resource\nsocket: %s", "one")
    logger.error("socket.accept() out of system resource\nsocket: %s", "two")
    now = 61.0
    logger.warning("Invalid HTTP request received.")
    logger.warning("Invalid HTTP request received.")
    now = 122.0
    logger.error("Something else: %d", 5)
    logger.warning("Invalid HTTP request received.")
    now = 183.0
    logger.warning("Invalid HTTP request received.")
    assert told == [
        "Invalid HTTP request received.",
        "socket.accept() out of system resource\nsocket: one",
        "Invalid HTTP request received. (1,234 more of these since the last)",
        "Something else: 5",
        "Invalid HTTP request received. (1 more of these since the last)",
        "Invalid HTTP request received.",
    ]


def test_connections_are_fewer_than_what_the_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, expected in ((256, 85), (1024, 341), (20_000, 512), (resource.RLIM_INFINITY, 512)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert connections.most_connections() == expected


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crowded")
    (folder / "videos").mkdir()
    write_video(folder / "videos" / "red.mp4", [("red", 2.0)])
    indexer.index([folder / "videos"], load(environ={}, index=folder / "index", model="toy"))
    return folder / "index"


@contextmanager
def crowded(index: Path, log: Path, *, most_files: int) -> Iterator[httpx.URL]:
    """The address of a server that may open so many files."""
    script = f'ulimit -n {most_files}; exec "$0" -m cezsar serve --no-token --port 0 --index "$1"'
    command = ["bash", "-c", script, sys.executable, str(index)]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            yield httpx.URL(re.findall(r"http://\S+", process.stdout.readline())[0])
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


LEFT_UNDONE = {
    "half a head": b"GET /api/v1/search?text=red HTTP/1.1\r\nHost: localhost\r\n",
    "nothing": b"",
    "half a body": b"POST /api/v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    b"Content-Type: application/json\r\n\r\n{",
    "idle": b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize(
    ("kind", "num_connections", "most_files"),
    [("half a head", 1_100, 1_024), *((kind, 300, 256) for kind in LEFT_UNDONE)],
)
def test_a_crowd_that_leaves_its_requests_half_done_keeps_nobody_from_searching(
    index: Path, tmp_path: Path, kind: str, num_connections: int, most_files: int
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < num_connections + 100:
        pytest.skip("this process may not open so many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, num_connections + 100), hard))
    try:
        with crowded(index, tmp_path / "log", most_files=most_files) as address, ExitStack() as crowd:
            place = f"{address}api/v1/search?text=red"
            assert httpx.get(place, timeout=30).status_code == 200
            for number in range(num_connections):
                one = crowd.enter_context(socket.create_connection((address.host, address.port), timeout=30))
                with suppress(ConnectionError):
                    one.sendall(LEFT_UNDONE[kind])
                    if kind == "idle":  # until it is answered it is busy, and where all are, a new one is closed
                        one.recv(1 << 16)
                if number % 100 == 99:
                    # less than what a half-sent request is given
                    assert httpx.get(place, timeout=8).json()["hits"][0]["score"] == 1.0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (tmp_path / "log").read_text().count("\n") <= 3
