"""Every way into the local Salesforce: OAuth's grants, SOAP's login; and every way not to get in."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from simple_salesforce.exceptions import SalesforceAuthenticationFailed
from simple_salesforce.login import SalesforceLogin

from exporter.emulator.org.org import USERNAME, Rights
from exporter.emulator.server import Emulator

BACK = "http://localhost:1717/back?from=org"
APP = {"client_id": "emulator", "client_secret": "secret"}
VERIFIER = "a-verifier-that-is-long-enough-for-the-rfc-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


class Clock:
    """The org's time, moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> Iterator[Emulator]:
    with Emulator(clock=clock) as served:
        yield served


class PlainSession(requests.Session):
    """Clients that write https into every address come here by http."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self._url = emulator.url

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        path = urlsplit(str(url)).path
        return super().request(method, self._url + path, *args, **kwargs)


def token(emulator: Emulator, **form: str) -> requests.Response:
    return requests.post(f"{emulator.url}/services/oauth2/token", data=form, timeout=10)


def rights(emulator: Emulator, **changes: object) -> None:
    assert requests.patch(f"{emulator.url}/_emulator/rights", json=changes, timeout=10).status_code == 200


def is_in(emulator: Emulator, access: str) -> bool:
    headers = {"Authorization": f"Bearer {access}"}
    return requests.get(f"{emulator.url}/services/data/v60.0/limits", headers=headers, timeout=10).status_code == 200


def refused(answer: requests.Response) -> tuple[str, str]:
    assert answer.status_code == 400
    return answer.json()["error"], answer.json()["error_description"]


def authorize(emulator: Emulator, **given: str) -> dict[str, str]:
    """Let the emulator's user agree, and return what the browser is sent back with."""
    query = {"response_type": "code", "client_id": "emulator", "redirect_uri": BACK, **given}
    answer = requests.get(
        f"{emulator.url}/services/oauth2/authorize", params=query, timeout=10, allow_redirects=False
    )  # fmt: skip
    assert answer.status_code == 302, answer.text
    location = answer.headers["Location"]
    assert location.startswith(f"{BACK}&")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def redeem(emulator: Emulator, code: str, **form: str) -> requests.Response:
    return token(emulator, grant_type="authorization_code", code=code, **{"redirect_uri": BACK, **form})


def test_client_credentials_come_by_form_or_by_basic_authorization(emulator: Emulator) -> None:
    answer = token(emulator, grant_type="client_credentials", **APP)
    assert is_in(emulator, answer.json()["access_token"])
    assert "refresh_token" not in answer.json()
    basic = requests.post(
        f"{emulator.url}/services/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=("emulator", "secret"),
        timeout=10,
    )
    assert is_in(emulator, basic.json()["access_token"])


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials"} | APP | {"client_id": "x"}, "invalid_client_id"),
        ({"grant_type": "client_credentials"} | APP | {"client_secret": "ü"}, "invalid_client"),
        ({"grant_type": "client_credentials"}, "invalid_client_id"),
        ({"grant_type": "magic"} | APP, "unsupported_grant_type"),
        (APP, "unsupported_grant_type"),
        ({"grant_type": "password", "username": USERNAME, "password": "password"} | APP, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"} | APP, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "x"} | APP, "invalid_grant"),
    ],
)
def test_a_refused_grant_says_why(emulator: Emulator, form: dict[str, str], error: str) -> None:
    assert refused(token(emulator, **form))[0] == error


def test_without_a_run_as_user_client_credentials_are_refused(emulator: Emulator) -> None:
    rights(emulator, run_as_user=False)
    found = refused(token(emulator, grant_type="client_credentials", **APP))
    assert found == ("invalid_grant", "no client credentials user enabled")


def test_the_web_flow_gives_a_code_that_is_good_once(emulator: Emulator) -> None:
    back = authorize(emulator, state="a b")
    assert back["state"] == "a b"
    first = redeem(emulator, back["code"], **APP)
    assert is_in(emulator, first.json()["access_token"])
    assert first.json()["refresh_token"]
    assert refused(redeem(emulator, back["code"], **APP)) == ("invalid_grant", "invalid authorization code")


