"""The outbox: things to tell a person, written in the transaction that made them true."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from storage.models import table

_NOTICE = table("notice")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredNotice:
    """A notice that was not sent yet; about a job and a run, or about neither."""

    id: int
    job: str | None
    run_id: int | None
    kind: str
    subject: str
    body: str
    created_at: datetime


def add(
    session: Session, *, job: str | None, run_id: int | None, kind: str, subject: str, body: str, now: datetime
) -> None:
    """Put a notice into the outbox."""
    values = {"job": job, "run_id": run_id, "kind": kind, "subject": subject, "body": body, "created_at": now}
    session.execute(insert(_NOTICE).values(values))


def pending(session: Session) -> list[StoredNotice]:
    """Return the notices that were not sent, oldest first."""
    columns = [column for column in _NOTICE.c if column.name != "sent_at"]
    query = select(*columns).where(_NOTICE.c.sent_at.is_(None)).order_by(_NOTICE.c.id)
    return [StoredNotice(**row) for row in session.execute(query).mappings()]


def mark_sent(session: Session, notice_id: int, *, now: datetime) -> bool:
    """Take a notice out of the outbox; False if it was not in it any more."""
    sent = update(_NOTICE).where(_NOTICE.c.id == notice_id, _NOTICE.c.sent_at.is_(None)).values(sent_at=now)
    return session.execute(sent.returning(_NOTICE.c.id)).one_or_none() is not None
