"""Jobs that leave the config file, by intent or because it is half written, and what they are when they are back."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.commands.command import CONFIG, NIGHTLY, Command, QuickCommand
from support.commands.service import CONFIG as SERVICE_CONFIG
from support.commands.service import SCHEMA, Service
from support.runs.cases import SCHEMA as THINGS

from exporter.emulator.fault_injection import CallFault
from exporter.emulator.server import Emulator
from scheduler.config.build import load
from scheduler.operations.jobs import sync_file_jobs
from storage.database import open_database
from storage.runs import ledger, runs
from storage.runs.ledger import LedgerRow

ADD = ("add", "leads", "--source", "warehouse", "--query", "select 1 as a", "--to", "files")
JOBS = {name: NIGHTLY.replace("nightly", name) for name in ("first", "second", "third")}
WHOLE = CONFIG + "".join(JOBS.values())
INCREMENTAL = """
[jobs.incremental]
source = "warehouse"
query = "select i from range(7) as numbers(i) where :last_scheduled_time is null"
[jobs.incremental.export]
connection = "files"
"""
EVERY_MINUTE = """
[jobs.paused]
cron = "* * * * *"
source = "warehouse"
query = "select 1 as a"
[jobs.paused.export]
connection = "files"
"""
FILES = """
[connections.files]
type = "file"
directory = "out"
"""


@pytest.fixture
def quick(tmp_path: Path) -> QuickCommand:
    return QuickCommand(tmp_path, WHOLE)


def names(schedctl: Command) -> list[str]:
    return [job["name"] for job in schedctl("list", "--json").json["jobs"]]


def written_later(path: Path, text: str) -> threading.Timer:
    """Write the rest of a file in a moment, as an editor or a copy over the network does."""
    timer = threading.Timer(0.5, lambda: path.write_text(text, encoding="utf-8"))
    timer.start()
    return timer


@pytest.mark.parametrize(
    "command", [["list"], ["show", "third"], ["next", "third"], ["disable", "third"], ["run", "third"]]
)
def test_a_command_in_the_middle_of_a_file_waits_for_its_end(quick: QuickCommand, command: list[str]) -> None:
    quick("reload", "--confirm")
    quick.write(CONFIG + JOBS["first"] + JOBS["second"])  # less than half is gone: no confirmation would be asked for
    timer = written_later(quick.config, WHOLE)
    quick(*command)
    timer.join()
    assert names(quick) == ["first", "second", "third"]
    assert quick("list", "--removed", "--json").json == {"removed": []}


def test_nothing_runs_by_a_half_written_job(quick: QuickCommand) -> None:
    quick("reload", "--confirm")
    quick.write(WHOLE.replace("select 1 as number", "select 1 as half"))
    timer = written_later(quick.config, WHOLE.replace("select 1 as number", "select 1 as whole"))
    quick("run", "first", "--wait")
    timer.join()
    assert "whole" in quick("runs", "show", "1", "--json").json["run"]["definition"]["query"]


def test_an_edit_that_only_adds_waits_for_nothing(quick: QuickCommand) -> None:
    quick("list")
    quick.write(WHOLE + JOBS["first"].replace("first", "fourth"))
    begun = time.monotonic()
    assert "fourth" in names(quick)
    assert time.monotonic() - begun < 2


COMMANDS = ["list", "show first", "next first", "disable first", "enable first", "run first", "preview first", "runs"]
COMMANDS += ["audit", "forecast", "check", "check --diff", "status", "reload", "retry 1", "resync first", "remove mine"]
COMMANDS += ["edit mine --delay 5m", "cancel 1", "rejected 1", "connections", "daemon --once"]


@pytest.mark.parametrize("half", ["", CONFIG + JOBS["first"]])
def test_no_command_removes_most_jobs_of_the_file(tmp_path: Path, half: str) -> None:
    quick = QuickCommand(tmp_path, WHOLE)
    quick(*ADD[:1], "mine", *ADD[2:])
    quick("disable", "second", "--reason", "mine")
    quick.write(half)
    time.sleep(2.1)  # old enough to be taken for whole
    for command in [*COMMANDS, f"{' '.join(ADD[:-2])} --to-file"]:
        quick(*command.split(), code=None)
    quick.write(WHOLE)
    assert quick("list", "--removed", "--json").json == {"removed": []}
    assert {*names(quick)} >= {"first", "second", "third"}
    assert quick("show", "second", "--json").json["job"]["disabled_reason"] == "mine"


def test_check_warns_of_a_file_without_jobs_and_says_what_has_to_be_confirmed(quick: QuickCommand) -> None:
    quick("reload", "--confirm")
    quick.write("")
    told = quick("check").err
    assert f"{quick.config}: the file is empty: it has no jobs and no connections" in told
    assert "removes all 3 jobs of the config file (first, second, third)" in told
    quick.write(CONFIG)
    assert f"{quick.config}: the file has no jobs; only jobs of schedctl add run" in quick("check").err
    quick.write(CONFIG + JOBS["first"])
    shown = quick("check", "--diff", "--json").json
    assert shown["diff"]["needs_confirm"] is True
    assert "removes 2 of 3 jobs" in shown["warnings"][0]
    assert "only by schedctl reload --confirm" in quick("check", "--diff").out
    assert "removes 2 of 3 jobs" in quick("status", code=1).err
    quick.write(WHOLE)
    assert quick("check", "--diff", "--json").json["diff"]["needs_confirm"] is False


def test_without_a_daemon_a_confirmed_edit_is_applied_by_the_command(quick: QuickCommand) -> None:
    quick("reload", "--confirm")
    quick.write(CONFIG + JOBS["first"])
    assert "no daemon is alive" in quick("reload", code=1).err
    quick.fails("run", "first", code=4, says="removes 2 of 3 jobs of the config file (second, third)")
    assert "applied" in quick("reload", "--confirm").out
    assert names(quick) == ["first"]


def test_a_job_of_the_command_line_comes_back_as_it_was_and_it_is_said(quick: QuickCommand) -> None:
    quick(*ADD)
    quick("run", "leads", "--wait")
    success = quick("show", "leads", "--json").json["job"]["last_success"]
    quick("disable", "leads", "--reason", "a migration")
    assert "begins with its state" in quick("remove", "leads").out
    assert "its state comes back with its name" in quick.fails("show", "leads", code=3, says="was removed at").err
    (kept,) = quick("list", "--removed", "--json").json["removed"]
    assert (kept["name"], kept["origin"], kept["disabled_reason"]) == ("leads", "cli", "a migration")
    told = quick(*ADD)
    assert f"its state is back (last success {success}, disabled: a migration)" in told.err
    job = quick("show", "leads", "--json").json["job"]
    assert (job["last_success"], job["state"]) == (success, "disabled")
    assert "0 slots expected" in quick("audit", "leads").out


def test_a_forgotten_job_begins_anew_also_one_that_left_the_file(quick: QuickCommand) -> None:
    quick(*ADD)
    quick("run", "leads", "--wait")
    assert quick("remove", "leads", "--forget", "--json").json == {
        "removed": "leads",
        "forgotten": True,
        "going_on": [],
    }
    assert "its state is back" not in quick(*ADD).err
    assert quick("show", "leads", "--json").json["job"]["last_success"] is None
    quick("disable", "second")
    quick.fails("remove", "second", "--forget", code=2, says="belongs to the config file")
    quick.write(CONFIG + JOBS["first"] + JOBS["third"])
    quick("list")
    assert "forgot the state of second" in quick("remove", "second", "--forget").out
    quick.fails("remove", "second", "--forget", code=3, says="there is no job 'second', and no state of a removed one")
    quick.write(WHOLE)
    assert quick("show", "second", "--json").json["job"]["state"] == "enabled"


def test_a_name_that_moves_between_file_and_command_line_takes_its_state_along(quick: QuickCommand) -> None:
    quick("disable", "second", "--reason", "a migration")
    quick.write(CONFIG + JOBS["first"] + JOBS["third"])
    quick("reload", "--confirm")
    told = quick("add", "second", *ADD[2:])
    assert "disabled: a migration" in told.err
    quick.write(WHOLE)
    quick.fails("list", "--removed", "--failing", code=2, says="--removed goes with neither")
    quick.fails("run", "second", code=4, says="a job of that name was added by schedctl add")
    quick("remove", "second")
    job = quick("show", "second", "--json").json["job"]
    assert (job["origin"], job["disabled_reason"]) == ("file", "a migration")
    assert quick("list", "--removed").out == "no state of a removed job is kept\n"


def test_a_follower_comes_back_as_one_and_is_owed_nothing_for_the_time_between(quick: QuickCommand) -> None:
    follower = JOBS["second"].replace('cron = "0 3 * * mon-fri"\n', 'after = ["first"]\n')
    follower = "".join(line for line in follower.splitlines(keepends=True) if not line.startswith("timezone"))
    quick.write(CONFIG + JOBS["first"] + follower + JOBS["third"])
    quick("disable", "second", "--reason", "mine")
    quick.write(CONFIG + JOBS["first"] + JOBS["third"])
    quick("run", "first", "--at", "2026-11-02T03:00:00-05:00", "--wait")
    quick.write(CONFIG + JOBS["first"] + follower + JOBS["third"])
    job = quick("show", "second", "--json").json["job"]
    assert (job["after"], job["state"], job["disabled_reason"]) == (["first"], "disabled", "mine")
    quick("enable", "second")
    assert "each has exactly one run" in quick("audit").out
    quick.fails("show", "nowhere", code=3, says="there is no job 'nowhere'")


def test_the_state_of_a_job_whose_run_goes_on_is_not_forgotten(quick: QuickCommand) -> None:
    quick(*ADD)
    quick("run", "leads")
    database = open_database(f"sqlite:///{quick.state / 'state.db'}")
    with database.write() as session:  # it began, and waits for its next attempt
        run = runs.claim_run(session, 1, owner="node", now=datetime.now(UTC), lease_seconds=60)
        assert run is not None
        entry = LedgerRow(step="batch.send", mark="intended", batch=1, at=datetime.now(UTC))
        ledger.append(session, 1, run.token or "", entry)
        runs.release(session, 1, run.token or "", now=datetime.now(UTC))
    database.close()
    quick("run", "leads", "--at", "2026-11-02T08:00:00Z")
    assert "run 1 has begun and goes on to its end; to stop it: schedctl cancel 1" in quick("remove", "leads").out
    quick.fails("remove", "leads", "--forget", code=1, says="run 1 of job leads goes on")
    assert "the job was removed by" in quick("runs", "show", "2", "--json").json["run"]["reason"]
    assert quick("runs", "show", "1", "--json").json["run"]["state"] == "waiting"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Emulator(state=tmp_path / "org.db") as org:
        yield Service(Command(tmp_path), org)


def state_of(service: Service) -> dict[str, Any]:
    return dict(service.command("status", "--json", code=None).json)


def test_a_half_written_file_takes_nothing_from_anybody(service: Service) -> None:
    """Connections first, jobs later, kill -9 between the two: what a person said stays, and nothing is sent twice."""
    head = f'[storage]\nurl = "{service.url}"\n{SERVICE_CONFIG.format(url=service.org.url)}{FILES}'
    whole = head + INCREMENTAL + EVERY_MINUTE
    schedctl = service.command
    schedctl.write(whole)
    database = open_database(service.url)
    sync_file_jobs(database, load(schedctl.config), datetime.now(UTC) - timedelta(minutes=2))
    database.close()
    schedctl("disable", "paused", "--reason", "the org is being migrated")
    assert schedctl("run", "incremental", "--wait", "--json").json["runs"][0]["rows"]["accepted"] == 7
    with service.daemon() as daemon:
        service.until(lambda: schedctl("status", code=None).code == 0)
        schedctl.write(head)
        service.until(lambda: state_of(service)["config"]["unconfirmed"])
        assert [each["code"] for each in state_of(service)["problems"]] == ["config_unconfirmed"]
        assert schedctl.fails("reload", code=4, says="removes all 2 jobs").error["kind"] == "config"
        daemon.kill()
        daemon.wait()
    with service.daemon() as daemon:
        service.until(lambda: (state_of(service)["daemon"] or {}).get("pid") == daemon.pid)
        service.until(lambda: state_of(service)["config"]["unconfirmed"])
        assert state_of(service)["config"]["unconfirmed"]["resting"] == ["incremental", "paused"]
        assert schedctl("status", code=1).out.count("resting jobs") == 1
        assert "removes all 2 jobs" in schedctl("list").err
        schedctl.write(whole)
        service.until(lambda: schedctl("status", code=None).code == 0)
        assert "the org is being migrated" in schedctl("show", "paused").out
        run = schedctl("run", "incremental", "--wait", "--json").json["runs"][0]
        assert (run["outcome"], run["rows"]["read"]) == ("succeeded", 0), "an incremental append is not sent again"
        assert [each.outcome for each in service.runs("paused")] == []
    assert "config.unconfirmed" in service.log.read_text(encoding="utf-8")
    assert "0 faults" in schedctl("check").out


def test_a_confirmed_removal_and_its_return_keep_the_state_and_the_audit_clean(service: Service) -> None:
    head = f'[storage]\nurl = "{service.url}"\n{SERVICE_CONFIG.format(url=service.org.url)}{FILES}'
    schedctl = service.command
    schedctl.write(head + INCREMENTAL + EVERY_MINUTE)
    with service.daemon():
        service.until(lambda: schedctl("status", code=None).code == 0)
        schedctl("run", "incremental", "--wait")
        schedctl("disable", "paused", "--reason", "mine")
        schedctl.write(head)
        assert [each["change"] for each in schedctl("reload", "--confirm", "--json").json["last_edit"]["jobs"]] == [
            "removed",
            "removed",
        ]
        assert names(schedctl) == []
        schedctl.write(head + INCREMENTAL + EVERY_MINUTE)
        told = schedctl("reload", "--json").json["last_edit"]["jobs"]
        assert [(each["change"], each["restored"]) for each in told] == [("added", True)] * 2
        assert schedctl("show", "paused", "--json").json["job"]["disabled_reason"] == "mine"
        assert schedctl("run", "incremental", "--wait", "--json").json["runs"][0]["rows"]["read"] == 0
        assert "each has exactly one run" in schedctl("audit").out


BEGUN = """
[jobs.begun]
source = "warehouse"
query = "select i as \\"Number__c\\" from range(12) as numbers(i) where :last_scheduled_time is null"
retry_limit = 9
initial_retry_delay = "1s"
[jobs.begun.export]
connection = "crm"
object = "Row__c"
batch_size = 2
retry_limit = 0
"""


def test_a_run_that_has_begun_goes_on_while_its_job_is_out_of_the_file(tmp_path: Path) -> None:
    """One of three jobs is gone for some seconds, which nobody has to confirm: no row is lost, none is sent twice."""
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        service = Service(Command(tmp_path), org)
        keepers = tuple(EVERY_MINUTE.replace("paused", name).replace("* * * * *", "") for name in ("one", "two"))
        refused = CallFault(pattern="POST .*/batch$", action="answer", status=503, nth=tuple(range(4, 99)))
        service.org.faults.add(refused)
        service.configure(FILES, *keepers, BEGUN)
        with service.daemon():
            service.until(lambda: service.command("status", code=None).code == 0)
            service.command("run", "begun")
            service.until(lambda: len(service.numbers()) == 6 and service.runs("begun")[0].state == "waiting")
            service.configure(FILES, *keepers)
            service.command("reload")
            assert names(service.command) == ["one", "two"]
            service.org.faults.clear()
            service.until(lambda: service.runs("begun")[0].outcome)
            (run,) = service.runs("begun")
            assert (run.outcome, run.rows_read, run.rows_accepted, run.reason) == ("succeeded", 12, 12, None)
            service.configure(FILES, *keepers, BEGUN)
            service.command("reload")
            again = service.command("run", "begun", "--wait", "--json").json["runs"][0]
            assert (again["outcome"], again["rows"]["read"]) == ("succeeded", 0), "its last success came back with it"
        assert set(service.numbers().values()) == {1}


UPSERT = """
[jobs.upsert]
source = "warehouse"
query = "select concat('n', i) as \\"Name\\", concat('e', i) as \\"Ext_Id__c\\" from range(12) as numbers(i)"
[jobs.upsert.export]
connection = "crm"
object = "Thing__c"
mode = "update"
key = "Ext_Id__c"
upsert = true
"""


def test_an_upsert_does_not_become_an_append_by_a_file_that_is_cut_short(tmp_path: Path) -> None:
    with Emulator(state=tmp_path / "org.db", schema=THINGS) as org:
        service = Service(Command(tmp_path), org)
        schedctl = service.command
        service.configure(FILES, EVERY_MINUTE.replace("* * * * *", ""), UPSERT)
        schedctl("run", "upsert", "--wait")
        service.configure(FILES, EVERY_MINUTE.replace("* * * * *", ""), UPSERT.partition("mode =")[0])
        time.sleep(2.1)  # old enough to be taken for whole
        lost = "upsert: export.key, export.mode, export.upsert"
        assert lost in schedctl("list").err
        assert lost in schedctl.fails("run", "upsert", "--wait", code=4, says="as a file does that is cut short").err
        assert lost in schedctl("check").err
        assert schedctl("check", "--diff", "--json").json["diff"]["needs_confirm"] is True
        with service.daemon():
            service.until(lambda: (state_of(service)["config"]["unconfirmed"] or {}).get("resting") == ["upsert"])
            shown = state_of(service)
            assert shown["config"]["unconfirmed"]["lost"] == [
                {"job": "upsert", "keys": ["export.key", "export.mode", "export.upsert"]}
            ]
            assert [each["code"] for each in shown["problems"]] == ["config_unconfirmed"]
            assert schedctl.fails("reload", code=4, says=lost).error["kind"] == "config"
            assert schedctl("show", "upsert", "--json").json["job"]["definition"]["export"]["mode"] == "update"
            schedctl("reload", "--confirm")
            assert schedctl("show", "upsert", "--json").json["job"]["definition"]["export"]["mode"] == "append"
        assert len(list(org.org.records("Thing__c"))) == 12
