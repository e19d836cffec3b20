"""The settings of a Salesforce connection and of an export to it, as the config file names them. Pure values.

Each key's description is what the reference in ``docs/configuration.md`` prints.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from exporter.settings.base import (
    ConnectionSettings,
    Duration,
    PathText,
    PositiveDuration,
    Secret,
    Settings,
    Text,
    is_loopback,
    key_fault,
)

SHARED_LOGIN_HOSTS = frozenset({"login.salesforce.com", "test.salesforce.com"})
"""The addresses that serve every org; which logins work there depends on ``auth``."""


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
    return value.rstrip("/")


def _check_address(value: str) -> str:
    try:
        ip_address(value)
    except ValueError as error:
        raise ValueError('write an IP address of this machine, such as "192.0.2.10"') from error
    return value


_NEEDED: Mapping[str, tuple[str, ...]] = {
    "client_credentials": ("client_id", "client_secret"),
    "credentials": ("username", "password"),
    "oauth": ("client_id",),
    "session_id": ("session_id",),
    "jwt": ("client_id", "username", "private_key"),
}
_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "client_credentials": (),
    "credentials": ("security_token",),
    "oauth": ("client_secret", "token_file"),
    "session_id": (),
    "jwt": ("audience",),
}
_AUTH_KEYS = (
    "client_id",
    "client_secret",
    "username",
    "password",
    "security_token",
    "session_id",
    "private_key",
    "audience",
    "token_file",
)


DEPRECATED_LOGINS: Mapping[str, str] = {
    "credentials": "Salesforce ends SOAP's login() with Summer '27, and new orgs have it switched off: use "
    '"client_credentials", "oauth" or "jwt"',
    "session_id": 'a session ends within hours, and nothing can renew it: use "client_credentials", "oauth" or "jwt"',
}
"""Logins that should go, and why. The date: the page of login() in Salesforce's SOAP API guide."""


class SalesforceConnection(ConnectionSettings):
    """A Salesforce org and how to log in to it. Which keys a login needs, and may have, hangs on ``auth``."""

    _name: str = PrivateAttr(default="NAME")

    type: Literal["salesforce"] = Field(description="`salesforce`", examples=['"salesforce"'])
    auth: Literal["client_credentials", "credentials", "oauth", "session_id", "jwt"] = Field(
        default="client_credentials", description="how to log in; `credentials` and `session_id` are deprecated"
    )
    login_url: Annotated[str, AfterValidator(_check_login_url)] = Field(
        description="where to log in: the org's own address (My Domain), or with `credentials`, `oauth` and `jwt` also "
        "`https://login.salesforce.com`; with `session_id` the instance; `http://` for this machine only",
        examples=['"https://yourorg.my.salesforce.com"'],
    )
    client_id: Text | None = Field(
        default=None, description="the app's consumer key (not with `credentials`, `session_id`)", examples=['"3MVG…"']
    )
    client_secret: Secret | None = Field(
        default=None,
        description="the app's consumer secret, a reference or plain text (`client_credentials`; `oauth` if the app "
        "asks for it)",
        examples=['{ credential = "crm_secret" }'],
    )
    username: Text | None = Field(default=None, description="the user's login name (`credentials`, `jwt`)")
    password: Secret | None = Field(
        default=None, description="the user's password (`credentials`); the security token may be appended to it"
    )
    security_token: Secret | None = Field(
        default=None, description="the user's security token (`credentials`), unless the password ends with it"
    )
    session_id: Secret | None = Field(
        default=None, description="a session's id (`session_id`); it ends, and nothing can renew it"
    )
    private_key: Secret | None = Field(
        default=None, description="the RSA key in PEM form whose certificate the app knows (`jwt`)"
    )
    audience: Text | None = Field(default=None, description="`aud` of the assertion (`jwt`); default: `login_url`")
    token_file: PathText | None = Field(
        default=None,
        description="where `schedctl login` keeps the refresh token (`oauth`); default: in the state directory",
    )
    initial_retry_delay: Duration = Field(default=5, description="wait before the first retry of a call; it doubles")
    retry_limit: int = Field(default=5, ge=0, le=100, description="how often one call is tried again")
    connect_timeout: PositiveDuration = Field(default=30, description="maximum time to connect")
    read_timeout: PositiveDuration = Field(default=120, description="maximum time to wait for an answer")
    proxy: Secret | None = Field(
        default=None, description="URL of the HTTP proxy for every call, a secret since it may hold a password"
    )
    ca_file: PathText | None = Field(
        default=None, description="certificates to trust instead of the usual ones, as a PEM file"
    )
    source_address: Annotated[str, AfterValidator(_check_address)] | None = Field(
        default=None, description="the address of this machine to call from, where the org allows addresses by list"
    )

    def named(self, name: str) -> Self:
        """Return the connection with its name in the config file, so that errors can say which command helps."""
        copy = self.model_copy()
        copy._name = name  # noqa: SLF001 - a copy of our own
        return copy

    @property
    def login_command(self) -> str:
        """The command by which a person logs in to this connection."""
        return f"schedctl login {self._name}"

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        needed, allowed = _NEEDED[self.auth], _ALLOWED[self.auth]
        for key in needed:
            if getattr(self, key) is None:
                key_fault(key, f'{key} is missing: auth = "{self.auth}" needs {" and ".join(needed)}')
        for key in _AUTH_KEYS:
            if getattr(self, key) is not None and key not in needed and key not in allowed:
                key_fault(key, f'{key} does not belong to auth = "{self.auth}": remove it')
        host = (urlsplit(self.login_url).hostname or "").lower().rstrip(".")
        # Salesforce help article 000886201: the client-credentials flow is served by the org's own domain alone.
        if self.auth == "client_credentials" and host in SHARED_LOGIN_HOSTS:
            key_fault(
                "login_url",
                f'login_url = "{self.login_url}": '
                "the client-credentials login works only at the org's own address: write your My Domain, "
                'such as "https://yourorg.my.salesforce.com" or "https://yourorg--sandbox.sandbox.my.salesforce.com"',
            )
        if self.auth == "session_id" and host in SHARED_LOGIN_HOSTS:
            message = f'login_url = "{self.login_url}": a session belongs to an instance: write that one\'s address'
            key_fault("login_url", message)
        return self


