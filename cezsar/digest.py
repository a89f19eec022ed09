"""Fingerprints of files."""

from __future__ import annotations

import hashlib
import math
import os


def sha256(path: str | bytes | os.PathLike[str]) -> bytes:
    """The 32-byte SHA-256 of a whole file, read in bounded blocks. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def kept_out(source: str, *, seed: int, share: float) -> bool:
    """Whether footage of this name is kept out of training: the same answer for ever, independent of other footage."""
    digest = hashlib.sha256(f"{seed}:{source}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") < math.ldexp(share, 32)
