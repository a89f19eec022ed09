"""The way in which every other room reads videos: a pool of decoders, so that a bad file costs only itself."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Generic, TypeVar

from cezsar.errors import VideoLost
from cezsar.types import Limits
from cezsar.video.decoder import Decoder
from cezsar.video.frames import FrameBatch

Item = TypeVar("Item")
Result = TypeVar("Result")

_BATCHES_AHEAD = 2


class Pool:
    """A number of decoders, each a process of its own. Use as a context manager, from several threads at once.

    limits are those of one video, None the defaults. A process starts when it gets its first work, or all by start().
    """

    def __init__(self, limits: Limits | None = None, *, workers: int = 1) -> None:
        self._decoders = [Decoder(limits or Limits()) for _ in range(workers)]
        self._idle: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._open = ExitStack()

    def __enter__(self) -> Pool:
        for decoder in self._decoders:
            self._open.enter_context(decoder)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def start(self) -> None:
        """Have all processes made ready before there is work; does not wait for them. Nobody may use the pool yet."""
        for decoder in self._decoders:
            decoder.start()

    @contextmanager
    def decoder(self) -> Iterator[Decoder]:
        """A decoder that nobody else has meanwhile; waits until one is idle."""
        decoder = self._idle.get()
        try:
            yield decoder
        finally:
            self._idle.put(decoder)

    def each(
        self, items: Iterable[Item], read: Callable[[Item, Decoder], Generator[FrameBatch, None, Result]]
    ) -> Generator[Reading[Result], None, None]:
        """One Reading per item, in order; each decoder reads one item at a time, a few batches ahead of the caller.

        read runs in a thread: it yields an item's frames, and returns the result. The rest of a reading is given up
        when the next one is taken; closing this early interrupts the pool.
        """
        waiting: deque[Reading[Result]] = deque()
        todo = iter(items)
        with ThreadPoolExecutor(len(self._decoders), thread_name_prefix="decode") as threads:

            def begin(num_items: int) -> None:
                for item in itertools.islice(todo, num_items):
                    reading: Reading[Result] = Reading()
                    reading.future = threads.submit(self._read, item, read, reading)
                    waiting.append(reading)

            try:
                begin(len(self._decoders))
                while waiting:
                    begin(1)  # for the first decoder that is done
                    yield waiting[0]
                    waiting.popleft().is_over.set()
            finally:
                for reading in waiting:
                    reading.is_over.set()
                if waiting:
                    self.interrupt()

    def _read(
        self,
        item: Item,
        read: Callable[[Item, Decoder], Generator[FrameBatch, None, Result]],
        reading: Reading[Result],
    ) -> Result:
        try:
            with self.decoder() as decoder, closing(read(item, decoder)) as batches:
                try:
                    while not reading.is_over.is_set():
                        reading.put(next(batches))
                except StopIteration as end:
                    result: Result = end.value
                    return result
            raise VideoLost("nobody waits for it any more")
        finally:
            reading.put(None)

    def interrupt(self) -> None:
        """Stop the work of every decoder, from any thread; until the pool is entered again none does anything more."""
        for decoder in self._decoders:
            decoder.interrupt()


class Reading(Generic[Result]):
    """A video while it is read: first iterate over its frames, then ask for the result."""

    future: Future[Result]

    def __init__(self) -> None:
        self._batches: queue.Queue[FrameBatch | None] = queue.Queue(_BATCHES_AHEAD)
        self.is_over = threading.Event()

    def __iter__(self) -> Iterator[FrameBatch]:
        while (batch := self._batches.get()) is not None:
            yield batch

    def put(self, batch: FrameBatch | None) -> None:
        """Add the next frames, or None after the last; waits until there is room, or until nobody takes them any
        more."""
        while not self.is_over.is_set():
            with suppress(queue.Full):
                self._batches.put(batch, timeout=0.1)
                return

    def result(self) -> Result:
        """The result, once all frames were taken. Raises the error of the reading, such as VideoError."""
        return self.future.result()