_API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_API_VERSION = re.compile(r"([0-9]{2,3})\.0")
OLDEST_API_VERSION = 31
"""30.0 and older answer nothing any more (Salesforce help article 000354473)."""
OLDEST_SAFE_API_VERSION = 41
"""31.0 to 40.0 are deprecated from Summer '27 and end in Summer '28 (Salesforce help article 005321531)."""
OLDEST_BULK_2 = 41
"""Bulk API 2.0 came with 41.0 (Bulk API guide)."""


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


def _check_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:  # what it raises for text that is no zone, no name, a directory
        raise ValueError('write an IANA time zone such as "UTC" or "Europe/Berlin"') from error
    return value


ApiName = Annotated[str, AfterValidator(_check_api_name)]
ApiVersion = Annotated[str, BeforeValidator(_check_api_version)]


class SalesforceExport(Settings):
    """What a run does to one object of an org."""

    object: ApiName = Field(description="API name of the object", examples=['"Contact"'])
    mode: Literal["append", "truncate", "update"] = Field(
        default="append",
        description="`append` inserts; `truncate` deletes all records, then inserts; `update` changes by key",
    )
    key: ApiName | None = Field(
        default=None, description="with `update`: the field that finds the record; with `upsert` an external id field"
    )
    upsert: bool = Field(default=False, description="with `update`: insert the rows whose key is new")
    hard_delete: bool = Field(default=False, description="with `truncate`: permanently, past the recycle bin")
    allow_empty: bool = Field(default=False, description="with `truncate`: an empty result empties the object")
    concurrency_mode: Literal["parallel", "serial"] = Field(
        default="parallel", description="`serial` avoids lock errors between the batches of a run"
    )
    batch_size: int = Field(default=10_000, ge=1, le=10_000, description="rows per batch, at most")
    api_version: ApiVersion = Field(default="62.0", description="from 31.0 on; below 41.0 with a warning")
    bulk_api: Literal["1", "2"] = Field(default="1", description="which Bulk API; `2` is parallel only")
    nulls: Literal["ignore", "clear"] = Field(
        default="ignore", description="what a NULL does on update: leave the field alone, or empty it"
    )
    naive_timezone: Annotated[str, AfterValidator(_check_zone)] | None = Field(
        default=None, description="the zone of timestamps that have none; without it they are refused"
    )
    initial_retry_delay: Duration | None = Field(default=None, description="overrides the connection's")
    retry_limit: int | None = Field(default=None, ge=0, le=100, description="overrides the connection's")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.mode == "update" and self.key is None:
            key_fault("key", 'key is missing: mode = "update" needs it, such as key = "Ext_Id__c" or key = "Id"')
        for name, value, mode in (
            ("key", self.key is not None, "update"),
            ("upsert", self.upsert, "update"),
            ("hard_delete", self.hard_delete, "truncate"),
            ("allow_empty", self.allow_empty, "truncate"),
        ):
            if value and self.mode != mode:
                key_fault(name, f'{name} belongs to mode = "{mode}": set that, or remove {name}')
        if self.upsert and self.key is not None and self.key.lower() == "id":
            key_fault("key", f'key = "{self.key}": upsert goes by an external id; leave out upsert to update by Id')
        if self.bulk_api == "2" and self.concurrency_mode == "serial":
            key_fault("concurrency_mode", 'concurrency_mode = "serial": Bulk API 2.0 has none, use bulk_api = "1"')
        if self.bulk_api == "2" and int(self.api_version.partition(".")[0]) < OLDEST_BULK_2:
            key_fault(
                "api_version", f'api_version = "{self.api_version}": Bulk API 2.0 needs {OLDEST_BULK_2}.0 or newer'
            )
        return self
