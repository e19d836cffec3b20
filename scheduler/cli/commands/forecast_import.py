"""`forecast` and `import`: the load to come, and jobs from elsewhere."""

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter.counted import counted
from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command, add_group
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.commands.import_td import import_td
from scheduler.cli.printing.output import put, put_json, put_lines, put_table, put_text, say, warn
from scheduler.cli.printing.streams import read_text
from scheduler.cli.printing.times import iso
from scheduler.errors.operation_error import failed, usage
from scheduler.jobs.import_crontab import CrontabLine, parse_crontab
from scheduler.schedules.timezones import ZoneError, zone

if TYPE_CHECKING:
    from scheduler.cli.state import session
    from scheduler.operations import forecast as forecasts
    from scheduler.planning.forecast import Forecast, JobLoad
else:
    session = Late("scheduler.cli.state.session")
    forecasts = Late("scheduler.operations.forecast")

HOW = (
    "Runs are counted from the schedules. A run of a Salesforce job is one BulkJob; its rows are those of the job's "
    "last run, its API calls 5, 2 for each batch of batch_size rows, and 1 for each 10 s that the last run took."
)
SHOWN_JOBS = 15
BAR = 40


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "forecast", forecast, example="schedctl forecast --days 7")
    example = "crontab -l | schedctl import crontab - --timezone Europe/Berlin > jobs.toml"
    group = add_group(app, "import", help_="Bring jobs over from another scheduler.", example=example)
    add_command(group, "crontab", import_crontab, example=example)
    add_command(group, "td", import_td, example="schedctl import td schedules.json --connection crm > jobs.toml")


