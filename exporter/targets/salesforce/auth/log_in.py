"""Logging in: from a connection's credentials to a token and the instance it is good for, by whichever way."""

from dataclasses import replace
from urllib.parse import urlsplit

from exporter.failures import configuration
from exporter.settings.base import is_loopback
from exporter.settings.salesforce import SHARED_LOGIN_HOSTS, SalesforceConnection
from exporter.targets.salesforce.auth import client_credentials, jwt_bearer, refresh, session_id, soap
from exporter.targets.salesforce.auth.advice import advise
from exporter.targets.salesforce.auth.token_response import Login
from exporter.targets.salesforce.http.http_session import CallError, OrgSession

__all__ = ["Login", "can_renew", "check_login_url", "fit_advice", "log_in"]


def can_renew(connection: SalesforceConnection) -> bool:
    """Whether a session that ended can be followed by another."""
    return connection.auth != "session_id"


def check_login_url(connection: SalesforceConnection) -> None:
    """Refuse an address that cannot serve the login, before anything is sent there.

    Raises configuration ``LOGIN_HOST`` or ``PLAIN_HTTP``.
    """
    url = urlsplit(connection.login_url)
    host = (url.hostname or "").rstrip(".")
    if connection.auth == "client_credentials" and host in SHARED_LOGIN_HOSTS:  # help article 000886201
        raise configuration(
            "LOGIN_HOST",
            f"{host} does not serve the client-credentials login: set login_url to the org's own address "
            "(My Domain), such as https://yourorg.my.salesforce.com",
        )
    if url.scheme != "https" and not is_loopback(host):
        message = f"login_url = {connection.login_url}: use https, for the secret must not be readable"
        raise configuration("PLAIN_HTTP", message)


def log_in(org: OrgSession, connection: SalesforceConnection) -> Login:
    """Log in once, by ``auth``. Raises CallError, whose advice fits that, or ExportError; nothing is ever revoked."""
    check_login_url(connection)
    try:
        match connection.auth:
            case "client_credentials":
                return client_credentials.log_in(org, connection)
            case "credentials":
                return soap.log_in(org, connection)
            case "oauth":
                return refresh.log_in(org, connection)
            case "session_id":
                return session_id.log_in(connection)
            case "jwt":
                return jwt_bearer.log_in(org, connection)
    except CallError as error:
        raise fit_advice(error, connection.auth, connection.login_command) from error


def fit_advice(error: CallError, auth: str, command: str) -> CallError:
    """Return a refused login's error with the advice that fits how one tried to log in."""
    advice = advise(auth, error.code, error.message, usual=error.rule.advice, command=command)
    return error.with_rule(replace(error.rule, advice=advice))
