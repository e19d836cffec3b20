"""Whole runs of one job, from its query to its settled outcome, in this process or in one that is killed on the way.

``python -m support.runs.whole_runs`` reads one cell per line from its input, forks, performs the cell's run in the
child, which may end in SIGKILL at a chosen instant, and answers with the child's exit status.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from support.runs.crash import Nursery, fork_cells

import exporter.changes.snapshot
import exporter.changes.staging
import exporter.targets.salesforce.target
from scheduler.config.build import load
from scheduler.jobs.definition import Job
from scheduler.runs.cancellation import RunControl
from scheduler.runs.concurrency import Gate, Limits
from scheduler.runs.context import RunWork
from scheduler.runs.runner import perform
from scheduler.runs.spool_identity import find_place
from storage.database import Database, open_database
from storage.jobs import jobs, snapshots
from storage.jobs.snapshots import StoredSnapshot
from storage.runs import ledger, runs
from storage.runs.ledger import LedgerRow
from storage.runs.runs import NewRun, StoredRun

SECRET = "m4de-up-s3cret"
"""No word that stands elsewhere: what is a secret of this process is masked in all of it."""
CONFIG = """
[storage]
url = "{storage}"
{more}
[connections.files]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = "{secret}"
initial_retry_delay = 0
retry_limit = 1
[connections.out]
type = "file"
directory = "out"
[jobs.things]
source = "files"
query = "select * from 'rows.parquet'"
retry_limit = 2
initial_retry_delay = 0
{job}
"""
OWNER = "node"
_start = datetime(2026, 11, 26, 3, tzinfo=UTC)


class Workplace:
    """A directory with a config of the job ``things``, the rows that its query gives, its state and its snapshots."""

    def __init__(
        self,
        directory: Path,
        *,
        url: str = "http://127.0.0.1:1",
        job: str = "",
        storage: str | None = None,
        more: str = "",
    ) -> None:
        """``job`` are more lines of the job's table, and its export's; ``more`` of the storage's.

        Without ``job`` the directory is one already.
        """
        self.directory = directory
        self.file = directory / "config.toml"
        if job:
            directory.mkdir(parents=True, exist_ok=True)
            if storage is not None and "spool" not in more:
                more += f'spool = "{directory / "spool"}"\n'  # else it is in the home directory, where all tests meet
            storage = storage or f"sqlite:///{directory / 'state.db'}"
            self.file.write_text(
                CONFIG.format(storage=storage, more=more, url=url, job=job, secret=SECRET), encoding="utf-8"
            )
            self.file.chmod(0o600)
        self.config = load(self.file)

    @property
    def job(self) -> Job:
        return self.config.jobs["things"]

    @contextmanager
    def database(self) -> Iterator[Database]:
        database = open_database(self.config.storage.url)
        try:
            yield database
        finally:
            database.close()

    def put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Say what the job's query gives from now on."""
        pq.write_table(pa.Table.from_pylist(list(rows)), self.directory / "rows.parquet")

    def ask(
        self,
        *,
        kind: str = "manual",
        reason: str | None = None,
        retry_of: int | None = None,
        now: datetime = _start,
    ) -> int:
        """Ask for a run and return its number."""
        definition = self.job.to_dict()
        with self.database() as database, database.write() as session:
            jobs.put_job(session, name="things", origin="file", definition=definition, now=_start)
            slot = _start + timedelta(minutes=len(runs.list_runs(session, limit=1000)))
            new = NewRun(
                job="things",
                scheduled_time=slot,
                run_time=slot,
                kind=kind,  # type: ignore[arg-type] # one of the kinds
                definition=definition,
                reason=reason,
                retry_of=retry_of,
            )
            [number] = runs.insert_runs(session, [new], now=now)
        assert number is not None
        return number

    def attempt(self, number: int) -> StoredRun | None:
        """Claim a run and perform one attempt of it; None if it may not start."""
        with self.database() as database:
            place, places = find_place(database, self.config.storage.spool)
            with database.write() as session:
                runs.take_back(session, owners=[OWNER], now=_start)
                gate = Gate(Limits.of(self.config.connections), {}, _start)
                now = datetime.now(UTC)
                run = runs.claim_run(
                    session, number, owner=OWNER, now=now, lease_seconds=3600, gate=gate, places=places
                )
            if run is None:
                return None
            return perform(
                RunWork(
                    database=database,
                    config=self.config,
                    run=run,
                    spool_root=self.config.storage.spool,
                    control=RunControl(timeout=120),
                    place=place,
                )
            )

    def finish(self, number: int) -> StoredRun:
        """Perform attempts until the run has ended."""
        for _ in range(10):
            run = self.attempt(number)
            if run is not None and run.state == "finished":
                return run
        raise AssertionError(f"run {number} does not end")

    def entries(self, number: int) -> list[LedgerRow]:
        """Return the ledger of a run."""
        with self.database() as database, database.read() as session:
            return ledger.entries(session, number)

    def kill_until(
        self, cradle: Nursery, number: int, holds: Callable[[list[LedgerRow]], bool], *, first: int = 1
    ) -> None:
        """Have a run killed at its ``first`` instant, then at the next, until its ledger is one that ``holds``."""
        for kill_at in range(first, 200):
            if holds(self.entries(number)):
                return
            cell = {"directory": str(self.directory), "run": number, "kill_at": kill_at}
            assert cradle.run(cell) == -signal.SIGKILL
        raise AssertionError(f"run {number} never comes so far")

    def take_back(self) -> None:
        """Take back what a killed process had claimed, as a daemon does once its lease is over."""
        with self.database() as database, database.write() as session:
            runs.take_back(session, owners=[OWNER], now=datetime.now(UTC))

    def is_finished(self, number: int) -> bool:
        with self.database() as database, database.read() as session:
            run = runs.get_run(session, number)
        return run is not None and run.state == "finished"

    def run(self, rows: Sequence[Mapping[str, Any]] | None = None, **asked: Any) -> StoredRun:
        """Put ``rows``, if given, ask for a run, and perform it to its end."""
        if rows is not None:
            self.put(rows)
        return self.finish(self.ask(**asked))

    def snapshot(self) -> StoredSnapshot | None:
        with self.database() as database, database.read() as session:
            return snapshots.get(session, "things")

    def left(self) -> list[str]:
        """Return what lies about that no run and no snapshot needs any more."""
        found = self.snapshot()
        named = {Path(found.file).name} if found is not None and found.file is not None else set[str]()
        spools = [path.name for path in self.config.storage.spool.glob("*")]
        return spools + [path.name for path in self.config.storage.snapshots.glob("*") if path.name not in named]


