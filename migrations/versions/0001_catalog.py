"""Roots, videos, segments and their vectors.

Revision: 0001, the first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import UserDefinedType

revision = "0001"
down_revision = None

_ID = sa.Integer().with_variant(sa.BigInteger(), "postgresql")  # SQLite's AUTOINCREMENT wants INTEGER, of 64 bits there
_TRUTH = sa.Boolean().with_variant(sa.SmallInteger(), "postgresql")


class _Vector(UserDefinedType[bytes]):
    """pgvector's; making an index gives it a dimension."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "vector"


def upgrade() -> None:
    op.create_table(
        "index_info",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("index_id", sa.String(32), nullable=False),
        sa.Column("encoder", sa.String, nullable=False),
        sa.Column("weights_sha256", sa.String(64), nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("streams", sa.String, nullable=False),
        sa.Column("fps", sa.Float, nullable=False),
        sa.Column("window_s", sa.Float, nullable=False),
        sa.Column("stride_s", sa.Float, nullable=False),
        sa.Column("generation", _ID, nullable=False),
    )
    op.create_table(
        "roots",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("path", sa.LargeBinary, nullable=False, unique=True),
    )
    op.create_table(
        "videos",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("root_id", _ID, sa.ForeignKey("roots.id"), nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("hidden", _TRUTH, nullable=False),
        sa.UniqueConstraint("root_id", "path"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "segments",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("video_id", _ID, sa.ForeignKey("videos.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("start_s", sa.Float, nullable=False),
        sa.Column("end_s", sa.Float, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("vector", sa.LargeBinary().with_variant(_Vector(), "postgresql"), nullable=False),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    for table in ("segments", "videos", "roots", "index_info"):
        op.drop_table(table)
