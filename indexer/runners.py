"""Where a run's videos are embedded: by threads of this process, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Protocol

from cezsar.encoders import Encoder
from cezsar.errors import VideoError
from cezsar.indexer.embedding import Embedded, embed_all
from cezsar.settings import Settings
from cezsar.store import File
from cezsar.types import Sampling


class Runner(Protocol):
    """Embeds videos, wherever that is done."""

    def embed(
        self, files: Sequence[File], encoder: Encoder, sampling: Sampling
    ) -> Generator[tuple[File, Embedded | VideoError] | None, None, None]:
        """Each file's result, in any order, each at least once; and None before whatever it has to wait for.

        Closing this early ends the work. Raises EncoderError and RunnerError.
        """


class Threads:
    """Decodes several videos at once, and encodes in the calling thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def embed(
        self, files: Sequence[File], encoder: Encoder, sampling: Sampling
    ) -> Generator[tuple[File, Embedded | VideoError] | None, None, None]:
        """As Runner.embed, and in order."""
        results = embed_all(
            files, encoder, sampling,
            workers=self._settings.workers, batch_size=self._settings.batch_size, limits=self._settings.limits,
        )  # fmt: skip
        with closing(results):  # an interruption ends its threads
            for one in zip(files, results, strict=True):
                yield one
                yield None  # the next one is encoded only when it is asked for


def runner(settings: Settings, *, notice: Callable[[str], None]) -> Runner:
    """The runner of these settings; notice is told what is worth a line."""
    if settings.runner == "threads":
        return Threads(settings)
    from cezsar.indexer.on_ray import OnRay

    return OnRay(settings, notice=notice)
