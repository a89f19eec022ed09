"""What could not be decoded is remembered; and no segment can be there twice.

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "failures",
        sa.Column("path", sa.LargeBinary, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("decoder", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
    )
    op.create_index("ix_segments_place", "segments", ["video_id", "start_s"], unique=True)
    op.drop_index("ix_segments_video_id", "segments")


def downgrade() -> None:
    op.create_index("ix_segments_video_id", "segments", ["video_id"])
    op.drop_index("ix_segments_place", "segments")
    op.drop_table("failures")
