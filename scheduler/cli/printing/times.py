"""Times as people type and read them. Pure: the time now is an argument."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler.errors.operation_error import usage
from scheduler.schedules.timezones import zone

_UNITS = ((86_400 * 365, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_FORMS = "write ISO 8601, such as 2026-11-23T03:00:00Z, 2026-11-23T03:00-05:00 or 2026-11-23T03:00, or now"


def parse_time(text: str, *, timezone: str, now: datetime, option: str = "--at") -> datetime:
    """Read a time: ISO 8601 with a zone, or without one in ``timezone``, or ``now``. Returns aware UTC.

    Raises a usage error that names ``option``: also for a local time that the clock leaves out or shows twice.
    """
    if text.strip().lower() == "now":
        return now
    try:
        parsed = datetime.fromisoformat(text.strip())
        if parsed.tzinfo is None:
            parsed = _local(parsed, timezone, option)
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise usage(f"{option} {text!r} is no time; {_FORMS}") from error


def is_naive(text: str) -> bool:
    """Whether a time that :func:`parse_time` accepted names no zone itself."""
    return text.strip().lower() != "now" and datetime.fromisoformat(text.strip()).tzinfo is None


def _local(naive: datetime, timezone: str, option: str) -> datetime:
    zone(timezone)
    info = ZoneInfo(timezone)
    first, second = naive.replace(tzinfo=info, fold=0), naive.replace(tzinfo=info, fold=1)
    if first.astimezone(UTC).astimezone(info).replace(tzinfo=None) != naive:
        raise usage(f"{option}: the clock in {timezone} skips {naive.isoformat()}; write the time with its offset")
    if first.utcoffset() != second.utcoffset():
        both = f"{first.isoformat()} or {second.isoformat()}"
        raise usage(f"{option}: the clock in {timezone} shows {naive.isoformat()} twice; write {both}")
    return first


def iso(moment: datetime | None) -> str | None:
    """Write an instant for JSON: ISO 8601, UTC, ``Z``; milliseconds only where there are any."""
    if moment is None:
        return None
    utc = moment.astimezone(UTC)
    timespec = "milliseconds" if utc.microsecond >= 1000 else "seconds"  # noqa: PLR2004 - a millisecond
    return utc.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def local(moment: datetime, timezone: str) -> str:
    """Write an instant as the clock of a zone shows it: ``Tue 2026-11-24 03:00 EST``, with seconds if there are any."""
    shown = moment.astimezone(ZoneInfo(timezone))
    seconds = shown.strftime(":%S") if shown.second else ""
    return f"{shown:%a %Y-%m-%d %H:%M}{seconds} {shown:%Z}"


def relative(moment: datetime, now: datetime) -> str:
    """Say how far off an instant is: ``in 7 h``, ``3 min ago``, ``now``."""
    distance = moment - now
    if abs(distance) < timedelta(seconds=1):
        return "now"
    told = duration(abs(distance).total_seconds())
    return f"in {told}" if distance > timedelta() else f"{told} ago"


def duration(seconds: float) -> str:
    """Write a length of time in its largest unit, rounded down: ``7 h``."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{seconds:.1f} s"


def exact_duration(seconds: int) -> str:
    """Write whole seconds as the config file takes them: ``90s``, ``10m``, ``6h``, ``7d``."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
