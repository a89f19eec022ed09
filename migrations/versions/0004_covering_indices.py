"""Indices that hold all that a page of hits, and a look for hidden videos, need.

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("ix_segments_run", "segments", ["video_id", "run", "start_s", "end_s"])
    is_so = sa.text("hidden = 1")
    op.create_index("ix_videos_hidden", "videos", ["id"], sqlite_where=is_so, postgresql_where=is_so)


def downgrade() -> None:
    op.drop_index("ix_videos_hidden", "videos")
    op.drop_index("ix_segments_run", "segments")
