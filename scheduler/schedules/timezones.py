"""A time zone as a list of offsets from given instants on, in whole seconds, made once per zone and year.

The zone data come from zoneinfo (the system's, else the tzdata package). Reading them is this module's only I/O.
"""

import re
import threading
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from scheduler.schedules.days import year_of, year_start

DAY = 86_400
FIRST_YEAR = 1900
LAST_YEAR = 9998
"""Years outside are not asked of the zone data: the offset of the nearest one holds."""
FIRST_MADE = 2025
"""The year that a table begins with; the ones around it are made as they are asked for."""
RULES_FROM = 2090
"""From this year on the zone data are yearly rules, whose seasons last months: a look every ten days misses no change.
Before, it takes a look each day: lists of dates go on to 2087, and Gaza has a summer of seven days in 2040.
"""
SUGGESTIONS = {
    "PST": "America/Los_Angeles",
    "AKST": "America/Anchorage",
    "MDT": "America/Denver",
    "NZST": "Pacific/Auckland",
    "NZDT": "Pacific/Auckland",
    "AEDT": "Australia/Sydney",
    "AWST": "Australia/Perth",
    "SGT": "Asia/Singapore",
    "HKT": "Asia/Hong_Kong",
    "KST": "Asia/Seoul",
    "MSK": "Europe/Moscow",
    "EEST": "Europe/Helsinki",
    "WEST": "Europe/Lisbon",
    "MEZ": "Europe/Berlin",
    "MESZ": "Europe/Berlin",
    "PDT": "America/Los_Angeles",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "EDT": "America/New_York",
    "BST": "Europe/London",
    "CEST": "Europe/Paris",
    "JST": "Asia/Tokyo",
    "IST": "Asia/Kolkata",
    "AEST": "Australia/Sydney",
    "EST": "America/New_York, or Etc/GMT+5 for UTC-5 all year",
    "MST": "America/Denver, or Etc/GMT+7 for UTC-7 all year",
    "HST": "Pacific/Honolulu",
    "CET": "Europe/Paris",
    "EET": "Europe/Helsinki",
    "WET": "Europe/Lisbon",
    "MET": "Europe/Paris",
    "GMT": "UTC, or Europe/London",
    "Z": "UTC",
}
_SAME_AS_UTC = {"UTC", "UCT", "GMT0", "GMT+0", "GMT-0"}
_COUNTRIES = {"GB", "NZ", "NZ-CHAT", "PRC", "ROC", "ROK", "W-SU"}
_AMERICAN = {"EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT"}
CAPITALS = frozenset(_SAME_AS_UTC | _COUNTRIES | _AMERICAN)
"""Names in capitals of the tz database that stand for one zone. It also has CET, EET, EST, GMT, HST, MET, MST and WET:
abbreviations, of which it knows some with a summer and some without, and one or the other by its version."""
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])([0-9]{1,2})(?::?([0-9]{2}))?", re.IGNORECASE)
MOST_HOURS = {"+": 14, "-": 12}
"""Of the zones Etc/GMT±n; their sign is the other way round, as POSIX has it."""
ENDLESS = 10**15
"""Seconds, more than any date has."""
MAX_NAME = 60
"""No IANA name is half as long."""


class ZoneError(ValueError):
    """A name that is no IANA time zone; the message suggests one."""


@dataclass(frozen=True, slots=True)
class Table:
    """The offsets of a zone over a run of years; never changed once made, so that threads may share it.

    ``starts[i]`` (Unix seconds) is where ``offsets[i]`` (seconds east of UTC) begins, ``end`` is where the last entry
    ends. Of the time before and after, another table knows; only past the years that the zone data are asked for do
    the first and the last entry hold for ever.
    """

    starts: tuple[int, ...]
    offsets: tuple[int, ...]
    low_year: int
    high_year: int
    safe_from: int
    safe_until: int
    end: int

    def index(self, instant: int) -> int:
        """Return the index of the entry that holds at a Unix time."""
        return max(bisect_right(self.starts, instant) - 1, 0)

    def begin_of(self, index: int) -> int:
        """Return where the stretch of an entry begins, as far as this table knows."""
        return self.starts[index] if index or self.low_year > FIRST_YEAR else -ENDLESS

    def end_of(self, index: int) -> int:
        """Return where the stretch of an entry ends."""
        return self.starts[index + 1] if index + 1 < len(self.starts) else self.end


