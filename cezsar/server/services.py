"""The services that answer requests, kept as one value by the application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import FastAPI, Request

from cezsar.server.engine import THREADS, Engine
from cezsar.server.media import THREADS as DECODERS
from cezsar.server.media import Media
from cezsar.server.overviews import Overviews
from cezsar.server.queues import Queue


@dataclass(frozen=True, slots=True)
class Services:
    """The index, its media, and a queue for each kind of work.

    So no search waits for a slow drive, no play button for a transcoding, and no health check for a search.
    """

    engine: Engine
    media: Media
    searches: Queue
    files: Queue
    decodings: Queue
    exports: Queue
    probes: Queue
    health: Queue
    overviews: Overviews


@contextmanager
def offered(app: FastAPI, engine: Engine, media: Media, *, most_waiting: int) -> Iterator[None]:
    """Give an application its services; at the end, decoding is interrupted, and waiting work is dropped.

    At most most_waiting wait in each queue.
    """
    threads = {"searches": THREADS, "files": THREADS, "decodings": DECODERS, "exports": 1, "probes": 1, "health": 1}
    queues = {name: Queue(number, most_waiting, name) for name, number in threads.items()}
    app.state.services = Services(engine, media, **queues, overviews=Overviews())
    yield
    media.interrupt()
    for queue in queues.values():
        queue.close()


def services(request: Request) -> Services:
    """The services of the application that was asked."""
    found: Services = request.app.state.services
    return found
