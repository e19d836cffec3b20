"""An expression in English words, true to its sets. Pure.

Up to :data:`MANY` times of day are listed; more are told as a rule, and as "every n minutes" only where that is true
over the end of the hour too.
"""

from collections.abc import Sequence

from scheduler.schedules.expression import CronExpression

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
_MINUTES, _HOURS = 60, 24


def in_words(cron: CronExpression) -> str:
    """Say when an expression fires, such as ``at 03:00 from Monday to Friday``."""
    if not cron.text:
        return "no schedule"
    told = f"{_times(cron.minutes, cron.hours)} {_dates(cron)}"
    return f"never ({told}: there is no such date)" if cron.never() else told


def _times(minutes: Sequence[int], hours: Sequence[int]) -> str:
    if len(minutes) * len(hours) <= MANY:
        return "at " + _join([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])
    often = _often(minutes)
    if len(hours) == _HOURS:
        return often or f"at {_minutes(minutes)} of every hour"
    every = _every(hours, _HOURS)
    if every:
        between = f"of every {_ordinal(every)} hour (00, {every:02}, …)"
    elif hours[-1] - hours[0] == len(hours) - 1 and often:
        return f"{often} between {hours[0]:02}:00 and {hours[-1]:02}:59"
    else:
        listed = _join(_runs([f"{hour:02}" for hour in range(_HOURS)], hours))
        between = f"of the hour{'s' if len(hours) > 1 else ''} {listed}"
    return f"{often} {between}" if often else f"at {_minutes(minutes)} {between}"


def _often(minutes: Sequence[int]) -> str:
    """Return ``every n minutes`` if it is so, else nothing."""
    if len(minutes) == _MINUTES:
        return "every minute"
    every = _every(minutes, _MINUTES)
    return f"every {every} minutes" if every else ""


def _minutes(minutes: Sequence[int]) -> str:
    listed = _join(_runs([str(minute) for minute in range(_MINUTES)], minutes))
    return f"minute{'s' if len(minutes) > 1 else ''} {listed}"


def _dates(cron: CronExpression) -> str:
    by_day = "" if cron.day_starred or cron.ignored == "day of month" else _days(cron)
    by_weekday = "" if cron.weekday_starred or cron.ignored == "day of week" else _weekdays(cron.weekdays)
    joined = f" {'if also' if cron.day_match == 'and' else 'and'} ".join(filter(None, (by_day, by_weekday)))
    months = "" if len(cron.months) == len(MONTHS) else "in " + _join(_runs(("", *MONTHS), cron.months))
    return " ".join(filter(None, (joined or "every day", months)))


def _days(cron: CronExpression) -> str:
    names = ["", *(_ordinal(day) for day in range(1, 32))]
    return "on the " + _join(_runs(names, cron.days)) + (" of the month" if len(cron.months) == len(MONTHS) else "")


def _weekdays(weekdays: Sequence[int]) -> str:
    if len(weekdays) == len(WEEKDAYS):
        return "on every day of the week"
    parts = _runs(WEEKDAYS, weekdays)
    return ("from " if len(parts) == 1 and " to " in parts[0] else "on ") + _join(parts)


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
    """Return n, 2 or more, if the values are 0, n, 2n, … and n divides the whole, so that it holds over the end."""
    if len(values) < 2 or len(values) == total or total % len(values):  # noqa: PLR2004 - one value has no distance
        return None
    every = total // len(values)
    return every if list(values) == list(range(0, total, every)) else None


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
