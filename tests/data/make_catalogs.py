"""Golden catalogs, one a schema revision: python tests/data/make_catalogs.py 0003 makes catalogs/0003.sqlite, once.

Alembic makes the schema, up to that revision and no further, and plain SQL the rows: no golden comes of another one.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
from alembic import command
from alembic.config import Config
from sqlalchemy import URL

from cezsar import migrations
from cezsar.encoders.toy import COLOURS, Toy

CATALOGS = Path(__file__).parent / "catalogs"
ROOT = b"/videos"
# id, path, hidden
VIDEOS = ((1, b"red.mp4", 0), (2, b"green.mp4", 0), (3, b"bl\xfce.mp4", 1))
# id, video, start and end in seconds, run, colour; 3 was deleted
SEGMENTS = (
    (1, 1, 0.0, 8.0, 0, "red"),
    (2, 1, 4.0, 12.0, 0, "red"),
    (4, 2, 0.0, 8.0, 0, "green"),
    (5, 3, 0.0, 8.0, 0, "blue"),
    (6, 3, 4.0, 9.5, 1, "magenta"),
)
DELETED = ((3, 3),)  # segment, generation
FAILURES = ((b"/videos/br\xffken.mp4", 7, 1_700_000_000_000_000_001, "PyAV 14.0.0", "no video stream"),)


def migrate(path: Path, revision: str) -> None:
    """Bring the database at path up to revision; a new file gets its schema."""
    command.upgrade(config(path), revision)


def config(path: Path) -> Config:
    """Alembic's settings for the database at path."""
    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__file__).parent))
    made.attributes["url"] = URL.create("sqlite", database=str(path))
    return made


def write_catalog(path: Path, revision: str) -> Path:
    """Write the golden catalog of a revision; returns path."""
    migrate(path, revision)
    identity = Toy.identity
    info = (1, "0" * 32, identity.name, identity.weights_sha256, identity.dimension, identity.streams, 2.0, 8.0, 4.0, 4)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO index_info VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", info)
        database.execute("INSERT INTO roots VALUES (1, ?)", (ROOT,))
        for video_id, name, hidden in VIDEOS:
            duration_s = max(end_s for _, video, _, end_s, _, _ in SEGMENTS if video == video_id)
            columns = "id, root_id, path, size, mtime_ns, content_sha256, duration_s, hidden"
            row = (video_id, 1, name, 1000 + video_id, 1_700_000_000_123_456_789, hashlib.sha256(name).digest())
            sql = f"INSERT INTO videos ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            database.execute(sql, (*row, duration_s, hidden))
        for *row, colour in SEGMENTS:
            database.execute(
                "INSERT INTO segments (id, video_id, start_s, end_s, run, vector) VALUES (?, ?, ?, ?, ?, ?)",
                (*row, vector(colour)),
            )
        if revision >= "0002":
            database.executemany("INSERT INTO deleted_segments VALUES (?, ?)", DELETED)
        if revision >= "0003":
            database.executemany(
                "INSERT INTO failures (path, size, mtime_ns, decoder, reason) VALUES (?, ?, ?, ?, ?)", FAILURES
            )
        if revision >= "0005":
            database.execute("UPDATE segments SET best_s = start_s + 1.5 WHERE id != 2")
        if revision >= "0006":
            database.execute("UPDATE videos SET inode = 100 + id, ctime_ns = mtime_ns + 1, stream = 1 WHERE id != 2")
            database.execute("UPDATE failures SET inode = 7, ctime_ns = mtime_ns + 1")
        if revision >= "0007":
            database.execute("UPDATE segments SET plain = (id = 6) WHERE id != 5")
            shots = [
                struct.pack("<d16s", start_s, bytes([170] * 16)) for start_s in (0, 9)
            ]  # of one and the same thing
            database.execute("INSERT INTO outlines VALUES (1, ?, ?)", (b"".join(shots), bytes(range(96))))
        if revision >= "0008":
            database.executemany("INSERT INTO names VALUES (?, ?)", [(number, name) for number, name, _ in VIDEOS])
        if revision >= "0009":
            database.execute("INSERT INTO calibrations VALUES (1, 4, ?)", (b'{"version": 0}',))  # of another version
        if revision >= "0011":
            database.execute("UPDATE videos SET recorded_s = 1600000000.5 WHERE id = 1")
    return path


def vector(colour: str) -> bytes:
    """What the toy encoder makes of one colour, as the catalog keeps it."""
    return (np.array(list(COLOURS)) == colour).astype("<f4").tobytes()


if __name__ == "__main__":
    CATALOGS.mkdir(exist_ok=True)
    for revision in sys.argv[1:]:
        golden = CATALOGS / f"{revision}.sqlite"
        if golden.exists():
            sys.exit(f"{golden} is there already; a golden is made once.")
        print(write_catalog(golden, revision))
