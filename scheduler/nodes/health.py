"""The health of a daemon, as values: what `status` shows, and what needs operator action. Pure, light to import."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from exporter.counted import counted
from scheduler.jobs.outline import Outline
from scheduler.outcomes.quota_hold import Hold
from storage.values import Node, Outbox, StoredJob, StoredRun

DISK_FAULT = "disk_fault:"
"""What the keys of the settings begin with that keep why a disk has no room; the host follows, and the directory."""
CONFIG_UNCONFIRMED = "config_unconfirmed"
"""The key in ``setting`` of an edit of the config file that waits for a person, as JSON; empty while none does. It
removes ``count`` jobs ``of`` so many, such as ``removed``; ``lost`` are jobs with the keys that they lose; ``resting``
are those of which meanwhile nothing is started. Of each at most 100 are named."""
CONFIRMED = "reload_confirmed"
"""The key in ``setting`` of what a person agreed to lose, as ``scheduler.config.merge.to_confirm`` returned it:
``{"request": …, "remove": […]}``. It counts for the reload that asks for it and no later one: the file may be another
by then."""
UNREADABLE = "unreadable:"
"""What the keys of the settings begin with that keep which jobs a daemon cannot read; its host follows."""
RECENT_FAILURES = 5
"""How many failed runs are told."""
FAILED = ("failed", "interrupted")
OVERDUE = timedelta(minutes=5)
"""A waiting run whose time is further back than this is overdue; metrics count with the same measure."""
SILENT = timedelta(seconds=30)
"""A daemon that has told nothing of itself for longer than this does nothing: it does so every 4 s, and writing may
wait for another process for 20 s."""
DRAINING, METRICS_FAULT, PLACES = "draining", "metrics_fault", "spool_places"
"""What a daemon reports of itself: whether it drains, why its metrics are not served, which spools it can read."""
AHEAD = timedelta(minutes=5)
"""A last slot that is further ahead of now than this is of a time when the clock was wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that needs operator action. ``code`` is stable; docs/monitoring.md lists them."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """Why a daemon cannot read the definition of that ``revision`` of a job."""

    revision: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """The state of the whole.

    ``config_fault`` is what keeps the daemon from taking the config file over, and ``config_unconfirmed`` what its edit
    would remove, if it is that; ``disk_faults`` are why runs are not started, by host;
    ``holds`` are the connections whose quota was used up, and of which no run has got through since. ``overdue`` is
    how many runs should have started five minutes ago, and have not. ``ahead`` are jobs that have fired for slots
    still to come, since the clock was set back after that: no slot fires twice, so they rest until it has caught up.
    ``unreadable`` are jobs that a daemon cannot read, by name, and why. ``silence`` is how long ago the daemon told of
    itself. ``away`` names the begun runs whose spools no living daemon can read.
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
    away: tuple[str, ...] = ()
    ahead: tuple[StoredJob, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    silence: timedelta = timedelta(0)
    config_unconfirmed: Mapping[str, Any] | None = None

    @property
    def state(self) -> str:
        """What the daemon that lives does: ``working``, ``draining`` or ``silent``."""
        if self.silence > SILENT:
            return "silent"
        return "draining" if self.daemon is not None and self.daemon.info.get(DRAINING) else "working"

    @property
    def silent_words(self) -> str | None:
        """What a daemon that tells nothing of itself may have; None while it does."""
        if self.daemon is None or self.state != "silent":
            return None
        return (
            f"the daemon (process {self.daemon.pid} on {self.daemon.host}) has told nothing of itself for "
            f"{self.silence.total_seconds():.0f} s: it is stopped or stuck, or the state database takes nothing from "
            "it, as on a full disk"
        )

    @property
    def metrics_fault(self) -> str | None:
        """Why the daemon's metrics are not served; None while they are, or nobody asked for any."""
        return (self.daemon.info.get(METRICS_FAULT) or None) if self.daemon is not None else None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What needs operator action, the gravest first; empty while all is well."""
        found: list[tuple[str, str | None]] = [
            ("no_daemon", "no daemon is alive" if self.daemon is None else None),
            ("silent", self.silent_words),
            self._config_problem(),
            *(("disk", fault) for fault in self.disk_faults),
            *(
                ("job_disabled", f"job {job.name} was disabled by its failures: {job.disabled_reason}")
                for job in self.auto_disabled
            ),
            *(
                ("job_unreadable", f"job {name} cannot be read, so it does not fire: {reason}")
                for name, reason in sorted(self.unreadable.items())
            ),
            ("overdue", f"{counted(self.overdue, 'run')} should have started long ago" if self.overdue else None),
            *(("spool_away", away) for away in self.away),
            *(("clock", _rests(job)) for job in self.ahead),
            ("metrics", self.metrics_fault and f"metrics are not served: {self.metrics_fault}"),
        ]
        return tuple(Problem(code=code, message=message) for code, message in found if message)

    def _config_problem(self) -> tuple[str, str | None]:
        if not self.config_fault:
            return "config", None
        first = self.config_fault.splitlines()[0]
        if self.config_unconfirmed is not None:
            return "config_unconfirmed", f"an edit of the config file waits for confirmation: {first}"
        return "config", f"the config file has faults: {first}"


def silence(daemon: Node | None, now: datetime) -> timedelta:
    """Return how long ago a daemon told of itself, by the clock that it does so by; it may have been set back since."""
    return timedelta(0) if daemon is None else abs(now - daemon.seen_at)


def _rests(job: StoredJob) -> str:
    return (
        f"job {job.name} has fired up to {job.high_water:%Y-%m-%dT%H:%M:%SZ}, which is in the future: the clock was "
        "set back. It fires again after that. To have it fire from now: take it out of the config file if it is in it, "
        f"schedctl remove {job.name} --forget, and add it again"
    )


def held_apart(held_back: Iterable[StoredJob], now: datetime) -> tuple[tuple[StoredJob, ...], tuple[StoredJob, ...]]:
    """Part the jobs that do not fire into those that the daemon disabled, and those that fired ahead of now."""
    found = tuple(held_back)
    clocked = (job for job in found if not Outline(job.definition).after)  # a follower runs for any slot, late or early
    ahead = tuple(job for job in clocked if job.high_water is not None and job.high_water > now + AHEAD)
    return tuple(job for job in found if job.disabled_by == "daemon"), ahead


def disk_faults(settings: Mapping[str, str], hosts: Collection[str]) -> tuple[str, ...]:
    """Return why disks of these hosts have no room, from the settings whose keys begin with DISK_FAULT."""
    named = [(key.removeprefix(DISK_FAULT).partition(":")[0], fault) for key, fault in sorted(settings.items())]
    return tuple(f"{host}: {fault}" for host, fault in named if fault and host in hosts)


def write_unreadable(found: Mapping[str, Unreadable]) -> str:
    """Return what a daemon cannot read as text, to be stored; empty if there is nothing."""
    return json.dumps({name: [each.revision, each.reason] for name, each in found.items()}) if found else ""


def read_unreadable(settings: Mapping[str, str], hosts: Collection[str]) -> dict[str, Unreadable]:
    """Return what daemons on these hosts cannot read, by job, from the settings whose keys begin with UNREADABLE."""
    found: dict[str, Unreadable] = {}
    for key, text in sorted(settings.items()):
        if text and key.removeprefix(UNREADABLE) in hosts:
            for name, (revision, reason) in json.loads(text).items():
                found[name] = Unreadable(revision=revision, reason=reason)
    return found


def still_unreadable(found: Mapping[str, Unreadable], jobs: Iterable[StoredJob]) -> dict[str, str]:
    """Return why jobs cannot be read, of those that are enabled and not changed since."""
    return {
        job.name: found[job.name].reason
        for job in jobs
        if job.name in found and job.disabled_at is None and job.revision == found[job.name].revision
    }
