"""`preview`: the rows that a job would send, without sending them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from exporter.counted import counted
from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put, put_json, put_table, say, warn

if TYPE_CHECKING:
    from scheduler.cli.state import session
    from scheduler.operations import jobs
    from scheduler.operations import preview as previews
    from scheduler.operations.preview import Preview, PreviewRow
else:
    session = Late("scheduler.cli.state.session")
    jobs = Late("scheduler.operations.jobs")
    previews = Late("scheduler.operations.preview")

MAX_ROWS = 10_000
NOTHING = "NULL"
"""How a cell looks in a table that tells the target nothing."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "preview", preview, example="schedctl preview contacts -n 5")


def preview(
    *,
    name: options.Name,
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="N", help="Maximum number of rows.", min=1, max=MAX_ROWS)
    ] = 20,
    changes: Annotated[
        bool,
        typer.Option("--changes", help="Count new, changed, unchanged and gone rows, and show the rows to send."),
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Run a job's query and show the rows as they would be sent.

    Nothing is written. Rows that cannot be sent are shown with the reason. For a truncate, the number of records that
    it would delete is shown. With --changes, for a job with `changes`, the whole result is compared with the rows that
    the job has sent so far.
    """
    now = datetime.now(UTC)
    with session.opened(config, now) as bench:
        job = jobs.view_job(bench.database, name).job
        if changes:
            found = previews.preview_changes(bench.config, bench.database, job, limit=limit, now=now)
        else:
            found = previews.preview(bench.config, job, limit=limit, now=now)
    target = getattr(job.export.options, "object", job.export.connection)
    if found.existing is not None:
        warn(f"{counted(found.existing, 'record')} of {target} exist now: a run deletes them first")
        if not found.rows and not getattr(job.export.options, "allow_empty", True):
            warn("the query gives no rows: a run would fail and delete nothing; allow_empty = true lets it")
    if as_json:
        put_json(_json(found))
        return
    put_table(["#", *found.columns], [[str(row.number), *_cells(found, row)] for row in found.rows])
    for row in found.rows:
        _say_faults(row)
    if found.changes is not None:
        counts = found.changes
        put(
            f"{counts.new:,} new, {counts.changed:,} changed, {counts.unchanged:,} unchanged, {counts.gone:,} gone"
            + (": a run deletes the records of these" if job.changes == "mirror" and counts.gone else "")
        )
    if found.refusal is not None:
        warn(f"a run would fail: {found.refusal}")
    if found.unchecked is not None:
        warn(f"the target could not be asked whether it takes the rows: {found.unchecked}")
    shown = counted(len(found.rows), "row")
    say(f"{shown}, and that is all" if found.complete else f"the first {shown}")


def _say_faults(row: "PreviewRow") -> None:
    if row.fault is not None:
        say(f"row {row.number} would not be sent: {row.fault}")
    if row.doubt is not None:
        say(f"row {row.number} would be rejected unless the org corrects it first: {row.doubt}")


def _cells(found: "Preview", row: "PreviewRow") -> list[str]:
    return [NOTHING if (value := row.values[name]) is None else value for name in found.columns]


def _json(found: "Preview") -> dict[str, object]:
    return {
        "columns": list(found.columns),
        "rows": [{"number": row.number, "values": dict(row.values), "fault": row.fault} for row in found.rows],
        "doubts": [{"number": row.number, "reason": row.doubt} for row in found.rows if row.doubt is not None],
        "complete": found.complete,
        "existing_records": found.existing,
        "changes": None
        if found.changes is None
        else {key: getattr(found.changes, key) for key in ("new", "changed", "unchanged", "gone")},
        "refusal": found.refusal,
        "unchecked": found.unchecked,
    }
