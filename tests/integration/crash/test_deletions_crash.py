"""The crash matrix of what a run says that it deleted: killed at every instant, and then never let to its end.

The instants are counted, as in the matrix of change-only exports. After the kill, either the org admits nobody any more
or a person cancels the run: however far the deletion was, the run's count is that of the recycle bin.
"""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.runs.crash import Nursery
from support.runs.whole_runs import Workplace
from support.salesforce.emulator_org import csv_of, load

from exporter.emulator.server import Emulator
from storage.runs.runs import StoredRun, get_run, request_cancel

Record = Callable[[str, object], None]
EXPORT = '[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\n'
UPSERT = EXPORT + 'mode = "update"\nkey = "Ext_Id__c"\nupsert = true\n'
JOBS = {"truncate": EXPORT + 'mode = "truncate"\n', "mirror": 'changes = "mirror"\nmax_deletes = 9\n' + UPSERT}
BEFORE = [{"Name": f"old {number}", "Ext_Id__c": f"e{number}"} for number in range(5)]
AFTER = [{"Name": "new 0", "Ext_Id__c": "e0"}, {"Name": "new 7", "Ext_Id__c": "e7"}]


class Matrix:
    """The cells of one job."""

    def __init__(self, job: str, emulator: Emulator, cradle: Nursery, directory: Path) -> None:
        self._emulator = emulator
        self._cradle = cradle
        self._directory, self._kept = directory / "work", directory / "kept"
        self._rights = emulator.org.rights
        work = Workplace(self._directory, url=emulator.url, job=job)
        if "mirror" in job:
            work.run(BEFORE)
        work.put(AFTER)
        self._number = work.ask()
        shutil.copytree(self._directory, self._kept)

    def instants(self) -> int:
        """Let a run come to its end undisturbed, and return how many instants it had."""
        self._restore()
        assert self._cradle.run({"directory": str(self._directory), "run": self._number, "kill_at": None}) == 0
        return int(json.loads((self._directory / "instants").read_text(encoding="utf-8")))

    def cell(self, kill_at: int, *, cancel: bool) -> tuple[int, int] | None:
        """Kill the run, have it end without success, and return what it and the org say is deleted."""
        self._restore()
        cell = {"directory": str(self._directory), "run": self._number, "kill_at": kill_at}
        status = self._cradle.run(cell)
        assert status in (0, -signal.SIGKILL)  # how often progress is written depends on the time
        work = Workplace(self._directory)
        if not status or work.is_finished(self._number):
            return None
        if cancel:
            with work.database() as database, database.write() as session:
                request_cancel(session, self._number, now=datetime.now(UTC))
        else:
            self._emulator.org.rights = replace(self._rights, client_secret="another")
        run = self._end(work)
        self._emulator.org.rights = self._rights
        gone = self._emulator.org.count("Thing__c", deleted=True)
        self._judge(run, gone)
        return run.rows_deleted, gone

    def _end(self, work: Workplace) -> StoredRun:
        with work.database() as database, database.read() as session:
            run = get_run(session, self._number)  # it may have been canceled where it waited
        return run if run is not None and run.state == "finished" else work.finish(self._number)

    def _judge(self, run: StoredRun, gone: int) -> None:
        doubt = int(run.progress.get("deletions_in_doubt", 0))
        assert run.outcome in {"failed", "canceled", "succeeded"}
        assert run.rows_deleted <= gone <= run.rows_deleted + doubt
        if run.outcome != "succeeded" and gone:
            words = f"{run.failure_message} {run.reason}"
            assert "deleted" in words
            assert "undelete" in words

    def _restore(self) -> None:
        """Make all as it was before the run."""
        shutil.rmtree(self._directory)
        shutil.copytree(self._kept, self._directory)
        with self._emulator.org.store.writing() as db:
            db.execute('DELETE FROM "Thing__c"')
        rows = [list(row.values()) for row in BEFORE]
        load(self._emulator.org, "insert", csv_of(["Name", "Ext_Id__c"], *rows), name="Thing__c")


@pytest.mark.parametrize(
    ("name", "cancel", "step"),
    [
        ("truncate", False, 2),
        pytest.param("truncate", True, 1, marks=pytest.mark.slow),
        pytest.param("mirror", False, 1, marks=pytest.mark.slow),
        pytest.param("mirror", True, 1, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_at_any_instant_says_what_it_deleted(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator,
    cradle: Nursery,
    tmp_path: Path,
    name: str,
    cancel: bool,  # noqa: FBT001 - a parameter
    step: int,
    record_property: Record,
) -> None:
    matrix = Matrix(JOBS[name], emulator, cradle, tmp_path)
    counts = [matrix.cell(kill_at, cancel=cancel) for kill_at in range(1, matrix.instants() + 1, step)]
    told = {count for count in counts if count is not None}
    record_property("cells", f"{name}, {'canceled' if cancel else 'fails'}: {len(counts)} runs killed, none lied")
    assert {gone for _, gone in told} == {0, 5 if name == "truncate" else 4}
    assert any(said == gone > 0 for said, gone in told)
