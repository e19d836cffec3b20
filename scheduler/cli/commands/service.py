"""`status`, `reload`, `daemon`, `emulator`, `demo` and `version`: the service itself."""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.json_forms import run_json
from scheduler.cli.printing.output import put, put_json, put_sheet, put_table, say, warn
from scheduler.cli.printing.text_tables import STYLES, run_table
from scheduler.cli.printing.times import iso, relative
from scheduler.cli.state import fast_path
from scheduler.environment.paths import config_path
from scheduler.errors.operation_error import ErrorKind, OperationError, failed
from scheduler.state.config_lock import holder_of

if TYPE_CHECKING:
    from exporter.emulator import server as emulator_server
    from scheduler.cli.demo import demo as demo_module
    from scheduler.cli.printing import config_diff
    from scheduler.cli.state import fast_status, session
    from scheduler.config import connection_digests
    from scheduler.daemon import connection_watch
    from scheduler.daemon import daemon as daemon_module
    from scheduler.environment import actors
    from scheduler.nodes.health import Health
    from scheduler.observability import logging_setup
    from scheduler.operations import jobs
    from scheduler.operations import status as health
    from scheduler.outcomes.quota_hold import Hold
    from scheduler.state.config_lock import Holder
    from storage.database import Database
    from storage.values import Node
else:
    actors = Late("scheduler.environment.actors")
    emulator_server = Late("exporter.emulator.server")
    daemon_module = Late("scheduler.daemon.daemon")
    logging_setup = Late("scheduler.observability.logging_setup")
    demo_module = Late("scheduler.cli.demo.demo")
    config_diff = Late("scheduler.cli.printing.config_diff")
    fast_status = Late("scheduler.cli.state.fast_status")
    session = Late("scheduler.cli.state.session")
    health = Late("scheduler.operations.status")
    jobs = Late("scheduler.operations.jobs")
    connection_watch = Late("scheduler.daemon.connection_watch")
    connection_digests = Late("scheduler.config.connection_digests")

RELOAD_SECONDS = 10.0
"""How long `reload` waits for the daemon's answer; it looks about once a second."""

_STATES = {
    "working": "alive",
    "draining": "draining: starts nothing more, and ends when its runs have ended or drain_timeout is over",
    "silent": "SILENT",
}
JUST_NOW = timedelta(seconds=30)
"""What the daemon took over so short before is what the person who asks has just saved."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "status", status, example="schedctl status --json")
    add_command(app, "reload", reload, example="schedctl reload")
    add_command(app, "daemon", daemon, example="schedctl daemon --once")
    add_command(app, "emulator", emulator, example="schedctl emulator --port 8080 --state org.db")
    add_command(app, "demo", demo, example="schedctl demo")
    add_command(app, "version", version, example="schedctl version --json")


def status(*, as_json: options.Json = False, config: options.Config = None) -> int:
    """Show the status of the daemon.

    Shows whether it is alive, the queue, the last failures, unsent notices, and faults of the config file. For
    monitoring, the exit code is 1 if there are problems, and each problem has a line: no daemon is alive, or it has not
    reported for 30 s, the config file has faults, a disk is nearly full, failures disabled a job, a job cannot be read,
    the clock was set back, runs are more than five minutes late, or metrics are not served.
    """
    now = datetime.now(UTC)
    found = fast_path.quickly(config, lambda seen: fast_status.look(seen, now))
    if found is None:
        with session.opened_for_status(config) as (database, faults):
            found = health.look(database, now)
        if faults is not None:
            found = replace(found, config_fault=str(faults))
        elif found.daemon is None and (told := session.check_if_stored(config, now)) is not None:
            warn(told)  # a daemon says so by itself
    if as_json:
        put_json(_health_json(found))
    else:
        holder = holder_of(config_path(config, os.environ)) if found.daemon is None else None
        put_sheet(_sheet(found, now, holder))
        if found.failures:
            put()
            put("last failures:")
            put_table(*run_table(found.failures, now), styles=STYLES)
    return 1 if found.problems else 0


def reload(
    *,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Apply the edit although it looks like a file that was cut off."),
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Reload the config file.

    The command waits for the daemon's answer: a file with faults changes nothing, and the exit code is then 4. The same
    holds for an edit that removes more than half of the file's jobs, or that looks like a file that was cut off, until
    it is confirmed. The changes are shown. The daemon also notices a saved file, so it may have applied the edit some
    seconds before. Without a daemon, --confirm applies the edit.
    """
    now = datetime.now(UTC)
    with session.opened(config, now, sync=False) as bench:
        confirmed = jobs.what_to_confirm(bench.database, bench.config) if confirm else frozenset()
        before, _ = health.config_read_at(bench.database)
        by = actors.this_actor("schedctl reload --confirm" if confirm else "schedctl reload")
        node = health.request_reload(bench.database, now, confirmed=confirmed, by=by)
        if node is not None:
            _await_answer(bench.database, before, node)
        elif confirm:
            jobs.sync_file_jobs(bench.database, bench.config, now, confirmed=confirmed, by=by)
        else:
            raise failed("no daemon is alive; it reads the config file when it starts")
        edits = health.last_edits(bench.database)
        by_connections = connection_watch.last_connection_edits(bench.database)
    if as_json:
        taken_over = None if edits is None else datetime.fromisoformat(edits["at"])
        last = {"last_edit": _edits_json(edits, taken_over), "last_connection_edit": by_connections}
        put_json({"reloaded": node is not None, "config": str(bench.path), **last})
        return
    put(
        f"the daemon has read {bench.path} again"
        if node is not None
        else f"no daemon is alive; {bench.path} is applied"
    )
    if by_connections is not None and _is_news(by_connections, now):
        for each in by_connections["connections"]:
            put(connection_digests.words(each["name"], tuple(each["keys"])))
        for each in by_connections["enabled"]:
            put(f"enabled again: {each['job']} ({each['reason']})")
    if edits is not None and _is_news(edits, now):
        config_diff.put_edits(edits, now)
    elif edits is not None:
        when = relative(datetime.fromisoformat(edits["at"]), now)
        put(f"no job changed; the last edit that changed one was applied {when}")


