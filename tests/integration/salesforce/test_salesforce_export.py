from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.runs.exports import ListLedger, QuickControl, make_context, make_spool, make_target, people
from support.salesforce.small_org import SmallOrg, small_org

from exporter.events import BatchSent, BatchSettled, Event, Retrying, Warned
from exporter.failures import ExportError, FailureKind
from exporter.ledger import Entry, Mark
from exporter.report import Refusal, RejectedRow
from exporter.spool.spool import Spool
from exporter.targets.salesforce.delivery import delivery


@pytest.fixture
def org() -> Iterator[SmallOrg]:
    with small_org() as served:
        yield served


def test_an_append_inserts_every_row_once_and_closes_the_bulk_job(org: SmallOrg, tmp_path: Path) -> None:
    ledger, events = ListLedger(), list[Event]()
    report = make_target(org.url).export(make_spool(tmp_path / "s", people(5)), make_context(ledger, events=events))
    assert (report.read, report.accepted, report.rejected) == (5, 5, 0)
    assert sorted(org.values("LastName")) == sorted(name for name, _ in people(5))
    [job] = org.jobs.values()
    assert (job.operation, job.key, job.mode, job.state) == ("insert", None, "Parallel", "Closed")
    assert [len(batch.results) for batch in job.batches] == [2, 2, 1]
    assert [event for event in events if isinstance(event, BatchSent)] == [
        BatchSent(batch=1, rows=2),
        BatchSent(batch=2, rows=2),
        BatchSent(batch=3, rows=1),
    ]
    assert org.logins == 1


def test_refused_rows_are_kept_with_number_values_code_and_message(org: SmallOrg, tmp_path: Path) -> None:
    org.refuse = lambda row: (
        "INVALID_EMAIL_ADDRESS:Email: invalid email address: a@b@c:Email --"
        if row["LastName"] in "name 2, name 5"
        else None
    )
    ledger, events = ListLedger(), list[Event]()
    report = make_target(org.url).export(make_spool(tmp_path / "s", people(5)), make_context(ledger, events=events))
    assert (report.read, report.accepted, report.rejected) == (5, 3, 2)
    assert report.refusals == (
        Refusal(code="INVALID_EMAIL_ADDRESS", message="Email: invalid email address: …", count=2, fields=("Email",)),
    )
    assert ledger.rejected[5] == RejectedRow(
        number=5,
        values={"LastName": "name 5", "Ext_Id__c": "e5"},
        code="INVALID_EMAIL_ADDRESS",
        message="Email: invalid email address: a@b@c",
    )
    assert sorted(ledger.rejected) == [2, 5]
    assert BatchSettled(batch=3, accepted=0, rejected=1) in events
    assert "a@b@c" not in repr(ledger.kept)


def test_rows_refused_for_one_reason_are_a_sole_refusal_though_their_messages_differ(
    org: SmallOrg, tmp_path: Path
) -> None:
    words = "DUPLICATE_VALUE:duplicate value found: Ext_Id__c duplicates value on record with id"
    org.refuse = lambda row: f"{words}: 0035g00000{row['Ext_Id__c']:0>5}:--"
    report = make_target(org.url).export(make_spool(tmp_path / "s", people(5)), make_context(ListLedger()))
    assert report.rejected == 5
    assert report.sole_refusal is not None
    assert report.sole_refusal.count == 5


def test_an_upsert_goes_by_the_external_id_in_the_asked_mode(org: SmallOrg, tmp_path: Path) -> None:
    org.records.append({"Id": "003000000000099AAA", "LastName": "old", "Ext_Id__c": "e1"})
    target = make_target(org.url, mode="update", upsert=True, key="ext_id__C", concurrency_mode="serial")
    report = target.export(make_spool(tmp_path / "s", people(3)), make_context(ListLedger()))
    assert report.accepted == 3
    assert sorted(org.values("LastName")) == ["name 1", "name 2", "name 3"]
    [job] = org.jobs.values()
    assert (job.operation, job.key, job.mode) == ("upsert", "ext_id__C", "Serial")


def test_an_update_by_id_changes_and_adds_nothing(org: SmallOrg, tmp_path: Path) -> None:
    ids = ["003000000000001AAA", "003000000000002AAA"]
    org.records += [{"Id": number, "LastName": "old"} for number in ids]
    spool = make_spool(tmp_path / "s", [(ids[0], "new"), ("003000000000009AAA", "nobody")], names=("Id", "LastName"))
    report = make_target(org.url, mode="update", key="Id").export(spool, make_context(ListLedger()))
    assert (report.accepted, report.rejected) == (1, 1)
    assert report.refusals[0].code == "INVALID_CROSS_REFERENCE_KEY"
    assert org.values("LastName") == ["new", "old"]


