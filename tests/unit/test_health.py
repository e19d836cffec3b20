"""What needs a person: each problem has its code, and a healthy whole has none."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.storage import NOON, at, new_run, stored

from scheduler.health import Health
from scheduler.instance import this_node
from scheduler.operations.health import look
from storage import jobs, nodes, settings
from storage.database import open_database, sqlite_url

HEALTHY: dict[str, Any] = {
    "daemon": this_node("daemon", datetime(2026, 1, 1, tzinfo=UTC)),
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
        ({"disk_faults": ("h: full",)}, "disk", "h: full"),
        ({"overdue": 3}, "overdue", "3 runs"),
    ],
)
def test_each_thing_that_needs_a_person_has_its_code(change: dict[str, Any], code: str, says: str) -> None:
    (problem,) = Health(**HEALTHY | change).problems
    assert problem.code == code
    assert says in problem.message
    assert "\n" not in problem.message


def test_disabled_jobs_and_late_runs_are_found_in_the_state_database(tmp_path: Path) -> None:
    database = open_database(sqlite_url(tmp_path / "state.db"))
    with database.write() as session:
        nodes.register(session, this_node("daemon", NOON))
        settings.put(session, "config_fault", "")
        jobs.put_job(session, name="nightly", origin="cli", definition={}, now=NOON)
    stored(database, new_run(), new_run(minutes=6))
    assert look(database, at(4)).problems == ()
    assert [problem.code for problem in look(database, at(6)).problems] == ["overdue"]
    with database.write() as session:
        jobs.disable_job(session, "nightly", by="daemon", reason="five failures", now=at(1))
    with database.write() as session:
        jobs.put_job(session, name="hourly", origin="cli", definition={}, now=NOON)
        jobs.set_high_water(session, {"hourly": at(60)})
    assert [problem.code for problem in look(database, at(54)).problems] == ["job_disabled", "clock"]
    assert "up to 2026-03-08T13:00:00Z" in look(database, at(54)).problems[1].message
    assert [problem.code for problem in look(database, at(56)).problems] == ["job_disabled"]
    found = look(database, at(12)).problems
    assert "five failures" in found[0].message
    assert found[0].code == "job_disabled"
    database.close()
