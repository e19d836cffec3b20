"""Jobs, their state, and the history of what each was from when on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from storage.definitions import DEFINITION, digest, keep
from storage.models import WAITING, table
from storage.statements import lock_names
from storage.types import UtcDateTime

_JOB = table("job")
_CHANGE = table("job_change")
_RUN = table("run")

Change = Literal["put", "removed", "disabled", "enabled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredJob:
    """A job: its definition and its state. Times are UTC.

    Slots at or before ``anchored_at`` are not owed, nor are those at or before ``high_water``. ``disabled_by`` is
    ``person`` or ``daemon``. ``last_success`` is the slot of the newest run that succeeded.
    """

    name: str
    origin: str
    definition: dict[str, Any]
    revision: int
    created_at: datetime
    updated_at: datetime
    anchored_at: datetime
    high_water: datetime | None
    disabled_at: datetime | None
    disabled_by: str | None
    disabled_reason: str | None
    failure_streak: int
    last_success: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobChange:
    """What happened to a job at ``valid_from``; what it was from then on (or had been, if ``removed``).

    From these rows alone one can tell which slots were owed: none between ``disabled`` or ``removed`` and the next
    change, none at or before ``anchored_at``.
    """

    job: str
    revision: int
    change: str
    definition: dict[str, Any]
    valid_from: datetime
    anchored_at: datetime

    @property
    def removed(self) -> bool:
        """Whether the job was there no longer."""
        return self.change == "removed"


def put_job(
    session: Session,
    *,
    name: str,
    origin: str,
    definition: Mapping[str, Any],
    now: datetime,
    same_schedule: bool = False,
) -> bool:
    """Insert the job, or replace it if it differs. Returns whether anything changed.

    State is kept, but another definition resets the failure streak and lifts what the daemon (not a person) disabled,
    and counts from ``now``: earlier slots are no longer owed. ``same_schedule`` says that nothing in the new definition
    bears on when it fires, and keeps what was owed.
    """
    lock_names(session, [name])
    found = get_job(session, name)
    mark = digest(definition)
    if found is not None and digest(found.definition) == mark:
        if found.origin == origin:
            return False
        _update(session, name, origin=origin, updated_at=now)
        _record(session, name, "put", now)
        return True
    number = keep(session, {mark: definition})[mark]
    new: dict[str, Any] = {"origin": origin, "definition_id": number, "updated_at": now, "failure_streak": 0}
    new["revision"] = _last_revision(session, name) + 1
    if found is None:
        session.execute(insert(_JOB).values(name=name, created_at=now, anchored_at=now, **new))
    else:
        lifted = found.disabled_by == "daemon"
        if not same_schedule or lifted:
            new["anchored_at"] = now
        if lifted:
            new |= {"disabled_at": None, "disabled_by": None, "disabled_reason": None}
        _update(session, name, **new)
    _record(session, name, "put", now)
    return True


def remove_job(session: Session, name: str, *, now: datetime) -> bool:
    """Delete the job; its history and runs stay. Returns whether there was one.

    Its waiting runs are settled: those that never started as skipped, those that did are to be canceled.
    """
    lock_names(session, [name])
    if get_job(session, name) is None:
        return False
    _record(session, name, "removed", now)
    session.execute(delete(_JOB).where(_JOB.c.name == name))
    waiting = update(_RUN).where(_RUN.c.job == name, _RUN.c.state == WAITING)
    session.execute(
        waiting.where(_RUN.c.started_at.is_(None)).values(
            state="finished", outcome="skipped", reason="the job was removed", skipped=1, finished_at=now
        )
    )
    # A time beside a column in a function does not take on the column's type: it has to be told.
    asked_at = func.coalesce(_RUN.c.cancel_requested_at, literal(now, UtcDateTime()))
    session.execute(waiting.values(cancel_requested_at=asked_at, run_time=now))
    return True


def get_job(session: Session, name: str) -> StoredJob | None:
    """Return the job of that name, if there is one."""
    row = session.execute(_jobs().where(_JOB.c.name == name)).mappings().one_or_none()
    return None if row is None else StoredJob(**row)


def all_jobs(session: Session) -> list[StoredJob]:
    """Return every job, ordered by name."""
    jobs = [StoredJob(**row) for row in session.execute(_jobs()).mappings()]
    return sorted(jobs, key=lambda job: job.name)


def definition_history(session: Session, name: str) -> list[JobChange]:
    """Return what ever happened to the job of that name, removed or not, oldest first."""
    query = (
        select(
            _CHANGE.c.job,
            _CHANGE.c.revision,
            _CHANGE.c.change,
            DEFINITION.c.body.label("definition"),
            _CHANGE.c.valid_from,
            _CHANGE.c.anchored_at,
        )
        .join(DEFINITION, DEFINITION.c.id == _CHANGE.c.definition_id)
        .where(_CHANGE.c.job == name)
        .order_by(_CHANGE.c.id)
    )
    return [JobChange(**row) for row in session.execute(query).mappings()]


def change_mark(session: Session) -> str:
    """Return a mark that differs whenever a job was put, removed, disabled or enabled since; state does not count.

    It counts changes too, because PostgreSQL's numbers may become visible in another order than they were given.
    """
    number, newest = session.execute(select(func.count(), func.max(_CHANGE.c.id)).select_from(_CHANGE)).one()
    return f"{number}-{newest or 0}"


def disable_job(session: Session, name: str, *, by: Literal["person", "daemon"], reason: str, now: datetime) -> bool:
    """Stop the job's schedule. Returns whether that changed anything; what a person disabled, the daemon leaves."""
    lock_names(session, [name])
    reasons: list[ColumnElement[bool]] = [_JOB.c.disabled_at.is_(None)]
    if by == "person":
        reasons.append(_JOB.c.disabled_by == "daemon")
    changed = _update(session, name, or_(*reasons), disabled_at=now, disabled_by=by, disabled_reason=reason)
    if changed:
        _record(session, name, "disabled", now)
    return changed


