"""Connections whose quota is used up, in the settings: no run of one is started until the quota may be there again."""

from datetime import datetime

from scheduler.outcomes.quota_hold import HOLD, Hold, holds_among, next_hold, written
from storage import key_values
from storage.database import Session
from storage.engine.dialect_sql import lock_names


def holds(session: Session) -> dict[str, Hold]:
    """Return what is held, by the connection's name; also where the time is over but no run has succeeded since."""
    return holds_among(key_values.beginning_with(session, HOLD))


def hold(session: Session, connection: str, *, code: str, message: str, now: datetime) -> Hold:
    """Note a quota error of a connection, and return the hold that follows."""
    lock_names(session, [HOLD + connection])  # or two runs that fail at once would make the pause longer twice
    before = holds(session).get(connection)
    after = next_hold(before, connection, code, message, now)
    if after != before:
        key_values.put(session, HOLD + connection, written(after))
    return after


def lift(session: Session, connection: str) -> bool:
    """Note that a connection has answered, and return whether it had been held."""
    if key_values.get(session, HOLD + connection):
        key_values.put(session, HOLD + connection, "")
        return True
    return False
