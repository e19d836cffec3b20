"""`schedctl login` as installed: a browser comes and goes, and the daemon's user can log in from then on."""

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from support.commands.command import SCHEDCTL, Answer, Command, QuickCommand
from support.salesforce.logins import RIGHTS, SECRET, rights

from exporter.emulator.fault_injection import CallFault
from exporter.emulator.org.org import USERNAME
from exporter.emulator.server import Emulator

CONFIG = """
[storage]
url = "sqlite:///state/own.db"
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
auth = "oauth"
login_url = "{url}"
client_id = "emulator"
client_secret = {{ env = "CRM_SECRET" }}
[connections.public]
type = "salesforce"
auth = "oauth"
login_url = "{url}"
client_id = "emulator"
token_file = "keys/public.json"
[connections.app]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = {{ env = "CRM_SECRET" }}
[jobs.leads]
source = "warehouse"
query = '''select 'L' || i as "LastName", 'C' as "Company" from range(3) as numbers(i)'''
[jobs.leads.export]
connection = "crm"
object = "Lead"
"""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(rights=RIGHTS) as served:
        yield served


@pytest.fixture
def schedctl(tmp_path: Path, emulator: Emulator) -> Command:
    command = Command(tmp_path, CONFIG.format(url=emulator.url))
    command.environment["CRM_SECRET"] = SECRET
    return command


