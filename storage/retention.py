"""Throwing away what is old: ended runs with all that hangs on them, in small transactions that hold up nobody.

What stays: each job's newest run and the last one that did anything, whatever waits or runs (and what it repeats), and
every change of every job: with :func:`pruned_through`, an audit can tell the past thrown away from a hole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, and_, case, delete, exists, func, literal_column, or_, select
from sqlalchemy.orm import Session

from storage import key_values
from storage.engine.dialect_sql import chunks, insert_into
from storage.models import RUNNING, WAITING, table

_RUN = table("run")
_JOB = table("job")
_PRUNED = table("pruned")
_REJECTED = table("rejected_row")
_LEDGER = table("ledger")

_NEWEST = "newest_pruned_run"
"""The setting that keeps the highest number of a pruned run: all of them may be, with their jobs."""

RUNS_AT_ONCE = 200
"""Runs in one transaction."""
ROWS_AT_ONCE = 5_000
"""Rejected rows or ledger entries in one transaction: one run may have a million."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one transaction threw away, and where the next one goes on: None when nothing old is left."""

    runs: int
    rows: int
    after: int | None


def prune_runs(session: Session, *, before: datetime, after: int = 0) -> Step:
    """Delete some of the runs above number ``after`` that ended before then, or first some of their rejected rows."""
    query = (
        select(_RUN.c.id, _RUN.c.job, _RUN.c.scheduled_time, _RUN.c.kind)
        .where(_RUN.c.id > after, _RUN.c.state == "finished", _RUN.c.finished_at < before, ~_is_needed())
        .order_by(_RUN.c.id)
        .limit(RUNS_AT_ONCE)
    )
    old = session.execute(query).all()
    if not old:
        return Step(runs=0, rows=0, after=None)
    numbers = [row.id for row in old]
    for hanging, key in ((_REJECTED, _REJECTED.c.number), (_LEDGER, _LEDGER.c.id)):
        rows = _delete_some(session, hanging, key, numbers)
        if rows:
            return Step(runs=0, rows=rows, after=after)
    session.execute(delete(_RUN).where(_RUN.c.id.in_(numbers)))
    if numbers[-1] > int(key_values.get(session, _NEWEST) or 0):
        key_values.put(session, _NEWEST, str(numbers[-1]))
    through: dict[str, datetime] = {}
    for row in old:
        if row.kind != "manual":  # one by hand stands for no slot
            through[row.job] = max(row.scheduled_time, through.get(row.job, row.scheduled_time))
    _note(session, through)
    return Step(runs=len(old), rows=0, after=numbers[-1])


def pruned_through(session: Session, job: str) -> datetime | None:
    """Return the newest scheduled slot of a job that was thrown away; older ones may be there or not."""
    return session.execute(select(_PRUNED.c.through).where(_PRUNED.c.job == job)).scalar()


def newest_run(session: Session) -> int:
    """Return the highest number that any run ever had, pruned or not; 0 before the first."""
    return max(
        session.execute(select(func.max(_RUN.c.id))).scalar() or 0,
        int(key_values.get(session, _NEWEST) or 0),
    )


def run_states(session: Session, numbers: set[int]) -> dict[int, tuple[str | None, bool]]:
    """Return, for those of these runs that there are, the outcome (None: not ended) and whether they did anything."""
    did = exists().where(_LEDGER.c.run_id == _RUN.c.id).correlate(_RUN)
    found: dict[int, tuple[str | None, bool]] = {}
    for chunk in chunks(sorted(numbers)):
        query = select(_RUN.c.id, _RUN.c.outcome, case((did, 1), else_=0)).where(_RUN.c.id.in_(chunk))
        found |= {number: (outcome, bool(acted)) for number, outcome, acted in session.execute(query)}
    return found


def _is_needed() -> ColumnElement[bool]:
    newer, last, child = _RUN.alias("newer"), _RUN.alias("last"), _RUN.alias("child")
    has_job = exists().where(_JOB.c.name == _RUN.c.job).correlate(_RUN)
    is_newest = ~exists().where(newer.c.job == _RUN.c.job, newer.c.id > _RUN.c.id).correlate(_RUN)
    did_more = [
        last.c.job == _RUN.c.job,
        literal_column("last.outcome <> 'skipped'"),
        last.c.finished_at > _RUN.c.finished_at,
    ]
    is_last = and_(_RUN.c.outcome != "skipped", ~exists().where(*did_more).correlate(_RUN))
    repeated = [
        _RUN.c.id.in_(select(child.c.retry_of).where(child.c.state == state, child.c.retry_of.is_not(None)))
        for state in (WAITING, RUNNING)
    ]
    return or_(and_(has_job, or_(is_newest, is_last)), *repeated)


def _delete_some(session: Session, hanging: Table, key: Column[Any], numbers: Sequence[int]) -> int:
    """Delete up to ROWS_AT_ONCE rows that hang on these runs, and return how many."""
    query = select(hanging.c.run_id, key).where(hanging.c.run_id.in_(numbers))
    rows = session.execute(query.order_by(hanging.c.run_id, key).limit(ROWS_AT_ONCE)).all()
    last: dict[int, Any] = dict(rows)
    for number, upto in last.items():
        session.execute(delete(hanging).where(hanging.c.run_id == number, key <= upto))
    return len(rows)


def _note(session: Session, through: Mapping[str, datetime]) -> None:
    """Raise the marks of these jobs; none moves back."""
    statement = insert_into(session, _PRUNED)
    slot = statement.excluded.through
    statement = statement.on_conflict_do_update(
        index_elements=["job"], set_={"through": slot}, where=slot > _PRUNED.c.through
    )
    if through:
        session.execute(statement, [{"job": job, "through": through[job]} for job in sorted(through)])
