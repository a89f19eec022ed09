"""The index behind the server: opened once, searched by several threads, opened anew when another takes its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager

import numpy as np

from cezsar import encoders
from cezsar.encoders import Banked, Encoder
from cezsar.query import Searcher
from cezsar.types import EncoderIdentity, Location, Vectors

THREADS = 8  # that search at once
_MANY_TEXTS = 64  # that one encodes together: nobody waits for all of somebody else's


class Engine:
    """Searches one index for many at once. Use as a context manager.

    The text encoder stays loaded, and encodes the texts of several threads together. Raises BadIndex at the start if
    there is no index that can serve, and later from using() if it has gone.
    """

    def __init__(self, location: Location, *, device: str) -> None:
        self._location, self._device = location, device
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._encoder: _Together | None = None

    def __enter__(self) -> Engine:
        with self.using() as searcher:
            searcher.encode(["a person waves"])  # loads what the first question would wait for
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.leave()

    @contextmanager
    def using(self) -> Iterator[Searcher]:
        """A searcher over the current index. Raises BadIndex, EncoderError."""
        opened = self._current()
        try:
            yield opened.searcher
        finally:
            with self._lock:
                opened.leave()

    def _current(self) -> _Opened:
        with self._lock:
            if self._opened is None or not self._opened.searcher.is_current():
                with ExitStack() as if_it_fails:
                    searcher = Searcher(self._location, device=self._device, cores=1)
                    if_it_fails.callback(searcher.__exit__)
                    searcher.encoder = self._encoder_of(searcher.info.encoder)
                    if_it_fails.pop_all()
                if self._opened is not None:
                    self._opened.leave()
                self._opened = _Opened(searcher)
            self._opened.users += 1
            return self._opened

    def _encoder_of(self, identity: EncoderIdentity) -> Encoder:
        if self._encoder is None or self._encoder.identity != identity:
            self._encoder = _Together(encoders.load_recorded(identity, device=self._device))
        return self._encoder


class _Opened:
    """A searcher and those that use it; closed when the last one, the engine among them, has left."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher
        self.users = 1

    def leave(self) -> None:
        self.users -= 1
        if self.users == 0:
            self.searcher.__exit__()


class _Together:
    """An encoder whose texts are encoded together: those of all threads that came while it was at work."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.identity, self.short_side = encoder.identity, encoder.short_side
        self.encode_frames, self.encode_segments = encoder.encode_frames, encoder.encode_segments
        self._asked: list[tuple[Sequence[str], Future[Vectors]]] = []
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """As Encoder.encode_texts."""
        lots = [texts[start : start + _MANY_TEXTS] for start in range(0, len(texts), _MANY_TEXTS)]
        return np.concatenate([self._in_turn(lot) for lot in lots])

    def bank(self) -> Vectors | None:
        """As Banked.bank."""
        return self._encoder.bank() if isinstance(self._encoder, Banked) else None

    def _in_turn(self, texts: Sequence[str]) -> Vectors:
        """With what other threads ask for meanwhile."""
        future: Future[Vectors] = Future()
        with self._lock:
            self._asked.append((texts, future))
        with self._turn:
            if not future.done():  # or another thread had its turn, and did this one's too
                with self._lock:
                    asked, self._asked = self._asked, []
                self._answer(asked)
        return future.result()

    def _answer(self, asked: Sequence[tuple[Sequence[str], Future[Vectors]]]) -> None:
        try:
            rows = self._encoder.encode_texts([text for texts, _ in asked for text in texts])
        except Exception as error:  # noqa: BLE001  # is raised where it was asked for
            if len(asked) == 1:
                asked[0][1].set_exception(error)
                return
            for one in asked:  # the others are not to blame
                self._answer([one])
            return
        start = 0
        for texts, future in asked:
            future.set_result(rows[start : start + len(texts)])
            start += len(texts)
