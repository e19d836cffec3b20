"""Runs as rows of a table, and the colours of outcomes and states. Pure."""

from datetime import datetime
from typing import TYPE_CHECKING

from scheduler.cli.times import iso, relative

if TYPE_CHECKING:
    from storage.runs import StoredRun

STYLES = {
    "succeeded": "green",
    "partial": "yellow",
    "failed": "red",
    "interrupted": "red",
    "disabled": "yellow",
    "disabled by failures": "red",
}
RUN_COLUMNS = ("id", "job", "slot (UTC)", "kind", "outcome", "read", "accepted", "rejected", "ended")


def run_row(run: "StoredRun", now: datetime) -> list[str]:
    """Return a run as a row under :data:`RUN_COLUMNS`."""
    ended = relative(run.finished_at, now) if run.finished_at is not None else "-"
    counts = [run.rows_read, run.rows_accepted, run.rows_rejected]
    outcome = run.outcome or (run.phase if run.state == "running" and run.phase else run.state)
    return [str(run.id), run.job, iso(run.scheduled_time) or "", run.kind, outcome, *map(str, counts), ended]
