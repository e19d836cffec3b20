"""`add`, `edit`, `remove`, `disable` and `enable`: what changes a job."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter.counted import counted
from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command
from scheduler.cli.arguments.job_flags import Flag, as_typed, job_table, takes_job_flags
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.commands.next_explain import fire_json
from scheduler.cli.printing.json_forms import job_details_json
from scheduler.cli.printing.output import put, put_json, put_lines, put_sheet, say, warn
from scheduler.cli.printing.times import iso, local, relative
from scheduler.errors.operation_error import OperationError, failed, usage
from scheduler.jobs.dependent_slots import when
from scheduler.schedules.schedule_advice import advise
from scheduler.schedules.upcoming import coming

if TYPE_CHECKING:
    from scheduler.cli.state import session
    from scheduler.cli.state.session import Bench
    from scheduler.environment import actors
    from scheduler.jobs.definition import Job
    from scheduler.operations import check_connections, edit_config_file, jobs, preview
    from scheduler.operations.jobs import JobView
    from storage.jobs.removed import RemovedJob
else:
    actors = Late("scheduler.environment.actors")
    session = Late("scheduler.cli.state.session")
    check_connections = Late("scheduler.operations.check_connections")
    edit_config_file = Late("scheduler.operations.edit_config_file")
    jobs = Late("scheduler.operations.jobs")
    preview = Late("scheduler.operations.preview")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be stored, and store nothing.")]
Check = Annotated[
    bool, typer.Option("--check", help="Check source and target first; store nothing if one of them fails.")
]
SHOWN_FIRES = 3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = (
        "schedctl add contacts --cron '0 3 * * mon-fri' --timezone America/New_York "
        "--source warehouse --query 'select email as \"Email\" from contacts' --connection crm --object Contact"
    )
    add_command(app, "add", takes_job_flags(add), example=example)
    example = "schedctl edit contacts --cron '30 3 * * mon-fri' --delay 10m"
    add_command(app, "edit", takes_job_flags(edit), example=example)
    add_command(app, "remove", remove, example="schedctl remove contacts")
    example = "schedctl disable contacts --reason 'the org is being migrated'"
    add_command(app, "disable", disable, example=example)
    add_command(app, "enable", enable, example="schedctl enable contacts")


def add(
    *,
    name: options.Name,
    given: Mapping[Flag, Any],
    dry_run: DryRun = False,
    check: Check = False,
    to_file: Annotated[
        bool,
        typer.Option("--to-file", help="Write the job into the config file; the rest of the file stays unchanged."),
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Add a job.

    The flags are named like the keys of a job in the config file, and checked like them. The job is kept in the state
    database, or with --to-file in the config file.
    """
    now = datetime.now(UTC)
    if to_file:
        _add_to_file(config, name, given, now, dry_run=dry_run, check=check, as_json=as_json)
        return
    with session.opened(config, now) as bench:
        jobs.check_name_free(bench.database, name)
        job = jobs.make_job(name, job_table(given), bench.config, now, tell=as_typed)
        jobs.check_parents(bench.database, job)
        _advise(bench, job, now)
        if check:
            _check(bench, job)
        if dry_run:
            _warn_of_removal(bench, job)
            _put_draft(job, now, as_json=as_json)
            return
        kept = jobs.kept_state(bench.database, name)
        view = jobs.add_job(bench.database, job, now, by=actors.this_actor("schedctl add"))
    _put_changed(view, now, "added", as_json=as_json)
    _say_restored(view, kept, now)


def _add_to_file(
    config: Path | None,
    name: str,
    given: Mapping[Flag, Any],
    now: datetime,
    *,
    dry_run: bool,
    check: bool,
    as_json: bool,
) -> None:
    with session.opened(config, now) as bench:
        jobs.check_name_free(bench.database, name)
        table = job_table(given, beside=bench.path.parent)
        draft = edit_config_file.draft(bench.path, "jobs", name, table)
        job = draft.config.jobs[name]
        kept = jobs.kept_state(bench.database, name)
        jobs.check_schedule(job, now)
        _advise(bench, job, now)
        if check:
            _check(bench, job)
    if dry_run:
        _put_draft(job, now, as_json=as_json, diff=draft.diff())
        return
    edit_config_file.store(draft)
    with session.opened(config, now, is_whole=True) as bench:
        jobs.note_added(bench.database, name, now, by=actors.this_actor("schedctl add --to-file"))
        view = jobs.view_job(bench.database, name)
    _put_changed(view, now, f"{draft.path}:{draft.line}: added", as_json=as_json)
    _say_restored(view, kept, now)


