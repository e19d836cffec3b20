"""The clock that all go by who share a state database, where a process's own would not do: leases, and who was seen."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.engine.column_types import UtcDateTime, utc
from storage.engine.dialect_sql import is_postgresql


def shared_now(session: Session, now: datetime) -> datetime:
    """Return what time it is for everybody: the PostgreSQL server's time, or ``now``, since SQLite has one machine.

    Two hosts' clocks may differ by more than a lease is long; the server has but one.
    """
    if not is_postgresql(session):
        return utc(now)
    return utc(session.execute(select(func.clock_timestamp(type_=UtcDateTime()))).scalar_one())
