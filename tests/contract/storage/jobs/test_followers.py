"""Jobs that run after others: one row for each slot that their parents have succeeded for, whatever happens."""

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.storage import NOON, Process, all_at_once, at

from exporter.failures import configuration
from exporter.report import ExportReport
from scheduler.config.build import Config, parse
from scheduler.daemon.tick import make_room
from scheduler.jobs.definition import parse_job
from scheduler.operations import jobs as operations
from scheduler.operations import runs as asking
from scheduler.operations.audit import audit
from scheduler.operations.retry import retry
from scheduler.outcomes.outcome import Conclusion, Outcome, conclude_error
from scheduler.outcomes.policy import Policies
from scheduler.runs.cancellation import RunControl
from scheduler.runs.context import RunWork
from scheduler.runs.settle import settle
from storage.database import Database, open_database
from storage.jobs import dependents, jobs
from storage.retention import prune_runs
from storage.runs import runs
from storage.runs.runs import NewRun, StoredRun

GOOD = Conclusion(outcome=Outcome.SUCCEEDED, report=ExportReport(read=1, accepted=1))
PARTIAL = Conclusion(outcome=Outcome.PARTIAL, report=ExportReport(read=2, accepted=1, rejected=1))
WRONG = conclude_error(configuration("INVALID_FIELD", "No such column"))
CANCELED = Conclusion(outcome=Outcome.CANCELED)
TABLE = {"source": "a", "query": "select 1", "export": {"connection": "b"}}
TYPES = {"a": "duckdb", "b": "file"}
CONFIG: Config = parse("")
SETTLER = """
import sys
from pathlib import Path
from scheduler.config.build import parse
from scheduler.runs.cancellation import RunControl
from scheduler.outcomes.policy import Policies
from scheduler.runs.settle import settle
from scheduler.runs.context import RunWork
from storage.jobs import jobs
from storage.runs import runs
from storage.database import open_database
from support.storage import at
from exporter.report import ExportReport
from scheduler.outcomes.outcome import Conclusion, Outcome

GOOD = Conclusion(outcome=Outcome.SUCCEEDED, report=ExportReport(read=1, accepted=1))
url, spool, *numbers = sys.argv[1:]
database = open_database(url)
with database.read() as session:
    claimed = [runs.get_run(session, int(number)) for number in numbers]
BEFORE
#go
for run in claimed:
    work = RunWork(database=database, config=parse(""), run=run, spool_root=Path(spool),
                   control=RunControl(timeout=60), clock=lambda: at(10))
    settle(work, GOOD, Policies())
print("done")
"""
STOPS_BEFORE_ITS_COMMIT = """
from scheduler.runs import settle as settling
real = settling.fire_followers
def fire(*arguments):
    fired = real(*arguments)
    print(len(fired), flush=True)
    sys.stdin.readline()
    return fired
settling.fire_followers = fire
"""


