"""What needs a person: each problem has its code, and a healthy whole has none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.storage import NOON, at, new_run, stored

from scheduler.cli.commands.service import _sheet
from scheduler.nodes.health import DRAINING, METRICS_FAULT, Health, Problem, silence
from scheduler.nodes.process import this_node
from scheduler.operations.status import look
from storage import key_values, nodes
from storage.database import open_database, sqlite_url
from storage.jobs import jobs
from storage.values import Outbox

DAEMON = this_node("daemon", datetime(2026, 1, 1, tzinfo=UTC))
HEALTHY: dict[str, Any] = {
    "daemon": DAEMON,
    "config_path": "/c",
    "config_read_at": None,
    "config_fault": None,
    "waiting": 9,
    "running": 4,
    "jobs": 5,
    "disabled": 1,
    "auto_disabled": (),
    "failures": (),
    "outbox": None,
    "disk_faults": (),
    "holds": (),
}


def test_work_that_waits_and_what_a_person_disabled_are_no_problem() -> None:
    assert Health(**HEALTHY).problems == ()


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"daemon": None}, "no_daemon", "no daemon"),
        ({"config_fault": "c.toml:3: bad\nc.toml:4: worse"}, "config", "c.toml:3: bad"),
        ({"config_fault": "c.toml: it removes all", "config_unconfirmed": {"count": 3}}, "config_unconfirmed", "all"),
        ({"disk_faults": ("h: full",)}, "disk", "h: full"),
        ({"overdue": 3}, "overdue", "3 runs"),
        ({"silence": timedelta(seconds=31)}, "silent", "for 31 s: it is stopped or stuck"),
        ({"daemon": replace(DAEMON, info={METRICS_FAULT: "textfile = /m: no"})}, "metrics", "textfile = /m: no"),
    ],
)
def test_each_thing_that_needs_a_person_has_its_code(change: dict[str, Any], code: str, says: str) -> None:
    (problem,) = Health(**HEALTHY | change).problems
    assert problem.code == code
    assert says in problem.message
    assert "\n" not in problem.message


def test_status_shows_a_line_for_each_problem_that_makes_it_exit_with_1() -> None:
    faulty = {
        "config_fault": "c.toml:3: bad\nc.toml:4: worse",
        "disk_faults": ("h: full",),
        "overdue": 3,
        "silence": timedelta(seconds=31),
        "daemon": replace(DAEMON, info={METRICS_FAULT: "textfile = /m: no"}),
        "unreadable": {"zoned": "timezone = Mars"},
        "outbox": Outbox(pending=0, oldest=None, error=None),
    }
    health = Health(**HEALTHY | faulty)
    shown = dict(_sheet(health, NOON))
    assert {problem.code for problem in health.problems} >= {"config", "disk", "overdue", "silent", "metrics"}
    assert str(shown["problems"]).splitlines() == [problem.message for problem in health.problems]
    assert shown["config faults"] == faulty["config_fault"]
    healthy = dict(_sheet(Health(**HEALTHY | {"outbox": faulty["outbox"]}), NOON))
    assert healthy["problems"] is None


@pytest.mark.parametrize(
    ("seconds", "info", "state"),
    [
        (30, {}, "working"),
        (30, {DRAINING: False, METRICS_FAULT: ""}, "working"),
        (4, {DRAINING: True}, "draining"),
        (31, {DRAINING: True}, "silent"),
        (-31, {}, "silent"),
    ],
)
def test_a_daemon_that_lives_works_drains_or_tells_nothing_of_itself(
    seconds: int, info: dict[str, Any], state: str
) -> None:
    daemon = replace(DAEMON, info=info)
    silent_for = silence(daemon, daemon.seen_at + timedelta(seconds=seconds))
    health = Health(**HEALTHY | {"daemon": daemon, "silence": silent_for})
    assert health.state == state
    assert [problem.code for problem in health.problems] == ["silent"] * (state == "silent")


def test_no_daemon_is_not_silent() -> None:
    health = Health(**HEALTHY | {"daemon": None, "silence": silence(None, NOON)})
    assert [problem.code for problem in health.problems] == ["no_daemon"]
    assert health.metrics_fault is None


def test_disabled_jobs_and_late_runs_are_found_in_the_state_database(tmp_path: Path) -> None:
    database = open_database(sqlite_url(tmp_path / "state.db"))
    daemon = this_node("daemon", NOON)

    def problems(minutes: int) -> tuple[Problem, ...]:
        with database.write() as session:
            nodes.register(session, replace(daemon, seen_at=at(minutes)))
        return look(database, at(minutes)).problems

    with database.write() as session:
        key_values.put(session, "config_fault", "")
        jobs.put_job(session, name="nightly", origin="cli", definition={}, now=NOON)
    stored(database, new_run(), new_run(minutes=6))
    assert problems(4) == ()
    assert [problem.code for problem in problems(6)] == ["overdue"]
    with database.write() as session:
        jobs.disable_job(session, "nightly", by="daemon", reason="five failures", now=at(1))
    with database.write() as session:
        jobs.put_job(session, name="hourly", origin="cli", definition={}, now=NOON)
        jobs.set_high_water(session, {"hourly": at(60)})
    assert [problem.code for problem in problems(54)] == ["job_disabled", "clock"]
    assert "up to 2026-03-08T13:00:00Z" in problems(54)[1].message
    assert [problem.code for problem in problems(56)] == ["job_disabled"]
    found = problems(12)
    assert "five failures" in found[0].message
    assert found[0].code == "job_disabled"
    database.close()
