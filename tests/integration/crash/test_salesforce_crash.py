"""The crash matrix: an export is killed before and after each entry of its ledger, that is around every effect.

The cells are not listed by hand: a scenario is run once, and each entry that it wrote makes two of them. That every
effect and fact of the code occurs in some scenario is a test of its own, so that a new one cannot be forgotten.
"""

import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.runs.cases import CASES, Case
from support.runs.cases import SCHEMA as CASES_SCHEMA
from support.runs.crash import FileLedger, Nursery, nursery
from support.runs.exports import make_context, make_spool, make_target
from support.salesforce.small_org import Fault, SmallOrg, small_org

from exporter.emulator.fault_injection import RowFault
from exporter.emulator.server import Emulator
from exporter.report import RejectedRow
from exporter.spool.spool import Spool
from exporter.targets.salesforce.delivery.journal import Effect, Fact

Record = Callable[[str, object], None]

UPSERT = {"mode": "update", "upsert": True, "key": "Ext_Id__c"}
WHEN = ("before", "after")
LOCKED = "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--"


@dataclass(kw_only=True)
class Scenario:
    """An export of six rows in batches of two, in which row 4 is refused and row 2 is locked once."""

    options: dict[str, Any] = field(default_factory=dict)
    drop: bool = False
    ended_by_others: bool = False
    doubles: int = 0
    unwritable: int = 0
    stop_after: int = 0

    @property
    def rows(self) -> list[tuple[str, str]]:
        rows = [(f"name {number}", f"e{number}") for number in range(1, 7)]
        return rows + [("double", "d")] * self.doubles

    def prepare(self, org: SmallOrg) -> None:
        """Make a fresh org of it."""
        org.jobs.clear()
        org.records.clear()
        org.faults.clear()
        locked: set[str] = set()

        def refuse(row: dict[str, str]) -> str | None:
            if row["LastName"] == "name 4":
                return "REQUIRED_FIELD_MISSING:Required fields are missing: [X]:X --"
            if row["LastName"] == "name 2" and not locked:
                locked.add("name 2")
                return LOCKED
            return None

        def end_once(_call: str) -> None:
            jobs = [job for job in org.jobs.values() if job.batches]
            if self.ended_by_others and len(jobs) == 1 and len(jobs[0].batches) == 2:
                org.end(jobs[0], "Closed") if jobs[0].state == "Open" else None

        org.refuse, org.on_call = refuse, end_once
        if self.drop:
            org.faults.append(Fault(pattern=r"POST .*/batch$", how="drop", at=frozenset({2})))

    def spool(self, directory: Path) -> Spool:
        unwritable = [
            RejectedRow(number=len(self.rows) + 1 + number, values={}, code="NUL_CHARACTER", message="no NUL")
            for number in range(self.unwritable)
        ]
        return make_spool(directory, self.rows, rejected=unwritable)

    def rejected(self) -> list[int]:
        first_double = 7
        return [4, *range(first_double, first_double + self.doubles + self.unwritable)]


SCENARIOS = {
    "insert": Scenario(unwritable=2),
    "insert, a request lost": Scenario(drop=True),
    "insert, ended by others": Scenario(ended_by_others=True),
    "upsert": Scenario(options=UPSERT, doubles=2),
    "upsert, a request lost": Scenario(options=UPSERT, drop=True),
    "abort": Scenario(stop_after=2),
}


@pytest.fixture
def org() -> Iterator[SmallOrg]:
    with small_org() as served:
        yield served


@pytest.fixture(scope="module")
def cradle() -> Iterator[Nursery]:
    with nursery() as started:
        yield started


