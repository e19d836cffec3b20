"""`audit`: proof that every expected slot has exactly one row, or the list of what is wrong."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One job; else all there are or were.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only slots from this time on; UTC if it names no zone."),
    ] = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> int:
    """Prove that every expected slot has exactly one row.

    The expected slots are computed anew from the history of each job. The list shows slots without a row (holes),
    slots with several (doubles), rows that no schedule asked for (strays), and jobs that cannot be read, whose slots
    cannot be checked; the exit code is then 1. Slots that were pruned, and those that no daemon has looked at yet, are
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
        jobs = "1 job" if found.jobs == 1 else f"{found.jobs:,} jobs"
        slots = "1 slot" if found.owed == 1 else f"{found.owed:,} slots"
        if not found.findings:
            put(f"{jobs}, {slots} owed: each has its row")
        else:
            say(f"{jobs}, {slots} owed, {found.sound:,} of them with exactly one row")
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
