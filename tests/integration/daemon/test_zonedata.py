"""New zone data against the stored plan: no time of day fires twice, and every slot has its row."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.daemon.tick import tick
from scheduler.operations.audit import audit
from scheduler.operations.tzdata import look_at_zones
from scheduler.planning import tzdata_changes
from scheduler.planning.plan import Plan
from scheduler.runs.due_slots import planned
from storage import key_values
from storage.database import Database, open_database
from storage.jobs import jobs
from storage.runs import runs

DAY = datetime(2026, 11, 24, tzinfo=UTC)
RAN = DAY + timedelta(hours=1, minutes=30)
"""02:30 by the old data, an hour east of UTC. The new ones are London's: 02:30 comes once more, an hour later."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


def at(hour: int, minute: int = 30) -> datetime:
    return DAY + timedelta(hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("cron", "skipped", "started"),
    [
        ("30 2 * * *", [at(2)], []),
        ("30 2,3 * * *", [at(2)], [at(3)]),
        ("30 1,2,3 * * *", [at(2)], [at(3)]),
        ("*/30 * * * *", [], [at(2, 0), at(2), at(3, 0), at(3)]),
    ],
)
def test_a_time_of_day_that_has_been_is_skipped_with_the_reason(
    database: Database, cron: str, skipped: list[datetime], started: list[datetime]
) -> None:
    definition: dict[str, object] = {
        "name": "a",
        "cron": cron,
        "timezone": "Europe/London",
        "catch_up": "all",
        "source": "w",
        "query": "select 1",
        "export": {"connection": "files", "type": "file", "file": "x.csv"},
    }
    with database.write() as session:
        jobs.put_job(session, name="a", origin="cli", definition=definition, now=RAN - timedelta(minutes=1))
        jobs.set_high_water(session, {"a": RAN})
        stored = jobs.get_job(session, "a")
        assert stored is not None
        samples = tzdata_changes.Samples(revision=stored.revision, offset=3600, slots=())
        key_values.put(
            session, "zone_outlook", tzdata_changes.write(tzdata_changes.Outlook(version="old", jobs={"a": samples}))
        )
    entry, plan = planned(stored), Plan()
    assert entry is not None
    plan.put(entry)
    look_at_zones(database, "new", {"a": (entry.revision, entry.schedule)}, RAN + timedelta(minutes=5))
    look_at_zones(database, "new", {"a": (entry.revision, entry.schedule)}, RAN + timedelta(minutes=6))
    tick(database, plan, {"a": stored.definition}, at(3, 45))
    with database.read() as session:
        found = sorted(runs.list_runs(session, job="a", limit=50), key=lambda run: run.scheduled_time)
    assert [run.scheduled_time for run in found if run.outcome == "skipped"] == skipped
    assert all("turned the clock back" in str(run.reason) for run in found if run.outcome == "skipped")
    assert [run.scheduled_time for run in found if run.outcome is None] == started
    assert not [each for each in audit(database).findings if each.last > RAN]
