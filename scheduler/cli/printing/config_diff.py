"""What an edit of the config file changes, for people."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from exporter.counted import counted
from scheduler.cli.printing.output import put, put_table
from scheduler.cli.printing.times import relative
from scheduler.jobs.dependent_slots import when

COLUMNS = ["job", "change", "keys", "fires of the next 7 days", "next run"]


def put_edits(edits: Mapping[str, Any], now: datetime) -> None:
    """Show the jobs that change, from the form that ``Edits.to_dict`` gives; nothing where none does."""
    if not edits["changed"]:
        return
    put_table(COLUMNS, [_row(edit, now) for edit in edits["jobs"]])
    if (more := edits["changed"] - len(edits["jobs"])) > 0:
        put(f"and {more} more")
    if edits["changed"] > 1:
        put(f"{counted(edits['changed'], 'job')}; fires of the next 7 days: {_fires(edits['fires'])}")


def _row(edit: Mapping[str, Any], now: datetime) -> list[str]:
    after = edit["next_after"]
    next_run = "never" if after is None else f"{after}, {relative(datetime.fromisoformat(after), now)}"
    if parents := edit.get("after"):
        next_run = when(parents)
    keys = ", ".join(edit["keys"]) or "-"
    change = edit["change"] + (", with its old state" if edit["restored"] else "")
    change += ", enabled again" if edit["enabled_again"] else ""
    return [edit["job"], change, keys, _fires(edit["fires"]), next_run]


def _fires(fires: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in fires.items() if count) or "as before"
