"""Whether every slot that was owed has exactly one row: recomputed from what each job was, from when on. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import zip_longest
from operator import attrgetter
from types import MappingProxyType
from typing import Literal

from scheduler.planning.audit_dependencies import Success, complete_slots, owed_slots
from scheduler.schedules.engine import LAST_INSTANT
from scheduler.schedules.schedule import Schedule

LISTED = 1_000
"""The slots of a row for more than this are counted, not listed."""
AHEAD = 86_400
"""Seconds by which slots are listed ahead of the row that is looked at: a call for each row would cost too much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What happened to a job at ``valid_from``. It owes no slot at or before ``anchored_at``.

    ``schedule`` is the one it had from then on; None if it had none. ``after`` is what it ran after from then on, and
    ``ends`` the Unix time from which on it had no slots, if it ran after something. ``fault`` is why its definition
    cannot be read: then neither is known.
    """

    change: Literal["put", "removed", "disabled", "enabled"]
    schedule: Schedule | None
    valid_from: datetime
    anchored_at: datetime
    after: tuple[str, ...] = ()
    ends: int | None = None
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotRow:
    """A stored row that stands for a slot; or, with ``first``, for ``count`` slots from there to ``slot``."""

    run: int
    slot: datetime
    first: datetime | None = None
    count: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something wrong with ``count`` slots of a job from ``first`` to ``last``; ``runs`` are the rows about it, if any.

    ``hole``: no row. ``double``: more than one row. ``stray``: a row for a time that the schedule does not name, or for
    which what the job runs after has not succeeded, or one for several slots whose number is another. ``unreadable``:
    from ``first`` to ``last`` (the same as ``first``: until now) the job was one that cannot be read, for ``reason``,
    so that nobody can tell which slots it owed; ``count`` is 0.
    """

    kind: Literal["hole", "double", "stray", "unreadable"]
    job: str
    first: datetime
    last: datetime
    count: int
    runs: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What was found of one job, or of all: slots owed, those that have their one row, and what is wrong."""

    jobs: int = 0
    owed: int = 0
    sound: int = 0
    findings: tuple[Finding, ...] = ()

    def __add__(self, other: "Audit") -> "Audit":
        """Return both together."""
        return Audit(
            jobs=self.jobs + other.jobs,
            owed=self.owed + other.owed,
            sound=self.sound + other.sound,
            findings=self.findings + other.findings,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Period:
    """A stretch (after, until] in which a schedule was in force; ``until`` None: it still is."""

    schedule: Schedule
    after: datetime
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Whole:
    """A row for all slots of a schedule from ``first`` to ``last``, Unix times."""

    schedule: Schedule
    first: int
    last: int
    run: int


@dataclass(kw_only=True, slots=True)
class _Slots:
    """The slots that were owed, as Unix times in order, and how many rows there are for each.

    They are listed as the rows come, so that the slots of a row for very many (a job that runs each minute owes five
    million in ten years) need not be: of these, only the last one is in the list.
    """

    stretches: list[tuple[Schedule, int, int]]
    """Schedules with the time (low, high] in which they were in force, in order, that is still to be listed."""
    owed: list[int] = field(default_factory=list)
    cover: list[int] = field(default_factory=list)
    allowed: set[int] = field(default_factory=set)
    """Further slots that may have a row: what the job runs after has succeeded for them."""
    is_follower: bool = False
    """Whether it never had a schedule, and every row has to be of a slot that may have one."""
    runs: dict[int, list[int]] = field(default_factory=dict)
    """The runs of the rows for a slot."""
    whole: list[_Whole] = field(default_factory=list)
    """The rows whose slots are not listed, in order."""
    unlisted: int = 0
    """How many slots are owed, but not listed."""

    def list_for(self, first: int, last: int) -> None:
        """Have the slots in [first, last] listed, whatever stands for them."""
        if self.stretches:
            self.list_until(last)
        if self.whole:
            self.list_whole(first, last)

    def list_until(self, until: int) -> None:
        """List the slots up to ``until`` that are not listed yet, and some that follow."""
        while self.stretches and self.stretches[0][1] < until:
            schedule, low, high = self.stretches.pop(0)
            end = min(high, until + AHEAD)
            epochs = schedule.epochs_between(low, end)
            self.owed += epochs
            self.cover += [0] * len(epochs)
            if end < high:
                self.stretches.insert(0, (schedule, end, high))

    def take_whole(self, row: SlotRow, first: int, count: int | None) -> bool:
        """Let a row stand for the slots from ``first`` on, listing few of them; False if these are not ``count``.

        ``count`` None: any number. What comes before the row is listed.
        """
        last = _epoch(row.slot)
        self.list_until(first - 1)
        if not self.stretches:
            return False
        schedule, low, high = self.stretches[0]
        begin = max(low, first - 1)
        listed = range(bisect_left(self.owed, first), len(self.owed))
        rest = schedule.count_epochs(begin, last)
        is_end = low < last <= high and schedule.next_epoch(last - 1) == last
        if not is_end or count not in (None, len(listed) + rest) or any(self.cover[index] for index in listed):
            return False
        for index in listed:
            self.cover[index] = 1
            self.runs[self.owed[index]] = [row.run]
        self.stretches[0] = (schedule, last, high)
        self.runs[last] = [row.run]
        self.owed.append(last)
        self.cover.append(1)
        self.whole.append(_Whole(schedule=schedule, first=begin + 1, last=last, run=row.run))
        self.unlisted += rest - 1
        return True

    def list_whole(self, first: int, last: int) -> None:
        """List the slots of rows that stand for slots in [first, last] too: another row is for some of them."""
        while True:
            place = bisect_left(self.whole, first, key=attrgetter("last"))
            if place == len(self.whole) or self.whole[place].first > last:
                return
            found = self.whole.pop(place)
            epochs = found.schedule.epochs_between(found.first - 1, found.last)
            index = bisect_left(self.owed, found.last)
            self.owed[index : index + 1] = epochs
            self.cover[index : index + 1] = [1] * len(epochs)
            self.runs |= {epoch: [found.run] for epoch in epochs}
            self.unlisted -= len(epochs) - 1


def audit_job(
    name: str,
    changes: Sequence[Change],
    rows: Iterable[SlotRow],
    *,
    settled_until: datetime | None,
    since: datetime | None = None,
    successes: Mapping[str, Sequence[Success]] = MappingProxyType({}),
) -> Audit:
    """Compare what one job owed with the rows that there are.

    ``changes`` are all there ever were, oldest first. Slots up to ``settled_until`` (the job's high-water mark; None:
    no slot came yet) were looked at, later ones are not owed yet. Slots at or before ``since`` are left out.
    ``successes`` are the runs that succeeded, by job, of all that it ever ran after.
    """
    periods = list(_periods(changes))
    slots = _Slots(
        stretches=list(_stretches(periods, settled_until=settled_until, since=since)),
        is_follower=bool(changes) and all(change.after for change in changes),
    )
    if any(change.after for change in changes):
        begin = _epoch(since) if since is not None else None
        following = {slot for slot in owed_slots(changes, successes) if begin is None or slot > begin}
        slots.list_until(LAST_INSTANT)
        slots.owed = sorted(following.union(slots.owed))
        slots.cover = [0] * len(slots.owed)
        slots.allowed = complete_slots(changes, successes)
    strays = list(_lay(name, slots, rows, periods, settled_until=settled_until, since=since))
    slots.list_until(LAST_INSTANT)
    findings = [*_runs_of(name, slots, "hole"), *_runs_of(name, slots, "double"), *strays]
    findings += _unreadable(name, changes, since)
    findings.sort(key=lambda finding: (finding.first, finding.kind))
    return Audit(
        jobs=1,
        owed=len(slots.owed) + slots.unlisted,
        sound=slots.cover.count(1) + slots.unlisted,
        findings=tuple(findings),
    )


def _unreadable(name: str, changes: Sequence[Change], since: datetime | None) -> Iterator[Finding]:
    """Yield the times in which the job was enabled, and its definition was one that cannot be read."""
    disabled = False
    for change, after in zip_longest(changes, changes[1:]):
        disabled = change.change == "disabled" or (disabled and change.change == "put")
        until = after.valid_from if after is not None else change.valid_from
        is_over = after is not None and since is not None and until <= since
        if change.fault is not None and change.change != "removed" and not disabled and not is_over:
            yield Finding(
                kind="unreadable", job=name, first=change.valid_from, last=until, count=0, reason=change.fault
            )
        if change.change == "removed":
            disabled = False


def _stretches(
    periods: Sequence[_Period], *, settled_until: datetime | None, since: datetime | None
) -> Iterator[tuple[Schedule, int, int]]:
    """Yield each schedule with the Unix times (low, high] of the slots that it owed, in order, without overlaps."""
    last: int | None = None
    for period in periods:
        until = period.until or settled_until
        after = max(filter(None, (period.after, since)))
        if until is None or until <= after:
            continue
        low, high = _epoch(after), _epoch(until)
        if last is not None:
            low = max(low, last)
        if high <= low or not period.schedule.count_epochs(low, high):
            continue  # before it is looked for: looking back over years takes their zone data
        newest = period.schedule.previous_epoch(high + 1)
        if newest is not None:
            last = newest
            yield period.schedule, low, newest


def _periods(changes: Sequence[Change]) -> Iterator[_Period]:
    """Yield the stretches in which the job owed slots, in order."""
    current: _Period | None = None
    disabled = False
    for change in changes:
        disabled = change.change == "disabled" or (disabled and change.change == "put")
        active = change.schedule is not None and not disabled and change.change != "removed"
        if current is not None and active and change.anchored_at == current.after:
            continue  # nothing that bears on when it fires
        if current is not None:
            # A clock that went back since: slots that fired already are the old schedule's, up to the new anchor.
            yield replace(current, until=change.anchored_at if active else change.valid_from)
        current = None
        if active and change.schedule is not None:
            current = _Period(schedule=change.schedule, after=change.anchored_at)
        if change.change == "removed":
            disabled = False
    if current is not None:
        yield current


def _lay(
    name: str,
    slots: _Slots,
    rows: Iterable[SlotRow],
    periods: Sequence[_Period],
    *,
    settled_until: datetime | None,
    since: datetime | None,
) -> Iterator[Finding]:
    """Lay each row over the slots that it stands for, and yield those that do not fit."""
    in_force = bool(periods) and periods[-1].until is None
    for row in rows:
        if since is not None and row.slot <= since:
            continue
        first, last = _epoch(row.first or row.slot), _epoch(row.slot)
        is_cut = since is not None and first <= _epoch(since)
        if in_force and (settled_until is None or row.slot > settled_until):
            continue  # stored after the mark was read
        if since is not None and is_cut:
            first = _epoch(since) + 1
        if row.count > LISTED and slots.take_whole(row, first, None if is_cut else row.count):
            continue
        slots.list_for(first, last)
        low, high = bisect_left(slots.owed, first), bisect_right(slots.owed, last)
        for index in range(low, high):
            slots.cover[index] += 1
            slots.runs.setdefault(slots.owed[index], []).append(row.run)
        if (high > low) if is_cut else (high - low == row.count):
            continue
        if last in slots.allowed:
            continue
        if slots.is_follower or any(_is_in(period, row.slot) for period in periods):
            begin = row.first or row.slot
            yield Finding(kind="stray", job=name, first=begin, last=row.slot, count=row.count, runs=(row.run,))


def _is_in(period: _Period, slot: datetime) -> bool:
    """Whether the schedule was in force; when none was, a row that came by a clock that was ahead harms nobody."""
    return slot > period.after and (period.until is None or slot <= period.until)


def _runs_of(name: str, slots: _Slots, kind: Literal["hole", "double"]) -> Iterator[Finding]:
    """Yield each unbroken series of slots without a row, or with several."""
    begin: int | None = None
    for index in range(len(slots.owed) + 1):
        wrong = index < len(slots.owed) and (slots.cover[index] == 0 if kind == "hole" else slots.cover[index] > 1)
        if wrong and begin is None:
            begin = index
        if not wrong and begin is not None:
            numbers = sorted({run for at in range(begin, index) for run in slots.runs.get(slots.owed[at], ())})
            yield Finding(
                kind=kind,
                job=name,
                first=_instant(slots.owed[begin]),
                last=_instant(slots.owed[index - 1]),
                count=index - begin,
                runs=tuple(numbers),
            )
            begin = None


def _epoch(instant: datetime) -> int:
    return int(instant.timestamp() // 1)


def _instant(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
