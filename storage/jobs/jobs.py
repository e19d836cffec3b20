"""Jobs, their state, and the history of what each was from when on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, bindparam, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from storage.definitions import DEFINITION, digest, keep
from storage.engine.column_types import UtcDateTime, utc
from storage.engine.dialect_sql import chunks, lock_names
from storage.jobs import removed
from storage.jobs.dependents import set_parents
from storage.models import WAITING, table
from storage.values import StoredJob

__all__ = [
    "Change",
    "Changed",
    "JobChange",
    "Mark",
    "StoredJob",
    "all_jobs",
    "change_mark",
    "definition_histories",
    "definition_history",
    "disable_job",
    "enable_job",
    "get_job",
    "high_waters",
    "job_names",
    "lock_marks",
    "put_job",
    "put_jobs",
    "read_changed",
    "record_outcome",
    "remove_job",
    "reset_failures",
    "set_high_water",
]

_JOB = table("job")
_CHANGE = table("job_change")
_RUN = table("run")
_LEDGER = table("ledger")
# Made once: putting a query together costs more than SQLite needs to answer it.
_WHOLE_JOBS = select(
    *(column for column in _JOB.c if column.name != "definition_id"), DEFINITION.c.body.label("definition")
).join(DEFINITION, DEFINITION.c.id == _JOB.c.definition_id)

_ENABLED: dict[str, Any] = {"disabled_at": None, "disabled_by": None, "disabled_reason": None}
_SHARED = ("revision", "definition_id", "anchored_at")
"""What a row of the history has of the job's own row."""
_RECORD_OUTCOME = (
    update(_JOB)
    .where(_JOB.c.name == bindparam("job"))
    .values(
        failure_streak=bindparam("streak"),
        last_success=case(
            (
                or_(_JOB.c.last_success.is_(None), _JOB.c.last_success < bindparam("slot", type_=UtcDateTime())),
                bindparam("slot", type_=UtcDateTime()),
            ),
            else_=_JOB.c.last_success,
        ),
    )
)

