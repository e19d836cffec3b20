"""Whether every slot that was owed has exactly one row: recomputed from what each job was, from when on. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from scheduler.completions import Success, complete_slots, owed_slots
from scheduler.schedule import Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What happened to a job at ``valid_from``. It owes no slot at or before ``anchored_at``.

    ``schedule`` is the one it had from then on; None if it had none. ``after`` is what it ran after from then on, and
    ``ends`` the Unix time from which on it had no slots, if it ran after something.
    """

    change: Literal["put", "removed", "disabled", "enabled"]
    schedule: Schedule | None
    valid_from: datetime
    anchored_at: datetime
    after: tuple[str, ...] = ()
    ends: int | None = None


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
    which what the job runs after has not succeeded, or one for several slots whose number is another.
    """

    kind: Literal["hole", "double", "stray"]
    job: str
    first: datetime
    last: datetime
    count: int
    runs: tuple[int, ...] = ()


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


@dataclass(kw_only=True, slots=True)
class _Slots:
    """The slots that were owed, as Unix times in order, and how many rows there are for each."""

    owed: list[int]
    cover: list[int]
    allowed: set[int] = field(default_factory=set)
    """Further slots that may have a row: what the job runs after has succeeded for them."""
    is_follower: bool = False
    """Whether it never had a schedule, and every row has to be of a slot that may have one."""
    runs: dict[int, list[int]] = field(default_factory=dict)


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
    owed: list[int] = []
    for period in periods:
        until = period.until or settled_until
        after = max(filter(None, (period.after, since)))
        if until is not None and until > after:
            epochs = period.schedule.epochs_between(_epoch(after), _epoch(until))
            owed += epochs[bisect_right(epochs, owed[-1]) :] if owed else epochs
    allowed: set[int] = set()
    if any(change.after for change in changes):
        begin = _epoch(since) if since is not None else None
        following = {slot for slot in owed_slots(changes, successes) if begin is None or slot > begin}
        owed = sorted(following.union(owed))
        allowed = complete_slots(changes, successes)
    is_follower = bool(changes) and all(change.after for change in changes)
    slots = _Slots(owed=owed, cover=[0] * len(owed), allowed=allowed, is_follower=is_follower)
    strays = list(_lay(name, slots, rows, periods, settled_until=settled_until, since=since))
    findings = [*_runs_of(name, slots, "hole"), *_runs_of(name, slots, "double"), *strays]
    findings.sort(key=lambda finding: (finding.first, finding.kind))
    return Audit(jobs=1, owed=len(owed), sound=slots.cover.count(1), findings=tuple(findings))


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
        first = row.first or row.slot
        is_cut = since is not None and first <= since
        if in_force and (settled_until is None or row.slot > settled_until):
            continue  # stored after the mark was read
        low, high = bisect_left(slots.owed, _epoch(first)), bisect_right(slots.owed, _epoch(row.slot))
        for index in range(low, high):
            slots.cover[index] += 1
            slots.runs.setdefault(index, []).append(row.run)
        if (high > low) if is_cut else (high - low == row.count):
            continue
        if _epoch(row.slot) in slots.allowed:
            continue
        if slots.is_follower or any(_is_in(period, row.slot) for period in periods):
            yield Finding(kind="stray", job=name, first=first, last=row.slot, count=row.count, runs=(row.run,))


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
            numbers = sorted({run for at in range(begin, index) for run in slots.runs.get(at, ())})
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
