"""`audit`: proof that every expected slot has exactly one row, or the list of what is wrong."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter.counted import counted
from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put, put_json, say
from scheduler.cli.printing.times import iso, parse_time

if TYPE_CHECKING:
    from scheduler.cli.state import session
    from scheduler.operations import audit as audits
    from scheduler.planning.audit import Audit
else:
    session = Late("scheduler.cli.state.session")
    audits = Late("scheduler.operations.audit")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "audit", audit, example="schedctl audit contacts --since 2026-11-01")


def audit(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only this job; default: all jobs, also removed ones.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only slots from this time on; UTC if no zone is given."),
    ] = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> int:
    """Check that every expected slot has exactly one run.

    The expected slots are computed anew from the history of each job. The list shows slots without a run (holes), slots
    with several (doubles), runs that no schedule asked for (strays), and jobs that cannot be read, whose slots cannot
    be checked; the exit code is then 1. Slots whose runs were pruned, and slots that no daemon has processed yet, are
    left out.
    """
    now = datetime.now(UTC)
    begin = parse_time(since, timezone="UTC", now=now, option="--since") if since is not None else None
    with session.opened_to_look(config, now) as look:
        found = audits.audit(look.database, name, since=begin)
    if as_json:
        put_json(_json(found))
    else:
        for finding in found.findings:
            put(audits.words(finding))
        jobs = counted(found.jobs, "job")
        slots = counted(found.owed, "slot")
        if not found.findings:
            put(f"{jobs}, {slots} expected: each has exactly one run")
        else:
            say(f"{jobs}, {slots} expected, {found.sound:,} of them with exactly one run")
    return 1 if found.findings else 0


def _json(found: "Audit") -> dict[str, Any]:
    return {
        "jobs": found.jobs,
        "owed": found.owed,
        "sound": found.sound,
        "findings": [
            {
                "kind": finding.kind,
                "job": finding.job,
                "first": iso(finding.first),
                "last": iso(finding.last),
                "count": finding.count,
                "runs": list(finding.runs),
                "reason": finding.reason or None,
            }
            for finding in found.findings
        ],
    }
