"""The version of the schema: read by plain SQL, raised by Alembic, which is loaded only when there is work for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text
from sqlmodel import SQLModel

import storage.models  # noqa: F401 - its classes fill SQLModel.metadata
from storage.engine.address import Address
from storage.engine.errors import StorageError
from storage.engine.pool import make_engine, writing
from storage.engine.sqlite_file import back_up
from storage.values import HEAD

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "schedctl_schema"
"""Alembic's table, under a name that no other program's Alembic uses in a shared database."""
WRITTEN_BY = "schedctl_version"
"""The key in ``setting`` that names the schedctl which last changed the schema."""
_LOCK = 0x736368656463
"""PostgreSQL's advisory lock while the schema is raised ("schedc")."""
_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """A line of migrations: where its scripts lie, and the number of the last one."""

    scripts: Path = Path(__file__).parent / "migrations"
    head: str = HEAD


SCHEMA = Schema()


def bring_up_to_date(engine: Engine, address: Address, schema: Schema, *, migrate: bool) -> None:
    """Leave the database at ``schema.head``, or raise :class:`StorageError`.

    Without ``migrate`` a database at any other version is refused. PostgreSQL makes processes that come at the same
    time wait for each other; for SQLite the caller holds the directory's lock. A SQLite file that holds something is
    copied beforehand to ``FILE.before-HEAD``, beside it.
    """
    with engine.connect() as connection:
        found = _found(connection)
        if found == schema.head:
            return
        _refuse_newer(connection, address, schema, found)
    if not migrate:
        message = f"the state database {address.name} has schema {found or 'none'} instead of {schema.head}"
        raise StorageError("OLDER", f"{message}; start the daemon, or run any command that writes, to bring it there")
    with _alone(address) as connection:
        found = _found(connection)
        if found == schema.head:
            return
        if found is None:
            _refuse_foreign(connection, address)
        else:
            _refuse_newer(connection, address, schema, found)
            if address.path is not None:
                back_up(address.path, address.path.with_name(f"{address.path.name}.before-{schema.head}"))
        _upgrade(connection, schema)


def alembic_config(connection: Connection, schema: Schema = SCHEMA) -> "Config":
    """Make Alembic's configuration, which has no file, so that an installed package can migrate too."""
    from alembic.config import Config  # noqa: PLC0415 - 100 ms that only a migration has to pay

    config = Config()
    config.set_main_option("script_location", str(schema.scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    return config


@contextmanager
def _alone(address: Address) -> Iterator[Connection]:
    engine = make_engine(address, foreign_keys=False)
    try:
        with writing(engine).begin() as connection:
            if address.kind == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            yield connection
    finally:
        engine.dispose()


def _found(connection: Connection) -> str | None:
    if VERSION_TABLE not in _tables(connection):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    return found


def _tables(connection: Connection) -> set[str]:
    return set(connection.execute(text(_TABLES[connection.dialect.name])).scalars())


def _refuse_newer(connection: Connection, address: Address, schema: Schema, found: str | None) -> None:
    if found is None or (found.isdecimal() and int(found) < int(schema.head)):
        return
    query = text("SELECT value FROM setting WHERE key = :key")
    writer = connection.execute(query, {"key": WRITTEN_BY}).scalar() or "another version"
    raise StorageError(
        "NEWER",
        f"the state database {address.name} was written by schedctl {writer} (schema {found}), newer than this "
        f"schedctl {version('schedctl')} (schema {schema.head}); install that version, or name another database",
    )


def _refuse_foreign(connection: Connection, address: Address) -> None:
    tables = _tables(connection)
    foreign = tables if address.kind == "sqlite" else tables & set(SQLModel.metadata.tables)
    if foreign:
        raise StorageError(
            "FOREIGN",
            f"the database {address.name} belongs to something else: it holds the table {min(foreign)}; "
            "give schedctl a database of its own in [storage] url",
        )


def _upgrade(connection: Connection, schema: Schema) -> None:
    from alembic import command  # noqa: PLC0415 - 100 ms that only a migration has to pay

    command.upgrade(alembic_config(connection, schema), "head")
    if connection.dialect.name == "sqlite":
        broken = connection.execute(text("PRAGMA foreign_key_check")).first()
        if broken is not None:
            raise StorageError("DAMAGED", f"migration {schema.head} found a row in {broken[0]} that refers to nothing")
    key = {"key": WRITTEN_BY}
    connection.execute(text("DELETE FROM setting WHERE key = :key"), key)
    connection.execute(
        text("INSERT INTO setting (key, value) VALUES (:key, :value)"), {**key, "value": version("schedctl")}
    )
