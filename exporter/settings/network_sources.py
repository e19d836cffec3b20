"""The settings of sources that are reached over the network, as the config file names them. Pure values.

Each key's description is what the reference in ``docs/configuration.md`` prints.
"""

import warnings
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.settings.base import ConnectionSettings, PathText, Secret, Text, is_loopback, key_fault

SslMode = Literal["disabled", "preferred", "required", "verify_ca", "verify_identity"]
"""How far a connection to MySQL is encrypted, in the words of its own client."""


class MysqlConnection(ConnectionSettings):
    """A MySQL or MariaDB database, which is only read: a URL, or its parts."""

    type: Literal["mysql"] = Field(description="`mysql`, for MariaDB too", examples=['"mysql"'])
    url: Secret | None = Field(
        default=None,
        description="`mysql://user@host:3306/database`, a secret since it may hold a password",
    )
    host: Text | None = Field(default=None, description="name, address, or path of the socket")
    port: int | None = Field(default=None, ge=1, le=65_535, description="default: 3306")
    database: Text | None = Field(default=None, description="the database's name", examples=['"shop"'])
    user: Text | None = Field(default=None, description="the account to log in as")
    password: Secret | None = Field(default=None, description="the account's password: a reference, or plain text")
    ssl_mode: SslMode | None = Field(
        default=None,
        description="as in MySQL's own client: from `required` on all is encrypted, from `verify_ca` on the "
        "certificate is checked; default: `verify_identity` with `ca_file`, else `preferred`",
    )
    ca_file: PathText | None = Field(
        default=None, description="certificates to trust instead of the usual ones, as a PEM file"
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.url is None) == (self.database is None):
            key_fault("database", "name the database: either url, or database with host, port, user and password")
        for key in ("host", "port", "user", "password"):
            if self.url is not None and getattr(self, key) is not None:
                key_fault(key, f"{key} stands in url already: remove one of them")
        if self.ca_file is not None and self.ssl_mode not in (None, "verify_ca", "verify_identity"):
            key_fault(
                "ssl_mode", 'ca_file is used to check the certificate: write "verify_identity", or remove ca_file'
            )
        return self


def _check_host(value: str) -> str:
    if "/" in value or "@" in value or "?" in value:
        raise ValueError("write the coordinator's name only: scheme, port and user have keys of their own")
    return value


with warnings.catch_warnings():
    # "schema" is also the name of a method of pydantic's that is deprecated and not used here.
    warnings.filterwarnings("ignore", message='Field name "schema"')

    class TrinoConnection(ConnectionSettings):
        """A Trino cluster, from which is only read."""

        type: Literal["trino"] = Field(description="`trino`", examples=['"trino"'])
        host: Annotated[Text, AfterValidator(_check_host)] = Field(
            description="name or address of the coordinator", examples=['"trino.example.com"']
        )
        port: int | None = Field(
            default=None, ge=1, le=65_535, description="default: 443, with `http_scheme` `http` 8080"
        )
        catalog: Text | None = Field(default=None, description="where names without a catalog are looked up")
        schema: Text | None = Field(  # type: ignore[assignment] # see above
            default=None, description="where names without a schema are looked up"
        )
        user: Text = Field(description="who asks", examples=['"reader"'])
        password: Secret | None = Field(
            default=None, description="the user's password: a reference, or plain text; not over `http`"
        )
        http_scheme: Literal["https", "http"] = Field(
            default="https", description="`http` sends rows in the clear, and a password to this machine only"
        )
        ca_file: PathText | None = Field(
            default=None, description="certificates to trust instead of the usual ones, as a PEM file"
        )

        @model_validator(mode="after")
        def _check_keys(self) -> Self:
            if self.password is not None and self.http_scheme == "http" and not is_loopback(self.host):
                key_fault(
                    "http_scheme",
                    "use https: the password would cross the network in the clear (http is for this machine only)",
                )
            if self.ca_file is not None and self.http_scheme == "http":
                key_fault("ca_file", "ca_file belongs to https: remove it")
            return self


class SqlalchemyConnection(ConnectionSettings):
    """Any database that SQLAlchemy has a dialect for, which is only read."""

    type: Literal["sqlalchemy"] = Field(description="`sqlalchemy`", examples=['"sqlalchemy"'])
    url: Secret = Field(
        description="`dialect+driver://user:password@host/database`, a secret since it may hold a password; the driver "
        "has to be installed beside schedctl",
        examples=['{ env = "ERP_URL" }'],
    )
