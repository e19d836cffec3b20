"""`list` and `show`: the jobs."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.json_forms import action_json, job_details_json, job_json, removed_json, run_json
from scheduler.cli.printing.output import put, put_json, put_sheet, put_table, warn
from scheduler.cli.printing.text_tables import STYLES, action_table, run_table
from scheduler.cli.printing.times import exact_duration, iso, local, relative
from scheduler.cli.state import fast_path
from scheduler.errors.operation_error import usage
from scheduler.schedules.upcoming import coming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.cli.state import session
    from scheduler.jobs.view import JobLine
    from scheduler.operations import jobs, runs
    from scheduler.operations.jobs import JobView
    from storage.jobs.removed import RemovedJob
else:
    session = Late("scheduler.cli.state.session")
    jobs = Late("scheduler.operations.jobs")
    runs = Late("scheduler.operations.runs")

STATE_WORDS = {
    "auto_disabled": "disabled by failures",
    "unscheduled": "only by hand",
    "unreadable": "cannot be read",
}
SHOWN_FIRES = 3
SHOWN_RUNS = 5
SHOWN_ACTIONS = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "list", list_, example="schedctl list --failing")
    add_command(app, "show", show, example="schedctl show contacts")


def list_(
    *,
    disabled: Annotated[bool, typer.Option("--disabled", help="Only jobs that are disabled.")] = False,
    failing: Annotated[bool, typer.Option("--failing", help="Only jobs whose last run failed.")] = False,
    removed: Annotated[bool, typer.Option("--removed", help="Show removed jobs whose state is kept, instead.")] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """List the jobs.

    Shows for each job when it runs, its next run, how its last run ended, and its state.
    """
    now = datetime.now(UTC)
    if removed:
        if disabled or failing:
            raise usage("--removed goes with neither --disabled nor --failing")
        with session.opened_to_look(config, now, sync=True) as look:
            _put_removed(jobs.removed_jobs(look.database), now, as_json=as_json)
        return
    views: Sequence[JobLine] | None = fast_path.quickly(config, fast_path.all_lines)
    if views is None:
        with session.opened_to_look(config, now, sync=True) as look:
            views = jobs.view_jobs(look.database)
    if disabled:
        views = [view for view in views if view.stored.disabled_at is not None]
    if failing:
        views = [view for view in views if view.failing]
    for view in views:
        if view.state == "unreadable":
            warn(f"job {view.name} cannot be read, so it does not fire: {view.fault}")
    if as_json:
        put_json({"jobs": [job_json(view, now) for view in views]})
    elif views:
        put_table(["name", "runs", "next run", "last run", "state"], [_row(view, now) for view in views], styles=STYLES)
    else:
        put("no such jobs" if disabled or failing else "no jobs yet; schedctl add --help shows how to add one")


def _put_removed(found: "Sequence[RemovedJob]", now: datetime, *, as_json: bool) -> None:
    if as_json:
        put_json({"removed": [removed_json(each) for each in found]})
    elif found:
        rows = [
            [
                each.name,
                relative(each.removed_at, now),
                "the config file" if each.origin == "file" else "schedctl add",
                iso(each.last_success) or "-",
                "enabled" if each.disabled_at is None else f"disabled: {each.disabled_reason}",
            ]
            for each in found
        ]
        put_table(["name", "removed", "origin", "last success", "state"], rows, styles=STYLES)
    else:
        put("no state of a removed job is kept")


def show(*, name: options.Name, as_json: options.Json = False, config: options.Config = None) -> None:
    """Show everything about one job."""
    now = datetime.now(UTC)
    with session.opened_to_look(config, now, sync=True) as look:
        view = jobs.view_job(look.database, name)
        recent = runs.list_runs(look.database, job=name, limit=SHOWN_RUNS)
        done = jobs.job_actions(look.database, name, SHOWN_ACTIONS)
    if as_json:
        more = {"runs": [run_json(run) for run in recent], "actions": [action_json(each) for each in done]}
        put_json({"job": job_details_json(view, now) | more})
        return
    put_sheet(_sheet(view, now))
    if recent:
        put()
        put_table(*run_table(recent, now), styles=STYLES)
    if done:
        put()
        put_table(*action_table(done))


def next_run(view: "JobLine", now: datetime) -> str:
    """Say when a job runs next: on the clock of its zone, and how far off that is; or what it runs after."""
    if view.after and view.is_enabled:
        slot = view.next_slot(now)
        return "-" if slot is None else f"{view.when} for {local(slot, view.timezone)}"
    fire = view.next_fire(now)
    if fire is None:
        return "-"
    return f"{local(fire.run_time, view.timezone)} ({relative(fire.run_time, now)})"


def _row(view: "JobLine", now: datetime) -> list[str]:
    last = view.last_run.outcome if view.last_run is not None else None
    return [view.name, view.words, next_run(view, now), last or "-", STATE_WORDS.get(view.state, view.state)]


def _sheet(view: "JobView", now: datetime) -> list[tuple[str, str | None]]:
    stored = view.stored
    state = STATE_WORDS.get(view.state, view.state)
    if stored.disabled_at is not None:
        state += f" since {iso(stored.disabled_at)}: {stored.disabled_reason}"
    changed = ("changed", f"{iso(stored.updated_at)} (revision {stored.revision})")
    origin = ("origin", "the config file" if stored.origin == "file" else "schedctl add")
    if view.fault is not None:
        stands = "\n".join(f"{key} = {value}" for key, value in stored.definition.items() if value is not None)
        return [("name", view.name), origin, ("state", state), ("fault", view.fault), ("stored", stands), changed]
    job = view.job
    export = {key: value for key, value in stored.definition["export"].items() if value is not None}
    if stored.disabled_at is None and stored.failure_streak:
        state += f", {stored.failure_streak} of {job.disable_after or 'unlimited'} configuration failures"
    schedule = job.schedule
    slots: list[datetime] = []
    if view.is_enabled and schedule is not None:
        slots = [fire.scheduled_time for fire in coming(schedule, view.settled_until(now), SHOWN_FIRES)]
    elif view.is_enabled and view.common is not None:
        slots = view.common.first(view.settled_until(now), SHOWN_FIRES)
    return [
        ("name", view.name),
        ("description", job.description),
        origin,
        ("state", state),
        ("cron", None if job.after else f"{job.cron} ({job.timezone})" if job.cron else "none"),
        ("after", ", ".join(job.after) or None),
        ("means", view.words),
        ("delay", exact_duration(job.delay) if job.delay else None),
        ("next slots", "\n".join(local(slot, job.timezone) for slot in slots) or "-"),
        ("source", job.source),
        ("query", job.query.strip()),
        ("export", ", ".join(f"{key} = {value}" for key, value in export.items())),
        ("mapping", str(stored.definition["mapping"]) if job.mapping is not None else None),
        ("policies", _policies(view)),
        ("email", _email(view)),
        ("last success", iso(stored.last_success)),
        changed,
    ]


def _email(view: "JobView") -> str | None:
    email = view.job.email
    if email is None or email.is_empty:
        return None
    told = {"success": email.success, "failure": email.failure}
    return "\n".join(f"{key}: {', '.join(names)}" for key, names in told.items() if names)


def _policies(view: "JobView") -> str:
    job = view.job
    within = "" if job.after else f" within {exact_duration(job.catch_up_window)}"
    return (
        f"catch_up = {job.catch_up}{within}, overlap = {job.overlap}, "
        f"timeout = {exact_duration(job.timeout)}\n"
        f"retry_limit = {job.retry_limit} from {exact_duration(job.initial_retry_delay)}, "
        f"disable_after = {job.disable_after}, max_rejected = {job.max_rejected or 'any'}"
    )