def _await_answer(database: "Database", before: str | None, node: "Node") -> None:
    """Wait until the daemon has read the config file, and raise what keeps it from applying it."""
    limit = time.monotonic() + RELOAD_SECONDS
    read_at, fault = before, None
    while read_at == before:
        if time.monotonic() > limit:
            told = f"the daemon (process {node.pid} on {node.host}) did not answer within {RELOAD_SECONDS:.0f} s"
            raise failed(told)
        time.sleep(0.1)
        read_at, fault = health.config_read_at(database)
    if fault:
        lines = fault.split("\n")
        raise OperationError(ErrorKind.CONFIG, f"the daemon refused the config file: {lines[0]}", faults=lines)


def _is_news(edit: Mapping[str, Any], now: datetime) -> bool:
    """Whether an edit was applied so short ago that it is what the person who asks has just saved."""
    return datetime.fromisoformat(edit["at"]) >= now - JUST_NOW


def daemon(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Run everything that is due now, then exit; exit code 1 if a run failed.")
    ] = False,
    config: options.Config = None,
) -> int:
    """Run the daemon in the foreground.

    This is what systemd starts. It logs to stderr: lines for people on a terminal, JSON otherwise.
    """
    logging_setup.configure()
    return int(daemon_module.main(session.find_config(config), once=once))


def emulator(
    *,
    port: Annotated[int, typer.Option("--port", metavar="N", help="Port; 0: a free one.", min=0, max=65535)] = 0,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Keep the org in this SQLite file; default: in memory."),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option("--schema", metavar="FILE", help="File with objects and fields to add (TOML or JSON)."),
    ] = None,
    client_id: Annotated[
        str, typer.Option("--client-id", metavar="TEXT", help="The client id that may log in.")
    ] = "emulator",
    client_secret: Annotated[
        str, typer.Option("--client-secret", metavar="TEXT", help="The client secret (not a real one).")
    ] = "secret",  # noqa: S107 - made up, for an org that holds nothing of value
) -> None:
    """Run the local Salesforce in the foreground.

    Once it is ready, it prints its address, for the login_url of a connection. Only this machine can reach it.
    """
    say("the local Salesforce; Ctrl-C ends it. Its address:")
    try:
        emulator_server.serve(
            state=state, port=port, schema=schema, client_id=client_id, client_secret=client_secret, announce=_announce
        )
    except OSError as error:
        file = f"{error.filename}: " if error.filename is not None else ""
        raise failed(f"the emulator cannot start: {file}{error.strerror or error}") from error


