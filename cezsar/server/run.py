"""Listening, and stopping gracefully."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from cezsar.errors import CezsarError
from cezsar.server.app import create_app
from cezsar.server.engine import Engine
from cezsar.server.guard import Access
from cezsar.server.media import Media
from cezsar.settings import Settings

_PATIENCE_S = 10  # for what is in flight when it is told to stop
# bytes of a request before its body; the guard says what is wrong with those over its own limit
_LONGEST_HEAD = 1 << 18


def serve(settings: Settings, access: Access, *, port: int, ready: Callable[[list[str]], None]) -> None:
    """Serve until interrupted; ready is told the addresses, this machine's first.

    Raises CezsarError where it cannot listen, BadIndex and EncoderError where the index cannot be searched.
    """
    with (
        _listening(access.host, port) as listener,
        Engine(settings.index, device=settings.device) as engine,
        Media(settings.index) as media,
        suppress(KeyboardInterrupt),
    ):
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # which the server raises again when it is done
        addresses = [f"http://{name}:{listener.getsockname()[1]}/" for name in _called(access.host)]
        config = uvicorn.Config(
            create_app(engine, media, access),
            http="h11",
            h11_max_incomplete_event_size=_LONGEST_HEAD,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_PATIENCE_S,
            timeout_keep_alive=30,
            lifespan="on",
        )
        _Server(config, lambda: ready(addresses), media.interrupt).run(sockets=[listener])


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
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second Ctrl-C does not wait for what is being made."""
        if self.should_exit:
            self._interrupt()
        super().handle_exit(sig, frame)
        self.force_exit = False

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(_PATIENCE_S - 2, self._interrupt)
        await super().shutdown(sockets)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no name"
        raise CezsarError(f"There is no host {host!r} to listen at ({reason}).") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise CezsarError(
            f"Port {port} of {host} cannot be listened at ({error.strerror}): --port takes another one, 0 any."
        ) from None
    return listener
