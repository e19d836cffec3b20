"""Which slots are owed at a given instant, and when to look next. Values and a heap; no I/O, no clock."""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from scheduler.schedules.schedule import FireTime, Schedule

GRACE = timedelta(seconds=60)
"""With ``catch_up = "none"``, a slot this late is on time: a tick may be held up, a restart takes seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """``count`` slots from ``first`` to ``last`` that will not run, and why."""

    first: datetime
    last: datetime
    count: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """What one look at a schedule says: slots to run (oldest first), slots skipped, and the new high-water mark."""

    fires: tuple[FireTime, ...]
    passed_over: tuple[PassedOver, ...]
    high_water: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What the plan needs to know of a job: its schedule, its catch-up, and the last slot that is settled (UTC).

    ``revision`` is that of the definition that the schedule was read from.
    """

    name: str
    schedule: Schedule
    after: datetime
    catch_up: str = "latest"
    catch_up_window: timedelta = timedelta(days=7)
    revision: int = 0


def due(planned: Planned, now: datetime, limit: int | None = None) -> Due | None:
    """Say which slots after ``planned.after`` and up to ``now`` are due; None if there is none.

    A slot whose delay is not over is not late: it is always kept. Of the late ones, those older than the window are
    skipped, and of the rest the catch-up policy keeps all, the newest, or those within :data:`GRACE`. Of the slots to
    run, only the oldest ``limit`` are returned: the high-water mark is then the last of these, and asking again with it
    gives the rest.
    """
    schedule, after = planned.schedule, planned.after
    if now <= after or not schedule.count(after, now):
        return None
    late_until = max(after, now - timedelta(seconds=schedule.delay))
    window_start = max(after, min(now - planned.catch_up_window, late_until))
    passed_over = list(pass_over(schedule, after, window_start, "older than catch_up_window"))
    keep_after = window_start
    match planned.catch_up:
        case "all":
            pass
        case "latest":
            newest = schedule.previous(late_until + timedelta(microseconds=1))
            if newest is not None and newest.scheduled_time > window_start:
                keep_after = newest.scheduled_time - timedelta(microseconds=1)
                passed_over += pass_over(schedule, window_start, keep_after, "missed, catch_up is latest")
        case _:
            keep_after = max(window_start, late_until - GRACE)
            passed_over += pass_over(schedule, window_start, keep_after, "missed, catch_up is none")
    if limit is not None and schedule.count(keep_after, now) > limit:
        fires = tuple(islice(schedule.fires_after(keep_after), limit))
        return Due(fires=fires, passed_over=tuple(passed_over), high_water=fires[-1].scheduled_time)
    newest = schedule.previous(now + timedelta(microseconds=1))
    return Due(
        fires=tuple(schedule.between(keep_after, now)),
        passed_over=tuple(passed_over),
        high_water=newest.scheduled_time if newest is not None else now,
    )


def pass_over(schedule: Schedule, after: datetime, until: datetime, reason: str) -> Iterator[PassedOver]:
    """Yield what stands for every slot in (after, until], if there is any."""
    count = schedule.count(after, until) if until > after else 0
    if not count:
        return
    first = schedule.next_after(after)
    last = schedule.previous(until + timedelta(microseconds=1))
    if first is not None and last is not None:
        yield PassedOver(first=first.scheduled_time, last=last.scheduled_time, count=count, reason=reason)


class Plan:
    """The heap over all schedules: the next slot of each job, so that a look costs what is due, not what exists."""

    def __init__(self) -> None:
        self._jobs: dict[str, Planned] = {}
        # The number tells entries of one job and one slot apart: what a job is cannot be put in order.
        self._heap: list[tuple[float, str, int, Planned]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, planned: Planned) -> None:
        """Add a job or replace it."""
        if self._jobs.get(planned.name) == planned:
            return
        self._jobs[planned.name] = planned
        fire = planned.schedule.next_after(planned.after)
        if fire is not None:
            heapq.heappush(self._heap, (fire.scheduled_time.timestamp(), planned.name, next(self._numbers), planned))

    def drop(self, name: str) -> None:
        """Forget a job; its heap entry goes when it comes up."""
        self._jobs.pop(name, None)

    def jobs(self) -> tuple[Planned, ...]:
        """Return what the plan knows of its jobs."""
        return tuple(self._jobs.values())

    def names(self) -> frozenset[str]:
        """Return the names of the jobs in the plan."""
        return frozenset(self._jobs)

    def next_wakeup(self) -> float | None:
        """Return the earliest coming slot as a Unix time, None if no job has one."""
        while self._heap and self._jobs.get(self._heap[0][1]) is not self._heap[0][3]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: datetime, limit: int) -> list[Planned]:
        """Take at most ``limit`` jobs with slots up to ``now`` off the heap. ``put`` each back when it is settled."""
        taken: list[Planned] = []
        until = now.timestamp()
        while len(taken) < limit and (wakeup := self.next_wakeup()) is not None and wakeup <= until:
            planned = heapq.heappop(self._heap)[3]
            del self._jobs[planned.name]
            taken.append(planned)
        return taken
