"""The outline of a video, beside its segments: its shots, and how each of its seconds looks; at most 1 kB per
minute."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cezsar.errors import IndexDamaged
from cezsar.types import Vectors

CODE_BYTES = 16  # of what a shot shows
FINGERPRINT_BYTES = 8  # of a second
_SHOT = np.dtype([("start_s", "<f8"), ("code", "u1", (CODE_BYTES,))])
_BYTES_A_MINUTE = 1_000
# the mean of |x| of a normal variable: what a sign says of a projection of length 1
_MEAN_OF_A_PROJECTION = math.sqrt(2 / math.pi)


@dataclass(frozen=True, slots=True)
class Outline:
    """A video's shots and the fingerprints of its seconds.

    edges_s (S + 1,) float64 says when each shot begins, from 0 up, and when the last one ends, which is the video's
    end; codes (S, 16) uint8 what each shows (coded).
    fingerprints (N, 8) int8 are of the seconds from 0, 1, 2 ... to the next, as cezsar.indexer.fingerprints makes them.
    """

    edges_s: NDArray[np.float64]
    codes: NDArray[np.uint8]
    fingerprints: NDArray[np.int8]


def most_shots(duration_s: float) -> int:
    """How many shots may be kept of a video, beside the fingerprints of its seconds: 1 kB for each minute begun."""
    minutes = math.ceil(max(duration_s, 1.0) / 60)
    return (minutes * _BYTES_A_MINUTE - math.ceil(duration_s) * FINGERPRINT_BYTES) // _SHOT.itemsize


def coded(vectors: Vectors) -> NDArray[np.uint8]:
    """(N, D) vectors -> (N, 16) uint8: on which side of 128 planes each lies (Charikar, STOC 2002)."""
    return np.packbits(vectors @ _planes(vectors.shape[1]) > 0, axis=1)


def similarities(codes: NDArray[np.uint8], direction: Vectors) -> NDArray[np.float32]:
    """Approximate cosine similarities (N,) of coded vectors (N, 16) and a unit vector (D,), good to 0.1 or so."""
    signs = np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
    return np.asarray((signs * (direction @ _planes(len(direction)))).mean(axis=1) / _MEAN_OF_A_PROJECTION, np.float32)


def likeness(codes: NDArray[np.uint8], code: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Approximate cosine similarities (N,) of coded vectors (N, 16) and one coded vector (16,)."""
    different = np.unpackbits(codes ^ code, axis=1).mean(axis=1)
    return np.asarray(np.cos(np.pi * different), np.float64)


def packed(outline: Outline) -> tuple[bytes, bytes]:
    """As the catalog keeps it: shots and fingerprints."""
    shots = np.empty(len(outline.codes), _SHOT)
    shots["start_s"], shots["code"] = outline.edges_s[:-1], outline.codes
    return shots.tobytes(), outline.fingerprints.tobytes()


def unpacked(shots: object, fingerprints: object, duration_s: object) -> Outline:
    """The outline that was packed. Raises IndexDamaged if the data cannot be one."""
    damaged = IndexDamaged("Some outlines of videos in the catalog cannot be: `cezsar verify` says more.")
    if not (isinstance(shots, bytes) and isinstance(fingerprints, bytes) and isinstance(duration_s, float) and shots):
        raise damaged
    if len(shots) % _SHOT.itemsize or len(fingerprints) % FINGERPRINT_BYTES:
        raise damaged
    rows = np.frombuffer(shots, _SHOT)
    edges_s = np.append(rows["start_s"], duration_s)
    with np.errstate(invalid="ignore"):
        is_sound = edges_s[0] == 0 and np.isfinite(edges_s).all() and (np.diff(edges_s) > 0).all()
    if not is_sound:
        raise damaged
    return Outline(edges_s, rows["code"], np.frombuffer(fingerprints, np.int8).reshape(-1, FINGERPRINT_BYTES))


@lru_cache(maxsize=4)
def _planes(dimension: int) -> NDArray[np.float32]:
    """(D, 128) of -1 and 1: always the same ones, whatever NumPy's generators become."""
    drawn = hashlib.shake_256(b"cezsar outlines").digest(dimension * CODE_BYTES)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(dimension, 8 * CODE_BYTES)
    return bits.astype(np.float32) * 2 - 1
