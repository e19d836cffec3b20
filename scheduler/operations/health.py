"""How the daemon does: who is alive, what waits, what failed last, and what became of the config file."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.disk import faults_of
from scheduler.holds import Hold, holds
from scheduler.operations.presence import live_daemon
from storage import jobs, nodes, notices, runs, settings
from storage.database import Database
from storage.jobs import StoredJob
from storage.nodes import Node
from storage.notices import Outbox
from storage.runs import StoredRun

RECENT_FAILURES = 5
"""How many failed runs are told."""
FAILED = ("failed", "interrupted")
OVERDUE = timedelta(minutes=5)
"""A waiting run whose time is further back than this is overdue; metrics count with the same measure."""
AHEAD = timedelta(minutes=5)
"""A last slot that is further ahead of now than this is of a time when the clock was wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that needs a person. ``code`` is stable: no_daemon, config, disk, job_disabled, overdue, clock."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """The state of the whole.

    ``config_fault`` is what the daemon found in the config file; ``disk_faults`` are why runs are not started, by host;
    ``holds`` are the connections whose quota was used up, and of which no run has got through since. ``overdue`` is
    how many runs should have started five minutes ago, and have not. ``ahead`` are jobs that have fired for slots
    still to come, since the clock was set back after that: no slot fires twice, so they rest until it has caught up.
    """

    daemon: Node | None
    config_path: str | None
    config_read_at: str | None
    config_fault: str | None
    waiting: int
    running: int
    jobs: int
    disabled: int
    auto_disabled: tuple[StoredJob, ...]
    failures: tuple[StoredRun, ...]
    outbox: Outbox
    disk_faults: tuple[str, ...]
    holds: tuple[Hold, ...]
    overdue: int = 0
    ahead: tuple[StoredJob, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What needs a person, the gravest first; empty while all is well."""
        found = [
            ("no_daemon", "no daemon is alive" if self.daemon is None else None),
            ("config", self.config_fault and f"the config file has faults: {self.config_fault.splitlines()[0]}"),
            *(("disk", fault) for fault in self.disk_faults),
            *(
                ("job_disabled", f"job {job.name} was disabled by its failures: {job.disabled_reason}")
                for job in self.auto_disabled
            ),
            ("overdue", f"{self.overdue} runs should have started long ago" if self.overdue else None),
            *(("clock", _rests(job)) for job in self.ahead),
        ]
        return tuple(Problem(code=code, message=message) for code, message in found if message)


def _rests(job: StoredJob) -> str:
    return (
        f"job {job.name} has fired up to {job.high_water:%Y-%m-%dT%H:%M:%SZ}, which is still to come: the clock was "
        "set back. It fires again after that; remove it and add it again to have it fire from now"
    )


def look(database: Database, now: datetime) -> Health:
    """Look at the state database."""
    daemon = live_daemon(database, now)
    with database.read() as session:
        total, disabled = jobs.count_jobs(session)
        held_back = jobs.held_back_jobs(session, now + AHEAD)
        counts = runs.count_unfinished(session)
        failures = runs.list_runs(session, limit=RECENT_FAILURES, outcomes=FAILED)
        return Health(
            daemon=daemon,
            config_path=settings.get(session, "config_path"),
            config_read_at=settings.get(session, "config_read_at"),
            config_fault=settings.get(session, "config_fault") or None,
            waiting=counts.waiting,
            running=counts.running,
            jobs=total,
            disabled=disabled,
            auto_disabled=tuple(job for job in held_back if job.disabled_by == "daemon"),
            failures=tuple(failures),
            outbox=notices.outbox(session),
            disk_faults=faults_of(session, {node.host for node in nodes.all_nodes(session)}),
            overdue=runs.queue(session, overdue=now - OVERDUE)["overdue"],
            holds=tuple(hold for _, hold in sorted(holds(session).items())),
            ahead=tuple(job for job in held_back if job.high_water is not None and job.high_water > now + AHEAD),
        )


def request_reload(database: Database, now: datetime) -> Node | None:
    """Ask the daemon to read its config file again; returns the daemon, None if there is none to do it."""
    daemon = live_daemon(database, now)
    if daemon is not None:
        with database.write() as session:
            settings.put(session, "reload_requested", now.isoformat())
    return daemon


def config_read_at(database: Database) -> tuple[str | None, str | None]:
    """Return when the daemon last read the config file and what it found wrong with it, if anything."""
    with database.read() as session:
        return settings.get(session, "config_read_at"), settings.get(session, "config_fault") or None
