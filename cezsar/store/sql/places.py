"""Which of an index's schemas is in use: its first one, NAME, or another, NAME_2, NAME_3 ..., each a whole catalog.

The first one's table spaces lists them, so that nobody else's schema is taken for one. A switch is one statement.
"""

from __future__ import annotations

import re
from dataclasses import replace

from psycopg import sql

from cezsar.errors import BadIndex
from cezsar.location import Database
from cezsar.store.sql.connection import Session, schema_of

_PARTS = """
SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relkind IN ('r', 'v', 'm', 'f', 'p') ORDER BY 1
"""
_WRITABLE = """
SELECT NOT pg_is_in_recovery() AND has_table_privilege('index_info', 'UPDATE')
    AND has_table_privilege('segments', 'INSERT, DELETE') AND has_table_privilege('videos', 'INSERT, UPDATE')
"""


def first(location: Database) -> Database:
    """The location of an index's first schema's catalog."""
    return replace(location, space=1)


def in_use(session: Session, location: Database) -> Database:
    """The catalog that an index uses, or the very one that a location names."""
    if location.space is not None:
        return location
    served = _spaces(session, location, "served IS NOT NULL ORDER BY served DESC")
    return replace(location, space=served[0] if served else 1)


def previous(session: Session, location: Database) -> Database | None:
    """The catalog that was in use before the last switch; None if there is none any more."""
    served = _spaces(session, location, "served IS NOT NULL ORDER BY served DESC")
    places = [replace(location, space=space) for space in served[1:2]]
    return next((place for place in places if is_there(session, place)), None)


def others(session: Session, location: Database) -> list[Database]:
    """This index's catalogs that are not in use, by number."""
    now = in_use(session, replace(location, space=None))
    places = [replace(location, space=space) for space in _spaces(session, location, "true ORDER BY space")]
    return [place for place in places if place != now and is_there(session, place)]


def fresh(session: Session, location: Database) -> Database:
    """A place for a new catalog, whose schema is not there yet."""
    names = session.execute("SELECT nspname FROM pg_namespace").fetchall()
    own = [re.fullmatch(rf"{re.escape(location.schema)}_(\d+)", str(name)) for (name,) in names]
    return replace(location, space=max([int(found[1]) for found in own if found], default=1) + 1)


def add(session: Session, place: Database, *, is_served: bool) -> None:
    """Note that a catalog is one of an index's, and whether the index uses it."""
    _execute(session, place, "INSERT INTO {} (space, served) VALUES (%s, %s)", (place.space, 1 if is_served else None))


def switch(session: Session, place: Database) -> None:
    """Use the catalog in place from now on."""
    _execute(
        session, place, "UPDATE {0} SET served = (SELECT max(served) + 1 FROM {0}) WHERE space = %s", (place.space,)
    )


def forget(session: Session, place: Database) -> None:
    """Note that a catalog has gone."""
    _execute(session, place, "DELETE FROM {} WHERE space = %s", (place.space,))


def is_there(session: Session, place: Database) -> bool:
    """Whether a place has a catalog."""
    return "index_info" in parts(session, place)


def parts(session: Session, place: Database) -> list[str]:
    """The names of the tables, and what is like them, in the schema of a place; empty if it is not there."""
    return [str(name) for (name,) in session.execute(_PARTS, (schema_of(place),)).fetchall()]


def check_ours(session: Session, place: Database) -> None:
    """That a schema in which there is no catalog holds nothing else. Raises BadIndex."""
    found = parts(session, place)
    if found and found != ["spaces"] and "index_info" not in found:
        raise BadIndex(
            f"The schema {schema_of(place)} of {place} holds {found[0]}, of no index: ?schema=NAME names another."
        )


def revision(session: Session, place: Database) -> str | None:
    """The schema's revision of the catalog in a place; None if it does not say."""
    if "alembic_version" not in parts(session, place):
        return None
    table = sql.Identifier(schema_of(place), "alembic_version")
    (found,) = session.execute(sql.SQL("SELECT max(version_num) FROM {}").format(table)).fetchone() or (None,)
    return None if found is None else str(found)


def last_generation(session: Session, place: Database) -> int:
    """A generation that no catalog of an index has reached, whoever knows one of them; 0 if there is none."""
    last = 0
    for space in _spaces(session, place, "true"):
        if is_there(session, other := replace(place, space=space)):
            table = sql.Identifier(schema_of(other), "index_info")
            (found,) = session.execute(sql.SQL("SELECT generation + 1 FROM {}").format(table)).fetchone() or (0,)
            last = max(last, int(found))
    return last


def is_writable(session: Session) -> bool:
    """Whether this account may write to the catalog in the session's schema, on this server."""
    (found,) = session.execute(_WRITABLE).fetchone() or (False,)
    return bool(found)


def _spaces(session: Session, location: Database, which: str) -> list[int]:
    if "spaces" not in parts(session, first(location)):
        return []
    table = sql.Identifier(location.schema, "spaces")
    query = sql.SQL("SELECT space FROM {} WHERE " + which).format(table)
    return [int(space) for (space,) in session.execute(query).fetchall()]


def _execute(session: Session, place: Database, statement: str, values: tuple[object, ...]) -> None:
    table = sql.Identifier(place.schema, "spaces")
    session.execute(sql.SQL(statement).format(table), values)
