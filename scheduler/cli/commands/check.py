"""`check` and `connections`: whether the config file holds what it promises."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter.counted import counted
from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command, add_group
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.connections.add import add_connection
from scheduler.cli.printing.output import put, put_json, put_table, say, warn
from scheduler.jobs.dependent_slots import idle, when
from scheduler.schedules.schedule_advice import advise

if TYPE_CHECKING:
    from scheduler.cli.printing import config_diff
    from scheduler.cli.state import session
    from scheduler.config.build import Config
    from scheduler.config.diff import Edits
    from scheduler.notifications import dispatcher
    from scheduler.operations import check_connections
    from scheduler.operations.check_connections import CheckResult
else:
    config_diff = Late("scheduler.cli.printing.config_diff")
    dispatcher = Late("scheduler.notifications.dispatcher")
    session = Late("scheduler.cli.state.session")
    check_connections = Late("scheduler.operations.check_connections")

Subject = Annotated[
    str, typer.Argument(metavar="NAME", help="The connection's name.", autocompletion=options.connection_names)
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "check", check, example="schedctl check --connections")
    example = "schedctl connections test crm"
    group = add_group(app, "connections", help_="List the connections, or try one.", example=example, lists=True)
    add_command(group, "list", list_connections, example="schedctl connections list --json")
    add_command(group, "test", try_connection, example=example)
    example = (
        "schedctl connections add crm --type salesforce login_url=https://yourorg.my.salesforce.com "
        "client_id=3MVG client_secret=credential:crm_client_secret"
    )
    add_command(group, "add", add_connection, example=example)


def check(
    *,
    connections: Annotated[
        bool,
        typer.Option(
            "--connections", help="Also log in at each connection, and check each job's query, columns and first rows."
        ),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what the file would change: jobs, and their next runs.")
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> int:
    """Check the config file, and connections.

    Each fault is reported with its key and line, and the exit code is then 4. It is also a fault if a job of schedctl
    add has the same name. With --connections, the exit code is 1 if a source or a target fails. With --diff, the
    changes that a daemon would apply are shown, and nothing is stored. Warnings: a file without jobs, an edit that has
    to be confirmed, a stored job that cannot be read.
    """
    now = datetime.now(UTC)
    loaded = session.read_config(config, pipes=True)
    edits: Edits | None = None
    if diff:
        edits, unconfirmed = session.planned_edits(session.find_config(config), loaded, now)
        held = None if unconfirmed is None else str(unconfirmed)
    else:
        held = session.check_stored(session.find_config(config), loaded, now)
    warnings = _warnings(loaded, now) + ([held] if held is not None else [])
    warnings += session.unreadable_stored(session.find_config(config), loaded)
    for warning in warnings:
        warn(warning)
    results: list[CheckResult] = []
    for result in check_connections.check_all(loaded) if connections else ():
        results.append(result)
        if not as_json:
            put(_line(result))
    faults = [result for result in results if not result.ok]
    if as_json:
        shown = {} if edits is None else {"diff": edits.to_dict() | {"needs_confirm": held is not None}}
        put_json({**_json(loaded, results, warnings), **shown})
    else:
        found = {"job": loaded.jobs, "connection": loaded.connections, "fault": faults}
        put(f"{loaded.name}: {', '.join(counted(len(each), noun) for noun, each in found.items())}")
        if edits is not None and edits.jobs:
            config_diff.put_edits(edits.to_dict(), now)
        elif edits is not None:
            put("no job changes")
        if diff and held is not None:
            put("this edit is applied only by schedctl reload --confirm")
    for result in faults:
        say(f"schedctl: {result.subject}: {result.message}")
    return 1 if faults else 0


def list_connections(*, as_json: options.Json = False, config: options.Config = None) -> None:
    """List the connections.

    Shows what each connection is, where it leads, and how many jobs use it. Secrets are not shown.
    """
    loaded = session.read_config(config)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "type": connection.type,
            "auth": getattr(connection, "auth", None),
            "address": _address(connection),
            "source_of": sorted(job.name for job in loaded.jobs.values() if job.source == name),
            "target_of": sorted(job.name for job in loaded.jobs.values() if job.export.connection == name),
        }
        for name, connection in sorted(loaded.connections.items())
    ]
    if as_json:
        put_json({"connections": rows})
    elif rows:
        put_table(["name", "type", "address", "source of", "target of"], [_cells(row) for row in rows])
    else:
        put("no connections; add [connections.NAME] to the config file")


def try_connection(*, name: Subject, as_json: options.Json = False, config: options.Config = None) -> int:
    """Log in at a connection, or open it.

    It says whether that works; nothing is written.
    """
    loaded = session.read_config(config)
    for fault in loaded.warnings:
        if fault.keys[:2] == ("connections", name):
            warn(str(fault))
    result = check_connections.check_connection(loaded, name)
    if as_json:
        put_json({"connections": [_result_json(result)]})
    else:
        put(_line(result))
    if not result.ok:
        say(f"schedctl: {result.subject}: {result.message}")
    return 0 if result.ok else 1


def _cells(row: dict[str, Any]) -> list[str]:
    jobs = [f"{len(row[key])} job{'s' if len(row[key]) != 1 else ''}" for key in ("source_of", "target_of")]
    kind = row["type"] if row["auth"] is None else f"{row['type']}, {row['auth']}"
    return [row["name"], kind, row["address"], *jobs]


def _warnings(loaded: "Config", now: datetime) -> list[str]:
    found = [fault.told(loaded.name) for fault in loaded.warnings]
    if not loaded.jobs:
        what = "the file has no jobs" if loaded.connections else "the file is empty: it has no jobs and no connections"
        found.append(f"{loaded.name}: {what}; only jobs of schedctl add run")
    # A secret that only the daemon can see is no fault here.
    server = dispatcher.relay(loaded.notify) if loaded.notify.smtp is not None else None
    visible = [address for address in dispatcher.addresses(loaded.notify) if address.url] if loaded.notify.urls else []
    visible += [server] if server is not None and server.url else []
    found += [f"{label}: {reason}" for label, reason in dispatcher.faults_in(visible)] if visible else []
    for job in loaded.jobs.values():
        found += [f"job {job.name}: {advice.words}" for advice in (advise(job.schedule, now) if job.schedule else ())]
        if told := idle(job.name, loaded.jobs, now):
            found.append(f"job {job.name} runs {when(job.after)}, but {told}")
    return found


def _address(connection: Any) -> str:  # noqa: ANN401 - any of the connection models
    """Say where a connection leads; of a URL that may hold a password, only that it has one."""
    for key in ("login_url", "endpoint", "path", "directory"):
        if (value := getattr(connection, key, None)) is not None:
            return ", ".join(filter(None, [str(value), getattr(connection, "database", None)]))
    if getattr(connection, "url", None) is not None:
        return "as its url says"
    if (driver := getattr(connection, "driver", None)) is not None:
        return f"{driver}, as its uri says" if getattr(connection, "uri", None) is not None else str(driver)
    host, port, database = (getattr(connection, key, None) for key in ("host", "port", "database"))
    if host is None and database is None:
        return "in memory" if connection.type == "duckdb" else "the default"
    return f"{host or 'the default'}{f':{port}' if port else ''}{f', {database}' if database else ''}"


def _line(result: "CheckResult") -> str:
    return f"{'ok   ' if result.ok else 'FAULT'}  {result.subject}: {result.message}"


def _result_json(result: "CheckResult") -> dict[str, Any]:
    return {"subject": result.subject, "ok": result.ok, "message": result.message}


def _json(loaded: "Config", results: "list[CheckResult]", warnings: list[str]) -> dict[str, Any]:
    return {
        "ok": all(result.ok for result in results),
        "config": loaded.name,
        "jobs": len(loaded.jobs),
        "connections": len(loaded.connections),
        "checks": [_result_json(result) for result in results],
        "warnings": warnings,
    }
