"""The end of an attempt, written with all that follows from it in one transaction."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from exporter.failures import ExportError, FailureKind, transient
from exporter.targets.row_outcomes import known
from scheduler.environment.actors import AUTOMATIC, record_action, this_actor
from scheduler.jobs.definition import Job, UnreadableJobError
from scheduler.jobs.outline import Outline
from scheduler.notifications.messages import Ended, NoticeText, notices_of
from scheduler.notifications.recipients import mails_of
from scheduler.outcomes.outcome import Conclusion, Outcome, conclude_error
from scheduler.outcomes.policy import Decisions, Policies, decide
from scheduler.runs.change_tracking import Move, discard_stagings, lost_snapshot, next_snapshot
from scheduler.runs.context import RunWork, StoredLedger, log
from scheduler.runs.deletions import deletion_words, progress_of
from scheduler.runs.dependents import Fired, fire_followers, hold_followers, tell_followers
from scheduler.runs.due_slots import DISABLED, settle_owed
from scheduler.runs.quota_hold_store import hold, lift
from scheduler.secrets.resolve import mask
from storage import notices
from storage.database import Session
from storage.jobs import jobs, removed
from storage.runs import ledger, runs
from storage.runs.runs import StoredRun


def settle(work: RunWork, conclusion: Conclusion, policies: Policies, *, keep_snapshot: bool = True) -> StoredRun:
    """Write the outcome and all that follows from it in one transaction, what the target now holds included.

    Where that cannot be written, the run goes on waiting until it can. ``keep_snapshot`` false gives that up: then the
    job's next run says that a person has to look.
    """
    progress: Mapping[str, Any] | None = None
    while True:
        move: Move | None = None
        if not _is_tried_again(conclusion, work, policies):
            try:
                move = _move(work, keep_snapshot=keep_snapshot)
            except ExportError as error:
                if error.kind is FailureKind.INTERNAL:  # it will never be written
                    move = lost_snapshot(work)
                    log.error("snapshot.lost", code=error.code, message=error.message)
                else:
                    conclusion = replace(conclude_error(transient(error.code, error.message)), report=conclusion.report)
                    policies = replace(policies, retry_limit=work.run.attempt)
        conclusion = _without_secrets(conclusion)
        if progress is None and conclusion.outcome not in (Outcome.SUCCEEDED, Outcome.PARTIAL):
            progress = _deletion_progress(work)
        written = _settle(work, _with_deletions(work, conclusion, policies, progress), policies, move, progress)
        if move is not None:
            move.clean(stored=written is not None)
        if written is not None:
            break
    decisions, fired = written
    _tell(work, _with_deletions(work, conclusion, policies, progress), decisions)
    tell_followers(fired)
    _clean_up(work, conclusion, decisions)
    return stored_run(work)


def _deletion_progress(work: RunWork) -> Mapping[str, Any] | None:
    """Return the run's progress with what it deleted over all attempts, by its ledger; None if it deleted nothing."""
    found = known(StoredLedger(work)).deletions
    if not found.any:
        return None
    kept = work.spool.beside("deleted").directory.absolute()
    return work.progress_values() | progress_of(found, str(kept) if kept.is_dir() else None)


def _with_deletions(
    work: RunWork, conclusion: Conclusion, policies: Policies, progress: Mapping[str, Any] | None
) -> Conclusion:
    """Return the conclusion with the deleted records in its counts, and in the message of a failure."""
    if progress is None:
        return conclusion
    report = replace(conclusion.report, deleted=int(progress["deleted"]))
    failure = conclusion.failure
    if failure is not None and conclusion.outcome is Outcome.FAILED:
        goes_on = _is_tried_again(conclusion, work, policies)
        told = deletion_words(progress, work.run.definition.get("export"), goes_on=goes_on)
        failure = replace(failure, message=f"{failure.message.rstrip('.')}. {told[0].upper()}{told[1:]}")
    return replace(conclusion, report=report, failure=failure)


def _reason(work: RunWork, conclusion: Conclusion, progress: Mapping[str, Any] | None) -> str | None:
    """Say what a canceled run deleted, and what of it is in doubt or unsent: it has no failure that could."""
    if conclusion.outcome is not Outcome.CANCELED or work.run.reason is not None:
        return None
    told = deletion_words(progress, work.run.definition.get("export")) if progress is not None else None
    return ". ".join(filter(None, (told, conclusion.remark))) or None


def _clean_up(work: RunWork, conclusion: Conclusion, decisions: Decisions) -> None:
    """Remove the files that nobody needs any more. The run is settled, whatever they do: a later sweep takes them."""
    try:
        if _is_spool_done_with(work, conclusion, decisions):
            work.spool.discard()
        if decisions.retry_at is not None:
            return
        discard_stagings(work)
        mirrored = Outline(work.run.definition).changes == "mirror"
        if mirrored and conclusion.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL):
            work.spool.beside("deleted").discard()  # what left the result was to go: nobody has to restore it
    except ExportError as error:
        log.warning("spool.not_discarded", code=error.code, message=error.message)


def _is_tried_again(conclusion: Conclusion, work: RunWork, policies: Policies) -> bool:
    asked = decide(conclusion, attempt=work.run.attempt, streak=0, policies=policies, now=work.clock(), jitter=0)
    return asked.retry_at is not None


