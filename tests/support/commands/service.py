"""The daemon as installed, over a config file and a state database, with a local Salesforce behind it."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from support.commands.command import SCHEDCTL, Command

from exporter.emulator.server import Emulator
from scheduler.config.build import load
from scheduler.operations.jobs import sync_file_jobs
from storage.database import open_database
from storage.runs import runs
from storage.runs.runs import StoredRun

SCHEMA = {
    "objects": {"Row__c": {"label": "Row", "fields": {"Number__c": {"type": "double", "precision": 10, "scale": 0}}}}
}
CONFIG = """
[daemon]
drain_timeout = "20s"
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = {{ env = "CRM_SECRET" }}
"""
JOB = """
[jobs.{name}]
cron = "* * * * *"
source = "warehouse"
retry_limit = 0
query = "select i as \\"Number__c\\" from range({rows}) as numbers(i)"
[jobs.{name}.export]
connection = "crm"
object = "{object}"
batch_size = {size}
"""


class Service:
    """A daemon over a config file, with the local Salesforce behind it."""

    def __init__(self, command: Command, org: Emulator, url: str | None = None) -> None:
        """``url`` is the state database's, by default the SQLite file in the state directory."""
        self.command = command
        self.url = url or f"sqlite:///{command.state / 'state.db'}"
        self.org = org
        self.log = command.directory / "daemon.log"
        command.environment["CRM_SECRET"] = "secret"

    def configure(self, *jobs: str) -> None:
        state = f'[storage]\nurl = "{self.url}"\n'
        self.command.write(state + CONFIG.format(url=self.org.url) + "".join(jobs))

    def owe_a_slot(self) -> None:
        """Let the jobs be defined two minutes ago, so that the daemon owes a slot when it starts."""
        database = open_database(self.url)
        sync_file_jobs(database, load(self.command.config), datetime.now(UTC) - timedelta(minutes=2))
        database.close()

    @contextmanager
    def daemon(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [SCHEDCTL, "daemon", *arguments],
                env=self.command.environment,
                cwd=self.command.directory,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def runs(self, job: str) -> list[StoredRun]:
        database = open_database(self.url)
        with database.read() as session:
            found = [run for run in runs.list_runs(session, job=job, limit=100) if run.outcome != "skipped"]
        database.close()
        return sorted(found, key=lambda run: run.id)

    def until(self, holds: Callable[[], object], seconds: float = 60) -> None:
        limit = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < limit, self.log.read_text(encoding="utf-8")[-4000:]
            time.sleep(0.05)

    def numbers(self) -> Counter[int]:
        return Counter(int(float(record["Number__c"])) for record in self.org.org.records("Row__c"))
