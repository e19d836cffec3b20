"""`run`, `runs`, `cancel` and `rejected`: what became of jobs, and what is to become of them now."""

import csv
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from exporter.counted import counted
from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command, add_group
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.errors import DEBUG
from scheduler.cli.printing.formula_cells import guard
from scheduler.cli.printing.json_forms import rejected_json, run_details_json, run_json
from scheduler.cli.printing.output import (
    JsonRows,
    TerminalRecords,
    csv_stream,
    put,
    put_json,
    put_sheet,
    put_table,
    put_text,
    say,
)
from scheduler.cli.printing.progress import ProgressDisplay
from scheduler.cli.printing.text_tables import STYLES, action_table, run_table
from scheduler.cli.printing.times import duration, is_naive, iso, parse_time, relative
from scheduler.errors.operation_error import usage
from scheduler.runs.deletions import deletion_words, progress_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.cli.state import session
    from scheduler.cli.state.session import Bench
    from scheduler.environment import actors
    from scheduler.nodes import presence
    from scheduler.observability import logging_setup
    from scheduler.operations import abandon, jobs, runs, wait_and_execute, wait_reasons
    from scheduler.operations import retry as retries
    from scheduler.operations.jobs import JobView
    from scheduler.operations.runs import Refused, RunDetails
    from storage.database import Database
    from storage.runs.runs import StoredRun
    from storage.values import Actor
else:
    actors = Late("scheduler.environment.actors")
    wait_reasons = Late("scheduler.operations.wait_reasons")
    logging_setup = Late("scheduler.observability.logging_setup")
    session = Late("scheduler.cli.state.session")
    abandon = Late("scheduler.operations.abandon")
    wait_and_execute = Late("scheduler.operations.wait_and_execute")
    jobs = Late("scheduler.operations.jobs")
    presence = Late("scheduler.nodes.presence")
    retries = Late("scheduler.operations.retry")
    runs = Late("scheduler.operations.runs")

