"""A real `cezsar` that kills itself at a named point: python killable.py POINT NTH SEED PLANTED -- ARGUMENTS.

At the NTH time that it comes to POINT it says so in the file that CEZSAR_TORTURE_HIT names, and sends itself SIGKILL.
PLANTED is a bug that is put in first, or '-'.
"""

from __future__ import annotations

import os
import random
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
    "faiss-write",
    "before-cache",
    "before-stamp",
    "after-stamp",
)
PLANTS = ("split-commit", "early-cache", "lost-delete")
_MIGRATES = ("CREATE TABLE", "CREATE UNIQUE INDEX", "DROP INDEX", "UPDATE alembic_version")


class _Switch:
    """Kills at the nth time that its point is passed."""

    def __init__(self, point: str, nth: int, seed: int) -> None:
        self._point, self._left, self._random = point, nth, random.Random(seed)

    def passes(self, point: str) -> None:
        if point != self._point:
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

    replace = os.replace

    def replacing(source: Any, target: Any, **options: Any) -> None:
        name = Path(target).name
        if name.endswith(".faiss"):
            switch.passes("before-cache")
        if name == "vectors.json":
            switch.passes("before-stamp")
        if name == "catalog.sqlite":
            switch.passes("create")
        replace(source, target, **options)
        if name == "vectors.json":
            switch.passes("after-stamp")
        if name == "catalog.sqlite":
            switch.passes("created")

    os.replace = replacing  # type: ignore[assignment]

    import faiss

    python: Any = faiss
    writer = python.PyCallbackIOWriter

    def writing(write: Callable[[Any], int], size: int) -> Any:
        def once(data: Any) -> int:
            done = write(bytes(data)[: len(data) // 2]) + write(bytes(data)[len(data) // 2 :])
            switch.passes("faiss-write")
            return done

        return writer(once, size)

    python.PyCallbackIOWriter = writing


def _executed(switch: _Switch, statement: str) -> None:
    if statement.startswith(("INSERT INTO segments", "INSERT INTO videos")):
        switch.passes("between-rows")
    if statement.startswith("UPDATE videos SET hidden"):
        switch.passes("prune")
    if statement.lstrip().startswith(_MIGRATES):
        switch.passes("migration")


def plant(bug: str) -> None:
    """Put a bug in."""
    from cezsar import catalog, maintenance
    from cezsar.catalog import writing
    from cezsar.indexer import pipeline

    def split_commit(store: Any, file: Any, row: Any, result: Any) -> None:
        """A video's row first, its segments in a transaction of their own."""
        bare = catalog.Embedding(result.embedding.duration_s, (), (), result.embedding.vectors[:0])
        with store.write() as session:
            video = row.id if row else catalog.add_video(session, file, result.content_sha256, bare)
        with store.write() as session:
            catalog.replace_video(session, video, file, result.content_sha256, result.embedding)

    def early_cache(store: Any, file: Any, row: Any, result: Any) -> None:
        """The cache is swapped before the commit."""
        from cezsar import vectors

        info = store.info
        with store.write() as session:
            if row:
                catalog.replace_video(session, row.id, file, result.content_sha256, result.embedding)
            else:
                catalog.add_video(session, file, result.content_sha256, result.embedding)
            dimension = info.encoder.dimension
            changed: Any = session.connection().connection.driver_connection
            rows = list(catalog.vectors(changed, dimension=dimension))
            place = {"index_id": info.index_id, "generation": catalog.generation(changed)}
            count = sum(len(ids) for ids, _ in rows)
            vectors.build(store.directory, lambda: rows, dimension=dimension, count=count, **place)

    def lost_delete(session: Any, video_ids: Any) -> None:
        """Segments go, and no cache hears of it."""
        from sqlalchemy import delete

        for rows in (writing.SegmentRow, writing.OutlineRow):
            session.execute(delete(rows).where(rows.video_id.in_(video_ids)))

    assert maintenance  # so that what it imports is there before
    if bug == "lost-delete":
        writing._delete_segments = lost_delete
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
