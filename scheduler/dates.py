"""Which dates match: one bit mask per kind of year, since the Gregorian calendar has only fourteen kinds. Pure.

Days are counted from 1970-01-01 (day 0, a Thursday); a year's kind is (weekday of 1 January, leap or not).
"""

from dataclasses import dataclass, field

DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MIN_YEAR = 1
MAX_YEAR = 9999


def is_leap(year: int) -> bool:
    """Whether a year of the Gregorian calendar has a 29 February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def year_start(year: int) -> int:
    """Return the day number of 1 January."""
    before = year - 1
    return before * 365 + before // 4 - before // 100 + before // 400 - 719162


def year_of(day: int) -> int:
    """Return the year of a day number."""
    year = 1970 + int(day // 365.2425)
    while year_start(year + 1) <= day:
        year += 1
    while year_start(year) > day:
        year -= 1
    return year


def year_kind(year: int) -> int:
    """Return the kind of a year, 0 to 13: twice the weekday of 1 January (Sunday is 0), plus 1 if leap."""
    return (year_start(year) + 4) % 7 * 2 + is_leap(year)


@dataclass(frozen=True)
class DayMasks:
    """The dates that match, as 14 masks; bit 0 is 1 January. None in a day field: it restricts nothing.

    Two restricted day fields match a date if either does, or, with ``both``, if both do.
    """

    days: tuple[int, ...] | None = ()
    months: tuple[int, ...] = ()
    weekdays: tuple[int, ...] | None = ()
    both: bool = False
    _masks: list[int | None] = field(default_factory=lambda: [None] * 14, compare=False, repr=False)

    def mask(self, kind: int) -> int:
        """Return the mask of a kind of year."""
        known = self._masks[kind]
        if known is None:
            known = self._masks[kind] = self._make(kind)
        return known

    @property
    def never(self) -> bool:
        """Whether no date of any year matches."""
        return not any(self.mask(kind) for kind in range(14))

    def next_day(self, day: int) -> int | None:
        """Return the first matching day that is not before ``day``; None past the year 9999 or if there is none."""
        year = year_of(day)
        start = year_start(year)
        rest = self.mask((start + 4) % 7 * 2 + is_leap(year)) >> (day - start)
        if rest:
            return day + (rest & -rest).bit_length() - 1
        for _ in range(400):  # the calendar repeats after 400 years
            year += 1
            if year > MAX_YEAR:
                return None
            start = year_start(year)
            found = self.mask((start + 4) % 7 * 2 + is_leap(year))
            if found:
                return start + (found & -found).bit_length() - 1
        return None

    def previous_day(self, day: int) -> int | None:
        """Return the last matching day that is not after ``day``; None before the year 1 or if there is none."""
        year = year_of(day)
        start = year_start(year)
        rest = self.mask(year_kind(year)) & ((1 << (day - start + 1)) - 1)
        if rest:
            return start + rest.bit_length() - 1
        for _ in range(400):
            year -= 1
            if year < MIN_YEAR:
                return None
            found = self.mask(year_kind(year))
            if found:
                return year_start(year) + found.bit_length() - 1
        return None

    def count_days(self, first: int, last: int) -> int:
        """Count the matching days from ``first`` to ``last``, both included."""
        if last < first:
            return 0
        count = 0
        for year in range(year_of(first), year_of(last) + 1):
            start = year_start(year)
            mask = self.mask(year_kind(year))
            if start < first:
                mask = mask >> (first - start) << (first - start)
            if last - start < 366:  # noqa: PLR2004 - the year of the last day
                mask &= (1 << (last - start + 1)) - 1
            count += mask.bit_count()
        return count

    def _make(self, kind: int) -> int:
        first_weekday, leap = divmod(kind, 2)
        by_day = by_weekday = in_months = 0
        bit = 0
        for month, length in enumerate(DAYS_IN_MONTH, 1):
            for day in range(1, length + (1 if leap and month == 2 else 0) + 1):  # noqa: PLR2004 - February
                if month in self.months:
                    in_months |= 1 << bit
                    if self.days is None or day in self.days:
                        by_day |= 1 << bit
                    if self.weekdays is None or (first_weekday + bit) % 7 in self.weekdays:
                        by_weekday |= 1 << bit
                bit += 1
        if self.both or self.days is None or self.weekdays is None:
            return by_day & by_weekday
        return by_day | by_weekday


def dates_in_400_years(
    *, months: tuple[int, ...], days: tuple[int, ...] | None = None, weekdays: tuple[int, ...] | None = None
) -> int:
    """Count the dates that match in one full cycle of the calendar (146,097 days)."""
    masks = DayMasks(days=days, months=months, weekdays=weekdays, both=True)
    counts = [masks.mask(kind).bit_count() for kind in range(14)]
    return sum(counts[year_kind(year)] for year in range(2000, 2400))