SHOWN_REJECTED = 50
"""Rejected rows that are shown in a table; --json and --csv give them all."""
OUTCOMES = ("succeeded", "partial", "failed", "skipped", "canceled", "interrupted")
BAD = frozenset({"failed", "interrupted", "canceled"})
"""Outcomes that make `run --wait` exit with 1; `partial` is reported by its line, and its rows by `rejected`."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "run", run, example="schedctl run contacts --from 2026-11-01T00:00 --count 5 --wait")
    example = "schedctl runs contacts --outcome failed"
    group = add_group(app, "runs", help_="List the latest runs, or show one.", example=example, lists=True)
    add_command(group, "list", list_runs, example="schedctl runs list contacts --limit 5")
    add_command(group, "show", show_run, example="schedctl runs show 42")
    add_command(group, "abandon", abandon_run, example="schedctl runs abandon 42")
    add_command(app, "cancel", cancel, example="schedctl cancel 42")
    add_command(app, "retry", retry, example="schedctl retry 42 --rejected --wait")
    add_command(app, "rejected", rejected, example="schedctl rejected 42 --csv refused.csv")


def run(
    *,
    name: options.Name,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Run once, for this slot.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Run the first slots at or after this time.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", help="With --from: how many slots; 1 by default.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the run ends; without a daemon, run it in this process.")
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> int:
    """Run a job now, or for past slots.

    A past slot runs once, however often you ask for it. TIME is ISO 8601, in the job's time zone if it names none, or
    `now`.
    """
    now = datetime.now(UTC)
    if at is not None and since is not None:
        raise usage("--at and --from exclude each other")
    if count is not None and since is None:
        raise usage("--count belongs to --from")
    with session.opened(config, now) as bench:
        view = jobs.view_job(bench.database, name)
        _ = view.job  # one that cannot be read is refused here, and not by a run that fails
        slots = _slots(view, at, since, 1 if count is None else count, now)
        if wait:
            wait_and_execute.check_can_execute(bench.database, bench.config, now)
        by = actors.this_actor("schedctl run")
        if slots is None:
            asked = runs.start(bench.database, view.stored, now, by=by)
        else:
            asked = runs.backfill(bench.database, view.stored, slots, now, by=by)
        for existing in sorted(asked.existing):
            say(f"run {existing} was asked for before and is not repeated")
        found: Sequence[StoredRun] = asked.runs
        if wait:
            found = _wait(bench, [each.id for each in found])
        elif presence.live_daemon(bench.database, now) is None:
            say("no daemon is alive: this runs when one starts; --wait runs it here")
    if as_json:
        put_json({"runs": [run_json(each) for each in found], "existing": sorted(asked.existing)})
    else:
        for each in found:
            put(_line(each))
    return 1 if wait and any(each.outcome in BAD for each in found) else 0


def list_runs(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only runs of this job.", autocompletion=options.job_names)
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", metavar="N", help="Maximum number of runs.", min=1)] = 20,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            "--outcome",
            metavar="OUTCOME",
            help=f"Only runs that ended so: {', '.join(OUTCOMES)}; may be repeated.",
            autocompletion=lambda: list(OUTCOMES),
        ),
    ] = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """List the latest runs, newest first.

    `schedctl runs` and `schedctl runs NAME` do the same.
    """
    now = datetime.now(UTC)
    for each in outcome or ():
        if each not in OUTCOMES:
            raise usage(f"--outcome {each!r}: use one of {', '.join(OUTCOMES)}")
    with session.opened_to_look(config, now) as look:
        found = runs.list_runs(look.database, job=name, limit=limit, outcomes=outcome or ())
    if as_json:
        put_json({"runs": [run_json(each) for each in found]})
    elif found:
        put_table(*run_table(found, now), styles=STYLES)
    else:
        put("no such runs")


def show_run(*, run_id: options.RunId, as_json: options.Json = False, config: options.Config = None) -> None:
    """Show one run with its attempts and ledger."""
    now = datetime.now(UTC)
    with session.opened_to_look(config, now) as look:
        details = runs.run_details(look.database, run_id)
        waits_for = wait_reasons.waits_for(look.database, look.config, details.run, now)
    if as_json:
        put_json({"run": {**run_details_json(details), "waits_for": waits_for}})
        return
    put_sheet(_sheet(details, now, waits_for))
    if details.attempts:
        put()
        rows = [
            [
                str(attempt.number),
                iso(attempt.started_at) or "",
                iso(attempt.ended_at) or "-",
                attempt.ending or "-",
                f"{attempt.failure_code}: {attempt.failure_message}" if attempt.failure_code else "",
            ]
            for attempt in details.attempts
        ]
        put_table(["attempt", "started", "ended", "ending", "failure"], rows, styles=STYLES)
    if details.actions:
        put()
        put_table(*action_table(details.actions))
    if details.ledger:
        put()
        rows = [
            [iso(row.at) or "", row.step, row.mark, "" if row.batch is None else str(row.batch), _data(row.data)]
            for row in details.ledger
        ]
        put_table(["at", "step", "mark", "batch", "data"], rows)


def abandon_run(
    *,
    run_id: options.RunId,
    at_once: Annotated[
        bool,
        typer.Option(
            "--now", help="End the run even if the target is unavailable; counts then come from the ledger alone."
        ),
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> int:
    """End a run that has begun and cannot go on.

    Use it for a run whose spool is on a host that no longer exists. Nothing more is sent. The run fails with the counts
    that the target confirms, and names the batches in doubt. If the target cannot be asked, nothing changes. A run that
    has ended in the middle of an append by `:last_scheduled_time` keeps the next slots from running; abandoned, it
    counts as completed by hand, and they run again.
    """
    with session.opened(config, datetime.now(UTC)) as bench:
        _log_to_terminal()
        by = actors.this_actor("schedctl runs abandon")
        found = abandon.abandon(bench.database, bench.config, run_id, datetime.now(UTC), even_unasked=at_once, by=by)
    if as_json:
        put_json({"runs": [run_json(found)]})
    else:
        put(_line(found))
    return 0


def cancel(*, run_id: options.RunId, as_json: options.Json = False, config: options.Config = None) -> None:
    """Cancel a run.

    The process that executes the run stops it within about a second.
    """
    now = datetime.now(UTC)
    with session.opened_to_look(config, now, is_change=True) as look:
        found = runs.cancel(look.database, run_id, now, by=actors.this_actor("schedctl cancel"))
        obstacle = wait_reasons.keeps_from_stopping(look.database, found, now)
    if obstacle is not None:
        say(obstacle)
    if as_json:
        put_json({"runs": [run_json(found)]})
    elif found.state == "finished":
        put(f"run {run_id} is canceled")
    else:
        put(f"run {run_id} is asked to stop; schedctl runs show {run_id} tells when it has")


def retry(
    *,
    run_id: options.RunId,
    only_rejected: Annotated[
        bool, typer.Option("--rejected", help="Send only the rejected rows, as they were sent before.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Send all rows again, also where an append already has rows in the target.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the run ends; without a daemon, run it in this process.")
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> int:
    """Run a slot again, or only its rejected rows.

    An append that failed or was canceled after it began to send continues where it stopped, as the same run, and sends
    nothing twice. Any other run is repeated with the job as it is now. --rejected sends the rejected rows of a run once
    more, with the same values. That works once for each run; what is rejected again belongs to the second run.
    """
    now = datetime.now(UTC)
    if only_rejected and again:
        raise usage("--again sends all rows, --rejected only some: choose one")
    with session.opened(config, now) as bench:
        if wait:
            wait_and_execute.check_can_execute(bench.database, bench.config, now)
        by = actors.this_actor("schedctl retry")
        if only_rejected:
            asked = _retry_rejected(bench, run_id, now, by)
        else:
            spool = bench.config.storage.spool
            asked = retries.retry(bench.database, run_id, now, again=again, spool_root=spool, by=by)
            if asked.id == run_id:
                say(f"run {run_id} goes on where it stopped: what is certain to be in the target is not sent again")
        found: Sequence[StoredRun] = [asked]
        if wait:
            found = _wait(bench, [asked.id])
        elif presence.live_daemon(bench.database, now) is None:
            say("no daemon is alive: this runs when one starts; --wait runs it here")
    if as_json:
        put_json({"runs": [run_json(each) for each in found]})
    else:
        for each in found:
            put(_line(each))
    return 1 if wait and any(each.outcome in BAD for each in found) else 0


def _retry_rejected(bench: "session.Bench", run_id: int, now: datetime, by: "Actor") -> "StoredRun":
    """Ask for a run of the rejected rows, and say which of them cannot be part of it."""
    database, spool = bench.database, bench.config.storage.spool
    asked, hopeless = retries.retry_rejected(database, run_id, now, spool_root=spool, by=by)
    if hopeless:
        say(f"{hopeless:,} of the rejected rows have values that have no text form for the target: left out")
    if others := sum(each.count for each in runs.rejected_without_values(database, run_id)):
        say(f"{others:,} more rejected rows are left out: their values were lost with the spool of run {run_id}")
    return asked


def rejected(
    *,
    run_id: options.RunId,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write the rows to a CSV file that only you can read; - for stdout."
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="With --csv: write values unchanged, for scripts; a spreadsheet may execute some of them."
        ),
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show the rejected rows of a run.

    Each row is shown with its number in the query's result, the values as sent, and the reason. In a CSV file, cells
    that a spreadsheet would execute as a formula begin with a ', unless you give --raw.
    """
    now = datetime.now(UTC)
    if as_json and str(csv_file) == "-":
        raise usage("--csv - and --json both write to stdout: choose one, or name a file")
    if raw and csv_file is None:
        raise usage("--raw belongs to --csv")
    with session.opened_to_look(config, now) as look:
        kept = runs.rejected_count(look.database, run_id)
        others = runs.rejected_without_values(look.database, run_id)
        rows = runs.rejected_rows(look.database, run_id)
        if csv_file is not None:
            written, guarded = _write_csv(look.database, run_id, csv_file, raw=raw)
            say(f"{written:,} rejected rows written to {csv_file}")
            if guarded:
                say(f"a ' stands before {guarded:,} values that a spreadsheet would execute; --raw leaves it out")
        if as_json:
            with JsonRows("rows", without_values=[asdict(each) for each in others]) as out:
                for row in rows:
                    out.row(rejected_json(row))
        elif csv_file is None:
            shown = list(islice(rows, SHOWN_REJECTED))
            _put_rejected([rejected_json(row) for row in shown], kept, run_id, others)
        if csv_file is not None and others:
            say(f"{sum(each.count for each in others):,} more are left out: their values had gone with the run's spool")


