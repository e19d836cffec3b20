"""Settings of connections to DuckDB, SQLite and PostgreSQL. Pure."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.settings.base import ConnectionSettings, PathText, Secret, Size, Text, key_fault

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
