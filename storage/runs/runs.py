"""Runs: stored when their slot fires, looked up, canceled, skipped. Claims on them are in ``claims``."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Select, Update, and_, bindparam, exists, func, literal_column, or_, select, update
from sqlalchemy.orm import Session

from storage.definitions import digest, keep
from storage.engine.column_types import UtcDateTime, utc
from storage.engine.dialect_sql import chunks, insert_new
from storage.models import RUNNING, WAITING, table
from storage.runs.claims import (
    away_runs,
    cancel_requested,
    check_token,
    claim_run,
    claim_runs,
    claimable,
    expired_claims,
    holds,
    postpone,
    readable,
    release,
    renew_claims,
    set_phase,
    set_progress,
    settle,
    take_back,
)
from storage.runs.records import ATTEMPT, RUN, NewRun, StoredAttempt, StoredRun, read_runs, read_runs_by_id, select_runs

__all__ = [
    "NewRun",
    "StoredAttempt",
    "StoredRun",
    "attempts",
    "away_runs",
    "cancel_requested",
    "check_token",
    "claim_run",
    "claim_runs",
    "count_unfinished",
    "expired_claims",
    "get_run",
    "get_runs",
    "holds",
    "insert_runs",
    "last_runs",
    "last_verdict",
    "list_runs",
    "next_waiting_time",
    "postpone",
    "queue",
    "redefine_waiting",
    "release",
    "renew_claims",
    "replace_waiting",
    "request_cancel",
    "resume",
    "set_phase",
    "set_progress",
    "settle",
    "slot_rows",
    "take_back",
    "waiting_or_running",
]

_JOB = table("job")
_LEDGER = table("ledger")
_OTHER = RUN.alias("other")
READ_AT_ONCE = 5_000
"""Rows of a long answer that are held at once."""
_Key = tuple[str, datetime, str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class CrowdedJob:
    """A job whose due slots are in each other's way: the newest of them, and whether a run of the job goes on."""

    newest: datetime
    running: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished:
    """How many runs wait and run."""

    waiting: int
    running: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotRow:
    """What a scheduled run says about slots: its own, or all ``skipped`` from ``first_slot`` to it."""

    job: str
    id: int
    scheduled_time: datetime
    first_slot: datetime | None
    skipped: int


def insert_runs(session: Session, runs: Sequence[NewRun], *, now: datetime) -> list[int | None]:
    """Store runs, and return the number of each in the same order: None where its slot was stored before.

    The database decides: of several processes that store the same slot, one gets a number.
    """
    digests = _digests(runs)
    definitions = keep(session, {digests[id(run.definition)]: run.definition for run in runs})
    revisions = _revisions(session, {run.job for run in runs})
    rows = [
        _row(run, definition_id=definitions[digests[id(run.definition)]], revision=revisions.get(run.job, 0), now=now)
        for run in runs
    ]
    numbers: dict[_Key, int] = {}
    returning = [RUN.c.job, RUN.c.scheduled_time, RUN.c.kind, RUN.c.repeat, RUN.c.id]
    for job, scheduled_time, kind, repeat, number in insert_new(session, RUN, rows, returning):
        numbers[job, scheduled_time, kind, repeat] = number
    return [numbers.pop((run.job, utc(run.scheduled_time), run.kind, run.repeat), None) for run in runs]


def request_cancel(session: Session, run_id: int, *, now: datetime) -> bool:
    """Ask for the run to be stopped; False if there is no such run or it has ended.

    A waiting run that has done nothing outside is canceled here and now. One that has is made due, so that whoever
    claims it can stop what it left behind.
    """
    here = update(RUN).where(RUN.c.id == run_id)
    done_something = exists().where(_LEDGER.c.run_id == RUN.c.id).correlate(RUN)
    end: dict[str, Any] = {"state": "finished", "outcome": "canceled", "reason": "canceled while it waited"}
    end |= {"finished_at": now, "cancel_requested_at": now}
    return (
        _changed(session, here.where(RUN.c.state == WAITING, ~done_something).values(end))
        or _changed(session, here.where(RUN.c.state == WAITING).values(cancel_requested_at=now, run_time=now))
        or _changed(session, here.where(RUN.c.state == RUNNING).values(cancel_requested_at=now))
    )


