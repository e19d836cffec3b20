import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.runs.exports import ListLedger, make_connection, make_context, make_spool, make_target, people
from support.salesforce.small_org import Fault, Reply, SmallOrg, small_org

from exporter.failures import ExportError, FailureKind
from exporter.settings.connection import SalesforceConnection, SalesforceExport
from exporter.targets.salesforce.auth.log_in import Login
from exporter.targets.salesforce.auth.token_response import check_instance, read_instance
from exporter.targets.salesforce.http import http_session
from exporter.targets.salesforce.target import SalesforceTarget

TOKEN = "/services/oauth2/token"


@pytest.fixture
def org() -> Iterator[SmallOrg]:
    with small_org() as served:
        yield served


def refuse_login(org: SmallOrg, status: int, body: object) -> None:
    org.faults.append(Fault(pattern=TOKEN, how=Reply(status, json.dumps(body).encode()), at=frozenset(range(1, 100))))


@pytest.mark.parametrize(
    ("error", "description", "words"),
    [
        ("invalid_client_id", "client identifier invalid", "check client_id"),
        ("invalid_client", "invalid client credentials", "check client_id and client_secret"),
        ("invalid_grant", "no client credentials user enabled", "choose a user to run as"),
        ("invalid_grant", "request not supported on this domain", "login_url"),
        ("unsupported_grant_type", "grant type not supported", "enable the client-credentials flow"),
        ("inactive_user", "user is inactive", "run-as user"),
        ("some_new_error", "in words", "in words"),
    ],
)
def test_a_refused_login_is_configuration_says_what_to_change_and_is_not_repeated(
    org: SmallOrg, error: str, description: str, words: str
) -> None:
    refuse_login(org, 400, {"error": error, "error_description": description})
    with pytest.raises(ExportError) as caught:
        make_target(org.url).check()
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, error)
    assert words in caught.value.message
    assert description in caught.value.message
    assert "hidden-secret" not in str(caught.value)
    assert len(org.calls) == 1


def test_an_expired_session_whose_new_login_is_refused_is_configuration(org: SmallOrg, tmp_path: Path) -> None:
    def lock_out(call: str) -> None:
        if call.endswith("/batch") and org.logins == 1:
            org.token = "another"
            refuse_login(org, 400, {"error": "inactive_user", "error_description": "user is inactive"})

    org.on_call = lock_out
    with pytest.raises(ExportError, match="inactive_user"):
        make_target(org.url, connection={"initial_retry_delay": 0}).export(
            make_spool(tmp_path / "s", people(2)), make_context(ListLedger())
        )


@pytest.mark.parametrize("host", ["login.salesforce.com", "test.salesforce.com", "LOGIN.salesforce.com."])
def test_the_shared_login_hosts_are_refused_before_any_request(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_arguments: object, **_options: object) -> None:
        pytest.fail("a request was sent")

    monkeypatch.setattr(http_session.requests.Session, "request", never)
    settings = dict(make_connection("https://o.my.salesforce.com")) | {"login_url": f"https://{host}"}
    connection = SalesforceConnection.model_construct(**settings)
    with pytest.raises(ExportError, match="My Domain") as caught:
        SalesforceTarget(connection, SalesforceExport(object="Contact")).check()
    assert caught.value.kind is FailureKind.CONFIGURATION


@pytest.mark.parametrize(
    "instance_url",
    [
        "http://elsewhere.example",
        "https://elsewhere.example",
        "https://salesforce.com.example",
        "https://notsalesforce.com",
        "http://127.0.0.1.example",
        "https://[fe80::1]",
    ],
)
def test_an_instance_that_cannot_be_trusted_gets_no_token(org: SmallOrg, instance_url: str) -> None:
    refuse_login(org, 200, {"access_token": "t", "instance_url": instance_url})
    with pytest.raises(ExportError, match="cannot be trusted") as caught:
        make_target(org.url).check()
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert len(org.calls) == 1


