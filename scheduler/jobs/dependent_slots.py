"""Jobs that run after others: which slots they can come to run for, and in what words. Pure, and light to import."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from scheduler.schedules.bounds import bounds
from scheduler.schedules.schedule import Schedule

_SEARCH = 5_000
"""So many times the next slot of one schedule is looked for in the others; those that share any do so much sooner."""


class Timed(Protocol):
    """What one has to know of a job to tell its slots."""

    @property
    def schedule(self) -> Schedule | None:
        """Its schedule; None if it has none of its own. Raises ValueError for what another version stored."""

    @property
    def after(self) -> tuple[str, ...]:
        """What it runs after."""

    @property
    def delay(self) -> int:
        """In seconds."""

    @property
    def ends(self) -> int | None:
        """The Unix time from which on a follower has no slot; None: no end."""

    @property
    def is_enabled(self) -> bool:
        """Whether it fires at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Common:
    """The slots that all of these schedules have, before ``ends``; ``delay`` is the sum of those on the longest way."""

    schedules: tuple[Schedule, ...]
    ends: int | None = None
    delay: int = 0

    def next_after(self, t: datetime) -> datetime | None:
        """Return the first slot strictly after ``t``; None if there is none in sight."""
        at: int | None = int(t.timestamp() // 1)
        for _ in range(_SEARCH):
            found = [schedule.next_epoch(at) for schedule in self.schedules] if at is not None else [None]
            known = [each for each in found if each is not None]
            if len(known) < len(found) or not known or (self.ends is not None and max(known) >= self.ends):
                return None
            if min(known) == max(known):
                return datetime.fromtimestamp(known[0], UTC)
            at = max(known) - 1
        return None

    def first(self, after: datetime, count: int) -> list[datetime]:
        """Return the first ``count`` slots strictly after ``after``; fewer if there are no more in sight."""
        found: list[datetime] = []
        while len(found) < count and (slot := self.next_after(found[-1] if found else after)) is not None:
            found.append(slot)
        return found

    def epochs_between(self, a: int, b: int) -> list[int]:
        """Return the Unix times of the slots in (a, b], in order."""
        each = [set(schedule.epochs_between(a, b)) for schedule in self.schedules]
        common = set.intersection(*each) if each else set()
        return sorted(slot for slot in common if self.ends is None or slot < self.ends)


def common_slots(name: str, jobs: Mapping[str, Timed]) -> Common | None:
    """Return the slots that a follower can come to run for: those that all that it runs after have.

    None if it comes to none by itself, since one of those is disabled, has no schedule, or is not there.
    """
    return _common(name, jobs, frozenset())


def _common(name: str, jobs: Mapping[str, Timed], above: frozenset[str]) -> Common | None:
    job = jobs.get(name)
    if job is None or name in above or not job.is_enabled:
        return None
    if not job.after:
        schedule = job.schedule
        return None if schedule is None else Common(schedules=(schedule,), delay=schedule.delay)
    found = [_common(parent, jobs, above | {name}) for parent in job.after]
    parents = [each for each in found if each is not None]
    if len(parents) < len(found):
        return None
    ends = [each for each in (job.ends, *(parent.ends for parent in parents)) if each is not None]
    return Common(
        schedules=tuple(dict.fromkeys(schedule for parent in parents for schedule in parent.schedules)),
        ends=min(ends, default=None),
        delay=job.delay + max(parent.delay for parent in parents),
    )


def idle(name: str, jobs: Mapping[str, Timed], now: datetime) -> str | None:
    """Say why a follower never runs by itself as things stand; None if it does, or is none."""
    if name not in jobs or not jobs[name].after:
        return None
    lacking = sorted(set(_lacking(name, jobs, frozenset())))
    if lacking:
        why = (
            f"{join(lacking)} {'has' if len(lacking) == 1 else 'have'} no schedule that can be read, or "
            f"{_be(lacking)} disabled or gone"
        )
        return f"it does not run automatically: {why}"
    found = common_slots(name, jobs)
    if found is not None and found.next_after(now) is None:
        if len(found.schedules) == 1:
            return f"it does not run automatically: {join(jobs[name].after)} {_be(jobs[name].after)} over"
        return (
            f"it does not run automatically: the schedules of {join(jobs[name].after)} share no slot that is in sight"
        )
    return None


def _lacking(name: str, jobs: Mapping[str, Timed], above: frozenset[str]) -> Iterator[str]:
    for parent in jobs[name].after if name not in above else ():
        job = jobs.get(parent)
        if job is None or not job.is_enabled or (not job.after and job.schedule is None):
            yield parent
        else:
            yield from _lacking(parent, jobs, above | {name})


def end_of(ends_on: str | None, timezone: str) -> int | None:
    """Return the Unix time at which the last day of a follower is over; None without one."""
    return bounds(None, ends_on, timezone).high if ends_on else None


def join(names: Sequence[str]) -> str:
    """Name jobs in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def when(parents: Sequence[str]) -> str:
    """Say when a follower runs: ``when a and b have succeeded``."""
    return f"when {join(parents)} {'has' if len(parents) == 1 else 'have'} succeeded"


def _be(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
