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


def make_room(session: Session, definitions: Mapping[str, Mapping[str, object]], now: datetime) -> int:
    """Settle as skipped those due slots that their job's ``overlap`` and ``catch_up`` do not let start.

    ``skip``: whatever comes due while the previous run goes on. ``queue`` with ``catch_up = "latest"``: all that wait
    but the newest. Returns how many were skipped; looked at when they are due, so that a delay counts.
    """
    skipped = 0
    for name, crowd in runs.crowded_jobs(session, now=now).items():
        definition = definitions.get(name, {})
        overlap = definition.get("overlap", "queue")
        before, reason = crowd.newest, "a newer slot came before this one could start (overlap is queue)"
        if overlap == "skip" and crowd.running:
            before += timedelta(microseconds=1)
            reason = "the previous run was still going (overlap is skip)"
        elif overlap != "queue" or definition.get("catch_up", "latest") != "latest":
            continue
        count = runs.replace_waiting(session, name, before=before, reason=reason, now=now)
        if count:
            log.warning("slot.skipped", job=name, count=count, reason=reason)
        skipped += count
    return skipped


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
