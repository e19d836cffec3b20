"""Every mode on both bulk APIs, into the local Salesforce: undisturbed, and with each request in turn disturbed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.cases import CASES, SCHEMA, Case
from support.exports import ListLedger, make_context, make_target

from exporter.emulator.faults import CallFault, RowFault
from exporter.emulator.server import Emulator
from exporter.report import ExportReport
from exporter.spool import Spool


class LiveControl:
    """A control that waits, but not for long."""

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=SCHEMA) as served:
        yield served


def export(emulator: Emulator, case: Case, spool: Spool, ledger: ListLedger, **options: Any) -> ExportReport:
    connection = {"client_id": "emulator", "client_secret": SecretStr("secret"), "initial_retry_delay": 0}
    target = make_target(emulator.url, connection=connection, **({"object": "Thing__c"} | dict(case.options) | options))
    return target.export(spool, make_context(ledger, control=LiveControl()))


def judge(emulator: Emulator, case: Case, report: ExportReport, ledger: ListLedger) -> None:
    assert case.lost_and_doubled(emulator) == (0, 0)
    assert (report.read, report.rejected) == (len(case.rows), len(case.rejected))
    assert report.accepted == len(case.rows) - len(case.rejected)
    assert report.deleted == case.deleted
    assert emulator.org.count("Thing__c", deleted=True) == case.in_bin
    assert sorted(ledger.rejected) == list(case.rejected)


@pytest.mark.parametrize("bulk_api", ["1", "2"])
@pytest.mark.parametrize("name", CASES)
def test_each_row_is_there_once_or_refused_with_its_reason(
    emulator: Emulator, tmp_path: Path, name: str, bulk_api: str
) -> None:
    case, ledger = CASES[name], ListLedger()
    spool = case.prepare(emulator, tmp_path / "run-1")
    judge(emulator, case, export(emulator, case, spool, ledger, bulk_api=bulk_api), ledger)
    again = export(emulator, case, spool, ledger, bulk_api=bulk_api)
    judge(emulator, case, again, ledger)


@pytest.mark.parametrize("action", ["drop_after", "drop_before", "truncate", "answer"])
@pytest.mark.parametrize("bulk_api", ["1", "2"])
@pytest.mark.parametrize("name", CASES)
def test_each_request_in_turn_is_disturbed_and_nothing_is_lost_or_doubled(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator, tmp_path: Path, name: str, bulk_api: str, action: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    case, cells, lost, doubled = CASES[name], 0, 0, 0
    while True:
        ledger = ListLedger()
        spool = case.prepare(emulator, tmp_path / "run-1")
        emulator.faults.add(CallFault(pattern=" /services/", action=action, nth=(cells + 1,)))
        report = export(emulator, case, spool, ledger, bulk_api=bulk_api)
        missing, extra = case.lost_and_doubled(emulator)
        lost, doubled = lost + missing, doubled + extra
        judge(emulator, case, report, ledger)
        if not any(each["seen"] > cells for each in emulator.faults.listed()):
            break
        cells += 1
    with capsys.disabled():
        print(f"\n{name}, Bulk {bulk_api}, {action}: {cells} cells, duplicates {doubled}, lost {lost}")  # noqa: T201 - asked for
    assert cells > 4
    assert (lost, doubled) == (0, 0)


@pytest.mark.parametrize("bulk_api", ["1", "2"])
@pytest.mark.parametrize(("times", "rejected"), [(1, []), (3, []), (9, [2])])
def test_locked_rows_alone_are_sent_again_and_then_reported(
    emulator: Emulator, tmp_path: Path, bulk_api: str, times: int, rejected: list[int]
) -> None:
    case, ledger = CASES["append"], ListLedger()
    spool = case.prepare(emulator, tmp_path / "run-1")
    emulator.faults.add(RowFault(object="Thing__c", column="Ext_Id__c", values=("e2",), times=times))
    report = export(emulator, case, spool, ledger, bulk_api=bulk_api)
    assert sorted(ledger.rejected) == sorted([3, *rejected])
    assert report.accepted == 4 - len(rejected)
    assert case.lost_and_doubled(emulator) == (len(rejected), 0)
