"""Where an index is: a folder, or a schema of a PostgreSQL database."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

from cezsar.errors import LocationError

SCHEMA = "cezsar"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # a Path has lost the second slash; one letter is a drive
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,49}")  # PostgreSQL allows 63 bytes, and a space adds some
_SECRETS = ("password", "sslpassword")
_FORM = "postgresql://USER@HOST/DATABASE"
_VECTORS = re.compile(r"milvus://(\w[\w.-]*|\[[0-9a-fA-F:.]+\])(:\d{1,5})?/[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True, repr=False)
class Database:
    """An index in a schema of a PostgreSQL database; str() is its URL without passwords, and repr() is the same.

    uri is for libpq alone, since it may hold a password. vectors is the location of a cache of the vectors, if there
    is one. space is the number of one of the index's catalogs, from 2, and None is whichever is in use.
    """

    uri: str
    schema: str = SCHEMA
    vectors: str | None = None
    space: int | None = None

    def __str__(self) -> str:
        own = [f"schema={self.schema}"] if self.schema != SCHEMA else []
        own += [f"vectors={self.vectors}"] if self.vectors is not None else []
        shown = _without_passwords(self.uri)
        joined = shown + ("&" if "?" in shown else "?") * bool(own) + "&".join(own)
        return joined if self.space in (None, 1) else f"{joined} (space {self.space})"

    def __repr__(self) -> str:
        return f"Database({str(self)!r})"

    @property
    def has_password(self) -> bool:
        """Whether the URL itself holds a password."""
        return _without_passwords(self.uri) != self.uri


Location: TypeAlias = Path | Database


def located(location: str | os.PathLike[str] | Database) -> Location:
    """The location that a text names: a database by its URL, as libpq reads one, or else a folder, made absolute.

    Of the URL's parameters schema and vectors are ours. Raises LocationError if its scheme is unknown, or if it names
    no database, no possible schema, or no possible cache of vectors.
    """
    if isinstance(location, Database):
        return location
    text = os.fspath(location)
    scheme = _SCHEME.match(text)
    if scheme is None or os.path.exists(text):
        return Path(os.path.abspath(os.path.expanduser(text)))
    if scheme[1] not in ("postgresql", "postgres"):
        raise LocationError(f"There is no store for {scheme[1]}: locations; an index is a folder, or {_FORM}.")
    if not text.startswith("/", scheme.end()):
        raise LocationError(f"A database's location has two slashes, and is no Path but a text: {_FORM}.")
    return _database("postgresql://" + text[scheme.end() + 1 :])


def _database(url: str) -> Database:
    place, _, query = url.partition("?")
    own: dict[str, str] = {}
    others: list[str] = []
    for parameter in filter(None, query.split("&")):
        name, _, value = parameter.partition("=")
        if name in ("schema", "vectors"):
            own[name] = unquote(value)
        else:
            others.append(parameter)
    uri = place + "?" * bool(others) + "&".join(others)
    _, _, name = place.removeprefix("postgresql://").partition("/")
    if not name and not any(one.partition("=")[0] in ("dbname", "service") for one in others):
        raise LocationError(f"{_without_passwords(uri)} names no database: {_FORM}.")
    schema = own.get("schema", SCHEMA)
    if not _NAME.fullmatch(schema) or schema.startswith("pg_"):
        raise LocationError(
            f"schema={schema} names no schema for an index: it takes a-z, 0-9 and _, 50 at most, and no pg_ at first."
        )
    vectors = own.get("vectors")
    if vectors is not None and not _VECTORS.fullmatch(vectors):  # which may hold a password
        raise LocationError(
            "vectors= takes milvus://HOST:PORT/NAME; MILVUS_TOKEN, in the environment, has the account."
        )
    return Database(uri, schema, vectors)


def _without_passwords(uri: str) -> str:
    place, question_mark, query = uri.partition("?")
    authority, slash, name = place.removeprefix("postgresql://").partition("/")
    user, at, hosts = authority.rpartition("@")
    shown = [one for one in query.split("&") if unquote(one.partition("=")[0]) not in _SECRETS]
    query = "&".join(filter(None, shown))
    return f"postgresql://{user.partition(':')[0]}{at}{hosts}{slash}{name}{question_mark if query else ''}{query}"
