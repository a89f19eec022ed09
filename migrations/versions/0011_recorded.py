"""When a video was recorded, where its file says so.

Revision: 0011, after 0010. Videos of before have none, until they are read again: their file's time stands for it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("videos", sa.Column("recorded_s", sa.Float))


def downgrade() -> None:
    op.drop_column("videos", "recorded_s")
