"""Milvus as PyPI's milvus carries it: the real standalone server, 2.3.5, in a folder of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A server, which takes a minute or two to unpack and start; its host and port."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that it leaves open
        from milvus import MilvusServer

        running = MilvusServer()
        running.set_base_dir(str(folder))
        running.start()
    try:
        yield f"{running.server_address}:{running.listen_port}"
    finally:
        running.stop()
