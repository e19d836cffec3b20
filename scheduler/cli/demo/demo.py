"""`schedctl demo`: a real daemon, a real schedule, real rows over HTTP into the local Salesforce, then what came of it.

Everything runs through the installed command, in processes of its own, on free loopback ports and in a temporary
directory. The exit code is 0 only if the job fired by its schedule, and what the org holds is what the run reports.
"""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from scheduler.cli.printing.output import say
from scheduler.config.build import Config, load
from scheduler.jobs.definition import Job
from scheduler.operations.jobs import sync_file_jobs
from storage.database import Database, open_database
from storage.runs import rejections, runs
from storage.runs.runs import StoredRun

JOB = "airports"
START = "import sys; from scheduler.cli.main import main; sys.exit(main())"
"""What the installed command does, whatever it is called and wherever it is."""
START_SECONDS = 30.0
RUN_SECONDS = 120.0
DEFINED_AGO = timedelta(minutes=2)
"""The job counts as defined this long ago, while no daemon ran: so a slot is owed, and the daemon catches it up."""
SHOWN = 5
CONFIG = """\
[daemon]
drain_timeout = "10s"

[connections.warehouse]
type = "duckdb"

[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = {{ env = "DEMO_CLIENT_SECRET" }}

[jobs.airports]
description = "Every airport with an IATA code, upserted by that code"
cron = "*/1 * * * *"
timezone = "America/New_York"
source = "warehouse"
query = '''
select iata as "Iata__c", icao as "Icao__c", name as "Full_Name__c", city as "City__c", country as "Country__c",
       elevation_ft as "Elevation__c", latitude as "Latitude__c", longitude as "Longitude__c"
from read_csv('{data}')
'''

[jobs.airports.export]
connection = "crm"
object = "Airport__c"
mode = "update"
upsert = true
key = "Iata__c"
batch_size = 500
"""


class DemoError(Exception):
    """What did not happen as it should have."""


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Where the demo plays: its directory, its processes' environment, the local Salesforce."""

    directory: Path
    environment: Mapping[str, str]
    url: str


def run_demo() -> int:
    """Show it all, and return 0 only if it all happened."""
    console = Console()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="schedctl-demo-") as name,
            as_file(files("scheduler.cli.demo") / "data") as data,
        ):
            _play(console, Path(name), data)
    except DemoError as error:
        say(f"schedctl: the demo failed: {error}")
        return 1
    console.print("\n[bold green]All of this happened: fired by its schedule, queried, exported, counted.[/]")
    return 0


def _play(console: Console, directory: Path, data: Path) -> None:
    environment = {
        **os.environ,
        "DEMO_CLIENT_SECRET": "secret",
        "XDG_STATE_HOME": str(directory),
        "SCHEDCTL_CONFIG": str(directory / "config.toml"),
    }
    environment.pop("STATE_DIRECTORY", None)
    schema, org = str(data / "schema.toml"), str(directory / "org.db")
    with _process(
        ["emulator", "--schema", schema, "--state", org], environment, directory / "emulator.log"
    ) as emulator:
        stage = _Stage(directory=directory, environment=environment, url=_first_line(emulator))
        console.print(f"a local Salesforce listens on {stage.url}")
        path = directory / "config.toml"
        path.write_text(CONFIG.format(url=stage.url, data=data / "airports.csv"), encoding="utf-8")
        path.chmod(0o600)
        config = load(path)
        database = open_database(f"sqlite:///{directory / 'schedctl' / 'state.db'}")
        try:
            sync_file_jobs(database, config, datetime.now(UTC) - DEFINED_AGO)
            with _process(["daemon"], environment, directory / "daemon.log") as daemon:
                console.print(
                    f"a daemon runs (process {daemon.pid}); job {JOB!r}: {config.jobs[JOB].cron} every minute"
                )
                run = _watch(console, database, daemon)
                _end(daemon)
            _show(console, stage, database, config, run)
        finally:
            database.close()


@contextmanager
def _process(arguments: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a schedctl command beside this one; it is ended with the block."""
    command = [sys.executable, "-c", START, *arguments]
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            command, env=dict(environment), stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            yield process
        except DemoError as error:
            raise DemoError(f"{error}\n{log.read_text(encoding='utf-8')[-2000:]}") from error
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=START_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        raise DemoError("the local Salesforce has no output")
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline().strip() if selector.select(timeout=START_SECONDS) else ""
    if not line:
        raise DemoError("the local Salesforce did not start")
    return line


def _watch(console: Console, database: Database, daemon: subprocess.Popen[str]) -> StoredRun:
    """Wait for the first scheduled run to end, and show its rows as they go."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"))
    limit = time.monotonic() + RUN_SECONDS
    told = ""
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("waiting for the schedule", rows="", total=None)
        while time.monotonic() < limit:
            if daemon.poll() is not None:
                raise DemoError(f"the daemon ended unexpectedly with exit code {daemon.returncode}")
            run = _scheduled_run(database)
            if run is not None:
                rows, done, total = _rows(run)
                shown = f"run {run.id} of slot {run.scheduled_time:%H:%M} UTC, {run.phase or run.state}"
                progress.update(task, description=shown, rows=rows, completed=done, total=total or None)
                if not console.is_terminal and rows != told:
                    console.print(f"{shown}: {rows}")
                    told = rows
                if run.state == "finished":
                    return run
            time.sleep(0.1)
    raise DemoError(f"no scheduled run ended within {RUN_SECONDS:.0f} s")


