"""Runs that a person asks for, looks at and stops."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from exporter.ledger import Entry, Mark, MemoryLedger
from exporter.report import Known
from exporter.targets.row_outcomes import known
from scheduler.environment.actors import record_action
from scheduler.errors.operation_error import failed, not_found, usage
from scheduler.jobs.definition import Job
from storage import actions
from storage.database import Database, Session
from storage.jobs import jobs
from storage.jobs.jobs import StoredJob
from storage.runs import ledger, rejections, runs
from storage.runs.ledger import LedgerRow
from storage.runs.rejections import RejectedValues
from storage.runs.runs import NewRun, StoredAttempt, StoredRun
from storage.values import Actor, StoredAction

MAX_BACKFILL = 10_000
"""Slots in one request; more is a slip of the finger, or better done in parts."""
MAX_SEARCHED = 1_000_000
"""Runs of a job that are looked through for slots asked for before."""
SHOWN_ACTIONS = 20
"""How much of what was done to a run is shown."""
PAGE = 1000
"""Rejected rows that are held at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The runs that stand for a request, in the order of their slots; ``existing`` are those that were there before."""

    runs: tuple[StoredRun, ...]
    existing: frozenset[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDetails:
    """A run with its attempts, its ledger, the number of rejected rows that are kept, and what was done to it by whom.

    ``so_far`` is what the ledger proves of a run that has not ended; None of one that ended or did nothing outside yet.
    """

    run: StoredRun
    attempts: tuple[StoredAttempt, ...]
    ledger: tuple[LedgerRow, ...]
    rejected_kept: int
    actions: tuple[StoredAction, ...]
    so_far: Known | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """How many rows were rejected for one reason; ``message`` holds no value."""

    code: str
    message: str
    count: int


def start(database: Database, stored: StoredJob, now: datetime, *, by: Actor | None = None) -> Asked:
    """Ask for a run now, whose slot is this second (or this very instant, if that one is taken)."""
    for slot in (now.replace(microsecond=0), now):
        asked = _insert(database, stored, [slot], kind="manual", now=now, by=by)
        if not asked.existing:
            return asked
    raise failed(f"job {stored.name} has a manual run of this very instant already")


def backfill(
    database: Database, stored: StoredJob, slots: Sequence[datetime], now: datetime, *, by: Actor | None = None
) -> Asked:
    """Ask for runs of given slots, to start now in this order; a slot that was asked for before is not repeated."""
    return _insert(database, stored, slots, kind="backfill", now=now, by=by)


def slots_from(job: Job, since: datetime, count: int, now: datetime) -> list[datetime]:
    """Return the first ``count`` slots of a job at or after ``since``; without a schedule, ``since`` itself.

    Raises a usage error where that makes no sense: no schedule and a count above 1, or slots in the future.
    """
    if not 1 <= count <= MAX_BACKFILL:
        raise usage(f"--count {count}: use 1 to {MAX_BACKFILL}")
    schedule = job.schedule
    if schedule is None:
        if count > 1:
            raise usage(f"job {job.name} has no cron, so --count must be 1")
        return [since]
    found: list[datetime] = []
    fire = schedule.previous(since)
    while len(found) < count:
        after = fire.scheduled_time if fire is not None and not found else found[-1] if found else since
        fire = schedule.next_after(after)
        if fire is None or fire.scheduled_time > now:
            coming = "does not come" if fire is None else f"is in the future ({fire.scheduled_time:%Y-%m-%dT%H:%M:%SZ})"
            raise usage(f"slot {len(found) + 1} of {count} {coming}: the schedule runs it automatically; ask for fewer")
        found.append(fire.scheduled_time)
    return found


def list_runs(database: Database, *, job: str | None, limit: int, outcomes: Sequence[str] = ()) -> list[StoredRun]:
    """Return the newest runs, newest first. Raises not-found for a job that neither exists nor ever ran."""
    with database.read() as session:
        found = runs.list_runs(session, job=job, limit=limit, outcomes=outcomes or None)
        known = job is None or found or jobs.get_job(session, job) or runs.list_runs(session, job=job, limit=1)
    if not known:
        raise not_found(f"there is no job {job!r}; schedctl list shows them")
    return found


def get_run(database: Database, run_id: int) -> StoredRun:
    """Return a run; raises not-found."""
    with database.read() as session:
        found = runs.get_run(session, run_id)
    return found if found is not None else _no_run(run_id)


def run_details(database: Database, run_id: int) -> RunDetails:
    """Return a run and what it did; raises not-found."""
    with database.read() as session:
        found = runs.get_run(session, run_id) or _no_run(run_id)
        rows = ledger.entries(session, run_id)
        return RunDetails(
            run=found,
            attempts=tuple(runs.attempts(session, run_id)),
            ledger=tuple(rows),
            so_far=_known(rows) if rows and found.state != "finished" else None,
            rejected_kept=rejections.count(session, run_id),
            actions=tuple(actions.of_run(session, run_id, limit=SHOWN_ACTIONS)),
        )


def cancel(database: Database, run_id: int, now: datetime, *, by: Actor | None = None) -> StoredRun:
    """Ask for a run to be stopped and return it; whoever executes it does so within about a second.

    Raises not-found, and failed if it has ended already.
    """
    with database.write() as session:
        before = runs.get_run(session, run_id) or _no_run(run_id)
        asked = runs.request_cancel(session, run_id, now=now)
        if asked:
            record_action(session, by, "canceled", now=now, jobs=[before.job], run_id=run_id)
        after = runs.get_run(session, run_id)
    if not asked or after is None:
        raise failed(f"run {run_id} has ended already: {before.outcome}")
    return after


def rejected_rows(database: Database, run_id: int) -> Iterator[RejectedValues]:
    """Yield the rejected rows of a run in order of their number, a page at a time."""
    after = 0
    while True:
        with database.read() as session:
            page = rejections.read(session, run_id, after=after, limit=PAGE)
        yield from page
        if not page:
            return
        after = page[-1].number


def rejected_without_values(database: Database, run_id: int) -> list[Refused]:
    """Return why rows of a run were refused that are not kept, since their values had gone with the spool.

    The last entry, without a code, counts those of which a run of an older schedctl kept no reason either.
    """
    from exporter.targets.salesforce.delivery.export_state import Standing  # noqa: PLC0415 - for this alone

    with database.read() as session:
        rows, kept = ledger.entries(session, run_id), rejections.count(session, run_id)
        run = runs.get_run(session, run_id) or _no_run(run_id)
    if run.rows_rejected <= kept:
        return []
    standing = Standing()
    for row in rows:
        if row.data.get("leg", "write") == "write":
            standing.follow(_entry(row))
    found = [Refused(code=each.code, message=each.message, count=each.count) for each in standing.without_values]
    if (others := run.rows_rejected - kept - sum(each.count for each in found)) > 0:
        found.append(Refused(code="", message="the reason is not kept", count=others))
    return found


def rejected_count(database: Database, run_id: int) -> int:
    """Return how many rejected rows of a run are kept; raises not-found."""
    with database.read() as session:
        if runs.get_run(session, run_id) is None:
            _no_run(run_id)
        return rejections.count(session, run_id)


def _known(rows: Sequence[LedgerRow]) -> Known | None:
    """Return what a ledger proves; None for one of another version that cannot be read: a look must not fail."""
    try:
        return known(MemoryLedger(map(_entry, rows)))
    except (KeyError, TypeError, ValueError):
        return None


def _entry(row: LedgerRow) -> Entry:
    return Entry(step=row.step, mark=Mark(row.mark), batch=row.batch, data=row.data)


def _insert(
    database: Database,
    stored: StoredJob,
    slots: Sequence[datetime],
    *,
    kind: str,
    now: datetime,
    by: Actor | None,
) -> Asked:
    rows = [
        NewRun(job=stored.name, scheduled_time=slot, run_time=now, kind=kind, definition=stored.definition)  # type: ignore[arg-type]  # one of the kinds
        for slot in slots
    ]
    with database.write() as session:
        ids = runs.insert_runs(session, rows, now=now)
        for run_id in filter(None, ids):
            record_action(session, by, "asked for", now=now, jobs=[stored.name], run_id=run_id)
        missing = {slot for slot, run_id in zip(slots, ids, strict=True) if run_id is None}
        earlier = _find(session, stored.name, kind, missing) if missing else {}
        asked = [ids[index] or earlier[slot] for index, slot in enumerate(slots)]
        found = tuple(run for run_id in asked if (run := runs.get_run(session, run_id)) is not None)
    return Asked(runs=found, existing=frozenset(earlier.values()))


def _find(session: Session, job: str, kind: str, slots: Collection[datetime]) -> dict[datetime, int]:
    """Return the numbers of the runs of these slots, which are known to be there."""
    found = runs.list_runs(session, job=job, limit=MAX_SEARCHED)
    return {run.scheduled_time: run.id for run in found if run.kind == kind and run.scheduled_time in slots}


def _no_run(run_id: int) -> StoredRun:
    raise not_found(f"there is no run {run_id}; schedctl runs shows the latest")
