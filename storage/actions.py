"""Who did what to jobs and runs: written in the transaction that does it, pruned with the rest of the history."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from storage.engine.dialect_sql import chunks
from storage.models import table
from storage.values import Actor, StoredAction

_ACTION = table("action")


def record(
    session: Session,
    by: Actor,
    change: str,
    *,
    now: datetime,
    jobs: Iterable[str | None] = (None,),
    run_id: int | None = None,
) -> None:
    """Note that somebody did something to each of these jobs (None: to the whole), or to a run."""
    rows: list[dict[str, Any]] = [
        {
            "at": now,
            "actor": by.user,
            "sudo_user": by.sudo_user,
            "host": by.host,
            "command": by.command,
            "change": change,
            "job": job,
            "run_id": run_id,
        }
        for job in jobs
    ]
    for some in chunks(rows):
        session.execute(insert(_ACTION), some)


def of_job(session: Session, job: str, *, limit: int) -> list[StoredAction]:
    """Return the newest actions on a job and its runs, newest first."""
    return _read(session, _ACTION.c.job == job, limit)


def of_run(session: Session, run_id: int, *, limit: int) -> list[StoredAction]:
    """Return the newest actions on a run, newest first."""
    return _read(session, _ACTION.c.run_id == run_id, limit)


def prune(session: Session, *, before: datetime, limit: int) -> int:
    """Delete actions from before then, at most ``limit`` of them, and return how many."""
    old = list(session.execute(select(_ACTION.c.id).where(_ACTION.c.at < before).limit(limit)).scalars())
    for some in chunks(old):
        session.execute(delete(_ACTION).where(_ACTION.c.id.in_(some)))
    return len(old)


def _read(session: Session, where: Any, limit: int) -> list[StoredAction]:  # noqa: ANN401 - a comparison of columns
    query = select(_ACTION).where(where).order_by(_ACTION.c.id.desc()).limit(limit)
    return [
        StoredAction(
            id=row["id"],
            at=row["at"],
            by=Actor(user=row["actor"], sudo_user=row["sudo_user"], host=row["host"], command=row["command"]),
            change=row["change"],
            job=row["job"],
            run_id=row["run_id"],
        )
        for row in session.execute(query).mappings()
    ]
