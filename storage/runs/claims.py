"""The right to execute a run: taken by one process at a time, renewed, lost, given back, or ended by an outcome.

Every write of a run in progress names the token of its claim, and finds no row once the claim is another's; that is
the normal answer :class:`~storage.engine.errors.ClaimLost`, after which the caller touches nothing more.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session

from storage.definitions import documents_of
from storage.engine.column_types import UtcDateTime, utc
from storage.engine.dialect_sql import CHUNK, chunks, try_lock_names
from storage.engine.errors import ClaimLost
from storage.models import RUNNING, WAITING, table
from storage.runs.records import (
    ATTEMPT,
    RUN,
    FailureTriple,
    RowCounts,
    StoredRun,
    read_runs,
    read_runs_by_id,
    select_runs,
)

_JOB = table("job")
_LEDGER = table("ledger")
_OLDER, _OTHER = RUN.alias("older"), RUN.alias("other")  # made once: an alias costs a millisecond
_UNCLAIMED = {"owner": None, "token": None, "claim_expires_at": None}
_NO_ROWS: RowCounts = (0, 0, 0, 0)


class Gate(Protocol):
    """What else has to hold for a run to start. It reads definitions, which mean nothing here."""

    def locks(self, definition: Mapping[str, Any]) -> AbstractSet[str]:
        """Return the names that nobody else may decide about at the same time."""

    def begin(self, running: Iterable[Mapping[str, Any]], begun: Iterable[Mapping[str, Any]]) -> None:
        """Take note of what goes on: runs that run, and runs that wait but have a ledger."""

    def admit(self, definition: Mapping[str, Any], *, begun: bool) -> bool:
        """Say whether a run may start now, and count it as running if so."""


def claim_runs(
    session: Session,
    *,
    owner: str,
    now: datetime,
    lease_seconds: float,
    limit: int,
    gate: Gate | None = None,
    lease_from: datetime | None = None,
    places: Collection[str] | None = None,
) -> list[StoredRun]:
    """Take up to ``limit`` (at most 500) due runs for ``owner``, the one due longest first, and return them.

    Not taken: scheduled runs of a disabled job that never started (what has started goes on to its end), a run of a
    job that has another one running or due before it (unless the job allows overlap), what ``gate`` does not admit,
    a begun run whose spool is in none of ``places`` (None: all can be read), and what another process is taking in
    this moment. Give them to workers only after the commit. The lease counts
    from ``lease_from`` where the clock of leases (:mod:`storage.engine.server_clock`) is not that of ``now``.
    """
    limit = min(max(limit, 0), CHUNK)
    taken: list[StoredRun] = []
    after: tuple[datetime, int] | None = None
    while len(taken) < limit:
        size = limit if after is None else CHUNK  # what the gate holds back may be many
        values: dict[str, Any] = {"now": now, "size": size}
        if places is not None:
            values["places"] = sorted(places)
        if after is not None:
            values |= {"after_time": after[0], "after_id": after[1]}
        question = _candidates(further=after is not None, placed=places is not None)
        candidates = session.execute(question, values).all()
        free = try_lock_names(session, {each.job for each in candidates if each.alone})
        open_ = [each for each in candidates if not each.alone or each.job in free]
        numbers = _admitted(session, open_, gate, limit - len(taken))
        taken += _take(session, numbers, owner=owner, now=now, until=_until(lease_from or now, lease_seconds))
        if len(candidates) < size or gate is None:
            break
        after = (candidates[-1].run_time, candidates[-1].id)
    return taken


def claim_run(
    session: Session,
    run_id: int,
    *,
    owner: str,
    now: datetime,
    lease_seconds: float,
    gate: Gate | None = None,
    lease_from: datetime | None = None,
    places: Collection[str] | None = None,
) -> StoredRun | None:
    """Take this run, due or not, of a disabled job or not.

    None if it does not wait, its job's other run goes on, or ``gate`` does not admit it. The lease and ``places`` as
    in :func:`claim_runs`.
    """
    columns = [RUN.c.id, RUN.c.job, RUN.c.definition_id, _has_ledger()]
    query = select(*columns).where(RUN.c.id == run_id, RUN.c.state == WAITING, *readable(places))
    row = session.execute(query).one_or_none()
    if row is None or not try_lock_names(session, [row.job]) or not _admitted(session, [row], gate, 1):
        return None
    taken = _take(session, [run_id], owner=owner, now=now, until=_until(lease_from or now, lease_seconds))
    return taken[0] if taken else None


@cache
def _candidates(*, further: bool, placed: bool) -> Select[Any]:
    """Make the question for due runs, once: the first ``size`` of them, or those behind one that was looked at."""
    now = bindparam("now", type_=UtcDateTime())
    query = select(RUN.c.id, RUN.c.job, RUN.c.alone, RUN.c.definition_id, RUN.c.run_time, _has_ledger())
    query = query.where(RUN.c.run_time <= now, *claimable(now))
    if placed:
        query = query.where(*readable(bindparam("places", type_=Text(), expanding=True)))
    if further:
        last = tuple_(bindparam("after_time", type_=UtcDateTime()), bindparam("after_id", type_=Integer()))
        query = query.where(tuple_(RUN.c.run_time, RUN.c.id) > last)
    query = query.order_by(RUN.c.run_time, RUN.c.id).limit(bindparam("size", type_=Integer()))
    return query.with_for_update(skip_locked=True, of=RUN)


def _admitted(session: Session, candidates: Sequence[Row[Any]], gate: Gate | None, limit: int) -> list[int]:
    """Return the numbers of up to ``limit`` of these that the gate admits, in their order."""
    if gate is None or not candidates:
        return [each.id for each in candidates[:limit]]
    documents = documents_of(session, {each.definition_id for each in candidates})
    needed = {each.id: gate.locks(documents[each.definition_id]) for each in candidates}
    names = set().union(*needed.values())
    held = try_lock_names(session, names)
    if names:  # asked for once the names are ours: what was seen running is all that can be
        running = select(RUN.c.definition_id).where(RUN.c.state == RUNNING)
        begun = select(RUN.c.definition_id).where(RUN.c.state == WAITING, RUN.c.started_at.is_not(None), _has_ledger())
        in_hand = [list(session.execute(query).scalars()) for query in (running, begun)]
        known = documents_of(session, {number for numbers in in_hand for number in numbers})
        gate.begin(*([known[number] for number in numbers] for numbers in in_hand))
    numbers: list[int] = []
    for each in candidates:
        if len(numbers) == limit:
            break
        if needed[each.id] <= held and gate.admit(documents[each.definition_id], begun=each.has_ledger):
            numbers.append(each.id)
    return numbers


def readable(places: Collection[str] | BindParameter[Any] | None) -> list[ColumnElement[bool]]:
    """Say which runs may be resumed where the spool directories ``places`` can be read; None: wherever they are."""
    return [] if places is None else [or_(RUN.c.spool_place.is_(None), RUN.c.spool_place.in_(places))]


def away_runs(session: Session) -> list[StoredRun]:
    """Return the waiting runs that have begun, the one due longest first: their spools are where they say."""
    begun = select_runs(RUN.c.state == WAITING, RUN.c.spool_place.is_not(None))
    return read_runs(session, begun.order_by(RUN.c.run_time, RUN.c.id))


def claimable(now: ColumnElement[datetime] | None = None) -> list[ColumnElement[bool]]:
    """Say which waiting runs may be taken, by ``now`` or at all: the terms that :func:`claim_runs` explains."""
    older = [_OLDER.c.job == RUN.c.job, _OLDER.c.state == WAITING, _OLDER.c.alone, _not_disabled(_OLDER.c)]
    older.append(tuple_(_OLDER.c.run_time, _OLDER.c.id) < tuple_(RUN.c.run_time, RUN.c.id))
    if now is not None:
        older.append(_OLDER.c.run_time <= now)
    return [
        RUN.c.state == WAITING,
        _not_disabled(RUN.c),
        or_(~RUN.c.alone, and_(~_has_running(), ~exists().where(*older).correlate(RUN))),
    ]


def renew_claims(session: Session, *, owner: str, now: datetime, lease_seconds: float) -> int:
    """Extend every claim that ``owner`` holds to ``lease_seconds`` from ``now``; return how many that are."""
    held = [RUN.c.owner == owner, RUN.c.state == RUNNING]
    until = _until(now, lease_seconds)
    renewed = session.execute(update(RUN).where(*held).values(claim_expires_at=until).returning(RUN.c.id))
    return len(renewed.all())


def holds(session: Session, run_id: int, token: str, now: datetime | None = None) -> bool:
    """Tell whether this claim still stands; with ``now``, also whether it has not expired."""
    query = select(RUN.c.id).where(*_held(run_id, token))
    if now is not None:
        query = query.where(RUN.c.claim_expires_at > now)
    if session.info.get("writes"):
        query = query.with_for_update()
    return session.execute(query).one_or_none() is not None


def check_token(session: Session, run_id: int, token: str) -> None:
    """Raise :class:`ClaimLost` unless this claim stands. In a write it then stands until the transaction ends."""
    if not holds(session, run_id, token):
        raise ClaimLost(run_id)


def set_phase(session: Session, run_id: int, token: str, *, phase: str) -> None:
    """Note that the run has come to ``query`` or ``export``; ClaimLost."""
    _write(session, run_id, token, {"phase": phase})


def set_progress(session: Session, run_id: int, token: str, *, progress: Mapping[str, Any]) -> None:
    """Replace what the run tells of its progress; ClaimLost."""
    _write(session, run_id, token, {"progress": dict(progress)})


def settle(
    session: Session,
    run_id: int,
    token: str,
    *,
    now: datetime,
    outcome: str,
    reason: str | None = None,
    failure: FailureTriple | None = None,
    rows: RowCounts = _NO_ROWS,
) -> None:
    """End the run and its claim with its outcome, once and for all; ClaimLost."""
    read, accepted, rejected, unchanged = rows
    counts = {"rows_read": read, "rows_accepted": accepted, "rows_rejected": rejected, "rows_unchanged": unchanged}
    end = {"state": "finished", "outcome": outcome, "finished_at": now} | ({"reason": reason} if reason else {})
    _write(session, run_id, token, {**end, **counts, **_failure(failure), **_UNCLAIMED})
    _close_attempts(session, [run_id], ending=outcome, now=now, failure=failure)


def postpone(
    session: Session, run_id: int, token: str, *, now: datetime, run_time: datetime, failure: FailureTriple
) -> None:
    """Put the run back, to be tried again at ``run_time``, and keep why; ClaimLost."""
    back = {"state": "waiting", "run_time": run_time}
    _write(session, run_id, token, {**back, **_failure(failure), **_UNCLAIMED})
    _close_attempts(session, [run_id], ending="failed", now=now, failure=failure)


def release(session: Session, run_id: int, token: str, *, now: datetime) -> None:
    """Put the run back at once, as if this attempt had not been begun (its ledger stays); ClaimLost."""
    _write(session, run_id, token, {"state": "waiting", "attempt": RUN.c.attempt - 1, **_UNCLAIMED})
    _close_attempts(session, [run_id], ending="released", now=now)


def expired_claims(session: Session, *, now: datetime, longest: timedelta | None = None) -> list[StoredRun]:
    """Return the running runs whose claim was not renewed in time, the one expired longest first.

    ``longest`` is how long after ``now`` a claim may end: one that ends later is of a time before the clock was set
    back, and its owner, who would have renewed it since, is gone.
    """
    expired = select_runs(RUN.c.state == RUNNING, _expired(now, longest))
    return read_runs(session, expired.order_by(RUN.c.claim_expires_at, RUN.c.id))


def take_back(
    session: Session,
    run_ids: Collection[int] = (),
    *,
    owners: Collection[str] = (),
    now: datetime,
    longest: timedelta | None = None,
) -> int:
    """Put runs of lost processes back to wait, and return how many: the attempt counts, its token is worth nothing.

    Taken back are those of ``run_ids`` whose claim has (still) expired, with ``longest`` as for
    :func:`expired_claims`, and every run of ``owners``, who must be dead.
    """
    taken: list[int] = []
    terms = [and_(RUN.c.id.in_(chunk), _expired(now, longest)) for chunk in chunks(run_ids)]
    terms += [RUN.c.owner.in_(chunk) for chunk in chunks(owners)]
    for term in terms:
        back = update(RUN).where(RUN.c.state == RUNNING, term).values(state="waiting", **_UNCLAIMED)
        taken += session.execute(back.returning(RUN.c.id)).scalars()
    _close_attempts(session, taken, ending="interrupted", now=now)
    return len(taken)


def cancel_requested(session: Session, owner: str) -> set[int]:
    """Return those runs of ``owner`` that a person wants to be stopped."""
    query = select(RUN.c.id).where(RUN.c.owner == owner, RUN.c.state == RUNNING, RUN.c.cancel_requested_at.is_not(None))
    return set(session.execute(query).scalars())


def _until(now: datetime, lease_seconds: float) -> datetime:
    return utc(now) + timedelta(seconds=lease_seconds)


def _expired(now: datetime, longest: timedelta | None) -> ColumnElement[bool]:
    ended = RUN.c.claim_expires_at <= now
    return ended if longest is None else or_(ended, RUN.c.claim_expires_at > utc(now) + longest)


def _not_disabled(run: Any) -> ColumnElement[bool]:  # noqa: ANN401 - the columns of RUN or of an alias of it
    disabled = exists().where(_JOB.c.name == run.job, _JOB.c.disabled_at.is_not(None))
    return or_(run.kind != "schedule", run.started_at.is_not(None), run.cancel_requested_at.is_not(None), ~disabled)


def _has_running() -> ColumnElement[bool]:
    return exists().where(_OTHER.c.job == RUN.c.job, _OTHER.c.state == RUNNING).correlate(RUN)


def _has_ledger() -> ColumnElement[bool]:
    return exists().where(_LEDGER.c.run_id == RUN.c.id).correlate(RUN).label("has_ledger")


def _take(session: Session, numbers: Sequence[int], *, owner: str, now: datetime, until: datetime) -> list[StoredRun]:
    """Claim what still waits of these. The jobs' names are locked, so what was seen running is all that can be."""
    taken: list[int] = []
    for chunk in chunks(numbers):
        statement = (
            update(RUN)
            .where(RUN.c.id.in_(chunk), RUN.c.state == WAITING, or_(~RUN.c.alone, ~_has_running()))
            .values(
                state="running",
                owner=owner,
                token=secrets.token_hex(16),
                claim_expires_at=until,
                attempt=RUN.c.attempt + 1,
                started_at=func.coalesce(RUN.c.started_at, literal(now, UtcDateTime())),
            )
            .returning(RUN.c.id)
        )
        taken += session.execute(statement).scalars()
    runs = read_runs_by_id(session, taken)
    attempts = [{"run_id": run.id, "number": run.attempt, "owner": owner, "started_at": now} for run in runs]
    if attempts:
        session.execute(insert(ATTEMPT), attempts)
    return runs


def _held(run_id: int, token: str) -> list[ColumnElement[bool]]:
    return [RUN.c.id == run_id, RUN.c.token == token, RUN.c.state == RUNNING]


def _write(session: Session, run_id: int, token: str, values: Mapping[str, Any]) -> None:
    statement = update(RUN).where(*_held(run_id, token)).values(values).returning(RUN.c.id)
    if session.execute(statement).one_or_none() is None:
        raise ClaimLost(run_id)


def _failure(failure: FailureTriple | None) -> dict[str, str | None]:
    kind, code, message = failure or (None, None, None)
    return {"failure_kind": kind, "failure_code": code, "failure_message": message}


def _close_attempts(
    session: Session, run_ids: Sequence[int], *, ending: str, now: datetime, failure: FailureTriple | None = None
) -> None:
    for chunk in chunks(run_ids):
        going_on = update(ATTEMPT).where(ATTEMPT.c.run_id.in_(chunk), ATTEMPT.c.ended_at.is_(None))
        session.execute(going_on.values(ended_at=now, ending=ending, **_failure(failure)))