def _scheduled_run(database: Database) -> StoredRun | None:
    with database.read() as session:
        found = [run for run in runs.list_runs(session, job=JOB, limit=50) if run.kind == "schedule"]
    return min((run for run in found if run.outcome != "skipped"), key=lambda run: run.id, default=None)


def _rows(run: StoredRun) -> tuple[str, int, int]:
    if run.state == "finished":
        read, accepted, rejected = run.rows_read, run.rows_accepted, run.rows_rejected
        sent = read
    else:
        counts = {key: int(run.progress.get(key, 0)) for key in ("read", "sent", "accepted", "rejected")}
        read, sent, accepted, rejected = (counts[key] for key in ("read", "sent", "accepted", "rejected"))
    return (
        f"{read:,} read, {sent:,} sent, {accepted:,} accepted, {rejected:,} rejected",
        accepted + rejected,
        read,
    )


def _end(daemon: subprocess.Popen[str]) -> None:
    daemon.send_signal(signal.SIGTERM)
    try:
        code = daemon.wait(timeout=START_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DemoError("the daemon did not end when told to") from error
    if code:
        raise DemoError(f"the daemon ended with exit code {code}")


def _show(console: Console, stage: _Stage, database: Database, config: Config, run: StoredRun) -> None:
    """Show what is in the org, what was refused and when the job fires next; raise if the figures do not agree."""
    with database.read() as session:
        refused = rejections.read(session, run.id, limit=1_000_000)
    held = _query(stage, "SELECT COUNT() FROM Airport__c")["totalSize"]
    sample = _query(
        stage,
        "SELECT Id, Iata__c, Full_Name__c, City__c, Country__c FROM Airport__c ORDER BY Iata__c LIMIT 5",
    )["records"]
    table = Table(title=f"Airport__c now holds {held:,} records", title_justify="left")
    for column in ("Id", "Iata__c", "Full_Name__c", "City__c", "Country__c"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    for record in sample:
        table.add_row(*(str(record[column.header] or "") for column in table.columns))
    console.print(table)
    table = Table(title=f"{len(refused)} rows were rejected", title_justify="left")
    for column in ("row", "Iata__c", "code", "message"):
        table.add_column(column, overflow="fold" if column == "message" else "ellipsis")
    for row in refused[:SHOWN]:
        table.add_row(str(row.number), row.values.get("Iata__c") or "", row.code, row.message)
    console.print(table)
    console.print(_next_fires(config.jobs[JOB]))
    _check(run, held=int(held), refused=len(refused), shown=len(sample))


def _check(run: StoredRun, *, held: int, refused: int, shown: int) -> None:
    facts = {
        "the run was fired by its schedule": run.kind == "schedule",
        "the outcome is partial, since some rows are refused on purpose": run.outcome == "partial",
        "at least 3,000 rows were read": run.rows_read >= 3_000,  # noqa: PLR2004 - a real data set
        "every row is accounted for": run.rows_read == run.rows_accepted + run.rows_rejected,
        "every rejected row was kept": refused == run.rows_rejected > 0,
        "the org holds what was accepted": held == run.rows_accepted and shown > 0,
    }
    wrong = [fact for fact, holds in facts.items() if not holds]
    if wrong:
        raise DemoError(f"not true of run {run.id}: {'; '.join(wrong)}")


def _query(stage: _Stage, soql: str) -> dict[str, Any]:
    login = {"grant_type": "client_credentials", "client_id": "emulator", "client_secret": "secret"}
    answer = requests.post(f"{stage.url}/services/oauth2/token", data=login, timeout=START_SECONDS)
    answer.raise_for_status()
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    url = f"{stage.url}/services/data/v62.0/query"
    answer = requests.get(url, params={"q": soql}, headers=headers, timeout=START_SECONDS)
    answer.raise_for_status()
    return dict(answer.json())


def _next_fires(job: Job) -> str:
    schedule, moment = job.schedule, datetime.now(UTC)
    fires: list[str] = []
    while schedule is not None and len(fires) < 3:  # noqa: PLR2004 - enough to see the rhythm
        fire = schedule.next_after(moment)
        if fire is None:
            break
        moment = fire.scheduled_time
        fires.append(f"{moment:%H:%M} UTC")
    return f"next fires of {job.name}: {', '.join(fires)}"
