"""Jobs as people look at them. Pure, and made without the models that check a definition: `list` has 1,000 of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from scheduler.jobs.dependent_slots import Common, common_slots, end_of, join, when
from scheduler.jobs.outline import Outline
from scheduler.schedules.plain_words import in_words
from scheduler.schedules.schedule import SCHEDULE_KEYS, FireTime, Schedule, make_schedule
from storage.values import StoredJob, StoredRun


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLine:
    """A job with its state and the run that ended last: what a line of `list` tells.

    ``common`` are the slots of a job that runs after others, if :func:`with_slots` found them. ``fault`` is why this
    version, or the zone data of this machine, cannot read the definition: such a job fires for no slot.
    """

    stored: StoredJob
    last_run: StoredRun | None = None
    common: Common | None = None
    fault: str | None = None

    @property
    def outline(self) -> Outline:
        """Its stored definition."""
        return Outline(self.stored.definition)

    @property
    def name(self) -> str:
        """The job's name."""
        return self.stored.name

    @property
    def cron(self) -> str:
        """The job's cron expression, empty if it has none."""
        return self.outline.cron

    @property
    def after(self) -> tuple[str, ...]:
        """What it runs after; empty for a job that has a schedule, or runs only when asked to."""
        return self.outline.after

    @property
    def ends(self) -> int | None:
        """The Unix time at which its last day is over; None without one. Raises as :attr:`schedule` does."""
        return end_of(self.outline.ends_on, self.timezone)

    @property
    def is_enabled(self) -> bool:
        """Whether it fires at all."""
        return self.stored.disabled_at is None

    @property
    def is_scheduled(self) -> bool:
        """Whether it runs by itself: it has a cron, or a time to run once, or runs after others."""
        return bool(self.cron or self.outline.starts_at or self.after)

    @property
    def timezone(self) -> str:
        """The zone of its schedule."""
        return self.outline.timezone

    @property
    def delay(self) -> int:
        """How many seconds after its slot it runs; 0 where that cannot be read."""
        return self.outline.delay

    @property
    def schedule(self) -> Schedule | None:
        """When it runs; None for a job without one, and with a ``fault``.

        Where nobody looked for faults yet, it raises ValueError for a definition that cannot be read.
        """
        if self.after or not self.is_scheduled or self.fault is not None:
            return None
        given = self.stored.definition
        others = {key: given[key] for key in SCHEDULE_KEYS[1:] if given.get(key) is not None}
        return make_schedule(self.cron, **others)

    @property
    def state(self) -> str:
        """One of ``enabled``, ``disabled`` (by a person), ``auto_disabled`` (by the daemon), ``unscheduled``.

        Or ``unreadable``, while it is not disabled.
        """
        if self.stored.disabled_at is not None:
            return "auto_disabled" if self.stored.disabled_by == "daemon" else "disabled"
        if self.fault is not None:
            return "unreadable"
        return "enabled" if self.is_scheduled else "unscheduled"

    @property
    def words(self) -> str:
        """When it runs, in words, such as ``at 03:00 from Monday to Friday``; its cron as it is stored with a fault."""
        begin, end = self.outline.starts_at.replace("T", " "), self.outline.ends_on
        if self.after:
            return f"after {join(self.after)}" + (f", until {end}" if end else "")
        if self.fault is not None:
            return f"{self.cron} ({self.timezone})".strip()
        schedule = self.schedule
        if schedule is None:
            return "only when asked to"
        if not self.cron:
            return f"once, at {begin}"
        return in_words(schedule.cron) + (f", from {begin}" if begin else "") + (f", until {end}" if end else "")

    @property
    def failing(self) -> bool:
        """Whether its last run failed, or its failures disabled it, or it cannot be read."""
        last = self.last_run.outcome if self.last_run is not None else None
        is_off = self.state in ("auto_disabled", "unreadable")
        return last in ("failed", "interrupted") or is_off or self.stored.failure_streak > 0

    def settled_until(self, now: datetime) -> datetime:
        """Return the instant up to which no slot will fire any more."""
        return max(filter(None, (self.stored.high_water, self.stored.anchored_at, now)))

    @property
    def when(self) -> str:
        """When a job that runs after others does, such as ``when segment has succeeded``."""
        return when(self.after)

    def next_slot(self, now: datetime) -> datetime | None:
        """Return the next slot that it will fire for, or, if it runs after others, can come to run for."""
        fire = self.next_fire(now)
        if fire is not None or self.common is None or not self.is_enabled:
            return None if fire is None else fire.scheduled_time
        return self.common.next_after(self.settled_until(now))

    def next_fire(self, now: datetime) -> FireTime | None:
        """Return the next slot that will fire; None for a job without a schedule, without a future, or disabled."""
        if self.stored.disabled_at is not None:
            return None
        schedule = self.schedule
        return None if schedule is None else schedule.next_after(self.settled_until(now))


_Line = TypeVar("_Line", bound=JobLine)


def with_slots(lines: Sequence[_Line], others: Iterable[JobLine] = ()) -> list[_Line]:
    """Return the jobs with their faults, and those that run after others with the slots for that.

    A parent that is not among the jobs is in ``others``.
    """
    checked = [replace(line, fault=fault) if (fault := _fault(line)) is not None else line for line in lines]
    known: dict[str, JobLine] = {each.name: each for each in others} | {each.name: each for each in checked}
    return [
        replace(line, common=_common(line.name, known)) if line.after and line.fault is None else line
        for line in checked
    ]


def _fault(line: JobLine) -> str | None:
    """Return why a job has no schedule although it should, as far as that can be told without its models."""
    try:
        _ = line.schedule, line.ends
    except (ValueError, TypeError) as error:
        return line.fault or " ".join(str(error).split())
    return line.fault


def _common(name: str, known: dict[str, JobLine]) -> Common | None:
    try:
        return common_slots(name, known)
    except ValueError:  # another version wrote the schedule of one of them
        return None
