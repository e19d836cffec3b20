"""How the daemon does: who is alive, what waits, what failed last, and what became of the config file."""

import json
from datetime import datetime
from typing import Any

from scheduler.actors import record_action
from scheduler.disk import faults_of
from scheduler.edits import EDITS
from scheduler.health import AHEAD, FAILED, OVERDUE, RECENT_FAILURES, Health, held_apart
from scheduler.holds import holds
from scheduler.operations.presence import heard_daemon, live_daemon
from storage import jobs, nodes, notices, runs, settings
from storage.database import Database
from storage.nodes import Node
from storage.values import Actor


def look(database: Database, now: datetime) -> Health:
    """Look at the state database."""
    daemon, silent_for = heard_daemon(database, now)
    with database.read() as session:
        total, disabled = jobs.count_jobs(session)
        auto_disabled, ahead = held_apart(jobs.held_back_jobs(session, now + AHEAD), now)
        queue = runs.queue(session, overdue=now - OVERDUE)
        failures = runs.list_runs(session, limit=RECENT_FAILURES, outcomes=FAILED)
        return Health(
            daemon=daemon,
            silence=silent_for,
            config_path=settings.get(session, "config_path"),
            config_read_at=settings.get(session, "config_read_at"),
            config_fault=settings.get(session, "config_fault") or None,
            waiting=queue["waiting"],
            running=queue["running"],
            jobs=total,
            disabled=disabled,
            auto_disabled=auto_disabled,
            failures=tuple(failures),
            outbox=notices.outbox(session),
            disk_faults=faults_of(session, {node.host for node in nodes.all_nodes(session)}),
            holds=tuple(hold for _, hold in sorted(holds(session).items())),
            overdue=queue["overdue"],
            ahead=ahead,
        )


def request_reload(database: Database, now: datetime, *, by: Actor | None = None) -> Node | None:
    """Ask the daemon to read its config file again; returns the daemon, None if there is none to do it."""
    daemon = live_daemon(database, now)
    if daemon is not None:
        with database.write() as session:
            settings.put(session, "reload_requested", now.isoformat())
            record_action(session, by, "reloaded", now=now)
    return daemon


def last_edits(database: Database) -> dict[str, Any] | None:
    """Return what the last edit that a daemon took over changed, with ``at``, when; None if none changed a job yet."""
    with database.read() as session:
        kept = settings.get(session, EDITS)
    return None if not kept else dict(json.loads(kept))


def config_read_at(database: Database) -> tuple[str | None, str | None]:
    """Return when the daemon last read the config file and what it found wrong with it, if anything."""
    with database.read() as session:
        return settings.get(session, "config_read_at"), settings.get(session, "config_fault") or None
