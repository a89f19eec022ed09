"""The time of the frame that stands for a segment, where one was chosen.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("segments", sa.Column("best_s", sa.Float, nullable=True))


def downgrade() -> None:
    op.drop_column("segments", "best_s")
