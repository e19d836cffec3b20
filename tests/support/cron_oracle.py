"""A slow, obviously right reading of a schedule: walk the clock minute by minute and ask of each if it matches.

It shares nothing with the engine but the parsed sets, and takes its offsets from zoneinfo at every step.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from scheduler.schedules.expression import CronExpression
from scheduler.schedules.schedule import Schedule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = 60
HOUR = 3600
LONGEST_JUMP = 25 * HOUR
"""No clock since 1990 was moved by more than a day."""


class Wall(NamedTuple):
    """What a clock on the wall and a calendar beside it show."""

    minute: int
    hour: int
    day: int
    month: int
    weekday: int


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A zone's clock over (after, until] and a margin, minute by minute. Keys are seconds since 1970 on that clock.

    ``passes`` has the instants at which the clock shows a minute: two of them in a fold. ``lost`` has the instant
    after each gap and the minutes that the clock left out there.
    """

    after: int
    until: int
    passes: dict[int, list[int]]
    lost: list[tuple[int, list[int]]]
    walls: dict[int, Wall]


def walk(timezone: str, after: int, until: int, *, margin: int = LONGEST_JUMP) -> Walk:
    """Walk the clock. The margin must be as long as the longest jump near the window, for a pass may lie outside."""
    zone = ZoneInfo(timezone)
    passes: dict[int, list[int]] = {}
    lost: list[tuple[int, list[int]]] = []
    begin = (after - margin) // MINUTE * MINUTE
    before = _offset(zone, begin - MINUTE)
    for instant in range(begin, until + margin, MINUTE):
        offset = _offset(zone, instant)
        assert offset % MINUTE == 0, f"{timezone} at {instant} is {offset} seconds off"
        if offset > before:
            lost.append((instant, list(range(instant + before, instant + offset, MINUTE))))
        before = offset
        passes.setdefault(instant + offset, []).append(instant)
    shown = {local: _wall(local) for local in [*passes, *(local for _, locals_ in lost for local in locals_)]}
    return Walk(after=after, until=until, passes=passes, lost=lost, walls=shown)


def matching(cron: CronExpression, walls: dict[int, Wall]) -> set[int]:
    """Return the minutes of a walk that are in the expression's sets."""
    minutes, hours, months = set(cron.minutes), set(cron.hours), set(cron.months)
    found = set()
    for local, wall in walls.items():
        if wall.minute in minutes and wall.hour in hours and wall.month in months and _date_matches(cron, wall):
            found.add(local)
    return found


def fires(schedule: Schedule, walked: Walk, matches: set[int]) -> list[int]:
    """Return the Unix times of the fires in (after, until] by the schedule's policies for gap and fold."""
    found: set[int] = set()
    interval = schedule.cron.interval
    for local in matches & walked.passes.keys():
        instants = walked.passes[local]
        if interval or schedule.fold == "both":
            found.update(instants)
        elif schedule.fold == "first":
            found.add(instants[0])
        else:
            found.add(instants[-1])
    if schedule.gap == "after" and not interval:
        found.update(instant for instant, locals_ in walked.lost if matches.intersection(locals_))
    return sorted(instant for instant in found if walked.after < instant <= walked.until)


def oracle(schedule: Schedule, after: int, until: int) -> list[int]:
    """Return the Unix times of the fires in (after, until], for zones whose offsets are whole minutes there."""
    walked = walk(schedule.timezone, after, until)
    return fires(schedule, walked, matching(schedule.cron, walked.walls))


def _date_matches(cron: CronExpression, wall: Wall) -> bool:
    by_day = wall.day in cron.days
    by_weekday = wall.weekday in cron.weekdays
    if cron.day_starred or cron.ignored == "day of month":
        return by_weekday
    if cron.weekday_starred or cron.ignored == "day of week":
        return by_day
    return (by_day and by_weekday) if cron.day_match == "and" else (by_day or by_weekday)


def _wall(local: int) -> Wall:
    shown = EPOCH + timedelta(seconds=local)
    return Wall(shown.minute, shown.hour, shown.day, shown.month, shown.isoweekday() % 7)


def _offset(zone: ZoneInfo, instant: int) -> int:
    delta = (EPOCH + timedelta(seconds=instant)).astimezone(zone).utcoffset() or timedelta()
    return delta.days * 86_400 + delta.seconds


def random_field(rng: random.Random, low: int, high: int, *, star: float) -> str:
    """Make a legal field: ``*``, a step, a range with or without step, or a list."""
    top = 6 if high == 7 else high
    draw = rng.random()
    if draw < star:
        return "*"
    if draw < star + (1 - star) * 0.25:
        return f"*/{rng.randint(1, top)}"
    if draw < star + (1 - star) * 0.5:
        first = rng.randint(low, high - 1)
        last = rng.randint(first, high)
        step = f"/{rng.randint(1, max(1, top // 2))}" if rng.random() < 0.3 else ""
        return f"{first}-{last}{step}"
    return ",".join(str(rng.randint(low, high)) for _ in range(rng.randint(1, 3)))


def random_expression(rng: random.Random) -> str:
    """Make a legal expression, sparse and dense ones alike."""
    return " ".join(
        (
            random_field(rng, 0, 59, star=0.2),
            random_field(rng, 0, 23, star=0.3),
            random_field(rng, 1, 31, star=0.5),
            random_field(rng, 1, 12, star=0.7),
            random_field(rng, 0, 7, star=0.6),
        )
    )


def night_expression(rng: random.Random) -> str:
    """Make an expression that is likely to meet a change of the clock, most of which come at night."""
    hour = rng.choice(["0", "1", "2", "3", "1-3", "0-2", "23", "*", "*/2", random_field(rng, 0, 23, star=0.3)])
    minute = rng.choice(["0", "30", random_field(rng, 0, 59, star=0.2)])
    if rng.random() < 0.6:
        return f"{minute} {hour} * * *"
    days = random_field(rng, 1, 31, star=0.7)
    return f"{minute} {hour} {days} {random_field(rng, 1, 12, star=0.8)} {random_field(rng, 0, 7, star=0.5)}"
