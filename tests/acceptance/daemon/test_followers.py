"""Jobs that run after others, with the daemon as installed: nothing is lost or doubled by kill -9, and all is told."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, Command
from support.commands.service import SCHEMA, Service

from exporter.emulator.server import Emulator
from storage.database import open_database
from storage.runs import runs

YEARLY = "0 0 1 1 *"
SLOTS = 6
JOBS = """
[connections.files]
type = "file"
directory = "out"
[jobs.segment]
cron = "*/10 * * * *"
starts_at = "2027-12-01"
timezone = "UTC"
source = "warehouse"
query = "select 1 as a"
export = {{ connection = "files" }}
[jobs.journey]
after = ["segment"]
catch_up = "all"
delay = "{delay}"
source = "warehouse"
query = "select TD_SCHEDULED_TIME() as \\"Number__c\\""
export = {{ connection = "crm", object = "Row__c" }}
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        yield Service(Command(tmp_path), org)


def backfill(service: Service, count: int) -> list[int]:
    """Ask for the last slots of the segment, oldest first, and return them as Unix times."""
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(minutes=10 * count)
    slots = [first + timedelta(minutes=10 * number) for number in range(count)]
    for slot in slots:
        service.command("run", "segment", "--at", slot.isoformat())
    return [int(slot.timestamp()) for slot in slots]


def ended(service: Service, job: str) -> dict[int, list[str]]:
    """Return the outcomes of a job's ended runs by slot, skipped ones too."""
    database = open_database(service.url)
    with database.read() as session:
        found = runs.list_runs(session, job=job, limit=1000)
    database.close()
    outcomes: dict[int, list[str]] = {}
    for run in found:
        outcomes.setdefault(int(run.scheduled_time.timestamp()), []).append(run.outcome or run.state)
    return outcomes


def is_alive(service: Service) -> bool:
    return service.command("status", "--json", code=None).json["daemon"] is not None


def test_a_follower_runs_at_once_when_its_parent_has_succeeded(service: Service) -> None:
    service.configure(JOBS.format(delay="0s"))
    with service.daemon():
        service.until(lambda: is_alive(service))
        (slot,) = backfill(service, 1)
        service.until(lambda: ended(service, "journey") == {slot: ["succeeded"]})
        (parent,), (run,) = service.runs("segment"), service.runs("journey")
    assert (run.kind, run.scheduled_time) == ("schedule", parent.scheduled_time)
    assert parent.finished_at is not None
    assert run.started_at is not None
    assert run.started_at - parent.finished_at < timedelta(seconds=1)
    assert service.numbers() == {slot: 1}
    assert service.command("audit", "--json").json["findings"] == []


def test_a_daemon_that_is_killed_between_a_parents_end_and_its_followers_start_loses_and_doubles_nothing(
    service: Service,
) -> None:
    service.configure(JOBS.format(delay="3s"))
    with service.daemon() as daemon:
        service.until(lambda: is_alive(service))
        (slot,) = backfill(service, 1)
        service.until(lambda: ended(service, "journey") == {slot: ["waiting"]})
        daemon.kill()
    assert ended(service, "segment") == {slot: ["succeeded"]}
    with service.daemon():
        service.until(lambda: ended(service, "journey") == {slot: ["succeeded"]})
    assert service.numbers() == {slot: 1}


def test_daemons_that_are_killed_at_any_moment_run_each_follower_once(service: Service) -> None:
    service.configure(JOBS.format(delay="0s"))
    lot = random.Random(20261126)
    slots = backfill(service, SLOTS)
    kills = 0
    while set(ended(service, "journey")) < set(slots) and kills < 2 * SLOTS:
        goal = len([each for each in ended(service, "segment").values() if each == ["succeeded"]]) + lot.choice((1, 2))
        with service.daemon() as daemon:
            service.until(
                lambda goal=goal: (
                    len([each for each in ended(service, "segment").values() if each == ["succeeded"]])
                    >= min(goal, SLOTS)
                )
            )
            daemon.kill()
        kills += 1
    with service.daemon():
        service.until(lambda: all(each == ["succeeded"] for each in ended(service, "journey").values()))
        service.until(lambda: set(ended(service, "journey")) == set(slots))
    assert kills > 2
    assert ended(service, "segment") == {slot: ["succeeded"] for slot in slots}
    assert ended(service, "journey") == {slot: ["succeeded"] for slot in slots}
    assert service.numbers() == dict.fromkeys(slots, 1)
    assert service.command("audit", "--json").json["findings"] == []


def test_once_runs_the_followers_of_what_it_runs_too(service: Service) -> None:
    jobs = JOBS.format(delay="0s").replace("*/10 * * * *", "* * * * *").replace('starts_at = "2027-12-01"\n', "")
    service.configure(jobs)
    service.owe_a_slot()
    with service.daemon("--once") as daemon:
        assert daemon.wait(timeout=60) == 0
    parents, following = service.runs("segment"), service.runs("journey")
    assert [run.outcome for run in following] == ["succeeded"] * len(parents)
    assert {run.scheduled_time for run in following} == {run.scheduled_time for run in parents}


FOLLOWER = """
[jobs.journey]
after = ["nightly"]
source = "warehouse"
query = "select 1 as number"
export = { connection = "files" }
"""
ADD = ("--source", "warehouse", "--query", "select 2 as b", "--to", "files")


