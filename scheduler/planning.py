"""The plan of a daemon, kept in line with the stored jobs: what changed is read, not all there is."""

from collections.abc import Collection

from scheduler.logs import get_logger
from scheduler.owed import planned
from scheduler.plan import Plan, Planned
from storage import jobs
from storage.database import Database
from storage.jobs import StoredJob

log = get_logger("schedctl.daemon")


class Planning:
    """The plan and the definitions of the jobs as they were read last. Not for several threads at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mark = ""
        self.plan = Plan()
        self.definitions: dict[str, dict[str, object]] = {}
        self.resting: frozenset[str] = frozenset()
        """The jobs that are left out of the plan: their slots are as those of a time without a daemon."""

    def read(self) -> None:
        """Bring both up to date with the stored jobs, if any of them changed."""
        with self._database.read() as session:
            changed = jobs.read_changed(session, self._mark)
        if changed is None:
            return
        names = self.definitions.keys() | self.plan.names() if changed.names is None else changed.names
        for name in names - {job.name for job in changed.jobs}:
            self.plan.drop(name)
            self.definitions.pop(name, None)
        for job in changed.jobs:
            entry = None if job.name in self.resting else _planned(job)
            self.definitions[job.name] = job.definition
            if entry is None:
                self.plan.drop(job.name)
            else:
                self.plan.put(entry)
        self._mark = changed.mark

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


def _planned(stored: StoredJob) -> Planned | None:
    """Return what the plan needs of a job; one that cannot be read is told and left out, the others go on."""
    try:
        return planned(stored)
    except ValueError as error:
        log.error("job.unreadable", job=stored.name, message=" ".join(str(error).split()))  # noqa: TRY400 - says it all
        return None
