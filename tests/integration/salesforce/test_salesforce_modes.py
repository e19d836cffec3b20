"""Every mode on both bulk APIs, into the local Salesforce: undisturbed, and with each request in turn disturbed."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr
from support.runs.cases import CASES, SCHEMA, Case
from support.runs.exports import ListLedger, QuickControl, make_context, make_target
from support.salesforce.emulator_org import csv_of, load

from exporter.emulator.bulk import bulk_jobs
from exporter.emulator.fault_injection import CallFault, RowFault
from exporter.emulator.server import Emulator
from exporter.failures import ExportError, FailureKind
from exporter.ledger import Entry
from exporter.report import ExportReport
from exporter.spool.spool import Spool

Record = Callable[[str, object], None]


class LiveControl(QuickControl):
    """A control that waits, but not for long."""

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
    emulator: Emulator, tmp_path: Path, name: str, bulk_api: str, action: Any, record_property: Record
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
    record_property("cells", f"{name}, Bulk {bulk_api}, {action}: {cells} cells, duplicates {doubled}, lost {lost}")
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


@pytest.mark.parametrize("bulk_api", ["1", "2"])
def test_records_that_are_locked_for_long_hold_up_a_truncate_until_its_next_attempt(
    emulator: Emulator, tmp_path: Path, bulk_api: str
) -> None:
    case, ledger = CASES["truncate"], ListLedger()
    spool = case.prepare(emulator, tmp_path / "run-1")
    emulator.faults.add(RowFault(object="Thing__c", every=1, times=4))
    with pytest.raises(
        ExportError, match="could not be deleted, so nothing was inserted: UNABLE_TO_LOCK_ROW"
    ) as caught:
        export(emulator, case, spool, ledger, bulk_api=bulk_api)
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "NOT_DELETED")
    assert not [record for record in emulator.org.records("Thing__c") if str(record["Name"]).startswith("new")]
    emulator.faults.clear()
    judge(emulator, case, export(emulator, case, spool, ledger, bulk_api=bulk_api), ledger)


def test_records_that_nobody_may_delete_stop_a_truncate_for_a_person(emulator: Emulator, tmp_path: Path) -> None:
    case, ledger = CASES["truncate"], ListLedger()
    spool = case.prepare(emulator, tmp_path / "run-1")
    refusal = ("DELETE_FAILED", "Your attempt to delete it could not be completed: it is associated with others")
    emulator.faults.add(RowFault(object="Thing__c", every=5, times=1, error=refusal))
    with pytest.raises(ExportError, match="1 of 5 Thing__c records could not be deleted") as caught:
        export(emulator, case, spool, ledger)
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert emulator.org.count("Thing__c") == 1
    assert not ledger.rejected


def test_records_that_others_deleted_meanwhile_are_gone_as_well(emulator: Emulator, tmp_path: Path) -> None:
    case, ledger = CASES["truncate"], ListLedger()
    spool = case.prepare(emulator, tmp_path / "run-1")
    gone = ("ENTITY_IS_DELETED", "entity is deleted")
    emulator.faults.add(RowFault(object="Thing__c", every=5, times=1, error=gone))
    assert export(emulator, case, spool, ledger).deleted == 5


@pytest.mark.parametrize(
    ("name", "options", "right", "words"),
    [
        ("truncate, hard", {}, {"hard_delete": False}, "Bulk API Hard Delete"),
        ("truncate, empty", {"allow_empty": False}, {}, "set allow_empty = true"),
    ],
)
def test_a_truncate_that_may_not_be_deletes_nothing(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator, tmp_path: Path, name: str, options: dict[str, Any], right: dict[str, Any], words: str
) -> None:
    emulator.org.rights = replace(emulator.org.rights, **right)
    case = CASES[name]
    spool = case.prepare(emulator, tmp_path / "run-1")
    with pytest.raises(ExportError, match=words):
        export(emulator, case, spool, ListLedger(), **options)
    assert emulator.org.count("Thing__c") == 5


def test_records_that_come_in_after_the_list_was_made_stay(emulator: Emulator, tmp_path: Path) -> None:
    case = CASES["truncate"]
    spool = case.prepare(emulator, tmp_path / "run-1")

    class Meddling(ListLedger):
        def append(self, entry: Entry, *, rejected: Any = ()) -> None:
            super().append(entry, rejected=rejected)
            if entry.step == "records.listed":
                load(emulator.org, "insert", csv_of(["Name", "Ext_Id__c"], ["late", "late"]), name="Thing__c")

    report = export(emulator, case, spool, Meddling())
    assert report.deleted == 5
    assert case.lost_and_doubled(emulator) == (0, 1)


def test_the_ids_that_a_truncate_deleted_stay_beside_the_spool(emulator: Emulator, tmp_path: Path) -> None:
    case = CASES["truncate"]
    spool = case.prepare(emulator, tmp_path / "run-1")
    export(emulator, case, spool, ListLedger())
    spool.discard()
    kept = Spool(tmp_path / "run-1-deleted")
    manifest = kept.manifest()
    assert manifest is not None
    ids = {record["Id"] for record in emulator.org.records("Thing__c", deleted=True)}
    assert {line.strip('"') for line in kept.read(manifest.batches[0]).decode().split()} == ids | {"Id"}


@pytest.mark.parametrize("api_version", ["31.0", "32.0", "40.0", "62.0"])
def test_every_api_version_from_31_on_takes_the_rows(emulator: Emulator, tmp_path: Path, api_version: str) -> None:
    case, ledger = CASES["append"], ListLedger()
    spool = case.prepare(emulator, tmp_path / "run-1")
    judge(emulator, case, export(emulator, case, spool, ledger, api_version=api_version), ledger)
    with emulator.org.store.reading() as db:
        assert [(job.version, job.concurrency) for job in bulk_jobs.jobs_of(db, "1")] == [(api_version, "Parallel")]


@pytest.mark.parametrize(("batch_size", "batches"), [(10_000, 1), (3, 4), (1, 10)])
def test_a_batch_has_at_most_the_rows_of_batch_size(
    emulator: Emulator, tmp_path: Path, batch_size: int, batches: int
) -> None:
    CASES["append"].prepare(emulator, tmp_path / "unused")
    connection = {"client_id": "emulator", "client_secret": SecretStr("secret")}
    target = make_target(emulator.url, connection=connection, object="Thing__c", batch_size=batch_size)
    spool = Spool(tmp_path / "run-1")
    rows = pa.table({"Name": [f"n{number}" for number in range(10)]}).to_reader()
    target.fill(rows, spool, control=LiveControl(), listen=lambda _event: None)
    assert target.export(spool, make_context(ListLedger(), control=LiveControl())).accepted == 10
    with emulator.org.store.reading() as db:
        [job] = bulk_jobs.jobs_of(db, "1")
        assert len(bulk_jobs.batches_of(db, job)) == batches