def edit(
    *,
    name: options.Name,
    given: Mapping[Flag, Any],
    dry_run: DryRun = False,
    check: Check = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Change a job that was added by command.

    Only the given flags change; an empty value restores the default.
    """
    now = datetime.now(UTC)
    if not given:
        raise usage("nothing to change: name a flag, such as --cron")
    with session.opened(config, now, changing=name) as bench:
        before = jobs.view_job(bench.database, name)
        jobs.require_cli_origin(before.stored, bench.config, "edit")
        table = job_table(given, jobs.table_of(before.stored.definition))
        try:
            job = jobs.make_job(name, table, bench.config, now, tell=as_typed)
        except OperationError as error:
            if before.fault is None or not error.faults:
                raise
            way = f"schedctl show {name} has all of it; what no flag changes goes with schedctl remove {name} and add"
            raise usage(f"{error.message}; {way}", faults=[*error.faults, way]) from error
        jobs.check_parents(bench.database, job)
        _advise(bench, job, now)
        if check:
            _check(bench, job)
        if dry_run:
            _put_draft(job, now, as_json=as_json)
            return
        changed = jobs.replace_job(
            bench.database, job, now, revision=before.stored.revision, by=actors.this_actor("schedctl edit")
        )
        view = jobs.view_job(bench.database, name)
    _put_changed(view, now, "changed" if changed else "was like this already:", as_json=as_json)


def remove(
    *,
    name: options.Name,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Delete its kept state too, also that of a job that was removed before."),
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Remove a job that was added by command.

    Its runs and history stay. Its state is kept for a later job of the same name: whether a person disabled it, its
    last success, its failures, its last slot, and what `changes` knows of its target. A run that has started continues
    to its end; a waiting run is skipped. A job that other jobs run after cannot be removed.
    """
    now = datetime.now(UTC)
    going_on: list[int] = []
    with session.opened(config, now, giving_up=name) as bench:
        by = actors.this_actor("schedctl remove")
        if forget and not jobs.has_job(bench.database, name):
            jobs.forget_job(bench.database, name, now, by=by)
            done = f"forgot the state of {name}"
        else:
            view = jobs.view_job(bench.database, name)
            jobs.require_cli_origin(view.stored, bench.config, "remove")
            going_on = jobs.remove_job(bench.database, name, now, forget=forget, by=by) or []
            done = f"removed {name}" + (" and forgot its state" if forget else "")
    if as_json:
        put_json({"removed": name, "forgotten": forget, "going_on": going_on})
        return
    begins = "begins anew" if forget else "begins with its state (remove --forget)"
    put(f"{done}; its runs stay: schedctl runs {name}; a job of that name {begins}")
    for number in going_on:
        put(f"run {number} has begun and goes on to its end; to stop it: schedctl cancel {number}")


def disable(
    *,
    name: options.Name,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; shown by list and show.")] = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Disable a job until it is enabled again.

    Slots that come due meanwhile are skipped, and not made up for later.
    """
    now = datetime.now(UTC)
    with session.opened_to_look(config, now, sync=True, is_change=True) as look:
        jobs.view_job(look.database, name)
        by = actors.this_actor("schedctl disable")
        changed = jobs.disable_job(look.database, name, reason or f"by {by.sudo_user or by.user}", now, by=by)
        view = jobs.view_job(look.database, name)
    _put_changed(view, now, "disabled" if changed else "was disabled already:", as_json=as_json)


def enable(
    *,
    name: options.Name,
    force: Annotated[bool, typer.Option("--force", help="Do not check source and target first.")] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Enable a disabled job.

    It fires from now on, and its consecutive failures are reset. If failures disabled the job, its source and target
    are checked first, as check --connections does; if one of them fails, the job stays disabled, and the exit code is
    1.
    """
    now = datetime.now(UTC)
    with session.opened(config, now) as bench:
        before = jobs.view_job(bench.database, name)
        if before.state == "auto_disabled" and not force:
            _try(bench, before.job)
        changed = jobs.enable_job(bench.database, name, now, by=actors.this_actor("schedctl enable"))
        view = jobs.view_job(bench.database, name)
    _put_changed(view, now, "enabled" if changed else "was enabled already:", as_json=as_json)


def _advise(bench: "Bench", job: "Job", now: datetime) -> None:
    if idle := jobs.idle_follower(bench.database, job, now):
        warn(f"{job.name} runs {when(job.after)}, but {idle}")
    if job.schedule is None:
        return
    for advice in advise(job.schedule, now):
        warn(advice.words)


def _check(bench: "Bench", job: "Job") -> None:
    results = check_connections.check_job(bench.config, job)
    for result in results:
        say(f"{'ok' if result.ok else 'FAULT'}: {result.subject}: {result.message}")
    faults = [f"{result.subject}: {result.message}" for result in results if not result.ok]
    if faults:
        raise failed(f"nothing was stored: {faults[0]}")


def _try(bench: "Bench", job: "Job") -> None:
    """Raise what source or target have against a job that failures disabled."""
    results = check_connections.check_job(bench.config, job)
    faults = [f"{result.subject}: {result.message}" for result in results if not result.ok]
    if faults:
        way = "fix that and enable it again, or use --force to enable it as it is"
        raise failed(f"job {job.name} stays disabled: {'; '.join(faults)}; {way}")
    for result in results:
        say(f"ok: {result.subject}: {result.message}")


def _put_changed(view: "JobView", now: datetime, verb: str, *, as_json: bool) -> None:
    if as_json:
        put_json({"job": job_details_json(view, now)})
        return
    fire = view.next_fire(now)
    if view.fault is not None:
        warn(f"job {view.name} cannot be read, so it does not fire: {view.fault}")
    if view.after and view.is_enabled:
        follow = f"it runs {view.when}"
    elif fire is not None:
        follow = f"next run {local(fire.run_time, view.timezone)} ({relative(fire.run_time, now)})"
    elif view.stored.disabled_at is not None:
        follow = f"no run until schedctl enable {view.name}"
    else:
        follow = "no run is to come" if view.is_scheduled else f"it runs when asked to: schedctl run {view.name}"
    put(f"{verb} {view.name}; {follow}")


def _say_restored(view: "JobView", kept: "RemovedJob | None", now: datetime) -> None:
    """Say that a new job is an old one that came back, since it may be meant as another."""
    if kept is None:
        return
    stored = view.stored
    parts = [
        f"last success {iso(stored.last_success)}" if stored.last_success is not None else "no success yet",
        f"disabled: {stored.disabled_reason}" if stored.disabled_at is not None else "",
        f"{stored.failure_streak} failures in a row" if stored.failure_streak else "",
    ]
    way = f"schedctl remove {view.name} --forget, then add it again"
    if stored.origin == "file":
        way = f"take it out of the config file, schedctl remove {view.name} --forget, then put it back"
    warn(
        f"a job {view.name} was removed {relative(kept.removed_at, now)}, and its state is back "
        f"({', '.join(filter(None, parts))}); to begin anew: {way}"
    )


def _warn_of_removal(bench: "Bench", job: "Job") -> None:
    """Say how many records a truncate would delete now, if the org tells."""
    try:
        existing = preview.existing_records(bench.config, job)
    except OperationError as error:
        warn(f"the number of existing records is unknown: {error}")
        return
    if existing is not None:
        target = getattr(job.export.options, "object", "")
        warn(f"{counted(existing, 'record')} of {target} exist now: each run deletes what is there first")


def _put_draft(job: "Job", now: datetime, *, as_json: bool, diff: str | None = None) -> None:
    fires = coming(job.schedule, now, SHOWN_FIRES) if job.schedule is not None else []
    if as_json:
        put_json({"definition": job.to_dict(), "fires": [fire_json(fire) for fire in fires]})
        return
    if diff is not None:
        say("nothing is written; it would be:")
        put_lines(diff)
        return
    say("nothing is stored; it would be:")
    definition = jobs.table_of(job.to_dict())
    export = definition.pop("export")
    put_sheet([(key, str(value)) for key, value in definition.items() if value != ""])
    put_sheet([(f"export.{key}", str(value)) for key, value in export.items()])
    if job.schedule is not None:
        put(f"next slots: {', '.join(local(fire.scheduled_time, job.timezone) for fire in fires) or 'none'}")
