"""The settings of an ADBC connection, as the config file names them. Pure values.

Each key's description is what the reference in ``docs/configuration.md`` prints.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from exporter.settings.base import (
    ConnectionSettings,
    Secret,
    SecretReference,
    Text,
    check_path,
    check_secret,
    is_loopback,
    key_fault,
)
from exporter.sql.dialects import DIALECTS

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_LIBRARY_ENDINGS = (".so", ".dylib", ".dll")
_REFERENCE_KEYS = frozenset(SecretReference.model_fields)
_CLEAR = frozenset({"grpc", "grpc+tcp", "http"})
"""Schemes that neither encrypt nor check who answers."""
_FLIGHT_SQL = ("grpc+tls", "grpc", "grpc+tcp", "grpc+unix")
_SECRET_NAME = re.compile(
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|credential|authorization|header|cookie|key$|_key|ur[il]$"
)
"""Names of options whose values are masked in logs, and warned of where others can read the file."""


def is_library(driver: str) -> bool:
    """Whether ``driver`` is the path of a shared library, rather than the name of a driver."""
    return "/" in driver or driver.endswith(_LIBRARY_ENDINGS)


def names_secret(option: str) -> bool:
    """Whether the value of an option of that name is a secret even as plain text."""
    return _SECRET_NAME.search(option.lower()) is not None


def uri_fault(driver: str, uri: str) -> str | None:
    """Return what is wrong with an address, in words that do not show it; None if nothing is."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return "it is not a URI: write it as the driver's documentation shows"
    if _is_clear(uri, parts.scheme) and not is_loopback(host):
        tls = {"http": "https", "sc": "…/;use_ssl=true", "spark": "…?tls=true"}.get(parts.scheme, "grpc+tls")
        return f"use {tls}: it would cross the network in the clear ({parts.scheme} is for this machine only)"
    if driver == "flightsql" and parts.scheme not in _FLIGHT_SQL:
        return 'write the server\'s address, such as "grpc+tls://sql.example.com:443"'
    return None


def _is_clear(uri: str, scheme: str) -> bool:
    if scheme == "sc":  # Spark Connect
        return not re.search(r";\s*(?:use_ssl=true|token=)", uri, re.IGNORECASE)
    if scheme == "spark":
        return re.search(r"[?&]tls=true", uri, re.IGNORECASE) is None
    return scheme in _CLEAR


def _check_driver(value: str) -> str:
    if is_library(value) and "://" not in value:
        return check_path(value)
    if not _NAME.fullmatch(value):
        raise ValueError('write a driver\'s name, such as "flightsql", or the path of its library')
    return value.removeprefix("adbc_driver_").removeprefix("adbc-driver-").replace("-", "_")


def _check_dialect(value: str) -> str:
    if value not in DIALECTS:
        raise ValueError(f"use one of {', '.join(sorted(DIALECTS))}")
    return value


def _check_options(value: object) -> object:
    """Turn each option into text, or, by its name or since it is a reference, into a secret."""
    if not isinstance(value, Mapping):
        raise ValueError('write a table, such as { username = "reader" }')  # noqa: TRY004 - pydantic makes a fault of a ValueError only
    return {name: _option(name, each) for name, each in value.items()}


def _option(name: str, value: object) -> str | SecretStr | SecretReference:
    if not name.strip():
        key_fault(name, "an option has a name")
    if isinstance(value, str) and not names_secret(name):
        return value
    if isinstance(value, Mapping) and not value.keys() & _REFERENCE_KEYS:
        example = f"{name}.{next(iter(value), '…')}"
        key_fault(name, f'write the whole name of the option in quotes, such as "{example}" = "…"')
    if isinstance(value, bool | int | float):
        key_fault(name, f"{name}: write the value in quotes: the driver reads text")
    try:
        return check_secret(value)
    except ValueError as error:
        key_fault(name, f"{name}: {error}")


class AdbcConnection(ConnectionSettings):
    """A database that an ADBC driver reaches: Flight SQL, Snowflake, BigQuery and others."""

    type: Literal["adbc"] = Field(description="`adbc`", examples=['"adbc"'])
    driver: Annotated[Text, AfterValidator(_check_driver)] = Field(
        description="`flightsql`, `snowflake`, `bigquery`, or another NAME whose package `adbc-driver-NAME` is "
        "installed; or the path of a driver's shared library",
        examples=['"flightsql"'],
    )
    dialect: Annotated[Text, AfterValidator(_check_dialect)] | None = Field(
        default=None,
        description="the SQL that is spoken there, such as `spark` or `postgres`: decides how strings, comments "
        "and values are read, and what Treasure Data's time functions become; default: by the driver, and none for "
        "Flight SQL",
        examples=['"spark"'],
    )
    uri: Secret | None = Field(
        default=None,
        description="where the database is, as its driver writes it: `grpc+tls://host:port` for Flight SQL "
        "(`grpc://` for this machine only); a secret since it may hold a password",
    )
    options: Annotated[dict[str, str | SecretStr | SecretReference], BeforeValidator(_check_options)] = Field(
        default={},
        description="the driver's own options by name, each text or a reference to a secret",
        examples=['{ username = "reader", password = { env = "SQL_PASSWORD" } }'],
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.driver == "flightsql" and self.uri is None:
            key_fault("uri", 'uri is missing: write uri = "grpc+tls://sql.example.com:443"')
        if isinstance(self.uri, SecretStr) and (fault := uri_fault(self.driver, self.uri.get_secret_value())):
            key_fault("uri", f"uri: {fault}")
        for name in ("driver", "uri"):
            if name in self.options:
                key_fault("options", f"{name} is a key of its own: write it beside options")
        return self