class Matrix:
    """The cells of one scenario."""

    def __init__(self, scenario: Scenario, org: SmallOrg, cradle: Nursery, directory: Path) -> None:
        self.scenario = scenario
        self._org = org
        self._cradle = cradle
        self._directory = directory
        self._spool = scenario.spool(directory / "spool")
        self._runs = 0
        self.cells = 0
        self.lost = 0
        self.doubled = 0

    def dry_run(self) -> list[str]:
        """Run undisturbed and return the steps of the entries written."""
        path = self._fresh()
        assert self._run(path) == 0
        self._judge(path)
        return [entry.step for entry in FileLedger(path).entries()]

    def cell(self, *kills: tuple[int, str]) -> None:
        """Kill one attempt after the other where ``kills`` say, then let one end, and judge."""
        path = self._fresh()
        for kill_at, kill in kills:
            status = self._run(path, kill_at=kill_at, kill=kill)
            if status == 0:  # a later attempt has less to write, and may end before it is killed
                break
            assert status == -signal.SIGKILL
        assert self._run(path) == 0
        self.cells += 1
        self._judge(path)

    def _fresh(self) -> Path:
        self._runs += 1
        self.scenario.prepare(self._org)
        return self._directory / f"ledger-{self._runs}"

    def _run(self, path: Path, **kill: Any) -> int:
        return self._cradle.run(
            {
                "url": self._org.url,
                "spool": str(self._spool.directory),
                "ledger": str(path),
                "options": self.scenario.options,
                "stop_after": self.scenario.stop_after,
                **kill,
            }
        )

    def _judge(self, path: Path) -> None:
        """Compare what is in the org, and what the ledger says of it, with what has to be."""
        names = self._org.values("LastName")
        self.doubled += len(names) - len(set(names))
        if self.scenario.stop_after:
            assert all(job.state != "Open" for job in self._org.jobs.values() if job.batches)
            return
        expected = {name for number, (name, _) in enumerate(self.scenario.rows, 1)} - {"name 4", "double"}
        self.lost += len(expected - set(names))
        assert set(names) <= expected
        ledger = FileLedger(path)
        assert sorted(ledger.rejected()) == self.scenario.rejected()
        report = make_target(self._org.url, **self.scenario.options).export(self._spool, make_context(ledger))
        assert (report.accepted, report.rejected) == (len(expected), len(self.scenario.rejected()))


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_export_killed_around_any_effect_ends_with_each_row_once(
    name: str, org: SmallOrg, cradle: Nursery, tmp_path: Path, record_property: Record
) -> None:
    matrix = Matrix(SCENARIOS[name], org, cradle, tmp_path)
    steps = matrix.dry_run()
    for kill_at in range(1, len(steps) + 1):
        matrix.cell((kill_at, "before"))
        matrix.cell((kill_at, "after"))
    assert matrix.cells == 2 * len(steps)
    record_property("cells", f"{name}: {matrix.cells} cells, duplicates {matrix.doubled}, lost {matrix.lost}")
    assert (matrix.doubled, matrix.lost) == (0, 0)


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_export_killed_again_and_again_ends_with_each_row_once(
    name: str, org: SmallOrg, cradle: Nursery, tmp_path: Path
) -> None:
    matrix = Matrix(SCENARIOS[name], org, cradle, tmp_path)
    dice = random.Random(name)
    for _ in range(12):
        matrix.cell(*((dice.randint(1, 6), dice.choice(["before", "after"])) for _ in range(4)))
    assert (matrix.doubled, matrix.lost) == (0, 0)


def test_every_effect_and_fact_of_the_code_occurs_in_some_scenario(
    org: SmallOrg, cradle: Nursery, tmp_path: Path
) -> None:
    seen: set[str] = set()
    for number, scenario in enumerate(SCENARIOS.values()):
        (tmp_path / str(number)).mkdir()
        seen |= set(Matrix(scenario, org, cradle, tmp_path / str(number)).dry_run())
    with Emulator(schema=CASES_SCHEMA) as emulator:
        for case in CASES.values():
            seen |= set(run_case(case, emulator, cradle, tmp_path / "run-1"))
    assert seen == {*Effect, *Fact}


def run_case(case: Case, emulator: Emulator, cradle: Nursery, directory: Path) -> list[str]:
    """Run a case of the other matrix, where deletions are refused for a while, and return the steps written."""
    spool, path = case.prepare(emulator, directory), directory.with_name("ledger-of-case")
    path.unlink(missing_ok=True)
    if case.deleted:
        emulator.faults.add(RowFault(object="Thing__c", every=1, times=4))
    options = {"object": "Thing__c", "bulk_api": "2", **case.options}
    cell = {"url": emulator.url, "spool": str(spool.directory), "ledger": str(path), "options": options}
    while cradle.run(cell):
        emulator.faults.clear()
    return [entry.step for entry in FileLedger(path).entries()]


@pytest.mark.parametrize("mode", ["insert", "upsert"])
def test_an_export_killed_around_any_effect_leaves_each_record_once_in_the_emulator(
    mode: str, cradle: Nursery, tmp_path: Path, record_property: Record
) -> None:
    options = UPSERT if mode == "upsert" else {}
    kills: list[dict[str, Any]] = [{}]
    cells, lost, doubled = 0, 0, 0
    with Emulator() as emulator:
        while cells < len(kills):
            names = [f"cell{cells}-{number}" for number in range(1, 6)]
            rows = [(name if number != 3 else name + "x" * 80, name) for number, name in enumerate(names)]
            spool, path = make_spool(tmp_path / f"s{cells}", rows), tmp_path / f"ledger{cells}"
            cell = {"url": emulator.url, "spool": str(spool.directory), "ledger": str(path), "options": options}
            if cells:
                assert cradle.run(cell | kills[cells]) == -signal.SIGKILL
            assert cradle.run(cell) == 0
            ledger = FileLedger(path)
            if not cells:
                kills += [{"kill_at": at, "kill": kill} for at in range(1, len(ledger.entries()) + 1) for kill in WHEN]
            found = [each["LastName"] for each in emulator.org.records("Contact") if each["Ext_Id__c"] in names]
            lost += len({*names} - {names[3]} - {*found})
            doubled += len(found) - len({*found})
            assert ledger.rejected() == [4]
            cells += 1
    record_property("cells", f"{mode}, emulator: {cells} cells, duplicates {doubled}, lost {lost}")
    assert (doubled, lost) == (0, 0)
