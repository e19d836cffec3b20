"""From settings to an open source; only the one asked for is imported."""

import threading
from pathlib import Path

from exporter.failures import configuration
from exporter.settings.connection import (
    AdbcConnection,
    Connection,
    MysqlConnection,
    SqlalchemyConnection,
    TreasureDataConnection,
    TrinoConnection,
)
from exporter.settings.databases import DuckdbConnection, PostgresqlConnection, SqliteConnection
from exporter.sources.source import Source

_LOADING = threading.Lock()
"""Held while a driver is imported: the modules of some import each other in a cycle, and threads that come in by
different ones at the same time would find them half made."""


def open_source(settings: Connection, *, directory: Path | None = None, spill: Path | None = None) -> Source:
    """Return the source of a connection whose secrets are looked up. Opens nothing yet.

    ``directory`` is where relative paths inside a query are looked up, ``spill`` where what does not fit into memory
    goes (by default a temporary directory); sources that need neither use neither.
    Raises configuration ``NOT_A_SOURCE`` for a connection that rows cannot come from.
    """
    with _LOADING:
        return _open_source(settings, directory, spill)


def _open_source(settings: Connection, directory: Path | None, spill: Path | None) -> Source:
    match settings:
        case DuckdbConnection():
            from exporter.sources.duckdb.source import DuckdbSource  # noqa: PLC0415 - duckdb and pyarrow take 0.3 s

            return DuckdbSource(settings, directory=directory, spill=spill)
        case PostgresqlConnection():
            return _open_postgresql(settings)
        case SqliteConnection():
            from exporter.sources.sqlite.source import SqliteSource  # noqa: PLC0415 - pyarrow takes 0.2 s

            return SqliteSource(settings)
        case TreasureDataConnection():
            return _open_treasure_data(settings, spill)
        case AdbcConnection():
            return _open_adbc(settings, directory)
        case MysqlConnection() | TrinoConnection() | SqlalchemyConnection():
            return _open_by_rows(settings, directory)
        case _:
            raise configuration("NOT_A_SOURCE", f"a connection of type {settings.type} gives no rows")


def _open_postgresql(settings: PostgresqlConnection) -> Source:
    try:
        from exporter.sources.postgresql.source import PostgresqlSource  # noqa: PLC0415 - an extra; and pyarrow takes 0.2 s
    except ModuleNotFoundError as error:
        raise _driver_missing("PostgreSQL", "postgresql", error) from error
    return PostgresqlSource(settings)


def _open_treasure_data(settings: TreasureDataConnection, spill: Path | None) -> Source:
    try:
        from exporter.sources.treasure_data.source import TreasureDataSource  # noqa: PLC0415 - an extra; pyarrow takes 0.2 s
    except ModuleNotFoundError as error:
        raise _driver_missing("Treasure Data", "treasure-data", error) from error
    return TreasureDataSource(settings, spill=spill)


def _open_adbc(settings: AdbcConnection, directory: Path | None) -> Source:
    try:
        from exporter.sources.adbc.source import AdbcSource  # noqa: PLC0415 - an extra; and pyarrow takes 0.2 s
    except ModuleNotFoundError as error:
        extra = settings.driver if settings.driver in {"snowflake", "bigquery"} else "adbc"
        raise _driver_missing("ADBC", extra, error) from error
    return AdbcSource(settings, directory=directory)


def _open_by_rows(settings: MysqlConnection | TrinoConnection | SqlalchemyConnection, directory: Path | None) -> Source:
    """Open one of those whose drivers give rows, not Arrow's columns."""
    match settings:
        case MysqlConnection():
            return _open_mysql(settings)
        case TrinoConnection():
            return _open_trino(settings)
        case SqlalchemyConnection():
            from exporter.sources.sqlalchemy.source import SqlalchemySource  # noqa: PLC0415 - pyarrow takes 0.2 s

            return SqlalchemySource(settings, directory=directory)


def _open_mysql(settings: MysqlConnection) -> Source:
    try:
        from exporter.sources.mysql.source import MysqlSource  # noqa: PLC0415 - an extra; and pyarrow takes 0.2 s
    except ModuleNotFoundError as error:
        raise _driver_missing("MySQL", "mysql", error) from error
    return MysqlSource(settings)


def _open_trino(settings: TrinoConnection) -> Source:
    try:
        from exporter.sources.trino.source import TrinoSource  # noqa: PLC0415 - an extra; and pyarrow takes 0.2 s
    except ModuleNotFoundError as error:
        raise _driver_missing("Trino", "trino", error) from error
    return TrinoSource(settings)


def _driver_missing(name: str, extra: str, error: ModuleNotFoundError) -> Exception:
    return configuration(
        "DRIVER_MISSING", f"{name} needs {error.name}, which is not installed: pip install 'schedctl[{extra}]'"
    )
