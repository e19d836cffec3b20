"""The audit over a state database: what a planner of ours stores is sound; every planted fault is found, and told."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from support.storage import damage

from scheduler.daemon.tick import tick
from scheduler.errors.operation_error import OperationError
from scheduler.jobs.definition import parse_job
from scheduler.operations import jobs as operations
from scheduler.operations.audit import audit, audit_daily, words
from scheduler.planning.audit import Audit
from scheduler.planning.plan import Plan
from scheduler.runs.due_slots import planned
from storage import retention
from storage.database import Database, open_database
from storage.jobs import jobs
from storage.runs import runs

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    postgresql = request.param == "postgresql"
    url = str(request.getfixturevalue("postgresql_url")) if postgresql else f"sqlite:///{tmp_path / 'state.db'}"
    opened = open_database(url)
    yield opened
    opened.close()


def at(minutes: float) -> datetime:
    return NOON + minutes * MINUTE


class Household:
    """Jobs that are stored, edited and fired as the daemon does it, by a clock of the test's own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.plan = Plan()

    def put(self, name: str, minutes: float, cron: str = "* * * * *", **keys: Any) -> None:
        table = {"cron": cron, "source": "a", "query": "select 1", "export": {"connection": "b"}, **keys}
        job = parse_job(name, table, connections={"a": "duckdb", "b": "file"})
        with self.database.read() as session:
            stored = jobs.get_job(session, name)
        if stored is None:
            operations.add_job(self.database, job, at(minutes))
        else:
            operations.replace_job(self.database, job, at(minutes), revision=stored.revision)

    def tick(self, minutes: float) -> None:
        with self.database.read() as session:
            stored = jobs.all_jobs(session)
        plan = Plan()
        for job in stored:
            if (entry := planned(job)) is not None:
                plan.put(entry)
        tick(self.database, plan, {job.name: job.definition for job in stored}, at(minutes))

    def execute(self, statement: str, **values: Any) -> None:
        with self.database.write() as session:
            session.execute(text(statement), values)

    def scheduled(self) -> list[tuple[int, datetime]]:
        with self.database.read() as session:
            return [(row.id, row.scheduled_time) for row in runs.slot_rows(session)]


@pytest.fixture
def household(database: Database) -> Household:
    """Have an eventful half hour: a downtime, an edit, a disable, a removal, a clock that is set back."""
    household = Household(database)
    household.put("busy", 0, catch_up="all")
    household.put("edited", 0)
    household.put("gone", 0)
    household.put("paused", 0, "*/2 * * * *")
    household.put("never", 0, "0 0 30 2 *")
    for minute in (1, 2, 3):
        household.tick(minute)
    household.put("edited", 6.5, "*/3 * * * *")  # nobody looked at 4, 5 and 6
    operations.disable_job(database, "paused", "x", at(6.7))
    operations.remove_job(database, "gone", at(6.8))
    household.tick(12)
    operations.enable_job(database, "paused", at(5))  # the clock was set back
    for minute in range(5, 31):
        household.tick(minute)
    return household


def kinds(found: Audit) -> list[tuple[str, str, datetime, datetime]]:
    return [(each.kind, each.job, each.first, each.last) for each in found.findings]


def test_what_the_planner_stores_over_edits_disables_downtimes_and_clock_steps_is_sound(household: Household) -> None:
    found = audit(household.database)
    assert kinds(found) == []
    assert found.jobs == 5
    # busy 30; edited 6, and 9 to 30 by threes; gone 6; paused 2, 4 and 6, and 8 to 30 by twos
    assert (found.owed, found.sound) == (30 + 6 + 8 + 6 + 3 + 12,) * 2


def test_every_deleted_row_is_a_hole(household: Household) -> None:
    rows = household.scheduled()
    for number, slot in random.Random(4).sample(rows, 12):
        household.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM run WHERE id = :id", id=number)
        household.execute("DELETE FROM run WHERE id = :id", id=number)
        (finding,) = audit(household.database).findings
        assert (finding.kind, finding.last) == ("hole", slot)
        household.execute("INSERT INTO run SELECT * FROM kept")
        household.execute("DROP TABLE kept")
    assert audit(household.database).findings == ()


def test_every_duplicated_row_is_a_double(household: Household) -> None:
    for number, slot in random.Random(5).sample(household.scheduled(), 12):
        copied = "job, scheduled_time, run_time, kind, definition_id, revision, alone, state, outcome, skipped"
        household.execute(
            f"INSERT INTO run ({copied}, first_slot, created_at, repeat) "  # noqa: S608 - names of columns, ours
            f"SELECT {copied}, first_slot, created_at, 1 FROM run WHERE id = :id",
            id=number,
        )
        (finding,) = audit(household.database).findings
        assert (finding.kind, finding.last) == ("double", slot)
        assert number in finding.runs
        household.execute("DELETE FROM run WHERE repeat = 1")


def test_a_job_that_cannot_be_read_cannot_be_judged_and_the_others_are_sound(household: Household) -> None:
    damage(household.database, "edited", cron="*/99 * * * *")
    found = audit(household.database)
    assert kinds(found) == [("unreadable", "edited", at(6.5), at(6.5))]
    assert words(found.findings[0]).startswith(
        "edited: from 2026-11-23T12:06:30Z on: its slots cannot be judged, since the job cannot be read: cron = "
    )
    household.put("edited", 31, "*/3 * * * *")
    household.tick(33)
    assert kinds(audit(household.database, "edited")) == [("unreadable", "edited", at(6.5), at(31))]
    assert audit(household.database, "edited", since=at(31.1)).findings == ()


def test_one_job_and_a_beginning_may_be_asked_for(household: Household) -> None:
    household.execute("DELETE FROM run WHERE scheduled_time = (SELECT min(scheduled_time) FROM run WHERE job = 'busy')")
    assert {each.job for each in audit(household.database).findings} >= {"busy", "edited", "gone"}
    assert [each.job for each in audit(household.database, "busy").findings] == ["busy"]
    assert audit(household.database, "busy", since=at(2)).findings == ()
    assert audit(household.database, "busy", since=at(2)).owed == 29
    with pytest.raises(OperationError, match="there is and was no job 'nobody'"):
        audit(household.database, "nobody")


def test_what_was_pruned_is_no_hole(household: Household) -> None:
    household.execute("UPDATE run SET state = 'finished', outcome = 'succeeded', finished_at = created_at")
    with household.database.write() as session:
        assert retention.prune_runs(session, before=at(20)).runs > 20
    assert audit(household.database).findings == ()
    household.execute("DELETE FROM run WHERE job = 'busy' AND scheduled_time = (SELECT max(scheduled_time) FROM run)")
    assert kinds(audit(household.database)) == [("hole", "busy", at(30), at(30))]


def test_the_daily_audit_tells_each_fault_once(household: Household) -> None:
    def bodies() -> list[str]:
        with household.database.read() as session:
            return list(session.execute(text("SELECT body FROM notice WHERE kind = 'audit' ORDER BY id")).scalars())

    assert audit_daily(household.database, at(40))
    assert not audit_daily(household.database, at(50))
    assert bodies() == []
    household.execute("DELETE FROM run WHERE job = 'busy' AND scheduled_time = (SELECT max(scheduled_time) FROM run)")
    day = 24 * 60
    assert audit_daily(household.database, at(40 + day))
    assert audit_daily(household.database, at(40 + 2 * day))
    (body,) = bodies()
    assert "busy: 2026-11-23T12:30:00Z: no run and no reason why for 1 slot" in body
    assert audit_daily(household.database, at(41)), "a clock that was far ahead must not put it off for ever"
