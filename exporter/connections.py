"""The settings of every connection and export, as the config file names them. Pure values: nothing is opened here."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

_DURATION = re.compile(r"(\d+)(s|m|h|d)")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(value: object) -> object:
    """Return whole seconds for an integer or for text such as ``90s``, ``10m``, ``6h``, ``7d``.

    Raises ValueError, in words for the user, on anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return int(match[1]) * _UNIT_SECONDS[match[2]]
    raise ValueError(f"{value!r} is no duration: write whole seconds or a number with s, m, h or d, such as 90s or 10m")


Duration = Annotated[int, BeforeValidator(parse_duration)]
"""Whole seconds, at least 0."""


class Settings(BaseModel):
    """The base of all settings: frozen, and an unknown key is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SecretReference(Settings):
    """Where a secret is kept: exactly one of the three."""

    env: str | None = None
    file: str | None = None
    credential: str | None = None


Secret = SecretStr | SecretReference
"""A secret as the config file gives it: plain text (never printed), or a reference that is resolved when it is used."""


class DuckdbConnection(Settings):
    """A DuckDB database file, or none for an in-memory one that reads Parquet, CSV and JSON files by path."""

    type: Literal["duckdb"]
    path: str | None = None
    read_only: bool = True


class FileConnection(Settings):
    """A directory that receives files."""

    type: Literal["file"]
    directory: str


class SalesforceConnection(Settings):
    """A Salesforce org and how to log in to it."""

    type: Literal["salesforce"]
    auth: Literal["client_credentials"] = "client_credentials"
    login_url: str
    client_id: str
    client_secret: Secret
    initial_retry_delay: Duration = 5
    retry_limit: int = Field(default=5, ge=0)
    connect_timeout: Duration = 30
    read_timeout: Duration = 120


Connection = Annotated[DuckdbConnection | FileConnection | SalesforceConnection, Field(discriminator="type")]
SOURCE_TYPES = frozenset({"duckdb"})
TARGET_TYPES = frozenset({"file", "salesforce"})


class SalesforceExport(Settings):
    """What a run does to one object of an org."""

    object: str
    mode: Literal["append", "update"] = "append"
    key: str | None = None
    upsert: bool = False
    concurrency_mode: Literal["parallel", "serial"] = "parallel"
    batch_size: int = Field(default=10_000, ge=1, le=10_000)
    api_version: str = "62.0"
    bulk_api: Literal["1"] = "1"
    nulls: Literal["ignore", "clear"] = "ignore"
    initial_retry_delay: Duration | None = None
    retry_limit: int | None = Field(default=None, ge=0)


class FileExport(Settings):
    """The file that a run writes into the connection's directory.

    ``file`` may hold ``{job}``, ``{scheduled_time}`` (``20261123T030000Z``) and ``{date}`` (``2026-11-23``, UTC);
    its ending says the format: ``.csv``, ``.jsonl`` or ``.parquet``. A file of that name is replaced as a whole.
    """

    file: str = "{job}-{scheduled_time}.csv"
