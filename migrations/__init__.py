"""The catalog's schema, revision by revision; the only door to Alembic. Revision files import nothing of ours."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL


def upgrade(url: URL) -> None:
    """Bring the database at this SQLAlchemy URL to the newest revision; a new file gets the whole schema."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    command.upgrade(config, "head")
