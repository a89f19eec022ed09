"""Listening, and stopping gracefully."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from cezsar import store
from cezsar.errors import CezsarError
from cezsar.server.app import create_app
from cezsar.server.connections import Connection
from cezsar.server.engine import Engine
from cezsar.server.guard import Access
from cezsar.server.media import Media
from cezsar.settings import Settings

_MINUTE_S = 60.0
_PATIENCE_S = 10  # for what is in flight when it is told to stop
# bytes of a request before its body; the guard says what is wrong with those over its own limit
_LONGEST_HEAD = 1 << 18
_MOST_PENDING = 1024  # connections that the system keeps until they are accepted
_MOST_ACCEPTED = 64  # of them at once, before it is looked whether there are too many


def serve(settings: Settings, access: Access, *, port: int, ready: Callable[[list[str]], None]) -> None:
    """Serve until interrupted; ready gets the addresses, this machine's first.

    Raises CezsarError if it cannot listen, BadIndex and EncoderError if the index cannot be searched.
    """
    with (
        _listening(access.host, port) as listener,
        Media(store.home(settings.index).files()) as media,
        Engine(settings.index, device=settings.device) as engine,
        suppress(KeyboardInterrupt),
    ):
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # which the server raises again when it is done
        addresses = [f"http://{name}:{listener.getsockname()[1]}/" for name in _called(access.host)]
        app = create_app(engine, media, access)
        server_of(app, lambda: ready(addresses), media.interrupt).run(sockets=[listener])


def server_of(app: ASGIApp, ready: Callable[[], None], interrupt: Callable[[], None]) -> uvicorn.Server:
    """The server of an application; it calls ready when it listens, and interrupt when it cannot wait any longer."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        backlog=_MOST_ACCEPTED,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE_S,
        timeout_keep_alive=30,
        lifespan="on",
    )
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(_OnceAMinute())
    return _Server(config, ready, interrupt)


def _called(host: str) -> list[str]:
    """What browsers call it by: this machine's, and where host is every address that it has, others'."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host)
    if loopback is not None:
        return [loopback, socket.gethostname()]
    return [f"[{host}]" if ":" in host else host]


class _Server(uvicorn.Server):
    """Says when it listens; and when it stops, ends what takes too long, just before it would be cut off."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], interrupt: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._interrupt = ready, interrupt

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(_MOST_PENDING)  # asyncio took _MOST_ACCEPTED for both
        if self.started:
            self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % 10 == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second Ctrl-C does not wait for what is being made."""
        if self.should_exit:
            self._interrupt()
        super().handle_exit(sig, frame)
        self.force_exit = False

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(_PATIENCE_S - 2, self._interrupt)
        await super().shutdown(sockets)


class _OnceAMinute(logging.Filter):
    """Lets one line of a kind pass a minute, which says how many there were since the last: clients can cause many."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[tuple[str, type | None], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = str(record.msg).partition("\n")[0], record.exc_info[0] if record.exc_info else None
        now = time.monotonic()
        passed, num_kept_back = self._passed.get(kind, (-math.inf, 0))
        if now - passed < _MINUTE_S:
            self._passed[kind] = passed, num_kept_back + 1
            return False
        self._passed[kind] = now, 0
        if num_kept_back:
            record.msg, record.args = f"{record.getMessage()} ({num_kept_back:,} more of these since the last)", ()
        return True


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no name"
        raise CezsarError(f"There is no host {host!r} to listen on ({reason}).") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_MOST_PENDING)
    except OSError as error:
        listener.close()
        raise CezsarError(
            f"The server cannot listen on port {port} of {host} ({error.strerror}): choose another --port, or 0 for a "
            "free one."
        ) from None
    return listener
