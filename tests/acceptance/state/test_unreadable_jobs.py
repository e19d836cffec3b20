"""Stored jobs that this version, or the zone data of this machine, cannot read: each is a problem of its own alone."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from support.commands.command import CONFIG, Command, QuickCommand
from support.commands.service import Service
from support.storage import damage, stored

from exporter.emulator.server import Emulator
from scheduler.daemon.plan_cache import Planning
from storage.database import Database, open_database, sqlite_url
from storage.runs import runs
from storage.runs.runs import NewRun

GOOD = """
[jobs.good]
cron = "* * * * *"
source = "warehouse"
query = "select 1 as a"
export = { connection = "files", file = "good.csv" }
"""
FAULTS = {
    "zoned": {"timezone": "Mars/Base"},
    "keyed": {"colour": "red"},
    "croned": {"cron": "0 99 * * *"},
    "exported": {"export": None},
    "timed": {"timeout": "6 hours", "delay": "10m"},
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Have a daemon's place with a job that is good, one after a bad one, and bad ones of each kind."""
    with Emulator(state=tmp_path / "org.db", schema={"objects": {}}) as org:
        made = Service(QuickCommand(tmp_path, CONFIG + GOOD), org)
        for name in FAULTS:
            add(made.command, name, "--cron", "0 3 * * *")
        add(made.command, "following", "--after", "zoned")
        with state(made) as database:
            for name, keys in FAULTS.items():
                damage(database, name, **keys)
        yield made


def add(command: Command, name: str, *flags: str) -> None:
    command("add", name, *flags, "--source", "warehouse", "--query", "select 1 as a", "--to", "files")


def problems(service: Service) -> set[str]:
    return {problem["code"] for problem in service.command("status", "--json", code=None).json["problems"]}


class state:  # noqa: N801 - used like the function that it would be
    """The service's state database, open during the block."""

    def __init__(self, service: Service) -> None:
        self.url = sqlite_url(service.command.state / "state.db")

    def __enter__(self) -> Database:
        self.database = open_database(self.url)
        return self.database

    def __exit__(self, *_error: object) -> None:
        self.database.close()


def test_the_daemon_runs_the_other_jobs_and_logs_announces_and_reports_each_bad_one_once(service: Service) -> None:
    service.command("run", "good")
    for _ in range(2):
        with service.daemon() as daemon:
            service.until(lambda: problems(service) == {"job_unreadable"})
            service.until(lambda: "run.settled" in service.log.read_text(encoding="utf-8"))
            status = service.command("status", "--json", code=1).json
            assert [problem["message"].split()[1] for problem in status["problems"]] == sorted(FAULTS)
            shown = service.command("status", code=1).out
            assert all(f"job {name} cannot be read, so it does not fire: " in shown for name in FAULTS)
            listed = {job["name"]: job for job in service.command("list", "--json").json["jobs"]}
            assert {name for name, job in listed.items() if job["state"] == "unreadable"} == FAULTS.keys()
            assert "Mars/Base" in listed["zoned"]["fault"]
            assert listed["zoned"]["next_run_time"] is None
            assert listed["good"]["next_run_time"] is not None
            assert service.command("list").out.count("cannot be read") == len(FAULTS)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(timeout=40) == 0
    with service.daemon():
        service.command("disable", "timed")
        service.until(lambda: service.command("status", "--json", code=None).json["daemon"] is not None)
        told = [each["message"] for each in service.command("status", "--json", code=1).json["problems"]]
        assert len(told) == len(FAULTS) - 1
        assert not any("timed" in each for each in told)
    lines = [json.loads(line) for line in service.log.read_text(encoding="utf-8").splitlines()]
    assert not any(line["event"] in ("chore.crashed", "run.crashed") for line in lines)
    with state(service) as database, database.read() as session:
        told = session.execute(text("SELECT subject FROM notice WHERE kind = 'unreadable' ORDER BY id")).scalars().all()
    assert told == [f"{len(FAULTS)} jobs cannot be read and will not fire"]


