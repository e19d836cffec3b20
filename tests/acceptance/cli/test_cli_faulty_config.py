"""Beside a config file with faults: what looks and what stops goes on working, what starts something is refused."""

from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, QuickCommand

from storage import key_values
from storage.database import open_database

TYPO = CONFIG + NIGHTLY.replace("0 3 * *", "0 33 * *")
CUT = CONFIG + "[jobs.nightly\n"
"""Half saved: it is no TOML."""


@pytest.fixture
def quick(tmp_path: Path) -> QuickCommand:
    """Return a command line whose state has a job and a run that waits, as a daemon left them."""
    command = QuickCommand(tmp_path)
    command("run", "nightly")
    note_daemon(command)
    return command


def note_daemon(command: QuickCommand) -> None:
    """Keep which file the daemon of this state read, as it does when it starts."""
    database = open_database(f"sqlite:///{command.state / 'state.db'}")
    with database.write() as session:
        key_values.put(session, "config_path", str(command.config))
    database.close()


@pytest.mark.parametrize("faulty", [TYPO, CUT], ids=["typo", "no toml"])
@pytest.mark.parametrize(
    "command",
    [
        ("list",), ("show", "nightly"), ("runs",), ("runs", "show", "1"), ("rejected", "1"), ("audit",), ("forecast",),
        ("next", "nightly"), ("explain", "nightly"), ("cancel", "1"), ("disable", "nightly"), ("db", "check"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_looks_and_what_stops_works_and_names_the_fault(
    quick: QuickCommand, command: tuple[str, ...], faulty: str
) -> None:
    quick.write(faulty)
    answer = quick(*command, "--json")
    if command[0] != "db":
        assert answer.err.startswith(f"schedctl: warning: {quick.config}:"), answer.err
        assert "as they were last stored" in answer.err.splitlines()[0]
    assert "error" not in answer.json


def test_a_run_is_canceled_and_a_job_disabled_all_the_same(quick: QuickCommand) -> None:
    quick.write(TYPO)
    assert quick("cancel", "1", "--json").json["runs"][0]["outcome"] == "canceled"
    assert quick("disable", "nightly", "--json").json["job"]["state"] == "disabled"


@pytest.mark.parametrize(
    "command",
    [
        ("run", "nightly"), ("retry", "1"), ("enable", "nightly"), ("preview", "nightly"), ("check",), ("reload",),
        ("add", "x", "--source", "warehouse", "--query", "select 1 as a", "--to", "files"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_would_start_or_change_something_by_the_file_is_refused(
    quick: QuickCommand, command: tuple[str, ...]
) -> None:
    quick.write(TYPO)
    quick.fails(*command, code=4, says="jobs.nightly.cron")


def test_a_waiting_run_is_told_without_the_limits_of_the_file(quick: QuickCommand) -> None:
    quick.write(CUT)
    assert quick("runs", "show", "1", "--json").json["run"]["waits_for"] == "a daemon: none is alive"


def test_where_there_is_no_state_yet_the_faults_are_all_there_is_and_none_is_made(tmp_path: Path) -> None:
    command = QuickCommand(tmp_path, TYPO)
    for arguments in (["list"], ["runs"], ["status"]):
        command.fails(*arguments, code=4, says="jobs.nightly.cron")
    assert not command.state.exists()


@pytest.mark.parametrize("storage", ["", '[storage]\nurl = "sqlite:///own.db"\n'], ids=["default", "named"])
def test_status_is_told_also_when_the_file_is_no_toml(tmp_path: Path, storage: str) -> None:
    command = QuickCommand(tmp_path, storage + CONFIG + NIGHTLY)
    command("run", "nightly")
    if not storage:
        note_daemon(command)
    command.write(storage + CUT)
    told = command("status", "--json", code=1).json
    assert told["queue"]["waiting"] == 1
    assert told["jobs"]["total"] == 1
    assert "not valid TOML" in told["config"]["fault"]


def test_a_storage_table_with_a_fault_of_its_own_is_found_by_its_url(tmp_path: Path) -> None:
    command = QuickCommand(tmp_path, '[storage]\nurl = "sqlite:///own.db"\n' + CONFIG + NIGHTLY)
    command("run", "nightly")
    for storage in ('url = "sqlite:///own.db"\nhistory = 9 d\n', 'url = "sqlite:///own.db"\nhistori = 9\n'):
        command.write(f"[storage]\n{storage}" + CONFIG + NIGHTLY)
        assert command("status", "--json", code=1).json["queue"]["waiting"] == 1


@pytest.mark.parametrize("storage", ['[storage]\nurl = "sqlite:///ow\n', "[storage]\nurll = 'sqlite:///own.db'\n"])
def test_an_address_that_cannot_be_told_is_not_guessed(quick: QuickCommand, storage: str) -> None:
    quick.write(storage + CONFIG + NIGHTLY)
    answer = quick.fails("status", code=4, says="config.toml:2")
    assert "state" in answer.err.splitlines()[-1]


def test_the_default_place_of_a_file_that_is_cut_off_counts_only_where_a_daemon_read_it(tmp_path: Path) -> None:
    command = QuickCommand(tmp_path)
    command("run", "nightly")
    command.write(CUT)
    command.fails("status", code=4, says="not valid TOML")
    note_daemon(command)
    assert command("status", "--json", code=1).json["queue"]["waiting"] == 1


def test_a_file_that_is_gone_is_told_with_the_daemon_that_read_it(quick: QuickCommand) -> None:
    quick.config.unlink()
    told = quick("status", "--json", code=1).json
    assert told["queue"]["waiting"] == 1
    assert "cannot be read" in told["config"]["fault"]
    quick("disable", "nightly")


def test_one_name_in_file_and_database_does_not_hide_what_is_stored(quick: QuickCommand) -> None:
    quick("add", "leads", "--source", "warehouse", "--query", "select 1 as a", "--to", "files", "--file", "x.csv")
    quick.write(CONFIG + NIGHTLY.replace("nightly", "leads"))
    answer = quick("list", "--json")
    assert [job["name"] for job in answer.json["jobs"]] == ["leads", "nightly"]
    assert "schedctl remove leads" in answer.err
    quick.fails("run", "leads", code=4, says="schedctl remove leads")
