"""The names on the way to each video, below its root, so that a path or a name is looked up rather than looked for.

Revision: 0008, after 0007.
"""

from __future__ import annotations

import os
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_ID = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

_VIDEOS = "SELECT id, path FROM videos WHERE id > ? AND typeof(path) = 'blob' ORDER BY id LIMIT 10000"


def upgrade() -> None:
    names = op.create_table(
        "names",
        sa.Column("video_id", _ID, sa.ForeignKey("videos.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.LargeBinary, primary_key=True),
    )
    op.create_index("ix_names_name", "names", ["name", "video_id"])
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return  # no other database's index is so old that it has videos here
    after = 0
    while videos := connection.exec_driver_sql(_VIDEOS, (after,)).fetchall():
        after = videos[-1][0]
        rows = [{"video_id": number, "name": name} for number, path in videos for name in _names(path)]
        connection.execute(sa.insert(names), rows)


def _names(path: bytes) -> set[bytes]:
    shown = path if path.isascii() else os.fsencode(unicodedata.normalize("NFC", os.fsdecode(path)))
    return set(shown.split(b"/"))


def downgrade() -> None:
    op.drop_index("ix_names_name", "names")
    op.drop_table("names")
