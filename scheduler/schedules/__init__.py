"""The Treasure Data cron dialect: expressions, days, instants, and how they read. Pure.

Its face are the names below, each imported when it is first used: ``make_schedule`` gives a Schedule with
``next_after``, ``previous`` and ``between``; ``parse`` and ``in_words`` are for an expression alone. docs/library.md
shows how.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.schedules.expression import CronError, CronExpression, parse
    from scheduler.schedules.plain_words import in_words
    from scheduler.schedules.schedule import FireTime, Schedule, ScheduleError, make_schedule

__all__ = [
    "CronError",
    "CronExpression",
    "FireTime",
    "Schedule",
    "ScheduleError",
    "in_words",
    "make_schedule",
    "parse",
]

_HOMES = {
    "scheduler.schedules.expression": ("CronError", "CronExpression", "parse"),
    "scheduler.schedules.plain_words": ("in_words",),
    "scheduler.schedules.schedule": ("FireTime", "Schedule", "ScheduleError", "make_schedule"),
}


def __getattr__(name: str) -> object:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
