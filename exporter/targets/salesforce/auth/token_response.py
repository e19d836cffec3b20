"""What a login gives, and asking the token endpoint for it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from pydantic import SecretStr

from exporter.failures import configuration, internal
from exporter.settings.base import SecretReference, is_loopback
from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.http.error_codes import Where
from exporter.targets.salesforce.http.http_session import CallError, OrgSession, diagnosing
from exporter.targets.salesforce.http.responses import UnreadableAnswerError, known_id, parse_json, read_token

_INSTANCE = re.compile(
    r"https?://(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?/?"
)
_LAST_PORT = 65_535
_ORG_ID = re.compile(r"00D[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?")
_SALESFORCE = (
    "salesforce.com",
    "force.com",
    "cloudforce.com",
    "database.com",
    "salesforce.mil",
    "crmforce.mil",
    "govforce.com",
    "sfcrmproducts.cn",
    "sfcrmapps.cn",
)
"""Where Salesforce serves orgs: the usual ones, those of its government clouds, and of China."""
_PUBLIC = frozenset({"grant_type", "client_id", "redirect_uri"})
"""What a form holds besides secrets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """A token, which is never printed, and the root URL of the instance that takes it, without a trailing slash.

    ``username`` and ``user_id`` say whose it is, and ``org`` of which org, as far as the login tells.
    """

    token: str = field(repr=False)
    instance_url: str
    username: str | None = None
    user_id: str | None = None
    org: str | None = None

    @property
    def org_id(self) -> str | None:
        """The 15 characters of the org's id, which a session id begins with, too; None if nothing tells them."""
        for text in (self.org or "", self.token.partition("!")[0]):
            if _ORG_ID.fullmatch(text):
                return text[:15]
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Granted:
    """A login by OAuth, and the refresh token that came with it, if one did."""

    login: Login
    refresh_token: str | None = field(default=None, repr=False)


def reveal(key: str, secret: SecretStr | SecretReference | None) -> str:
    """Return a secret that was looked up; empty for none. Raises internal if nobody did."""
    if secret is None:
        return ""
    if not isinstance(secret, SecretStr):
        raise internal("SECRET_UNRESOLVED", f"{key} is a reference that nobody has looked up")
    return secret.get_secret_value()


def ask_token(session: OrgSession, connection: SalesforceConnection, form: Mapping[str, str]) -> Granted:
    """Send a grant to the token endpoint. Raises CallError, without the form's secrets, or ExportError."""
    address = urlsplit(connection.login_url).netloc
    try:
        with diagnosing(Where.LOGIN, address):
            answer = session.exchange(
                "POST",
                f"{connection.login_url}/services/oauth2/token",
                headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                body=urlencode(form).encode(),
            )
            granted = _read_token(answer.content)
    except CallError as error:
        raise error.without(value for key, value in form.items() if key not in _PUBLIC) from None
    check_instance(granted.login.instance_url, connection.login_url)
    return granted


def _read_token(content: bytes) -> Granted:
    body = parse_json(content)
    if not isinstance(body, Mapping):
        raise UnreadableAnswerError("the answer to the login holds no token: check login_url")
    refresh = body.get("refresh_token")
    identity = body.get("id")  # …/id/ORG/USER
    org, _, user_id = identity.rpartition("/") if isinstance(identity, str) else ("", "", "")
    return Granted(
        login=Login(
            token=read_token(body.get("access_token")),
            instance_url=read_instance(body.get("instance_url")),
            user_id=known_id(user_id),
            org=known_id(org.rpartition("/")[2]),
        ),
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
    )


def read_instance(text: object) -> str:
    """Return the root URL of an instance, without a trailing slash. Raises UnreadableAnswerError for any other text."""
    if isinstance(text, str) and (match := _INSTANCE.fullmatch(text)) and int(match["port"] or 0) <= _LAST_PORT:
        return text.rstrip("/")
    raise UnreadableAnswerError("the answer to the login names no instance that can be used: check login_url")


def check_instance(instance_url: str, login_url: str) -> None:
    """Check that an instance, as read by :func:`read_instance`, may have the token. Raises configuration.

    It may if TLS leads there and it is Salesforce's, or of the domain where we logged in; or if both are this machine.
    """
    login, instance = urlsplit(login_url), urlsplit(instance_url)
    host, known = (instance.hostname or "").rstrip("."), (login.hostname or "").rstrip(".")
    if is_loopback(host) and is_loopback(known):
        return
    domains = [*_SALESFORCE, known]
    if known.count(".") > 1:
        domains.append(known.partition(".")[2])
    if instance.scheme == "https" and any(host == domain or host.endswith(f".{domain}") for domain in domains):
        return
    raise configuration(
        "INSTANCE_URL",
        f"{login.netloc} names an instance that cannot be trusted with the token: {instance_url}; check login_url, or "
        "set it to the instance's own address if that is right",
    )
