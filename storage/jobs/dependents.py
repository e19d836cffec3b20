"""Which job runs after which, and for which slots a job has succeeded: what decides whether a follower may run."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, insert, or_, select
from sqlalchemy.orm import Session

from storage.engine.dialect_sql import chunks
from storage.models import table
from storage.runs.records import RUN

_PARENT = table("job_parent")
_OTHER = RUN.alias("other")
_SLOTS = ("schedule", "backfill")
"""Kinds of runs that stand for a slot. One by hand stands for the second in which it was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Success:
    """That a run of ``job`` for the slot ``scheduled_time`` ended well at ``finished_at``; both UTC."""

    job: str
    scheduled_time: datetime
    finished_at: datetime


def set_parents(session: Session, parents: Mapping[str, Collection[str]]) -> None:
    """Replace what each of these jobs runs after; an empty collection: after none."""
    for chunk in chunks(parents):
        session.execute(delete(_PARENT).where(_PARENT.c.job.in_(chunk)))
    rows = [{"job": job, "parent": parent} for job, named in parents.items() for parent in named]
    if rows:
        session.execute(insert(_PARENT), rows)


def followers_of(session: Session, parent: str) -> list[str]:
    """Return, in order, the names of the jobs that run after this one."""
    query = select(_PARENT.c.job).where(_PARENT.c.parent == parent).order_by(_PARENT.c.job)
    return list(session.execute(query).scalars())


def parents_of(session: Session, names: Collection[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Return, by name, what these jobs (None: all) run after; those that run after none are left out."""
    query = select(_PARENT.c.job, _PARENT.c.parent).order_by(_PARENT.c.job, _PARENT.c.parent)
    queries = [query] if names is None else [query.where(_PARENT.c.job.in_(chunk)) for chunk in chunks(names)]
    found: dict[str, tuple[str, ...]] = {}
    for each in queries:
        for job, parent in session.execute(each):
            found[job] = (*found.get(job, ()), parent)
    return found


def succeeded(session: Session, names: Collection[str], slot: datetime) -> set[str]:
    """Return which of these jobs have a run for that slot that succeeded, of a kind that :func:`successes` counts."""
    found: set[str] = set()
    for chunk in chunks(sorted(names)):
        query = select(RUN.c.job).where(RUN.c.job.in_(chunk), RUN.c.scheduled_time == slot, _counts())
        found |= set(session.execute(query).scalars())
    return found


def successes(session: Session, names: Collection[str], *, since: datetime | None = None) -> Iterator[Success]:
    """Yield the runs of these jobs that succeeded for a slot at or after ``since``.

    They are scheduled runs, backfills, and retries of either: not runs by hand, nor the retries of those.
    """
    columns = [RUN.c[name] for name in Success.__dataclass_fields__]
    for chunk in chunks(sorted(names)):
        query = select(*columns).where(RUN.c.job.in_(chunk), _counts())
        if since is not None:
            query = query.where(RUN.c.scheduled_time >= since)
        for row in session.execute(query):
            yield Success(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _counts() -> ColumnElement[bool]:
    here = [_OTHER.c.job == RUN.c.job, _OTHER.c.scheduled_time == RUN.c.scheduled_time]
    of_a_slot = exists().where(*here, _OTHER.c.kind.in_(_SLOTS)).correlate(RUN)
    by_hand = exists().where(*here, _OTHER.c.kind == "manual").correlate(RUN)
    repeats_a_slot = and_(RUN.c.kind == "retry", or_(of_a_slot, ~by_hand))  # what it repeats may be pruned
    return and_(RUN.c.outcome == "succeeded", or_(RUN.c.kind.in_(_SLOTS), repeats_a_slot))
