"""`next` and `explain`: when a schedule fires, and what it means."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put, put_json, put_sheet, put_table, put_text, say, warn
from scheduler.cli.printing.times import duration, is_naive, iso, local, parse_time, relative
from scheduler.environment.paths import config_path
from scheduler.errors.operation_error import failed, usage
from scheduler.jobs.dependent_slots import join, when
from scheduler.schedules.cron_fields import show
from scheduler.schedules.engine import FIRST_INSTANT
from scheduler.schedules.expression import MAX_TEXT, CronError, parse
from scheduler.schedules.plain_words import in_words
from scheduler.schedules.schedule import Schedule, make_schedule
from scheduler.schedules.schedule_advice import YEAR, Advice, Difference, advise, clock_changes, differences
from scheduler.schedules.upcoming import Fire, coming, fields

if TYPE_CHECKING:
    from exporter.settings import base
    from scheduler.cli.state import fast_path, session
    from scheduler.jobs.view import JobLine
else:
    fast_path = Late("scheduler.cli.state.fast_path")
    base = Late("exporter.settings.base")
    session = Late("scheduler.cli.state.session")

FIELD_LABELS = {
    "minute": "minute",
    "hour": "hour",
    "day_of_month": "day of month",
    "month": "month",
    "day_of_week": "day of week",
}
Count = Annotated[int, typer.Option("-n", "--count", metavar="N", help="How many fires.", min=1, max=10_000)]
Since = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Strictly after this time (ISO 8601, or local to the zone); else now."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = "schedctl next '0 3 * * mon-fri' --timezone America/New_York -n 3"
    add_command(app, "next", next_, example=example)
    add_command(app, "explain", explain, example="schedctl explain '0 0 5,*/10,25 * *'")


def next_(
    *,
    what: Annotated[str, typer.Argument(metavar="NAME|CRON", help="A job's name, or a cron expression in quotes.")],
    count: Count = 10,
    since: Since = None,
    timezone: options.Timezone = "UTC",
    delay: options.Delay = "0",
    step: options.Step = "multiples",
    day_match: options.DayMatch = "or",
    dst: options.Dst = "once",
    gap: options.Gap = None,
    fold: options.Fold = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show the coming fires of a job or a cron.

    There is a note where the clock changes. For a job, its own zone, delay and policies hold; the options are for
    an expression. A job that runs after others has the slots that all of those have.
    """
    now = datetime.now(UTC)
    if is_cron(what):
        schedule = _schedule(what, timezone, delay, step=step, day_match=day_match, dst=dst, gap=gap, fold=fold)
        start = now
    else:
        view = _line_of(what, config, now)
        if view.after:
            _put_next_of_follower(view, now, since, count, as_json=as_json)
            return
        schedule, start = _of_job(view), view.settled_until(now)
    if since is not None:
        start = parse_time(since, timezone=schedule.timezone, now=now, option="--from")
        if is_naive(since):
            say(f"--from {since} is taken as {schedule.timezone}")
    fires = coming(schedule, start, count)
    if as_json:
        put_json(schedule_json(schedule, fires, now))
        return
    _put_fires(schedule, fires, now)
    shown = {advice.words for advice in clock_changes(schedule, start, fires[-1].scheduled_time)} if fires else set()
    for advice in advise(schedule, now):
        if advice.words not in shown:  # a note beside a fire has said it
            warn(advice.words)