def forecast(
    *,
    days: Annotated[int, typer.Option("--days", metavar="N", help="How many days.", min=1, max=366)] = 7,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show the coming load by hour.

    Shows the runs by hour, the peaks, and the expected BulkJobs and API calls. Disabled jobs and jobs without a
    schedule are not counted. Jobs that cannot be read are not counted either, and are reported.
    """
    now = datetime.now(UTC)
    with session.opened_to_look(config, now, sync=True) as look:
        found = forecasts.coming_load(look.database, now, days)
    for name, reason in found.unreadable.items():
        warn(f"job {name} is left out, since it cannot be read: {reason}")
    if as_json:
        put_json(_forecast_json(found, days))
        return
    _put_days(found, days)
    busiest = sorted(found.jobs, key=lambda job: (-job.runs, job.name))[:SHOWN_JOBS]
    if busiest:
        put()
        put_table(["job", "runs", "rows per run", "BulkJobs", "API calls"], [_job_row(job) for job in busiest])
        if len(found.jobs) > len(busiest):
            put(f"and {len(found.jobs) - len(busiest):,} more jobs (--json lists all)")
    say(HOW)


def import_crontab(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The crontab; - for stdin.", allow_dash=True)],
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", metavar="ZONE", help="Time zone of lines without CRON_TZ; default: this machine's."),
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="The lines have a user before the command, as in /etc/crontab.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="Fill in this source.", autocompletion=options.connection_names),
    ] = None,
    connection: Annotated[
        str | None,
        typer.Option(
            "--connection",
            metavar="NAME",
            help="Fill in this target connection.",
            autocompletion=options.connection_names,
        ),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The old name of --connection.", hidden=True)] = None,
    as_json: options.Json = False,
) -> int:
    """Turn a Vixie crontab into jobs for the config file.

    The jobs fire at the same times as the lines. A crontab line has a command and no query: write the SQL at the marked
    places. Nothing is stored. Lines that cannot be converted are reported with the reason, and the exit code is then 1.
    """
    zone_name = timezone or _machine_zone()
    try:
        zone(zone_name)
    except ZoneError as error:
        raise usage(f"--timezone: {error}") from error
    lines = parse_crontab(read_text(file), with_user=system)
    good = [line for line in lines if line.fault is None]
    if timezone is None and any(line.timezone is None for line in good):
        say(f"times are taken as {zone_name}, this machine's zone; --timezone names another")
    names = _names(good)
    if as_json:
        put_json(_crontab_json(lines, names, zone_name))
    else:
        for line in good:
            put_lines(_snippet(line, names[line.number], zone_name, source, connection or to))
    faults = [line for line in lines if line.fault is not None]
    for line in faults:
        say(f"schedctl: {file}:{line.number}: {line.fault}")
    if not lines:
        raise failed(f"{file} has no crontab lines")
    return 1 if faults else 0


def _put_days(found: "Forecast", days: int) -> None:
    top = max(found.hours, default=0)
    runs = counted(sum(found.hours), "run")
    put(f"{runs} in {counted(days, 'day')} from {iso(found.start)}; the busiest hour has {top:,}")
    put()
    per_hour = [sum(found.hours[hour::24]) for hour in range(24)]
    most = max(per_hour, default=0)
    rows = []
    for offset in range(24):
        hour = (found.start.hour + offset) % 24
        bar = "#" * (-(-per_hour[offset] * BAR // most) if most else 0)
        rows.append((hour, [f"{hour:02}:00", f"{per_hour[offset]:,}", f"{per_hour[offset] / days:,.1f}", bar]))
    put_table(["hour (UTC)", "runs", "a day", ""], [row for _, row in sorted(rows)])
    if peaks := found.peaks():
        put()
        put_text("peaks: " + ", ".join(f"{iso(hour)} {count:,}" for hour, count in peaks))


def _job_row(job: "JobLoad") -> list[str]:
    counts = (job.rows_per_run, job.bulk_jobs, job.api_calls)
    return [job.name, f"{job.runs:,}", *("-" if count is None else f"{count:,}" for count in counts)]


def _forecast_json(found: "Forecast", days: int) -> dict[str, Any]:
    hours = [
        {"hour": iso(found.start.fromtimestamp(found.start.timestamp() + 3600 * index, UTC)), "runs": count}
        for index, count in enumerate(found.hours)
    ]
    return {
        "from": iso(found.start),
        "days": days,
        "runs": sum(found.hours),
        "bulk_jobs": sum(job.bulk_jobs or 0 for job in found.jobs),
        "api_calls": sum(job.api_calls or 0 for job in found.jobs),
        "hours": hours,
        "peaks": [{"hour": iso(hour), "runs": count} for hour, count in found.peaks()],
        "jobs": [
            {
                "name": job.name,
                "runs": job.runs,
                "rows_per_run": job.rows_per_run,
                "bulk_jobs": job.bulk_jobs,
                "api_calls": job.api_calls,
            }
            for job in found.jobs
        ],
        "unreadable": [{"job": name, "reason": reason} for name, reason in sorted(found.unreadable.items())],
        "how": HOW,
    }


def _machine_zone() -> str:
    """Return this machine's time zone: $TZ, else where /etc/localtime points, else UTC."""
    named = re.search(r"zoneinfo/(?:posix/|right/)?(.+)$", str(Path("/etc/localtime").resolve()))
    for candidate in (os.environ.get("TZ", "").lstrip(":"), named[1] if named else ""):
        try:
            return (candidate and zone(candidate).name) or "UTC"
        except ZoneError:
            continue
    return "UTC"


_CHANGE_OF_DIRECTORY = re.compile(r"^\s*cd\s[^&;]*(?:&&|;)")
_COMMAND_WORD = re.compile(r"[\w./+-]+")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_WRAPPERS = frozenset({"env", "exec", "flock", "nice", "ionice", "sudo", "sh", "bash", "time", "timeout", "test"})
"""Words in front of a command that a job is better not named after."""
_NAME_LENGTH = 50


def _names(lines: list[CrontabLine]) -> dict[int, str]:
    """Name each line's job after its command; the same command again gets a number."""
    names: dict[int, str] = {}
    for line in lines:
        command = _CHANGE_OF_DIRECTORY.sub("", line.command)
        words = [word.rstrip("/").rsplit("/", 1)[-1] for word in _COMMAND_WORD.findall(command)]
        word = next((word for word in words if word not in _WRAPPERS and not word.startswith("-")), "")
        base = _NOT_IN_NAMES.sub("-", word).strip("-.")[:_NAME_LENGTH] or f"line-{line.number}"
        name, again = base, 1
        while name in names.values():
            again += 1
            name = f"{base}-{again}"
        names[line.number] = name
    return names


def _snippet(line: CrontabLine, name: str, zone_name: str, source: str | None, to: str | None) -> str:
    def text(value: str) -> str:
        return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML basic string

    command = "".join(char if char.isprintable() else " " for char in line.command)
    day_fields = line.cron.split(" ")[2:4]
    shown = [
        f"# crontab line {line.number}: {command}",
        f"[jobs.{name if '.' not in name else text(name)}]",
        f"cron = {text(line.cron)}",
        f"timezone = {text(line.timezone or zone_name)}",
        'step = "offset"' if any("*/" in field for field in day_fields) else "",
        f"day_match = {text(line.day_match)}" if line.day_match != "or" else "",
        f"source = {text(source)}" if source else '# source = "…"   # the connection that the query runs on',
        '# query = "…"    # what the command did, as SQL; or query_file',
        f"[jobs.{name if '.' not in name else text(name)}.export]",
        f"connection = {text(to)}" if to else '# connection = "…"   # where the rows go, and that target\'s keys',
    ]
    return "\n".join(filter(None, shown)) + "\n"


def _crontab_json(lines: list[CrontabLine], names: dict[int, str], zone_name: str) -> dict[str, Any]:
    return {
        "jobs": [
            {
                "line": line.number,
                "name": names[line.number],
                "cron": line.cron,
                "timezone": line.timezone or zone_name,
                "step": line.step,
                "day_match": line.day_match,
                "command": line.command,
            }
            for line in lines
            if line.fault is None
        ],
        "faults": [{"line": line.number, "message": line.fault} for line in lines if line.fault is not None],
    }
