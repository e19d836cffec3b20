"""Connections: what every one of them is reported before its first statement."""

from sqlite3 import Connection as SqliteConnection
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event

from storage.engine.address import Address
from storage.engine.column_types import to_json
from storage.engine.errors import StorageError

if TYPE_CHECKING:
    from psycopg import Connection as PsycopgConnection

PATIENCE = 20
"""Seconds to wait for a lock that another process or thread holds."""
_IDLE_IN_TRANSACTION = "60s"
"""PostgreSQL ends a transaction that a stopped process holds open, so that its locks do not stop the others."""
_CONNECT_TIMEOUT = 10
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""Seconds, and milliseconds: a server that vanished is noticed within a minute (libpq's own default is two hours)."""


def make_engine(address: Address, *, foreign_keys: bool = True) -> Engine:
    """Make the pool of connections to ``address``; nothing is opened yet. Its errors never show values, which are data.

    ``foreign_keys`` is false while a migration rebuilds tables: SQLite's DROP TABLE would delete what refers to them.
    """
    common: dict[str, Any] = {"pool_timeout": PATIENCE, "hide_parameters": True, "json_serializer": to_json}
    if address.kind == "sqlite":
        return _sqlite_engine(create_engine(address.url, **common), foreign_keys=foreign_keys)
    arguments = {"connect_timeout": _CONNECT_TIMEOUT, "application_name": "schedctl", **_KEEPALIVE}
    arguments = {key: value for key, value in arguments.items() if key not in address.url.query}
    try:
        engine = create_engine(address.url, connect_args=arguments, pool_pre_ping=True, **common)
    except ImportError as error:  # psycopg is there, but neither its binary part nor a libpq
        message = f"{address.name}: the PostgreSQL driver does not load ({error}); pip install 'schedctl[postgresql]'"
        raise StorageError("DRIVER_MISSING", message) from error
    event.listen(engine, "connect", _greet_postgresql)
    return engine


def writing(engine: Engine) -> Engine:
    """Give the same pool, for transactions that write: on SQLite they take the write lock when they begin."""
    return engine.execution_options(immediate=True)


def reading(engine: Engine) -> Engine:
    """Give the same pool, for transactions in which a write is an error."""
    return engine.execution_options(postgresql_readonly=True, query_only=True)


def outside_transactions(engine: Engine) -> Engine:
    """Give the same pool, for the statements that SQLite refuses within a transaction."""
    return engine.execution_options(no_begin=True)


def _sqlite_engine(engine: Engine, *, foreign_keys: bool) -> Engine:
    def greet(connection: SqliteConnection, _record: object) -> None:
        # Python's sqlite3 would begin transactions by itself, too late and without IMMEDIATE.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000}")
        connection.execute(f"PRAGMA foreign_keys = {foreign_keys:d}")
        connection.execute("PRAGMA synchronous = FULL")

    event.listen(engine, "connect", greet)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("no_begin"):
        return
    query_only = bool(options.get("query_only"))
    if connection.info.get("query_only") is not query_only:  # the connection stays as it was left; it comes from a pool
        connection.exec_driver_sql(f"PRAGMA query_only = {query_only:d}")
        connection.info["query_only"] = query_only
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("immediate") else "BEGIN")


def _greet_postgresql(connection: "PsycopgConnection[Any]", _record: object) -> None:
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute(f"SET lock_timeout = '{PATIENCE}s'")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_IN_TRANSACTION}'")
    # A server set to forget commits in a crash would make us send rows twice; stricter settings stay.
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()
