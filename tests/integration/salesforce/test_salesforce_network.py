"""How calls leave this machine, over real sockets: proxies, certificates, source addresses, and what is wrong there."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from pydantic import SecretStr
from support.loopback.network import Proxy, Relay, make_authority, proxying, relaying
from support.runs.exports import ListLedger, QuickControl, make_context, make_spool, people
from support.salesforce.logins import AUTHS, RIGHTS, connect, logins, target_of

from exporter.emulator.server import Emulator
from exporter.events import Event, Retrying
from exporter.failures import ExportError, FailureKind
from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.auth.identity import identify

PROXY_PASSWORD = "p@ss:w/rd+é"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(rights=RIGHTS) as served:
        yield served


@pytest.fixture
def secure(emulator: Emulator, tmp_path: Path) -> Iterator[tuple[Relay, Path]]:
    """Put TLS before the emulator, with a certificate that only the file's CA stands for."""
    ca_file, context = make_authority(tmp_path)
    with relaying(urlsplit(emulator.url).port or 0, context) as relay:
        yield relay, ca_file


def secure_connection(
    emulator: Emulator, directory: Path, relay: Relay, auth: str = "client_credentials", **changes: Any
) -> SalesforceConnection:
    connection = connect(auth, emulator, directory, **changes)
    emulator.org.url = f"https://localhost:{relay.port}"
    return connection.model_copy(update={"login_url": emulator.org.url})


def proxy_url(proxy: Proxy, login: str = "") -> SecretStr:
    return SecretStr(f"http://{login}{'@' if login else ''}127.0.0.1:{proxy.port}")


def export(connection: SalesforceConnection, directory: Path, **options: Any) -> int:
    target = target_of(connection, **options)
    context = make_context(ListLedger(), control=QuickControl())
    return target.export(make_spool(directory / "spool", people(3)), context).accepted


def fault(connection: SalesforceConnection) -> ExportError:
    with pytest.raises(ExportError) as caught:
        identify(connection)
    assert "p@ss" not in str(caught.value)
    assert quote(PROXY_PASSWORD, safe="") not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("bulk_api", ["1", "2"])
@pytest.mark.parametrize("auth", AUTHS)
def test_every_call_goes_through_the_proxy_the_login_too(
    emulator: Emulator, tmp_path: Path, auth: str, bulk_api: str
) -> None:
    with proxying() as proxy:
        connection = connect(auth, emulator, tmp_path, proxy=proxy_url(proxy))
        before = sum(emulator.gate.counts().values())
        assert export(connection, tmp_path, bulk_api=bulk_api) == 3
        assert len(proxy.calls) == sum(emulator.gate.counts().values()) - before
        [agent] = proxy.agents
        assert agent.startswith("schedctl/")


def test_a_proxy_that_asks_for_a_password_gets_it_whatever_letters_it_has(emulator: Emulator, tmp_path: Path) -> None:
    with proxying(login=f"us er:{PROXY_PASSWORD}") as proxy:
        login = f"us%20er:{quote(PROXY_PASSWORD, safe='')}"
        assert export(connect("client_credentials", emulator, tmp_path, proxy=proxy_url(proxy, login)), tmp_path) == 3


def test_tls_goes_through_a_proxy_end_to_end(emulator: Emulator, tmp_path: Path, secure: tuple[Relay, Path]) -> None:
    relay, ca_file = secure
    with proxying(login=f"user:{PROXY_PASSWORD}") as proxy:
        url = proxy_url(proxy, f"user:{quote(PROXY_PASSWORD, safe='')}")
        connection = secure_connection(emulator, tmp_path, relay, proxy=url, ca_file=str(ca_file))
        assert export(connection, tmp_path) == 3
        assert set(proxy.calls) == {f"CONNECT localhost:{relay.port}"}
        assert fault(connection.model_copy(update={"ca_file": None})).code == "TLS_UNTRUSTED"


def test_a_proxy_may_speak_tls_itself_and_is_verified_too(emulator: Emulator, tmp_path: Path) -> None:
    ca_file, context = make_authority(tmp_path)
    port = urlsplit(emulator.url).port or 0
    with proxying() as proxy, relaying(port, context) as org, relaying(proxy.port, context) as front:
        url = SecretStr(f"https://localhost:{front.port}")
        connection = secure_connection(emulator, tmp_path, org, proxy=url, ca_file=str(ca_file))
        identify(connection)
        assert proxy.calls == [f"CONNECT localhost:{org.port}"]
        error = fault(connection.model_copy(update={"ca_file": None}))
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "PROXY_UNTRUSTED")
        assert f"proxy = localhost:{front.port}" in error.message
        assert len(proxy.calls) == 1


