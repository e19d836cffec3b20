"""Runs as rows of a table, and the colours of outcomes and states. Pure."""

from datetime import datetime
from typing import TYPE_CHECKING

from scheduler.cli.printing.times import iso, relative

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.runs.runs import StoredRun
    from storage.values import StoredAction

STYLES = {
    "succeeded": "green",
    "partial": "yellow",
    "failed": "red",
    "interrupted": "red",
    "disabled": "yellow",
    "disabled by failures": "red",
    "cannot be read": "red",
}
RUN_COLUMNS = ("id", "job", "slot (UTC)", "kind", "outcome", "read", "accepted", "rejected", "ended")


def run_table(runs: "Sequence[StoredRun]", now: datetime) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the columns and rows of a table of runs; unchanged rows have a column where a run has any."""
    columns: tuple[str, ...] = RUN_COLUMNS
    rows = [run_row(run, now) for run in runs]
    if any(run.rows_unchanged for run in runs):
        columns = (*columns[:-1], "unchanged", columns[-1])
        rows = [[*row[:-1], str(run.rows_unchanged), row[-1]] for row, run in zip(rows, runs, strict=True)]
    return columns, rows


def action_table(actions: "Sequence[StoredAction]") -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the columns and rows of a table of what was done, and by whom."""
    rows = [
        [
            iso(each.at) or "",
            each.by.name,
            each.change if each.run_id is None else f"{each.change} (run {each.run_id})",
            each.by.command,
        ]
        for each in actions
    ]
    return ("done at (UTC)", "user", "what", "command"), rows


def run_row(run: "StoredRun", now: datetime) -> list[str]:
    """Return a run as a row under :data:`RUN_COLUMNS`."""
    ended = relative(run.finished_at, now) if run.finished_at is not None else "-"
    counts = [run.rows_read, run.rows_accepted, run.rows_rejected]
    outcome = run.outcome or (run.phase if run.state == "running" and run.phase else run.state)
    return [str(run.id), run.job, iso(run.scheduled_time) or "", run.kind, outcome, *map(str, counts), ended]
