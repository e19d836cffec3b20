"""What people get wrong about a schedule, told before it costs them a night. Pure: ``now`` is an argument."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scheduler.cron import CronExpression, parse
from scheduler.cron_fields import FIELDS
from scheduler.schedule import Schedule
from scheduler.zones import zone

YEAR = timedelta(days=366)
_DAY = 86_400
_SHORT = 28
"""The last day that every month has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """One thing to look at: a stable code and a sentence."""

    code: str
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What the same text would do under another rule over the coming year: dates it adds, dates it leaves out."""

    rule: str
    words: str
    adds: tuple[str, ...]
    drops: tuple[str, ...]


def advise(schedule: Schedule, now: datetime) -> list[Advice]:
    """Return what a careful colleague would ask about this schedule."""
    cron = schedule.cron
    if not cron.text:
        return []
    if cron.never():
        return [Advice(code="never_fires", words=f"{cron.text!r} never fires: no such date exists")]
    found = [*_about_days(cron), *_uneven_steps(cron)]
    found += [
        Advice(code=f"dst_{effect.kind}", words=f"{_local(schedule, effect.instant)}: {effect.words}")
        for effect in schedule.dst_effects(now, now + YEAR)
        if not cron.interval
    ]
    return found


def differences(schedule: Schedule, now: datetime, *, limit: int = 5) -> list[Difference]:
    """Return how the dates of the coming year would differ under Vixie steps and the other day rules, if they do."""
    cron = schedule.cron
    if not cron.text:
        return []
    others = [
        ("step = offset", "with Vixie's steps (counted from 1)", {"step": "offset"}),
        ("step = multiples", "with Treasure Data's steps (multiples)", {"step": "multiples"}),
        ("day_match = or", "if either day field were enough", {"day_match": "or"}),
        ("day_match = and", "if both day fields had to match", {"day_match": "and"}),
        ("day_match = more-often", "if only the more frequent day field counted", {"day_match": "more-often"}),
    ]
    today = int(now.timestamp()) // _DAY
    mine = _dates(cron, today)
    found: list[Difference] = []
    for rule, words, change in others:
        other = parse(cron.text, **{"step": cron.step, "day_match": cron.day_match, **change})
        theirs = _dates(other, today)
        adds, drops = sorted(theirs - mine), sorted(mine - theirs)
        if adds or drops:
            found.append(
                Difference(
                    rule=rule,
                    words=words,
                    adds=tuple(_date(day) for day in adds[:limit]),
                    drops=tuple(_date(day) for day in drops[:limit]),
                )
            )
    return found


def _about_days(cron: CronExpression) -> list[Advice]:
    found: list[Advice] = []
    fields = cron.text.split(" ")
    for index, name in ((2, "day of month"), (3, "month")):
        stepped = any(item.startswith("*/") and item != "*/1" for item in fields[index].split(","))
        if stepped and cron.step == "multiples":
            values = ", ".join(map(str, (cron.days if index == 2 else cron.months)[:4]))  # noqa: PLR2004 - a field
            words = (
                f"{name} {fields[index]} means the multiples ({values}, …), as Treasure Data documents; "
                'Vixie cron counts from 1 (step = "offset")'
            )
            found.append(Advice(code="step_is_multiples", words=words))
    if not cron.day_starred and not cron.weekday_starred:
        found.append(Advice(code="both_day_fields", words=_both_days(cron)))
    if not cron.day_starred and cron.ignored != "day of month" and cron.days and cron.days[0] > _SHORT:
        words = f"day of month {fields[2]}: months without that day are passed over"
        found.append(Advice(code="short_months", words=words))
    return found


def _both_days(cron: CronExpression) -> str:
    if cron.ignored is not None:
        return f'both day fields are restricted: {cron.ignored} is ignored (day_match = "more-often")'
    rule = "both must match" if cron.day_match == "and" else "a date that matches either one fires"
    return f'both day fields are restricted: {rule} (day_match = "{cron.day_match}")'


def _uneven_steps(cron: CronExpression) -> list[Advice]:
    found: list[Advice] = []
    for spec, text, size in zip(FIELDS[:2], cron.text.split(" "), (60, 24), strict=False):
        if text.startswith("*/") and text[2:].isdigit() and size % int(text[2:]):
            last = (size - 1) // int(text[2:]) * int(text[2:])
            words = (
                f"{spec.name} {text}: {text[2:]} does not divide {size}, so the last step of each "
                f"{'hour' if size == 60 else 'day'} is shorter: {last} to {size} is {size - last}"  # noqa: PLR2004
            )
            found.append(Advice(code="uneven_step", words=words))
    return found


def _dates(cron: CronExpression, today: int) -> set[int]:
    days: set[int] = set()
    day = cron.masks.next_day(today)
    while day is not None and day <= today + YEAR.days:
        days.add(day)
        day = cron.masks.next_day(day + 1)
    return days


def _date(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()


def _local(schedule: Schedule, instant: datetime) -> str:
    epoch = int(instant.timestamp())
    table = zone(schedule.timezone).table(epoch, epoch)
    shown = instant + timedelta(seconds=table.offsets[table.index(epoch)])
    return f"{shown:%Y-%m-%d} in {schedule.timezone}"