class Instants:
    """Counts the instants at which a crash would make a difference, and kills this process at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self._kill_at = kill_at
        self.passed = 0

    def watch(self) -> None:
        """Make each transaction, comparison, spooling and writing of a snapshot two instants: before and after it."""
        self._around(Database, "write", is_context=True)
        self._around(exporter.changes.staging.Staging, "compare")
        self._around(exporter.changes.snapshot, "write_snapshot")
        self._around(exporter.targets.salesforce.target.SalesforceTarget, "fill")

    def _around(self, owner: Any, name: str, *, is_context: bool = False) -> None:
        wrapped = getattr(owner, name)
        setattr(owner, name, self._context(wrapped) if is_context else self._call(wrapped))

    def _call(self, wrapped: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(wrapped)
        def call(*arguments: Any, **named: Any) -> Any:
            self._pass()
            result = wrapped(*arguments, **named)
            self._pass()
            return result

        return call

    def _context(self, wrapped: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def context(*arguments: Any, **named: Any) -> Iterator[Any]:
            self._pass()
            with wrapped(*arguments, **named) as value:
                yield value
            self._pass()

        return context

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def perform_cell(cell: dict[str, Any]) -> None:
    """Perform one attempt of a run, which may be killed, and write down how many instants it had."""
    workplace = Workplace(Path(cell["directory"]))
    instants = Instants(cell.get("kill_at"))
    instants.watch()
    workplace.attempt(cell["run"])
    (workplace.directory / "instants").write_text(json.dumps(instants.passed), encoding="utf-8")


if __name__ == "__main__":
    fork_cells(sys.stdin, perform_cell)
