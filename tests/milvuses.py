"""Milvus as PyPI's milvus carries it: the real standalone server, 2.3.5, in a folder of its own."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

_PATIENCE_MS = 600_000


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A server, which takes a minute or two to unpack and start; its host and port.

    Two at once may want the same ports: the next one waits until this one has ended.
    """
    with FileLock(Path(tempfile.gettempdir()) / "cezsar-milvus.lock"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that it leaves open
            from milvus import MilvusServer

            running = MilvusServer(wait_for_started=False)
            running.set_base_dir(str(folder))
            running.start()
        try:
            running.wait_started(_PATIENCE_MS)
            yield f"{running.server_address}:{running.listen_port}"
        finally:
            running.stop()
