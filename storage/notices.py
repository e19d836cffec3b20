"""The outbox: things to tell a person, written in the transaction that made them true, open until sent or dropped.

Several daemons may look into one outbox: each claims what it is about to send, and only the claimer writes what became
of it. A claim runs out, so that what a killed daemon had in hand is sent by the next.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, RowMapping, case, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from storage.engine.column_types import utc
from storage.engine.dialect_sql import chunks
from storage.models import table
from storage.values import Outbox

__all__ = [
    "Ending",
    "Outbox",
    "StoredNotice",
    "Traffic",
    "add",
    "claim",
    "close",
    "mark_sent",
    "outbox",
    "postpone",
    "prune",
    "release_lost",
    "renew",
    "traffic",
]

_NOTICE = table("notice")
_NODE = table("node")
_OPEN = _NOTICE.c.closed_at.is_(None)
_UNCLAIMED = {"owner": None, "claimed_until": None}

Ending = Literal["sent", "partly", "given_up", "nobody"]
"""How a notice left the outbox: told to all, to some, to none in the end, or there was nobody to tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredNotice:
    """A notice that is still to be told; about a job and a run, or about neither.

    ``attempt`` counts the tries so far; ``sent_to`` are the addresses, by their labels, that have it already.
    ``recipients`` are the mail addresses that it is for; empty: it is for everybody who is reported of things.
    """

    id: int
    job: str | None
    run_id: int | None
    kind: str
    subject: str
    body: str
    created_at: datetime
    attempt: int
    sent_to: tuple[str, ...]
    recipients: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What waits and what went out: notices ``due``, messages sent ``recently``, and when the last digest was."""

    due: int
    recently: int
    last_digest: datetime | None


def add(
    session: Session,
    *,
    job: str | None,
    run_id: int | None,
    kind: str,
    subject: str,
    body: str,
    now: datetime,
    recipients: Collection[str] = (),
) -> None:
    """Put a notice into the outbox: for everybody who is reported of things, or for these recipients alone."""
    values: dict[str, Any] = {"job": job, "run_id": run_id, "kind": kind, "subject": subject, "body": body}
    values["recipients"] = list(recipients)
    session.execute(insert(_NOTICE).values({**values, "created_at": now, "due_at": now}))


def traffic(session: Session, *, now: datetime, within: timedelta) -> Traffic:
    """Look at what is due by ``now`` and at what was sent ``within`` the time before it."""
    due = session.execute(select(func.count()).select_from(_NOTICE).where(*_claimable(now))).scalar_one()
    if not due:
        return Traffic(due=0, recently=0, last_digest=None)
    since = utc(now) - within
    # A digest is one message, however many notices are in it.
    message = func.coalesce(_NOTICE.c.digest_id, _NOTICE.c.id)
    last_digest = func.max(case((_NOTICE.c.digest_id.is_not(None), _NOTICE.c.sent_at)))
    query = select(func.count(message.distinct()), last_digest).where(
        _NOTICE.c.sent_at > since, _NOTICE.c.sent_at <= now
    )
    recently, last = session.execute(query).one()
    return Traffic(due=due, recently=recently, last_digest=last)


def claim(session: Session, *, owner: str, now: datetime, lease_seconds: float, limit: int) -> list[StoredNotice]:
    """Take up to ``limit`` notices that are due and in nobody's hands, the one due longest first."""
    due = select(_NOTICE.c.id).where(*_claimable(now)).order_by(_NOTICE.c.due_at, _NOTICE.c.id).limit(limit)
    numbers = session.execute(due.with_for_update(skip_locked=True)).scalars().all()
    until = utc(now) + timedelta(seconds=lease_seconds)
    for chunk in chunks(numbers):
        session.execute(update(_NOTICE).where(_NOTICE.c.id.in_(chunk)).values(owner=owner, claimed_until=until))
    found: dict[int, StoredNotice] = {}
    columns = [_NOTICE.c[name] for name in StoredNotice.__dataclass_fields__]
    for chunk in chunks(numbers):
        rows = session.execute(select(*columns).where(_NOTICE.c.id.in_(chunk))).mappings()
        found |= {row["id"]: _stored(row) for row in rows}
    return [found[number] for number in numbers]


