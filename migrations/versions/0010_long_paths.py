"""Paths of any length in PostgreSQL, whose B-trees take values of up to 2,704 bytes: digests keep them apart.

Revision: 0010, after 0009. SQLite has no such limit, and stays as it is.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.drop_constraint("roots_path_key", "roots")
    op.drop_constraint("videos_root_id_path_key", "videos")
    op.drop_constraint("failures_pkey", "failures")
    op.execute("ALTER TABLE roots ADD CONSTRAINT roots_path_once EXCLUDE USING hash (path WITH =)")
    op.execute("ALTER TABLE failures ADD CONSTRAINT failures_path_once EXCLUDE USING hash (path WITH =)")
    op.execute("CREATE UNIQUE INDEX ix_videos_path_once ON videos (root_id, sha256(path))")
    op.execute("CREATE INDEX ix_videos_path ON videos USING hash (path)")  # one of them is looked up
    op.execute("CREATE INDEX ix_videos_folder ON videos (root_id, substr(path, 1, 1000))")  # what lies in a folder


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for name in ("ix_videos_folder", "ix_videos_path", "ix_videos_path_once"):
        op.drop_index(name, "videos")
    op.drop_constraint("failures_path_once", "failures")
    op.drop_constraint("roots_path_once", "roots")
    op.create_primary_key("failures_pkey", "failures", ["path"])
    op.create_unique_constraint("videos_root_id_path_key", "videos", ["root_id", "path"])
    op.create_unique_constraint("roots_path_key", "roots", ["path"])
