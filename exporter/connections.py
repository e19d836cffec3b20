"""The settings of every connection and export, as the config file names them. Pure values: nothing is opened here.

Each key's description is what the reference in ``docs/configuration.md`` prints.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Literal, NoReturn, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from exporter.settings import (
    Duration,
    PathText,
    PositiveDuration,
    Secret,
    SecretReference,
    Settings,
    Text,
    key_fault,
    parse_duration,
)

__all__ = [
    "CONNECTION_MODELS",
    "EXPORT_MODELS",
    "SOURCE_TYPES",
    "TARGET_TYPES",
    "Connection",
    "DuckdbConnection",
    "Duration",
    "ExportOptions",
    "FileConnection",
    "FileExport",
    "MappedColumn",
    "MappingParameter",
    "OutputMapping",
    "SalesforceConnection",
    "SalesforceExport",
    "Secret",
    "SecretReference",
    "SecretStr",
    "Segment",
    "Settings",
    "parse_duration",
]


class ConnectionSettings(Settings):
    """The base of all connections."""

    def __reduce__(self) -> NoReturn:
        """Refuse: a pickle would hold the secrets in the clear."""
        raise TypeError(f"{type(self).__name__} cannot be pickled: it may hold secrets")


class DuckdbConnection(ConnectionSettings):
    """A DuckDB database file, or none for an in-memory one that reads Parquet, CSV and JSON files by path."""

    type: Literal["duckdb"] = Field(description="`duckdb`", examples=['"duckdb"'])
    path: PathText | None = Field(
        default=None, description="the database file; none: in memory, for reading files by path"
    )
    read_only: bool = Field(default=True, description="open the file for reading only, so that others may read it too")


class FileConnection(ConnectionSettings):
    """A directory that receives files."""

    type: Literal["file"] = Field(description="`file`", examples=['"file"'])
    directory: PathText = Field(description="where the files go; made when it is missing", examples=['"out"'])


_SHARED_LOGIN_HOSTS = frozenset({"login.salesforce.com", "test.salesforce.com"})


def is_loopback(host: str) -> bool:
    """Whether a URL's host can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_login_url(value: str) -> str:
    """Accept the root URL of an org, without its trailing slash."""
    try:
        url = urlsplit(value)
        host = url.hostname or ""
        url.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        raise ValueError('write a URL such as "https://yourorg.my.salesforce.com"') from error
    if url.scheme not in {"https", "http"} or not host:
        raise ValueError('write a URL such as "https://yourorg.my.salesforce.com"')
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError("use https: the secret would cross the network in the clear (http is for this machine only)")
    if url.username is not None or url.path.strip("/") or url.query or url.fragment:
        raise ValueError("write the org's address only: no user, path or query")
    # Salesforce help article 000886201: the client-credentials flow is served by the org's own domain alone.
    if host.lower().rstrip(".") in _SHARED_LOGIN_HOSTS:
        raise ValueError(
            "the client-credentials login works only at the org's own address: write your My Domain, such as "
            '"https://yourorg.my.salesforce.com" or "https://yourorg--sandbox.sandbox.my.salesforce.com"'
        )
    return value.rstrip("/")


class SalesforceConnection(ConnectionSettings):
    """A Salesforce org and how to log in to it."""

    type: Literal["salesforce"] = Field(description="`salesforce`", examples=['"salesforce"'])
    auth: Literal["client_credentials"] = Field(default="client_credentials", description="how to log in")
    login_url: Annotated[str, AfterValidator(_check_login_url)] = Field(
        description="the org's own address (My Domain); `http://` for this machine only",
        examples=['"https://yourorg.my.salesforce.com"'],
    )
    client_id: Text = Field(description="the app's consumer key", examples=['"3MVG…"'])
    client_secret: Secret = Field(
        description="the app's consumer secret: a reference, or plain text", examples=['{ credential = "crm_secret" }']
    )
    initial_retry_delay: Duration = Field(default=5, description="wait before the first retry of a call; it doubles")
    retry_limit: int = Field(default=5, ge=0, le=100, description="how often one call is tried again")
    connect_timeout: PositiveDuration = Field(default=30, description="give up connecting after this")
    read_timeout: PositiveDuration = Field(default=120, description="give up waiting for an answer after this")


