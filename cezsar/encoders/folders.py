"""Checks of a model's folder before a library opens a file in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cezsar.errors import EncoderError

_READ = (".json", ".txt", ".model", ".jinja", ".safetensors", ".bin")  # what the libraries open
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json")
_MOST_MB = {"config": 16, "table": 512}  # of a config, and of a tokenizer's or an index's table
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def check_folder(folder: Path) -> None:
    """Raise EncoderError if a model's file could not be read to its end: a FIFO, a device, or far too large.

    Its sub-folders, which hold shards and templates, are looked at too, but not what lies deeper. Nothing is opened.
    """
    for entry in _entries(folder):
        path = Path(entry.path)
        if path.suffix not in _READ:
            continue
        try:
            status = entry.stat()
        except OSError as error:
            raise EncoderError(f"{path}, a file of the model, cannot be read: {error.strerror}.") from None
        if not stat.S_ISREG(status.st_mode):
            if stat.S_ISDIR(status.st_mode) and path.name not in _CONFIGS:
                continue
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no file")
            raise EncoderError(f"{path} is {kind}, and not a file of a model: put the model's own file in its place.")
        most_mb = _MOST_MB["config" if path.name in _CONFIGS else "table"]
        if path.suffix not in (".safetensors", ".bin") and status.st_size > most_mb * 1_000_000:
            raise EncoderError(
                f"{path} has {status.st_size / 1e6:,.0f} MB, but a file of a model has at most {most_mb}."
            )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            found = sorted(listing, key=lambda entry: entry.name)
        for inner in [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]:
            with os.scandir(inner) as listing:
                found += [entry for entry in listing if not entry.is_dir()]
    except OSError as error:
        raise EncoderError(f"The model's folder {folder} cannot be read: {error.strerror}.") from None
    return found
