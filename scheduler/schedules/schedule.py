"""A schedule: expression, time zone, DST policy and delay; and its fires, over instants in UTC. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import repeat
from operator import add, eq
from typing import Literal, NamedTuple, cast, overload

from scheduler.schedules.bounds import Bounds, bounds, check_end, check_start, once
from scheduler.schedules.engine import DAY, Instants
from scheduler.schedules.expression import CronExpression, parse
from scheduler.schedules.timezones import ZoneError, zone

__all__ = [
    "DAY",
    "DST_PAIRS",
    "SCHEDULE_KEYS",
    "DstEffect",
    "FireTime",
    "FireTimes",
    "Schedule",
    "ScheduleError",
    "make_schedule",
]

Gap = Literal["after", "skip"]
Fold = Literal["first", "second", "both"]
DST_PAIRS: dict[str, tuple[Gap, Fold]] = {"once": ("after", "first"), "wallclock": ("skip", "both")}
MAX_DELAY = 365 * DAY
LONG = 10 * DAY
"""From this span on, a list of fires is made by adding to each day's midnight, which costs a little in advance."""
ENDLESS = Bounds()
SCHEDULE_KEYS = (
    "cron",
    "timezone",
    "delay",
    "step",
    "day_match",
    "dst",
    "gap",
    "fold",
    "starts_at",
    "ends_on",
)
"""The keys of a definition that bear on when it fires; ``cron`` is the first."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduleError(ValueError):
    """A part of a schedule that is not legal: its key, its value, and a message that says what is."""

    def __init__(self, key: str, value: object, message: str) -> None:
        self.key = key
        self.value = value
        self.message = message
        super().__init__(f"{key}: {message}")


class FireTime(NamedTuple):
    """A slot and when its run may start, both UTC: ``run_time = scheduled_time + delay``.

    A named tuple, the cheapest value there is: a year of a busy schedule has a hundred thousand of them.
    """

    scheduled_time: datetime
    run_time: datetime


class FireTimes(Sequence[FireTime]):
    """Fires in order, held as their slots alone; each FireTime is made when it is taken.

    So a year of a busy schedule costs what its slots cost, and the collector of garbage has nothing to look through.
    It equals any sequence of the same fires.
    """

    __slots__ = ("_delay", "_slots")

    def __init__(self, slots: Sequence[datetime], delay: timedelta) -> None:
        self._slots = slots
        self._delay = delay

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[FireTime]:
        slots = self._slots
        runs = map(add, slots, repeat(self._delay)) if self._delay else slots
        # A FireTime's own constructor is Python code; its tuple's is not.
        return map(tuple.__new__, repeat(FireTime), zip(slots, runs, strict=True))

    @overload
    def __getitem__(self, index: int) -> FireTime: ...
    @overload
    def __getitem__(self, index: slice) -> "FireTimes": ...
    def __getitem__(self, index: int | slice) -> "FireTime | FireTimes":
        if isinstance(index, slice):
            return FireTimes(self._slots[index], self._delay)
        slot = self._slots[index]
        return FireTime(slot, slot + self._delay)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have none

    def __repr__(self) -> str:
        return f"FireTimes({list(self)!r})"


@dataclass(frozen=True, kw_only=True, slots=True)
class DstEffect:
    """A change of the clock that touches a schedule: the instant, and in words what happens to its fires."""

    instant: datetime
    kind: Literal["gap", "fold"]
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When a job fires. ``delay`` is in seconds. All instants in and out are aware; the ones out are UTC.

    Nothing fires in the years 1 and 9999, whose local times Python cannot always hold. A schedule whose every time
    falls into a gap that ``gap = "skip"`` skips never fires; that is known after 400 years of the zone's rules.
    Outside ``bounds`` there are no fires.
    """

    cron: CronExpression
    timezone: str = "UTC"
    delay: int = 0
    gap: Gap = "after"
    fold: Fold = "first"
    bounds: Bounds = ENDLESS
    _instants: Instants | None = field(default=None, init=False, compare=False, repr=False)
    """The engine, made when it is first needed."""

    def next_after(self, t: datetime) -> FireTime | None:
        """Return the first fire strictly after ``t``; None if there is none before the year 9999."""
        found = self.next_epoch(_floor(t))
        return None if found is None else self._fire(found)

    def previous(self, t: datetime) -> FireTime | None:
        """Return the last fire strictly before ``t``; None if there is none."""
        found = self.previous_epoch(_ceil(t))
        return None if found is None else self._fire(found)

    def fires_after(self, t: datetime) -> Iterator[FireTime]:
        """Yield the fires strictly after ``t``, as long as there are any."""
        epoch = self.next_epoch(_floor(t))
        while epoch is not None:
            yield self._fire(epoch)
            epoch = self.next_epoch(epoch)

    def between(self, a: datetime, b: datetime) -> FireTimes:
        """Return every fire with ``a < scheduled_time <= b``, in order."""
        return FireTimes(self.slots_between(a, b), timedelta(seconds=self.delay))

    def slots_between(self, a: datetime, b: datetime) -> list[datetime]:
        """Return the scheduled times alone, in (a, b]."""
        low, high = _floor(a), _floor(b)
        instants = self._instants or self._make()
        low, high = self.bounds.clip(low, high)
        if high - low < LONG:
            return [_utc(epoch) for epoch in instants.between(low, high)]
        steps = [timedelta(seconds=second) for second in instants.seconds]
        slots: list[datetime] = []
        for base, first, last in instants.days(low, high):
            midnight = _utc(base)
            slots.extend([midnight + step for step in steps[first:last]] if first < last else [midnight])
        return slots

    def count(self, a: datetime, b: datetime) -> int:
        """Count the fires with ``a < scheduled_time <= b`` without listing them."""
        return self.count_epochs(_floor(a), _floor(b))

    def matches(self, t: datetime) -> bool:
        """Whether ``t`` is a fire."""
        epoch = _floor(t)
        return epoch == _ceil(t) and self.next_epoch(epoch - 1) == epoch

    def next_epoch(self, t: int) -> int | None:
        """Return the Unix time of the first fire strictly after ``t``."""
        low, high = self.bounds.low, self.bounds.high
        found = (self._instants or self._make()).next(t if low is None else max(t, low - 1))
        return None if found is None or (high is not None and found >= high) else found

    def previous_epoch(self, t: int) -> int | None:
        """Return the Unix time of the last fire strictly before ``t``."""
        low, high = self.bounds.low, self.bounds.high
        found = (self._instants or self._make()).previous(t if high is None else min(t, high))
        return None if found is None or (low is not None and found < low) else found

    def epochs_between(self, a: int, b: int) -> list[int]:
        """Return the Unix times of the fires in (a, b], in order, a day at a time."""
        return (self._instants or self._make()).between(*self.bounds.clip(a, b))

    def count_epochs(self, a: int, b: int) -> int:
        """Count the fires in (a, b]."""
        return (self._instants or self._make()).count(*self.bounds.clip(a, b))

    def dst_effects(self, a: datetime, b: datetime) -> list[DstEffect]:
        """Return what the changes of the clock in (a, b] do to this schedule, in order, where they do anything."""
        effects: list[DstEffect] = []
        instants = self._instants or self._make()
        low, high = self.bounds.clip(_floor(a), _floor(b))
        table = zone(self.timezone).table(low, high)
        for index in range(max(table.index(low), 1), table.index(high) + 1):
            start, offset, before = table.starts[index], table.offsets[index], table.offsets[index - 1]
            if not low < start <= high:
                continue
            if offset > before:
                hit = instants.count_local(start + before, start + offset)
                words = self._gap_words(hit)
            else:
                hit = instants.count_local(start + offset, start + before)
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

    def _fire(self, epoch: int) -> FireTime:
        slot = _utc(epoch)
        return FireTime(slot, slot + timedelta(seconds=self.delay) if self.delay else slot)

    def _make(self) -> Instants:
        made = Instants(self.cron, self.timezone, self.gap, self.fold)
        object.__setattr__(self, "_instants", made)
        return made


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
    starts_at: str | None = None,
    ends_on: str | None = None,
) -> Schedule:
    """Make a schedule from what a config file says; raises CronError or ScheduleError, both ValueErrors.

    ``dst`` sets gap and fold together ("once": after and first; "wallclock": skip and both); each may be set by itself.
    Without ``cron`` it fires once, at ``starts_at``.
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
    if delay > MAX_DELAY:
        raise ScheduleError("delay", delay, f"{delay} seconds are over a year, the longest delay")
    try:
        zone(timezone)
    except ZoneError as error:
        raise ScheduleError("timezone", timezone, str(error)) from error
    limits = _bounds(starts_at, ends_on, timezone)
    if not cron and starts_at is not None:
        try:
            cron, limits = once(starts_at, timezone)
        except ValueError as error:
            raise ScheduleError("starts_at", starts_at, str(error)) from error
    return Schedule(
        cron=parse(cron, step=step, day_match=day_match),
        timezone=timezone,
        delay=delay,
        gap=cast("Gap", chosen_gap),
        fold=cast("Fold", chosen_fold),
        bounds=limits,
    )


def _bounds(starts_at: str | None, ends_on: str | None, timezone: str) -> Bounds:
    if starts_at is None and ends_on is None:
        return ENDLESS
    for key, value, check in (("starts_at", starts_at, check_start), ("ends_on", ends_on, check_end)):
        try:
            check(value)
        except ValueError as error:
            raise ScheduleError(key, value, str(error)) from error
    try:
        return bounds(starts_at, ends_on, timezone)
    except ValueError as error:
        raise ScheduleError("ends_on", ends_on, str(error)) from error


def _floor(t: datetime) -> int:
    """Return whole Unix seconds, rounded down; raises ValueError for a naive time."""
    if t.tzinfo is None:
        raise ValueError(f"{t.isoformat()} has no time zone; instants are aware")
    delta = t - _EPOCH
    return delta.days * DAY + delta.seconds


def _ceil(t: datetime) -> int:
    return _floor(t) + (1 if t.microsecond else 0)


def _utc(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
