"""The ledger of a run: what it did outside, written before and after, together with the rows rejected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from storage.models import table
from storage.runs.claims import check_token
from storage.runs.rejections import RejectedValues, add

_LEDGER, _RUN, _REJECTED = table("ledger"), table("run"), table("rejected_row")


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRow:
    """One entry: which step, on which side of it, on which batch if any, what must be known later, and when."""

    step: str
    mark: str
    at: datetime
    batch: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def entries(session: Session, run_id: int) -> list[LedgerRow]:
    """Return every entry of the run, over all of its attempts, oldest first."""
    columns = [column for column in _LEDGER.c if column.name not in ("id", "run_id")]
    query = select(*columns).where(_LEDGER.c.run_id == run_id).order_by(_LEDGER.c.id)
    return [LedgerRow(**row) for row in session.execute(query).mappings()]


def append(
    session: Session, run_id: int, token: str, row: LedgerRow, *, rejected: Sequence[RejectedValues] = ()
) -> None:
    """Add an entry and the rejected rows that belong to it, if the claim still stands (else ClaimLost)."""
    check_token(session, run_id, token)
    entry = {"step": row.step, "mark": row.mark, "batch": row.batch, "data": dict(row.data), "at": row.at}
    session.execute(insert(_LEDGER).values(run_id=run_id, **entry))
    add(session, run_id, rejected)


def begin(session: Session, run_id: int, token: str, row: LedgerRow, *, spool_place: str | None) -> None:
    """Add the first entry, which names the run's spool, and keep on the run where that is; ClaimLost."""
    append(session, run_id, token, row)
    session.execute(update(_RUN).where(_RUN.c.id == run_id).values(spool_place=spool_place))


def forget(session: Session, run_id: int, token: str) -> None:
    """Forget every entry and rejected row of a run that has done nothing outside yet, to begin it anew; ClaimLost."""
    check_token(session, run_id, token)
    for hanging in (_LEDGER, _REJECTED):
        session.execute(delete(hanging).where(hanging.c.run_id == run_id))
    session.execute(update(_RUN).where(_RUN.c.id == run_id).values(spool_place=None))
