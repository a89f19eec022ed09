"""Making, upgrading and deleting a catalog's tables in a PostgreSQL database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg import sql
from sqlalchemy import Connection, create_engine, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from cezsar import migrations
from cezsar.location import Database
from cezsar.store.sql import lists, places, vectors
from cezsar.store.sql.connection import Session, schema_of
from cezsar.store.tables import Base, InfoRow
from cezsar.types import EncoderIdentity, Sampling

_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relkind = 'r' AND relname != 'spaces'
"""
_READERS = """
SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, aclexplode(relacl)
WHERE nspname = %s AND relname = 'index_info' AND privilege_type = 'SELECT' AND grantee != relowner
"""


def make(session: Session, place: Database, encoder: EncoderIdentity, sampling: Sampling) -> None:
    """Make an empty catalog in a place, whose schema the session looks into, all of it or nothing."""
    with made(session, place, encoder.dimension) as connection:
        row = {
            "id": 1,
            "index_id": uuid.uuid4().hex,
            "encoder": encoder.name,
            "weights_sha256": encoder.weights_sha256,
            "dimension": encoder.dimension,
            "streams": encoder.streams,
            "fps": sampling.fps,
            "window_s": sampling.window_s,
            "stride_s": sampling.stride_s,
            "generation": 0,
        }
        connection.execute(insert(InfoRow), [row])


@contextmanager
def made(session: Session, place: Database, dimension: int) -> Iterator[Connection]:
    """The transaction that makes a catalog's tables in a place, in which they are to be filled.

    Whoever may read the catalog in use may read this one too.
    """
    name = sql.Identifier(schema_of(place))
    with _transaction(session) as connection:
        session.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        if place.space == 1:
            session.execute(sql.SQL("DROP TABLE IF EXISTS {}.spaces").format(name))
        migrations.upgrade(connection)
        typed = sql.SQL("ALTER TABLE segments ALTER vector TYPE vector({})")
        session.execute(typed.format(sql.Literal(dimension)))
        # a vector that lies outside its row, as large values do, takes longer to read
        session.execute("ALTER TABLE segments ALTER vector SET STORAGE EXTERNAL")
        session.execute("ALTER TABLE segments SET (toast_tuple_target = 8160)")
        session.execute(lists.TABLE)
        session.execute(vectors.TABLE)
        yield connection
        places.add(session, place, is_served=place.space == 1)
        if place.space != 1:
            now = places.in_use(session, Database(place.uri, place.schema))
            for (reader,) in session.execute(_READERS, (schema_of(now),)).fetchall():
                to = sql.SQL(reader)
                session.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(name, to))
                session.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(name, to))


def migrate(session: Session) -> None:
    """Bring the tables in the session's schema to the newest revision, in one transaction."""
    with _transaction(session) as connection:
        migrations.upgrade(connection)


def drop(session: Session, place: Database, notice: Callable[[str], None]) -> int:
    """Delete a catalog's tables, and its schema if nothing else is in it; how many bytes that freed."""
    own = {*Base.metadata.tables, "alembic_version", "lists", "collections"}
    (num_bytes,) = session.execute(_SIZE, (schema_of(place),)).fetchone() or (0,)
    with session.transaction():
        for name in own & set(places.parts(session, place)):
            table = sql.Identifier(schema_of(place), name)
            session.execute(sql.SQL("DROP TABLE {} CASCADE").format(table))
        if place.space != 1:
            session.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(schema_of(place), "spaces")))
            if others := places.parts(session, place):
                notice(f"The schema {schema_of(place)} stays: {others[0]} in it is not CEZSAR's.")
            else:
                session.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(schema_of(place))))
        places.forget(session, place)
    return int(num_bytes)


@contextmanager
def _transaction(session: Session) -> Iterator[Connection]:
    """A transaction of the session's, for SQLAlchemy too. Raises psycopg.Error."""
    session.autocommit = False
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: session, poolclass=StaticPool, use_native_hstore=False
    )
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise error.orig or error from None
    session.autocommit = True