def _slots(view: "JobView", at: str | None, since: str | None, count: int, now: datetime) -> list[datetime] | None:
    text, option = (at, "--at") if at is not None else (since, "--from")
    if text is None:
        return None
    moment = parse_time(text, timezone=view.job.timezone, now=now, option=option)
    if moment > now:
        raise usage(f"{option} {text} is in the future; the schedule runs it automatically")
    moment = moment.replace(microsecond=0)
    slots = [moment] if at is not None else runs.slots_from(view.job, moment, count, now)
    if is_naive(text):
        say(f"{option} {text} is taken as {view.job.timezone}")
    return slots


def _wait(bench: "Bench", run_ids: list[int]) -> "list[StoredRun]":
    _log_to_terminal()
    try:
        with ProgressDisplay(clock=datetime) as display:
            waiting = wait_and_execute.Waiting(bench.database, bench.config, watch=display.watch, listen=display.listen)
            return waiting.run(run_ids)
    except KeyboardInterrupt:
        say(f"schedctl: stopped waiting; what has not ended is left to the daemon (schedctl runs show {run_ids[0]})")
        raise


def _log_to_terminal() -> None:
    """Keep quiet, unless asked to debug: what a run would log as in the daemon, its last line says here."""
    logging_setup.configure(level="debug" if os.environ.get(DEBUG) else "critical", mode="console")


