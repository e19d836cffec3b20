"""What the engines below SQLAlchemy do each in their own way: read only, in UTC, and stop a query.

What an engine does not offer is left undone: then a query that writes is refused by its first word, nothing is ever
committed, and a cancel closes the connection.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, event

_MYSQL = frozenset({"mysql", "mariadb"})
_CANCEL_SECONDS = 10.0
_OPENING = {
    "sqlite": ("pragma query_only = on",),
    "mysql": ("set session time_zone = '+00:00'", "start transaction read only"),
    "mariadb": ("set session time_zone = '+00:00'", "start transaction read only"),
    "postgresql": ("set time zone 'UTC'",),
    "oracle": ("alter session set time_zone = 'UTC'", "set transaction read only"),
}
_LOOSE_NUMBERS = frozenset({"sqlite", "oracle"})


def is_mysql(dialect: str) -> bool:
    """Whether an engine reads SQL as MySQL does, and sends a result to its end before anything else."""
    return dialect in _MYSQL


def has_loose_numbers(dialect: str) -> bool:
    """Whether a column of an engine may hold whole numbers and others side by side."""
    return dialect in _LOOSE_NUMBERS


def send_password_in_utf8(engine: Engine) -> None:
    """Have an engine log in with any password: PyMySQL would send a text in Latin-1, and servers want UTF-8."""
    if engine.dialect.driver != "pymysql":
        return

    @event.listens_for(engine, "do_connect")
    def encode(_dialect: object, _record: object, _arguments: object, named: dict[str, Any]) -> None:
        named.update(
            {name: named[name].encode() for name in ("password", "passwd") if isinstance(named.get(name), str)}
        )


def make_read_only(connection: Connection) -> None:
    """Have what follows on a fresh connection only read, with times in UTC. Raises sqlalchemy's errors."""
    dialect = connection.dialect
    if dialect.name == "postgresql":
        connection.execution_options(postgresql_readonly=True)
    for statement in _OPENING.get(dialect.name, ()):
        connection.exec_driver_sql(statement)
    if dialect.driver == "psycopg":
        from exporter.sources.postgresql.columns import keep_text  # noqa: PLC0415 - an extra

        keep_text(_driver_connection(connection), but=("numeric",))  # whose NaN could not be told from a text


def canceler(engine: Engine, connection: Connection) -> Callable[[], None]:
    """Return what stops the query of a connection, from any thread, as well as its driver can."""
    driver = _driver_connection(connection)
    if hasattr(driver, "cancel_safe"):  # psycopg
        return lambda: driver.cancel_safe(timeout=_CANCEL_SECONDS)
    for name in ("interrupt", "cancel"):  # sqlite3, DuckDB; psycopg2, oracledb
        if hasattr(driver, name):
            return _quietly(getattr(driver, name))
    if is_mysql(connection.dialect.name):
        number = int(connection.exec_driver_sql("select connection_id()").scalar_one())

        def kill() -> None:
            with engine.connect() as other:
                other.exec_driver_sql(f"kill query {number}")

        return kill
    return _quietly(driver.close)


def _quietly(stop: Callable[[], object]) -> Callable[[], None]:
    """Return the same without the errors of a connection that is over: the reader finds that out by itself."""

    def call() -> None:
        with suppress(Exception):
            stop()

    return call


def _driver_connection(connection: Connection) -> Any:  # noqa: ANN401 - each driver has its own
    return connection.connection.driver_connection
