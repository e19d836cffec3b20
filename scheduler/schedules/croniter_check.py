"""croniter's second opinion on a schedule: never the engine, but a check that the engine is not alone in its view.

Only explicit value lists reach croniter, whose own reading of steps, ranges and names differs (docs/dialect.md).
"""

from datetime import UTC, datetime, timedelta

from scheduler.schedules.expression import CronExpression
from scheduler.schedules.schedule import Schedule

FIRES = 20
_FAR = timedelta(days=8 * 366)
"""From here on nothing is compared: a leap day takes at most so long to come, and croniter's search has its end."""


def disagreement(cron: CronExpression, now: datetime) -> str | None:
    """Compare the next fires (on a wall clock without DST) with croniter's; return what differs, None if nothing does.

    A disagreement is a bug in schedctl, or of croniter: whoever accepts a schedule refuses it then.
    """
    if not cron.text or cron.never():
        return None
    start = now.astimezone(UTC).replace(second=0, microsecond=0)
    ours = _ours(cron, start)
    theirs = _theirs(cron, start, len(ours))
    if isinstance(theirs, str):
        return f"internal check failed: croniter refuses {cron.text!r} ({theirs}); please report it"
    for mine, other in zip(ours, theirs, strict=True):
        if mine != other:
            return (
                f"internal check failed: schedctl says {cron.text!r} fires at {mine:%Y-%m-%d %H:%M}, "
                f"croniter says {other:%Y-%m-%d %H:%M}; please report it"
            )
    return None


def _ours(cron: CronExpression, start: datetime) -> list[datetime]:
    fires: list[datetime] = []
    for fire in Schedule(cron=cron).fires_after(start):
        if fire.scheduled_time > start + _FAR or len(fires) == FIRES:
            break
        fires.append(fire.scheduled_time)
    return fires


def _theirs(cron: CronExpression, start: datetime, count: int) -> list[datetime] | str:
    """Return croniter's next fires, or its error."""
    from croniter import CroniterError, croniter  # noqa: PLC0415 - 30 ms, and only when a schedule is accepted

    lists = [cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays]
    texts = [",".join(map(str, values)) for values in lists]
    if cron.day_starred or cron.ignored == "day of month":
        texts[2] = "*"
    if cron.weekday_starred or cron.ignored == "day of week":
        texts[4] = "*"
    try:
        iterator = croniter(" ".join(texts), start, day_or=cron.day_match != "and", max_years_between_matches=40)
        return [iterator.get_next(datetime) for _ in range(count)]
    except CroniterError as error:
        return str(error)
