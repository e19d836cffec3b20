"""What only Bulk API 2.0 has: a BulkJob for each batch, results without order, jobs that fail or are stopped."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.runs.cases import SCHEMA
from support.runs.exports import ListLedger, QuickControl, make_context, make_spool, make_target

from exporter.emulator.bulk import bulk_jobs as jobs
from exporter.emulator.fault_injection import CallFault, RowFault
from exporter.emulator.server import Emulator
from exporter.events import BatchSettled, Event, Warned
from exporter.failures import ExportError, FailureKind
from exporter.ledger import Entry, Mark
from exporter.report import ExportReport
from exporter.spool.spool import Spool
from exporter.targets.salesforce.target import SalesforceTarget

NAMES = ("Name", "Ext_Id__c")


class LiveControl(QuickControl):
    """A control that waits, but not for long."""

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


class StopError(Exception):
    """The run's owner says: no further."""


class StoppingLedger(ListLedger):
    """A ledger whose owner stops the export once ``times`` batches were sent."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def append(self, entry: Entry, *, rejected: Any = ()) -> None:
        super().append(entry, rejected=rejected)
        if (entry.step, entry.mark) == ("batch.send", Mark.DONE):
            self.times -= 1
            if not self.times:
                raise StopError


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=SCHEMA) as served:
        yield served


def target(emulator: Emulator, **options: Any) -> SalesforceTarget:
    connection = {"client_id": "emulator", "client_secret": SecretStr("secret"), "initial_retry_delay": 0}
    return make_target(emulator.url, connection=connection, object="Thing__c", bulk_api="2", **options)


def context(ledger: ListLedger, events: list[Event] | None = None) -> Any:
    return make_context(ledger, control=LiveControl(), events=events)


def export(emulator: Emulator, spool: Spool, ledger: ListLedger, events: list[Event] | None = None) -> ExportReport:
    return target(emulator).export(spool, context(ledger, events))


def people(count: int) -> list[tuple[str, str]]:
    return [(f"name {number}", f"e{number}") for number in range(1, count + 1)]


def bulk_jobs(emulator: Emulator) -> list[tuple[str, str]]:
    with emulator.org.store.reading() as db:
        return [(job.operation, job.state) for job in jobs.jobs_of(db, "2")]


def test_each_batch_has_a_bulk_job_of_its_own_that_is_complete_in_the_end(emulator: Emulator, tmp_path: Path) -> None:
    report = export(emulator, make_spool(tmp_path / "s", people(5), names=NAMES), ListLedger())
    assert report.accepted == 5
    assert bulk_jobs(emulator) == [("insert", "JobComplete")] * 3


def test_refused_rows_are_found_by_what_they_hold_even_among_rows_that_are_alike(
    emulator: Emulator, tmp_path: Path
) -> None:
    long = "x" * 81
    rows = [("same", ""), (long, ""), ("same", ""), ('näme, "q"\r\n😀', ""), (long, ""), (long + "y", "")]
    ledger = ListLedger()
    report = export(emulator, make_spool(tmp_path / "s", rows, names=NAMES, batch_size=6), ledger)
    assert (report.accepted, report.rejected) == (3, 3)
    assert {number: row.values["Name"] for number, row in ledger.rejected.items()} == {2: long, 5: long, 6: long + "y"}
    assert {row.code for row in ledger.rejected.values()} == {"STRING_TOO_LONG"}


def test_a_bulk_job_that_fails_as_a_whole_says_why(emulator: Emulator, tmp_path: Path) -> None:
    emulator.faults.add(
        RowFault(object="Thing__c", every=1, times=9, batch_message="InvalidBatch : Field name not found : Nix__c")
    )
    with pytest.raises(ExportError, match="Field name not found : Nix__c") as caught:
        export(emulator, make_spool(tmp_path / "s", people(2), names=NAMES), ListLedger())
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert emulator.org.count("Thing__c") == 0


def test_a_bulk_job_that_fails_for_a_while_is_sent_again(emulator: Emulator, tmp_path: Path) -> None:
    emulator.faults.add(
        RowFault(
            object="Thing__c", every=1, times=1, batch_message="TooManyLockFailure : Too many lock failure 0. Retry"
        )
    )
    report = export(emulator, make_spool(tmp_path / "s", people(4), names=NAMES), ListLedger())
    assert report.accepted == emulator.org.count("Thing__c") == 4


def test_an_abort_stops_what_goes_on_and_counts_what_is_in(emulator: Emulator, tmp_path: Path) -> None:
    spool, ledger = make_spool(tmp_path / "s", people(6), names=NAMES), StoppingLedger(times=2)
    with pytest.raises(StopError):
        export(emulator, spool, ledger)
    events: list[Event] = []
    target(emulator).abort(spool, context(ListLedger(ledger.kept), events))
    told = sum(event.accepted for event in events if isinstance(event, BatchSettled))
    assert told == emulator.org.count("Thing__c")
    assert all(state in {"JobComplete", "Aborted"} for _, state in bulk_jobs(emulator))


def test_an_abort_before_anything_was_handed_over_leaves_no_open_bulk_job(emulator: Emulator, tmp_path: Path) -> None:
    spool, ledger = make_spool(tmp_path / "s", people(2), names=NAMES), ListLedger()
    body = '[{"errorCode": "REQUEST_ENTITY_TOO_LARGE", "message": "no"}]'
    emulator.faults.add(CallFault(pattern="PUT .*/batches", action="answer", status=413, body=body))
    with pytest.raises(ExportError):
        export(emulator, spool, ledger)
    target(emulator).abort(spool, context(ledger))
    assert {state for _, state in bulk_jobs(emulator)} == {"Aborted"}
    assert emulator.org.count("Thing__c") == 0


def test_bulk_jobs_that_others_abort_are_told_and_their_rows_go_to_new_ones(emulator: Emulator, tmp_path: Path) -> None:
    spool, events = make_spool(tmp_path / "s", people(4), names=NAMES), []
    seen: list[int] = []

    class Meddling(ListLedger):
        def append(self, entry: Entry, *, rejected: Any = ()) -> None:
            super().append(entry, rejected=rejected)
            if (entry.step, entry.mark) == ("batch.upload", Mark.DONE) and not seen:
                seen.append(1)
                with emulator.org.store.writing() as db:
                    job = jobs.find_job(db, str(entry.data["bulk_job"]), "2")
                    jobs.set_job_state(db, emulator.org.now(), job, "Aborted")

    report = export(emulator, spool, Meddling(), events)
    assert report.accepted == emulator.org.count("Thing__c") == 4
    assert [event.code for event in events if isinstance(event, Warned)] == ["BULK_JOB_STOPPED"]


def test_results_of_which_some_are_missing_are_no_results(emulator: Emulator, tmp_path: Path) -> None:
    body = '"sf__Id","sf__Created","Name","Ext_Id__c"\n"003","true","name 1","e1"\n'
    emulator.faults.add(
        CallFault(pattern="GET .*/successfulResults", action="answer", status=200, body=body, kind="text/csv")
    )
    with pytest.raises(ExportError, match="do not fit the 2 rows") as caught:
        export(emulator, make_spool(tmp_path / "s", people(2), names=NAMES), ListLedger())
    assert (caught.value.kind, caught.value.code) == (FailureKind.INTERNAL, "ROWS_UNACCOUNTED")
    assert emulator.org.count("Thing__c") == 2


def test_a_quota_that_is_used_up_on_the_way_leaves_the_rest_for_a_later_attempt(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.org.rights = replace(emulator.org.rights, batches_a_day=1)
    spool, ledger = make_spool(tmp_path / "s", people(6), names=NAMES), ListLedger()
    with pytest.raises(ExportError) as caught:
        export(emulator, spool, ledger)
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "EXCEEDEDQUOTA")
    emulator.org.rights = replace(emulator.org.rights, batches_a_day=15_000)
    assert export(emulator, spool, ledger).accepted == emulator.org.count("Thing__c") == 6


@pytest.mark.parametrize(
    ("options", "code"), [({"object": "Nothing__c"}, "UNKNOWN_OBJECT"), ({"key": "Name"}, "UNFIT_COLUMNS")]
)
def test_what_only_a_person_can_mend_is_told_before_a_bulk_job_is_opened(
    emulator: Emulator, tmp_path: Path, options: dict[str, Any], code: str
) -> None:
    spool = make_spool(tmp_path / "s", people(2), names=NAMES)
    wanted = {"mode": "update", "upsert": True, "key": "Ext_Id__c", "object": "Thing__c"} | options
    connection = {"client_id": "emulator", "client_secret": SecretStr("secret"), "initial_retry_delay": 0}
    with pytest.raises(ExportError) as caught:
        make_target(emulator.url, connection=connection, bulk_api="2", **wanted).export(spool, context(ListLedger()))
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, code)
    assert not bulk_jobs(emulator)
