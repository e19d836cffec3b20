"""When a schedule begins and ends: ``starts_at`` and ``ends_on`` as written, and as instants of a zone. Pure.

They are an activation's start and end dates; the start is a date and time of day of its zone, the end the last day.
Source: Treasure Data's documentation of scheduling an activation, and the fields startAt and endOn of its API.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from scheduler.schedules.timezones import zone

_FORMS = "2026-12-01, 2026-12-01T09:00, or with an offset 2026-12-01T09:00:00+01:00"
FIRST_YEAR, LAST_YEAR = 2, 9997
"""The years that local times are told apart in: the outermost ones have none in some zones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The Unix times between which a schedule fires: at or after ``low``, before ``high``; None: no bound."""

    low: int | None = None
    high: int | None = None

    def clip(self, a: int, b: int) -> tuple[int, int]:
        """Return the part of (a, b] that lies within; empty if its end is not after its begin."""
        low = a if self.low is None else max(a, self.low - 1)
        return low, b if self.high is None else max(low, min(b, self.high - 1))


def check_start(value: object) -> object:
    """Return ``starts_at`` as text, from a TOML date or time too; raises ValueError with the legal forms."""
    text = _text(value)
    if isinstance(text, str):
        _start(text)
    return text


def check_end(value: object) -> object:
    """Return ``ends_on`` as text, from a TOML date too; raises ValueError with the legal form."""
    text = _text(value)
    if isinstance(text, str):
        _day(text)
    return text


def bounds(starts_at: str | None, ends_on: str | None, timezone: str) -> Bounds:
    """Return the instants; raises ValueError for texts that the checks above refuse, and for an end before the start.

    A start in a gap of the clock is the first instant after it, one that comes twice is its first time.
    """
    low = None if starts_at is None else _instant(_start(starts_at), timezone)
    high = None if ends_on is None else _instant(_midnight_after(_day(ends_on)), timezone)
    if low is not None and high is not None and high <= low:
        raise ValueError(f"{ends_on} is before starts_at, which is {starts_at}: it would never fire")
    return Bounds(low=low, high=high)


def once(starts_at: str, timezone: str) -> tuple[str, Bounds]:
    """Return the expression that names one time of one day, and that day: the schedule of a job that runs once.

    Raises ValueError where the start is no whole minute.
    """
    start = _start(starts_at)
    if start.tzinfo is not None:
        epoch = _instant(start, timezone)
        table = zone(timezone).table(epoch, epoch)
        start = _naive(epoch + table.offsets[table.index(epoch)])
    if start.second:
        raise ValueError(f"{starts_at}: without cron the job runs once, at a whole minute: leave out the seconds")
    day = datetime(start.year, start.month, start.day)  # noqa: DTZ001 - a local day, made an instant below
    low, high = _instant(day, timezone), _instant(_midnight_after(day.date()), timezone)
    return f"{start.minute} {start.hour} {start.day} {start.month} *", Bounds(low=low, high=high)


def _text(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"write a date and time such as {_FORMS}")


def _start(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"write a date and time such as {_FORMS}") from error
    if found.microsecond or not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise ValueError(f"write a date and time such as {_FORMS}")
    return found


def _day(text: str) -> date:
    try:
        found = date.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError("write the last day, such as 2027-03-31") from error
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise ValueError("write the last day, such as 2027-03-31")
    return found


def _midnight_after(day: date) -> datetime:
    return datetime(day.year, day.month, day.day) + timedelta(days=1)  # noqa: DTZ001 - local, made an instant below


def _instant(moment: datetime, timezone: str) -> int:
    """Return the Unix time of a local one, or of one with an offset of its own."""
    if moment.tzinfo is not None:
        return int(moment.timestamp())
    wall = int(moment.replace(tzinfo=UTC).timestamp())
    table = zone(timezone).table(wall - 2 * 86_400, wall + 2 * 86_400)
    first = table.index(wall - 2 * 86_400)
    for index in range(first, len(table.starts)):
        epoch = max(wall - table.offsets[index], table.begin_of(index))
        if epoch < table.end_of(index):
            return epoch
    return wall - table.offsets[-1]


def _naive(wall: int) -> datetime:
    return datetime.fromtimestamp(wall, UTC).replace(tzinfo=None)
