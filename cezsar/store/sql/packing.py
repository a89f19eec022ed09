"""pgvector's vectors on their way from and to PostgreSQL: the bytes that SQLite keeps, little-endian float32."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import Connection, pq
from psycopg.adapt import Buffer, Dumper, Loader

from cezsar.errors import IndexDamaged
from cezsar.types import Vectors

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


def layout(dimension: int) -> np.dtype[np.void]:
    """A vector as pgvector's binary format has it."""
    return np.dtype([("dimension", ">u2"), ("unused", ">u2"), ("values", ">f4", (dimension,))])


def read(sent: Sequence[bytes], dimension: int) -> Vectors:
    """What vector_send() gave for some vectors: (N, D). Raises IndexDamaged if one has another dimension."""
    form = layout(dimension)
    if set(map(len, sent)) - {form.itemsize}:
        raise IndexDamaged("Some vectors in the catalog do not have the index's dimension.")
    return np.frombuffer(b"".join(sent), form)["values"].astype(np.float32)


def text(vector: Vectors) -> str:
    """A vector (D,) as an SQL value: what comes of it has the same bits."""
    return f"[{','.join(map(repr, vector.tolist()))}]"
