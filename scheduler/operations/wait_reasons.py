"""What a run that waits is waiting for, in words."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from exporter.counted import counted
from scheduler.config.build import Config
from scheduler.jobs.outline import Outline
from scheduler.nodes.disk_faults import faults_of
from scheduler.nodes.health import CONFIG_UNCONFIRMED
from scheduler.nodes.presence import live_daemon
from scheduler.nodes.process import lives
from scheduler.runs.concurrency import Limits
from scheduler.runs.quota_hold_store import holds
from scheduler.runs.spool_identity import away, place_of, places_of
from storage import key_values, nodes
from storage.database import Database
from storage.engine.server_clock import shared_now
from storage.jobs import jobs
from storage.runs import runs
from storage.runs.runs import StoredRun


def waits_for(
    database: Database, config: Config | None, run: StoredRun, now: datetime, *, here: bool = False
) -> str | None:
    """Return what keeps a run from starting, or from going on, the first thing that does; None if nothing does.

    ``here``: this process would execute it, so that no daemon has to live. Without a config, because the file has
    faults, the limits of connections are not known.
    """
    if run.state == "running":
        with database.read() as session:
            owner = next((node for node in nodes.all_nodes(session) if node.id == run.owner), None)
            is_executed = owner is not None and lives(owner, shared_now(session, now))
        return None if is_executed else "a daemon to go on with it (or schedctl daemon --once): its process has ended"
    return next(_reasons(database, config, run, now, here=here), None) if run.state == "waiting" else None


def keeps_from_stopping(database: Database, run: StoredRun, now: datetime) -> str | None:
    """Say why nobody stops a waiting run that was asked to stop, and what to do; None if a daemon does."""
    if run.state != "waiting":
        return None
    with database.read() as session:
        shared = shared_now(session, now)
        daemons = [node for node in nodes.all_nodes(session) if node.kind == "daemon" and lives(node, shared)]
        far = away(session, places_of(daemons), run_id=run.id)
    return next(iter(far), None if daemons else "no daemon is alive: the run stops when one starts")


def _reasons(database: Database, config: Config | None, run: StoredRun, now: datetime, *, here: bool) -> Iterator[str]:
    """Yield what keeps a run from starting, the first thing first."""
    if run.run_time > now:
        yield f"its time, {run.run_time:%Y-%m-%dT%H:%M:%SZ}"
    limits = Limits.of(config.connections if config is not None else {})
    demand = limits.demand(run.definition)
    is_served = here or live_daemon(database, now) is not None
    with database.read() as session:
        job, held = jobs.get_job(session, run.job), sorted(holds(session).items())
        faults = () if here else faults_of(session, {node.host for node in nodes.all_nodes(session)})
        living = [node for node in nodes.all_nodes(session) if lives(node, shared_now(session, now))]
        places = places_of(living)
        if here and config is not None and run.spool_place is not None:
            places |= {place_of(config.storage.spool).id}
        far = away(session, places, run_id=run.id)
        running, of_job = runs.running(session), runs.waiting_or_running(session, run.job)
        unconfirmed = json.loads(key_values.get(session, CONFIG_UNCONFIRMED) or "{}")
    if job is not None and job.disabled_at is not None and run.kind == "schedule" and run.started_at is None:
        yield f"job {run.job} to be enabled"
    yield from far
    if not is_served:
        yield "a daemon: none is alive"
    if run.job in unconfirmed.get("resting", ()):
        yield "the edit of the config file that takes it away to be undone, or confirmed (schedctl reload --confirm)"
    yield from (f"room on a disk: {fault}" for fault in faults)
    for name, hold in held:
        if name in demand.connections and hold.is_in_force(now):
            yield f"the quota of connection {name}, until {hold.until:%Y-%m-%dT%H:%M:%SZ}: {hold.message}"
    yield _for_others(run, limits, running, of_job) or (
        "a free worker" if config is not None else "a free worker, or room on a connection"
    )


def _for_others(
    run: StoredRun, limits: Limits, running: Sequence[StoredRun], of_job: Sequence[StoredRun]
) -> str | None:
    """Name the run that goes on or comes first, if there is one."""
    if Outline(run.definition).overlap != "allow":
        for other in of_job:
            is_older = other.state == "waiting" and (other.run_time, other.id) < (run.run_time, run.id)
            if other.state == "running" or is_older:
                return f"run {other.id} of the same job"
    demand = limits.demand(run.definition)
    for name in sorted(demand.connections & limits.max_running.keys()):
        busy = sum(name in limits.demand(other.definition).connections for other in running)
        if busy >= limits.max_running[name]:
            return f"connection {name}, which allows {counted(limits.max_running[name], 'run')} at once (max_running)"
    for other in running:
        theirs = limits.demand(other.definition)
        if demand.lane is not None and theirs.lane == demand.lane and (demand.alone or theirs.alone):
            return f"run {other.id} of job {other.job}, which writes to the same object"
    return None
