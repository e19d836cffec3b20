"""What follows from a run that succeeded: the runs of the jobs after it, stored where the run is settled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.jobs.dependent_slots import end_of
from scheduler.jobs.outline import Outline
from scheduler.observability.logging_setup import get_logger
from scheduler.outcomes.outcome import Outcome
from storage.database import Session
from storage.engine.dialect_sql import lock_names
from storage.jobs import dependents, jobs
from storage.jobs.jobs import StoredJob
from storage.runs import runs
from storage.runs.runs import NewRun, StoredRun

DISABLED = "the job was disabled when what it runs after had succeeded"

log = get_logger("schedctl.tick")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fired:
    """A row that was stored for a follower: a run to come, or a slot that is skipped."""

    row: NewRun
    run: int


def hold_followers(session: Session, run: StoredRun, outcome: Outcome) -> list[str]:
    """Lock the names of a run's job and of all that may run after it, and return the latter.

    To be called first of all in the transaction that settles the run: locks that are taken at once, in one order,
    cannot cross, and of two parents that end at the same moment the second one sees the first.
    """
    counts = outcome is Outcome.SUCCEEDED and run.kind != "manual"
    names = dependents.followers_of(session, run.job) if counts else []
    lock_names(session, [run.job, *names])
    if names:
        jobs.lock_marks(session, [run.job, *names])
    return names


def fire_followers(session: Session, run: StoredRun, names: Sequence[str], now: datetime) -> list[Fired]:
    """Store a run of each of these jobs for the slot of a run that has just been settled as succeeded.

    That is: of each whose parents all have a run for that slot that succeeded, unless it has a row for it already. It
    is due its ``delay`` after ``now``. The row of a disabled job says that it is skipped.
    """
    parents = dependents.parents_of(session, names)
    done = dependents.succeeded(session, {each for named in parents.values() for each in named}, run.scheduled_time)
    ready = [name for name in names if run.job in parents.get(name, ()) and done.issuperset(parents[name])]
    found = [jobs.get_job(session, name) for name in ready]
    rows = [_row(job, run.scheduled_time, now) for job in found if job is not None and _has(job, run.scheduled_time)]
    numbers = runs.insert_runs(session, rows, now=now) if rows else []
    fired = [Fired(row=row, run=number) for row, number in zip(rows, numbers, strict=True) if number is not None]
    jobs.set_high_water(session, {each.row.job: each.row.scheduled_time for each in fired})
    return fired


def tell_followers(fired: Sequence[Fired]) -> None:
    """Log what was stored, once it is."""
    for each in fired:
        row, slot = each.row, each.row.scheduled_time.isoformat()
        if row.state == "finished":
            log.warning(
                "slot.skipped", job=row.job, run=each.run, scheduled_time=slot, count=row.skipped, reason=row.reason
            )
        else:
            due = row.run_time.isoformat()
            log.info("slot.fired", job=row.job, run=each.run, scheduled_time=slot, run_time=due)


def _has(job: StoredJob, slot: datetime) -> bool:
    """Whether the slot comes before the end of the job's last day.

    Also where that cannot be read: the run then fails, and says why; what it runs after has nothing to do with it.
    """
    try:
        end = end_of(Outline(job.definition).ends_on, Outline(job.definition).timezone)
    except (ValueError, TypeError):
        return True
    return end is None or slot.timestamp() < end


def _row(job: StoredJob, slot: datetime, now: datetime) -> NewRun:
    if job.disabled_at is not None:
        return NewRun(
            job=job.name,
            scheduled_time=slot,
            run_time=slot,
            kind="schedule",
            definition=job.definition,
            state="finished",
            outcome="skipped",
            reason=DISABLED,
            skipped=1,
        )
    due = now + timedelta(seconds=Outline(job.definition).delay)
    return NewRun(job=job.name, scheduled_time=slot, run_time=due, kind="schedule", definition=job.definition)