def _line(run_: "StoredRun") -> str:
    head = f"run {run_.id} of {run_.job} for {iso(run_.scheduled_time)}"
    if run_.state != "finished":
        return f"{head}: {run_.state}; schedctl runs show {run_.id}"
    counts = f"{run_.rows_read:,} read, {run_.rows_accepted:,} accepted, {run_.rows_rejected:,} rejected"
    if run_.rows_unchanged:
        counts += f", {run_.rows_unchanged:,} unchanged"
    if run_.rows_deleted:
        counts += f", {run_.rows_deleted:,} deleted" + (
            " before" if run_.definition.get("changes", "all") == "all" else ""
        )
    why = f"; {run_.failure_code}: {run_.failure_message}" if run_.failure_code else ""
    if run_.outcome == "canceled" and (run_.reason or _restore(run_)):
        why = f"; {run_.reason or _restore(run_)}"
    return f"{head}: {run_.outcome}, {counts}{why}"


def _sheet(details: "RunDetails", now: datetime, waits_for: str | None) -> list[tuple[str, str | None]]:
    run_ = details.run
    took = None
    if run_.started_at is not None and run_.finished_at is not None:
        took = duration((run_.finished_at - run_.started_at).total_seconds())
    phase = f" ({run_.phase})" if run_.state == "running" and run_.phase else ""
    skipped = f"{run_.skipped} slots, from {iso(run_.first_slot)}" if run_.skipped > 1 else None
    return [
        ("run", str(run_.id)),
        ("job", f"{run_.job} (revision {run_.revision})"),
        ("kind", run_.kind),
        ("slot", iso(run_.scheduled_time)),
        ("state", f"{run_.outcome or run_.state}{phase}"),
        ("waits for", waits_for),
        ("reason", run_.reason),
        ("stands for", skipped),
        ("failure", f"{run_.failure_kind}: {run_.failure_code}: {run_.failure_message}" if run_.failure_code else None),
        ("so far", _so_far(details)),
        ("rows read", f"{run_.rows_read:,}"),
        ("accepted", f"{run_.rows_accepted:,}"),
        ("rejected", f"{run_.rows_rejected:,}" + _rejected_hint(details)),
        ("unchanged", f"{run_.rows_unchanged:,}" if run_.rows_unchanged else None),
        ("changes", _changes(run_.progress)),
        ("deleted", f"{run_.rows_deleted:,}" if run_.rows_deleted else None),
        ("restore", told if (told := _restore(run_)) and told not in (run_.reason or "") else None),
        ("due", iso(run_.run_time)),
        ("started", iso(run_.started_at)),
        ("ended", f"{iso(run_.finished_at)} ({relative(run_.finished_at, now)})" if run_.finished_at else None),
        ("took", took),
        ("cancel asked", iso(run_.cancel_requested_at)),
        ("progress", _data(run_.progress) if run_.state == "running" else None),
    ]


