"""Where a video's shots begin, what each shows and how each second looks; and which segments show next to nothing.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_ID = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
_TRUTH = sa.Boolean().with_variant(sa.SmallInteger(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "outlines",
        sa.Column("video_id", _ID, sa.ForeignKey("videos.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("shots", sa.LargeBinary, nullable=False),
        sa.Column("fingerprints", sa.LargeBinary, nullable=False),
    )
    op.add_column("segments", sa.Column("plain", _TRUTH, nullable=True))
    is_so = sa.text("plain = 1")
    op.create_index("ix_segments_plain", "segments", ["id"], sqlite_where=is_so, postgresql_where=is_so)


def downgrade() -> None:
    op.drop_index("ix_segments_plain", "segments")
    op.drop_column("segments", "plain")
    op.drop_table("outlines")
