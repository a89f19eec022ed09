"""A diagnosis of this machine, this installation and this index, with the command that mends each fault."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from cezsar import __version__, encoders, store, video
from cezsar.errors import BadIndex, CezsarError, IndexMissing, IndexOutdated, ServerLost
from cezsar.paths import is_gone
from cezsar.types import Location

_PACKAGES = ("torch", "torchvision", "transformers", "timm", "faiss-gpu", "faiss-cpu", "av", "SQLAlchemy", "alembic")
_OF_TORCH = ("torch", "torchvision", "transformers", "timm")  # a light installation has none of them
_LEAST_FREE = 1 << 30  # bytes
_CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined: its state and, if it is not well, the command that mends it."""

    what: str
    is_well: bool
    found: str
    mend: str = ""


def diagnose(location: Location, *, model: str, device: str) -> Iterator[Finding]:
    """Examine the machine, the installation, and the index at location; nothing is changed."""
    yield from _machine(location, device)
    yield from _installation(model, device)
    yield from _index(location)


def _machine(location: Location, device: str) -> Iterator[Finding]:
    from cezsar.encoders.devices import device_name

    yield Finding("system", True, f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    try:
        yield Finding("device", True, device_name(device))
    except CezsarError as error:
        yield Finding("device", False, str(error), "cezsar index PATH --device auto")
    folder = store.home(location).files()  # of a database the pictures alone take room here
    above = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    free = shutil.disk_usage(above).free
    yield Finding(
        "disk",
        free > _LEAST_FREE,
        f"{free / 1e9:,.1f} GB free at {above}",
        "make room there, or choose another --index",
    )


def _installation(model: str, device: str) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("CEZSAR", True, f"{__version__}, Python {python}")
    installed = {one.name.lower(): one.version for one in distributions() if one.name}
    found = {name: installed[name.lower()] for name in _PACKAGES if name.lower() in installed}
    lacking = [name for name in _PACKAGES if name not in found and not name.startswith("faiss")]
    lacking += [] if any(name.startswith("faiss") for name in found) else ["faiss"]
    told = ", ".join(f"{name} {number}" for name, number in found.items())
    if set(_OF_TORCH) <= set(lacking):
        lacking = [name for name in lacking if name not in _OF_TORCH]
        told += "; a light installation, without torch"
    yield Finding(
        "packages", not lacking, f"lacking {', '.join(lacking)}" if lacking else told, "pip install --upgrade cezsar"
    )
    unknown = [codec for codec in _CODECS if not video.can_decode(codec)]
    told = f"cannot decode {', '.join(unknown)}" if unknown else f"{video.DECODER}: {', '.join(_CODECS)}"
    yield Finding("video", not unknown, told, "pip install --upgrade av")
    try:
        encoder = encoders.load(model, device=device)
        encoder.encode_texts(["a test"])
        yield Finding("model", True, f"{model}, {encoder.identity.dimension}-d, loads")
    except CezsarError as error:
        yield Finding("model", False, str(error), "cezsar models")


def _index(location: Location) -> Iterator[Finding]:
    at = f"--index {location}"
    try:
        revision = store.current(location)
        with store.open(location) as catalog:
            yield Finding("index", True, f"{catalog.place}, of {catalog.info.encoder.name}, schema {revision}")
            yield from _contents(catalog, location)
    except IndexMissing:
        yield Finding("index", False, f"there is none in {location} yet", f"cezsar index PATH... {at}")
    except IndexOutdated as error:
        yield Finding("index", False, str(error), f"cezsar db upgrade {at}")
    except ServerLost as error:
        yield Finding("index", False, str(error), "start its server, or mend what it says of the account")
    except BadIndex as error:
        yield Finding("index", False, str(error), f"cezsar restore BACKUP --force {at}")


def _contents(catalog: store.Catalog, location: Location) -> Iterator[Finding]:
    at = f"--index {location}"
    is_fit, cache = catalog.cache_check()
    with catalog.read() as rows:
        counts, problems = rows.counts(), rows.inconsistencies()
        roots, failures = rows.roots(), rows.failures()
    told = "; ".join(problems) or f"{counts.videos:,} videos, {counts.segments:,} segments, sound"
    yield Finding("catalog", not problems, told, f"cezsar restore BACKUP --force {at}")
    yield Finding("cache", is_fit or not counts.segments, cache, f"cezsar rebuild {at}")
    interrupted = catalog.was_interrupted()
    yield Finding(
        "last writer", not interrupted, "was killed: its cache's checksum is compared" if interrupted else "ended well",
        f"cezsar rebuild {at}",
    )  # fmt: skip
    reason = catalog.why_not_writable()
    yield Finding(
        "writable", reason is None, "yes" if reason is None else "no: it can be searched, not changed", reason or ""
    )
    for root in roots:
        gone = is_gone(root)
        mend = f"mount it again, or cezsar remove {os.fsdecode(root)} {at}"
        yield Finding("folder", not gone, os.fsdecode(root) + (" is not there" if gone else ""), mend)
    if failures:
        told = f"{len(failures):,} could not be decoded, such as {os.fsdecode(failures[0].path)}: {failures[0].reason}"
        yield Finding("files", False, told, f"cezsar index PATH... --retry {at}")
    if others := store.home(location).others():
        yield Finding("older vectors", True, f"{len(others)} kept; cezsar reembed --drop-old deletes them")
