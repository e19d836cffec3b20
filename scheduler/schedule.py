"""A schedule: expression, time zone, DST policy and delay; and its fires, over instants in UTC. Pure.

Inside, instants are Unix seconds and local times are "local seconds": the Unix seconds that the wall clock would show
if it were UTC. In each stretch of constant offset the two differ by that offset, so that all the work is done on the
calendar of days and minutes, stretch by stretch.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from scheduler.cron import CronExpression, parse
from scheduler.zones import Table, ZoneError, zone

Gap = Literal["after", "skip"]
Fold = Literal["first", "second", "both"]
DST_PAIRS: dict[str, tuple[Gap, Fold]] = {"once": ("after", "first"), "wallclock": ("skip", "both")}
DAY = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_INSTANT = 253_370_764_800
"""9999-01-01 UTC: no fire is looked for after it, so that every local time is a date that Python can hold."""
FIRST_INSTANT = -62_104_060_800
"""0002-01-01 UTC: none is looked for before it."""


class ScheduleError(ValueError):
    """A part of a schedule that is not legal: its key, its value, and a message that says what is."""

    def __init__(self, key: str, value: object, message: str) -> None:
        self.key = key
        self.value = value
        self.message = message
        super().__init__(f"{key}: {message}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FireTime:
    """A slot and when its run may start, both UTC: ``run_time = scheduled_time + delay``."""

    scheduled_time: datetime
    run_time: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class DstEffect:
    """A change of the clock that touches a schedule: the instant, and in words what happens to its fires."""

    instant: datetime
    kind: Literal["gap", "fold"]
    words: str


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A stretch of constant offset as a schedule sees it: local times in [low, high), maybe a fire at its start."""

    start: int
    offset: int
    low: int
    high: int
    extra: bool


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a job fires. ``delay`` is in seconds. All instants in and out are aware; the ones out are UTC."""

    cron: CronExpression
    timezone: str = "UTC"
    delay: int = 0
    gap: Gap = "after"
    fold: Fold = "first"

    def next_after(self, t: datetime) -> FireTime | None:
        """Return the first fire strictly after ``t``; None if there is none before the year 9999."""
        found = self.next_epoch(_floor(t))
        return None if found is None else self._fire(found)

    def previous(self, t: datetime) -> FireTime | None:
        """Return the last fire strictly before ``t``; None if there is none."""
        found = self.previous_epoch(_ceil(t))
        return None if found is None else self._fire(found)

    def between(self, a: datetime, b: datetime) -> list[FireTime]:
        """Return every fire with ``a < scheduled_time <= b``, in order."""
        return [self._fire(epoch) for epoch in self.epochs_between(_floor(a), _floor(b))]

    def count(self, a: datetime, b: datetime) -> int:
        """Count the fires with ``a < scheduled_time <= b`` without listing them."""
        return self.count_epochs(_floor(a), _floor(b))

    def matches(self, t: datetime) -> bool:
        """Whether ``t`` is a fire."""
        epoch = _floor(t)
        return epoch == _ceil(t) and self.next_epoch(epoch - 1) == epoch

    def next_epoch(self, t: int) -> int | None:
        """Return the Unix time of the first fire strictly after ``t``."""
        cron = self.cron
        if not cron.text or cron.masks.never:
            return None
        begin = max(t, FIRST_INSTANT) + 1
        zone_ = zone(self.timezone)
        minutes = cron.minutes_of_day
        while begin < LAST_INSTANT:
            table = zone_.table(begin, begin)
            index = table.index(begin)
            stretch = self._stretch(table, index)
            if stretch.extra and begin == stretch.start:
                return begin
            found = _next_local(cron, minutes, max(begin + stretch.offset, stretch.low))
            if found is None:
                return None
            if found < stretch.high:
                return found - stretch.offset
            # Nothing in this stretch: go on with the next one, or just before the match if that is far ahead and no
            # match of late could come again in a fold.
            begin = table.end_of(index)
            if _next_local(cron, minutes, stretch.high - 2 * DAY) == found:
                begin = max(begin, found - stretch.offset - 2 * DAY)
        return None

    def previous_epoch(self, t: int) -> int | None:
        """Return the Unix time of the last fire strictly before ``t``."""
        cron = self.cron
        if not cron.text or cron.masks.never:
            return None
        t = min(t, LAST_INSTANT)
        zone_ = zone(self.timezone)
        minutes = cron.minutes_of_day
        while t > FIRST_INSTANT:
            table = zone_.table(t - 1, t - 1)
            index = table.index(t - 1)
            stretch = self._stretch(table, index)
            local = min(t + stretch.offset, stretch.high)
            found = _previous_local(cron, minutes, local)
            if found is not None and found >= stretch.low:
                return found - stretch.offset
            if stretch.extra and stretch.start < t:
                return stretch.start
            if found is None:
                return None
            t = stretch.start if index else FIRST_INSTANT
            if _previous_local(cron, minutes, stretch.low + 2 * DAY) == found:
                t = min(t, found - stretch.offset + 2 * DAY)
        return None

    def epochs_between(self, a: int, b: int) -> list[int]:
        """Return the Unix times of the fires in (a, b], in order, a day at a time."""
        cron = self.cron
        fires: list[int] = []
        if not cron.text or cron.masks.never:
            return fires
        seconds = [minute * 60 for minute in cron.minutes_of_day]
        for stretch, low, high in self._local_ranges(a, b):
            if stretch.extra and a < stretch.start <= b and (not fires or fires[-1] != stretch.start):
                fires.append(stretch.start)
                low = max(low, stretch.start + stretch.offset + 1)  # noqa: PLW2901 - merged with a fire at the start
            day = cron.masks.next_day(low // DAY)
            while day is not None and day * DAY < high:
                base = day * DAY - stretch.offset
                first = bisect_left(seconds, low - day * DAY) if day * DAY < low else 0
                last = bisect_left(seconds, high - day * DAY) if day * DAY + DAY > high else len(seconds)
                fires.extend([base + second for second in seconds[first:last]])
                day = cron.masks.next_day(day + 1)
        return fires

    def count_epochs(self, a: int, b: int) -> int:
        """Count the fires in (a, b]."""
        cron = self.cron
        if not cron.text or cron.masks.never:
            return 0
        minutes = cron.minutes_of_day
        total = 0
        for stretch, low, high in self._local_ranges(a, b):
            if stretch.extra and a < stretch.start <= b:
                total += 1
                low = max(low, stretch.start + stretch.offset + 1)  # noqa: PLW2901 - merged with a fire at the start
            if low < high:
                total += _count_local(cron, minutes, low, high)
        return total

    def dst_effects(self, a: datetime, b: datetime) -> list[DstEffect]:
        """Return what the changes of the clock in (a, b] do to this schedule, in order, where they do anything."""
        effects: list[DstEffect] = []
        cron = self.cron
        if not cron.text or cron.masks.never:
            return effects
        low, high = _floor(a), _floor(b)
        table = zone(self.timezone).table(low, high)
        for index in range(max(table.index(low), 1), table.index(high) + 1):
            start, offset, before = table.starts[index], table.offsets[index], table.offsets[index - 1]
            if not low < start <= high:
                continue
            if offset > before:
                hit = _count_local(cron, cron.minutes_of_day, start + before, start + offset)
                words = self._gap_words(hit)
            else:
                hit = _count_local(cron, cron.minutes_of_day, start + offset, start + before)
                words = self._fold_words(hit)
            if hit:
                kind: Literal["gap", "fold"] = "gap" if offset > before else "fold"
                effects.append(DstEffect(instant=_utc(start), kind=kind, words=words))
        return effects

    def _gap_words(self, hit: int) -> str:
        times = "1 time" if hit == 1 else f"{hit} times"
        if self.cron.interval:
            return f"the clock goes forward over {times} of this schedule: those do not exist and do not fire"
        if self.gap == "skip":
            return f"the clock goes forward over {times} of this schedule: skipped (gap = skip)"
        return f"the clock goes forward over {times} of this schedule: fires once, right after the gap"

    def _fold_words(self, hit: int) -> str:
        times = "1 time" if hit == 1 else f"{hit} times"
        if self.cron.interval:
            return f"the clock goes back over {times} of this schedule: fires in both passes"
        which = {"first": "fires in the first pass only", "second": "fires in the second pass only"}
        return f"the clock goes back over {times} of this schedule: {which.get(self.fold, 'fires in both passes')}"

    def _stretch(self, table: Table, index: int) -> _Stretch:
        """Say which local times of a stretch are fires of its own, by the policies for gap and fold."""
        offsets = table.offsets
        start, offset = table.starts[index], offsets[index]
        end = table.end_of(index)
        low = (start if index else FIRST_INSTANT - DAY) + offset
        high = end + offset
        extra = False
        if self.cron.interval:
            return _Stretch(start, offset, low, high, extra)
        if index:
            before = offsets[index - 1]
            if offset > before and self.gap == "after":
                gap = _next_local(self.cron, self.cron.minutes_of_day, start + before)
                extra = gap is not None and gap < low
            elif offset < before and self.fold == "first":
                low = min(start + before, high)
        if self.fold == "second" and index + 1 < len(offsets) and offsets[index + 1] < offset:
            high = max(end + offsets[index + 1], low)
        return _Stretch(start, offset, low, high, extra)

    def _local_ranges(self, a: int, b: int) -> Iterator[tuple[_Stretch, int, int]]:
        """Yield each stretch that meets (a, b] with the local times [low, high) in it that are to be looked at."""
        a, b = max(a, FIRST_INSTANT), min(b, LAST_INSTANT)
        if a >= b:
            return
        table = zone(self.timezone).table(a, b)
        index = table.index(a)
        while index < len(table.starts) and (index == 0 or table.starts[index] <= b):
            stretch = self._stretch(table, index)
            yield (
                stretch,
                max(stretch.low, a + 1 + stretch.offset),
                min(stretch.high, b + 1 + stretch.offset),
            )
            index += 1

    def _fire(self, epoch: int) -> FireTime:
        slot = _utc(epoch)
        return FireTime(scheduled_time=slot, run_time=slot + timedelta(seconds=self.delay))


def make_schedule(
    cron: str,
    *,
    timezone: str = "UTC",
    delay: int = 0,
    step: str = "multiples",
    day_match: str = "or",
    dst: str = "once",
    gap: str | None = None,
    fold: str | None = None,
) -> Schedule:
    """Make a schedule from what a config file says; raises CronError or ScheduleError, both ValueErrors.

    ``dst`` sets gap and fold together ("once": after and first; "wallclock": skip and both); each may be set by itself.
    """
    if dst not in DST_PAIRS:
        raise ScheduleError("dst", dst, f"{dst!r}: use one of {', '.join(DST_PAIRS)}")
    default_gap, default_fold = DST_PAIRS[dst]
    chosen_gap, chosen_fold = gap or default_gap, fold or default_fold
    if chosen_gap not in ("after", "skip"):
        raise ScheduleError("gap", gap, f"{gap!r}: use one of after, skip")
    if chosen_fold not in ("first", "second", "both"):
        raise ScheduleError("fold", fold, f"{fold!r}: use one of first, second, both")
    if delay < 0:
        raise ScheduleError("delay", delay, f"{delay} is negative: a run cannot start before its slot")
    try:
        zone(timezone)
    except ZoneError as error:
        raise ScheduleError("timezone", timezone, str(error)) from error
    return Schedule(
        cron=parse(cron, step=step, day_match=day_match),
        timezone=timezone,
        delay=delay,
        gap=cast("Gap", chosen_gap),
        fold=cast("Fold", chosen_fold),
    )


def _next_local(cron: CronExpression, minutes: tuple[int, ...], local: int) -> int | None:
    """Return the first matching local time that is not before ``local``."""
    day, second = divmod(local, DAY)
    found = cron.masks.next_day(day)
    if found is None:
        return None
    if found == day:
        place = bisect_left(minutes, -(-second // 60))
        if place < len(minutes):
            return day * DAY + minutes[place] * 60
        found = cron.masks.next_day(day + 1)
        if found is None:
            return None
    return found * DAY + minutes[0] * 60


def _previous_local(cron: CronExpression, minutes: tuple[int, ...], local: int) -> int | None:
    """Return the last matching local time strictly before ``local``."""
    day, second = divmod(local - 1, DAY)
    found = cron.masks.previous_day(day)
    if found is None:
        return None
    if found == day:
        place = bisect_right(minutes, second // 60)
        if place:
            return day * DAY + minutes[place - 1] * 60
        found = cron.masks.previous_day(day - 1)
        if found is None:
            return None
    return found * DAY + minutes[-1] * 60


def _count_local(cron: CronExpression, minutes: tuple[int, ...], low: int, high: int) -> int:
    """Count the matching local times in [low, high)."""
    first_day, first_second = divmod(low, DAY)
    last_day, last_second = divmod(high - 1, DAY)
    count = cron.masks.count_days(first_day, last_day) * len(minutes)
    if cron.masks.next_day(first_day) == first_day:
        count -= bisect_left(minutes, -(-first_second // 60))
    if cron.masks.next_day(last_day) == last_day:
        count -= len(minutes) - bisect_right(minutes, last_second // 60)
    return count


def _floor(t: datetime) -> int:
    """Return whole Unix seconds, rounded down; raises ValueError for a naive time."""
    if t.tzinfo is None:
        raise ValueError(f"{t.isoformat()} has no time zone; instants are aware")
    delta = t - _EPOCH
    return delta.days * DAY + delta.seconds


def _ceil(t: datetime) -> int:
    return _floor(t) + (1 if t.microsecond else 0)


def _utc(epoch: int) -> datetime:
    return _EPOCH + timedelta(seconds=epoch)
