"""New time zone data: which jobs' coming slots they move, so that it is logged and announced. Pure.

Next times are always computed anew from the zone data at hand, strictly after the last slot that was settled. What is
left to do when the data change is to pass over the times of day that have been already and come once more by the new
data, so that no slot fires twice, and to tell a person.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from exporter.counted import counted
from scheduler.notifications.messages import NoticeText
from scheduler.schedules.schedule import Schedule

SHOWN = 50
"""Jobs that one notice tells by name."""
_NEXT = 3
_MONTH = timedelta(days=30)
_MONTHS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Coming slots of a job's ``revision``, UTC, in order: the next few, and one a month for a year.

    ``offset`` is that of its zone from UTC, in seconds, when they were taken.
    """

    revision: int
    offset: int
    slots: tuple[datetime, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """The version of the zone data, and samples of the coming slots under it, by job."""

    version: str
    jobs: Mapping[str, Samples]


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """A job of whose slots ``before``, UTC, was one and is none any more; ``after`` is the nearest that there is."""

    job: str
    before: datetime
    after: datetime | None


def look_out(version: str, schedules: Mapping[str, tuple[int, Schedule]], now: datetime) -> Outlook:
    """Return samples of what is coming, from each job's revision and schedule."""
    found = {
        name: Samples(revision=revision, offset=_offset(schedule, now), slots=_samples(schedule, now))
        for name, (revision, schedule) in schedules.items()
    }
    return Outlook(version=version, jobs=found)


def _offset(schedule: Schedule, at: datetime) -> int:
    offset = at.astimezone(ZoneInfo(schedule.timezone)).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _samples(schedule: Schedule, now: datetime) -> tuple[datetime, ...]:
    slots = {fire.scheduled_time for fire in islice(schedule.fires_after(now), _NEXT)}
    for month in range(1, _MONTHS + 1):
        fire = schedule.next_after(now + month * _MONTH)
        if fire is not None:
            slots.add(fire.scheduled_time)
    return tuple(sorted(slots))


def moved(old: Outlook, schedules: Mapping[str, tuple[int, Schedule]], now: datetime) -> list[Moved]:
    """Return, by name, the jobs that new zone data move; ``schedules`` reckon with the new ones.

    A job that was edited since is left out: its slots moved because a person wanted it.
    """
    found: list[Moved] = []
    for name, (revision, schedule) in sorted(schedules.items()):
        samples = old.jobs.get(name)
        if samples is None or samples.revision != revision:
            continue
        gone = next((slot for slot in samples.slots if slot > now and not schedule.matches(slot)), None)
        if gone is not None:
            found.append(Moved(job=name, before=gone, after=_nearest(schedule, gone)))
    return found


def repeated_until(old: Outlook, name: str, revision: int, schedule: Schedule, settled: datetime) -> datetime | None:
    """Return until when a job's times of day have been already, by the clock of the old data.

    ``settled`` is its last settled slot. None where new data turn no clock back, for an interval, whose fires are no
    times of day, and after an edit.
    """
    samples = old.jobs.get(name)
    if samples is None or samples.revision != revision or schedule.cron.interval:
        return None
    back = samples.offset - _offset(schedule, settled)
    return settled + timedelta(seconds=back) if back > 0 else None


def _nearest(schedule: Schedule, slot: datetime) -> datetime | None:
    fires = [fire.scheduled_time for fire in (schedule.previous(slot), schedule.next_after(slot)) if fire is not None]
    return min(fires, key=lambda other: abs(other - slot), default=None)


def announce(old: str, new: str, jobs: list[Moved]) -> NoticeText:
    """Word what new zone data moved."""
    lines = [f"{each.job}: {_time(each.before)} becomes {_time(each.after)}" for each in jobs[:SHOWN]]
    if len(jobs) > SHOWN:
        lines.append(f"and {len(jobs) - SHOWN} more")
    count = counted(len(jobs), "job")
    told = f"The time zone data changed from {old} to {new}. Next times are computed anew; no slot fires twice."
    return NoticeText(
        kind="tzdata",
        subject=f"New time zone data move {count}",
        body="\n".join([told, *lines, "schedctl next NAME shows the coming slots."]),
    )


def write(outlook: Outlook) -> str:
    """Return an outlook as text, to be stored."""
    jobs = {
        name: [each.revision, each.offset, *(int(slot.timestamp()) for slot in each.slots)]
        for name, each in outlook.jobs.items()
    }
    return json.dumps({"version": outlook.version, "jobs": jobs}, separators=(",", ":"))


def read(text: str | None) -> Outlook | None:
    """Return a stored outlook; None if there is none, or none that can be read."""
    try:
        stored = json.loads(text or "null")
        jobs = {
            str(name): Samples(
                revision=int(revision), offset=int(offset), slots=tuple(datetime.fromtimestamp(t, UTC) for t in times)
            )
            for name, (revision, offset, *times) in stored["jobs"].items()
        }
        return Outlook(version=str(stored["version"]), jobs=jobs)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def _time(slot: datetime | None) -> str:
    return "nothing" if slot is None else f"{slot:%Y-%m-%dT%H:%M:%SZ}"