def test_a_code_is_good_for_fifteen_minutes(emulator: Emulator, clock: Clock) -> None:
    code = authorize(emulator)["code"]
    clock.now += timedelta(minutes=15, seconds=1)
    assert refused(redeem(emulator, code, **APP)) == ("invalid_grant", "expired authorization code")


def test_a_code_is_for_the_address_that_it_was_sent_to(emulator: Emulator) -> None:
    code = authorize(emulator)["code"]
    assert refused(redeem(emulator, code, redirect_uri="http://localhost/", **APP))[0] == "redirect_uri_mismatch"


def test_an_app_without_a_secret_proves_itself_by_pkce(emulator: Emulator) -> None:
    app = {"client_id": "emulator"}
    code = authorize(emulator, code_challenge=CHALLENGE, code_challenge_method="S256")["code"]
    answer = redeem(emulator, code, code_verifier=VERIFIER, **app)
    assert is_in(emulator, answer.json()["access_token"])
    again = token(emulator, grant_type="refresh_token", refresh_token=answer.json()["refresh_token"], **app)
    assert is_in(emulator, again.json()["access_token"])


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        ({"code_challenge": CHALLENGE}, APP),
        ({"code_challenge": CHALLENGE}, APP | {"code_verifier": "another"}),
        ({"code_challenge": CHALLENGE}, {"client_id": "emulator", "code_verifier": "another"}),
        ({}, {"client_id": "emulator", "code_verifier": VERIFIER}),
    ],
)
def test_a_code_is_refused_to_who_cannot_answer_its_challenge(
    emulator: Emulator, asked: dict[str, str], form: dict[str, str]
) -> None:
    assert refused(redeem(emulator, authorize(emulator, **asked)["code"], **form))[0] == "invalid_grant"


def test_the_user_may_say_no(emulator: Emulator) -> None:
    rights(emulator, user_approves=False)
    assert authorize(emulator, state="s") == {
        "from": "org", "error": "access_denied", "error_description": "end-user denied authorization", "state": "s",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"client_id": "x"}, "invalid_client_id"),
        ({"redirect_uri": ""}, "redirect_uri_missing"),
        ({"code_challenge": "x", "code_challenge_method": "plain"}, "invalid_request"),
        ({}, "invalid_request"),
    ],
)
def test_a_web_flow_that_cannot_begin_says_why(emulator: Emulator, change: dict[str, str], error: str) -> None:
    rights(emulator, pkce_needed=True)
    query = {"response_type": "code", "client_id": "emulator", "redirect_uri": BACK, **change}
    answer = requests.get(f"{emulator.url}/services/oauth2/authorize", params=query, timeout=10, allow_redirects=False)
    assert refused(answer)[0] == error


def refresh_token(emulator: Emulator) -> str:
    return str(redeem(emulator, authorize(emulator)["code"], **APP).json()["refresh_token"])


def refresh(emulator: Emulator, given: str, **app: str) -> requests.Response:
    return token(emulator, grant_type="refresh_token", refresh_token=given, **(app or APP))


def test_a_refresh_token_is_good_again_and_again(emulator: Emulator) -> None:
    given = refresh_token(emulator)
    for _ in range(3):
        answer = refresh(emulator, given).json()
        assert is_in(emulator, answer["access_token"])
        assert "refresh_token" not in answer


def test_with_rotation_each_refresh_ends_the_token_and_brings_its_successor(emulator: Emulator) -> None:
    first = refresh_token(emulator)
    rights(emulator, rotate_refresh_tokens=True)
    second = refresh(emulator, first).json()["refresh_token"]
    assert refused(refresh(emulator, first)) == ("invalid_grant", "expired access/refresh token")
    assert refresh(emulator, second).json()["refresh_token"] not in {first, second}


def test_of_two_who_rotate_one_token_at_once_one_is_refused(emulator: Emulator) -> None:
    given = refresh_token(emulator)
    rights(emulator, rotate_refresh_tokens=True)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(refresh(emulator, given).status_code)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 400, 400, 400]


def test_the_sixth_refresh_token_ends_the_oldest(emulator: Emulator) -> None:
    given = [refresh_token(emulator) for _ in range(6)]
    assert [refresh(emulator, each).status_code for each in given] == [400, 200, 200, 200, 200, 200]


