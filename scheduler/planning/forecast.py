"""The coming load: runs per hour of many schedules, counted without listing each fire. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from scheduler.jobs.dependent_slots import Common
from scheduler.schedules.days import DayMasks
from scheduler.schedules.schedule import DAY, Schedule

HOUR = 3600
CALLS_PER_RUN = 5
"""API calls of a run besides its batches: login, describe, create and close the BulkJob, list its batches once."""
CALLS_PER_BATCH = 2
"""API calls of a batch: send it, get its result."""
POLL_SECONDS = 10
"""While a BulkJob works it is looked at about this often; each look is a call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """A job to forecast: its schedule, or the slots that it shares with what it runs after.

    The rest is None if the job exports to no org, ``rows`` and ``seconds`` if it never ran.
    """

    name: str
    schedule: Schedule | Common
    batch_size: int | None = None
    rows: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLoad:
    """What a job adds to the load: its runs, and BulkJobs and API calls where they can be told."""

    name: str
    runs: int
    rows_per_run: int | None
    bulk_jobs: int | None
    api_calls: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """Runs by the hour in which they start, from ``start`` (a full hour, UTC) on, and what each job adds to them.

    ``unreadable`` are the jobs that are left out since they cannot be read, and why.
    """

    start: datetime
    hours: tuple[int, ...]
    jobs: tuple[JobLoad, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def peaks(self, count: int = 5) -> list[tuple[datetime, int]]:
        """Return the hours with the most runs, most first, without empty ones."""
        ranked = sorted(range(len(self.hours)), key=lambda index: (-self.hours[index], index))[:count]
        return [(self.start + timedelta(hours=index), self.hours[index]) for index in ranked if self.hours[index]]


def forecast(jobs: Iterable[Expected], *, start: datetime, days: int) -> Forecast:
    """Count the runs that start in each hour of ``days`` days from the full hour of ``start`` on."""
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    begin, hours = int(first.timestamp()), days * 24
    total = [0] * hours
    loads: list[JobLoad] = []
    for job in jobs:
        runs = 0
        for hour, count in runs_by_hour(job.schedule, begin, hours).items():
            total[hour] += count
            runs += count
        loads.append(_load(job, runs))
    return Forecast(start=first, hours=tuple(total), jobs=tuple(loads))


def runs_by_hour(schedule: Schedule | Common, begin: int, hours: int) -> dict[int, int]:
    """Count the runs (slot and delay) in each of ``hours`` hours from the Unix time ``begin`` on, by hour from 0.

    Those of a job that runs after others as if these took no time, and always succeeded.
    """
    if isinstance(schedule, Common):
        if len(schedule.schedules) != 1 or schedule.ends is not None:
            first = begin - schedule.delay - 1
            return dict(
                Counter((slot - first - 1) // HOUR for slot in schedule.epochs_between(first, first + hours * HOUR))
            )
        schedule = replace(schedule.schedules[0], delay=schedule.delay)
    low, high = begin - schedule.delay - 1, begin + hours * HOUR - schedule.delay - 1
    offset = _steady_offset(schedule.timezone, low // DAY, high // DAY + 1)
    if offset is None or schedule.bounds.clip(low, high) != (low, high):
        return dict(Counter((slot - low - 1) // HOUR for slot in schedule.epochs_between(low, high)))
    cron = schedule.cron
    if not cron.text or cron.masks.never:
        return {}
    # The clock does not change: each matching day adds the same pattern. Local second of the window's first instant:
    local = low + 1 + offset
    pattern = _pattern(cron.minutes, cron.hours, local % HOUR)
    found: dict[int, int] = {}
    for day in _days(cron.masks, local // DAY, (local + hours * HOUR - 1) // DAY):
        base = (day * DAY - local + local % HOUR) // HOUR
        for hour, count in pattern:
            if 0 <= base + hour < hours:
                found[base + hour] = found.get(base + hour, 0) + count
    return found


@lru_cache(maxsize=4096)
def _days(masks: DayMasks, first: int, last: int) -> tuple[int, ...]:
    """Return the matching days from ``first`` to ``last``; many schedules share theirs."""
    found: list[int] = []
    day = masks.next_day(first)
    while day is not None and day <= last:
        found.append(day)
        day = masks.next_day(day + 1)
    return tuple(found)


@lru_cache(maxsize=4096)
def _pattern(minutes: tuple[int, ...], hours: tuple[int, ...], phase: int) -> tuple[tuple[int, int], ...]:
    """Count a day's fires by hours that begin ``phase`` seconds after the full local hour; -1 is the hour before."""
    late = sum(1 for minute in minutes if minute * 60 >= phase)
    counts: Counter[int] = Counter()
    for hour in hours:
        counts[hour] += late
        counts[hour - 1] += len(minutes) - late
    return tuple((hour, count) for hour, count in sorted(counts.items()) if count)


@lru_cache(maxsize=1024)
def _steady_offset(timezone: str, first: int, last: int) -> int | None:
    """Return the zone's offset in seconds if each day (of Unix time) from ``first`` to ``last`` begins with it."""
    info = ZoneInfo(timezone)
    offsets = {datetime.fromtimestamp(day * DAY, info).utcoffset() for day in range(first, last + 1)}
    offset = offsets.pop()
    return None if offsets or offset is None else int(offset.total_seconds())


def _load(job: Expected, runs: int) -> JobLoad:
    if job.batch_size is None or job.rows is None:
        bulk_jobs = None if job.batch_size is None else runs
        return JobLoad(name=job.name, runs=runs, rows_per_run=job.rows, bulk_jobs=bulk_jobs, api_calls=None)
    batches = max(1, -(-job.rows // job.batch_size))
    polls = int((job.seconds or 0) // POLL_SECONDS)
    calls = runs * (CALLS_PER_RUN + CALLS_PER_BATCH * batches + polls)
    return JobLoad(name=job.name, runs=runs, rows_per_run=job.rows, bulk_jobs=runs, api_calls=calls)
