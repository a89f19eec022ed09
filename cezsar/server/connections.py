"""Connections that are bounded in time and in number, even if their clients misbehave."""

from __future__ import annotations

import asyncio
import math

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0  # in which the head of a request is there: of the first one from the start, then from its first byte
STALL_S = 600.0  # in which a client takes something of an answer: a person may pause a video
_STALLED_S = 10.0  # after which a connection may be closed for a new one
_MOST = 512


def most_connections() -> int:
    """The most connections that may be open at once.

    Each may need an open file as well, and a third of the files that the process may open is for everything else.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MOST
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if limit == resource.RLIM_INFINITY else min(_MOST, limit // 3)


class Connection(H11Protocol):
    """A connection that ends if no whole request comes, or if the client reads nothing; call look() every second.

    If the most are open, a new one replaces the one that has had no whole request for longest, or else the one whose
    client has read nothing for longest; if all are busy, the new one is closed.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As asyncio calls it."""
        super().connection_made(transport)
        self._idle_since = self._moved = self.loop.time()
        self._deadline = self._idle_since + HEAD_S
        self._num_unsent = 0
        self._is_over = False
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._deadline = math.inf
        elif self._deadline == math.inf:
            self._deadline = self.loop.time() + HEAD_S

    def resume_writing(self) -> None:
        """As asyncio calls it."""
        super().resume_writing()
        self._moved = self.loop.time()

    def on_response_complete(self) -> None:
        """As uvicorn calls it."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def look(self) -> None:
        """Close it if it has taken too long."""
        now = self.loop.time()
        num_unsent = self.transport.get_write_buffer_size()
        if num_unsent < self._num_unsent or num_unsent == 0:
            self._moved = now
        self._num_unsent = num_unsent
        if now > self._deadline or now - self._moved > STALL_S:
            self._end()

    def _is_waiting(self) -> bool:
        """Whether it has no whole request that has yet to be answered."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _should_upgrade(self) -> bool:
        """Never: a request to change to WebSocket or HTTP/2 is answered in HTTP/1.1, without uvicorn's warnings."""
        return False

    def _make_room(self) -> None:
        others = [
            one for one in self.connections if isinstance(one, Connection) and one is not self and not one._is_over
        ]
        most = most_connections()
        if len(others) < most:
            return
        self.logger.warning("%d connections are open, as many as may be: the one that waits longest is closed.", most)
        waiting = [one for one in others if one._is_waiting()]
        stalled = [one for one in others if self.loop.time() - one._moved > _STALLED_S]
        if waiting:
            min(waiting, key=lambda one: one._idle_since)._end()
        else:
            min(stalled, key=lambda one: one._moved, default=self)._end()

    def _end(self) -> None:
        """At once: closing it would wait until the client has taken what it was sent."""
        self._is_over = True
        self.transport.abort()
