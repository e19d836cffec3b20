"""The stable JSON forms of jobs and runs: fields are added, never renamed. Pure."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduler.cli.printing.times import iso

if TYPE_CHECKING:
    from scheduler.jobs.view import JobLine
    from scheduler.operations.jobs import JobView
    from scheduler.operations.runs import RunDetails
    from storage.jobs.removed import RemovedJob
    from storage.runs.rejections import RejectedValues
    from storage.runs.runs import StoredAttempt
    from storage.values import StoredAction, StoredRun


def job_json(view: "JobLine", now: datetime) -> dict[str, Any]:
    """Return a job as `list` shows it."""
    fire, slot, last = view.next_fire(now), view.next_slot(now), view.last_run
    return {
        "name": view.name,
        "origin": view.stored.origin,
        "cron": view.cron,
        "timezone": view.timezone,
        "delay": view.delay,
        "after": list(view.after),
        "state": view.state,
        "fault": view.fault,
        "disabled_reason": view.stored.disabled_reason,
        "failure_streak": view.stored.failure_streak,
        "next_scheduled_time": iso(slot),
        "next_run_time": iso(fire.run_time) if fire else None,
        "last_run": None
        if last is None
        else {
            "id": last.id,
            "outcome": last.outcome,
            "scheduled_time": iso(last.scheduled_time),
            "finished_at": iso(last.finished_at),
        },
    }


def job_details_json(view: "JobView", now: datetime) -> dict[str, Any]:
    """Return a job as `show` shows it: what `list` has, its definition and all of its state."""
    stored = view.stored
    return job_json(view, now) | {
        "words": view.words,
        "definition": stored.definition,
        "revision": stored.revision,
        "created_at": iso(stored.created_at),
        "updated_at": iso(stored.updated_at),
        "disabled_at": iso(stored.disabled_at),
        "last_success": iso(stored.last_success),
        "high_water": iso(stored.high_water),
    }


def removed_json(job: "RemovedJob") -> dict[str, Any]:
    """Return what is kept of a removed job as `list --removed` shows it."""
    return {
        "name": job.name,
        "origin": job.origin,
        "removed_at": iso(job.removed_at),
        "disabled_at": iso(job.disabled_at),
        "disabled_by": job.disabled_by,
        "disabled_reason": job.disabled_reason,
        "failure_streak": job.failure_streak,
        "last_success": iso(job.last_success),
        "high_water": iso(job.high_water),
    }


def run_json(run: "StoredRun") -> dict[str, Any]:
    """Return a run as `runs` shows it."""
    return {
        "id": run.id,
        "job": run.job,
        "scheduled_time": iso(run.scheduled_time),
        "kind": run.kind,
        "state": run.state,
        "outcome": run.outcome,
        "failure": failure_json(run),
        "attempt": run.attempt,
        "rows": {
            "read": run.rows_read,
            "accepted": run.rows_accepted,
            "rejected": run.rows_rejected,
            "unchanged": run.rows_unchanged,
            "deleted": run.rows_deleted,
        },
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
    }


def run_details_json(details: "RunDetails") -> dict[str, Any]:
    """Return a run as `runs show` shows it: what `runs` has, and all that is known besides."""
    run, found = details.run, details.so_far
    return run_json(run) | {
        "run_time": iso(run.run_time),
        "phase": run.phase,
        "so_far": None
        if found is None
        else {
            "accepted": found.report.accepted,
            "rejected": found.report.rejected,
            "deleted": found.deletions.deleted,
            "deletions_in_doubt": found.deletions.in_doubt,
            "in_doubt": list(found.doubts),
        },
        "reason": run.reason,
        "skipped": run.skipped,
        "first_slot": iso(run.first_slot),
        "progress": run.progress,
        "rejected_kept": details.rejected_kept,
        "created_at": iso(run.created_at),
        "cancel_requested_at": iso(run.cancel_requested_at),
        "revision": run.revision,
        "definition": run.definition,
        "attempts": [
            {
                "number": attempt.number,
                "started_at": iso(attempt.started_at),
                "ended_at": iso(attempt.ended_at),
                "ending": attempt.ending,
                "failure": failure_json(attempt),
            }
            for attempt in details.attempts
        ],
        "actions": [action_json(each) for each in details.actions],
        "ledger": [
            {"at": iso(row.at), "step": row.step, "mark": row.mark, "batch": row.batch, "data": dict(row.data)}
            for row in details.ledger
        ],
    }


def action_json(action: "StoredAction") -> dict[str, Any]:
    """Return what somebody did to a job or a run."""
    by = action.by
    return {
        "at": iso(action.at),
        "user": by.user,
        "sudo_user": by.sudo_user,
        "host": by.host,
        "command": by.command,
        "change": action.change,
        "job": action.job,
        "run": action.run_id,
    }


def failure_json(of: "StoredRun | StoredAttempt") -> dict[str, Any] | None:
    """Return why a run or an attempt did not succeed; None if nothing is known against it."""
    if of.failure_code is None:
        return None
    return {"kind": of.failure_kind, "code": of.failure_code, "message": of.failure_message}


def rejected_json(row: "RejectedValues") -> dict[str, Any]:
    """Return a rejected row."""
    return {"number": row.number, "values": dict(row.values), "code": row.code, "message": row.message}
