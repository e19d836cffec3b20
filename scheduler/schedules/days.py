"""Which dates match: one bit mask per kind of year, since the Gregorian calendar has only fourteen kinds. Pure.

Days are counted from 1970-01-01 (day 0, a Thursday); a year's kind is twice the weekday of 1 January (Sunday is 0),
plus 1 in a leap year.
"""

from datetime import date
from functools import cache, lru_cache

LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MIN_YEAR = 1
MAX_YEAR = 9999
CYCLE = 400
"""The calendar repeats after so many years (146,097 days, a whole number of weeks)."""
_FEBRUARY = 2
_ORDINAL_OF_DAY_0 = 719_163
"""Python counts days from 0001-01-01, which is its day 1."""
_EVERY_SEVENTH = sum(1 << 7 * week for week in range(54))


def is_leap(year: int) -> bool:
    """Whether a year of the Gregorian calendar has a 29 February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def year_start(year: int) -> int:
    """Return the day number of 1 January."""
    before = year - 1
    return before * 365 + before // 4 - before // 100 + before // 400 - 719162


def year_of(day: int) -> int:
    """Return the year of a day number, 1 to 9999."""
    return date.fromordinal(day + _ORDINAL_OF_DAY_0).year


@cache
def year_window(year: int) -> tuple[int, int, int]:
    """Return a year's first day, the day after its last, and its kind, 0 to 13."""
    start = year_start(year)
    return start, year_start(year + 1), (start + 4) % 7 * 2 + is_leap(year)


class DayMasks:
    """The dates that match, as 14 masks; bit 0 is 1 January. None in a day field: it restricts nothing.

    Two restricted day fields match a date if either does, or, with ``both``, if both do. ``never`` says that no date
    of any year matches. ``year`` holds (first day, day after the last, mask) of the year last asked for; it is
    replaced whole, so that threads may share it.
    """

    __slots__ = ("_masks", "both", "days", "months", "never", "weekdays", "year")

    def __init__(
        self,
        *,
        days: tuple[int, ...] | None = (),
        months: tuple[int, ...] = (),
        weekdays: tuple[int, ...] | None = (),
        both: bool = False,
    ) -> None:
        self.days = days
        self.months = months
        self.weekdays = weekdays
        self.both = both or days is None or weekdays is None
        self.never = self._is_never()
        self.year = (0, 0, 0)
        self._masks: list[int | None] = [None] * 14

    def mask(self, kind: int) -> int:
        """Return the mask of a kind of year."""
        known = self._masks[kind]
        if known is None:
            known = self._masks[kind] = self._make(kind)
        return known

    def next_day(self, day: int) -> int | None:
        """Return the first matching day that is not before ``day``; None past the year 9999 or if there is none."""
        first, end, mask = self.year
        if not first <= day < end:
            first, end, mask = self._enter(year_of(day))
        rest = mask >> (day - first)
        if rest:
            return day + (rest & -rest).bit_length() - 1
        year = year_of(first)
        for later in range(year + 1, min(year + CYCLE, MAX_YEAR) + 1):
            first, _, mask = self._enter(later)
            if mask:
                return first + (mask & -mask).bit_length() - 1
        return None

    def previous_day(self, day: int) -> int | None:
        """Return the last matching day that is not after ``day``; None before the year 1 or if there is none."""
        first, end, mask = self.year
        if not first <= day < end:
            first, end, mask = self._enter(year_of(day))
        rest = mask & ((1 << (day - first + 1)) - 1)
        if rest:
            return first + rest.bit_length() - 1
        year = year_of(first)
        for earlier in range(year - 1, max(year - CYCLE, MIN_YEAR) - 1, -1):
            first, _, mask = self._enter(earlier)
            if mask:
                return first + mask.bit_length() - 1
        return None

    def count_days(self, first: int, last: int) -> int:
        """Count the matching days from ``first`` to ``last``, both included."""
        if last < first:
            return 0
        count = 0
        for year in range(year_of(first), year_of(last) + 1):
            start, end, kind = year_window(year)
            mask = self.mask(kind)
            if start < first:
                mask = mask >> (first - start) << (first - start)
            if last < end:
                mask &= (1 << (last - start + 1)) - 1
            count += mask.bit_count()
        return count

    def _enter(self, year: int) -> tuple[int, int, int]:
        first, end, kind = year_window(year)
        mask = self._masks[kind]
        self.year = window = (first, end, self.mask(kind) if mask is None else mask)
        return window

    def _is_never(self) -> bool:
        """Decide it without the masks: in 400 years every date of the calendar falls on every day of the week."""
        on_a_day = self.days is None or any(
            self.days and self.days[0] <= LONGEST_MONTHS[month - 1] for month in self.months
        )
        on_a_weekday = bool(self.months) and (self.weekdays is None or bool(self.weekdays))
        return not (on_a_day and on_a_weekday if self.both else on_a_day or on_a_weekday)

    def _make(self, kind: int) -> int:
        first_weekday, leap = divmod(kind, 2)
        whole, month_bits, day_bits = _year_bits(leap)
        in_months = _joined(month_bits, self.months)
        by_day = whole if self.days is None else _joined(day_bits, self.days)
        by_weekday = whole if self.weekdays is None else 0
        for weekday in self.weekdays or ():
            by_weekday |= _EVERY_SEVENTH << (weekday - first_weekday) % 7
        return in_months & (by_day & by_weekday if self.both else by_day | by_weekday)


@cache
def _year_bits(leap: int) -> tuple[int, list[int], list[int]]:
    """Return the masks of a whole year, of each month (from 1 on) and of each day number in all months (from 1 on)."""
    months, days = [0] * 13, [0] * 32
    bit = 0
    for month, longest in enumerate(LONGEST_MONTHS, 1):
        length = longest - 1 if month == _FEBRUARY and not leap else longest
        for day in range(1, length + 1):
            months[month] |= 1 << bit
            days[day] |= 1 << bit
            bit += 1
    return (1 << bit) - 1, months, days


def _joined(masks: list[int], values: tuple[int, ...]) -> int:
    joined = 0
    for value in values:
        joined |= masks[value]
    return joined


@lru_cache(maxsize=4096)
def dates_in_400_years(
    *, months: tuple[int, ...], days: tuple[int, ...] | None = None, weekdays: tuple[int, ...] | None = None
) -> int:
    """Count the dates that match in one full cycle of the calendar (146,097 days)."""
    masks = DayMasks(days=days, months=months, weekdays=weekdays, both=True)
    counts = [masks.mask(kind).bit_count() for kind in range(14)]
    return sum(counts[kind] * years for kind, years in enumerate(_years_of_each_kind()))


@cache
def _years_of_each_kind() -> list[int]:
    kinds = [year_window(year)[2] for year in range(2000, 2000 + CYCLE)]
    return [kinds.count(kind) for kind in range(14)]