def test_rows_without_key_and_rows_that_share_one_are_refused_before_anything_is_sent(
    org: SmallOrg, tmp_path: Path
) -> None:
    rows = [("a", "K1"), ("b", "k2"), ("c", ""), ("d", "k1"), ("e", "#N/A"), ("f", "k3"), ("g", "x"), ("h", "X")]
    ledger, events = ListLedger(), list[Event]()
    target = make_target(org.url, mode="update", upsert=True, key="Ext_Id__c")
    report = target.export(make_spool(tmp_path / "s", rows), make_context(ledger, events=events))
    assert (report.read, report.accepted, report.rejected) == (8, 2, 6)
    assert sorted(org.values("LastName")) == ["b", "f"]
    assert {number: row.code for number, row in ledger.rejected.items()} == {
        1: "DUPLICATE_VALUE",
        3: "MISSING_ARGUMENT",
        4: "DUPLICATE_VALUE",
        5: "MISSING_ARGUMENT",
        7: "DUPLICATE_VALUE",
        8: "DUPLICATE_VALUE",
    }
    assert [event for event in events if isinstance(event, BatchSent)] == [
        BatchSent(batch=1, rows=1),
        BatchSent(batch=3, rows=1),
    ]
    settled = [event for event in events if isinstance(event, BatchSettled)]
    assert sum(event.rejected for event in settled) == 6


def test_a_case_sensitive_key_keeps_rows_apart_that_differ_in_case(org: SmallOrg, tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "s", [("a", "x"), ("b", "X")], names=("LastName", "Case_Id__c"))
    target = make_target(org.url, mode="update", upsert=True, key="Case_Id__c")
    assert target.export(spool, make_context(ListLedger())).accepted == 2


def test_rows_that_could_not_be_written_are_recorded_as_rejected(org: SmallOrg, tmp_path: Path) -> None:
    refused = [
        RejectedRow(number=number, values={"LastName": "\0"}, code="NUL_CHARACTER", message="no NUL")
        for number in range(4, 1500)
    ]
    ledger = ListLedger()
    report = make_target(org.url).export(make_spool(tmp_path / "s", people(3), rejected=refused), make_context(ledger))
    assert (report.read, report.accepted, report.rejected) == (1499, 3, 1496)
    assert sorted(ledger.rejected) == list(range(4, 1500))
    assert ledger.steps().count("spool.rejected") == 2


def test_an_empty_result_passes_the_preflight_and_opens_no_bulk_job(org: SmallOrg, tmp_path: Path) -> None:
    report = make_target(org.url).export(make_spool(tmp_path / "s", []), make_context(ListLedger()))
    assert report.adds_up
    assert org.count("describe") == 1
    assert org.jobs == {}


def test_a_finished_export_needs_no_call_to_say_so_again(org: SmallOrg, tmp_path: Path) -> None:
    ledger, events = ListLedger(), list[Event]()
    spool = make_spool(tmp_path / "s", people(3))
    first = make_target(org.url).export(spool, make_context(ledger))
    calls = len(org.calls)
    assert make_target(org.url).export(spool, make_context(ledger, events=events)) == first
    assert len(org.calls) == calls
    assert events == [
        BatchSent(batch=1, rows=2),
        BatchSettled(batch=1, accepted=2, rejected=0),
        BatchSent(batch=2, rows=1),
        BatchSettled(batch=2, accepted=1, rejected=0),
    ]


def test_locked_rows_alone_are_sent_again_and_then_reported(org: SmallOrg, tmp_path: Path) -> None:
    tries: dict[str, int] = {}

    def lock(row: dict[str, str]) -> str | None:
        name = row["LastName"]
        tries[name] = tries.get(name, 0) + 1
        locked = (name == "name 2" and tries[name] < 3) or name == "name 5"
        return "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--" if locked else None

    org.refuse = lock
    ledger = ListLedger()
    report = make_target(org.url).export(make_spool(tmp_path / "s", people(5)), make_context(ledger))
    assert (report.accepted, report.rejected) == (4, 1)
    assert tries == {"name 1": 1, "name 2": 3, "name 3": 1, "name 4": 1, "name 5": 1 + delivery.LOCK_ROUNDS}
    assert [row.code for row in ledger.rejected.values()] == ["UNABLE_TO_LOCK_ROW"]
    assert list(ledger.rejected) == [5]


