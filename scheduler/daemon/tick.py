"""One look at the plan: every due slot becomes a row, in one transaction per batch of jobs, before anyone runs it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from scheduler.jobs.outline import Outline
from scheduler.observability.logging_setup import get_logger
from scheduler.planning.plan import Due, Plan, Planned, due
from scheduler.runs.due_slots import skipped
from storage.database import Database
from storage.jobs import jobs
from storage.runs import runs
from storage.runs.runs import NewRun

JOBS_PER_TRANSACTION = 500
"""How many jobs' slots are written at once: one commit for many, but short enough for others to get in between."""
SLOTS_PER_TRANSACTION = 5_000
"""How many slots that are to run are written at once, a quarter of a second's work. After a week without a daemon, 500
jobs that run each minute and catch up on all have five million."""

log = get_logger("schedctl.tick")


def tick(
    database: Database,
    plan: Plan,
    definitions: Mapping[str, dict[str, object]],
    now: datetime,
    beat: Callable[[], None] = lambda: None,
) -> int:
    """Write a row for every slot that is due, and return how many of them are to run.

    Each job is looked at once. One with more slots to run than fit into its transaction has the oldest of them stored;
    the plan keeps it as due, so that the next tick goes on with it, after the workers and the other jobs had a turn.

    What the plan knows may be old: another daemon may have stored slots since, a person may have edited, disabled or
    removed the job. So each job is looked at again, and held, in the transaction that stores its slots; one that is no
    longer what the plan has of it leaves the plan until it is read anew. If the database refuses, the plan keeps the
    slots and the next tick has them again. ``beat`` is called after each transaction.
    """
    fired = 0
    looked_at: list[Planned] = []
    try:
        while taken := plan.take(now, JOBS_PER_TRANSACTION):
            try:
                with database.write() as session:
                    marks = jobs.lock_marks(session, [job.name for job in taken])
                    current = [moved for job in taken if (moved := _current(job, marks.get(job.name))) is not None]
                    limit = SLOTS_PER_TRANSACTION // len(taken)
                    found = [(job, due(job, now, limit)) for job in current]
                    rows = [row for job, owed in found if owed for row in _rows(job, owed, definitions[job.name])]
                    ids = runs.insert_runs(session, rows, now=now)
                    jobs.set_high_water(session, {job.name: owed.high_water for job, owed in found if owed})
            except BaseException:
                looked_at += taken
                raise
            for job, owed in found:
                looked_at.append(replace(job, after=owed.high_water if owed else max(job.after, now)))
            fired += _tell(rows, ids)
            beat()
    finally:
        for job in looked_at:
            plan.put(job)
    return fired


def _current(job: Planned, mark: jobs.Mark | None) -> Planned | None:
    """Return the job with what other processes settled of it since; None if it is no longer the job that was read."""
    if mark is None or mark.disabled or mark.revision != job.revision:
        return None
    return job if mark.settled_until <= job.after else replace(job, after=mark.settled_until)


def make_room(session: Session, definitions: Mapping[str, Mapping[str, object]], now: datetime) -> int:
    """Settle as skipped those due slots that their job's ``overlap`` and ``catch_up`` do not let start.

    ``skip``: whatever comes due while the previous run goes on. ``queue`` with ``catch_up = "latest"``: all that wait
    but the newest. Returns how many were skipped; looked at when they are due, so that a delay counts.
    """
    skipped = 0
    for name, crowd in runs.crowded_jobs(session, now=now).items():
        outline = Outline(definitions.get(name, {}))
        before, reason = crowd.newest, "a newer slot came before this one could start (overlap is queue)"
        if outline.overlap == "skip" and crowd.running:
            before += timedelta(microseconds=1)
            reason = "the previous run was still going (overlap is skip)"
        elif (outline.overlap, outline.catch_up) != ("queue", "latest"):
            continue
        count = runs.replace_waiting(session, name, before=before, reason=reason, now=now)
        if count:
            log.warning("slot.skipped", job=name, count=count, reason=reason)
        skipped += count
    return skipped


def _rows(job: Planned, owed: Due, definition: dict[str, object]) -> list[NewRun]:
    rows = [skipped(job.name, over, definition) for over in owed.passed_over]
    rows += [
        NewRun(
            job=job.name,
            scheduled_time=fire.scheduled_time,
            run_time=fire.run_time,
            kind="schedule",
            definition=definition,
        )
        for fire in owed.fires
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