@pytest.mark.parametrize("login", ["", "user:p%40ss"])
@pytest.mark.parametrize("tls", ["tls", "plain"])
def test_a_proxy_that_refuses_our_password_is_configuration(
    emulator: Emulator, tmp_path: Path, secure: tuple[Relay, Path], login: str, tls: str
) -> None:
    relay, ca_file = secure
    with proxying(login="user:other") as proxy:
        settings: dict[str, Any] = {"proxy": proxy_url(proxy, login), "ca_file": str(ca_file)}
        if tls == "tls":
            connection = secure_connection(emulator, tmp_path, relay, **settings)
        else:
            connection = connect("client_credentials", emulator, tmp_path, **settings)
        error = fault(connection)
        assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "PROXY_LOGIN")
        assert f"proxy = 127.0.0.1:{proxy.port}: it does not take our user and password" in error.message
        assert len(proxy.calls) == 1
    assert logins(emulator) == 0


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(403, ("PROXY_REFUSED", FailureKind.CONFIGURATION)), (502, ("PROXY_NO_WAY", FailureKind.TRANSIENT))],
)
def test_a_proxy_that_lets_nobody_through_says_to_which_host(
    emulator: Emulator, tmp_path: Path, secure: tuple[Relay, Path], status: int, meaning: tuple[str, FailureKind]
) -> None:
    relay, _ = secure
    with proxying(refuses=status) as proxy:
        error = fault(secure_connection(emulator, tmp_path, relay, proxy=proxy_url(proxy)))
    assert (error.code, error.kind) == meaning
    assert f"localhost:{relay.port}" in error.message
    assert str(status) in error.message


@pytest.mark.parametrize("tls", ["tls", "plain"])
def test_a_dead_proxy_is_tried_again_then_told_as_a_setting_to_change(
    emulator: Emulator, tmp_path: Path, secure: tuple[Relay, Path], tls: str
) -> None:
    relay, _ = secure
    with proxying() as proxy:
        settings = {"proxy": proxy_url(proxy, "user:p%40ss"), "retry_limit": 2}
    make = secure_connection(emulator, tmp_path, relay, **settings) if tls == "tls" else None
    connection = make or connect("client_credentials", emulator, tmp_path, **settings)
    events: list[Event] = []
    with pytest.raises(ExportError) as caught:
        target_of(connection).export(
            make_spool(tmp_path / "s", people(2)), make_context(ListLedger(), control=QuickControl(), events=events)
        )
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "PROXY_DOWN")
    assert f"proxy = 127.0.0.1:{proxy.port}: it takes no connections; check the address" in caught.value.message
    assert "p@ss" not in str(caught.value)
    assert len([event for event in events if isinstance(event, Retrying)]) == 2


def test_a_proxy_whose_name_is_unknown_is_told(emulator: Emulator, tmp_path: Path) -> None:
    error = fault(connect("client_credentials", emulator, tmp_path, proxy=SecretStr("http://proxy.invalid:3128")))
    assert (error.kind, error.code) == (FailureKind.TRANSIENT, "PROXY_DOWN")
    assert "proxy = proxy.invalid:3128: its name is unknown" in error.message


def test_a_proxy_that_speaks_no_tls_itself_is_told(emulator: Emulator, tmp_path: Path) -> None:
    with proxying() as proxy:
        url = SecretStr(f"https://127.0.0.1:{proxy.port}")
        error = fault(connect("client_credentials", emulator, tmp_path, proxy=url))
    assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "PROXY_SCHEME")


@pytest.mark.parametrize(
    "url",
    ["proxy:3128", "socks5://127.0.0.1:1", "http://", "http://[::1", "http://h:99999", "http://h/path", "http://u:€@h"],
)
def test_a_proxy_that_is_none_is_refused_before_any_call(emulator: Emulator, tmp_path: Path, url: str) -> None:
    error = fault(connect("client_credentials", emulator, tmp_path, proxy=SecretStr(url)))
    assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "PROXY")
    assert error.message.startswith("proxy: ")
    assert url not in error.message.replace('"http://proxy.example.com:3128"', "")


def test_the_environments_proxy_is_not_asked_for_this_machine_and_the_settings_one_overrules_it(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxying() as environments, proxying() as ours:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{environments.port}")
        monkeypatch.setenv("no_proxy", "")
        identify(connect("client_credentials", emulator, tmp_path))
        monkeypatch.setattr("exporter.targets.salesforce.http.http_session.is_loopback", lambda _host: False)
        identify(connect("client_credentials", emulator, tmp_path, proxy=proxy_url(ours)))
        assert (len(environments.calls), len(ours.calls)) == (0, 2)


@pytest.mark.parametrize("auth", AUTHS)
def test_a_certificate_is_trusted_by_ca_file_alone(
    emulator: Emulator, tmp_path: Path, secure: tuple[Relay, Path], auth: str
) -> None:
    relay, ca_file = secure
    trusting = secure_connection(emulator, tmp_path, relay, auth, ca_file=str(ca_file))
    assert export(trusting, tmp_path) == 3
    error = fault(trusting.model_copy(update={"ca_file": None}))
    assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "TLS_UNTRUSTED")
    assert f"localhost:{relay.port}" in error.message
    assert "ca_file" in error.message


