"""The rows that a target refused, each with its values and the reason."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.engine.dialect_sql import insert_into
from storage.models import table

_REJECTED = table("rejected_row")
READ_BYTES = 4_000_000
"""About how many characters of values are read at once: rows of a Salesforce record may have 400,000 each."""
_FETCHED_ROWS = 20
"""How many of them the database's driver holds at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedValues:
    """A rejected row: its number in the run's result (from 1), the values as they were sent, and why."""

    number: int
    values: Mapping[str, Any]
    code: str
    message: str


def add(session: Session, run_id: int, rows: Sequence[RejectedValues]) -> None:
    """Store rejected rows; a row of the same number is replaced, so that a repeated step counts none twice."""
    if not rows:
        return
    statement = insert_into(session, _REJECTED)
    changed = {key: statement.excluded[key] for key in ("row_values", "code", "message")}
    statement = statement.on_conflict_do_update(index_elements=["run_id", "number"], set_=changed)
    session.execute(
        statement,
        [
            {
                "run_id": run_id,
                "number": row.number,
                "row_values": dict(row.values),
                "code": row.code,
                "message": row.message,
            }
            for row in rows
        ],
    )


def read(
    session: Session, run_id: int, *, after: int = 0, limit: int = 1000, size: int = READ_BYTES
) -> list[RejectedValues]:
    """Return up to ``limit`` rejected rows of the run with numbers above ``after``, in order of number.

    They are fewer where their values have more than about ``size`` characters together, but at least one while there
    is one.
    """
    query = (
        select(_REJECTED.c.number, _REJECTED.c.row_values, _REJECTED.c.code, _REJECTED.c.message)
        .where(_REJECTED.c.run_id == run_id, _REJECTED.c.number > after)
        .order_by(_REJECTED.c.number)
        .limit(limit)
    )
    found: list[RejectedValues] = []
    with session.execute(query.execution_options(yield_per=_FETCHED_ROWS)) as rows:
        for number, values, code, message in rows:
            found.append(RejectedValues(number=number, values=values, code=code, message=message))
            size -= sum(len(str(value)) for value in values.values())
            if size <= 0:
                break
    return found


def count(session: Session, run_id: int, *, codes: Collection[str] | None = None) -> int:
    """Return how many rows of the run were refused, or were for one of these ``codes``."""
    query = select(func.count()).select_from(_REJECTED).where(_REJECTED.c.run_id == run_id)
    if codes is not None:
        query = query.where(_REJECTED.c.code.in_(sorted(codes)))
    return session.execute(query).scalar_one()
