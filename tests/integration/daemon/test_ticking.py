"""From the plan to rows: what fires, what is passed over, and what overlap lets start. On a real state database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.daemon.tick import make_room, tick
from scheduler.jobs.definition import parse_job
from scheduler.planning.plan import Plan, Planned
from scheduler.runs.due_slots import settle_owed
from scheduler.schedules.schedule import make_schedule
from storage.database import Database, open_database
from storage.jobs import jobs
from storage.runs import runs
from storage.runs.runs import StoredRun

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


class Clockwork:
    """One every-minute job with its plan, from noon on."""

    def __init__(self, database: Database, *, delay: int = 0, **policies: str) -> None:
        self.database = database
        self.definitions: dict[str, dict[str, object]] = {"job": dict(policies)}
        self.plan = Plan()
        self.plan.put(
            Planned(
                name="job",
                schedule=make_schedule("* * * * *", delay=delay),
                after=NOON,
                catch_up=policies.get("catch_up", "latest"),
                revision=1,
            )
        )
        with database.write() as session:
            jobs.put_job(session, name="job", origin="file", definition=self.definitions["job"], now=NOON)

    def look(self, minutes: float) -> list[StoredRun]:
        """Tick at that many minutes after noon, and return what a free worker then claims."""
        tick(self.database, self.plan, self.definitions, at(minutes))
        with self.database.write() as session:
            make_room(session, self.definitions, at(minutes))
            return runs.claim_runs(session, owner="node", now=at(minutes), lease_seconds=30, limit=10)

    def end(self, run: StoredRun, minutes: float) -> None:
        with self.database.write() as session:
            runs.settle(session, run.id, str(run.token), now=at(minutes), outcome="succeeded")

    def outcomes(self) -> dict[int, str]:
        """Return what became of each slot, by minutes after noon; passed-over ranges by their last slot."""
        with self.database.read() as session:
            found = runs.list_runs(session, limit=100)
        ended = {(run.scheduled_time - NOON) // timedelta(minutes=1): run.outcome or run.state for run in found}
        return dict(sorted(ended.items()))


def test_a_slot_fires_once_however_often_the_plan_is_looked_at(database: Database) -> None:
    clockwork = Clockwork(database)
    (run,) = clockwork.look(1)
    assert (run.scheduled_time, run.kind) == (at(1), "schedule")
    assert clockwork.look(1) == clockwork.look(1.5) == []


def test_queue_lets_one_wait_and_a_newer_slot_takes_its_place(database: Database) -> None:
    clockwork = Clockwork(database, overlap="queue")
    (run,) = clockwork.look(1)
    assert clockwork.look(2) == clockwork.look(3) == []
    assert clockwork.outcomes() == {1: "running", 2: "skipped", 3: "waiting"}
    clockwork.end(run, 3.5)
    assert [each.scheduled_time for each in clockwork.look(3.6)] == [at(3)]


def test_queue_with_all_keeps_every_slot_in_order(database: Database) -> None:
    clockwork = Clockwork(database, overlap="queue", catch_up="all")
    (run,) = clockwork.look(1)
    clockwork.look(2)
    clockwork.look(3)
    clockwork.end(run, 3.5)
    assert [each.scheduled_time for each in clockwork.look(3.6)] == [at(2)]
    assert clockwork.outcomes() == {1: "succeeded", 2: "running", 3: "waiting"}


def test_skip_passes_over_what_comes_due_while_the_previous_run_goes_on(database: Database) -> None:
    clockwork = Clockwork(database, overlap="skip")
    (run,) = clockwork.look(1)
    assert clockwork.look(2) == []
    assert clockwork.outcomes() == {1: "running", 2: "skipped"}
    clockwork.end(run, 2.5)
    assert [each.scheduled_time for each in clockwork.look(3)] == [at(3)]


def test_allow_starts_them_side_by_side(database: Database) -> None:
    clockwork = Clockwork(database, overlap="allow")
    assert [len(clockwork.look(minute)) for minute in (1, 2, 3)] == [1, 1, 1]


@pytest.mark.parametrize("overlap", ["queue", "skip"])
def test_a_delayed_slot_is_judged_when_it_is_due_and_not_before(database: Database, overlap: str) -> None:
    clockwork = Clockwork(database, overlap=overlap, delay=150)
    assert clockwork.look(1) == clockwork.look(2) == clockwork.look(3) == []
    assert clockwork.outcomes() == {1: "waiting", 2: "waiting", 3: "waiting"}
    (run,) = clockwork.look(3.5)
    assert run.scheduled_time == at(1)
    assert clockwork.look(4.5) == []
    assert clockwork.outcomes()[2] == ("waiting" if overlap == "queue" else "skipped")
    assert clockwork.look(5.5) == []
    assert clockwork.outcomes()[2] == "skipped"
    assert clockwork.outcomes()[3] == ("waiting" if overlap == "queue" else "skipped")


def test_what_was_missed_is_one_row_with_its_count(database: Database) -> None:
    clockwork = Clockwork(database)
    assert [run.scheduled_time for run in clockwork.look(90)] == [at(90)]
    with database.read() as session:
        (missed,) = runs.list_runs(session, outcomes=["skipped"])
    assert (missed.skipped, missed.first_slot, missed.scheduled_time) == (89, at(1), at(89))


def test_a_long_backlog_is_stored_a_part_at_a_time_and_holds_up_no_other_job(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.daemon.tick.SLOTS_PER_TRANSACTION", 100)
    clockwork = Clockwork(database, catch_up="all")
    other = Planned(name="other", schedule=make_schedule("0 0 * * *"), after=NOON, revision=1)
    with database.write() as session:
        jobs.put_job(session, name="other", origin="file", definition={}, now=NOON)
    clockwork.definitions["other"] = {}
    clockwork.plan.put(other)
    parts = [tick(database, clockwork.plan, clockwork.definitions, at(13 * 60)) for _ in range(17)]
    assert max(parts) <= 101
    assert sum(parts[:2]) > 100  # the other job's slot of midnight is not behind 780 of the first one
    with database.read() as session:
        assert [run.scheduled_time for run in runs.list_runs(session, job="other")] == [at(12 * 60)]
        stored = runs.list_runs(session, job="job", limit=1000)
    assert sorted(run.scheduled_time for run in stored) == [at(minute) for minute in range(1, 13 * 60 + 1)]
    assert clockwork.plan.next_wakeup() == at(13 * 60 + 1).timestamp()


def test_a_plan_that_another_daemon_overtook_stores_no_slot_again(database: Database) -> None:
    ahead, behind = Clockwork(database), Clockwork(database)
    for minute in (1, 2, 3):
        tick(database, ahead.plan, ahead.definitions, at(minute))
    tick(database, behind.plan, behind.definitions, at(6))  # it was stopped since noon, and the other one died
    with database.read() as session:
        rows = [(run.first_slot, run.scheduled_time, run.skipped) for run in runs.list_runs(session) if run.skipped]
    assert rows == [(at(4), at(5), 2)]


@pytest.mark.parametrize("change", ["edited", "disabled", "removed"])
def test_a_plan_that_has_not_heard_of_a_change_fires_nothing_of_the_job(database: Database, change: str) -> None:
    clockwork = Clockwork(database)
    with database.write() as session:
        if change == "edited":
            jobs.put_job(session, name="job", origin="file", definition={"query": "2"}, now=at(0.5))
        elif change == "disabled":
            jobs.disable_job(session, "job", by="person", reason="x", now=at(0.5))
        else:
            jobs.remove_job(session, "job", now=at(0.5))
    assert tick(database, clockwork.plan, clockwork.definitions, at(1)) == 0
    assert clockwork.outcomes() == {}
    assert clockwork.plan.names() == frozenset()


def test_slots_that_nobody_looked_at_before_a_change_leave_their_trace(database: Database) -> None:
    definition = parse_job(
        "job",
        {"cron": "* * * * *", "source": "a", "query": "select 1", "export": {"connection": "b"}},
        connections={"a": "duckdb", "b": "file"},
    ).to_dict()
    with database.write() as session:
        jobs.put_job(session, name="job", origin="cli", definition=definition, now=NOON)
        settle_owed(session, ["job", "none"], "the job was changed", at(5.5))
        settle_owed(session, ["job"], "again", at(5.7))
        (row,) = runs.list_runs(session)
        stored = jobs.get_job(session, "job")
    assert (row.first_slot, row.scheduled_time, row.skipped, row.outcome) == (at(1), at(5), 5, "skipped")
    assert row.reason == "the job was changed"
    assert stored is not None
    assert stored.high_water == at(5)
