"""What is kept of a removed job: its state, for the job of that name that comes back."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from storage.definitions import DEFINITION
from storage.engine.column_types import UtcDateTime
from storage.engine.dialect_sql import chunks
from storage.models import table

_JOB = table("job")
_REMOVED = table("removed_job")
_KEPT = [column for column in _REMOVED.c if column.name != "removed_at"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemovedJob:
    """A job that is gone, as it was when it was removed at ``removed_at``; the rest as in a ``StoredJob``."""

    name: str
    origin: str
    definition: dict[str, Any]
    high_water: datetime | None
    disabled_at: datetime | None
    disabled_by: str | None
    disabled_reason: str | None
    failure_streak: int
    last_success: datetime | None
    removed_at: datetime


def keep(session: Session, name: str, *, now: datetime) -> None:
    """Keep the state of a job that is about to be removed."""
    state = select(*(_JOB.c[column.name] for column in _KEPT), literal(now, UtcDateTime())).where(_JOB.c.name == name)
    session.execute(insert(_REMOVED).from_select([*_KEPT, _REMOVED.c.removed_at], state))


def take(session: Session, names: Collection[str]) -> dict[str, RemovedJob]:
    """Return, by name, what is kept of these jobs, and keep it no longer: they come back."""
    found: dict[str, RemovedJob] = {}
    for chunk in chunks(names):
        found |= {each.name: each for each in _read(session, _removed().where(_REMOVED.c.name.in_(chunk)))}
    for chunk in chunks(found):
        session.execute(delete(_REMOVED).where(_REMOVED.c.name.in_(chunk)))
    return found


def get(session: Session, name: str) -> RemovedJob | None:
    """Return what is kept of a removed job, if anything is."""
    return next(iter(_read(session, _removed().where(_REMOVED.c.name == name))), None)


def removed_jobs(session: Session) -> list[RemovedJob]:
    """Return all that is kept, by name."""
    return sorted(_read(session, _removed()), key=lambda job: job.name)


def forget(session: Session, name: str) -> bool:
    """Throw away what is kept of a removed job. Returns whether anything was."""
    gone = delete(_REMOVED).where(_REMOVED.c.name == name).returning(_REMOVED.c.name)
    return session.execute(gone).one_or_none() is not None


def record_outcome(session: Session, name: str, *, streak: int, last_success: datetime | None) -> None:
    """Note how a run ended whose job was removed meanwhile, as ``storage.jobs.jobs.record_outcome`` does for others."""
    of_job = update(_REMOVED).where(_REMOVED.c.name == name)
    session.execute(of_job.values(failure_streak=streak))
    if last_success is not None:
        older = or_(_REMOVED.c.last_success.is_(None), _REMOVED.c.last_success < last_success)
        session.execute(of_job.where(older).values(last_success=last_success))


def reset_failures(session: Session, name: str) -> None:
    """Set the failures of a removed job to 0, and let it come back enabled if the daemon had disabled it."""
    off = {"disabled_at": None, "disabled_by": None, "disabled_reason": None}
    of_job = update(_REMOVED).where(_REMOVED.c.name == name)
    session.execute(of_job.values(failure_streak=0))
    session.execute(of_job.where(_REMOVED.c.disabled_by == "daemon").values(off))


def count(session: Session) -> int:
    """Return of how many removed jobs the state is kept."""
    return session.execute(select(func.count()).select_from(_REMOVED)).scalar_one()


def _removed() -> Select[Any]:
    columns = [_REMOVED.c[name] for name in RemovedJob.__dataclass_fields__ if name != "definition"]
    return select(*columns, DEFINITION.c.body.label("definition")).join(
        DEFINITION, DEFINITION.c.id == _REMOVED.c.definition_id
    )


def _read(session: Session, query: Select[Any]) -> list[RemovedJob]:
    return [RemovedJob(**row) for row in session.execute(query).mappings()]
