"""The URL of a state database: which kind it is, and how to name it without its password."""

import importlib.util
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from storage.engine.errors import StorageError

_SQLITE_SCHEMES = ("sqlite", "sqlite+pysqlite")
_POSTGRESQL_SCHEMES = ("postgresql", "postgresql+psycopg")
_OLDEST_SQLITE = (3, 35, 0)
"""RETURNING came with it: https://sqlite.org/releaselog/3_35_0.html."""
_FORMS = "write sqlite:///path/to/state.db or postgresql+psycopg://user@host/database in [storage] url"


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a state database is. ``name`` is fit to be shown; ``path`` is the file, for SQLite only."""

    kind: Literal["sqlite", "postgresql"]
    name: str
    url: URL = field(repr=False)
    path: Path | None = None

    @property
    def password(self) -> str | None:
        """The password, so that it can be taken out of what a driver says."""
        return self.url.password


def sqlite_url(path: Path) -> str:
    """Write the URL of a state database in a file, whatever characters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def parse_address(text: str) -> Address:
    """Read a database URL, or raise :class:`StorageError` (``BAD_URL`` or ``DRIVER_MISSING``)."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        # Not quoted: what cannot be read may hold a password anywhere.
        raise StorageError("BAD_URL", f"the address of the state database is no URL; {_FORMS}") from error
    if url.drivername in _SQLITE_SCHEMES:
        return _sqlite(url)
    if url.drivername in _POSTGRESQL_SCHEMES:
        return _postgresql(url)
    raise StorageError("BAD_URL", f"{_shown(url)}: {url.drivername}:// is no kind of state database; {_FORMS}")


def _sqlite(url: URL) -> Address:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        message = f"SQLite 3.35 or later is needed, this Python has {sqlite3.sqlite_version}; use another Python"
        raise StorageError("DRIVER_MISSING", message)
    if url.host or not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise StorageError("BAD_URL", f"{_shown(url)} names no file (three slashes before the path); {_FORMS}")
    if url.query:
        raise StorageError("BAD_URL", f"{_shown(url)}: a SQLite address takes no options; {_FORMS}")
    return Address(kind="sqlite", name=_shown(url), url=url.set(drivername="sqlite"), path=Path(url.database))


def _postgresql(url: URL) -> Address:
    if "@" in (url.host or ""):
        # Not quoted: what stands before it is the rest of a password.
        raise StorageError("BAD_URL", "the host in [storage] url holds an @: write an @ of the password as %40")
    if importlib.util.find_spec("psycopg") is None:
        message = f"{_shown(url)}: the PostgreSQL driver is missing; pip install 'schedctl[postgresql]'"
        raise StorageError("DRIVER_MISSING", message)
    return Address(kind="postgresql", name=_shown(url), url=url.set(drivername="postgresql+psycopg"))


def _shown(url: URL) -> str:
    """Give the URL without any password; its options may hold some too (libpq knows password and sslpassword)."""
    options = {key: value for key, value in url.query.items() if "pass" not in key.lower()}
    return URL.create(url.drivername, url.username, None, url.host, url.port, url.database, options).render_as_string()