def test_the_commands_say_what_a_job_runs_after(tmp_path: Path) -> None:
    command = Command(tmp_path, CONFIG + NIGHTLY + FOLLOWER)
    listed = {job["name"]: job for job in command("list", "--json").json["jobs"]}
    journey, nightly = listed["journey"], listed["nightly"]
    assert (journey["after"], journey["state"], journey["cron"]) == (["nightly"], "enabled", "")
    assert journey["next_scheduled_time"] == nightly["next_scheduled_time"]
    assert (journey["next_run_time"], nightly["after"]) == (None, [])
    shown = command("list").out
    assert "after nightly" in shown
    assert "when nightly has succeeded for" in shown
    following = command("next", "journey", "-n", "2", "--json").json
    fires = [fire["scheduled_time"] for fire in command("next", "nightly", "-n", "2", "--json").json["fires"]]
    assert (following["fires"], following["after"], following["slots"]) == ([], ["nightly"], fires)
    assert "it runs for each when nightly has succeeded for it" in command("next", "journey").out
    explained = command("explain", "journey")
    assert "it runs when nightly has succeeded for the same slot" in explained.out
    assert command("explain", "journey", "--json").json["words"] == "when nightly has succeeded"
    assert "after       nightly" in command("show", "journey").out
    load = {job["name"]: job["runs"] for job in command("forecast", "--json").json["jobs"]}
    assert load["journey"] == load["nightly"] > 0
    command("disable", "nightly")
    assert command("next", "journey", "--json").json["slots"] == []
    assert "no slot is in sight" in command("next", "journey").out
    assert command("list", "--json").json["jobs"][0]["next_scheduled_time"] is None


def test_jobs_are_added_edited_and_removed_with_what_they_run_after(tmp_path: Path) -> None:
    command = Command(tmp_path)
    added = command("add", "journey", "--after", "nightly", "--json", *ADD).json["job"]
    assert (added["after"], added["definition"]["after"], added["state"]) == (["nightly"], ["nightly"], "enabled")
    assert "it runs when journey has succeeded" in command("add", "mail", "--after", "journey", *ADD).out
    command.fails("add", "x", "--after", "nightyl", *ADD, code=2, says='job not found; did you mean "nightly"?')
    command.fails(
        "edit", "journey", "--after", "mail", code=2, says="a dependency cycle: journey after mail after journey"
    )
    command.fails("edit", "journey", "--after", "journey", code=2, says="it cannot run after itself")
    command.fails("edit", "journey", "--cron", "0 3 * * *", code=2, says="and after exclude each other")
    command.fails("remove", "journey", code=2, says="mail runs after journey: remove it first")
    edited = command("edit", "mail", "--after", "nightly", "--after", "journey", "--json").json["job"]
    assert edited["after"] == ["nightly", "journey"]
    plain = command("edit", "mail", "--after", "", "--cron", "0 5 * * *", "--json").json["job"]
    assert (plain["after"], plain["cron"]) == ([], "0 5 * * *")
    warned = command("add", "odd", "--after", "mail", "--after", "nightly", "--dry-run", *ADD)
    assert "odd runs when mail and nightly have succeeded, but it does not run automatically" in warned.err
    command("remove", "mail")
    command("remove", "journey")


def test_a_file_whose_jobs_follow_nobody_or_each_other_is_refused_with_the_lines(tmp_path: Path) -> None:
    command = Command(tmp_path, CONFIG + NIGHTLY + FOLLOWER.replace('["nightly"]', '["nobody", "journey"]'))
    line = command.config.read_text(encoding="utf-8").splitlines().index('after = ["nobody", "journey"]') + 1
    refused = command("check", code=4).err
    assert f':{line}: jobs.journey.after: after "nobody": job not found in the config file' in refused
    assert f":{line}: jobs.journey.after: it cannot run after itself" in refused
    command.write(CONFIG + NIGHTLY + FOLLOWER)
    assert command("check").err == ""
    command.write(CONFIG + NIGHTLY.replace('"0 3 * * mon-fri"', '""') + FOLLOWER)
    assert "job journey runs when nightly has succeeded, but it does not run automatically" in command("check").err


def test_a_parent_that_leaves_the_file_is_refused_while_a_job_of_the_command_line_runs_after_it(tmp_path: Path) -> None:
    command = Command(tmp_path)
    command("add", "mail", "--after", "nightly", *ADD)
    command.write(CONFIG)
    assert "jobs.nightly: it is gone" in command("list").err  # it goes on with what is stored
    command.fails(
        "run", "mail", code=4, says="jobs.nightly: it is gone, but mail, added by schedctl add, runs after it"
    )
    command.fails("check", "--diff", code=4, says="jobs.nightly: it is gone")
    command("edit", "mail", "--after", "", "--cron", "0 5 * * *")
    command("reload", "--confirm")
    assert [job["name"] for job in command("list", "--json").json["jobs"]] == ["mail"]


def test_an_edit_of_what_a_job_runs_after_shows_the_slots_that_this_changes(tmp_path: Path) -> None:
    command = Command(tmp_path, CONFIG + NIGHTLY)
    command("reload", "--confirm")
    command.write(CONFIG + NIGHTLY + FOLLOWER)
    (edit,) = command("check", "--diff", "--json").json["diff"]["jobs"]
    assert (edit["job"], edit["change"], edit["after"], edit["next_after"]) == ("journey", "added", ["nightly"], None)
    assert edit["fires"] == {"added": 5, "moved": 0, "dropped": 0}
    assert "when nightly has succeeded" in command("check", "--diff").out