def resume(session: Session, run_id: int, *, definition: Mapping[str, Any], reason: str | None, now: datetime) -> bool:
    """Have an ended run wait again, due now, by this definition and for this reason; False if it has not ended.

    Its attempts, ledger and rejected rows stay: the next attempt goes on from them.
    """
    mark = digest(definition)
    again: dict[str, Any] = {"state": "waiting", "run_time": now, "outcome": None, "reason": reason}
    again |= {"finished_at": None, "cancel_requested_at": None}
    again |= {"failure_kind": None, "failure_code": None, "failure_message": None}
    again |= {"rows_read": 0, "rows_accepted": 0, "rows_rejected": 0, "rows_unchanged": 0}
    again |= {"definition_id": keep(session, {mark: definition})[mark], "alone": _is_alone(definition)}
    return _changed(session, update(RUN).where(RUN.c.id == run_id, RUN.c.state == "finished").values(again))


def replace_waiting(
    session: Session, job: str, *, before: datetime, reason: str, now: datetime, kind: str = "schedule"
) -> int:
    """Settle as skipped those waiting slots of a job before ``before`` that never started; return how many."""
    waiting = [RUN.c.id.in_(_of_job(job, WAITING)), RUN.c.state == WAITING]
    waiting += [RUN.c.kind == kind, RUN.c.started_at.is_(None)]
    skipped = {"state": "finished", "outcome": "skipped", "reason": reason, "skipped": 1, "finished_at": now}
    replaced = update(RUN).where(*waiting, RUN.c.scheduled_time < before).values(skipped).returning(RUN.c.id)
    return len(session.execute(replaced).all())


def redefine_waiting(
    session: Session,
    job: str,
    definition: Mapping[str, Any],
    *,
    delay: timedelta,
    since: Literal["scheduled_time", "created_at"] = "scheduled_time",
) -> int:
    """Give those runs of a job a new definition that wait and never started; return how many.

    A scheduled one is due ``delay`` after its slot from now on, or after it was stored, which is when a follower's
    parents had succeeded. A retry stays as it is: it repeats what was.
    """
    mark = digest(definition)
    values: dict[str, Any] = {"definition_id": keep(session, {mark: definition})[mark]}
    values |= {"revision": _revisions(session, [job])[job], "alone": _is_alone(definition)}
    waiting = [RUN.c.id.in_(_of_job(job, WAITING)), RUN.c.state == WAITING, RUN.c.started_at.is_(None)]
    waiting += [RUN.c.kind != "retry", RUN.c.cancel_requested_at.is_(None)]
    changed = update(RUN).where(*waiting).values(values).returning(RUN.c.id, RUN.c.kind, RUN.c[since].label("begin"))
    found = session.execute(changed).all()
    times = [{"number": run.id, "due": run.begin + delay} for run in found if run.kind == "schedule"]
    if times:
        later = update(RUN).where(RUN.c.id == bindparam("number"))
        session.connection().execute(later.values(run_time=bindparam("due", type_=UtcDateTime())), times)
    return len(found)


def crowded_jobs(session: Session, *, now: datetime) -> dict[str, CrowdedJob]:
    """Return, by name, the jobs that have more due slots waiting, not yet started, than can start one by one.

    That is: one or more while a run of the job goes on, or more than one. In one question, however many jobs there are.
    """
    found = session.execute(_crowded(), {"now": now})
    return {job: CrowdedJob(newest=newest, running=bool(going)) for job, newest, going in found}


@cache
def _crowded() -> Select[Any]:
    running = select(RUN.c.job).where(RUN.c.state == RUNNING)
    due = [RUN.c.state == WAITING, RUN.c.kind == "schedule", RUN.c.started_at.is_(None)]
    due.append(RUN.c.run_time <= bindparam("now", type_=UtcDateTime()))
    query = select(RUN.c.job, func.max(RUN.c.scheduled_time), RUN.c.job.in_(running)).where(*due)
    return query.group_by(RUN.c.job).having(or_(func.count() > 1, RUN.c.job.in_(running)))


def count_unfinished(session: Session) -> Unfinished:
    """Count the runs of all jobs that wait or run."""
    counts = [select(func.count()).where(RUN.c.state == state).scalar_subquery() for state in (WAITING, RUNNING)]
    waiting, running = session.execute(select(*counts)).one()
    return Unfinished(waiting=waiting, running=running)


def waiting_or_running(session: Session, job: str) -> list[StoredRun]:
    """Return the runs of a job that have not ended, oldest slot first."""
    query = select_runs(or_(RUN.c.id.in_(_of_job(job, WAITING)), RUN.c.id.in_(_of_job(job, RUNNING))))
    return read_runs(session, query.order_by(RUN.c.scheduled_time, RUN.c.id))


def running(session: Session) -> list[StoredRun]:
    """Return the runs of all jobs that run, in the order of their numbers."""
    return read_runs(session, select_runs(RUN.c.state == RUNNING).order_by(RUN.c.id))