def test_a_ca_file_overrules_the_environments(
    emulator: Emulator, tmp_path: Path, secure: tuple[Relay, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, ca_file = secure
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(make_authority(other)[0]))
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setattr("exporter.targets.salesforce.http.http_session.is_loopback", lambda _host: False)
    identify(secure_connection(emulator, tmp_path, relay, ca_file=str(ca_file)))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    error = fault(secure_connection(emulator, tmp_path, relay))
    assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "CA_FILE")
    assert "REQUESTS_CA_BUNDLE" in error.message


def test_a_certificate_for_another_host_is_not_trusted(emulator: Emulator, tmp_path: Path) -> None:
    ca_file, context = make_authority(tmp_path, name="elsewhere.example")
    with relaying(urlsplit(emulator.url).port or 0, context) as relay:
        error = fault(secure_connection(emulator, tmp_path, relay, ca_file=str(ca_file)))
    assert error.code == "TLS_UNTRUSTED"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "no certificate in PEM form"),
        (b"hello", "no certificate in PEM form"),
        (b"\x30\x82\x01\x0a" * 50, "no certificate in PEM form"),
        (b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", "no certificate in PEM form"),
        (b"-----BEGIN PRIVATE KEY-----\nMAo=\n-----END PRIVATE KEY-----\n", "no certificate in PEM form"),
    ],
)
def test_a_ca_file_that_is_none_names_key_file_and_fix(
    emulator: Emulator, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_bytes(content)
    error = fault(connect("client_credentials", emulator, tmp_path, ca_file=str(path)))
    assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "CA_FILE")
    assert f"ca_file = {path}: it" in error.message
    assert words in error.message


def test_a_ca_file_that_is_a_directory_is_told(emulator: Emulator, tmp_path: Path) -> None:
    assert (
        "it is a directory" in fault(connect("client_credentials", emulator, tmp_path, ca_file=str(tmp_path))).message
    )


@pytest.mark.parametrize("auth", AUTHS)
def test_calls_come_from_the_source_address(emulator: Emulator, tmp_path: Path, auth: str) -> None:
    with relaying(urlsplit(emulator.url).port or 0) as relay:
        connection = connect(auth, emulator, tmp_path, source_address="127.0.0.2")
        emulator.org.url = f"http://127.0.0.1:{relay.port}"
        changed = connection.model_copy(update={"login_url": emulator.org.url})
        assert export(changed, tmp_path) == 3
        assert set(relay.peers) == {"127.0.0.2"}


def test_a_proxy_and_tls_see_the_source_address_too(
    emulator: Emulator, tmp_path: Path, secure: tuple[Relay, Path]
) -> None:
    relay, ca_file = secure
    identify(secure_connection(emulator, tmp_path, relay, ca_file=str(ca_file), source_address="127.0.0.3"))
    assert set(relay.peers) == {"127.0.0.3"}
    with proxying() as proxy:
        settings: dict[str, Any] = {"proxy": proxy_url(proxy), "source_address": "127.0.0.2"}
        identify(secure_connection(emulator, tmp_path, relay, ca_file=str(ca_file), **settings))
        assert proxy.peers == {"127.0.0.2"}


@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77"])
def test_an_address_that_is_not_this_machines_is_told_before_any_call(
    emulator: Emulator, tmp_path: Path, address: str
) -> None:
    error = fault(connect("client_credentials", emulator, tmp_path, source_address=address))
    assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "SOURCE_ADDRESS")
    assert f"source_address = {address}: this machine has no such address" in error.message


@pytest.mark.parametrize("through", ["proxy", ""])
def test_an_address_of_another_kind_than_the_other_sides_is_told(
    emulator: Emulator, tmp_path: Path, through: str
) -> None:
    settings = {"proxy": SecretStr("http://user:p%40ss@127.0.0.1:9")} if through else {}
    error = fault(connect("client_credentials", emulator, tmp_path, source_address="::1", **settings))
    assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "SOURCE_ADDRESS")
    assert "source_address = ::1" in error.message
    assert "has no IPv6 address" in error.message


@pytest.mark.parametrize("auth", AUTHS)
def test_a_peer_that_never_answers_is_given_up_by_every_login(emulator: Emulator, tmp_path: Path, auth: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        connection = connect(auth, emulator, tmp_path, read_timeout=1)
        error = fault(connection.model_copy(update={"login_url": url}))
    assert (error.kind, error.code) == (FailureKind.TRANSIENT, "READ_TIMEOUT")