def test_without_a_daemon_each_command_says_it_of_the_bad_jobs_alone(service: Service) -> None:
    command = service.command
    for name in FAULTS:
        shown = command("show", name)
        assert "cannot be read" in shown.out
        assert "select 1 as a" in shown.out
        assert command("show", name, "--json").json["job"]["fault"]
        for words in (("next", name), ("explain", name), ("preview", name), ("run", name)):
            if name in ("zoned", "croned") or words[0] in ("preview", "run"):
                command.fails(*words, code=1, says="cannot be read")
    assert command("next", "good", "-n", "1", "--json").json["fires"]
    for words in (("check",), ("check", "--diff")):  # the file has no fault, so the exit code stays
        warned = command(*words).err
        assert all(f"the stored job {name} cannot be read, so it does not fire: " in warned for name in FAULTS)
    assert "the stored job good" not in warned
    assert len([each for each in command("check", "--json").json["warnings"] if "cannot be read" in each]) == len(
        FAULTS
    )
    assert "zoned has none by a schedule, or cannot be read" in command("next", "following").out
    load = command("forecast", "--days", "1", "--json")
    assert {job["name"] for job in load.json["jobs"]} == {"good"}
    assert {each["job"] for each in load.json["unreadable"]} == FAULTS.keys()
    assert load.err.count("is left out, since it cannot be read") == len(FAULTS)
    findings = command("audit", "--json", code=1).json["findings"]
    assert {(each["kind"], each["job"]) for each in findings} == {("unreadable", name) for name in FAULTS}
    assert command("list", "--failing", "--json").json["jobs"]


def test_a_bad_job_can_be_changed_or_removed(service: Service) -> None:
    command = service.command
    command("edit", "zoned", "--timezone", "Europe/Berlin")
    assert command("next", "zoned", "--json").json["timezone"] == "Europe/Berlin"
    command("edit", "croned", "--cron", "0 9 * * *")
    command.fails("edit", "keyed", "--cron", "0 9 * * *", code=2, says="schedctl remove keyed and add")
    for name in ("keyed", "exported"):
        command("remove", name)
    command("edit", "timed", "--timeout", "6h", "--delay", "10m")
    assert not any(job["fault"] for job in command("list", "--json").json["jobs"])
    assert {each["kind"] for each in command("audit", "--json", code=1).json["findings"]} == {"unreadable"}
    command("audit", "--since", "now")  # nobody can tell what was due before, but since then everybody can


def test_a_run_of_a_job_that_cannot_be_read_fails_and_says_so_and_the_daemon_goes_on(service: Service) -> None:
    now = datetime.now(UTC)
    definition = {"name": "timed", "timeout": "6 hours", "export": None}
    with state(service) as database:
        (number,) = stored(
            database,
            NewRun(job="timed", scheduled_time=now, run_time=now, kind="schedule", definition=definition),
        )
    service.command("run", "good")
    with service.daemon():
        service.until(lambda: {run.outcome for run in service.runs("good")} & {"succeeded"})
        service.until(lambda: [run.state for run in service.runs("timed")] == ["finished"])
    with state(service) as database, database.read() as session:
        run = runs.get_run(session, number)
    assert run is not None
    assert (run.outcome, run.failure_kind, run.failure_code) == ("failed", "configuration", "JOB_UNREADABLE")
    assert "the stored job cannot be read: export = " in str(run.failure_message)
    assert "run.crashed" not in service.log.read_text(encoding="utf-8")


def test_a_job_that_cannot_be_read_does_no_harm_to_the_run_that_it_runs_after(service: Service) -> None:
    command = service.command
    add(command, "behind", "--after", "good", "--ends-on", "2999-12-31")
    with state(service) as database:
        damage(database, "behind", timezone="Mars/Base")
    command("run", "good", "--at", (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:00Z"))
    with service.daemon():
        service.until(lambda: any(run.outcome == "succeeded" for run in service.runs("good")))
        service.until(lambda: [run.failure_code for run in service.runs("behind")][:1] == ["JOB_UNREADABLE"])


def test_a_job_that_can_be_read_again_fires_again(tmp_path: Path) -> None:
    command = QuickCommand(tmp_path, CONFIG + GOOD)
    add(command, "zoned", "--cron", "0 3 * * *")
    database = open_database(sqlite_url(command.state / "state.db"))
    damage(database, "zoned", timezone="Mars/Base")
    planning = Planning(database)
    planning.read()
    assert planning.plan.names() == {"good"}
    damage(database, "zoned", timezone="Europe/Kyiv")
    planning.forget()  # as the daemon does when it has new zone data
    planning.read()
    assert planning.plan.names() == {"good", "zoned"}
    database.close()
    assert command("status", code=1).out.count("cannot be read") == 0