class Zone:
    """One time zone, whose table grows as it is asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._info = ZoneInfo(name)
        self._lock = threading.Lock()
        begin = year_start(FIRST_MADE) * DAY
        offset = self._offset(begin)
        changes = self._changes(begin, year_start(FIRST_MADE + 1) * DAY, offset)
        self._table = _table([(begin, offset), *changes], FIRST_MADE, FIRST_MADE)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return zone, (self.name,)  # a copy, or a pickle in another process, is that process's own zone

    def table(self, low: int, high: int) -> Table:
        """Return a table that knows the years around the Unix times ``low`` to ``high``."""
        table = self._table
        if low >= table.safe_from and high <= table.safe_until:
            return table
        with self._lock:
            return self._grow(max(year_of(low // DAY) - 1, FIRST_YEAR), min(year_of(high // DAY) + 1, LAST_YEAR))

    def _grow(self, low_year: int, high_year: int) -> Table:
        table = self._table
        entries = list(zip(table.starts, table.offsets, strict=True))
        if high_year > table.high_year:
            rules_from = min(max(RULES_FROM, table.high_year + 1), high_year + 1)
            for first, last in ((table.high_year + 1, rules_from), (rules_from, high_year + 1)):
                entries += self._changes(year_start(first) * DAY, year_start(last) * DAY, entries[-1][1])
        if low_year < table.low_year:
            begin, end = year_start(low_year) * DAY, year_start(table.low_year) * DAY
            first = self._offset(begin)
            earlier = [(begin, first), *self._changes(begin, end, first)]
            known_from = earlier.pop()[1] if earlier[-1][0] == end else earlier[-1][1]
            entries = earlier + (entries[1:] if earlier and known_from == earlier[-1][1] else entries)
        self._table = _table(entries, min(low_year, table.low_year), max(high_year, table.high_year))
        return self._table

    def _offset(self, instant: int) -> int:
        delta = datetime.fromtimestamp(instant, self._info).utcoffset() or timedelta()
        return delta.days * DAY + delta.seconds

    def _changes(self, begin: int, end: int, offset: int) -> list[tuple[int, int]]:
        """Return the (instant, offset) of each change in (begin, end], looking every so often and then halving."""
        changes: list[tuple[int, int]] = []
        step = DAY if begin < year_start(RULES_FROM) * DAY else 10 * DAY
        for low in range(begin, end, step):
            high = min(low + step, end)
            after = self._offset(high)
            if after == offset:
                continue
            before, upper = low, high
            while upper - before > 1:
                middle = (before + upper) // 2
                if self._offset(middle) == offset:
                    before = middle
                else:
                    upper = middle
            changes.append((upper, after))
            offset = after
        return changes


def _table(entries: list[tuple[int, int]], low_year: int, high_year: int) -> Table:
    """Make a table; it is safe to ask where a year is known on either side, or where none is ever known."""
    end = year_start(high_year + 1) * DAY
    return Table(
        starts=tuple(start for start, _ in entries),
        offsets=tuple(offset for _, offset in entries),
        low_year=low_year,
        high_year=high_year,
        safe_from=year_start(low_year + 1) * DAY if low_year > FIRST_YEAR else -ENDLESS,
        safe_until=year_start(high_year) * DAY - 1 if high_year < LAST_YEAR else ENDLESS,
        end=end if high_year < LAST_YEAR else ENDLESS,
    )


@cache
def zone(name: str) -> Zone:
    """Return the zone of that IANA name; raises ZoneError, with a suggestion, for anything else."""
    if not _is_full_name(name):
        raise ZoneError(_unknown(name))
    try:
        return Zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ZoneError(_unknown(name)) from error


def _is_full_name(name: str) -> bool:
    """Whether it may be an IANA name: an area and a place, a country's, or one of CAPITALS; else capitals abbreviate.

    Names that begin small are files beside the zones (``posix/…``, ``right/…``, ``localtime``), Factory is no place.
    Decided by the name alone, so that a config means the same wherever it is read.
    """
    if name in CAPITALS:
        return True
    plain = name.isascii() and len(name) <= MAX_NAME and name[:1].isupper() and not name.isupper()
    return plain and name != "Factory"


@cache
def _names() -> dict[str, str]:
    """Return every full name by its lower-case form."""
    return {name.lower(): name for name in available_timezones() if _is_full_name(name)}


def _unknown(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - 5 ms, and only when something is wrong

    shown = repr(name[:MAX_NAME])
    if name.upper() in SUGGESTIONS:
        return f"{shown} is an abbreviation, which stands for no fixed zone; write {SUGGESTIONS[name.upper()]}"
    if (offset := _OFFSET.fullmatch(name)) is not None:
        sign, hours, minutes = offset[1], int(offset[2]), offset[3] or "00"
        fixed = ""
        if minutes == "00" and 0 < hours <= MOST_HOURS[sign]:
            fixed = f", or Etc/GMT{'-' if sign == '+' else '+'}{hours} for UTC{sign}{hours} all year"
        return f"{shown} is an offset, which knows no summer time; write a place such as America/New_York{fixed}"
    lowered, names = name[:MAX_NAME].lower().replace(" ", "_"), _names()
    near = [lowered] if lowered in names else get_close_matches(lowered, names, n=1, cutoff=0.6)
    hint = f"did you mean {names[near[0]]}?" if near else "write one such as America/New_York, or UTC"
    return f"{shown} is no IANA time zone; {hint}"


def forget_zones() -> None:
    """Have every zone read anew from the zone data: they were replaced under a running process."""
    zone.cache_clear()
    _names.cache_clear()
    ZoneInfo.clear_cache()


def tzdata_version() -> str:
    """Return the version of the zone data in use, ``unknown`` where neither the system nor the package tells."""
    from importlib import metadata  # noqa: PLC0415 - asked once a day
    from pathlib import Path  # noqa: PLC0415
    from zoneinfo import TZPATH  # noqa: PLC0415

    for folder in TZPATH:
        for name, prefix in (("tzdata.zi", "# version "), ("+VERSION", "")):
            path = Path(folder) / name
            if path.is_file():
                with path.open(encoding="utf-8") as lines:
                    return lines.readline().removeprefix(prefix).strip()
    try:
        return metadata.version("tzdata")
    except metadata.PackageNotFoundError:
        return "unknown"