Connection = Annotated[DuckdbConnection | FileConnection | SalesforceConnection, Field(discriminator="type")]
CONNECTION_MODELS: Mapping[str, type[DuckdbConnection | FileConnection | SalesforceConnection]] = {
    "duckdb": DuckdbConnection,
    "file": FileConnection,
    "salesforce": SalesforceConnection,
}
SOURCE_TYPES = frozenset({"duckdb"})
TARGET_TYPES = frozenset({"file", "salesforce"})

_API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_API_VERSION = re.compile(r"([0-9]{2,3})\.0")
OLDEST_API_VERSION = 31
"""30.0 and older answer nothing any more (Salesforce help article 000354473)."""
OLDEST_SAFE_API_VERSION = 41
"""31.0 to 40.0 are deprecated from Summer '27 and end in Summer '28 (Salesforce help article 005321531)."""


def _check_api_name(value: str) -> str:
    if not _API_NAME.fullmatch(value):
        raise ValueError("write the API name: letters, digits and underscores, such as Contact or Ext_Id__c")
    return value


def _check_api_version(value: object) -> object:
    match = _API_VERSION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write the version in quotes, such as "62.0"')
    if int(match[1]) < OLDEST_API_VERSION:
        raise ValueError(f'Salesforce has switched off everything below {OLDEST_API_VERSION}.0: use "62.0"')
    return value


ApiName = Annotated[str, AfterValidator(_check_api_name)]
ApiVersion = Annotated[str, BeforeValidator(_check_api_version)]


class SalesforceExport(Settings):
    """What a run does to one object of an org."""

    object: ApiName = Field(description="API name of the object", examples=['"Contact"'])
    mode: Literal["append", "update"] = Field(default="append", description="`append` inserts; `update` changes by key")
    key: ApiName | None = Field(default=None, description="with `update`: the external id field, or `Id`")
    upsert: bool = Field(default=False, description="with `update`: insert the rows whose key is new")
    concurrency_mode: Literal["parallel", "serial"] = Field(
        default="parallel", description="`serial` avoids lock errors between the batches of a run"
    )
    batch_size: int = Field(default=10_000, ge=1, le=10_000, description="rows per batch, at most")
    api_version: ApiVersion = Field(default="62.0", description="from 31.0 on; below 41.0 with a warning")
    bulk_api: Literal["1"] = Field(default="1", description="which Bulk API")
    nulls: Literal["ignore", "clear"] = Field(
        default="ignore", description="what a NULL does on update: leave the field alone, or empty it"
    )
    initial_retry_delay: Duration | None = Field(default=None, description="overrides the connection's")
    retry_limit: int | None = Field(default=None, ge=0, le=100, description="overrides the connection's")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.mode == "update" and self.key is None:
            key_fault("key", 'key is missing: mode = "update" needs it, such as key = "Ext_Id__c" or key = "Id"')
        for name, value in (("key", self.key is not None), ("upsert", self.upsert)):
            if value and self.mode != "update":
                key_fault(name, f'{name} belongs to mode = "update": set that, or remove {name}')
        if self.key is not None and self.key.lower() != "id" and not self.upsert:
            key_fault("key", f'key = "{self.key}": without upsert = true this version updates by key = "Id" only')
        return self


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
    string: str | None = Field(default=None, description="instead of `source`: text with `$1`, `$2`, …")
    parameters: tuple[MappingParameter, ...] = Field(
        default=(), strict=False, description="with `string`: what `$1`, `$2`, … stand for, in order"
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.source is None) == (self.string is None):
            key_fault("source", "a column has either source or string")
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


NOT_YET: Mapping[str, frozenset[str]] = {
    "type": frozenset({"sqlite", "postgresql", "mysql", "trino", "treasure_data", "sqlalchemy", "adbc"}),
    "auth": frozenset({"credentials", "oauth", "session_id", "jwt"}),
    "mode": frozenset({"truncate"}),
    "bulk_api": frozenset({"2"}),
}
"""Values of a key that a later version will take: a fault says so instead of calling them wrong."""
NOT_YET_KEYS = frozenset({"hard_delete", "allow_empty", "proxy", "ca_file", "source_address", "metrics", "include"})
"""Keys that a later version will have."""