class World:
    """A state database with jobs, and what happens to their runs."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.spool = directory / "spool"
        self.minutes = 1.0

    @property
    def now(self) -> datetime:
        return at(self.minutes)

    def define(self, name: str, *after: str, minutes: float = 0, **keys: Any) -> None:
        table = {**TABLE, **({"after": list(after)} if after else {}), **keys}
        job = parse_job(name, table, connections=TYPES)
        operations.add_job(self.database, job, at(minutes))

    def claim(self, name: str, slot: float, kind: str = "schedule") -> StoredRun:
        new = NewRun(job=name, scheduled_time=at(slot), run_time=at(slot), kind=kind, definition=self.definition(name))  # type: ignore[arg-type] # one of the kinds
        with self.database.write() as session:
            (number,) = runs.insert_runs(session, [new], now=self.now)
        assert number is not None
        return self.take(number)

    def take(self, number: int) -> StoredRun:
        with self.database.write() as session:
            claimed = runs.claim_run(session, number, owner="node", now=self.now, lease_seconds=60)
        assert claimed is not None
        return claimed

    def end(self, run: StoredRun, conclusion: Conclusion = GOOD) -> None:
        work = RunWork(
            database=self.database,
            config=CONFIG,
            run=run,
            spool_root=self.spool,
            control=RunControl(timeout=60),
            clock=lambda: self.now,
        )
        settle(work, conclusion, Policies(retry_limit=0))

    def definition(self, name: str) -> dict[str, Any]:
        with self.database.read() as session:
            stored = jobs.get_job(session, name)
        assert stored is not None
        return stored.definition

    def rows(self, name: str) -> list[tuple[float, str]]:
        """Return slot (minutes after noon) and state of each scheduled row of a job, in the order of their numbers."""
        with self.database.read() as session:
            found = [run for run in runs.list_runs(session, job=name, limit=100) if run.kind == "schedule"]
        return [((run.scheduled_time - NOON) / timedelta(minutes=1), run.outcome or run.state) for run in found[::-1]]

    def only(self, name: str) -> StoredRun:
        with self.database.read() as session:
            (run,) = runs.list_runs(session, job=name)
        return run


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    world = World(database, tmp_path)
    world.define("segment", cron="* * * * *")
    return world


def test_a_parent_that_succeeds_stores_the_followers_run_for_its_slot_once_the_delay_counted_from_then(
    world: World,
) -> None:
    world.define("journey", "segment", delay=90)
    world.minutes = 10
    world.end(world.claim("segment", 3))
    run = world.only("journey")
    assert (run.scheduled_time, run.run_time, run.kind) == (at(3), at(11.5), "schedule")
    with world.database.read() as session:
        stored = jobs.get_job(session, "journey")
    assert stored is not None
    assert stored.high_water == at(3)


@pytest.mark.parametrize("conclusion", [PARTIAL, WRONG, CANCELED])
def test_nothing_but_success_counts(world: World, conclusion: Conclusion) -> None:
    world.define("journey", "segment")
    world.end(world.claim("segment", 3), conclusion)
    assert world.rows("journey") == []


def test_a_chain_runs_one_after_the_other_for_one_slot(world: World) -> None:
    world.define("journey", "segment")
    world.define("mail", "journey")
    world.end(world.claim("segment", 3))
    assert (world.rows("journey"), world.rows("mail")) == ([(3, "waiting")], [])
    world.end(world.take(world.only("journey").id))
    assert (world.rows("journey"), world.rows("mail")) == ([(3, "succeeded")], [(3, "waiting")])


def test_of_several_parents_the_last_one_counts_whichever_it_is_and_only_for_a_slot_of_all(world: World) -> None:
    world.define("other", cron="* * * * *")
    world.define("journey", "segment", "other")
    world.end(world.claim("segment", 3))
    world.end(world.claim("other", 4))
    assert world.rows("journey") == []
    world.end(world.claim("other", 3))
    world.end(world.claim("segment", 4))
    assert world.rows("journey") == [(3, "waiting"), (4, "waiting")]


def test_a_retry_or_a_backfill_that_succeeds_makes_up_for_a_failure_and_no_slot_comes_twice(world: World) -> None:
    world.define("journey", "segment")
    failed = world.claim("segment", 3)
    world.end(failed, WRONG)
    again = retry(world.database, failed.id, world.now)
    world.end(world.take(again.id))
    assert world.rows("journey") == [(3, "waiting")]
    (old,) = asking.backfill(world.database, stored(world, "segment"), [at(-500)], world.now).runs
    world.end(world.take(old.id))
    assert world.rows("journey") == [(3, "waiting"), (-500, "waiting")]
    third = retry(world.database, again.id, world.now)
    world.end(world.take(third.id))
    assert len(world.rows("journey")) == 2


def test_a_run_by_hand_and_the_retry_of_one_make_nobody_follow(world: World) -> None:
    world.define("journey", "segment")
    (manual,) = asking.start(world.database, stored(world, "segment"), world.now).runs
    world.end(world.take(manual.id), WRONG)
    again = retry(world.database, manual.id, world.now)
    world.end(world.take(again.id))
    (second,) = asking.start(world.database, stored(world, "segment"), at(2)).runs
    world.end(world.take(second.id))
    assert world.rows("journey") == []


def test_what_had_succeeded_before_the_follower_was_there_does_not_fire_by_itself(world: World) -> None:
    world.end(world.claim("segment", 3))
    world.minutes = 5
    world.define("journey", "segment", minutes=5)
    assert world.rows("journey") == []
    world.end(world.claim("segment", 4))
    assert world.rows("journey") == [(4, "waiting")]


def test_a_disabled_followers_slot_is_skipped_with_the_reason_and_never_comes_again(world: World) -> None:
    world.define("journey", "segment")
    operations.disable_job(world.database, "journey", "a pause", world.now)
    world.end(world.claim("segment", 3))
    run = world.only("journey")
    assert (run.outcome, run.skipped) == ("skipped", 1)
    assert run.reason == "the job was disabled when what it runs after had succeeded"
    operations.enable_job(world.database, "journey", world.now)
    (again,) = asking.backfill(world.database, stored(world, "segment"), [at(3)], world.now).runs
    world.end(world.take(again.id))
    assert world.rows("journey") == [(3, "skipped")]


def test_a_waiting_followers_run_is_skipped_by_disabling_and_moved_by_a_new_delay(world: World) -> None:
    world.define("journey", "segment", delay=600)
    world.minutes = 10
    world.end(world.claim("segment", 3))
    job = parse_job("journey", {**TABLE, "after": ["segment"], "delay": 60}, connections=TYPES)
    operations.replace_job(world.database, job, world.now, revision=1)
    assert world.only("journey").run_time == at(11)
    operations.disable_job(world.database, "journey", "a pause", world.now)
    assert world.rows("journey") == [(3, "skipped")]


def test_after_its_last_day_a_follower_has_no_slot(world: World) -> None:
    world.define("journey", "segment", ends_on="2026-03-08", timezone="America/New_York")
    world.end(world.claim("segment", 15 * 60))
    world.end(world.claim("segment", 16 * 60))  # midnight in New York
    assert world.rows("journey") == [(900, "waiting")]


@pytest.mark.parametrize(("overlap", "third"), [("queue", "waiting"), ("skip", "skipped"), ("allow", "running")])
def test_overlap_is_as_for_any_other_job(world: World, overlap: str, third: str) -> None:
    world.define("journey", "segment", overlap=overlap)
    for slot in (1, 2, 3):
        world.end(world.claim("segment", slot))
        with world.database.write() as session:
            make_room(session, {"journey": world.definition("journey")}, world.now)
            runs.claim_runs(session, owner="node", now=world.now, lease_seconds=60, limit=5)
    assert world.rows("journey") == [(1, "running"), (2, "running" if overlap == "allow" else "skipped"), (3, third)]


def test_parents_are_known_from_definitions_and_forgotten_with_the_job(world: World) -> None:
    world.define("b", "segment")
    world.define("a", "segment", "b")
    with world.database.read() as session:
        assert dependents.followers_of(session, "segment") == ["a", "b"]
        assert dependents.parents_of(session) == {"a": ("b", "segment"), "b": ("segment",)}
    operations.remove_job(world.database, "a", world.now)
    with world.database.read() as session:
        assert dependents.followers_of(session, "segment") == ["b"]
        assert dependents.parents_of(session, ["a"]) == {}


def test_settling_and_what_follows_are_one_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.define("journey", "segment")
    run = world.claim("segment", 3)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the process dies here")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "set_high_water", fail)
        with pytest.raises(RuntimeError, match="dies here"):
            world.end(run)
    assert (world.rows("segment"), world.rows("journey")) == ([(3, "running")], [])
    world.end(run)
    assert (world.rows("segment"), world.rows("journey")) == ([(3, "succeeded")], [(3, "waiting")])


def test_parents_that_end_at_the_same_moment_in_several_processes_make_one_run_for_each_slot(
    world: World, url: str, tmp_path: Path
) -> None:
    names = ["segment", "second", "third"]
    for name in names[1:]:
        world.define(name, cron="* * * * *")
    world.define("journey", *names)
    world.define("mail", "segment")
    slots = list(range(30))
    numbers = {name: [str(allowed(world, name, slot).id) for slot in slots] for name in names}
    for each in numbers.values():
        random.Random(7).shuffle(each)
    program = SETTLER.replace("BEFORE", "")
    assert all_at_once(program, [[url, str(tmp_path / "spool"), *numbers[name]] for name in names]) == ["done"] * 3
    for name in ("journey", "mail"):
        assert sorted(world.rows(name)) == [(slot, "waiting") for slot in slots]


def allowed(world: World, name: str, slot: float) -> StoredRun:
    """Claim a run of a job that may have many at once."""
    definition = {**world.definition(name), "overlap": "allow"}
    new = NewRun(job=name, scheduled_time=at(slot), run_time=at(slot), kind="schedule", definition=definition)
    with world.database.write() as session:
        (number,) = runs.insert_runs(session, [new], now=world.now)
    assert number is not None
    return world.take(number)


def test_a_process_that_is_killed_before_its_commit_leaves_both_undone_and_the_next_does_both(
    world: World, url: str, tmp_path: Path
) -> None:
    world.define("journey", "segment")
    run = world.claim("segment", 3)
    program = SETTLER.replace("BEFORE", STOPS_BEFORE_ITS_COMMIT)
    with Process(program, url, str(tmp_path / "spool"), str(run.id)) as process:
        process.wait()
        process.go()
        assert process.line() == "1"  # the follower's row is written, and not committed
        process.kill()
    database = open_database(url)
    assert (world.rows("segment"), world.rows("journey")) == ([(3, "running")], [])
    world.end(run)
    assert (world.rows("segment"), world.rows("journey")) == ([(3, "succeeded")], [(3, "waiting")])
    database.close()


def stored(world: World, name: str) -> jobs.StoredJob:
    with world.database.read() as session:
        found = jobs.get_job(session, name)
    assert found is not None
    return found


class TestAudit:
    """What a follower owed, against its rows."""

    def test_each_slot_that_its_parents_succeeded_for_has_its_row(self, world: World) -> None:
        world.define("journey", "segment")
        world.minutes = 10
        for slot in (3, 4, 5):
            world.end(world.claim("segment", slot), WRONG if slot == 4 else GOOD)
        found = audit(world.database, "journey")
        assert (found.owed, found.sound, found.findings) == (2, 2, ())

    def test_a_row_that_is_gone_is_a_hole_and_one_that_nobody_asked_for_a_stray(self, world: World) -> None:
        world.define("journey", "segment")
        world.minutes = 10
        for slot in (3, 4, 5):
            world.end(world.claim("segment", slot))
        with world.database.write() as session:
            session.connection().exec_driver_sql(
                "DELETE FROM run WHERE id = (SELECT min(id) FROM run WHERE job = 'journey')"
            )
        world.claim("journey", 9)
        found = audit(world.database, "journey")
        assert (found.owed, found.sound) == (3, 2)
        assert [(each.kind, each.first) for each in found.findings] == [("hole", at(3)), ("stray", at(9))]

    def test_nothing_is_owed_before_it_was_added_while_disabled_or_once_removed(self, world: World) -> None:
        world.minutes = 10
        world.end(world.claim("segment", 3))
        world.define("journey", "segment", minutes=20)
        world.minutes = 30
        operations.disable_job(world.database, "journey", "a pause", world.now)
        world.minutes = 40
        world.end(world.claim("segment", 4))
        world.minutes = 50
        operations.enable_job(world.database, "journey", world.now)
        world.minutes = 60
        world.end(world.claim("segment", 5))
        world.minutes = 70
        operations.remove_job(world.database, "journey", world.now)
        world.minutes = 80
        world.end(world.claim("segment", 6))
        found = audit(world.database, "journey")
        assert (found.owed, found.sound, found.findings) == (1, 1, ())

    def test_a_job_that_had_a_cron_before_is_audited_by_both(self, world: World) -> None:
        world.define("journey", cron="*/10 * * * *")
        world.minutes = 25
        job = parse_job("journey", {**TABLE, "after": ["segment"]}, connections=TYPES)
        operations.replace_job(world.database, job, world.now, revision=1)
        world.minutes = 40
        world.end(world.claim("segment", 24))
        found = audit(world.database, "journey")
        assert (found.owed, found.sound, found.findings) == (3, 3, ())

    def test_what_was_pruned_of_a_parent_makes_no_strays(self, world: World) -> None:
        world.define("journey", "segment")
        world.minutes = 10
        (old,) = asking.backfill(world.database, stored(world, "segment"), [at(-5)], world.now).runs
        world.end(world.take(old.id))
        world.minutes = 20
        world.end(world.claim("segment", 15))
        with world.database.write() as session:
            prune_runs(session, before=at(11))
        found = audit(world.database, "journey")
        assert (found.owed, found.findings) == (1, ())


def test_a_parent_is_not_removed_while_others_run_after_it_and_no_circle_is_stored(world: World) -> None:
    world.define("journey", "segment")
    with pytest.raises(Exception, match="journey runs after segment: remove it first"):
        operations.remove_job(world.database, "segment", world.now)
    with pytest.raises(Exception, match='after "nobody": job not found'):
        world.define("mail", "nobody")
    circle = parse_job("segment", {**TABLE, "after": ["journey"]}, connections=TYPES)
    with pytest.raises(Exception, match="a dependency cycle: segment after journey after segment"):
        operations.replace_job(world.database, circle, world.now, revision=1)
    operations.remove_job(world.database, "journey", world.now)
    assert operations.remove_job(world.database, "segment", world.now) == []
