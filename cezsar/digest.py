"""Fingerprints of files."""

from __future__ import annotations

import hashlib
import os


def sha256(path: str | bytes | os.PathLike[str]) -> bytes:
    """The 32-byte SHA-256 of a whole file, read in bounded blocks. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()