def _so_far(details: "RunDetails") -> str | None:
    """Say what a run that has not ended did to the target, as its ledger proves it."""
    found, run_ = details.so_far, details.run
    if found is None:
        return None
    words = [f"{counted(found.report.accepted, 'row')} accepted, {found.report.rejected:,} rejected"]
    if found.under_way:
        words.append(f"batches in doubt until the run continues: {found.under_way:,}")
    deleted = progress_of(found.deletions, None)
    words.append(deletion_words(deleted, run_.definition.get("export"), goes_on=True))
    return "; ".join(filter(None, words))


def _restore(run_: "StoredRun") -> str | None:
    """Say what a run that failed or was canceled deleted, and how to restore it; None if it deleted nothing."""
    if run_.outcome not in {"failed", "canceled"}:
        return None
    return deletion_words(run_.progress, run_.definition.get("export")) or None


def _rejected_hint(details: "RunDetails") -> str:
    has_some = details.rejected_kept or details.run.rows_rejected
    return f" (schedctl rejected {details.run.id})" if has_some else ""


def _changes(progress: Mapping[str, Any]) -> str | None:
    if "gone" not in progress:
        return None
    return f"{progress['new']:,} new, {progress['changed']:,} changed; {progress['gone']:,} gone"


def _data(data: Any) -> str:  # noqa: ANN401 - JSON
    return ", ".join(f"{key} = {value}" for key, value in dict(data).items())


def _write_csv(database: "Database", run_id: int, path: Path, *, raw: bool) -> tuple[int, int]:
    """Write all rejected rows: number, code, message, then the values' columns.

    Returns how many rows, and how many cells were guarded.
    """
    columns: dict[str, None] = {}
    for row in runs.rejected_rows(database, run_id):
        columns.update(dict.fromkeys(row.values))
    if str(path) == "-":
        return _write_rows(csv_stream(), list(columns), database, run_id, raw=raw)
    try:
        # Rows are their owner's business: the file is private from its first byte on, and so is one that was there.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                os.fchmod(handle, 0o600)
                os.ftruncate(handle, 0)
            return _write_rows(out, list(columns), database, run_id, raw=raw)
    except OSError as error:
        raise usage(f"--csv {path}: {error.strerror}") from error


def _write_rows(
    out: "TextIO | TerminalRecords", columns: list[str], database: "Database", run_id: int, *, raw: bool
) -> tuple[int, int]:
    # Each cell in quotes, so that no other separator of a spreadsheet's begins a new one in its middle.
    writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL if raw else csv.QUOTE_ALL)
    written = guarded = 0
    heads = ["number", "code", "message", *columns]
    writer.writerow(heads if raw else map(guard, heads))
    for row in runs.rejected_rows(database, run_id):
        values = [row.values.get(column) for column in columns]
        cells = [str(row.number), row.code, row.message, *("" if value is None else value for value in values)]
        safe = cells if raw else [guard(cell) for cell in cells]
        guarded += sum(one != other for one, other in zip(cells, safe, strict=True))
        writer.writerow(safe)
        written += 1
    return written, guarded


def _put_rejected(rows: list[dict[str, Any]], kept: int, run_id: int, others: "Sequence[Refused]") -> None:
    if others:
        count = sum(each.count for each in others)
        put_text(
            f"{count:,} rows were rejected, but their values were lost with the run's spool. Only the reasons are "
            "known:"
        )
        reasons = [[f"{each.count:,}", f"{each.code}: {each.message}".removeprefix(": ")] for each in others]
        put_table(["rows", "reason"], reasons)
    if not rows:
        if not others:
            put("no rejected rows")
        return
    if others:
        put()
    content = [[str(row["number"]), f"{row['code']}: {row['message']}", _data(row["values"])] for row in rows]
    put_table(["row", "reason", "values"], content)
    if kept > len(rows):
        say(f"{kept - len(rows):,} more; schedctl rejected {run_id} --csv FILE writes all {kept:,}")
