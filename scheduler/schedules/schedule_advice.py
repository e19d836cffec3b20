"""What people get wrong about a schedule, told before it costs them a night. Pure: ``now`` is an argument."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scheduler.schedules.cron_fields import FIELDS
from scheduler.schedules.days import LONGEST_MONTHS
from scheduler.schedules.expression import CronExpression, parse
from scheduler.schedules.schedule import DAY, Schedule
from scheduler.schedules.timezones import zone

YEAR = timedelta(days=366)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FEBRUARY = 2
SHORTEST_MONTH = 28
_FEW = 4
"""So many values of a field show what its rule is."""
_RULES = (
    ("step = offset", "with Vixie's steps (counted from 1)", {"step": "offset"}),
    ("step = multiples", "with Treasure Data's steps (multiples)", {"step": "multiples"}),
    ("day_match = or", "if either day field were enough", {"day_match": "or"}),
    ("day_match = and", "if both day fields had to match", {"day_match": "and"}),
    ("day_match = more-often", "if only the more frequent day field counted", {"day_match": "more-often"}),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """One thing to look at: a stable code and a sentence.

    Codes: ``never_fires``, ``step_is_multiples``, ``both_day_fields``, ``short_months``, ``uneven_step``, ``dst_gap``,
    ``dst_fold``.
    """

    code: str
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What the same text would do under another rule over the coming year: dates it adds, dates it leaves out.

    Each holds at most the first few; ``more`` counts the others of both.
    """

    rule: str
    words: str
    adds: tuple[str, ...]
    drops: tuple[str, ...]
    more: int = 0


def advise(schedule: Schedule, now: datetime) -> list[Advice]:
    """Return what a careful colleague would ask about this schedule; changes of the clock for the next 12 months."""
    cron = schedule.cron
    if not cron.text:
        return []
    if cron.never():
        return [Advice(code="never_fires", words=f"{cron.text!r} never fires: no such date exists")]
    end = schedule.bounds.high
    if schedule.next_after(now) is None and end is not None and end <= now.timestamp():
        return [Advice(code="never_fires", words="its time is over: it does not fire any more")]
    if schedule.next_after(now) is None:
        words = f'{cron.text!r} never fires: in {schedule.timezone} the clock skips its every time (gap = "skip")'
        return [Advice(code="never_fires", words=words)]
    found = [*_steps(cron), *_both_day_fields(cron), *_short_months(cron), *_uneven_steps(cron)]
    if cron.interval:
        return found
    return found + clock_changes(schedule, now, now + YEAR)


def clock_changes(schedule: Schedule, a: datetime, b: datetime) -> list[Advice]:
    """Return what the changes of the clock in (a, b] do to the schedule, in order; code ``dst_gap`` or ``dst_fold``."""
    return [
        Advice(
            code=f"dst_{effect.kind}",
            words=f"{_date(_local_day(schedule, effect.instant))} in {schedule.timezone}: {effect.words}",
        )
        for effect in schedule.dst_effects(a, b)
    ]


def differences(schedule: Schedule, now: datetime, *, limit: int = 5) -> list[Difference]:
    """Return how the dates of the coming year, from tomorrow on, would differ under Vixie steps and other day rules."""
    cron = schedule.cron
    if not cron.text:
        return []
    tomorrow = _local_day(schedule, now) + 1
    mine = _dates(cron, tomorrow)
    found: list[Difference] = []
    for rule, words, change in _RULES:
        theirs = _dates(parse(cron.text, **{"step": cron.step, "day_match": cron.day_match, **change}), tomorrow)
        adds, drops = sorted(theirs - mine), sorted(mine - theirs)
        if adds or drops:
            difference = Difference(
                rule=rule,
                words=words,
                adds=tuple(map(_date, adds[:limit])),
                drops=tuple(map(_date, drops[:limit])),
                more=len(adds[limit:]) + len(drops[limit:]),
            )
            found.append(difference)
    return found