def mark_sent(
    session: Session, notice: StoredNotice, *, owner: str, sent_to: Collection[str], digest: int | None, now: datetime
) -> bool:
    """Note which addresses have a notice by now, and in which digest; False if it is no longer ``owner``'s."""
    values = {"sent_to": list(sent_to), "sent_at": now, "digest_id": digest}
    return _write(session, notice.id, owner, values)


def renew(
    session: Session, claimed: Collection[StoredNotice], *, owner: str, now: datetime, lease_seconds: float
) -> set[int]:
    """Extend the claims, and return the numbers of those notices that are still ``owner``'s."""
    until = utc(now) + timedelta(seconds=lease_seconds)
    ours: set[int] = set()
    for chunk in chunks(notice.id for notice in claimed):
        held = update(_NOTICE).where(_NOTICE.c.id.in_(chunk), _NOTICE.c.owner == owner, _OPEN)
        ours |= set(session.execute(held.values(claimed_until=until).returning(_NOTICE.c.id)).scalars())
    return ours


def postpone(
    session: Session, notice: StoredNotice, *, owner: str, until: datetime, attempt: int, error: str | None
) -> bool:
    """Put a notice back, to be tried again at ``until``, and keep why; False if it is no longer ``owner``'s."""
    return _write(session, notice.id, owner, {"due_at": until, "attempt": attempt, "error": error, **_UNCLAIMED})


def close(
    session: Session, notice: StoredNotice, *, owner: str, ending: Ending, error: str | None = None, now: datetime
) -> bool:
    """Take a notice out of the outbox; False if it is no longer ``owner``'s."""
    return _write(session, notice.id, owner, {"closed_at": now, "ending": ending, "error": error, **_UNCLAIMED})


def release_lost(session: Session) -> int:
    """Give back what processes hold that are gone, and return how many notices that were."""
    lost = [_OPEN, _NOTICE.c.owner.is_not(None), _NOTICE.c.owner.not_in(select(_NODE.c.id))]
    return len(session.execute(update(_NOTICE).where(*lost).values(_UNCLAIMED).returning(_NOTICE.c.id)).all())


def outbox(session: Session, *, due: datetime | None = None) -> Outbox:
    """Return how sending does; with ``due``, counting only what was to be sent by then."""
    waiting = [_OPEN] if due is None else [_OPEN, _NOTICE.c.due_at <= due]
    pending, oldest = session.execute(select(func.count(), func.min(_NOTICE.c.created_at)).where(*waiting)).one()
    told = select(_NOTICE.c.error).where(_OPEN, _NOTICE.c.error.is_not(None))
    error = session.execute(told.order_by(_NOTICE.c.due_at.desc(), _NOTICE.c.id.desc()).limit(1)).scalar()
    return Outbox(pending=pending, oldest=oldest, error=error)


def prune(session: Session, *, before: datetime, limit: int) -> int:
    """Delete up to ``limit`` notices that left the outbox before then, and return how many."""
    old = select(_NOTICE.c.id).where(_NOTICE.c.closed_at < before).order_by(_NOTICE.c.id).limit(limit)
    return len(session.execute(delete(_NOTICE).where(_NOTICE.c.id.in_(old)).returning(_NOTICE.c.id)).all())


def _stored(row: RowMapping) -> StoredNotice:
    lists = {key: tuple(row[key]) for key in ("sent_to", "recipients")}
    return StoredNotice(**{**row, **lists})


def _claimable(now: datetime) -> list[ColumnElement[bool]]:
    free = or_(_NOTICE.c.claimed_until.is_(None), _NOTICE.c.claimed_until <= now)
    return [_OPEN, _NOTICE.c.due_at <= now, free]


def _write(session: Session, number: int, owner: str, values: Mapping[str, Any]) -> bool:
    ours = update(_NOTICE).where(_NOTICE.c.id == number, _NOTICE.c.owner == owner, _OPEN)
    return session.execute(ours.values(values).returning(_NOTICE.c.id)).one_or_none() is not None
