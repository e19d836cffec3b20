"""Every way to log in, against an org that serves them: in, through an expired session, and refused with advice."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr
from support.runs.exports import ListLedger, QuickControl, make_context, make_spool, people
from support.salesforce.logins import (
    AUTHS,
    PASSWORD,
    RIGHTS,
    SECRET,
    SOAP_CALL,
    TOKEN,
    TOKEN_CALL,
    connect,
    logins,
    pem,
    private_key,
    public_pem,
    rights,
    target_of,
)

from exporter.emulator.fault_injection import CallFault
from exporter.emulator.org.org import USERNAME
from exporter.emulator.server import Emulator
from exporter.failures import ExportError, FailureKind
from exporter.settings.connection import SalesforceConnection
from exporter.targets.salesforce.auth.identity import identify
from exporter.targets.salesforce.auth.jwt_bearer import read_key

RENEWING = [auth for auth in AUTHS if auth != "session_id"]
MOMENTS = {
    "describing": "GET .*/describe$",
    "sending": "POST .*/batch$",
    "polling": "GET .*/batch$",
    "reading": "/result$",
}
XML = '<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>{}</e:Body></e:Envelope>'


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(rights=RIGHTS) as served:
        yield served


def bulk_jobs(emulator: Emulator) -> int:
    return emulator.gate.counts().get("POST /services/async/{version}/job", 0)


def refusal(emulator: Emulator, directory: Path, auth: str, **changes: Any) -> ExportError:
    """Return the error of a login that is refused; it says nothing that is secret, and is not repeated."""
    return refused(emulator, connect(auth, emulator, directory, **changes))


def refused(emulator: Emulator, connection: SalesforceConnection) -> ExportError:
    before = logins(emulator)
    with pytest.raises(ExportError) as caught:
        identify(connection)
    assert logins(emulator) - before <= 1
    for key in ("client_secret", "password", "security_token", "session_id", "private_key"):
        secret = getattr(connection, key)
        assert secret is None or secret.get_secret_value() not in str(caught.value)
    assert caught.value.kind is FailureKind.CONFIGURATION
    return caught.value


@pytest.mark.parametrize("auth", AUTHS)
def test_rows_arrive_by_every_login(emulator: Emulator, tmp_path: Path, auth: str) -> None:
    target = target_of(connect(auth, emulator, tmp_path))
    report = target.export(make_spool(tmp_path / "s", people(5)), make_context(ListLedger(), control=QuickControl()))
    assert (report.accepted, emulator.org.count("Contact")) == (5, 5)


@pytest.mark.parametrize("auth", AUTHS)
def test_a_check_says_who_logged_in(emulator: Emulator, tmp_path: Path, auth: str) -> None:
    found = identify(connect(auth, emulator, tmp_path))
    assert found.instance_url == emulator.url
    assert found.username == (None if auth == "session_id" else USERNAME)


@pytest.mark.parametrize("pattern", ["POST /services/(oauth2|Soap)/", "GET .*/(User|limits)"])
@pytest.mark.parametrize("auth", AUTHS)
def test_a_check_tries_once_more_what_may_pass_and_no_more(
    emulator: Emulator, tmp_path: Path, auth: str, pattern: str
) -> None:
    connection = connect(auth, emulator, tmp_path)
    emulator.faults.add(CallFault(pattern=pattern, nth=(1,), action="drop_before"))
    assert identify(connection).instance_url == emulator.url
    emulator.faults.add(CallFault(pattern="/services/", action="answer", status=503))
    with pytest.raises(ExportError) as caught:
        identify(connection)
    assert caught.value.kind is FailureKind.TRANSIENT


@pytest.mark.parametrize(
    ("status", "body"), [(403, '[{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}]'), (200, "[]"), (200, "{}")]
)
@pytest.mark.parametrize("auth", RENEWING)
def test_a_user_who_may_not_read_users_is_logged_in_all_the_same(
    emulator: Emulator, tmp_path: Path, auth: str, status: int, body: str
) -> None:
    emulator.faults.add(
        CallFault(pattern="GET .*/User/", action="answer", status=status, body=body, kind="application/json")
    )  # fmt: skip
    found = identify(connect(auth, emulator, tmp_path))
    assert found.username == (USERNAME if auth in {"credentials", "jwt"} else None)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("auth", RENEWING)
def test_a_session_that_ends_on_the_way_means_one_login_and_the_same_bulk_job(
    emulator: Emulator, tmp_path: Path, auth: str, moment: str
) -> None:
    connection = connect(auth, emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    before = logins(emulator)
    emulator.faults.add(CallFault(pattern=MOMENTS[moment], nth=(1,), action="expire"))
    context = make_context(ListLedger(), control=QuickControl())
    report = target_of(connection).export(make_spool(tmp_path / "s", people(5)), context)
    assert (report.accepted, emulator.org.count("Contact")) == (5, 5)
    assert (logins(emulator) - before, bulk_jobs(emulator)) == (2, 1)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_session_id_that_ends_on_the_way_fails_at_once(emulator: Emulator, tmp_path: Path, moment: str) -> None:
    connection = connect("session_id", emulator, tmp_path)
    before = sum(emulator.gate.counts().values())
    emulator.faults.add(CallFault(pattern=MOMENTS[moment], nth=(1,), action="expire"))
    with pytest.raises(ExportError, match="nothing can renew it: set session_id anew") as caught:
        target_of(connection).export(
            make_spool(tmp_path / "s", people(2)), make_context(ListLedger(), control=QuickControl())
        )
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert caught.value.code in {"INVALID_SESSION_ID", "InvalidSessionId"}
    assert logins(emulator) == 1, "the one with which the test got its session"
    assert sum(emulator.gate.counts().values()) - before < 12


@pytest.mark.parametrize("auth", RENEWING)
def test_a_session_that_is_refused_right_after_its_login_is_told_as_that(
    emulator: Emulator, tmp_path: Path, auth: str
) -> None:
    emulator.faults.add(CallFault(pattern="GET .*/describe$", action="expire"))
    with pytest.raises(ExportError, match="a new login is refused too") as caught:
        target_of(connect(auth, emulator, tmp_path)).check()
    assert ("run-as" in caught.value.message) == (auth == "client_credentials")


def test_the_soap_login_takes_a_version_that_has_it_whatever_the_calls_use(emulator: Emulator, tmp_path: Path) -> None:
    target_of(connect("credentials", emulator, tmp_path), api_version="66.0").check()
    assert emulator.gate.counts()[SOAP_CALL] == 1
    assert emulator.gate.counts().get(TOKEN_CALL, 0) == 0


def test_the_security_token_may_be_appended_to_the_password(emulator: Emulator, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"password": SecretStr(PASSWORD + TOKEN), "security_token": None}
    assert identify(connect("credentials", emulator, tmp_path, **changes)).username == USERNAME


def test_names_and_passwords_may_hold_what_xml_must_escape(emulator: Emulator, tmp_path: Path) -> None:
    rights(emulator, username="a&<b@example.com", password="]]>&amp;ü😀", token_needed=False)
    changes: dict[str, Any] = {"password": SecretStr("]]>&amp;ü😀"), "security_token": None}
    connection = connect("credentials", emulator, tmp_path, username="a&<b@example.com", **changes)
    target_of(connection).check()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"password": SecretStr("wrong-password")}, "INVALID_LOGIN", "check username, password, security_token"),
        ({"username": "nobody@example.com"}, "INVALID_LOGIN", "check username"),
        ({"security_token": None}, "LOGIN_MUST_USE_SECURITY_TOKEN", "set security_token"),
    ],
)
def test_a_password_that_is_refused_says_what_to_change(
    emulator: Emulator, tmp_path: Path, changes: dict[str, Any], code: str, words: str
) -> None:
    error = refusal(emulator, tmp_path, "credentials", **changes)
    assert error.code == code
    assert error.message.startswith("Invalid username, ")
    assert words in error.message


def test_an_org_without_soap_login_is_told_with_another_way(emulator: Emulator, tmp_path: Path) -> None:
    rights(emulator, soap_login=False)
    error = refusal(emulator, tmp_path, "credentials")
    assert error.code == "INSUFFICIENT_ACCESS"
    assert "Use Any API Auth" in error.message
    assert '"client_credentials"' in error.message


def test_a_password_that_has_expired_is_no_login(emulator: Emulator, tmp_path: Path) -> None:
    result = f"<serverUrl>{emulator.url}/x</serverUrl><sessionId>s</sessionId><passwordExpired>true</passwordExpired>"
    body = XML.format(f"<loginResponse><result>{result}</result></loginResponse>")
    emulator.faults.add(CallFault(pattern="Soap", action="answer", status=200, body=body, kind="text/xml"))
    assert "password has expired" in refusal(emulator, tmp_path, "credentials").message


@pytest.mark.parametrize("body", ["", "<html></html>", "<broken", XML.format("<loginResponse/>"), "{}"])
def test_an_answer_without_a_session_is_not_taken_for_a_login(emulator: Emulator, tmp_path: Path, body: str) -> None:
    emulator.faults.add(CallFault(pattern="Soap", action="answer", status=200, body=body, kind="text/xml"))
    with pytest.raises(ExportError) as caught:
        identify(connect("credentials", emulator, tmp_path))
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "UNREADABLE_ANSWER")


def test_an_instance_that_cannot_be_trusted_gets_no_session(emulator: Emulator, tmp_path: Path) -> None:
    result = "<serverUrl>http://evil.example/x</serverUrl><sessionId>s</sessionId>"
    body = XML.format(f"<loginResponse><result>{result}</result></loginResponse>")
    emulator.faults.add(CallFault(pattern="Soap", action="answer", status=200, body=body, kind="text/xml"))
    assert refusal(emulator, tmp_path, "credentials").code == "INSTANCE_URL"


def test_a_statement_is_signed_for_three_minutes_and_names_app_user_and_audience(
    emulator: Emulator, tmp_path: Path
) -> None:
    seen: list[str] = []
    really = emulator.gate.answer

    def look(request: Any) -> Any:
        if request.path.endswith("/token"):
            seen.append(request.form()["assertion"])
        return really(request)

    connection = connect("jwt", emulator, tmp_path, audience="https://login.salesforce.com")
    emulator.gate.answer = look  # type: ignore[method-assign] # to look at the statement
    identify(connection)
    options: Any = {"verify_aud": False}
    claims = jwt.decode(seen[0], public_pem(private_key()), algorithms=["RS256"], options=options)
    assert abs(claims.pop("exp") - time.time() - 180) < 60
    assert claims == {"iss": "emulator", "sub": USERNAME, "aud": "https://login.salesforce.com"}
    assert jwt.get_unverified_header(seen[0])["alg"] == "RS256"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"client_id": "another"}, "invalid_client_id", "check client_id"),
        ({"username": "x@example.com"}, "invalid_grant", "let the user use the app beforehand"),
        ({"audience": "https://example.com"}, "invalid_grant", 'set audience = "https://login.salesforce.com"'),
        (
            {"private_key": SecretStr(pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))},
            "invalid_grant",
            "check private_key",
        ),
    ],
)
def test_a_statement_that_is_refused_says_what_to_change(
    emulator: Emulator, tmp_path: Path, changes: dict[str, Any], code: str, words: str
) -> None:
    error = refusal(emulator, tmp_path, "jwt", **changes)
    assert error.code == code
    assert words in error.message


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no key in PEM form"),
        ("secret", "no key in PEM form"),
        (CERTIFICATE, "it is a certificate"),
        (public_pem(private_key()), "it is a public key"),
        (pem(private_key(), b"pass"), "it is encrypted"),
        (pem(private_key())[:300], "cut short"),
        (pem(private_key()).replace("\n", "\\n"), "real line breaks"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "no RSA key but EC"),
        (pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "1024 bits"),  # noqa: S505 - to be refused
    ],
)
def test_a_key_that_cannot_sign_says_why_and_nothing_of_itself(text: str, words: str) -> None:
    with pytest.raises(ExportError, match=re.escape(words)) as caught:
        read_key(text)
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "PRIVATE_KEY")
    assert "MII" not in str(caught.value)


def test_a_key_without_its_last_line_break_is_read() -> None:
    assert read_key(pem(private_key()).strip()).key_size == 2048


@pytest.mark.parametrize("auth", ["client_credentials", "credentials", "oauth", "jwt"])
@pytest.mark.parametrize("action", ["drop_before", "answer"])
def test_a_login_that_fails_for_a_while_is_tried_again(
    emulator: Emulator, tmp_path: Path, auth: str, action: Any
) -> None:
    connection = connect(auth, emulator, tmp_path)
    emulator.faults.add(CallFault(pattern="POST /services/(oauth2|Soap)/", nth=(1, 2), action=action))
    before = logins(emulator)
    report = target_of(connection).export(
        make_spool(tmp_path / "s", people(2)), make_context(ListLedger(), control=QuickControl())
    )
    assert report.accepted == 2
    assert logins(emulator) - before == 1


@pytest.mark.parametrize("auth", ["client_credentials", "oauth"])
def test_a_server_that_echoes_secrets_has_them_hidden(emulator: Emulator, tmp_path: Path, auth: str) -> None:
    connection = connect(auth, emulator, tmp_path)
    body = json.dumps({"error": "invalid_client", "error_description": f"not {SECRET}, {quote_plus(SECRET)}"})
    emulator.faults.add(CallFault(pattern="token", action="answer", status=400, body=body, kind="application/json"))
    with pytest.raises(ExportError) as caught:
        identify(connection)
    assert "not ***, ***" in caught.value.message


APPS = {
    "not_installed": ("app_not_found", "Connected Apps OAuth Usage"),
    "blocked": ("OAUTH_APP_BLOCKED", "unblock it"),
    "not_approved": ("invalid_app_access", "permission set"),
}


@pytest.mark.parametrize("auth", ["client_credentials", "oauth", "jwt"])
@pytest.mark.parametrize("access", APPS)
def test_an_app_that_may_not_in_is_reported_with_what_an_administrator_has_to_do(
    emulator: Emulator, tmp_path: Path, auth: str, access: str
) -> None:
    connection = connect(auth, emulator, tmp_path)
    rights(emulator, app_access=access)
    error = refused(emulator, connection)
    code, words = APPS[access]
    assert error.code == code
    assert words in error.message
    assert "client_secret" not in error.message


@pytest.mark.parametrize("auth", ["client_credentials", "oauth", "jwt"])
@pytest.mark.parametrize(
    ("code", "description", "words"),
    [
        ("OAUTH_EC_APP_NOT_FOUND", "External client app is not installed in this org", "not installed in this org: an"),
        ("invalid_client", "app must be installed into org", "installs the app under Setup"),
        ("OAUTH_APP_ACCESS_DENIED", "user is not admin approved to access this app", "use the app"),
        ("invalid_grant", "user is not admin approved to access this app", "use the app"),
        ("OAUTH_AUTHORIZATION_BLOCKED", "Cross-org OAuth flows are not supported", "My Domain"),
        ("OAUTH_APPROVAL_ERROR_GENERIC", "An unexpected error has occured during authentication.", "Setup"),
        ("invalid_scope", "the requested scope is not allowed", "scopes"),
    ],
)
def test_the_token_endpoints_words_for_a_restricted_app_are_understood(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator, tmp_path: Path, auth: str, code: str, description: str, words: str
) -> None:
    connection = connect(auth, emulator, tmp_path)
    body = json.dumps({"error": code, "error_description": description})
    emulator.faults.add(CallFault(pattern=TOKEN_CALL, action="answer", status=400, body=body, kind="application/json"))
    error = refused(emulator, connection)
    assert error.code == code
    assert words in error.message


def test_an_app_that_api_access_control_blocks_is_reported_at_the_soap_login(
    emulator: Emulator, tmp_path: Path
) -> None:
    fault = "<e:Fault><faultcode>sf:CLIENT_NOT_ACCESSIBLE_FOR_USER</faultcode><faultstring>no</faultstring></e:Fault>"
    emulator.faults.add(
        CallFault(pattern="POST /services/Soap", action="answer", status=500, body=XML.format(fault), kind="text/xml")
    )
    assert "API Access Control" in refusal(emulator, tmp_path, "credentials").message