def _steps(cron: CronExpression) -> list[Advice]:
    """Tell where ``*/n`` does not count as in other crons: where the field begins with 1."""
    found: list[Advice] = []
    if cron.step != "multiples":
        return found
    fields, vixie = cron.text.split(" "), parse(cron.text, step="offset")
    for index, values, theirs in ((2, cron.days, vixie.days), (3, cron.months, vixie.months)):
        if values == theirs:
            continue
        for item in fields[index].split(","):
            if item.startswith("*/") and item != "*/1":
                step = int(item.removeprefix("*/"))
                words = (
                    f"{FIELDS[index].name} {item} means the multiples ({_few(FIELDS[index].high, step)}), as Treasure "
                    'Data documents; Vixie cron counts from 1 (step = "offset")'
                )
                found.append(Advice(code="step_is_multiples", words=words))
    return found


def _few(high: int, step: int) -> str:
    values = list(map(str, range(step, high + 1, step)))
    return ", ".join(values[:_FEW] + ["…"] * (len(values) > _FEW))


def _both_day_fields(cron: CronExpression) -> list[Advice]:
    if cron.day_starred or cron.weekday_starred:
        return []
    if cron.ignored is not None:
        rule = f"{cron.ignored} is ignored"
    else:
        rule = "both must match" if cron.day_match == "and" else "a date that matches either one fires"
    words = f'both day fields are restricted: {rule} (day_match = "{cron.day_match}")'
    return [Advice(code="both_day_fields", words=words)]


def _short_months(cron: CronExpression) -> list[Advice]:
    """Tell of a day that was asked for by its number, 29 to 31, and that some of the months do not have."""
    if cron.day_starred or cron.ignored == "day of month":
        return []
    late = 0
    for item in cron.text.split(" ")[2].split(","):
        first, _, last = item.partition("/")[0].partition("-")
        if first.isdigit() and int(first) > SHORTEST_MONTH:
            late = max(late, int(last or first))
    short = [month for month in cron.months if late > LONGEST_MONTHS[month - 1] - (month == _FEBRUARY)]
    if not short:
        return []
    from scheduler.schedules.plain_words import MONTHS  # noqa: PLC0415 - words are needed by people only

    names = ", ".join(MONTHS[month - 1] for month in short)
    leap = " but in leap years" if short == [_FEBRUARY] and late == LONGEST_MONTHS[1] else ""
    words = f"day of month {late}: {names} {'has' if len(short) == 1 else 'have'} no such day{leap}"
    return [Advice(code="short_months", words=words)]


def _uneven_steps(cron: CronExpression) -> list[Advice]:
    """Tell of a step that does not divide its field, so that the distance over the field's end is another."""
    found: list[Advice] = []
    fields = cron.text.split(" ")
    for index, values, size, whole in (
        (0, cron.minutes, 60, "hour"),
        (1, cron.hours, 24, "day"),
        (3, cron.months, 12, "year"),
        (4, cron.weekdays, 7, "week"),
    ):
        step = fields[index].removeprefix("*/")
        over = size - values[-1] + values[0]
        if step == fields[index] or not step.isdigit() or over == int(step):
            continue
        words = (
            f"{FIELDS[index].name} {fields[index]}: {step} does not divide {size}; over the end of each {whole}, "
            f"the step from {values[-1]} to {values[0]} is {over}"
        )
        found.append(Advice(code="uneven_step", words=words))
    return found


def _dates(cron: CronExpression, first: int) -> set[int]:
    days: set[int] = set()
    day = cron.masks.next_day(first)
    while day is not None and day < first + YEAR.days:
        days.add(day)
        day = cron.masks.next_day(day + 1)
    return days


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def _local_day(schedule: Schedule, instant: datetime) -> int:
    epoch = int(instant.timestamp())
    table = zone(schedule.timezone).table(epoch, epoch)
    return (epoch + table.offsets[table.index(epoch)]) // DAY