def test_a_refresh_token_unused_for_thirty_days_ends_and_each_use_counts(emulator: Emulator, clock: Clock) -> None:
    given = refresh_token(emulator)
    for days, status in ((29, 200), (29, 200), (31, 400)):
        clock.now += timedelta(days=days)
        assert refresh(emulator, given).status_code == status


def test_a_refresh_token_needs_the_secret_that_the_app_has(emulator: Emulator) -> None:
    assert refused(refresh(emulator, refresh_token(emulator), client_id="emulator"))[0] == "invalid_client"


def test_a_refresh_token_outlives_the_emulator(tmp_path: Path) -> None:
    state = tmp_path / "org.sqlite"
    with Emulator(state=state) as emulator:
        given = refresh_token(emulator)
    with Emulator(state=state) as emulator:
        assert is_in(emulator, refresh(emulator, given).json()["access_token"])


def test_revoking_an_access_token_ends_all_sessions_and_a_refresh_token_only_itself(emulator: Emulator) -> None:
    given = refresh_token(emulator)
    one, two = (refresh(emulator, given).json()["access_token"] for _ in range(2))
    revoke = f"{emulator.url}/services/oauth2/revoke"
    assert requests.post(revoke, data={"token": given}, timeout=10).status_code == 200
    assert refused(refresh(emulator, given))[0] == "invalid_grant"
    assert is_in(emulator, one)
    assert requests.get(revoke, params={"token": one}, timeout=10).status_code == 200
    assert not is_in(emulator, two)
    assert refused(requests.post(revoke, data={"token": one}, timeout=10))[0] == "invalid_token"


def test_the_password_grant_takes_the_token_after_the_password(emulator: Emulator) -> None:
    form = {"grant_type": "password", "username": USERNAME, **APP}
    assert is_in(emulator, token(emulator, password="passwordtoken", **form).json()["access_token"])
    assert refused(token(emulator, password="password", **form)) == ("invalid_grant", "authentication failure")
    rights(emulator, token_needed=False)
    assert token(emulator, password="password", **form).status_code == 200


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def assertion(key: Any, clock: Clock, **changes: object) -> str:
    claims = {"iss": "emulator", "sub": USERNAME, "aud": "https://login.salesforce.com"}
    claims |= {"exp": int(clock.now.timestamp()) + 180, **changes}  # type: ignore[dict-item] # PyJWT takes any
    return jwt.encode(claims, key, algorithm="RS256")


def bear(emulator: Emulator, given: str) -> requests.Response:
    return token(emulator, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=given)


def test_an_assertion_that_the_apps_key_signed_lets_in(
    emulator: Emulator, clock: Clock, private_key: rsa.RSAPrivateKey
) -> None:
    rights(emulator, jwt_key=public_pem(private_key))
    for audience in ("https://login.salesforce.com", emulator.url):
        answer = bear(emulator, assertion(private_key, clock, aud=audience))
        assert is_in(emulator, answer.json()["access_token"])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"iss": "x"}, ("invalid_client_id", "client identifier invalid")),
        ({"sub": "x@example.com"}, ("invalid_grant", "user hasn't approved this consumer")),
        ({"aud": "https://example.com"}, ("invalid_grant", "Audience validation failed")),
        ({"exp": 1}, ("invalid_grant", "expired authorization code")),
        ({"exp": 2**40}, ("invalid_grant", "invalid assertion")),
        ({"exp": "soon"}, ("invalid_grant", "invalid assertion")),
    ],
)
def test_an_assertion_that_does_not_fit_is_refused(
    emulator: Emulator, clock: Clock, private_key: rsa.RSAPrivateKey, changes: dict[str, object], error: tuple[str, str]
) -> None:
    rights(emulator, jwt_key=public_pem(private_key))
    assert refused(bear(emulator, assertion(private_key, clock, **changes))) == error


def test_an_assertion_by_another_key_or_for_an_org_without_one_is_refused(
    emulator: Emulator, clock: Clock, private_key: rsa.RSAPrivateKey
) -> None:
    given = assertion(private_key, clock)
    assert refused(bear(emulator, given))[1] == "user hasn't approved this consumer"
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    rights(emulator, jwt_key=public_pem(other))
    assert refused(bear(emulator, given))[1] == "invalid assertion"
    assert refused(bear(emulator, "no.assertion.atall"))[1] == "invalid assertion"