def _announce(url: str) -> None:
    put(url)
    sys.stdout.flush()  # whoever started it waits for this line


def demo() -> int:
    """Show a complete example on this machine.

    A daemon, a schedule, a query over real data, and its rows in the local Salesforce.
    """
    return int(demo_module.run_demo())


def version(*, as_json: options.Json = False) -> None:
    """Show the version."""
    from importlib.metadata import version as installed  # noqa: PLC0415 - 20 ms, for this command only

    number = installed("schedctl")
    if as_json:
        put_json({"version": number})
    else:
        put(f"schedctl {number}")


def _edits_json(edits: dict[str, Any] | None, taken_over: datetime | None) -> dict[str, Any] | None:
    return None if edits is None else {**edits, "at": iso(taken_over)}


def _stored(moment: str | None) -> str | None:
    """Return a time that is kept as text in the form of all others."""
    return None if moment is None else iso(datetime.fromisoformat(moment))


def _health_json(found: "Health") -> dict[str, Any]:
    node = found.daemon
    return {
        "daemon": None
        if node is None
        else {
            "node": node.id,
            "host": node.host,
            "pid": node.pid,
            "version": node.version,
            "started_at": iso(node.started_at),
            "seen_at": iso(node.seen_at),
            "state": found.state,
            "metrics_fault": found.metrics_fault,
        },
        "config": {
            "path": found.config_path,
            "read_at": _stored(found.config_read_at),
            "fault": found.config_fault,
            "unconfirmed": found.config_unconfirmed and {"lost": [], **found.config_unconfirmed},
        },
        "queue": {"waiting": found.waiting, "running": found.running},
        "jobs": {"total": found.jobs, "disabled": found.disabled, "auto_disabled": len(found.auto_disabled)},
        "failures": [run_json(run) for run in found.failures],
        "notices": {
            "pending": found.outbox.pending,
            "oldest": iso(found.outbox.oldest),
            "error": found.outbox.error,
        },
        "disk": {"faults": list(found.disk_faults)},
        "healthy": not found.problems,
        "problems": [{"code": problem.code, "message": problem.message} for problem in found.problems],
        "holds": [
            {
                "connection": hold.connection,
                "code": hold.code,
                "message": hold.message,
                "since": iso(hold.since),
                "until": iso(hold.until),
            }
            for hold in found.holds
        ],
    }


def _sheet(found: "Health", now: datetime, holder: "Holder | None" = None) -> list[tuple[str, str | None]]:
    node = found.daemon
    if holder is not None:
        alive = f"holds the config file ({holder.words}), but has not reported yet; it may be starting"
    elif node is None:
        alive = "not running; start it with systemctl start schedctl, or schedctl daemon"
    else:
        started = relative(node.started_at, now)
        alive = f"{_STATES[found.state]}, version {node.version}, process {node.pid} on {node.host}, started {started}"
    is_listed = found.config_fault is not None and "\n" not in found.config_fault and found.config_unconfirmed is None
    faults = None if is_listed else found.config_fault  # one line is among the problems already
    return [
        ("daemon", alive),
        ("problems", "\n".join(problem.message for problem in found.problems) or None),
        ("config", found.config_path),
        ("config faults" if found.config_unconfirmed is None else "unconfirmed edit", faults),
        ("resting jobs", ", ".join((found.config_unconfirmed or {}).get("resting", ())) or None),
        ("queue", f"{found.running} running, {found.waiting} waiting"),
        ("jobs", f"{found.jobs}, {found.disabled} of them disabled"),
        ("held", "\n".join(_hold(hold, now) for hold in found.holds) or None),
        ("notices", _outbox(found, now)),
    ]


def _hold(hold: "Hold", now: datetime) -> str:
    when = f"starts no runs until {hold.until:%Y-%m-%dT%H:%M:%SZ}"
    if not hold.is_in_force(now):
        when = "starts one run at a time until one gets through"
    return f"connection {hold.connection} {when}: {hold.code}: {hold.message}"


def _outbox(found: "Health", now: datetime) -> str | None:
    outbox = found.outbox
    if not outbox.pending or outbox.oldest is None:
        return None
    waits = f"{outbox.pending} not sent yet, the oldest from {relative(outbox.oldest, now)}"
    return f"{waits}\n{outbox.error}" if outbox.error else waits
