"""The crash matrix of spools: a run is killed around each of its effects, and then its spool is not what it was.

Whatever became of the spool, nothing of the query is asked again once something was sent: the second result has other
rows, and none of them may be in the org beside one of the first. Counts are what is in the org.
"""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.runs.cases import names
from support.runs.crash import Nursery
from support.runs.whole_runs import Workplace
from support.salesforce.emulator_org import csv_of, load

from exporter.emulator.server import Emulator
from scheduler.runs.spool_identity import has_acted
from storage.runs.runs import StoredRun

Record = Callable[[str, object], None]
Tamper = Callable[[Path, Path], None]
EXPORT = '[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\nbatch_size = 2\n'
JOBS = {
    "append": EXPORT,
    "append, Bulk 2": EXPORT + 'bulk_api = "2"\n',
    "upsert": EXPORT + 'mode = "update"\nkey = "Ext_Id__c"\nupsert = true\n',
    "truncate": EXPORT + 'mode = "truncate"\n',
}
FIRST = [{"Name": f"first {n}", "Ext_Id__c": f"f{n}"} for n in range(5)]
SECOND = [{"Name": f"second {n}", "Ext_Id__c": f"s{n}"} for n in range(6)]


def removed(spool: Path, _other: Path) -> None:
    """Empty the directory, as a tmpfs is after a reboot."""
    shutil.rmtree(spool)


def replaced(spool: Path, other: Path) -> None:
    """Put another spool in its place, under its name."""
    [theirs] = [path for path in other.glob("run-*") if path.name.count("-") == 2]
    for path in spool.glob("run-*"):
        if path.name.count("-") == 2:
            shutil.rmtree(path)
            shutil.copytree(theirs, path)


def damaged(spool: Path, _other: Path) -> None:
    """Change one bit of each file."""
    for file in spool.rglob("*"):
        if file.is_file() and file.suffix in {".csv", ".json"}:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)


def elsewhere(spool: Path, _other: Path) -> None:
    """Have the run go on where nobody ever had the spool."""
    spool.rename(spool.with_name("of another host"))


TAMPERS = {"removed": removed, "replaced": replaced, "damaged": damaged, "on another host": elsewhere}


class Matrix:
    """The cells of one job and one way in which a spool goes."""

    def __init__(self, job: str, emulator: Emulator, cradle: Nursery, directory: Path) -> None:
        self._job = job
        self._emulator = emulator
        self._cradle = cradle
        self._directory = directory / "work"
        self._kept, self._other = directory / "kept", directory / "other"
        self.gone = 0
        self.cells = 0
        work = Workplace(self._directory, url=emulator.url, job=JOBS[job])
        work.put(FIRST)
        self._number = work.ask()
        shutil.copytree(self._directory, self._kept)
        # The run of another state database has the same number and job, and was killed when all was spooled.
        stranger = Workplace(self._other, url=emulator.url, job=JOBS[job])
        stranger.put(SECOND)
        assert stranger.ask() == self._number
        instant = 1
        while not list(stranger.config.storage.spool.glob("run-*/manifest.json")):
            instant += 1
            self._attempt(self._other, instant)
        self._empty()

    def cell(self, kill_at: int, tamper: Tamper) -> bool:
        """Kill an attempt, tamper with the spool, let the run end, and judge; whether it was killed at all."""
        self._empty()
        shutil.rmtree(self._directory)
        shutil.copytree(self._kept, self._directory)
        if not self._attempt(self._directory, kill_at):
            return False
        self.cells += 1
        work = Workplace(self._directory)
        if work.is_finished(self._number):
            return True
        acted = has_acted(work.entries(self._number))
        with suppress(FileNotFoundError):
            tamper(work.config.storage.spool, self._other / "spool")
        work.put(SECOND)
        self._judge(work.finish(self._number), acted=acted)
        return True

    def instants(self) -> int:
        self._empty()
        self._attempt(self._directory, None)
        return int(json.loads((self._directory / "instants").read_text(encoding="utf-8")))

    def _judge(self, run: StoredRun, *, acted: bool) -> None:
        first, second = ([str(row["Name"]) for row in rows] for rows in (FIRST, SECOND))
        found = names(self._emulator)
        old = {"old"} & {*found} if self._job == "truncate" else set()
        written = [name for name in found if name not in old]
        if not acted:  # nothing was done, so the query may be asked again
            assert (run.outcome, written) == ("succeeded", sorted(second))
            return
        assert {*written} <= {*first}
        assert len(written) == len({*written})
        assert run.rows_accepted == len(written)
        assert run.rows_read == len(first)
        if run.outcome == "succeeded":  # all of it was there already
            assert written == sorted(first)
            return
        self.gone += 1
        assert (run.outcome, run.failure_kind, run.failure_code) == ("failed", "internal", "SPOOL_GONE")
        assert f"{run.rows_accepted:,} rows accepted" in str(run.failure_message)

    def _attempt(self, directory: Path, kill_at: int | None) -> bool:
        status = self._cradle.run({"directory": str(directory), "run": self._number, "kill_at": kill_at})
        assert status in (0, -signal.SIGKILL)
        return status != 0

    def _empty(self) -> None:
        """Leave in the org what was there before the run."""
        with self._emulator.org.store.writing() as db:
            db.execute('DELETE FROM "Thing__c"')
        if self._job == "truncate":
            load(self._emulator.org, "insert", csv_of(["Name"], ["old"], ["old"], ["old"]), name="Thing__c")


def _forms() -> Iterator[object]:
    """Give the quick suite each job and each way once; the other pairs take their time."""
    for row, job in enumerate(JOBS):
        for column, way in enumerate(TAMPERS):
            yield pytest.param(job, way, marks=pytest.mark.slow if row != column else ())


@pytest.mark.parametrize(("job", "way"), [*_forms()])
def test_a_run_whose_spool_is_not_its_own_any_more_never_asks_again_for_what_it_sent(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator, cradle: Nursery, tmp_path: Path, job: str, way: str, record_property: Record
) -> None:
    matrix = Matrix(job, emulator, cradle, tmp_path)
    for kill_at in range(1, matrix.instants() + 1):
        matrix.cell(kill_at, TAMPERS[way])
    record_property("cells", f"{job}, {way}: {matrix.cells} runs killed, {matrix.gone} ended as SPOOL_GONE")
    assert matrix.gone > 3
