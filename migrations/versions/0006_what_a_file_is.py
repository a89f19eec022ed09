"""A file's inode and ctime, since size and mtime outlive a replacement; and which stream of it was taken.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for table in ("videos", "failures"):
        op.add_column(table, sa.Column("inode", sa.BigInteger, nullable=True))
        op.add_column(table, sa.Column("ctime_ns", sa.BigInteger, nullable=True))
    op.add_column("videos", sa.Column("stream", sa.Integer, nullable=True))


def downgrade() -> None:
    op.drop_column("videos", "stream")
    for table in ("failures", "videos"):
        op.drop_column(table, "ctime_ns")
        op.drop_column(table, "inode")
