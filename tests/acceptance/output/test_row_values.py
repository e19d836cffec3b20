"""Values of rows are in no log and in no part of the state but the rows that were refused."""

# ruff: noqa: S608 - the queries are of this test alone

import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.commands.command import Command
from support.commands.service import SCHEMA, Service

from exporter.emulator.server import Emulator
from scheduler.config.build import load
from scheduler.operations.jobs import sync_file_jobs
from storage.database import open_database

MARK = "r0wv4lue"
DAEMON = """
import logging, sys
from pathlib import Path
from scheduler.observability import logging_setup
import scheduler.daemon.daemon
logging_setup.configure(level="debug", mode="json")
for name in ("", "schedctl", "sqlalchemy.engine", "urllib3", "requests", "apscheduler", "simple_salesforce"):
    logging.getLogger(name).setLevel(1)
sys.exit(scheduler.daemon.daemon.main(Path(sys.argv[1])))
"""
JOB = """
[jobs.{name}]
cron = "@hourly"
source = "warehouse"
query = "{query}"
retry_limit = 0
[jobs.{name}.export]
connection = "{connection}"
object = "{object}"
"""
FILES = """
[connections.nowhere]
type = "salesforce"
login_url = "http://127.0.0.1:1"
client_id = "x"
client_secret = "some-secret"
retry_limit = 0
"""


def test_row_values_are_nowhere_but_with_the_refused_rows(tmp_path: Path) -> None:
    rows = "\n".join([f"{MARK}{number},{number}" for number in range(50)])
    (tmp_path / "rows.csv").write_text(f"a,n\n{rows}\n", encoding="utf-8")
    path = tmp_path / "rows.csv"
    mixed = f"select case when n < 25 then n::text else a end as Number__c from '{path}'"
    good = f"select Name from (select a as Name, n from '{path}')"
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        service = Service(Command(tmp_path), org)
        service.configure(
            FILES,
            JOB.format(name="refused", query=f"select a as Number__c from '{path}'", connection="crm", object="Row__c"),
            JOB.format(name="mixed", query=mixed, connection="crm", object="Row__c"),
            JOB.format(name="good", query=good, connection="crm", object="Account"),
            JOB.format(name="nowhere", query=good, connection="nowhere", object="Account"),
        )
        owe_an_hour(service)
        with service.log.open("ab") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-c", DAEMON, str(service.command.config)],
                env=service.command.environment,
                cwd=tmp_path,
                stdout=log,
                stderr=log,
            )
        try:
            ended = {}
            names = ("refused", "mixed", "good", "nowhere")
            service.until(lambda: all(_note(service, name, ended) for name in names), 120)
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=60)
        finally:
            daemon.kill()
            daemon.wait()
    assert ended == {"refused": "failed", "mixed": "partial", "good": "succeeded", "nowhere": "failed"}
    text = service.log.read_text(encoding="utf-8")
    assert '"level": "debug"' in text
    assert [line for line in text.splitlines() if MARK in line] == []
    found = tables_with(service.command.state / "state.db")
    assert found == {"rejected_row"}


def owe_an_hour(service: Service) -> None:
    """Let the jobs be defined an hour ago."""
    database = open_database(service.url)
    sync_file_jobs(database, load(service.command.config), datetime.now(UTC) - timedelta(hours=1))
    database.close()


def _note(service: Service, name: str, ended: dict[str, str | None]) -> bool:
    found = [run.outcome for run in service.runs(name) if run.outcome]
    if found:
        ended[name] = found[0]
    return bool(found)


def tables_with(state: Path) -> set[str]:
    """Return the tables that hold the mark anywhere."""
    connection = sqlite3.connect(state)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table for table in tables for row in connection.execute(f'SELECT * FROM "{table}"') if MARK in repr(row)}
    connection.close()
    return found
