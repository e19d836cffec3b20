"""Jobs as people look at them and change them."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

from exporter.host.regular_files import read_text
from scheduler.config.build import Config
from scheduler.config.cut_off import cuts, default_keys, lost_keys
from scheduler.config.cut_text import outline
from scheduler.config.diff import EDITS, Edits, edits_of
from scheduler.config.line_numbers import key_lines, line_of
from scheduler.config.merge import (
    Changes,
    LostParents,
    NameConflicts,
    UnconfirmedEdit,
    check_whole,
    lost_parents,
    merge,
    to_confirm,
)
from scheduler.environment.actors import record_action, this_actor
from scheduler.errors.operation_error import failed, not_found, usage
from scheduler.errors.setting_faults import ConfigError, Fault
from scheduler.jobs.definition import Job, UnreadableJobError, parse_job
from scheduler.jobs.dependencies import KEY, graph_faults
from scheduler.jobs.dependent_slots import Timed, idle
from scheduler.jobs.view import JobLine, with_slots
from scheduler.nodes.health import CONFIG_UNCONFIRMED, CONFIRMED
from scheduler.notifications.settings import NO_RELAY
from scheduler.runs.due_slots import CHANGED, DISABLED, settle_owed
from scheduler.schedules.croniter_check import disagreement
from scheduler.schedules.schedule import SCHEDULE_KEYS
from scheduler.state.seen_files import SYNCED
from storage import actions, key_values
from storage.database import Database, Session
from storage.engine.dialect_sql import lock_names
from storage.jobs import dependents, jobs, removed, snapshots
from storage.jobs.jobs import StoredJob
from storage.jobs.removed import RemovedJob
from storage.runs import runs
from storage.runs.runs import StoredRun
from storage.values import Actor, StoredAction

ENDED = ("succeeded", "partial", "failed", "canceled", "interrupted")
"""The outcomes of runs that took place: a skipped slot is none."""
DEFAULT_KEYS = "config_defaults"
"""The key in ``setting`` of the keys that the config file set for all jobs when they were last stored, as a list."""
OUTLINES = "config_outlines"
"""The key in ``setting`` of what :func:`scheduler.config.cut_text.outline` kept of the config's files, by file."""
RECENT = 20
"""How many of a job's newest runs are looked at for the one that ended last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView(JobLine):
    """A job with its state, the run that ended last, and its checked definition, unless that cannot be read."""

    read: Job | UnreadableJobError

    @property
    def job(self) -> Job:
        """The checked definition. Raises UnreadableJobError."""
        if isinstance(self.read, UnreadableJobError):
            raise self.read
        return self.read


def sync_file_jobs(
    database: Database,
    config: Config,
    now: datetime,
    *,
    seen: str = "",
    confirmed: Collection[str] = (),
    by: Actor | None = None,
) -> Changes:
    """Bring the stored jobs of origin ``file`` in line with the config file, in one transaction.

    State survives; jobs of origin ``cli`` are not touched. Raises NameConflicts if a name is in both, LostParents
    if one is gone that they run after, UnconfirmedEdit if the file looks as if it were not whole (unless a person
    ``confirmed`` what :func:`what_to_confirm` returned), and then changes nothing. ``seen`` says which files the config
    was read from, and in what state: it is kept with what changes, so that a later command can tell that there is
    nothing to bring in line. What an edit changed is kept too, for the daemon to log and `reload` to show, whichever
    process was the first to notice the edit.
    """
    with database.read() as session:
        stored = jobs.all_jobs(session)
        changes = _merged(config, stored)
        losses = _losses(session, changes, stored, config)
        known_as = key_values.get(session, SYNCED)
        before = {name: key_values.get(session, name) for name in (DEFAULT_KEYS, OUTLINES)}
    read = {DEFAULT_KEYS: json.dumps(default_keys(config)), OUTLINES: _outlines(config)}
    _check_whole(changes, stored, config, losses, confirmed)
    if not changes.put and not changes.remove:
        if (seen and seen != known_as) or read != before:
            with database.write() as session:
                for name, value in {SYNCED: seen or known_as or "", **read}.items():
                    key_values.put(session, name, value)
        return changes
    _ask_croniter(changes.put.values(), config, now)
    with database.write() as session:
        # All at once: taken in parts, these locks could cross those of others, such as of a run that is settled.
        lock_names(session, changes.remove | (changes.put.keys() & {each.name for each in stored}))
        stored = jobs.all_jobs(session)
        changes = _merged(config, stored)
        _check_whole(changes, stored, config, _losses(session, changes, stored, config), confirmed)
        known, kept = {each.name: each.definition for each in stored}, removed.removed_jobs(session)
        settle_owed(session, [*changes.remove, *_rescheduled(changes.put, known)], CHANGED, now)
        person = json.loads(key_values.get(session, CONFIRMED) or "{}").get("by") if confirmed and by is None else None
        by = by or this_actor(f"edit of {config.name}")
        remover = Actor(**person) if person else by
        for name in changes.remove:
            jobs.remove_job(session, name, now=now, reason=f"the job was removed by {remover}")
        record_action(session, remover, "removed", now=now, jobs=sorted(changes.remove))
        definitions = {name: job.to_dict() for name, job in changes.put.items()}
        same = [name for name, definition in definitions.items() if same_schedule(known.get(name), definition)]
        put = jobs.put_jobs(session, origin="file", definitions=definitions, now=now, same_schedule=same)
        for name in sorted(put & known.keys()):
            _redefine(session, changes.put[name], definitions[name])
        lifted = {each.name for each in stored if each.disabled_by == "daemon"}
        for change, names in (
            ("added", put - known.keys()),
            ("changed", put & known.keys()),
            ("enabled", put & lifted),
        ):
            record_action(session, by, change, now=now, jobs=sorted(names))
        for name, value in {SYNCED: seen, **read}.items():
            key_values.put(session, name, value)
        # What a first config brings is no edit; and another process may have been faster, and told it.
        if (stored or kept) and (changes.put or changes.remove):
            key_values.put(session, EDITS, edits_of(changes, stored, now, kept=kept).record(now))
    return changes


def planned_changes(database: Database, config: Config) -> Changes:
    """Return what bringing the stored jobs in line with the config file would put and remove; raises NameConflicts."""
    with database.read() as session:
        return _merged(config, jobs.all_jobs(session))


def what_to_confirm(database: Database, config: Config) -> frozenset[str]:
    """Return what a person agrees to who confirms the config file as it is now; raises NameConflicts."""
    with database.read() as session:
        stored = jobs.all_jobs(session)
        changes = _merged(config, stored)
        losses = _losses(session, changes, stored, config)
    return to_confirm(changes, losses.keys, losses.cuts)


def planned_edits(database: Database, config: Config, now: datetime) -> tuple[Edits, UnconfirmedEdit | None]:
    """Return what bringing the stored jobs in line with the config file would change, and whether that takes a person.

    Raises NameConflicts and LostParents.
    """
    with database.read() as session:
        stored, kept = jobs.all_jobs(session), removed.removed_jobs(session)
        changes = _merged(config, stored)
        losses = _losses(session, changes, stored, config)
    edits = edits_of(changes, stored, now, kept=kept)
    try:
        _check_whole(changes, stored, config, losses)
    except UnconfirmedEdit as unconfirmed:
        return edits, unconfirmed
    return edits, None


def _merged(config: Config, stored: Iterable[StoredJob]) -> Changes:
    try:
        return merge(config.jobs, stored)
    except NameConflicts as conflicts:
        raise NameConflicts(conflicts.names, {name: _place_of(config, name) for name in conflicts.names}) from None


def _put(session: Session, job: Job, origin: str, now: datetime, *, same_schedule: bool) -> bool:
    """Store a job; what waits and has not started will run by the new definition, after the new delay."""
    definition = job.to_dict()
    changed = jobs.put_job(
        session, name=job.name, origin=origin, definition=definition, now=now, same_schedule=same_schedule
    )
    if changed:
        _redefine(session, job, definition)
    return changed


def _redefine(session: Session, job: Job, definition: Mapping[str, Any]) -> None:
    since: Literal["scheduled_time", "created_at"] = "created_at" if job.after else "scheduled_time"
    runs.redefine_waiting(session, job.name, definition, delay=timedelta(seconds=job.delay), since=since)


class _Losses(NamedTuple):
    """What a config file lost as if it were cut short.

    ``keys`` are those of jobs, by name; ``cuts`` say where files end, each with the jobs that this may change.
    """

    keys: Mapping[str, tuple[str, ...]]
    cuts: Mapping[str, Collection[str]]


def _losses(session: Session, changes: Changes, stored: Iterable[StoredJob], config: Config) -> _Losses:
    """Return what the file lost as if it were cut short; a removed job comes back with its own keys."""
    known = {each.name: each.definition for each in stored if each.name in changes.replaced}
    if changes.put.keys() - changes.replaced:
        gone = (each for each in removed.removed_jobs(session) if each.origin == "file")
        known |= {each.name: each.definition for each in gone if each.name in changes.put}
    waiting = json.loads(key_values.get(session, CONFIG_UNCONFIRMED) or "{}").get("lost", ())
    keys = lost_keys(
        config,
        known,
        defaults_before=json.loads(key_values.get(session, DEFAULT_KEYS) or "[]"),
        pending={each["job"]: each["keys"] for each in waiting},
    )
    return _Losses(keys, cuts(config, json.loads(key_values.get(session, OUTLINES) or "{}")))


def _outlines(config: Config) -> str:
    """Return what is kept of the texts of the config, by file, to know the beginning of one again."""
    return json.dumps({file: outline(text) for file, text in config.texts.items()})


def _check_whole(
    changes: Changes,
    stored: Sequence[StoredJob],
    config: Config,
    losses: _Losses,
    confirmed: Collection[str] = (),
) -> None:
    """Raise LostParents or UnconfirmedEdit for what an edit takes away."""
    if parents := lost_parents(changes, stored):
        raise LostParents(parents, name=config.name)
    check_whole(changes, stored, name=config.name, lost=losses.keys, cuts=losses.cuts, confirmed=confirmed)


def _ask_croniter(accepted: Iterable[Job], config: Config, now: datetime) -> None:
    """Refuse a config file with a schedule that croniter reads otherwise, which is a bug in schedctl."""
    schedules = {job.name: job.schedule for job in accepted if job.schedule is not None}
    said = {name: disagreement(schedule.cron, now) for name, schedule in schedules.items()}
    faults = [Fault(keys=("jobs", name, "cron"), message=fault) for name, fault in said.items() if fault]
    if faults:
        raise ConfigError(faults, name=config.name)


def _rescheduled(put: Mapping[str, Job], known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name, job in put.items() if name in known and not same_schedule(known[name], job.to_dict())]


def same_schedule(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    """Whether two definitions fire at the same times; a change of any other key leaves owed slots owed."""
    if before is None or list(before.get(KEY) or ()) != list(after.get(KEY) or ()):
        return False
    return all(before.get(key) == after.get(key) for key in SCHEDULE_KEYS)


def view_jobs(database: Database) -> list[JobView]:
    """Return every job, by name."""
    with database.read() as session:
        stored, last = jobs.all_jobs(session), runs.last_runs(session)
    return with_slots([_view(each, last.get(each.name)) for each in stored])


def view_job(database: Database, name: str) -> JobView:
    """Return one job; raises not-found, with the nearest name."""
    with database.read() as session:
        stored = jobs.get_job(session, name)
        ended = runs.list_runs(session, job=name, limit=RECENT, outcomes=ENDED) if stored is not None else []
        others = jobs.all_jobs(session) if stored is None or stored.definition.get(KEY) else []
        last_done = actions.of_job(session, name, limit=1) if stored is None else []
    if stored is None and (kept := kept_state(database, name)) is not None:
        when = f"{kept.removed_at:%Y-%m-%dT%H:%M:%SZ}"
        who = f" by {last_done[0].by}" if last_done and last_done[0].change == "removed" else ""
        raise not_found(f"there is no job {name!r}: it was removed at {when}{who}; its state comes back with its name")
    if stored is None:
        raise not_found(f"there is no job {name!r}{_nearest(name, [job.name for job in others])}")
    last = max(ended, key=lambda run: (run.finished_at or run.created_at, run.id), default=None)
    return with_slots([_view(stored, last)], [JobLine(stored=each) for each in others])[0]


def _view(stored: StoredJob, last_run: StoredRun | None) -> JobView:
    try:
        return JobView(stored=stored, last_run=last_run, read=Job.from_dict(stored.definition))
    except UnreadableJobError as error:
        return JobView(stored=stored, last_run=last_run, read=error, fault=error.reason)


def make_job(
    name: str,
    table: Mapping[str, Any],
    config: Config,
    now: datetime,
    *,
    defaults: bool = True,
    tell: Callable[[Fault], str] | None = None,
) -> Job:
    """Make a job of what was typed, with the same checks as for the config file, and croniter's second opinion.

    Raises a usage error with every fault, in the words of ``tell``. ``defaults``: what the table leaves out is as
    ``[defaults]`` has it.
    """
    try:
        job = parse_job(
            name, table, connections=config.connection_types, defaults=config.defaults if defaults else None
        )
    except ConfigError as error:
        faults = [(tell or _tell)(fault) for fault in error.faults]
        raise usage(f"job {name}: {'; '.join(faults)}", faults=faults) from error
    if job.email is not None and not job.email.is_empty and config.notify.smtp is None:
        raise usage(f"job {name}: {NO_RELAY}", faults=[f"email: {NO_RELAY}"])
    check_schedule(job, now)
    return job


def check_schedule(job: Job, now: datetime) -> None:
    """Ask croniter for its opinion on the schedule; raises failed where it is another, a bug in schedctl."""
    if job.schedule is not None and (fault := disagreement(job.schedule.cron, now)):
        raise failed(fault)


def check_parents(database: Database, job: Job) -> None:
    """Raise a usage error if what a job runs after is not there, or runs after the job itself."""
    if job.after:
        with database.read() as session:
            _check_parents(session, job)


def idle_follower(database: Database, job: Job, now: datetime) -> str | None:
    """Say why a job, stored or not, that runs after others never does so by itself; None if it does, or is none."""
    if not job.after:
        return None
    with database.read() as session:
        lines = with_slots([JobLine(stored=each) for each in jobs.all_jobs(session)])
    known: dict[str, Timed] = {each.name: each for each in lines}
    return idle(job.name, known | {job.name: job}, now)


def _check_parents(session: Session, job: Job) -> None:
    parents = dependents.parents_of(session) | {job.name: job.after}
    faults = graph_faults(parents, jobs.job_names(session) | {job.name}, names=[job.name])
    if faults:
        told = [_tell(fault) for fault in faults]
        raise usage(f"job {job.name}: {'; '.join(told)}", faults=told)


def note_added(database: Database, name: str, now: datetime, *, by: Actor | None = None) -> None:
    """Keep that a command has written a job into the config file, whichever process is the first to store it."""
    with database.write() as session:
        record_action(session, by, "added", now=now, jobs=[name])


def add_job(database: Database, job: Job, now: datetime, *, by: Actor | None = None) -> JobView:
    """Store a new job of origin ``cli``. Raises a usage error if its name is taken, or a parent is not there.

    Here and below, ``by`` is who did it; without it, this process's user.
    """
    with database.write() as session:
        lock_names(session, [job.name, *job.after])  # so that no parent is removed meanwhile
        _check_parents(session, job)
        taken = jobs.get_job(session, job.name)
        if taken is not None:
            raise usage(_taken(taken))
        jobs.put_job(session, name=job.name, origin="cli", definition=job.to_dict(), now=now)
        record_action(session, by, "added", now=now, jobs=[job.name])
    return view_job(database, job.name)


def check_name_free(database: Database, name: str) -> None:
    """Raise a usage error if there is a job of that name."""
    with database.read() as session:
        taken = jobs.get_job(session, name)
    if taken is not None:
        raise usage(_taken(taken))


def replace_job(database: Database, job: Job, now: datetime, *, revision: int, by: Actor | None = None) -> bool:
    """Store a changed job of origin ``cli``; returns whether that changed anything. Its state is kept.

    ``revision`` is the one that was changed: if there is another by now, nothing is stored and the error says so.
    """
    definition = job.to_dict()
    with database.write() as session:
        lock_names(session, [job.name, *job.after])
        _check_parents(session, job)
        stored = jobs.get_job(session, job.name)
        if stored is None or stored.revision != revision:
            raise failed(f"somebody else changed job {job.name} meanwhile; look at it and try again")
        same = same_schedule(stored.definition, definition)
        if not same:
            settle_owed(session, [job.name], CHANGED, now)
        changed = _put(session, job, "cli", now, same_schedule=same)
        verbs = ["changed"] if changed else []
        for verb in [*verbs, "enabled"] if changed and stored.disabled_by == "daemon" else verbs:
            record_action(session, by, verb, now=now, jobs=[job.name])
        return changed


def has_job(database: Database, name: str) -> bool:
    """Whether there is a job of that name."""
    with database.read() as session:
        return jobs.get_job(session, name) is not None


def kept_state(database: Database, name: str) -> RemovedJob | None:
    """Return what is kept of a removed job for one of its name, if anything is."""
    with database.read() as session:
        return removed.get(session, name)


def removed_jobs(database: Database) -> list[RemovedJob]:
    """Return, by name, the removed jobs whose state is kept."""
    with database.read() as session:
        return removed.removed_jobs(session)


def forget_job(database: Database, name: str, now: datetime, *, by: Actor | None = None) -> None:
    """Throw away what is kept of a removed job, so that one of its name begins anew.

    Raises not-found if nothing is kept, and failed while a run of it goes on, which would write to it at its end.
    """
    with database.write() as session:
        lock_names(session, [name])
        _forget(session, name)
        record_action(session, by, "forgotten", now=now, jobs=[name])


def _forget(session: Session, name: str) -> None:
    going_on = runs.waiting_or_running(session, name)
    if going_on:
        raise failed(
            f"run {going_on[0].id} of job {name} goes on: wait for its end, or schedctl cancel {going_on[0].id}"
        )
    is_known = removed.forget(session, name)
    if not snapshots.forget(session, name) and not is_known:
        raise not_found(f"there is no job {name!r}, and no state of a removed one; schedctl list --removed shows those")


def remove_job(
    database: Database, name: str, now: datetime, *, forget: bool = False, by: Actor | None = None
) -> list[int] | None:
    """Remove a job; its runs and history stay. Returns the runs that have begun and go on; None if there was no job.

    Its state is kept for a job of its name that comes later, unless it is to be forgotten. Raises a usage error, which
    names them, if others run after it.
    """
    with database.write() as session:
        lock_names(session, [name])
        if names := dependents.followers_of(session, name):
            them = "it" if len(names) == 1 else "them"
            raise usage(
                f"{', '.join(names)} {'runs' if len(names) == 1 else 'run'} after {name}: remove {them} first, or give "
                f"{them} another after or a cron"
            )
        settle_owed(session, [name], CHANGED, now)
        by = by or this_actor("schedctl")
        is_removed = jobs.remove_job(session, name, now=now, reason=f"the job was removed by {by}")
        if is_removed:
            record_action(session, by, "removed", now=now, jobs=[name])
        if forget:
            _forget(session, name)
            record_action(session, by, "forgotten", now=now, jobs=[name])
        return [run.id for run in runs.waiting_or_running(session, name)] if is_removed else None


def disable_job(database: Database, name: str, reason: str, now: datetime, *, by: Actor | None = None) -> bool:
    """Pause a job's schedule until it is enabled; returns whether that changed anything."""
    with database.write() as session:
        settle_owed(session, [name], DISABLED, now)
        changed = jobs.disable_job(session, name, by="person", reason=reason, now=now)
        return _noted(session, by, "disabled", name, now, has_changed=changed)


