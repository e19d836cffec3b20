"""The settings of every connection and export, as the config file names them. Pure values: nothing is opened here.

Each key's description is what the reference in ``docs/configuration.md`` prints.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from exporter.adbc_settings import AdbcConnection
from exporter.salesforce_settings import SalesforceConnection, SalesforceExport
from exporter.settings import (
    ConnectionSettings,
    Duration,
    PathText,
    Secret,
    SecretReference,
    Settings,
    Size,
    Text,
    key_fault,
    parse_duration,
)
from exporter.source_settings import MysqlConnection, SqlalchemyConnection, TrinoConnection
from exporter.treasure_data_settings import TreasureDataConnection

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


_LEAST_MEMORY = 64 * 10**6


def _check_memory(value: int) -> int:
    if value < _LEAST_MEMORY:
        raise ValueError("use at least 64MB: DuckDB sorts and joins in no less")
    return value


class DuckdbConnection(ConnectionSettings):
    """A DuckDB database file, or none for an in-memory one that reads Parquet, CSV and JSON files by path."""

    type: Literal["duckdb"] = Field(description="`duckdb`", examples=['"duckdb"'])
    path: PathText | None = Field(
        default=None, description="the database file; none: in memory, for reading files by path"
    )
    read_only: bool = Field(default=True, description="open the file for reading only, so that others may read it too")
    memory_limit: Annotated[Size, AfterValidator(_check_memory)] | None = Field(
        default=None,
        description="the most memory that a query may take; one of long texts takes much, as DuckDB works on 2,048 "
        'rows at once. Default: `"1GB"`, or half of what this process may take if that is less',
        examples=['"4GB"'],
    )


class SqliteConnection(ConnectionSettings):
    """A SQLite database file, which is only read."""

    type: Literal["sqlite"] = Field(description="`sqlite`", examples=['"sqlite"'])
    path: PathText = Field(description="the database file", examples=['"shop.db"'])


class PostgresqlConnection(ConnectionSettings):
    """A PostgreSQL database, which is only read: a URL, or its parts."""

    type: Literal["postgresql"] = Field(description="`postgresql`", examples=['"postgresql"'])
    url: Secret | None = Field(
        default=None,
        description="`postgresql://user@host/database?sslmode=verify-full`, a secret since it may hold a password",
    )
    host: Text | None = Field(default=None, description="name, address, or directory of the socket")
    port: int | None = Field(default=None, ge=1, le=65_535, description="default: 5432")
    database: Text | None = Field(default=None, description="the database's name", examples=['"shop"'])
    user: Text | None = Field(default=None, description="the role to log in as")
    password: Secret | None = Field(default=None, description="the role's password: a reference, or plain text")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.url is None) == (self.database is None):
            key_fault("database", "name the database: either url, or database with host, port, user and password")
        for key in ("host", "port", "user"):
            if self.url is not None and getattr(self, key) is not None:
                key_fault(key, f"{key} stands in url already: remove one of them")
        return self


class FileConnection(ConnectionSettings):
    """A directory that receives files."""

    type: Literal["file"] = Field(description="`file`", examples=['"file"'])
    directory: PathText = Field(description="where the files go; made when it is missing", examples=['"out"'])


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

_FILE_NAMES = frozenset({"job", "scheduled_time", "date"})
_FILE_ENDINGS = (".csv", ".jsonl", ".parquet")


def _check_file(value: str) -> str:
    if "/" in value or "\0" in value:
        raise ValueError("write a file name only: the directory is the connection's")
    bare = value
    for name in _FILE_NAMES:
        bare = bare.replace("{" + name + "}", "x")
    if "{" in bare or "}" in bare:
        raise ValueError("only {job}, {scheduled_time} and {date} may stand in braces")
    if not bare.endswith(_FILE_ENDINGS) or bare in _FILE_ENDINGS:
        raise ValueError("end the name in .csv, .jsonl or .parquet")
    return value


class FileExport(Settings):
    """The file that a run writes into the connection's directory.

    ``file`` may hold ``{job}``, ``{scheduled_time}`` (``20261123T030000Z``) and ``{date}`` (``2026-11-23``, UTC);
    its ending says the format: ``.csv``, ``.jsonl`` or ``.parquet``. A file of that name is replaced as a whole.
    """

    file: Annotated[str, AfterValidator(_check_file)] = Field(
        default="{job}-{scheduled_time}.csv",
        description="the file's name; `{job}`, `{scheduled_time}` and `{date}` are filled in; "
        "`.csv`, `.jsonl` or `.parquet`",
    )


ExportOptions = SalesforceExport | FileExport
EXPORT_MODELS: Mapping[str, type[ExportOptions]] = {"salesforce": SalesforceExport, "file": FileExport}


class Segment(Settings):
    """What built strings may name: the segment of an activation, and where it belongs."""

    id: Text | None = Field(default=None, description="for a parameter of type `SegmentId`")
    name: Text | None = Field(default=None, description="for `SegmentName`")
    audience_id: Text | None = Field(default=None, description="for `AudienceId`: the parent segment's number")
    funnel_name: Text | None = Field(default=None, description="for `FunnelName`")
    stage_name: Text | None = Field(default=None, description="for `StageName`")


class MappingParameter(Settings):
    """What stands for one ``$n`` of a built string."""

    type: Literal["String", "Timestamp", "SegmentId", "SegmentName", "AudienceId", "FunnelName", "StageName"] = Field(
        description="`String`, `Timestamp` (time of the export), or a value of the job's `segment`",
        examples=['"SegmentName"'],
    )
    string: str | None = Field(default=None, description="with `String`: the text")
    format: Text | None = Field(default=None, description="with `Timestamp`: strftime codes, such as `%Y-%m-%d`")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.string is not None) != (self.type == "String"):
            key_fault("string", 'string belongs to type = "String", and is needed there')
        if self.format is not None and self.type != "Timestamp":
            key_fault("format", 'format belongs to type = "Timestamp": remove it')
        return self

    @property
    def segment_key(self) -> str | None:
        """The key of the job's segment whose value this stands for, if it is one of those."""
        return _SEGMENT_KEYS.get(self.type)


