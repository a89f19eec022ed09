"""Milvus itself: collections of ids and vectors in lists (IVF_SQ8), and its errors as ours.

pymilvus takes a second to import, and is when something is first asked. The account is the one of MILVUS_TOKEN.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from cezsar.errors import CacheUnusable
from cezsar.types import Ids, Vectors

MOST = 16_384  # of what a search or a look gives; Milvus has no more
_PORT = 19530
_SEARCH_S = 10.0
_CONNECT_S = 5.0
_WORK_S = 600.0  # for what takes longer with more vectors
_REST_S = 30.0  # for which a server that could not be reached is left alone: each search would wait for it
_BYTES = 16 << 20  # sent at once; gRPC takes 64 MB
_UNKNOWN_COLLECTION = 100


class Milvus:
    """The server of a location milvus://HOST:PORT/NAME; NAME is how its collections' names begin."""

    def __init__(self, location: str) -> None:
        parts = urlsplit(location)
        self.name = parts.path.strip("/")
        self.place = parts.netloc if parts.port is not None else f"{parts.netloc}:{_PORT}"
        self._client: Any = None
        self._opening = threading.Lock()
        self._lost = (0.0, "")

    def close(self) -> None:
        """End the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def has(self, collection: str) -> bool:
        """Whether a collection is there."""
        with self._asked(_WORK_S) as client:
            return bool(client.has_collection(collection, timeout=_WORK_S))

    def make(self, collection: str, dimension: int) -> None:
        """Make an empty collection."""
        with self._asked(_WORK_S) as client:
            from pymilvus import DataType

            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
            client.create_collection(collection, schema=schema, timeout=_WORK_S)

    def add(self, collection: str, ids: Ids, vectors: Vectors) -> None:
        """Add (N,) ids and (N, D) vectors; ones that are there already are replaced."""
        step = max(1, _BYTES // max(1, vectors[:1].nbytes))
        with self._asked(_WORK_S) as client:
            for start in range(0, len(ids), step):
                some = slice(start, start + step)
                rows = [
                    {"id": number, "vector": vector}
                    for number, vector in zip(ids[some].tolist(), vectors[some], strict=True)
                ]
                client.upsert(collection, rows, timeout=_WORK_S)

    def remove(self, collection: str, ids: Ids) -> None:
        """Take ids out; ones that are not there are no error."""
        with self._asked(_WORK_S) as client:
            for start in range(0, len(ids), MOST):
                client.delete(collection, ids=ids[start : start + MOST].tolist(), timeout=_WORK_S)

    def keep(self, collection: str) -> None:
        """Have what was added on the server's disk."""
        with self._asked(_WORK_S) as client:
            client.flush(collection, timeout=_WORK_S)

    def arrange(self, collection: str, num_lists: int) -> None:
        """Have a collection's vectors in lists, a set of so many for each of Milvus' own parts, and ready."""
        with self._asked(_WORK_S) as client:
            lists = client.prepare_index_params()
            lists.add_index("vector", index_type="IVF_SQ8", metric_type="IP", params={"nlist": num_lists})
            client.create_index(collection, lists, timeout=_WORK_S)  # and waits until they are made
            client.load_collection(collection, timeout=_WORK_S)

    def search(
        self, collection: str, queries: Vectors, most: int, *, probes: int, is_settled: bool = False
    ) -> list[Ids]:
        """For each of these (Q, D) queries the ids of at most so many near ones, of so many lists.

        What was added in the last few seconds may be missing if is_settled; otherwise the server waits for it.
        """
        level = "Bounded" if is_settled else "Strong"
        with self._asked(_SEARCH_S) as client:
            found = client.search(
                collection,
                data=list(queries),
                limit=most,
                anns_field="vector",
                search_params={"metric_type": "IP", "params": {"nprobe": probes}},
                consistency_level=level,
                timeout=_WORK_S if len(queries) > 1 else _SEARCH_S,
            )
        return [np.array([hit["id"] for hit in hits], np.int64) for hits in found]

    def held(self, collection: str, *, after: int, last: int, dimension: int) -> tuple[Ids, Vectors]:
        """The (N,) ids above one and up to another, ascending, and their (N, D) vectors; MOST of them at most."""
        with self._asked(_WORK_S) as client:
            rows = client.query(
                collection,
                filter=f"id > {after} and id <= {last}",
                output_fields=["id", "vector"],
                limit=MOST,
                consistency_level="Strong",
                timeout=_WORK_S,
            )
        rows = sorted(rows, key=lambda row: int(row["id"]))
        vectors = np.array([row["vector"] for row in rows], np.float32).reshape(-1, dimension)
        return np.array([row["id"] for row in rows], np.int64), vectors

    def drop(self, collection: str) -> None:
        """Delete a collection; one that is not there is no error."""
        with self._asked(_WORK_S) as client:
            client.drop_collection(collection, timeout=_WORK_S)

    @contextmanager
    def _asked(self, timeout_s: float) -> Iterator[Any]:
        """The client. Raises CacheUnusable, at once if the server was out of reach just now and this is a search."""
        until, reason = self._lost
        if timeout_s == _SEARCH_S and time.monotonic() < until:
            raise CacheUnusable(reason)
        errors = _errors()
        try:
            yield self._connected()
        except errors as error:
            told = CacheUnusable(f"Milvus at {self.place}: {_reason(error)}")
            if getattr(error, "code", None) != _UNKNOWN_COLLECTION:
                self._lost = time.monotonic() + _REST_S, str(told)
                self.close()
            raise told from None

    def _connected(self) -> Any:
        from pymilvus import MilvusClient

        with self._opening:
            if self._client is None:
                token = os.environ.get("MILVUS_TOKEN", "")
                self._client = MilvusClient(f"http://{self.place}", token=token, timeout=_CONNECT_S)
            return self._client


def _errors() -> tuple[type[Exception], ...]:
    import grpc
    from pymilvus import MilvusException

    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints a traceback of each error
    return MilvusException, grpc.RpcError, grpc.FutureTimeoutError


def _reason(error: Exception) -> str:
    """What Milvus says, in one line without a full stop, and without the token."""
    told: Sequence[str] = str(getattr(error, "message", "") or error).split()
    reason = " ".join(told).rstrip(".") or type(error).__name__
    token = os.environ.get("MILVUS_TOKEN", "")
    return reason.replace(token, "...") if token else reason
