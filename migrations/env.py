"""How Alembic reaches the catalog: by the connection or URL that it was given, else -x index=LOCATION, else
CEZSAR_INDEX."""

from __future__ import annotations

import os
from pathlib import Path

from alembic import context
from platformdirs import user_data_path
from sqlalchemy import URL, Connection, create_engine


def _url() -> URL:
    given = context.config.attributes.get("url")
    if isinstance(given, URL):
        return given
    arguments = context.get_x_argument(as_dictionary=True)
    folder = arguments.get("index") or os.environ.get("CEZSAR_INDEX") or user_data_path("cezsar") / "index"
    return URL.create("sqlite", database=str(Path(folder) / "catalog.sqlite"))


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()


def _run() -> None:
    given = context.config.attributes.get("connection")
    if isinstance(given, Connection):  # in a transaction, which whoever gave it ends
        _migrate(given)
        return
    engine = create_engine(_url())
    with engine.begin() as connection:
        # pysqlite commits before each DDL statement unless it is told that a transaction is open already
        if connection.dialect.name == "sqlite":
            connection.connection.dbapi_connection.isolation_level = None  # type: ignore[union-attr]
            connection.exec_driver_sql("PRAGMA trusted_schema = OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        _migrate(connection)
    engine.dispose()


_run()
