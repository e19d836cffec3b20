"""Logging in: from a connection's credentials to a token and the instance it is good for."""

import json
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from pydantic import SecretStr

from exporter.failures import configuration, internal
from exporter.salesforce_settings import SalesforceConnection, is_loopback
from exporter.targets.salesforce.answers import UnreadableAnswerError
from exporter.targets.salesforce.codes import Where
from exporter.targets.salesforce.wire import OrgSession, diagnosing

_SHARED_HOSTS = frozenset({"login.salesforce.com", "test.salesforce.com"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """A token, which is never printed, and the root URL of the instance that takes it, without a trailing slash."""

    token: str = field(repr=False)
    instance_url: str


def check_login_url(login_url: str) -> None:
    """Refuse an address that cannot serve the client-credentials login, before anything is sent there.

    Raises configuration ``LOGIN_HOST`` or ``PLAIN_HTTP``.
    """
    host = (urlsplit(login_url).hostname or "").rstrip(".")
    if host in _SHARED_HOSTS:  # Salesforce help article 000886201
        raise configuration(
            "LOGIN_HOST",
            f"{host} does not serve the client-credentials login: set login_url to the org's own address "
            "(My Domain), such as https://yourorg.my.salesforce.com",
        )
    if urlsplit(login_url).scheme != "https" and not is_loopback(host):
        raise configuration("PLAIN_HTTP", f"login_url = {login_url}: use https, for the secret must not be readable")


def log_in(session: OrgSession, connection: SalesforceConnection) -> Login:
    """Ask for a token by the client-credentials grant. Raises CallError or ExportError; nothing is ever revoked."""
    check_login_url(connection.login_url)
    if connection.auth != "client_credentials":
        raise configuration("AUTH", f'auth = "{connection.auth}": this version does not have it yet')
    secret = connection.client_secret
    if not isinstance(secret, SecretStr):
        raise internal("SECRET_UNRESOLVED", "client_secret is a reference that nobody has looked up")
    form = {
        "grant_type": "client_credentials",
        "client_id": connection.client_id or "",
        "client_secret": secret.get_secret_value(),
    }
    with diagnosing(Where.LOGIN, urlsplit(connection.login_url).netloc):
        answer = session.exchange(
            "POST",
            f"{connection.login_url}/services/oauth2/token",
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            body=urlencode(form).encode(),
        )
        token, instance_url = _read_token(answer.content)
    _check_instance(instance_url, connection.login_url)
    return Login(token=token, instance_url=instance_url)


def _read_token(content: bytes) -> tuple[str, str]:
    try:
        body = json.loads(content)
        token, instance_url = body["access_token"], body["instance_url"]
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableAnswerError("the answer to the login holds no token: check login_url") from error
    if not isinstance(token, str) or not isinstance(instance_url, str) or not token:
        raise UnreadableAnswerError("the answer to the login holds no token: check login_url")
    return token, instance_url.rstrip("/")


def _check_instance(instance_url: str, login_url: str) -> None:
    """Trust the answer's address with the token only over TLS, or on this machine if that is where we logged in."""
    here, there = urlsplit(login_url), urlsplit(instance_url)
    if there.scheme == "https" and there.hostname:
        return
    if there.scheme == "http" and is_loopback(there.hostname or "") and is_loopback(here.hostname or ""):
        return
    raise configuration(
        "INSTANCE_URL", f"{here.netloc} names an instance that cannot be trusted with the token: {instance_url}"
    )