_SEGMENT_KEYS = {
    "SegmentId": "id",
    "SegmentName": "name",
    "AudienceId": "audience_id",
    "FunnelName": "funnel_name",
    "StageName": "stage_name",
}
_PLACEHOLDER = re.compile(r"\$([0-9]+)")


class MappedColumn(Settings):
    """One column as it goes out: a column of the query under this name, or a built string."""

    column: Text = Field(description="its name at the target", examples=['"Email"'])
    source: Text | None = Field(default=None, description="the query's column")
    nulls: Literal["ignore", "clear"] | None = Field(
        default=None, description="with `source`: what a NULL does here; default: the export's `nulls`"
    )
    string: str | None = Field(default=None, description="instead of `source`: text with `$1`, `$2`, …")
    parameters: tuple[MappingParameter, ...] = Field(
        default=(), strict=False, description="with `string`: what `$1`, `$2`, … stand for, in order"
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.source is None) == (self.string is None):
            key_fault("source", "a column has either source or string")
        if self.nulls is not None and self.source is None:
            key_fault("nulls", "nulls belongs to source: a built string is never NULL")
        if self.parameters and self.string is None:
            key_fault("parameters", "parameters belong to string")
        for number in _PLACEHOLDER.findall(self.string or ""):
            if not 1 <= int(number[:9]) <= len(self.parameters):
                key_fault("string", f"${number} has no parameter: there are {len(self.parameters)}")
        return self


class OutputMapping(Settings):
    """Which columns go out under which names. Without one, all columns go out under their own."""

    all_columns: bool = Field(default=False, description="send every column of the query; `columns` renames or adds")
    columns: tuple[MappedColumn, ...] = Field(default=(), strict=False, description="the columns, in order")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if not self.columns and not self.all_columns:
            key_fault("columns", "name at least one column, or set all_columns = true")
        seen: set[str] = set()
        for each in self.columns:
            if each.column in seen:
                key_fault("columns", f'"{each.column}" goes out twice: give one of them another name')
            seen.add(each.column)
        return self