def enable_job(database: Database, name: str, now: datetime, *, by: Actor | None = None) -> bool:
    """Let a job's schedule go on from now and reset its streak; returns whether it had been disabled."""
    with database.write() as session:
        changed = jobs.enable_job(session, name, now=now)
        return _noted(session, by, "enabled", name, now, has_changed=changed)


def job_actions(database: Database, name: str, limit: int) -> list[StoredAction]:
    """Return what was done to a job and its runs, and by whom, newest first."""
    with database.read() as session:
        return actions.of_job(session, name, limit=limit)


def _noted(session: Session, by: Actor | None, change: str, name: str, now: datetime, *, has_changed: bool) -> bool:
    if has_changed:
        record_action(session, by, change, now=now, jobs=[name])
    return has_changed


def require_cli_origin(stored: StoredJob, config: Config, what: str) -> None:
    """Raise a usage error, which names the file, if a job belongs to the config file."""
    if stored.origin == "file":
        place = _place_of(config, stored.name)
        raise usage(f"job {stored.name} belongs to the config file: {what} [jobs.{stored.name}] in {place}")


def table_of(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored definition as the table that the config file would have, without what is unset."""
    table: dict[str, Any] = _without_none(definition)
    table.pop("name", None)
    table.pop("query_file", None)  # its text is in ``query``
    if isinstance(export := table.get("export"), dict):
        export.pop("type", None)
    return table


def _without_none(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in value]
    return value


def _place_of(config: Config, name: str) -> str:
    """Return the file in which a job stands, with the line on which it begins if it can still be found there."""
    file = config.origins.get(("jobs", name), config.name)
    try:
        line = line_of(key_lines(read_text(Path(file))), ("jobs", name))
    except (OSError, ValueError):
        line = None
    return file if line is None else f"{file}:{line}"


def _taken(stored: StoredJob) -> str:
    if stored.origin == "file":
        return f"the name {stored.name} is taken by a job of the config file; choose another"
    return f"there is a job {stored.name} already; change it with schedctl edit {stored.name}, or choose another name"


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else "; schedctl list shows them"


def _tell(fault: Fault) -> str:
    """Say a fault without the table that its key would stand in."""
    return str(replace(fault, keys=fault.keys[2:]))
