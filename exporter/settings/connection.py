"""The settings of every connection and export, as the config file names them. Pure values: nothing is opened here.

Each key's description is what the reference in ``docs/configuration.md`` prints.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, SecretStr

from exporter.settings.adbc import AdbcConnection
from exporter.settings.base import Duration, Secret, SecretReference, Settings, parse_duration
from exporter.settings.databases import DuckdbConnection, PostgresqlConnection, SqliteConnection
from exporter.settings.file import FileConnection, FileExport
from exporter.settings.mapping import MappedColumn, MappingParameter, OutputMapping, Segment
from exporter.settings.network_sources import MysqlConnection, SqlalchemyConnection, TrinoConnection
from exporter.settings.salesforce import SalesforceConnection, SalesforceExport
from exporter.settings.treasure_data import TreasureDataConnection

__all__ = [
    "CONNECTION_MODELS",
    "EXPORT_MODELS",
    "SOURCE_TYPES",
    "TARGET_TYPES",
    "AdbcConnection",
    "Connection",
    "DuckdbConnection",
    "Duration",
    "ExportOptions",
    "FileConnection",
    "FileExport",
    "MappedColumn",
    "MappingParameter",
    "MysqlConnection",
    "OutputMapping",
    "PostgresqlConnection",
    "SalesforceConnection",
    "SalesforceExport",
    "Secret",
    "SecretReference",
    "SecretStr",
    "Segment",
    "Settings",
    "SqlalchemyConnection",
    "SqliteConnection",
    "TreasureDataConnection",
    "TrinoConnection",
    "parse_duration",
]


Connection = Annotated[
    DuckdbConnection
    | SqliteConnection
    | PostgresqlConnection
    | MysqlConnection
    | TrinoConnection
    | SqlalchemyConnection
    | TreasureDataConnection
    | AdbcConnection
    | FileConnection
    | SalesforceConnection,
    Field(discriminator="type"),
]
CONNECTION_MODELS: Mapping[
    str,
    type[
        DuckdbConnection
        | SqliteConnection
        | PostgresqlConnection
        | MysqlConnection
        | TrinoConnection
        | SqlalchemyConnection
        | TreasureDataConnection
        | AdbcConnection
        | FileConnection
        | SalesforceConnection
    ],
] = {
    "duckdb": DuckdbConnection,
    "sqlite": SqliteConnection,
    "postgresql": PostgresqlConnection,
    "mysql": MysqlConnection,
    "trino": TrinoConnection,
    "sqlalchemy": SqlalchemyConnection,
    "treasure_data": TreasureDataConnection,
    "adbc": AdbcConnection,
    "file": FileConnection,
    "salesforce": SalesforceConnection,
}
TARGET_TYPES = frozenset({"file", "salesforce"})
SOURCE_TYPES = frozenset(CONNECTION_MODELS) - TARGET_TYPES


ExportOptions = SalesforceExport | FileExport
EXPORT_MODELS: Mapping[str, type[ExportOptions]] = {"salesforce": SalesforceExport, "file": FileExport}
