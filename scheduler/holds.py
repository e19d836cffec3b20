"""A connection whose quota is used up: no run of it is started until the quota may be there again."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from storage import settings
from storage.database import Session
from storage.statements import lock_names

SHORTEST, LONGEST = timedelta(minutes=5), timedelta(hours=1)
"""The first pause; it doubles with each quota error after it, up to the longest."""
_PREFIX = "hold:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Why runs of a connection are held, since when and until when; UTC.

    Once it is over, one run at a time tries how things are, until one succeeds.
    """

    connection: str
    code: str
    message: str
    since: datetime
    until: datetime

    def is_in_force(self, now: datetime) -> bool:
        """Whether nothing may be started yet; not by a clock that was set back to before it began."""
        return self.since <= now < self.until


def next_hold(before: Hold | None, connection: str, code: str, message: str, now: datetime) -> Hold:
    """Return the hold after a quota error. Pure. Errors of runs that were under way when it began do not extend it."""
    if before is not None and before.is_in_force(now):
        return before
    pause = SHORTEST if before is None else min(2 * (before.until - before.since), LONGEST)
    return Hold(connection=connection, code=code, message=message, since=now, until=now + pause)


def holds(session: Session) -> dict[str, Hold]:
    """Return what is held, by the connection's name; also where the time is over but no run has succeeded since."""
    found = settings.beginning_with(session, _PREFIX)
    return {key.removeprefix(_PREFIX): _read(value) for key, value in found.items() if value}


def hold(session: Session, connection: str, *, code: str, message: str, now: datetime) -> Hold:
    """Note a quota error of a connection, and return the hold that follows."""
    lock_names(session, [_PREFIX + connection])  # or two runs that fail at once would make the pause longer twice
    before = holds(session).get(connection)
    after = next_hold(before, connection, code, message, now)
    if after != before:
        values = {
            key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(after).items()
        }
        settings.put(session, _PREFIX + connection, json.dumps(values))
    return after


def lift(session: Session, connection: str) -> bool:
    """Note that a connection has answered, and return whether it had been held."""
    if settings.get(session, _PREFIX + connection):
        settings.put(session, _PREFIX + connection, "")
        return True
    return False


def _read(value: str) -> Hold:
    values = json.loads(value)
    times = {key: datetime.fromisoformat(values[key]) for key in ("since", "until")}
    return Hold(**{**values, **times})
