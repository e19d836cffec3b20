"""An expression in English words, true to its sets."""

from collections.abc import Sequence

from scheduler.cron import CronExpression

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
MANY = 6
"""More times a day than this are told as a rule, not listed."""


def in_words(cron: CronExpression) -> str:
    """Say when an expression fires, such as ``at 03:00 from Monday to Friday``."""
    if not cron.text:
        return "no schedule"
    if cron.never():
        return f"never ({_times(cron)} {_days(cron)})"
    return " ".join(filter(None, (_times(cron), _days(cron))))


def _times(cron: CronExpression) -> str:
    minutes, hours = cron.minutes, cron.hours
    if len(minutes) * len(hours) <= MANY and len(minutes) == 1:
        return "at " + _join([f"{hour:02}:{minutes[0]:02}" for hour in hours])
    if len(minutes) * len(hours) <= MANY:
        return "at " + _join([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])
    return f"{_minutes(minutes)} {_hours(hours)}".strip()


def _minutes(minutes: Sequence[int]) -> str:
    every = _every(minutes, 60)
    if len(minutes) == 60:  # noqa: PLR2004 - all of them
        return "every minute"
    if every and every > 1:
        return f"every {every} minutes"
    return "at minute " + _join(_runs([str(minute) for minute in range(60)], minutes))


def _hours(hours: Sequence[int]) -> str:
    every = _every(hours, 24)
    if len(hours) == 24:  # noqa: PLR2004 - all of them
        return "of every hour"
    if every and every > 1:
        return f"of every {_ordinal(every)} hour from 00"
    return "of the hours " + _join(_runs([f"{hour:02}" for hour in range(24)], hours))


def _days(cron: CronExpression) -> str:
    by_day = "" if cron.day_starred or cron.ignored == "day of month" else _day_numbers(cron)
    by_weekday = "" if cron.weekday_starred or cron.ignored == "day of week" else _weekdays(cron.weekdays)
    joined = f" {'if also' if cron.day_match == 'and' else 'and'} ".join(filter(None, (by_day, by_weekday)))
    months = "" if len(cron.months) == len(MONTHS) else "in " + _join(_runs_of(MONTHS, [m - 1 for m in cron.months]))
    return " ".join(filter(None, (joined or "every day", months)))


def _day_numbers(cron: CronExpression) -> str:
    names = ["", *(_ordinal(day) for day in range(1, 32))]
    return "on the " + _join(_runs(names, cron.days)) + (" of the month" if len(cron.months) == len(MONTHS) else "")


def _weekdays(weekdays: Sequence[int]) -> str:
    if len(weekdays) == len(WEEKDAYS):
        return "on every day of the week"
    parts = _runs_of(WEEKDAYS, weekdays)
    only = len(parts) == 1 and " to " in parts[0]
    return ("from " if only else "on ") + _join(parts)


def _runs_of(names: Sequence[str], values: Sequence[int]) -> list[str]:
    return _runs(names, values)


def _runs(names: Sequence[str], values: Sequence[int]) -> list[str]:
    """Name the values, with three or more in a row as ``a to b``."""
    parts: list[str] = []
    index = 0
    while index < len(values):
        end = index
        while end + 1 < len(values) and values[end + 1] == values[end] + 1:
            end += 1
        if end - index >= 2:  # noqa: PLR2004 - two are named one by one
            parts.append(f"{names[values[index]]} to {names[values[end]]}")
        else:
            parts.extend(names[value] for value in values[index : end + 1])
        index = end + 1
    return parts


def _every(values: Sequence[int], total: int) -> int | None:
    """Return n if the values are 0, n, 2n, … with n dividing the whole, so that "every n" is true over its end."""
    if len(values) < 2 or values[0] != 0 or total % len(values):  # noqa: PLR2004 - one value has no distance
        return None
    every = total // len(values)
    return every if all(value == index * every for index, value in enumerate(values)) else None


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