def _move(work: RunWork, *, keep_snapshot: bool) -> Move | None:
    if Outline(work.run.definition).sends_all:
        return None
    if not keep_snapshot:
        return lost_snapshot(work)
    try:
        job = Job.from_dict(work.run.definition)
    except UnreadableJobError:  # what such a run sent before, if anything, is not known
        with work.database.read() as session:
            return lost_snapshot(work) if ledger.entries(session, work.run.id) else None
    return next_snapshot(work, job)


class _SnapshotMovedError(Exception):
    """Somebody changed the job's snapshot since it was looked at."""


_Written = tuple[Decisions, list[Fired]]


def _settle(
    work: RunWork, conclusion: Conclusion, policies: Policies, move: Move | None, progress: Mapping[str, Any] | None
) -> _Written | None:
    """Write all of it; None, and nothing is written, if the snapshot is not what ``move`` began with."""
    try:
        return _write(work, conclusion, policies, move, progress)
    except _SnapshotMovedError:
        return None


def _write(
    work: RunWork, conclusion: Conclusion, policies: Policies, move: Move | None, progress: Mapping[str, Any] | None
) -> _Written:
    now = work.clock()
    failure, report = conclusion.failure, conclusion.report
    failed = (failure.kind.value, failure.code, failure.message) if failure is not None else None
    fired: list[Fired] = []
    with work.database.write() as session:
        # Locked, or two runs that end at once would count one failure between them.
        following = hold_followers(session, work.run, conclusion.outcome)
        stored = jobs.get_job(session, work.run.job)
        kept = stored or removed.get(session, work.run.job)
        decisions = decide(
            conclusion,
            attempt=work.run.attempt,
            streak=kept.failure_streak if kept is not None else 0,
            policies=policies,
            now=now,
            jitter=random.random(),  # noqa: S311 - it spreads retries, it guards nothing
        )
        _note_quota(session, work, conclusion, now)
        if progress is not None:
            runs.set_progress(session, work.run.id, work.token, progress=progress)
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
                reason=_reason(work, conclusion, progress),
            )
            if stored is None or stored.disabled_at is not None:
                decisions = replace(decisions, disable=None)
            disable_after = policies.disable_after if stored is not None else 0
            _announce(session, work, conclusion, decisions, disable_after=disable_after, now=now)
            if kept is not None:
                succeeded = conclusion.outcome is Outcome.SUCCEEDED
                last = work.run.scheduled_time if succeeded else kept.last_success
                record = jobs.record_outcome if stored is not None else removed.record_outcome
                record(session, work.run.job, streak=decisions.streak, last_success=last)
            fired = fire_followers(session, work.run, following, now)
            if decisions.disable is not None:
                settle_owed(session, [work.run.job], DISABLED, now)
                jobs.disable_job(session, work.run.job, by="daemon", reason=decisions.disable, now=now)
                by = this_actor(AUTOMATIC)
                record_action(session, by, "disabled", now=now, jobs=[work.run.job], run_id=work.run.id)
            if move is not None and not move.store(session, work):
                raise _SnapshotMovedError
    return decisions, fired


def _without_secrets(conclusion: Conclusion) -> Conclusion:
    """Hide secrets that the server's words hold: they are stored, shown and sent, not only logged."""
    failure = conclusion.failure
    return (
        conclusion if failure is None else replace(conclusion, failure=replace(failure, message=mask(failure.message)))
    )


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
        # What was only found out about rows is stored with them; what was begun at the target is reported by the spool.
        return not any(entry.mark == "intended" for entry in ledger.entries(session, work.run.id))


def _note_quota(session: Session, work: RunWork, conclusion: Conclusion, now: datetime) -> None:
    """Hold the target's connection after a quota error; lift what is held once it took rows, or refused them."""
    connection = Outline(work.run.definition).target
    failure = conclusion.failure
    if conclusion.quota and failure is not None:
        held = hold(session, connection, code=failure.code, message=failure.message, now=now)
        log.warning("connection.held", connection=connection, until=held.until.isoformat(), code=failure.code)
        return
    has_answered = conclusion.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL)
    has_answered |= failure is not None and failure.kind is FailureKind.DATA
    if has_answered and lift(session, connection):
        log.info("connection.free", connection=connection)


def _announce(
    session: Session,
    work: RunWork,
    conclusion: Conclusion,
    decisions: Decisions,
    *,
    disable_after: int,
    now: datetime,
) -> None:
    """Put what there is to tell of the end of a run into the outbox: what the job, or else ``[notify]``, asks for."""
    run = work.run
    asked = run.definition.get("notify")
    on = work.config.notify.on if asked is None else asked
    ended = Ended(
        job=run.job,
        run_id=run.id,
        kind=run.kind,
        scheduled_time=run.scheduled_time,
        attempt=run.attempt,
        conclusion=conclusion,
        streak=decisions.streak,
        disable_after=disable_after,
        disable=decisions.disable,
        was_failing=runs.last_verdict(session, run.job, other_than=run.id) == Outcome.FAILED.value,
    )
    told: list[tuple[NoticeText, tuple[str, ...]]] = [(notice, ()) for notice in notices_of(ended, on)]
    for notice, recipients in [*told, *mails_of(ended, run.definition.get("email"))]:
        notices.add(
            session,
            job=run.job,
            run_id=run.id,
            kind=notice.kind,
            subject=mask(notice.subject),
            body=mask(notice.body),
            now=now,
            recipients=recipients,
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
