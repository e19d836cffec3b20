"""The plan of a daemon, kept in line with the stored jobs: what changed is read, not all there is."""

import socket
from collections.abc import Collection

from scheduler.environment.clock import Clock, utc_now
from scheduler.jobs.definition import UnreadableJobError
from scheduler.nodes.health import UNREADABLE, Unreadable, read_unreadable, write_unreadable
from scheduler.notifications.messages import jobs_unreadable
from scheduler.observability.logging_setup import get_logger
from scheduler.planning.plan import Plan, Planned
from scheduler.runs.due_slots import planned
from storage import key_values, notices
from storage.database import Database
from storage.jobs import jobs
from storage.jobs.jobs import StoredJob

log = get_logger("schedctl.daemon")


class Planning:
    """The plan and the definitions of the jobs as they were read last. Not for several threads at once."""

    def __init__(self, database: Database, *, clock: Clock = utc_now, host: str | None = None) -> None:
        self._database = database
        self._clock = clock
        self._host = host or socket.gethostname()
        self._mark = ""
        self._unreadable: dict[str, Unreadable] = {}
        self._reported: dict[str, Unreadable] | None = None
        self.plan = Plan()
        self.definitions: dict[str, dict[str, object]] = {}
        self.resting: frozenset[str] = frozenset()
        """The jobs that are left out of the plan: their slots are as those of a time without a daemon."""

    def read(self) -> None:
        """Bring both up to date with the stored jobs, if any of them changed.

        A job that cannot be read is logged and announced once, and left out of the plan; the others go on.
        """
        with self._database.read() as session:
            changed = jobs.read_changed(session, self._mark)
        if changed is not None:
            names = self.definitions.keys() | self.plan.names() if changed.names is None else changed.names
            for name in names - {job.name for job in changed.jobs}:
                self.plan.drop(name)
                self.definitions.pop(name, None)
                self._unreadable.pop(name, None)
            for job in changed.jobs:
                self.definitions[job.name] = job.definition
                entry = None if job.name in self.resting else self._planned(job)
                if entry is None:
                    self.plan.drop(job.name)
                else:
                    self.plan.put(entry)
            self._mark = changed.mark
        if self._unreadable != self._reported:
            self._report()

    def rest(self, names: Collection[str]) -> None:
        """Leave these jobs out of the plan from the next reading on, and no others."""
        if self.resting != frozenset(names):
            self.resting = frozenset(names)
            self.forget()

    def forget(self) -> None:
        """Have the next reading plan every job anew."""
        for name in self.plan.names():
            self.plan.drop(name)
        self._mark = ""

    def _planned(self, stored: StoredJob) -> Planned | None:
        """Return what the plan needs of a job; None if it cannot be read, which is noted, or fires for no slot."""
        before = self._unreadable.pop(stored.name, None)
        try:
            found = planned(stored)
        except UnreadableJobError as error:
            self._unreadable[stored.name] = Unreadable(revision=stored.revision, reason=error.reason)
            return None
        if before is not None and stored.disabled_at is None:
            log.info("job.readable", job=stored.name)
        return found

    def _report(self) -> None:
        """Log what cannot be read since the last time; store it for `status`; announce what no daemon did before."""
        key = f"{UNREADABLE}{self._host}"
        with self._database.write() as session:
            known = read_unreadable({key: key_values.get(session, key) or ""}, {self._host})
            key_values.put(session, key, write_unreadable(self._unreadable))
            new = {name: each.reason for name, each in self._unreadable.items() if known.get(name) != each}
            if new:
                told = jobs_unreadable(self._host, new)
                notices.add(
                    session,
                    job=None,
                    run_id=None,
                    kind=told.kind,
                    subject=told.subject,
                    body=told.body,
                    now=self._clock(),
                )
        before, self._reported = self._reported or {}, dict(self._unreadable)
        for name, each in self._unreadable.items():
            if before.get(name) != each:
                log.error("job.unreadable", job=name, message=each.reason)
