"""What `status` tells of a SQLite state file by plain SQL, as :mod:`scheduler.operations.status` tells it."""

import json
import socket
from datetime import datetime

from scheduler.nodes.health import (
    AHEAD,
    CONFIG_UNCONFIRMED,
    DISK_FAULT,
    FAILED,
    OVERDUE,
    RECENT_FAILURES,
    UNREADABLE,
    Health,
    disk_faults,
    held_apart,
    read_unreadable,
    silence,
    still_unreadable,
)
from scheduler.nodes.process import living_daemon
from scheduler.outcomes.quota_hold import HOLD, holds_among
from storage.fast_read import Glance


def look(found: Glance, now: datetime) -> Health:
    """Look at the state file."""
    nodes, queue = found.nodes(), found.queue(now - OVERDUE)
    jobs, disabled = found.count_jobs()
    auto_disabled, ahead = held_apart(found.held_back_jobs(now + AHEAD), now)
    hosts = {socket.gethostname(), *(node.host for node in nodes)}
    daemon = living_daemon(nodes, now)
    unreadable = read_unreadable(found.settings_beginning_with(UNREADABLE), hosts)
    known = [job for name in unreadable for job in found.jobs(name)]
    return Health(
        daemon=daemon,
        silence=silence(daemon, now),
        config_path=found.setting("config_path"),
        config_read_at=found.setting("config_read_at"),
        config_fault=found.setting("config_fault") or None,
        waiting=queue["waiting"],
        running=queue["running"],
        jobs=jobs,
        disabled=disabled,
        auto_disabled=auto_disabled,
        failures=tuple(found.newest_runs(FAILED, RECENT_FAILURES)),
        outbox=found.outbox(),
        disk_faults=disk_faults(found.settings_beginning_with(DISK_FAULT), hosts),
        holds=tuple(hold for _, hold in sorted(holds_among(found.settings_beginning_with(HOLD)).items())),
        overdue=queue["overdue"],
        ahead=ahead,
        config_unconfirmed=json.loads(found.setting(CONFIG_UNCONFIRMED) or "null"),
        unreadable=still_unreadable(unreadable, known),
    )
