"""The end of an attempt, written with all that follows from it in one transaction."""

import random
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler.outcome import Conclusion, Outcome
from scheduler.policy import Decisions, Policies, decide
from scheduler.work import RunWork, log
from storage import jobs, ledger, notices, runs
from storage.runs import StoredRun

if TYPE_CHECKING:
    from sqlmodel import Session


def settle(work: RunWork, conclusion: Conclusion, policies: Policies) -> StoredRun:
    """Write the outcome and all that follows from it in one transaction."""
    now = work.clock()
    failure, report = conclusion.failure, conclusion.report
    failed = (failure.kind.value, failure.code, failure.message) if failure is not None else None
    with work.database.write() as session:
        stored = jobs.get_job(session, work.run.job)
        decisions = decide(
            conclusion,
            attempt=work.run.attempt,
            streak=stored.failure_streak if stored is not None else 0,
            policies=policies,
            now=now,
            jitter=random.random(),  # noqa: S311 - it spreads retries, it guards nothing
        )
        if decisions.retry_at is not None and failed is not None:
            runs.postpone(session, work.run.id, work.token, now=now, run_time=decisions.retry_at, failure=failed)
        else:
            counts = (report.read, report.accepted, report.rejected, report.unchanged)
            runs.settle(
                session,
                work.run.id,
                work.token,
                now=now,
                outcome=conclusion.outcome.value,
                failure=failed,
                rows=counts,
            )
            if stored is not None:
                succeeded = conclusion.outcome is Outcome.SUCCEEDED
                last = work.run.scheduled_time if succeeded else stored.last_success
                jobs.record_outcome(session, work.run.job, streak=decisions.streak, last_success=last)
            if decisions.disable is not None and stored is not None and stored.disabled_at is None:
                _disable(session, work, decisions.disable, now)
    _tell(work, conclusion, decisions)
    if _is_spool_done_with(work, conclusion, decisions):
        work.spool.discard()
    return stored_run(work)


def _is_spool_done_with(work: RunWork, conclusion: Conclusion, decisions: Decisions) -> bool:
    """Whether nobody needs what is on disk any more, so that a failed run takes no room from the others.

    An incomplete spool is filled anew by the next attempt; a complete one serves it, and is kept after a failure that
    came once something was sent, since it then is the only record of what that was.
    """
    if work.spool.manifest() is None:
        return True
    if decisions.retry_at is not None:
        return False
    if conclusion.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL):
        return True
    with work.database.read() as session:
        return not ledger.entries(session, work.run.id)


def _disable(session: "Session", work: RunWork, reason: str, now: datetime) -> None:
    jobs.disable_job(session, work.run.job, by="daemon", reason=reason, now=now)
    notices.add(
        session,
        job=work.run.job,
        run_id=work.run.id,
        kind="disabled",
        subject=f"job {work.run.job} is disabled",
        body=f"{reason}. Mend it, then: schedctl enable {work.run.job}",
        now=now,
    )


def _tell(work: RunWork, conclusion: Conclusion, decisions: Decisions) -> None:
    """Log what happened, once it is stored."""
    report, failure = conclusion.report, conclusion.failure
    told = {"code": failure.code, "kind": failure.kind.value, "message": failure.message} if failure else {}
    if decisions.retry_at is not None:
        log.warning("run.postponed", retry_at=decisions.retry_at.isoformat(), attempt=work.run.attempt, **told)
        return
    tell = {Outcome.SUCCEEDED: log.info, Outcome.CANCELED: log.info, Outcome.PARTIAL: log.warning}
    tell.get(conclusion.outcome, log.error)(
        "run.settled",
        outcome=conclusion.outcome.value,
        read=report.read,
        accepted=report.accepted,
        rejected=report.rejected,
        **told,
    )
    if decisions.disable is not None:
        log.error("job.disabled", job=work.run.job, reason=decisions.disable)


def stored_run(work: RunWork) -> StoredRun:
    """Return the run as it is stored now."""
    with work.database.read() as session:
        found = runs.get_run(session, work.run.id)
    if found is None:
        raise LookupError(f"run {work.run.id} is gone from the state database")
    return found
