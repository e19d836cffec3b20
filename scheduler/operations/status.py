"""How the daemon does: who is alive, what waits, what failed last, and what became of the config file."""

import json
import socket
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

from scheduler.config.diff import EDITS
from scheduler.environment.actors import record_action, this_actor
from scheduler.nodes.disk_faults import faults_of
from scheduler.nodes.health import (
    AHEAD,
    CONFIG_UNCONFIRMED,
    CONFIRMED,
    FAILED,
    OVERDUE,
    RECENT_FAILURES,
    UNREADABLE,
    Health,
    held_apart,
    read_unreadable,
    still_unreadable,
)
from scheduler.nodes.presence import heard_daemon, live_daemon
from scheduler.nodes.process import lives
from scheduler.runs.quota_hold_store import holds
from scheduler.runs.spool_identity import away, places_of
from storage import key_values, nodes, notices
from storage.database import Database
from storage.engine.server_clock import shared_now
from storage.jobs import jobs
from storage.nodes import Node
from storage.runs import runs
from storage.values import Actor


def look(database: Database, now: datetime) -> Health:
    """Look at the state database."""
    daemon, silent_for = heard_daemon(database, now)
    with database.read() as session:
        known = nodes.all_nodes(session)
        living = [node for node in known if node.kind == "daemon" and lives(node, shared_now(session, now))]
        total, disabled = jobs.count_jobs(session)
        auto_disabled, ahead = held_apart(jobs.held_back_jobs(session, now + AHEAD), now)
        queue = runs.queue(session, overdue=now - OVERDUE)
        failures = runs.list_runs(session, limit=RECENT_FAILURES, outcomes=FAILED)
        hosts = {socket.gethostname(), *(node.host for node in known)}
        unreadable = read_unreadable(key_values.beginning_with(session, UNREADABLE), hosts)
        named = [job for name in unreadable if (job := jobs.get_job(session, name)) is not None]
        return Health(
            daemon=daemon,
            silence=silent_for,
            config_path=key_values.get(session, "config_path"),
            config_read_at=key_values.get(session, "config_read_at"),
            config_fault=key_values.get(session, "config_fault") or None,
            waiting=queue["waiting"],
            running=queue["running"],
            jobs=total,
            disabled=disabled,
            auto_disabled=auto_disabled,
            failures=tuple(failures),
            outbox=notices.outbox(session),
            disk_faults=faults_of(session, hosts),
            holds=tuple(hold for _, hold in sorted(holds(session).items())),
            overdue=queue["overdue"],
            ahead=ahead,
            unreadable=still_unreadable(unreadable, named),
            away=tuple(away(session, places_of(living))),
            config_unconfirmed=json.loads(key_values.get(session, CONFIG_UNCONFIRMED) or "null"),
        )


def request_reload(
    database: Database, now: datetime, *, confirmed: Collection[str] = (), by: Actor | None = None
) -> Node | None:
    """Ask the daemon to read its config file again; returns the daemon, None if there is none to do it.

    ``confirmed`` is what a person agrees to lose, as ``scheduler.config.merge.to_confirm`` returned it.
    """
    daemon = live_daemon(database, now)
    if daemon is not None:
        request = now.isoformat()
        with database.write() as session:
            by = by or this_actor("schedctl reload")
            kept = {"request": request, "remove": sorted(confirmed), "by": asdict(by)}
            key_values.put(session, CONFIRMED, json.dumps(kept))
            key_values.put(session, "reload_requested", request)
            record_action(session, by, "reloaded", now=now)
    return daemon


def last_edits(database: Database) -> dict[str, Any] | None:
    """Return what the last edit that a daemon took over changed, with ``at``, when; None if none changed a job yet."""
    with database.read() as session:
        kept = key_values.get(session, EDITS)
    if not kept:
        return None
    edits: dict[str, Any] = json.loads(kept)
    for edit in edits["jobs"]:  # an older version kept less
        edit.setdefault("restored", False)
        edit.setdefault("enabled_again", False)
    return edits


def config_read_at(database: Database) -> tuple[str | None, str | None]:
    """Return when the daemon last read the config file and what kept it from taking it over, if anything."""
    with database.read() as session:
        return key_values.get(session, "config_read_at"), key_values.get(session, "config_fault") or None
