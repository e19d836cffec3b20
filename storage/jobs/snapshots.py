"""What targets are known to hold of change-only jobs' rows: which file says so, and what a person decided about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import Any

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from storage import key_values
from storage.engine.dialect_sql import insert_into
from storage.models import table

_SNAPSHOT = table("snapshot")
_JOB = table("job")
_REMOVED = table("removed_job")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSnapshot:
    """A job's snapshot. Each change of it counts ``revision`` up by one, from 1.

    ``file`` is the absolute path, or None while nothing was ever accepted. ``decision`` is ``sent`` or ``unsent``.
    """

    job: str
    revision: int
    file: str | None
    scope: str
    rows: int
    doubtful: int
    decision: str | None
    resend: bool
    run_id: int | None
    lost_run_id: int | None
    updated_at: datetime


_MARK = "snapshots_mark"


def mark(session: Session) -> str:
    """Return what the names of this database's snapshot files begin with, made at the first time; needs a write."""
    found = key_values.get(session, _MARK)
    if found is None:
        found = f"schedctl-{token_hex(4)}"
        key_values.put(session, _MARK, found)
    return found


def known_mark(session: Session) -> str | None:
    """Return the same, or None before the first snapshot."""
    return key_values.get(session, _MARK)


def get(session: Session, job: str) -> StoredSnapshot | None:
    """Return a job's snapshot, if it ever had one."""
    row = session.execute(select(_SNAPSHOT).where(_SNAPSHOT.c.job == job)).mappings().one_or_none()
    return StoredSnapshot(**row) if row is not None else None


def put(session: Session, job: str, values: Mapping[str, Any], *, before: int, now: datetime) -> bool:
    """Change a job's snapshot if it is still of revision ``before`` (0: it has none); False if it is not.

    ``values`` are the columns to set; a new row needs ``scope`` at least.
    """
    if before:
        changed = update(_SNAPSHOT).where(_SNAPSHOT.c.job == job, _SNAPSHOT.c.revision == before)
        changed = changed.values(**values, revision=before + 1, updated_at=now)
        return session.execute(changed.returning(_SNAPSHOT.c.job)).one_or_none() is not None
    new = insert_into(session, _SNAPSHOT).values(job=job, revision=1, updated_at=now, **values)
    new = new.on_conflict_do_nothing(index_elements=["job"])
    return session.execute(new.returning(_SNAPSHOT.c.job)).one_or_none() is not None


def files(session: Session) -> set[str]:
    """Return the files of all snapshots."""
    return {file for file in session.execute(select(_SNAPSHOT.c.file)).scalars() if file is not None}


def prune(session: Session, *, before: datetime) -> list[str]:
    """Forget the snapshots of jobs of which no state is left, unchanged since ``before``; return the jobs' names."""
    gone = [~exists().where(each.c.name == _SNAPSHOT.c.job).correlate(_SNAPSHOT) for each in (_JOB, _REMOVED)]
    forgotten = delete(_SNAPSHOT).where(*gone, _SNAPSHOT.c.updated_at < before).returning(_SNAPSHOT.c.job)
    return list(session.execute(forgotten).scalars())


def forget(session: Session, job: str) -> bool:
    """Forget a job's snapshot; its file goes with the next sweep. Returns whether there was one."""
    forgotten = delete(_SNAPSHOT).where(_SNAPSHOT.c.job == job).returning(_SNAPSHOT.c.job)
    return session.execute(forgotten).one_or_none() is not None
