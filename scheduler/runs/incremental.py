"""What ``:last_scheduled_time`` is for a run, and which runs keep an append from selecting their rows again.

An append that broke off has sent a part of its rows, and the next slot's query would select all of them again, since no
run has succeeded in between. So that slot fails, or waits, until the one before is complete.
"""

from datetime import datetime

from exporter.failures import ExportError, FailureKind
from exporter.targets.salesforce.delivery.journal import Effect, Fact
from scheduler.jobs.definition import Job, UnreadableJobError
from scheduler.runs.resend import RETRIED
from scheduler.sql.bind import unused
from storage.database import Session
from storage.jobs import jobs, removed
from storage.runs import ledger, runs
from storage.runs.runs import StoredRun

NAME = "last_scheduled_time"
"""The name in a query that makes it an incremental one."""
UNFINISHED = "UNFINISHED_RUN"
COMPLETED = "completed by a person"
"""The reason of a run that broke off and that a person has given up with `schedctl runs abandon`: its slot is done."""


def is_incremental_append(job: Job) -> bool:
    """Whether a job appends what its query selects since the last slot, so that a row selected twice is there twice."""
    sends_twice = getattr(job.export.options, "mode", None) == "append" and job.changes == "all"
    return sends_twice and not unused([NAME], job.query.lower())


def last_slot(session: Session, run: StoredRun, job: Job) -> datetime | None:
    """Return the slot that ``:last_scheduled_time`` is for a run; None where there is none yet.

    That is the last slot that succeeded; for a run that a person asked for, the last one before its own slot. Of an
    append, a slot counts too if all its rows were sent and some were rejected: sent again, the others would be there
    twice; and so does one that a person has completed. A retry of the first slot sees None, as that one did; a run for
    a slot before all others sees the last of all: with None it would select what the first slot has sent.
    """
    stored = jobs.get_job(session, run.job) or removed.get(session, run.job)
    before = None if run.kind == "schedule" else run.scheduled_time
    found = runs.last_sent_slot(
        session, run.job, before=before, partly=is_incremental_append(job), completed=COMPLETED, left_out=RETRIED
    )
    kept = stored.last_success if stored is not None else None  # it stays when the run is too old to be kept
    if kept is not None and (before is None or kept < before) and (found is None or kept > found):
        return kept
    if found is None and run.kind != "retry":
        return kept
    return found


def check_unfinished(session: Session, run: StoredRun, last: datetime | None) -> None:
    """Raise ``UNFINISHED_RUN`` if another run has sent a part of what an incremental append is about to select.

    ``last`` is what :func:`last_slot` returned. Transient while that run goes on by itself; else of the kind data,
    since a person has to have it go on.
    """
    for other in runs.begun_runs(session, run.job, after=last, other_than=run.id):
        if other.reason in (RETRIED, COMPLETED):
            continue
        if run.kind != "schedule" and other.scheduled_time == run.scheduled_time:
            continue  # a person asked for this slot once more
        words = f"run {other.id} ({other.scheduled_time:%Y-%m-%dT%H:%M:%SZ})"
        if other.state != "finished":
            message = f"{words} sends rows that :{NAME} of this slot selects too: this one waits until that has ended"
            raise ExportError(FailureKind.TRANSIENT, UNFINISHED, message)
        if other.rows_accepted or is_uncertain(session, other.id):
            message = (
                f"{words} sent a part of its rows and broke off, and :{NAME} of this slot selects them again: nothing "
                f"was sent. schedctl retry {other.id} sends the rest of that run, and the next slot takes what is new; "
                f"or, if you have completed its rows by hand: schedctl runs abandon {other.id}"
            )
            raise ExportError(FailureKind.DATA, UNFINISHED, message)


def is_broken_off(session: Session, run: StoredRun) -> bool:
    """Whether a run of an incremental append has ended with a part of its rows in the target, or in doubt."""
    told = run.rows_accepted + run.rows_rejected + run.rows_unchanged
    if run.outcome not in ("failed", "canceled", "interrupted") or run.reason in (RETRIED, COMPLETED):
        return False
    if (run.rows_accepted and run.rows_read == told) or not (run.rows_accepted or is_uncertain(session, run.id)):
        return False
    try:
        return is_incremental_append(Job.from_dict(run.definition))
    except UnreadableJobError:
        return False


def is_uncertain(session: Session, run_id: int) -> bool:
    """Whether rows were handed over of which nothing is known: the ledger has a sending that was never settled."""
    open_batches: set[int | None] = set()
    for entry in ledger.entries(session, run_id):
        if entry.step == Effect.BATCH_SEND:
            open_batches.add(entry.batch)
        elif entry.step in {Fact.BATCH_SETTLED, Fact.BATCH_ABSENT}:
            open_batches.discard(entry.batch)
    return bool(open_batches)
