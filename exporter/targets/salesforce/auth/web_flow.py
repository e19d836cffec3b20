"""OAuth's web server flow with PKCE: a person agrees in a browser, and the connection gets its refresh token."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from exporter.failures import ExportError, configuration
from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.auth.advice import WEB_FLOW, advise
from exporter.targets.salesforce.auth.identity import Identity, ask_username, identify
from exporter.targets.salesforce.auth.log_in import check_login_url, fit_advice
from exporter.targets.salesforce.auth.refresh import patience, token_file
from exporter.targets.salesforce.auth.token_response import Granted, ask_token, reveal
from exporter.targets.salesforce.auth.token_store import KeptToken
from exporter.targets.salesforce.http.error_codes import Where, classify
from exporter.targets.salesforce.http.http_session import CallError, OrgSession

_SCOPES = "api refresh_token"
"""All that an export needs: calls, and to log in when nobody sits there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebLogin:
    """A login that has begun: the page for the person's browser, and what proves that the answer is ours.

    ``command`` begins another one.
    """

    url: str
    redirect_uri: str
    command: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


def begin(connection: SalesforceConnection, redirect_uri: str) -> WebLogin:
    """Begin a login that ends at ``redirect_uri``, which the app has to know. Sends nothing. Raises configuration."""
    check_login_url(connection)
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(64)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": connection.client_id or "",
        "redirect_uri": redirect_uri,
        "scope": _SCOPES,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    url = f"{connection.login_url}/services/oauth2/authorize?{urlencode(query)}"
    return WebLogin(
        url=url, redirect_uri=redirect_uri, command=connection.login_command, state=state, verifier=verifier
    )


def read_code(login: WebLogin, answer: str) -> str:
    """Take the code out of the address that the browser was sent to, or of a bare code that a person pasted.

    Raises configuration ``LOGIN_DENIED``, ``LOGIN_STATE`` or ``LOGIN_CODE``.
    """
    answer = answer.strip()
    if not any(mark in answer for mark in ("?", "&", "://")):
        if not answer or any(letter.isspace() for letter in answer):
            raise configuration("LOGIN_CODE", "that is no code: paste the whole address that the browser ended at")
        return unquote(answer)
    query = urlsplit(answer).query or answer
    given = {name: values[0] for name, values in parse_qs(query).items()}
    if not secrets.compare_digest(given.get("state", "").encode(), login.state.encode()):
        raise configuration("LOGIN_STATE", "the answer belongs to another login (its state is not ours): begin again")
    if "error" in given:
        raise _refused(given["error"], given.get("error_description", ""), login.command)
    if "code" not in given:
        raise configuration("LOGIN_CODE", "the address holds no code: paste the one that the browser ended at")
    return given["code"]


def finish(connection: SalesforceConnection, login: WebLogin, code: str) -> Identity:
    """Redeem the code, keep the refresh token, try it once, and say who logged in. Raises ExportError."""
    file = token_file(connection)
    file.make_directory()
    with OrgSession(connection) as session:
        try:
            with file.locked(patience(connection)), file.replacing() as write:
                granted = _redeem(session, connection, login, code)
                if granted.refresh_token is None:
                    message = "the app gives no refresh token: add the scope refresh_token to its OAuth settings"
                    raise configuration("NO_REFRESH_TOKEN", message)
                username = ask_username(session, granted.login)
                kept = KeptToken(
                    refresh_token=granted.refresh_token, client_id=connection.client_id or "", username=username
                )
                write(kept)
        except CallError as error:
            raise error.outward() from error
    found = identify(connection)  # as the daemon will: where the org rotates tokens, this one is replaced here
    return replace(found, username=found.username or username)


def _redeem(session: OrgSession, connection: SalesforceConnection, login: WebLogin, code: str) -> Granted:
    form = {
        "grant_type": "authorization_code",
        "client_id": connection.client_id or "",
        "redirect_uri": login.redirect_uri,
        "code": code,
        "code_verifier": login.verifier,
    }
    if connection.client_secret is not None:
        form["client_secret"] = reveal("client_secret", connection.client_secret)
    try:
        return ask_token(session, connection, form)
    except CallError as error:
        raise fit_advice(error, WEB_FLOW, connection.login_command) from error


def _refused(code: str, description: str, command: str) -> ExportError:
    if code == "access_denied":
        return configuration("LOGIN_DENIED", f"access was denied in the browser ({description or code})")
    usual = classify(Where.LOGIN, code, description).advice
    advice = advise(WEB_FLOW, code, description, usual=usual, command=command)
    words = f"Salesforce refused the login: {code}: {description}"
    return configuration("LOGIN_DENIED", f"{words}: {advice}" if advice else words)
