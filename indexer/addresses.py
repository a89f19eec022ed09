"""Videos at addresses (s3://, http:// and others): listed and fetched; the only door to fsspec."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from cezsar.errors import AddressError, CezsarError, VideoLost
from cezsar.paths import VIDEO_SUFFIXES, address
from cezsar.store import File

_PACKAGES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_SILENCE_S = 60.0  # of a server, after which a video is given up
_BLOCK = 1 << 20
_ODD = re.compile(rb"//|/\.{1,2}(/|$)|::|[?#]")  # a Path changes these, or fsspec reads more in them than a name
_LONGEST_NAME = 2_000  # bytes; a file's has 255, and PostgreSQL's index of names takes 2,704


def listed(start: bytes) -> Iterator[File]:
    """The files at an address, or below it if it is a folder's, in order; size, time and ETag are their identity.

    Raises VideoLost, whose text is the reason, if the address cannot be listed; AddressError if a package is missing.
    """
    system = _system(start)
    with _reasons():
        if _may_be_folder(system, start):
            below = {_url(system, name): info for name, info in system.find(os.fsdecode(start), detail=True).items()}
            if below or not _is_web(start):
                root = start.rstrip(b"/")
                inside = [url for url in sorted(below) if url.startswith(root + b"/")]
                for url in inside:
                    info = below[url] if below[url].get("size") is not None else system.info(os.fsdecode(url))
                    yield _file(root, url[len(root) + 1 :], info)
                return
        root, _, name = start.rpartition(b"/")
        yield _file(root, name, system.info(os.fsdecode(start)))


def now(file: File) -> File:
    """The file as its address has it now. Raises VideoLost; AddressError if a package is missing."""
    system = _system(file.absolute)
    with _reasons():
        return _file(file.root, file.path, system.info(os.fsdecode(file.absolute)))


@contextmanager
def here(file: File) -> Iterator[File]:
    """A file that can be decoded: this one or, if it is at an address, a copy that is deleted at the end.

    Raises VideoLost if it cannot be fetched, or is not the one that was listed; AddressError if a package is missing.
    """
    if not address(file.absolute):
        yield file
        return
    system = _system(file.absolute)
    with tempfile.TemporaryDirectory(prefix="cezsar-") as folder:
        copy = Path(folder, "video")
        with _reasons(), copy.open("wb") as target, system.open(os.fsdecode(file.absolute), "rb") as source:
            size = _copy(source, target, at_most=file.size)
        if size != file.size or now(file) != file:
            raise VideoLost("it changed while it was being read")
        yield File.of(os.fsencode(folder), b"video", copy.stat())


def _copy(source: IO[bytes], target: IO[bytes], *, at_most: int) -> int:
    """How many bytes were copied; one block more than at_most at the most."""
    size = 0
    while size <= at_most and (block := source.read(_BLOCK)):
        target.write(block)
        size += len(block)
    return size


def _system(url: bytes) -> Any:
    """The fsspec file system of an address. Raises AddressError if a package is missing."""
    scheme = os.fsdecode(url).partition(":")[0]
    if _ODD.search(url.partition(b"://")[2]):
        raise VideoLost("an address with '//', '/./', '::', '?' or '#' in its path is not supported")
    if max(map(len, url.split(b"/"))) > _LONGEST_NAME:
        raise VideoLost(f"an address with a name of more than {_LONGEST_NAME:,} bytes is not supported")
    options: dict[str, Any] = {}
    try:
        import fsspec

        if scheme in ("http", "https"):
            from aiohttp import ClientTimeout

            # only silence ends a transfer, however long it takes
            options["client_kwargs"] = {"timeout": ClientTimeout(None, sock_connect=_SILENCE_S, sock_read=_SILENCE_S)}
        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except ImportError:
        package = _PACKAGES.get(scheme)
        raise AddressError(
            f"Addresses with {scheme}:// need {'fsspec and ' + package if package else 'fsspec'}: "
            f"pip install fsspec{' ' + package if package else ''}"
        ) from None


@contextmanager
def _reasons() -> Iterator[None]:
    """What goes wrong with an address as VideoLost: every file system has errors of its own."""
    try:
        yield
    except (CezsarError, MemoryError):
        raise
    except Exception as error:
        cause = error.__cause__ or error  # a web's file system says of everything that it was not found
        if isinstance(error, FileNotFoundError) and (cause is error or getattr(cause, "status", None) in (404, 410)):
            raise VideoLost("there is nothing at this address") from None
        text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        raise VideoLost(f"its address cannot be read ({' '.join(str(text).split())[:200]})") from error


def _may_be_folder(system: Any, start: bytes) -> bool:
    """Whether an address may be a folder's; of the web, everything may that is not called like a video."""
    if _is_web(start):
        return os.path.splitext(os.fsdecode(start))[1].lower() not in VIDEO_SUFFIXES
    return bool(system.info(os.fsdecode(start))["type"] == "directory")


def _is_web(url: bytes) -> bool:
    return url.startswith((b"http:", b"https:"))


def _url(system: Any, name: str) -> bytes:
    """The whole address of what a listing names."""
    found = address(name if "://" in name else system.unstrip_protocol(name))
    return found or os.fsencode(name)


def _file(root: bytes, path: bytes, info: dict[str, Any]) -> File:
    """What a listing says of a file: its ETag stands in for an inode."""
    if info.get("size") is None:
        raise VideoLost("its address does not say how large it is")
    etag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
    inode = int.from_bytes(hashlib.sha256(str(etag).encode()).digest()[:8], "big") >> 1 if etag else None
    return File(root, path, int(info["size"]), _mtime_ns(info), inode)


def _mtime_ns(info: dict[str, Any]) -> int:
    """When a file was last changed, to the second; 0 if that is not said."""
    for key in ("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "created"):
        value = info.get(key)
        if isinstance(value, str) and key == "Last-Modified":
            value = parsedate_to_datetime(value)
        elif isinstance(value, str):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return int(value.timestamp()) * 10**9
        if isinstance(value, (int, float)):
            return int(value) * 10**9
    return 0
