"""The crash matrix of change-only exports: whole runs, killed at every instant at which that could make a difference.

The instants are counted, not listed: before and after each transaction on the state database (so around each entry of
the ledger and around the settling), the comparison, the spooling and the writing of the snapshot.
"""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.runs.cases import LONG
from support.runs.crash import Nursery
from support.runs.whole_runs import Workplace
from support.salesforce.emulator_org import csv_of, load

from exporter.emulator.server import Emulator
from scheduler.daemon.retention import clear

Record = Callable[[str, object], None]
Rows = dict[str, str]
_BEFORE: Rows = {f"c{number}": f"old {number}" for number in range(1, 7)}
_AFTER: Rows = {"c1": "old 1", "c2": "new 2", "c7": "new 7", "c8": LONG, "c3": LONG, "c9": "new 9"}
"""Of six rows one stays, one changes, one changes to what is refused, three leave and three come, one to be refused."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A job that sends changes; what is in the org after the second result; what the third run counts."""

    job: str
    left: Rows
    deleted: int = 0
    counts: tuple[int, int, int, int]


EXPORT = '[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\nbatch_size = 2\n'
UPSERT = EXPORT + 'mode = "update"\nkey = "Ext_Id__c"\nupsert = true\n'
UPDATED = _BEFORE | {"c2": "new 2", "c7": "new 7", "c9": "new 9"}
CHANGES = {
    "append of new rows": Change(
        job='changes = "new"\nchanges_key = "Code__c"\n' + EXPORT,
        left=_BEFORE | {"c7": "new 7", "c9": "new 9"},
        counts=(6, 0, 1, 5),
    ),
    "upsert of changed rows": Change(job='changes = "changed"\n' + UPSERT, left=UPDATED, counts=(6, 0, 2, 4)),
    "mirror": Change(
        job='changes = "mirror"\nmax_deletes = 3\n' + UPSERT,
        left={key: name for key, name in UPDATED.items() if key not in {"c4", "c5", "c6"}},
        deleted=3,
        counts=(6, 0, 2, 4),
    ),
    "mirror, Bulk 2": Change(
        job='changes = "mirror"\nmax_deletes = 3\n' + UPSERT + 'bulk_api = "2"\n',
        left={key: name for key, name in UPDATED.items() if key not in {"c4", "c5", "c6"}},
        deleted=3,
        counts=(6, 0, 2, 4),
    ),
}


class Matrix:
    """The cells of one job."""

    def __init__(self, change: Change, emulator: Emulator, cradle: Nursery, directory: Path) -> None:
        self._change = change
        self._emulator = emulator
        self._cradle = cradle
        self._directory = directory / "work"
        self._kept = directory / "kept"
        self.cells = 0
        work = Workplace(self._directory, url=emulator.url, job=change.job)
        work.run(self._rows(_BEFORE))
        work.put(self._rows(_AFTER))
        self._number = work.ask()
        shutil.copytree(self._directory, self._kept)
        self._records = self._held()

    def cell(self, *kills: int) -> int:
        """Kill one attempt of the second run after the other, let it end, and judge; return the instants it had."""
        shutil.rmtree(self._directory)
        shutil.copytree(self._kept, self._directory)
        self._restore()
        for kill_at in kills:
            if not self._attempt(kill_at):
                break
        work = Workplace(self._directory)
        self._attempt(None)
        if not work.is_finished(self._number):
            work.finish(self._number)
        self._judge(work)
        self.cells += 1
        return int(json.loads((self._directory / "instants").read_text(encoding="utf-8")))

    def _attempt(self, kill_at: int | None) -> bool:
        """Perform an attempt; whether it was killed."""
        cell = {"directory": str(self._directory), "run": self._number, "kill_at": kill_at}
        status = self._cradle.run(cell)
        assert status in (0, -signal.SIGKILL)
        return status != 0

    def _judge(self, work: Workplace) -> None:
        assert self._held() == sorted(self._change.left.items())
        third = work.run()
        counts = (third.rows_read, third.rows_accepted, third.rows_rejected, third.rows_unchanged)
        assert counts == self._change.counts
        assert third.rows_deleted == 0
        assert self._held() == sorted(self._change.left.items())
        storage = work.config.storage
        with work.database() as database:  # the daily sweep takes what a crash after the settling left
            later = datetime.now(UTC) + timedelta(days=2)
            clear(database, storage.spool, snapshots_directory=storage.snapshots, history=storage.history, now=later)
        assert work.left() == []

    def _held(self) -> list[tuple[str, str]]:
        return sorted((str(r["Code__c"]), str(r["Name"])) for r in self._emulator.org.records("Thing__c"))

    def _restore(self) -> None:
        """Make the org what it was before the second run."""
        with self._emulator.org.store.writing() as db:
            db.execute('DELETE FROM "Thing__c"')
        rows = self._rows(_BEFORE)
        load(
            self._emulator.org, "insert", csv_of(list(rows[0]), *[list(row.values()) for row in rows]), name="Thing__c"
        )
        assert self._held() == self._records

    def _rows(self, rows: Rows) -> list[dict[str, str]]:
        external = "Ext_Id__c" in self._change.job
        return [{"Name": name, "Code__c": key} | ({"Ext_Id__c": key} if external else {}) for key, name in rows.items()]


_PARTS = 4
"""Each takes every fourth instant, so that workers share them."""


def _forms() -> Iterator[object]:
    """Give the quick suite one append and one mirror; the others take their time."""
    for number, name in enumerate(CHANGES):
        for part in range(1, _PARTS + 1):
            yield pytest.param((name, part), id=f"{name}-{part}", marks=pytest.mark.slow if number % 2 else ())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", [*_forms()])
def test_a_run_killed_at_any_instant_never_resends_or_forgets_a_row(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, form: tuple[str, int], record_property: Record
) -> None:
    name, part = form
    matrix = Matrix(CHANGES[name], emulator, cradle, tmp_path)
    instants = matrix.cell()
    for kill_at in range(part, instants + 1, _PARTS):
        matrix.cell(kill_at)
    for kill_at in range(3, instants, 8)[part - 1 :: _PARTS]:
        matrix.cell(kill_at, 4, 9)
    record_property("cells", f"{name}, part {part}: {matrix.cells} whole runs killed, none resent or forgot a row")
