"""Work off the event loop: so much at once, so much waiting, and nothing twice at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

_LOOK_S = 1.0  # how often it is looked whether somebody still waits

T = TypeVar("T")


class Busy(Exception):
    """The queue is full: ask again in a second."""


@dataclass(eq=False, slots=True)
class _Job:
    """Something that is to be done, how many wait for it, and whether a thread is at it."""

    task: asyncio.Task[Any] | None = None
    num_askers: int = 0
    has_begun: bool = False


class Queue:
    """Work done by threads, a limited number at once; raises Busy if more than `most` would wait or be done.

    Only the event loop touches its state.
    """

    def __init__(self, threads: int, most: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._turn = asyncio.Semaphore(threads)
        self._most = most
        self._waiting = 0  # or being done
        self._jobs: dict[Hashable, _Job] = {}

    async def run(self, work: Callable[[], T]) -> T:
        """The result of work, or its error; the event loop goes on meanwhile."""
        return await self._do(_Job(), work)

    async def once(self, key: Hashable, work: Callable[[], T], request: Request) -> T:
        """As run; equal requests share one piece of work, and work that nobody waits for any more is not begun.

        Raises ClientDisconnect if this client went away.
        """
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job()
            job.task = asyncio.create_task(self._do(job, work))
            job.task.add_done_callback(lambda task: self._forget(key, job, task))
        assert job.task is not None
        job.num_askers += 1
        try:
            while not (await asyncio.wait({job.task}, timeout=_LOOK_S))[0]:
                if await request.is_disconnected():
                    raise ClientDisconnect
            found: T = job.task.result()
            return found
        finally:
            job.num_askers -= 1
            if job.num_askers == 0 and not job.has_begun:
                job.task.cancel()
                self._forget(key, job, job.task)

    def close(self) -> None:
        """Finish what is being done, and drop the rest."""
        self._pool.shutdown(cancel_futures=True)

    async def _do(self, job: _Job, work: Callable[[], T]) -> T:
        if self._waiting >= self._most:
            raise Busy
        self._waiting += 1
        try:
            async with self._turn:
                job.has_begun = True
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def _forget(self, key: Hashable, job: _Job, task: asyncio.Task[Any]) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]
        if task.done() and not task.cancelled():
            task.exception()  # it was told to all who waited