def enable_job(session: Session, name: str, *, now: datetime) -> bool:
    """Let the job's schedule go on from ``now`` with a streak of 0. Returns whether it had been disabled."""
    lock_names(session, [name])
    off = {"disabled_at": None, "disabled_by": None, "disabled_reason": None}
    changed = _update(session, name, _JOB.c.disabled_at.is_not(None), failure_streak=0, anchored_at=now, **off)
    if changed:
        _record(session, name, "enabled", now)
    return changed


def set_high_water(session: Session, marks: Mapping[str, datetime]) -> None:
    """Raise the mark of each job named: slots at or before it never fire again. A mark never moves back."""
    if not marks:
        return
    mark = bindparam("mark", type_=UtcDateTime())
    statement = (
        update(_JOB)
        .where(_JOB.c.name == bindparam("job"), or_(_JOB.c.high_water.is_(None), _JOB.c.high_water < mark))
        .values(high_water=mark)
    )
    session.connection().execute(statement, [{"job": name, "mark": marks[name]} for name in sorted(marks)])


def record_outcome(session: Session, name: str, *, streak: int, last_success: datetime | None) -> None:
    """Note how a run ended, where its settling is: the streak, and the slot if it succeeded (it never moves back)."""
    _update(session, name, failure_streak=streak)
    if last_success is not None:
        earlier = or_(_JOB.c.last_success.is_(None), _JOB.c.last_success < last_success)
        _update(session, name, earlier, last_success=last_success)


def _jobs() -> Select[Any]:
    columns = [column for column in _JOB.c if column.name != "definition_id"]
    return select(*columns, DEFINITION.c.body.label("definition")).join(
        DEFINITION, DEFINITION.c.id == _JOB.c.definition_id
    )


def _update(session: Session, name: str, *where: ColumnElement[bool], **values: Any) -> bool:  # noqa: ANN401 - columns of any type
    statement = update(_JOB).where(_JOB.c.name == name, *where).values(**values).returning(_JOB.c.name)
    return session.execute(statement).one_or_none() is not None


def _last_revision(session: Session, name: str) -> int:
    return session.execute(select(func.max(_CHANGE.c.revision)).where(_CHANGE.c.job == name)).scalar() or 0


def _record(session: Session, name: str, change: Change, now: datetime) -> None:
    job = select(_JOB.c.name, _JOB.c.revision, _JOB.c.definition_id, _JOB.c.anchored_at).where(_JOB.c.name == name)
    name_, revision, definition_id, anchored_at = session.execute(job).one()
    session.execute(
        insert(_CHANGE).values(
            job=name_,
            revision=revision,
            change=change,
            definition_id=definition_id,
            valid_from=now,
            anchored_at=anchored_at,
        )
    )
