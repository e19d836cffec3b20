"""One look at the plan: every due slot becomes a row, in one transaction per batch of jobs, before anyone runs it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from scheduler.job import Job
from scheduler.logs import get_logger
from scheduler.plan import Due, Plan, Planned
from storage import jobs, runs
from storage.database import Database
from storage.jobs import StoredJob
from storage.runs import NewRun

JOBS_PER_TRANSACTION = 500
"""How many jobs' slots are written at once: one commit for many, but short enough for others to get in between."""

log = get_logger("schedctl.tick")


def planned(stored: StoredJob) -> Planned | None:
    """Return what the plan needs of a stored job; None if it has no schedule or is disabled."""
    job = Job.from_dict(stored.definition)
    schedule = job.schedule
    if stored.disabled_at is not None or schedule is None:
        return None
    after = max(filter(None, (stored.high_water, stored.anchored_at)))
    return Planned(
        name=stored.name,
        schedule=schedule,
        after=after,
        catch_up=job.catch_up,
        catch_up_window=timedelta(seconds=job.catch_up_window),
    )


def tick(database: Database, plan: Plan, definitions: Mapping[str, dict[str, object]], now: datetime) -> int:
    """Write a row for every slot that is due, and return how many of them are to run.

    If the database refuses, the plan keeps the slots and the next tick has them again; "already there" (another
    daemon was first, or a clock went back) is a normal answer.
    """
    fired = 0
    while taken := plan.take(now, JOBS_PER_TRANSACTION):
        try:
            with database.write() as session:
                rows = [row for job, due in taken for row in _rows(job, due, definitions[job.name])]
                ids = runs.insert_runs(session, rows, now=now)
                jobs.set_high_water(session, {job.name: due.high_water for job, due in taken})
                for job, due in taken:
                    _replace_waiting(session, job, due, definitions[job.name], now)
        except BaseException:
            for job, _due in taken:
                plan.put(job)
            raise
        for job, due in taken:
            plan.put(
                Planned(
                    name=job.name,
                    schedule=job.schedule,
                    after=due.high_water,
                    catch_up=job.catch_up,
                    catch_up_window=job.catch_up_window,
                )
            )
        fired += _tell(rows, ids)
    return fired


def _rows(job: Planned, due: Due, definition: dict[str, object]) -> list[NewRun]:
    rows = [
        NewRun(
            job=job.name,
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
        for over in due.passed_over
    ]
    rows += [
        NewRun(
            job=job.name,
            scheduled_time=fire.scheduled_time,
            run_time=fire.run_time,
            kind="schedule",
            definition=definition,
        )
        for fire in due.fires
    ]
    return rows


def _replace_waiting(session: Session, job: Planned, due: Due, definition: dict[str, object], now: datetime) -> None:
    """Let the newest due slot take the place of older ones that still wait, where the job's policies say so."""
    if definition.get("overlap", "queue") != "queue" or job.catch_up != "latest":
        return
    ready = [fire for fire in due.fires if fire.run_time <= now]
    if ready:
        reason = "a newer slot came before this one could start"
        runs.replace_waiting(session, job.name, before=ready[-1].scheduled_time, reason=reason, now=now)


def _tell(rows: list[NewRun], ids: list[int | None]) -> int:
    fired = 0
    for row, run_id in zip(rows, ids, strict=True):
        if run_id is None:
            continue
        if row.state == "finished":
            log.warning(
                "slot.skipped",
                job=row.job,
                run=run_id,
                scheduled_time=row.scheduled_time.isoformat(),
                count=row.skipped,
                reason=row.reason,
            )
        else:
            fired += 1
            log.info(
                "slot.fired",
                job=row.job,
                run=run_id,
                scheduled_time=row.scheduled_time.isoformat(),
                run_time=row.run_time.isoformat(),
            )
    return fired
