"""A connection whose quota is used up, as a value: how long no run of it is started. Pure, and light to import."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

SHORTEST, LONGEST = timedelta(minutes=5), timedelta(hours=1)
"""The first pause; it doubles with each quota error after it, up to the longest."""
HOLD = "hold:"
"""What the keys of the settings that keep holds begin with; the connection's name follows."""


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


def written(hold: Hold) -> str:
    """Return a hold as its setting keeps it."""
    values = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(hold).items()}
    return json.dumps(values)


def holds_among(settings: Mapping[str, str]) -> dict[str, Hold]:
    """Return the holds of those settings whose keys begin with HOLD, by the connection's name; empty ones are over."""
    return {key.removeprefix(HOLD): _read(value) for key, value in settings.items() if value}


def _read(value: str) -> Hold:
    values = json.loads(value)
    times = {key: datetime.fromisoformat(values[key]) for key in ("since", "until")}
    return Hold(**{**values, **times})
