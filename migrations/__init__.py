"""The catalog's schema, revision by revision; the only door to Alembic. Revision files import nothing of ours."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, Connection


def upgrade(database: URL | Connection) -> None:
    """Bring a database to the newest revision; a new one gets the whole schema.

    It is at this SQLAlchemy URL, or at the other end of a connection in a transaction, which is left open.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url" if isinstance(database, URL) else "connection"] = database
    command.upgrade(config, "head")
