"""pgvector's vectors on their way from and to PostgreSQL: the bytes that SQLite keeps, little-endian float32."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import Connection, pq
from psycopg.adapt import Buffer, Dumper, Loader

_HEAD = struct.Struct(">HH")  # the dimension, and nothing


@dataclass(frozen=True, slots=True)
class Packed:
    """A vector to be written: its bytes."""

    data: bytes


class _VectorLoader(Loader):
    format = pq.Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return np.frombuffer(data, ">f4", offset=_HEAD.size).astype("<f4").tobytes()


class _VectorDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        numbers = np.frombuffer(obj.data, "<f4")
        return _HEAD.pack(len(numbers), 0) + numbers.astype(">f4").tobytes()


def register(connection: Connection[Any], oid: int) -> None:
    """Have a connection read and write vectors, whose type has this number in its database."""
    connection.adapters.register_loader(oid, _VectorLoader)
    connection.adapters.register_dumper(Packed, type("Dumper", (_VectorDumper,), {"oid": oid}))
