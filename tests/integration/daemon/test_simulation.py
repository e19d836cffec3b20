"""A month of thousands of jobs, with crashes, edits, downtimes and clocks that are set: no hole and no double."""

import gc
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from support.runs.simulation import START, Simulation

from scheduler.operations.audit import audit
from storage.database import open_database
from storage.jobs import jobs
from storage.runs import runs

SEED = int(os.environ.get("SCHEDCTL_SEED", "20261124"))
_COLUMNS = "job, scheduled_time, run_time, kind, definition_id, revision, alone, state, outcome, skipped, first_slot"
_DOUBLE = f"INSERT INTO run ({_COLUMNS}, created_at, repeat) SELECT {_COLUMNS}, created_at, 1 FROM run WHERE id = :id"  # noqa: S608 - names of columns, ours


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Give a directory in memory where the system has that: no power cut is simulated, so no disk is waited for."""
    memory = Path("/dev/shm")  # noqa: S108 - the directory in it is made under a name that nobody can guess
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="schedctl-", dir=memory) as name:
        yield Path(name)


@contextmanager
def month(directory: Path, *, count: int, days: int) -> Iterator[Simulation]:
    database = open_database(f"sqlite:///{directory / 'state.db'}")
    simulation = Simulation(database, directory / "spool", count=count, days=days, seed=SEED)
    gc.freeze()  # what the other tests left is not looked through again and again
    began = time.monotonic()
    simulation.run()
    tell(simulation, time.monotonic() - began)
    yield simulation
    gc.unfreeze()
    database.close()


def tell(simulation: Simulation, seconds: float) -> None:
    figures = simulation.figures
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(figures.faults.items()))
    ends = ", ".join(f"{count} {kind}" for kind, count in sorted(figures.outcomes.items()))
    sys.stderr.write(
        f"\nseed {SEED}: {simulation.count} jobs, {simulation.days} days in {seconds:.1f} s: {figures.fired} slots "
        f"fired, {figures.settled} attempts settled ({ends}), {simulation.daemons} daemons; {faults}\n"
    )


def check(simulation: Simulation) -> None:
    database = simulation.database
    found = audit(database)
    assert found.findings == ()
    assert found.owed == found.sound
    with database.read() as session:
        left = runs.count_unfinished(session)
        rows = list(runs.slot_rows(session))
        disabled = {job.name for job in jobs.all_jobs(session) if job.disabled_by == "daemon"}
        told = {row.job for row in session.execute(text("SELECT job FROM notice WHERE kind = 'disabled'"))}
    assert (left.waiting, left.running) == (0, 0)
    assert disabled
    assert disabled <= told
    slots = dict.fromkeys(simulation.untouched, 0)
    for row in rows:
        if row.job in slots:
            slots[row.job] += row.skipped or 1
    for name, job in simulation.untouched.items():
        assert job.schedule is not None
        ends = max((row.scheduled_time for row in rows if row.job == name), default=START)
        assert slots[name] == job.schedule.count(START, max(ends, simulation.end)), name


def following(simulation: Simulation) -> int:
    """Count the slots that jobs ran for after others had succeeded for them; each of these has succeeded."""
    with simulation.database.read() as session:
        parents = {job.name: job.definition["after"] for job in jobs.all_jobs(session) if job.definition["after"]}
        rows = [run for run in runs.list_runs(session, limit=10**6) if run.kind == "schedule"]
    good = {(run.job, run.scheduled_time) for run in rows if run.outcome == "succeeded"}
    ran = [run for run in rows if run.job in parents and run.outcome != "skipped" and run.definition["after"]]
    for run in ran:
        assert {(name, run.scheduled_time) for name in run.definition["after"]} <= good, run
    return len(ran)


def plant_and_find(simulation: Simulation) -> None:
    """Take rows away and double others: the audit names exactly those. Of jobs that no other one hangs on."""
    database = simulation.database
    with database.read() as session:
        found_rows = [row for row in runs.slot_rows(session) if row.first_slot is None]
    plain = [row for row in found_rows if row.job not in simulation.parents and not row.job.startswith("then-")]
    lot = random.Random(SEED)
    holes, doubles = lot.sample(plain, 10), lot.sample(plain, 10)
    doubles = [row for row in doubles if row not in holes]
    with database.write() as session:
        for row in doubles:
            session.execute(text(_DOUBLE), {"id": row.id})
        for row in holes:
            session.execute(text("DELETE FROM run WHERE id = :id"), {"id": row.id})
    found = {(each.kind, each.job, each.first) for each in audit(database).findings}
    expected = {("hole", row.job, row.scheduled_time) for row in holes}
    expected |= {("double", row.job, row.scheduled_time) for row in doubles}
    assert found == expected


def test_some_days_of_many_jobs_audit_clean_and_what_is_planted_is_found(directory: Path) -> None:
    with month(directory, count=1_500, days=8) as simulation:
        check(simulation)
        assert simulation.figures.fired > 200
        assert len(simulation.figures.faults) >= 9
        assert following(simulation) > 20
        plant_and_find(simulation)


@pytest.mark.slow
def test_thirty_days_of_ten_thousand_jobs_audit_clean(directory: Path) -> None:
    with month(directory, count=10_000, days=30) as simulation:
        check(simulation)
        assert following(simulation) > 200
        plant_and_find(simulation)
    assert simulation.end - START == timedelta(days=30)