@pytest.mark.parametrize(
    "instance_url",
    [
        "",
        "https://",
        "ftp://127.0.0.1",
        "javascript:x",
        "https://[::1",
        "https://me@o.my.salesforce.com",
        "https://me:secret@o.my.salesforce.com",
        "https://o.my.salesforce.com:99999",
        "https://o.my.salesforce.com:x",
        "https://o.my.salesforce.com/services",
        "https://o.my.salesforce.com?x",
        "https://o.my.salesforce.com#x",
        "https://o.my.salesforce.com\\.example",
        "https://ö.my.salesforce.com",
        "https://o.my.salesforce.com\r\nX: y",
        " https://o.my.salesforce.com",
        "//o.my.salesforce.com",
        None,
        7,
        ["https://o.my.salesforce.com"],
    ],
)
def test_an_instance_that_is_no_address_is_an_unreadable_answer(org: SmallOrg, instance_url: object) -> None:
    refuse_login(org, 200, {"access_token": "t", "instance_url": instance_url})
    with pytest.raises(ExportError, match="no instance") as caught:
        make_target(org.url, connection={"retry_limit": 0}).check()
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "UNREADABLE_ANSWER")
    assert len(org.calls) == 1


@pytest.mark.parametrize(
    ("login_url", "instance_url"),
    [
        ("https://login.salesforce.com", "https://o.my.salesforce.com"),
        ("https://o.my.salesforce.com", "https://o--dev.sandbox.my.salesforce.com"),
        ("https://o.my.salesforce.com", "https://na139.salesforce.com"),
        ("https://sf.corp.example", "https://o.my.salesforce.com"),
        ("https://sf.corp.example", "https://o.corp.example"),
        ("https://sf.example:8443", "https://SF.example:8443"),
        ("https://o.my.sfcrmproducts.cn", "https://o.my.sfcrmproducts.cn"),
    ],
)
def test_the_instances_that_there_are_get_the_token(login_url: str, instance_url: str) -> None:
    check_instance(read_instance(f"{instance_url}/"), login_url)


@pytest.mark.parametrize("token", ["€", "a b", "a\nb", "x" * 20_001, None, 7, {}, "\udc80"])
def test_a_token_that_no_header_can_hold_is_an_unreadable_answer(org: SmallOrg, token: object) -> None:
    refuse_login(org, 200, {"access_token": token, "instance_url": org.url})
    with pytest.raises(ExportError) as caught:
        make_target(org.url, connection={"retry_limit": 0}).check()
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "UNREADABLE_ANSWER")
    assert len(org.calls) == 1


@pytest.mark.parametrize("body", [{}, [], {"access_token": "", "instance_url": "x"}, {"access_token": 1}, "x"])
def test_an_answer_without_a_token_is_not_taken_for_a_login(org: SmallOrg, body: object) -> None:
    refuse_login(org, 200, body)
    with pytest.raises(ExportError, match="no token") as caught:
        make_target(org.url, connection={"retry_limit": 0}).check()
    assert caught.value.code == "UNREADABLE_ANSWER"


def test_the_other_address_of_this_machine_is_trusted_when_the_login_is_here(org: SmallOrg) -> None:
    here = org.url
    org.url = org.url.replace("127.0.0.1", "localhost")
    make_target(here).check()
    assert org.count("describe") == 1


def test_a_token_is_never_shown() -> None:
    assert "00Dxx" not in repr(Login(token="00Dxx!secret", instance_url="https://x.my.salesforce.com"))


def test_calls_name_schedctl_and_keep_the_connection(org: SmallOrg, tmp_path: Path) -> None:
    agents: set[str] = set()
    peers: set[object] = set()
    really = org.reply

    def look(method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        agents.add(headers["User-Agent"])
        return really(method, path, headers, body)

    org.reply = look  # type: ignore[method-assign,assignment] # to look at headers
    org.on_peer = peers.add
    make_target(org.url).export(make_spool(tmp_path / "s", people(6)), make_context(ListLedger()))
    [agent] = agents
    assert agent.startswith("schedctl/")
    assert len(peers) == 1


def test_a_password_for_the_host_in_netrc_does_not_replace_the_token(
    org: SmallOrg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(http_session, "is_loopback", lambda _host: False)
    make_target(org.url).check()
    assert org.logins == 1
