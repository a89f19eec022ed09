"""A log of deleted segments, so that a cache built before a deletion can be searched after it.

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ID = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "deleted_segments",
        sa.Column("segment_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("generation", _ID, nullable=False, index=True),
    )


def downgrade() -> None:
    op.drop_table("deleted_segments")