def test_the_number_of_batches_that_wait_is_bounded(
    org: SmallOrg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MAX_IN_FLIGHT", 3)
    org.polls = 2
    most = 0

    def look(_call: str) -> None:
        nonlocal most
        waiting = [batch for job in org.jobs.values() for batch in job.batches if batch.state == "Queued"]
        most = max(most, len(waiting))

    org.on_call = look
    report = make_target(org.url).export(make_spool(tmp_path / "s", people(20)), make_context(ListLedger()))
    assert report.accepted == 20
    assert most == 3


def test_polls_begin_fast_and_grow_slow(org: SmallOrg, tmp_path: Path) -> None:
    org.polls = 12
    control = QuickControl()
    make_target(org.url).export(make_spool(tmp_path / "s", people(1)), make_context(ListLedger(), control=control))
    assert control.waits[0] == pytest.approx(0.1)
    assert control.waits == sorted(control.waits)
    assert control.waits[-1] == pytest.approx(30)


@pytest.mark.parametrize("state", ["Closed", "Aborted"])
def test_a_bulk_job_that_others_end_is_replaced_and_that_is_said(org: SmallOrg, tmp_path: Path, state: str) -> None:
    def end_once(_call: str) -> None:
        jobs = list(org.jobs.values())
        if len(jobs) == 1 and len(jobs[0].batches) == 2 and jobs[0].state == "Open":
            org.end(jobs[0], state)

    org.polls, org.on_call = 1, end_once
    ledger, events = ListLedger(), list[Event]()
    report = make_target(org.url).export(make_spool(tmp_path / "s", people(6)), make_context(ledger, events=events))
    assert report.accepted == 6
    assert len(org.jobs) == 2
    assert sorted(org.values("LastName")) == [name for name, _ in people(6)]
    [warning] = [event for event in events if isinstance(event, Warned)]
    assert f"is {state}: it was closed or aborted externally" in warning.message


def test_bulk_jobs_that_others_end_again_and_again_stop_the_export(org: SmallOrg, tmp_path: Path) -> None:
    def end_all(_call: str) -> None:
        for job in org.jobs.values():
            if job.batches:
                org.end(job, "Aborted")

    org.polls, org.on_call = 1, end_all
    with pytest.raises(ExportError, match="BULK_JOB_STOPPED") as caught:
        make_target(org.url).export(make_spool(tmp_path / "s", people(6)), make_context(ListLedger()))
    assert caught.value.kind is FailureKind.TRANSIENT
    assert org.records == []


def test_a_bulk_job_older_than_a_day_gets_no_more_batches(org: SmallOrg, tmp_path: Path) -> None:
    spool, ledger = make_spool(tmp_path / "s", people(6)), _StoppingLedger(after="batch.send")
    with pytest.raises(_StoppedError):
        make_target(org.url).export(spool, make_context(ledger))
    [old] = org.jobs.values()
    old.created_at -= 23.5 * 3600
    report = make_target(org.url).export(spool, make_context(ListLedger(ledger.kept)))
    assert report.accepted == 6
    assert len(org.records) == 6
    assert [len(job.batches) for job in org.jobs.values()] == [1, 2]
    assert {job.state for job in org.jobs.values()} == {"Closed"}


def test_a_batch_that_fails_for_a_column_is_configuration_and_stops_the_rest(org: SmallOrg, tmp_path: Path) -> None:
    def fail(_call: str) -> None:
        for job in org.jobs.values():
            for batch in job.batches:
                batch.state, batch.message = "Failed", "InvalidBatch : Field name not found : LastName"

    org.polls, org.on_call = 1, fail
    with pytest.raises(ExportError, match="Field name not found : LastName") as caught:
        make_target(org.url).export(make_spool(tmp_path / "s", people(6)), make_context(ListLedger()))
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "InvalidBatch")
    assert [job.state for job in org.jobs.values()] == ["Aborted"]


def test_a_batch_that_fails_before_its_first_row_is_sent_again(org: SmallOrg, tmp_path: Path) -> None:
    failed: list[str] = []

    def fail(_call: str) -> None:
        for job in org.jobs.values():
            for batch in job.batches:
                if batch.state == "Queued" and len(failed) < 2:
                    failed.append(batch.id)
                    batch.state, batch.message = "Failed", "InternalServerError : try later"

    org.polls, org.on_call = 1, fail
    events: list[Event] = []
    report = make_target(org.url).export(
        make_spool(tmp_path / "s", people(4)), make_context(ListLedger(), events=events)
    )
    assert report.accepted == 4
    assert sorted(org.values("LastName")) == [name for name, _ in people(4)]
    assert any(isinstance(event, Retrying) for event in events)


