"""Secrets: where they come from, who may read them, and that none is ever written."""

import copy
import html
import json
import logging
import os
import pickle
import sys
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import keyring.backend
import keyring.core
import keyring.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from exporter.settings.connection import SalesforceConnection
from scheduler.config.build import ConfigError, parse
from scheduler.secrets.resolve import SecretError, mask, passwords_in, register, resolve

PLANTED = "pl4nted-s3cret"


def connection(secret: Any) -> SalesforceConnection:
    return SalesforceConnection(
        type="salesforce", login_url="https://x.my.salesforce.com", client_id="3MVG", client_secret=secret
    )


def resolved(secret: Any, **where: Any) -> str:
    value = resolve(connection(secret), **{"environ": {}, **where}).client_secret
    assert isinstance(value, SecretStr)
    return value.get_secret_value()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{PLANTED}\n")
    path.chmod(0o600)
    return path


def test_each_place_gives_its_secret(file: Path) -> None:
    assert resolved("plain text") == "plain text"
    assert resolved({"env": "A"}, environ={"A": PLANTED}) == PLANTED
    assert resolved({"file": str(file)}) == PLANTED
    assert resolved({"credential": "secret"}, credentials_directory=file.parent) == PLANTED
    assert resolved({"credential": "secret"}, environ={"CREDENTIALS_DIRECTORY": str(file.parent)}) == PLANTED


class Ring(keyring.backend.KeyringBackend):
    """A keyring in memory, or one that cannot be opened."""

    priority = 1  # type: ignore[assignment]  # a number is what it asks of a backend

    def __init__(self, *, locked: bool = False) -> None:
        self._locked = locked

    def get_password(self, service: str, username: str) -> str | None:
        if self._locked:
            raise keyring.errors.KeyringLocked("the collection is\nlocked")
        return {("schedctl/prod", "crm"): PLANTED, ("schedctl", "empty"): ""}.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        raise AssertionError(service, username, password)


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(keyring.core, "_keyring_backend", Ring())
    return monkeypatch


def test_an_entry_of_the_keyring_is_a_secret(ring: pytest.MonkeyPatch) -> None:
    assert resolved({"keyring": "schedctl/prod/crm"}) == PLANTED
    assert str(connection({"keyring": "a/b"}).client_secret) == '{ keyring = "a/b" }'
    for entry, says in (("schedctl/nobody", "keyring set schedctl nobody makes it"), ("schedctl/empty", "it is empty")):
        with pytest.raises(SecretError) as caught:
            resolved({"keyring": entry})
        assert says in str(caught.value)
    ring.setattr(keyring.core, "_keyring_backend", Ring(locked=True))
    with pytest.raises(SecretError, match="the keyring cannot be read here: the collection is locked"):
        resolved({"keyring": "schedctl/prod/crm"})


def test_without_the_extra_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SecretError, match=r"pip install 'schedctl\[keyring\]'"):
        resolved({"keyring": "schedctl/crm"})


@pytest.mark.parametrize("entry", ["crm", "/crm", "schedctl/", "/"])
def test_a_keyring_entry_has_a_service_and_a_user(entry: str) -> None:
    with pytest.raises(ValidationError, match="its service and its user"):
        connection({"keyring": entry})


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_line_ends_after_the_secret_are_not_part_of_it_and_blanks_are(file: Path, end: str) -> None:
    file.write_bytes(b" two words " + end.encode())
    assert resolved({"file": str(file)}) == " two words "


def test_everything_else_of_the_connection_stays() -> None:
    before = connection({"env": "A"})
    after = resolve(before, environ={"A": "x"})
    assert after.model_copy(update={"client_secret": before.client_secret}) == before


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ({"env": "A"}, 'client_secret = { env = "A" }: the variable is not set; set it in the daemon\'s environment'),
        ({"env": "EMPTY"}, 'client_secret = { env = "EMPTY" }: it is empty; put the secret in the daemon\'s'),
        ({"file": "/gone"}, 'client_secret = { file = "/gone" }: /gone cannot be read: No such file or directory'),
        ({"file": "/dev/zero"}, "/dev/zero cannot be read: it is a device, not a regular file"),
        ({"file": "/"}, "/ cannot be read: it is a directory, not a regular file"),
        ({"credential": "c"}, "there are no systemd credentials here ($CREDENTIALS_DIRECTORY is not set)"),
        ({"credential": "c"}, "LoadCredential=c:FILE"),
    ],
)
def test_a_secret_that_is_not_there_names_the_reference_and_the_fix(secret: dict[str, str], expected: str) -> None:
    with pytest.raises(SecretError) as caught:
        resolved(secret, environ={"EMPTY": "\n"})
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_secret_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c", mode=0o600)
    for secret in ({"file": str(tmp_path / "c")}, {"credential": "c"}):
        with pytest.raises(SecretError, match="c cannot be read: it is a pipe, not a regular file"):
            resolved(secret, credentials_directory=tmp_path)


