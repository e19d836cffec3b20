"""What is advised when a login is refused fits how one tried to log in."""

import pytest

from exporter.settings.salesforce import DEPRECATED_LOGINS
from exporter.targets.salesforce.auth import advice
from exporter.targets.salesforce.auth.advice import WEB_FLOW, advise, renewal_refused
from exporter.targets.salesforce.auth.identity import HOW
from exporter.targets.salesforce.http.error_codes import Where, classify

AUTHS = ("credentials", "oauth", "session_id", "jwt", WEB_FLOW)
COMMAND = "schedctl login crm"


def advised(auth: str, code: str, message: str) -> str:
    usual = classify(Where.LOGIN, code, message, status=400).advice
    return advise(auth, code, message, usual=usual, command=COMMAND)


@pytest.mark.parametrize("number", range(len(advice._ROWS)))
def test_every_row_is_found_by_an_error_of_its_own(number: int) -> None:
    auth, code, words, text = advice._ROWS[number]
    found = advise(auth, code.upper(), f"Something: {words.upper()}!", usual="the usual", command=COMMAND)
    assert found == (text.format(command=COMMAND) or "the usual")


@pytest.mark.parametrize(
    ("auth", "code", "message", "words"),
    [
        ("client_credentials", "invalid_grant", "authentication failure", "client_id and client_secret"),
        ("oauth", "invalid_grant", "authentication failure", COMMAND),
        ("oauth", "invalid_grant", "something new", COMMAND),
        ("oauth", "invalid_grant", "ip restricted", "trusted IP ranges"),
        ("jwt", "invalid_grant", "authentication failure", "check username and private_key"),
        ("jwt", "invalid_grant", "IP restricted", "trusted IP ranges"),
        (WEB_FLOW, "invalid_grant", "expired authorization code", "15 minutes"),
        ("credentials", "INVALID_LOGIN", "Invalid username", "login_url"),
        ("credentials", "PASSWORD_LOCKOUT", "", "unlock the user"),
        ("oauth", "inactive_org", "organization is inactive", "login_url"),
        ("jwt", "invalid_client_id", "client identifier invalid", "consumer key"),
    ],
)
def test_the_advice_names_what_that_login_goes_by(auth: str, code: str, message: str, words: str) -> None:
    assert words in advised(auth, code, message)


@pytest.mark.parametrize("auth", AUTHS)
def test_no_other_login_is_told_of_client_credentials_own_settings(auth: str) -> None:
    for code, message in (
        ("invalid_client", "invalid client credentials"),
        ("invalid_grant", "authentication failure"),
        ("unsupported_grant_type", "grant type not supported"),
        ("inactive_user", "user is inactive"),
        ("invalid_app_access", "user is not admin approved to access this app"),
    ):
        if auth not in {"credentials", "session_id"}:  # neither is ever answered by the token endpoint
            found = advised(auth, code, message)
            assert found
            assert "run-as" not in found
            assert "client-credentials flow" not in found
    assert "run-as" not in renewal_refused(auth)


def test_every_login_has_words_and_deprecated_ones_name_others() -> None:
    assert set(DEPRECATED_LOGINS) < set(HOW)
    for words in DEPRECATED_LOGINS.values():
        assert '"jwt"' in words