def explain(
    *,
    what: Annotated[str, typer.Argument(metavar="NAME|CRON", help="A job's name, or a cron expression in quotes.")],
    timezone: options.Timezone = "UTC",
    step: options.Step = "multiples",
    day_match: options.DayMatch = "or",
    dst: options.Dst = "once",
    gap: options.Gap = None,
    fold: options.Fold = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Say what the schedule of a job, or a cron, means.

    In words, with its expanded fields, what people get wrong about it, what the changes of the clock do to it in the
    next 12 months, and where it differs from other crons. For a job, its own zone, delay and policies hold.
    """
    now = datetime.now(UTC)
    if is_cron(what):
        schedule = _schedule(what, timezone, "0", step=step, day_match=day_match, dst=dst, gap=gap, fold=fold)
        start = now
    else:
        view = _line_of(what, config, now)
        if view.after:
            _explain_follower(view, now, as_json=as_json)
            return
        schedule, start = _of_job(view), view.settled_until(now)
    fires = coming(schedule, start, 5)
    others = differences(schedule, now)
    if as_json:
        changes = [{"kind": each.code, "words": each.words} for each in _clock_changes(schedule, now)]
        told = {"clock_changes": changes, "differences": [_difference_json(other) for other in others]}
        put_json(schedule_json(schedule, fires, now) | told)
        return
    expanded = [(FIELD_LABELS[name], _ranges(values)) for name, values in fields(schedule.cron).items()]
    zone_note = f" ({schedule.timezone})" if schedule.cron.text else ""
    put_sheet([("expression", schedule.cron.text or "(none)"), ("means", in_words(schedule.cron) + zone_note)])
    if schedule.cron.text:
        put()
        put_sheet(expanded)
    if fires:
        put()
        _put_fires(schedule, fires, now)
    notes = advise(schedule, now)
    if schedule.cron.interval:  # whose fires no change of the clock surprises, but it changes their number
        notes += _clock_changes(schedule, now)
    for advice in notes:
        put()
        put_text(f"Note: {advice.words}")
    for other in others:
        put()
        put_text(f"It would be different {other.words} ({other.rule}), over the coming year:")
        more = f"{other.more:,} more" if other.more else None
        put_sheet([("  adds", _dates(other.adds)), ("  leaves out", _dates(other.drops)), ("  and", more)])


def is_cron(text: str) -> bool:
    """Whether an argument is an expression rather than a job's name, which has neither spaces nor ``*`` or ``@``."""
    return not text.strip() or len(text) > MAX_TEXT or any(char in text for char in " \t*@?,/")


def schedule_json(
    schedule: Schedule,
    fires: Sequence[Fire],
    now: datetime,
    *,
    after: Sequence[str] = (),
    slots: Sequence[datetime] = (),
) -> dict[str, Any]:
    """Return the stable JSON form of a schedule and its coming fires; or of what a job runs after, and its slots."""
    return {
        "cron": schedule.cron.text,
        "timezone": schedule.timezone,
        "fires": [fire_json(fire) for fire in fires],
        "fields": fields(schedule.cron),
        "words": when(after) if after else in_words(schedule.cron),
        "after": list(after),
        "slots": [iso(slot) for slot in slots],
        "warnings": [advice.words for advice in advise(schedule, now)],
    }


def fire_json(fire: Fire) -> dict[str, Any]:
    """Return the stable JSON form of one fire."""
    return {
        "scheduled_time": iso(fire.scheduled_time),
        "run_time": iso(fire.run_time),
        "local": fire.local,
        "note": fire.note,
    }


def _line_of(name: str, config: Path | None, now: datetime) -> "JobLine":
    path = config_path(config, os.environ)
    if config is None and not os.environ.get("SCHEDCTL_CONFIG") and not os.path.lexists(path):
        try:
            parse(name)
        except CronError as error:
            what = f"{show(name)} is no cron expression: {error}"
            raise usage(f"{what}; and no job either: there is no config file {path}") from error
    view = fast_path.quickly(config, lambda found: fast_path.line(found, name)) or session.view_job(config, name, now)
    if view.fault is not None:
        raise failed(f"job {name} cannot be read, so its times are not known: {view.fault}")
    if view.stored.disabled_at is not None:
        warn(f"{name} is disabled: it does not fire until schedctl enable {name}")
    return view


def _of_job(view: "JobLine") -> Schedule:
    return view.schedule or make_schedule("", timezone=view.timezone)


def _put_next_of_follower(view: "JobLine", now: datetime, since: str | None, count: int, *, as_json: bool) -> None:
    start = view.settled_until(now)
    if since is not None:
        start = parse_time(since, timezone=view.timezone, now=now, option="--from")
    slots = view.common.first(start, count) if view.common is not None else []
    if as_json:
        put_json(schedule_json(_of_job(view), [], now, after=view.after, slots=slots))
        return
    _put_slots(view, slots, now)


def _explain_follower(view: "JobLine", now: datetime, *, as_json: bool) -> None:
    slots = view.common.first(view.settled_until(now), 5) if view.common is not None else []
    if as_json:
        told = schedule_json(_of_job(view), [], now, after=view.after, slots=slots)
        put_json(told | {"clock_changes": [], "differences": []})
        return
    put_sheet([("after", ", ".join(view.after)), ("means", f"it runs {view.when} for the same slot")])
    put()
    _put_slots(view, slots, now)


def _put_slots(view: "JobLine", slots: Sequence[datetime], now: datetime) -> None:
    """Show slots that a job will run for once what it runs after has succeeded for them."""
    if not slots:
        has = "has" if len(view.after) == 1 else "have"
        put(f"no slot is in sight: {join(view.after)} {has} none by a schedule, or cannot be read")
        return
    put_table(
        [f"slot ({view.timezone})", "UTC", "from now"],
        [[local(slot, view.timezone), iso(slot) or "", relative(slot, now)] for slot in slots],
    )
    later = f", {duration(view.delay)} later" if view.delay else ""
    put(f"it runs for each {view.when} for it{later}")


def _schedule(cron: str, timezone: str, delay: str, **switches: Any) -> Schedule:  # noqa: ANN401 - as typed
    return make_schedule(cron, timezone=timezone, delay=_seconds(delay), **switches)


def _seconds(text: str) -> int:
    if text == "0":
        return 0
    try:
        return int(str(base.parse_duration(int(text) if text.isdecimal() else text)))
    except ValueError as error:
        raise usage(f"--delay {text!r}: {error}") from error


def _put_fires(schedule: Schedule, fires: Sequence[Fire], now: datetime) -> None:
    if not fires:
        never = schedule.next_epoch(FIRST_INSTANT) is None
        put("no schedule" if not schedule.cron.text else "it never fires" if never else "it does not fire any more")
        return
    columns = [f"local ({schedule.timezone})", "UTC", "from now", "note"]
    rows = [[local(fire.scheduled_time, schedule.timezone), iso(fire.scheduled_time) or ""] for fire in fires]
    for fire, row in zip(fires, rows, strict=True):
        row += [relative(fire.scheduled_time, now), fire.note]
    if schedule.timezone == "UTC":
        columns, rows = columns[1:], [row[1:] for row in rows]
    if not any(fire.note for fire in fires):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    put_table(columns, rows)
    if schedule.delay:
        put(f"each runs {duration(schedule.delay)} later")


def _clock_changes(schedule: Schedule, now: datetime) -> list[Advice]:
    return clock_changes(schedule, now, now + YEAR) if schedule.cron.text else []


def _difference_json(other: Difference) -> dict[str, Any]:
    adds, drops = list(other.adds), list(other.drops)
    return {"rule": other.rule, "words": other.words, "adds": adds, "drops": drops, "more": other.more}


def _dates(dates: Sequence[str]) -> str | None:
    return ", ".join(dates) or None


def _ranges(values: Sequence[int]) -> str:
    """Write values with runs of three or more as ``a-b``."""
    parts: list[list[int]] = []
    for value in values:
        if parts and value == parts[-1][-1] + 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    shown = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in parts]  # noqa: PLR2004
    return ",".join(shown)