@pytest.mark.parametrize("state", ["Completed", "Failed"])
def test_fewer_results_than_rows_stop_the_export_and_nothing_is_sent_again(
    org: SmallOrg, tmp_path: Path, state: str
) -> None:
    def swallow(call: str) -> None:
        for job in org.jobs.values():
            for batch in job.batches:
                if len(batch.results) == 2 and call.endswith("/result"):
                    batch.results.pop()
                if batch.results:
                    batch.state = state

    org.on_call = swallow
    with pytest.raises(ExportError, match="ROWS_UNACCOUNTED") as caught:
        make_target(org.url).export(make_spool(tmp_path / "s", people(2)), make_context(ListLedger()))
    assert caught.value.kind is FailureKind.INTERNAL
    assert len(org.records) == 2


def test_abort_ends_the_bulk_job_and_settles_what_was_done(org: SmallOrg, tmp_path: Path) -> None:
    spool, ledger, events = make_spool(tmp_path / "s", people(6)), _StoppingLedger(after="batch.send", times=3), []
    with pytest.raises(_StoppedError):
        make_target(org.url).export(spool, make_context(ledger))
    [job] = org.jobs.values()
    job.batches[2].state = "Queued"
    kept = ListLedger(ledger.kept)
    make_target(org.url).abort(spool, make_context(kept, events=events))
    assert job.state == "Aborted"
    assert kept.steps()[-3:] == ["batch.settled", "batch.settled", "batch.absent"]
    assert sum(event.accepted for event in events if isinstance(event, BatchSettled)) == 4


def test_abort_of_an_export_that_never_began_does_nothing(org: SmallOrg, tmp_path: Path) -> None:
    make_target(org.url).abort(make_spool(tmp_path / "s", people(1)), make_context(ListLedger()))
    assert org.calls == []


def test_a_stranger_in_the_bulk_job_stops_the_export_rather_than_being_taken_for_ours(
    org: SmallOrg, tmp_path: Path
) -> None:
    spool = make_spool(tmp_path / "s", people(2))
    ledger = _StoppingLedger(after="batch.send")
    with pytest.raises(_StoppedError):
        make_target(org.url).export(spool, make_context(ledger))
    [job] = org.jobs.values()
    job.batches[0].content += b'"x","y"\n'
    unknown = [entry for entry in ledger.kept if (entry.step, entry.mark) != ("batch.send", "done")]
    with pytest.raises(ExportError, match="BATCH_UNKNOWN") as caught:
        make_target(org.url).export(spool, make_context(ListLedger(unknown)))
    assert caught.value.kind is FailureKind.INTERNAL
    assert len(org.records) == 2


def test_an_owner_who_took_the_run_away_is_obeyed_at_once(org: SmallOrg, tmp_path: Path) -> None:
    ledger = _StoppingLedger(before="batch.send")
    with pytest.raises(_StoppedError):
        make_target(org.url).export(make_spool(tmp_path / "s", people(2)), make_context(ledger))
    calls = list(org.calls)
    assert calls[-1].endswith("/job")
    assert org.records == []


def test_a_process_that_slept_through_its_claim_adds_nothing_when_it_wakes(org: SmallOrg, tmp_path: Path) -> None:
    """It fell asleep between its note of the intent and the request; meanwhile another one ended the export."""
    spool, shared = make_spool(tmp_path / "s", people(6)), ListLedger()

    class SleepersLedger(ListLedger):
        awake = True

        def append(self, entry: Entry, *, rejected: Sequence[RejectedRow] = ()) -> None:
            if not self.awake:
                raise _StoppedError
            shared.append(entry, rejected=rejected)
            if (entry.step, entry.mark, entry.batch) == ("batch.send", Mark.INTENDED, 2):
                self.awake = False
                assert make_target(org.url).export(spool, make_context(shared)).accepted == 6

    with pytest.raises(_StoppedError):
        make_target(org.url).export(spool, make_context(SleepersLedger()))
    assert org.calls[-1].startswith("POST")
    assert org.calls[-1].endswith("/batch")
    assert sorted(org.values("LastName")) == [name for name, _ in people(6)]


def test_an_incomplete_spool_is_never_exported(org: SmallOrg, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="SPOOL_INCOMPLETE"):
        make_target(org.url).export(Spool(tmp_path / "s"), make_context(ListLedger()))


class _StoppedError(Exception):
    """The run's owner says: no further."""


class _StoppingLedger(ListLedger):
    """Raises once the ``times``-th entry of a step is written, or instead of writing its intent."""

    def __init__(self, *, after: str = "", before: str = "", times: int = 1) -> None:
        super().__init__()
        self._after, self._before, self._left = after, before, times

    def append(self, entry: Entry, *, rejected: object = ()) -> None:
        if (entry.step, entry.mark) == (self._before, Mark.INTENDED):
            raise _StoppedError
        super().append(entry, rejected=rejected)  # type: ignore[arg-type]
        if (entry.step, entry.mark) == (self._after, Mark.DONE):
            self._left -= 1
            if not self._left:
                raise _StoppedError
