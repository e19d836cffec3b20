"""Times as Trino's engines write them. Pure."""

import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,12})?)?)(?: ?(\S+))?")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
_MICROSECONDS = 6


def read_naive(value: str) -> datetime:
    """Return a time without a zone. Raises ValueError for any other, and for one finer than microseconds."""
    moment, zone = _moment(value)
    if zone is not None:
        raise ValueError("a zone where none belongs")
    return moment


def read_zoned(value: str) -> datetime:
    """Return a time with its zone, UTC if it names none. Raises ValueError, and LookupError for an unknown zone."""
    moment, zone = _moment(value)
    if zone is None or zone in ("UTC", "Z"):
        return moment.replace(tzinfo=UTC)
    if match := _OFFSET.fullmatch(zone):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return moment.replace(tzinfo=timezone(-offset if match[1] == "-" else offset))
    return moment.replace(tzinfo=ZoneInfo(zone))


def _moment(value: str) -> tuple[datetime, str | None]:
    match = _MOMENT.fullmatch(value)
    if match is None:
        raise ValueError("no time")
    day, clock, zone = match.groups()
    clock, _, decimals = clock.partition(".")
    if decimals[_MICROSECONDS:].strip("0"):
        raise ValueError("finer than microseconds")
    moment = datetime.fromisoformat(f"{day} {clock}").replace(
        microsecond=int(decimals[:_MICROSECONDS].ljust(_MICROSECONDS, "0"))
    )
    return moment, zone
