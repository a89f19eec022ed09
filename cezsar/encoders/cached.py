"""Models of the hub that lie on this machine, as the names that load them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CachedRevisionInfo, CacheNotFound, constants, scan_cache_dir

from cezsar.encoders.prefixed import OPEN_CLIP_FILE, ST_FILE

_OF_PICTURES = {"preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"}


@dataclass(frozen=True, slots=True)
class Installed:
    """A model of the hub's cache: the name to give, its family, and how many bytes it takes."""

    name: str
    family: str
    num_bytes: int


def installed() -> list[Installed]:
    """What the hub's cache has that looks like an encoder, by name; nothing is loaded, so it may still be refused."""
    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return []
    return sorted(
        (
            Installed(name, family, revision.size_on_disk)
            for repository in cache.repos
            if repository.repo_type == "model"
            for revision in repository.revisions
            for name, family in _named(repository.repo_id, revision)
        ),
        key=lambda one: one.name,
    )


def _named(repository: str, revision: CachedRevisionInfo) -> Iterator[tuple[str, str]]:
    files = {file.file_name: Path(file.file_path) for file in revision.files}
    if not any(name.endswith(".safetensors") for name in files):
        return
    main = "main" in revision.refs
    name = repository if main else f"{repository}@{min(revision.refs, default=revision.commit_hash)}"
    if OPEN_CLIP_FILE in files:
        yield f"open_clip:{files[OPEN_CLIP_FILE].parent}", "open_clip"
    if ST_FILE in files and _OF_PICTURES & files.keys():
        yield f"st:{name}", "sentence-transformers"
    elif "config.json" in files and (kind := _kind(files["config.json"], pictures=bool(_OF_PICTURES & files.keys()))):
        yield name, kind


def _kind(config: Path, *, pictures: bool) -> str | None:
    """The model's kind by its config; None if it only reads."""
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kind = found.get("model_type") if isinstance(found, dict) else None
    return str(kind) if kind == "cezsar" or (kind and pictures) else None
