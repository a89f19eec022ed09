"""An index's own calibration is kept in the catalog; and PostgreSQL notes which of an index's schemas is in use.

Revision: 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_ID = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "calibrations",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("generation", _ID, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_table(
            "spaces",
            sa.Column("space", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("served", sa.BigInteger, nullable=True),
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_table("spaces")
    op.drop_table("calibrations")
