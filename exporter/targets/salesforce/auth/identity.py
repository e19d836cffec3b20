"""Whose login a connection is, as far as Salesforce tells: for a person who checks it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from exporter.failures import ExportError
from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.auth.advice import renewal_refused
from exporter.targets.salesforce.auth.log_in import Login, log_in
from exporter.targets.salesforce.http.error_codes import Verdict, Where
from exporter.targets.salesforce.http.http_session import CallError, OrgSession, diagnosing
from exporter.targets.salesforce.http.responses import UnreadableAnswerError, parse_json

_VERSION = "60.0"
"""Of the call that asks for the user: any that is not deprecated does."""

_NOT_SHOWN = frozenset({"NOT_FOUND", "INSUFFICIENT_ACCESS", "INVALID_TYPE", "INVALID_FIELD", "REQUEST_LIMIT_EXCEEDED"})
"""Refusals of somebody who is logged in, but may not look at users, or has no calls left."""

HOW = {
    "client_credentials": "client credentials",
    "credentials": "user name and password",
    "oauth": "a refresh token",
    "session_id": "a session id",
    "jwt": "a signed statement (JWT bearer)",
}
"""How each ``auth`` logs in, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who is logged in where. ``username`` is None where Salesforce does not tell."""

    username: str | None
    instance_url: str


def identify(connection: SalesforceConnection) -> Identity:
    """Log in, make one call that takes the session, and say who it is. Raises ExportError.

    What may pass is tried once more, soon, for a person waits.
    """
    with OrgSession(connection) as session:
        try:
            return _ask(session, connection)
        except CallError as error:
            if error.rule.verdict is not Verdict.TRANSIENT:
                raise _outward(error, connection) from error
        time.sleep(min(connection.initial_retry_delay, 1))
        try:
            return _ask(session, connection)
        except CallError as error:
            raise _outward(error, connection) from error


def _ask(session: OrgSession, connection: SalesforceConnection) -> Identity:
    login = log_in(session, connection)
    return Identity(username=ask_username(session, login), instance_url=login.instance_url)


def ask_username(session: OrgSession, login: Login) -> str | None:
    """Return the login name of the session's user, or None if the user may not read it. Raises CallError."""
    path = "limits"
    if login.user_id is not None:
        path = f"sobjects/User/{quote(login.user_id, safe='')}?fields=Username"
    url = f"{login.instance_url}/services/data/v{_VERSION}/{path}"
    host = login.instance_url.partition("://")[2]
    try:
        with diagnosing(Where.CALL, host):
            answer = session.exchange("GET", url, headers={"Authorization": f"Bearer {login.token}"})
    except CallError as error:
        if error.code in _NOT_SHOWN:
            return login.username
        raise
    try:
        body = parse_json(answer.content)
    except UnreadableAnswerError:
        return login.username
    found = body.get("Username") if isinstance(body, Mapping) else None
    return found if isinstance(found, str) else login.username


def _outward(error: CallError, connection: SalesforceConnection) -> ExportError:
    if error.rule.verdict is not Verdict.SESSION:
        return error.outward()
    failure = error.outward()
    return ExportError(failure.kind, failure.code, f"{failure.message}: {renewal_refused(connection.auth)}")