def get_run(session: Session, run_id: int) -> StoredRun | None:
    """Return the run of that number, if there is one."""
    found = read_runs(session, select_runs(RUN.c.id == run_id))
    return found[0] if found else None


def get_runs(session: Session, numbers: Collection[int]) -> list[StoredRun]:
    """Return those of these runs that there are."""
    return [run for chunk in chunks(sorted(numbers)) for run in read_runs_by_id(session, chunk)]


def list_runs(
    session: Session, *, job: str | None = None, limit: int = 20, outcomes: Collection[str] | None = None
) -> list[StoredRun]:
    """Return the newest runs, newest first: of one job or all, with one of these outcomes or any state."""
    query = select_runs().order_by(RUN.c.id.desc()).limit(limit)
    if job is not None:
        query = query.where(RUN.c.job == job)
    if outcomes is not None:
        query = query.where(RUN.c.outcome.in_(outcomes))
    return read_runs(session, query)


def last_sent_slot(
    session: Session,
    job: str,
    *,
    before: datetime | None = None,
    partly: bool = False,
    completed: str = "",
    left_out: str = "",
) -> datetime | None:
    """Return the newest slot of a job, before ``before`` if given, whose run succeeded; None if there is none.

    ``partly``: or ended otherwise, but with a result for each row that it read, and some of them accepted. A run whose
    reason is ``completed`` counts in any case, one with ``left_out`` never.
    """
    sent = or_(RUN.c.outcome == "succeeded", RUN.c.reason == completed) if completed else RUN.c.outcome == "succeeded"
    if partly:
        told = RUN.c.rows_accepted + RUN.c.rows_rejected + RUN.c.rows_unchanged
        sent = or_(sent, and_(RUN.c.state == "finished", RUN.c.rows_accepted > 0, RUN.c.rows_read == told))
    query = select(RUN.c.scheduled_time).where(RUN.c.job == job, sent)
    if before is not None:
        query = query.where(RUN.c.scheduled_time < before)
    if left_out:
        query = query.where(RUN.c.reason.is_distinct_from(left_out))
    newest = query.order_by(RUN.c.scheduled_time.desc()).limit(1)
    return cast("datetime | None", session.execute(newest).scalar())


def set_reason(session: Session, run_id: int, reason: str) -> bool:
    """Give a run that has ended a reason; False if it has not ended."""
    ended = [RUN.c.id == run_id, RUN.c.state == "finished"]
    return _changed(session, update(RUN).where(*ended).values(reason=reason))


def begun_runs(session: Session, job: str, *, after: datetime | None, other_than: int) -> list[StoredRun]:
    """Return the runs of a job that have begun to act outside and are not done, oldest first.

    Those of slots after ``after``, if given: runs that go on, or are to go on, and those that ended without having
    succeeded. A run older than the run ``other_than`` counts as soon as it runs.
    """
    acted = exists().where(_LEDGER.c.run_id == RUN.c.id, _LEDGER.c.mark == "intended").correlate(RUN)
    told = RUN.c.rows_accepted + RUN.c.rows_rejected + RUN.c.rows_unchanged
    is_done = and_(RUN.c.rows_accepted > 0, RUN.c.rows_read == told)
    open_ = or_(RUN.c.state != "finished", and_(RUN.c.outcome.not_in(["succeeded", "partial"]), ~is_done))
    begun = or_(acted, and_(RUN.c.state == RUNNING, RUN.c.id < other_than))
    query = select_runs(RUN.c.job == job, RUN.c.id != other_than, open_, begun)
    if after is not None:
        query = query.where(RUN.c.scheduled_time > after)
    return read_runs(session, query.order_by(RUN.c.scheduled_time, RUN.c.id))


def last_runs(session: Session) -> dict[str, StoredRun]:
    """Return, for each job that there is, the run that ended last; a skipped slot is no run."""
    other = RUN.alias("other")
    last = (
        select(other.c.id)
        .where(other.c.job == _JOB.c.name, other.c.outcome != "skipped")
        .order_by(other.c.finished_at.desc(), other.c.id.desc())
        .limit(1)
        .correlate(_JOB)
        .scalar_subquery()
    )
    return {run.job: run for run in read_runs(session, select_runs(RUN.c.id.in_(select(last).select_from(_JOB))))}


