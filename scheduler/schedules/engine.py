"""The fires of an expression in a time zone, as Unix seconds: the engine under a Schedule. Pure.

Local times are "local seconds": the Unix seconds that the wall clock would show if it were UTC. In each stretch of
constant offset the two differ by that offset, so all the work is done on days and seconds of the day, stretch by
stretch. What the last question found out is kept for the next one, which is mostly about the same stretch.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from scheduler.schedules.days import CYCLE
from scheduler.schedules.expression import CronExpression
from scheduler.schedules.timezones import RULES_FROM, Table, zone

DAY = 86_400
LAST_INSTANT = 253_370_678_400
"""9998-12-31 UTC: no fire is looked for after it, so that Python can hold every local time and delayed run."""
FIRST_INSTANT = -62_104_060_800
"""0002-01-01 UTC: none is looked for before it."""
_CYCLE_SECONDS = (CYCLE + 1) * 366 * DAY
_RULES_FROM = (RULES_FROM - 1970) * 366 * DAY


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of constant offset as a schedule sees it: its own local times, [low, high), maybe a fire at its start.

    A local time that both passes of a fold show belongs to one of them or to both, by the fold policy.
    """

    start: int
    offset: int
    low: int
    high: int
    extra: bool


class Instants:
    """Next, previous, batch and count over Unix seconds. Safe to share between threads."""

    __slots__ = ("_calm", "_fold", "_gap", "_interval", "_masks", "_seconds", "_zone")

    def __init__(self, cron: CronExpression, timezone: str, gap: str, fold: str) -> None:
        self._masks = cron.masks
        self._seconds = _seconds_of_day(cron.minutes, cron.hours)
        self._interval = cron.interval
        self._zone = zone(timezone)
        self._gap = gap
        self._fold = fold
        self._calm = (0, 0, 0)
        """(from, until, offset): instants in [from, until) fire just if their local time matches. Replaced whole."""

    def next(self, t: int) -> int | None:
        """Return the first fire strictly after ``t``, None before the year 9999 if there is none.

        The way through here that asks nobody is for the mass of cases: the same year of the same stretch as last time.
        """
        begin, until, offset = self._calm
        if begin <= t < until:
            local = t + offset
            day = local // DAY
            first, end, mask = self._masks.year
            if first <= day < end:
                rest = mask >> day - first
                seconds = self._seconds
                if rest & 1 and (second := local - day * DAY) < seconds[-1]:
                    found = t - second + seconds[bisect_right(seconds, second)]
                    if found < until:
                        return found
                elif rest := rest >> 1:
                    found = (day + (rest & -rest).bit_length()) * DAY + seconds[0] - offset
                    if found < until:
                        return found
        return self._next_by_stretch(t)

    def previous(self, t: int) -> int | None:
        """Return the last fire strictly before ``t``, None after the year 1 if there is none."""
        if self._masks.never:
            return None
        t = min(t, LAST_INSTANT + 1)
        while t > FIRST_INSTANT:
            table = self._zone.table(t - 1, t - 1)
            index = table.index(t - 1)
            stretch = self._stretch(table, index)
            found = self.last_local(min(t + stretch.offset, stretch.high))
            if found is not None and found >= stretch.low:
                return found - stretch.offset
            if stretch.extra and stretch.start < t:
                return stretch.start
            if found is None:
                return None
            t = table.begin_of(index)
            if self.last_local(stretch.low + 2 * DAY) == found:  # as in _next_by_stretch
                t = min(t, found - stretch.offset + 2 * DAY)
        return None

    def between(self, a: int, b: int) -> list[int]:
        """Return the fires in (a, b], in order."""
        seconds = self._seconds
        fires: list[int] = []
        for base, first, last in self.days(a, b):
            part = seconds if last - first == len(seconds) else seconds[first:last]
            fires.extend([base + second for second in part] if part else [base])
        return fires

    def days(self, a: int, b: int) -> Iterator[tuple[int, int, int]]:
        """Yield (midnight, first, last) for the fires in (a, b]: midnight plus each of ``seconds[first:last]``.

        Where first is last, the "midnight" itself is a fire: the one that stands for times lost in a gap.
        """
        if self._masks.never:
            return
        seconds = self._seconds
        for stretch, low, high in self._ranges(a, b):
            if stretch.extra and a < stretch.start <= b:
                yield stretch.start, 0, 0
            day = self._masks.next_day(low // DAY)
            while day is not None and (midnight := day * DAY) < high:
                first = bisect_left(seconds, low - midnight) if midnight < low else 0
                last = bisect_left(seconds, high - midnight) if midnight + DAY > high else len(seconds)
                if first < last:
                    yield midnight - stretch.offset, first, last
                day = self._masks.next_day(day + 1)

    @property
    def seconds(self) -> tuple[int, ...]:
        """Every second of a matching day at which it fires, ascending."""
        return self._seconds

    def count(self, a: int, b: int) -> int:
        """Count the fires in (a, b], by arithmetic on each stretch."""
        if self._masks.never:
            return 0
        total = 0
        for stretch, low, high in self._ranges(a, b):
            total += (stretch.extra and a < stretch.start <= b) + self.count_local(low, high)
        return total

    def first_local(self, local: int) -> int | None:
        """Return the first matching local time that is not before ``local``."""
        day, second = divmod(local, DAY)
        found = self._masks.next_day(day)
        if found == day:
            place = bisect_left(self._seconds, second)
            if place < len(self._seconds):
                return day * DAY + self._seconds[place]
            found = self._masks.next_day(day + 1)
        return None if found is None else found * DAY + self._seconds[0]

    def last_local(self, local: int) -> int | None:
        """Return the last matching local time strictly before ``local``."""
        day, second = divmod(local - 1, DAY)
        found = self._masks.previous_day(day)
        if found == day:
            place = bisect_right(self._seconds, second)
            if place:
                return day * DAY + self._seconds[place - 1]
            found = self._masks.previous_day(day - 1)
        return None if found is None else found * DAY + self._seconds[-1]

    def count_local(self, low: int, high: int) -> int:
        """Count the matching local times in [low, high)."""
        if self._masks.never or low >= high:
            return 0
        first_day, first_second = divmod(low, DAY)
        last_day, last_second = divmod(high - 1, DAY)
        count = self._masks.count_days(first_day, last_day) * len(self._seconds)
        if self._masks.next_day(first_day) == first_day:
            count -= bisect_left(self._seconds, first_second)
        if self._masks.next_day(last_day) == last_day:
            count -= len(self._seconds) - bisect_right(self._seconds, last_second)
        return count

    def _next_by_stretch(self, t: int) -> int | None:
        if self._masks.never:
            return None
        begin = max(t, FIRST_INSTANT) + 1
        # The zone's rules repeat with the calendar: what is always skipped in a gap in 400 years is skipped for ever.
        end = min(max(begin, _RULES_FROM) + _CYCLE_SECONDS, LAST_INSTANT)
        while begin <= end:
            table = self._zone.table(begin, begin)
            index = table.index(begin)
            stretch = self._stretch(table, index)
            if stretch.extra and begin == stretch.start:
                return begin
            found = self.first_local(max(begin + stretch.offset, stretch.low))
            if found is None:
                return None
            if found < stretch.high:
                self._calm = (
                    max(stretch.start, stretch.low - stretch.offset),
                    stretch.high - stretch.offset,
                    stretch.offset,
                )
                return found - stretch.offset
            # Nothing more in this stretch. The next one is next, or, if the match is far ahead and none of late could
            # come again in a fold, the time just before it.
            begin = table.end_of(index)
            if self.first_local(stretch.high - 2 * DAY) == found:
                begin = max(begin, found - stretch.offset - 2 * DAY)
        return None

    def _stretch(self, table: Table, index: int) -> Stretch:
        """Say which local times of a stretch are its own, by the policies for gap and fold."""
        offsets = table.offsets
        start, offset, end = table.starts[index], offsets[index], table.end_of(index)
        low = max(table.begin_of(index), FIRST_INSTANT + 1) + offset
        high = min(end, LAST_INSTANT + 1) + offset
        extra = False
        if self._interval:
            return Stretch(start, offset, low, high, extra)
        if index:
            before = offsets[index - 1]
            if offset > before and self._gap == "after":
                lost = self.first_local(start + before)
                # A real fire at the end of the gap stands for the lost ones too.
                extra = lost is not None and lost < low and self.first_local(low) != low
            elif offset < before and self._fold == "first":
                low = min(start + before, high)
        if self._fold == "second" and index + 1 < len(offsets) and offsets[index + 1] < offset:
            high = max(end + offsets[index + 1], low)
        return Stretch(start, offset, low, high, extra)

    def _ranges(self, a: int, b: int) -> Iterator[tuple[Stretch, int, int]]:
        """Yield each stretch that meets (a, b] with the local times [low, high) in it that are to be looked at."""
        a, b = max(a, FIRST_INSTANT), min(b, LAST_INSTANT)
        if a >= b:
            return
        table = self._zone.table(a, b)
        index = table.index(a)
        while index < len(table.starts) and (index == 0 or table.starts[index] <= b):
            stretch = self._stretch(table, index)
            low = max(stretch.low, a + 1 + stretch.offset)
            yield stretch, low, min(stretch.high, b + 1 + stretch.offset)
            index += 1


@lru_cache(maxsize=65_536)
def _seconds_of_day(minutes: tuple[int, ...], hours: tuple[int, ...]) -> tuple[int, ...]:
    """Return every matching second of a day; schedules with the same minutes and hours share it."""
    return tuple([hour * 3600 + minute * 60 for hour in hours for minute in minutes])
