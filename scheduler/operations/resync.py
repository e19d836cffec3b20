"""What a person decides about what a target is known to hold: to send all again, or what became of rows in doubt."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from scheduler.environment.actors import record_action
from scheduler.errors.operation_error import failed
from scheduler.jobs.definition import Job
from storage.database import Database, Session
from storage.jobs import snapshots
from storage.runs import ledger, runs
from storage.values import Actor

Decision = Literal["resend", "sent", "unsent", "adopt"]
"""To send every row again; that rows in doubt arrived, or did not; to take what is known over as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resynced:
    """What was decided, about how many rows that the target was known to hold, ``doubtful`` of them in doubt."""

    decision: Decision
    rows: int
    doubtful: int


def resync(database: Database, job: Job, decision: Decision, now: datetime, *, by: Actor | None = None) -> Resynced:
    """Store a decision for the job's next run. Raises failed where it makes no sense, or a run of the job goes on."""
    if job.changes == "all":
        raise failed(f'job {job.name} sends every row each time (changes = "all"): there is nothing to resync')
    with database.write() as session:
        stored = snapshots.get(session, job.name)
        if stored is None:
            raise failed(f"job {job.name} has sent nothing yet: its next run sends every row")
        _check_quiet(session, job.name)
        if decision in {"sent", "unsent"} and not stored.doubtful:
            raise failed(f"no row of job {job.name} is in doubt: there is nothing to decide")
        values: dict[str, object] = {"resend": True}
        if decision == "adopt":
            values = {"scope": "", "lost_run_id": None, "resend": False}
        elif decision != "resend":
            values = {"decision": decision, "resend": False}
        if not snapshots.put(session, job.name, values, before=stored.revision, now=now):
            raise failed(f"a run of job {job.name} ended at this very moment: try again")
        record_action(session, by, "resynced", now=now, jobs=[job.name])
    return Resynced(decision=decision, rows=stored.rows, doubtful=stored.doubtful)


def _check_quiet(session: Session, job: str) -> None:
    """Refuse while a run may still tell what became of rows."""
    for run in runs.waiting_or_running(session, job):
        if run.state == "running" or ledger.entries(session, run.id):
            raise failed(
                f"run {run.id} of job {job} goes on: wait for its end (schedctl runs show {run.id}), or schedctl "
                f"cancel {run.id}"
            )