def soap_login(emulator: Emulator, *, version: str = "59.0", suffix: str = "token", **given: str) -> str:
    """Log in with simple-salesforce, and return the session."""
    user = {"username": USERNAME, "password": "password", **given}
    with PlainSession(emulator) as session:
        login: Any = SalesforceLogin
        found, instance = login(**user, security_token=suffix, session=session, sf_version=version)
    assert instance == urlsplit(emulator.url).netloc
    return str(found)


def test_simple_salesforce_logs_in_by_soap(emulator: Emulator) -> None:
    assert is_in(emulator, soap_login(emulator))
    rights(emulator, token_needed=False, username="a&b@example.com", password="<pass>")
    assert is_in(emulator, soap_login(emulator, username="a&b@example.com", password="<pass>", suffix=""))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"password": "wrong"}, "INVALID_LOGIN"),
        ({"username": "nobody@example.com"}, "INVALID_LOGIN"),
        ({"suffix": ""}, "LOGIN_MUST_USE_SECURITY_TOKEN"),
        ({"version": "65.0"}, "UNSUPPORTED_API_VERSION"),
        ({"version": "30.0"}, "UNSUPPORTED_API_VERSION"),
    ],
)
def test_simple_salesforce_is_told_why_it_is_not_let_in(emulator: Emulator, given: dict[str, str], code: str) -> None:
    with pytest.raises(SalesforceAuthenticationFailed) as caught:
        soap_login(emulator, **given)
    assert caught.value.code == code


def test_an_org_may_have_soap_login_switched_off(emulator: Emulator) -> None:
    rights(emulator, soap_login=False)
    with pytest.raises(SalesforceAuthenticationFailed) as caught:
        soap_login(emulator)
    assert caught.value.code == "INSUFFICIENT_ACCESS"


ENVELOPE = '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/">{}</e:Envelope>'


def soap(emulator: Emulator, content: str, path: str = "u/59.0") -> requests.Response:
    body = ENVELOPE.format(content).encode()
    return requests.post(f"{emulator.url}/services/Soap/{path}", body, headers={"SOAPAction": '""'}, timeout=10)


def test_a_logout_ends_the_users_other_sessions_too(emulator: Emulator) -> None:
    one, two = soap_login(emulator), soap_login(emulator)
    header = f"<e:Header><SessionHeader><sessionId>{one}</sessionId></SessionHeader></e:Header>"
    assert soap(emulator, f"{header}<e:Body><logout/></e:Body>").status_code == 200
    assert not is_in(emulator, two)
    again = soap(emulator, f"{header}<e:Body><logout/></e:Body>")
    assert (again.status_code, "INVALID_SESSION_ID" in again.text) == (500, True)
    assert soap(emulator, "<e:Body><logout/></e:Body>").status_code == 500


@pytest.mark.parametrize(
    "content", ["", "<e:Body/>", "<e:Body><login/><login/></e:Body>", "<e:Body><query/></e:Body>", "<broken"]
)
def test_a_soap_call_that_makes_no_sense_is_a_fault(emulator: Emulator, content: str) -> None:
    answer = soap(emulator, content)
    assert answer.status_code == 500
    assert "<sf:exceptionCode>UNKNOWN_EXCEPTION</sf:exceptionCode>" in answer.text


@pytest.mark.parametrize("given", [{"fly": True}, {"hard_delete": 1}, {"calls_a_day": "9"}, {"calls_a_day": True}, []])
def test_a_right_that_there_is_not_is_refused(emulator: Emulator, given: object) -> None:
    answer = requests.patch(f"{emulator.url}/_emulator/rights", data=json.dumps(given), timeout=10)
    assert answer.status_code == 400


def test_changed_rights_are_shown_without_secrets(emulator: Emulator) -> None:
    answer = requests.patch(f"{emulator.url}/_emulator/rights", json={"password": "new", "calls_a_day": 5}, timeout=10)
    assert answer.json()["calls_a_day"] == 5
    assert not {"password", "security_token", "client_secret", "jwt_key"} & set(answer.json())
    assert emulator.org.rights == Rights(password="new", calls_a_day=5)
