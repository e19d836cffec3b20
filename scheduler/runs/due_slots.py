"""What a stored job owes, and the rows that say why some of it will not run."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from scheduler.jobs.definition import Job
from scheduler.planning.plan import PassedOver, Planned, pass_over
from storage.database import Session
from storage.engine.dialect_sql import lock_names
from storage.jobs import jobs
from storage.jobs.jobs import StoredJob
from storage.runs import runs
from storage.runs.runs import NewRun

CHANGED = "the job was changed or removed before this slot was looked at"
DISABLED = "the job was disabled before this slot was looked at"
"""Why slots that came while no daemon lived, or in the last second, are skipped: see :func:`settle_owed`."""


def planned(stored: StoredJob) -> Planned | None:
    """Return what the plan needs of a stored job; None if it has no schedule or is disabled.

    Raises UnreadableJobError.
    """
    if stored.disabled_at is not None:
        return None
    job = Job.from_dict(stored.definition)
    schedule = job.schedule
    if schedule is None:
        return None
    after = max(filter(None, (stored.high_water, stored.anchored_at)))
    return Planned(
        name=stored.name,
        schedule=schedule,
        after=after,
        catch_up=job.catch_up,
        catch_up_window=timedelta(seconds=job.catch_up_window),
        revision=stored.revision,
    )


def settle_owed(session: Session, names: Sequence[str], reason: str, now: datetime) -> None:
    """Store the slots that are owed but were not looked at yet as skipped, before a change by which they are no more.

    Without this, the slots that came while no daemon lived, or in the second before the change, would leave no trace.
    The jobs are held until the transaction ends.
    """
    lock_names(session, names)
    marks = jobs.lock_marks(session, names)
    rows: list[NewRun] = []
    for name in sorted(marks):
        stored = jobs.get_job(session, name)
        try:
            job = planned(stored) if stored is not None else None
        except ValueError:  # another version wrote it, so this one never fired it
            continue
        if job is not None and stored is not None:
            over = pass_over(job.schedule, job.after, now, reason)
            rows += [skipped(name, each, stored.definition) for each in over]
    runs.insert_runs(session, rows, now=now)
    jobs.set_high_water(session, {row.job: row.scheduled_time for row in rows})


def skipped(job: str, over: PassedOver, definition: dict[str, object]) -> NewRun:
    """Return the one row that stands for the slots skipped."""
    return NewRun(
        job=job,
        scheduled_time=over.last,
        run_time=over.last,
        kind="schedule",
        definition=definition,
        state="finished",
        outcome="skipped",
        reason=over.reason,
        skipped=over.count,
        first_slot=over.first,
    )
