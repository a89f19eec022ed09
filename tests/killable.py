"""A real `cezsar` that kills itself at a named point: python killable.py POINT NTH SEED PLANTED -- ARGUMENTS.

At the NTH time that it comes to POINT it says so in the file that CEZSAR_TORTURE_HIT names, and sends itself SIGKILL.
PLANTED is a bug that is put in first, or '-'.
"""

from __future__ import annotations

import io
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

POINTS = (
    "before-commit",
    "inside-commit",
    "after-commit",
    "between-rows",
    "prune",
    "migration",
    "create",
    "created",
    "cache-write",
    "before-cache",
    "before-stamp",
    "after-stamp",
    "merge",
    "lists",
)
PLANTS = ("split-commit", "early-cache", "lost-delete")
_CACHE_FILE = re.compile(r"vectors-\d+-[0-9a-f]{8}\.(faiss|npy|ids\.npy|crc32\.npy)")
_MIGRATES = ("CREATE TABLE", "CREATE UNIQUE INDEX", "DROP INDEX", "UPDATE alembic_version")


class _Switch:
    """Kills at the nth time that its point is passed."""

    def __init__(self, point: str, nth: int, seed: int) -> None:
        self.point, self._left, self._random = point, nth, random.Random(seed)

    def passes(self, point: str) -> None:
        if point != self.point:
            return
        self._left -= 1
        if self._left:
            return
        Path(os.environ["CEZSAR_TORTURE_HIT"]).write_text(point)
        if point == "inside-commit":  # the commit goes on beside it
            threading.Thread(target=self._kill, args=(self._random.uniform(0, 0.003),)).start()
        else:
            self._kill(0.0)

    @staticmethod
    def _kill(delay_s: float) -> None:
        time.sleep(delay_s)
        os.kill(os.getpid(), signal.SIGKILL)


def install(switch: _Switch) -> None:
    """Watch every point."""
    event.listen(Engine, "commit", lambda _: (switch.passes("inside-commit"), switch.passes("before-commit")))
    event.listen(Session, "after_commit", lambda _: switch.passes("after-commit"))
    event.listen(Engine, "after_cursor_execute", lambda *args: _executed(switch, args[2]))

    replace, is_merging = os.replace, False

    def replacing(source: Any, target: Any, **options: Any) -> None:
        name = Path(target).name
        if _CACHE_FILE.fullmatch(name):
            switch.passes("before-cache")
        if name == "vectors.json":
            switch.passes("before-stamp")
        if name == "catalog.sqlite":
            switch.passes("create")
        replace(source, target, **options)
        if name == "vectors.json":
            switch.passes("after-stamp")
        if name == "vectors-next.json":
            switch.passes("lists")
        if is_merging and _CACHE_FILE.fullmatch(name):
            switch.passes("merge")
        if name == "catalog.sqlite":
            switch.passes("created")

    os.replace = replacing  # type: ignore[assignment]

    from cezsar.store import rows
    from cezsar.store.local import approximate, cache, keeping, stamp

    small, write_file = cache._small, stamp.write_file

    def merging(*given: Any) -> Any:
        nonlocal is_merging
        found = small(*given)
        is_merging = bool(found)
        return found

    def writing(folder: Path, name: str, write_to: Callable[[Any], object], **named: Any) -> Any:
        def in_two(file: Any) -> None:
            whole = io.BytesIO()
            write_to(whole)
            content = whole.getvalue()
            file.write(content[: len(content) // 2])
            file.flush()
            switch.passes("cache-write")
            file.write(content[len(content) // 2 :])

        return write_file(folder, name, in_two, **named)

    cache._small = merging
    stamp.write_file = approximate.write_file = writing
    if switch.point == "lists":
        lower(cache, keeping, rows)


def lower(cache: Any, keeping: Any, rows: Any) -> None:
    """Have lists made for a small index, in parts."""
    cache.APPROXIMATE_FROM = keeping.APPROXIMATE_FROM = cache._SLICE = 1_000
    rows._CHUNK = 500


def _executed(switch: _Switch, statement: str) -> None:
    if statement.startswith(("INSERT INTO segments", "INSERT INTO videos")):
        switch.passes("between-rows")
    if statement.startswith("UPDATE videos SET hidden"):
        switch.passes("prune")
    if statement.lstrip().startswith(_MIGRATES):
        switch.passes("migration")


def plant(bug: str) -> None:
    """Put a bug in."""
    from cezsar import maintenance, store
    from cezsar.indexer import pipeline
    from cezsar.store import tables
    from cezsar.store.writer import Writer

    def split_commit(catalog: Any, batch: Any) -> None:
        """A video's row first, its segments in a transaction of their own."""
        for file, row, result in batch:
            bare = store.Embedding(result.embedding.duration_s, (), (), result.embedding.vectors[:0])
            with catalog.transaction() as writer:
                video = row.id if row else writer.add_video(file, result.content_sha256, bare)
            with catalog.transaction() as writer:
                writer.replace_video(video, file, result.content_sha256, result.embedding)

    def early_cache(catalog: Any, batch: Any) -> None:
        """The cache is swapped before the commit."""
        from cezsar.store.local.cache import build
        from cezsar.store.local.nearest import Nearest
        from cezsar.store.rows import Rows

        with catalog.transaction() as writer:
            for file, row, result in batch:
                if row:
                    writer.replace_video(row.id, file, result.content_sha256, result.embedding)
                else:
                    writer.add_video(file, result.content_sha256, result.embedding)
            connection = writer._session.connection().connection.driver_connection
            dimension = catalog.info.encoder.dimension
            rows = Rows(connection, dimension, lambda rows: Nearest(rows, catalog._states))
            build(catalog.directory, rows, catalog.info)

    def lost_delete(writer: Any, video_ids: Any) -> None:
        """Segments go, and no cache hears of it."""
        from sqlalchemy import delete

        for rows in (tables.SegmentRow, tables.OutlineRow):
            writer._session.execute(delete(rows).where(rows.video_id.in_(video_ids)))

    assert maintenance  # so that what it imports is there before
    if bug == "lost-delete":
        Writer._delete_segments = lost_delete
    else:
        pipeline._commit = {"split-commit": split_commit, "early-cache": early_cache}[bug]


if __name__ == "__main__":
    point, nth, seed, planted, _, *arguments = sys.argv[1:]
    install(_Switch(point, int(nth), int(seed)))
    if planted != "-":
        plant(planted)
    sys.argv = ["cezsar", *arguments]
    from cezsar.cli import main

    main()