Change = Literal["put", "removed", "disabled", "enabled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What decides whether a slot of a job may be stored: its definition's revision, and up to when all is settled."""

    revision: int
    settled_until: datetime
    disabled: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """The jobs that changed up to ``mark``, as they are now; of ``names`` (None: of all) the others are gone."""

    mark: str
    names: frozenset[str] | None
    jobs: tuple[StoredJob, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobChange:
    """What happened to a job at ``valid_from``; what it was from then on (or had been, if ``removed``).

    From these rows alone one can tell which slots were owed: none between ``disabled`` and ``enabled``, none between
    ``removed`` and ``put``, none at or before ``anchored_at``. A ``put`` of a disabled job leaves it disabled.
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
    and counts from ``now`` (or from the newest slot that fired, if a clock was ahead): earlier slots are no longer
    owed. ``same_schedule`` says that nothing in the new definition bears on when it fires, and keeps what was owed.

    A job that was removed comes back with the state that was kept for its name, by the same rules. It always counts
    from ``now``: slots of the time when it was gone are not owed.
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
    if found is None:
        _insert_jobs(session, origin, {name: definition}, now)
        return True
    number = keep(session, {mark: definition})[mark]
    new: dict[str, Any] = {"origin": origin, "definition_id": number, "updated_at": now, "failure_streak": 0}
    new["revision"] = _last_revision(session, name) + 1
    lifted = found.disabled_by == "daemon"
    if not same_schedule or lifted:
        new["anchored_at"] = _anchor(found.high_water, now)
    if lifted:
        new |= _ENABLED
    _update(session, name, **new)
    set_parents(session, {name: _after(definition)})
    _record(session, name, "put", now)
    if lifted:
        _record(session, name, "enabled", now)
    return True


def put_jobs(
    session: Session,
    *,
    origin: str,
    definitions: Mapping[str, Mapping[str, Any]],
    now: datetime,
    same_schedule: Collection[str] = (),
) -> set[str]:
    """Put many jobs, given by name, as :func:`put_job` does each, and return the names of those that changed.

    New ones, of which there may be thousands, take a few statements for every 500.
    """
    lock_names(session, definitions)
    changed: set[str] = set()
    for names in chunks(definitions):
        known = set(session.execute(select(_JOB.c.name).where(_JOB.c.name.in_(names))).scalars())
        new = {name: definitions[name] for name in names if name not in known}
        _insert_jobs(session, origin, new, now)
        changed |= new.keys()
        for name in names:
            if name in known and put_job(
                session,
                name=name,
                origin=origin,
                definition=definitions[name],
                now=now,
                same_schedule=name in same_schedule,
            ):
                changed.add(name)
    return changed


def _insert_jobs(session: Session, origin: str, new: Mapping[str, Mapping[str, Any]], now: datetime) -> None:
    """Insert jobs that are not there, at most a chunk of them, and note it in their history.

    Those that were there before have the state back that was kept of them.
    """
    if not new:
        return
    kept = removed.take(session, new)
    digests = {name: digest(definition) for name, definition in new.items()}
    numbers = keep(session, {digests[name]: definition for name, definition in new.items()})
    query = select(_CHANGE.c.job, func.max(_CHANGE.c.revision)).where(_CHANGE.c.job.in_(list(new)))
    last = {row[0]: row[1] for row in session.execute(query.group_by(_CHANGE.c.job))}
    rows = [
        {
            "name": name,
            "origin": origin,
            "definition_id": numbers[digests[name]],
            "revision": last.get(name, 0) + 1,
            "created_at": now,
            "updated_at": now,
            "anchored_at": _anchor(kept[name].high_water if name in kept else None, now),
            **_state(kept.get(name), edited=name in kept and digest(kept[name].definition) != digests[name]),
        }
        for name in new
    ]
    session.execute(insert(_JOB), rows)
    set_parents(session, {name: parents for name, definition in new.items() if (parents := _after(definition))})
    history = [
        {"job": row["name"], "change": change, "valid_from": now, **{key: row[key] for key in _SHARED}}
        for row in rows
        for change in (["put"] if row["disabled_at"] is None else ["put", "disabled"])
    ]
    session.execute(insert(_CHANGE), history)


def _state(kept: removed.RemovedJob | None, *, edited: bool) -> dict[str, Any]:
    """Return the state that a job begins with, or comes back with: an edit lifts what the daemon disabled."""
    if kept is None:
        return {"high_water": None, "last_success": None, "failure_streak": 0, **_ENABLED}
    state = {name: getattr(kept, name) for name in ("high_water", "last_success", "failure_streak", *_ENABLED)}
    if edited:
        state["failure_streak"] = 0
        state |= _ENABLED if kept.disabled_by == "daemon" else {}
    return state


def remove_job(session: Session, name: str, *, now: datetime, reason: str = "the job was removed") -> bool:
    """Delete the job; its history and runs stay, and its state is kept for its name. Returns whether there was one.

    A run that runs, or has a ledger, goes on to its end by its own definition: stopped halfway, what it sent would be
    sent again by the job that comes back. The other waiting runs end for ``reason``: skipped if they never started,
    canceled if they did.
    """
    lock_names(session, [name])
    if get_job(session, name) is None:
        return False
    _record(session, name, "removed", now)
    removed.keep(session, name, now=now)
    session.execute(delete(_JOB).where(_JOB.c.name == name))
    set_parents(session, {name: ()})
    _skip_waiting(session, name, _RUN.c.id.is_not(None), reason=reason, now=now)
    has_ledger = exists().where(_LEDGER.c.run_id == _RUN.c.id).correlate(_RUN)
    idle = update(_RUN).where(_RUN.c.job == name, _RUN.c.state == WAITING, ~has_ledger)
    session.execute(idle.values(state="finished", outcome="canceled", reason=reason, finished_at=now))
    return True


def get_job(session: Session, name: str) -> StoredJob | None:
    """Return the job of that name, if there is one."""
    row = session.execute(_jobs().where(_JOB.c.name == name)).mappings().one_or_none()
    return None if row is None else StoredJob(**row)


def all_jobs(session: Session) -> list[StoredJob]:
    """Return every job, ordered by name."""
    jobs = [StoredJob(**row) for row in session.execute(_jobs()).mappings()]
    return sorted(jobs, key=lambda job: job.name)


def job_names(session: Session) -> set[str]:
    """Return the names of all jobs."""
    return set(session.execute(select(_JOB.c.name)).scalars())


def count_jobs(session: Session) -> tuple[int, int]:
    """Return how many jobs there are, and how many of them are disabled."""
    total, disabled = session.execute(select(func.count(), func.count(_JOB.c.disabled_at)).select_from(_JOB)).one()
    return total, disabled


def held_back_jobs(session: Session, after: datetime) -> list[StoredJob]:
    """Return, by name, the jobs that the daemon disabled, and those that fired for a slot later than ``after``."""
    where = or_(_JOB.c.disabled_by == "daemon", _JOB.c.high_water > after)
    jobs = [StoredJob(**row) for row in session.execute(_jobs().where(where)).mappings()]
    return sorted(jobs, key=lambda job: job.name)


def definition_history(session: Session, name: str) -> list[JobChange]:
    """Return what ever happened to the job of that name, removed or not, oldest first."""
    return [JobChange(**row) for row in session.execute(_changes().where(_CHANGE.c.job == name)).mappings()]


def definition_histories(session: Session) -> dict[str, list[JobChange]]:
    """Return, by name, what ever happened to every job that there is or was, oldest first."""
    histories: dict[str, list[JobChange]] = {}
    for row in session.execute(_changes()).mappings():
        histories.setdefault(row["job"], []).append(JobChange(**row))
    return histories


def high_waters(session: Session) -> dict[str, datetime | None]:
    """Return the high-water mark of every job that there is; None where no slot came yet."""
    return {row.name: row.high_water for row in session.execute(select(_JOB.c.name, _JOB.c.high_water))}


def change_mark(session: Session) -> str:
    """Return a mark that differs whenever a job was put, removed, disabled or enabled since; state does not count.

    It counts changes too, because PostgreSQL's numbers may become visible in another order than they were given.
    """
    number, newest = session.execute(select(func.count(), func.max(_CHANGE.c.id)).select_from(_CHANGE)).one()
    return f"{number}-{newest or 0}"


def read_changed(session: Session, since: str) -> Changed | None:
    """Return what was put, removed, disabled or enabled since that mark; None if nothing was.

    With an empty mark, or where a part of the history is gone or comes late, that is every job there is.
    """
    mark = change_mark(session)
    if mark == since:
        return None
    before, newest = map(int, (since or "0-0").split("-"))
    later = list(session.execute(select(_CHANGE.c.job).where(_CHANGE.c.id > newest)).scalars())
    if not since or before + len(later) != int(mark.partition("-")[0]):
        return Changed(mark=mark, names=None, jobs=tuple(all_jobs(session)))
    found: list[StoredJob] = []
    for chunk in chunks(sorted(set(later))):
        found += [StoredJob(**row) for row in session.execute(_jobs().where(_JOB.c.name.in_(chunk))).mappings()]
    return Changed(mark=mark, names=frozenset(later), jobs=tuple(found))


def disable_job(session: Session, name: str, *, by: Literal["person", "daemon"], reason: str, now: datetime) -> bool:
    """Stop the job's schedule. Returns whether that changed anything; what a person disabled, the daemon leaves.

    Slots that wait and never started are settled as skipped: enabled weeks later, the job would run them then. What
    has started goes on to its end, its retries included.
    """
    lock_names(session, [name])
    reasons: list[ColumnElement[bool]] = [_JOB.c.disabled_at.is_(None)]
    if by == "person":
        reasons.append(_JOB.c.disabled_by == "daemon")
    changed = _update(session, name, or_(*reasons), disabled_at=now, disabled_by=by, disabled_reason=reason)
    if changed:
        _record(session, name, "disabled", now)
        reason = "the job was disabled before this slot could start"
        _skip_waiting(session, name, _RUN.c.kind == "schedule", reason=reason, now=now)
    return changed


def reset_failures(session: Session, name: str, *, now: datetime) -> bool:
    """Set the job's streak to 0, and enable it from ``now`` on if the daemon had disabled it; returns whether it had.

    What a person disabled stays disabled.
    """
    found = get_job(session, name)
    if found is not None and found.disabled_by == "daemon":
        return enable_job(session, name, now=now)
    _update(session, name, failure_streak=0)
    return False


def enable_job(session: Session, name: str, *, now: datetime) -> bool:
    """Let the job's schedule go on from ``now`` with a streak of 0. Returns whether it had been disabled."""
    lock_names(session, [name])
    found = get_job(session, name)
    if found is None or found.disabled_at is None:
        return False
    _update(session, name, failure_streak=0, anchored_at=_anchor(found.high_water, now), **_ENABLED)
    _record(session, name, "enabled", now)
    return True


def lock_marks(session: Session, names: Collection[str]) -> dict[str, Mark]:
    """Return what each of these jobs is at this moment; in a write it then stays so until the transaction ends."""
    columns = [_JOB.c.name, _JOB.c.revision, _JOB.c.high_water, _JOB.c.anchored_at, _JOB.c.disabled_at]
    marks: dict[str, Mark] = {}
    for chunk in chunks(sorted(names)):  # all in one order, or two daemons could wait for each other
        query = select(*columns).where(_JOB.c.name.in_(chunk)).order_by(_JOB.c.name).with_for_update()
        for name, revision, high_water, anchored_at, disabled_at in session.execute(query):
            settled = max(filter(None, (high_water, anchored_at)))
            marks[name] = Mark(revision=revision, settled_until=settled, disabled=disabled_at is not None)
    return marks


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
    values = {"job": name, "streak": streak, "slot": last_success}  # no slot is later than none: the mark stays
    session.connection().execute(_RECORD_OUTCOME, values)


def _after(definition: Mapping[str, Any]) -> Sequence[str]:
    """Return which jobs this one runs after: one of the two things that this package reads in a definition."""
    return list(definition.get("after") or ())


def _anchor(high_water: datetime | None, now: datetime) -> datetime:
    """Return from when on a changed job counts: slots up to its high-water mark never fire, whatever the clock says."""
    return now if high_water is None else max(utc(now), high_water)


def _skip_waiting(session: Session, name: str, which: ColumnElement[bool], *, reason: str, now: datetime) -> None:
    """Settle as skipped those runs of a job that wait and never started."""
    skipped = {"state": "finished", "outcome": "skipped", "reason": reason, "skipped": 1, "finished_at": now}
    waiting = update(_RUN).where(_RUN.c.job == name, _RUN.c.state == WAITING, _RUN.c.started_at.is_(None), which)
    session.execute(waiting.values(skipped))


def _jobs() -> Select[Any]:
    return _WHOLE_JOBS


def _changes() -> Select[Any]:
    columns = [_CHANGE.c[name] for name in ("job", "revision", "change", "valid_from", "anchored_at")]
    query = select(*columns, DEFINITION.c.body.label("definition"))
    return query.join(DEFINITION, DEFINITION.c.id == _CHANGE.c.definition_id).order_by(_CHANGE.c.id)


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
