"""Work off the event loop: so much at once, so much waiting, and nothing twice at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

_LOOK_S = 1.0  # how often it is looked whether somebody still waits

T = TypeVar("T")


class Busy(Exception):
    """As much is waiting as may wait: ask again in a second."""


class Queue:
    """Work done by threads, so much at once; raises Busy where more than most would wait for it, or be done."""

    def __init__(self, threads: int, most: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._turn = asyncio.Semaphore(threads)
        self._most = most
        self._waiting = 0  # or being done; all of these are known to the event loop alone
        self._jobs: dict[Hashable, asyncio.Task[Any]] = {}
        self._askers: dict[Hashable, int] = {}

    async def run(self, work: Callable[[], T]) -> T:
        """What work gives, or raises; the event loop goes on meanwhile."""
        if self._waiting >= self._most:
            raise Busy
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    async def once(self, key: Hashable, work: Callable[[], T], request: Request) -> T:
        """As run; who asks for what is being done already waits for that, and what nobody waits for any more is left.

        Raises ClientDisconnect where this client went away.
        """
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = asyncio.create_task(self.run(work))
            job.add_done_callback(lambda _: self._jobs.pop(key))
        self._askers[key] = self._askers.get(key, 0) + 1
        try:
            while not (await asyncio.wait({job}, timeout=_LOOK_S))[0]:
                if await request.is_disconnected():
                    raise ClientDisconnect
            found: T = job.result()
            return found
        finally:
            self._askers[key] -= 1
            if self._askers[key] == 0:
                del self._askers[key]
                job.cancel()

    def close(self) -> None:
        """Finish what is being done, and drop the rest."""
        self._pool.shutdown(cancel_futures=True)