def last_verdict(session: Session, job: str, *, other_than: int) -> str | None:
    """Return ``succeeded`` or ``failed``, whichever the job's other runs came to last; None if neither yet."""
    verdicts = [RUN.c.outcome.in_(["succeeded", "failed"]), literal_column("run.outcome <> 'skipped'")]
    query = select(RUN.c.outcome).where(RUN.c.job == job, RUN.c.id != other_than, *verdicts)
    newest = query.order_by(RUN.c.finished_at.desc(), RUN.c.id.desc()).limit(1)
    return cast("str | None", session.execute(newest).scalar())


def next_waiting_time(session: Session, places: Collection[str] | None = None) -> datetime | None:
    """Return when the next run is due that could be claimed if no running one ended before; it may have passed.

    ``places`` as for :func:`storage.runs.claims.claim_runs`.
    """
    return cast("datetime | None", session.execute(_next_waiting().where(*readable(places))).scalar())


@cache
def _next_waiting() -> Select[Any]:
    return select(RUN.c.run_time).where(*claimable()).order_by(RUN.c.run_time).limit(1)


def queue(session: Session, *, overdue: datetime) -> dict[str, int]:
    """Count the runs that are ``waiting``, ``running``, and ``overdue``: waiting, though due before that time."""
    counts = {
        "waiting": select(func.count()).where(RUN.c.state == WAITING),
        "running": select(func.count()).where(RUN.c.state == RUNNING),
        "overdue": select(func.count()).where(RUN.c.state == WAITING, RUN.c.run_time < overdue),
    }
    named = [count.scalar_subquery().label(name) for name, count in counts.items()]
    return dict(session.execute(select(*named)).mappings().one())


def slot_rows(session: Session, job: str | None = None, *, since: datetime | None = None) -> Iterator[SlotRow]:
    """Yield, job by job and in order of their slots, the rows of scheduled slots at or after ``since``.

    Rows come as they are read: there may be millions.
    """
    columns = [RUN.c[name] for name in SlotRow.__dataclass_fields__]
    query = select(*columns).where(RUN.c.kind == "schedule").order_by(RUN.c.job, RUN.c.scheduled_time, RUN.c.id)
    if job is not None:
        query = query.where(RUN.c.job == job)
    if since is not None:
        query = query.where(RUN.c.scheduled_time >= since)
    for row in session.execute(query.execution_options(yield_per=READ_AT_ONCE)):
        yield SlotRow(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def attempts(session: Session, run_id: int) -> list[StoredAttempt]:
    """Return the tries of a run, oldest first."""
    columns = [column for column in ATTEMPT.c if column.name not in ("id", "run_id")]
    query = select(*columns).where(ATTEMPT.c.run_id == run_id).order_by(ATTEMPT.c.id)
    return [StoredAttempt(**row) for row in session.execute(query).mappings()]


def _of_job(job: str, state: ColumnElement[str]) -> Select[tuple[int]]:
    """Find a job's runs in one state apart from all that is asked of them, or SQLite searches the job's whole past."""
    return select(_OTHER.c.id).where(_OTHER.c.job == job, _OTHER.c.state == state)


def _digests(runs: Iterable[NewRun]) -> dict[int, str]:
    """Digest each definition object once: the slots of one job share theirs."""
    digests: dict[int, str] = {}
    for run in runs:
        if id(run.definition) not in digests:
            digests[id(run.definition)] = digest(run.definition)
    return digests


def _revisions(session: Session, jobs: Iterable[str]) -> dict[str, int]:
    revisions: dict[str, int] = {}
    for chunk in chunks(jobs):
        query = select(_JOB.c.name, _JOB.c.revision).where(_JOB.c.name.in_(chunk))
        revisions |= {row.name: row.revision for row in session.execute(query)}
    return revisions


def _row(run: NewRun, *, definition_id: int, revision: int, now: datetime) -> dict[str, Any]:
    return {
        "job": run.job,
        "scheduled_time": run.scheduled_time,
        "run_time": run.run_time,
        "kind": run.kind,
        "repeat": run.repeat,
        "retry_of": run.retry_of,
        "definition_id": definition_id,
        "revision": revision,
        "alone": _is_alone(run.definition),
        "state": run.state,
        "outcome": run.outcome,
        "reason": run.reason,
        "skipped": run.skipped,
        "first_slot": run.first_slot,
        "created_at": now,
        "finished_at": now if run.state == "finished" else None,
    }


def _is_alone(definition: Mapping[str, Any]) -> bool:
    """Tell whether a job's runs go one by one: one of the two things that this package reads in a definition."""
    return definition.get("overlap") != "allow"


def _changed(session: Session, statement: Update) -> bool:
    return session.execute(statement.returning(RUN.c.id)).one_or_none() is not None