def test_a_credential_that_systemd_did_not_give(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"credential = \"c\" }: .*/c cannot be read: No such file"):
        resolved({"credential": "c"}, credentials_directory=tmp_path)


@pytest.mark.parametrize(
    ("data", "expected"), [(b"\xff\xfe", "is not UTF-8 text"), (b"x" * 70_000, "larger than 64 K")]
)
def test_a_file_that_holds_no_secret(file: Path, data: bytes, expected: str) -> None:
    file.write_bytes(data)
    with pytest.raises(SecretError, match=expected):
        resolved({"file": str(file)})


def test_a_variable_that_is_no_text_is_refused() -> None:
    with pytest.raises(SecretError, match="is not UTF-8 text"):
        resolved({"env": "A"}, environ={"A": "\udcff"})


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666, 0o620])
def test_a_file_that_others_can_read_is_refused_unless_told(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(
        SecretError, match=f"other users can read {file}; chmod 600 {file}, or say shared = true"
    ) as error:
        resolved({"file": str(file)})
    assert PLANTED not in str(error.value)
    assert resolved({"file": str(file), "shared": True}) == PLANTED


def test_a_credential_is_not_asked_for_its_mode(file: Path) -> None:
    file.chmod(0o644)
    assert resolved({"credential": "secret"}, credentials_directory=file.parent) == PLANTED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_group_may_read_only_what_is_roots(file: Path) -> None:
    file.chmod(0o640)
    assert resolved({"file": str(file)}) == PLANTED
    os.chown(file, 12_345, 12_345)
    with pytest.raises(SecretError, match="other users can read"):
        resolved({"file": str(file)})
    file.chmod(0o600)
    assert resolved({"file": str(file)}) == PLANTED


def test_a_planted_secret_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    held = [connection(PLANTED), resolve(connection({"env": "A"}), environ={"A": PLANTED})]
    config = parse(
        '[connections.crm]\ntype = "salesforce"\nlogin_url = "https://x.my.salesforce.com"\nclient_id = "3MVG"\n'
        f'client_secret = "{PLANTED}"\n[notify]\nurls = ["mailtos://u:{PLANTED}@h"]\n'
        f'[storage]\nurl = "postgresql+psycopg://u:{PLANTED}@h/d"\n'
    )
    shown = [repr(config), str(config), f"{config.notify}"]
    for each in held:
        shown += [repr(each), str(each), f"{each}", each.model_dump_json(), str(each.model_dump()), repr(vars(each))]
        shown += [repr(copy.deepcopy(each)), repr(copy.copy(each)), repr(each.model_copy())]
        with pytest.raises(TypeError):
            json.dumps(each.model_dump())
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("%s %r", held[0], held[1])
    assert PLANTED not in "".join(shown) + caplog.text


def test_a_connection_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="cannot be pickled: it may hold secrets") as caught:
        pickle.dumps(connection(PLANTED))
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize(
    "value", [{"env": PLANTED, "x": PLANTED}, {PLANTED: 1}, {"file": f"~/{PLANTED}"}, [PLANTED], {"credential": "../"}]
)
def test_the_error_for_a_wrong_secret_shows_nothing_of_it(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        connection(value)
    assert PLANTED not in str(caught.value)
    text = (
        '[connections.crm]\ntype = "salesforce"\nlogin_url = "https://x.my.salesforce.com"\nclient_id = "3MVG"\n'
        f"client_secret = {json.dumps(value).replace(':', ' =')}\n"
    )
    with pytest.raises(ConfigError) as faults:
        parse(text)
    assert PLANTED not in str(faults.value)


def test_masking_knows_a_secret_in_every_dress() -> None:
    secret = 'a/b+c "d"\\é%\n'
    dressed = [
        secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        repr(secret),
        "a%2Fb%2Bc%20%22d%22%5C%C3%A9%25%0A",
        "a%2Fb%2Bc+%22d%22%5C%C3%A9%25%0A",
    ]
    for each in dressed:
        assert mask(f"<{each}>", [secret]).strip("<>'\"") == "***"


ODD = "Pa'ss/Wo\"rd & <m0re>="


@pytest.mark.parametrize(
    "written",
    [
        quote(ODD, safe="").replace("%2F", "%2f").replace("%3C", "%3c"),
        quote(quote(ODD, safe=""), safe=""),
        html.escape(ODD),
        html.escape(ODD).replace("&#x27;", "&#39;"),
        html.escape(ODD, quote=False),
        json.dumps(ODD).replace("<", "\\u003c").replace(">", "\\u003E").replace("&", "\\u0026")[1:-1],
        json.dumps(ODD).translate({ord(each): f"\\u{ord(each):04X}" for each in "&<>='"})[1:-1],
        ODD.lower(),
        ODD.upper(),
    ],
)
def test_a_secret_is_masked_as_the_other_side_writes_it(written: str) -> None:
    masked = mask(f"error near [{written}] in line 1", [ODD])
    assert masked == "error near [***] in line 1"


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "i", "id", "id:", "a-client-id:"])
@pytest.mark.parametrize("after", ["", ":", ":more"])
def test_a_secret_is_masked_in_base64_whatever_stands_beside_it(
    encode: Callable[[bytes], bytes], before: str, after: str
) -> None:
    header = encode(f"{before}{ODD}{after}".encode()).decode()
    masked = mask(f"Authorization: Basic {header}", [ODD])
    left = masked.removeprefix("Authorization: Basic ")
    assert "***" in left
    assert len(left) <= len(header) - len(ODD)