@pytest.fixture
def quick(tmp_path: Path, emulator: Emulator) -> QuickCommand:
    command = QuickCommand(tmp_path, CONFIG.format(url=emulator.url))
    command.environment["CRM_SECRET"] = SECRET
    return command


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def waiting(schedctl: Command, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start `schedctl login`, and yield it with the address that it prints."""
    with subprocess.Popen(
        [SCHEDCTL, "login", *arguments],
        env=schedctl.environment,
        cwd=schedctl.directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            stream = process.stderr if "--json" in arguments else process.stdout
            assert stream is not None
            yield process, next(line.strip() for line in stream if line.startswith("http"))
        finally:
            process.kill()


def ending(process: "subprocess.Popen[str]", given: str | None = None) -> Answer:
    out, err = process.communicate(given, timeout=60)
    assert "Traceback" not in err
    return Answer(code=process.returncode, out=out, err=err)


def log_in(schedctl: Command, *arguments: str) -> Answer:
    """Log in with a browser that agrees to everything."""
    with waiting(schedctl, *arguments, "--port", str(free_port())) as (process, url):
        page = requests.get(url, timeout=10)
        assert "Go back to its terminal" in page.text
        assert page.headers["Referrer-Policy"] == "no-referrer"
        return ending(process)


@pytest.mark.parametrize("rotate", [False, True])
def test_a_person_logs_in_once_and_the_runs_do_so_by_themselves(
    schedctl: Command,
    emulator: Emulator,
    rotate: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    rights(emulator, rotate_refresh_tokens=rotate, pkce_needed=True)
    said = log_in(schedctl, "crm")
    assert said.code == 0, said
    assert f"crm: logged in as {USERNAME}, at {emulator.url}" in said.out
    kept = schedctl.directory / "state" / "tokens" / "crm.json"
    assert str(kept) in said.err
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    for _ in range(2):
        [run] = schedctl("run", "leads", "--wait", "--json").json["runs"]
        assert run["outcome"] == "succeeded"
    assert emulator.org.count("Lead") == 6
    assert f"logged in as {USERNAME} by a refresh token" in schedctl("check", "--connections", code=None).out
    token = json.loads(kept.read_text())["refresh_token"]
    everything = schedctl("show", "leads").out + schedctl("runs", "show", "1", "--json").out
    assert token not in everything
    stored = b"".join(each.read_bytes() for each in (schedctl.directory / "state").glob("own.db*"))
    assert b"succeeded" in stored
    assert token.encode() not in stored


def test_an_app_without_a_secret_keeps_its_token_where_the_config_says(schedctl: Command) -> None:
    said = log_in(schedctl, "public", "--json")
    assert said.code == 0, said
    assert said.json["login"]["username"] == USERNAME
    assert said.json["login"]["token_file"] == str(schedctl.directory / "keys" / "public.json")
    assert stat.S_IMODE((schedctl.directory / "keys").stat().st_mode) == 0o700
    assert "logged in" in schedctl("connections", "test", "public").out


def test_the_address_asks_for_a_code_with_pkce_and_a_state(schedctl: Command, emulator: Emulator) -> None:
    port = free_port()
    with waiting(schedctl, "crm", "--port", str(port)) as (_, url):
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{emulator.url}/services/oauth2/authorize?")
    assert (len(asked.pop("state")) > 20, len(asked.pop("code_challenge"))) == (True, 43)
    assert asked == {
        "response_type": "code",
        "client_id": "emulator",
        "redirect_uri": f"http://localhost:{port}/callback",
        "scope": "api refresh_token",
        "code_challenge_method": "S256",
    }


@pytest.mark.parametrize("form", ["address", "query", "code", "escaped code"])
def test_with_the_browser_elsewhere_its_address_or_the_code_is_pasted(
    schedctl: Command, emulator: Emulator, form: str
) -> None:
    with waiting(schedctl, "crm", "--no-browser") as (process, url):
        answer = requests.get(url, timeout=10, allow_redirects=False).headers["Location"]
        assert answer.startswith("http://localhost:1717/callback?")
        query = urlsplit(answer).query
        [code] = parse_qs(query)["code"]
        escaped = urlencode({"code": code}).partition("=")[2]
        given = {"address": f"  {answer} \n", "query": query, "code": code, "escaped code": escaped}[form]
        said = ending(process, f"{given}\n")
    assert said.code == 0, said
    assert f"logged in as {USERNAME}" in said.out
    assert emulator.gate.counts()["POST /services/oauth2/token"] == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "nothing was pasted"),
        ("hello world", "that is no code"),
        ("nonsense", "invalid authorization code: run schedctl login crm again"),
        ("http://localhost:1717/callback?code=x&state=another", "belongs to another login"),
        ("http://localhost:1717/callback?code=x", "belongs to another login"),
        ("http://localhost:1717/callback?error=access_denied&state=ü", "belongs to another login"),
    ],
)
def test_what_is_pasted_and_no_answer_is_told(quick: QuickCommand, given: str, says: str) -> None:
    said = quick("login", "crm", "--no-browser", code=1, stdin=f"{given}\n")
    assert says in said.err.splitlines()[-1]
    assert not (quick.directory / "state" / "tokens" / "crm.json").exists()


def test_a_person_who_says_no_is_told_so(schedctl: Command, emulator: Emulator) -> None:
    rights(emulator, user_approves=False)
    said = log_in(schedctl, "crm")
    assert said.code == 1
    assert "access was denied in the browser (end-user denied authorization)" in said.err


def test_a_person_whose_app_is_not_installed_is_told_what_an_administrator_does(
    schedctl: Command, emulator: Emulator
) -> None:
    rights(emulator, app_access="not_installed")
    said = log_in(schedctl, "crm")
    assert said.code == 1
    assert "OAUTH_EC_APP_NOT_FOUND: External client app is not installed in this org" in said.err
    assert "installs the app under Setup" in said.err


def test_an_answer_with_the_state_of_another_login_is_ignored(schedctl: Command) -> None:
    port = free_port()
    with waiting(schedctl, "crm", "--port", str(port)) as (process, url):
        root = f"http://127.0.0.1:{port}"
        assert requests.get(f"{root}/favicon.ico", timeout=10).status_code == 404
        assert requests.get(f"{root}/callback", timeout=10).status_code == 404
        for query in ("code=stolen&state=made-up", "code=stolen", "error=access_denied", "state=%FF&code=stolen"):
            answer = requests.get(f"{root}/callback?{query}", timeout=10)
            assert answer.status_code == 400
            assert "another login" in answer.text
        assert requests.get(url, timeout=10).status_code == 200
        said = ending(process)
    assert said.code == 0, said
    assert f"logged in as {USERNAME}" in said.out
    assert "stolen" not in said.err


def test_a_browser_that_opens_a_connection_and_says_nothing_is_in_nobodys_way(schedctl: Command) -> None:
    port = free_port()
    with waiting(schedctl, "crm", "--port", str(port)) as (process, url), socket.create_connection(("127.0.0.1", port)):
        assert requests.get(url, timeout=10).status_code == 200
        assert ending(process).code == 0


def test_a_browser_that_never_comes_is_not_waited_for_for_ever(quick: QuickCommand) -> None:
    arguments = ("login", "crm", "--wait", "1", "--port", str(free_port()))
    said = quick(*arguments, code=1)
    assert "no browser came back within 1 s" in said.err
    assert "callback URLs" in said.err
    assert quick(*arguments, "--json", code=1).error["kind"] == "failed"


def test_who_gives_up_waiting_may_interrupt_it(schedctl: Command) -> None:
    with waiting(schedctl, "crm", "--port", str(free_port())) as (process, _):
        process.send_signal(signal.SIGINT)
        assert ending(process).code == 130


def test_a_port_that_is_taken_says_which_flag_helps(quick: QuickCommand) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        quick.fails("login", "crm", "--port", port, code=1, says="choose another with --port")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nowhere",), 3, "there is no connection 'nowhere' (known: app, crm, public, warehouse)"),
        (("warehouse",), 2, "warehouse has type duckdb"),
        (("app",), 2, 'app has auth = "client_credentials"'),
        (("crm", "--port", "0"), 2, "--port"),
        (("crm", "--port", "65536"), 2, "--port"),
        (("crm", "--wait", "0"), 2, "--wait"),
        ((), 2, "NAME"),
    ],
)
def test_a_login_that_cannot_be_is_refused(
    quick: QuickCommand, arguments: tuple[str, ...], code: int, says: str
) -> None:
    quick.fails("login", *arguments, code=code, says=says)


def test_a_secret_that_is_not_there_is_told_before_any_browser_is_asked_for(quick: QuickCommand) -> None:
    del quick.environment["CRM_SECRET"]
    quick.fails("login", "crm", code=4, says="CRM_SECRET")


def test_a_wrong_secret_is_told_and_not_shown(schedctl: Command) -> None:
    schedctl.environment["CRM_SECRET"] = "gu3ss-gu3ss"
    said = log_in(schedctl, "crm")
    assert said.code == 1
    assert "invalid_client" in said.err
    assert "check client_id, and client_secret" in said.err
    assert "gu3ss" not in said.err


def test_an_app_that_gives_no_refresh_token_is_told(schedctl: Command, emulator: Emulator) -> None:
    body = json.dumps({"access_token": "x", "instance_url": emulator.url})
    emulator.faults.add(CallFault(pattern="token", action="answer", status=200, body=body, kind="application/json"))
    said = log_in(schedctl, "crm")
    assert said.code == 1
    assert "add the scope refresh_token" in said.err


def test_a_new_login_replaces_a_token_that_has_ended(schedctl: Command, emulator: Emulator) -> None:
    assert log_in(schedctl, "crm").code == 0
    rights(emulator, refresh_seconds=-1)
    assert "run schedctl login crm" in schedctl("connections", "test", "crm", code=1).err
    rights(emulator, refresh_seconds=3600)
    assert log_in(schedctl, "crm").code == 0
    assert "logged in" in schedctl("connections", "test", "crm").out


def test_a_login_enables_the_jobs_that_a_missing_one_had_failed(schedctl: Command) -> None:
    text = schedctl.config.read_text(encoding="utf-8").replace("[jobs.leads]", "[jobs.leads]\ndisable_after = 1")
    schedctl.write(text + text[text.index("[jobs.leads]") :].replace("jobs.leads", "jobs.paused"))
    schedctl("disable", "paused", "--reason", "mine")
    schedctl("run", "leads", "--wait", code=1)
    assert "disabled by failures" in schedctl("list").out
    said = log_in(schedctl, "crm")
    assert "enabled again, since failures had disabled them: leads" in said.err
    states = {job["name"]: job["state"] for job in schedctl("list", "--json").json["jobs"]}
    assert states == {"leads": "unscheduled", "paused": "disabled"}


def test_runs_before_the_first_login_fail_on_their_configuration(quick: QuickCommand) -> None:
    [run] = quick("run", "leads", "--wait", "--json", code=1).json["runs"]
    assert (run["failure"]["kind"], run["failure"]["code"]) == ("configuration", "NOT_LOGGED_IN")
    assert "run schedctl login crm" in run["failure"]["message"]


def test_deprecated_logins_are_warned_of_with_their_end(quick: QuickCommand, emulator: Emulator) -> None:
    old = f'[connections.old]\ntype = "salesforce"\nauth = "credentials"\nlogin_url = "{emulator.url}"\n'
    old += f'username = "{USERNAME}"\npassword = "Pa55w0rd"\nsecurity_token = "7oken"\n'
    quick.write(CONFIG.format(url=emulator.url) + old)
    for command in (["check"], ["connections", "test", "old"]):
        said = quick(*command)
        assert "Summer '27" in said.err
        assert "connections.old.auth" in said.err
    assert "Summer '27" not in quick("connections", "test", "app").err
    rows = {row["name"]: row["auth"] for row in quick("connections", "--json").json["connections"]}
    assert rows == {
        "app": "client_credentials", "crm": "oauth", "old": "credentials", "public": "oauth", "warehouse": None,
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_made_is_told(schedctl: Command) -> None:
    schedctl.directory.joinpath("keys").mkdir(mode=0o500)
    said = log_in(schedctl, "public")
    assert (said.code, "TOKEN_FILE" in said.err) == (1, True)
