"""Runs that repeat an ended one: all of it, or only the rows that were refused."""

from datetime import datetime

from exporter.targets.salesforce.effects import Effect, Fact
from scheduler.errors import failed, usage
from scheduler.job import Job
from scheduler.operations.runs import MAX_SEARCHED, get_run
from scheduler.rejected import RETRIED, WITHOUT_TEXT
from storage import jobs, ledger, rejections, runs
from storage.database import Database, Session
from storage.runs import NewRun, StoredRun


def retry(database: Database, run_id: int, now: datetime, *, again: bool = False) -> StoredRun:
    """Ask for the slot of an ended run to be run again, by the job as it now is.

    An append that has rows in the target already is not repeated unless ``again``: they would be there twice.
    Raises not-found, and failed where it makes no sense.
    """
    before = _ended(database, run_id)
    if before.reason == RETRIED:
        raise failed(
            f"run {run_id} was of the refused rows of run {before.retry_of} only: schedctl retry {run_id} --rejected "
            f"sends those that it refused, schedctl retry {before.retry_of} the whole slot"
        )
    with database.write() as session:
        definition = _definition(session, before)
        by_changes = definition.get("changes", "all") != "all"  # such a run sends only what is not there
        if _mode(definition) == "append" and not again and not by_changes:
            _check_append(session, before, _object(definition))
        return _insert(session, before, definition, reason=None, now=now)


def retry_rejected(database: Database, run_id: int, now: datetime) -> tuple[StoredRun, int]:
    """Ask for a run of only the refused rows of an ended one; return it, and how many rows cannot be part of it.

    Raises not-found, and failed where there are none, where they were sent again before, and for a truncate.
    """
    before = _ended(database, run_id)
    with database.write() as session:
        definition = _definition(session, before)
        if _mode(definition) == "truncate":
            raise usage(
                f"run {run_id} belongs to a truncate, which would delete the accepted rows: give the job "
                'mode = "append" or a key to update by for this one time, or let its next run send all rows'
            )
        _check_first(session, before)
        kept = rejections.count(session, run_id)
        hopeless = rejections.count(session, run_id, codes=WITHOUT_TEXT)
        if kept == 0:
            raise failed(f"run {run_id} has no refused rows")
        if kept == hopeless:
            raise failed(
                f"the {kept:,} refused rows of run {run_id} hold values that have no text for the target (schedctl "
                f"rejected {run_id} shows which): change the query, then schedctl run {before.job}"
            )
        return _insert(session, before, definition, reason=RETRIED, now=now), hopeless


def _ended(database: Database, run_id: int) -> StoredRun:
    found = get_run(database, run_id)
    if found.state != "finished":
        raise failed(f"run {run_id} has not ended yet: it is {found.state}")
    return found


def _definition(session: Session, before: StoredRun) -> dict[str, object]:
    stored = jobs.get_job(session, before.job)
    if stored is None:
        raise failed(f"run {before.id} was of job {before.job}, which is gone: add it again first")
    return stored.definition


def _check_first(session: Session, before: StoredRun) -> None:
    """Refuse to send refused rows a second time unless certainly none of them arrived the first time."""
    for other in runs.list_runs(session, job=before.job, limit=MAX_SEARCHED):
        if other.retry_of != before.id or other.reason != RETRIED:
            continue
        if other.state == "finished" and not other.rows_accepted and not _is_uncertain(session, other.id):
            continue
        raise failed(
            f"the refused rows of run {before.id} were sent again by run {other.id}: schedctl retry {other.id} "
            "--rejected sends what that one refused"
        )


def _check_append(session: Session, before: StoredRun, target: str) -> None:
    """Refuse to append rows a second time unless certainly none of them arrived the first time."""
    ways = f"schedctl retry {before.id} --again sends all"
    if rejections.count(session, before.id):
        ways = f"schedctl retry {before.id} --rejected sends the refused ones, {ways}"
    if before.failure_code == "LEDGER_GONE":
        raise failed(
            f"rows of the slot of run {before.id} were sent to {target} before this state database was put back, and "
            f'mode = "append" might add them once more: look there first (schedctl runs show {before.id}); {ways}'
        )
    if before.rows_accepted:
        raise failed(
            f"run {before.id} has {before.rows_accepted:,} rows in {target} already, and mode = "
            f'"append" would add them once more: {ways}'
        )
    if _is_uncertain(session, before.id):
        raise failed(
            f"run {before.id} sent rows to {target} of which it never learned what became of them, and mode = "
            f'"append" might add them once more: look there first (schedctl runs show {before.id}); {ways}'
        )


def _is_uncertain(session: Session, run_id: int) -> bool:
    """Whether rows were handed over of which nothing is known: the ledger has a sending that was never settled."""
    open_batches: set[int | None] = set()
    for entry in ledger.entries(session, run_id):
        if entry.step == Effect.BATCH_SEND:
            open_batches.add(entry.batch)
        elif entry.step in {Fact.BATCH_SETTLED, Fact.BATCH_ABSENT}:
            open_batches.discard(entry.batch)
    return bool(open_batches)


def _insert(
    session: Session, before: StoredRun, definition: dict[str, object], *, reason: str | None, now: datetime
) -> StoredRun:
    earlier = runs.list_runs(session, job=before.job, limit=MAX_SEARCHED)
    slot = before.scheduled_time
    repeats = [run.repeat for run in earlier if run.kind == "retry" and run.scheduled_time == slot]
    row = NewRun(
        job=before.job,
        scheduled_time=slot,
        run_time=now,
        kind="retry",
        definition=definition,
        reason=reason,
        repeat=max(repeats, default=-1) + 1,
        retry_of=before.id,
    )
    [number] = runs.insert_runs(session, [row], now=now)
    found = runs.get_run(session, number) if number is not None else None
    if found is None:
        raise failed(f"another retry of run {before.id} was asked for at this very moment")
    return found


def _mode(definition: dict[str, object]) -> str | None:
    return getattr(Job.from_dict(definition).export.options, "mode", None)


def _object(definition: dict[str, object]) -> str:
    return str(getattr(Job.from_dict(definition).export.options, "object", "the target"))