def test_base64_of_a_secret_that_is_too_short_to_be_told_is_left() -> None:
    assert mask("Zm9v is base64", ["foo!"]) == "Zm9v is base64"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert mask("hunter2pw hunter2pw-more", ["hunter2pw", "hunter2pw-more"]) == "*** ***"


def test_short_secrets_are_left_as_they_are() -> None:
    assert mask("abc", ["abc", "a", ""]) == "abc"


def test_what_is_resolved_or_registered_is_masked_from_then_on() -> None:
    assert mask("never-seen-before") == "never-seen-before"
    resolve(connection({"env": "A"}), environ={"A": "once-resolved"})
    register(["once-registered"])
    assert mask("once-resolved, once-registered, never-seen-before") == "***, ***, never-seen-before"


@pytest.mark.parametrize(
    ("address", "hidden"),
    [
        ("postgresql://u:Tr0ub4dor@h:5432/db", "Tr0ub4dor"),
        ("postgresql://u:Tr0ub4dor%zz3@h/db", "Tr0ub4dor%zz3"),
        ("postgresql://u:Tr0ub%34dor@h/db", "Tr0ub4dor"),
        ("postgresql://u:Tr0ub4/dor3@h/db", "Tr0ub4"),
        ("postgresql://u:Tr0ub4/dor3@h/db", "dor3"),
        ("postgresql://u:pa@ssword@h/db", "ssword"),
        ("postgresql://u:two words@h/db", "words"),
        ("http://:Tr0ub4dor@proxy:3128", "Tr0ub4dor"),
        ("postgresql://u@h/db?sslmode=require&password=Tr0ub4dor", "Tr0ub4dor"),
        ("postgresql://u@h/db?sslpassword=Tr0ub4dor&a=b", "Tr0ub4dor"),
        ("host=h password='two words' user=u", "two words"),
    ],
)
def test_the_password_in_an_address_is_a_secret_of_its_own_however_it_is_read(address: str, hidden: str) -> None:
    assert hidden in set(passwords_in(address))


@pytest.mark.parametrize(
    "address", ["postgresql://user@host/database", "https://host:8443/path", "postgresql:///db?host=/run&user=a@b", ""]
)
def test_an_address_without_a_password_has_none(address: str) -> None:
    assert list(passwords_in(address)) == []


def test_the_password_of_a_resolved_address_is_masked_alone_and_the_rest_stays() -> None:
    resolve(
        connection({"env": "A"}), environ={"A": "postgresql://planted-user:planted-part%2Fmore@db.example.com/shop"}
    )
    assert mask('no "planted-part%2Fmore" or planted-part/more') == 'no "***" or ***'
    assert mask("planted-user, db.example.com, shop") == "planted-user, db.example.com, shop"


@settings(deadline=None)
@given(st.text(min_size=4), st.text(), st.text())
def test_a_masked_text_does_not_hold_the_secret(secret: str, before: str, after: str) -> None:
    masked = mask(f"{before}{secret}{after}", [secret])
    assert secret not in masked.replace("***", "\0")


ADVICE = "invalid client credentials: check client_id and client_secret: consumer key and secret of the app"


@pytest.mark.parametrize("secret", ["secret", "client", "consumer", "client_secret", "cret"])
def test_a_secret_that_is_a_common_word_leaves_advice_readable(secret: str) -> None:
    """It read "check ***_id and ***_secret", which told the secret."""
    assert mask(ADVICE.replace(": consumer", ", consumer"), [secret]) == ADVICE.replace(": consumer", ", consumer")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("client_secret=secret&a=b", "client_secret=***&a=b"),
        ('{"client_secret": "secret", "secret": 1}', '{"client_secret": "***", "secret": 1}'),
        ("client_secret: secret", "client_secret: ***"),
        ("no 'secret' here", "no '***' here"),
        ("https://user:secret@host/secret", "https://user:***@host/***"),
        ("Authorization: Bearer secret", "Authorization: Bearer ***"),
        ("my5secret or secrecy, thesecretword", "my5*** or secrecy, the***word"),
        ("secret=secret", "secret=***"),
    ],
)
def test_a_secret_that_is_a_common_word_is_hidden_where_it_is_a_value(text: str, masked: str) -> None:
    assert mask(text, ["secret"]) == masked


def test_a_secret_that_only_begins_like_a_common_word_is_hidden_everywhere() -> None:
    assert mask("check client_secret, secret and secret-7x", ["secret-7x"]) == "check client_secret, secret and ***"
    assert mask("secrets7 in client_secrets7", ["secrets7"]) == "*** in client_***"
