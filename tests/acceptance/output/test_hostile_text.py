"""Whatever data, names, files and a server's messages hold: no command prints what a terminal would obey."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands.command import Command, QuickCommand

from exporter.emulator.fault_injection import CallFault, RowFault
from exporter.emulator.server import Emulator
from scheduler.cli.state.fast_path import connection_names

HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]\x9b2J\u202egnp.exe\u2066\u200f\u2028\u2029\x85\x7f[/red]\r\n\U000e0041end"
FORBIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|[0-9]*[AK])|\r")
"""What our own tables and the moving line of a run send to a terminal: colours, the cursor, the end of a line."""
SCHEMA = {
    "objects": {
        "Thing__c": {
            "label": "Thing",
            "fields": {"Name": {"type": "string", "length": 200}, "Note__c": {"type": "textarea", "length": 1000}},
        }
    }
}
CONFIG = """
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = "hush-hush"  # of its own: secrets of this process are masked in all that it prints later
retry_limit = 0
[connections.odd]
type = "duckdb"
path = {text}
[jobs.things]
description = {text}
cron = "0 3 * * *"
source = "warehouse"
retry_limit = 0
query = {query}
export = {{ connection = "crm", object = "Thing__c" }}
[jobs.odd]
source = "odd"
retry_limit = 0
query = {odd}
export = {{ connection = "crm", object = "Thing__c" }}
[jobs.broken]
source = "warehouse"
retry_limit = 0
query = {broken}
export = {{ connection = "crm", object = "Thing__c" }}
"""


def toml(text: str) -> str:
    """Write a basic string, which holds all but the controls as they are."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@pytest.fixture(scope="module")
def org() -> Iterator[Emulator]:
    with Emulator(schema=SCHEMA, client_secret="hush-hush") as emulator:
        yield emulator


def config_of(org: Emulator) -> str:
    text = f"'{HOSTILE}'"
    return CONFIG.format(
        url=org.url,
        text=toml(HOSTILE),
        query=toml(f'select {text} || i as "Name", {text} as "Note__c" from range(4) t(i)'),  # noqa: S608 - our own text
        odd=toml(f"select 1 as {json.dumps(HOSTILE)}"),
        broken=toml(f'select "no{HOSTILE}such" from range(4)'),  # noqa: S608 - our own text
    )


def check(shown: str) -> None:
    found = FORBIDDEN.search(shown)
    assert found is None, (found, shown)


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("list",),
    ("show", "things"),
    ("show", HOSTILE),
    ("check",),
    ("check", "--connections"),
    ("connections",),
    ("connections", "test", "odd"),
    ("connections", "test", HOSTILE),
    ("connections", "test", "crm"),
    ("preview", "things"),
    ("preview", "odd"),
    ("preview", "broken"),
    ("run", "things", "--wait"),
    ("run", "broken", "--wait"),
    ("run", "odd", "--wait"),
    ("run", HOSTILE),
    ("run", "things", "--at", HOSTILE),
    ("runs",),
    ("runs", HOSTILE),
    ("runs", "show", "1"),
    ("rejected", "1"),
    ("status",),
    ("audit",),
    ("forecast",),
    ("next", "things"),
    ("next", HOSTILE),
    ("explain", HOSTILE),
    ("add", HOSTILE, "--source", HOSTILE, "--query", HOSTILE, "--to", "crm"),
    ("disable", "things", "--reason", HOSTILE),
    ("show", "things"),
    ("list",),
    ("login", HOSTILE),
    ("import", "td", HOSTILE),
    ("import", "crontab", "-", "--timezone", HOSTILE),
    ("rejected", "1", "--csv", f"/no/{HOSTILE}"),
    (HOSTILE,),
    ("list", f"--{HOSTILE}"),
    ("list", "--config", f"/no/{HOSTILE}"),
)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_command_prints_what_a_terminal_obeys(tmp_path: Path, org: Emulator, form: tuple[str, ...]) -> None:
    org.faults.clear()
    org.faults.add(RowFault(object="Thing__c", every=2, times=50, error=("CUSTOM_VALIDATION_EXCEPTION", HOSTILE)))
    command = QuickCommand(tmp_path, config_of(org))
    for arguments in COMMANDS:
        answer = command(*arguments, *form, code=None, stdin=f"* * * * * {HOSTILE}\n")
        check(answer.out)
        check(answer.err)
        if form and answer.out:
            assert answer.json
    if form:
        rows = command("rejected", "1", "--json").json["rows"]
        assert rows
        assert rows[0]["values"]["Note__c"] == HOSTILE, "JSON means what it meant"
    else:
        assert "\\u001b]0;owned\\u0007\\u001b[31m[red]\\u009b2J\\u202e" in command("preview", "things").out


