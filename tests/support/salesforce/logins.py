"""Connections of every `auth` to an emulator, and a process of its own that logs in: it may be killed on the way.

``python -m support.salesforce.logins TOKEN_FILE LOGIN_URL [INSTANT]`` logs in once by refresh token; at INSTANT it
kills itself.
"""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from exporter.emulator.org.org import USERNAME, Rights
from exporter.emulator.server import Emulator
from exporter.settings.connection import SalesforceConnection, SalesforceExport
from exporter.targets.salesforce.auth import refresh
from exporter.targets.salesforce.auth.identity import identify
from exporter.targets.salesforce.auth.token_store import KeptToken, TokenFile
from exporter.targets.salesforce.target import SalesforceTarget

AUTHS = ("client_credentials", "credentials", "oauth", "session_id", "jwt")
TOKEN_CALL = "POST /services/oauth2/token"
SOAP_CALL = "POST /services/Soap/{api}/{version}"
INSTANTS = ("the answer is in", "the new token is on disk", "the new token is in place")
_BACK = "http://localhost:1717/callback"
SECRET, PASSWORD, TOKEN = "5ecret+of/the=app", "Pa55w0rd", "7oken"
RIGHTS = Rights(client_secret=SECRET, password=PASSWORD, security_token=TOKEN)
"""An org whose secrets are no words, so that a test can look for them in messages."""
_APP = {"client_id": "emulator", "client_secret": SECRET}


@functools.cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any, password: bytes | None = None) -> str:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(serialization.Encoding.PEM, form, hidden).decode())


def public_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def rights(emulator: Emulator, **changes: object) -> None:
    assert requests.patch(f"{emulator.url}/_emulator/rights", json=changes, timeout=10).status_code == 200


def post_token(emulator: Emulator, **form: str) -> Any:
    return requests.post(f"{emulator.url}/services/oauth2/token", data=_APP | form, timeout=10).json()


def new_refresh_token(emulator: Emulator) -> str:
    """Have the emulator's user agree to our app."""
    query = {"response_type": "code", "client_id": "emulator", "redirect_uri": _BACK}
    url = f"{emulator.url}/services/oauth2/authorize"
    answer = requests.get(url, params=query, timeout=10, allow_redirects=False)
    [code] = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]
    return str(post_token(emulator, grant_type="authorization_code", redirect_uri=_BACK, code=code)["refresh_token"])


def keep_token(path: Path, refresh_token: str, client_id: str = "emulator") -> None:
    file = TokenFile(path, command="")
    file.make_directory()
    with file.locked(5), file.replacing() as write:
        write(KeptToken(refresh_token=refresh_token, client_id=client_id))


def kept_token(path: Path) -> str:
    file = TokenFile(path, command="")
    with file.locked(5):
        return file.read().refresh_token


def connect(auth: str, emulator: Emulator, directory: Path, **changes: Any) -> SalesforceConnection:
    """Return a connection that the emulator lets in."""
    settings: dict[str, Any] = {
        "client_credentials": {"client_id": "emulator", "client_secret": SecretStr(SECRET)},
        "credentials": {"username": USERNAME, "password": SecretStr(PASSWORD), "security_token": SecretStr(TOKEN)},
        "oauth": {
            "client_id": "emulator",
            "client_secret": SecretStr(SECRET),
            "token_file": str(directory / "tokens" / "crm.json"),
        },
        "session_id": {"session_id": SecretStr("00D-to-be-set")},
        "jwt": {"client_id": "emulator", "username": USERNAME, "private_key": SecretStr(pem(private_key()))},
    }[auth]
    if auth == "oauth":
        keep_token(directory / "tokens" / "crm.json", new_refresh_token(emulator))
    elif auth == "session_id":
        settings = {"session_id": SecretStr(post_token(emulator, grant_type="client_credentials")["access_token"])}
    elif auth == "jwt":
        rights(emulator, jwt_key=public_pem(private_key()))
    shape = {"type": "salesforce", "auth": auth, "login_url": emulator.url, "initial_retry_delay": 0}
    return SalesforceConnection(**(shape | settings | changes)).named("crm")


def target_of(connection: SalesforceConnection, **options: Any) -> SalesforceTarget:
    return SalesforceTarget(connection, SalesforceExport(**({"object": "Contact"} | options)))


def logins(emulator: Emulator) -> int:
    """Return how often somebody logged in, or tried to."""
    counts = emulator.gate.counts()
    return counts.get(TOKEN_CALL, 0) + counts.get(SOAP_CALL, 0)


def start_login(path: Path, url: str, instant: str = "") -> "subprocess.Popen[str]":
    """Log in by refresh token in a process of its own."""
    command = [sys.executable, "-m", "support.salesforce.logins", str(path), url, instant]
    tests = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=tests, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _doom(instant: str) -> None:
    """Let this process be killed at an instant of the login."""
    ask, put = refresh.ask_token, TokenFile._put_in_place

    def ask_and_die(*arguments: Any) -> Any:
        ask(*arguments)
        _die()

    def put_and_die(file: TokenFile) -> None:
        put(file)
        _die()

    if instant == INSTANTS[0]:
        refresh.ask_token = ask_and_die
    elif instant == INSTANTS[1]:
        TokenFile._put_in_place = _die  # type: ignore[assignment,method-assign] # the instant to die at
    elif instant == INSTANTS[2]:
        TokenFile._put_in_place = put_and_die  # type: ignore[method-assign] # the same


def main() -> None:
    path, url, instant = sys.argv[1:]
    _doom(instant)
    connection = SalesforceConnection(
        type="salesforce",
        auth="oauth",
        login_url=url,
        client_id="emulator",
        client_secret=SecretStr(SECRET),
        token_file=path,
    )
    for _ in range(3):
        sys.stdout.write(f"{identify(connection.named('crm')).username}\n")


if __name__ == "__main__":
    main()
