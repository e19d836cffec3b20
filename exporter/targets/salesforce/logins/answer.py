"""What a login gives, and asking the token endpoint for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from pydantic import SecretStr

from exporter.failures import configuration, internal
from exporter.salesforce_settings import SalesforceConnection, is_loopback
from exporter.settings import SecretReference
from exporter.targets.salesforce.answers import UnreadableAnswerError
from exporter.targets.salesforce.codes import Where
from exporter.targets.salesforce.wire import CallError, OrgSession, diagnosing

_NO_TOKEN = "the answer to the login holds no token: check login_url"  # noqa: S105 - it says that there is none
_PUBLIC = frozenset({"grant_type", "client_id", "redirect_uri"})
"""What a form holds besides secrets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """A token, which is never printed, and the root URL of the instance that takes it, without a trailing slash.

    ``username`` and ``user_id`` say whose it is, as far as the login tells.
    """

    token: str = field(repr=False)
    instance_url: str
    username: str | None = None
    user_id: str | None = None


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
    try:
        body = json.loads(content)
        token, instance_url = body["access_token"], body["instance_url"]
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableAnswerError(_NO_TOKEN) from error
    if not isinstance(token, str) or not isinstance(instance_url, str) or not token:
        raise UnreadableAnswerError(_NO_TOKEN)
    refresh = body.get("refresh_token")
    identity = body.get("id")  # …/id/ORG/USER
    user_id = identity.rpartition("/")[2] if isinstance(identity, str) else None
    return Granted(
        login=Login(token=token, instance_url=instance_url.rstrip("/"), user_id=user_id or None),
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
    )


def check_instance(instance_url: str, login_url: str) -> None:
    """Trust the answer's address with the token only over TLS, or on this machine if that is where we logged in."""
    here, there = urlsplit(login_url), urlsplit(instance_url)
    if there.scheme == "https" and there.hostname:
        return
    if there.scheme == "http" and is_loopback(there.hostname or "") and is_loopback(here.hostname or ""):
        return
    raise configuration(
        "INSTANCE_URL", f"{here.netloc} names an instance that cannot be trusted with the token: {instance_url}"
    )
