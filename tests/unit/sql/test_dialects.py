"""Which SQL a connection speaks."""

from dataclasses import dataclass

import pytest
from pydantic import SecretStr
from sqlglot.dialects.dialect import Dialect

from exporter.settings.connection import CONNECTION_MODELS, SOURCE_TYPES, SecretReference, TreasureDataConnection
from exporter.settings.databases import DuckdbConnection, PostgresqlConnection, SqliteConnection
from exporter.sql.dialects import dialect_of, dialect_of_type, dialect_of_url, possible_dialects


@dataclass(frozen=True)
class Settings:
    type: str
    url: SecretStr | SecretReference | None = None
    driver: str | None = None
    dialect: str | None = None


@pytest.mark.parametrize(
    ("connection", "dialect"),
    [
        (DuckdbConnection(type="duckdb"), "duckdb"),
        (SqliteConnection(type="sqlite", path="x.db"), "sqlite"),
        (PostgresqlConnection(type="postgresql", database="x"), "postgres"),
        (TreasureDataConnection(type="treasure_data", api_key=SecretStr("k"), database="x"), "trino"),
        (TreasureDataConnection(type="treasure_data", api_key=SecretStr("k"), database="x", engine="presto"), "trino"),
        (TreasureDataConnection(type="treasure_data", api_key=SecretStr("k"), database="x", engine="hive"), "hive"),
        (Settings("mysql"), "mysql"),
        (Settings("trino"), "trino"),
        (Settings("sqlalchemy", url=SecretStr("mssql+pyodbc://u:p@h/d")), "tsql"),
        (Settings("sqlalchemy", url=SecretReference(env="URL")), None),
        (Settings("adbc", driver="snowflake"), "snowflake"),
        (Settings("adbc", driver="bigquery"), "bigquery"),
        (Settings("adbc", driver="postgresql"), "postgres"),
        (Settings("adbc", driver="flightsql"), None),
        (Settings("adbc", driver="/opt/lib/driver.so"), None),
        (Settings("adbc", driver="flightsql", dialect="spark"), "spark"),
        (Settings("file"), None),
        (None, None),
    ],
)
def test_a_connection_tells_its_dialect_by_its_type_engine_url_or_driver(
    connection: object, dialect: str | None
) -> None:
    assert dialect_of(connection) == dialect


def test_a_url_tells_it_before_its_driver() -> None:
    names = {"mysql": "mysql", "MariaDB": "mysql", "postgresql": "postgres", "oracle": "oracle", "firebird": None}
    for name, dialect in names.items():
        for url in (f"{name}://h/d", f"{name}+driver://h/d"):
            assert dialect_of_url(url) == dialect


def test_every_dialect_that_is_told_is_one_of_sqlglot_s() -> None:
    for kind in CONNECTION_MODELS:
        for dialect in possible_dialects(kind):
            assert Dialect.get(dialect)
        if kind in SOURCE_TYPES and kind in {"duckdb", "sqlite", "postgresql"}:
            assert possible_dialects(kind) == (dialect_of_type(kind),)
