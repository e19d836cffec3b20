"""The coming fires of a schedule as people look at them: local time, and a note where the clock changes. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from scheduler.schedules.expression import CronExpression
from scheduler.schedules.schedule import FireTime, Schedule

DAY = timedelta(days=1)
YEAR = timedelta(days=365)
"""How far between two fires changes of the clock are looked for; further apart, their effects say nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fire:
    """One coming fire. ``local`` is the slot on the clock of the schedule's zone, ISO 8601 with its offset."""

    scheduled_time: datetime
    run_time: datetime
    local: str
    note: str


def coming(schedule: Schedule, after: datetime, count: int) -> list[Fire]:
    """Return the first ``count`` fires strictly after ``after``; fewer if there are no more."""
    return list(islice(_fires(schedule, after), count))


def fields(cron: CronExpression) -> dict[str, list[int]]:
    """Return the expanded values of the five fields by name; all empty where there is no schedule."""
    return {
        "minute": list(cron.minutes),
        "hour": list(cron.hours),
        "day_of_month": list(cron.days),
        "month": list(cron.months),
        "day_of_week": list(cron.weekdays),
    }


def _fires(schedule: Schedule, after: datetime) -> Iterator[Fire]:
    info = ZoneInfo(schedule.timezone)
    last = after
    while (found := schedule.next_after(last)) is not None:
        yield _fire(schedule, found, last, info)
        last = found.scheduled_time


def _fire(schedule: Schedule, found: FireTime, last: datetime, info: ZoneInfo) -> Fire:
    local = found.scheduled_time.astimezone(info)
    before = last.astimezone(info)
    notes: list[str] = []
    if local.utcoffset() != before.utcoffset():
        notes.append(f"the clock changed: {_offset(before)} became {_offset(local)}")
    distance = found.scheduled_time - last
    # Within a day the clock does not change and change back; asking each time would cost more than finding the fires.
    if notes or DAY < distance <= YEAR:
        effects = schedule.dst_effects(last, found.scheduled_time)
        notes += [f"{effect.instant.astimezone(info):%Y-%m-%d}: {effect.words}" for effect in effects]
    return Fire(
        scheduled_time=found.scheduled_time,
        run_time=found.run_time,
        local=local.isoformat(),
        note="; ".join(notes),
    )


def _offset(local: datetime) -> str:
    return f"UTC{local.isoformat(timespec='seconds')[len('2026-11-23T03:00:00') :]}"