def test_what_a_server_says_of_a_login_reaches_no_terminal(tmp_path: Path, org: Emulator) -> None:
    org.faults.clear()
    body = json.dumps({"error": HOSTILE, "error_description": HOSTILE})
    fault = CallFault(pattern="/services/oauth2/token", action="answer", status=400, body=body, kind="application/json")
    org.faults.add(fault)
    command = QuickCommand(tmp_path, config_of(org))
    for arguments in (
        ("connections", "test", "crm"),
        ("check", "--connections"),
        ("run", "things", "--wait"),
        ("runs", "show", "1"),
    ):
        for form in ((), ("--json",)):
            answer = command(*arguments, *form, code=None)
            check(answer.out)
            check(answer.err)
    org.faults.clear()


def test_a_config_file_and_its_name_reach_no_terminal(tmp_path: Path) -> None:
    command = QuickCommand(tmp_path, f"[jobs.{toml(HOSTILE)}]\n{toml(HOSTILE)} = {toml(HOSTILE)}\n")
    odd = tmp_path / "od\x1b[31md\n\u202e.toml"
    odd.write_text(f"[jobs\n# {HOSTILE}", encoding="utf-8", errors="surrogatepass")
    for given in ((), ("--config", str(odd)), ("--config", str(tmp_path / f"no{HOSTILE}".replace("/", "")))):
        for name in ("check", "list", "status", "daemon"):
            answer = command(name, *given, code=None)
            check(answer.out)
            check(answer.err)
    traced = command.run(["check"], {**command.environment, "SCHEDCTL_DEBUG": "1"}, None)
    assert "Traceback" in traced.err
    check(traced.err)


def test_names_that_a_shell_completes_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = QuickCommand(tmp_path, f"[connections.{toml(HOSTILE)}]\n[connections.plain]\n")
    monkeypatch.setenv("SCHEDCTL_CONFIG", str(command.config))
    assert connection_names() == ["plain"]


def test_on_a_terminal_there_is_nothing_but_colours_and_the_moving_line(tmp_path: Path, org: Emulator) -> None:
    org.faults.clear()
    org.faults.add(RowFault(object="Thing__c", every=2, times=50, error=("CUSTOM_VALIDATION_EXCEPTION", HOSTILE)))
    command = Command(tmp_path, config_of(org))
    for arguments in (
        ("run", "things", "--wait"),
        ("run", "odd", "--wait"),
        ("rejected", "1"),
        ("rejected", "1", "--csv", "-"),
        ("preview", "things"),
        ("connections",),
        ("list", "--json"),
    ):
        shown = command.on_terminal(*arguments, code=None)
        check(OURS.sub("", shown))
        assert "\x1b]" not in shown
        assert "\x1b[31m[red]" not in shown


def test_rows_as_csv_in_a_pipe_are_unchanged(tmp_path: Path, org: Emulator) -> None:
    org.faults.clear()
    org.faults.add(RowFault(object="Thing__c", every=2, times=50, error=("CUSTOM_VALIDATION_EXCEPTION", "no")))
    command = QuickCommand(tmp_path, config_of(org))
    command("run", "things", "--wait")
    assert HOSTILE in command("rejected", "1", "--csv", "-").out
